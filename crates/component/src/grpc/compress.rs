//! `grpc-encoding: snappy`, for either side of a call.
//!
//! tonic knows a closed list of encodings, so messages are compressed and decompressed here, between
//! it and the connection: a [`Rewritten`] body changes them one by one and tonic sees none of it. It
//! opens no connection. Invariant: a message is in memory once plain and once compressed, a body
//! never; an empty message is never compressed, as in Go. Counterpart: Thanos `pkg/extgrpc/snappy`.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::MAX_MESSAGE;
use super::frames::{HEAD, Splitter};
use super::snappy::{Decoder, Encoder, Error};

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const SNAPPY: HeaderValue = HeaderValue::from_static("snappy");

/// Takes `grpc-encoding: snappy` out of `headers`, and says whether it was there.
pub(super) fn take_encoding(headers: &mut HeaderMap) -> bool {
    let snappy = headers.get(ENCODING).is_some_and(|v| v == SNAPPY);
    if snappy {
        headers.remove(ENCODING);
    }
    snappy
}

/// Says that the messages are compressed with snappy.
pub(super) fn set_encoding(headers: &mut HeaderMap) {
    headers.insert(ENCODING, SNAPPY);
}

/// Says that answers may be compressed with snappy.
pub(super) fn set_accepted(headers: &mut HeaderMap) {
    headers.insert(ACCEPT, SNAPPY);
}

/// The body with every message that is not empty compressed.
pub(super) fn compressed(body: Body) -> Body {
    let mut encoder = Encoder::default();
    Body::new(Rewritten::new(body, move |flag, message: Bytes, out: &mut BytesMut| {
        if flag != 0 || message.is_empty() {
            return put(out, flag, &message);
        }
        let head = out.len();
        out.put_bytes(0, HEAD);
        encoder
            .encode(&message, out)
            .map_err(|e| Status::internal(format!("grpc: error while compressing: {e}")))?;
        let length = u32::try_from(out.len() - head - HEAD)
            .map_err(|_| Status::resource_exhausted("grpc: compressed message larger than 4 GiB"))?;
        out[head] = 1;
        out[head + 1..head + HEAD].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }))
}

/// The body with every compressed message made plain.
pub(super) fn decompressed(body: Body) -> Body {
    let mut decoder = Decoder::default();
    Body::new(Rewritten::new(body, move |flag, message: Bytes, out: &mut BytesMut| {
        if flag != 1 {
            return put(out, flag, &message);
        }
        let plain = decoder.decode(&message, MAX_MESSAGE).map_err(|e| match e {
            Error::TooLarge(limit) => Status::resource_exhausted(format!(
                "grpc: received message after decompression larger than max {limit}"
            )),
            e => Status::internal(format!("grpc: failed to decompress the received message: {e}")),
        })?;
        put(out, 0, &plain)
    }))
}

fn put(out: &mut BytesMut, flag: u8, message: &[u8]) -> Result<(), Status> {
    let length = u32::try_from(message.len())
        .map_err(|_| Status::resource_exhausted("grpc: message larger than 4 GiB"))?;
    out.reserve(HEAD + message.len());
    out.put_u8(flag);
    out.put_u32(length);
    out.put_slice(message);
    Ok(())
}

/// Messages of one piece are handed on together up to about this many bytes.
const TOGETHER: usize = 64 << 10;

/// A body whose messages are changed on their way.
struct Rewritten<F> {
    inner: Body,
    splitter: Splitter,
    rewrite: F,
    failed: bool,
}

impl<F> Rewritten<F>
where
    F: FnMut(u8, Bytes, &mut BytesMut) -> Result<(), Status>,
{
    fn new(inner: Body, rewrite: F) -> Self {
        Rewritten { inner, splitter: Splitter::default(), rewrite, failed: false }
    }

    /// The messages that are there, changed; empty when more has to come.
    fn ready(&mut self) -> Result<Bytes, Status> {
        let mut out = BytesMut::new();
        while out.len() < TOGETHER
            && let Some((flag, message)) = self.splitter.next()?
        {
            (self.rewrite)(flag, message, &mut out)?;
        }
        Ok(out.freeze())
    }
}

impl<F> http_body::Body for Rewritten<F>
where
    F: FnMut(u8, Bytes, &mut BytesMut) -> Result<(), Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if this.failed {
                return Poll::Ready(None);
            }
            match this.ready() {
                Ok(out) if !out.is_empty() => return Poll::Ready(Some(Ok(Frame::data(out)))),
                Ok(_) => {}
                Err(status) => {
                    this.failed = true;
                    return Poll::Ready(Some(Err(status)));
                }
            }
            let next = match std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => {
                        this.splitter.push(piece);
                        continue;
                    }
                    Err(trailers) => Some(Ok(trailers)),
                },
                other => other,
            };
            if this.splitter.is_empty() || matches!(next, Some(Err(_))) {
                return Poll::Ready(next);
            }
            this.failed = true;
            return Poll::Ready(Some(Err(Status::internal("unexpected EOF"))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed || (self.splitter.is_empty() && self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn message(flag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        put(&mut out, flag, content).unwrap();
        out.to_vec()
    }

    /// A body in pieces of `size`, with trailers.
    fn body(bytes: Vec<u8>, size: usize) -> Body {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let pieces: Vec<_> = bytes.chunks(size).map(|p| Frame::data(Bytes::copy_from_slice(p))).collect();
        let frames = pieces.into_iter().chain([Frame::trailers(trailers)]);
        Body::new(StreamBody::new(futures::stream::iter(frames).map(Ok::<_, Status>)))
    }

    async fn collected(body: Body) -> Result<(Vec<u8>, bool), Status> {
        let whole = body.collect().await?;
        let trailers = whole.trailers().is_some();
        Ok((whole.to_bytes().to_vec(), trailers))
    }

    #[tokio::test]
    async fn messages_survive_both_ways_and_empty_ones_stay_plain() {
        let long = vec![7u8; 200_000];
        let plain: Vec<u8> = [&long[..], b"", b"short"].iter().flat_map(|m| message(0, m)).collect();
        for size in [1, 4, 1000, plain.len()] {
            let (wire, trailers) = collected(compressed(body(plain.clone(), size))).await.unwrap();
            assert!(trailers && wire.len() < plain.len() / 10, "{size}");
            let mut splitter = Splitter::default();
            splitter.push(wire.clone().into());
            let flags: Vec<u8> = std::iter::from_fn(|| splitter.next().unwrap()).map(|(f, _)| f).collect();
            assert_eq!(flags, [1, 0, 1]);
            let (back, trailers) = collected(decompressed(body(wire, size))).await.unwrap();
            assert!(trailers && back == plain, "{size}");
        }
    }

    #[tokio::test]
    async fn damaged_messages_end_the_body_with_a_status() {
        let status = collected(decompressed(body(message(1, b"nonsense"), 100))).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Internal);
        assert_eq!(
            status.message(),
            "grpc: failed to decompress the received message: snappy: corrupt input at offset 0"
        );
        let mut cut = message(0, b"whole");
        cut.pop();
        let status = collected(decompressed(body(cut, 100))).await.unwrap_err();
        assert_eq!(status.message(), "unexpected EOF");
    }
}
