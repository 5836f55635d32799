//! Answers compressed for clients that accept it.
//!
//! Wraps a body, whole or streamed, as Thanos' middleware does it: from 1 KiB up, and only where nothing
//! else encoded it. It reads no route. Invariant: each piece of a streamed body goes out before the next
//! is asked for, so that a slow producer is not held up further.

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;

use super::{Body, BoxError, Response};

/// Whole bodies below this stay as they are.
const LEAST: u64 = 1024;

/// Compresses `response` where `request` accepts it, and says that it depends on that.
pub(super) fn answer(request: &HeaderMap, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let small = response.body().size_hint().exact().is_some_and(|n| n < LEAST);
    if small || response.headers().contains_key(header::CONTENT_ENCODING) || !accepts(request) {
        return response;
    }
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.map(|body| {
        let encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
        Zipped { body, encoder }.boxed_unsync()
    })
}

/// Whether gzip is among the accepted codings.
pub(super) fn accepts(request: &HeaderMap) -> bool {
    let values = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|clause| {
        let mut parts = clause.split(';').map(str::trim);
        let coding = parts.next().unwrap_or("");
        let quality = parts.find_map(|p| p.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
        coding == "gzip" && quality.is_none_or(|q: f64| q > 0.0)
    })
}

struct Zipped {
    body: Body,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl http_body::Body for Zipped {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            let Some(encoder) = &mut this.encoder else { return Poll::Ready(None) };
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    encoder.write_all(&data)?;
                    encoder.flush()?;
                    let out = std::mem::take(encoder.get_mut());
                    if !out.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(out.into()))));
                    }
                }
                Some(Err(e)) => {
                    this.encoder = None;
                    return Poll::Ready(Some(Err(e)));
                }
                None => {
                    let Some(encoder) = this.encoder.take() else { return Poll::Ready(None) };
                    return Poll::Ready(Some(Ok(Frame::data(encoder.finish()?.into()))));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::super::body;
    use super::*;

    fn headers(accept: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))])
    }

    #[test]
    fn codings_are_negotiated() {
        for (accept, want) in
            [("gzip", true), ("deflate, gzip;q=0.5", true), ("*", false), ("gzip;q=0", false), ("br", false)]
        {
            assert_eq!(accepts(&headers(accept)), want, "{accept}");
        }
    }

    #[tokio::test]
    async fn streams_and_long_bodies_are_compressed_short_ones_are_not() {
        let pieces = ["a", "b"].map(|p| Ok(Bytes::from(p.repeat(700))));
        let streamed = Response::new(body::stream(futures::stream::iter(pieces)));
        let response = answer(&headers("gzip"), streamed);
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        let zipped = response.into_body().collect().await.unwrap().to_bytes();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&zipped[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "a".repeat(700) + &"b".repeat(700));

        let short = answer(&headers("gzip"), Response::new(body::full("x".repeat(1023))));
        assert!(!short.headers().contains_key(header::CONTENT_ENCODING));
        assert_eq!(short.headers()[header::VARY], "Accept-Encoding");
        let broken = body::stream(futures::stream::iter([Ok(Bytes::from("[")), Err("gone".into())]));
        assert!(answer(&headers("gzip"), Response::new(broken)).into_body().collect().await.is_err());
    }
}
