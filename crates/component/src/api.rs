//! The JSON envelope of Prometheus' HTTP API.
//!
//! `{"status","data","errorType","error","warnings","infos"}`, written from a value or streamed. It
//! knows no endpoint. Invariant: what is written is one JSON document, also when streaming stops
//! halfway: then the connection breaks instead of a wrong document ending well.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::http::{BoxError, Response, body};

/// Prometheus' error types and the status each answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// `bad_data`, 400.
    BadData,
    /// `execution`, 422.
    Execution,
    /// `canceled`, 503 as in Thanos.
    Canceled,
    /// `timeout`, 503.
    Timeout,
    /// `internal`, 500.
    Internal,
    /// `not_found`, 404.
    NotFound,
}

impl ErrorType {
    /// The word in `errorType`.
    pub fn word(self) -> &'static str {
        match self {
            ErrorType::BadData => "bad_data",
            ErrorType::Execution => "execution",
            ErrorType::Canceled => "canceled",
            ErrorType::Timeout => "timeout",
            ErrorType::Internal => "internal",
            ErrorType::NotFound => "not_found",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            ErrorType::BadData => StatusCode::BAD_REQUEST,
            ErrorType::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorType::Canceled | ErrorType::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            ErrorType::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            ErrorType::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
    #[serde(rename = "errorType", skip_serializing_if = "Option::is_none")]
    error_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    infos: &'a [String],
}

/// A successful answer.
pub fn success<T: Serialize>(data: &T, warnings: &[String], infos: &[String]) -> Response {
    let envelope =
        Envelope { status: "success", data: Some(data), error_type: None, error: None, warnings, infos };
    match serde_json::to_vec(&envelope) {
        Ok(bytes) => json(StatusCode::OK, body::full(escape_html(bytes))),
        Err(e) => error(ErrorType::Internal, &format!("encoding the answer: {e}")),
    }
}

/// A failed answer.
pub fn error(kind: ErrorType, message: &str) -> Response {
    error_with_status(kind, kind.status(), message)
}

/// A failed answer under another status than the type's own.
pub fn error_with_status(kind: ErrorType, status: StatusCode, message: &str) -> Response {
    let envelope = Envelope::<()> {
        status: "error",
        data: None,
        error_type: Some(kind.word()),
        error: Some(message),
        warnings: &[],
        infos: &[],
    };
    let bytes = serde_json::to_vec(&envelope).unwrap_or_default();
    json(status, body::full(escape_html(bytes)))
}

/// How a streamed answer ends.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// Warnings gathered while streaming.
    pub warnings: Vec<String>,
    /// Infos gathered while streaming.
    pub infos: Vec<String>,
}

/// A successful answer whose `data` is written piece by piece; `tail` is asked when `data` has ended.
/// An error from `data` breaks the connection, as the status line is gone by then.
pub fn stream_success<S, F>(data: S, tail: F) -> Response
where
    S: Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    F: FnOnce() -> Tail + Send + 'static,
{
    let head = futures::stream::once(async { Ok(Bytes::from_static(b"{\"status\":\"success\",\"data\":")) });
    let end = futures::stream::once(async move {
        let Tail { warnings, infos } = tail();
        let mut out = Vec::new();
        for (name, list) in [("warnings", warnings), ("infos", infos)] {
            if !list.is_empty() {
                out.extend_from_slice(format!(",\"{name}\":").as_bytes());
                out.extend(escape_html(serde_json::to_vec(&list)?));
            }
        }
        out.push(b'}');
        Ok(Bytes::from(out))
    });
    json(StatusCode::OK, body::stream(head.chain(data).chain(end)))
}

/// Go's encoder writes `<`, `>`, `&`, U+2028 and U+2029 as `\u` escapes. They stand only inside strings,
/// so replacing bytes is safe.
pub fn escape_html(json: Vec<u8>) -> Vec<u8> {
    let plain = |at: usize, b: u8| {
        !(matches!(b, b'<' | b'>' | b'&')
            || (b == 0xE2 && matches!(json.get(at + 1..at + 3), Some([0x80, 0xA8 | 0xA9]))))
    };
    if json.iter().enumerate().all(|(at, b)| plain(at, *b)) {
        return json;
    }
    let mut out = Vec::with_capacity(json.len() + 64);
    let mut at = 0;
    while at < json.len() {
        let b = json[at];
        match b {
            b if plain(at, b) => out.push(b),
            b'<' => out.extend_from_slice(b"\\u003c"),
            b'>' => out.extend_from_slice(b"\\u003e"),
            b'&' => out.extend_from_slice(b"\\u0026"),
            _ => {
                out.extend_from_slice(if json[at + 2] == 0xA8 { b"\\u2028" } else { b"\\u2029" });
                at += 2;
            }
        }
        at += 1;
    }
    out
}

fn json(status: StatusCode, body: crate::http::Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    async fn text(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn envelopes_as_prometheus_writes_them() {
        assert_eq!(text(success(&["a"], &[], &[])).await, r#"{"status":"success","data":["a"]}"#);
        assert_eq!(
            text(success(&1, &["w<1>&\u{2028}".to_owned()], &["i".to_owned()])).await,
            r#"{"status":"success","data":1,"warnings":["w\u003c1\u003e\u0026\u2028"],"infos":["i"]}"#
        );
        let response = error(ErrorType::BadData, "no \"x\"");
        assert_eq!(response.status(), 400);
        assert_eq!(text(response).await, r#"{"status":"error","errorType":"bad_data","error":"no \"x\""}"#);
    }

    #[tokio::test]
    async fn streams_pieces_between_head_and_tail() {
        let pieces = futures::stream::iter(["[1", ",2]"].map(|p| Ok(Bytes::from(p))));
        let tail = || Tail { warnings: vec!["late".to_owned()], infos: Vec::new() };
        assert_eq!(
            text(stream_success(pieces, tail)).await,
            r#"{"status":"success","data":[1,2],"warnings":["late"]}"#
        );
        let broken = futures::stream::iter([Ok(Bytes::from("[")), Err("store gone".into())]);
        assert!(stream_success(broken, Tail::default).into_body().collect().await.is_err());
    }
}
