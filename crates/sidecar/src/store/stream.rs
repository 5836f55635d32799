//! Frames of remote read as series, in the order of their final labels.
//!
//! Holds the conversion of one frame and the two ways to keep order: hold back a few series, or all of
//! them. It reads no bytes of chunks but to hash them. Invariant: the next frame is read when the
//! consumer asks, so a slow consumer slows Prometheus.

use std::collections::{BTreeSet, VecDeque};

use component::metrics::Histogram;
use futures::StreamExt;
use model::Labels;
use model::budget::Account;
use promclient::remote_read::ChunkStream;
use storeapi::series::AggrChunk;
use storeapi::shard::ShardMatcher;
use storeapi::sort::{Holdback, lower_bound, sort_all};
use storeapi::{Chunk, Item, Series, SeriesStream};
use storeapi_proto::{convert, prometheus};
use tonic::Status;
use xxhash_rust::xxh64::xxh64;

/// From a series' own labels to its final ones.
#[derive(Clone, Debug)]
pub(super) struct Finals {
    /// All external labels.
    external: Labels,
    /// External labels that stay.
    added: Labels,
    removed: Vec<String>,
    touched: BTreeSet<String>,
}

impl Finals {
    pub(super) fn new(external: &Labels, removed: &[String]) -> Self {
        let names = external.iter().map(|(n, _)| n.to_owned());
        let touched = names.chain(removed.iter().cloned()).collect();
        Finals {
            external: external.clone(),
            added: external.without(removed),
            removed: removed.to_vec(),
            touched,
        }
    }

    /// The labels by which Prometheus sorted a series that it sent: its remote read adds external labels
    /// to series that lack them (`storage/remote/codec.go`, `MergeLabels`) after sorting. A series' own
    /// label that equals the external one cannot be told apart; `Order` excludes it beforehand.
    fn own(&self, sent: Labels) -> Labels {
        let is_added = |n: &str, v: &str| self.external.get(n) == Some(v);
        if !sent.iter().any(|(n, v)| is_added(n, v)) {
            return sent;
        }
        Labels::from_sorted(sent.iter().filter(|(n, v)| !is_added(n, v)))
    }

    pub(super) fn of(&self, own: &Labels) -> Labels {
        if self.removed.is_empty() {
            own.extended_with(&self.added)
        } else {
            own.without(&self.removed).extended_with(&self.added)
        }
    }

    /// Names of labels that are added, replaced or removed.
    pub(super) fn touched(&self) -> BTreeSet<&str> {
        self.touched.iter().map(String::as_str).collect()
    }

    fn touches(&self, own: &Labels) -> bool {
        self.touched.iter().any(|n| own.has(n))
    }
}

/// Whether the order of final labels follows closely from Prometheus' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// No series carries a label that is added or removed.
    Kept,
    /// Some may.
    Lost,
}

/// Frames, converted one at a time.
pub(super) struct Source {
    frames: ChunkStream,
    finals: Finals,
    shard: ShardMatcher,
    observed: Histogram,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.observed.observe(self.frames.count() as f64);
    }
}

impl Source {
    pub(super) fn new(frames: ChunkStream, finals: Finals, shard: ShardMatcher, observed: Histogram) -> Self {
        Source { frames, finals, shard, observed }
    }

    /// The series of the next frame with their own labels; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<(Labels, Series)>>, Status> {
        let message = self.frames.next().await.map_err(|e| Status::unknown(e.to_string()))?;
        let Some(message) = message else { return Ok(None) };
        let mut out = Vec::with_capacity(message.chunked_series.len());
        for series in message.chunked_series {
            let sent = convert::prometheus_labels(&series.labels)
                .map_err(|e| Status::unknown(format!("remote read of Prometheus: {e}")))?;
            let own = self.finals.own(sent);
            let labels = self.finals.of(&own);
            // A series without chunks says nothing (thanos#381).
            if series.chunks.is_empty() || !self.shard.matches(&labels) {
                continue;
            }
            let chunks = series.chunks.into_iter().map(chunk).collect::<Result<_, _>>()?;
            out.push((own, Series { labels, chunks }));
        }
        Ok(Some(out))
    }
}

/// A chunk with its encoding's number on StoreAPI: remote read's less one.
fn chunk(wire: prometheus::Chunk) -> Result<AggrChunk, Status> {
    if wire.r#type < 1 {
        return Err(Status::unknown(format!("remote read of Prometheus: chunk encoding {}", wire.r#type)));
    }
    let hash = xxh64(&wire.data, 0);
    let chunk = Chunk { encoding: wire.r#type - 1, data: wire.data, hash };
    Ok(AggrChunk::raw(wire.min_time_ms, wire.max_time_ms, chunk))
}

/// The stream in the order of final labels. What is held back is charged to `account`.
pub(super) fn ordered(source: Source, order: Order, account: Account) -> SeriesStream {
    match order {
        Order::Kept => kept(source).boxed(),
        Order::Lost => lost(source, account).boxed(),
    }
}

struct Kept {
    source: Source,
    held: Holdback<Series>,
    ready: VecDeque<Series>,
    ended: bool,
}

fn kept(source: Source) -> impl futures::Stream<Item = Result<Item, Status>> + Send {
    let state = Kept { source, held: Holdback::default(), ready: VecDeque::new(), ended: false };
    futures::stream::try_unfold(state, |mut s| async move {
        loop {
            if !s.ready.is_empty() {
                let piece = std::mem::take(&mut s.ready).into();
                return Ok(Some((Item::Series(piece), s)));
            }
            if s.ended {
                return Ok(s.held.drain().map(|(_, series)| (Item::Series(vec![series]), s)));
            }
            match s.source.next().await? {
                None => s.ended = true,
                Some(all) => {
                    for (own, series) in all {
                        if s.source.finals.touches(&own) {
                            // It appeared between our look at the label names and the read.
                            return Err(Status::unavailable(format!(
                                "series {own} carries an external or replica label since this request began; try again"
                            )));
                        }
                        let bound = lower_bound(&own, &s.source.finals.added);
                        while let Some((_, series)) = s.held.pop(&bound) {
                            s.ready.push_back(series);
                        }
                        s.held.push(series.labels.clone(), series);
                    }
                }
            }
        }
    })
}

struct Lost {
    source: Source,
    account: Account,
    sorted: Option<std::vec::IntoIter<Series>>,
}

fn lost(source: Source, account: Account) -> impl futures::Stream<Item = Result<Item, Status>> + Send {
    futures::stream::try_unfold(Lost { source, account, sorted: None }, |mut s| async move {
        if s.sorted.is_none() {
            let mut all = Vec::new();
            while let Some(piece) = s.source.next().await? {
                for (_, series) in piece {
                    s.account
                        .charge(series.byte_len() as u64, &"series of Prometheus to be sorted")
                        .map_err(|e| Status::resource_exhausted(e.to_string()))?;
                    all.push(series);
                }
            }
            sort_all(&mut all);
            s.sorted = Some(all.into_iter());
        }
        let next = s.sorted.as_mut().and_then(Iterator::next);
        if let Some(series) = &next {
            s.account.release(series.byte_len() as u64);
        }
        Ok(next.map(|series| (Item::Series(vec![series]), s)))
    })
}
