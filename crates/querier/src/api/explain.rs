//! A query's operators over HTTP: explained before, analysed after it has run.
//!
//! Holds `/query_explain` and `/query_range_explain`, and the trees of both as Thanos writes them. It
//! measures nothing (see `promql::explain`). Invariant: `engine=prometheus` has no operators to show, as
//! in Thanos; a tree of any depth is written without recursion.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use component::api::{Tail, stream_success};
use component::flags::value::show_go_duration;
use component::http::Response;
use promql::Explanation;
use promql::explain::{Operator, Visit};

use super::evaluate::Job;
use super::query::{engine, instant_job, range_job};
use super::{Api, Asked, Failure, json};
use crate::args::EngineName;
use crate::fanout::Entry;

pub(super) async fn instant(api: Arc<Api>, asked: Asked) -> Result<Response, Failure> {
    explain(&api, &asked, instant_job)
}

pub(super) async fn range(api: Arc<Api>, asked: Asked) -> Result<Response, Failure> {
    explain(&api, &asked, range_job)
}

fn explain(
    api: &Api,
    asked: &Asked,
    job: impl FnOnce(&Api, &Asked) -> Result<Job, Failure>,
) -> Result<Response, Failure> {
    if engine(&api.config, &asked.params)? != EngineName::Thanos {
        return Err(Failure::bad_data("engine type must be 'thanos'"));
    }
    let accepted = api.evaluator.accept(job(api, asked)?)?;
    let tree = accepted.query.explain().map_err(|e| Failure::bad_data(e.to_string()))?;
    let tree = tree.ok_or_else(|| Failure::bad_data("Query not explainable"))?;
    let json = write(&tree, |_, _| {});
    Ok(stream_success(futures::stream::once(async move { Ok(json.into()) }), Tail::default))
}

/// The tree of an analysis as JSON. What Thanos has no name for stands under names of its own: `series`
/// (rows that the operator gave) and `peakBytes` (most memory it held).
pub(super) fn analysis(tree: &Explanation, fanout: &[Entry]) -> Vec<u8> {
    write(tree, |out, operator| {
        let figures = &operator.figures;
        text(out, b",\"executionTime\":", &shown(figures.time));
        number(out, "peakSamples", figures.peak_samples.unsigned_abs());
        number(out, "totalSamples", figures.samples.unsigned_abs());
        number(out, "series", figures.series);
        number(out, "peakBytes", figures.peak_bytes);
        let asked = fanout.iter().filter(|e| Some(e.selection) == operator.selection);
        let mut any = false;
        for entry in asked {
            out.extend_from_slice(if any { b"," } else { b",\"fanout\":[" });
            any = true;
            text(out, b"{\"endpointAddr\":", &entry.address);
            text(out, b",\"duration\":", &shown(entry.duration));
            number(out, "bytesProcessed", entry.bytes);
            number(out, "numResponses", entry.responses);
            number(out, "series", entry.series);
            number(out, "chunks", entry.chunks);
            number(out, "samples", entry.samples);
            out.push(b'}');
        }
        if any {
            out.push(b']');
        }
    })
}

fn shown(time: Duration) -> String {
    show_go_duration(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
}

fn text(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name);
    json::string(out, value.as_bytes());
}

/// Zeros are left out, as Thanos leaves them out.
fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    if value != 0 {
        out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
    }
}

/// Writes a tree; `more` may add to an operator's name.
fn write(tree: &Explanation, more: impl Fn(&mut Vec<u8>, &Operator)) -> Vec<u8> {
    let mut out = Vec::new();
    tree.walk(|visit| match visit {
        Visit::Enter { operator, first } => {
            if !first {
                out.push(b',');
            }
            text(&mut out, b"{\"name\":", &operator.name);
            more(&mut out, operator);
            if !operator.children.is_empty() {
                out.extend_from_slice(b",\"children\":[");
            }
        }
        Visit::Leave(operator) if operator.children.is_empty() => out.push(b'}'),
        Visit::Leave(_) => out.extend_from_slice(b"]}"),
    });
    out
}
