//! Limits of one request.
//!
//! Holds Thanos' limiter (`pkg/store/limiter.go`) and the three a call has. It knows no memory: that is
//! the budget's. Invariant: the drop counter rises once per limit and call, however many parts of the
//! call run into it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use component::metrics::{IntCounter, IntCounterVec};

/// What one call may use; 0 means any amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallLimits {
    /// Series selected.
    pub series: u64,
    /// Chunks returned.
    pub chunks: u64,
    /// Bytes fetched, or taken from the index cache.
    pub bytes: u64,
}

/// Counts towards one limit.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: u64,
    used: AtomicU64,
    told: AtomicBool,
    dropped: IntCounter,
}

impl Limiter {
    fn new(limit: u64, dropped: IntCounter) -> Self {
        Limiter { limit, used: AtomicU64::new(0), told: AtomicBool::new(false), dropped }
    }

    /// Takes `n`, or says by how much the limit is exceeded.
    pub(crate) fn reserve(&self, n: u64) -> Result<(), String> {
        if self.limit == 0 {
            return Ok(());
        }
        let used = self.used.fetch_add(n, Ordering::Relaxed).saturating_add(n);
        if used <= self.limit {
            return Ok(());
        }
        if !self.told.swap(true, Ordering::Relaxed) {
            self.dropped.inc();
        }
        Err(format!("limit {} violated (got {used})", self.limit))
    }
}

/// The limiters of one call.
#[derive(Debug)]
pub(crate) struct Limiters {
    pub(crate) series: Limiter,
    pub(crate) chunks: Limiter,
    pub(crate) bytes: Limiter,
}

impl Limiters {
    /// `dropped` is `thanos_bucket_store_queries_dropped_total{reason,tenant}`.
    pub(crate) fn new(limits: CallLimits, dropped: &IntCounterVec, tenant: &str) -> Self {
        let of = |limit, reason: &str| Limiter::new(limit, dropped.with_label_values(&[reason, tenant]));
        Limiters {
            series: of(limits.series, "series"),
            chunks: of(limits.chunks, "chunks"),
            bytes: of(limits.bytes, "bytes"),
        }
    }
}
