//! Errors by what the caller does next.
//!
//! Holds one enum; it decides nothing. Invariant: the text names the request's URL or the frame at
//! fault.

/// What can go wrong between us and Prometheus.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration of the HTTP client cannot be used.
    #[error("{0}")]
    Config(String),
    /// Prometheus could not be reached, or the connection broke: try again later.
    #[error("perform {method} request against {url}: {cause}")]
    Transport {
        /// HTTP method.
        method: &'static str,
        /// The URL.
        url: String,
        /// The error with its causes.
        cause: String,
    },
    /// Prometheus answered with a status other than 2xx.
    #[error("expected 2xx response, got {code}. Body: {body}")]
    Status {
        /// The HTTP status.
        code: u16,
        /// The start of the body.
        body: String,
    },
    /// Prometheus said in its envelope that the request failed.
    #[error("{message}")]
    Api {
        /// The HTTP status it came with.
        code: u16,
        /// Prometheus' text.
        message: String,
    },
    /// The answer is not what the API promises.
    #[error("{what}: {cause}")]
    Malformed {
        /// What was read.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A frame of streamed remote read is damaged.
    #[error("next proto: frame {frame}: {reason}")]
    Frame {
        /// Number of the frame, from 0.
        frame: u64,
        /// What is wrong with it.
        reason: FrameError,
    },
    /// The answer is larger than the process may hold.
    #[error("{url}: answer is larger than {limit} bytes")]
    TooLarge {
        /// The URL.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// The answer does not fit the memory budget.
    #[error(transparent)]
    OverBudget(#[from] model::budget::OverBudget),
}

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is no varint.
    #[error("length is not a varint")]
    Length,
    /// The length is above the limit.
    #[error("message size exceeded the limit: {size} > {limit} bytes")]
    TooLarge {
        /// As announced.
        size: u64,
        /// As allowed.
        limit: u64,
    },
    /// The checksum does not fit the bytes.
    #[error("invalid checksum")]
    Checksum,
    /// The stream ended within a frame.
    #[error("unexpected EOF")]
    Truncated,
    /// The bytes are no message.
    #[error("{0}")]
    Message(String),
}

impl Error {
    /// The HTTP status, where there is one.
    pub fn http_code(&self) -> Option<u16> {
        match self {
            Error::Status { code, .. } | Error::Api { code, .. } => Some(*code),
            _ => None,
        }
    }

    pub(crate) fn malformed(what: impl Into<String>, cause: impl std::fmt::Display) -> Error {
        Error::Malformed { what: what.into(), cause: cause.to_string() }
    }

    pub(crate) fn transport(method: &'static str, url: &str, error: reqwest::Error) -> Error {
        let error = error.without_url();
        let mut cause = error.to_string();
        let mut at = std::error::Error::source(&error);
        while let Some(e) = at {
            cause = format!("{cause}: {e}");
            at = e.source();
        }
        Error::Transport { method, url: url.to_owned(), cause }
    }
}
