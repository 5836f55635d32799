//! Operators that need the whole vector: classic histograms are spread over series.
//!
//! Holds the gathering of rows for `functions::classic`. It knows no bucket. Invariant: rows reach the
//! function in the order they came.

use std::sync::Arc;

use model::Labels;

use crate::column::{Column, Steps};
use crate::error::QueryError;
use crate::exec::op::{Cx, Op, Row, Scalar};
use crate::functions::classic::{HistogramContext, HistogramFunction, eval};
use crate::parse::Span;

/// Which function, its scalar arguments not yet known.
pub(crate) enum HistogramCall {
    /// `histogram_quantile`, and where the quantile stands.
    Quantile(Scalar, Span),
    /// `histogram_quantiles`: the label, the quantiles and where each stands.
    Quantiles(String, Vec<(Scalar, Span)>),
    /// `histogram_fraction`: the bounds.
    Fraction(Scalar, Scalar),
}

/// Calls a function of histograms with all rows.
pub(crate) struct Histograms {
    call: HistogramCall,
    steps: Steps,
    span: Span,
    what: Arc<str>,
    rows: Vec<(Labels, Column)>,
    charged: u64,
}

impl Histograms {
    /// `span` is where the vector stands; `what` names it in refusals of memory.
    pub(crate) fn new(call: HistogramCall, steps: Steps, span: Span, what: Arc<str>) -> Self {
        Histograms { call, steps, span, what, rows: Vec::new(), charged: 0 }
    }
}

impl Op for Histograms {
    fn apply(&mut self, row: &mut Row, _more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        let bytes = row.bytes();
        cx.env.meter.charge(bytes, &self.what)?;
        self.charged += bytes;
        let row = std::mem::take(row);
        self.rows.push((row.labels, row.column));
        Ok(false)
    }

    fn finish(&mut self, more: &mut Vec<Row>, cx: &mut Cx<'_>) -> Result<(), QueryError> {
        let slots = &*cx.slots;
        let rows = std::mem::take(&mut self.rows);
        let mut ctx = HistogramContext {
            steps: self.steps,
            span: self.span,
            interrupt: &cx.env.interrupt,
            keep_names: cx.env.options.delayed_name_removal,
            annotations: cx.notes,
        };
        let results = match &self.call {
            HistogramCall::Quantile(q, span) => {
                eval(&HistogramFunction::Quantile(&slots.scalar(*q), *span), &mut ctx, &rows)
            }
            HistogramCall::Quantiles(label, quantiles) => {
                let known: Vec<_> =
                    quantiles.iter().map(|(q, span)| ((*slots.scalar(*q)).clone(), *span)).collect();
                eval(&HistogramFunction::Quantiles(label, &known), &mut ctx, &rows)
            }
            HistogramCall::Fraction(lower, upper) => {
                let (lower, upper) = (slots.scalar(*lower), slots.scalar(*upper));
                eval(&HistogramFunction::Fraction(&lower, &upper), &mut ctx, &rows)
            }
        }?;
        cx.env.meter.release(self.charged);
        let results = results.into_iter().filter(|(_, column)| column.any());
        more.extend(results.map(|(labels, column)| Row { labels, drop_name: true, column }));
        Ok(())
    }
}
