//! Blocks made up for demos, tests and benches, written with our own writer.
//!
//! Knows the block format's crate and no service. Invariant: the same arguments give the same samples,
//! so that an answer can be checked against the function that made them.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{Labels, Millis};
use tsdb_block::block::BlockWriter;
use tsdb_block::chunkenc::{Encoding, xor};
use tsdb_block::meta::{BlockMeta, Compaction, Stats, Thanos, Ulid};

/// Samples per chunk: what Prometheus aims at.
const PER_CHUNK: usize = 120;

/// Writes a block into a folder: a FILESYSTEM bucket, with the external labels of the Prometheus that it
/// could come from, or that Prometheus' own data, with `None`. Series in label order, samples in time
/// order and within `range`.
///
/// # Errors
/// When the block cannot be written, or series or samples are out of order.
pub fn write<S>(
    dir: &Path,
    external: Option<&[(&str, &str)]>,
    range: Range<Millis>,
    series: impl IntoIterator<Item = (Labels, S)>,
) -> anyhow::Result<Ulid>
where
    S: IntoIterator<Item = (Millis, f64)>,
{
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let unique = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let random = (u128::from(std::process::id()) << 48) | u128::from(unique);
    let ulid = Ulid::from_parts(u64::try_from(range.end)?, random);
    let mut block = BlockWriter::create(&dir.join(ulid.to_string()))?;
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    for (labels, samples) in series {
        chunks.clear();
        let mut open = xor::Encoder::new();
        for (t, v) in samples {
            if open.len() == PER_CHUNK {
                chunks.push(std::mem::take(&mut open).finish());
            }
            open.push(t, v)?;
        }
        if !open.is_empty() {
            chunks.push(open.finish());
        }
        block.add(&labels, chunks.iter().map(|c| (Encoding::Xor, c.as_slice())))?;
    }
    let thanos = external.map(|labels| Thanos {
        version: tsdb_block::meta::VERSION,
        labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        source: "sidecar".to_owned(),
        segment_files: vec!["000001".to_owned()],
        ..Thanos::default()
    });
    block.finish(BlockMeta {
        ulid,
        min_time: range.start,
        max_time: range.end,
        stats: Stats::default(),
        compaction: Compaction { level: 1, sources: vec![ulid], ..Compaction::default() },
        version: tsdb_block::meta::VERSION,
        thanos,
        other: serde_json::Map::new(),
    })?;
    Ok(ulid)
}
