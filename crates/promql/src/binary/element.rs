//! Binary operators on single samples, floats or histograms, and on whole columns of floats.
//!
//! Holds which types each operator combines and what it says when it does not. It knows no labels.
//! Invariant: operands are never changed, they may be shared. Reference: Prometheus `promql/engine.go`
//! (`vectorElemBinop`, `handleVectorBinopError`).

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram};

use super::{arithmetic, compare};
use crate::annotations::{Annotation, HistogramOperation};
use crate::column::Column;
use crate::parse::{BinaryOp, Span};

/// A sample.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

impl Operand<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Operand::Float(_) => "float",
            Operand::Histogram(_) => "histogram",
        }
    }

    /// The sample of step `i`, which is present; `hists` stands at or before it.
    pub(super) fn at<'c>(column: &'c Column, i: usize, hist: &mut usize) -> Operand<'c> {
        while column.hists.get(*hist).is_some_and(|h| (h.index as usize) < i) {
            *hist += 1;
        }
        match column.hists.get(*hist).filter(|h| h.index as usize == i) {
            Some(h) => Operand::Histogram(&h.histogram),
            None => Operand::Float(column.values[i]),
        }
    }
}

/// What an operator noticed about two samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Types that the operator does not combine.
    Types(&'static str, &'static str),
    /// Exponential and custom buckets.
    Layout,
    /// Contradicting counter resets.
    Resets(HistogramOperation),
    /// Custom bounds that had to be reconciled: the sample stays.
    Bounds(HistogramOperation),
}

impl Problem {
    /// Whether there is no result.
    pub(super) fn drops(self) -> bool {
        !matches!(self, Problem::Bounds(_))
    }

    /// What the user is told.
    pub(super) fn annotation(self, op: BinaryOp, span: Span) -> Annotation {
        match self {
            Problem::Types(lhs, rhs) => Annotation::incompatible_types(lhs, op.as_str(), rhs, span),
            Problem::Layout => Annotation::incompatible_bucket_layout(op.as_str(), span),
            Problem::Resets(operation) => Annotation::counter_reset_collision(operation, span),
            Problem::Bounds(operation) => Annotation::mismatched_custom_buckets(operation, span),
        }
    }
}

/// The result of an operator on two samples.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub float: f64,
    pub histogram: Option<Arc<FloatHistogram>>,
    /// Whether a comparison holds; true for everything else.
    pub keep: bool,
    pub problem: Option<Problem>,
}

impl Element {
    fn float(float: f64, keep: bool) -> Self {
        Element { float, histogram: None, keep, problem: None }
    }

    fn histogram(h: Arc<FloatHistogram>, keep: bool) -> Self {
        Element { float: 0.0, histogram: Some(h), keep, problem: None }
    }
}

/// `lhs op rhs`; comparisons give the left sample.
pub(super) fn element(op: BinaryOp, lhs: Operand<'_>, rhs: Operand<'_>) -> Element {
    use BinaryOp as B;
    let combined = match (lhs, rhs) {
        (Operand::Float(l), Operand::Float(r)) => match (op, compare(op, l, r)) {
            (B::TrimLower | B::TrimUpper, _) => None,
            (_, Some(holds)) => Some(Element::float(l, holds)),
            (_, None) => Some(Element::float(arithmetic(op)(l, r), true)),
        },
        (Operand::Float(l), Operand::Histogram(r)) if op == B::Mul => Some(changed(r, |h| scaled(h, l))),
        (Operand::Histogram(l), Operand::Float(r)) => match op {
            B::Mul => Some(changed(l, |h| scaled(h, r))),
            B::Div => Some(changed(l, |h| {
                h.divide(r);
                h.compact(0);
            })),
            B::TrimUpper => Some(changed(l, |h| h.trim(r, true))),
            B::TrimLower => Some(changed(l, |h| h.trim(r, false))),
            _ => None,
        },
        (Operand::Histogram(l), Operand::Histogram(r)) => match op {
            B::Add => Some(joined(l, r, HistogramOperation::Addition)),
            B::Sub => Some(joined(l, r, HistogramOperation::Subtraction)),
            B::Eql => Some(Element::histogram(Arc::clone(l), l.data_eq(r))),
            B::Neq => Some(Element::histogram(Arc::clone(l), !l.data_eq(r))),
            _ => None,
        },
        _ => None,
    };
    combined.unwrap_or_else(|| Element {
        problem: Some(Problem::Types(lhs.kind(), rhs.kind())),
        ..Element::float(0.0, false)
    })
}

fn changed(h: &FloatHistogram, change: impl FnOnce(&mut FloatHistogram)) -> Element {
    let mut h = h.clone();
    change(&mut h);
    Element::histogram(Arc::new(h), true)
}

fn scaled(h: &mut FloatHistogram, factor: f64) {
    h.scale(factor);
    h.compact(0);
}

fn joined(l: &FloatHistogram, r: &FloatHistogram, operation: HistogramOperation) -> Element {
    let mut h = l.clone();
    let subtract = operation == HistogramOperation::Subtraction;
    let outcome = if subtract { h.sub(r) } else { h.add(r) };
    let Ok(outcome) = outcome else {
        return Element { problem: Some(Problem::Layout), ..Element::float(0.0, false) };
    };
    if subtract {
        h.counter_reset_hint = CounterResetHint::Gauge;
    }
    h.compact(0);
    let problem = if outcome.reset_collision {
        Some(Problem::Resets(operation))
    } else {
        outcome.bounds_reconciled.then_some(Problem::Bounds(operation))
    };
    Element { problem, ..Element::histogram(Arc::new(h), true) }
}

/// `lhs op rhs` over all steps of two columns of floats, for arithmetic operators. Absent steps hold
/// anything.
pub(super) fn float_columns(op: BinaryOp, lhs: &[f64], rhs: &[f64], out: &mut Vec<f64>) {
    out.clear();
    let pairs = lhs.iter().zip(rhs);
    match op {
        BinaryOp::Add => out.extend(pairs.map(|(l, r)| l + r)),
        BinaryOp::Sub => out.extend(pairs.map(|(l, r)| l - r)),
        BinaryOp::Mul => out.extend(pairs.map(|(l, r)| l * r)),
        BinaryOp::Div => out.extend(pairs.map(|(l, r)| l / r)),
        other => {
            let f = arithmetic(other);
            out.extend(pairs.map(|(l, r)| f(*l, *r)));
        }
    }
}
