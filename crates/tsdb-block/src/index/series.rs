//! Series entries: label references and chunk metadata.
//!
//! Holds the decoder and encoder of one entry. It knows neither symbols nor chunks. Invariant: the
//! checksum is verified before anything is decoded; counts are not believed, only the bytes are.

use model::Millis;

use crate::wire::{Cursor, crc, put_uvarint, put_varint};
use crate::{Error, Result};

const NAME: &str = "series";

/// What the index says about a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct ChunkMeta {
    /// Time of the first sample.
    pub mint: Millis,
    /// Time of the last sample.
    pub maxt: Millis,
    /// Where the chunk stands: segment number in the upper, byte offset in the lower 32 bits.
    pub reference: u64,
}

impl ChunkMeta {
    /// Whether any sample may lie in `mint..=maxt`.
    #[inline]
    pub fn overlaps(&self, mint: Millis, maxt: Millis) -> bool {
        self.mint <= maxt && mint <= self.maxt
    }

    /// Segment, counted from zero (file `000001` is segment 0).
    #[inline]
    pub fn segment(&self) -> u32 {
        (self.reference >> 32) as u32
    }

    /// Byte offset of the chunk's length field in its segment.
    #[inline]
    pub fn offset(&self) -> u32 {
        self.reference as u32
    }
}

/// One decoded entry. Reuse it: [`decode`] clears and fills it without new allocations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Symbol references of name and value, in name order.
    pub labels: Vec<(u32, u32)>,
    /// Chunks in time order.
    pub chunks: Vec<ChunkMeta>,
}

/// Length of the entry that `data` begins with, including length field and checksum, once enough
/// of it is there to tell. The entry itself may go beyond `data`.
pub fn entry_len(data: &[u8]) -> Result<u64> {
    let mut c = Cursor::new(data, NAME);
    let len = c.uvarint()?;
    len.checked_add(c.pos() as u64 + 4).ok_or_else(|| c.fail(format!("length {len}")))
}

/// Decodes the entry at the beginning of `data` (which may go on after it) and returns the bytes
/// it occupied.
pub fn decode(data: &[u8], out: &mut Series) -> Result<usize> {
    decode_between(data, Millis::MIN, Millis::MAX, out)
}

/// Like [`decode`], keeping only chunks that overlap `mint..=maxt`. Chunks after the range are not
/// decoded at all.
pub fn decode_between(data: &[u8], mint: Millis, maxt: Millis, out: &mut Series) -> Result<usize> {
    out.labels.clear();
    out.chunks.clear();
    let (body, used) = checked(data)?;
    let base = used - 4 - body.len();
    let mut c = Cursor::new(body, NAME);
    fill(&mut c, mint, maxt, out).map_err(|e| shifted(e, base))?;
    Ok(used)
}

fn shifted(e: Error, by: usize) -> Error {
    match e {
        Error::Corrupt { file, section, offset, reason } => {
            Error::Corrupt { file, section, offset: offset + by as u64, reason }
        }
        other => other,
    }
}

fn checked(data: &[u8]) -> Result<(&[u8], usize)> {
    let mut c = Cursor::new(data, NAME);
    let body = c.uvarint_bytes()?;
    let want = c.be32()?;
    let got = crc(body);
    if got != want {
        return Err(Error::corrupt(NAME, 0, format!("checksum {got:08x}, expected {want:08x}")));
    }
    Ok((body, c.pos()))
}

fn fill(c: &mut Cursor<'_>, mint: Millis, maxt: Millis, out: &mut Series) -> Result<()> {
    let labels = c.uvarint()?;
    // A pair takes at least two bytes, a chunk three: counts beyond that are lies.
    if labels > c.left() as u64 / 2 {
        return Err(c.fail(format!("{labels} labels in {} bytes", c.left())));
    }
    out.labels.reserve(labels as usize);
    for _ in 0..labels {
        out.labels.push((c.uvarint32()?, c.uvarint32()?));
    }
    let chunks = c.uvarint()?;
    if chunks > c.left() as u64 / 3 {
        return Err(c.fail(format!("{chunks} chunks in {} bytes", c.left())));
    }
    let (mut last_maxt, mut reference) = (0i64, 0u64);
    for i in 0..chunks {
        let from = if i == 0 { c.varint()? } else { last_maxt.wrapping_add(c.uvarint()? as i64) };
        let to = from.wrapping_add(c.uvarint()? as i64);
        reference = if i == 0 { c.uvarint()? } else { reference.wrapping_add(c.varint()? as u64) };
        last_maxt = to;
        if from > maxt {
            return Ok(());
        }
        let chunk = ChunkMeta { mint: from, maxt: to, reference };
        if chunk.overlaps(mint, maxt) {
            out.chunks.push(chunk);
        }
    }
    match c.left() {
        0 => Ok(()),
        left => Err(c.fail(format!("{left} bytes after the last chunk"))),
    }
}

/// Appends an entry with length and checksum. `labels` are symbol references in name order.
pub fn encode(labels: &[(u32, u32)], chunks: &[ChunkMeta], out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(16 + labels.len() * 6 + chunks.len() * 12);
    put_uvarint(&mut body, labels.len() as u64);
    for (n, v) in labels {
        put_uvarint(&mut body, u64::from(*n));
        put_uvarint(&mut body, u64::from(*v));
    }
    put_uvarint(&mut body, chunks.len() as u64);
    let mut last: Option<&ChunkMeta> = None;
    for c in chunks {
        match last {
            None => put_varint(&mut body, c.mint),
            Some(l) => put_uvarint(&mut body, c.mint.wrapping_sub(l.maxt) as u64),
        }
        put_uvarint(&mut body, c.maxt.wrapping_sub(c.mint) as u64);
        match last {
            None => put_uvarint(&mut body, c.reference),
            Some(l) => put_varint(&mut body, c.reference.wrapping_sub(l.reference) as i64),
        }
        last = Some(c);
    }
    put_uvarint(out, body.len() as u64);
    out.extend_from_slice(&body);
    out.extend_from_slice(&crc(&body).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_a_round_trip_and_no_flipped_bit() {
        let chunks = [
            ChunkMeta { mint: -5, maxt: 10, reference: 8 },
            ChunkMeta { mint: 11, maxt: 20, reference: 900 },
            ChunkMeta { mint: 30, maxt: 30, reference: (1 << 32) | 8 },
        ];
        let mut bytes = Vec::new();
        encode(&[(1, 2), (3, 400)], &chunks, &mut bytes);
        let mut s = Series::default();
        assert_eq!(decode(&bytes, &mut s).unwrap(), bytes.len());
        assert_eq!((&s.labels[..], &s.chunks[..]), (&[(1, 2), (3, 400)][..], &chunks[..]));
        assert_eq!(entry_len(&bytes[..1]).unwrap(), bytes.len() as u64);
        decode_between(&bytes, 11, 29, &mut s).unwrap();
        assert_eq!(s.chunks, chunks[1..2]);
        assert_eq!((chunks[2].segment(), chunks[2].offset()), (1, 8));
        for bit in 0..bytes.len() * 8 {
            let mut b = bytes.clone();
            b[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&b, &mut s).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut], &mut s).is_err());
        }
    }
}
