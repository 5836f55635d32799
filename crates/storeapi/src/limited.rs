//! A store that refuses to send more than a limit.
//!
//! Holds `--store.limits.request-series` and `--store.limits.request-samples` (upstream
//! `pkg/store/limiter.go`, `limitedStoreServer`). It counts no bytes. Invariant: the drop counter rises
//! once per kind and call.

use std::sync::Arc;

use async_trait::async_trait;
use component::metrics::{self, IntCounterVec, Registry};
use futures::StreamExt;
use storeapi_proto::thanos;
use tonic::Status;

use crate::store::{Call, Item, SeriesStream, Store};

/// Samples a chunk is counted as.
pub const SAMPLES_PER_CHUNK: u64 = 120;

/// What one Series call may send; 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Series.
    pub series: u64,
    /// Samples, counted as [`SAMPLES_PER_CHUNK`] a chunk.
    pub samples: u64,
}

/// A store that refuses to send more than its limits.
#[derive(Debug)]
pub struct Limited<S> {
    inner: Arc<S>,
    limits: Limits,
    dropped: IntCounterVec,
}

impl<S> Limited<S> {
    /// Limits `inner` and registers the drop counter.
    ///
    /// # Errors
    /// When `registry` has it already.
    pub fn new(inner: Arc<S>, limits: Limits, registry: &Registry) -> metrics::Result<Self> {
        let dropped = metrics::counters(
            registry,
            "thanos_store_selects_dropped_total",
            "Number of select queries that were dropped due to configured limits.",
            &["reason"],
        )?;
        for reason in ["series", "chunks"] {
            dropped.with_label_values(&[reason]);
        }
        Ok(Limited { inner, limits, dropped })
    }
}

#[async_trait]
impl<S: Store> Store for Limited<S> {
    async fn series(&self, request: thanos::SeriesRequest, call: Call) -> Result<SeriesStream, Status> {
        let stream = self.inner.series(request, call).await?;
        let (limits, dropped) = (self.limits, self.dropped.clone());
        if limits == Limits::default() {
            return Ok(stream);
        }
        let (mut series, mut samples, mut over) = (0u64, 0u64, false);
        let limited = stream.map(move |item| {
            let Ok(Item::Series(all)) = &item else { return item };
            let exceeded = |used: u64, limit: u64, what: &str, reason: &str| {
                if limit == 0 || used <= limit {
                    return Ok(());
                }
                dropped.with_label_values(&[reason]).inc();
                // Upstream sends a plain error, which gRPC calls Unknown.
                Err(Status::unknown(format!("failed to send {what}: limit {limit} violated (got {used})")))
            };
            series += all.len() as u64;
            samples += all.iter().map(|s| s.chunks.len() as u64 * SAMPLES_PER_CHUNK).sum::<u64>();
            exceeded(series, limits.series, "series", "series")?;
            exceeded(samples, limits.samples, "samples", "chunks")?;
            item
        });
        // The first error ends the stream.
        let until = limited.take_while(move |item| {
            let go = !over;
            over = item.is_err();
            async move { go }
        });
        Ok(until.boxed())
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
