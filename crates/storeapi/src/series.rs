//! The series that travel between StoreAPI servers and clients, in their internal form.
//!
//! Holds chunks as shared bytes with their wire encoding and hash; it knows no wire framing (see
//! `codec`) and never looks into a chunk (see `encoding`). Invariant: labels are sorted, and the
//! parts of one [`AggrChunk`] name each aggregate at most once.

use std::cmp::Ordering;

use bytes::Bytes;
use model::Labels;
use smallvec::SmallVec;
use storeapi_proto::thanos;

/// Which aggregate a chunk holds; the discriminant is `thanos.Aggr` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Aggr {
    /// Samples as scraped.
    Raw = 0,
    /// Number of samples per window.
    Count = 1,
    /// Sum per window.
    Sum = 2,
    /// Minimum per window.
    Min = 3,
    /// Maximum per window.
    Max = 4,
    /// Counter value per window.
    Counter = 5,
}

impl Aggr {
    /// All aggregates in wire order.
    pub const ALL: [Aggr; 6] = [Aggr::Raw, Aggr::Count, Aggr::Sum, Aggr::Min, Aggr::Max, Aggr::Counter];

    /// The aggregate of a wire number.
    pub fn from_wire(n: i32) -> Option<Aggr> {
        Self::ALL.get(usize::try_from(n).ok()?).copied()
    }
}

/// A chunk's bytes as a Prometheus block holds them, without length, encoding byte and CRC.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Chunk {
    /// Wire number of the encoding: 0 XOR, 1 histogram, 2 float histogram, 3 XOR2, 4 and 5 the
    /// histograms with start timestamps. Always the block's number less one.
    pub encoding: i32,
    /// The samples.
    pub data: Bytes,
    /// xxhash64 of `data`, or 0 where the sender did not say.
    pub hash: u64,
}

impl Chunk {
    /// The hash the sender gave, else computed.
    pub fn hash_or_compute(&self) -> u64 {
        if self.hash != 0 { self.hash } else { xxhash_rust::xxh64::xxh64(&self.data, 0) }
    }

    /// Thanos' order of chunks with the same time range (`storepb` `Chunk.Compare`, turned to sort
    /// ascending): smaller encoding first, then larger bytes first.
    fn order(&self, other: &Chunk) -> Ordering {
        self.encoding.cmp(&other.encoding).then_with(|| other.data.cmp(&self.data))
    }
}

/// One part of an [`AggrChunk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What the chunk holds.
    pub aggr: Aggr,
    /// The chunk.
    pub chunk: Chunk,
}

/// A chunk of a series: raw, or one chunk for each requested aggregate.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AggrChunk {
    /// Time of the first sample, in milliseconds.
    pub min_time: i64,
    /// Time of the last sample, in milliseconds.
    pub max_time: i64,
    /// The parts, ascending by aggregate.
    pub parts: SmallVec<[Part; 1]>,
}

impl AggrChunk {
    /// A chunk of samples as scraped.
    pub fn raw(min_time: i64, max_time: i64, chunk: Chunk) -> Self {
        AggrChunk { min_time, max_time, parts: smallvec::smallvec![Part { aggr: Aggr::Raw, chunk }] }
    }

    /// The chunk of one aggregate.
    pub fn get(&self, aggr: Aggr) -> Option<&Chunk> {
        self.parts.iter().find(|p| p.aggr == aggr).map(|p| &p.chunk)
    }

    /// Sets the chunk of one aggregate, keeping the parts ascending.
    pub fn set(&mut self, aggr: Aggr, chunk: Chunk) {
        match self.parts.binary_search_by_key(&aggr, |p| p.aggr) {
            Ok(i) => self.parts[i].chunk = chunk,
            Err(i) => self.parts.insert(i, Part { aggr, chunk }),
        }
    }

    /// Bytes of chunk data.
    pub fn data_len(&self) -> usize {
        self.parts.iter().map(|p| p.chunk.data.len()).sum()
    }

    /// The order in which a merge emits the chunks of one series (`storepb` `AggrChunk.Compare`):
    /// by time, and only among equals by content.
    pub fn order(&self, other: &AggrChunk) -> Ordering {
        self.min_time
            .cmp(&other.min_time)
            .then_with(|| self.max_time.cmp(&other.max_time))
            .then_with(|| self.content_order(other))
    }

    fn content_order(&self, other: &AggrChunk) -> Ordering {
        for aggr in Aggr::ALL {
            let order = match (self.get(aggr), other.get(aggr)) {
                (None, None) => Ordering::Equal,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.order(b),
            };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }
}

/// Labels with chunks.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Series {
    /// Final labels: external ones added, replica labels removed.
    pub labels: Labels,
    /// Chunks by time.
    pub chunks: Vec<AggrChunk>,
}

impl Series {
    /// Heap bytes this series holds on to: what a memory account charges.
    pub fn byte_len(&self) -> usize {
        self.labels.byte_len()
            + self.chunks.capacity() * size_of::<AggrChunk>()
            + self.chunks.iter().map(AggrChunk::data_len).sum::<usize>()
    }
}

/// The generated message of one series: for tests and for peers outside the fast path.
pub fn to_message(series: &Series) -> thanos::Series {
    let chunk = |c: Option<&Chunk>| {
        c.map(|c| thanos::Chunk { r#type: c.encoding, data: c.data.clone(), hash: c.hash })
    };
    thanos::Series {
        labels: storeapi_proto::convert::to_labels(&series.labels),
        chunks: series
            .chunks
            .iter()
            .map(|c| thanos::AggrChunk {
                min_time: c.min_time,
                max_time: c.max_time,
                raw: chunk(c.get(Aggr::Raw)),
                count: chunk(c.get(Aggr::Count)),
                sum: chunk(c.get(Aggr::Sum)),
                min: chunk(c.get(Aggr::Min)),
                max: chunk(c.get(Aggr::Max)),
                counter: chunk(c.get(Aggr::Counter)),
            })
            .collect(),
    }
}
