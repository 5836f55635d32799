//! `thanos.SeriesResponse` to and from bytes, without the generated types in between.
//!
//! Holds the hot end of the wire: labels are written from and read into their compact form, chunk
//! data is a slice of the received frame. It knows no stream and no transport beyond tonic's codec
//! trait. Invariant: what is written decodes with the generated message to the same content, and
//! decoding never allocates more than a small multiple of the frame.

use bytes::{BufMut, Bytes};
use model::Labels;
use prost::Message as _;
use smallvec::SmallVec;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::buffers;
use crate::series::{Aggr, AggrChunk, Chunk, Part, Series};
use crate::store::Item;

/// One message of the Series stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// One series.
    Series(Series),
    /// Several series in one message.
    Batch(Vec<Series>),
    /// A warning.
    Warning(String),
    /// Hints.
    Hints(prost_types::Any),
}

const VARINT: u32 = 0;
const LEN: u32 = 2;

fn varint_len(v: u64) -> usize {
    // Seven bits a byte, at least one byte.
    ((64 - (v | 1).leading_zeros() as usize) * 9 + 64) / 64
}

fn put_varint(out: &mut impl BufMut, mut v: u64) {
    while v >= 0x80 {
        out.put_u8(v as u8 | 0x80);
        v >>= 7;
    }
    out.put_u8(v as u8);
}

fn put_len(out: &mut impl BufMut, tag: u32, len: usize) {
    out.put_u8((tag << 3 | LEN) as u8);
    put_varint(out, len as u64);
}

fn put_int(out: &mut impl BufMut, tag: u32, v: u64) {
    if v != 0 {
        out.put_u8((tag << 3 | VARINT) as u8);
        put_varint(out, v);
    }
}

fn int_len(v: u64) -> usize {
    if v == 0 { 0 } else { 1 + varint_len(v) }
}

fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

fn text_len(len: usize) -> usize {
    if len == 0 { 0 } else { field_len(len) }
}

fn chunk_len(c: &Chunk) -> usize {
    int_len(c.encoding as u64) + text_len(c.data.len()) + int_len(c.hash)
}

fn aggr_chunk_len(c: &AggrChunk) -> usize {
    int_len(c.min_time as u64)
        + int_len(c.max_time as u64)
        + c.parts.iter().map(|p| field_len(chunk_len(&p.chunk))).sum::<usize>()
}

/// Bytes of a `thanos.Series` message.
pub fn series_len(s: &Series) -> usize {
    let labels: usize =
        s.labels.iter_bytes().map(|(n, v)| field_len(text_len(n.len()) + text_len(v.len()))).sum();
    labels + s.chunks.iter().map(|c| field_len(aggr_chunk_len(c))).sum::<usize>()
}

/// Bytes of the chunks of one series as Thanos counts them (`chunksSize`).
pub fn chunks_len(chunks: &[AggrChunk]) -> usize {
    chunks.iter().map(aggr_chunk_len).sum()
}

fn put_series(out: &mut impl BufMut, s: &Series) {
    for (name, value) in s.labels.iter_bytes() {
        put_len(out, 1, text_len(name.len()) + text_len(value.len()));
        for (tag, text) in [(1, name), (2, value)] {
            if !text.is_empty() {
                put_len(out, tag, text.len());
                out.put_slice(text);
            }
        }
    }
    for c in &s.chunks {
        put_len(out, 2, aggr_chunk_len(c));
        put_int(out, 1, c.min_time as u64);
        put_int(out, 2, c.max_time as u64);
        for part in &c.parts {
            put_len(out, 3 + part.aggr as u32, chunk_len(&part.chunk));
            put_int(out, 1, part.chunk.encoding as u64);
            if !part.chunk.data.is_empty() {
                put_len(out, 2, part.chunk.data.len());
                out.put_slice(&part.chunk.data);
            }
            put_int(out, 3, part.chunk.hash);
        }
    }
}

/// Writes one frame.
pub fn encode(frame: &Frame, out: &mut impl BufMut) {
    match frame {
        Frame::Series(s) => {
            put_len(out, 1, series_len(s));
            put_series(out, s);
        }
        Frame::Warning(text) => {
            put_len(out, 2, text.len());
            out.put_slice(text.as_bytes());
        }
        Frame::Hints(any) => {
            put_len(out, 3, any.encoded_len());
            out.put_slice(&any.encode_to_vec());
        }
        Frame::Batch(all) => {
            // The lengths are needed twice; a batch is some 64 series.
            let lens: Vec<usize> = all.iter().map(series_len).collect();
            put_len(out, 4, lens.iter().map(|l| field_len(*l)).sum());
            for (s, len) in all.iter().zip(lens) {
                put_len(out, 1, len);
                put_series(out, s);
            }
        }
    }
}

/// Exact length of a frame.
pub fn frame_len(frame: &Frame) -> usize {
    match frame {
        Frame::Series(s) => field_len(series_len(s)),
        Frame::Warning(text) => field_len(text.len()),
        Frame::Hints(any) => field_len(any.encoded_len()),
        Frame::Batch(all) => field_len(all.iter().map(|s| field_len(series_len(s))).sum()),
    }
}

/// A frame that is not what the protocol allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed series frame at byte {at}: {what}")]
pub struct Malformed {
    /// Offset within the frame.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// A cursor over the frame, by offset, so that slices of the shared bytes can be handed out.
struct Cursor<'a> {
    frame: &'a Bytes,
    /// The frame up to where this cursor may go.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn fail<T>(&self, what: &'static str) -> Result<T, Malformed> {
        Err(Malformed { at: self.at, what })
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        // Keys, and most lengths, take one byte.
        if let Some(b @ 0..0x80) = self.bytes.get(self.at) {
            self.at += 1;
            return Ok(u64::from(*b));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let Some(b) = self.bytes.get(self.at) else {
                return self.fail("truncated varint");
            };
            let b = *b;
            self.at += 1;
            v |= u64::from(b & 0x7f) << shift;
            if b < 0x80 {
                return Ok(v);
            }
        }
        self.fail("varint longer than 64 bits")
    }

    /// The next field's number and wire type; `None` at the end.
    #[inline]
    fn key(&mut self) -> Result<Option<(u64, u32)>, Malformed> {
        if self.left() == 0 {
            return Ok(None);
        }
        let key = self.varint()?;
        if key >> 3 == 0 {
            return self.fail("field number 0");
        }
        Ok(Some((key >> 3, (key & 7) as u32)))
    }

    /// Bytes left.
    #[inline]
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[inline]
    fn sub(&mut self) -> Result<Cursor<'a>, Malformed> {
        let len = self.varint()?;
        let len = usize::try_from(len).ok().filter(|l| *l <= self.left());
        let Some(len) = len else { return self.fail("length beyond the frame") };
        let sub = Cursor { frame: self.frame, bytes: &self.bytes[..self.at + len], at: self.at };
        self.at += len;
        Ok(sub)
    }

    /// All that is left.
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let sub = self.sub()?;
        Ok(self.frame.slice(sub.at..sub.bytes.len()))
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        let sub = self.sub()?;
        std::str::from_utf8(sub.rest()).map_err(|_| Malformed { at: sub.at, what: "text is not UTF-8" })
    }

    fn skip(&mut self, wire_type: u32) -> Result<(), Malformed> {
        let fixed = match wire_type {
            VARINT => {
                self.varint()?;
                0
            }
            LEN => {
                self.sub()?;
                0
            }
            1 => 8,
            5 => 4,
            _ => return self.fail("unknown wire type"),
        };
        if self.left() < fixed {
            return self.fail("truncated field");
        }
        self.at += fixed;
        Ok(())
    }
}

fn read_chunk(mut c: Cursor<'_>) -> Result<Chunk, Malformed> {
    let mut out = Chunk::default();
    while let Some((field, kind)) = c.key()? {
        match (field, kind) {
            (1, VARINT) => out.encoding = c.varint()? as i32,
            (2, LEN) => out.data = c.bytes()?,
            (3, VARINT) => out.hash = c.varint()?,
            (_, kind) => c.skip(kind)?,
        }
    }
    Ok(out)
}

fn read_aggr_chunk(mut c: Cursor<'_>) -> Result<AggrChunk, Malformed> {
    let mut out = AggrChunk::default();
    while let Some((field, kind)) = c.key()? {
        match (field, kind) {
            (1, VARINT) => out.min_time = c.varint()? as i64,
            (2, VARINT) => out.max_time = c.varint()? as i64,
            (3..=8, LEN) => {
                let chunk = read_chunk(c.sub()?)?;
                let aggr = Aggr::ALL[(field - 3) as usize];
                if out.parts.last().is_none_or(|p| p.aggr < aggr) {
                    out.parts.push(Part { aggr, chunk });
                } else {
                    out.set(aggr, chunk);
                }
            }
            (_, kind) => c.skip(kind)?,
        }
    }
    Ok(out)
}

/// Bytes of a chunk, and of a series, worth making room for: shorter ones hold nothing.
const LEAST_CHUNK: usize = 16;
const LEAST_SERIES: usize = 16;

/// How many fields `number` of kind `LEN` lie between the cursor and its end, malformed ones aside.
fn count(c: &Cursor<'_>, number: u64) -> usize {
    let mut c = Cursor { ..*c };
    let mut found = 0;
    while let Ok(Some((field, kind))) = c.key() {
        if c.skip(kind).is_err() {
            break;
        }
        found += usize::from((field, kind) == (number, LEN));
    }
    found
}

fn read_series(mut c: Cursor<'_>) -> Result<Series, Malformed> {
    let mut labels: SmallVec<[(&str, &str); 24]> = SmallVec::new();
    let mut chunks = Vec::new();
    let mut sorted = true;
    while let Some((field, kind)) = c.key()? {
        match (field, kind) {
            (1, LEN) => {
                let mut l = c.sub()?;
                let (mut name, mut value) = ("", "");
                while let Some((field, kind)) = l.key()? {
                    match (field, kind) {
                        (1, LEN) => name = l.text()?,
                        (2, LEN) => value = l.text()?,
                        (_, kind) => l.skip(kind)?,
                    }
                }
                sorted &= labels.last().is_none_or(|last| last.0 < name);
                labels.push((name, value));
            }
            (2, LEN) => {
                let chunk = read_aggr_chunk(c.sub()?)?;
                if chunk == AggrChunk::default() {
                    continue; // Says nothing, and would cost far more memory than its few bytes.
                }
                if chunks.is_empty() {
                    chunks.reserve_exact(1 + count(&c, 2).min(c.left() / LEAST_CHUNK));
                }
                chunks.push(chunk);
            }
            (_, kind) => c.skip(kind)?,
        }
    }
    if !sorted {
        return c.fail("labels are not sorted");
    }
    Ok(Series { labels: Labels::from_sorted(labels), chunks })
}

/// Reads one frame; the chunks share its bytes. `None` for a frame without content.
///
/// # Errors
/// [`Malformed`] with the offset.
pub fn decode(frame: &Bytes) -> Result<Option<Item>, Malformed> {
    let mut c = Cursor { frame, bytes: frame, at: 0 };
    let mut out = None;
    while let Some((field, kind)) = c.key()? {
        match (field, kind) {
            (1, LEN) => out = Some(Item::Series(vec![read_series(c.sub()?)?])),
            (2, LEN) => out = Some(Item::Warning(c.text()?.to_owned())),
            (3, LEN) => {
                let at = c.at;
                let any = prost_types::Any::decode(c.bytes()?);
                let any = any.map_err(|_| Malformed { at, what: "hints are not an Any" })?;
                out = Some(Item::Hints(any));
            }
            (4, LEN) => {
                let mut b = c.sub()?;
                let mut all = Vec::with_capacity(count(&b, 1).min(b.left() / LEAST_SERIES));
                while let Some((field, kind)) = b.key()? {
                    match (field, kind) {
                        (1, LEN) => all.push(read_series(b.sub()?)?),
                        (_, kind) => b.skip(kind)?,
                    }
                }
                out = (!all.is_empty()).then_some(Item::Series(all));
            }
            (_, kind) => c.skip(kind)?,
        }
    }
    Ok(out)
}

/// tonic codec of the server side: frames out, requests of type `R` in.
#[derive(Debug)]
pub struct ServerCodec<R>(std::marker::PhantomData<fn() -> R>);

impl<R> Default for ServerCodec<R> {
    fn default() -> Self {
        ServerCodec(std::marker::PhantomData)
    }
}

impl<R: prost::Message + Default + 'static> Codec for ServerCodec<R> {
    type Encode = Frame;
    type Decode = R;
    type Encoder = FrameEncoder;
    type Decoder = ProstDecoder<R>;
    fn encoder(&mut self) -> FrameEncoder {
        FrameEncoder
    }
    fn decoder(&mut self) -> ProstDecoder<R> {
        ProstDecoder(std::marker::PhantomData)
    }
}

/// tonic codec of the client side: requests of type `R` out, items in.
#[derive(Debug)]
pub struct ClientCodec<R>(std::marker::PhantomData<fn() -> R>);

impl<R> Default for ClientCodec<R> {
    fn default() -> Self {
        ClientCodec(std::marker::PhantomData)
    }
}

impl<R: prost::Message + Default + 'static> Codec for ClientCodec<R> {
    type Encode = R;
    type Decode = Option<Item>;
    type Encoder = ProstEncoder<R>;
    type Decoder = ItemDecoder;
    fn encoder(&mut self) -> ProstEncoder<R> {
        ProstEncoder(std::marker::PhantomData)
    }
    fn decoder(&mut self) -> ItemDecoder {
        ItemDecoder
    }
}

/// Writes frames.
#[derive(Debug)]
pub struct FrameEncoder;

impl Encoder for FrameEncoder {
    type Item = Frame;
    type Error = Status;
    fn encode(&mut self, item: Frame, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.reserve(frame_len(&item));
        encode(&item, dst);
        Ok(())
    }
}

/// Reads frames.
#[derive(Debug)]
pub struct ItemDecoder;

impl Decoder for ItemDecoder {
    type Item = Option<Item>;
    type Error = Status;
    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        decode(&buffers::taken(src)).map(Some).map_err(|e| Status::internal(e.to_string()))
    }
}

/// Reads generated messages.
#[derive(Debug)]
pub struct ProstDecoder<R>(std::marker::PhantomData<fn() -> R>);

impl<R: prost::Message + Default> Decoder for ProstDecoder<R> {
    type Item = R;
    type Error = Status;
    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<R>, Status> {
        R::decode(src).map(Some).map_err(|e| Status::internal(e.to_string()))
    }
}

/// Writes generated messages.
#[derive(Debug)]
pub struct ProstEncoder<R>(std::marker::PhantomData<fn() -> R>);

impl<R: prost::Message> Encoder for ProstEncoder<R> {
    type Item = R;
    type Error = Status;
    fn encode(&mut self, item: R, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(dst).map_err(|e| Status::internal(e.to_string()))
    }
}

#[cfg(test)]
mod tests;
