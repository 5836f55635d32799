//! The directory of an index header: which page holds what.
//!
//! Holds the part of the header that stays in memory: the first symbol of each page of symbols, and the
//! names, with every n-th value, of the postings offset table. It reads no page. Invariants: pages carry
//! their own checksum here, and the directory carries one in the file's trailer, so no byte of the file
//! is believed unchecked.
//!
//! File: `magic | pages of symbols | pages of the table | directory | trailer`, the trailer being
//! `directory offset <8b> | length <4b> | crc32c <4b> | magic <8b>`, numbers little-endian.

use std::ops::Range;

use tsdb_block::index::{Toc, Version};
use tsdb_block::meta::Ulid;

use crate::error::{Failure, Result};

/// First and last bytes of the file.
pub(super) const MAGIC: &[u8; 8] = b"idxhdrp1";
/// Bytes of the trailer.
pub(super) const TRAILER: usize = 24;

/// One page of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) at: u64,
    pub(super) len: u32,
    pub(super) crc: u32,
}

/// A label name with its pages of the offset table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) pages: Range<u32>,
}

/// Many short texts in one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Texts {
    bytes: String,
    ends: Vec<u32>,
}

impl Texts {
    pub(super) fn push(&mut self, text: &str) -> Result<()> {
        self.bytes.push_str(text);
        let end = u32::try_from(self.bytes.len())
            .map_err(|_| Failure::block("sampled label values of more than 4 GiB"))?;
        self.ends.push(end);
        Ok(())
    }

    pub(super) fn get(&self, i: usize) -> &str {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        self.bytes.get(start..self.ends[i] as usize).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}

/// The directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(super) block: Ulid,
    pub(super) version: Version,
    /// Bytes of the index.
    pub(super) index_size: u64,
    /// Where the series entries end.
    pub(super) series_end: u64,
    pub(super) toc: Toc,
    /// Every how many entries of the offset table the directory names one.
    pub(super) sampling: u32,
    pub(super) symbols: Vec<Page>,
    /// Reference of each symbol page's first symbol.
    pub(super) first_symbols: Vec<u32>,
    pub(super) table: Vec<Page>,
    /// First value of each table page.
    pub(super) first_values: Texts,
    /// Ascending; the list of all series stands under the empty name.
    pub(super) names: Vec<Name>,
}

impl Directory {
    /// Bytes held in memory, about.
    pub(super) fn memory(&self) -> u64 {
        let pages = (self.symbols.len() + self.table.len()) * size_of::<Page>();
        let firsts = self.first_symbols.len() * 4 + self.first_values.bytes.len() + self.table.len() * 4;
        let names: usize = self.names.iter().map(|n| n.text.len() + size_of::<Name>()).sum();
        (pages + firsts + names) as u64
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.block.to_bytes());
        put(
            &mut out,
            match self.version {
                Version::V1 => 1,
                Version::V2 => 2,
            },
        );
        put(&mut out, self.index_size);
        put(&mut out, self.series_end);
        out.extend_from_slice(&self.toc.encode());
        put(&mut out, u64::from(self.sampling));
        for pages in [&self.symbols, &self.table] {
            put(&mut out, pages.len() as u64);
            for page in pages {
                put(&mut out, page.at);
                put(&mut out, u64::from(page.len));
                out.extend_from_slice(&page.crc.to_le_bytes());
            }
        }
        self.first_symbols.iter().for_each(|s| put(&mut out, u64::from(*s)));
        (0..self.first_values.len()).for_each(|i| put_text(&mut out, self.first_values.get(i)));
        put(&mut out, self.names.len() as u64);
        for name in &self.names {
            put_text(&mut out, &name.text);
            put(&mut out, u64::from(name.pages.start));
            put(&mut out, u64::from(name.pages.end));
        }
        out
    }

    /// Reads what [`Directory::encode`] wrote. The checksum was verified, so this fails only for files of
    /// another version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Directory> {
        let mut c = Cursor(bytes);
        let block = Ulid::from_bytes(c.take(16)?.try_into().ok()?);
        let version = match c.number()? {
            1 => Version::V1,
            2 => Version::V2,
            _ => return None,
        };
        let (index_size, series_end) = (c.number()?, c.number()?);
        let toc = Toc::parse(c.take(tsdb_block::index::toc::LEN)?).ok()?;
        let sampling = u32::try_from(c.number()?).ok()?;
        let symbols = c.pages()?;
        let table = c.pages()?;
        let first_symbols = symbols.iter().map(|_| u32::try_from(c.number()?).ok()).collect::<Option<_>>()?;
        let mut first_values = Texts::default();
        for _ in &table {
            first_values.push(c.text()?).ok()?;
        }
        let mut names = Vec::new();
        for _ in 0..c.number()? {
            let text = c.text()?.to_owned();
            let (start, end) = (u32::try_from(c.number()?).ok()?, u32::try_from(c.number()?).ok()?);
            if start > end || end as usize > table.len() {
                return None;
            }
            names.push(Name { text, pages: start..end });
        }
        let directory = Directory {
            block,
            version,
            index_size,
            series_end,
            toc,
            sampling,
            symbols,
            first_symbols,
            table,
            first_values,
            names,
        };
        c.0.is_empty().then_some(directory)
    }

    /// The trailer for a directory that was written at `at`.
    pub(super) fn trailer(encoded: &[u8], at: u64) -> [u8; TRAILER] {
        let mut out = [0; TRAILER];
        out[..8].copy_from_slice(&at.to_le_bytes());
        out[8..12].copy_from_slice(&(encoded.len() as u32).to_le_bytes());
        out[12..16].copy_from_slice(&crc32c::crc32c(encoded).to_le_bytes());
        out[16..].copy_from_slice(MAGIC);
        out
    }

    /// Where the directory stands in a file, by its trailer: offset, length and checksum.
    pub(super) fn locate(trailer: &[u8; TRAILER]) -> Option<(u64, u32, u32)> {
        if &trailer[16..] != MAGIC {
            return None;
        }
        let word = |r: Range<usize>| trailer[r].try_into().map(u32::from_le_bytes).ok();
        let at = u64::from_le_bytes(trailer[..8].try_into().ok()?);
        Some((at, word(8..12)?, word(12..16)?))
    }

    /// The pages of the offset table that hold `name`.
    pub(super) fn pages_of(&self, name: &str) -> Range<usize> {
        match self.names.binary_search_by(|n| n.text.as_str().cmp(name)) {
            Ok(i) => self.names[i].pages.start as usize..self.names[i].pages.end as usize,
            Err(_) => 0..0,
        }
    }
}

/// Appends a number as LEB128.
pub(super) fn put(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Appends a length and a text.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Reads what [`put`] and [`put_text`] wrote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    #[inline]
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut v = 0u64;
        for (i, b) in self.0.iter().enumerate().take(10) {
            v |= u64::from(b & 0x7f).checked_shl(7 * i as u32)?;
            if *b < 0x80 {
                self.0 = &self.0[i + 1..];
                return Some(v);
            }
        }
        None
    }

    #[inline]
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let n = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.take(n)?).ok()
    }

    fn pages(&mut self) -> Option<Vec<Page>> {
        let n = self.number()?;
        let mut out = Vec::new();
        for _ in 0..n {
            let (at, len) = (self.number()?, u32::try_from(self.number()?).ok()?);
            out.push(Page { at, len, crc: u32::from_le_bytes(self.take(4)?.try_into().ok()?) });
        }
        Some(out)
    }
}
