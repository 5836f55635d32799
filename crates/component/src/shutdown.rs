//! Stopping in order and in bounded time.
//!
//! One [`Shutdown`] per process says when to stop and knows by name who has not stopped yet. Order:
//! not ready, stop accepting, drain within grace, loops end, flush; the first three are done by
//! [`Shutdown::drain`], loops hold a [`Guard`]. It stops nothing by force. Invariant: the first
//! reason given is the one reported.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::probe::Probe;

/// Why a process stops.
#[derive(Clone, Debug)]
pub enum Reason {
    /// SIGINT or SIGTERM, by Go's name of the signal.
    Signal(&'static str),
    /// The work is done.
    Finished,
    /// A part failed; the error is the process' result.
    Failed(Arc<anyhow::Error>),
}

#[derive(Debug, Default)]
struct Inner {
    reason: Mutex<Option<Reason>>,
    guards: Mutex<BTreeMap<u64, String>>,
    serial: Mutex<u64>,
    released: Notify,
}

/// When to stop, and who still runs. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    inner: Arc<Inner>,
}

/// Held by a loop while it runs; shutdown waits for it to be dropped.
#[derive(Debug)]
pub struct Guard {
    id: u64,
    inner: Arc<Inner>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.inner.guards.lock().remove(&self.id);
        self.inner.released.notify_waiters();
    }
}

impl Shutdown {
    /// A process that runs.
    pub fn new() -> Self {
        Shutdown::default()
    }

    /// Asks everything to stop. Only the first reason is kept.
    pub fn trigger(&self, reason: Reason) {
        self.inner.reason.lock().get_or_insert(reason);
        self.token.cancel();
    }

    /// Asks everything to stop because a part failed.
    pub fn fail(&self, error: anyhow::Error) {
        self.trigger(Reason::Failed(Arc::new(error)));
    }

    /// Returns when it is time to stop.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Whether it is time to stop.
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// For `tokio::select!` and children.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Why it stops, once it does.
    pub fn reason(&self) -> Option<Reason> {
        self.inner.reason.lock().clone()
    }

    /// A guard for a loop called `name`.
    pub fn guard(&self, name: &str) -> Guard {
        let mut serial = self.inner.serial.lock();
        *serial += 1;
        self.inner.guards.lock().insert(*serial, name.to_owned());
        Guard { id: *serial, inner: self.inner.clone() }
    }

    /// Runs `future` unless it is time to stop first.
    pub async fn or_stop<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.requested() => None,
            out = future => Some(out),
        }
    }

    /// The ordered stop: waits for the request, closes `probe`, runs `stop_servers` (which drains
    /// within its own grace periods), then waits up to `grace` for the guards and logs who is late.
    /// Returns the names of the late ones.
    pub async fn drain(
        &self,
        probe: &Probe,
        stop_servers: impl Future<Output = ()>,
        grace: Duration,
    ) -> Vec<String> {
        self.requested().await;
        let why = match self.reason() {
            Some(Reason::Failed(error)) => error.to_string(),
            _ => "shutting down".to_owned(),
        };
        probe.close(&why);
        stop_servers.await;
        let late = self.wait_for_guards(grace).await;
        probe.not_healthy(&why);
        late
    }

    async fn wait_for_guards(&self, grace: Duration) -> Vec<String> {
        let all_done = async {
            loop {
                let released = self.inner.released.notified();
                tokio::pin!(released);
                // Registered before looking, so that a drop in between is not missed.
                released.as_mut().enable();
                if self.inner.guards.lock().is_empty() {
                    return;
                }
                released.await;
            }
        };
        if tokio::time::timeout(grace, all_done).await.is_ok() {
            return Vec::new();
        }
        let late: Vec<String> = self.inner.guards.lock().values().cloned().collect();
        for name in &late {
            tracing::warn!(task = %name, grace_seconds = grace.as_secs_f64(), "task did not stop in time");
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stops_in_order_and_names_the_late() {
        let registry = prometheus::Registry::new();
        let probe = Probe::new("store", &registry).unwrap();
        probe.healthy();
        probe.ready();
        let shutdown = Shutdown::new();
        let quick = shutdown.guard("sync");
        let _stuck = shutdown.guard("cache flush");
        tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                shutdown.requested().await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                drop(quick);
            }
        });
        shutdown.trigger(Reason::Signal("terminated"));
        shutdown.fail(anyhow::anyhow!("too late to be the reason"));
        let seen = probe.clone();
        let stop_servers = async move {
            assert!(!seen.status().ready, "not ready before servers stop");
            assert!(seen.status().healthy);
        };
        let late = shutdown.drain(&probe, stop_servers, Duration::from_secs(5)).await;
        assert_eq!(late, ["cache flush"]);
        assert!(matches!(shutdown.reason(), Some(Reason::Signal("terminated"))));
        assert!(!probe.status().healthy);
    }
}
