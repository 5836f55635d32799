//! What the SDK's errors mean to a caller.
//!
//! Holds the mapping to [`ErrorKind`]. Invariants: only a missing object is not found, never a missing
//! bucket; a refusal is never taken for absence.

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::{Error, ErrorKind};

/// Codes and statuses after which the same request may succeed; upstream's S3 client has the same.
const RETRIED: [&str; 15] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InternalError",
    "RequestError",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];
const RETRIED_STATUS: [u16; 8] = [408, 429, 499, 500, 502, 503, 504, 520];
const DENIED: [&str; 5] =
    ["AccessDenied", "AllAccessDisabled", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"];

/// The HTTP status of an answer, where there was one.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|r| r.status().as_u16())
}

pub(super) fn classify<E>(operation: &'static str, key: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let (kind, text) = match &error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let (code, message) = (answer.err().code(), answer.err().message());
            let kind = match (code, status) {
                (Some("NoSuchKey" | "NotFound"), _) => ErrorKind::NotFound,
                // The answer to HEAD has no body that could tell more.
                (None, 404) => ErrorKind::NotFound,
                (Some(code), _) if DENIED.contains(&code) => ErrorKind::AccessDenied,
                (Some(code), _) if RETRIED.contains(&code) => ErrorKind::Retry,
                (_, 401 | 403) => ErrorKind::AccessDenied,
                (_, status) if RETRIED_STATUS.contains(&status) => ErrorKind::Retry,
                (Some("EntityTooLarge" | "QuotaExceeded"), _) => ErrorKind::Limit,
                // Success with an error inside (a multipart upload that could not be completed).
                (_, 200) => ErrorKind::Retry,
                (_, 400 | 405 | 411 | 412 | 414) => ErrorKind::Invalid,
                _ => ErrorKind::Other,
            };
            let text = match (code, message) {
                (Some(code), Some(message)) => format!("{code}: {message} (status {status})"),
                (Some(code), None) => format!("{code} (status {status})"),
                (None, _) => format!("status {status}"),
            };
            (kind, text)
        }
        SdkError::ConstructionFailure(_) => (ErrorKind::Other, DisplayErrorContext(&error).to_string()),
        SdkError::DispatchFailure(failure) if failure.is_user() => {
            (ErrorKind::Invalid, DisplayErrorContext(&error).to_string())
        }
        // The network, or an answer that broke off.
        _ => (ErrorKind::Retry, DisplayErrorContext(&error).to_string()),
    };
    Error::new(kind, operation, key, text)
}
