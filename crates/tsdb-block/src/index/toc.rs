//! The table of contents: the last 52 bytes of an index.
//!
//! Invariant: a zero offset means that the section is absent.

use super::bytes::Cursor;
use crate::error::{Corrupt, Result};

/// Bytes of the table of contents.
pub const LEN: usize = 6 * 8 + 4;

/// Offsets of the sections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toc {
    /// Symbol table.
    pub symbols: u64,
    /// First series.
    pub series: u64,
    /// First label index.
    pub label_indices: u64,
    /// Label offset table.
    pub label_indices_table: u64,
    /// First postings list.
    pub postings: u64,
    /// Postings offset table.
    pub postings_table: u64,
}

impl Toc {
    /// Reads the table from the last [`LEN`] bytes of an index of `size` bytes.
    ///
    /// # Errors
    /// [`Corrupt`] when the bytes are too few, the checksum is wrong or an offset lies outside.
    pub fn parse(tail: &[u8], size: u64) -> Result<Toc> {
        let base = size.saturating_sub(LEN as u64);
        let what = "table of contents";
        let start = tail.len().checked_sub(LEN).ok_or_else(|| Corrupt::new(what, base))?;
        let tail = &tail[start..];
        let mut c = Cursor::new(tail, base);
        let mut next = || c.be64(what);
        let toc = Toc {
            symbols: next()?,
            series: next()?,
            label_indices: next()?,
            label_indices_table: next()?,
            postings: next()?,
            postings_table: next()?,
        };
        if c.be32(what)? != crc32c::crc32c(&tail[..LEN - 4]) {
            return Err(Corrupt::new(what, base));
        }
        let all = [
            toc.symbols,
            toc.series,
            toc.label_indices,
            toc.label_indices_table,
            toc.postings,
            toc.postings_table,
        ];
        if all.iter().any(|offset| *offset > base) {
            return Err(Corrupt::new("section offset in the table of contents", base));
        }
        Ok(toc)
    }
}
