//! Splitting a command line into a verb and flag occurrences.
//!
//! The grammar is that of kingpin v2.4 as Thanos configures it: `--f=v`, `--f v`, `--x`/`--no-x`,
//! `-h`, `--`, and `@file` for a file of arguments. Values are not looked at here, so lexical errors
//! come before value errors, as upstream. Invariant: every occurrence names a known flag.
//! Read next: `super::read`, which turns occurrences into values.

use std::collections::{HashMap, VecDeque};

use super::{Kind, Occurrence, Spec};

/// A verb (`store`, `query` …) with its flags.
#[derive(Clone, Debug)]
pub struct Verb<'a> {
    /// The word on the command line.
    pub name: &'a str,
    /// One sentence.
    pub about: &'a str,
    /// Its flags, without the common ones.
    pub flags: Vec<Spec>,
}

/// The outcome of parsing: which verb, and the flags as written.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Index into the verbs given, if one was named or is the only one.
    pub verb: Option<usize>,
    /// Whether `--help`, `--help-long` or `--help-man` was given.
    pub help: bool,
    /// Whether `--version` was given.
    pub version: bool,
    pub(crate) occurrences: Vec<Occurrence>,
}

/// Why words do not form a command line; upstream exits with 1 for all of these.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// `--wibble`, or `--no-x` of a flag that is not a bool.
    #[error("unknown long flag '--{0}'")]
    UnknownLong(String),
    /// `-x`.
    #[error("unknown short flag '-{0}'")]
    UnknownShort(char),
    /// The flag ends the line, or another flag follows.
    #[error("expected argument for flag '{0}'")]
    MissingValue(String),
    /// A word where no word is expected, such as the value of a bool.
    #[error("unexpected {0}")]
    Unexpected(String),
    /// The first word is no verb.
    #[error("expected command but got {0:?}")]
    NotAVerb(String),
    /// `@file` that cannot be read.
    #[error("failed to open arguments file {0:?}: open {0}: {1}")]
    ArgumentsFile(String, String),
    /// A lone `@`.
    #[error("expected @ file to expand arguments from")]
    NoArgumentsFile,
}

enum Token {
    Long(String),
    Short(char),
    Word(String),
}

impl Token {
    fn written(&self) -> String {
        match self {
            Token::Long(name) => format!("--{name}"),
            Token::Short(letter) => format!("-{letter}"),
            Token::Word(word) => word.clone(),
        }
    }
}

struct Words<'s> {
    raw: VecDeque<String>,
    pushed: Option<Token>,
    words_only: bool,
    bool_letters: HashMap<char, bool>,
    flags: HashMap<&'s str, &'s Spec>,
}

/// The most words `@file`s may add, so that a file that names itself ends.
const MAX_WORDS: usize = 100_000;

impl<'s> Words<'s> {
    fn add(&mut self, specs: &'s [Spec]) {
        for spec in specs {
            self.flags.insert(&spec.name, spec);
            if let Some(letter) = spec.short {
                self.bool_letters.insert(letter, spec.kind == Kind::Bool);
            }
        }
    }

    fn next(&mut self) -> Result<Option<Token>, ParseError> {
        if let Some(token) = self.pushed.take() {
            return Ok(Some(token));
        }
        loop {
            let Some(word) = self.raw.pop_front() else { return Ok(None) };
            if self.words_only {
                return Ok(Some(Token::Word(word)));
            }
            if word == "--" {
                self.words_only = true;
                continue;
            }
            if let Some(long) = word.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (long, None),
                };
                self.pushed = value.map(|v| Token::Word(v.to_owned()));
                return Ok(Some(Token::Long(name.to_owned())));
            }
            if let Some(short) = word.strip_prefix('-') {
                let mut letters = short.chars();
                let Some(letter) = letters.next() else { return Ok(Some(Token::Word(String::new()))) };
                let rest = letters.as_str();
                if !rest.is_empty() {
                    // `-fVALUE` for a flag with a value, else `-abc` is `-a -bc`.
                    if self.bool_letters.get(&letter) == Some(&false) {
                        self.pushed = Some(Token::Word(rest.to_owned()));
                    } else {
                        self.raw.push_front(format!("-{rest}"));
                    }
                }
                return Ok(Some(Token::Short(letter)));
            }
            if let Some(path) = word.strip_prefix('@') {
                if path.is_empty() {
                    return Err(ParseError::NoArgumentsFile);
                }
                let text = std::fs::read_to_string(path)
                    .map_err(|e| ParseError::ArgumentsFile(path.to_owned(), io_reason(&e)))?;
                let lines: Vec<&str> =
                    text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()).collect();
                if self.raw.len() + lines.len() > MAX_WORDS {
                    return Err(ParseError::ArgumentsFile(path.to_owned(), "too many arguments".to_owned()));
                }
                for line in lines.into_iter().rev() {
                    self.raw.push_front(line.to_owned());
                }
                continue;
            }
            return Ok(Some(Token::Word(word)));
        }
    }
}

fn io_reason(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => e.to_string(),
    }
}

/// Parses `words` (without the program's name). With one verb the verb's word may be left out.
///
/// # Errors
/// [`ParseError`]: all lexical, exit status 1.
pub fn parse<'s>(common: &'s [Spec], verbs: &'s [Verb<'s>], words: &[String]) -> Result<Parsed, ParseError> {
    let mut line = Words {
        raw: words.iter().cloned().collect(),
        pushed: None,
        words_only: false,
        bool_letters: HashMap::new(),
        flags: HashMap::new(),
    };
    line.add(common);
    let mut parsed = Parsed::default();
    let optional_verb = verbs.len() == 1;
    let mut verb_seen = false;
    if optional_verb {
        parsed.verb = Some(0);
        line.add(&verbs[0].flags);
    }
    let mut position = 0;
    while let Some(token) = line.next()? {
        position += 1;
        let written = token.written();
        let (spec, inverted) = match token {
            Token::Word(word) if verb_seen => return Err(ParseError::Unexpected(word)),
            Token::Word(word) => {
                let Some(at) = verbs.iter().position(|v| v.name == word) else {
                    // Without its verb a single service sees a stray word, not a wrong verb.
                    let stray = optional_verb && !parsed.occurrences.is_empty();
                    return Err(if stray {
                        ParseError::Unexpected(word)
                    } else {
                        ParseError::NotAVerb(word)
                    });
                };
                verb_seen = true;
                parsed.verb = Some(at);
                line.add(&verbs[at].flags);
                continue;
            }
            Token::Long(name) => match (line.flags.get(name.as_str()), name.strip_prefix("no-")) {
                (Some(spec), _) => (*spec, false),
                (None, Some(positive)) => match line.flags.get(positive) {
                    Some(spec) if spec.kind == Kind::Bool => (*spec, true),
                    _ => return Err(ParseError::UnknownLong(name)),
                },
                (None, None) => return Err(ParseError::UnknownLong(name)),
            },
            Token::Short(letter) => match line.flags.values().find(|s| s.short == Some(letter)) {
                Some(spec) => (*spec, false),
                None => return Err(ParseError::UnknownShort(letter)),
            },
        };
        let value = if spec.kind == Kind::Bool {
            (!inverted).to_string()
        } else {
            match line.next()? {
                Some(Token::Word(value)) => value,
                _ => return Err(ParseError::MissingValue(written)),
            }
        };
        match spec.name.as_str() {
            // Upstream acts on the flag's presence, `--no-help` included.
            "help" | "help-long" | "help-man" => parsed.help = true,
            "version" => parsed.version = true,
            _ => {}
        }
        parsed.occurrences.push(Occurrence { position, name: spec.name.clone(), value });
    }
    Ok(parsed)
}
