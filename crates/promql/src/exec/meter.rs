//! What a run holds in memory, charged to the caller's account.
//!
//! Holds one counter. It knows no operator and measures nothing itself. Invariant: what a run has charged
//! and not given back is given back when it ends, however it ends.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::Account;

use crate::error::QueryError;

/// Charges of one run.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    account: Option<Arc<Account>>,
    held: AtomicU64,
}

impl Meter {
    /// Charges to `account`, if there is one.
    pub(crate) fn new(account: Option<Arc<Account>>) -> Self {
        Meter { account, held: AtomicU64::new(0) }
    }

    /// Charges `bytes` for what `what` says.
    pub(crate) fn charge(&self, bytes: u64, what: &dyn fmt::Display) -> Result<(), QueryError> {
        if let Some(account) = &self.account {
            account.charge(bytes, what)?;
            self.held.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// What is charged and not given back.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Gives back `bytes` that were charged.
    pub(crate) fn release(&self, bytes: u64) {
        if let Some(account) = &self.account {
            let held = self
                .held
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |h| Some(h.saturating_sub(bytes)));
            account.release(held.unwrap_or(0).min(bytes));
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(account) = &self.account {
            account.release(*self.held.get_mut());
        }
    }
}
