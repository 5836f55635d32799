//! Which nodes do not depend on the step, over which steps each node is evaluated, and how far selectors
//! look back for an `@`.
//!
//! Holds what Prometheus does to the tree before and while it evaluates (`PreprocessExpr`,
//! `setOffsetForAtModifier`, `subqueryTimeRange`), as tables beside an unchanged tree. It knows no
//! operator. Invariant: a node's context is that in which it is evaluated itself; where it is hoisted
//! ([`Analysis::hoisted`]), its parent sees the result repeated over the parent's steps.

use std::collections::HashMap;

use model::Millis;

use crate::column::Steps;
use crate::engine::{EngineOptions, Times};
use crate::parse::{Ast, At, BinaryOp, Expr, NodeId};

/// Functions whose result depends on the evaluation time even where their arguments do not.
const TIME_DEPENDENT: [&str; 15] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
];

/// A series of evaluation times, and what `@` is reckoned against there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Context {
    /// First evaluation time.
    pub start: Millis,
    /// No evaluation time is later. May lie before `start`: then there is none.
    pub end: Millis,
    /// Distance between evaluation times.
    pub interval: Millis,
    /// The evaluation times; one of them, meaningless, where there is none.
    pub steps: Steps,
    /// The context around, and the subquery between (none for hoisted parts and the query itself).
    pub outer: Option<(ContextId, Option<NodeId>)>,
    base: Base,
}

impl Context {
    fn new(start: Millis, end: Millis, interval: Millis, base: Base) -> Self {
        let count = if end < start { 1 } else { (end.saturating_sub(start) / interval.max(1)) as usize + 1 };
        let steps = Steps { start, step: interval.max(1), count };
        Context { start, end, interval, steps, outer: None, base }
    }

    /// Whether there is no evaluation time at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.end < self.start
    }

    /// Whether this could be an instant query: order then matters, and duplicates are an error at once.
    pub(crate) fn single(&self) -> bool {
        self.start == self.end
    }
}

/// Index into [`Analysis::contexts`].
pub(crate) type ContextId = usize;

/// What offsets for `@` are computed from: an evaluation time and the subqueries since.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Base {
    eval_time: Millis,
    /// Sum of offsets in nanoseconds.
    offset: i64,
    at: Option<Millis>,
}

impl Base {
    /// The offset in milliseconds by which a node with this `@` and offset (nanoseconds) looks back.
    fn offset(&self, at: Option<Millis>, original: i64) -> Millis {
        let Some(at) = at else { return original / 1_000_000 };
        let ms = |n: i64| i128::from(n) * 1_000_000;
        let mut subqueries = i128::from(self.offset);
        if let Some(at) = self.at {
            subqueries += ms(self.eval_time) - ms(at);
        }
        let nanos = i128::from(original) + ms(self.eval_time) - ms(at) - subqueries;
        bounded(Millis::try_from(nanos / 1_000_000).unwrap_or(if nanos < 0 {
            Millis::MIN
        } else {
            Millis::MAX
        }))
    }
}

/// Tables beside the tree, indexed by node.
#[derive(Debug)]
pub(crate) struct Analysis<'q> {
    /// The tree.
    pub ast: &'q Ast,
    /// Calls that are constants of the query: `start()`, `end()`, `range()`, `step()`.
    pub folded: HashMap<NodeId, f64>,
    /// The node above, for nodes that are evaluated.
    pub parents: Vec<Option<NodeId>>,
    /// The innermost subquery around each node.
    pub subquery: Vec<Option<NodeId>>,
    /// Nodes evaluated once and repeated.
    pub hoisted: Vec<bool>,
    /// `@` of selectors and subqueries.
    pub at: Vec<Option<Millis>>,
    /// How far selectors and subqueries look back, `@` included.
    pub offsets: Vec<Millis>,
    /// All contexts; the first is the query's own.
    pub contexts: Vec<Context>,
    /// Where each node is evaluated.
    pub context_of: Vec<ContextId>,
    /// Nodes below which of histograms only count and sum matter.
    pub counts_only: Vec<bool>,
    reachable: Vec<bool>,
    in_param: Vec<bool>,
    once: HashMap<ContextId, ContextId>,
}

impl<'q> Analysis<'q> {
    /// Analyses a tree whose durations are resolved.
    pub(crate) fn new(ast: &'q Ast, times: Times, options: &EngineOptions) -> Self {
        let n = ast.nodes().len();
        let (start, end, interval, step) = match times {
            Times::Instant(at) => (bounded(at), bounded(at), 1, 0),
            Times::Range { start, end, step } => (bounded(start), bounded(end), step, step),
        };
        let base = Base { eval_time: start, offset: 0, at: None };
        let mut a = Analysis {
            ast,
            folded: HashMap::new(),
            parents: vec![None; n],
            subquery: vec![None; n],
            hoisted: vec![false; n],
            at: vec![None; n],
            offsets: vec![0; n],
            contexts: vec![Context::new(start, end, interval, base)],
            context_of: vec![0; n],
            counts_only: vec![false; n],
            reachable: vec![false; n],
            in_param: vec![false; n],
            once: HashMap::new(),
        };
        a.reach();
        a.fold(start, end, step);
        a.hoist(start, end);
        a.place(options);
        a
    }

    /// Whether the node is part of what is evaluated (durations are not).
    pub(crate) fn is_reachable(&self, id: NodeId) -> bool {
        self.reachable[id.index()]
    }

    /// The context in which the node is evaluated.
    pub(crate) fn context(&self, id: NodeId) -> &Context {
        &self.contexts[self.context_of[id.index()]]
    }

    /// The context in which the node's parent sees it.
    pub(crate) fn outer_context(&self, id: NodeId) -> &Context {
        let own = self.context_of[id.index()];
        match (self.hoisted[id.index()], self.contexts[own].outer) {
            (true, Some((outer, _))) => &self.contexts[outer],
            _ => &self.contexts[own],
        }
    }

    /// The nodes above `id`, nearest first.
    pub(crate) fn ancestors(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(self.parents[id.index()], |up| self.parents[up.index()])
    }

    fn reach(&mut self) {
        // Whether something above needs buckets.
        let mut needed = vec![false; self.ast.nodes().len()];
        self.reachable[self.ast.root().index()] = true;
        for i in (0..self.ast.nodes().len()).rev() {
            if !self.reachable[i] {
                continue;
            }
            let id = NodeId(i as u32);
            let param = match self.ast.expr(id) {
                Expr::Aggregate(a) => a.param,
                _ => None,
            };
            let ast = self.ast;
            let subquery = match ast.expr(id) {
                Expr::Subquery(_) => Some(id),
                _ => self.subquery[i],
            };
            let (counts, buckets) = bucket_use(ast.expr(id));
            needed[i] |= buckets;
            self.counts_only[i] = (self.counts_only[i] || counts) && !needed[i];
            ast.for_each_child(id, |child| {
                needed[child.index()] = needed[i];
                self.counts_only[child.index()] = self.counts_only[i];
                self.subquery[child.index()] = subquery;
                self.reachable[child.index()] = true;
                self.parents[child.index()] = Some(id);
                self.in_param[child.index()] = self.in_param[i] || param == Some(child);
            });
        }
    }

    fn fold(&mut self, start: Millis, end: Millis, step: Millis) {
        for (i, node) in self.ast.nodes().iter().enumerate() {
            let Expr::Call { func, .. } = &node.expr else { continue };
            let value = match func.name {
                "start" => start as f64 / 1000.0,
                "end" => end as f64 / 1000.0,
                "range" => seconds(end.saturating_sub(start)),
                "step" if start != end => seconds(step),
                "step" => 0.0,
                _ => continue,
            };
            self.folded.insert(NodeId(i as u32), value);
        }
    }

    /// Resolves `@ start()` and `@ end()` and finds the largest parts that do not depend on the step.
    ///
    /// As in Prometheus the parameters of aggregations are left alone: nothing in them is hoisted, and
    /// `@ start()` has no effect there.
    fn hoist(&mut self, start: Millis, end: Millis) {
        let n = self.ast.nodes().len();
        // Whether a node is invariant, and whether it is worth hoisting.
        let mut invariant = vec![(false, false); n];
        for i in 0..n {
            if !self.reachable[i] {
                continue;
            }
            let id = NodeId(i as u32);
            let resolve = |at: Option<At>, in_param: bool| match at {
                Some(At::Timestamp(t)) => Some(bounded(t)),
                Some(At::Start) if !in_param => Some(start),
                Some(At::End) if !in_param => Some(end),
                _ => None,
            };
            match self.ast.expr(id) {
                Expr::Vector(v) => self.at[i] = resolve(v.at, self.in_param[i]),
                Expr::Subquery(s) => self.at[i] = resolve(s.at, self.in_param[i]),
                _ => {}
            }
            if self.in_param[i] {
                continue;
            }
            invariant[i] = self.invariant(id, &invariant);
        }
        let root = self.ast.root().index();
        self.hoisted[root] = invariant[root].1;
    }

    fn invariant(&mut self, id: NodeId, known: &[(bool, bool)]) -> (bool, bool) {
        let of = |id: NodeId| known[id.index()];
        match self.ast.expr(id) {
            Expr::Number { .. } | Expr::String(_) => (true, false),
            Expr::Vector(_) => (self.at[id.index()].is_some(), self.at[id.index()].is_some()),
            Expr::Matrix { selector, .. } => (of(*selector).0, false),
            Expr::Aggregate(a) => of(self.ast.unparen(a.expr)),
            Expr::Paren(inner) | Expr::Unary { expr: inner, .. } => of(*inner),
            Expr::Subquery(s) => {
                self.hoisted[s.expr.index()] = of(s.expr).0;
                (self.at[id.index()].is_some(), false)
            }
            Expr::Binary(b) => {
                if of(b.lhs).0 && of(b.rhs).0 {
                    return (true, true);
                }
                for side in [b.lhs, b.rhs] {
                    self.hoisted[side.index()] = of(side).1;
                }
                (false, false)
            }
            Expr::Call { .. } if self.folded.contains_key(&id) => (true, false),
            Expr::Call { func, args } => {
                let args: Vec<NodeId> = args.iter().map(|a| self.ast.unparen(*a)).collect();
                let all = args.iter().all(|a| of(*a).0);
                let timestamp = func.name == "timestamp"
                    && args.iter().all(|a| matches!(self.ast.expr(*a), Expr::Vector(_)));
                if all && (timestamp || !TIME_DEPENDENT.contains(&func.name)) {
                    return (true, true);
                }
                for arg in args {
                    self.hoisted[arg.index()] = of(arg).1;
                }
                (false, false)
            }
            Expr::Duration { .. } => (false, false),
        }
    }

    /// Gives every node its context, from the root down, and selectors their offsets.
    fn place(&mut self, options: &EngineOptions) {
        for i in (0..self.ast.nodes().len()).rev() {
            if !self.reachable[i] {
                continue;
            }
            let id = NodeId(i as u32);
            if self.hoisted[i] {
                self.context_of[i] = self.once(self.context_of[i]);
            }
            let context = self.context_of[i];
            let base = self.contexts[context].base;
            let mut inner = context;
            match self.ast.expr(id) {
                Expr::Vector(v) => self.offsets[i] = base.offset(self.at[i], nanos(v.offset)),
                Expr::Subquery(s) => {
                    self.offsets[i] = base.offset(self.at[i], nanos(s.offset));
                    let step = match s.step.and_then(|s| s.millis()) {
                        Some(step) if step != 0 => step,
                        _ => (options.default_step)(s.range.millis().unwrap_or(0)),
                    };
                    inner = self.inside(context, id, step.max(1));
                }
                _ => {}
            }
            let ast = self.ast;
            ast.for_each_child(id, |child| self.context_of[child.index()] = inner);
        }
    }

    /// The context of what is evaluated once on behalf of `context`.
    fn once(&mut self, context: ContextId) -> ContextId {
        if let Some(known) = self.once.get(&context) {
            return *known;
        }
        let c = &self.contexts[context];
        let end = if c.is_empty() { c.end } else { c.start };
        let mut new = Context::new(c.start, end, c.interval, c.base);
        new.outer = Some((context, None));
        self.contexts.push(new);
        self.once.insert(context, self.contexts.len() - 1);
        self.contexts.len() - 1
    }

    /// The context inside subquery `id`, itself evaluated in `context`: on the absolute grid of its step.
    fn inside(&mut self, context: ContextId, id: NodeId, step: Millis) -> ContextId {
        let c = &self.contexts[context];
        let Expr::Subquery(s) = self.ast.expr(id) else { return context };
        let range = s.range.millis().unwrap_or(0);
        let offset = self.offsets[id.index()];
        let last = if c.is_empty() { c.end } else { c.steps.last() };
        let end = last.saturating_sub(offset);
        let before = c.start.saturating_sub(offset).saturating_sub(range);
        let mut start = step * (before / step);
        if start <= before {
            start = start.saturating_add(step);
        }
        let mut base = c.base;
        if start != c.start {
            base = Base { eval_time: start, offset: 0, at: None };
        } else {
            base.offset = base.offset.wrapping_add(nanos(s.offset));
            if self.at[id.index()].is_some() {
                (base.offset, base.at) = (nanos(s.offset), self.at[id.index()]);
            }
        }
        let mut new = Context::new(start, if c.is_empty() { start - 1 } else { end }, step, base);
        new.outer = Some((context, Some(id)));
        self.contexts.push(new);
        self.contexts.len() - 1
    }
}

/// Whether a node needs only counts and sums of the histograms below it, and whether it needs buckets
/// (subqueries do, for they must see counter resets).
fn bucket_use(expr: &Expr) -> (bool, bool) {
    match expr {
        Expr::Subquery(_) => (false, true),
        Expr::Binary(b) => (false, matches!(b.op, BinaryOp::TrimUpper | BinaryOp::TrimLower)),
        Expr::Call { func, .. } => (
            matches!(func.name, "histogram_count" | "histogram_sum" | "histogram_avg"),
            matches!(func.name, "histogram_quantile" | "histogram_quantiles" | "histogram_fraction"),
        ),
        _ => (false, false),
    }
}

/// A resolved duration in nanoseconds.
fn nanos(of: Option<crate::parse::DurationArg>) -> i64 {
    match of {
        Some(crate::parse::DurationArg::Nanos(n)) => n,
        _ => 0,
    }
}

/// A time so far from the ends of time that adding ranges and offsets to it is safe. There is no data out
/// there either way.
fn bounded(t: Millis) -> Millis {
    t.clamp(Millis::MIN / 4, Millis::MAX / 4)
}

/// Milliseconds as Go's `Duration.Seconds` computes them.
fn seconds(ms: Millis) -> f64 {
    let (whole, rest) = (ms / 1000, ms % 1000);
    whole as f64 + (rest * 1_000_000) as f64 / 1e9
}
