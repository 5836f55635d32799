//! The script language: lines to commands.
//!
//! Holds [`Script`] and the split of a text into commands; `load` and `eval` blocks have modules of
//! their own. It knows no store and no engine. Invariant: a script is refused as a whole, with the
//! line, before anything of it runs.

mod eval;
mod load;

use std::fmt;

pub use eval::{Check, Eval, Expectation, Expected, ExpectedSeries, When, Window};
pub use load::{Load, LoadedSample, LoadedSeries};

use crate::parse::Options;

/// How many values one line may stand for.
const MAX_VALUES: usize = 10_000_000;

/// A parsed script.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its commands in order.
    pub commands: Vec<Command>,
}

/// One command.
#[derive(Clone, Debug)]
pub enum Command {
    /// Drop all data.
    Clear,
    /// Add samples.
    Load(Load),
    /// Run a query and check its answer.
    Eval(Box<Eval>),
}

/// Why a script was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub text: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

impl std::error::Error for ScriptError {}

impl Script {
    /// Parses a script. All parser options are on.
    ///
    /// # Errors
    /// [`ScriptError`] for the first line that is no command, no series or no expression.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        let mut lines = Lines::new(text);
        let mut commands = Vec::new();
        while let Some((number, line)) = lines.next() {
            if line.is_empty() {
                continue;
            }
            let word = line.split([' ', '\t']).next().unwrap_or_default().to_lowercase();
            let command = match word.as_str() {
                "clear" => Ok(Command::Clear),
                w if w.starts_with("load") => load::parse(line, number, &mut lines).map(Command::Load),
                w if w.starts_with("eval") => {
                    eval::parse(line, number, &mut lines).map(|e| Command::Eval(Box::new(e)))
                }
                _ => Err(format!("invalid command {}", model::gofmt::quote(line))),
            };
            commands.push(command.map_err(|text| ScriptError { line: lines.last(), text })?);
        }
        Ok(Script { commands })
    }

    /// The `eval` commands.
    pub fn evals(&self) -> impl Iterator<Item = &Eval> {
        self.commands.iter().filter_map(|c| match c {
            Command::Eval(e) => Some(&**e),
            _ => None,
        })
    }
}

/// The parser options of scripts: everything that Prometheus has.
pub(super) fn options() -> Options {
    Options::all()
}

/// The lines of a script: trimmed, comments made empty.
struct Lines<'a> {
    all: Vec<&'a str>,
    at: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let tidy = |line: &'a str| {
            let line = line.trim();
            if line.starts_with('#') { "" } else { line }
        };
        Lines { all: text.split('\n').map(tidy).collect(), at: 0 }
    }

    /// The next line with its number, from 1.
    fn next(&mut self) -> Option<(usize, &'a str)> {
        let line = *self.all.get(self.at)?;
        self.at += 1;
        Some((self.at, line))
    }

    /// The next line of a block; `None` at its end, which is an empty line or the end of the text.
    fn next_of_block(&mut self) -> Option<&'a str> {
        let line = *self.all.get(self.at)?;
        if line.is_empty() {
            return None;
        }
        self.at += 1;
        Some(line)
    }

    /// The number of the line handed out last.
    fn last(&self) -> usize {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Script::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn commands_stand_between_empty_lines_and_comments() {
        let script = Script::parse("clear\nload 1m\n").unwrap();
        assert_eq!(script.commands.len(), 2);
        let script = Script::parse(
            "load 30s\n  a 1 2\n  # ends the block\nclear\n\neval instant at 1m a\n  a 2\neval instant at 0 1\n 1\n",
        );
        assert!(script.unwrap_err().text.contains("parse error"), "a block ends with an empty line only");
        let script =
            Script::parse("load 30s\n a 1\n\neval instant at 1m a\n a 1\n\neval instant at 0 1\n 1\n")
                .unwrap();
        assert_eq!(script.evals().map(|e| e.line).collect::<Vec<_>>(), [4, 7]);
    }

    #[test]
    fn a_script_is_refused_with_the_line() {
        assert_eq!(refused("clear\nbogus 1"), "line 2: invalid command \"bogus 1\"");
        assert!(refused("load\n").starts_with("line 1: "));
        assert!(refused("eval instant at 1m sum(").starts_with("line 1: "));
        assert!(refused("eval instant  sum(a)").contains("invalid timestamp"));
        assert!(refused("eval range from 5m to 1m step 1m a").contains("before start"));
        assert!(refused("eval instant at 1m a\n a 1 2").contains("multiple values"));
        assert!(refused("eval instant at 1m a\n expect warn\n expect no_warn").contains("together"));
        assert!(refused("eval instant at 1m a\n expect nothing").contains("expect"));
    }
}
