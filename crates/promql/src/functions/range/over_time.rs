//! Functions that pick or count samples: `count_`, `present_`, `first_`, `last_`, `min_` and
//! `max_over_time`, and the times of those they pick.
//!
//! Holds kernels without arithmetic. It knows no sum (see `sums`). Invariant: of equal smallest (or
//! largest) values the first decides the value and the last decides the time, a NaN gives way to any
//! number, and of several NaN the last stays.

use std::cell::Cell;

use model::{Millis, Samples};

use super::RangeContext;
use super::notes::{Note, Notes};
use super::window::Split;
use crate::Column;

/// How many samples a window has.
pub(super) fn count(ctx: &RangeContext<'_>, samples: &Samples, out: &mut Column) {
    ctx.windows.walk(&samples.ts, (0, 0), |w, range| out.set(w.step, range.len() as f64));
}

/// 1 for a window with samples.
pub(super) fn present(ctx: &RangeContext<'_>, samples: &Samples, out: &mut Column) {
    ctx.windows.walk(&samples.ts, (0, 0), |w, _| out.set(w.step, 1.0));
}

/// The first sample.
pub(super) fn first(ctx: &RangeContext<'_>, samples: &Samples, out: &mut Column) {
    ctx.windows.walk(&samples.ts, (0, 0), |w, range| copy(samples, range.start, w.step, out));
}

/// The last sample.
pub(super) fn last(ctx: &RangeContext<'_>, samples: &Samples, out: &mut Column) {
    ctx.windows.walk(&samples.ts, (0, 0), |w, range| copy(samples, range.end - 1, w.step, out));
}

/// The time of the first sample.
pub(super) fn ts_of_first(ctx: &RangeContext<'_>, samples: &Samples, out: &mut Column) {
    ctx.windows.walk(&samples.ts, (0, 0), |w, range| {
        out.set(w.step, samples.ts[range.start] as f64 / 1000.0);
    });
}

/// The time of the last sample. Of a window with one kind of sample upstream never tells a time
/// before the epoch.
pub(super) fn ts_of_last(ctx: &RangeContext<'_>, samples: &Samples, out: &mut Column) {
    let hists_before = |at: usize| samples.hists.partition_point(|h| (h.index as usize) < at);
    ctx.windows.walk(&samples.ts, (0, 0), |w, range| {
        let last = samples.ts[range.end - 1];
        let hists = hists_before(range.end) - hists_before(range.start);
        let floor = if hists == 0 || hists == range.len() { 0 } else { Millis::MIN };
        out.set(w.step, last.max(floor) as f64 / 1000.0);
    });
}

fn copy(samples: &Samples, at: usize, step: usize, out: &mut Column) {
    match samples.histogram(at) {
        Some(h) => out.push_histogram(step, h.clone()),
        None => out.set(step, samples.values[at]),
    }
}

/// The smallest float.
pub(super) fn min(ctx: &RangeContext<'_>, split: &Split<'_>, notes: &mut Notes, out: &mut Column) {
    extreme(ctx, split, notes, |best, v| v < best, |at, out, step| out.set(step, split.values[at]), out);
}

/// The largest float.
pub(super) fn max(ctx: &RangeContext<'_>, split: &Split<'_>, notes: &mut Notes, out: &mut Column) {
    extreme(ctx, split, notes, |best, v| v > best, |at, out, step| out.set(step, split.values[at]), out);
}

/// The time of the smallest float.
pub(super) fn ts_of_min(ctx: &RangeContext<'_>, split: &Split<'_>, notes: &mut Notes, out: &mut Column) {
    let time = |at: usize, out: &mut Column, step| out.set(step, split.ts[at] as f64 / 1000.0);
    extreme(ctx, split, notes, |best, v| v <= best, time, out);
}

/// The time of the largest float.
pub(super) fn ts_of_max(ctx: &RangeContext<'_>, split: &Split<'_>, notes: &mut Notes, out: &mut Column) {
    let time = |at: usize, out: &mut Column, step| out.set(step, split.ts[at] as f64 / 1000.0);
    extreme(ctx, split, notes, |best, v| v >= best, time, out);
}

/// Most candidates that room is kept for.
const MOST_KEPT: usize = 1 << 16;

thread_local! {
    /// Room for candidates, kept from one series to the next.
    static CANDIDATES: Cell<Vec<usize>> = const { Cell::new(Vec::new()) };
}

/// Walks windows with the candidates for the best value: indices in order, each better than all that
/// follow it, so that the first is the answer and every sample enters and leaves once.
fn extreme(
    ctx: &RangeContext<'_>,
    split: &Split<'_>,
    notes: &mut Notes,
    replaces: impl Fn(f64, f64) -> bool,
    write: impl Fn(usize, &mut Column, usize),
    out: &mut Column,
) {
    let values = &*split.values;
    let mut candidates = CANDIDATES.take();
    candidates.clear();
    let (mut head, mut seen) = (0, 0);
    split.walk(&ctx.windows, (0, 0), |view| {
        if view.values.is_empty() {
            return;
        }
        if !view.hists.is_empty() {
            notes.add(Note::Ignored);
        }
        let end = view.first + view.values.len();
        if seen <= view.first {
            (head, seen) = (0, view.first);
            candidates.clear();
        }
        for at in seen..end {
            let v = values[at];
            while candidates.len() > head {
                let last = values[candidates[candidates.len() - 1]];
                if !last.is_nan() && !replaces(last, v) {
                    break;
                }
                candidates.pop();
            }
            candidates.push(at);
        }
        seen = end;
        while candidates[head] < view.first {
            head += 1;
        }
        if head > 64 && head * 2 > candidates.len() {
            candidates.drain(..head);
            head = 0;
        }
        write(candidates[head], out, view.step);
    });
    if candidates.capacity() <= MOST_KEPT {
        CANDIDATES.set(candidates);
    }
}
