//! `changes` and `resets`: how often neighbours differ.
//!
//! Holds both kernels. It knows no rate. Invariant: whether two neighbours count does not depend on
//! the window, so that a window's number follows from the one before by what enters and what leaves.

use model::{FloatHistogram, Millis, Samples};

use super::RangeContext;
use super::start_time::{Timed, is_reset};
use super::window::advance;
use crate::Column;
use crate::parse::Extended;

/// Two neighbours.
enum Pair<'a> {
    Floats(f64, f64),
    Hists(&'a FloatHistogram, &'a FloatHistogram),
    /// One of each.
    Mixed,
}

/// How many of the pairs up to each sample count. Only series with histograms need the list: of two
/// floats it is quicker to tell again.
fn counted(samples: &Samples, mut counts: impl FnMut(usize, Pair<'_>) -> bool) -> Vec<u32> {
    let values = &samples.values;
    let mut total = 0;
    let mut hists = samples.hists.iter().peekable();
    let mut last = hists.next_if(|h| h.index == 0).map(|h| &*h.histogram);
    let mut out = Vec::with_capacity(samples.len());
    out.push(0);
    for i in 1..samples.len() {
        let hist = hists.next_if(|h| h.index as usize == i).map(|h| &*h.histogram);
        let pair = match (last, hist) {
            (None, None) => Pair::Floats(values[i - 1], values[i]),
            (Some(a), Some(b)) => Pair::Hists(a, b),
            _ => Pair::Mixed,
        };
        total += u32::from(counts(i, pair));
        out.push(total);
        last = hist;
    }
    out
}

/// The number of changes of value; a float next to a histogram is one.
pub(super) fn changes(ctx: &RangeContext<'_>, samples: &Samples, out: &mut Column) {
    let changed = |a: f64, b: f64| a != b && !(a.is_nan() && b.is_nan());
    if samples.hists.is_empty() {
        let values = &samples.values;
        return write(ctx, &samples.ts, Moving::new(|i| changed(values[i - 1], values[i])), out);
    }
    let counts = counted(samples, |_, pair| match pair {
        Pair::Floats(a, b) => changed(a, b),
        Pair::Hists(a, b) => !b.data_eq(a),
        Pair::Mixed => true,
    });
    write(ctx, &samples.ts, Moving::new(|i| counts[i] > counts[i - 1]), out);
}

/// The number of counter resets; a float next to a histogram is one.
pub(super) fn resets(ctx: &RangeContext<'_>, samples: &Samples, with_starts: bool, out: &mut Column) {
    let starts: &[Millis] = if with_starts { &samples.start_ts } else { &[] };
    let timed = |i: usize| Timed { start: starts.get(i).copied().unwrap_or(0), t: samples.ts[i] };
    let started = |i: usize| !starts.is_empty() && is_reset(timed(i - 1), timed(i));
    if samples.hists.is_empty() {
        let values = &samples.values;
        return write(ctx, &samples.ts, Moving::new(|i| values[i] < values[i - 1] || started(i)), out);
    }
    let counts = counted(samples, |i, pair| match pair {
        Pair::Floats(a, b) => b < a || started(i),
        Pair::Hists(a, b) => started(i) || b.detect_reset(a),
        Pair::Mixed => true,
    });
    write(ctx, &samples.ts, Moving::new(|i| counts[i] > counts[i - 1]), out);
}

/// The number of pairs that count within a window that moves.
struct Moving<C> {
    counts: C,
    total: usize,
    lo: usize,
    hi: usize,
}

impl<C: Fn(usize) -> bool> Moving<C> {
    /// `counts` tells whether a sample counts against the one before.
    fn new(counts: C) -> Self {
        Moving { counts, total: 0, lo: 0, hi: 1 }
    }

    /// Moves to the samples `lo..hi`, of which there is at least one.
    fn to(&mut self, lo: usize, hi: usize) -> usize {
        if lo + 1 >= self.hi {
            (self.total, self.lo, self.hi) = (0, lo, lo + 1);
        }
        self.total += (self.hi..hi).filter(|i| (self.counts)(*i)).count();
        self.total -= (self.lo + 1..lo + 1).filter(|i| (self.counts)(*i)).count();
        (self.lo, self.hi) = (lo, hi);
        self.total
    }
}

fn write<C: Fn(usize) -> bool>(
    ctx: &RangeContext<'_>,
    ts: &[Millis],
    mut moving: Moving<C>,
    out: &mut Column,
) {
    let anchored = ctx.extended == Extended::Anchored;
    let before = if anchored { ctx.lookback } else { 0 };
    let mut inside = 0;
    ctx.windows.walk(ts, (before, 0), |window, range| {
        let mut first = range.start;
        if anchored {
            // The last sample at or before the start is what the first one inside is compared to.
            inside = advance(ts, inside, window.start);
            if inside >= range.end {
                return;
            }
            first = first.max(inside.saturating_sub(1));
        }
        out.set(window.step, moving.to(first, range.end) as f64);
    });
}
