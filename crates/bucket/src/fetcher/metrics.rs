//! `thanos_blocks_meta_*`.
//!
//! Holds the states a block can end a round in, and how many did. Invariant: gauges change once, at the
//! end of a round, and every state is there from the start.

use std::collections::BTreeMap;

use component::metrics::{self, GaugeVec, Histogram, IntCounter, Registry};

/// What became of a block, the label `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum State {
    Corrupted,
    NoMeta,
    Loaded,
    TooFresh,
    Failed,
    LabelExcluded,
    TimeExcluded,
    Duplicate,
    MarkedForDeletion,
    MarkedForNoCompact,
    ParquetMigrated,
}

impl State {
    const ALL: [State; 11] = [
        State::Corrupted,
        State::NoMeta,
        State::Loaded,
        State::TooFresh,
        State::Failed,
        State::LabelExcluded,
        State::TimeExcluded,
        State::Duplicate,
        State::MarkedForDeletion,
        State::MarkedForNoCompact,
        State::ParquetMigrated,
    ];

    fn label(self) -> &'static str {
        match self {
            State::Corrupted => "corrupted-meta-json",
            State::NoMeta => "no-meta-json",
            State::Loaded => "loaded",
            State::TooFresh => "too-fresh",
            State::Failed => "failed",
            State::LabelExcluded => "label-excluded",
            State::TimeExcluded => "time-excluded",
            State::Duplicate => "duplicate",
            State::MarkedForDeletion => "marked-for-deletion",
            State::MarkedForNoCompact => "marked-for-no-compact",
            State::ParquetMigrated => "parquet-migrated",
        }
    }
}

/// How many blocks ended in which state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<State, usize>);

impl Tally {
    /// `n` more blocks in `state`.
    pub fn add(&mut self, state: State, n: usize) {
        *self.0.entry(state).or_default() += n;
    }

    /// Blocks in `state`.
    pub fn get(&self, state: State) -> usize {
        self.0.get(&state).copied().unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    pub syncs: IntCounter,
    pub failures: IntCounter,
    pub duration: Histogram,
    pub base_syncs: IntCounter,
    pub cache_busts: IntCounter,
    synced: GaugeVec,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> metrics::Result<Self> {
        let counter =
            |name: &str, help| metrics::counter(registry, &format!("thanos_blocks_meta_{name}"), help);
        let synced = metrics::gauges(
            registry,
            "thanos_blocks_meta_synced",
            "Number of block metadata synced",
            &["state"],
        )?;
        // No filter of this crate changes a block yet; the series is there all the same.
        metrics::gauges(
            registry,
            "thanos_blocks_meta_modified",
            "Number of blocks whose metadata changed",
            &["modified"],
        )?
        .with_label_values(&["replica-label-removed"]);
        let metrics = Metrics {
            syncs: counter("syncs_total", "Total blocks metadata synchronization attempts")?,
            failures: counter("sync_failures_total", "Total blocks metadata synchronization failures")?,
            duration: metrics::histogram(
                registry,
                "thanos_blocks_meta_sync_duration_seconds",
                "Duration of the blocks metadata synchronization in seconds",
                &[0.01, 1.0, 10.0, 100.0, 300.0, 600.0, 1000.0],
            )?,
            base_syncs: counter(
                "base_syncs_total",
                "Total blocks metadata synchronization attempts by base Fetcher",
            )?,
            cache_busts: counter(
                "base_cache_busts_total",
                "Total blocks metadata cache busts by base Fetcher",
            )?,
            synced,
        };
        metrics.show(&Tally::default());
        Ok(metrics)
    }

    /// Puts a round's outcome on display.
    pub(super) fn show(&self, tally: &Tally) {
        for state in State::ALL {
            self.synced.with_label_values(&[state.label()]).set(tally.get(state) as f64);
        }
    }
}
