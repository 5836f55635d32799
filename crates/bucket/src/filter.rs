//! Leaving blocks out of a round, for reasons that are counted.
//!
//! Holds the filters of a store gateway but the two with a module of their own (`deletion`, `duplicate`).
//! Filters read metadata and marks, never blocks. Invariant: a filter only removes, and what it removes
//! it tallies. Upstream: `pkg/block/fetcher.go`, in whose order a store uses them: time, labels,
//! consistency delay, deletion marks, duplicates.

mod deletion;
mod duplicate;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use component::flags::TimeOrDuration;
use component::metrics::{self, Registry};
use model::LabelsBuilder;
use model::relabel::{self, Rule};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tsdb_block::meta::{BlockMeta, NO_TIME, Ulid};

use crate::fetcher::{Round, State};
pub use deletion::IgnoreDeletionMarks;
pub use duplicate::Deduplicate;

/// The label that carries a block's name when blocks are selected by labels.
pub const BLOCK_ID_LABEL: &str = "__block_id";

/// Takes blocks out of a round.
#[async_trait]
pub trait Filter: Send + Sync + std::fmt::Debug {
    /// Removes blocks and tallies them.
    ///
    /// # Errors
    /// When the bucket did not tell what the filter must know; the round is void then.
    async fn filter(&self, round: &mut Round) -> objstore::Result<()>;
}

/// Leaves out blocks outside `--min-time` and `--max-time`; both ends are part of the range.
#[derive(Clone, Copy, Debug)]
pub struct TimePartition {
    /// The earliest time wanted.
    pub min: TimeOrDuration,
    /// The latest time wanted.
    pub max: TimeOrDuration,
}

#[async_trait]
impl Filter for TimePartition {
    async fn filter(&self, round: &mut Round) -> objstore::Result<()> {
        let (min, max) = (self.min.at(round.now), self.max.at(round.now));
        round.exclude(State::TimeExcluded, |_, meta| meta.max_time < min || meta.min_time > max);
        Ok(())
    }
}

/// Leaves out blocks of whose external labels and [`BLOCK_ID_LABEL`] the rules leave nothing.
#[derive(Clone, Debug)]
pub struct LabelSharded {
    /// `--selector.relabel-config`.
    pub rules: Vec<Rule>,
}

#[async_trait]
impl Filter for LabelSharded {
    async fn filter(&self, round: &mut Round) -> objstore::Result<()> {
        round.exclude(State::LabelExcluded, |id, meta| {
            let mut labels = LabelsBuilder::default();
            labels.set(BLOCK_ID_LABEL, &id.to_string());
            for (name, value) in meta.thanos.iter().flat_map(|t| &t.labels) {
                labels.set(name, value);
            }
            relabel::process(&self.rules, &labels.labels()).is_none_or(|left| left.is_empty())
        });
        Ok(())
    }
}

/// Leaves out blocks that were uploaded so recently that an eventually consistent bucket might not
/// show all of them; what a compactor wrote is never too fresh, since its sources may be gone.
#[derive(Clone, Copy, Debug)]
pub struct ConsistencyDelay {
    delay: Duration,
}

impl ConsistencyDelay {
    /// `--consistency-delay`, shown as `thanos_consistency_delay_seconds`.
    ///
    /// # Errors
    /// When the registry has the metric already.
    pub fn new(delay: Duration, registry: &Registry) -> metrics::Result<Self> {
        let shown = metrics::gauge(
            registry,
            "thanos_consistency_delay_seconds",
            "Configured consistency delay in seconds.",
        )?;
        shown.set(delay.as_secs_f64());
        Ok(ConsistencyDelay { delay })
    }
}

#[async_trait]
impl Filter for ConsistencyDelay {
    async fn filter(&self, round: &mut Round) -> objstore::Result<()> {
        let now = i128::from(round.now) * 1_000_000;
        let delay = self.delay.as_nanos() as i128;
        round.exclude(State::TooFresh, |id, meta| {
            let source = meta.thanos.as_ref().map_or("", |t| t.source.as_str());
            let exempt = matches!(source, "bucket.repair" | "compactor" | "compactor.repair");
            !exempt && now - uploaded(id, meta) < delay
        });
        Ok(())
    }
}

/// When a block was uploaded, in nanoseconds since the epoch; its name's time where it does not say.
fn uploaded(id: Ulid, meta: &BlockMeta) -> i128 {
    let text = meta.thanos.as_ref().map_or(NO_TIME, |t| t.upload_time.as_str());
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) if text != NO_TIME => time.unix_timestamp_nanos(),
        _ => i128::from(id.timestamp_ms()) * 1_000_000,
    }
}
