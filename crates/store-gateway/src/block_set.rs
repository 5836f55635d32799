//! Which blocks a request needs.
//!
//! Holds the blocks by external labels and resolution, and the selection that fills a time range with
//! the coarsest data allowed (upstream `bucketBlockSet.getFor`). It reads no block. Invariant: a view is
//! immutable; a sync makes another one, and requests keep theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Labels, Matcher};
use tsdb_block::meta::Ulid;

use crate::block::Block;

/// Milliseconds between samples of the resolutions that exist, coarsest first.
pub const RESOLUTIONS: [i64; 3] = [3_600_000, 300_000, 0];

/// Blocks with the same external labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockSet {
    /// By resolution, each sorted by time.
    blocks: [Vec<Arc<Block>>; 3],
}

impl BlockSet {
    fn add(&mut self, block: Arc<Block>) -> Result<(), String> {
        let resolution = block.meta.resolution();
        let Some(i) = RESOLUTIONS.iter().position(|r| *r == resolution) else {
            return Err(format!("unsupported downsampling resolution {resolution}"));
        };
        let order = |b: &Arc<Block>| (b.meta.min_time, b.meta.max_time, b.id);
        let at = self.blocks[i].partition_point(|b| order(b) < order(&block));
        self.blocks[i].insert(at, block);
        Ok(())
    }

    /// Blocks that cover `mint..=maxt` in time order, with the coarsest resolution not above
    /// `max_resolution`; gaps are filled with finer ones. `selectors` choose among the blocks.
    pub(crate) fn select(
        &self,
        mint: i64,
        maxt: i64,
        max_resolution: i64,
        selectors: &[Matcher],
    ) -> Vec<Arc<Block>> {
        let level = RESOLUTIONS.iter().position(|r| *r <= max_resolution).unwrap_or(RESOLUTIONS.len() - 1);
        let mut out = Vec::new();
        self.fill(mint, maxt, level, selectors, &mut out);
        out
    }

    fn fill(&self, mint: i64, maxt: i64, level: usize, selectors: &[Matcher], out: &mut Vec<Arc<Block>>) {
        if mint > maxt {
            return;
        }
        let finer = level + 1 < RESOLUTIONS.len();
        let mut start = mint;
        for block in &self.blocks[level] {
            if block.meta.max_time <= mint {
                continue;
            }
            if block.meta.min_time > maxt {
                break;
            }
            if finer {
                self.fill(start, block.meta.min_time.saturating_sub(1), level + 1, selectors, out);
            }
            if block.is_selected_by(selectors) {
                out.push(block.clone());
            }
            start = block.meta.max_time;
        }
        if finer {
            self.fill(start, maxt, level + 1, selectors, out);
        }
    }
}

/// All loaded blocks at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) blocks: BTreeMap<Ulid, Arc<Block>>,
    pub(crate) sets: BTreeMap<Labels, BlockSet>,
}

impl View {
    pub(crate) fn add(&mut self, block: Arc<Block>) -> Result<(), String> {
        self.sets.entry(block.labels.clone()).or_default().add(block.clone())?;
        self.blocks.insert(block.id, block);
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: Ulid) -> Option<Arc<Block>> {
        let block = self.blocks.remove(&id)?;
        if let Some(set) = self.sets.get_mut(&block.labels) {
            set.blocks.iter_mut().for_each(|level| level.retain(|b| b.id != id));
        }
        // Upstream keeps the set of a label set whose blocks are all gone and goes on announcing it.
        self.sets.retain(|_, set| set.blocks.iter().any(|level| !level.is_empty()));
        Some(block)
    }

    /// First millisecond and end of all blocks; an empty range when there is none.
    pub(crate) fn time_range(&self) -> (i64, i64) {
        let mint = self.blocks.values().map(|b| b.meta.min_time).min().unwrap_or(i64::MAX);
        let maxt = self.blocks.values().map(|b| b.meta.max_time).max().unwrap_or(i64::MIN);
        (mint, maxt)
    }

    /// For each set of external labels the stretches of time it has blocks for.
    pub(crate) fn stretches(&self) -> Vec<(Labels, i64, i64)> {
        let mut by_labels: BTreeMap<&Labels, Vec<(i64, i64)>> = BTreeMap::new();
        for block in self.blocks.values() {
            let range = (block.meta.min_time, block.meta.max_time);
            by_labels.entry(&block.labels).or_default().push(range);
        }
        let mut out = Vec::new();
        for (labels, mut ranges) in by_labels {
            ranges.sort_unstable();
            let mut current: Option<(i64, i64)> = None;
            for (mint, maxt) in ranges {
                match &mut current {
                    Some((_, end)) if mint <= *end => *end = (*end).max(maxt),
                    other => {
                        if let Some((from, to)) = other.replace((mint, maxt)) {
                            out.push((labels.clone(), from, to));
                        }
                    }
                }
            }
            out.extend(current.map(|(from, to)| (labels.clone(), from, to)));
        }
        out
    }
}

#[cfg(test)]
mod tests;
