//! `grpc-encoding: snappy` and `gzip`, for either side of a call.
//!
//! tonic knows a closed list of encodings, so messages are compressed and decompressed here, between
//! it and the connection: a [`Rewritten`] body changes them one by one and tonic sees none of it. It
//! opens no connection. Invariant: a message is in memory once plain and once compressed, a body
//! never; an empty message is never compressed, as in Go. Counterpart: Thanos `pkg/extgrpc/snappy`.

use std::io::{Read as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::MAX_MESSAGE;
use super::frames::{HEAD, Splitter};
use super::snappy::{self, Decoder, Encoder};

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// How messages of a body are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Snappy's framed stream.
    Snappy,
    /// RFC 1952.
    Gzip,
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Encoding::Snappy => "snappy",
            Encoding::Gzip => "gzip",
        }
    }

    /// Takes the encoding out of `headers`, if it is one of ours: what it says is undone here.
    pub(super) fn take(headers: &mut HeaderMap) -> Option<Self> {
        let named = headers.get(ENCODING)?;
        let encoding = [Encoding::Snappy, Encoding::Gzip].into_iter().find(|e| named == e.name())?;
        headers.remove(ENCODING);
        Some(encoding)
    }

    /// Says that the messages are compressed so.
    pub(super) fn announce(self, headers: &mut HeaderMap) {
        headers.insert(ENCODING, HeaderValue::from_static(self.name()));
    }

    /// The body with every message that is not empty compressed.
    pub(super) fn compressed(self, body: Body) -> Body {
        let mut encoder = Encoder::default();
        Body::new(Rewritten::new(body, move |flag, message: Bytes, out: &mut BytesMut| {
            if flag != 0 || message.is_empty() {
                return put(out, flag, &message);
            }
            let head = out.len();
            out.put_bytes(0, HEAD);
            let failed =
                |e: &dyn std::fmt::Display| Status::internal(format!("grpc: error while compressing: {e}"));
            match self {
                Encoding::Snappy => encoder.encode(&message, out).map_err(|e| failed(&e))?,
                Encoding::Gzip => {
                    let mut encoder = GzEncoder::new((&mut *out).writer(), flate2::Compression::fast());
                    encoder
                        .write_all(&message)
                        .and_then(|()| encoder.try_finish())
                        .map_err(|e| failed(&e))?;
                }
            }
            let length = u32::try_from(out.len() - head - HEAD)
                .map_err(|_| Status::resource_exhausted("grpc: compressed message larger than 4 GiB"))?;
            out[head] = 1;
            out[head + 1..head + HEAD].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }))
    }

    /// The body with every compressed message made plain.
    pub(super) fn decompressed(self, body: Body) -> Body {
        let mut decoder = Decoder::default();
        Body::new(Rewritten::new(body, move |flag, message: Bytes, out: &mut BytesMut| {
            if flag != 1 {
                return put(out, flag, &message);
            }
            let plain = match self {
                Encoding::Snappy => decoder.decode(&message, MAX_MESSAGE),
                Encoding::Gzip => gunzip(&message),
            };
            let plain = plain.map_err(|e| match e {
                snappy::Error::TooLarge(limit) => Status::resource_exhausted(format!(
                    "grpc: received message after decompression larger than max {limit}"
                )),
                e => Status::internal(format!("grpc: failed to decompress the received message: {e}")),
            })?;
            put(out, 0, &plain)
        }))
    }
}

/// Says that answers may be compressed with snappy.
pub(super) fn accept_snappy(headers: &mut HeaderMap) {
    headers.insert(ACCEPT, HeaderValue::from_static("snappy"));
}

/// Gzip can promise a thousand times its size; no message that anyone sends shrinks so well.
const GZIP_RATIO: usize = 64;

fn gunzip(message: &[u8]) -> Result<Bytes, snappy::Error> {
    let limit = MAX_MESSAGE.min(message.len() * GZIP_RATIO + (1 << 20));
    let mut plain = Vec::new();
    let mut limited = MultiGzDecoder::new(message).take(limit as u64 + 1);
    limited.read_to_end(&mut plain).map_err(|_| snappy::Error::Gzip)?;
    if plain.len() > limit { Err(snappy::Error::TooLarge(limit)) } else { Ok(plain.into()) }
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

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
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
        let sizes = [1, 4, 1000, plain.len()];
        for (encoding, size) in
            [Encoding::Snappy, Encoding::Gzip].into_iter().flat_map(|e| sizes.map(|s| (e, s)))
        {
            let (wire, trailers) = collected(encoding.compressed(body(plain.clone(), size))).await.unwrap();
            assert!(trailers && wire.len() < plain.len() / 10, "{size}");
            let mut splitter = Splitter::default();
            splitter.push(wire.clone().into());
            let flags: Vec<u8> = std::iter::from_fn(|| splitter.next().unwrap()).map(|(f, _)| f).collect();
            assert_eq!(flags, [1, 0, 1]);
            let (back, trailers) = collected(encoding.decompressed(body(wire, size))).await.unwrap();
            assert!(trailers && back == plain, "{size}");
        }
    }

    #[tokio::test]
    async fn damaged_messages_end_the_body_with_a_status() {
        let status =
            collected(Encoding::Snappy.decompressed(body(message(1, b"nonsense"), 100))).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Internal);
        assert_eq!(
            status.message(),
            "grpc: failed to decompress the received message: snappy: corrupt input at offset 0"
        );
        let mut bomb = GzEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(&vec![0; 64 << 20]).unwrap();
        let bomb = message(1, &bomb.finish().unwrap());
        let status = collected(Encoding::Gzip.decompressed(body(bomb, 1 << 20))).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        let mut cut = message(0, b"whole");
        cut.pop();
        let status = collected(Encoding::Snappy.decompressed(body(cut, 100))).await.unwrap_err();
        assert_eq!(status.message(), "unexpected EOF");
    }
}
