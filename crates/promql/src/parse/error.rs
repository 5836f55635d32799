//! The parser's error: Prometheus' text, and where.
//!
//! Holds one type and the line and column arithmetic. It knows no grammar. Invariant: it is the first
//! error that Prometheus would report; parsing stops there.

use std::fmt;

use super::ast::Span;

/// Why an expression was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Prometheus' text, without position: `unexpected identifier "b" in aggregation`.
    pub text: String,
    /// The bytes of the input it is about.
    pub span: Span,
    /// Line and column of the start, from 1, columns in bytes; `None` for an empty input.
    pub at: Option<(usize, usize)>,
}

impl ParseError {
    pub(super) fn new(input: &[u8], span: Span, text: impl Into<String>) -> Self {
        ParseError { text: text.into(), span, at: position(input, span.start as usize) }
    }
}

/// Line and column, from 1, of a byte of the input; `None` outside of it and for an empty input.
pub fn position(input: &[u8], byte: usize) -> Option<(usize, usize)> {
    if input.is_empty() {
        return None;
    }
    let before = input.get(..byte)?;
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = byte - before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1) + 1;
    Some((line, column))
}

/// `1:15: parse error: …`, as Prometheus' HTTP API shows it.
impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "{line}:{column}: parse error: {}", self.text),
            None => write!(f, "unknown position: parse error: {}", self.text),
        }
    }
}

impl std::error::Error for ParseError {}
