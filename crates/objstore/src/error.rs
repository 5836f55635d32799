//! Errors by what the caller does next.
//!
//! Holds one error type whose kind decides and whose text explains. Invariant: a missing bucket or a
//! refused key is never [`ErrorKind::NotFound`]; only a missing object is.

use std::fmt;

/// The result of every bucket operation.
pub type Result<T> = std::result::Result<T, Error>;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The object is not there.
    NotFound,
    /// The credentials do not allow the operation.
    AccessDenied,
    /// The store is busy or unreachable: trying again may help.
    Retry,
    /// The request is wrong (a key that cannot be, a configuration that does not fit).
    Invalid,
    /// A limit of the caller or the store was reached.
    Limit,
    /// Anything else; trying again does not help.
    Other,
}

/// A failed operation on an object or a bucket.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    operation: &'static str,
    key: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Error {
    /// An error of `operation` on `key`.
    pub fn new(
        kind: ErrorKind,
        operation: &'static str,
        key: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error { kind, operation, key: key.into(), source: source.into() }
    }

    /// The object is not there.
    pub fn not_found(operation: &'static str, key: impl Into<String>) -> Error {
        Error::new(ErrorKind::NotFound, operation, key, "object not found")
    }

    /// A local I/O error, its kind taken from the system's.
    pub fn io(operation: &'static str, key: impl Into<String>, source: std::io::Error) -> Error {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::AccessDenied,
            std::io::ErrorKind::Interrupted | std::io::ErrorKind::TimedOut => ErrorKind::Retry,
            _ => ErrorKind::Other,
        };
        Error::new(kind, operation, key, source)
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// Whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Retry
    }

    /// The key the operation was about; empty for the bucket as a whole.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.key, self.source)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.source.as_ref())
    }
}
