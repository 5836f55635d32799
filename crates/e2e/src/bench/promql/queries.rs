//! The 53 range queries of promql-engine's `BenchmarkRangeQuery`, and the series that they read.
//!
//! `http_requests_total{pod,container}`, `http_responses_total{pod}` and
//! `http_response_seconds_bucket{pod,le}`: linear counters, a sample each 30 s for six hours, in three
//! blocks. Knows no service. Invariant: `START+600` in a query stands for ten minutes after the first
//! sample, which upstream's lies at zero.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use model::labels::METRIC_NAME;
use model::{Labels, Millis};

use crate::blocks;

const BLOCK: Millis = 2 * 3_600_000;
const BLOCKS: Millis = 3;
const SCRAPE: Millis = 30_000;

/// Name and text.
pub(super) const QUERIES: &[(&str, &str)] = &[
    ("vector selector", "http_requests_total"),
    ("sum", "sum(http_requests_total)"),
    ("sum by pod", "sum by (pod) (http_requests_total)"),
    ("topk", "topk(2, http_requests_total)"),
    ("bottomk", "bottomk(2, http_requests_total)"),
    ("limitk", "limitk(2, http_requests_total)"),
    ("limit_ratio", "limit_ratio(0.2, http_requests_total)"),
    ("rate", "rate(http_requests_total[1m])"),
    ("rate with longer window", "rate(http_requests_total[10m])"),
    ("subquery", "sum_over_time(rate(http_requests_total[1m])[10m:1m])"),
    ("sum rate", "sum(rate(http_requests_total[1m]))"),
    ("sum by rate", "sum by (pod) (rate(http_requests_total[1m]))"),
    (
        "quantile with variable parameter",
        "quantile by (pod) (scalar(min(http_requests_total)), http_requests_total)",
    ),
    (
        "binary operation with one to one",
        "http_requests_total{container=\"c1\"} / ignoring (container) http_responses_total",
    ),
    (
        "binary operation with many to one",
        "http_requests_total / on (pod) group_left () http_responses_total",
    ),
    ("binary operation with vector and scalar", "http_requests_total * 10"),
    ("unary negation", "-http_requests_total"),
    ("vector and scalar comparison", "http_requests_total > 10"),
    ("positive offset vector", "http_requests_total offset 5m"),
    ("at modifier", "http_requests_total @ START+600"),
    ("at modifier with positive offset vector", "http_requests_total @ START+600 offset 5m"),
    ("clamp", "clamp(http_requests_total, 5, 10)"),
    ("clamp_min", "clamp_min(http_requests_total, 10)"),
    ("complex func query", "clamp(1 - http_requests_total, 10 - 5, 10)"),
    ("func within func query", "clamp(irate(http_requests_total[30s]), 10 - 5, 10)"),
    ("aggr within func query", "clamp(rate(http_requests_total[30s]), 10 - 5, 10)"),
    ("histogram_quantile", "histogram_quantile(0.9, http_response_seconds_bucket)"),
    ("sort", "sort(http_requests_total)"),
    ("sort_desc", "sort_desc(http_requests_total)"),
    ("absent and exists", "absent(http_requests_total)"),
    ("absent and doesnt exist", "absent(nonexistent)"),
    ("double exponential smoothing", "double_exponential_smoothing(http_requests_total[1m], 0.1, 0.1)"),
    ("count_over_time 5m", "count_over_time(http_requests_total[5m])"),
    ("count_over_time 1h", "count_over_time(http_requests_total[1h])"),
    ("count_over_time 6h", "count_over_time(http_requests_total[6h])"),
    ("sum_over_time 5m", "sum_over_time(http_requests_total[5m])"),
    ("sum_over_time 1h", "sum_over_time(http_requests_total[1h])"),
    ("sum_over_time 6h", "sum_over_time(http_requests_total[6h])"),
    ("avg_over_time 5m", "avg_over_time(http_requests_total[5m])"),
    ("avg_over_time 1h", "avg_over_time(http_requests_total[1h])"),
    ("avg_over_time 6h", "avg_over_time(http_requests_total[6h])"),
    ("min_over_time 5m", "min_over_time(http_requests_total[5m])"),
    ("min_over_time 1h", "min_over_time(http_requests_total[1h])"),
    ("min_over_time 6h", "min_over_time(http_requests_total[6h])"),
    ("max_over_time 5m", "max_over_time(http_requests_total[5m])"),
    ("max_over_time 1h", "max_over_time(http_requests_total[1h])"),
    ("max_over_time 6h", "max_over_time(http_requests_total[6h])"),
    ("stddev_over_time 5m", "stddev_over_time(http_requests_total[5m])"),
    ("stddev_over_time 1h", "stddev_over_time(http_requests_total[1h])"),
    ("stddev_over_time 6h", "stddev_over_time(http_requests_total[6h])"),
    ("stdvar_over_time", "stdvar_over_time(http_requests_total[5m])"),
    ("last_over_time", "last_over_time(http_requests_total[5m])"),
    ("present_over_time", "present_over_time(http_requests_total[5m])"),
];

/// What is asked of all sides: the parameters of a range query over the first two hours.
pub(super) fn parameters(name: &str, text: &str, start: Millis) -> Vec<(String, String)> {
    let step = if name == "rate with longer window" { 10 * SCRAPE } else { SCRAPE };
    let seconds = |t: Millis| (t / 1000).to_string();
    let text = text.replace("START+600", &seconds(start + 600_000));
    [("query", text), ("start", seconds(start)), ("end", seconds(start + BLOCK)), ("step", seconds(step))]
        .map(|(k, v)| (k.to_owned(), v))
        .to_vec()
}

/// The time of the first sample: recent enough for a Prometheus to keep it, and over.
pub(super) fn start() -> Millis {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as Millis);
    now - now.rem_euclid(BLOCK) - 12 * BLOCK
}

/// A counter: where it begins and what it grows by.
type Counter = (Labels, usize, usize);

/// Writes the blocks into a folder.
pub(super) fn write(
    dir: &Path,
    external: Option<&[(&str, &str)]>,
    pods: usize,
    start: Millis,
) -> anyhow::Result<()> {
    let mut all = counters(pods);
    all.sort_by(|a, b| a.0.cmp(&b.0));
    for block in 0..BLOCKS {
        let range = start + block * BLOCK..start + (block + 1) * BLOCK;
        let series = all.iter().map(|(labels, first, step)| {
            let samples = range.clone().step_by(SCRAPE as usize);
            let value = move |t: Millis| *first as f64 + *step as f64 * ((t - start) / SCRAPE) as f64;
            (labels.clone(), samples.map(move |t| (t, value(t))))
        });
        blocks::write(dir, external, range.clone(), series)?;
    }
    Ok(())
}

fn counters(pods: usize) -> Vec<Counter> {
    let mut all = Vec::new();
    for pod in 0..pods {
        let name = format!("p{pod}");
        let mut add = |metric: &str, more: Option<(&str, &str)>, step| {
            let labels = [(METRIC_NAME, metric), ("pod", &name)].into_iter().chain(more);
            all.push((Labels::from_pairs(labels), pod, step));
        };
        for container in 0..3 {
            add("http_requests_total", Some(("container", &format!("c{container}"))), container);
        }
        add("http_responses_total", None, 0);
        for bound in 0..10 {
            add("http_response_seconds_bucket", Some(("le", &bound.to_string())), bound);
        }
        add("http_response_seconds_bucket", Some(("le", "+Inf")), pod);
    }
    all
}
