//! Which chunk encodings a caller can read, and re-encoding for those who cannot.
//!
//! # The wire
//!
//! `thanos.Chunk.type` is the block's encoding number less one: 0 XOR, 1 histogram, 2 float
//! histogram. Thanos names no more, but its sidecar forwards remote read's numbers less one, so the
//! newer encodings of Prometheus have a number already:
//!
//! | type | block encoding |
//! |---|---|
//! | 3 | XOR2 (4) |
//! | 4 | histogram with start timestamps (5) |
//! | 5 | float histogram with start timestamps (6) |
//!
//! A client of ours accepts all six from any peer. A server of ours sends 3, 4 and 5 only to a
//! caller whose gRPC metadata holds `athanor-chunk-encodings`, a comma-separated list of `xor2`,
//! `histogram_st` and `float_histogram_st` (other words are ignored, so that later encodings can be
//! announced to older servers). For every other caller the samples are written again as XOR,
//! histogram or float histogram, with a fresh xxhash64: start timestamps are lost, values and
//! timestamps are not. This is the one place where chunk bytes do not pass through unchanged.
//!
//! It knows how to decode a chunk only through `tsdb_block::chunkenc`. Invariant: after
//! [`downgrade`], no chunk carries an encoding outside the caller's set.

use bytes::Bytes;
use tonic::metadata::MetadataMap;
use tsdb_block::chunkenc::{Encoding, reencode::drop_start_timestamps};

use crate::series::Series;

/// The gRPC metadata key with which a caller names the encodings it reads.
pub const ENCODINGS_KEY: &str = "athanor-chunk-encodings";

/// Highest wire number every StoreAPI client reads.
const COMMON: i32 = 2;

const NAMES: [&str; 3] = ["xor2", "histogram_st", "float_histogram_st"];

/// The encodings a caller reads beyond the three that everyone does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ChunkEncodings(u8);

impl ChunkEncodings {
    /// All that exist.
    pub const ALL: ChunkEncodings = ChunkEncodings(0b111);

    /// What a request's metadata announces.
    pub fn from_metadata(metadata: &MetadataMap) -> Self {
        let mut bits = 0;
        for value in metadata.get_all(ENCODINGS_KEY) {
            for word in value.to_str().unwrap_or_default().split(',') {
                if let Some(i) = NAMES.iter().position(|n| *n == word.trim()) {
                    bits |= 1 << i;
                }
            }
        }
        ChunkEncodings(bits)
    }

    /// Announces this set in an outgoing request.
    pub fn to_metadata(self, metadata: &mut MetadataMap) {
        let names: Vec<&str> = (0..3).filter(|i| self.0 & (1 << i) != 0).map(|i| NAMES[i]).collect();
        if let Ok(value) = names.join(",").parse()
            && !names.is_empty()
        {
            metadata.insert(ENCODINGS_KEY, value);
        }
    }

    /// Whether the caller reads the wire encoding `n`.
    #[inline]
    pub fn reads(self, n: i32) -> bool {
        n <= COMMON || (n <= COMMON + 3 && self.0 & (1 << (n - COMMON - 1)) != 0)
    }

    /// Whether nothing ever has to be written again for this caller.
    pub fn is_all(self) -> bool {
        self == Self::ALL
    }
}

/// A chunk that could not be written again for a caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chunk of {labels} at {min_time}: {reason}")]
pub struct Undecodable {
    /// The series.
    pub labels: String,
    /// The chunk's first timestamp.
    pub min_time: i64,
    /// What is wrong with it.
    pub reason: String,
}

/// Writes again what `caller` cannot read.
///
/// # Errors
/// [`Undecodable`] for a chunk that does not decode.
pub fn downgrade(series: &mut Series, caller: ChunkEncodings) -> Result<(), Undecodable> {
    for chunk in &mut series.chunks {
        for part in &mut chunk.parts {
            if caller.reads(part.chunk.encoding) {
                continue;
            }
            let (encoding, data) = reencode(part.chunk.encoding, &part.chunk.data).map_err(|reason| {
                Undecodable { labels: series.labels.to_string(), min_time: chunk.min_time, reason }
            })?;
            part.chunk.hash = xxhash_rust::xxh64::xxh64(&data, 0);
            part.chunk.encoding = encoding;
            part.chunk.data = data;
        }
    }
    Ok(())
}

fn reencode(wire: i32, data: &Bytes) -> Result<(i32, Bytes), String> {
    let encoding = u8::try_from(wire.saturating_add(1))
        .ok()
        .and_then(Encoding::from_byte)
        .ok_or_else(|| format!("unsupported chunk encoding {}", wire.saturating_add(1)))?;
    let (plain, data) = drop_start_timestamps(encoding, data).map_err(|e| e.to_string())?;
    Ok((plain as i32 - 1, Bytes::from(data.into_owned())))
}

#[cfg(test)]
mod tests {
    use tsdb_block::chunkenc::{xor, xor2};

    use super::*;
    use crate::series::{AggrChunk, Chunk};

    /// The caller that announces nothing gets XOR with the same samples and a hash of the new bytes.
    #[test]
    fn xor2_becomes_xor_for_those_who_do_not_ask() {
        let (mut newer, mut plain) = (xor2::Encoder::new(), xor::Encoder::new());
        for i in 0..50 {
            newer.push(7, i * 15_000, i as f64 / 3.0).unwrap();
            plain.push(i * 15_000, i as f64 / 3.0).unwrap();
        }
        let (newer, plain) = (Bytes::from(newer.finish()), Bytes::from(plain.finish()));
        let chunk = |encoding, data: &Bytes| {
            let hash = xxhash_rust::xxh64::xxh64(data, 0);
            AggrChunk::raw(0, 735_000, Chunk { encoding, data: data.clone(), hash })
        };
        let labels = model::Labels::from_pairs([("a", "b")]);
        let mut series = Series { labels: labels.clone(), chunks: vec![chunk(3, &newer)] };
        downgrade(&mut series, ChunkEncodings::ALL).unwrap();
        assert_eq!(series.chunks, [chunk(3, &newer)]);
        downgrade(&mut series, ChunkEncodings::default()).unwrap();
        assert_eq!(series.chunks, [chunk(0, &plain)]);

        let mut bad =
            Series { labels, chunks: vec![chunk(3, &newer.slice(..newer.len() / 2)), chunk(9, &newer)] };
        let error = downgrade(&mut bad, ChunkEncodings::default()).unwrap_err();
        assert!(error.to_string().starts_with("chunk of {a=\"b\"} at 0: "), "{error}");
        bad.chunks.remove(0);
        let error = downgrade(&mut bad, ChunkEncodings::default()).unwrap_err();
        assert_eq!(error.reason, "unsupported chunk encoding 10");
    }

    #[test]
    fn metadata_round_trips_and_ignores_strangers() {
        let mut m = MetadataMap::new();
        assert_eq!(ChunkEncodings::from_metadata(&m), ChunkEncodings::default());
        ChunkEncodings::ALL.to_metadata(&mut m);
        assert_eq!(m.get(ENCODINGS_KEY).unwrap(), "xor2,histogram_st,float_histogram_st");
        assert!(ChunkEncodings::from_metadata(&m).is_all());
        m.insert(ENCODINGS_KEY, "zstd, xor2".parse().unwrap());
        let some = ChunkEncodings::from_metadata(&m);
        let read: Vec<i32> = (-1..8).filter(|n| some.reads(*n)).collect();
        assert_eq!(read, [-1, 0, 1, 2, 3]);
    }
}
