//! Thanos' command line: flags declared once, parsed exactly as Thanos parses them.
//!
//! A flag is one item with name, help, default and syntax, written where its value is read:
//! [`Args::declare`] runs twice, first to collect the [`Spec`]s, then, after the words are parsed,
//! to read the values. It knows no service and reads no file ([`PathOrContent`] does, when asked).
//! Invariant: what `--help`, the parser and `/api/v1/status/flags` say comes from the same specs.
//! The grammar is kingpin v2.4's (`parse`), the value syntaxes are in `value`, the groups shared by
//! services in `groups`.

pub mod groups;
mod help;
mod parse;
mod path_or_content;
#[cfg(test)]
mod tests;
pub mod value;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use help::usage;
pub use parse::{ParseError, Parsed, Verb, parse};
pub use path_or_content::{ContentError, PathOrContent, PathOrContentItem};
pub use value::TimeOrDuration;

/// A group of flags that can be declared and read: a service's arguments, or a shared group.
pub trait Args: Sized {
    /// Names every flag and returns the values; on the collecting pass the defaults.
    fn declare(d: &mut Declare<'_>) -> Self;
}

/// The syntax of a flag's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `--x` and `--no-x`, never with a value.
    Bool,
    /// Any text, the empty one included.
    Text,
    /// Go's duration with `d` and `w`: `1h30m`, `-1.5h`, `0`.
    GoDuration,
    /// Prometheus' duration: `1d12h`, whole numbers, no sign.
    PromDuration,
    /// Base-2 sizes with mandatory unit: `2GB`, `1GB512MB`, `0`.
    Bytes,
    /// A number read as float and truncated.
    Int,
    /// Signed 64-bit with Go's base prefixes and underscores.
    Int64,
    /// Unsigned 64-bit with Go's base prefixes and underscores.
    Uint64,
    /// A floating point number.
    Float,
    /// One of the listed words.
    OneOf(Vec<String>),
    /// RFC 3339 time, or Prometheus duration with an optional minus, relative to now.
    TimeOrDuration,
    /// `host:port`, or `dns+name` and its siblings.
    Address,
    /// An absolute or relative URL.
    Url,
}

/// What is known of a flag without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The long name without dashes.
    pub name: String,
    /// The one-letter name, if any.
    pub short: Option<char>,
    /// One or more sentences for `--help`.
    pub help: String,
    /// The value's syntax.
    pub kind: Kind,
    /// Default values as written on a command line; several only where `repeatable`.
    pub default: Vec<String>,
    /// Whether the flag may be given more than once.
    pub repeatable: bool,
    /// Whether `--help` leaves it out.
    pub hidden: bool,
    /// What `--help` prints as the value when there is no default.
    pub placeholder: Option<String>,
    /// Whether its value must not be shown by `/api/v1/status/flags`.
    pub secret: bool,
}

/// One occurrence of a flag on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Occurrence {
    pub(crate) position: usize,
    pub(crate) name: String,
    pub(crate) value: String,
}

/// Collects specs, or reads values: see the module's head.
#[derive(Debug, Default)]
pub struct Declare<'a> {
    given: &'a [Occurrence],
    specs: Vec<Spec>,
    errors: Vec<(usize, String)>,
    shown: BTreeMap<String, String>,
}

impl Declare<'_> {
    /// Begins a flag; a method that names the syntax ends it and returns the value.
    pub fn flag(&mut self, name: impl Into<String>, help: impl Into<String>) -> Item<'_> {
        Item {
            given: self.given,
            specs: &mut self.specs,
            errors: &mut self.errors,
            shown: &mut self.shown,
            spec: Spec {
                name: name.into(),
                short: None,
                help: help.into(),
                kind: Kind::Text,
                default: Vec::new(),
                repeatable: false,
                hidden: false,
                placeholder: None,
                secret: false,
            },
        }
    }

    /// Begins a pair of flags, `--NAME-file=PATH` and `--NAME=CONTENT`.
    pub fn path_or_content<'d>(&'d mut self, name: &str, help: &str) -> PathOrContentItem<'d>
    where
        Self: 'd,
    {
        PathOrContentItem::new(self.reborrow(), name, help)
    }

    fn reborrow(&mut self) -> DeclareRef<'_> {
        DeclareRef {
            given: self.given,
            specs: &mut self.specs,
            errors: &mut self.errors,
            shown: &mut self.shown,
        }
    }
}

/// A short borrow of a [`Declare`], whatever it borrows itself.
#[derive(Debug)]
struct DeclareRef<'d> {
    given: &'d [Occurrence],
    specs: &'d mut Vec<Spec>,
    errors: &'d mut Vec<(usize, String)>,
    shown: &'d mut BTreeMap<String, String>,
}

impl DeclareRef<'_> {
    fn flag(&mut self, name: String, help: String) -> Item<'_> {
        Item {
            given: self.given,
            specs: self.specs,
            errors: self.errors,
            shown: self.shown,
            spec: Spec {
                name,
                short: None,
                help,
                kind: Kind::Text,
                default: Vec::new(),
                repeatable: false,
                hidden: false,
                placeholder: None,
                secret: false,
            },
        }
    }
}

/// The specs of `A`, in declaration order.
pub fn specs<A: Args>() -> Vec<Spec> {
    specs_of(|d| {
        A::declare(d);
    })
}

/// The specs that `declare` names, in order.
pub fn specs_of(declare: impl FnOnce(&mut Declare<'_>)) -> Vec<Spec> {
    let mut d = Declare::default();
    declare(&mut d);
    d.specs
}

/// What reading the values gives: the values, and how `/api/v1/status/flags` shows them.
#[derive(Debug)]
pub struct Read<T> {
    /// What the closure returned.
    pub values: T,
    /// Flag name to shown value, as Go's `String()` of the flag's type prints it.
    pub shown: BTreeMap<String, String>,
}

/// Reads values from parsed words; the first value that does not parse is the error.
///
/// # Errors
/// The message of the leftmost value that its flag's syntax refuses.
pub fn read<T>(parsed: &Parsed, declare: impl FnOnce(&mut Declare<'_>) -> T) -> Result<Read<T>, String> {
    let mut d = Declare { given: &parsed.occurrences, ..Declare::default() };
    let values = declare(&mut d);
    match d.errors.into_iter().min_by_key(|(at, _)| *at) {
        None => Ok(Read { values, shown: d.shown }),
        Some((_, message)) => Err(message),
    }
}

/// A flag under construction.
#[derive(Debug)]
pub struct Item<'d> {
    given: &'d [Occurrence],
    specs: &'d mut Vec<Spec>,
    errors: &'d mut Vec<(usize, String)>,
    shown: &'d mut BTreeMap<String, String>,
    spec: Spec,
}

impl Item<'_> {
    /// Sets (for repeatable flags: adds) a default, as it would be written on the command line.
    pub fn default(mut self, value: &str) -> Self {
        self.spec.default.push(value.to_owned());
        self
    }

    /// Leaves the flag out of `--help`.
    pub fn hidden(self) -> Self {
        self.hidden_if(true)
    }

    /// Leaves the flag out of `--help` when `hidden`.
    pub fn hidden_if(mut self, hidden: bool) -> Self {
        self.spec.hidden = hidden;
        self
    }

    /// Gives the flag a one-letter name.
    pub fn short(mut self, letter: char) -> Self {
        self.spec.short = Some(letter);
        self
    }

    /// What `--help` prints as the value.
    pub fn placeholder(mut self, text: &str) -> Self {
        self.spec.placeholder = Some(text.to_owned());
        self
    }

    /// Hides the value from `/api/v1/status/flags`.
    pub fn secret(mut self) -> Self {
        self.spec.secret = true;
        self
    }

    /// `--x` or `--no-x`.
    pub fn bool(mut self) -> bool {
        if self.spec.default.is_empty() {
            self.spec.default.push("false".to_owned());
        }
        self.one(Kind::Bool, false, |s| Ok(s == "true"), |b| b.to_string())
    }

    /// Any text.
    pub fn string(self) -> String {
        self.one(Kind::Text, String::new(), |s| Ok(s.to_owned()), String::clone)
    }

    /// Any text, repeatable.
    pub fn strings(self) -> Vec<String> {
        self.many(Kind::Text, |s| Ok(s.to_owned()), String::clone)
    }

    /// A Go-style duration; negative ones are refused nowhere in the grammar, so the value is signed
    /// nanoseconds saturated to [`Duration`] at zero.
    pub fn duration(self) -> Duration {
        let nanos = self.one(Kind::GoDuration, 0, value::go_duration, |n| value::show_go_duration(*n));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    /// A Go-style duration in nanoseconds, sign kept, for flags where a negative value has a meaning.
    pub fn signed_duration(self) -> i64 {
        self.one(Kind::GoDuration, 0, value::go_duration, |n| value::show_go_duration(*n))
    }

    /// A Prometheus-style duration.
    pub fn prom_duration(self) -> Duration {
        let millis = self.one(Kind::PromDuration, 0, value::prom_duration, |n| value::show_prom_duration(*n));
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// A size in bytes.
    pub fn bytes(self) -> u64 {
        let bytes = self.one(Kind::Bytes, 0, value::bytes, |n| value::show_bytes(*n));
        u64::try_from(bytes).unwrap_or(0)
    }

    /// A size in bytes, sign kept, for flags that refuse a negative size by name.
    pub fn signed_bytes(self) -> i64 {
        self.one(Kind::Bytes, 0, value::bytes, |n| value::show_bytes(*n))
    }

    /// A size in bytes; `None` when the flag has neither value nor default.
    pub fn optional_bytes(self) -> Option<u64> {
        let given = !self.spec.default.is_empty() || self.given.iter().any(|o| o.name == self.spec.name);
        let bytes = self.bytes();
        given.then_some(bytes)
    }

    /// A number read as float and truncated.
    pub fn int(self) -> i64 {
        self.one(Kind::Int, 0, value::int, i64::to_string)
    }

    /// A signed 64-bit number.
    pub fn int64(self) -> i64 {
        self.one(Kind::Int64, 0, value::int64, i64::to_string)
    }

    /// An unsigned 64-bit number.
    pub fn uint64(self) -> u64 {
        self.one(Kind::Uint64, 0, value::uint64, u64::to_string)
    }

    /// A floating point number.
    pub fn float(self) -> f64 {
        self.one(Kind::Float, 0.0, value::float, |f| crate::metrics::float::show(*f))
    }

    /// Floating point numbers, repeatable.
    pub fn floats(self) -> Vec<f64> {
        self.many(Kind::Float, value::float, |f| crate::metrics::float::show(*f))
    }

    /// One of `words`.
    pub fn one_of(self, words: &[&str]) -> String {
        self.one(one_of(words), String::new(), |s| value::one_of(s, words), String::clone)
    }

    /// One of `words`, each with its meaning; the first is the value where there is no default.
    pub fn choice<T: Clone>(self, words: &[(&str, T)]) -> T {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let name = self.one(one_of(&names), names[0].to_owned(), |s| value::one_of(s, &names), String::clone);
        words.iter().find(|(word, _)| *word == name).unwrap_or(&words[0]).1.clone()
    }

    /// Some of `words`, repeatable.
    pub fn some_of(self, words: &[&str]) -> Vec<String> {
        self.many(one_of(words), |s| value::one_of(s, words), String::clone)
    }

    /// A time, or a length of time before or after now.
    pub fn time_or_duration(self) -> TimeOrDuration {
        self.one(Kind::TimeOrDuration, TimeOrDuration::Time(0), TimeOrDuration::parse, TimeOrDuration::show)
    }

    /// Addresses (`host:port` or a DNS query), repeatable.
    pub fn addresses(self) -> Vec<String> {
        self.many(Kind::Address, value::address, String::clone)
    }

    /// A URL, checked as Go's `url.Parse` would.
    pub fn url(self) -> String {
        self.one(Kind::Url, String::new(), value::url, String::clone)
    }

    fn one<T>(
        self,
        kind: Kind,
        empty: T,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
    ) -> T {
        self.finish(kind, false, parse, show).pop().unwrap_or(empty)
    }

    fn many<T>(
        self,
        kind: Kind,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
    ) -> Vec<T> {
        self.finish(kind, true, parse, show)
    }

    fn finish<T>(
        mut self,
        kind: Kind,
        repeatable: bool,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
    ) -> Vec<T> {
        self.spec.kind = kind;
        self.spec.repeatable = repeatable;
        let given: Vec<&Occurrence> = self.given.iter().filter(|o| o.name == self.spec.name).collect();
        if !repeatable && let Some(second) = given.get(1) {
            self.errors.push((second.position, format!("flag '{}' cannot be repeated", self.spec.name)));
        }
        let words: Vec<(usize, &str)> = if given.is_empty() {
            self.spec.default.iter().map(|s| (usize::MAX, s.as_str())).collect()
        } else {
            given.iter().map(|o| (o.position, o.value.as_str())).collect()
        };
        let mut values = Vec::with_capacity(words.len());
        for (position, word) in words {
            match parse(word) {
                Ok(value) => values.push(value),
                Err(message) => self.errors.push((position, message)),
            }
        }
        let shown = if self.spec.secret {
            "<REDACTED>".to_owned()
        } else {
            values.iter().map(show).collect::<Vec<_>>().join(",")
        };
        self.shown.insert(self.spec.name.clone(), shown);
        self.specs.push(self.spec);
        values
    }
}

fn one_of(words: &[&str]) -> Kind {
    Kind::OneOf(words.iter().map(|w| (*w).to_owned()).collect())
}
