//! Aggregations: many rows in, one row a group out, a row at a time.
//!
//! Holds the grouping of rows and the choice of accumulator. It knows no selector and never holds a row
//! longer than it takes to add it up (`quantile` and the ranking aggregations keep what they must).
//! Invariant: a group's values are added in series order, so that sums have Prometheus' bits whatever the
//! number of threads. Groups leave in the order of their first row. Read `sum` for the arithmetic.
//! Reference: Prometheus `promql/engine.go` (`rangeEvalAgg`, `aggregation`).

mod histogram;
mod rank;
mod ratio;
mod simple;
mod sum;
mod values;

use std::collections::HashMap;
use std::sync::Arc;

use model::Labels;
use model::labels::METRIC_NAME;

use crate::annotations::{Annotation, Annotations};
use crate::column::{Column, Steps};
use crate::error::QueryError;
use crate::exec::op::{Cx, Op, Row, Scalar};
use crate::functions::{Param, math};
use crate::parse::{AggregateOp, Span};

pub(crate) use rank::Rank;
pub(crate) use ratio::{LimitRatio, Sampler};
pub(crate) use values::CountValues;

/// How rows fall into groups.
#[derive(Clone, Debug)]
pub(crate) struct Grouping {
    labels: Vec<String>,
    without: bool,
}

impl Grouping {
    /// `by (labels)` or `without (labels)`.
    pub(crate) fn new(labels: &[String], without: bool) -> Self {
        let mut labels = labels.to_vec();
        if without {
            labels.push(METRIC_NAME.to_owned());
        }
        Grouping { labels, without }
    }

    /// The labels of the group that `labels` falls into: they are also its key.
    pub(crate) fn of(&self, labels: &Labels) -> Labels {
        match self.without {
            true => labels.without(&self.labels),
            false if self.labels.is_empty() => Labels::empty(),
            false => labels.only(&self.labels),
        }
    }
}

/// What accumulators are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The steps.
    pub steps: Steps,
    /// Where the aggregated expression stands.
    pub span: Span,
    /// Where the whole aggregation stands.
    pub whole: Span,
    /// Where the parameter stands.
    pub param: Span,
}

/// Adds up the rows of one group.
trait Accumulator: Send {
    /// Adds a row. The column may be taken.
    fn add(&mut self, row: &mut Row, place: &Place, notes: &mut Annotations);

    /// The group's column. `q` is the parameter.
    fn result(&mut self, place: &Place, q: &Param, cx: &mut Cx<'_>) -> Result<Column, QueryError>;
}

struct Group {
    labels: Labels,
    accumulator: Box<dyn Accumulator>,
    /// The last step at which a row was added whose name is to be dropped.
    last_drop: Option<usize>,
}

/// `sum`, `avg`, `count`, `min`, `max`, `group`, `stddev`, `stdvar` or `quantile`.
pub(crate) struct Aggregate {
    op: AggregateOp,
    grouping: Grouping,
    place: Place,
    param: Scalar,
    what: Arc<str>,
    q: Arc<Param>,
    index: HashMap<Labels, usize>,
    groups: Vec<Group>,
    charged: u64,
}

impl Aggregate {
    /// An aggregation; `what` names it in refusals of memory.
    pub(crate) fn new(
        op: AggregateOp,
        grouping: Grouping,
        place: Place,
        param: Scalar,
        what: Arc<str>,
    ) -> Self {
        Aggregate {
            op,
            grouping,
            place,
            param,
            what,
            q: Arc::new(Param::Const(0.0)),
            index: HashMap::new(),
            groups: Vec::new(),
            charged: 0,
        }
    }

    fn accumulator(&self) -> Box<dyn Accumulator> {
        match self.op {
            AggregateOp::Sum => Box::new(sum::Sum::new(false)),
            AggregateOp::Avg => Box::new(sum::Sum::new(true)),
            AggregateOp::Min => Box::new(simple::Extreme::new("min", |have, new| have > new)),
            AggregateOp::Max => Box::new(simple::Extreme::new("max", |have, new| have < new)),
            AggregateOp::Stddev => Box::new(simple::Variance::new("stddev")),
            AggregateOp::Stdvar => Box::new(simple::Variance::new("stdvar")),
            AggregateOp::Quantile => Box::new(simple::Quantile::default()),
            AggregateOp::Count => Box::new(simple::Count::new(true)),
            _ => Box::new(simple::Count::new(false)),
        }
    }

    /// Bytes that a new group takes; quantiles take more with every row.
    fn group_bytes(&self, labels: &Labels) -> u64 {
        let per_step = match self.op {
            AggregateOp::Avg | AggregateOp::Stddev | AggregateOp::Stdvar => 24,
            AggregateOp::Sum => 16,
            _ => 8,
        };
        (2 * labels.byte_len() + 400 + self.place.steps.count * per_step) as u64
    }
}

impl Op for Aggregate {
    fn open(&mut self, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        self.q = cx.slots.scalar(self.param);
        if self.op == AggregateOp::Quantile {
            let range = ParamRange::of(&self.q);
            let mut note = |q| cx.notes.add(Annotation::invalid_quantile(q, self.place.param));
            if range.nan {
                note(f64::NAN);
            }
            if range.max > 1.0 {
                note(range.max);
            }
            if range.min < 0.0 {
                note(range.min);
            }
        }
        Ok(())
    }

    fn apply(&mut self, row: &mut Row, _more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        let labels = self.grouping.of(&row.labels);
        let mut bytes = if self.op == AggregateOp::Quantile { row.bytes() } else { 0 };
        let at = match self.index.get(&labels) {
            Some(at) => *at,
            None => {
                bytes += self.group_bytes(&labels);
                let accumulator = self.accumulator();
                self.index.insert(labels.clone(), self.groups.len());
                self.groups.push(Group { labels, accumulator, last_drop: None });
                self.groups.len() - 1
            }
        };
        if bytes > 0 {
            cx.env.meter.charge(bytes, &self.what)?;
            self.charged += bytes;
        }
        let group = &mut self.groups[at];
        if row.drop_name {
            group.last_drop = group.last_drop.max(row.column.last());
        }
        group.accumulator.add(row, &self.place, cx.notes);
        Ok(false)
    }

    fn finish(&mut self, more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        self.index = HashMap::new();
        for mut group in std::mem::take(&mut self.groups) {
            cx.env.interrupt.check()?;
            let column = group.accumulator.result(&self.place, &self.q, cx)?;
            if let Some(last) = column.last() {
                let drop_name = group.last_drop == Some(last);
                more.push(Row { labels: group.labels, drop_name, column });
            }
        }
        cx.env.meter.release(self.charged);
        Ok(())
    }
}

/// Extremes of a parameter over the steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParamRange {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Whether any is NaN.
    pub nan: bool,
}

impl ParamRange {
    /// Of a parameter, with Prometheus' bounds for those that vary.
    pub(crate) fn of(param: &Param) -> Self {
        match param {
            Param::Const(v) => ParamRange { min: *v, max: *v, nan: v.is_nan() },
            Param::PerStep(values) => {
                let mut range = ParamRange { min: f64::MAX, max: f64::MIN, nan: false };
                for v in values {
                    range.max = math::max(range.max, *v);
                    range.min = math::min(range.min, *v);
                    range.nan |= v.is_nan();
                }
                range
            }
        }
    }
}
