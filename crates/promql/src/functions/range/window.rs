//! Walking windows over sorted samples.
//!
//! Holds the two-pointer walk over one array of times and over the split form in which floats and
//! histograms stand apart, as Prometheus' functions see them. It knows no function. Invariant: both
//! ends of a window only ever move forward, so that a walk takes time in samples plus steps.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use model::{FloatHistogram, Millis, Samples};

use super::Windows;

/// A step's window over one array: `lo..hi` are the samples in `(start, end]`, margins included.
pub(super) struct Window {
    /// The step.
    pub(super) step: usize,
    /// Start of the window proper, exclusive.
    pub(super) start: Millis,
}

/// Moves `at` forward to the first time behind `t`.
#[inline]
pub(super) fn advance(ts: &[Millis], at: usize, t: Millis) -> usize {
    let mut at = at;
    while at < ts.len() && ts[at] <= t {
        at += 1;
    }
    at
}

impl Windows {
    /// Calls `visit` with every step whose window, widened by `before` and `after`, holds a sample.
    #[inline]
    pub(super) fn walk(
        &self,
        ts: &[Millis],
        (before, after): (Millis, Millis),
        mut visit: impl FnMut(Window, Range<usize>),
    ) {
        let (mut lo, mut hi) = (0, 0);
        for step in 0..self.steps.count {
            let end = self.end(step);
            let start = end.saturating_sub(self.range);
            hi = advance(ts, hi, end.saturating_add(after));
            lo = advance(&ts[..hi], lo, start.saturating_sub(before));
            if lo < hi {
                visit(Window { step, start }, lo..hi);
            }
        }
    }
}

/// A histogram sample.
#[derive(Clone, Copy)]
pub(super) struct Hist<'a> {
    /// Its time.
    pub(super) t: Millis,
    /// Its start time; 0 is unknown.
    pub(super) start: Millis,
    /// The histogram.
    pub(super) h: &'a Arc<FloatHistogram>,
}

/// A series with floats and histograms apart.
pub(super) struct Split<'a> {
    /// Times of the floats.
    pub(super) ts: Cow<'a, [Millis]>,
    /// The floats.
    pub(super) values: Cow<'a, [f64]>,
    /// Start times of the floats; empty where unknown or not asked for.
    pub(super) starts: Cow<'a, [Millis]>,
    /// The histograms.
    pub(super) hists: Vec<Hist<'a>>,
    /// Times of the histograms.
    hist_ts: Vec<Millis>,
}

/// The samples of one window.
pub(super) struct View<'w, 'a> {
    /// The step.
    pub(super) step: usize,
    /// Start of the window proper, exclusive.
    pub(super) start: Millis,
    /// End of the window proper, inclusive.
    pub(super) end: Millis,
    /// Times of the floats.
    pub(super) ts: &'w [Millis],
    /// The floats.
    pub(super) values: &'w [f64],
    /// Index of the first float within the series.
    pub(super) first: usize,
    /// The histograms.
    pub(super) hists: &'w [Hist<'a>],
    /// Index of the first histogram within the series' histograms.
    pub(super) first_hist: usize,
}

impl<'a> Split<'a> {
    /// Splits samples; without histograms nothing is copied.
    pub(super) fn new(samples: &'a Samples, with_starts: bool) -> Self {
        let with_starts = with_starts && !samples.start_ts.is_empty();
        let starts: &[Millis] = if with_starts { &samples.start_ts } else { &[] };
        if samples.hists.is_empty() {
            return Split {
                ts: Cow::Borrowed(&samples.ts),
                values: Cow::Borrowed(&samples.values),
                starts: Cow::Borrowed(starts),
                hists: Vec::new(),
                hist_ts: Vec::new(),
            };
        }
        let hists: Vec<Hist<'a>> = samples
            .hists
            .iter()
            .map(|at| {
                let i = at.index as usize;
                Hist { t: samples.ts[i], start: starts.get(i).copied().unwrap_or(0), h: &at.histogram }
            })
            .collect();
        let hist_ts = hists.iter().map(|h| h.t).collect();
        let mut next = samples.hists.iter().map(|at| at.index as usize).peekable();
        let floats: Vec<usize> = (0..samples.len()).filter(|i| next.next_if_eq(i).is_none()).collect();
        let pick = |from: &[Millis]| -> Vec<Millis> {
            if from.is_empty() { Vec::new() } else { floats.iter().map(|i| from[*i]).collect() }
        };
        Split {
            ts: Cow::Owned(pick(&samples.ts)),
            values: Cow::Owned(floats.iter().map(|i| samples.values[*i]).collect()),
            starts: Cow::Owned(pick(starts)),
            hists,
            hist_ts,
        }
    }

    /// Calls `visit` with every window, widened by the margins, that holds a sample.
    #[inline]
    pub(super) fn walk(
        &self,
        windows: &Windows,
        (before, after): (Millis, Millis),
        mut visit: impl FnMut(View<'_, 'a>),
    ) {
        let (ts, values) = (&*self.ts, &*self.values);
        let (mut lo, mut hi, mut hist_lo, mut hist_hi) = (0, 0, 0, 0);
        for step in 0..windows.steps.count {
            let end = windows.end(step);
            let start = end.saturating_sub(windows.range);
            hi = advance(ts, hi, end.saturating_add(after));
            lo = advance(&ts[..hi], lo, start.saturating_sub(before));
            if !self.hists.is_empty() {
                hist_hi = advance(&self.hist_ts, hist_hi, end.saturating_add(after));
                hist_lo = advance(&self.hist_ts[..hist_hi], hist_lo, start.saturating_sub(before));
            }
            if lo == hi && hist_lo == hist_hi {
                continue;
            }
            visit(View {
                step,
                start,
                end,
                ts: &ts[lo..hi],
                values: &values[lo..hi],
                first: lo,
                hists: &self.hists[hist_lo..hist_hi],
                first_hist: hist_lo,
            });
        }
    }
}
