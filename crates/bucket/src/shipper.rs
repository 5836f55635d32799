//! Shipping the blocks of a Prometheus to a bucket, oldest first.
//!
//! Holds one pass over a data directory (upstream `pkg/shipper`): which blocks are due, hard links that
//! outlive Prometheus' own clean-up, Thanos' section of `meta.json`, and the list of uploaded blocks.
//! It does not know how a block is sent (`upload`). Invariant: a block is listed in the state file only
//! once it is complete in the bucket, because a Prometheus with delayed compaction trusts that list.
//! Parts: `state` (the file), `local` (the directory), `overlap`.

mod local;
mod overlap;
pub mod state;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use component::clock::SharedClock;
use component::metrics::{self, Gauge, IntCounter, Registry};
use model::Labels;
use objstore::SharedBucket;
use tsdb_block::meta::{BlockMeta, FILE_NAME, Ulid};

use crate::local::blocking;
use crate::upload;
pub use overlap::Overlap;
use state::State;

/// How to ship.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which component ships; recorded in the block.
    pub source: &'static str,
    /// Name of the state file in the data directory.
    pub state_file: String,
    /// Also ship blocks above level 1.
    pub upload_compacted: bool,
    /// Go on behind a block that fails.
    pub allow_out_of_order: bool,
    /// Go on behind a block that cannot be read.
    pub skip_corrupted: bool,
    /// How a block is sent.
    pub upload: upload::Options,
}

/// Why a pass ended early, or was not complete.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory or a file in it cannot be used.
    #[error("{0}")]
    Local(#[from] upload::Error),
    /// A block cannot be read, and skipping was not allowed.
    #[error("read metadata for block {block}: {reason}")]
    Corrupted {
        /// Its directory.
        block: String,
        /// Why.
        reason: String,
    },
    /// The bucket did not say whether a block is there.
    #[error("check exists: {0}")]
    Exists(objstore::Error),
    /// A compacted block would overlap what is in the bucket.
    #[error("Found overlap or error during sync, cannot upload compacted block, details: {0}")]
    Overlap(#[from] Overlap),
    /// A block failed, and those behind it wait.
    #[error("upload {block}: {source}")]
    Upload {
        /// Its name.
        block: Ulid,
        /// Why.
        source: upload::Error,
    },
    /// Some blocks failed, others did not.
    #[error("failed to sync {failed}/{corrupted} blocks")]
    Some {
        /// Blocks that failed to upload.
        failed: usize,
        /// Blocks that could not be read.
        corrupted: usize,
    },
}

/// Metrics of shipping.
#[derive(Clone, Debug)]
struct Metrics {
    syncs: IntCounter,
    sync_failures: IntCounter,
    uploads: IntCounter,
    upload_failures: IntCounter,
    corrupted: IntCounter,
    compacted_done: Gauge,
}

impl Metrics {
    fn new(registry: &Registry) -> metrics::Result<Self> {
        let counter = |name: &str, help| metrics::counter(registry, &format!("thanos_shipper_{name}"), help);
        Ok(Metrics {
            syncs: counter("dir_syncs_total", "Total number of dir syncs")?,
            sync_failures: counter("dir_sync_failures_total", "Total number of failed dir syncs")?,
            uploads: counter("uploads_total", "Total number of uploaded blocks")?,
            upload_failures: counter("upload_failures_total", "Total number of block upload failures")?,
            corrupted: counter("corrupted_blocks_total", "Total number of corrupted blocks")?,
            compacted_done: metrics::gauge(
                registry,
                "thanos_shipper_upload_compacted_done",
                "If 1 it means shipper uploaded all compacted blocks from the filesystem.",
            )?,
        })
    }
}

/// Where external labels come from; asked anew for each block.
pub type LabelSource = Box<dyn Fn() -> Labels + Send + Sync>;

/// Ships the blocks of one data directory.
pub struct Shipper {
    bucket: SharedBucket,
    dir: PathBuf,
    options: Options,
    labels: LabelSource,
    clock: SharedClock,
    metrics: Metrics,
    /// Whether remains of an earlier process have been removed.
    swept: bool,
}

impl std::fmt::Debug for Shipper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shipper")
            .field("dir", &self.dir)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Shipper {
    /// A shipper from `dir` to `bucket`.
    ///
    /// # Errors
    /// When `registry` has its metrics already.
    pub fn new(
        bucket: SharedBucket,
        dir: PathBuf,
        options: Options,
        labels: LabelSource,
        clock: SharedClock,
        registry: &Registry,
    ) -> metrics::Result<Self> {
        let metrics = Metrics::new(registry)?;
        Ok(Shipper { bucket, dir, options, labels, clock, metrics, swept: false })
    }

    /// One pass; returns how many blocks were uploaded.
    ///
    /// # Errors
    /// [`Error`]; the next pass continues.
    pub async fn sync(&mut self) -> Result<usize, Error> {
        let mut uploaded = 0;
        let done = self.pass(&mut uploaded).await;
        match &done {
            Ok(()) | Err(Error::Some { .. }) => self.metrics.syncs.inc(),
            Err(_) => self.metrics.sync_failures.inc(),
        }
        done?;
        self.metrics.compacted_done.set(f64::from(u8::from(self.options.upload_compacted)));
        Ok(uploaded)
    }

    async fn pass(&mut self, uploaded: &mut usize) -> Result<(), Error> {
        if !self.swept {
            let dir = self.dir.clone();
            blocking(move || local::sweep(&dir)).await?;
            self.swept = true;
        }
        let state_path = self.dir.join(&self.options.state_file);
        let (path, dir) = (state_path.clone(), self.dir.clone());
        let (known, found) = blocking(move || (State::read(&path), local::blocks(&dir))).await;
        let known: HashSet<Ulid> = match known {
            Ok(state) => state.uploaded.into_iter().collect(),
            Err(e) if e.is_missing() => {
                tracing::info!("no meta file found, creating empty meta data to write later");
                HashSet::new()
            }
            Err(e) => {
                tracing::error!(err = %e, "failed to read meta file, creating empty meta data to write later");
                HashSet::new()
            }
        };
        let local::Blocks { metas, bad } = found?;
        if let Some((block, reason)) = bad.first().filter(|_| !self.options.skip_corrupted) {
            return Err(Error::Corrupted { block: block.clone(), reason: reason.clone() });
        }
        for (block, reason) in &bad {
            tracing::error!(block = %block, err = %reason, "read metadata for block");
        }
        let (mut listed, mut failed) = (Vec::new(), 0);
        let mut overlaps = overlap::Checker::default();
        for meta in metas {
            let id = meta.ulid;
            if known.contains(&id) {
                listed.push(id);
                continue;
            }
            if meta.stats.num_samples == 0 {
                tracing::debug!(block = %id, "ignoring empty block");
                continue;
            }
            let compacted = meta.compaction.level > 1;
            if compacted && !self.options.upload_compacted {
                continue;
            }
            let there = self.bucket.exists(&format!("{id}/{FILE_NAME}")).await.map_err(Error::Exists)?;
            if there {
                listed.push(id);
                continue;
            }
            if compacted && !self.options.allow_out_of_order {
                overlaps.check(&self.bucket, &(self.labels)(), &meta).await?;
            }
            match self.ship(meta).await {
                Ok(()) => {
                    listed.push(id);
                    *uploaded += 1;
                    self.metrics.uploads.inc();
                }
                Err(source) if !self.options.allow_out_of_order => {
                    return Err(Error::Upload { block: id, source });
                }
                Err(e) => {
                    tracing::error!(block = %id, err = %e, "shipping failed");
                    failed += 1;
                }
            }
        }
        let state = State { uploaded: listed };
        if let Err(e) = blocking(move || state.write(&state_path)).await {
            tracing::warn!(err = %e, "updating meta file failed");
        }
        if failed == 0 && bad.is_empty() {
            return Ok(());
        }
        self.metrics.upload_failures.inc_by(failed as u64);
        self.metrics.corrupted.inc_by(bad.len() as u64);
        Err(Error::Some { failed, corrupted: bad.len() })
    }

    async fn ship(&self, mut meta: BlockMeta) -> Result<(), upload::Error> {
        tracing::info!(id = %meta.ulid, "upload new block");
        let thanos = meta.thanos.get_or_insert_default();
        for (name, value) in (self.labels)().iter() {
            thanos.labels.insert(name.to_owned(), value.to_owned());
        }
        thanos.source = self.options.source.to_owned();
        let from = self.dir.join(meta.ulid.to_string());
        let links = Links(self.dir.join(local::UPLOADS).join(meta.ulid.to_string()));
        let to = links.0.clone();
        blocking(move || local::link(&from, &to, meta)).await?;
        upload::upload(&self.bucket, &links.0, self.options.upload, self.clock.now_millis()).await
    }
}

/// The hard links of one block, removed whatever becomes of the upload.
struct Links(PathBuf);

impl Drop for Links {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(dir: &Path) {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            tracing::error!(dir = %dir.display(), err = %e, "failed to clean upload directory");
        }
        _ => {}
    }
}
