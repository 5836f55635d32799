//! A store that counts what it sends.
//!
//! Holds the metrics of Series calls that every StoreAPI server of Thanos shows (`pkg/store/telemetry.go`).
//! It changes no answer. Invariant: each call is observed once, when its stream ends or is dropped.

use std::sync::Arc;

use async_trait::async_trait;
use component::metrics::{self, Gauge, Histogram, Registry};
use futures::StreamExt;
use storeapi_proto::thanos;
use tonic::Status;

use crate::store::{Call, Item, SeriesStream, Store};

/// Bounds of the number of series.
const SERIES: [f64; 7] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
/// Bounds of the number of chunks.
const CHUNKS: [f64; 8] = [1.0, 100.0, 1e3, 1e4, 1e5, 1e7, 1e8, 1e9];

/// Metrics of Series calls.
#[derive(Clone, Debug)]
pub struct Metrics {
    series: Histogram,
    chunks: Histogram,
    pending: Gauge,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// When `registry` has them already.
    pub fn new(registry: &Registry) -> metrics::Result<Self> {
        let name = |n| format!("thanos_store_server_{n}");
        Ok(Metrics {
            series: metrics::histogram(
                registry,
                &name("series_requested"),
                "Number of requested series for Series calls",
                &SERIES,
            )?,
            chunks: metrics::histogram(
                registry,
                &name("chunks_requested"),
                "Number of requested chunks for Series calls",
                &CHUNKS,
            )?,
            pending: metrics::gauge(
                registry,
                &name("pending_series_requests"),
                "Number of pending series requests",
            )?,
        })
    }
}

/// A store that counts what it sends.
#[derive(Debug)]
pub struct Instrumented<S> {
    inner: Arc<S>,
    metrics: Metrics,
}

impl<S> Instrumented<S> {
    /// Counts what `inner` sends.
    pub fn new(inner: Arc<S>, metrics: Metrics) -> Self {
        Instrumented { inner, metrics }
    }
}

/// One call; observed when dropped.
struct Running {
    metrics: Metrics,
    series: u64,
    chunks: u64,
}

impl Running {
    fn begin(metrics: &Metrics) -> Self {
        metrics.pending.inc();
        Running { metrics: metrics.clone(), series: 0, chunks: 0 }
    }

    fn count(&mut self, item: &Item) {
        if let Item::Series(all) = item {
            self.series += all.len() as u64;
            self.chunks += all.iter().map(|s| s.chunks.len() as u64).sum::<u64>();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.pending.dec();
        self.metrics.series.observe(self.series as f64);
        self.metrics.chunks.observe(self.chunks as f64);
    }
}

#[async_trait]
impl<S: Store> Store for Instrumented<S> {
    async fn series(&self, request: thanos::SeriesRequest, call: Call) -> Result<SeriesStream, Status> {
        let mut running = Running::begin(&self.metrics);
        let stream = self.inner.series(request, call).await?;
        let counted = stream.inspect(move |item| {
            if let Ok(item) = item {
                running.count(item);
            }
        });
        Ok(counted.boxed())
    }

    async fn label_names(
        &self,
        request: thanos::LabelNamesRequest,
        call: Call,
    ) -> Result<thanos::LabelNamesResponse, Status> {
        self.inner.label_names(request, call).await
    }

    async fn label_values(
        &self,
        request: thanos::LabelValuesRequest,
        call: Call,
    ) -> Result<thanos::LabelValuesResponse, Status> {
        self.inner.label_values(request, call).await
    }
}
