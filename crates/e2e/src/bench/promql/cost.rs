//! What requests cost the process that answers them, and whether two answers are equal.
//!
//! CPU is what the kernel accounts to the process' threads; bytes are the process' own counter. Knows
//! Linux' `/proc` and Prometheus' envelope. Invariant: bodies are read to their end and dropped, so that
//! the client takes little of the machine.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::harness::{Client, Service};

/// The parameters of a request.
pub(super) type Parameters = [(String, String)];

/// What one request cost, on average of several.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Milliseconds of CPU.
    pub(super) cpu: f64,
    /// Megabytes allocated.
    pub(super) allocated: f64,
}

/// Time for what goes on after an answer: garbage collection, closing of streams.
const SETTLE: Duration = Duration::from_millis(40);

/// A body of an answer that is a success.
pub(super) async fn ask(client: &Client, service: &Service, query: &Parameters) -> anyhow::Result<String> {
    let (status, body) = client.send("GET", &service.url("/api/v1/query_range"), query).await?;
    ensure!(status == 200, "{query:?}: {status} {body}");
    Ok(body)
}

/// Milliseconds of CPU a request, of `requests` one after the other.
pub(super) async fn cpu(
    client: &Client,
    service: &Service,
    query: &Parameters,
    requests: usize,
) -> anyhow::Result<f64> {
    let before = threads(service)?;
    for _ in 0..requests {
        ask(client, service, query).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let after = threads(service)?;
    // What a thread that ended in between has used is lost with it: too little to matter, as both
    // runtimes keep the threads that work.
    let used = after.iter().map(|(id, ns)| ns.saturating_sub(before.get(id).copied().unwrap_or(0)));
    Ok(used.sum::<u64>() as f64 / 1e6 / requests as f64)
}

/// Megabytes allocated by a request, of `requests` one after the other.
pub(super) async fn bytes(
    client: &Client,
    service: &Service,
    counter: &str,
    query: &Parameters,
    requests: usize,
) -> anyhow::Result<f64> {
    // The counter is read through an answer, which costs as well.
    let idle = counted(client, service, counter).await?;
    let before = counted(client, service, counter).await?;
    for _ in 0..requests {
        ask(client, service, query).await?;
    }
    let after = counted(client, service, counter).await?;
    Ok((after - before - (before - idle)).max(0.0) / 1e6 / requests as f64)
}

async fn counted(client: &Client, service: &Service, counter: &str) -> anyhow::Result<f64> {
    let text = client.text(&service.url("/metrics")).await?;
    let value = text.lines().find_map(|l| l.strip_prefix(counter)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("no {counter}"))?.parse()?)
}

/// Nanoseconds of CPU by thread.
fn threads(service: &Service) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for thread in std::fs::read_dir(format!("/proc/{}/task", service.process.id()))? {
        let thread = thread?;
        // One that has ended since is not there.
        let Ok(stat) = std::fs::read_to_string(thread.path().join("schedstat")) else { continue };
        let used = stat.split_whitespace().next().context("schedstat")?.parse()?;
        all.insert(thread.file_name().to_string_lossy().into_owned(), used);
    }
    Ok(all)
}

/// Where two answers differ, whatever the order of their series.
///
/// # Errors
/// When one is no matrix.
pub(super) fn difference(a: &str, b: &str) -> anyhow::Result<Option<String>> {
    if matrix(a) == matrix(b) {
        return Ok(None);
    }
    let (a, b) = (series(a)?, series(b)?);
    for labels in a.keys().chain(b.keys()) {
        let sizes = (a.len(), b.len());
        let (Some(a), Some(b)) = (a.get(labels), b.get(labels)) else {
            return Ok(Some(format!("{labels} is on one side only, of {sizes:?} series")));
        };
        let unequal = a.iter().zip(b).find(|((at, av), (bt, bv))| at != bt || !near(*av, *bv));
        if let Some((a, b)) = unequal {
            return Ok(Some(format!("{labels}: {a:?} and {b:?}")));
        }
        if a.len() != b.len() {
            return Ok(Some(format!("{labels}: {} and {} points", a.len(), b.len())));
        }
    }
    Ok(None)
}

/// The series of an answer as they stand there: equal ones need not be read.
fn matrix(body: &str) -> &str {
    let begin = body.find("\"result\":");
    let end = body.rfind("]]}]");
    begin.zip(end).and_then(|(begin, end)| body.get(begin..end)).unwrap_or(body)
}

type Point = (f64, f64);

fn series(body: &str) -> anyhow::Result<BTreeMap<String, Vec<Point>>> {
    let body: Value = serde_json::from_str(body)?;
    let point = |p: &Value| Some((p[0].as_f64()?, p[1].as_str()?.parse().ok()?));
    let mut all = BTreeMap::new();
    for one in body["data"]["result"].as_array().context("result")? {
        let points: Option<Vec<Point>> =
            one["values"].as_array().context("values")?.iter().map(point).collect();
        all.insert(one["metric"].to_string(), points.context("a point")?);
    }
    Ok(all)
}

fn near(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() / a.abs().max(b.abs()) <= 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(series: &[(&str, &str)]) -> String {
        let series: Vec<_> = series
            .iter()
            .map(|(name, value)| format!(r#"{{"metric":{{"a":"{name}"}},"values":[[1,"{value}"]]}}"#))
            .collect();
        format!(r#"{{"data":{{"result":[{}]}}}}"#, series.join(","))
    }

    #[test]
    fn answers_are_equal_whatever_the_order_and_the_last_digits() {
        let one = answer(&[("x", "1"), ("y", "NaN"), ("z", "+Inf")]);
        let other = answer(&[("z", "+Inf"), ("x", "1.0000000001"), ("y", "NaN")]);
        assert_eq!(difference(&one, &other).unwrap(), None);
        assert!(difference(&one, &answer(&[("x", "1.00001")])).unwrap().is_some());
        assert!(difference(&one, &answer(&[("x", "1")])).unwrap().is_some());
        assert!(difference(&answer(&[("x", "1")]), &one).unwrap().is_some());
        assert!(difference(&answer(&[("x", "-Inf")]), &answer(&[("x", "+Inf")])).unwrap().is_some());
    }
}
