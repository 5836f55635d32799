//! The 53 range queries of promql-engine's `BenchmarkRangeQuery`, in process, on its data shape.
//!
//! `http_requests_total{pod,container}`, `http_responses_total{pod}` and
//! `http_response_seconds_bucket{pod,le}`: linear counters, a sample each 30 s for six hours, 1,000 pods
//! with 3 containers. Queries are over two hours at 30 s. The samples lie in XOR chunks and are decoded
//! within the measured time, as the other engines do. Each point of a result is touched, but no matrix
//! is kept. What is measured is CPU time of the process, so that other work on the machine does not count.
//!
//! `BENCH_PODS` changes the number of pods, `BENCH_THREADS` that of threads, `BENCH_MAX_SAMPLES` sets a
//! limit that has to be counted for. `BENCH_TABLE=1` (`cargo xtask bench --engine`) prints one line a query
//! instead: name, milliseconds of CPU, kilobytes allocated. `BENCH_INSTRUCTIONS=1` (`--instructions`) adds
//! millions of instructions, which valgrind counts: they do not depend on what else the machine does.

#![allow(clippy::print_stdout, reason = "a table for people")]

#[path = "shared/mod.rs"]
mod shared;

use std::alloc::System;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use model::labels::METRIC_NAME;
use model::{Labels, Matcher, Millis, Samples};
use promql::{Engine, EngineOptions, QueryOptions, Queryable, Selection, SeriesSet, StorageError};
use shared::callgrind::{self, Counter};
use shared::{Touch, cpu_time, number};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tsdb_block::chunkenc::{self, Encoding, xor};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const QUERIES: &[(&str, &str)] = &[
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
    ("at modifier", "http_requests_total @ 600.000"),
    ("at modifier with positive offset vector", "http_requests_total @ 600.000 offset 5m"),
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

/// Most samples of a chunk.
const CHUNK: usize = 120;
const SCRAPE: Millis = 30_000;
const SAMPLES: usize = 6 * 120 + 1;

/// A series: its labels, and its chunks with the times they cover.
type Stored = (Labels, Vec<(Millis, Millis, Vec<u8>)>);

/// Series in chunks by metric name, sorted by labels.
#[derive(Clone)]
struct Chunks(Arc<BTreeMap<String, Vec<Arc<Stored>>>>);

impl Chunks {
    fn new(pods: usize) -> Self {
        let mut all: BTreeMap<String, Vec<Arc<Stored>>> = BTreeMap::new();
        let mut add = |labels: &[(&str, &str)], first, step| {
            let series = counter(labels, first, step);
            all.entry(series.0.metric_name().to_owned()).or_default().push(series);
        };
        for pod in 0..pods {
            let name = format!("p{pod}");
            for container in 0..3 {
                let c = format!("c{container}");
                add(
                    &[(METRIC_NAME, "http_requests_total"), ("pod", &name), ("container", &c)],
                    pod,
                    container,
                );
            }
            add(&[(METRIC_NAME, "http_responses_total"), ("pod", &name)], pod, 0);
            for bound in 0..=10 {
                let le = if bound == 10 { "+Inf".to_owned() } else { bound.to_string() };
                let labels = [(METRIC_NAME, "http_response_seconds_bucket"), ("pod", &name), ("le", &le)];
                add(&labels, pod, if bound == 10 { pod } else { bound });
            }
        }
        all.values_mut().for_each(|series| series.sort_by(|a, b| a.0.cmp(&b.0)));
        Chunks(Arc::new(all))
    }
}

fn counter(labels: &[(&str, &str)], first: usize, step: usize) -> Arc<Stored> {
    let samples: Vec<(Millis, f64)> =
        (0..SAMPLES).map(|i| (i as Millis * SCRAPE, (first + step * i) as f64)).collect();
    let chunk = |run: &[(Millis, f64)]| {
        let mut encoder = xor::Encoder::new();
        run.iter().for_each(|(t, v)| encoder.push(*t, *v).expect("a chunk has room"));
        (run[0].0, run[run.len() - 1].0, encoder.finish())
    };
    Arc::new((Labels::from_pairs(labels.iter().copied()), samples.chunks(CHUNK).map(chunk).collect()))
}

impl Queryable for Chunks {
    fn select(&self, selection: &Selection) -> Box<dyn SeriesSet> {
        let name = selection.matchers.iter().find(|m| m.name == METRIC_NAME).map_or("", |m| &m.value);
        let matches = |m: &Matcher, labels: &Labels| m.matches(labels.value(&m.name));
        let named = self.0.get(name).into_iter().flatten();
        let hits = named.filter(|s| selection.matchers.iter().all(|m| matches(m, &s.0)));
        let left = hits.cloned().collect::<Vec<_>>().into_iter();
        Box::new(Selected { left, mint: selection.mint, maxt: selection.maxt })
    }
}

struct Selected {
    left: std::vec::IntoIter<Arc<Stored>>,
    mint: Millis,
    maxt: Millis,
}

impl SeriesSet for Selected {
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StorageError> {
        samples.clear();
        let Some(series) = self.left.next() else { return Ok(None) };
        for (from, to, data) in &series.1 {
            if *from <= self.maxt && *to >= self.mint {
                let decoded = chunkenc::decode_range(Encoding::Xor, data, self.mint, self.maxt, samples);
                decoded.map_err(|e| StorageError::Failed(e.to_string()))?;
            }
        }
        Ok(Some(series.0.clone()))
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// CPU time of this process as Criterion takes it.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu_time()
    }

    fn end(&self, begun: Duration) -> Duration {
        cpu_time().saturating_sub(begun)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn pods() -> usize {
    number("BENCH_PODS", 1000)
}

/// Hands every query to `measure`.
fn each(mut measure: impl FnMut(&str, &dyn Fn())) {
    let store = Chunks::new(pods());
    let engine = Engine::new(EngineOptions {
        max_samples: number("BENCH_MAX_SAMPLES", 0),
        parser: promql::parse::Options::all(),
        threads: number("BENCH_THREADS", 1),
        ..EngineOptions::default()
    });
    for (name, text) in QUERIES {
        let step = if *name == "rate with longer window" { 10 * SCRAPE } else { SCRAPE };
        let query = engine.range(text, 0, 2 * 3_600_000, step, QueryOptions::default()).expect(name);
        measure(name, &|| {
            black_box(query.run(&store, &mut Touch).expect(name));
        });
    }
}

/// One line a query: the least CPU time of five runs, the bytes of one, and its instructions if they are
/// wanted.
fn table() -> io::Result<()> {
    let counted = match std::env::var_os("BENCH_INSTRUCTIONS") {
        Some(_) => String::from_utf8_lossy(&callgrind::again(Stdio::piped())?.stdout).into_owned(),
        None => String::new(),
    };
    let mut counts = counted.lines().filter_map(|n| n.parse::<f64>().ok());
    let more = if counted.is_empty() { "" } else { "\tM instructions" };
    println!("query, {} pods\tms CPU\tKB allocated{more}", pods());
    each(|name, run| {
        let region = Region::new(ALLOCATOR);
        run();
        let bytes = region.change().bytes_allocated;
        let time = |_| {
            let begun = cpu_time();
            run();
            cpu_time().saturating_sub(begun)
        };
        let least = (0..5).map(time).min().unwrap_or_default();
        print!("{name}\t{:.3}\t{:.1}", least.as_secs_f64() * 1e3, bytes as f64 / 1e3);
        match counts.next() {
            Some(count) => println!("\t{:.3}", count / 1e6),
            None => println!(),
        }
    });
    Ok(())
}

fn main() -> io::Result<()> {
    if let Some(mut counter) = Counter::of_process() {
        each(|_, run| {
            run();
            println!("{}", counter.count(run));
        });
        return Ok(());
    }
    if std::env::var_os("BENCH_TABLE").is_some() {
        return table();
    }
    let mut criterion = Criterion::default().with_measurement(CpuTime).configure_from_args();
    let mut group = criterion.benchmark_group("range");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    each(|name, run| {
        group.bench_function(name, |b| b.iter(run));
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}
