//! What all parts of one request share: its account, limits, counters and tenant.
//!
//! Holds the one place where memory is charged, so that the index cache yields before a request is
//! refused. It fetches nothing. Invariant: bytes are charged before they exist and given back when the
//! last slice of them is dropped.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use model::Account;

use crate::cache::IndexCache;
use crate::error::Result;
use crate::limits::Limiters;
use crate::metrics::Metrics;
use crate::stats::Stats;

/// One request. Shared by its parts.
#[derive(Debug)]
pub(crate) struct Request {
    account: Account,
    cache: Arc<IndexCache>,
    pub(crate) limits: Limiters,
    pub(crate) stats: Stats,
    pub(crate) metrics: Metrics,
    pub(crate) tenant: String,
}

impl Request {
    pub(crate) fn new(
        account: Account,
        cache: Arc<IndexCache>,
        limits: Limiters,
        metrics: Metrics,
        tenant: String,
    ) -> Arc<Self> {
        Arc::new(Request { account, cache, limits, stats: Stats::default(), metrics, tenant })
    }

    /// The index cache.
    pub(crate) fn cache(&self) -> &IndexCache {
        &self.cache
    }

    /// Charges `bytes` until the returned hold is dropped.
    pub(crate) fn hold(self: &Arc<Self>, bytes: u64, what: &dyn Display) -> Result<Hold> {
        self.charge(bytes, what)?;
        Ok(Hold { request: self.clone(), bytes })
    }

    fn charge(&self, bytes: u64, what: &dyn Display) -> Result<()> {
        while let Err(refused) = self.account.charge(bytes, what) {
            if !self.cache.shrink(bytes) {
                return Err(refused.into());
            }
        }
        Ok(())
    }
}

/// Charged bytes; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Hold {
    request: Arc<Request>,
    bytes: u64,
}

impl Hold {
    /// Charges more.
    pub(crate) fn grow(&mut self, bytes: u64, what: &dyn Display) -> Result<()> {
        self.request.charge(bytes, what)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Gives back a part.
    pub(crate) fn release(&mut self, bytes: u64) {
        let given = bytes.min(self.bytes);
        self.bytes -= given;
        self.request.account.release(given);
    }

    /// Gives back everything.
    pub(crate) fn release_all(&mut self) {
        self.release(u64::MAX);
    }

    /// A shared buffer that stays charged as long as any slice of it lives.
    pub(crate) fn over(self, buffer: Vec<u8>) -> Bytes {
        struct Charged {
            buffer: Vec<u8>,
            _hold: Hold,
        }
        impl AsRef<[u8]> for Charged {
            fn as_ref(&self) -> &[u8] {
                &self.buffer
            }
        }
        Bytes::from_owner(Charged { buffer, _hold: self })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.request.account.release(self.bytes);
    }
}
