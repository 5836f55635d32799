//! A gate: so many at once, the rest wait.
//!
//! Counts and times as Thanos' gates do, under the names it is given. It does not know what passes
//! through. Invariant: never more than the limit inside; who is dropped while waiting leaves no trace.

use std::sync::Arc;
use std::time::Instant;

use prometheus::{Gauge, Histogram, IntCounter, Registry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics;

/// Names of a gate's metrics: `<prefix>_<what>_{max,in_flight,total,duration_seconds}`.
#[derive(Clone, Debug)]
pub struct Metrics {
    max: Gauge,
    in_flight: Gauge,
    total: IntCounter,
    waited: Histogram,
}

impl Metrics {
    /// Registers the four metrics, such as `thanos_query_concurrent_gate` with `queries`.
    ///
    /// # Errors
    /// When the registry has one of them.
    pub fn new(registry: &Registry, prefix: &str, what: &str) -> prometheus::Result<Self> {
        Ok(Metrics {
            max: metrics::gauge(
                registry,
                &format!("{prefix}_{what}_max"),
                &format!("Most {what} that may run at once."),
            )?,
            in_flight: metrics::gauge(
                registry,
                &format!("{prefix}_{what}_in_flight"),
                &format!("How many {what} run now."),
            )?,
            total: metrics::counter(
                registry,
                &format!("{prefix}_{what}_total"),
                &format!("How many {what} have passed."),
            )?,
            waited: metrics::histogram(
                registry,
                &format!("{prefix}_{what}_duration_seconds"),
                &format!("Seconds that {what} waited at the gate."),
                &metrics::buckets::GATE,
            )?,
        })
    }
}

/// A gate. Clones share it.
#[derive(Clone, Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    metrics: Option<Metrics>,
}

/// Leave to be inside; dropping it leaves.
#[derive(Debug)]
pub struct Pass {
    _place: OwnedSemaphorePermit,
    in_flight: Option<Gauge>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gauge) = &self.in_flight {
            gauge.dec();
        }
    }
}

impl Gate {
    /// A gate for `limit` at once; zero is taken as no limit.
    pub fn new(limit: usize, metrics: Option<Metrics>) -> Self {
        if let Some(metrics) = &metrics {
            metrics.max.set(limit as f64);
        }
        let places = if limit == 0 { Semaphore::MAX_PERMITS } else { limit.min(Semaphore::MAX_PERMITS) };
        Gate { places: Arc::new(Semaphore::new(places)), metrics }
    }

    /// Waits for a place.
    pub async fn pass(&self) -> Pass {
        let began = Instant::now();
        let place = loop {
            // The semaphore is never closed; a closed one would only mean waiting on.
            match self.places.clone().acquire_owned().await {
                Ok(place) => break place,
                Err(_) => std::future::pending().await,
            }
        };
        if let Some(metrics) = &self.metrics {
            metrics.waited.observe(began.elapsed().as_secs_f64());
            metrics.total.inc();
            metrics.in_flight.inc();
        }
        Pass { _place: place, in_flight: self.metrics.as_ref().map(|m| m.in_flight.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn lets_in_the_limit_and_counts() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry, "thanos_query_concurrent_gate", "queries").unwrap();
        let gate = Gate::new(2, Some(metrics));
        let one = gate.pass().await;
        let _two = gate.pass().await;
        assert!(gate.pass().now_or_never().is_none());
        drop(one);
        let _three = gate.pass().now_or_never().expect("a place is free");
        let text = metrics::text::encode(&registry.gather());
        for line in [
            "thanos_query_concurrent_gate_queries_max 2",
            "thanos_query_concurrent_gate_queries_in_flight 2",
            "thanos_query_concurrent_gate_queries_total 3",
            "thanos_query_concurrent_gate_queries_duration_seconds_bucket{le=\"720\"} 3",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
