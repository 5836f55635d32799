//! Series entries: from references to final labels and chunk references.
//!
//! Holds the decoding of a batch straight from the fetched pages of the index (`pages` brings them),
//! with labels written in final form at once: external ones added, replica ones removed. It fetches no
//! chunk. Invariant: an entry's checksum is verified before it is believed, and a series costs one
//! allocation, its labels.
//! Upstream: `blockSeriesClient.nextBatch`, `LoadSeriesForTime`.

mod finals;
mod pages;
mod scan;

use std::ops::Range;
use std::sync::Arc;

use model::{Labels, Matcher};
use storeapi::shard::ShardMatcher;
use tsdb_block::index::{ChunkMeta, Series as Entry, Version, series as entry};

use crate::error::{Failure, Kind, Result};
use crate::index_header::Symbols;
use finals::Finals;
pub(crate) use finals::Order;
use pages::Pages;
pub(crate) use scan::Scan;

/// What of a block's series a request wants.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    /// Labels only.
    pub(crate) skip_chunks: bool,
    /// Label names that are taken out of final labels.
    pub(crate) removed: Vec<String>,
    /// Matchers that the postings did not apply.
    pub(crate) lazy: Vec<Matcher>,
}

/// Series of one batch, by final labels.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) series: Vec<Found>,
    /// References that satisfied the lazy matchers, whether or not they have chunks in range.
    pub(crate) selected: Vec<u32>,
    /// Bytes of entries that the lazy matchers threw away.
    pub(crate) overfetched: u64,
    /// Entries looked at, and their bytes.
    pub(crate) touched: (u64, u64),
    /// Final labels below which no later series of the block can sort.
    pub(crate) bound: Option<Labels>,
}

/// A series: its final labels and chunks in range.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) labels: Labels,
    pub(crate) chunks: Box<[ChunkMeta]>,
}

/// Decodes the batches of one block in order.
#[derive(Debug)]
struct Decoder {
    symbols: Symbols,
    finals: Finals,
    wanted: Arc<Wanted>,
    shard: ShardMatcher,
    version: Version,
    section: Range<u64>,
    index_key: String,
    entry: Entry,
    scratch: Vec<u8>,
}

/// How a batch's decoding ended.
#[derive(Debug)]
enum Decoded {
    /// All of it.
    Whole(Batch),
    /// An entry reaches beyond the pages: bytes `range` of the index are needed, and then another call.
    More(Range<u64>),
}

impl Decoder {
    fn new(
        symbols: Symbols,
        external: &Labels,
        wanted: Arc<Wanted>,
        shard: ShardMatcher,
        index_key: String,
    ) -> Self {
        let finals = Finals::new(external, &wanted.removed);
        let (version, section) = (symbols.reader().version(), symbols.reader().series_section());
        Decoder {
            symbols,
            finals,
            wanted,
            shard,
            version,
            section,
            index_key,
            entry: Entry::default(),
            scratch: Vec::new(),
        }
    }

    /// Whether final labels keep the order of the index, as far as the block's label names tell.
    fn order(&self) -> Order {
        self.finals.order(|name| self.symbols.reader().has_name(name))
    }

    /// Where the entry of `reference` begins in the index.
    fn offset(&self, reference: u32) -> Result<u64> {
        let at = self.version.series_offset(reference);
        if self.section.contains(&at) {
            return Ok(at);
        }
        Err(Failure::block(format!(
            "{}: corrupt postings: reference {reference} outside of the series section",
            self.index_key
        )))
    }

    /// Where the series entries stand.
    fn section(&self) -> Range<u64> {
        self.section.clone()
    }

    /// Decodes a batch from `pages`. Begun anew after [`Decoded::More`].
    fn decode(&mut self, references: &[u32], pages: &Pages) -> Result<Decoded> {
        let mut batch = Batch { series: Vec::with_capacity(references.len()), ..Batch::default() };
        let wanted = self.wanted.clone();
        for reference in references {
            let at = self.offset(*reference)?;
            let data = match pages.entry(at, self.section.end, &mut self.scratch) {
                Ok(data) => data,
                Err(Some(more)) => return Ok(Decoded::More(more)),
                Err(None) => {
                    return Err(Failure::block(format!("{}: corrupt series entry at {at}", self.index_key)));
                }
            };
            let read = entry::decode_between(data, wanted.mint, wanted.maxt, &mut self.entry);
            let used = read.map_err(|e| {
                Failure::block(e.in_file(std::path::Path::new(&self.index_key), at)).context("read series")
            })?;
            batch.touched.0 += 1;
            batch.touched.1 += used as u64;
            let in_range = !self.entry.chunks.is_empty();
            if !in_range && wanted.lazy.is_empty() {
                continue;
            }
            if !wanted.lazy.is_empty() {
                if !self.lazy_match(&wanted.lazy)? {
                    batch.overfetched += used as u64;
                    continue;
                }
                batch.selected.push(*reference);
                if !in_range {
                    continue;
                }
            }
            let labels = self
                .finals
                .labels(&self.entry.labels, &mut self.symbols)
                .map_err(|e| if e.kind() == Kind::Header { e } else { e.context("Lookup labels symbols") })?;
            if !self.shard.matches(&labels) {
                continue;
            }
            let chunks: Box<[ChunkMeta]> =
                if wanted.skip_chunks { Box::default() } else { self.entry.chunks.as_slice().into() };
            batch.series.push(Found { labels, chunks });
        }
        if batch.touched.0 > 0 {
            batch.bound = Some(self.finals.bound(&self.entry.labels, &mut self.symbols)?);
        }
        Ok(Decoded::Whole(batch))
    }

    fn lazy_match(&mut self, matchers: &[Matcher]) -> Result<bool> {
        for m in matchers {
            let mut value_of = None;
            for (name, value) in &self.entry.labels {
                if self.symbols.get(*name)? == m.name {
                    value_of = Some(*value);
                    break;
                }
            }
            let matched = match value_of {
                Some(value) => m.matches(self.symbols.get(value)?),
                None => m.matches(""),
            };
            if !matched {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
