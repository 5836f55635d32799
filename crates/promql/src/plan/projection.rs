//! Which labels of a selector's series are of use.
//!
//! Holds the way from a selector up to what forgets all other labels: an aggregation with `by`, `absent`
//! or `scalar`. It knows no store. Invariant: an answer is the same whether series come with all labels or
//! with these and one that tells them apart; only what follows the order of series may not be (the order of
//! an instant vector, the last bits of a sum). Not here: `without`, matching with `on`, and `label_replace`,
//! which see the telling label or name others in their errors.

use super::analysis::Analysis;
use super::select::selector;
use crate::exec::op::METADATA;
use crate::functions::element::ElementKernel;
use crate::functions::range::RangeKernel;
use crate::parse::{AggregateOp, Expr, NodeId};

/// Names of the labels that suffice of the selector at `id`, ascending; `None` for all.
///
/// The labels that describe a metric are always among them, for messages and for `rate` look at them.
pub(super) fn projection(a: &Analysis<'_>, id: NodeId) -> Option<Vec<String>> {
    // Of several metrics, series may become equal once names go; that must not be hidden.
    selector(a, id)?.metric_name()?;
    let of_use = a.ancestors(id).find_map(|up| match a.ast.expr(up) {
        Expr::Paren(_) | Expr::Unary { .. } | Expr::Matrix { .. } | Expr::Subquery(_) => None,
        Expr::Binary(b) if b.matching().is_none() => None,
        Expr::Call { func, .. } => match func.name {
            "absent" | "absent_over_time" | "scalar" => Some(Some(&[][..])),
            "timestamp" | "start_timestamp" => None,
            name if ElementKernel::of(name).is_some() || RangeKernel::of(name).is_some() => None,
            _ => Some(None),
        },
        Expr::Aggregate(aggregate) => Some(match aggregate.op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => None,
            _ if aggregate.without => None,
            _ => Some(aggregate.grouping.as_slice()),
        }),
        _ => Some(None),
    });
    let mut names: Vec<String> = METADATA.iter().map(|name| (*name).to_owned()).collect();
    names.extend_from_slice(of_use??);
    names.sort_unstable();
    names.dedup();
    Some(names)
}

/// The labels that suffice for both of two uses.
pub(super) fn union(a: Option<Vec<String>>, b: Option<Vec<String>>) -> Option<Vec<String>> {
    let (mut all, more) = (a?, b?);
    all.extend(more);
    all.sort_unstable();
    all.dedup();
    Some(all)
}
