//! Blocks written for tests, with everything about them in the test's hand.

use std::collections::BTreeSet;
use std::path::Path;

use model::Labels;
use serde_json::json;
use tsdb_block::chunkenc::{Encoding, xor};
use tsdb_block::index::ChunkMeta;
use tsdb_block::meta::Ulid;
use tsdb_block::{chunks, index};

/// A chunk with its data as stored.
#[derive(Clone, Debug)]
pub(crate) struct RawChunk {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) encoding: Encoding,
    pub(crate) data: Vec<u8>,
}

/// An XOR chunk.
pub(crate) fn floats(samples: &[(i64, f64)]) -> RawChunk {
    let mut encoder = xor::Encoder::new();
    for (t, v) in samples {
        encoder.push(*t, *v).unwrap();
    }
    let (mint, maxt) = (samples[0].0, samples[samples.len() - 1].0);
    RawChunk { mint, maxt, encoding: Encoding::Xor, data: encoder.finish() }
}

/// A block to write.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) id: Ulid,
    pub(crate) labels: Vec<(&'static str, &'static str)>,
    pub(crate) resolution: i64,
    /// In any order; written sorted.
    pub(crate) series: Vec<(Labels, Vec<RawChunk>)>,
    pub(crate) segment_size: u64,
    /// Whether meta.json tells files and their sizes.
    pub(crate) tells_files: bool,
    pub(crate) index_stats: serde_json::Value,
}

impl Spec {
    /// A block with external labels `cluster="one"`.
    pub(crate) fn new(n: u64, series: Vec<(Labels, Vec<RawChunk>)>) -> Self {
        Spec {
            id: Ulid::from_parts(n, n as u128),
            labels: vec![("cluster", "one")],
            resolution: 0,
            series,
            segment_size: 512 << 20,
            tells_files: true,
            index_stats: json!({}),
        }
    }

    /// Writes the block below `bucket` and returns its name.
    pub(crate) fn write(mut self, bucket: &Path) -> String {
        self.series.sort_by(|a, b| a.0.cmp(&b.0));
        let name = self.id.to_string();
        let dir = bucket.join(&name);
        std::fs::create_dir_all(&dir).unwrap();
        let mut segments =
            chunks::Writer::with_segment_size(&dir.join(chunks::DIR_NAME), self.segment_size).unwrap();
        let (mut mint, mut maxt, mut count) = (i64::MAX, i64::MIN, 0);
        let mut metas = Vec::new();
        for (_, all) in &self.series {
            let mut of_series = Vec::new();
            for c in all {
                let reference = segments.write(c.encoding, &c.data).unwrap();
                of_series.push(ChunkMeta { mint: c.mint, maxt: c.maxt, reference });
                (mint, maxt) = (mint.min(c.mint), maxt.max(c.maxt + 1));
                count += 1;
            }
            metas.push(of_series);
        }
        segments.finish().unwrap();
        let symbols: BTreeSet<&str> =
            self.series.iter().flat_map(|(l, _)| l.iter()).flat_map(|(n, v)| [n, v]).collect();
        let mut writer = index::Writer::create(&dir.join(index::FILE_NAME), symbols).unwrap();
        for ((labels, _), metas) in self.series.iter().zip(&metas) {
            writer.add(labels, metas).unwrap();
        }
        writer.finish().unwrap();

        let mut files = Vec::new();
        let mut segment_names = Vec::new();
        if self.tells_files {
            let mut list: Vec<_> =
                std::fs::read_dir(dir.join("chunks")).unwrap().map(|e| e.unwrap()).collect();
            list.sort_by_key(|e| e.file_name());
            for entry in list {
                let segment = entry.file_name().into_string().unwrap();
                files.push(
                    json!({"rel_path": format!("chunks/{segment}"), "size_bytes": entry.metadata().unwrap().len()}),
                );
                segment_names.push(segment);
            }
            let size = std::fs::metadata(dir.join("index")).unwrap().len();
            files.push(json!({"rel_path": "index", "size_bytes": size}));
        }
        let labels: serde_json::Map<_, _> =
            self.labels.iter().map(|(n, v)| ((*n).to_owned(), json!(v))).collect();
        let meta = json!({
            "ulid": name, "minTime": mint, "maxTime": maxt, "version": 1,
            "stats": {"numSeries": self.series.len(), "numChunks": count, "numSamples": count},
            "compaction": {"level": 1, "sources": [name]},
            "thanos": {"labels": labels, "downsample": {"resolution": self.resolution}, "source": "sidecar",
                "files": files, "segment_files": segment_names, "index_stats": self.index_stats}
        });
        std::fs::write(dir.join("meta.json"), meta.to_string()).unwrap();
        name
    }
}

/// Labels from pairs.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

/// `n` series `up{n="00000"}` with one chunk of two samples each.
pub(crate) fn plain_series(n: usize) -> Vec<(Labels, Vec<RawChunk>)> {
    (0..n)
        .map(|i| {
            let number = format!("{i:05}");
            let of = labels(&[("__name__", "up"), ("n", &number)]);
            (of, vec![floats(&[(1000, i as f64), (2000, i as f64 + 0.5)])])
        })
        .collect()
}
