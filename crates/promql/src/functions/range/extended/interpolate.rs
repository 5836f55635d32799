//! The value at a time between two samples.
//!
//! Holds linear interpolation of floats and of histograms. It knows no window. Invariant: a counter
//! that was reset in between is taken to have risen from zero all the way.

use model::{FloatHistogram, Millis};

use crate::functions::range::histogram_rate::{add, sub};
use crate::functions::range::notes::Notes;
use crate::functions::range::window::Hist;

/// Between two floats.
pub(super) fn float((t1, v1): (Millis, f64), (t2, v2): (Millis, f64), t: Millis, counter: bool) -> f64 {
    let v1 = if counter && v2 < v1 { 0.0 } else { v1 };
    v1 + (v2 - v1) * (t - t1) as f64 / (t2 - t1) as f64
}

/// Between two histograms; `None` (with a note) where their buckets do not fit.
pub(super) fn histogram(
    a: &Hist<'_>,
    b: &Hist<'_>,
    t: Millis,
    counter: bool,
    notes: &mut Notes,
) -> Option<FloatHistogram> {
    if t == a.t {
        return Some(FloatHistogram::clone(a.h));
    }
    let mut h = FloatHistogram::clone(b.h);
    if t == b.t {
        return Some(h);
    }
    let fraction = (t - a.t) as f64 / (b.t - a.t) as f64;
    if counter && b.h.detect_reset(a.h) {
        h.scale(fraction);
        return Some(h);
    }
    if !sub(&mut h, a.h, notes) {
        return None;
    }
    h.scale(fraction);
    add(&mut h, a.h, notes).then_some(h)
}
