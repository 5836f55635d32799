//! `topk`, `bottomk`, `limitk` and `limit_ratio`: some of the rows that come in.
//!
//! Holds a heap per group and step, and the labels of rows that stand in one. It knows no sums; which
//! rows a ratio takes is in `ratio`.
//! Invariant: in a query of one step rows leave in Prometheus' order, ties included (its heap and its
//! sort are followed move by move); over several steps in the order they came. Reference: Prometheus
//! `promql/engine.go` (`aggregationK`).

use std::collections::HashMap;
use std::sync::Arc;

use model::{FloatHistogram, Labels};

use super::ratio::{Sampler, check_ratio, within};
use super::{Grouping, ParamRange, Place};
use crate::annotations::Annotation;
use crate::column::Column;
use crate::error::QueryError;
use crate::exec::gosort::{heap_push, heap_replace_first, sort};
use crate::exec::op::{Cx, Op, Row, Scalar};
use crate::functions::Param;
use crate::parse::AggregateOp;

/// A sample in a heap.
#[derive(Clone, Debug)]
struct Entry {
    value: f64,
    histogram: Option<Arc<FloatHistogram>>,
    row: u32,
}

/// Whether `a` comes before `b` by ascending value, NaN first.
fn ascending(a: &Entry, b: &Entry) -> bool {
    a.value.is_nan() || a.value < b.value
}

/// Whether `a` comes before `b` by descending value, NaN first.
fn descending(a: &Entry, b: &Entry) -> bool {
    a.value.is_nan() || a.value > b.value
}

/// The heaps of a group, one a step.
struct Heaps {
    heaps: Vec<Vec<Entry>>,
    /// By step: what a sample has to be better than, NaN while anything is taken.
    bounds: Vec<f64>,
}

impl Heaps {
    fn new(steps: usize) -> Self {
        Heaps { heaps: vec![Vec::new(); steps], bounds: vec![f64::NAN; steps] }
    }

    /// Whether a sample may be better than the bound of its step; a NaN on either side may be.
    #[inline]
    fn may_enter(&self, op: AggregateOp, i: usize, value: f64) -> bool {
        match op {
            AggregateOp::Bottomk => value < self.bounds[i] || value.is_nan() || self.bounds[i].is_nan(),
            _ => value > self.bounds[i] || value.is_nan() || self.bounds[i].is_nan(),
        }
    }
}

/// `topk`, `bottomk`, `limitk`, and `limit_ratio` in a query of one step.
pub(crate) struct Rank {
    op: AggregateOp,
    grouping: Grouping,
    place: Place,
    /// Whether the order of rows is visible.
    single: bool,
    param: Scalar,
    what: Arc<str>,
    k: Arc<Param>,
    /// Nothing will be kept at all.
    empty: bool,
    sampler: Sampler,
    index: HashMap<Labels, usize>,
    groups: Vec<Heaps>,
    rows: Vec<(Labels, bool)>,
    charged: u64,
}

impl Rank {
    /// A ranking aggregation; `sampler` is for `limit_ratio`, `what` names it in refusals of memory.
    pub(crate) fn new(
        op: AggregateOp,
        grouping: Grouping,
        place: Place,
        single: bool,
        param: Scalar,
        sampler: Sampler,
        what: Arc<str>,
    ) -> Self {
        Rank {
            op,
            grouping,
            place,
            single,
            param,
            what,
            k: Arc::new(Param::Const(0.0)),
            empty: false,
            sampler,
            index: HashMap::new(),
            groups: Vec::new(),
            rows: Vec::new(),
            charged: 0,
        }
    }

    /// How many samples are kept at step `i`.
    fn keep_at(&self, i: usize) -> usize {
        match self.op {
            AggregateOp::LimitRatio => usize::MAX,
            _ => usize::try_from(self.k.at(i) as i64).unwrap_or(0),
        }
    }

    fn charge(&mut self, bytes: usize, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        self.charged += bytes as u64;
        cx.env.meter.charge(bytes as u64, &self.what)
    }
}

/// Puts a sample into a heap if it belongs there; returns whether it does.
fn offer(op: AggregateOp, heap: &mut Vec<Entry>, entry: Entry, k: usize) -> bool {
    let before = if op == AggregateOp::Bottomk { descending } else { ascending };
    if heap.len() < k {
        heap_push(heap, entry, before);
        return true;
    }
    let worst = heap[0].value;
    let better = match op {
        AggregateOp::Topk => worst < entry.value || (worst.is_nan() && !entry.value.is_nan()),
        AggregateOp::Bottomk => worst > entry.value || (worst.is_nan() && !entry.value.is_nan()),
        _ => false,
    };
    if better {
        heap_replace_first(heap, entry, before);
    }
    better
}

impl Op for Rank {
    fn open(&mut self, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        self.k = cx.slots.scalar(self.param);
        let range = ParamRange::of(&self.k);
        if self.op == AggregateOp::LimitRatio {
            self.empty = check_ratio(range, &self.place, cx.notes)?;
            return Ok(());
        }
        if range.max < 1.0 {
            self.empty = true;
            return Ok(());
        }
        let fails = |text: String| Err(QueryError::Execution(text));
        let shown = model::gofmt::float_g;
        if range.nan {
            return fails("Parameter value is NaN".to_owned());
        }
        if range.min <= i64::MIN as f64 {
            return fails(format!("Scalar value {} underflows int64", shown(range.min)));
        }
        if range.max >= 9_223_372_036_854_774_784.0 {
            return fails(format!("Scalar value {} overflows int64", shown(range.max)));
        }
        Ok(())
    }

    fn apply(&mut self, row: &mut Row, _more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        if self.empty {
            return Ok(false);
        }
        let key = self.grouping.of(&row.labels);
        let steps = self.place.steps.count;
        let at = match self.index.get(&key) {
            Some(at) => *at,
            None => {
                self.charge(key.byte_len() + 256 + 32 * steps, cx)?;
                self.index.insert(key, self.groups.len());
                self.groups.push(Heaps::new(steps));
                self.groups.len() - 1
            }
        };
        let op = self.op;
        let offset = (op == AggregateOp::LimitRatio).then(|| self.sampler.offset(&row.labels));
        let number = self.rows.len() as u32;
        let (mut kept, mut ignored) = (0, false);
        let plain = row.column.hists.is_empty() && matches!(op, AggregateOp::Topk | AggregateOp::Bottomk);
        let mut hists = row.column.hists.iter().peekable();
        for i in row.column.steps() {
            if plain && !self.groups[at].may_enter(op, i, row.column.values[i]) {
                continue;
            }
            let histogram = hists.next_if(|h| h.index as usize == i).map(|h| Arc::clone(&h.histogram));
            let k = self.keep_at(i);
            if k == 0 {
                continue;
            }
            if let Some(offset) = offset {
                if !within(self.k.at(i), offset) {
                    continue;
                }
            } else if histogram.is_some() && op != AggregateOp::Limitk {
                ignored = true;
                continue;
            }
            // A histogram's value is nothing, as in Prometheus.
            let value = if histogram.is_some() { 0.0 } else { row.column.values[i] };
            let entry = Entry { value, histogram, row: number };
            let group = &mut self.groups[at];
            if offer(op, &mut group.heaps[i], entry, k) {
                kept += 1;
                group.bounds[i] = if group.heaps[i].len() < k { f64::NAN } else { group.heaps[i][0].value };
            }
        }
        if ignored {
            cx.notes.add(Annotation::histogram_ignored_in_aggregation(op.as_str(), self.place.whole));
        }
        if kept > 0 {
            self.charge(2 * kept * size_of::<Entry>() + row.labels.byte_len() + 96, cx)?;
            self.rows.push((std::mem::take(&mut row.labels), row.drop_name));
        }
        Ok(false)
    }

    fn finish(&mut self, more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        let rows = std::mem::take(&mut self.rows);
        let mut place: HashMap<u32, usize> = HashMap::new();
        for group in std::mem::take(&mut self.groups) {
            cx.env.interrupt.check()?;
            for (step, mut heap) in group.heaps.into_iter().enumerate() {
                if self.single {
                    match self.op {
                        AggregateOp::Topk => sort(&mut heap, |a, b| ascending(b, a)),
                        AggregateOp::Bottomk => sort(&mut heap, |a, b| descending(b, a)),
                        _ => {}
                    }
                }
                for entry in heap {
                    let at = *place.entry(entry.row).or_insert_with(|| {
                        let (labels, drop_name) = rows[entry.row as usize].clone();
                        let mut column = Column::default();
                        column.reset(self.place.steps.count);
                        more.push(Row { labels, drop_name, column });
                        more.len() - 1
                    });
                    match entry.histogram {
                        Some(h) => more[at].column.push_histogram(step, h),
                        None => more[at].column.set(step, entry.value),
                    }
                }
            }
        }
        if !self.single {
            // In the order the rows came.
            let mut order: Vec<(u32, usize)> = place.into_iter().collect();
            order.sort_unstable();
            let mut sorted: Vec<Row> = Vec::with_capacity(order.len());
            sorted.extend(order.into_iter().map(|(_, at)| std::mem::take(&mut more[at])));
            *more = sorted;
        }
        cx.env.meter.release(self.charged);
        Ok(())
    }
}
