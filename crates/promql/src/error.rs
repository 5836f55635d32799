//! Why a query has no answer: Prometheus' kinds and texts.
//!
//! Holds one type, shaped by what the HTTP API has to do about it ([`ErrorKind`] is its `errorType`).
//! It knows no HTTP status. Invariant: the text is Prometheus' own, without the API's
//! `invalid parameter "query": ` before it. Read `engine` for who returns it.

use std::fmt;

use model::OverBudget;

use crate::parse::{DurationError, ParseError};
use crate::storage::StorageError;

/// The `errorType` of Prometheus' HTTP API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// `bad_data`: the request is at fault.
    BadData,
    /// `execution`: the query could not be evaluated.
    Execution,
    /// `timeout`
    Timeout,
    /// `canceled`
    Canceled,
}

impl ErrorKind {
    /// The name as the HTTP API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::BadData => "bad_data",
            ErrorKind::Execution => "execution",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Canceled => "canceled",
        }
    }
}

/// Why a query was refused or failed. `Display` gives Prometheus' text.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryError {
    /// The expression does not parse.
    Parse(ParseError),
    /// The expression parses, but not for this request: a range vector in a range query, a duration
    /// expression that is worth nothing.
    Invalid(String),
    /// The data does not fit the expression (duplicate series in a match group, say).
    Execution(String),
    /// More samples than `max_samples` would be in memory at once, as Prometheus counts them.
    TooManySamples,
    /// The memory account has no room; names the limit, the flag and the selector.
    OverBudget(OverBudget),
    /// The deadline has passed.
    Timeout,
    /// The caller canceled.
    Canceled,
    /// The store failed.
    Storage(StorageError),
}

impl QueryError {
    /// An error of evaluation with this text.
    pub(crate) fn execution(text: impl Into<String>) -> Self {
        QueryError::Execution(text.into())
    }

    /// What the HTTP API calls it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            QueryError::Parse(_) | QueryError::Invalid(_) => ErrorKind::BadData,
            QueryError::Execution(_) | QueryError::TooManySamples | QueryError::OverBudget(_) => {
                ErrorKind::Execution
            }
            QueryError::Timeout | QueryError::Storage(StorageError::Timeout(_)) => ErrorKind::Timeout,
            QueryError::Canceled | QueryError::Storage(StorageError::Canceled(_)) => ErrorKind::Canceled,
            QueryError::Storage(StorageError::Failed(_) | StorageError::Limit(_)) => ErrorKind::Execution,
        }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::Parse(e) => e.fmt(f),
            QueryError::Invalid(text) | QueryError::Execution(text) => f.write_str(text),
            QueryError::TooManySamples => {
                f.write_str("query processing would load too many samples into memory in query execution")
            }
            QueryError::OverBudget(e) => e.fmt(f),
            QueryError::Timeout => f.write_str("query timed out in expression evaluation"),
            QueryError::Canceled => f.write_str("query was canceled in expression evaluation"),
            QueryError::Storage(e) => write!(f, "expanding series: {e}"),
        }
    }
}

impl std::error::Error for QueryError {}

impl From<ParseError> for QueryError {
    fn from(e: ParseError) -> Self {
        QueryError::Parse(e)
    }
}

impl From<DurationError> for QueryError {
    fn from(e: DurationError) -> Self {
        QueryError::Invalid(e.to_string())
    }
}

impl From<StorageError> for QueryError {
    fn from(e: StorageError) -> Self {
        QueryError::Storage(e)
    }
}

impl From<OverBudget> for QueryError {
    fn from(e: OverBudget) -> Self {
        QueryError::OverBudget(e)
    }
}
