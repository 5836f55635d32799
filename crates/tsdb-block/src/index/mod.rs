//! The index of a block: symbols, series, postings and the tables that find them.
//!
//! Holds decoders over byte slices, so that a caller may bring a whole file or just the range it
//! fetched. It does not know where bytes come from. Invariant: every section's CRC32C is checked by
//! the function that opens the section. Format: Prometheus `tsdb/docs/format/index.md`.

pub mod bytes;
pub mod offsets;
pub mod postings;
pub mod series;
pub mod symbols;
pub mod toc;

use crate::error::{Corrupt, Result};
use bytes::Cursor;

/// The first four bytes of an index.
pub const MAGIC: u32 = 0xBAAA_D700;
/// Bytes before the symbol table: magic and version.
pub const HEADER_LEN: usize = 5;

/// The two versions of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Series referenced by their offset, symbols by their offset.
    V1,
    /// Series referenced by their offset / 16, symbols by their number.
    V2,
}

/// Reads magic and version.
///
/// # Errors
/// [`Corrupt`] at the field that is wrong.
pub fn header(bytes: &[u8]) -> Result<Version> {
    let mut c = Cursor::new(bytes, 0);
    if c.be32("index magic number")? != MAGIC {
        return Err(Corrupt::new("index magic number", 0));
    }
    match c.u8("index version")? {
        1 => Ok(Version::V1),
        2 => Ok(Version::V2),
        _ => Err(Corrupt::new("index version", 4)),
    }
}

/// The body of a section `len u32 | body | crc u32` that begins at `bytes[0]`, which lies at offset
/// `base` of the index.
///
/// # Errors
/// [`Corrupt`] when the section is cut off or its checksum is wrong.
pub fn section<'a>(bytes: &'a [u8], base: u64, what: &'static str) -> Result<&'a [u8]> {
    let mut c = Cursor::new(bytes, base);
    let len = c.be32(what)? as usize;
    let body = c.take(len, what)?;
    if c.be32(what)? != crc32c::crc32c(body) {
        return Err(Corrupt::new(what, base));
    }
    Ok(body)
}
