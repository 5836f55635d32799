//! Label matchers and the one implementation of their regular expressions.
//!
//! Holds the four match types and decides whether a value matches; store, querier and engine all
//! ask here. It knows no index. Invariant: a regular expression is anchored at both ends and has
//! Go's RE2 meaning (Prometheus `model/labels/regexp.go`).

use std::fmt;
use std::sync::Arc;

use crate::labels::{is_legacy_label_name, quote};

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
    regexp: Option<Arc<regex::Regex>>,
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
        let regexp = match kind {
            MatchType::Equal | MatchType::NotEqual => None,
            MatchType::Regexp | MatchType::NotRegexp => Some(Arc::new(
                regex::Regex::new(&format!("^(?s:{value})$"))
                    .map_err(|e| MatcherError { text: format!("error parsing regexp: {e}") })?,
            )),
        };
        Ok(Matcher { kind, name: name.into(), value, regexp })
    }

    /// An equality matcher, which cannot fail.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Matcher { kind: MatchType::Equal, name: name.into(), value: value.into(), regexp: None }
    }

    /// Whether `value` satisfies the condition; a missing label is the empty string.
    #[inline]
    pub fn matches(&self, value: &str) -> bool {
        match self.kind {
            MatchType::Equal => self.value == value,
            MatchType::NotEqual => self.value != value,
            MatchType::Regexp => self.regexp.as_ref().is_some_and(|r| r.is_match(value)),
            MatchType::NotRegexp => !self.regexp.as_ref().is_some_and(|r| r.is_match(value)),
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

    /// For a pattern that stands for a finite set of literals (`a|b|c`), those literals.
    pub fn set_matches(&self) -> Option<&[String]> {
        None
    }

    /// For a pattern, the literal that every matching value starts with; empty when there is none.
    pub fn prefix(&self) -> &str {
        ""
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.name, &self.value) == (other.kind, &other.name, &other.value)
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
            f.write_str(&quote(&self.name))?;
        }
        write!(f, "{}{}", self.kind.as_str(), quote(&self.value))
    }
}
