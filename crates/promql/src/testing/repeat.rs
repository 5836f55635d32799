//! The hidden repetitions of an instant query.
//!
//! Holds the rewriting of an expression to fixed times (`@`) and the choice of the times at which
//! its text is evaluated again. It knows no answer. Invariant: a repetition has the answer of the
//! original, so that expectations carry over.

use std::sync::{Arc, LazyLock};

use model::Millis;
use regex::Regex;

use super::script::options;
use crate::parse::{At, Expr, ParseError};

/// Functions whose value depends on the time of evaluation, whatever their arguments.
const TIME_DEPENDENT: [&str; 15] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

/// The texts and times at which an instant query of `expr` at `at` is evaluated, itself first.
///
/// # Errors
/// When the expression does not parse.
pub(super) fn instants(expr: &str, at: Millis) -> Result<Vec<(String, Millis)>, ParseError> {
    let mut out = vec![(expr.to_owned(), at)];
    if let Some(text) = pinned(expr, at)? {
        let times = if at == 0 { vec![-1000, 0, 1000] } else { vec![-10 * at, 0, at / 5, at, 10 * at] };
        out.extend(times.into_iter().map(|t| (text.clone(), t)));
    }
    Ok(out)
}

/// Whether the text asks for the query's own times, which are others in a range query.
pub(super) fn asks_for_query_times(expr: &str) -> bool {
    #[allow(clippy::unwrap_used, reason = "the pattern is a constant")]
    static CALLS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(start|end|range|step)\(\)").unwrap());
    CALLS.is_match(expr)
}

/// The expression with every selector and outermost subquery fixed at `at`, unless it has a time of
/// its own; `None` where its value would still depend on the time of evaluation.
fn pinned(expr: &str, at: Millis) -> Result<Option<String>, ParseError> {
    let mut ast = options().parse(expr)?;
    let pin = |own: &mut Option<At>| {
        if !matches!(own, Some(At::Timestamp(_))) {
            *own = Some(At::Timestamp(at));
        }
    };
    let mut todo = vec![ast.root()];
    while let Some(id) = todo.pop() {
        if let Expr::Call { func, .. } = ast.expr(id)
            && TIME_DEPENDENT.contains(&func.name)
        {
            return Ok(None);
        }
        match ast.expr_mut(id) {
            Expr::Vector(selector) => pin(&mut Arc::make_mut(selector).at),
            // The subquery's inside is evaluated at times of its own.
            Expr::Subquery(subquery) => pin(&mut subquery.at),
            _ => ast.for_each_child(id, |child| todo.push(child)),
        }
    }
    Ok(Some(ast.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_and_outermost_subqueries_are_pinned() {
        let rows = [
            ("sum(a @ start() + b @ 7)", Some("sum(a @ 60.000 + b @ 7.000)")),
            ("rate(a[5m])", Some("rate(a[5m] @ 60.000)")),
            ("rate(a[5m:1m] offset 1m)", Some("rate(a[5m:1m] @ 60.000 offset 1m)")),
            ("max_over_time(timestamp(a)[5m:1m] @ 5)", Some("max_over_time(timestamp(a)[5m:1m] @ 5.000)")),
            ("timestamp(a)", None),
            ("a * time()", None),
            ("1", Some("1")),
        ];
        for (expr, want) in rows {
            assert_eq!(pinned(expr, 60_000).unwrap().as_deref(), want, "{expr}");
        }
    }

    #[test]
    fn the_original_comes_first_and_then_the_other_times() {
        let got = instants("a", 5000).unwrap();
        assert_eq!(got[0], ("a".to_owned(), 5000));
        assert_eq!(got.iter().skip(1).map(|i| i.1).collect::<Vec<_>>(), [-50_000, 0, 1000, 5000, 50_000]);
        assert_eq!(
            instants("a", 0).unwrap().iter().skip(1).map(|i| i.1).collect::<Vec<_>>(),
            [-1000, 0, 1000]
        );
        assert_eq!(instants("time()", 0).unwrap().len(), 1);
        assert!(asks_for_query_times("a @ end()") && !asks_for_query_times("end(1)"));
    }
}
