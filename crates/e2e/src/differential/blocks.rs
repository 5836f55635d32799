//! Blocks of the generated series, and blocks as a store of the engine.
//!
//! Holds the cut into blocks and chunks, as a head block would make it, and the way back: a folder
//! of blocks read into memory. Invariant: what the engine sees has passed through block bytes, the
//! same that Prometheus reads.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use model::{CounterResetHint, Labels, Millis, Samples, Span};
use promql::testing::Memory;
use tsdb_block::block::{BlockReader, BlockWriter};
use tsdb_block::chunkenc::histogram::CounterReset;
use tsdb_block::chunkenc::lossless::{self, Chunk, Sample, Value};
use tsdb_block::chunkenc::{self, Encoding};
use tsdb_block::meta::BlockMeta;

use super::data::{LENGTH, START, Series};

/// Length of a block.
pub const BLOCK: Millis = 2 * 3_600_000;
/// Most samples of a chunk.
const CHUNK: usize = 120;

/// Writes the series as blocks of two hours into `dir`.
///
/// # Errors
/// When a block cannot be written.
pub fn write(dir: &Path, mut series: Vec<Series>) -> anyhow::Result<()> {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    for (n, from) in (START..START + LENGTH).step_by(BLOCK as usize).enumerate() {
        let ulid = format!("01KDFFRNT{}AK0000000000000A", n);
        let mut writer = BlockWriter::create(&dir.join(&ulid))?;
        for s in &series {
            let within = |s: &&Sample| (from..from + BLOCK).contains(&s.t);
            let samples: Vec<Sample> = s.samples.iter().filter(within).cloned().collect();
            if samples.is_empty() {
                continue;
            }
            let mut chunks = Vec::new();
            for chunk in cut(samples, s.floats) {
                chunks.push((chunk.encoding, lossless::write(&chunk)?));
            }
            writer.add(&s.labels, chunks.iter().map(|(e, data)| (*e, data.as_slice())))?;
        }
        let json = format!(
            r#"{{"ulid":"{ulid}","minTime":{from},"maxTime":{},"compaction":{{"level":1,"sources":["{ulid}"]}},"version":1}}"#,
            from + BLOCK
        );
        writer.finish(BlockMeta::parse(json.as_bytes())?)?;
    }
    Ok(())
}

/// Cuts samples into chunks: where the kind or the layout changes, at counter resets, when full.
fn cut(samples: Vec<Sample>, floats: Encoding) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for sample in samples {
        let st = sample.st != 0;
        let encoding = match &sample.value {
            Value::Float(_) => floats,
            Value::Histogram(_) if st => Encoding::HistogramSt,
            Value::Histogram(_) => Encoding::Histogram,
            Value::FloatHistogram(_) if st => Encoding::FloatHistogramSt,
            Value::FloatHistogram(_) => Encoding::FloatHistogram,
        };
        let last = chunks.last_mut().filter(|c| c.encoding == encoding && c.samples.len() < CHUNK);
        let goes_on = last.and_then(|c| {
            let after = c.samples.last().is_some_and(|s| follows(&s.value, &sample.value));
            after.then_some(c)
        });
        match goes_on {
            Some(chunk) => chunk.samples.push(sample),
            None => {
                let gauge = matches!(&sample.value, Value::FloatHistogram(h)
                    if h.counter_reset_hint == CounterResetHint::Gauge);
                let reset = if gauge { CounterReset::Gauge } else { CounterReset::Unknown };
                chunks.push(Chunk { encoding, reset, samples: vec![sample], tail: Vec::new() });
            }
        }
    }
    chunks
}

/// Whether `now` may stand behind `before` in one chunk.
fn follows(before: &Value, now: &Value) -> bool {
    type Layout<'a> = (i32, u64, &'a [Span], &'a [Span], Option<&'a [f64]>);
    fn layout(v: &Value) -> Option<(Layout<'_>, f64, bool)> {
        match v {
            Value::Float(_) => None,
            Value::Histogram(h) => Some((
                (
                    h.schema,
                    h.zero_threshold.to_bits(),
                    &h.positive_spans,
                    &h.negative_spans,
                    h.custom_values.as_deref(),
                ),
                h.count as f64,
                model::is_stale_nan(h.sum),
            )),
            Value::FloatHistogram(h) => Some((
                (
                    h.schema,
                    h.zero_threshold.to_bits(),
                    &h.positive_spans,
                    &h.negative_spans,
                    h.custom_values.as_deref(),
                ),
                if h.counter_reset_hint == CounterResetHint::Gauge { f64::INFINITY } else { h.count },
                model::is_stale_nan(h.sum),
            )),
        }
    }
    match (layout(before), layout(now)) {
        (Some((_, _, true)), _) => false,
        (Some(_), Some((_, _, true))) => true,
        (Some((a, before, _)), Some((b, now, _))) => a == b && now >= before,
        _ => true,
    }
}

/// Every series of every block in `dir`, the blocks being in order of time and apart.
///
/// # Errors
/// When a block cannot be read.
pub fn read(dir: &Path) -> anyhow::Result<Memory> {
    let mut blocks = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.join("meta.json").is_file() {
            blocks.push(BlockReader::open(&path)?);
        }
    }
    blocks.sort_by_key(|b| b.meta.min_time);
    let mut all: BTreeMap<Labels, Samples> = BTreeMap::new();
    for block in &blocks {
        for found in block.series()? {
            let (_, labels, series) = found?;
            let samples = all.entry(labels.clone()).or_default();
            for chunk in &series.chunks {
                let (encoding, data) = block.chunk(chunk)?;
                chunkenc::decode(encoding, &data, samples).with_context(|| labels.to_string())?;
            }
        }
    }
    let mut store = Memory::new();
    all.into_iter().for_each(|(labels, samples)| store.insert(&labels, samples));
    Ok(store)
}
