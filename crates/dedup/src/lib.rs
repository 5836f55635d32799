//! Replica deduplication over columns of samples.
//!
//! Holds what turns several copies of one series into one: splitting overlapping chunks into rows
//! ([`overlap_split`]), joining the chunks of a row ([`join`]), and merging rows by penalty
//! ([`penalty`]) or one to one ([`chain`]). It knows no chunk encoding, no store and no label.
//! Invariant: what goes out is ascending by time, and every sample that goes out came in (its
//! value shifted only where counters are told to be counters). Read [`merge`] first.

pub mod chain;
pub mod join;
pub mod overlap_split;
pub mod penalty;

mod row;

use model::Samples;

/// How replicas are merged: the values of `--deduplication.func`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// Follow one replica, leave it when it falls behind, and keep away from the other for twice
    /// the last interval.
    #[default]
    Penalty,
    /// Every sample of every replica, one per timestamp.
    Chain,
}

/// Whether the function around a selector makes its series a counter for deduplication
/// (Thanos `pkg/dedup/iter.go`, `isCounter`).
pub fn is_counter(func: &str) -> bool {
    matches!(func, "increase" | "rate" | "irate" | "resets")
}

/// Merges `rows`, in order, into `out`. `rows` is used as scratch space and left empty.
///
/// One row is handed on untouched. Samples of a row must be ascending by time.
pub fn merge(algorithm: Algorithm, counter: bool, rows: &mut Vec<Samples>, out: &mut Samples) {
    out.clear();
    match rows.len() {
        0 => {}
        1 => std::mem::swap(out, &mut rows[0]),
        _ if algorithm == Algorithm::Chain => chain::merge(rows, out),
        _ => penalty::merge(rows, counter, out),
    }
    rows.clear();
}
