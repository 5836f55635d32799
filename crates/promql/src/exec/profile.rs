//! What operators took: time, rows and bytes, by node of the tree.
//!
//! Holds the stopwatches of a run that is analysed, and the figures made of them. It knows no operator. A
//! run that is not analysed has no [`Profile`] and looks at no clock. Invariant: what is measured for a
//! node is its own, the times of all threads added up; figures of a tree sum up what is below. Read
//! `ledger` for samples.

use std::time::{Duration, Instant};

use super::ledger::{Counted, Ledger};
use super::meter::Meter;
use super::op::Cx;
use super::reckon::peaks;
use crate::explain::{Explanation, Figures};
use crate::parse::{Expr, NodeId};
use crate::plan::{Analysis, Outline};

/// What the nodes of a tree took.
#[derive(Debug)]
pub(crate) struct Profile(Vec<Spent>);

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    time: Duration,
    rows: u64,
    held: i64,
    peak: i64,
}

/// A measurement that has begun.
pub(crate) struct Began {
    at: Instant,
    held: u64,
}

impl Profile {
    /// Of a tree of so many nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Profile(vec![Spent::default(); nodes])
    }

    /// A row left a node.
    pub(crate) fn row(&mut self, node: NodeId) {
        self.0[node.index()].rows += 1;
    }

    /// Another thread spent time in a node.
    pub(crate) fn spent(&mut self, node: NodeId, time: Duration) {
        self.0[node.index()].time += time;
    }

    fn add(&mut self, node: NodeId, began: &Began, meter: &Meter) {
        let spent = &mut self.0[node.index()];
        spent.time += began.at.elapsed();
        spent.held += meter.held() as i64 - began.held as i64;
        spent.peak = spent.peak.max(spent.held);
    }
}

/// Begins to measure, if this run is analysed.
pub(crate) fn begin(ledger: Option<&Ledger>, meter: &Meter) -> Option<Began> {
    ledger?.profile.as_ref()?;
    Some(Began { at: Instant::now(), held: meter.held() })
}

/// Ends a measurement: it was for `node`.
pub(crate) fn end(ledger: Option<&mut Ledger>, meter: &Meter, node: NodeId, began: Option<Began>) {
    if let (Some(profile), Some(began)) = (ledger.and_then(|l| l.profile.as_mut()), began) {
        profile.add(node, &began, meter);
    }
}

/// Runs `f` as part of `node`.
pub(crate) fn measured<T>(cx: &mut Cx<'_>, node: NodeId, f: impl FnOnce(&mut Cx<'_>) -> T) -> T {
    let began = begin(cx.ledger.as_deref(), &cx.env.meter);
    let result = f(cx);
    end(cx.ledger.as_deref_mut(), &cx.env.meter, node, began);
    result
}

/// The tree of a plan with the figures of its run.
pub(crate) fn analysis(
    outline: Outline,
    a: &Analysis<'_>,
    counted: &Counted,
    profile: &Profile,
) -> Explanation {
    let Outline { mut tree, nodes } = outline;
    let peaks = peaks(a, counted);
    let mut all: Vec<Figures> = Vec::with_capacity(nodes.len());
    for ((id, repeated), operator) in nodes.iter().zip(tree.operators()) {
        let own = profile.0[id.index()];
        let mut figures =
            Figures { peak_samples: peaks[id.index()].0, series: own.rows, ..Figures::default() };
        for child in &operator.children {
            figures.time += all[*child].time;
            figures.samples += all[*child].samples;
        }
        match repeated {
            Some(steps) => {
                figures.samples *= *steps as i64;
                figures.peak_samples = peaks[id.index()].1;
            }
            None => {
                figures.time += own.time;
                figures.peak_bytes = own.peak.max(0) as u64;
                if reads_subquery(a, *id) {
                    // Its windows are counted instead of what the subquery loaded for them.
                    figures.samples = 0;
                }
                let own = counted.of(*id);
                figures.samples += (0..a.context(*id).steps.count).map(|i| own.loaded_at(i)).sum::<i64>();
            }
        }
        all.push(figures);
    }
    tree.fill(all);
    tree
}

fn reads_subquery(a: &Analysis<'_>, id: NodeId) -> bool {
    let Expr::Call { args, .. } = a.ast.expr(id) else { return false };
    args.iter().any(|arg| matches!(a.ast.expr(a.ast.unparen(*arg)), Expr::Subquery(_)))
}
