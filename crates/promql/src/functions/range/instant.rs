//! `irate` and `idelta`: the last two samples of a window.
//!
//! Holds both kernels for floats and histograms. It knows no extrapolation. Invariant: a float next
//! to a histogram gives no result, only a note.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, Millis, Samples};

use super::RangeContext;
use super::notes::{Note, Notes};
use super::start_time::{Timed, is_reset};
use crate::Column;

/// Evaluates every window; `rate` is `irate`.
pub(super) fn eval(
    ctx: &RangeContext<'_>,
    rate: bool,
    samples: &Samples,
    with_starts: bool,
    notes: &mut Notes,
    out: &mut Column,
) {
    let starts: &[Millis] = if with_starts { &samples.start_ts } else { &[] };
    let timed = |i: usize| Timed { start: starts.get(i).copied().unwrap_or(0), t: samples.ts[i] };
    ctx.windows.walk(&samples.ts, (0, 0), |window, range| {
        if range.len() < 2 {
            return;
        }
        let (before, last) = (range.end - 2, range.end - 1);
        let interval = samples.ts[last] - samples.ts[before];
        if interval == 0 {
            return;
        }
        let seconds = interval as f64 / 1000.0;
        let started = rate && is_reset(timed(before), timed(last));
        if samples.hists.is_empty() {
            let (a, b) = (samples.values[before], samples.values[last]);
            let value = if rate && (b < a || started) { b } else { b - a };
            out.set(window.step, if rate { value / seconds } else { value });
            return;
        }
        match (samples.histogram(before), samples.histogram(last)) {
            (None, None) => {
                let (a, b) = (samples.values[before], samples.values[last]);
                let value = if rate && (b < a || started) { b } else { b - a };
                out.set(window.step, if rate { value / seconds } else { value });
            }
            (Some(a), Some(b)) => {
                if let Some(mut h) = between(a, b, rate, started, notes) {
                    if rate {
                        h.divide(seconds);
                    }
                    out.push_histogram(window.step, Arc::new(h));
                }
            }
            _ => notes.add(Note::Mixed),
        }
    });
}

fn between(
    a: &FloatHistogram,
    b: &FloatHistogram,
    rate: bool,
    started: bool,
    notes: &mut Notes,
) -> Option<FloatHistogram> {
    let gauges = [a, b].iter().filter(|h| h.counter_reset_hint == CounterResetHint::Gauge).count();
    if rate && gauges > 0 {
        notes.add(Note::NotCounter);
    }
    if !rate && gauges < 2 {
        notes.add(Note::NotGauge);
    }
    let mut h = b.clone();
    if (!rate || (!started && !b.detect_reset(a))) && !super::histogram_rate::sub(&mut h, a, notes) {
        return None;
    }
    h.counter_reset_hint = CounterResetHint::Gauge;
    h.compact(0);
    Some(h)
}
