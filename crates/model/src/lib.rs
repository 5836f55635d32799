//! The Prometheus data model: labels, matchers, histograms, samples, time, and the memory budget.
//!
//! Holds the vocabulary that every other crate speaks. It knows no I/O, no async runtime, no wire
//! format and no block. Invariant: labels are always sorted by name with no duplicates, so that
//! comparing two label sets never needs preparation. Read `labels` first, then `sample`.

pub mod budget;
pub mod gofmt;
pub mod histogram;
pub mod labels;
pub mod matcher;
pub mod math;
pub mod regexp;
pub mod relabel;
pub mod sample;
pub mod time;

pub use budget::{Account, Budget, OverBudget};
pub use histogram::{CounterResetHint, FloatHistogram, Histogram, Span};
pub use labels::{Labels, LabelsBuilder, LabelsWriter};
pub use matcher::{MatchType, Matcher, MatcherError};
pub use sample::{HistogramAt, STALE_NAN_BITS, Samples, is_stale_nan};
pub use time::Millis;
