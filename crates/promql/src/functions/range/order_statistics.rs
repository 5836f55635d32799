//! `quantile_over_time` and `mad_over_time`: what needs a window in order.
//!
//! Holds both kernels and the sorted window that slides along. It knows no histogram quantile.
//! Invariant: a sorted window is what sorting it afresh (stably, NaN first) would give.

use std::collections::HashMap;

use super::RangeContext;
use super::notes::{Note, Notes};
use super::window::Split;
use crate::Column;
use crate::annotations::Annotation;
use crate::functions::quantile::{nan_first, quantile, quantile_of_sorted};

/// A window's floats in order.
#[derive(Default)]
struct Sorted {
    values: Vec<f64>,
    lo: usize,
    hi: usize,
}

impl Sorted {
    /// Makes this the window `lo..hi` of `all`; windows only move forward.
    fn slide(&mut self, all: &[f64], lo: usize, hi: usize) -> &[f64] {
        let moved = lo.saturating_sub(self.lo) + (hi - self.hi.min(hi));
        if lo >= self.hi || moved > (hi - lo) / 4 {
            self.values.clear();
            self.values.extend_from_slice(&all[lo..hi]);
            self.values.sort_by(nan_first);
        } else {
            for v in &all[self.lo..lo] {
                // Of equal values the oldest stands first.
                let at = self.values.partition_point(|x| nan_first(x, v).is_lt());
                self.values.remove(at);
            }
            for v in &all[self.hi..hi] {
                let at = self.values.partition_point(|x| nan_first(x, v).is_le());
                self.values.insert(at, *v);
            }
        }
        (self.lo, self.hi) = (lo, hi);
        &self.values
    }
}

/// The quantile of a window's floats.
pub(super) fn quantile_over_time(
    ctx: &mut RangeContext<'_>,
    split: &Split<'_>,
    notes: &mut Notes,
    out: &mut Column,
) {
    let q = &ctx.params[0];
    let mut sorted = Sorted::default();
    let mut invalid: HashMap<u64, f64> = HashMap::new();
    split.walk(&ctx.windows, (0, 0), |view| {
        if view.values.is_empty() {
            return;
        }
        if !view.hists.is_empty() {
            notes.add(Note::Ignored);
        }
        let q = q.at(view.step);
        if !(0.0..=1.0).contains(&q) {
            invalid.insert(q.to_bits(), q);
        }
        let window = sorted.slide(&split.values, view.first, view.first + view.values.len());
        out.set(view.step, quantile_of_sorted(q, window));
    });
    for q in invalid.into_values() {
        ctx.annotations.add(Annotation::invalid_quantile(q, ctx.span));
    }
}

/// The median distance of a window's floats from their median; NaN where one is NaN.
pub(super) fn mad_over_time(ctx: &RangeContext<'_>, split: &Split<'_>, notes: &mut Notes, out: &mut Column) {
    let mut sorted = Sorted::default();
    split.walk(&ctx.windows, (0, 0), |view| {
        if view.values.is_empty() {
            return;
        }
        if !view.hists.is_empty() {
            notes.add(Note::Ignored);
        }
        let window = sorted.slide(&split.values, view.first, view.first + view.values.len());
        if window[0].is_nan() {
            out.set(view.step, f64::NAN);
            return;
        }
        let median = quantile_of_sorted(0.5, window);
        out.set(view.step, median_distance(window, median));
    });
}

/// The median of the distances from `median`, of values in order.
fn median_distance(sorted: &[f64], median: f64) -> f64 {
    let n = sorted.len();
    let distance = |i: usize| (sorted[i] - median).abs();
    if !distance(0).is_finite() || !distance(n - 1).is_finite() {
        let mut all: Vec<f64> = (0..n).map(distance).collect();
        return quantile(0.5, &mut all);
    }
    // From the middle on distances rise to both sides.
    let split = sorted.partition_point(|v| *v < median);
    let (below, above) = (|i: usize| distance(split - 1 - i), |i: usize| distance(split + i));
    // The distance number `k` of both sides in order.
    let nth = |k: usize| {
        // How many of the first `k` lie below.
        let (mut from, mut to) = (k.saturating_sub(n - split), k.min(split));
        while from < to {
            let mid = from + (to - from) / 2;
            match below(mid) <= above(k - mid - 1) {
                true => from = mid + 1,
                false => to = mid,
            }
        }
        match (from < split, k - from < n - split) {
            (true, true) => below(from).min(above(k - from)),
            (true, false) => below(from),
            (false, _) => above(k - from),
        }
    };
    let rank = 0.5 * (n as f64 - 1.0);
    let lower = rank.floor() as usize;
    let (low, weight) = (nth(lower), rank - rank.floor());
    let high = if lower + 1 < n { nth(lower + 1) } else { low };
    low * (1.0 - weight) + high * weight
}
