//! Thanos' `xrate`, `xincrease` and `xdelta`, which take in the sample before the window.
//!
//! Holds the kernel of the three and the buffer it reads through. It knows no histogram: those are
//! refused. Invariant: answers are Thanos' own, which depend on the steps before: the one sample read
//! beyond a window is lost when the next window starts behind it. Nothing is extrapolated beyond the
//! sample before. Reference: `promql-engine`, `ringbuffer/functions.go`, `matrix_selector.go`.

use std::collections::VecDeque;

use model::{Millis, Samples};

use super::RangeContext;
use super::rate::Mode;
use crate::Column;

/// How far before a window the sample before it may lie.
pub(super) const LOOKBACK: Millis = 3_600_000;

/// A window with the sample before it.
struct Reach<'a> {
    ts: &'a [Millis],
    values: &'a [f64],
    start: Millis,
    end: Millis,
    range: Millis,
    /// When the series' first known sample was.
    appeared: Millis,
}

/// Evaluates every window.
///
/// # Errors
/// The series has histograms.
pub(super) fn eval(
    ctx: &RangeContext<'_>,
    mode: Mode,
    samples: &Samples,
    out: &mut Column,
) -> Result<(), String> {
    if !samples.hists.is_empty() {
        return Err("native histograms are not supported in extended range functions".to_owned());
    }
    // What the selection reaches back to, from the first window on.
    let since = ctx.windows.end(0).saturating_sub(ctx.windows.range).saturating_sub(LOOKBACK);
    let known = samples.ts.partition_point(|t| *t < since);
    let Some(appeared) = samples.ts.get(known).copied() else {
        return Ok(());
    };
    let mut buffer = Buffer { next: known, ..Buffer::default() };
    let (mut ts, mut values) = (Vec::new(), Vec::new());
    for step in 0..ctx.windows.steps.count {
        let end = ctx.windows.end(step);
        let start = end.saturating_sub(ctx.windows.range);
        buffer.slide(&samples.ts, start, end);
        if buffer.held.is_empty() {
            continue;
        }
        ts.clear();
        ts.extend(buffer.held.iter().map(|i| samples.ts[*i]));
        values.clear();
        values.extend(buffer.held.iter().map(|i| samples.values[*i]));
        let range = ctx.windows.range;
        let reach = Reach { ts: &ts, values: &values, start, end, range, appeared };
        out.set(step, reach.eval(mode));
    }
    Ok(())
}

/// The samples of a window and the one before, by index, as Thanos' engine comes to hold them.
#[derive(Default)]
struct Buffer {
    held: VecDeque<usize>,
    /// Read, but behind the window.
    peeked: Option<usize>,
    next: usize,
}

impl Buffer {
    fn slide(&mut self, ts: &[Millis], start: Millis, end: Millis) {
        let mut outside = self.held.iter().take_while(|i| ts[**i] <= start).count();
        if outside > 0 && ts[self.held[outside - 1]] > start.saturating_sub(LOOKBACK) {
            outside -= 1;
        }
        self.held.drain(..outside);
        if self.peeked.is_some_and(|i| ts[i] > end) {
            return;
        }
        let newest = |held: &VecDeque<usize>| held.back().map_or(Millis::MIN, |i| ts[*i] + 1);
        let mut start = start.max(newest(&self.held));
        if let Some(peeked) = self.peeked.filter(|i| ts[*i] > start) {
            self.held.push_back(peeked);
            self.peeked = None;
            start = start.max(newest(&self.held));
        }
        let mut before = !self.held.is_empty();
        while self.next < ts.len() {
            let at = self.next;
            self.next += 1;
            if ts[at] > end {
                self.peeked = Some(at);
                return;
            }
            if before && ts[at] <= start {
                self.held.pop_back();
            }
            self.held.push_back(at);
            before = true;
        }
    }
}

impl Reach<'_> {
    fn eval(&self, mode: Mode) -> f64 {
        let (ts, values) = (self.ts, self.values);
        let last = ts.len() - 1;
        let xincrease = mode.counter && !mode.per_second;
        // A counter that has just appeared came from nothing.
        let constant = values.windows(2).all(|w| w[0] == w[1]);
        if xincrease && constant && self.end <= self.range.saturating_add(self.appeared) {
            return values[0];
        }
        let mut sampled = (ts[last] - ts[0]) as f64;
        let mut average = sampled / last as f64;
        let mut first = 0;
        // A sample before that lies too far off is left out.
        if !xincrease && (self.start - ts[0]) as f64 > average {
            if ts.len() < 3 {
                return 0.0;
            }
            first = 1;
            sampled = (ts[last] - ts[1]) as f64;
            average = sampled / (last - 1) as f64;
        }
        let mut correction = 0.0;
        if mode.counter {
            let mut before = 0.0;
            for v in &values[first..] {
                if *v < before {
                    correction += before;
                }
                before = *v;
            }
        }
        let mut value = values[last] - values[first] + correction;
        let seconds = (self.range / 1000) as f64;
        let covered = ts[first] <= self.start && ((self.end - ts[last]) as f64) < average;
        if !xincrease && covered {
            value *= seconds / (sampled / 1000.0);
        }
        if mode.per_second { value / seconds } else { value }
    }
}
