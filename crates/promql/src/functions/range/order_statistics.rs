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
    let mut distances: Vec<f64> = Vec::new();
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
        distances.clear();
        distances.extend(window.iter().map(|v| (v - median).abs()));
        out.set(view.step, quantile(0.5, &mut distances));
    });
}
