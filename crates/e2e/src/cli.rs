//! The command lines of the tools: words, `--flag VALUE` and `--flag=VALUE`.
//!
//! Knows no tool; each takes what it understands, then calls [`Words::end`], which refuses the rest.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

/// What is left of a command line.
#[derive(Clone, Debug)]
pub struct Words(Vec<String>);

impl Words {
    /// The arguments of this process.
    pub fn of_process() -> Self {
        Words(std::env::args().skip(1).collect())
    }

    /// Takes a flag without a value: whether it was there.
    pub fn switch(&mut self, name: &str) -> bool {
        let found = self.0.iter().position(|w| w == name);
        found.map(|i| self.0.remove(i)).is_some()
    }

    /// Takes a flag and its value.
    ///
    /// # Errors
    /// When the value is missing.
    pub fn value(&mut self, name: &str) -> anyhow::Result<Option<String>> {
        let joined = format!("{name}=");
        let Some(i) = self.0.iter().position(|w| w == name || w.starts_with(&joined)) else {
            return Ok(None);
        };
        let word = self.0.remove(i);
        if let Some(value) = word.strip_prefix(&joined) {
            return Ok(Some(value.to_owned()));
        }
        if i == self.0.len() {
            bail!("{name} needs a value");
        }
        Ok(Some(self.0.remove(i)))
    }

    /// Takes a flag whose value is a path of something that exists.
    ///
    /// # Errors
    /// When the value is missing or there is nothing at the path.
    pub fn path(&mut self, name: &str) -> anyhow::Result<Option<PathBuf>> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        let path = std::path::absolute(&value)?;
        path.metadata().with_context(|| format!("{name} {value}"))?;
        Ok(Some(path))
    }

    /// Takes the first word that is no flag.
    pub fn word(&mut self) -> Option<String> {
        let found = self.0.iter().position(|w| !w.starts_with('-'))?;
        Some(self.0.remove(found))
    }

    /// Refuses what nobody took.
    ///
    /// # Errors
    /// When a word is left.
    pub fn end(self, usage: &str) -> anyhow::Result<()> {
        match self.0.first() {
            Some(word) => bail!("unexpected {word:?}\nusage: {usage}"),
            None => Ok(()),
        }
    }
}

/// A tool's exit: 0 for `true`, 1 for `false`, and 2 with the message for an error.
#[allow(clippy::print_stderr, reason = "a command line tool's errors")]
pub fn exit(result: anyhow::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_words_and_leftovers_are_told_apart() {
        let words = ["--a", "1", "dir", "--b=2=3", "--c"].map(str::to_owned).to_vec();
        let mut words = Words(words);
        assert_eq!(words.value("--b").unwrap().as_deref(), Some("2=3"));
        assert_eq!(words.value("--a").unwrap().as_deref(), Some("1"));
        assert_eq!(words.word().as_deref(), Some("dir"));
        assert!(!words.switch("--d"));
        assert!(words.clone().value("--c").is_err());
        assert!(words.clone().end("").is_err());
        assert!(words.switch("--c"));
        words.end("").unwrap();
    }
}
