//! Why a pattern is refused, in Go's words.
//!
//! Holds one type. Reference: Go `regexp/syntax`, `ErrorCode`.

use std::fmt;

/// The kinds of errors of Go's `regexp/syntax`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// `[[:foo]`
    InvalidCharClass,
    /// `[z-a]`, `[[:foo:]]`, `\pX`
    InvalidCharRange,
    /// `\y`
    InvalidEscape,
    /// `(?P<a`
    InvalidNamedCapture,
    /// `(?=a)`
    InvalidPerlOp,
    /// `a**`
    InvalidRepeatOp,
    /// `a{1001}`
    InvalidRepeatSize,
    /// Bytes that are not UTF-8.
    InvalidUtf8,
    /// `[a`
    MissingBracket,
    /// `(a`
    MissingParen,
    /// `*`
    MissingRepeatArgument,
    /// `a\`
    TrailingBackslash,
    /// `a)`
    UnexpectedParen,
    /// Nested beyond 1000 levels.
    NestingDepth,
    /// Larger than a machine may become.
    Large,
}

impl ErrorCode {
    /// Go's text for it.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::InvalidCharClass => "invalid character class",
            ErrorCode::InvalidCharRange => "invalid character class range",
            ErrorCode::InvalidEscape => "invalid escape sequence",
            ErrorCode::InvalidNamedCapture => "invalid named capture",
            ErrorCode::InvalidPerlOp => "invalid or unsupported Perl syntax",
            ErrorCode::InvalidRepeatOp => "invalid nested repetition operator",
            ErrorCode::InvalidRepeatSize => "invalid repeat count",
            ErrorCode::InvalidUtf8 => "invalid UTF-8",
            ErrorCode::MissingBracket => "missing closing ]",
            ErrorCode::MissingParen => "missing closing )",
            ErrorCode::MissingRepeatArgument => "missing argument to repetition operator",
            ErrorCode::TrailingBackslash => "trailing backslash at end of expression",
            ErrorCode::UnexpectedParen => "unexpected )",
            ErrorCode::NestingDepth => "expression nests too deeply",
            ErrorCode::Large => "expression too large",
        }
    }
}

/// A pattern that Go's RE2 syntax refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub code: ErrorCode,
    /// The part of the pattern it is about.
    pub expr: String,
}

impl Error {
    pub(super) fn new(code: ErrorCode, expr: &str) -> Self {
        Error { code, expr: expr.to_owned() }
    }
}

/// `error parsing regexp: missing closing ): ` and the part between backquotes.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error parsing regexp: {}: `{}`", self.code.as_str(), self.expr)
    }
}

impl std::error::Error for Error {}
