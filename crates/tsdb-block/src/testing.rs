//! Comparison of blocks with what another program recorded of them (feature `testing`).
//!
//! Holds [`compare_recorded`]. The folder's shape is told in the README of the golden data: block
//! folders, and beside them `samples.jsonl.gz` or `<ULID>.samples.jsonl.gz`, a line per series.
//! Invariant: every recorded series, chunk and sample is compared, by bits; each chunk is also
//! encoded again and must give its own bytes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use model::{CounterResetHint, Labels, Span};
use serde_json::{Value, json};

use crate::block::BlockReader;
use crate::chunkenc::lossless::{self, Value as Sample};
use crate::{Error, Result};

/// What was compared, and what differed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Blocks compared.
    pub blocks: usize,
    /// Series compared.
    pub series: usize,
    /// Chunks compared.
    pub chunks: usize,
    /// Samples compared.
    pub samples: usize,
    /// One text a difference; empty if all is equal. At most 100 are listed.
    pub differences: Vec<String>,
}

impl Report {
    fn differs(&mut self, text: String) {
        if self.differences.len() < 100 {
            self.differences.push(text);
        }
    }
}

/// Compares every block of `dir` with its record.
///
/// # Errors
/// Where the record cannot be read. What is wrong with a block is a difference.
pub fn compare_recorded(dir: &Path) -> Result<Report> {
    let mut report = Report::default();
    let mut blocks = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        if path.join(crate::meta::FILE_NAME).is_file() {
            blocks.push(path);
        }
    }
    blocks.sort();
    if blocks.is_empty() {
        return Err(Error::NotFound { what: format!("a block in {}", dir.display()) });
    }
    for block in blocks {
        let name = block.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let own = dir.join(format!("{name}.samples.jsonl.gz"));
        let record = if own.is_file() { own } else { dir.join("samples.jsonl.gz") };
        report.blocks += 1;
        if let Err(e) = one(&block, &record, &mut report) {
            report.differs(format!("{name}: {e}"));
        }
    }
    Ok(report)
}

fn one(dir: &Path, record: &Path, report: &mut Report) -> Result<()> {
    let block = BlockReader::open(dir)?;
    let file = File::open(record).map_err(Error::io(record))?;
    let mut lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines();
    for found in block.series()? {
        let (reference, labels, series) = found?;
        let Some(line) = lines.next() else {
            report.differs(format!("series {labels} is not recorded"));
            continue;
        };
        let line = line.map_err(Error::io(record))?;
        let want: Value = serde_json::from_str(&line)
            .map_err(|e| Error::corrupt("record", 0, e.to_string()).in_file(record, 0))?;
        report.series += 1;
        let pairs: Vec<(&str, &str)> = want["labels"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| (p[0].as_str().unwrap_or(""), p[1].as_str().unwrap_or("")))
            .collect();
        if Labels::from_pairs(pairs) != labels || want["ref"] != json!(reference) {
            report
                .differs(format!("series {reference} {labels}, recorded {} {}", want["ref"], want["labels"]));
        }
        let chunks = want["chunks"].as_array().map_or(&[][..], Vec::as_slice);
        if chunks.len() != series.chunks.len() {
            report.differs(format!("{labels}: {} chunks, recorded {}", series.chunks.len(), chunks.len()));
        }
        for (meta, want) in series.chunks.iter().zip(chunks) {
            report.chunks += 1;
            let place = format!("{labels}, chunk {}", meta.reference);
            match chunk(&block, meta, want, report) {
                Ok(differences) => {
                    differences.into_iter().for_each(|d| report.differs(format!("{place}: {d}")))
                }
                Err(e) => report.differs(format!("{place}: {e}")),
            }
        }
    }
    let more = lines.count();
    if more > 0 {
        report.differs(format!("{more} recorded series are not in the block"));
    }
    Ok(())
}

fn chunk(
    block: &BlockReader,
    meta: &crate::index::ChunkMeta,
    want: &Value,
    report: &mut Report,
) -> Result<Vec<String>> {
    let mut out = Vec::new();
    let (encoding, data) = block.chunk(meta)?;
    let decoded = lossless::read(encoding, &data)?;
    let got = json!({"mint": meta.mint, "maxt": meta.maxt, "encoding": encoding.name(),
        "samples": decoded.samples.len(), "ref": meta.reference, "bytes": data.len()});
    for (key, value) in got.as_object().into_iter().flatten() {
        if want[key] != *value {
            out.push(format!("{key} {value}, recorded {}", want[key]));
        }
    }
    if lossless::write(&decoded)? != data {
        out.push("encoded again it gives other bytes".to_owned());
    }
    let mut columns = model::Samples::default();
    crate::chunkenc::decode(encoding, &data, &mut columns)?;
    let rows = want["rows"].as_array().map_or(&[][..], Vec::as_slice);
    if rows.len() != decoded.samples.len() || columns.len() != rows.len() {
        out.push(format!(
            "{} samples, {} in columns, {} recorded",
            decoded.samples.len(),
            columns.len(),
            rows.len()
        ));
    }
    for (i, (s, want)) in decoded.samples.iter().zip(rows).enumerate() {
        report.samples += 1;
        let column_value = columns.values.get(i).map(|v| v.to_bits());
        let (value, bits, float) = match &s.value {
            Sample::Float(v) => (json!(hex(*v)), v.to_bits(), None),
            Sample::Histogram(h) => (int_histogram(h), h.sum.to_bits(), Some(h.to_float())),
            Sample::FloatHistogram(h) => (float_histogram(h), h.sum.to_bits(), Some(h.clone())),
        };
        if json!(s.t) != want[0] || value != want[1] || want.get(2).is_some_and(|st| *st != json!(s.st)) {
            out.push(format!("sample {i}: {} {} start {}, recorded {want}", s.t, value, s.st));
        }
        let start = columns.start_ts.get(i).copied().unwrap_or(0);
        if columns.ts.get(i) != Some(&s.t) || column_value != Some(bits) || start != s.st {
            out.push(format!("sample {i} differs between columns and lossless form"));
        }
        if columns.histogram(i).map(|h| float_histogram(h)) != float.map(|h| float_histogram(&h)) {
            out.push(format!("histogram {i} differs between columns and lossless form"));
        }
    }
    Ok(out)
}

fn hex(v: f64) -> String {
    format!("{:016x}", v.to_bits())
}

fn hint(h: CounterResetHint) -> &'static str {
    match h {
        CounterResetHint::Unknown => "unknown",
        CounterResetHint::Reset => "reset",
        CounterResetHint::NotReset => "not_reset",
        CounterResetHint::Gauge => "gauge",
    }
}

fn put(out: &mut Value, key: &str, list: Vec<Value>) {
    if !list.is_empty() {
        out[key] = Value::Array(list);
    }
}

fn spans(s: &[Span]) -> Vec<Value> {
    s.iter().map(|s| json!([s.offset, s.length])).collect()
}

fn bounds(b: &Option<std::sync::Arc<[f64]>>) -> Vec<Value> {
    b.iter().flat_map(|b| b.iter()).map(|v| json!(hex(*v))).collect()
}

fn int_histogram(h: &model::Histogram) -> Value {
    let mut out = json!({"schema": h.schema, "zero_threshold": hex(h.zero_threshold),
        "zero_count": h.zero_count.to_string(), "count": h.count.to_string(), "sum": hex(h.sum),
        "counter_reset_hint": hint(h.counter_reset_hint), "kind": "int"});
    let absolute = |d: &[i64]| {
        let mut at = 0i64;
        d.iter()
            .map(|d| {
                at = at.wrapping_add(*d);
                json!(at.to_string())
            })
            .collect()
    };
    put(&mut out, "positive_spans", spans(&h.positive_spans));
    put(&mut out, "negative_spans", spans(&h.negative_spans));
    put(&mut out, "positive_buckets", absolute(&h.positive_buckets));
    put(&mut out, "negative_buckets", absolute(&h.negative_buckets));
    put(&mut out, "custom_values", bounds(&h.custom_values));
    out
}

fn float_histogram(h: &model::FloatHistogram) -> Value {
    let mut out = json!({"schema": h.schema, "zero_threshold": hex(h.zero_threshold),
        "zero_count": hex(h.zero_count), "count": hex(h.count), "sum": hex(h.sum),
        "counter_reset_hint": hint(h.counter_reset_hint), "kind": "float"});
    let values = |v: &[f64]| v.iter().map(|v| json!(hex(*v))).collect();
    put(&mut out, "positive_spans", spans(&h.positive_spans));
    put(&mut out, "negative_spans", spans(&h.negative_spans));
    put(&mut out, "positive_buckets", values(&h.positive_buckets));
    put(&mut out, "negative_buckets", values(&h.negative_buckets));
    put(&mut out, "custom_values", bounds(&h.custom_values));
    out
}
