//! The StoreAPI over a bucket.
//!
//! Holds [`BucketStore`]: the loaded blocks, what a request is read with, and the Series call. `sync`
//! loads and drops blocks, `labels` answers for names and values. It discovers no block. Invariants: the
//! answer is sorted by final labels; a block that fails costs its own data and is named, or ends the
//! request where partial answers are forbidden; a limit always ends it.
//! Upstream: `BucketStore` in `pkg/store/bucket.go`.

mod labels;
mod sync;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use component::Env;
use component::flags::value::TimeOrDuration;
use component::gate::{self, Gate, Pass};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use model::{Labels, Matcher};
use objstore::SharedBucket;
use parking_lot::RwLock;
use storeapi::external_labels::remaining;
use storeapi::{Aggr, Call, Item, Merge, SeriesStream, Store};
use storeapi_proto::{HINTS_TYPE_URL, convert, hintspb, thanos};
use tonic::{Code, Status};

use crate::block::{Block, Estimates};
use crate::block_set::View;
use crate::cache::IndexCache;
use crate::error::{Context as _, Failure, Kind, Result};
use crate::fetch::RangeReader;
use crate::index_header::{self, Laziness, Reader};
use crate::limits::{CallLimits, Limiters};
use crate::matchers::MatcherCache;
use crate::metrics::Metrics;
use crate::pool::CpuPool;
use crate::postings::{Expanded, Expander, LazyOptions};
use crate::request::{Hold, Request};
use crate::stream::{self as block_stream, Shape};

/// Blocks whose postings are expanded at the same time for one request.
const EXPANDING: usize = 32;

/// How a store works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where index headers are kept; none keeps them in memory.
    pub data_dir: Option<PathBuf>,
    /// When headers are built and loaded.
    pub laziness: Laziness,
    /// How long a lazily loaded header stays in memory unused; zero means for ever.
    pub idle_timeout: Duration,
    /// Every how many label values one stays in memory.
    pub sampling: u32,
    /// Blocks loaded at the same time.
    pub sync_concurrency: usize,
    /// Limits of a call.
    pub limits: CallLimits,
    /// Series calls at the same time; 0 for any number.
    pub series_concurrency: usize,
    /// Series read at once from one block at most.
    pub batch: usize,
    /// Assumed sizes where meta.json tells none.
    pub estimates: Estimates,
    /// `--store.enable-lazy-expanded-postings`.
    pub lazy_postings: LazyOptions,
    /// Compiled matchers that are kept; 0 for none.
    pub matcher_cache: usize,
    /// Nothing before this time is answered.
    pub min_time: TimeOrDuration,
    /// Nothing after this time is answered.
    pub max_time: TimeOrDuration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            data_dir: None,
            laziness: Laziness::Eager,
            idle_timeout: Duration::from_secs(300),
            sampling: 32,
            sync_concurrency: 20,
            limits: CallLimits::default(),
            series_concurrency: 20,
            batch: 10_000,
            estimates: Estimates::default(),
            lazy_postings: LazyOptions::default(),
            matcher_cache: 0,
            min_time: TimeOrDuration::Time(i64::MIN),
            max_time: TimeOrDuration::Time(i64::MAX),
        }
    }
}

/// What blocks are read with.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    pub(crate) fetch: RangeReader,
    pub(crate) pool: CpuPool,
}

/// A bucket as a store.
#[derive(Debug)]
pub struct BucketStore {
    options: Options,
    env: Env,
    view: RwLock<Arc<View>>,
    tools: Tools,
    expander: Expander,
    cache: Arc<IndexCache>,
    gate: Gate,
    matchers: MatcherCache,
    metrics: Metrics,
    headers: index_header::Shared,
}

/// A block whose postings were expanded.
struct Ready {
    block: Arc<Block>,
    header: Reader,
    expanded: Expanded,
    reserved: Hold,
}

impl BucketStore {
    /// A store without blocks over `bucket`; [`BucketStore::sync`] loads them.
    ///
    /// # Errors
    /// When the registry has its metrics already, or threads cannot be had.
    pub fn new(
        bucket: SharedBucket,
        options: Options,
        cache: Arc<IndexCache>,
        env: Env,
    ) -> anyhow::Result<Self> {
        let fetch = RangeReader::new(bucket);
        let tools = Tools { fetch: fetch.clone(), pool: CpuPool::new()? };
        let gate = gate::Metrics::new(&env.registry, "thanos_bucket_store_series_gate", "queries")?;
        let headers = index_header::Shared {
            reader: fetch.clone(),
            metrics: index_header::Metrics::new(&env.registry)?,
            laziness: options.laziness,
            sampling: options.sampling.max(1),
            clock: env.clock.clone(),
        };
        Ok(BucketStore {
            expander: Expander { fetch, pool: tools.pool.clone(), lazy: options.lazy_postings },
            gate: Gate::new(options.series_concurrency, Some(gate)),
            matchers: MatcherCache::new(options.matcher_cache, &env.registry)?,
            metrics: Metrics::new(&env.registry)?,
            view: RwLock::new(Arc::default()),
            tools,
            cache,
            headers,
            options,
            env,
        })
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.read().clone()
    }

    /// Labels sets that the store announces, ascending.
    pub fn label_sets(&self) -> Vec<Labels> {
        self.view().sets.keys().cloned().collect()
    }

    /// First and last time that can be asked for.
    pub fn time_range(&self) -> (i64, i64) {
        let (mint, maxt) = self.view().time_range();
        self.clamp(mint, maxt)
    }

    /// For each label set the stretches of time it has blocks for.
    pub fn stretches(&self) -> Vec<(Labels, i64, i64)> {
        self.view().stretches()
    }

    /// Number of loaded blocks.
    pub fn blocks(&self) -> usize {
        self.view().blocks.len()
    }

    fn clamp(&self, mint: i64, maxt: i64) -> (i64, i64) {
        let now = self.env.clock.now_millis();
        (mint.max(self.options.min_time.at(now)), maxt.min(self.options.max_time.at(now)))
    }

    fn request(&self, call: &Call) -> Arc<Request> {
        let limits = Limiters::new(self.options.limits, &self.metrics.queries_dropped, &call.tenant);
        Request::new(
            self.env.budget.account(),
            self.cache.clone(),
            limits,
            self.metrics.clone(),
            call.tenant.clone(),
        )
    }

    /// Opens a block's header and expands the matchers; a damaged header is built anew once.
    async fn expand(
        &self,
        block: &Arc<Block>,
        matchers: &[Matcher],
        request: &Arc<Request>,
    ) -> Result<(Reader, Expanded)> {
        let header = block.header.open().await?;
        let generation = header.generation();
        match self.expander.expand(block, header, matchers, request).await {
            Err(e) if e.kind() == Kind::Header => {
                let header = block.header.reopen(generation, &e).await?;
                self.expander.expand(block, header, matchers, request).await
            }
            other => other,
        }
    }

    /// One block's part of a Series call, up to the point where its series are known.
    async fn prepare(
        &self,
        block: Arc<Block>,
        matchers: &[Matcher],
        limit: usize,
        request: &Arc<Request>,
    ) -> Result<Ready> {
        let (header, mut expanded) =
            self.expand(&block, matchers, request).await.context("expanded matching posting")?;
        if expanded.lazy.is_empty() {
            if limit > 0 {
                expanded.truncate(limit);
            }
            let n = expanded.references.len() as u64;
            let limited = request.limits.series.reserve(n);
            limited.map_err(|e| Failure::limit(format!("exceeded series limit: {e}")))?;
        }
        let reserved = block_stream::reserve(&block, &expanded, matchers, request)?;
        Ok(Ready { block, header, expanded, reserved })
    }
}

/// Reads a hint message that a request may carry.
fn hints<M: prost::Message + Default>(
    any: Option<&prost_types::Any>,
    call: &str,
) -> std::result::Result<M, Status> {
    let Some(any) = any else { return Ok(M::default()) };
    M::decode(any.value.as_slice())
        .map_err(|e| Status::invalid_argument(format!("unmarshal {call} request hints: {e}")))
}

/// A hint message for an answer.
fn to_any<M: prost::Message>(message: &M, name: &str) -> prost_types::Any {
    prost_types::Any { type_url: format!("{HINTS_TYPE_URL}{name}"), value: message.encode_to_vec() }
}

fn block_matchers(wire: &[thanos::LabelMatcher]) -> std::result::Result<Vec<Matcher>, Status> {
    convert::matchers(wire)
        .map_err(|e| Status::invalid_argument(format!("translate request hints labels matchers: {e}")))
}

fn queried(blocks: &[Arc<Block>]) -> Vec<hintspb::Block> {
    blocks.iter().map(|b| hintspb::Block { id: b.id.to_string() }).collect()
}

#[async_trait]
impl Store for BucketStore {
    async fn series(
        &self,
        wire: thanos::SeriesRequest,
        call: Call,
    ) -> std::result::Result<SeriesStream, Status> {
        let pass = self.gate.pass().await;
        let matchers =
            self.matchers.compile(&wire.matchers).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let (mint, maxt) = self.clamp(wire.min_time, wire.max_time);
        let asked: hintspb::SeriesRequestHints = hints(wire.hints.as_ref(), "series")?;
        let selectors = block_matchers(&asked.block_matchers)?;

        let view = self.view();
        let mut chosen = Vec::new();
        for (external, set) in &view.sets {
            let Some(rest) = remaining(&matchers, external) else { continue };
            let rest: Arc<[Matcher]> = rest.into();
            let blocks = set.select(mint, maxt, wire.max_resolution_window, &selectors);
            chosen.extend(blocks.into_iter().map(|b| (b, rest.clone())));
        }

        let request = self.request(&call);
        let strategy = if wire.partial_response_disabled {
            thanos::PartialResponseStrategy::Abort as i32
        } else {
            wire.partial_response_strategy
        };
        let limit = usize::try_from(wire.limit).unwrap_or(0);
        let began = Instant::now();
        let blocks: Vec<Arc<Block>> = chosen.iter().map(|(b, _)| b.clone()).collect();
        let mut prepared = stream::iter(chosen)
            .map(|(block, matchers)| {
                let request = &request;
                async move {
                    let id = block.id;
                    let ready = self.prepare(block, &matchers, limit, request).await;
                    ready.map_err(|e| e.context(format!("fetch postings for block {id}")))
                }
            })
            .buffered(EXPANDING);
        let (mut all, mut warnings) = (Vec::new(), Vec::new());
        while let Some(ready) = prepared.next().await {
            match ready {
                Ok(ready) => all.push(ready),
                Err(e) if e.is_partial(strategy) => {
                    tracing::warn!(err = %e, "block left out of an answer");
                    warnings.push(Ok(Item::Warning(e.to_string())));
                }
                Err(e) => return Err(e.status(Code::Aborted)),
            }
        }
        drop(prepared);
        let tenant = [request.tenant.as_str()];
        let get_all = began.elapsed();
        self.metrics.get_all_duration.with_label_values(&tenant).observe(get_all.as_secs_f64());
        self.metrics.blocks_queried.with_label_values(&tenant).observe(all.len() as f64);

        let (some, empty): (Vec<Ready>, Vec<Ready>) =
            all.into_iter().partition(|r| !r.expanded.references.is_empty());
        self.metrics.empty_postings.with_label_values(&tenant).inc_by(empty.len() as u64);
        let shape = Arc::new(Shape {
            mint,
            maxt,
            skip_chunks: wire.skip_chunks,
            removed: wire.without_replica_labels,
            aggregates: wire.aggregates.iter().filter_map(|n| Aggr::from_wire(*n)).collect(),
            shard: wire.shard_info,
            limit,
            batch: self.options.batch,
            blocks: some.len(),
            strategy,
        });
        let streams = some.into_iter().map(|r| {
            let (shape, tools, request) = (shape.clone(), self.tools.clone(), request.clone());
            block_stream::stream(r.block, r.header, r.expanded, r.reserved, shape, tools, request)
        });
        let merged = Merge::new(streams.collect());
        let sent = Sent::new(request, self.metrics.clone(), limit as u64, pass, wire.skip_chunks);
        let hinted = asked.enable_query_stats.then_some((blocks, get_all));
        Ok(stream::iter(warnings).chain(sent.over(merged.boxed(), hinted)).boxed())
    }

    async fn label_names(
        &self,
        request: thanos::LabelNamesRequest,
        call: Call,
    ) -> std::result::Result<thanos::LabelNamesResponse, Status> {
        self.names(request, call).await
    }

    async fn label_values(
        &self,
        request: thanos::LabelValuesRequest,
        call: Call,
    ) -> std::result::Result<thanos::LabelValuesResponse, Status> {
        self.values(request, call).await
    }
}

/// Counts what is sent, cuts it at the request's limit and observes everything when it ends.
struct Sent {
    request: Arc<Request>,
    metrics: Metrics,
    limit: u64,
    series: u64,
    began: Instant,
    skip_chunks: bool,
    sizes: component::metrics::Histogram,
    _pass: Pass,
}

impl Sent {
    fn new(request: Arc<Request>, metrics: Metrics, limit: u64, pass: Pass, skip_chunks: bool) -> Self {
        let sizes = metrics.sent_chunk_size.with_label_values(&[&request.tenant]);
        let began = Instant::now();
        Sent { request, metrics, limit, series: 0, began, skip_chunks, sizes, _pass: pass }
    }

    fn over(
        mut self,
        merged: SeriesStream,
        hinted: Option<(Vec<Arc<Block>>, Duration)>,
    ) -> BoxStream<'static, std::result::Result<Item, Status>> {
        // The state ends with the stream, and with it the gate's pass and the account.
        let request = self.request.clone();
        let began = self.began;
        let counted = merged.scan((), move |(), item| {
            let item = match item {
                Ok(Item::Series(mut all)) => {
                    if self.limit > 0 {
                        all.truncate(usize::try_from(self.limit - self.series).unwrap_or(usize::MAX));
                        if all.is_empty() {
                            return std::future::ready(None);
                        }
                    }
                    self.count(&all);
                    Ok(Item::Series(all))
                }
                other => other,
            };
            std::future::ready(Some(item))
        });
        let Some((blocks, get_all)) = hinted else { return counted.boxed() };
        let hints = stream::once(async move {
            let stats = request.stats.to_hints(blocks.len(), get_all, began.elapsed());
            let message =
                hintspb::SeriesResponseHints { queried_blocks: queried(&blocks), query_stats: Some(stats) };
            Ok(Item::Hints(to_any(&message, "SeriesResponseHints")))
        });
        counted.chain(hints).boxed()
    }

    fn count(&mut self, all: &[storeapi::Series]) {
        self.series += all.len() as u64;
        if self.skip_chunks {
            self.request.stats.merged(all.len() as u64, 0);
            return;
        }
        let sizes = self.sizes.local();
        let mut chunks = 0;
        for series in all {
            chunks += series.chunks.len() as u64;
            // Data, and what the message around it takes: times, tags, lengths, hash.
            let bytes: usize = series.chunks.iter().map(|c| c.data_len() + 16 + 17 * c.parts.len()).sum();
            sizes.observe(bytes as f64);
        }
        sizes.flush();
        self.request.stats.merged(all.len() as u64, chunks);
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let tenant = [self.request.tenant.as_str()];
        let merging = self.began.elapsed().as_secs_f64();
        self.metrics.merge_duration.with_label_values(&tenant).observe(merging);
        self.request.stats.observe(&self.metrics, &self.request.tenant);
    }
}
