//! Binary operators: scalars, a vector and a scalar, two vectors.
//!
//! Holds what they share: operations on floats and the way two vectors' series are matched. It knows no
//! plan. Invariant: matching is by hash, so its cost is linear in series however skewed the groups are;
//! the "one" side is held, the "many" side streams past it. Read `element` for single samples, then
//! `build` and `probe` for two vectors, `set` for `and`, `or` and `unless`.
//! Reference: Prometheus `promql/engine.go` (`VectorBinop` and neighbours).

mod build;
mod element;
mod probe;
mod scalar;
mod set;

use model::Labels;
use model::labels::METRIC_NAME;

use crate::functions::math;
use crate::parse::{BinaryOp, VectorMatching};

pub(crate) use build::{Build, BuildSpec};
pub(crate) use probe::{Probe, ProbeSpec};
pub(crate) use scalar::VectorScalar;
pub(crate) use set::{Filter, OrState, OrTee, OrUnseen};

/// The labels by which series match.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Signature {
    names: Vec<String>,
    on: bool,
}

impl Signature {
    /// `on (labels)` or `ignoring (labels)`; the latter never looks at the metric name.
    pub(crate) fn new(matching: &VectorMatching) -> Self {
        let mut names = matching.labels.clone();
        if !matching.on {
            names.push(METRIC_NAME.to_owned());
        }
        Signature { names, on: matching.on }
    }

    /// What `labels` match by. Equal signatures are equal label sets.
    pub(crate) fn of(&self, labels: &Labels) -> Labels {
        if self.on { labels.only(&self.names) } else { labels.without(&self.names) }
    }

    /// Whether all labels but the metric name count.
    pub(crate) fn is_plain(&self) -> bool {
        !self.on && self.names.len() == 1
    }
}

/// `lhs op rhs` for scalars; comparisons give 1 or 0, set and trim operators nothing.
pub(crate) fn scalar_op(op: BinaryOp, lhs: f64, rhs: f64) -> f64 {
    match compare(op, lhs, rhs) {
        Some(holds) => f64::from(u8::from(holds)),
        None => arithmetic(op)(lhs, rhs),
    }
}

/// Whether a comparison holds; `None` for other operators.
#[inline]
pub(crate) fn compare(op: BinaryOp, lhs: f64, rhs: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Eql => lhs == rhs,
        BinaryOp::Neq => lhs != rhs,
        BinaryOp::Gtr => lhs > rhs,
        BinaryOp::Lss => lhs < rhs,
        BinaryOp::Gte => lhs >= rhs,
        BinaryOp::Lte => lhs <= rhs,
        _ => return None,
    })
}

/// The function of an arithmetic operator; NaN for all others.
pub(crate) fn arithmetic(op: BinaryOp) -> fn(f64, f64) -> f64 {
    match op {
        BinaryOp::Add => |a, b| a + b,
        BinaryOp::Sub => |a, b| a - b,
        BinaryOp::Mul => |a, b| a * b,
        BinaryOp::Div => |a, b| a / b,
        BinaryOp::Mod => |a, b| a % b,
        BinaryOp::Pow => math::pow,
        BinaryOp::Atan2 => math::atan2,
        _ => |_, _| f64::NAN,
    }
}

/// Whether the result of the operator is no longer the metric it was.
pub(crate) fn changes_metric(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Mod
            | BinaryOp::Pow
            | BinaryOp::Atan2
    )
}
