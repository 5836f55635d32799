//! Series entries: label references and chunk metas.
//!
//! Invariant: chunk metas are ascending in time and their references fit the format; buffers belong
//! to the caller and are reused, so that decoding a series allocates nothing.

use super::bytes::Cursor;
use crate::error::{Corrupt, Result};
use model::Millis;

/// Where a chunk lies and which time it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Segment number in the upper half, offset in the segment in the lower.
    pub reference: u64,
    /// First timestamp.
    pub mint: Millis,
    /// Last timestamp.
    pub maxt: Millis,
}

/// One decoded entry: pairs of symbol references, and chunks.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Name and value references.
    pub labels: Vec<(u32, u32)>,
    /// The series' chunks in time order.
    pub chunks: Vec<ChunkMeta>,
}

impl Entry {
    /// Decodes the entry `len uvarint | body | crc` at the start of `bytes` into this buffer; the entry
    /// lies at `base` of the index. Returns the bytes it takes.
    ///
    /// # Errors
    /// [`Corrupt`] at the field that is wrong, or at `base` for a wrong checksum.
    pub fn decode(&mut self, bytes: &[u8], base: u64) -> Result<usize> {
        let mut outer = Cursor::new(bytes, base);
        let body = outer.uvarint_bytes("series entry")?;
        let body_at = outer.offset() - body.len() as u64;
        if outer.be32("series checksum")? != crc32c::crc32c(body) {
            return Err(Corrupt::new("series checksum", base));
        }
        self.decode_body(body, body_at)?;
        Ok(outer.consumed())
    }

    fn decode_body(&mut self, body: &[u8], base: u64) -> Result<()> {
        self.labels.clear();
        self.chunks.clear();
        let mut c = Cursor::new(body, base);
        let symbol = |c: &mut Cursor<'_>| {
            let raw = c.uvarint("label reference")?;
            u32::try_from(raw).map_err(|_| c.corrupt("label reference"))
        };
        let labels = c.uvarint("label count")?;
        for _ in 0..labels {
            let name = symbol(&mut c)?;
            let value = symbol(&mut c)?;
            self.labels.push((name, value));
        }
        let chunks = c.uvarint("chunk count")?;
        if chunks == 0 {
            return Ok(());
        }
        let mint = c.varint("chunk start")?;
        let length = c.uvarint("chunk length")?;
        let mut reference = c.uvarint("chunk reference")?;
        let mut maxt = end(mint, length, &c)?;
        self.chunks.push(ChunkMeta { reference, mint, maxt });
        for _ in 1..chunks {
            let gap = c.uvarint("chunk start")?;
            let mint = end(maxt, gap, &c)?;
            let length = c.uvarint("chunk length")?;
            maxt = end(mint, length, &c)?;
            let step = c.varint("chunk reference")?;
            reference = reference.checked_add_signed(step).ok_or_else(|| c.corrupt("chunk reference"))?;
            self.chunks.push(ChunkMeta { reference, mint, maxt });
        }
        Ok(())
    }
}

fn end(start: Millis, length: u64, c: &Cursor<'_>) -> Result<Millis> {
    start.checked_add_unsigned(length).ok_or_else(|| c.corrupt("chunk time"))
}
