//! Remote read: chunks as a stream of frames, or samples from an old Prometheus.
//!
//! Holds the request and both forms of answer. It does not decode chunks. Invariant: one frame is in
//! memory at a time, and the next is read from the socket only when it is asked for. Parts: `frames`.

pub mod frames;

use bytes::{Bytes, BytesMut};
use model::Matcher;
use prost::Message as _;
use storeapi_proto::convert::to_prometheus_matchers;
use storeapi_proto::prometheus::{ChunkedReadResponse, Query, ReadRequest, ReadResponse, read_request};

use crate::client::{MAX_ANSWER, success};
use crate::error::FrameError;
use crate::{Client, Error};
use frames::Frames;

/// The largest frame that is read: Prometheus' own default for clients.
pub const MAX_FRAME: u64 = 50_000_000;

/// A remote read answer.
#[expect(clippy::large_enum_variant, reason = "there is one a request")]
#[derive(Debug)]
pub enum Answer {
    /// Chunks, frame by frame.
    Chunks(ChunkStream),
    /// All samples at once, from a Prometheus that streams no chunks.
    Samples(Box<ReadResponse>),
}

/// Frames of chunks, as they arrive.
#[derive(Debug)]
pub struct ChunkStream {
    url: String,
    answer: reqwest::Response,
    frames: Frames,
    _permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl ChunkStream {
    /// The next message; `None` after the last. Its chunk data are slices of the frame.
    ///
    /// # Errors
    /// Damaged frames, and connections that end early.
    pub async fn next(&mut self) -> Result<Option<ChunkedReadResponse>, Error> {
        loop {
            if let Some(frame) = self.frames.next_frame()? {
                let number = self.frames.count() - 1;
                let message = ChunkedReadResponse::decode(frame).map_err(|e| Error::Frame {
                    frame: number,
                    reason: FrameError::Message(e.to_string()),
                })?;
                return Ok(Some(message));
            }
            match self.answer.chunk().await.map_err(|e| Error::transport("POST", &self.url, e))? {
                Some(piece) => self.frames.push(piece),
                None => return self.frames.finish().map(|()| None),
            }
        }
    }

    /// Frames read so far.
    pub fn count(&self) -> u64 {
        self.frames.count()
    }
}

/// The body of a request for one query.
pub fn request_body(matchers: &[Matcher], start: i64, end: i64) -> Vec<u8> {
    let query = Query {
        start_timestamp_ms: start,
        end_timestamp_ms: end,
        matchers: to_prometheus_matchers(matchers),
        hints: None,
    };
    let accepted = [read_request::ResponseType::StreamedXorChunks, read_request::ResponseType::Samples];
    let request =
        ReadRequest { queries: vec![query], accepted_response_types: accepted.map(|t| t as i32).to_vec() };
    request.encode_to_vec()
}

impl Client {
    /// Reads series that match, from `start` to `end` in milliseconds, both included.
    ///
    /// # Errors
    /// When Prometheus does not answer, refuses, or answers in no form we know.
    pub async fn remote_read(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Answer, Error> {
        let message = request_body(matchers, start, end);
        let body = snap::raw::Encoder::new()
            .compress_vec(&message)
            .map_err(|e| Error::malformed("remote read request", e))?;
        let url = self.url(&["api", "v1", "read"]);
        let shown = url.to_string();
        let (answer, permit) = self
            .send("POST", url, |r| {
                r.header("Content-Encoding", "snappy")
                    .header("Content-Type", "application/x-stream-protobuf")
                    .header("X-Prometheus-Remote-Read-Version", "0.1.0")
                    .body(body)
            })
            .await?;
        let answer = success(answer).await?;
        let kind = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
        if kind.starts_with("application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse") {
            let frames = Frames::new(MAX_FRAME);
            return Ok(Answer::Chunks(ChunkStream { url: shown, answer, frames, _permit: permit }));
        }
        if kind.starts_with("application/x-protobuf") {
            let packed = self.read("POST", answer).await?;
            return samples(&packed.body).map(|r| Answer::Samples(Box::new(r)));
        }
        Err(Error::malformed("remote read", format!("not supported remote read content type: {kind}")))
    }
}

/// A sampled answer: one snappy block with one message that holds one result.
///
/// # Errors
/// [`Error::Malformed`].
pub fn samples(packed: &[u8]) -> Result<ReadResponse, Error> {
    let size = snap::raw::decompress_len(packed).map_err(|e| Error::malformed("decompress response", e))?;
    // Snappy makes at most 64 bytes of 3; what claims more lies.
    let most = (packed.len() as u64).saturating_mul(64).saturating_add(1 << 20).min(MAX_ANSWER);
    if size as u64 > most {
        return Err(Error::malformed("decompress response", format!("{size} bytes announced")));
    }
    let plain = snap::raw::Decoder::new()
        .decompress_vec(packed)
        .map_err(|e| Error::malformed("decompress response", e))?;
    let response =
        ReadResponse::decode(Bytes::from(plain)).map_err(|e| Error::malformed("unmarshal response", e))?;
    match response.results.len() {
        1 => Ok(response),
        n => Err(Error::malformed("remote read", format!("unexpected result size {n}"))),
    }
}

/// Writes one frame as Prometheus does: varint length, CRC32C big-endian, message.
pub fn put_frame(out: &mut BytesMut, message: &[u8]) {
    prost::encoding::encode_varint(message.len() as u64, out);
    out.extend_from_slice(&crc32c::crc32c(message).to_be_bytes());
    out.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_refuse_lies() {
        let pack = |m: &ReadResponse| snap::raw::Encoder::new().compress_vec(&m.encode_to_vec()).unwrap();
        let one = ReadResponse { results: vec![Default::default()] };
        assert_eq!(samples(&pack(&one)).unwrap(), one);
        assert!(samples(&pack(&ReadResponse::default())).is_err());
        assert!(samples(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]).is_err());
        assert!(samples(b"").is_err());
    }
}
