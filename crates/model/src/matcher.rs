//! Label matchers and the one implementation of their regular expressions.
//!
//! Holds the four match types and decides whether a value matches; store, querier and engine all
//! ask here. Patterns are parsed by `regexp` and recognised as `matcher::pattern` finds fastest. It
//! knows no index. Invariant: a regular expression is anchored at both ends and has
//! Go's RE2 meaning (Prometheus `model/labels/regexp.go`).

mod pattern;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::gofmt::quote_bytes;
use crate::labels::is_legacy_label_name;
use pattern::Pattern;

/// The four ways to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchType {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regexp,
    /// `!~`
    NotRegexp,
}

impl MatchType {
    /// The operator as written in PromQL.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchType::Equal => "=",
            MatchType::NotEqual => "!=",
            MatchType::Regexp => "=~",
            MatchType::NotRegexp => "!~",
        }
    }
}

/// A pattern that RE2 refuses; the text is Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct MatcherError {
    /// Go's error text, `error parsing regexp: …`.
    pub text: String,
}

/// One condition on one label.
#[derive(Clone)]
pub struct Matcher {
    /// How to match.
    pub kind: MatchType,
    /// The label's name.
    pub name: String,
    /// The value or pattern as given.
    pub value: String,
    pattern: Option<Arc<Pattern>>,
    /// The name and value as given, where they are not UTF-8 (PromQL escapes can spell such bytes).
    raw: Option<Arc<Raw>>,
}

/// A name and a value of which at least one is not UTF-8.
#[derive(PartialEq, Eq)]
struct Raw {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Matcher {
    /// Builds a matcher.
    ///
    /// # Errors
    /// [`MatcherError`] with Go's text for an invalid pattern.
    pub fn new(
        kind: MatchType,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, MatcherError> {
        let value = value.into();
        let pattern = match kind {
            MatchType::Equal | MatchType::NotEqual => None,
            MatchType::Regexp | MatchType::NotRegexp => {
                let pattern = Pattern::new(&value).map_err(|e| MatcherError { text: e.to_string() })?;
                Some(Arc::new(pattern))
            }
        };
        Ok(Matcher { kind, name: name.into(), value, pattern, raw: None })
    }

    /// Builds a matcher from bytes. Where they are not UTF-8, `name` and `value` hold them with
    /// replacement characters, the text form keeps them, and no label is ever equal to them.
    ///
    /// # Errors
    /// [`MatcherError`] with Go's text for an invalid pattern.
    pub fn from_bytes(kind: MatchType, name: &[u8], value: &[u8]) -> Result<Self, MatcherError> {
        let (text, lossy) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        let raw = matches!(text, Cow::Owned(_)) || matches!(lossy, Cow::Owned(_));
        let is_pattern = matches!(kind, MatchType::Regexp | MatchType::NotRegexp);
        if is_pattern && matches!(lossy, Cow::Owned(_)) {
            let pattern = Some(Arc::new(Matcher::bytes_pattern(value, &lossy)?));
            let raw = Some(Arc::new(Raw { name: name.to_vec(), value: value.to_vec() }));
            return Ok(Matcher { kind, name: text.into_owned(), value: lossy.into_owned(), pattern, raw });
        }
        let mut matcher = Matcher::new(kind, text, lossy)?;
        if raw {
            matcher.raw = Some(Arc::new(Raw { name: name.to_vec(), value: value.to_vec() }));
        }
        Ok(matcher)
    }

    /// Patterns of plain words may hold any bytes, and of those words only text can match; other
    /// patterns must be UTF-8.
    fn bytes_pattern(value: &[u8], lossy: &str) -> Result<Pattern, MatcherError> {
        if Pattern::is_plain(lossy) {
            let words = value.split(|b| *b == b'|').filter_map(|w| String::from_utf8(w.to_vec()).ok());
            return Ok(Pattern::words(words.collect()));
        }
        let at = std::str::from_utf8(value).map_or_else(|e| e.valid_up_to(), str::len);
        let rest = String::from_utf8_lossy(&value[at..]);
        Err(MatcherError { text: format!("error parsing regexp: invalid UTF-8: `{rest}`") })
    }

    /// The label's name as given, UTF-8 or not.
    pub fn name_bytes(&self) -> &[u8] {
        self.raw.as_ref().map_or(self.name.as_bytes(), |raw| &raw.name)
    }

    /// The value or pattern as given, UTF-8 or not.
    pub fn value_bytes(&self) -> &[u8] {
        self.raw.as_ref().map_or(self.value.as_bytes(), |raw| &raw.value)
    }

    /// The value quoted as Go's `strconv.Quote` does.
    pub fn quoted_value(&self) -> String {
        quote_bytes(self.value_bytes())
    }

    /// An equality matcher, which cannot fail.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Matcher { kind: MatchType::Equal, name: name.into(), value: value.into(), pattern: None, raw: None }
    }

    /// Whether `value` satisfies the condition; a missing label is the empty string.
    #[inline]
    pub fn matches(&self, value: &str) -> bool {
        match self.kind {
            MatchType::Equal => self.value == value && self.raw.is_none(),
            MatchType::NotEqual => self.value != value || self.raw.is_some(),
            MatchType::Regexp => self.pattern.as_ref().is_some_and(|p| p.is_match(value)),
            MatchType::NotRegexp => !self.pattern.as_ref().is_some_and(|p| p.is_match(value)),
        }
    }

    /// Whether a series without the label satisfies the condition.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// The same condition, negated.
    pub fn inverse(&self) -> Matcher {
        let kind = match self.kind {
            MatchType::Equal => MatchType::NotEqual,
            MatchType::NotEqual => MatchType::Equal,
            MatchType::Regexp => MatchType::NotRegexp,
            MatchType::NotRegexp => MatchType::Regexp,
        };
        Matcher { kind, ..self.clone() }
    }

    /// For a pattern that stands for a finite set of literals (`a|b|c`, `x[12]`), those literals, without
    /// repetition. Also given for negated patterns: it is what the pattern stands for.
    pub fn set_matches(&self) -> Option<&[String]> {
        self.pattern.as_ref().and_then(|p| p.set())
    }

    /// For a pattern, the literal that every value it stands for starts with; empty when there is none.
    pub fn prefix(&self) -> &str {
        self.pattern.as_ref().map_or("", |p| p.prefix())
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.name, &self.value, &self.raw) == (other.kind, &other.name, &other.value, &other.raw)
    }
}

impl Eq for Matcher {}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// PromQL's form, `name="value"`; names outside the classic grammar are quoted.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_legacy_label_name(&self.name) {
            f.write_str(&self.name)?;
        } else {
            f.write_str(&quote_bytes(self.name_bytes()))?;
        }
        write!(f, "{}{}", self.kind.as_str(), self.quoted_value())
    }
}

#[cfg(test)]
mod tests;
