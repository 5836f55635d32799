//! Compiling aggregations.
//!
//! Holds which operator each becomes, and what is known of the rows that leave it. It adds nothing up (see
//! `aggregate`).

use super::compile::{Compiler, Part};
use super::flow::Flow;
use crate::aggregate::{Aggregate, CountValues, Grouping, LimitRatio, Place, Rank, Sampler};
use crate::error::QueryError;
use crate::exec::op::{METADATA, Scalar};
use crate::parse::{self, AggregateOp, NodeId};

impl Compiler<'_> {
    pub(super) fn aggregate(&mut self, id: NodeId, aggregate: &parse::Aggregate) -> Result<Part, QueryError> {
        let context = self.context(id);
        let (steps, single) = (context.steps, context.single());
        let expr = self.a.ast.unparen(aggregate.expr);
        let what = self.what(id);
        let op = aggregate.op;
        if op == AggregateOp::CountValues {
            let label = aggregate.param.map(|p| self.bytes(p)).unwrap_or_default();
            let label = match std::str::from_utf8(label) {
                Ok(label) if !label.is_empty() => label.to_owned(),
                _ => {
                    let shown = model::gofmt::quote_bytes(label);
                    return Err(QueryError::Execution(format!("invalid label name {shown}")));
                }
            };
            let mut flow = self.rows(aggregate.expr)?;
            flow.then(CountValues::new(&aggregate.grouping, aggregate.without, &label, steps, what));
            return Ok(Part::Rows(grouped(flow, aggregate)));
        }
        let place = Place {
            steps,
            span: self.a.ast.span(expr),
            whole: self.a.ast.span(id),
            param: aggregate.param.map(|p| self.a.ast.span(self.a.ast.unparen(p))).unwrap_or_default(),
        };
        let param = aggregate.param.map_or(Scalar::Const(0.0), |p| self.scalar(p));
        let mut flow = self.rows(aggregate.expr)?;
        let grouping = Grouping::new(&aggregate.grouping, aggregate.without);
        let sampler = if self.options.slicelabels_hash { Sampler::Separators } else { Sampler::Lengths };
        match op {
            AggregateOp::LimitRatio if !single => {
                flow.then_map(LimitRatio::new(param, place, sampler));
            }
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => {
                flow.then(Rank::new(op, grouping, place, single, param, sampler, what));
                flow.sorted &= !single;
            }
            _ => {
                flow.then(Aggregate::new(op, grouping, place, param, what));
                flow = grouped(flow, aggregate);
            }
        }
        Ok(Part::Rows(flow))
    }
}

/// What is known of an aggregation's rows. `without` leaves the metric's type and unit.
fn grouped(mut flow: Flow, aggregate: &parse::Aggregate) -> Flow {
    let described = aggregate.grouping.iter().any(|g| METADATA.contains(&g.as_str()));
    let named = !aggregate.without && described;
    (flow.unique, flow.sorted, flow.one_name) = (true, false, !named);
    flow.nameless = !aggregate.without && !described;
    flow
}
