//! Leaving out blocks that are about to be deleted.
//!
//! Holds the filter on `deletion-mark.json` and its memory of marks. A mark counts only once it is older
//! than a delay, so that the block's replacement is there first. Invariant: a block whose mark was seen
//! does not come back because the mark is deleted with the rest of the block; the mark is forgotten when
//! the block leaves the listing, or when someone removed the mark and `meta.json` is still there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _};
use objstore::SharedBucket;
use parking_lot::Mutex;
use tsdb_block::meta::{FILE_NAME, Ulid};

use super::Filter;
use crate::fetcher::{Round, State};
use crate::marker::{DeletionMark, MarkError};

/// Leaves out blocks whose deletion mark is older than `--ignore-deletion-marks-delay`.
#[derive(Debug)]
pub struct IgnoreDeletionMarks {
    bucket: SharedBucket,
    delay: Duration,
    concurrency: usize,
    marks: Mutex<BTreeMap<Ulid, DeletionMark>>,
}

impl IgnoreDeletionMarks {
    /// Reads at most `concurrency` marks at once.
    pub fn new(bucket: SharedBucket, delay: Duration, concurrency: usize) -> Self {
        IgnoreDeletionMarks { bucket, delay, concurrency: concurrency.max(1), marks: Mutex::default() }
    }

    /// The block's mark now.
    async fn mark(
        &self,
        id: Ulid,
        listed: bool,
        seen: Option<DeletionMark>,
    ) -> objstore::Result<Option<DeletionMark>> {
        let read = if listed { DeletionMark::read(&self.bucket, id).await } else { Ok(None) };
        match (read, seen) {
            (Ok(Some(mark)), _) => Ok(Some(mark)),
            // The mark goes last when a block is deleted, and `meta.json` first.
            (Ok(None), Some(seen)) => {
                let there = self.bucket.exists(&format!("{id}/{FILE_NAME}")).await?;
                Ok((!there).then_some(seen))
            }
            (Ok(None), None) => Ok(None),
            (Err(MarkError::Bucket(e)), _) => Err(e),
            (Err(e @ MarkError::Unusable { .. }), seen) => {
                tracing::warn!(
                    block = %id,
                    err = %e,
                    "found partial deletion-mark.json; if we will see it happening often for the same block, consider manually deleting deletion-mark.json from the object storage"
                );
                Ok(seen)
            }
        }
    }
}

#[async_trait]
impl Filter for IgnoreDeletionMarks {
    async fn filter(&self, round: &mut Round) -> objstore::Result<()> {
        let mut known = self.marks.lock().clone();
        known.retain(|id, _| round.listed.contains(id));
        let ask: BTreeSet<Ulid> = match &round.marked {
            Some(marked) => marked.iter().chain(known.keys()).copied().collect(),
            None => round.blocks.keys().copied().collect(),
        };
        let asked: Vec<_> = ask
            .into_iter()
            .filter(|id| round.blocks.contains_key(id))
            .map(|id| {
                let listed = round.marked.as_ref().is_none_or(|marked| marked.contains(&id));
                let seen = known.get(&id).cloned();
                async move { (id, self.mark(id, listed, seen).await) }
            })
            .collect();
        let mut answers = stream::iter(asked).buffer_unordered(self.concurrency);
        let mut failed = None;
        while let Some((id, answer)) = answers.next().await {
            match answer {
                Ok(Some(mark)) => {
                    known.insert(id, mark);
                }
                Ok(None) => {
                    known.remove(&id);
                }
                Err(e) => failed = Some(e),
            }
        }
        drop(answers);
        let delay = i128::try_from(self.delay.as_millis()).unwrap_or(i128::MAX);
        let now = i128::from(round.now);
        let due = |mark: &DeletionMark| now - i128::from(mark.deletion_time) * 1000 > delay;
        round.exclude(State::MarkedForDeletion, |id, _| known.get(&id).is_some_and(due));
        *self.marks.lock() = known;
        failed.map_or(Ok(()), Err)
    }
}
