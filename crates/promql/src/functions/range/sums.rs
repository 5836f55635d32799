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
use super::notes::{Note, Notes};
use super::window::{Hist, Split};
use crate::Column;

/// A running sum with its compensation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kahan {
    sum: f64,
    c: f64,
}

impl Kahan {
    /// Adds a term.
    #[inline]
    pub(super) fn add(&mut self, x: f64) {
        (self.sum, self.c) = kahan_inc(x, self.sum, self.c);
    }

    /// Sum and compensation together.
    #[inline]
    pub(super) fn plain(self) -> f64 {
        self.sum + self.c
    }
}

/// Largest total of whole numbers whose sums are all exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Sums of all values up to each, if no sum of neighbours can round.
fn exact_prefix(values: &[f64]) -> Option<Vec<f64>> {
    let mut size = 0.0;
    for v in values {
        size += v.abs();
        // Fails for NaN and infinities too.
        if v.trunc() != *v || size > EXACT {
            return None;
        }
    }
    let mut sum = 0.0;
    let mut out = Vec::with_capacity(values.len() + 1);
    out.push(0.0);
    out.extend(values.iter().map(|v| {
        sum += v;
        sum
    }));
    Some(out)
}

/// Walks windows of one kind of sample; a window of both is noted and left out.
fn apart<'a>(
    ctx: &RangeContext<'_>,
    split: &Split<'a>,
    notes: &mut Notes,
    out: &mut Column,
    floats: impl Fn(usize, &[f64]) -> f64,
    hists: impl Fn(&[Hist<'a>], &mut Notes) -> Result<FloatHistogram, IncompatibleSchema>,
) {
    split.walk(&ctx.windows, (0, 0), |view| {
        if view.hists.is_empty() {
            out.set(view.step, floats(view.first, view.values));
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
    match exact_prefix(&split.values) {
        Some(p) => {
            apart(ctx, split, notes, out, |first, v| p[first + v.len()] - p[first], sum_of_histograms);
        }
        None => apart(ctx, split, notes, out, |_, v| sum_of(v), sum_of_histograms),
    }
}

fn sum_of(values: &[f64]) -> f64 {
    let mut total = Kahan::default();
    values.iter().for_each(|v| total.add(*v));
    if total.sum.is_infinite() { total.sum } else { total.plain() }
}

/// The mean.
pub(super) fn avg(ctx: &RangeContext<'_>, split: &Split<'_>, notes: &mut Notes, out: &mut Column) {
    match exact_prefix(&split.values) {
        Some(p) => {
            let mean = |first: usize, v: &[f64]| (p[first + v.len()] - p[first]) / v.len() as f64 + 0.0;
            apart(ctx, split, notes, out, mean, avg_of_histograms);
        }
        None => apart(ctx, split, notes, out, |_, v| avg_of(v), avg_of_histograms),
    }
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
    let mut sum = FloatHistogram::clone(hists[0].h);
    met.hint(&sum);
    let mut c: Option<FloatHistogram> = None;
    let mut incremental = false;
    let mut count = 1.0;
    for hist in &hists[1..] {
        met.hint(hist.h);
        count += 1.0;
        if !incremental {
            let (mut next, mut next_c) = (sum.clone(), c.clone());
            met.reconciled |= next.kahan_add(hist.h, &mut next_c)?.bounds_reconciled;
            if !next.has_overflow() {
                (sum, c) = (next, next_c);
                continue;
            }
            // From here on `sum` is the mean so far.
            incremental = true;
            sum.divide(count - 1.0);
            if let Some(c) = &mut c {
                c.divide(count - 1.0);
            }
        }
        let q = (count - 1.0) / count;
        if let Some(c) = &mut c {
            c.scale(q);
        }
        let mut part = FloatHistogram::clone(hist.h);
        part.divide(count);
        sum.scale(q);
        met.reconciled |= sum.kahan_add(&part, &mut c)?.bounds_reconciled;
    }
    if !incremental {
        sum.divide(count);
    }
    if let Some(mut c) = c {
        if !incremental {
            c.divide(count);
        }
        sum.add(&c)?;
    }
    met.note(notes);
    Ok(sum)
}

/// Variance of the floats, or (`root`) standard deviation.
pub(super) fn variance(
    ctx: &RangeContext<'_>,
    root: bool,
    split: &Split<'_>,
    notes: &mut Notes,
    out: &mut Column,
) {
    split.walk(&ctx.windows, (0, 0), |view| {
        if view.values.is_empty() {
            return;
        }
        if !view.hists.is_empty() {
            notes.add(Note::Ignored);
        }
        let variance = variance_of(view.values);
        out.set(view.step, if root { variance.sqrt() } else { variance });
    });
}

fn variance_of(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Kahan::default(), Kahan::default());
    let mut count = 0.0;
    for v in values {
        count += 1.0;
        let delta = v - mean.plain();
        mean.add(delta / count);
        squares.add(delta * (v - mean.plain()));
    }
    squares.plain() / count
}
