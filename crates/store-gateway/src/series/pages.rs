//! Pages of an index's series section, from cache or bucket.
//!
//! Holds which pages a batch of references needs, and entries as slices over them. It decodes nothing.
//! Invariant: pages begin at multiples of [`PAGE`] within the index, so that requests for different
//! series share them in the cache.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::stream::{StreamExt as _, TryStreamExt as _};
use tsdb_block::index::series::entry_len;

use crate::block::Block;
use crate::cache::Key;
use crate::error::{Context as _, Failure, Result};
use crate::fetch::RangeReader;
use crate::partitioner::Partitioner;
use crate::request::Request;
use crate::stats::Data;

/// Bytes of a page.
const PAGE: u64 = 16 << 10;
/// Pages this close together are read at once.
const PARTITIONER: Partitioner = Partitioner { gap: 128 << 10, longest: 1 << 20 };
/// Reads at once for one batch.
const READS: usize = 8;

/// Bytes of an index in pieces, ascending.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Offset of each piece, and its bytes.
    pieces: Vec<(u64, Bytes)>,
}

impl Pages {
    /// The entry at `at`, which ends before `end`. `Err(Some(range))` names bytes that are missing,
    /// `Err(None)` says that the entry's length makes no sense.
    pub(super) fn entry<'a>(
        &'a self,
        at: u64,
        end: u64,
        scratch: &'a mut Vec<u8>,
    ) -> std::result::Result<&'a [u8], Option<Range<u64>>> {
        let i =
            self.pieces.partition_point(|(from, _)| *from <= at).checked_sub(1).ok_or(Some(at..at + 1))?;
        let (from, piece) = &self.pieces[i];
        let rest = usize::try_from(at - from).ok().and_then(|skip| piece.get(skip..)).unwrap_or_default();
        if let Ok(len) = entry_len(rest)
            && len <= rest.len() as u64
        {
            return Ok(rest);
        }
        // Ten bytes hold any length; of a longer entry all bytes are wanted.
        scratch.clear();
        let mut wanted = 10.min(end - at);
        loop {
            self.gather(i, at, wanted, scratch);
            if (scratch.len() as u64) < wanted {
                return Err(Some(at..at + wanted));
            }
            let len = entry_len(scratch).map_err(|_| None)?;
            if len > end - at {
                return Err(None);
            }
            if len <= wanted {
                return Ok(scratch);
            }
            wanted = len;
        }
    }

    /// Copies up to `len` bytes from `at` on, as far as pieces follow each other without a gap.
    fn gather(&self, first: usize, at: u64, len: u64, out: &mut Vec<u8>) {
        out.clear();
        for (from, piece) in &self.pieces[first..] {
            let next = at + out.len() as u64;
            if *from > next || out.len() as u64 >= len {
                break;
            }
            let skip = usize::try_from(next - from).unwrap_or(usize::MAX);
            let part = piece.get(skip..).unwrap_or_default();
            let left = usize::try_from(len - out.len() as u64).unwrap_or(usize::MAX);
            out.extend_from_slice(&part[..left.min(part.len())]);
        }
    }

    /// Adds a piece that was read on demand.
    pub(super) fn insert(&mut self, at: u64, bytes: Bytes) {
        let i = self.pieces.partition_point(|(from, _)| *from < at);
        match self.pieces.get_mut(i) {
            // The longer of two pieces with the same start.
            Some((from, held)) if *from == at => {
                if held.len() < bytes.len() {
                    *held = bytes;
                }
            }
            _ => self.pieces.insert(i, (at, bytes)),
        }
    }
}

/// Brings pages of one block.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) fetch: RangeReader,
    pub(super) block: Arc<Block>,
    pub(super) request: Arc<Request>,
}

impl Source {
    /// The pages in which entries at `offsets` (ascending) lie, as far as the estimate of their size
    /// tells.
    pub(super) async fn pages(&self, offsets: &[u64], section: Range<u64>) -> Result<Pages> {
        let began = Instant::now();
        let estimate = self.block.estimates.series;
        let mut wanted: Vec<u64> = Vec::new();
        for at in offsets {
            let last = (at + estimate - 1).min(section.end.saturating_sub(1)) / PAGE;
            for page in at / PAGE..=last.max(at / PAGE) {
                if wanted.last().is_none_or(|held| *held < page) {
                    wanted.push(page);
                }
            }
        }
        let out = self.read(&wanted, section, offsets.len() as u64).await.context("preload series");
        let seconds = began.elapsed().as_secs_f64();
        self.request.metrics.series_fetch.with_label_values(&[&self.request.tenant]).observe(seconds);
        out
    }

    /// The bytes that an entry turned out to need.
    pub(super) async fn more(&self, range: Range<u64>) -> Result<Bytes> {
        let request = &self.request;
        request.metrics.series_refetches.with_label_values(&[&request.tenant]).inc();
        let len = range.end - range.start;
        tracing::debug!(block = %self.block.id, offset = range.start, len, "series entry longer than estimated");
        self.fetch(range, 1).await.context("preload series")
    }

    async fn fetch(&self, range: Range<u64>, entries: u64) -> Result<Bytes> {
        let len = range.end - range.start;
        let limited = self.request.limits.bytes.reserve(len);
        limited.map_err(|e| Failure::limit(format!("exceeded bytes limit while fetching series: {e}")))?;
        let hold = self.request.hold(len, &format_args!("series entries of block {}", self.block.id))?;
        let bytes = self.fetch.read_exact(&self.block.index_key, range.start, len).await;
        let bytes = bytes.context("read series range")?;
        self.request.stats.fetch(Data::Series, entries, len);
        Ok(hold.over(bytes))
    }

    async fn read(&self, wanted: &[u64], section: Range<u64>, entries: u64) -> Result<Pages> {
        let key = |page: u64| Key::Page(self.block.id, u32::try_from(page).unwrap_or(u32::MAX));
        let keys: Vec<Key> = wanted.iter().map(|p| key(*p)).collect();
        let cached = self.request.cache().get_many(&keys, &self.request.tenant);
        // Pages end with the section: what follows is not series.
        let span = |page: u64| {
            let start = (page * PAGE).max(section.start);
            start..((page + 1) * PAGE).min(section.end).max(start)
        };
        let mut pieces: Vec<(u64, Bytes)> = Vec::new();
        let mut missing = Vec::new();
        for (page, hit) in wanted.iter().zip(cached) {
            match hit {
                Some(bytes) => pieces.push((span(*page).start, bytes)),
                None => missing.push(*page),
            }
        }
        let parts = PARTITIONER.parts(missing.iter().map(|p| span(*p)));
        let share = entries.div_ceil(parts.len().max(1) as u64);
        let reads: Vec<_> =
            parts
                .into_iter()
                .map(|part| async move {
                    self.fetch(part.bytes.clone(), share).await.map(|b| (part.bytes.start, b))
                })
                .collect();
        let mut reads = futures::stream::iter(reads).buffer_unordered(READS);
        while let Some((start, bytes)) = reads.try_next().await? {
            let end = start + bytes.len() as u64;
            let mut page = start / PAGE;
            while span(page).start < end {
                let Range { start: from, end: to } = span(page);
                if from >= start && to <= end && to > from {
                    let copy = Bytes::copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
                    self.request.cache().put(key(page), copy, &self.request.tenant);
                }
                page += 1;
            }
            pieces.push((start, bytes));
        }
        pieces.sort_by_key(|(at, bytes)| (*at, std::cmp::Reverse(bytes.len())));
        // A cached page within a larger read would end entries early.
        let mut covered = 0;
        pieces.retain(|(at, bytes)| {
            let end = at + bytes.len() as u64;
            let new = end > covered;
            covered = covered.max(end);
            new
        });
        Ok(Pages { pieces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_across_pieces_are_put_together() {
        // Two bytes of length, 300 of body, four of checksum.
        let entry: Vec<u8> = [0xac, 0x02].into_iter().chain((0..304).map(|i| i as u8)).collect();
        let piece = |from: usize, to: usize| (from as u64 + 100, Bytes::copy_from_slice(&entry[from..to]));
        let mut scratch = Vec::new();
        let whole = Pages { pieces: vec![piece(0, 306)] };
        assert_eq!(whole.entry(100, 1000, &mut scratch).unwrap(), &entry[..]);
        for cut in [1, 2, 150, 305] {
            let split = Pages { pieces: vec![piece(0, cut), piece(cut, 306)] };
            assert_eq!(split.entry(100, 1000, &mut scratch).unwrap(), &entry[..], "cut at {cut}");
            let mut short = Pages { pieces: vec![piece(0, cut)] };
            let more = short.entry(100, 1000, &mut scratch).unwrap_err().unwrap();
            assert_eq!(more, 100..if cut < 10 { 110 } else { 406 });
            assert!(short.entry(100, 400, &mut scratch).is_err());
            short.insert(100, Bytes::copy_from_slice(&entry));
            assert_eq!(short.entry(100, 1000, &mut scratch).unwrap(), &entry[..]);
        }
        assert_eq!(Pages::default().entry(7, 9, &mut scratch).unwrap_err(), Some(7..8));
    }
}
