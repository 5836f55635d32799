//! Loading and dropping blocks.
//!
//! Holds the step from what is in the bucket to what is served (upstream `SyncBlocks`, `InitialSync`).
//! It lists nothing itself. Invariants: a block that does not load is counted, leaves no file, and is
//! tried again at the next sync; a view that may be incomplete drops nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use tsdb_block::meta::{BlockMeta, Ulid};

use super::BucketStore;
use crate::block::Block;
use crate::error::{Context as _, Failure, Result};

/// Blocks are published in groups of at most this many, so that views are not copied for each.
const PUBLISH: usize = 256;

impl BucketStore {
    /// Serves the blocks in `metas`: loads new ones, and drops others if `complete`.
    pub async fn sync(&self, metas: &BTreeMap<Ulid, Arc<BlockMeta>>, complete: bool) {
        let view = self.view();
        let new: Vec<Arc<BlockMeta>> =
            metas.values().filter(|meta| !view.blocks.contains_key(&meta.ulid)).cloned().collect();
        drop(view);
        let loads: Vec<_> = new.into_iter().map(|meta| self.load(meta)).collect();
        let loads = futures::stream::iter(loads)
            .buffer_unordered(self.options.sync_concurrency.max(1))
            .filter_map(std::future::ready);
        let mut groups = std::pin::pin!(loads.ready_chunks(PUBLISH));
        while let Some(loaded) = groups.next().await {
            self.publish(loaded);
        }
        if complete {
            self.drop_others(metas).await;
        }
        let blocks = self.view().blocks.len() as f64;
        self.metrics.blocks_loaded.set(blocks);
    }

    async fn load(&self, meta: Arc<BlockMeta>) -> Option<Arc<Block>> {
        let began = Instant::now();
        let id = meta.ulid;
        tracing::debug!(%id, "loading new block");
        self.metrics.block_loads.inc();
        let folder = self.options.data_dir.as_ref().map(|d| d.join(id.to_string()));
        let block = Block::new(meta, self.headers.clone(), self.options.estimates, folder);
        match self.try_load(&block).await {
            Ok(()) => {
                let elapsed = began.elapsed();
                tracing::info!(?elapsed, %id, "loaded new block");
                self.metrics.block_load_duration.observe(elapsed.as_secs_f64());
                Some(Arc::new(block))
            }
            Err(e) => {
                self.metrics.block_load_failures.inc();
                tracing::warn!(elapsed = ?began.elapsed(), %id, err = %e, "loading block failed");
                if let Some(folder) = &block.folder {
                    remove(folder).await;
                }
                None
            }
        }
    }

    async fn try_load(&self, block: &Block) -> Result<()> {
        if !crate::block_set::RESOLUTIONS.contains(&block.meta.resolution()) {
            return Err(Failure::block(format!(
                "add block to set: unsupported downsampling resolution {}",
                block.meta.resolution()
            )));
        }
        block.header.prepare().await.context("create index header reader")
    }

    fn publish(&self, loaded: Vec<Arc<Block>>) {
        let mut view = self.view.write();
        let next = Arc::make_mut(&mut view);
        for block in loaded {
            let id = block.id;
            if let Err(e) = next.add(block) {
                self.metrics.block_load_failures.inc();
                tracing::warn!(%id, err = %e, "loading block failed");
            }
        }
        self.metrics.blocks_loaded.set(next.blocks.len() as f64);
        self.metrics.last_loaded.set(self.env.clock.now_millis() as f64 / 1e3);
    }

    async fn drop_others(&self, metas: &BTreeMap<Ulid, Arc<BlockMeta>>) {
        let gone: Vec<Arc<Block>> = {
            let mut view = self.view.write();
            let ids: Vec<Ulid> = view.blocks.keys().filter(|id| !metas.contains_key(id)).copied().collect();
            if ids.is_empty() {
                return;
            }
            let next = Arc::make_mut(&mut view);
            ids.into_iter().filter_map(|id| next.remove(id)).collect()
        };
        for block in gone {
            // Requests that still read the block keep what they have open.
            self.cache.forget(block.id);
            if let Some(folder) = &block.folder
                && !remove(folder).await
            {
                self.metrics.block_drop_failures.inc();
            }
            tracing::info!(block = %block.id, "dropped outdated block");
            self.metrics.block_drops.inc();
        }
    }

    /// Removes local folders of blocks that are not served: once, after the first sync.
    pub async fn remove_stale_folders(&self) {
        let Some(dir) = &self.options.data_dir else { return };
        let Ok(mut entries) = tokio::fs::read_dir(dir).await else { return };
        let view = self.view();
        while let Ok(Some(entry)) = entries.next_entry().await {
            let name = entry.file_name();
            let id = name.to_str().and_then(|n| n.parse::<Ulid>().ok());
            if id.is_some_and(|id| !view.blocks.contains_key(&id)) {
                remove(&entry.path()).await;
            }
        }
    }

    /// Drops lazily loaded headers from memory that nobody used for the idle timeout.
    pub async fn unload_idle(&self) {
        if self.options.idle_timeout.is_zero() {
            return;
        }
        let timeout = i64::try_from(self.options.idle_timeout.as_millis()).unwrap_or(i64::MAX);
        let before = self.env.clock.now_millis().saturating_sub(timeout);
        for block in self.view().blocks.values() {
            block.header.unload_idle(before).await;
        }
    }
}

/// Removes a local folder; false when that fails.
async fn remove(folder: &Path) -> bool {
    match tokio::fs::remove_dir_all(folder).await {
        Ok(()) => true,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
        Err(e) => {
            tracing::warn!(folder = %folder.display(), err = %e, "failed to remove block which is not needed");
            false
        }
    }
}
