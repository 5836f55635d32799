//! Pipelines under construction, and the steps of a program.
//!
//! Holds [`Flow`] (a source, the operators behind it, and what is known about the rows they give) and
//! [`Step`] (something to be done before a later step can start). It knows no node of the tree.
//! Invariant: what a flow claims of its rows ([`Flow::unique`], [`Flow::sorted`]) holds for every input
//! that keeps the contract of `storage` and has no `__type__` or `__unit__` labels (these are looked out
//! for when it runs: see `exec::result`). Read `exec::driver` for how flows run.

use crate::binary::{BuildSpec, OrState, scalar_op};
use crate::column::Steps;
use crate::exec::distinct::Distinct;
use crate::exec::kinds::{Kinds, Meeting};
use crate::exec::lift::Lift;
use crate::exec::op::{Map, Mapped, Op, Scalar, SlotId};
use crate::functions::info::Info;
use crate::functions::{Param, math};
use crate::parse::{BinaryOp, NodeId};
use crate::storage::Selection;
use std::sync::Arc;

/// Where a flow's rows come from.
pub(crate) enum Source {
    /// A selection.
    Select(Box<Select>),
    /// The rows of an earlier step.
    Slot(SlotId),
    /// One series without labels.
    Scalar(Scalar),
    /// One flow after the other.
    Chain(Vec<Flow>),
    /// No rows at all.
    Nothing,
}

/// A selection whose series become rows.
pub(crate) struct Select {
    /// Its index in the program.
    pub selection: usize,
    /// How samples become a row.
    pub lift: Lift,
    /// Whether of histograms only count and sum matter.
    pub counts_only: bool,
    /// The node that does so: the selector, or the call around it.
    pub node: NodeId,
}

/// An operator of a node.
pub(crate) struct Staged {
    /// The operator.
    pub op: Box<dyn Op>,
    /// The node it is part of.
    pub node: NodeId,
}

/// A source and the operators behind it.
pub(crate) struct Flow {
    /// Where rows come from.
    pub source: Source,
    /// What is done with each, in order.
    pub ops: Vec<Staged>,
    /// The node that is being compiled.
    pub node: NodeId,
    /// The steps of the rows that the source gives.
    pub source_steps: Steps,
    /// The steps of the rows that come out.
    pub steps: Steps,
    /// Whether no two rows have the same labels. Else one series may come in several rows, each with some
    /// of its steps.
    pub unique: bool,
    /// Whether rows come in ascending order of labels.
    pub sorted: bool,
    /// Whether dropping metric names can make no two label sets equal, and does not change their order.
    pub one_name: bool,
    /// Whether names have gone and what was left was checked to be distinct.
    pub nameless: bool,
    /// Whether a float and a histogram of one label set may meet at a step: see [`Flow::settle`].
    pub kinds_meet: bool,
    /// Operators that hold one side of a binary operator.
    pub held: usize,
    /// What a chain of `or` has seen, as long as nothing stands behind it.
    pub or: Option<OrState>,
    /// Chains within chains.
    pub nested: usize,
}

impl Flow {
    /// A flow of one source.
    pub(crate) fn new(source: Source, steps: Steps) -> Self {
        let ops = Vec::new();
        Flow {
            source,
            ops,
            node: NodeId(0),
            source_steps: steps,
            steps,
            unique: false,
            sorted: false,
            one_name: false,
            nameless: false,
            kinds_meet: false,
            held: 0,
            or: None,
            nested: 0,
        }
    }

    /// A flow without rows.
    pub(crate) fn nothing(steps: Steps) -> Self {
        Flow::single(Source::Nothing, steps)
    }

    /// A flow of at most one row, without labels.
    pub(crate) fn single(source: Source, steps: Steps) -> Self {
        Flow { unique: true, sorted: true, one_name: true, ..Flow::new(source, steps) }
    }

    /// Appends an operator.
    pub(crate) fn then(&mut self, op: impl Op + 'static) {
        self.or = None;
        self.ops.push(Staged { op: Box::new(op), node: self.node });
    }

    /// Takes note that an operator dropped the metric name (or will have it dropped, where removal is
    /// `delayed`), and appends the check that this needs.
    pub(crate) fn dropped_names(&mut self, check: Check, delayed: bool) {
        let exact = !(self.unique && self.one_name);
        if exact {
            (self.unique, self.sorted) = (false, false);
        }
        match check {
            Check::None => {}
            Check::Strict => {
                self.then(Distinct::strict());
                (self.unique, self.one_name) = (true, true);
            }
            Check::PerStep | Check::ByKind if self.nameless => {}
            Check::ByKind if exact => self.kinds_meet = true,
            Check::ByKind => self.then(Distinct::per_step(false)),
            Check::PerStep => self.then(Distinct::per_step(exact)),
        }
        self.one_name |= !delayed;
        self.nameless = !delayed;
    }

    /// Has floats and histograms that meet treated as `meeting` says, if any may.
    pub(crate) fn settle(&mut self, meeting: Meeting, what: impl FnOnce() -> Arc<str>) {
        if self.kinds_meet {
            let single = self.steps.count == 1;
            self.then(Kinds::new(meeting, single, what()));
            self.kinds_meet = meeting == Meeting::Both;
        }
    }

    /// Appends a stateless operator.
    pub(crate) fn then_map(&mut self, map: impl Map + 'static) {
        self.then(Mapped(map));
    }
}

/// How equal labels are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Not at all.
    None,
    /// They must not meet at a step.
    PerStep,
    /// They must not meet at a step, unless one is a float and one a histogram.
    ByKind,
    /// There must be none.
    Strict,
}

/// Something to be done once, in order, before the result.
pub(crate) enum Step {
    /// Reads a flow into one side of a binary operator.
    Build(Flow, BuildSpec, SlotId),
    /// Reads a flow and keeps its rows.
    Rows(Flow, SlotId),
    /// Reads a flow into a scalar, as `scalar()` does.
    Single(Flow, SlotId),
    /// Computes a scalar.
    Scalar(ScalarStep, Steps, SlotId),
    /// Adds the labels of info series to the rows of a flow.
    Info(Flow, Box<InfoStep>, SlotId),
}

/// A call of `info()`.
pub(crate) struct InfoStep {
    /// The call.
    pub call: Info,
    /// What to select but for the matchers, which the rows decide.
    pub selection: Selection,
    /// How info series are looked at: at the times of their own samples.
    pub lift: Lift,
    /// What refusals of memory name.
    pub what: Arc<str>,
}

/// How a scalar is computed.
pub(crate) enum ScalarStep {
    /// The evaluation time.
    Time,
    /// A binary operation.
    Binary(BinaryOp, Scalar, Scalar),
    /// Changes the sign.
    Negate(Scalar),
    /// The smaller of two.
    MinOf(Scalar, Scalar),
    /// The larger of two.
    MaxOf(Scalar, Scalar),
}

impl ScalarStep {
    /// The value, where it is the same at every step and known now.
    pub(crate) fn known(&self, steps: Steps) -> Option<f64> {
        use Scalar::Const;
        Some(match *self {
            ScalarStep::Time if steps.count == 1 => steps.start as f64 / 1000.0,
            ScalarStep::Binary(op, Const(l), Const(r)) => scalar_op(op, l, r),
            ScalarStep::Negate(Const(v)) => -v,
            ScalarStep::MinOf(Const(a), Const(b)) => math::min(a, b),
            ScalarStep::MaxOf(Const(a), Const(b)) => math::max(a, b),
            _ => return None,
        })
    }

    /// The value at each step.
    pub(crate) fn compute(&self, steps: Steps, value: impl Fn(Scalar) -> Arc<Param>) -> Param {
        match *self {
            ScalarStep::Time => each(steps, |i| steps.at(i) as f64 / 1000.0),
            ScalarStep::Binary(op, l, r) => both(steps, &value(l), &value(r), |l, r| scalar_op(op, l, r)),
            ScalarStep::Negate(of) => both(steps, &value(of), &Param::Const(0.0), |v, _| -v),
            ScalarStep::MinOf(a, b) => both(steps, &value(a), &value(b), math::min),
            ScalarStep::MaxOf(a, b) => both(steps, &value(a), &value(b), math::max),
        }
    }
}

fn both(steps: Steps, a: &Param, b: &Param, f: impl Fn(f64, f64) -> f64) -> Param {
    match (a, b) {
        (Param::Const(a), Param::Const(b)) => Param::Const(f(*a, *b)),
        (a, b) => each(steps, |i| f(a.at(i), b.at(i))),
    }
}

fn each(steps: Steps, f: impl Fn(usize) -> f64) -> Param {
    match steps.count {
        1 => Param::Const(f(0)),
        n => Param::PerStep((0..n).map(f).collect()),
    }
}
