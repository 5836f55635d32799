//! `anchored` and `smoothed` selectors: the sample before the window, or values interpolated at its
//! ends.
//!
//! Holds `rate`, `increase` and `delta` over such selectors, and what the selectors give by
//! themselves. It knows no extrapolation (see `rate`). Invariant: a window's margins reach one
//! lookback delta beyond it, and a sample outside of the margins is never used. Read next:
//! `interpolate`, which does the arithmetic between two samples.

mod histograms;
mod interpolate;

use std::sync::Arc;

use model::{Millis, Samples};

use super::notes::{Note, Notes};
use super::rate::Mode;
use super::window::{Hist, Split, View};
use super::{RangeContext, Windows};
use crate::Column;
use crate::parse::Extended;
use interpolate::{float, histogram};

/// Which samples stand at the ends of a window, and how.
#[derive(Clone, Copy)]
struct Ends {
    /// The last sample at or before the start, or the first one behind it.
    first: usize,
    /// The last sample, or (smoothed) the first one at or behind the end.
    last: usize,
    start: Millis,
    end: Millis,
    smoothed: bool,
}

impl Ends {
    /// `None` where no sample tells of the window.
    fn find(
        n: usize,
        t: impl Fn(usize) -> Millis,
        (start, end): (Millis, Millis),
        smoothed: bool,
    ) -> Option<Ends> {
        let search = |n: usize, beyond: &dyn Fn(Millis) -> bool| {
            let (mut lo, mut hi) = (0, n);
            while lo < hi {
                let mid = (lo + hi) / 2;
                if beyond(t(mid)) { hi = mid } else { lo = mid + 1 }
            }
            lo
        };
        let mut last = n.checked_sub(1)?;
        let first = search(last, &|t| t > start).saturating_sub(1);
        if smoothed {
            last = search(last, &|t| t >= end);
        }
        if t(last) <= start || (smoothed && t(first) > end) {
            return None;
        }
        Some(Ends { first, last, start, end, smoothed })
    }

    /// Whether the value at the start lies between two samples.
    fn between_left(&self, t: impl Fn(usize) -> Millis) -> bool {
        self.smoothed && t(self.first) < self.start
    }

    /// Whether the value at the end lies between two samples.
    fn between_right(&self, t: impl Fn(usize) -> Millis) -> bool {
        self.smoothed && self.last > 0 && t(self.last) > self.end
    }
}

fn margins(ctx: &RangeContext<'_>) -> (Millis, Millis) {
    match ctx.extended {
        Extended::Smoothed => (ctx.lookback, ctx.lookback),
        Extended::Anchored | Extended::None => (ctx.lookback, 0),
    }
}

/// Evaluates every window of `rate`, `increase` or `delta`.
pub(super) fn rate(
    ctx: &RangeContext<'_>,
    mode: Mode,
    split: &Split<'_>,
    notes: &mut Notes,
    out: &mut Column,
) {
    let smoothed = ctx.extended == Extended::Smoothed;
    let seconds = ctx.windows.seconds();
    split.walk(&ctx.windows, margins(ctx), |view| {
        if !view.values.is_empty() && !view.hists.is_empty() {
            notes.add(Note::Mixed);
        } else if !view.values.is_empty() {
            if let Some(v) = of_floats(&view, mode, smoothed) {
                out.set(view.step, if mode.per_second { v / seconds } else { v });
            }
        } else if let Some(mut h) = histograms::increase(&view, mode, smoothed, notes) {
            if mode.per_second {
                h.divide(seconds);
            }
            h.counter_reset_hint = model::CounterResetHint::Gauge;
            h.compact(0);
            out.push_histogram(view.step, Arc::new(h));
        }
    });
}

/// The values at the ends of a window.
fn float_ends(ts: &[Millis], values: &[f64], ends: &Ends, counter: bool) -> (f64, f64) {
    let (first, last) = (ends.first, ends.last);
    let point = |i: usize| (ts[i], values[i]);
    let left = if ends.between_left(|i| ts[i]) {
        float(point(first), point(first + 1), ends.start, counter)
    } else {
        values[first]
    };
    let right = if ends.between_right(|i| ts[i]) {
        float(point(last - 1), point(last), ends.end, counter)
    } else {
        values[last]
    };
    (left, right)
}

/// The samples strictly within a window.
fn inner(ts: &[Millis], ends: &Ends) -> std::ops::Range<usize> {
    let first = ends.first + usize::from(ts[ends.first] <= ends.start);
    let last = ends.last + usize::from(ts[ends.last] < ends.end);
    first..last.max(first)
}

fn of_floats(view: &View<'_, '_>, mode: Mode, smoothed: bool) -> Option<f64> {
    let (ts, values) = (view.ts, view.values);
    let ends = Ends::find(ts.len(), |i| ts[i], (view.start, view.end), smoothed)?;
    let (left, right) = float_ends(ts, values, &ends, mode.counter);
    let mut value = right - left;
    if mode.counter {
        let (mut correction, mut before) = (0.0, left);
        for v in values[inner(ts, &ends)].iter().chain([&right]) {
            if *v < before {
                correction += before;
            }
            before = *v;
        }
        value += correction;
    }
    Some(value)
}

/// The floats of one window of an `anchored` or `smoothed` range selector, a sample at each end.
pub(crate) fn extend_floats(
    (ts, values): (&[Millis], &[f64]),
    (start, end): (Millis, Millis),
    smoothed: bool,
) -> (Vec<Millis>, Vec<f64>) {
    let Some(ends) = Ends::find(ts.len(), |i| ts[i], (start, end), smoothed) else {
        return Default::default();
    };
    let (left, right) = float_ends(ts, values, &ends, false);
    let inner = inner(ts, &ends);
    ([&[start], &ts[inner.clone()], &[end]].concat(), [&[left], &values[inner], &[right]].concat())
}

/// A `smoothed` instant selector: the value at each step, interpolated between its neighbours within
/// the lookback delta; without a later neighbour the earlier one stays.
pub(crate) fn smooth_instant(ctx: &mut RangeContext<'_>, samples: &Samples, out: &mut Column) {
    out.reset(ctx.windows.steps.count);
    let mut notes = Notes::default();
    let split = Split::new(samples, false);
    let windows = Windows { range: 0, ..ctx.windows };
    split.walk(&windows, (ctx.lookback, ctx.lookback), |view| {
        let t = view.end;
        if !view.values.is_empty() && !view.hists.is_empty() {
            notes.add(Note::Mixed);
        } else if !view.values.is_empty() {
            let at = view.ts.partition_point(|s| *s < t);
            let point = |i: usize| (view.ts[i], view.values[i]);
            if view.ts.get(at) == Some(&t) {
                out.set(view.step, view.values[at]);
            } else if at > 0 && at < view.ts.len() {
                out.set(view.step, float(point(at - 1), point(at), t, false));
            } else if at > 0 {
                out.set(view.step, view.values[at - 1]);
            }
        } else if let Some(h) = smooth_histogram(view.hists, t, &mut notes) {
            out.push_histogram(view.step, h);
        }
    });
    notes.write(ctx);
}

fn smooth_histogram(hists: &[Hist<'_>], t: Millis, notes: &mut Notes) -> Option<Arc<model::FloatHistogram>> {
    use model::CounterResetHint as Hint;
    let at = hists.partition_point(|h| h.t < t);
    let before = at.checked_sub(1).map(|i| hists[i]);
    match (before, hists.get(at)) {
        (_, Some(exact)) if exact.t == t => Some(exact.h.clone()),
        (Some(a), Some(b)) => {
            if a.h.uses_custom_buckets() != b.h.uses_custom_buckets() {
                notes.add(Note::Schemas);
                return None;
            }
            let gauges = a.h.counter_reset_hint == Hint::Gauge && b.h.counter_reset_hint == Hint::Gauge;
            histogram(&a, b, t, !gauges, notes).map(Arc::new)
        }
        // What the hint says of the sample before need not hold here.
        (Some(a), None) => {
            let mut h = a.h.clone();
            Arc::make_mut(&mut h).counter_reset_hint = Hint::Unknown;
            Some(h)
        }
        (None, _) => None,
    }
}
