//! What can be wrong with block bytes.
//!
//! Holds one error: what was being read and where. Invariant: the offset is absolute in its file.

use std::fmt;

/// The result of reading block bytes.
pub type Result<T> = std::result::Result<T, Corrupt>;

/// Bytes that are not what the format says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// What was being read.
    pub what: &'static str,
    /// Where in the file (or in the chunk).
    pub offset: u64,
}

impl Corrupt {
    /// An error while reading `what` at `offset`.
    pub fn new(what: &'static str, offset: u64) -> Self {
        Corrupt { what, offset }
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "corrupt {} at offset {}", self.what, self.offset)
    }
}

impl std::error::Error for Corrupt {}
