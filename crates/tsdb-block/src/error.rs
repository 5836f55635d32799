//! What can be wrong with a block.
//!
//! Holds one error type whose variants follow the caller's decision: a corrupt block costs its own
//! data and is named, an unsupported one may be read by a newer version, an I/O error may pass.
//! It knows no format. Invariant: every corrupt error carries the section and the byte offset
//! within the bytes the decoder was given; [`Error::in_file`] adds the file and shifts the offset.

use std::path::{Path, PathBuf};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a block, or a part of it, could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes contradict the format.
    #[error("{}corrupt {section} at offset {offset}: {reason}", within(file))]
    Corrupt {
        /// File the bytes came from, where known.
        file: Option<PathBuf>,
        /// The part of the format, such as `series` or `XOR chunk`.
        section: &'static str,
        /// Byte offset where reading stopped.
        offset: u64,
        /// What was wrong there.
        reason: String,
    },
    /// A version, encoding or schema that this program does not know.
    #[error("{}unsupported {what}: {found}", at(file))]
    Unsupported {
        /// File and byte offset, where known.
        file: Option<(PathBuf, u64)>,
        /// The field.
        what: &'static str,
        /// Its value.
        found: i64,
    },
    /// The thing asked for is not in the block.
    #[error("{what} not found")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The caller gave data that cannot be written, such as series out of order.
    #[error("cannot write: {0}")]
    Invalid(String),
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// Its reason.
        #[source]
        source: std::io::Error,
    },
}

fn within(file: &Option<PathBuf>) -> String {
    file.as_ref().map(|f| format!("{}: ", f.display())).unwrap_or_default()
}

fn at(file: &Option<(PathBuf, u64)>) -> String {
    file.as_ref().map(|(f, offset)| format!("{} at offset {offset}: ", f.display())).unwrap_or_default()
}

impl Error {
    /// An unsupported error without a file.
    #[cold]
    pub(crate) fn unsupported(what: &'static str, found: i64) -> Error {
        Error::Unsupported { file: None, what, found }
    }

    /// A corrupt error without a file.
    #[cold]
    pub(crate) fn corrupt(section: &'static str, offset: usize, reason: impl Into<String>) -> Error {
        Error::Corrupt { file: None, section, offset: offset as u64, reason: reason.into() }
    }

    /// An I/O error on `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    }

    /// The same error, naming the file and counting the offset from its beginning. `base` is where
    /// the decoded bytes began in that file.
    pub fn in_file(self, path: &Path, base: u64) -> Error {
        match self {
            Error::Corrupt { file: None, section, offset, reason } => Error::Corrupt {
                file: Some(path.to_owned()),
                section,
                offset: offset.saturating_add(base),
                reason,
            },
            Error::Unsupported { file: None, what, found } => {
                Error::Unsupported { file: Some((path.to_owned(), base)), what, found }
            }
            other => other,
        }
    }

    /// Whether the bytes themselves are at fault, so that reading them again will not help.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Error::Corrupt { .. })
    }
}
