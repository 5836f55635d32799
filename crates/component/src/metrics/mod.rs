//! Metrics: the registry's types, exact exposition, and what every process shows of itself.
//!
//! The registry is the `prometheus` crate's; there is no global one. This module re-exports the
//! types, encodes what a registry gathers exactly as Go's client does ([`text`], [`openmetrics`]),
//! and holds Thanos' bucket lists ([`buckets`]). It knows no service's metrics. Invariant: families
//! and labels are sorted, so that two scrapes differ only in values.

pub mod float;
pub mod openmetrics;
pub mod process;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod text;

pub use prometheus::{
    Counter, CounterVec, Error, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result, core, proto,
};
pub use summary::Summary;

/// Bucket bounds that several parts share, as their `le` labels are spelt.
pub mod buckets {
    /// gRPC server handling seconds.
    pub const GRPC_SERVER: [f64; 14] =
        [0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 3.0, 6.0, 9.0, 20.0, 30.0, 60.0, 90.0, 120.0];
    /// gRPC client and HTTP server seconds.
    pub const REQUEST: [f64; 17] =
        [0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 3.0, 6.0, 9.0, 20.0, 30.0, 60.0, 90.0, 120.0, 240.0, 360.0, 720.0];
    /// HTTP request and response sizes in bytes.
    pub const HTTP_SIZE: [f64; 10] =
        [64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0];
    /// Waiting at a gate, in seconds.
    pub const GATE: [f64; 16] =
        [0.01, 0.1, 0.3, 0.6, 1.0, 3.0, 6.0, 9.0, 20.0, 30.0, 60.0, 90.0, 120.0, 240.0, 360.0, 720.0];
}

/// Registers what a collector shows and hands the collector back.
///
/// # Errors
/// When the registry has a metric of that name and labels.
pub fn register<C: core::Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// Makes and registers a counter.
///
/// # Errors
/// As [`register`].
pub fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter> {
    register(registry, IntCounter::new(name, help)?)
}

/// Makes and registers a family of counters.
///
/// # Errors
/// As [`register`].
pub fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

/// Makes and registers a gauge.
///
/// # Errors
/// As [`register`].
pub fn gauge(registry: &Registry, name: &str, help: &str) -> Result<Gauge> {
    register(registry, Gauge::new(name, help)?)
}

/// Makes and registers a family of gauges.
///
/// # Errors
/// As [`register`].
pub fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec> {
    register(registry, GaugeVec::new(Opts::new(name, help), labels)?)
}

/// Makes and registers a histogram with `bounds`.
///
/// # Errors
/// As [`register`]; also when `bounds` do not ascend.
pub fn histogram(registry: &Registry, name: &str, help: &str, bounds: &[f64]) -> Result<Histogram> {
    register(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec()))?)
}

/// Makes and registers a family of histograms with `bounds`.
///
/// # Errors
/// As [`histogram`].
pub fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    bounds: &[f64],
) -> Result<HistogramVec> {
    register(registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(bounds.to_vec()), labels)?)
}
