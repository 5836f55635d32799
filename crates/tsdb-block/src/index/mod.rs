//! The index file, format versions 1 and 2.
//!
//! Holds one module per section, each a decoder over a byte slice so that a remote caller can use
//! it on a fetched range, and [`Reader`] and [`Writer`] over whole files. It knows no sample.
//! Invariant: a checksum that the format carries is verified before its bytes are believed.
//! The layout is described in Prometheus' `tsdb/docs/format/index.md`. Read `toc` first.

pub mod offset_table;
pub mod postings;
pub mod reader;
pub mod series;
pub mod symbols;
pub mod toc;
pub mod writer;

pub use reader::Reader;
pub use series::{ChunkMeta, Series};
pub use toc::Toc;
pub use writer::Writer;

use crate::wire::Cursor;
use crate::{Error, Result};

/// First four bytes of an index.
pub const MAGIC: u32 = 0xBAAA_D700;
/// Bytes before the first section: magic and version.
pub const HEADER_LEN: usize = 5;
/// Series entries of version 2 begin at multiples of this, and are referred to in its units.
pub const SERIES_ALIGN: u64 = 16;
/// Name of the file within a block.
pub const FILE_NAME: &str = "index";

/// The index format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Symbols and series are referred to by byte offset.
    V1,
    /// Symbols by ordinal, series by byte offset divided by 16.
    V2,
}

impl Version {
    /// Reads magic and version from the first [`HEADER_LEN`] bytes of an index.
    pub fn parse(head: &[u8]) -> Result<Version> {
        let mut c = Cursor::new(head, "index header");
        let magic = c.be32()?;
        if magic != MAGIC {
            return Err(Error::corrupt("index header", 0, format!("magic number {magic:08x}")));
        }
        match c.u8()? {
            1 => Ok(Version::V1),
            2 => Ok(Version::V2),
            v => Err(Error::unsupported("index version", i64::from(v))),
        }
    }

    /// Byte offset of a series entry, from the reference that postings hold.
    #[inline]
    pub fn series_offset(self, reference: u32) -> u64 {
        match self {
            Version::V1 => u64::from(reference),
            Version::V2 => u64::from(reference) * SERIES_ALIGN,
        }
    }
}
