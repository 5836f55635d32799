//! A whole index in memory (usually a mapped file).
//!
//! Holds [`Reader`], which joins the section decoders. It knows no chunk data. Invariant: opening
//! verifies the table of contents, the symbols and the offset table; series and postings are
//! verified when they are read.

use std::path::Path;

use bytes::Bytes;
use model::Labels;

use super::offset_table::Postings as OffsetTable;
use super::symbols::Symbols;
use super::{HEADER_LEN, Series, Toc, Version, postings, series};
use crate::{Error, Result};

/// Random access to an index.
#[derive(Clone, Debug)]
pub struct Reader {
    data: Bytes,
    version: Version,
    toc: Toc,
    symbols: Symbols,
    table: OffsetTable,
}

impl Reader {
    /// Maps the file and reads its tables.
    pub fn open(path: &Path) -> Result<Reader> {
        Reader::new(crate::map::file(path)?).map_err(|e| e.in_file(path, 0))
    }

    /// Reads the tables of an index held in memory.
    pub fn new(data: Bytes) -> Result<Reader> {
        let version = Version::parse(&data)?;
        let toc = Toc::parse(&data)?;
        if toc.series > toc.label_indices || toc.label_indices > data.len() as u64 {
            return Err(Error::corrupt("TOC", data.len(), "series section outside the file"));
        }
        let symbols = Symbols::parse(&data, toc.symbols, version)?;
        let table = OffsetTable::parse(&data, toc.postings_table)?;
        Ok(Reader { data, version, toc, symbols, table })
    }

    /// Format version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Section offsets.
    pub fn toc(&self) -> &Toc {
        &self.toc
    }

    /// The symbol table.
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// The postings offset table.
    pub fn table(&self) -> &OffsetTable {
        &self.table
    }

    /// Size of the index in bytes.
    pub fn size(&self) -> u64 {
        self.data.len() as u64
    }

    /// Label names in order.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.table.names()
    }

    /// Values of a label in order.
    pub fn label_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.table.values(name).map(|(v, _)| v)
    }

    /// References of the series that carry `name=value`; empty where no series does.
    pub fn postings(&self, name: &str, value: &str) -> Result<postings::List<'_>> {
        match self.table.offset(name, value) {
            Some(at) => postings::decode_at(&self.data, at),
            None => Ok(postings::List::default()),
        }
    }

    /// References of all series, in label order.
    pub fn all_postings(&self) -> Result<postings::List<'_>> {
        self.postings("", "")
    }

    /// Decodes the series with the given reference into `out`.
    pub fn series(&self, reference: u32, out: &mut Series) -> Result<()> {
        let at = self.version.series_offset(reference);
        let end = self.data.len() - super::toc::LEN;
        let start = usize::try_from(at)
            .ok()
            .filter(|s| (HEADER_LEN..end).contains(s))
            .ok_or_else(|| Error::corrupt("series", end, format!("no series with reference {reference}")))?;
        series::decode(&self.data[start..end], out).map(drop).map_err(|e| match e {
            Error::Corrupt { file, section, offset, reason } => {
                Error::Corrupt { file, section, offset: offset + at, reason }
            }
            other => other,
        })
    }

    /// The label set that a decoded series refers to.
    pub fn labels(&self, series: &Series) -> Result<Labels> {
        let mut pairs = Vec::with_capacity(series.labels.len());
        let mut sorted = true;
        for (n, v) in &series.labels {
            let name = self.symbols.get(*n)?;
            sorted &= pairs.last().is_none_or(|(last, _): &(&str, &str)| *last < name);
            pairs.push((name, self.symbols.get(*v)?));
        }
        Ok(if sorted { Labels::from_sorted(pairs) } else { Labels::from_pairs(pairs) })
    }
}
