//! One request to both sides.
//!
//! Holds the question, the verdict and the search for the smallest part of an expression that differs
//! by itself. It counts nothing. Invariant: a panic of the engine is a difference.

use std::panic::AssertUnwindSafe;

use promql::parse::{Options, ValueType};
use promql::{Engine, testing::Memory};
use serde_json::Value;

use super::answer::{Answer, Request};
use super::blocks::BLOCK;
use super::compare;
use super::data::START;
use super::prometheus::Prometheus;

/// How often an answer that differs is asked for again.
const AGAIN: usize = 20;

/// A warning that depends on where blocks end: Prometheus' reader of several blocks forgets what it knows
/// of counter resets at the first histogram after it was moved (`storage/merge.go`).
const BLOCK_DEPENDENT: &str = "conflicting counter resets";

/// Whether counts or sums of histograms may be read across the end of a block.
fn spans_blocks(request: &Request) -> bool {
    let (end, _) = request.range.unwrap_or((request.start, 0));
    let far = 70 * 60_000;
    let near = (request.start - far..=end + far).contains(&(START + BLOCK));
    request.expr.contains("histogram_") && (near || request.expr.contains('@'))
}

/// Both sides.
#[derive(Debug)]
pub struct Duel {
    /// The reference.
    pub prometheus: Prometheus,
    /// Ours.
    pub engine: Engine,
    /// What it reads: the same blocks.
    pub store: Memory,
}

/// What came of a request.
#[derive(Debug)]
pub struct Verdict {
    /// What was asked.
    pub request: Request,
    /// The reference's answer as it came.
    pub body: Value,
    /// The same, read.
    pub wanted: Answer,
    /// The first difference, in words.
    pub difference: Option<String>,
    /// Whether the reference itself gives one answer now and another then.
    pub unstable: bool,
}

impl Duel {
    /// Asks both.
    ///
    /// # Errors
    /// When the reference does not answer.
    pub async fn ask(&self, request: Request) -> anyhow::Result<Verdict> {
        let got = std::panic::catch_unwind(AssertUnwindSafe(|| {
            Answer::of_engine(&self.engine, &self.store, &request)
        }));
        let body = self.prometheus.ask(&request).await?;
        let wanted = Answer::of_json(&body)?;
        let differ = |wanted: &Answer| match &got {
            Ok(got) => compare::difference(&request.expr, wanted, got),
            Err(_) => Some("panic".to_owned()),
        };
        let mut difference = differ(&wanted);
        let mut unstable = false;
        if difference.is_some() {
            // Some of Prometheus' answers follow the order of a Go map, in which order alone may differ,
            // or what is picked, summed up or warned of first.
            let mut content = false;
            for _ in 0..AGAIN {
                let other = Answer::of_json(&self.prometheus.ask(&request).await?)?;
                unstable |= compare::difference(&request.expr, &wanted, &other).is_some();
                content |= compare::difference(&request.expr, &wanted.sorted(), &other.sorted()).is_some();
                if differ(&other).is_none() {
                    difference = None;
                }
            }
            if unstable && let Ok(got) = &got {
                difference = compare::difference(&request.expr, &wanted.sorted(), &got.sorted());
            }
            if content {
                difference = None;
            }
            if difference.is_some()
                && spans_blocks(&request)
                && let Ok(got) = &got
            {
                difference = compare::difference(
                    &request.expr,
                    &wanted.without(BLOCK_DEPENDENT),
                    &got.without(BLOCK_DEPENDENT),
                );
            }
        }
        Ok(Verdict { request, body, wanted, difference, unstable })
    }

    /// The shortest part of the expression that differs when it is asked alone, or the whole.
    ///
    /// # Errors
    /// When the reference does not answer.
    pub async fn shrink(&self, verdict: Verdict) -> anyhow::Result<Verdict> {
        let whole = &verdict.request;
        let Ok(ast) = Options::all().parse(&whole.expr) else { return Ok(verdict) };
        let mut parts: Vec<String> = Vec::new();
        for (id, node) in ast.nodes().iter().enumerate() {
            let fits = match node.value_type {
                ValueType::Vector | ValueType::Scalar => true,
                ValueType::Matrix => whole.range.is_none(),
                _ => false,
            };
            if fits {
                parts.push(ast.show(promql::parse::NodeId(id as u32)).to_string());
            }
        }
        parts.sort_by_key(String::len);
        parts.dedup();
        for expr in parts.into_iter().filter(|p| p.len() < whole.expr.len()) {
            let smaller = self.ask(Request { expr, ..whole.clone() }).await?;
            if smaller.difference.is_some() {
                return Ok(smaller);
            }
        }
        Ok(verdict)
    }
}
