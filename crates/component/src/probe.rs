//! Health and readiness, told in one place and seen by HTTP, gRPC, metrics and log alike.
//!
//! Holds two latches; it serves nothing itself (`http` and `grpc` ask it). Invariant: a service
//! that shuts down never becomes ready again.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{GaugeVec, Opts, Registry};
use tokio::sync::watch;

/// What a probe shows at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The process works and should be left alone.
    pub healthy: bool,
    /// Requests may come.
    pub ready: bool,
}

#[derive(Debug)]
struct Inner {
    status: watch::Sender<Status>,
    /// The last readiness that was logged.
    logged: Mutex<Option<bool>>,
    closed: Mutex<bool>,
    gauge: GaugeVec,
}

/// The two latches of a service. Clones share them.
#[derive(Clone, Debug)]
pub struct Probe(Arc<Inner>);

impl Probe {
    /// A probe that is neither healthy nor ready, with `thanos_status{component,check}` at 0.
    ///
    /// # Errors
    /// When `registry` has the metric already.
    pub fn new(component: &str, registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new("thanos_status", "State of a probe of this component: 1 passes, 0 fails.")
            .const_label("component", component);
        let gauge = GaugeVec::new(opts, &["check"])?;
        for check in ["ready", "healthy"] {
            gauge.with_label_values(&[check]).set(0.0);
        }
        registry.register(Box::new(gauge.clone()))?;
        let (status, _) = watch::channel(Status::default());
        Ok(Probe(Arc::new(Inner { status, logged: Mutex::new(None), closed: Mutex::new(false), gauge })))
    }

    /// The present status.
    pub fn status(&self) -> Status {
        *self.0.status.borrow()
    }

    /// Follows the status; the receiver sees the present one first.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.0.status.subscribe()
    }

    /// Says that the process works.
    pub fn healthy(&self) {
        self.set("healthy", true);
        self.0.status.send_modify(|s| s.healthy = true);
        tracing::info!(status = "healthy", "changing probe status");
    }

    /// Says that the process does not work any more.
    pub fn not_healthy(&self, reason: &str) {
        self.set("healthy", false);
        self.0.status.send_modify(|s| s.healthy = false);
        tracing::info!(status = "not-healthy", reason, "changing probe status");
    }

    /// Says that requests may come; ignored once shutdown has begun.
    pub fn ready(&self) {
        if *self.0.closed.lock() {
            return;
        }
        self.set("ready", true);
        self.0.status.send_modify(|s| s.ready = true);
        if self.0.logged.lock().replace(true) != Some(true) {
            tracing::info!(status = "ready", "changing probe status");
        }
    }

    /// Says that requests should go elsewhere.
    pub fn not_ready(&self, reason: &str) {
        self.set("ready", false);
        self.0.status.send_modify(|s| s.ready = false);
        if self.0.logged.lock().replace(false) != Some(false) {
            tracing::warn!(status = "not-ready", reason, "changing probe status");
        }
    }

    /// Not ready, for good.
    pub fn close(&self, reason: &str) {
        *self.0.closed.lock() = true;
        self.not_ready(reason);
    }

    fn set(&self, check: &str, passes: bool) {
        self.0.gauge.with_label_values(&[check]).set(f64::from(u8::from(passes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latches_show_in_status_and_metric_and_closing_is_final() {
        let registry = Registry::new();
        let probe = Probe::new("store", &registry).unwrap();
        assert_eq!(probe.status(), Status::default());
        probe.healthy();
        probe.ready();
        assert_eq!(probe.status(), Status { healthy: true, ready: true });
        let text = crate::metrics::text::encode(&registry.gather());
        assert!(text.contains("thanos_status{check=\"ready\",component=\"store\"} 1\n"), "{text}");
        probe.close("shutting down");
        probe.ready();
        assert!(!probe.status().ready);
        let text = crate::metrics::text::encode(&registry.gather());
        assert!(text.contains("thanos_status{check=\"ready\",component=\"store\"} 0\n"), "{text}");
    }
}
