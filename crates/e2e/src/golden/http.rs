//! One recorded HTTP row asked again.
//!
//! Statuses, error types and texts, labels and timestamps must agree exactly, values too, except where
//! an expression adds up floats of several series: their order is nobody's promise. Knows no wire
//! but JSON. What counts as equal stands in `compare`.

use promql::parse::{AggregateOp, Expr, Options};
use serde_json::Value;

use super::compare::{Numbers, differences};
use super::fleet::Target;
use super::rows::HttpRow;

/// Asks; the differences.
///
/// # Errors
/// When there is no answer at all.
pub(super) async fn ask(target: &Target, want: &HttpRow) -> anyhow::Result<Vec<String>> {
    let url = format!("{}{}", target.querier, want.path);
    let (status, body) = target.client.send(&want.method, &url, &want.params).await?;
    let mut out = Vec::new();
    if status != want.status {
        out.push(format!("status: wanted {}, got {status}", want.status));
    }
    let got = serde_json::from_str(&body).unwrap_or(Value::String(body));
    out.extend(judge(want.param("query").unwrap_or_default(), &want.body, got));
    Ok(out)
}

/// The differences between two bodies of answers to one query.
pub fn judge(query: &str, want: &Value, mut got: Value) -> Vec<String> {
    let (mut want, mut out) = (want.clone(), Vec::new());
    for body in [&mut want, &mut got] {
        // Which records leave out.
        for key in ["analysis", "explanation"] {
            if let Some(Value::Object(data)) = body.get_mut("data") {
                data.remove(key);
            }
        }
        if !is_ordered(query) {
            sort_vector(body);
        }
    }
    let numbers = if sums(query) { Numbers::Within(1e-12) } else { Numbers::Exact };
    differences(&want, &got, numbers, &mut out);
    out
}

/// Whether the expression adds up samples of several series somewhere.
fn sums(query: &str) -> bool {
    let Ok(ast) = Options::all().parse(query) else { return false };
    ast.nodes().iter().any(|node| match &node.expr {
        Expr::Aggregate(a) => {
            matches!(a.op, AggregateOp::Sum | AggregateOp::Avg | AggregateOp::Stddev | AggregateOp::Stdvar)
        }
        _ => false,
    })
}

/// Whether the order of an instant vector is part of the expression's meaning.
fn is_ordered(query: &str) -> bool {
    query.starts_with("sort") || query.starts_with("topk") || query.starts_with("bottomk")
}

/// Puts an instant vector in the order of its labels.
fn sort_vector(body: &mut Value) {
    if body["data"]["resultType"] == "vector"
        && let Some(samples) = body["data"]["result"].as_array_mut()
    {
        samples.sort_by_key(|s| s["metric"].to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sums_over_series_are_compared_loosely() {
        for loose in ["sum(up)", "avg by (a) (rate(x[5m]))", "1 + stddev(x)", "max(sum without (a) (x))"] {
            assert!(sums(loose), "{loose}");
        }
        for exact in ["up", "max(up)", "sum_over_time(x[5m])", "sum(", "topk(2, x)", "count(x)"] {
            assert!(!sums(exact), "{exact}");
        }
    }
}
