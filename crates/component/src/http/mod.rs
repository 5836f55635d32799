//! The HTTP side of a service: one port for API, metrics and probes.
//!
//! Holds the request and response types, the [`Router`] and the [`Server`]. It knows no endpoint of
//! any service. Invariant: `/metrics` and the probes answer while handlers are busy, because the
//! server runs on threads of its own; handlers that compute hand over to a pool. Parts: `router`,
//! `server`, `exposition`, `gzip`, `instrument`, `web_config`.

mod exposition;
mod gzip;
mod instrument;
mod router;
mod server;
#[cfg(test)]
mod tests;
mod web_config;

use bytes::Bytes;
use futures::Stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};

pub use instrument::{Metrics, Tenant};
pub use router::{BadRoute, PathParams, Router, Routes, param};
pub use server::{Running, Server};

/// Any error a body may end with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body, streamed or whole.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;
/// What handlers get.
pub type Request = http::Request<Body>;
/// What handlers return.
pub type Response = http::Response<Body>;

/// Making bodies.
pub mod body {
    use futures::StreamExt as _;
    use http_body_util::BodyExt as _;

    use super::{Body, BoxError, Bytes, Full, Stream, StreamBody};

    /// A body that is there already.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
    }

    /// No bytes.
    pub fn empty() -> Body {
        full(Bytes::new())
    }

    /// A body whose pieces come later; the reader's pace is the stream's.
    pub fn stream(pieces: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Body {
        StreamBody::new(pieces.map(|piece| piece.map(http_body::Frame::data))).boxed_unsync()
    }
}

/// A plain-text answer as Go's `http.Error` gives it: the text, a newline, and two headers.
pub fn plain_error(status: http::StatusCode, text: &str) -> Response {
    let mut response = Response::new(body::full(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, http::HeaderValue::from_static("nosniff"));
    response
}

/// The most bytes [`form`] reads of a body.
pub const MAX_FORM: usize = 10 << 20;

/// The parameters of a request: the form of a POST, then the query string, as Go's `ParseForm` orders
/// them.
///
/// # Errors
/// A message for a 400 answer: malformed escapes, a body over [`MAX_FORM`] or one that breaks off.
pub async fn form(request: Request) -> Result<Vec<(String, String)>, String> {
    let (parts, body) = request.into_parts();
    let mut pairs = Vec::new();
    let is_form = parts
        .headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.split(';').next().unwrap_or("").trim() == "application/x-www-form-urlencoded");
    if is_form && matches!(parts.method.as_str(), "POST" | "PUT" | "PATCH") {
        let mut body = body;
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|e| e.to_string())?.into_data() else { continue };
            if bytes.len() + data.len() > MAX_FORM {
                return Err("http: request body too large".to_owned());
            }
            bytes.extend_from_slice(&data);
        }
        parse_pairs(&mut pairs, &bytes)?;
    }
    parse_pairs(&mut pairs, parts.uri.query().unwrap_or("").as_bytes())?;
    Ok(pairs)
}

fn parse_pairs(pairs: &mut Vec<(String, String)>, text: &[u8]) -> Result<(), String> {
    for part in text.split(|b| *b == b'&').filter(|part| !part.is_empty()) {
        if part.contains(&b';') {
            return Err("invalid semicolon separator in query".to_owned());
        }
        let (name, value) = match part.iter().position(|b| *b == b'=') {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => (part, &part[part.len()..]),
        };
        pairs.push((unescape(name)?, unescape(value)?));
    }
    Ok(())
}

fn unescape(text: &[u8]) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'+' => out.push(b' '),
            b'%' => {
                let hex = text.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok());
                let byte = hex
                    .filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
                    .and_then(|h| u8::from_str_radix(h, 16).ok());
                let Some(byte) = byte else {
                    let shown = &text[at..(at + 3).min(text.len())];
                    return Err(format!("invalid URL escape {:?}", String::from_utf8_lossy(shown)));
                };
                out.push(byte);
                at += 2;
            }
            b => out.push(b),
        }
        at += 1;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}
