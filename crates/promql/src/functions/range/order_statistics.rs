//! `quantile_over_time` and `mad_over_time`: what needs a window in order.
//!
//! Holds both kernels and the sorted window that slides along. It knows no histogram quantile.
//! Invariant: a sorted window is what sorting it afresh (stably, NaN first) would give.

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
    let mut invalid: Vec<f64> = Vec::new();
    split.walk(&ctx.windows, (0, 0), |view| {
        if view.values.is_empty() {
            return;
        }
        if !view.hists.is_empty() {
            notes.add(Note::Ignored);
        }
        let q = q.at(view.step);
        if !(0.0..=1.0).contains(&q) && !invalid.iter().any(|seen| seen.to_bits() == q.to_bits()) {
            invalid.push(q);
        }
        let window = sorted.slide(&split.values, view.first, view.first + view.values.len());
        out.set(view.step, quantile_of_sorted(q, window));
    });
    for q in invalid {
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
    // Distances fall up to the median and rise behind it: they are drawn in order from the middle.
    let (mut below, mut above) = (sorted.partition_point(|v| *v < median), 0);
    above += below;
    let mut draw = || {
        let low = below.checked_sub(1).map(&distance);
        let high = (above < n).then(|| distance(above));
        match (low, high) {
            (Some(low), Some(high)) if low <= high => {
                below -= 1;
                low
            }
            (Some(low), None) => {
                below -= 1;
                low
            }
            (_, Some(high)) => {
                above += 1;
                high
            }
            (None, None) => 0.0,
        }
    };
    let rank = 0.5 * (n as f64 - 1.0);
    let lower = rank.floor() as usize;
    (0..lower).for_each(|_| {
        draw();
    });
    let (low, weight) = (draw(), rank - rank.floor());
    let high = if lower + 1 < n { draw() } else { low };
    low * (1.0 - weight) + high * weight
}
