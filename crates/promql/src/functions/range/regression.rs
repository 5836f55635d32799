//! `deriv`, `predict_linear` and `double_exponential_smoothing`.
//!
//! Holds the kernels that fit a line or a trend through a window's floats. It knows no histogram but
//! to note that it is left out. Invariant: sums are compensated and taken in order, as Prometheus'
//! `linearRegression` takes them.

use model::Millis;
use model::gofmt::float_fixed;
use model::histogram::kahan_inc;

use super::RangeContext;
use super::kahan::Lanes;
use super::notes::{Note, Notes};
use super::window::{Split, View};
use crate::Column;

/// Slope per second, and the value at `origin`, of the line through at least one sample.
fn regression(ts: &[Millis], values: &[f64], origin: Millis) -> (f64, f64) {
    let first = values[0];
    if values[1..].iter().all(|y| *y == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let terms = |t: &Millis, y: &f64| {
        // Far-off `@` times wrap, as in Go.
        let x = t.wrapping_sub(origin) as f64 / 1e3;
        [x, *y, x * y, x * x]
    };
    let mut sums = Lanes::<4>::default();
    for (t, y) in ts.iter().zip(values) {
        sums.add(terms(t, y));
    }
    let totals = if sums.is_finite() {
        [0, 1, 2, 3].map(|i| sums.total(i))
    } else {
        let mut slow = [(0.0, 0.0); 4];
        for (t, y) in ts.iter().zip(values) {
            let terms = terms(t, y);
            slow = std::array::from_fn(|i| kahan_inc(terms[i], slow[i].0, slow[i].1));
        }
        slow.map(|(sum, c)| sum + c)
    };
    let n = values.len() as f64;
    let [x, y, xy, xx] = totals;
    let covariance = xy - x * y / n;
    let variance = xx - x * x / n;
    let slope = covariance / variance;
    (slope, y / n - slope * x / n)
}

/// Whether there are two floats, noting histograms left out.
fn enough(view: &View<'_, '_>, notes: &mut Notes) -> bool {
    if !view.hists.is_empty() && !view.values.is_empty() {
        notes.add(Note::Ignored);
    }
    view.values.len() >= 2
}

/// The slope.
pub(super) fn deriv(ctx: &RangeContext<'_>, split: &Split<'_>, notes: &mut Notes, out: &mut Column) {
    split.walk(&ctx.windows, (0, 0), |view| {
        if enough(&view, notes) {
            // A nearby origin keeps the digits.
            out.set(view.step, regression(view.ts, view.values, view.ts[0]).0);
        }
    });
}

/// The line's value so many seconds after the evaluation time.
pub(super) fn predict_linear(ctx: &RangeContext<'_>, split: &Split<'_>, notes: &mut Notes, out: &mut Column) {
    split.walk(&ctx.windows, (0, 0), |view| {
        if enough(&view, notes) {
            let seconds = ctx.params[0].at(view.step);
            let (slope, value) = regression(view.ts, view.values, ctx.windows.steps.at(view.step));
            out.set(view.step, slope * seconds + value);
        }
    });
}

/// Holt's double exponential smoothing.
///
/// # Errors
/// A factor that is not between 0 and 1, at a step whose window has samples.
pub(super) fn smoothing(
    ctx: &RangeContext<'_>,
    split: &Split<'_>,
    notes: &mut Notes,
    out: &mut Column,
) -> Result<(), String> {
    let mut refused = None;
    split.walk(&ctx.windows, (0, 0), |view| {
        let (smooth, trend) = (ctx.params[0].at(view.step), ctx.params[1].at(view.step));
        for (name, short, factor) in [("smoothing", "sf", smooth), ("trend", "tf", trend)] {
            if (factor <= 0.0 || factor >= 1.0) && refused.is_none() {
                let got = float_fixed(factor, 6);
                refused = Some(format!("invalid {name} factor. Expected: 0 < {short} < 1, got: {got}"));
            }
        }
        if refused.is_none() && enough(&view, notes) {
            out.set(view.step, smoothed(view.values, smooth, trend));
        }
    });
    refused.map_or(Ok(()), Err)
}

fn smoothed(values: &[f64], smooth: f64, trend: f64) -> f64 {
    let (mut before, mut level) = (0.0, values[0]);
    let mut slope = values[1] - values[0];
    for (i, v) in values.iter().enumerate().skip(1) {
        let x = smooth * v;
        if i > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let y = (1.0 - smooth) * (level + slope);
        (before, level) = (level, x + y);
    }
    level
}
