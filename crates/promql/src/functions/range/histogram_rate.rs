//! The difference of the histograms at a window's ends, resets accounted for.
//!
//! Holds what `rate`, `increase` and `delta` do before extrapolating, and additions that note what
//! they met. It knows no window. Invariant: operands are combined in the order of time, at the
//! coarsest schema of the window, as Prometheus' `histogramRate` does.

use model::{CounterResetHint, FloatHistogram};

use super::notes::{Note, Notes};
use super::start_time::{Timed, is_reset, overlaps};
use super::window::Hist;

/// Adds `other`; false (with a note) where exponential and custom buckets meet.
pub(super) fn add(base: &mut FloatHistogram, other: &FloatHistogram, notes: &mut Notes) -> bool {
    match base.add(other) {
        Ok(outcome) => {
            if outcome.bounds_reconciled {
                notes.add(Note::ReconciledAdd);
            }
            true
        }
        Err(_) => {
            notes.add(Note::Schemas);
            false
        }
    }
}

/// Subtracts `other`; false (with a note) where exponential and custom buckets meet.
pub(super) fn sub(base: &mut FloatHistogram, other: &FloatHistogram, notes: &mut Notes) -> bool {
    match base.sub(other) {
        Ok(outcome) => {
            if outcome.bounds_reconciled {
                notes.add(Note::ReconciledSub);
            }
            true
        }
        Err(_) => {
            notes.add(Note::Schemas);
            false
        }
    }
}

fn timed(hist: &Hist<'_>) -> Timed {
    Timed { start: hist.start, t: hist.t }
}

/// Whether each histogram of a series follows a reset, going by the one before.
pub(super) fn resets(hists: &[Hist<'_>]) -> Vec<bool> {
    let follows = |w: &[Hist<'_>]| is_reset(timed(&w[0]), timed(&w[1])) || w[1].h.detect_reset(w[0].h);
    let mut all = vec![false; hists.len().min(1)];
    all.extend(hists.windows(2).map(follows));
    all
}

/// The last of at least two histograms minus the first, plus what resets lost. `resets` tells of each
/// whether it follows one; they are of no interest for gauges.
pub(super) fn difference(
    hists: &[Hist<'_>],
    resets: &[bool],
    counter: bool,
    notes: &mut Notes,
) -> Option<FloatHistogram> {
    // Where buckets turn out not to fit, the note about that is the only one.
    let mut found = Notes::default();
    match attempt(hists, resets, counter, &mut found) {
        Ok(h) => {
            notes.merge(found);
            Some(h)
        }
        Err(Refused { keep_notes }) => {
            if keep_notes {
                notes.merge(found);
            }
            notes.add(Note::Schemas);
            None
        }
    }
}

/// Exponential and custom buckets in one window.
struct Refused {
    keep_notes: bool,
}

fn attempt(
    hists: &[Hist<'_>],
    resets: &[bool],
    counter: bool,
    notes: &mut Notes,
) -> Result<FloatHistogram, Refused> {
    let (first, last) = (hists[0].h, hists[hists.len() - 1].h);
    let gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
    if counter && (gauge(first) || gauge(last)) {
        notes.add(Note::NotCounter);
    }
    // A first sample that a reset follows at once is not looked at, whatever its buckets.
    let empty;
    let mut previous: &FloatHistogram = first;
    let nothing_before = counter && resets[1];
    if nothing_before {
        let second = hists[1].h;
        empty = FloatHistogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            ..FloatHistogram::default()
        };
        previous = &empty;
    }
    let custom = previous.uses_custom_buckets();
    if last.uses_custom_buckets() != custom {
        return Err(Refused { keep_notes: true });
    }
    let refused = Refused { keep_notes: false };
    let mut schema = last.schema.min(previous.schema);
    if counter {
        for hist in &hists[1..hists.len() - 1] {
            if gauge(hist.h) {
                notes.add(Note::NotCounter);
            }
            schema = schema.min(hist.h.schema);
            if hist.h.uses_custom_buckets() != custom {
                return Err(refused);
            }
        }
    }
    let mut h = last.to_schema(schema);
    if !sub(&mut h, previous, notes) {
        return Err(refused);
    }
    if counter {
        let mut overlapped = false;
        for i in 1..hists.len() {
            overlapped |= overlaps(timed(&hists[i - 1]), timed(&hists[i]));
            let reset = match i {
                1 if nothing_before => {
                    is_reset(timed(&hists[0]), timed(&hists[1])) || hists[1].h.detect_reset(previous)
                }
                _ => resets[i],
            };
            if reset && !add(&mut h, previous, notes) {
                return Err(refused);
            }
            previous = hists[i].h;
        }
        notes.overlaps += u64::from(overlapped);
    } else if !gauge(first) || !gauge(last) {
        notes.add(Note::NotGauge);
    }
    h.counter_reset_hint = CounterResetHint::Gauge;
    h.compact(0);
    Ok(h)
}
