//! Operators on rows that are neither aggregations nor binary.
//!
//! Holds repetition of hoisted results, signs, functions of samples and of labels, functions over
//! subqueries, `absent`, and `timestamp` of anything but a selector. It knows no plan. Invariant: those
//! that are [`Map`]s look at one row alone.

use std::sync::{Arc, Mutex, PoisonError};

use model::{CounterResetHint, Labels, Millis, Samples};

use crate::column::{Column, Steps};
use crate::error::QueryError;
use crate::exec::lift::RangeCall;
use crate::exec::op::{Cx, Local, Map, Op, Row, Scalar};
use crate::functions::element::{Drops, ElementKernel};
use crate::functions::labels::{LabelJoin, LabelReplace};
use crate::functions::order::by_labels;
use crate::functions::range::RangeKernel;
use crate::functions::{Param, absent};
use crate::parse::NodeId;

/// Repeats the only step of a hoisted row.
pub(crate) struct Repeat {
    /// Over these steps.
    pub steps: Steps,
}

impl Map for Repeat {
    fn map(&self, row: &mut Row, _: &mut Local<'_>) -> Result<bool, QueryError> {
        let value = row.column.values[0];
        let histogram = row.column.histogram(0).cloned();
        row.column.reset(self.steps.count);
        match histogram {
            Some(h) => (0..self.steps.count).for_each(|i| row.column.push_histogram(i, h.clone())),
            None => {
                row.column.fill();
                row.column.values.fill(value);
            }
        }
        Ok(true)
    }
}

/// `-vector`
pub(crate) struct Negate;

impl Map for Negate {
    fn map(&self, row: &mut Row, local: &mut Local<'_>) -> Result<bool, QueryError> {
        let env = local.env;
        row.column.values.iter_mut().for_each(|v| *v = -*v);
        for h in &mut row.column.hists {
            Arc::make_mut(&mut h.histogram).scale(-1.0);
        }
        row.labels = env.unnamed(&row.labels);
        row.drop_name = true;
        Ok(true)
    }
}

/// A function of single samples.
pub(crate) struct Element {
    kernel: ElementKernel,
    steps: Steps,
    args: Vec<Scalar>,
    params: Vec<Param>,
}

impl Element {
    /// A call with its scalar arguments.
    pub(crate) fn new(kernel: ElementKernel, steps: Steps, args: Vec<Scalar>) -> Self {
        Element { kernel, steps, args, params: Vec::new() }
    }
}

impl Map for Element {
    fn is_heavy(&self) -> bool {
        true
    }

    fn open(&mut self, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        self.params = self.args.iter().map(|a| (*cx.slots.scalar(*a)).clone()).collect();
        Ok(())
    }

    fn map(&self, row: &mut Row, local: &mut Local<'_>) -> Result<bool, QueryError> {
        let env = local.env;
        self.kernel.eval(self.steps, &self.params, &mut row.column);
        row.drop_name = true;
        if !env.options.delayed_name_removal {
            row.labels = match self.kernel.drops() {
                Drops::Metadata => env.unnamed(&row.labels),
                Drops::Name => {
                    env.note_labels(&row.labels);
                    row.labels.without_metric_name()
                }
            };
        }
        Ok(row.column.any())
    }
}

/// `timestamp` of an expression: the evaluation time. `start_timestamp` of one: nothing.
pub(crate) struct StepTime {
    /// The steps.
    pub steps: Steps,
    /// Whether this is `start_timestamp`.
    pub start: bool,
}

impl Map for StepTime {
    fn map(&self, row: &mut Row, local: &mut Local<'_>) -> Result<bool, QueryError> {
        let env = local.env;
        row.column.hists.clear();
        for (i, v) in row.column.values.iter_mut().enumerate() {
            *v = self.steps.at(i) as f64 / 1000.0;
        }
        row.labels = env.unnamed(&row.labels);
        row.drop_name = true;
        Ok(!self.start)
    }
}

/// `sort` and `sort_desc` over several steps: only histograms go.
pub(crate) struct DropHistograms;

impl Map for DropHistograms {
    fn map(&self, row: &mut Row, _: &mut Local<'_>) -> Result<bool, QueryError> {
        for h in row.column.hists.drain(..) {
            row.column.present[h.index as usize / 64] &= !(1 << (h.index % 64));
        }
        Ok(row.column.any())
    }
}

/// `label_replace` or `label_join`.
pub(crate) enum Relabel {
    /// `label_replace`
    Replace(LabelReplace),
    /// `label_join`
    Join(LabelJoin),
}

impl Map for Relabel {
    fn map(&self, row: &mut Row, _: &mut Local<'_>) -> Result<bool, QueryError> {
        let (labels, named) = match self {
            Relabel::Replace(call) => (call.apply(&row.labels), call.sets_name()),
            Relabel::Join(call) => (Some(call.apply(&row.labels)), call.sets_name()),
        };
        if let Some(labels) = labels {
            row.labels = labels;
            row.drop_name &= !named;
        }
        Ok(true)
    }
}

/// A function over a subquery: the row's steps are the samples.
pub(crate) struct OverSubquery {
    /// The call.
    pub call: RangeCall,
    /// The node of the call.
    pub node: NodeId,
    /// The steps of the subquery.
    pub inner: Steps,
    /// Memory of rows that have passed.
    pub scratch: Mutex<Vec<(Samples, Column)>>,
}

impl Map for OverSubquery {
    fn is_heavy(&self) -> bool {
        true
    }

    fn open(&mut self, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        self.call.open(cx);
        Ok(())
    }

    fn map(&self, row: &mut Row, local: &mut Local<'_>) -> Result<bool, QueryError> {
        let env = local.env;
        let pool = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut samples, mut inner) = pool().pop().unwrap_or_default();
        std::mem::swap(&mut inner, &mut row.column);
        if inner.both.is_empty() {
            samples_of(&mut inner, self.inner, false, &mut samples);
            self.call.eval(&row.labels, &samples, &mut row.column, env, local.notes)?;
        } else {
            let fill = |end, samples: &mut Samples| self.before(&inner, end, samples);
            self.call.eval_each(&row.labels, fill, &mut row.column, env, local.notes)?;
            samples_of(&mut inner, self.inner, false, &mut samples);
        }
        if let Some(tally) = &mut local.tally {
            tally.windows(self.node, (&self.call.windows, (0, 0)), &samples, &row.column, false);
        }
        pool().push((samples, inner));
        row.drop_name |= !self.call.kernel.keeps_name();
        if row.drop_name {
            row.labels = env.unnamed(&row.labels);
        }
        Ok(row.column.any())
    }
}

impl OverSubquery {
    /// What Prometheus reads of a series with floats and histograms at the same steps, when a window ends
    /// at `end`: there it stops at the float. The first of two samples is the histogram, the last the float.
    fn before(&self, column: &Column, end: Millis, samples: &mut Samples) {
        let mut column = column.clone();
        let steps = self.inner;
        column.hists.retain(|h| {
            let i = h.index as usize;
            let hidden = steps.at(i) == end && column.both[i / 64] >> (i % 64) & 1 == 1;
            if hidden {
                column.both[i / 64] &= !(1 << (i % 64));
            }
            !hidden
        });
        samples_of(&mut column, steps, self.call.kernel == RangeKernel::FirstOverTime, samples);
    }
}

/// Counts the rows that leave a node.
pub(crate) struct Tap(pub NodeId);

impl Map for Tap {
    fn map(&self, row: &mut Row, local: &mut Local<'_>) -> Result<bool, QueryError> {
        if let Some(tally) = &mut local.tally {
            tally.row(self.0, &row.column);
        }
        Ok(true)
    }
}

/// Makes samples of a column; where a step has both kinds the float is the `last` one. What is said about
/// counter resets no longer holds, for samples between may be missing now.
fn samples_of(column: &mut Column, steps: Steps, last: bool, samples: &mut Samples) {
    samples.clear();
    samples.ts.reserve(column.len());
    samples.values.reserve(column.len());
    let mut hists = column.hists.drain(..).peekable();
    let present = &column.present;
    for (i, v) in column.values.iter().enumerate() {
        if present[i / 64] >> (i % 64) & 1 == 0 {
            continue;
        }
        match hists.next_if(|h| h.index as usize == i) {
            Some(h) => {
                let both = column.both.get(i / 64).is_some_and(|both| both >> (i % 64) & 1 == 1);
                if both && !last {
                    samples.push(steps.at(i), *v);
                }
                let mut h = h.histogram;
                if matches!(h.counter_reset_hint, CounterResetHint::Reset | CounterResetHint::NotReset) {
                    Arc::make_mut(&mut h).counter_reset_hint = CounterResetHint::Unknown;
                }
                samples.push_histogram(steps.at(i), h);
                if both && last {
                    samples.push(steps.at(i), *v);
                }
            }
            None => samples.push(steps.at(i), *v),
        }
    }
}

/// `absent` and the last part of `absent_over_time`: one row where no row has a sample.
pub(crate) struct Absent {
    labels: Labels,
    steps: Steps,
    /// Whether the result counts as a metric whose name goes.
    drop_name: bool,
    seen: Vec<u64>,
}

impl Absent {
    /// With the labels of the result.
    pub(crate) fn new(labels: Labels, steps: Steps, drop_name: bool) -> Self {
        Absent { labels, steps, drop_name, seen: Vec::new() }
    }
}

impl Op for Absent {
    fn apply(&mut self, row: &mut Row, _more: &mut Vec<Row>, _cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        absent::mark(&mut self.seen, &row.column);
        Ok(false)
    }

    fn finish(&mut self, more: &mut Vec<Row>, _cx: &mut Cx<'_>) -> Result<(), QueryError> {
        let column = absent::column(&self.seen, self.steps.count);
        if column.any() {
            more.push(Row { labels: self.labels.clone(), drop_name: self.drop_name, column });
        }
        Ok(())
    }
}

/// `sort`, `sort_desc`, `sort_by_label`, `sort_by_label_desc` in a query of one step.
pub(crate) struct Sort {
    kind: SortKind,
    descending: bool,
    rows: Vec<Row>,
}

/// By what is sorted.
pub(crate) enum SortKind {
    /// The value; histograms go.
    Value,
    /// Labels, in this order, then all.
    Labels(Vec<String>),
}

impl Sort {
    /// Sorts by `kind`.
    pub(crate) fn new(kind: SortKind, descending: bool) -> Self {
        Sort { kind, descending, rows: Vec::new() }
    }
}

impl Op for Sort {
    fn apply(&mut self, row: &mut Row, _more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        let drops = matches!(self.kind, SortKind::Value) && !row.column.hists.is_empty();
        if !drops {
            cx.env.meter.charge(row.bytes(), &"sorting")?;
            self.rows.push(std::mem::take(row));
        }
        Ok(false)
    }

    fn finish(&mut self, more: &mut Vec<Row>, _cx: &mut Cx<'_>) -> Result<(), QueryError> {
        let mut rows = std::mem::take(&mut self.rows);
        match &self.kind {
            SortKind::Value => {
                let value = |row: &Row| row.column.values.first().copied().unwrap_or(f64::NAN);
                let descending = self.descending;
                // Both orders put NaN last: the opposite order, NaN first, is sorted and read backwards.
                crate::exec::gosort::sort(&mut rows, |a, b| {
                    let (a, b) = (value(b), value(a));
                    a.is_nan() || if descending { a < b } else { a > b }
                });
            }
            SortKind::Labels(names) => {
                // No consistent order: an empty value comes neither before nor after any other.
                crate::exec::gosort::sort(&mut rows, |a, b| {
                    by_labels(&a.labels, &b.labels, names, self.descending).is_lt()
                });
            }
        }
        *more = rows;
        Ok(())
    }
}
