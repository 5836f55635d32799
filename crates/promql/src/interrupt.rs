//! Stopping a query from outside: deadline and cancellation.
//!
//! Holds the token that a caller keeps and the engine asks. It knows no runtime and no signal.
//! Invariant: once it says stop, it says so for ever. Heavy operators ask at least once a series and
//! within long series, so that a query ends within 100 ms of its deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::QueryError;

/// Ends a query. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    canceled: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Interrupt {
    /// A token that never fires by itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that fires at `deadline`.
    pub fn at(deadline: Instant) -> Self {
        Interrupt { canceled: Arc::default(), deadline: Some(deadline) }
    }

    /// Ends the query: it fails with [`QueryError::Canceled`].
    pub fn cancel(&self) {
        self.canceled.store(true, Ordering::Relaxed);
    }

    /// Whether to stop.
    ///
    /// # Errors
    /// [`QueryError::Canceled`] or [`QueryError::Timeout`].
    pub fn check(&self) -> Result<(), QueryError> {
        if self.canceled.load(Ordering::Relaxed) {
            return Err(QueryError::Canceled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(QueryError::Timeout),
            _ => Ok(()),
        }
    }
}
