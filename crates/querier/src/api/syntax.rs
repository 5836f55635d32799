//! Queries as text: parsed and formatted, not evaluated.
//!
//! Holds `/parse_query` and `/format_query`, which Prometheus has and Thanos has not. It reads no series.
//! Invariant: what is formatted parses to the same tree.

use std::sync::Arc;

use component::api::{Tail, stream_success};
use component::http::Response;
use promql::parse::Ast;

use super::{Api, Asked, Failure, success};

/// The longest formatted text: indentation lets a deep chain grow with the square of its length.
const LONGEST: usize = 16 << 20;

fn parsed(api: &Api, asked: &Asked) -> Result<Ast, Failure> {
    let text = asked.params.get("query");
    let ast = api.config.syntax.parse(text);
    ast.map_err(|e| Failure::bad_data(format!("invalid parameter \"query\": {e}")))
}

pub(super) async fn parse_query(api: Arc<Api>, asked: Asked) -> Result<Response, Failure> {
    let json = parsed(&api, &asked)?.to_json();
    let whole = futures::stream::once(async move { Ok(json.into()) });
    Ok(stream_success(whole, Tail::default))
}

pub(super) async fn format_query(api: Arc<Api>, asked: Asked) -> Result<Response, Failure> {
    let pretty = parsed(&api, &asked)?.pretty(LONGEST).map_err(|e| Failure::execution(e.to_string()))?;
    Ok(success(&pretty, &[]))
}
