//! One block of the bucket, as the store sees it.
//!
//! Holds what is known without reading it: meta, labels, size estimates, and its index header. It
//! selects nothing. Invariant: segments are addressed by number, never by their place in a listing, so
//! a missing one costs its own chunks alone.

use std::path::PathBuf;
use std::sync::Arc;

use model::{Labels, LabelsBuilder, Matcher};
use tsdb_block::meta::{BlockMeta, Ulid};

use crate::index_header::{IndexHeader, Shared};

/// The label under which a block's ULID can be matched by request hints.
pub const BLOCK_ID_LABEL: &str = "__block_id";

/// Least estimate of a chunk's or a series entry's size.
const LEAST_ESTIMATE: u64 = 512;

/// Largest sizes assumed before anything was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimates {
    /// Bytes of a series entry.
    pub series: u64,
    /// Bytes of a stored chunk.
    pub chunk: u64,
}

impl Default for Estimates {
    fn default() -> Self {
        Estimates { series: 64 << 10, chunk: 16_000 }
    }
}

/// A block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) meta: Arc<BlockMeta>,
    pub(crate) id: Ulid,
    /// External labels.
    pub(crate) labels: Labels,
    /// The same with [`BLOCK_ID_LABEL`].
    selectable: Labels,
    pub(crate) header: IndexHeader,
    pub(crate) index_key: String,
    /// Assumed bytes of a series entry and of a chunk.
    pub(crate) estimates: Estimates,
    /// Its folder below the data directory.
    pub(crate) folder: Option<PathBuf>,
}

impl Block {
    pub(crate) fn new(
        meta: Arc<BlockMeta>,
        shared: Shared,
        limits: Estimates,
        folder: Option<PathBuf>,
    ) -> Self {
        let id = meta.ulid;
        let labels = meta.external_labels();
        let selectable = LabelsBuilder::new(&labels).set(BLOCK_ID_LABEL, &id.to_string()).labels();
        let index_size = file_size(&meta, tsdb_block::index::FILE_NAME);
        let estimates = estimates(&meta, index_size, limits);
        let header = IndexHeader::new(shared, id, index_size, folder.clone());
        Block {
            index_key: format!("{id}/{}", tsdb_block::index::FILE_NAME),
            id,
            labels,
            selectable,
            header,
            estimates,
            folder,
            meta,
        }
    }

    /// Key of the segment with this number, counted from zero.
    pub(crate) fn segment_key(&self, segment: u32) -> String {
        format!("{}/{}/{:06}", self.id, tsdb_block::chunks::DIR_NAME, u64::from(segment) + 1)
    }

    /// Bytes of that segment, where meta.json tells them.
    pub(crate) fn segment_size(&self, segment: u32) -> Option<u64> {
        let path = format!("{}/{:06}", tsdb_block::chunks::DIR_NAME, u64::from(segment) + 1);
        file_size(&self.meta, &path)
    }

    /// Whether the block, a half-open range, meets the closed range `mint..=maxt`.
    pub(crate) fn overlaps(&self, mint: i64, maxt: i64) -> bool {
        self.meta.min_time <= maxt && mint < self.meta.max_time
    }

    /// Whether matchers on external labels and the block's ULID select it.
    pub(crate) fn is_selected_by(&self, matchers: &[Matcher]) -> bool {
        matchers.iter().all(|m| m.matches(self.selectable.value(&m.name)))
    }
}

fn file_size(meta: &BlockMeta, path: &str) -> Option<u64> {
    let files = &meta.thanos.as_ref()?.files;
    let file = files.iter().find(|f| f.rel_path == path)?;
    u64::try_from(file.size_bytes).ok().filter(|n| *n > 0)
}

/// What meta.json tells of sizes, never above `limits`: a wrong word costs a second read, not the answer.
fn estimates(meta: &BlockMeta, index_size: Option<u64>, limits: Estimates) -> Estimates {
    let stats = meta.thanos.as_ref().map(|t| t.index_stats).unwrap_or_default();
    let told = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
    let average = |bytes: Option<u64>, n: u64| {
        let per = bytes?.checked_div(n)?;
        Some((per * 4).max(LEAST_ESTIMATE))
    };
    let segments: u64 = meta
        .thanos
        .iter()
        .flat_map(|t| &t.files)
        .filter(|f| f.rel_path.starts_with(tsdb_block::chunks::DIR_NAME))
        .filter_map(|f| told(f.size_bytes))
        .sum();
    let series = told(stats.series_max_size).or_else(|| average(index_size, meta.stats.num_series));
    let chunk = told(stats.chunk_max_size)
        .or_else(|| average((segments > 0).then_some(segments), meta.stats.num_chunks));
    Estimates {
        series: series.unwrap_or(limits.series).clamp(1, limits.series.max(1)),
        chunk: chunk.unwrap_or(limits.chunk).clamp(1, limits.chunk.max(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R011: what meta.json says of sizes is a hint within the flags' bounds.
    #[test]
    fn r011_estimates_stay_within_the_flags() {
        let meta = |stats: &str, files: &str| {
            let text = format!(
                r#"{{"ulid":"01M5FC5ZR0JRHRCP081V3NP1HX","minTime":0,"maxTime":1,"version":1,
                "stats":{{"numSeries":10,"numChunks":100}},"thanos":{{"index_stats":{stats},"files":{files}}}}}"#
            );
            BlockMeta::parse(text.as_bytes()).unwrap()
        };
        let limits = Estimates::default();
        let of = |m: &BlockMeta| {
            let e = estimates(m, file_size(m, "index"), limits);
            (e.series, e.chunk)
        };
        assert_eq!(of(&meta("{}", "[]")), (65_536, 16_000));
        let files =
            r#"[{"rel_path":"index","size_bytes":20000},{"rel_path":"chunks/000001","size_bytes":50000}]"#;
        assert_eq!(of(&meta("{}", files)), (8_000, 2_000));
        assert_eq!(of(&meta(r#"{"series_max_size":100,"chunk_max_size":9000000}"#, files)), (100, 16_000));
        assert_eq!(of(&meta(r#"{"series_max_size":-1}"#, "[]")), (65_536, 16_000));
    }
}
