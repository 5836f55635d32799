//! Query statistics as Prometheus' `stats` parameter gives them.
//!
//! Holds the finished numbers. It knows nothing of how they are counted (see `exec::ledger`).
//! Invariant: samples are counted as Prometheus counts them, a histogram by its size, whatever this
//! engine really holds in memory. Reference: Prometheus `util/stats/query_stats.go`.

use std::time::Duration;

use model::Millis;

/// What is to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StatsLevel {
    /// Times only; samples are not counted.
    #[default]
    None,
    /// Totals and the peak (any non-empty `stats`).
    Totals,
    /// Also per step (`stats=all`).
    PerStep,
}

/// Statistics of one run of a query.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// Time spent, by phase.
    pub timings: Timings,
    /// Samples; `None` where they were not asked for.
    pub samples: Option<SampleStats>,
}

/// Time spent, by phase, with Prometheus' names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// `evalTotalTime`
    pub eval_total: Duration,
    /// `resultSortTime`
    pub result_sort: Duration,
    /// `queryPreparationTime`
    pub preparation: Duration,
    /// `innerEvalTime`
    pub inner_eval: Duration,
    /// `execQueueTime`: always zero, the engine has no queue.
    pub queue: Duration,
    /// `execTotalTime`
    pub exec_total: Duration,
}

/// Samples, as Prometheus counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleStats {
    /// `totalQueryableSamples`: samples loaded; a range function counts its whole window at each step.
    pub total: i64,
    /// `peakSamples`: most samples held at a time.
    pub peak: usize,
    /// `samplesRead`: samples loaded; a range function counts only what is new at a step.
    pub read: i64,
    /// `totalQueryableSamplesPerStep`, with [`StatsLevel::PerStep`].
    pub total_per_step: Option<Vec<(Millis, i64)>>,
    /// `samplesReadPerStep`, with [`StatsLevel::PerStep`].
    pub read_per_step: Option<Vec<(Millis, i64)>>,
}
