//! Which blocks a bucket holds, and what their `meta.json` say.
//!
//! Holds one round of discovery: list, read each `meta.json` at most once (in memory and on disk
//! afterwards), filter, count. It loads no block and deletes nothing. Invariant: a block of which this
//! round learnt nothing is in [`View::failed`], never silently absent, so that a caller can keep what it
//! had. Upstream: `pkg/block/fetcher.go`. Read `list` next, then `crate::filter`.

mod cache;
mod list;
mod metrics;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use component::clock::SharedClock;
use component::metrics as registry;
use futures::stream::{self, StreamExt as _};
use model::Millis;
use objstore::SharedBucket;
use tokio::sync::Mutex;
use tsdb_block::meta::{BlockMeta, FILE_NAME, MetaError, Ulid};

use crate::filter::Filter;
use crate::small::{Small, read_small};
use cache::DiskCache;
use list::Listing;
use metrics::Metrics;
pub use metrics::{State, Tally};

/// A larger `meta.json` is refused unread: one of 100,000 sources has 3 MB.
pub const MAX_META_BYTES: u64 = 32 << 20;

/// How to find blocks: `--block-discovery-strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Lists the top level, then asks for each block whether it has a `meta.json`.
    #[default]
    Concurrent,
    /// Lists every object. Fewer requests, more pages; notices a replaced `meta.json`.
    Recursive,
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "concurrent" => Ok(Strategy::Concurrent),
            "recursive" => Ok(Strategy::Recursive),
            other => Err(format!("unknown sync strategy {other}")),
        }
    }
}

/// How to fetch.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to find blocks.
    pub strategy: Strategy,
    /// Files read at once, `--block-meta-fetch-concurrency`; 0 counts as 1.
    pub concurrency: usize,
    /// The data directory in whose `meta-syncer` folder files are kept; none keeps them in memory only.
    pub data_dir: Option<PathBuf>,
}

/// Why a round told nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bucket could not be listed to the end.
    #[error("BaseFetcher: iter bucket: {0}")]
    List(objstore::Error),
    /// A filter could not decide.
    #[error("filter metas: {0}")]
    Filter(objstore::Error),
}

/// A block that is listed and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partial {
    /// No `meta.json`: an upload that has not ended, or a deletion that has begun.
    NoMeta,
    /// A `meta.json` that is not JSON or lacks what it must have.
    Corrupted(String),
    /// A `meta.json` that may mean something to another version or another block: never to be deleted.
    Refused(String),
}

impl std::fmt::Display for Partial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Partial::NoMeta => f.write_str("meta.json not found"),
            Partial::Corrupted(text) => write!(f, "{text}: meta.json corrupted"),
            Partial::Refused(text) => f.write_str(text),
        }
    }
}

/// What one round found.
#[derive(Debug, Default)]
pub struct View {
    /// Blocks to use, after the filters.
    pub blocks: BTreeMap<Ulid, Arc<BlockMeta>>,
    /// Blocks that are not whole.
    pub partial: BTreeMap<Ulid, Partial>,
    /// Blocks of which this round learnt nothing: neither absent nor present. A caller keeps what it
    /// has of them, and drops nothing in such a round.
    pub failed: BTreeMap<Ulid, objstore::Error>,
}

impl View {
    /// Whether absence from [`View::blocks`] means anything.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }
}

/// A round on its way through the filters.
#[derive(Debug)]
pub struct Round {
    /// What is left.
    pub blocks: BTreeMap<Ulid, Arc<BlockMeta>>,
    /// Every block of the listing, whole or not.
    pub listed: BTreeSet<Ulid>,
    /// Blocks whose deletion mark is listed, where the strategy saw it.
    pub marked: Option<BTreeSet<Ulid>>,
    /// Now, in milliseconds.
    pub now: Millis,
    /// Why blocks were left out.
    pub tally: Tally,
}

impl Round {
    /// Removes the blocks for which `out` says so, and counts them as `state`.
    pub fn exclude(&mut self, state: State, mut out: impl FnMut(Ulid, &BlockMeta) -> bool) {
        let before = self.blocks.len();
        self.blocks.retain(|id, meta| !out(*id, meta));
        self.tally.add(state, before - self.blocks.len());
    }
}

/// A `meta.json` read in an earlier round.
#[derive(Clone, Debug)]
struct Known {
    meta: Arc<BlockMeta>,
    modified: Option<SystemTime>,
}

/// What became of one `meta.json`.
enum Loaded {
    Whole(Known),
    Partial(Partial, State),
    Failed(objstore::Error),
}

/// Finds the blocks of a bucket.
#[derive(Debug)]
pub struct Fetcher {
    bucket: SharedBucket,
    strategy: Strategy,
    concurrency: usize,
    disk: Option<DiskCache>,
    filters: Vec<Box<dyn Filter>>,
    clock: SharedClock,
    metrics: Metrics,
    /// From the latest round without failures; held through a round, so that rounds do not overlap.
    known: Mutex<HashMap<Ulid, Known>>,
}

impl Fetcher {
    /// A fetcher whose rounds pass through `filters` in their order.
    ///
    /// # Errors
    /// When the registry has its metrics already.
    pub fn new(
        bucket: SharedBucket,
        options: Options,
        filters: Vec<Box<dyn Filter>>,
        clock: SharedClock,
        registry: &registry::Registry,
    ) -> registry::Result<Self> {
        Ok(Fetcher {
            bucket,
            strategy: options.strategy,
            concurrency: options.concurrency.max(1),
            disk: options.data_dir.map(|dir| DiskCache::new(&dir)),
            filters,
            clock,
            metrics: Metrics::new(registry)?,
            known: Mutex::default(),
        })
    }

    /// One round.
    ///
    /// # Errors
    /// [`Error`], when nothing is known. A `meta.json` that could not be read is no error but makes
    /// the view incomplete; both count as a failed synchronization.
    pub async fn fetch(&self) -> Result<View, Error> {
        let start = Instant::now();
        self.metrics.syncs.inc();
        let mut tally = Tally::default();
        let result = self.round(&mut tally).await;
        self.metrics.duration.observe(start.elapsed().as_secs_f64());
        self.metrics.show(&tally);
        match &result {
            Ok(view) if view.is_complete() => tracing::info!(
                duration_ms = start.elapsed().as_millis() as u64,
                returned = view.blocks.len(),
                partial = view.partial.len(),
                "successfully synchronized block metadata"
            ),
            _ => self.metrics.failures.inc(),
        }
        result
    }

    async fn round(&self, tally: &mut Tally) -> Result<View, Error> {
        let mut known = self.known.lock().await;
        self.metrics.base_syncs.inc();
        let Listing { active, partial, failed, marked } =
            list::list(&self.bucket, self.strategy).await.map_err(Error::List)?;
        let mut listed: BTreeSet<Ulid> = active.keys().chain(partial.iter()).copied().collect();
        listed.extend(failed.keys());
        let loads = active.into_iter().map(|(id, modified)| {
            let seen = known.get(&id).cloned();
            async move { (id, self.load(id, modified, seen).await) }
        });
        let loads: Vec<(Ulid, Loaded)> =
            stream::iter(loads).buffer_unordered(self.concurrency).collect().await;

        let mut view = View { failed, ..View::default() };
        tally.add(State::NoMeta, partial.len());
        view.partial.extend(partial.into_iter().map(|id| (id, Partial::NoMeta)));
        let mut fresh = HashMap::with_capacity(loads.len());
        for (id, loaded) in loads {
            match loaded {
                Loaded::Whole(meta) => {
                    fresh.insert(id, meta);
                }
                Loaded::Partial(why, state) => {
                    tally.add(state, 1);
                    tracing::warn!(block = %id, err = %why, "block is not usable");
                    view.partial.insert(id, why);
                }
                Loaded::Failed(error) => {
                    view.failed.insert(id, error);
                }
            }
        }
        tally.add(State::Failed, view.failed.len());
        let blocks = fresh.iter().map(|(id, k)| (*id, k.meta.clone())).collect();
        if view.is_complete() {
            if let Some(disk) = &self.disk {
                disk.keep_only(fresh.keys().copied().collect()).await;
            }
            *known = fresh;
        } else {
            // What is known of blocks that failed stays.
            known.extend(fresh);
        }

        let now = self.clock.now_millis();
        let mut round = Round { blocks, listed, marked, now, tally: std::mem::take(tally) };
        let mut filtered = Ok(());
        for filter in &self.filters {
            filtered = filter.filter(&mut round).await;
            if filtered.is_err() {
                break;
            }
        }
        *tally = round.tally;
        filtered.map_err(Error::Filter)?;
        tally.add(State::Loaded, round.blocks.len());
        view.blocks = round.blocks;
        Ok(view)
    }

    async fn load(&self, id: Ulid, modified: Option<SystemTime>, seen: Option<Known>) -> Loaded {
        if let Some(seen) = seen {
            let replaced = matches!((seen.modified, modified), (Some(then), Some(now)) if then != now);
            if !replaced {
                return Loaded::Whole(Known { modified, ..seen });
            }
            self.metrics.cache_busts.inc();
            if let Some(disk) = &self.disk {
                disk.forget(id).await;
            }
        } else if let Some(disk) = &self.disk
            && let Some(meta) = disk.read(id).await
        {
            return Loaded::Whole(Known { meta: Arc::new(meta), modified });
        }
        let key = format!("{id}/{FILE_NAME}");
        let json = match read_small(&self.bucket, &key, MAX_META_BYTES).await {
            Ok(Small::Whole(json)) => json,
            Ok(Small::TooLarge) => {
                let text = format!("{key} is larger than {MAX_META_BYTES} bytes");
                return Loaded::Partial(Partial::Refused(text), State::Corrupted);
            }
            // Deleted since it was listed.
            Err(e) if e.is_not_found() => return Loaded::Partial(Partial::NoMeta, State::NoMeta),
            Err(e) => return Loaded::Failed(e),
        };
        match parse(id, &json) {
            Ok(meta) => {
                if let Some(disk) = &self.disk {
                    disk.write(id, json).await;
                }
                Loaded::Whole(Known { meta: Arc::new(meta), modified })
            }
            Err((why, state)) => Loaded::Partial(why, state),
        }
    }
}

/// The meaning of a block's `meta.json`, or why it has none.
fn parse(id: Ulid, json: &[u8]) -> Result<BlockMeta, (Partial, State)> {
    let key = format!("{id}/{FILE_NAME}");
    match BlockMeta::parse(json) {
        Ok(meta) if meta.ulid != id => {
            let text = format!("{key} is of block {}", meta.ulid);
            Err((Partial::Refused(text), State::Corrupted))
        }
        Ok(meta) => Ok(meta),
        Err(MetaError::Json(e)) => {
            Err((Partial::Corrupted(format!("meta.json {key} unmarshal: {e}")), State::Corrupted))
        }
        Err(MetaError::Version(version)) => {
            let text = format!("unexpected meta file: {key} version: {version}");
            Err((Partial::Refused(text), State::Failed))
        }
        Err(e @ MetaError::ThanosVersion(_)) => Err((Partial::Refused(format!("{key}: {e}")), State::Failed)),
    }
}
