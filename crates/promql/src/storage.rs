//! What the engine asks of a store of series: the one interface a caller has to implement.
//!
//! Holds the selection handed down (time range, matchers, hints) and the pull side of the answer.
//! It knows no chunk, no wire and no runtime: a bridge from asynchronous streams lives with the
//! caller. Invariant: series arrive sorted by labels, samples ascending by time, and a select that
//! has been started never blocks until its first `next`. Read `plan` for who fills the hints.

use std::sync::Arc;

use model::{Labels, Matcher, Millis, Samples};

/// Gives series for selections. Shared by all threads of a query.
pub trait Queryable: Send + Sync {
    /// Starts one selection and returns at once; the waiting happens in [`SeriesSet::next`].
    ///
    /// All selections of a query are started before the first is read, so that a store can answer
    /// them side by side.
    fn select(&self, selection: &Selection) -> Box<dyn SeriesSet>;
}

impl<Q: Queryable + ?Sized> Queryable for Arc<Q> {
    fn select(&self, selection: &Selection) -> Box<dyn SeriesSet> {
        (**self).select(selection)
    }
}

/// A stream of series, read by pulling.
pub trait SeriesSet: Send {
    /// Clears `samples`, fills it with the next series' samples and returns its labels; `None` at
    /// the end. May block until the store has answered.
    ///
    /// Samples outside `[mint, maxt]` of the selection are allowed: the engine ignores them.
    ///
    /// # Errors
    /// [`StorageError`] when the store failed; the set is finished then.
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StorageError>;

    /// Warnings met so far (a store that did not answer, say). Called after the last `next`.
    fn warnings(&mut self) -> Vec<String>;
}

/// One selection: which series, which time, and what for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// First millisecond of interest, inclusive.
    pub mint: Millis,
    /// Last millisecond of interest, inclusive.
    pub maxt: Millis,
    /// Conditions on labels, all of which hold.
    pub matchers: Vec<Matcher>,
    /// What the engine is going to do with the samples.
    pub hints: Hints,
}

/// What is done with selected samples. A store may use it to do less; it never has to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Step of the query, or of the innermost subquery around the selector; 0 for an instant query.
    pub step: Millis,
    /// Name of the closest function or aggregation above the selector (`rate`, `sum`), or empty.
    pub func: String,
    /// Length of the range selector, or 0.
    pub range: Millis,
    /// Labels of the aggregation directly above the selector.
    pub grouping: Vec<String>,
    /// Whether [`Hints::grouping`] stands after `by` (else `without`, or no aggregation at all).
    pub by: bool,
    /// Names of the labels that suffice, ascending, where the engine can tell; `None` means all.
    ///
    /// A store may leave out all others. It still gives every series by itself, told apart by one more
    /// label, whose name is not among these and whose value stands for all labels of the series. Where the
    /// same series comes from two places, both have to leave out the same labels.
    pub projection: Option<Vec<String>>,
}

/// Why a store gave no (complete) answer, by what the caller of a query has to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The store failed: the query fails with this text.
    #[error("{0}")]
    Failed(String),
    /// A limit (series, bytes, memory budget) was exceeded; the text names it.
    #[error("{0}")]
    Limit(String),
    /// The query was canceled while waiting.
    #[error("{0}")]
    Canceled(String),
    /// The query's time was up while waiting.
    #[error("{0}")]
    Timeout(String),
}

/// A series set that holds nothing.
#[derive(Debug, Default)]
pub struct EmptySeriesSet;

impl SeriesSet for EmptySeriesSet {
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StorageError> {
        samples.clear();
        Ok(None)
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}
