//! Metrics of evaluation.
//!
//! Holds the engine's metrics under Prometheus' and Thanos' names, and the telemetry of selects. It
//! counts what others measured. Invariant: both engines' metrics exist whatever engine a request names,
//! and each query counts for exactly one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use component::metrics::core::Collector;
use component::metrics::{
    self, Counter, Gauge, HistogramOpts, HistogramVec, IntCounter, Opts, Registry, Summary,
};
use promql::Statistics;

use crate::args::{EngineName, Telemetry};
use crate::queryable::Counts;

const SLICES: [&str; 4] = ["inner_eval", "prepare_time", "queue_time", "result_sort"];

/// What queries are counted in. Clones share it.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queries: Gauge,
    samples: Counter,
    seconds: Summary,
    seconds_histogram: HistogramVec,
    thanos_queries: Gauge,
    thanos_total: IntCounter,
    selects: HistogramVec,
    series_bounds: Vec<f64>,
    samples_bounds: Vec<f64>,
}

/// A query that runs; dropping it ends the counting.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn engine_opts(name: &str, help: &str, engine: &str, mode: &str) -> Opts {
    Opts::new(name, help).const_label("engine", engine).const_label("mode", mode)
}

impl Metrics {
    /// Registers them. `tracked` is how many running queries are kept in a file, if any are.
    ///
    /// # Errors
    /// When `registry` has one of them, or bucket bounds do not ascend.
    pub fn new(registry: &Registry, telemetry: &Telemetry, tracked: Option<usize>) -> metrics::Result<Self> {
        let local = |name: &str, help: &str| engine_opts(name, help, "prometheus", "local");
        let gauge = |name, help| metrics::register(registry, Gauge::with_opts(local(name, help))?);
        let counter = |name, help| metrics::register(registry, Counter::with_opts(local(name, help))?);
        let queries =
            gauge("prometheus_engine_queries", "The current number of queries being executed or waiting.")?;
        gauge("prometheus_engine_queries_concurrent_max", "The max number of concurrent queries.")?
            .set(tracked.map_or(-1.0, |n| n as f64));
        gauge("prometheus_engine_query_log_enabled", "State of the query log.")?;
        counter("prometheus_engine_query_log_failures_total", "The number of query log failures.")?;
        let samples = counter(
            "prometheus_engine_query_samples_total",
            "The total number of samples loaded by all queries.",
        )?;
        let seconds = Summary::new(
            "prometheus_engine_query_duration_seconds",
            "Query timings",
            &["engine", "mode", "slice"],
            &[0.5, 0.9, 0.99],
        )?;
        registry.register(Box::new(seconds.clone()) as Box<dyn Collector>)?;
        let opts = HistogramOpts::new(
            "prometheus_engine_query_duration_histogram_seconds",
            "The duration of various parts of PromQL query execution.",
        )
        .const_label("engine", "prometheus")
        .const_label("mode", "local")
        .buckets(vec![0.01, 0.1, 1.0, 10.0]);
        let seconds_histogram = metrics::register(registry, HistogramVec::new(opts, &["slice"])?)?;
        for slice in SLICES {
            seconds.touch(&["prometheus", "local", slice]);
            seconds_histogram.with_label_values(&[slice]);
        }
        let thanos_gauge = |mode| {
            let opts = engine_opts(
                "thanos_engine_queries",
                "The current number of queries being executed or waiting.",
                "thanos",
                mode,
            );
            metrics::register(registry, Gauge::with_opts(opts)?)
        };
        let thanos_counter = |mode| {
            let opts =
                engine_opts("thanos_engine_queries_total", "Number of PromQL queries.", "thanos", mode);
            metrics::register(registry, IntCounter::with_opts(opts)?)
        };
        let (thanos_queries, thanos_total) = (thanos_gauge("local")?, thanos_counter("local")?);
        thanos_gauge("distributed")?;
        thanos_counter("distributed")?;
        let selects = metrics::histograms(
            registry,
            "thanos_store_api_query_duration_seconds",
            "Duration of the Thanos Store API select phase for a query.",
            &["series_le", "samples_le", "tenant"],
            &telemetry.seconds,
        )?;
        // Upstream registers this one and never observes it.
        let mut bounds = vec![900.0];
        bounds.extend((1..12).map(|i| 900.0 * f64::from(1 << i)));
        metrics::histogram(
            registry,
            "thanos_query_range_requested_timespan_duration_seconds",
            "A histogram of the query range window in seconds",
            &bounds,
        )?;
        Ok(Metrics(Arc::new(Inner {
            queries,
            samples,
            seconds,
            seconds_histogram,
            thanos_queries,
            thanos_total,
            selects,
            series_bounds: telemetry.series.clone(),
            samples_bounds: telemetry.samples.clone(),
        })))
    }

    /// A query begins.
    pub fn running(&self, engine: EngineName) -> Counted {
        let gauge = match engine {
            EngineName::Prometheus => &self.0.queries,
            EngineName::Thanos => {
                self.0.thanos_total.inc();
                &self.0.thanos_queries
            }
        };
        gauge.inc();
        Counted(gauge.clone())
    }

    /// A query has been evaluated.
    pub fn evaluated(&self, engine: EngineName, stats: &Statistics, counts: &Counts) {
        if engine == EngineName::Thanos {
            return;
        }
        let t = &stats.timings;
        let phases = [t.inner_eval, t.preparation, t.queue, t.result_sort];
        for (slice, time) in SLICES.into_iter().zip(phases) {
            // There is no queue before the engine, and nothing sorted where nothing came out of order.
            if slice == "queue_time" {
                continue;
            }
            self.0.seconds.observe(&["prometheus", "local", slice], time.as_secs_f64());
            self.0.seconds_histogram.with_label_values(&[slice]).observe(time.as_secs_f64());
        }
        let loaded = match &stats.samples {
            Some(samples) => samples.total as f64,
            None => counts.samples.load(Ordering::Relaxed) as f64,
        };
        self.0.samples.inc_by(loaded.max(0.0));
    }

    /// A query's selects took `time` (Thanos `seriesStatsAggregator`).
    pub fn selected(&self, counts: &Counts, tenant: &str, time: Duration) {
        let of = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        let (series, samples) = (of(&counts.series), of(&counts.samples));
        if series == 0 || samples == 0 || of(&counts.chunks) == 0 {
            return;
        }
        let series = bucket(series as f64, &self.0.series_bounds);
        let samples = bucket(samples as f64, &self.0.samples_bounds);
        self.0.selects.with_label_values(&[&series, &samples, tenant]).observe(time.as_secs_f64());
    }
}

/// The bucket a value falls into, as a label; the last one is open (`findBucket`).
fn bucket(value: f64, bounds: &[f64]) -> String {
    match bounds.last() {
        Some(last) if value < *last => model::gofmt::float(bounds[bounds.partition_point(|b| *b < value)]),
        _ => "+Inf".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_named_by_their_upper_bound() {
        let bounds = [10.0, 100.0, 1_000_000.0];
        assert_eq!(bucket(10.0, &bounds), "10");
        assert_eq!((bucket(11.0, &bounds), bucket(101.0, &bounds)), ("100".into(), "1000000".into()));
        assert_eq!((bucket(1e6, &bounds), bucket(1.0, &[])), ("+Inf".into(), "+Inf".into()));
    }
}
