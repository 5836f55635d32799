//! Functions of range vectors and of single samples over one long series, through the engine.
//!
//! Three series of 20,000 samples, 15 s apart: `walk` (fractions, no sum of them is exact), `count`
//! (whole numbers with a reset now and then) and `hist` (native histograms, 2,000 samples). A
//! benchmark is one range query of 10,000 steps (1,000 over histograms) at 30 s; its throughput is in
//! steps. What an engine adds to a kernel is the same for each: see `last_over_time`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::labels::METRIC_NAME;
use model::{FloatHistogram, Labels, Millis, Samples, Span};
use promql::{
    Engine, EngineOptions, Points, QueryError, QueryOptions, Queryable, Selection, SeriesSet, Sink,
    StorageError, Value,
};

const INTERVAL: Millis = 15_000;

/// Functions, each with its windows.
const FLOATS: &[(&str, &[&str])] = &[
    ("last_over_time({}[{}])", &["5m"]),
    ("rate({}[{}])", &["5m", "1h"]),
    ("irate({}[{}])", &["5m"]),
    ("delta({}[{}])", &["1h"]),
    ("changes({}[{}])", &["1h"]),
    ("resets({}[{}])", &["1h"]),
    ("count_over_time({}[{}])", &["1h"]),
    ("sum_over_time({}[{}])", &["5m", "1h"]),
    ("avg_over_time({}[{}])", &["5m", "1h"]),
    ("min_over_time({}[{}])", &["5m", "1h"]),
    ("max_over_time({}[{}])", &["5m", "1h"]),
    ("ts_of_max_over_time({}[{}])", &["1h"]),
    ("stddev_over_time({}[{}])", &["5m", "1h"]),
    ("quantile_over_time(0.9, {}[{}])", &["5m", "1h"]),
    ("mad_over_time({}[{}])", &["1h"]),
    ("deriv({}[{}])", &["5m", "1h"]),
    ("predict_linear({}[{}], 3600)", &["1h"]),
    ("double_exponential_smoothing({}[{}], 0.5, 0.1)", &["1h"]),
    ("abs({})", &[""]),
    ("round({}, 5)", &[""]),
    ("clamp({}, -10, 10)", &[""]),
    ("exp({})", &[""]),
    ("ln({})", &[""]),
    ("sin({})", &[""]),
    ("hour({})", &[""]),
];

/// The same over native histograms.
const HISTOGRAMS: &[&str] = &[
    "last_over_time(hist[5m])",
    "rate(hist[5m])",
    "irate(hist[5m])",
    "sum_over_time(hist[5m])",
    "avg_over_time(hist[5m])",
    "resets(hist[1h])",
    "histogram_quantile(0.9, hist)",
    "histogram_quantile(0.1, hist)",
    "histogram_fraction(0, 2, hist)",
    "histogram_stddev(hist)",
    "histogram_count(rate(hist[5m]))",
];

struct Store {
    series: Vec<(Labels, Samples)>,
}

struct Answer(Vec<(Labels, Samples)>);

impl Queryable for Store {
    fn select(&self, selection: &Selection) -> Box<dyn SeriesSet> {
        let wanted = |labels: &Labels| selection.matchers.iter().all(|m| m.matches(labels.value(&m.name)));
        Box::new(Answer(self.series.iter().rev().filter(|(labels, _)| wanted(labels)).cloned().collect()))
    }
}

impl SeriesSet for Answer {
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StorageError> {
        let Some((labels, found)) = self.0.pop() else {
            samples.clear();
            return Ok(None);
        };
        *samples = found;
        Ok(Some(labels))
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

fn store() -> Store {
    let (mut walk, mut count, mut hist) = (Samples::default(), Samples::default(), Samples::default());
    let (mut state, mut value, mut counter) = (1u64, 100.0, 0.0);
    for i in 0..20_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let noise = (state >> 40) as f64 / f64::from(1 << 24);
        value += noise - 0.5;
        counter = if noise < 0.01 { 0.0 } else { counter + (noise * 100.0).floor() };
        walk.push(i * INTERVAL, value);
        count.push(i * INTERVAL, counter);
    }
    for i in 0..2_000 {
        let n = (i + 1) as f64;
        let h = FloatHistogram {
            schema: 3,
            zero_threshold: 1e-3,
            zero_count: n,
            count: 41.0 * n,
            sum: 55.5 * n,
            positive_spans: vec![Span { offset: -10, length: 15 }, Span { offset: 2, length: 5 }],
            positive_buckets: (0..20).map(|b| f64::from(b % 5) * n).collect(),
            ..FloatHistogram::default()
        };
        hist.push_histogram(i * INTERVAL, Arc::new(h));
    }
    let named = |name: &str| Labels::from_pairs([(METRIC_NAME, name)]);
    Store { series: vec![(named("count"), count), (named("hist"), hist), (named("walk"), walk)] }
}

/// Looks at each point and keeps nothing.
struct Touch;

impl Sink for Touch {
    fn scalar(&mut self, _at: Millis, value: f64) -> Result<(), QueryError> {
        black_box(value);
        Ok(())
    }

    fn string(&mut self, _at: Millis, value: &[u8]) -> Result<(), QueryError> {
        black_box(value);
        Ok(())
    }

    fn sample(&mut self, _labels: &Labels, _at: Millis, value: Value<'_>) -> Result<(), QueryError> {
        black_box(value);
        Ok(())
    }

    fn series(&mut self, _labels: &Labels, points: Points<'_>) -> Result<(), QueryError> {
        points.iter().for_each(|point| {
            black_box(point);
        });
        Ok(())
    }
}

fn run(c: &mut Criterion) {
    let engine = Engine::new(EngineOptions {
        parser: promql::parse::Options::all(),
        threads: 1,
        ..EngineOptions::default()
    });
    let store = store();
    let mut group = c.benchmark_group("kernels");
    let mut bench = |query: &str, steps: i64| {
        group.throughput(Throughput::Elements(steps as u64));
        group.bench_function(query, |b| {
            b.iter(|| {
                let query =
                    engine.range(query, 0, (steps - 1) * 2 * INTERVAL, 2 * INTERVAL, QueryOptions::default());
                query.and_then(|query| query.run(&store, &mut Touch)).map(|outcome| black_box(outcome).stats)
            });
        });
    };
    for (template, windows) in FLOATS {
        for window in *windows {
            for series in ["walk", "count"] {
                bench(&template.replacen("{}", series, 1).replacen("{}", window, 1), 10_000);
            }
        }
    }
    for query in HISTOGRAMS {
        bench(query, 1_000);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = run
}
criterion_main!(benches);
