//! Chunks of series, fetched by ranges that serve many.
//!
//! Holds the loading of one piece of a block's answer: which ranges of which segments, reading them,
//! and cutting them into chunks whose bytes are slices of what was read. It decodes no sample.
//! Invariants: a chunk's checksum is verified before it is sent; a buffer lives on only for chunks that
//! fill most of it, else they are copied out; chunks longer than estimated are read again, together.
//! Upstream: `bucketChunkReader`.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{StreamExt as _, TryStreamExt as _};
use smallvec::SmallVec;
use storeapi::{Aggr, AggrChunk, Chunk, Part as AggrPart, Series};
use tsdb_block::chunkenc::Encoding;
use tsdb_block::chunkenc::aggr::{Aggregate, Aggregates};
use tsdb_block::chunks::{parse, stored_len};
use xxhash_rust::xxh64::xxh64;

use crate::block::Block;
use crate::error::{Context as _, Failure, Result};
use crate::fetch::RangeReader;
use crate::partitioner::Partitioner;
use crate::pool::CpuPool;
use crate::request::Request;
use crate::series::Found;
use crate::stats::Data;

/// Chunks this close together are read at once.
const PARTITIONER: Partitioner = Partitioner { gap: 128 << 10, longest: 1 << 20 };
/// Reads at once for one piece.
const READS: usize = 8;

/// Bytes in which a chunk's length field lies in any case.
const LENGTH: u64 = 16;
/// So many chunks are cut where the request is.
const SMALL: usize = 256;

/// Loads the chunks of one block.
#[derive(Clone, Debug)]
pub(crate) struct Loader {
    pub(crate) fetch: RangeReader,
    pub(crate) pool: CpuPool,
    pub(crate) block: Arc<Block>,
    pub(crate) request: Arc<Request>,
    pub(crate) aggregates: Arc<[Aggr]>,
}

/// A chunk to load: where it stands, and which of the piece's chunks it is.
#[derive(Clone, Copy, Debug)]
struct Load {
    segment: u32,
    offset: u32,
    at: u32,
}

/// A range that was read.
#[derive(Debug)]
struct Read {
    segment: u32,
    start: u64,
    bytes: Bytes,
}

/// What loading took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Reads added up.
    pub(crate) reads: Duration,
    /// From start to end.
    pub(crate) wall: Duration,
}

impl Loader {
    /// The series of a piece with their chunks, in the same order.
    pub(crate) async fn load(&self, piece: Vec<Found>, spent: &mut Spent) -> Result<Vec<Series>> {
        let began = Instant::now();
        let mut loads: Vec<Load> = Vec::new();
        for chunk in piece.iter().flat_map(|f| &f.chunks) {
            loads.push(Load { segment: chunk.segment(), offset: chunk.offset(), at: loads.len() as u32 });
        }
        if !loads.is_sorted_by_key(|l| (l.segment, l.offset)) {
            loads.sort_unstable_by_key(|l| (l.segment, l.offset));
        }
        let parts = self.parts(&loads);
        let size: u64 = parts.iter().map(|(_, bytes, _)| bytes.end - bytes.start).sum();
        let limited = self.request.limits.bytes.reserve(size);
        limited.map_err(|e| Failure::limit(format!("exceeded bytes limit while fetching chunks: {e}")))?;
        let mut reads = self.read(parts, spent).await.context("load chunks")?;

        let (mut loads, mut longer) = find(loads, &reads);
        if !longer.is_empty() {
            let tenant = [self.request.tenant.as_str()];
            self.request.metrics.chunk_refetches.with_label_values(&tenant).inc_by(longer.len() as u64);
            let again = longer
                .iter()
                .map(|(l, len)| (l.segment, u64::from(l.offset)..u64::from(l.offset) + len, 1))
                .collect();
            let size: u64 = longer.iter().map(|(_, len)| *len).sum();
            let limited = self.request.limits.bytes.reserve(size);
            limited
                .map_err(|e| Failure::limit(format!("exceeded bytes limit while fetching chunks: {e}")))?;
            let first = reads.len();
            reads.extend(self.read(again, spent).await.context("load chunks")?);
            for (i, (load, _)) in longer.drain(..).enumerate() {
                loads.push((load, first + i, 0));
            }
        }
        spent.wall += began.elapsed();
        let cut = Cut {
            block: self.block.clone(),
            aggregates: self.aggregates.clone(),
            request: self.request.clone(),
        };
        let small = loads.len() <= SMALL;
        self.pool.run_sized(small, move || cut.series(piece, loads, reads)).await.context("load chunks")
    }

    /// Segment, bytes and number of chunks of each read.
    fn parts(&self, loads: &[Load]) -> Vec<(u32, Range<u64>, u64)> {
        let mut out = Vec::new();
        for group in loads.chunk_by(|a, b| a.segment == b.segment) {
            let segment = group[0].segment;
            let size = self.block.segment_size(segment).unwrap_or(u64::MAX);
            let ranges = group.iter().map(|l| {
                let start = u64::from(l.offset);
                // The size in meta.json may be wrong: never a reason to ask for less than a length field.
                let end = start.saturating_add(self.block.estimates.chunk.max(LENGTH));
                start..end.min(size.max(start + LENGTH))
            });
            out.extend(
                PARTITIONER.parts(ranges).into_iter().map(|p| (segment, p.bytes, p.items.len() as u64)),
            );
        }
        out
    }

    async fn read(&self, parts: Vec<(u32, Range<u64>, u64)>, spent: &mut Spent) -> Result<Vec<Read>> {
        let reads: Vec<_> = parts
            .into_iter()
            .map(|(segment, range, chunks)| async move {
                let began = Instant::now();
                let len = range.end - range.start;
                let mut hold = self.request.hold(len, &format_args!("chunks of block {}", self.block.id))?;
                let key = self.block.segment_key(segment);
                let bytes = self.fetch.read(&key, range.start, len).await?;
                self.request.stats.fetch(Data::Chunks, chunks, bytes.len() as u64);
                // The estimate reached beyond the end of the segment.
                hold.release(len - bytes.len() as u64);
                let read = Read { segment, start: range.start, bytes: hold.over(bytes) };
                Ok::<_, Failure>((read, began.elapsed()))
            })
            .collect();
        let read: Vec<(Read, Duration)> = futures::stream::iter(reads).buffered(READS).try_collect().await?;
        spent.reads += read.iter().map(|(_, took)| *took).sum::<Duration>();
        Ok(read.into_iter().map(|(read, _)| read).collect())
    }
}

/// Where each load stands: its read and the place in it. The rest needs so many bytes more.
#[allow(clippy::type_complexity)]
fn find(loads: Vec<Load>, reads: &[Read]) -> (Vec<(Load, usize, usize)>, Vec<(Load, u64)>) {
    let (mut found, mut longer) = (Vec::with_capacity(loads.len()), Vec::new());
    let mut at = 0;
    for load in loads {
        let offset = u64::from(load.offset);
        // Reads are in the order of loads and cover each of them.
        while at + 1 < reads.len() && (reads[at + 1].segment, reads[at + 1].start) <= (load.segment, offset) {
            at += 1;
        }
        let from = usize::try_from(offset.saturating_sub(reads[at].start)).unwrap_or(usize::MAX);
        let rest = reads[at].bytes.get(from..).unwrap_or_default();
        match stored_len(rest) {
            Ok(len) if len > rest.len() as u64 => longer.push((load, len)),
            // A broken length is found again, and reported, when the chunk is cut.
            _ => found.push((load, at, from)),
        }
    }
    (found, longer)
}

/// Cuts reads into the chunks of series.
struct Cut {
    block: Arc<Block>,
    aggregates: Arc<[Aggr]>,
    request: Arc<Request>,
}

impl Cut {
    fn series(
        self,
        piece: Vec<Found>,
        loads: Vec<(Load, usize, usize)>,
        reads: Vec<Read>,
    ) -> Result<Vec<Series>> {
        let mut places = vec![(0u32, 0usize); loads.len()];
        let mut used = vec![0usize; reads.len()];
        for (load, read, from) in &loads {
            places[load.at as usize] = (*read as u32, *from);
            used[*read] += usize::try_from(
                stored_len(&reads[*read].bytes[(*from).min(reads[*read].bytes.len())..]).unwrap_or(0),
            )
            .unwrap_or(0);
        }
        // A buffer of which chunks fill less than half is not kept for them.
        let sparse: Vec<bool> = reads.iter().zip(&used).map(|(r, used)| *used < r.bytes.len() / 2).collect();
        let mut places = places.into_iter();
        let (mut chunks, mut bytes) = (0, 0);
        let mut out = Vec::with_capacity(piece.len());
        for found in piece {
            let mut series = Series { labels: found.labels, chunks: Vec::with_capacity(found.chunks.len()) };
            for meta in &found.chunks {
                let (read, from) = places.next().unwrap_or_default();
                let parts = match reads.get(read as usize) {
                    Some(r) => {
                        let (parts, len) = self.chunk(r, from, sparse[read as usize])?;
                        bytes += len;
                        parts
                    }
                    None => SmallVec::new(),
                };
                chunks += 1;
                series.chunks.push(AggrChunk { min_time: meta.mint, max_time: meta.maxt, parts });
            }
            out.push(series);
        }
        self.request.stats.touch(Data::Chunks, chunks, bytes);
        Ok(out)
    }

    fn chunk(&self, read: &Read, from: usize, copy: bool) -> Result<(SmallVec<[AggrPart; 1]>, u64)> {
        let rest = read.bytes.get(from..).unwrap_or_default();
        let fail = |e: tsdb_block::Error| {
            let key = self.block.segment_key(read.segment);
            Failure::block(e.in_file(Path::new(&key), read.start + from as u64)).context("populate chunk")
        };
        let stored = parse(rest).map_err(fail)?;
        let own = |data: &[u8]| {
            if copy { Bytes::copy_from_slice(data) } else { read.bytes.slice_ref(data) }
        };
        let chunk = |encoding: Encoding, data: &[u8]| Chunk {
            encoding: i32::from(encoding as u8) - 1,
            hash: xxh64(data, 0),
            data: own(data),
        };
        let mut parts = SmallVec::new();
        if stored.encoding != Encoding::Aggr {
            parts.push(AggrPart { aggr: Aggr::Raw, chunk: chunk(stored.encoding, stored.data) });
            return Ok((parts, stored.data.len() as u64));
        }
        let split = Aggregates::parse(stored.data).map_err(fail)?;
        let mut whole = AggrChunk::default();
        for aggr in self.aggregates.iter() {
            let (which, name) = match aggr {
                Aggr::Raw => continue,
                Aggr::Count => (Aggregate::Count, "count"),
                Aggr::Sum => (Aggregate::Sum, "sum"),
                Aggr::Min => (Aggregate::Min, "min"),
                Aggr::Max => (Aggregate::Max, "max"),
                Aggr::Counter => (Aggregate::Counter, "counter"),
            };
            let sub = split
                .get(which)
                .ok_or_else(|| Failure::block(format!("populate chunk: aggregate {name} does not exist")))?;
            whole.set(*aggr, chunk(sub.encoding, sub.data));
        }
        Ok((whole.parts, stored.data.len() as u64))
    }
}

/// Bytes that a series is expected to take in an answer.
pub(crate) fn weight(found: &Found, estimate: u64) -> u64 {
    // Estimates are about four times the average where meta.json tells sizes.
    found.labels.byte_len() as u64 + found.chunks.len() as u64 * (estimate / 4).max(64)
}
