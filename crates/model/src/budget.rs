//! The memory budget: one per process, one account per request.
//!
//! Bytes are charged to an account before they are fetched or decoded, and given back when the
//! account is dropped. It does not allocate or measure anything itself, and it knows no cgroup
//! (`component` reads the limit). Invariant: the budget's use is the sum of its live accounts, and
//! it never exceeds the limit, whatever the interleaving.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A limit on bytes shared by all requests of a process.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
    flag: &'static str,
}

impl Budget {
    /// A budget of `limit` bytes; `flag` is named in refusals so that a user knows what to turn.
    pub fn new(limit: u64, flag: &'static str) -> Arc<Self> {
        Arc::new(Budget { limit, used: AtomicU64::new(0), flag })
    }

    /// A budget that refuses nothing.
    pub fn unlimited() -> Arc<Self> {
        Budget::new(u64::MAX, "")
    }

    /// The limit in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes charged now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The flag that sets the limit.
    pub fn flag(&self) -> &'static str {
        self.flag
    }

    /// Opens an account without a limit of its own.
    pub fn account(self: &Arc<Self>) -> Account {
        Account { budget: self.clone(), used: AtomicU64::new(0) }
    }

    fn take(&self, bytes: u64) -> Result<(), u64> {
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|next| *next <= self.limit)
            })
            .map(|_| ())
    }
}

/// What one request has charged. Dropping it gives everything back.
#[derive(Debug)]
pub struct Account {
    budget: Arc<Budget>,
    used: AtomicU64,
}

impl Account {
    /// Charges `bytes` for `what` (a noun for the message: "chunks", "postings of pod=~.+").
    ///
    /// # Errors
    /// [`OverBudget`] when the process budget has no room; nothing is charged then.
    pub fn charge(&self, bytes: u64, what: &dyn fmt::Display) -> Result<(), OverBudget> {
        self.budget.take(bytes).map_err(|used| OverBudget {
            asked: bytes,
            used,
            limit: self.budget.limit,
            flag: self.budget.flag,
            what: what.to_string(),
        })?;
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back `bytes` that were charged before; never more than is held.
    pub fn release(&self, bytes: u64) {
        let held =
            self.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |u| Some(u.saturating_sub(bytes)));
        let given = held.unwrap_or(0).min(bytes);
        self.budget.used.fetch_sub(given, Ordering::AcqRel);
    }

    /// Bytes held by this account.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.release(u64::MAX);
    }
}

/// The refusal: names the limit, the flag that sets it, and what asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// Bytes asked for.
    pub asked: u64,
    /// Bytes already in use by all requests.
    pub used: u64,
    /// The limit in bytes.
    pub limit: u64,
    /// The flag that sets the limit.
    pub flag: &'static str,
    /// What the bytes were for.
    pub what: String,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "memory budget exhausted: {} needs {} bytes, {} of {} are in use (limit set by {})",
            self.what, self.asked, self.used, self.limit, self.flag
        )
    }
}

impl std::error::Error for OverBudget {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_release_and_refuse_by_name() {
        let budget = Budget::new(100, "--memory.budget");
        let a = budget.account();
        a.charge(60, &"chunks").unwrap();
        let b = budget.account();
        let err = b.charge(41, &"postings").unwrap_err();
        assert_eq!((err.used, err.limit), (60, 100));
        assert!(err.to_string().contains("--memory.budget") && err.to_string().contains("postings"));
        a.release(1000);
        b.charge(100, &"postings").unwrap();
        drop(b);
        assert_eq!(budget.used(), 0);
    }
}
