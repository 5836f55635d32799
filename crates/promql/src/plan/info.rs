//! Compiling `info()`.
//!
//! Holds what is selected for it and at which time: the modifiers of the first selector in its first
//! argument govern the info series too. It knows no label. Reference: Prometheus `promql/info.go`.

use model::Millis;

use super::compile::{Compiler, Part};
use super::flow::{Flow, InfoStep, Source, Step};
use super::select::selector;
use crate::error::QueryError;
use crate::exec::distinct::Distinct;
use crate::exec::lift::Lift;
use crate::functions::info::Info;
use crate::parse::{DurationArg, Expr, NodeId};
use crate::storage::{Hints, Selection};

impl Compiler<'_> {
    pub(super) fn info(&mut self, id: NodeId, args: &[NodeId]) -> Result<Part, QueryError> {
        let call = Info::new(args.get(1).and_then(|a| selector(&self.a, *a)).map(|v| v.matchers.as_slice()));
        let (at, offset) = self.governing(args[0]);
        let context = self.context(id);
        let (start, end, steps) = match at {
            Some(at) => (at, at, context.steps),
            None => (context.start, context.end, context.steps),
        };
        let selection = Selection {
            mint: start.saturating_sub(self.lookback - 1).saturating_sub(offset),
            maxt: end.saturating_sub(offset),
            matchers: Vec::new(),
            hints: Hints { step: context.interval, func: "info".to_owned(), ..Hints::default() },
        };
        let lift = Lift::OwnTime { offset, fixed: at.map(|at| at.saturating_sub(offset)) };
        let what = self.what(id);
        let flow = self.rows(args[0])?;
        let slot = self.slot();
        let mut next = Flow { node: id, one_name: flow.one_name, ..Flow::new(Source::Slot(slot), steps) };
        self.steps.push(Step::Info(flow, Box::new(InfoStep { call, selection, lift, what }), slot));
        next.then(Distinct::per_step(true));
        Ok(Part::Rows(next))
    }

    /// The `@` and the offset of the first selector below `root`, those of subqueries in between included.
    fn governing(&self, root: NodeId) -> (Option<Millis>, Millis) {
        let mut todo = vec![root];
        while let Some(id) = todo.pop() {
            if let Expr::Vector(v) = self.a.ast.expr(id) {
                let mut at = self.a.at[id.index()];
                let mut offset = nanos(v.offset);
                let mut around = self.a.subquery[id.index()].filter(|s| *s <= root);
                while let (None, Some(up)) = (at, around) {
                    if let Expr::Subquery(s) = self.a.ast.expr(up) {
                        offset = offset.wrapping_add(nanos(s.offset));
                    }
                    at = self.a.at[up.index()];
                    around = self.a.subquery[up.index()].filter(|s| *s <= root);
                }
                return (at, offset / 1_000_000);
            }
            let from = todo.len();
            self.a.ast.for_each_child(id, |child| todo.push(child));
            todo[from..].reverse();
        }
        (None, 0)
    }
}

fn nanos(of: Option<DurationArg>) -> i64 {
    match of {
        Some(DurationArg::Nanos(n)) => n,
        _ => 0,
    }
}
