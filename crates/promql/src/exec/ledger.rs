//! Counting samples as Prometheus counts them.
//!
//! Holds what passed each node of the tree, and the reckoning at the end: how many samples Prometheus would
//! have held at most, loaded, and read. It knows no sample's value. Nothing is counted unless a limit is
//! set or statistics are asked for. Invariant: this engine holds far less than what is reckoned here; the
//! numbers are those of Prometheus' own evaluation, node by node and step by step. Read `reckon` for how
//! they are put together. Reference: Prometheus `promql/engine.go` (`currentSamples`),
//! `util/stats/query_stats.go`.

use std::collections::HashMap;

use model::{HistogramAt, Samples};

use crate::column::Column;
use crate::error::QueryError;
use crate::exec::profile::Profile;
use crate::functions::range::Windows;
use crate::parse::NodeId;

/// Samples of a node by step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Rows of floats without gaps.
    full: i64,
    /// Samples of other rows.
    rest: Option<Box<[u32]>>,
    /// What histograms weigh beyond one sample.
    extra: Option<Box<[u32]>>,
    /// Samples in all steps, histograms by weight.
    pub total: i64,
}

/// What a histogram weighs in a series.
pub(crate) fn weight(h: &HistogramAt) -> i64 {
    (h.histogram.size() as i64 + 8) / 16
}

impl Counts {
    /// Adds a row.
    pub(crate) fn add(&mut self, column: &Column) {
        if column.hists.is_empty() && column.is_full() {
            self.full += 1;
            self.total += column.len() as i64;
            return;
        }
        let rest = self.rest.get_or_insert_with(|| vec![0; column.len()].into_boxed_slice());
        let mut floats = 0;
        for i in column.steps() {
            rest[i] += 1;
            floats += 1;
        }
        self.total += floats - column.hists.len() as i64;
        for h in &column.hists {
            let extra = self.extra.get_or_insert_with(|| vec![0; column.len()].into_boxed_slice());
            extra[h.index as usize] += (h.histogram.size() / 16) as u32;
            self.total += weight(h);
        }
    }

    /// Samples at a step, each counting once.
    pub(crate) fn at(&self, step: usize) -> i64 {
        self.full + self.rest.as_ref().map_or(0, |r| i64::from(r[step]))
    }

    /// Samples at a step, histograms by their weight in a vector.
    pub(crate) fn weighed_at(&self, step: usize) -> i64 {
        self.at(step) + self.extra.as_ref().map_or(0, |e| i64::from(e[step]))
    }
}

/// A call of a range function, series by series.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallCounts {
    /// Most samples at a time, those of the arguments aside.
    pub peak: i64,
    /// Samples of the result so far.
    pub out: i64,
}

/// Samples loaded and read by the steps of a node's context.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loaded {
    /// Loaded; windows count whole at each step.
    pub total: Vec<i64>,
    /// Read; windows count only what is new.
    pub read: Vec<i64>,
}

/// Everything counted in a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// What each node gave.
    pub nodes: HashMap<NodeId, Counts>,
    /// What calls of range functions went through.
    pub calls: HashMap<NodeId, CallCounts>,
    /// What was loaded for each node.
    pub loaded: HashMap<NodeId, Loaded>,
    /// Info series of calls of `info()`; what `timestamp()` looked at.
    pub infos: HashMap<NodeId, Counts>,
    /// The limit; 0 for none.
    pub limit: i64,
    /// What operators took, where the run is analysed.
    pub profile: Option<Profile>,
}

impl Ledger {
    fn check(&self, samples: i64) -> Result<(), QueryError> {
        if self.limit > 0 && samples > self.limit { Err(QueryError::TooManySamples) } else { Ok(()) }
    }

    /// A row that leaves a node.
    pub(crate) fn row(&mut self, node: NodeId, column: &Column) -> Result<(), QueryError> {
        if let Some(profile) = &mut self.profile {
            profile.row(node);
        }
        let counts = self.nodes.entry(node).or_default();
        counts.add(column);
        let total = counts.total;
        self.check(total)
    }

    /// A row of info series, or of what `timestamp()` looks at.
    pub(crate) fn info(&mut self, node: NodeId, column: &Column) {
        self.infos.entry(node).or_default().add(column);
        self.load(node, column);
    }

    /// A row of an instant selector: each sample is loaded once.
    pub(crate) fn load(&mut self, node: NodeId, column: &Column) {
        let loaded = self.loaded_of(node, column.len());
        let mut hists = column.hists.iter().peekable();
        for i in column.steps() {
            let n = hists.next_if(|h| h.index as usize == i).map_or(1, weight);
            loaded.total[i] += n;
            loaded.read[i] += n;
        }
    }

    fn loaded_of(&mut self, node: NodeId, steps: usize) -> &mut Loaded {
        let loaded = self.loaded.entry(node).or_default();
        if loaded.total.is_empty() {
            (loaded.total, loaded.read) = (vec![0; steps], vec![0; steps]);
        }
        loaded
    }

    /// A series of a bare range selector.
    pub(crate) fn window(&mut self, node: NodeId, samples: &Samples) -> Result<(), QueryError> {
        let n = Weights::new(samples).up_to(0, i64::MAX);
        let loaded = self.loaded_of(node, 1);
        loaded.total[0] += n;
        loaded.read[0] += n;
        let call = self.calls.entry(node).or_default();
        call.peak += n;
        let peak = call.peak;
        self.check(peak)
    }

    /// A series of a `smoothed` instant selector: its last window stays with Prometheus, its result does
    /// not count.
    pub(crate) fn smoothed(
        &mut self,
        node: NodeId,
        windows: &Windows,
        lookback: i64,
        samples: &Samples,
    ) -> Result<(), QueryError> {
        let mut weights = Weights::new(samples);
        let (mut most, mut last) = (0, 0);
        for i in 0..windows.steps.count {
            let at = windows.end(i);
            last = weights.between(at.saturating_sub(lookback), at.saturating_add(lookback));
            most = most.max(last);
        }
        let call = self.calls.entry(node).or_default();
        call.peak = call.peak.max(call.out + most);
        call.out += last;
        let peak = call.peak;
        self.check(peak)
    }

    /// A series of a range function. `margins` are how far windows reach beyond their range; `stored` is
    /// false for the results of subqueries, whose reading was counted inside.
    pub(crate) fn windows(
        &mut self,
        node: NodeId,
        windows: &Windows,
        margins: (i64, i64),
        samples: &Samples,
        out: &Column,
        stored: bool,
    ) -> Result<(), QueryError> {
        let (mut weights, mut fresh) = (Weights::new(samples), Weights::new(samples));
        let steps = windows.steps.count;
        let loaded = self.loaded_of(node, steps);
        let (mut most, mut last) = (0, 0);
        for i in 0..steps {
            let end = windows.end(i).saturating_add(margins.1);
            let from = windows.end(i).saturating_sub(windows.range).saturating_sub(margins.0);
            last = weights.between(from, end);
            most = most.max(last);
            loaded.total[i] += last;
            if stored && (i == 0 || windows.fixed.is_none()) {
                let new = match i {
                    0 => last,
                    _ => fresh.between(from.max(end.saturating_sub(windows.steps.step)), end),
                };
                loaded.read[i] += new;
            }
        }
        let mut result = Counts::default();
        result.add(out);
        let call = self.calls.entry(node).or_default();
        call.peak = call.peak.max(call.out + most).max(call.out + last + result.total);
        call.out += result.total;
        let peak = call.peak;
        self.check(peak)
    }
}

/// Sums of samples' weights. Windows are asked for in ascending order: each end moves forward only.
struct Weights<'s> {
    samples: &'s Samples,
    /// How many samples and histograms lie up to the last start and the last end asked for.
    ends: [(usize, usize, i64); 2],
}

impl<'s> Weights<'s> {
    fn new(samples: &'s Samples) -> Self {
        Weights { samples, ends: [(0, 0, 0); 2] }
    }

    /// The weight of all samples up to and including `t`.
    fn up_to(&mut self, which: usize, t: i64) -> i64 {
        let (count, hists, extra) = &mut self.ends[which];
        while self.samples.ts.get(*count).is_some_and(|at| *at <= t) {
            *count += 1;
        }
        while let Some(h) = self.samples.hists.get(*hists).filter(|h| (h.index as usize) < *count) {
            *extra += weight(h) - 1;
            *hists += 1;
        }
        *count as i64 + *extra
    }

    /// The weight of the samples after `from`, up to and including `to`.
    fn between(&mut self, from: i64, to: i64) -> i64 {
        if from >= to { 0 } else { self.up_to(1, to) - self.up_to(0, from) }
    }
}
