//! The increase of histograms over an anchored or smoothed window.
//!
//! Holds the histogram side of `rate`, `increase` and `delta` over such windows. It knows no floats.
//! Invariant: the sample at the right end is compared to the one before it once, by the value that
//! stands for it, since its own hint would tell of the reset a second time.

use model::{CounterResetHint, FloatHistogram};

use super::interpolate::histogram;
use super::{Ends, Mode};
use crate::functions::range::histogram_rate::{add, sub};
use crate::functions::range::notes::{Note, Notes};
use crate::functions::range::window::{Hist, View};

/// The difference of the window's ends, plus what resets lost; hint and layout are left to the caller.
pub(super) fn increase(
    view: &View<'_, '_>,
    mode: Mode,
    smoothed: bool,
    notes: &mut Notes,
) -> Option<FloatHistogram> {
    let hists = view.hists;
    let ends = Ends::find(hists.len(), |i| hists[i].t, (view.start, view.end), smoothed)?;
    let (first, last) = (ends.first, ends.last);
    let custom = hists[first].h.uses_custom_buckets();
    for hist in &hists[first..=last] {
        if hist.h.uses_custom_buckets() != custom {
            notes.add(Note::Schemas);
            return None;
        }
        if mode.counter && hist.h.counter_reset_hint == CounterResetHint::Gauge {
            notes.add(Note::NotCounter);
        }
    }
    let left = if ends.between_left(|i| hists[i].t) {
        histogram(&hists[first], &hists[first + 1], ends.start, mode.counter, notes)?
    } else {
        FloatHistogram::clone(hists[first].h)
    };
    let right = if ends.between_right(|i| hists[i].t) {
        histogram(&hists[last - 1], &hists[last], ends.end, mode.counter, notes)?
    } else {
        FloatHistogram::clone(hists[last].h)
    };
    let gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
    if !mode.counter && (!gauge(&left) || !gauge(&right)) {
        notes.add(Note::NotGauge);
    }
    let mut result = right.clone();
    if !sub(&mut result, &left, notes) {
        return None;
    }
    if mode.counter
        && let Some(lost) = correction(hists, &ends, &left, &right, notes)?
        && !add(&mut result, &lost, notes)
    {
        return None;
    }
    Some(result)
}

/// The sum of the values before each reset; `None` where buckets do not fit.
fn correction(
    hists: &[Hist<'_>],
    ends: &Ends,
    left: &FloatHistogram,
    right: &FloatHistogram,
    notes: &mut Notes,
) -> Option<Option<FloatHistogram>> {
    // The left value stands for the first sample.
    let mut from = ends.first + 1;
    let mut before = left;
    if ends.between_left(|i| hists[i].t) && hists[from].h.detect_reset(hists[ends.first].h) {
        // That reset is within the interpolated value already.
        before = hists[from].h;
        from += 1;
    }
    if from > ends.last {
        return Some(None);
    }
    let mut lost: Option<FloatHistogram> = None;
    let inner = hists[from..ends.last].iter().map(|hist| &**hist.h);
    for h in inner.chain([right]) {
        if h.detect_reset(before) {
            match &mut lost {
                None => lost = Some(before.clone()),
                Some(sum) => {
                    if !add(sum, before, notes) {
                        return None;
                    }
                }
            }
        }
        before = h;
    }
    Some(lost)
}
