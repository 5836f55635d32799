//! A vector and a scalar.
//!
//! Holds arithmetic, comparison and trimming of a row by a scalar. It knows no other row. Invariant: a
//! comparison keeps the vector's sample, whichever side it stands on. Reference: Prometheus
//! `promql/engine.go` (`VectorscalarBinop`).

use super::element::{Operand, element};
use super::{arithmetic, changes_metric, compare};
use crate::annotations::Annotations;
use crate::column::Column;
use crate::error::QueryError;
use crate::exec::op::{Cx, Local, Map, Row, Scalar};
use crate::functions::Param;
use crate::parse::{BinaryOp, Span};

/// `vector op scalar`, or the other way round.
pub(crate) struct VectorScalar {
    op: BinaryOp,
    operand: Scalar,
    /// Whether the scalar stands on the left.
    swapped: bool,
    return_bool: bool,
    span: Span,
    scalar: Param,
}

impl VectorScalar {
    /// The operator with its scalar.
    pub(crate) fn new(op: BinaryOp, operand: Scalar, swapped: bool, return_bool: bool, span: Span) -> Self {
        VectorScalar { op, operand, swapped, return_bool, span, scalar: Param::Const(f64::NAN) }
    }

    fn floats(&self, column: &mut Column) {
        let swapped = self.swapped;
        if !self.op.is_comparison() {
            let f = arithmetic(self.op);
            let each = |(v, s): (&mut f64, f64)| *v = if swapped { f(s, *v) } else { f(*v, s) };
            match (&self.scalar, self.op) {
                (Param::Const(s), BinaryOp::Add) => column.values.iter_mut().for_each(|v| *v += s),
                (Param::Const(s), BinaryOp::Mul) => column.values.iter_mut().for_each(|v| *v *= s),
                (Param::Const(s), _) => column.values.iter_mut().map(|v| (v, *s)).for_each(each),
                (Param::PerStep(s), _) => column.values.iter_mut().zip(s.iter().copied()).for_each(each),
            }
            return;
        }
        let mut keep = vec![0u64; column.present.len()];
        for (i, v) in column.values.iter_mut().enumerate() {
            let s = self.scalar.at(i);
            let (l, r) = if swapped { (s, *v) } else { (*v, s) };
            let holds = compare(self.op, l, r).unwrap_or(false);
            keep[i / 64] |= u64::from(holds) << (i % 64);
            if self.return_bool {
                *v = f64::from(u8::from(holds));
            }
        }
        if !self.return_bool {
            column.retain(&keep);
        }
    }

    /// Any mix of floats and histograms, step by step.
    fn mixed(&self, column: &mut Column, notes: &mut Annotations) {
        let old = std::mem::take(column);
        column.reset(old.len());
        let mut hist = 0;
        for i in old.steps() {
            let vector = Operand::at(&old, i, &mut hist);
            let scalar = Operand::Float(self.scalar.at(i));
            let (l, r) = if self.swapped { (scalar, vector) } else { (vector, scalar) };
            let mut result = element(self.op, l, r);
            if let Some(problem) = result.problem {
                notes.add(problem.annotation(self.op, self.span));
                continue;
            }
            if let (true, Operand::Float(v)) = (self.op.is_comparison(), vector) {
                result.float = v;
            }
            if self.return_bool {
                result.float = f64::from(u8::from(result.keep));
                result.keep = true;
            }
            match result.histogram {
                _ if !result.keep => {}
                Some(h) => column.push_histogram(i, h),
                None => column.set(i, result.float),
            }
        }
    }
}

impl Map for VectorScalar {
    fn open(&mut self, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        self.scalar = (*cx.slots.scalar(self.operand)).clone();
        Ok(())
    }

    fn map(&self, row: &mut Row, local: &mut Local<'_>) -> Result<bool, QueryError> {
        let trims = matches!(self.op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
        if row.column.hists.is_empty() && !trims {
            self.floats(&mut row.column);
        } else {
            self.mixed(&mut row.column, local.notes);
        }
        if changes_metric(self.op) || self.return_bool {
            row.labels = local.env.unnamed(&row.labels);
            row.drop_name = true;
        }
        Ok(row.column.any())
    }
}
