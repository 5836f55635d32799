//! The reckoning: from what passed each node to Prometheus' peak, total and per-step numbers.
//!
//! Holds Prometheus' order of evaluation as sums over the tree. It knows no row. Invariant: children are
//! reckoned before their parent, in a loop. All peaks are relative to what was held when a node was begun.
//! Reference: Prometheus `promql/engine.go` (`rangeEval`, `rangeEvalAgg`, `eval`).

use super::ledger::Counted;
use super::tally::Counts;
use crate::functions::range::RangeKernel;
use crate::parse::{AggregateOp, Expr, Extended, NodeId, ValueType};
use crate::plan::Analysis;
use crate::stats::SampleStats;

/// Samples loaded and read by the steps of a context.
#[derive(Clone, Debug, Default)]
struct Loaded {
    total: Vec<i64>,
    read: Vec<i64>,
}

/// What evaluating a node costs.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// Samples held afterwards.
    held: i64,
    /// Most samples held meanwhile.
    peak: i64,
}

/// Most samples held while each node and what is below it was evaluated: for itself, and with what
/// repeating it over its parent's steps adds.
pub(crate) fn peaks(a: &Analysis<'_>, counted: &Counted) -> Vec<(i64, i64)> {
    costs(a, counted).iter().map(|(own, repeated)| (own.peak.max(0), repeated.peak.max(0))).collect()
}

/// What evaluating each node costs, and what it costs repeated.
fn costs(a: &Analysis<'_>, counted: &Counted) -> Vec<(Cost, Cost)> {
    let mut costs = vec![(Cost::default(), Cost::default()); a.ast.nodes().len()];
    for i in 0..costs.len() {
        let id = NodeId(i as u32);
        if a.is_reachable(id) && !a.context(id).is_empty() {
            let cost = Reckoner { a, counted, costs: &costs }.node(id);
            costs[i] = (cost, Reckoner { a, counted, costs: &costs }.repeated(id, cost));
        }
    }
    costs
}

/// Puts everything together. `per_step` as the caller wants it.
pub(crate) fn reckon(a: &Analysis<'_>, counted: &Counted, per_step: bool) -> SampleStats {
    let costs = costs(a, counted);
    let peak = costs[a.ast.root().index()].1.peak.max(0) as usize;
    let loaded = loaded(a, counted);
    let stats = |per: &[i64]| -> Vec<(i64, i64)> {
        per.iter().enumerate().map(|(i, n)| (a.contexts[0].steps.at(i), *n)).collect()
    };
    SampleStats {
        total: loaded.total.iter().sum(),
        peak,
        read: loaded.read.iter().sum(),
        total_per_step: per_step.then(|| stats(&loaded.total)),
        read_per_step: per_step.then(|| stats(&loaded.read)),
    }
}

struct Reckoner<'r, 'q> {
    a: &'r Analysis<'q>,
    counted: &'r Counted,
    costs: &'r [(Cost, Cost)],
}

impl Reckoner<'_, '_> {
    fn steps(&self, id: NodeId) -> usize {
        self.a.context(id).steps.count
    }

    /// What a node gave; parentheses give what is within.
    fn counts(&self, id: NodeId) -> &Counts {
        &self.counted.of(self.a.ast.unparen(id)).out
    }

    /// Samples that a parent sees of a node at step `i`.
    fn seen(&self, mut id: NodeId, i: usize) -> i64 {
        let mut repeated = self.a.hoisted[id.index()];
        while let Expr::Paren(inner) = self.a.ast.expr(id) {
            id = *inner;
            repeated |= self.a.hoisted[id.index()];
        }
        if self.a.ast.node(id).value_type == ValueType::Scalar {
            return 1;
        }
        self.counted.of(id).out.at(if repeated { 0 } else { i })
    }

    /// Samples in the result of a subquery.
    fn samples_in(&self, subquery: NodeId) -> i64 {
        let Expr::Subquery(s) = self.a.ast.expr(subquery) else { return 0 };
        let steps = self.a.outer_context(s.expr).steps.count as i64;
        let total = match self.a.ast.node(s.expr).value_type {
            ValueType::Scalar => return steps,
            _ => self.counts(s.expr).total,
        };
        if self.a.hoisted[s.expr.index()] { total * steps } else { total }
    }

    /// Evaluates nodes one after the other.
    fn sequence(&self, nodes: impl IntoIterator<Item = NodeId>) -> Cost {
        let mut cost = Cost::default();
        for id in nodes {
            let next = self.costs[id.index()].1;
            cost.peak = cost.peak.max(cost.held + next.peak);
            cost.held += next.held;
        }
        cost
    }

    /// A node that is evaluated step by step from the vectors of its children.
    fn step_by_step(&self, id: NodeId, children: &[NodeId], virtual_child: bool) -> Cost {
        let mut cost = self.sequence(children.iter().copied());
        let scalar = self.a.ast.node(id).value_type == ValueType::Scalar;
        let out = self.counts(id);
        let looked_at = virtual_child.then(|| &self.counted.of(id).looked_at);
        let steps = self.steps(id);
        let mut held = cost.held;
        for i in 0..steps {
            let gathered: i64 = children.iter().map(|c| self.seen(*c, i)).sum();
            let gathered = gathered + looked_at.map_or(0, |counts| counts.at(i));
            let result = if scalar { 1 } else { out.weighed_at(i) };
            cost.peak = cost.peak.max(held + gathered + result);
            held += result;
        }
        cost.held = if scalar { steps as i64 } else { out.total };
        cost.peak = cost.peak.max(cost.held);
        cost
    }

    fn node(&self, id: NodeId) -> Cost {
        match self.a.ast.expr(id) {
            Expr::Number { .. } => self.step_by_step(id, &[], false),
            Expr::Vector(v) if v.extended == Extended::Smoothed => {
                let call = self.counted.call(id);
                Cost { held: call.out, peak: call.peak }
            }
            Expr::Vector(_) => {
                let total = self.counts(id).total;
                Cost { held: total, peak: total }
            }
            Expr::Matrix { .. } => {
                let total = self.counted.call(id).peak;
                Cost { held: total, peak: total }
            }
            Expr::Paren(inner) | Expr::Unary { expr: inner, .. } => self.costs[inner.index()].1,
            Expr::Subquery(s) => self.costs[s.expr.index()].1,
            Expr::Binary(b) => self.step_by_step(id, &[b.lhs, b.rhs], false),
            Expr::Aggregate(agg) if agg.op == AggregateOp::CountValues => {
                self.step_by_step(id, &[self.a.ast.unparen(agg.expr)], false)
            }
            Expr::Aggregate(agg) => {
                let param = agg.param.map(|p| self.a.ast.unparen(p));
                let mut cost = self.sequence(param.into_iter().chain([self.a.ast.unparen(agg.expr)]));
                cost.held = self.counts(id).total;
                cost.peak = cost.peak.max(cost.held);
                cost
            }
            Expr::Call { .. } if self.a.folded.contains_key(&id) => self.step_by_step(id, &[], false),
            Expr::Call { func, args } => {
                let args: Vec<NodeId> = args.iter().map(|a| self.a.ast.unparen(*a)).collect();
                self.call(id, func.name, &args)
            }
            Expr::String(_) | Expr::Duration { .. } => Cost::default(),
        }
    }

    fn call(&self, id: NodeId, name: &str, args: &[NodeId]) -> Cost {
        let is_string = |a: &&NodeId| self.a.ast.node(**a).value_type == ValueType::String;
        match name {
            "timestamp" | "start_timestamp" if matches!(self.a.ast.expr(args[0]), Expr::Vector(_)) => {
                self.step_by_step(id, &[], true)
            }
            "label_replace" | "label_join" => self.costs[args[0].index()].1,
            "info" => self.info(id, args[0]),
            _ if RangeKernel::of(name).is_some() => {
                let is_matrix = |a: &&NodeId| self.a.ast.node(**a).value_type == ValueType::Matrix;
                let matrix = args.iter().find(is_matrix).copied();
                let subquery = matrix.filter(|m| matches!(self.a.ast.expr(*m), Expr::Subquery(_)));
                let scalars = args.iter().filter(|a| !is_matrix(a)).copied();
                let mut cost = self.sequence(subquery.into_iter().chain(scalars));
                let call = self.counted.call(id);
                cost.peak = cost.peak.max(cost.held + call.peak);
                cost.held += call.out - subquery.map_or(0, |s| self.samples_in(s));
                cost
            }
            _ => {
                let args: Vec<NodeId> = args.iter().filter(|a| !is_string(a)).copied().collect();
                self.step_by_step(id, &args, false)
            }
        }
    }

    fn info(&self, id: NodeId, base: NodeId) -> Cost {
        let mut cost = self.costs[base.index()].1;
        let infos = &self.counted.of(id).looked_at;
        let out = self.counts(id);
        cost.held += infos.total;
        let mut held = cost.held;
        cost.peak = cost.peak.max(held);
        for i in 0..self.steps(id) {
            let result = out.weighed_at(i);
            cost.peak = cost.peak.max(held + self.seen(base, i) + infos.at(i) + result);
            held += result;
        }
        cost.held += out.total;
        cost.peak = cost.peak.max(cost.held);
        cost
    }

    /// What repeating a hoisted node over the steps of its parent adds.
    fn repeated(&self, id: NodeId, mut cost: Cost) -> Cost {
        let outer = self.a.outer_context(id);
        let ranges = matches!(self.a.ast.expr(id), Expr::Matrix { .. } | Expr::Subquery(_));
        if !self.a.hoisted[id.index()] || ranges || outer.is_empty() {
            return cost;
        }
        let one = match self.a.ast.node(id).value_type {
            ValueType::Scalar => 1,
            _ => self.counts(id).total,
        };
        cost.held += one * (outer.steps.count as i64 - 1);
        cost.peak = cost.peak.max(cost.held);
        cost
    }
}

/// Samples loaded and read, carried up from the contexts in which they were.
fn loaded(a: &Analysis<'_>, counted: &Counted) -> Loaded {
    let mut of: Vec<Loaded> = a
        .contexts
        .iter()
        .map(|c| {
            let n = if c.is_empty() { 0 } else { c.steps.count };
            Loaded { total: vec![0; n], read: vec![0; n] }
        })
        .collect();
    for (id, own) in counted.nodes.iter() {
        let into = &mut of[a.context_of[id.index()]];
        into.total.iter_mut().enumerate().for_each(|(i, n)| *n += own.loaded_at(i));
        into.read.iter_mut().enumerate().for_each(|(i, n)| *n += own.read_at(i));
    }
    for i in (1..of.len()).rev() {
        let Some((outer, subquery)) = a.contexts[i].outer else { continue };
        let inner = std::mem::take(&mut of[i]);
        let (total, read): (i64, i64) = (inner.total.iter().sum(), inner.read.iter().sum());
        let into = &mut of[outer];
        match subquery {
            None => {
                into.total.iter_mut().for_each(|n| *n += total);
                into.read.iter_mut().take(1).for_each(|n| *n += read);
            }
            Some(id) => {
                let bare = a.parents[id.index()]
                    .is_none_or(|_| !a.ancestors(id).any(|up| matches!(a.ast.expr(up), Expr::Call { .. })));
                if let (true, Some(last)) = (bare, into.total.last_mut()) {
                    *last += total;
                }
                let Expr::Subquery(s) = a.ast.expr(id) else { continue };
                let millis = |d: Option<crate::parse::DurationArg>| d.and_then(|d| d.millis()).unwrap_or(0);
                let (offset, range) = if bare { (0, 0) } else { (millis(s.offset), millis(Some(s.range))) };
                read_of_subquery(a, (i, &inner.read), (outer, &mut into.read), offset, range);
            }
        }
    }
    of.swap_remove(0)
}

/// Attributes what was read inside a subquery to the steps around it that use it; what falls between two
/// windows counts for none.
fn read_of_subquery(
    a: &Analysis<'_>,
    (inner, read): (usize, &[i64]),
    (outer, into): (usize, &mut [i64]),
    offset: i64,
    range: i64,
) {
    if into.len() <= 1 {
        into.iter_mut().for_each(|n| *n += read.iter().sum::<i64>());
        return;
    }
    let (inner, outer) = (&a.contexts[inner].steps, &a.contexts[outer].steps);
    for (k, n) in read.iter().enumerate().filter(|(_, n)| **n != 0) {
        let t = inner.at(k) + offset;
        let mut step = 0;
        if t > outer.start {
            step = ((t - outer.start + outer.step - 1) / outer.step) as usize;
        }
        let step = step.min(into.len() - 1);
        if range > 0 && t <= outer.at(step) - range {
            continue;
        }
        into[step] += n;
    }
}
