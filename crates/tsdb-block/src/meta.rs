//! `meta.json`: what a block says of itself.
//!
//! Holds Prometheus' fields and Thanos' section, read and written in Go's field order with tabs. It
//! does not know where the file lies. Invariant: fields this version does not know survive reading and
//! writing, at every level. Upstream: `tsdb.BlockMeta`, Thanos `pkg/block/metadata`.

mod json;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
pub use ulid::Ulid;

/// The file's name within a block.
pub const FILE_NAME: &str = "meta.json";
/// The only version of the file, and of Thanos' section.
pub const VERSION: i64 = 1;
/// How Go writes a time that was never set.
pub const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// A block's `meta.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockMeta {
    /// The block's name.
    pub ulid: Ulid,
    /// First millisecond.
    #[serde(rename = "minTime")]
    pub min_time: i64,
    /// First millisecond after the block.
    #[serde(rename = "maxTime")]
    pub max_time: i64,
    /// Sizes.
    #[serde(default)]
    pub stats: Stats,
    /// History.
    #[serde(default)]
    pub compaction: Compaction,
    /// [`VERSION`].
    #[serde(default)]
    pub version: i64,
    /// Thanos' section; absent in a block Prometheus wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thanos: Option<Thanos>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How much a block holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    /// All samples.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    /// Of these, floats.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    /// Of these, histograms.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    /// Series.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    /// Chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    /// Tombstones.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How a block came about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compaction {
    /// 1 for a block cut from the head.
    pub level: i64,
    /// The level-1 blocks whose data it holds.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub sources: Vec<Ulid>,
    /// Whether it may be deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deletable: bool,
    /// The blocks it was made of.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub parents: Vec<Parent>,
    /// Whether compacting it failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// Hints such as `from-out-of-order`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub hints: Vec<String>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A block another was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its name.
    pub ulid: Ulid,
    /// Its first millisecond.
    #[serde(rename = "minTime")]
    pub min_time: i64,
    /// Its end.
    #[serde(rename = "maxTime")]
    pub max_time: i64,
}

/// Thanos' section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Thanos {
    /// [`VERSION`], or 0 for blocks that do not say.
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub version: i64,
    /// External labels.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// Resolution.
    pub downsample: Downsample,
    /// Which component wrote the block: `sidecar`, `compactor`, `ruler` …
    pub source: String,
    /// Names of chunk files; superseded by `files`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub segment_files: Vec<String>,
    /// All files, sorted by path.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub files: Vec<File>,
    /// Rewrites, as they were found.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub rewrites: Value,
    /// Sizes found in the index.
    pub index_stats: IndexStats,
    /// Free for whoever wrote the block.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub extensions: Value,
    /// When `meta.json` was uploaded, RFC 3339; [`NO_TIME`] where it never was.
    pub upload_time: String,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for Thanos {
    fn default() -> Self {
        Thanos {
            version: 0,
            labels: BTreeMap::new(),
            downsample: Downsample::default(),
            source: String::new(),
            segment_files: Vec::new(),
            files: Vec::new(),
            rewrites: Value::Null,
            index_stats: IndexStats::default(),
            extensions: Value::Null,
            upload_time: NO_TIME.to_owned(),
            other: Map::new(),
        }
    }
}

/// Resolution of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Downsample {
    /// Milliseconds between samples; 0 for samples as scraped.
    pub resolution: i64,
}

/// A file of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct File {
    /// Path within the block.
    pub rel_path: String,
    /// Size; 0 for `meta.json`.
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub size_bytes: i64,
    /// Hash, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
}

/// Hash of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hash {
    /// `SHA256`.
    #[serde(rename = "hashFunc")]
    pub func: String,
    /// Lower-case hexadecimal.
    #[serde(rename = "hashVal")]
    pub value: String,
}

/// Sizes found in an index, to plan reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexStats {
    /// Largest series entry in bytes; 0 for unknown.
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub series_max_size: i64,
    /// Largest chunk in bytes; 0 for unknown.
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub chunk_max_size: i64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn is_zero_i64(n: &i64) -> bool {
    *n == 0
}

fn null_is_default<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(d).map(Option::unwrap_or_default)
}

/// A `meta.json` that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// No JSON, or not of this shape.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A version that does not exist yet.
    #[error("unexpected meta file version {0}")]
    Version(i64),
    /// A version of Thanos' section that does not exist yet.
    #[error("unexpected meta file Thanos section version {0}")]
    ThanosVersion(i64),
}

impl BlockMeta {
    /// Reads the file's bytes.
    ///
    /// # Errors
    /// [`MetaError`].
    pub fn parse(json: &[u8]) -> Result<Self, MetaError> {
        let meta: BlockMeta = serde_json::from_slice(json)?;
        if meta.version != VERSION {
            return Err(MetaError::Version(meta.version));
        }
        match meta.thanos.as_ref().map_or(0, |t| t.version) {
            0 | VERSION => Ok(meta),
            other => Err(MetaError::ThanosVersion(other)),
        }
    }

    /// The file's bytes: tabs, Go's order and escapes. Ends with a newline where Thanos' section is
    /// present (Thanos writes one, Prometheus does not).
    pub fn to_json(&self) -> Vec<u8> {
        // Writing to memory does not fail, and every key is a string.
        let mut out = json::encode(self).unwrap_or_default();
        if self.thanos.is_some() {
            out.push(b'\n');
        }
        out
    }

    /// External labels; empty where Thanos never saw the block.
    pub fn external_labels(&self) -> model::Labels {
        model::Labels::from_pairs(self.thanos.iter().flat_map(|t| &t.labels))
    }

    /// Milliseconds between samples; 0 for raw data.
    pub fn resolution(&self) -> i64 {
        self.thanos.as_ref().map_or(0, |t| t.downsample.resolution)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = "{\n\t\"ulid\": \"01M5FC5ZR0JRHRCP081V3NP1HX\",\n\t\"minTime\": 1792584000000,\n\t\"maxTime\": 1792591200000,\n\t\"stats\": {\n\t\t\"numSamples\": 2640,\n\t\t\"numFloatSamples\": 2640,\n\t\t\"numSeries\": 11,\n\t\t\"numChunks\": 24\n\t},\n\t\"compaction\": {\n\t\t\"level\": 1,\n\t\t\"sources\": [\n\t\t\t\"01M5FC5ZR0JRHRCP081V3NP1HX\"\n\t\t]\n\t},\n\t\"version\": 1,\n\t\"thanos\": {\n\t\t\"labels\": {\n\t\t\t\"cluster\": \"eu1\",\n\t\t\t\"replica\": \"a\"\n\t\t},\n\t\t\"downsample\": {\n\t\t\t\"resolution\": 0\n\t\t},\n\t\t\"source\": \"sidecar\",\n\t\t\"segment_files\": [\n\t\t\t\"000001\"\n\t\t],\n\t\t\"files\": [\n\t\t\t{\n\t\t\t\t\"rel_path\": \"index\",\n\t\t\t\t\"size_bytes\": 1534\n\t\t\t}\n\t\t],\n\t\t\"index_stats\": {},\n\t\t\"upload_time\": \"2026-11-22T14:58:53.602491173Z\"\n\t}\n}\n";

    #[test]
    fn thanos_file_is_written_back_byte_for_byte() {
        let meta = BlockMeta::parse(GOLDEN.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(meta.to_json()).unwrap(), GOLDEN);
    }

    #[test]
    fn unknown_fields_survive() {
        let text = r#"{"ulid":"01M5FC5ZR0JRHRCP081V3NP1HX","minTime":1,"maxTime":2,"version":1,"x":{"y":[1]},
            "stats":{"numSamples":1,"z":true},"thanos":{"labels":null,"segment_files":null,"w":"v"}}"#;
        let meta = BlockMeta::parse(text.as_bytes()).unwrap();
        assert_eq!(BlockMeta::parse(&meta.to_json()).unwrap(), meta);
        let thanos = meta.thanos.unwrap();
        assert!(thanos.labels.is_empty());
        assert_eq!((thanos.other.len(), meta.other.len(), meta.stats.other.len()), (1, 1, 1));
    }

    #[test]
    fn wrong_versions_and_shapes_are_refused() {
        let with = |v: &str| format!(r#"{{"ulid":"01M5FC5ZR0JRHRCP081V3NP1HX","minTime":1,"maxTime":2{v}}}"#);
        for (text, want) in [
            (with(r#","version":2"#), "unexpected meta file version 2"),
            (with(""), "unexpected meta file version 0"),
            (with(r#","version":1,"thanos":{"version":3}"#), "unexpected meta file Thanos section version 3"),
        ] {
            assert_eq!(BlockMeta::parse(text.as_bytes()).unwrap_err().to_string(), want);
        }
        for bad in ["", "{", "[]", "null", r#"{"ulid":"no","minTime":1,"maxTime":2,"version":1}"#] {
            assert!(matches!(BlockMeta::parse(bad.as_bytes()), Err(MetaError::Json(_))), "{bad}");
        }
    }
}
