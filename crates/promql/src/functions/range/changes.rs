//! `changes` and `resets`: how often neighbours differ.
//!
//! Holds both kernels. It knows no rate. Invariant: whether two neighbours count does not depend on
//! the window, so that the pairs are counted once and a window is a difference of two counts.

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

/// How many of the pairs up to each sample count.
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
    let counts = counted(samples, |_, pair| match pair {
        Pair::Floats(a, b) => a != b && !(a.is_nan() && b.is_nan()),
        Pair::Hists(a, b) => !b.data_eq(a),
        Pair::Mixed => true,
    });
    write(ctx, &samples.ts, &counts, out);
}

/// The number of counter resets; a float next to a histogram is one.
pub(super) fn resets(ctx: &RangeContext<'_>, samples: &Samples, with_starts: bool, out: &mut Column) {
    let starts: &[Millis] = if with_starts { &samples.start_ts } else { &[] };
    let timed = |i: usize| Timed { start: starts.get(i).copied().unwrap_or(0), t: samples.ts[i] };
    let started = |i: usize| !starts.is_empty() && is_reset(timed(i - 1), timed(i));
    let counts = counted(samples, |i, pair| match pair {
        Pair::Floats(a, b) => b < a || started(i),
        Pair::Hists(a, b) => started(i) || b.detect_reset(a),
        Pair::Mixed => true,
    });
    write(ctx, &samples.ts, &counts, out);
}

fn write(ctx: &RangeContext<'_>, ts: &[Millis], counts: &[u32], out: &mut Column) {
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
        out.set(window.step, f64::from(counts[range.end - 1] - counts[first]));
    });
}
