//! `sum_`, `avg_`, `stddev_` and `stdvar_over_time`.
//!
//! Holds compensated sums over floats and over histograms. It knows no group (see the engine's
//! aggregations). Invariant: each window is summed afresh in order of time, so that rounding is
//! Prometheus'; only where no rounding can happen (whole numbers of moderate size) do windows share
//! their sums.

use std::sync::Arc;

use model::histogram::{IncompatibleSchema, kahan_inc};
use model::{CounterResetHint, FloatHistogram};

use super::RangeContext;
use super::kahan::{Groups, Lanes, Span, shared, sums};
use super::notes::{Note, Notes};
use super::window::{Hist, Split};
use crate::Column;

/// Largest total of whole numbers whose sums are all exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Whether no sum of neighbours can round: whole numbers of moderate size.
fn is_exact(values: &[f64]) -> bool {
    let mut size = 0.0;
    values.iter().all(|v| {
        size += v.abs();
        // Fails for NaN and infinities too.
        v.trunc() == *v && size <= EXACT
    })
}

/// The sum of a window that moves over values whose sums are exact.
#[derive(Default)]
struct Moving {
    sum: f64,
    lo: usize,
    hi: usize,
}

impl Moving {
    fn to(&mut self, values: &[f64], first: usize, count: usize) -> f64 {
        let end = first + count;
        if first >= self.hi {
            (self.sum, self.lo, self.hi) = (0.0, first, first);
        }
        values[self.hi..end].iter().for_each(|v| self.sum += v);
        values[self.lo..first].iter().for_each(|v| self.sum -= v);
        (self.lo, self.hi) = (first, end);
        self.sum
    }
}

/// Walks windows of one kind of sample, handing those of floats on; a window of both kinds is noted
/// and left out.
fn apart<'a>(
    ctx: &RangeContext<'_>,
    split: &Split<'a>,
    notes: &mut Notes,
    out: &mut Column,
    mut floats: impl FnMut(Span, &mut Column),
    hists: impl Fn(&[Hist<'a>], &mut Notes) -> Result<FloatHistogram, IncompatibleSchema>,
) {
    split.walk(&ctx.windows, (0, 0), |view| {
        if view.hists.is_empty() {
            floats((view.step, view.first, view.values.len()), out);
        } else if !view.values.is_empty() {
            notes.add(Note::Mixed);
        } else {
            let mut found = Notes::default();
            match hists(view.hists, &mut found) {
                Ok(h) => {
                    notes.merge(found);
                    out.push_histogram(view.step, Arc::new(h));
                }
                Err(IncompatibleSchema) => notes.add(Note::Schemas),
            }
        }
    });
}

/// The sum.
pub(super) fn sum(ctx: &RangeContext<'_>, split: &Split<'_>, notes: &mut Notes, out: &mut Column) {
    let values = &*split.values;
    if is_exact(values) {
        let mut moving = Moving::default();
        let add =
            |(step, first, count): Span, out: &mut Column| out.set(step, moving.to(values, first, count));
        return apart(ctx, split, notes, out, add, sum_of_histograms);
    }
    let write = |group, out: &mut Column| {
        sums(group, values, |step, window, sum, c| {
            let exact = sum.is_finite() && c.is_finite();
            out.set(step, if exact { sum + c } else { sum_of(&values[window]) });
        });
    };
    let mut groups = Groups::default();
    let add = |window: Span, out: &mut Column| groups.push(window, |group| write(group, out));
    apart(ctx, split, notes, out, add, sum_of_histograms);
    groups.finish(|group| write(group, out));
}

fn sum_of(values: &[f64]) -> f64 {
    let (sum, c) = values.iter().fold((0.0, 0.0), |(sum, c), v| kahan_inc(*v, sum, c));
    if sum.is_infinite() { sum } else { sum + c }
}

/// The mean.
pub(super) fn avg(ctx: &RangeContext<'_>, split: &Split<'_>, notes: &mut Notes, out: &mut Column) {
    let values = &*split.values;
    if is_exact(values) {
        let mut moving = Moving::default();
        let add = |(step, first, count): Span, out: &mut Column| {
            // Adding zero is adding the compensation: it makes -0 a 0.
            out.set(step, moving.to(values, first, count) / count as f64 + 0.0);
        };
        return apart(ctx, split, notes, out, add, avg_of_histograms);
    }
    let write = |group, out: &mut Column| {
        sums(group, values, |step, window, sum, c| {
            let exact = sum.is_finite() && c.is_finite();
            let count = window.len() as f64;
            out.set(step, if exact { sum / count + c / count } else { avg_of(&values[window]) });
        });
    };
    let mut groups = Groups::default();
    let add = |window: Span, out: &mut Column| groups.push(window, |group| write(group, out));
    apart(ctx, split, notes, out, add, avg_of_histograms);
    groups.finish(|group| write(group, out));
}

fn avg_of(values: &[f64]) -> f64 {
    let (mut sum, mut c) = (values[0], 0.0);
    for (i, v) in values.iter().enumerate().skip(1) {
        let (new_sum, new_c) = kahan_inc(*v, sum, c);
        if new_sum.is_infinite() {
            return incremental_mean(values, i, sum / i as f64, c / i as f64);
        }
        (sum, c) = (new_sum, new_c);
    }
    let count = values.len() as f64;
    sum / count + c / count
}

/// The mean of values whose sum overflows at index `from`, given the mean of those before.
fn incremental_mean(values: &[f64], from: usize, mut mean: f64, mut c: f64) -> f64 {
    for (i, v) in values.iter().enumerate().skip(from) {
        let count = (i + 1) as f64;
        let q = (count - 1.0) / count;
        (mean, c) = kahan_inc(v / count, q * mean, q * c);
    }
    mean + c
}

/// Hints and bounds met while histograms are summed up.
#[derive(Default)]
struct Met {
    reset: bool,
    not_reset: bool,
    reconciled: bool,
}

impl Met {
    fn hint(&mut self, h: &FloatHistogram) {
        self.reset |= h.counter_reset_hint == CounterResetHint::Reset;
        self.not_reset |= h.counter_reset_hint == CounterResetHint::NotReset;
    }

    fn note(&self, notes: &mut Notes) {
        if self.reset && self.not_reset {
            notes.add(Note::Collision);
        }
        if self.reconciled {
            notes.add(Note::ReconciledAggregate);
        }
    }
}

fn sum_of_histograms(hists: &[Hist<'_>], notes: &mut Notes) -> Result<FloatHistogram, IncompatibleSchema> {
    let mut met = Met::default();
    let mut sum = FloatHistogram::clone(hists[0].h);
    met.hint(&sum);
    let mut c = None;
    for hist in &hists[1..] {
        met.hint(hist.h);
        met.reconciled |= sum.kahan_add(hist.h, &mut c)?.bounds_reconciled;
    }
    if let Some(c) = c {
        met.reconciled |= sum.add(&c)?.bounds_reconciled;
    }
    met.note(notes);
    Ok(sum)
}

fn avg_of_histograms(hists: &[Hist<'_>], notes: &mut Notes) -> Result<FloatHistogram, IncompatibleSchema> {
    let mut met = Met::default();
    let (mut sum, mut c) = (FloatHistogram::clone(hists[0].h), None);
    met.hint(&sum);
    let mut added = 1;
    for hist in &hists[1..] {
        met.hint(hist.h);
        met.reconciled |= sum.kahan_add(hist.h, &mut c)?.bounds_reconciled;
        if sum.has_overflow() {
            break;
        }
        added += 1;
    }
    let count = hists.len() as f64;
    if added == hists.len() {
        sum.divide(count);
        if let Some(mut c) = c {
            c.divide(count);
            sum.add(&c)?;
        }
    } else {
        sum = incremental_histogram_mean(hists, added, &mut met)?;
    }
    met.note(notes);
    Ok(sum)
}

/// The mean of histograms of which the first `added` can be summed up, and no more without overflow.
fn incremental_histogram_mean(
    hists: &[Hist<'_>],
    added: usize,
    met: &mut Met,
) -> Result<FloatHistogram, IncompatibleSchema> {
    let (mut mean, mut c) = (FloatHistogram::clone(hists[0].h), None);
    for hist in &hists[1..added] {
        mean.kahan_add(hist.h, &mut c)?;
    }
    mean.divide(added as f64);
    if let Some(c) = &mut c {
        c.divide(added as f64);
    }
    for (i, hist) in hists.iter().enumerate().skip(added) {
        met.hint(hist.h);
        let count = (i + 1) as f64;
        let q = (count - 1.0) / count;
        if let Some(c) = &mut c {
            c.scale(q);
        }
        let mut part = FloatHistogram::clone(hist.h);
        part.divide(count);
        mean.scale(q);
        met.reconciled |= mean.kahan_add(&part, &mut c)?.bounds_reconciled;
    }
    if let Some(c) = c {
        mean.add(&c)?;
    }
    Ok(mean)
}

/// Variance of the floats, or (`root`) standard deviation.
pub(super) fn variance(
    ctx: &RangeContext<'_>,
    root: bool,
    split: &Split<'_>,
    notes: &mut Notes,
    out: &mut Column,
) {
    let values = &*split.values;
    let write = |group: [Span; 4], out: &mut Column| {
        let shared = shared(&group);
        let mut running = Running::default();
        for i in 0..shared {
            running.add((i + 1) as f64, group.map(|(_, first, _)| values[first + i]));
        }
        for (lane, (step, first, count)) in group.into_iter().enumerate() {
            let mut own = running.lane(lane);
            for i in shared..count {
                own.add((i + 1) as f64, [values[first + i]]);
            }
            let mut variance = own.squares.total(0) / count as f64;
            if !variance.is_finite() {
                variance = variance_of(&values[first..first + count]);
            }
            out.set(step, if root { variance.sqrt() } else { variance });
        }
    };
    let mut groups = Groups::default();
    split.walk(&ctx.windows, (0, 0), |view| {
        if view.values.is_empty() {
            return;
        }
        if !view.hists.is_empty() {
            notes.add(Note::Ignored);
        }
        groups.push((view.step, view.first, view.values.len()), |group| write(group, out));
    });
    groups.finish(|group| write(group, out));
}

/// Welford's running mean and squares, several windows side by side.
#[derive(Default)]
struct Running<const N: usize> {
    mean: Lanes<N>,
    squares: Lanes<N>,
}

impl<const N: usize> Running<N> {
    /// Adds the sample number `count` of each window.
    #[inline(always)]
    fn add(&mut self, count: f64, values: [f64; N]) {
        let delta: [f64; N] = std::array::from_fn(|i| values[i] - self.mean.total(i));
        self.mean.add(delta.map(|d| d / count));
        self.squares.add(std::array::from_fn(|i| delta[i] * (values[i] - self.mean.total(i))));
    }

    fn lane(&self, i: usize) -> Running<1> {
        Running { mean: self.mean.lane(i), squares: self.squares.lane(i) }
    }
}

/// The same with every step of Prometheus', for values that overflow.
fn variance_of(values: &[f64]) -> f64 {
    let (mut mean, mut mean_c, mut squares, mut squares_c, mut count) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for v in values {
        count += 1.0;
        let delta = v - (mean + mean_c);
        (mean, mean_c) = kahan_inc(delta / count, mean, mean_c);
        (squares, squares_c) = kahan_inc(delta * (v - (mean + mean_c)), squares, squares_c);
    }
    (squares + squares_c) / count
}
