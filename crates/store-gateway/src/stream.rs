//! The answer of one block, as a stream.
//!
//! Holds the loop over batches of references: entries, order, chunks, out. It knows no other block.
//! Invariants: what comes out is sorted by final labels; at most two pieces are ready ahead of the
//! reader, who thereby sets the pace; when the stream is dropped the work behind it ends.
//! Upstream: `blockSeriesClient`; where it holds all of a block, this holds a batch.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use storeapi::{Aggr, Item, Series, SeriesStream};
use storeapi_proto::thanos::ShardInfo;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tsdb_block::index::ChunkMeta;

use crate::block::Block;
use crate::chunks::{self, Loader, Spent};
use crate::error::{Failure, Kind, Result};
use crate::index_header::Reader;
use crate::postings::{self, Expanded};
use crate::request::{Hold, Request};
use crate::series::{Batch, Found, Order, Scan, Wanted};
use crate::stats::Data;
use crate::store::Tools;

/// References of the first batch: small, so that the first series is soon there.
const FIRST_BATCH: usize = 512;
/// Bytes of a piece of a block's answer, where one block answers alone.
const PIECE: u64 = 2 << 20;
/// The same at least, however many blocks answer.
const LEAST_PIECE: u64 = 128 << 10;
/// References all blocks of a request work on at once.
const REFERENCES: usize = 200_000;
/// Chunks of them that are known at once, about.
const CHUNKS: usize = 400_000;
/// References of a batch at least.
const LEAST_BATCH: usize = 64;
/// How long a block may take to bring its next series: Thanos' frame timeout.
const STEP: Duration = Duration::from_secs(10 * 60);
/// What one selected series is charged while the answer has not passed it: entry, labels, chunks.
pub(crate) const SERIES_CHARGE: u64 = 256;

/// What all blocks of a request do.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) skip_chunks: bool,
    pub(crate) removed: Vec<String>,
    pub(crate) aggregates: Arc<[Aggr]>,
    pub(crate) shard: Option<ShardInfo>,
    /// Most series of a block; 0 for any number.
    pub(crate) limit: usize,
    /// References of a batch at most.
    pub(crate) batch: usize,
    /// Blocks that answer at the same time.
    pub(crate) blocks: usize,
    pub(crate) strategy: i32,
}

/// Produces the series of one block.
struct Producer {
    block: Arc<Block>,
    request: Arc<Request>,
    shape: Arc<Shape>,
    scan: Scan,
    loader: Loader,
    spent: Spent,
    reserved: Hold,
    /// Which build of the index header is read.
    generation: u64,
}

/// Ends the task when the stream is dropped.
struct Abort(tokio::task::AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Sender = mpsc::Sender<std::result::Result<Item, Status>>;

/// Charges what the selected series will need before anything of them is fetched.
pub(crate) fn reserve(
    block: &Block,
    expanded: &Expanded,
    matchers: &[model::Matcher],
    request: &Arc<Request>,
) -> Result<Hold> {
    let n = expanded.references.len() as u64;
    let what = format!("{n} series of block {} for {}", block.id, postings::what(matchers));
    request.hold(n.saturating_mul(SERIES_CHARGE), &what)
}

/// The series of `block` that `expanded` names, in the order of their final labels.
pub(crate) fn stream(
    block: Arc<Block>,
    header: Reader,
    expanded: Expanded,
    reserved: Hold,
    shape: Arc<Shape>,
    tools: Tools,
    request: Arc<Request>,
) -> SeriesStream {
    let (send, receive) = mpsc::channel(1);
    let wanted = Arc::new(Wanted {
        mint: shape.mint,
        maxt: shape.maxt,
        skip_chunks: shape.skip_chunks,
        removed: shape.removed.clone(),
        lazy: expanded.lazy.clone(),
    });
    let generation = header.generation();
    let scan = Scan::new(&tools, &block, header, wanted, shape.shard.as_ref(), &request);
    let producer = Producer {
        scan,
        loader: Loader {
            fetch: tools.fetch,
            pool: tools.pool,
            block: block.clone(),
            request: request.clone(),
            aggregates: shape.aggregates.clone(),
        },
        spent: Spent::default(),
        reserved,
        generation,
        block,
        request,
        shape,
    };
    let task = tokio::spawn(async move {
        let after = send.clone();
        // A stream that just ended would pass for a whole answer.
        if let Err(panic) = AssertUnwindSafe(producer.run(expanded, send)).catch_unwind().await {
            let text = format!("internal error: {}", component::run::panic_text(&*panic));
            let _ = after.send(Err(Status::internal(text))).await;
        }
    });
    let abort = Abort(task.abort_handle());
    ReceiverStream::new(receive)
        .map(move |item| {
            let _ends_with_the_stream = &abort;
            item
        })
        .boxed()
}

impl Producer {
    async fn run(mut self, expanded: Expanded, send: Sender) {
        let outcome = self.produce(expanded, &send).await;
        let tenant = [self.request.tenant.as_str()];
        let metrics = &self.request.metrics;
        metrics.series_fetch_sum.with_label_values(&tenant).observe(self.scan.fetching().as_secs_f64());
        if !self.shape.skip_chunks {
            metrics.chunks_fetch.with_label_values(&tenant).observe(self.spent.reads.as_secs_f64());
            metrics.chunks_fetch_sum.with_label_values(&tenant).observe(self.spent.wall.as_secs_f64());
        }
        if let Err(failure) = outcome {
            if failure.kind() == Kind::Header
                && let Err(e) = self.block.header.reopen(self.generation, &failure).await
            {
                tracing::warn!(block = %self.block.id, err = %e, "index header could not be built anew");
            }
            let failure = failure.context(format!("receive series from {}", self.block.id));
            let item = if failure.is_partial(self.shape.strategy) {
                tracing::warn!(block = %self.block.id, err = %failure, "block left out of an answer");
                Ok(Item::Warning(failure.to_string()))
            } else {
                Err(failure.status(Code::Aborted))
            };
            // Nobody listens any more when this fails.
            let _ = send.send(item).await;
        }
    }

    async fn produce(&mut self, mut expanded: Expanded, send: &Sender) -> Result<()> {
        let order = self.scan.order();
        let references = std::mem::take(&mut expanded.references);
        let share = REFERENCES / self.shape.blocks.max(1);
        let most = share.max(FIRST_BATCH).min(self.shape.batch.max(1));
        let mut size = FIRST_BATCH.min(most);
        let (mut at, mut sent) = (0, 0);
        let mut selected = Vec::new();
        let mut held: Vec<Found> = Vec::new();
        let mut any = false;
        let what = format!("chunk references of block {}", self.block.id);
        let mut metas = self.request.hold(0, &what)?;
        while at < references.len() {
            let end = (at + size).min(references.len());
            let batch = in_time(self.scan.batch(&references[at..end])).await?;
            self.count(&batch, &expanded)?;
            let chunks: usize = batch.series.iter().map(|f| f.chunks.len()).sum();
            metas.grow((chunks * size_of::<ChunkMeta>()) as u64, &what)?;
            selected.extend_from_slice(&batch.selected);
            any |= !batch.series.is_empty();
            held.extend(batch.series);
            let passed = (end - at) as u64 * SERIES_CHARGE;
            // Series of long blocks have thousands of chunks: then fewer of them are taken at once.
            let by_chunks = CHUNKS / self.shape.blocks.max(1) * (end - at) / chunks.max(1);
            (at, size) = (end, (size * 4).min(most).min(by_chunks).max(LEAST_BATCH.min(most)));
            let ready = match (order, batch.bound) {
                _ if at == references.len() => {
                    sort(&mut held);
                    std::mem::take(&mut held)
                }
                (Order::Kept, Some(bound)) => {
                    sort(&mut held);
                    let keep = held.partition_point(|f| f.labels <= bound);
                    let rest = held.split_off(keep);
                    std::mem::replace(&mut held, rest)
                }
                _ => Vec::new(),
            };
            if !self.send(ready, send, &mut sent).await? {
                return Ok(());
            }
            // Where order is lost all series stay until the end, and so does their charge.
            if order == Order::Kept {
                self.reserved.release(passed);
                metas.release_all();
            }
        }
        if let Some(key) = expanded.cache_key.take() {
            postings::store(&self.request, key, &selected);
        }
        if !any {
            self.request.metrics.empty_postings.with_label_values(&[&self.request.tenant]).inc();
        }
        Ok(())
    }

    fn count(&self, batch: &Batch, expanded: &Expanded) -> Result<()> {
        self.request.stats.touch(Data::Series, batch.touched.0, batch.touched.1);
        if !expanded.lazy.is_empty() {
            self.request.metrics.lazy_overfetched.inc_by(batch.overfetched);
            let n = batch.series.len() as u64;
            let limited = self.request.limits.series.reserve(n);
            limited.map_err(|e| Failure::limit(format!("exceeded series limit: {e}")))?;
        }
        if !self.shape.skip_chunks {
            let n = batch.series.iter().map(|f| f.chunks.len() as u64).sum();
            let limited = self.request.limits.chunks.reserve(n);
            limited.map_err(|e| Failure::limit(format!("exceeded chunks limit: {e}")))?;
        }
        Ok(())
    }

    /// Sends series piece by piece; false when nobody wants more.
    async fn send(&mut self, ready: Vec<Found>, send: &Sender, sent: &mut usize) -> Result<bool> {
        let target = (PIECE * 4 / self.shape.blocks.max(1) as u64).clamp(LEAST_PIECE, PIECE);
        let mut ready = ready.into_iter().peekable();
        while ready.peek().is_some() {
            let (mut piece, mut bytes) = (Vec::new(), 0);
            while bytes < target
                && let Some(found) = ready.next()
            {
                bytes += chunks::weight(&found, self.block.estimates.chunk);
                piece.push(found);
            }
            if self.shape.limit > 0 {
                piece.truncate(self.shape.limit - (*sent).min(self.shape.limit));
            }
            *sent += piece.len();
            let series: Vec<Series> = if self.shape.skip_chunks {
                piece.into_iter().map(|f| Series { labels: f.labels, chunks: Vec::new() }).collect()
            } else {
                in_time(self.loader.load(piece, &mut self.spent)).await?
            };
            if series.is_empty() {
                return Ok(false);
            }
            if send.send(Ok(Item::Series(series))).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A step that brings nothing for so long has failed.
async fn in_time<T>(step: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(STEP, step).await {
        Ok(done) => done,
        Err(_) => Err(Failure::block("failed to receive any data in 10m0s")),
    }
}

fn sort(series: &mut [Found]) {
    if !series.is_sorted_by(|a, b| a.labels <= b.labels) {
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
}
