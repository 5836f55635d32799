//! The answer of a Prometheus too old to stream chunks: all samples at once.
//!
//! Holds the way from samples to XOR chunks of 120. It knows no histogram: such a Prometheus has none.
//! Invariant: the samples are charged before they are encoded; series without samples are left out.

use bytes::Bytes;
use futures::StreamExt;
use model::budget::Account;
use storeapi::series::AggrChunk;
use storeapi::shard::ShardMatcher;
use storeapi::sort::sort_all;
use storeapi::{Chunk, Item, Series, SeriesStream};
use storeapi_proto::{convert, prometheus};
use tonic::Status;
use tsdb_block::chunkenc::xor;
use xxhash_rust::xxh64::xxh64;

use super::stream::Finals;

/// Samples a chunk holds.
const PER_CHUNK: usize = 120;

pub(super) fn stream(
    response: prometheus::ReadResponse,
    finals: &Finals,
    mut shard: ShardMatcher,
    account: Account,
) -> Result<SeriesStream, Status> {
    let mut all = Vec::new();
    for series in response.results.into_iter().flat_map(|r| r.timeseries) {
        let own = convert::prometheus_labels(&series.labels)
            .map_err(|e| Status::unknown(format!("remote read of Prometheus: {e}")))?;
        let labels = finals.of(&own);
        if series.samples.is_empty() {
            tracing::warn!(lset = %labels, "found timeseries without any chunk");
            continue;
        }
        if !shard.matches(&labels) {
            continue;
        }
        account
            .charge((series.samples.len() * 16 + labels.byte_len()) as u64, &"samples of Prometheus")
            .map_err(|e| Status::resource_exhausted(e.to_string()))?;
        let chunks = series.samples.chunks(PER_CHUNK).map(encode).collect::<Result<_, _>>()?;
        all.push(Series { labels, chunks });
    }
    sort_all(&mut all);
    let held = futures::stream::unfold((all.into_iter(), account), |(mut rest, account)| async move {
        rest.next().map(|series| (Ok(Item::Series(vec![series])), (rest, account)))
    });
    Ok(held.boxed())
}

fn encode(samples: &[prometheus::Sample]) -> Result<AggrChunk, Status> {
    let mut encoder = xor::Encoder::new();
    for sample in samples {
        encoder.push(sample.timestamp, sample.value).map_err(|e| Status::internal(e.to_string()))?;
    }
    let data = Bytes::from(encoder.finish());
    let hash = xxh64(&data, 0);
    let time = |s: Option<&prometheus::Sample>| s.map_or(0, |s| s.timestamp);
    Ok(AggrChunk::raw(time(samples.first()), time(samples.last()), Chunk { encoding: 0, data, hash }))
}
