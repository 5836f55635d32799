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

/// The last of at least two histograms minus the first, plus what resets lost.
pub(super) fn difference(hists: &[Hist<'_>], counter: bool, notes: &mut Notes) -> Option<FloatHistogram> {
    // Where buckets turn out not to fit, the note about that is the only one.
    let mut found = Notes::default();
    match attempt(hists, counter, &mut found) {
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

fn attempt(hists: &[Hist<'_>], counter: bool, notes: &mut Notes) -> Result<FloatHistogram, Refused> {
    let (first, last) = (hists[0].h, hists[hists.len() - 1].h);
    let gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
    if counter && (gauge(first) || gauge(last)) {
        notes.add(Note::NotCounter);
    }
    let resets_at = |i: usize, previous: &FloatHistogram| {
        is_reset(timed(&hists[i - 1]), timed(&hists[i])) || hists[i].h.detect_reset(previous)
    };
    // A first sample that a reset follows at once is not looked at, whatever its buckets.
    let empty;
    let mut previous: &FloatHistogram = first;
    if counter && resets_at(1, first) {
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
            if resets_at(i, previous) && !add(&mut h, previous, notes) {
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
