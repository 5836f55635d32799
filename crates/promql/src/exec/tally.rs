//! Counting what passes, in whichever thread it passes.
//!
//! Holds sums over series by node and step, for which order does not matter ([`Tally`]), and what one
//! series adds where it does ([`Mark`]). It knows no limit and no clock but to read it. Invariant: the
//! tallies of several threads, put together, are the tally that one thread would have kept. Read `weigh`
//! for what counts how much, `ledger` for what becomes of marks.

use std::time::{Duration, Instant};

use model::{Millis, Samples};

use super::weigh::{Held, of_column, of_samples, weight};
use crate::column::Column;
use crate::functions::range::Windows;
use crate::parse::NodeId;

/// Longest series whose times are remembered, in samples.
const LONGEST: usize = 8 << 10;

/// What a series adds to a node, to be entered in series order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A row with so many samples left the node.
    Row(NodeId, i64),
    /// A range function was called: so many samples were held at most on the way, and so many stay.
    Call(NodeId, i64, i64),
}

/// Something of each node that has it.
#[derive(Clone, Debug)]
pub(crate) struct ByNode<T> {
    /// One more than the place in `have`, by node.
    places: Vec<u32>,
    have: Vec<(NodeId, T)>,
}

impl<T> Default for ByNode<T> {
    fn default() -> Self {
        ByNode { places: Vec::new(), have: Vec::new() }
    }
}

impl<T: Default> ByNode<T> {
    /// That of a node.
    pub(crate) fn of(&mut self, node: NodeId) -> &mut T {
        if self.places.len() <= node.index() {
            self.places.resize(node.index() + 1, 0);
        }
        let place = &mut self.places[node.index()];
        if *place == 0 {
            self.have.push((node, T::default()));
            *place = self.have.len() as u32;
        }
        &mut self.have[*place as usize - 1].1
    }

    /// That of a node, if it has any.
    pub(crate) fn get(&self, node: NodeId) -> Option<&T> {
        let place = *self.places.get(node.index())? as usize;
        Some(&self.have[place.checked_sub(1)?].1)
    }

    /// All there are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &T)> {
        self.have.iter().map(|(node, own)| (*node, own))
    }

    /// Takes all there are.
    fn drain(&mut self) -> impl Iterator<Item = (NodeId, T)> {
        for (node, _) in &self.have {
            self.places[node.index()] = 0;
        }
        self.have.drain(..)
    }
}

/// Numbers by step, kept as differences from one step to the next: a run of steps costs as much as one.
#[derive(Clone, Debug, Default)]
struct PerStep {
    /// What all steps have.
    all: i64,
    /// Empty where there is nothing else.
    changes: Vec<i64>,
}

impl PerStep {
    /// Adds one at each present step.
    fn count(&mut self, column: &Column) {
        if column.is_full() {
            self.all += 1;
            return;
        }
        let changes = self.changes(column.len());
        let mut change = 1;
        for i in column.edges() {
            changes[i] += change;
            change = -change;
        }
    }

    /// Adds `n` at step `i` of so many.
    fn add(&mut self, i: usize, steps: usize, n: i64) {
        let changes = self.changes(steps);
        changes[i] += n;
        if let Some(next) = changes.get_mut(i + 1) {
            *next -= n;
        }
    }

    fn changes(&mut self, steps: usize) -> &mut [i64] {
        if self.changes.is_empty() {
            self.changes.resize(steps, 0);
        }
        &mut self.changes
    }

    fn absorb(&mut self, other: PerStep) {
        self.all += other.all;
        absorb(&mut self.changes, other.changes);
    }

    fn finish(self) -> Numbers {
        let mut each = self.changes;
        let mut sum = 0;
        for n in &mut each {
            sum += *n;
            *n = sum;
        }
        Numbers { all: self.all, each }
    }
}

/// Adds numbers to others, one by one.
fn absorb(numbers: &mut Vec<i64>, more: Vec<i64>) {
    match numbers.is_empty() {
        true => *numbers = more,
        false => numbers.iter_mut().zip(more).for_each(|(a, b)| *a += b),
    }
}

/// Finished numbers by step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    all: i64,
    each: Vec<i64>,
}

impl Numbers {
    /// That of step `i`.
    pub(crate) fn at(&self, i: usize) -> i64 {
        self.all + self.each.get(i).copied().unwrap_or(0)
    }
}

/// Rows by step.
#[derive(Clone, Debug, Default)]
struct Rows {
    /// Samples, each counting once.
    samples: PerStep,
    /// What histograms weigh beyond that in a vector.
    extra: PerStep,
    total: i64,
}

impl Rows {
    /// Adds a row, and returns what it weighs.
    fn add(&mut self, column: &Column) -> i64 {
        self.samples.count(column);
        for h in &column.hists {
            self.extra.add(h.index as usize, column.len(), (h.histogram.size() / 16) as i64);
        }
        let own = of_column(column);
        self.total += own;
        own
    }

    fn absorb(&mut self, other: Rows) {
        self.samples.absorb(other.samples);
        self.extra.absorb(other.extra);
        self.total += other.total;
    }

    fn finish(self) -> Counts {
        Counts { samples: self.samples.finish(), extra: self.extra.finish(), total: self.total }
    }
}

/// Samples of a node by step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    samples: Numbers,
    extra: Numbers,
    /// Samples in all steps, histograms by weight.
    pub total: i64,
}

impl Counts {
    /// Samples at a step, each counting once.
    pub(crate) fn at(&self, step: usize) -> i64 {
        self.samples.at(step)
    }

    /// Samples at a step, histograms by their weight in a vector.
    pub(crate) fn weighed_at(&self, step: usize) -> i64 {
        self.samples.at(step) + self.extra.at(step)
    }
}

/// The windows of a range function's series.
#[derive(Debug, Default)]
struct Windowed {
    total: Vec<i64>,
    read: Vec<i64>,
    /// What the last series' windows hold, and at which times it has samples: what was scraped together
    /// stands together, and is weighed once.
    held: Held,
    ts: Vec<Millis>,
    /// Whether `ts` is all there is to know of the last series.
    known: bool,
    /// How many series like the last one are not in the sums yet.
    pending: i64,
}

impl Windowed {
    fn weigh(&mut self, windows: &Windows, margins: (Millis, Millis), samples: &Samples) {
        let plain = samples.hists.is_empty() && samples.len() <= LONGEST;
        if !(plain && self.known && self.ts == samples.ts) {
            self.settle();
            self.held.weigh(windows, margins, samples);
            self.known = plain;
            if plain {
                self.ts.clone_from(&samples.ts);
            }
        }
        self.pending += 1;
    }

    fn settle(&mut self) {
        let n = std::mem::take(&mut self.pending);
        if n == 0 {
            return;
        }
        self.total.resize(self.held.each.len(), 0);
        self.read.resize(self.held.fresh.len(), 0);
        self.total.iter_mut().zip(&self.held.each).for_each(|(sum, own)| *sum += n * own);
        self.read.iter_mut().zip(&self.held.fresh).for_each(|(sum, own)| *sum += n * own);
    }
}

/// What passed a node.
#[derive(Debug, Default)]
struct NodeTally {
    out: Rows,
    looked_at: Rows,
    /// Loaded and read alike.
    loaded: PerStep,
    /// Whether what windows hold is read from the store.
    stored: bool,
    windows: Option<Box<Windowed>>,
    /// Time spent in threads other than the query's own.
    spent: Duration,
}

/// The finished numbers of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeCounts {
    /// What it gave.
    pub out: Counts,
    /// Info series of calls of `info()`; what `timestamp()` looked at.
    pub looked_at: Counts,
    loaded: Numbers,
    total: Numbers,
    read: Numbers,
}

impl NodeCounts {
    /// Samples loaded for step `i` of its context; windows count whole at each step.
    pub(crate) fn loaded_at(&self, i: usize) -> i64 {
        self.loaded.at(i) + self.total.at(i)
    }

    /// Samples read for step `i`; windows count only what is new.
    pub(crate) fn read_at(&self, i: usize) -> i64 {
        self.loaded.at(i) + self.read.at(i)
    }
}

/// Counts of everything that passed in one thread.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    nodes: ByNode<NodeTally>,
    /// What is to be entered of the series at hand.
    pub marks: Vec<Mark>,
    /// Whether clocks are looked at.
    pub timed: bool,
}

impl Tally {
    /// A row that leaves a node.
    pub(crate) fn row(&mut self, node: NodeId, column: &Column) {
        let own = self.nodes.of(node).out.add(column);
        self.marks.push(Mark::Row(node, own));
    }

    /// A row of an instant selector: each sample is loaded once.
    pub(crate) fn load(&mut self, node: NodeId, column: &Column) {
        let loaded = &mut self.nodes.of(node).loaded;
        loaded.count(column);
        for h in &column.hists {
            loaded.add(h.index as usize, column.len(), weight(h) - 1);
        }
    }

    /// A row of info series, or of what `timestamp()` looks at.
    pub(crate) fn look_at(&mut self, node: NodeId, column: &Column) {
        self.nodes.of(node).looked_at.add(column);
        self.load(node, column);
    }

    /// A series of a bare range selector.
    pub(crate) fn window(&mut self, node: NodeId, samples: &Samples) {
        let n = of_samples(samples);
        self.nodes.of(node).loaded.add(0, 1, n);
        self.marks.push(Mark::Call(node, n, n));
    }

    /// A series of a `smoothed` instant selector: its last window stays with Prometheus, its result does
    /// not count.
    pub(crate) fn smoothed(&mut self, node: NodeId, windows: &Windows, lookback: Millis, samples: &Samples) {
        let mut held = Held::default();
        held.weigh(windows, (lookback, lookback), samples);
        self.marks.push(Mark::Call(node, held.most, held.last));
    }

    /// A series of a range function and its result. `margins` are how far windows reach beyond their range;
    /// `stored` is false for the results of subqueries, whose reading was counted inside.
    pub(crate) fn windows(
        &mut self,
        node: NodeId,
        (windows, margins): (&Windows, (Millis, Millis)),
        samples: &Samples,
        out: &Column,
        stored: bool,
    ) {
        let own = self.nodes.of(node);
        own.stored = stored;
        let seen = own.windows.get_or_insert_default();
        seen.weigh(windows, margins, samples);
        let result = of_column(out);
        let most = seen.held.most.max(seen.held.last + result);
        self.marks.push(Mark::Call(node, most, result));
    }

    /// The time, if it is of interest.
    pub(crate) fn clock(&self) -> Option<Instant> {
        self.timed.then(Instant::now)
    }

    /// Time that was spent in a node.
    pub(crate) fn spent(&mut self, node: NodeId, since: Option<Instant>) {
        if let Some(since) = since {
            self.nodes.of(node).spent += since.elapsed();
        }
    }

    /// Takes over what another thread counted, and returns the time it spent in each node.
    pub(crate) fn absorb(&mut self, other: &mut Tally) -> Vec<(NodeId, Duration)> {
        let mut spent = Vec::new();
        for (node, mut more) in other.nodes.drain() {
            let own = self.nodes.of(node);
            own.out.absorb(more.out);
            own.looked_at.absorb(more.looked_at);
            own.loaded.absorb(more.loaded);
            if let Some(mut windows) = more.windows.take() {
                windows.settle();
                own.stored = more.stored;
                let into = own.windows.get_or_insert_default();
                absorb(&mut into.total, windows.total);
                absorb(&mut into.read, windows.read);
            }
            spent.push((node, more.spent));
        }
        spent
    }

    /// The finished numbers.
    pub(crate) fn finish(mut self) -> ByNode<NodeCounts> {
        let mut finished = ByNode::<NodeCounts>::default();
        for (node, own) in self.nodes.drain() {
            let mut windows = own.windows.unwrap_or_default();
            windows.settle();
            let read = if own.stored { windows.read } else { Vec::new() };
            *finished.of(node) = NodeCounts {
                out: own.out.finish(),
                looked_at: own.looked_at.finish(),
                loaded: own.loaded.finish(),
                total: Numbers { all: 0, each: windows.total },
                read: Numbers { all: 0, each: read },
            };
        }
        finished
    }
}
