//! The index header: the small part of a block's index that is kept at hand.
//!
//! Symbols and the postings offset table are read from the bucket once and kept in a local file of
//! checksummed pages (`directory` describes it); its directory, with every n-th label value, is in
//! memory, or with `--store.enable-index-header-lazy-reader` only while it is used. This module holds
//! [`IndexHeader`], which loads, builds and drops; it knows no query. Invariant: a damaged file is never
//! served: it is built anew from the bucket, once per damage found.
//! Upstream: `pkg/block/indexheader`. Read `reader` next.

mod build;
mod directory;
mod reader;
mod sections;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use component::clock::SharedClock;
use component::metrics::{self, Histogram, IntCounter, Registry};
use tokio::sync::Mutex;
use tsdb_block::meta::Ulid;

use crate::error::{Failure, Kind, Result};
use crate::fetch::RangeReader;
use directory::Directory;
use reader::Source;
pub(crate) use reader::{ListRange, Reader, Symbols};

/// The file's name in a block's folder below the data directory. Not Thanos' name: the form differs,
/// and either program may find the other's folder.
pub const FILE_NAME: &str = "index-header-paged";

/// How often a build is tried when reads break off.
const BUILDS: u32 = 3;

/// Metrics of all index headers.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    lazy_load: IntCounter,
    lazy_load_failed: IntCounter,
    lazy_unload: IntCounter,
    _lazy_unload_failed: IntCounter,
    lazy_load_duration: Histogram,
    download_duration: Histogram,
    load_duration: Histogram,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> metrics::Result<Self> {
        let name = |n: &str| format!("thanos_bucket_store_indexheader_{n}");
        let download = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0, 60.0, 90.0, 120.0, 300.0];
        let mut load = vec![0.01, 0.02, 0.05];
        load.extend(download);
        Ok(Metrics {
            lazy_load: metrics::counter(
                registry,
                &name("lazy_load_total"),
                "Index headers loaded on first use.",
            )?,
            lazy_load_failed: metrics::counter(
                registry,
                &name("lazy_load_failed_total"),
                "Index headers that failed to load on first use.",
            )?,
            lazy_unload: metrics::counter(
                registry,
                &name("lazy_unload_total"),
                "Index headers dropped from memory because nobody used them.",
            )?,
            _lazy_unload_failed: metrics::counter(
                registry,
                &name("lazy_unload_failed_total"),
                "Index headers that could not be dropped from memory.",
            )?,
            lazy_load_duration: metrics::histogram(
                registry,
                &name("lazy_load_duration_seconds"),
                "Seconds to load an index header on first use.",
                &load,
            )?,
            download_duration: metrics::histogram(
                registry,
                &name("download_duration_seconds"),
                "Seconds to build an index header from the bucket.",
                &download,
            )?,
            load_duration: metrics::histogram(
                registry,
                &name("load_duration_seconds"),
                "Seconds to load an index header from its file.",
                &load,
            )?,
        })
    }
}

/// When a header is built and loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Laziness {
    /// Built and loaded with the block.
    Eager,
    /// Built with the block, loaded on first use.
    LazyLoad,
    /// Built and loaded on first use.
    LazyBuild,
}

/// What all headers share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) reader: RangeReader,
    pub(crate) metrics: Metrics,
    pub(crate) laziness: Laziness,
    /// Every how many label values one stays in memory.
    pub(crate) sampling: u32,
    pub(crate) clock: SharedClock,
}

/// The header of one block.
#[derive(Debug)]
pub(crate) struct IndexHeader {
    shared: Shared,
    block: Ulid,
    /// Key of the index.
    key: String,
    /// Size of the index by meta.json.
    size: Option<u64>,
    /// Where the file is; none keeps the header in memory.
    path: Option<PathBuf>,
    loaded: Mutex<Option<Loaded>>,
    used: AtomicI64,
    generation: AtomicU64,
}

#[derive(Clone, Debug)]
struct Loaded {
    directory: Arc<Directory>,
    source: Source,
    /// Counts builds, so that damage is repaired once however many find it.
    generation: u64,
}

impl IndexHeader {
    /// The header of `block`, whose file goes into `folder` if there is one.
    pub(crate) fn new(shared: Shared, block: Ulid, size: Option<u64>, folder: Option<PathBuf>) -> Self {
        let used = AtomicI64::new(shared.clock.now_millis());
        IndexHeader {
            shared,
            block,
            key: format!("{block}/{}", tsdb_block::index::FILE_NAME),
            size,
            path: folder.map(|f| f.join(FILE_NAME)),
            loaded: Mutex::new(None),
            used,
            generation: AtomicU64::new(0),
        }
    }

    /// Does with the block what its laziness asks for at once.
    pub(crate) async fn prepare(&self) -> Result<()> {
        match self.shared.laziness {
            Laziness::Eager => {
                let mut loaded = self.loaded.lock().await;
                *loaded = Some(self.load().await?);
            }
            Laziness::LazyLoad => {
                // A file that is there is looked at when it is used.
                let there = match &self.path {
                    Some(path) => tokio::fs::try_exists(path).await.unwrap_or(false),
                    None => false,
                };
                if !there {
                    let source = self.build().await?;
                    if matches!(source, Source::Memory(_)) {
                        *self.loaded.lock().await = Some(self.loaded_from(source).await?);
                    }
                }
            }
            Laziness::LazyBuild => {}
        }
        Ok(())
    }

    /// The header, open for one request; loaded or built first where needed.
    pub(crate) async fn open(&self) -> Result<Reader> {
        self.used.store(self.shared.clock.now_millis(), Ordering::Relaxed);
        let mut loaded = self.loaded.lock().await;
        if loaded.is_none() {
            let began = Instant::now();
            self.shared.metrics.lazy_load.inc();
            let fresh = self.load().await.inspect_err(|_| self.shared.metrics.lazy_load_failed.inc())?;
            self.shared.metrics.lazy_load_duration.observe(began.elapsed().as_secs_f64());
            *loaded = Some(fresh);
        }
        match self.open_loaded(&loaded) {
            Err(e) if e.kind() == Kind::Header => self.repair(&mut loaded, &e).await,
            other => other,
        }
    }

    /// Opens the header again after a reader of `generation` found it damaged; built anew unless somebody
    /// did so meanwhile.
    pub(crate) async fn reopen(&self, generation: u64, why: &Failure) -> Result<Reader> {
        let mut loaded = self.loaded.lock().await;
        match loaded.as_ref() {
            Some(held) if held.generation > generation => self.open_loaded(&loaded),
            _ => self.repair(&mut loaded, why).await,
        }
    }

    fn open_loaded(&self, loaded: &Option<Loaded>) -> Result<Reader> {
        match loaded {
            Some(l) => Reader::open(l.directory.clone(), &l.source, l.generation),
            None => Err(Failure::header("index header is not loaded")),
        }
    }

    async fn repair(&self, loaded: &mut Option<Loaded>, why: &Failure) -> Result<Reader> {
        tracing::warn!(block = %self.block, err = %why, "index header is built anew");
        *loaded = None;
        let source = self.build().await?;
        *loaded = Some(self.loaded_from(source).await?);
        self.open_loaded(loaded)
    }

    /// Drops the directory from memory when it was not used since `before`. Eager headers stay.
    pub(crate) async fn unload_idle(&self, before: i64) {
        if self.shared.laziness == Laziness::Eager || self.used.load(Ordering::Relaxed) >= before {
            return;
        }
        let mut loaded = self.loaded.lock().await;
        if loaded.take_if(|l| matches!(l.source, Source::File(_))).is_some() {
            self.shared.metrics.lazy_unload.inc();
        }
    }

    async fn load(&self) -> Result<Loaded> {
        if let Some(path) = &self.path {
            let tmp = path.with_file_name(format!("{FILE_NAME}{}", build::TMP_SUFFIX));
            // Left behind by a process that died while building.
            let _ = tokio::fs::remove_file(&tmp).await;
            if tokio::fs::try_exists(path).await.unwrap_or(false) {
                match self.loaded_from(Source::File(path.clone())).await {
                    Ok(loaded) => return Ok(loaded),
                    Err(e) if e.kind() == Kind::Header => {
                        tracing::warn!(block = %self.block, err = %e, "index header on disk is built anew");
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        let source = self.build().await?;
        self.loaded_from(source).await
    }

    /// Reads the directory and sees that it belongs to this block and these settings.
    async fn loaded_from(&self, source: Source) -> Result<Loaded> {
        let began = Instant::now();
        let from = source.clone();
        let directory =
            tokio::task::spawn_blocking(move || reader::load(&from)).await.map_err(Failure::block)??;
        if directory.block != self.block || directory.sampling != self.shared.sampling {
            return Err(Failure::header(format!(
                "index header of block {} with every {}th value",
                directory.block, directory.sampling
            )));
        }
        self.shared.metrics.load_duration.observe(began.elapsed().as_secs_f64());
        tracing::debug!(block = %self.block, bytes = directory.memory(), "index header loaded");
        let generation = self.generation.fetch_add(1, Ordering::Relaxed);
        Ok(Loaded { directory: Arc::new(directory), source, generation })
    }

    async fn build(&self) -> Result<Source> {
        let began = Instant::now();
        let target = build::Target {
            block: self.block,
            key: &self.key,
            size: self.size,
            sampling: self.shared.sampling,
        };
        let mut tried = 0;
        let source = loop {
            let built = match &self.path {
                Some(path) => build::on_disk(&self.shared.reader, &target, path)
                    .await
                    .map(|()| Source::File(path.clone())),
                None => build::in_memory(&self.shared.reader, &target)
                    .await
                    .map(|bytes| Source::Memory(Bytes::from(bytes))),
            };
            tried += 1;
            match built {
                Ok(source) => break source,
                // Sections come as streams, which break off without being tried again.
                Err(e) if tried < BUILDS && e.is_transient() => {
                    tracing::debug!(block = %self.block, err = %e, "index header is built again");
                }
                Err(e) => return Err(e.context("write index header")),
            }
        };
        self.shared.metrics.download_duration.observe(began.elapsed().as_secs_f64());
        Ok(source)
    }
}
