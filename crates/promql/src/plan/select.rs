//! What a selector asks of the store: time range, matchers, hints.
//!
//! Holds Prometheus' `populateSeries` and `getTimeRangesForSelector`. It knows no operator. Invariant:
//! every sample that evaluation may look at lies within the selection's time range. No selection asks for
//! fewer series than match: which of them have a sample at a step is not known before they are read, and so
//! neither is which of them `limitk` takes. Read `projection` for labels. Reference: Prometheus
//! `promql/engine.go`.

use model::Millis;

use super::analysis::Analysis;
use super::projection::projection;
use crate::engine::{EngineOptions, Times};
use crate::parse::{DurationArg, Expr, Extended, NodeId, VectorSelector};
use crate::storage::{Hints, Selection};

/// The selector at `id`; panics nowhere: other nodes give an empty one.
pub(crate) fn selector<'q>(a: &Analysis<'q>, id: NodeId) -> Option<&'q VectorSelector> {
    match a.ast.expr(id) {
        Expr::Vector(v) => Some(v),
        _ => None,
    }
}

/// What to select for the selector at `id`. `extra` is how much further back than Prometheus the
/// function above looks (Thanos' `xrate`).
pub(crate) fn selection(
    a: &Analysis<'_>,
    id: NodeId,
    times: Times,
    lookback: Millis,
    extra: Millis,
    options: &EngineOptions,
) -> Selection {
    let Some(v) = selector(a, id) else { return Selection::default() };
    let range = a.parents[id.index()].and_then(|up| match a.ast.expr(up) {
        Expr::Matrix { range, .. } => range.millis(),
        _ => None,
    });
    let (mint, maxt) = time_range(a, id, v, range, lookback);
    let own_step = match times {
        Times::Instant(_) => 0,
        Times::Range { step, .. } => step,
    };
    let (by, grouping) = grouping(a, id);
    let hints = Hints {
        step: subquery_step(a, id, options).unwrap_or(own_step),
        func: function(a, id),
        range: range.unwrap_or(0),
        grouping,
        by,
        projection: projection(a, id),
    };
    Selection { mint: mint.saturating_sub(extra), maxt, matchers: v.matchers.clone(), hints }
}

fn nanos(of: Option<DurationArg>) -> i64 {
    match of {
        Some(DurationArg::Nanos(n)) => n,
        _ => 0,
    }
}

/// First and last millisecond that matter, from the query's own times and everything in between.
fn time_range(
    a: &Analysis<'_>,
    id: NodeId,
    v: &VectorSelector,
    range: Option<Millis>,
    lookback: Millis,
) -> (Millis, Millis) {
    let (mut start, mut end) = (a.contexts[0].start, a.contexts[0].end);
    let (mut offsets, mut ranges, mut subquery_at) = (0i64, 0i64, None);
    let around = |id: NodeId| a.subquery[id.index()];
    let mut path: Vec<NodeId> = std::iter::successors(around(id), |up| around(*up)).collect();
    path.reverse();
    for up in path {
        let Expr::Subquery(s) = a.ast.expr(up) else { continue };
        let (offset, range) = (nanos(s.offset), nanos(Some(s.range)));
        match a.at[up.index()] {
            // Everything further out no longer matters.
            Some(at) => (offsets, ranges, subquery_at) = (offset, range, Some(at)),
            None => {
                offsets = offsets.wrapping_add(offset);
                ranges = ranges.wrapping_add(range);
            }
        }
    }
    if let Some(at) = subquery_at {
        (start, end) = (at, at);
    }
    match a.at[id.index()] {
        Some(at) => (start, end) = (at, at),
        None => {
            let offset = offsets / 1_000_000;
            start = start.saturating_sub(offset).saturating_sub(ranges / 1_000_000);
            end = end.saturating_sub(offset);
        }
    }
    // One millisecond less: windows and lookback are open at their old end.
    let back = match (range, v.extended) {
        (None, _) => lookback,
        (Some(range), Extended::None) => range,
        (Some(range), Extended::Anchored | Extended::Smoothed) => range.saturating_add(lookback),
    };
    start = start.saturating_sub(back - 1);
    if v.extended == Extended::Smoothed {
        end = end.saturating_add(lookback);
    }
    let offset = nanos(v.offset) / 1_000_000;
    (start.saturating_sub(offset), end.saturating_sub(offset))
}

/// Step of the innermost subquery around `id`.
fn subquery_step(a: &Analysis<'_>, id: NodeId, options: &EngineOptions) -> Option<Millis> {
    let Expr::Subquery(nearest) = a.ast.expr(a.subquery[id.index()]?) else { return None };
    match nearest.step.and_then(|s| s.millis()) {
        Some(step) if step != 0 => Some(step),
        _ => Some((options.default_step)(nearest.range.millis().unwrap_or(0))).filter(|s| *s != 0),
    }
}

/// Name of the closest function or aggregation, as long as no binary operator comes first.
fn function(a: &Analysis<'_>, id: NodeId) -> String {
    for up in a.ancestors(id) {
        match a.ast.expr(up) {
            Expr::Aggregate(agg) => return agg.op.as_str().to_owned(),
            Expr::Call { func, .. } => return func.name.to_owned(),
            Expr::Binary(_) => return String::new(),
            _ => {}
        }
    }
    String::new()
}

/// Labels of the aggregation directly above, and whether they stand after `by`.
fn grouping(a: &Analysis<'_>, id: NodeId) -> (bool, Vec<String>) {
    // Parentheses around an aggregation's argument do not count.
    let above = a.ancestors(id).find(|up| !matches!(a.ast.expr(*up), Expr::Paren(_)));
    match above.map(|up| a.ast.expr(up)) {
        Some(Expr::Aggregate(agg)) => (!agg.without, agg.grouping.clone()),
        _ => (false, Vec::new()),
    }
}
