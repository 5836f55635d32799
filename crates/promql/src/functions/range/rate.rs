//! `rate`, `increase` and `delta` with extrapolation to the window's ends.
//!
//! Holds the float form and the extrapolation that floats and histograms share. It knows no extended
//! selector (see `extended`). Invariant: resets within a window are added in order to the difference
//! of its ends, as Prometheus does; which pairs are resets does not depend on the window, so they are
//! found once a series. Read next: `histogram_rate`.

use std::sync::Arc;

use model::{FloatHistogram, Millis};

use super::notes::{Note, Notes};
use super::start_time::{Timed, is_reset, overlaps};
use super::window::{Split, View};
use super::{RangeContext, histogram_rate};
use crate::Column;

/// Which of the family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    /// Whether values only ever rise, except for resets.
    pub(super) counter: bool,
    /// Whether the result is per second.
    pub(super) per_second: bool,
}

/// Pairs of neighbouring floats that matter, by the index of the second.
#[derive(Default)]
struct Pairs {
    resets: Vec<usize>,
    overlaps: Vec<usize>,
}

impl Pairs {
    fn of(split: &Split<'_>) -> Self {
        let mut pairs = Pairs::default();
        let values = &*split.values;
        if split.starts.is_empty() {
            pairs.resets.extend((1..values.len()).filter(|i| values[*i] < values[i - 1]));
            return pairs;
        }
        let timed = |i: usize| Timed { start: split.starts[i], t: split.ts[i] };
        for i in 1..values.len() {
            if values[i] < values[i - 1] || is_reset(timed(i - 1), timed(i)) {
                pairs.resets.push(i);
            }
            if overlaps(timed(i - 1), timed(i)) {
                pairs.overlaps.push(i);
            }
        }
        pairs
    }
}

/// The entries of a sorted list that lie behind `first` and before `end`, the cursor moved along.
fn within<'p>(list: &'p [usize], cursor: &mut usize, first: usize, end: usize) -> &'p [usize] {
    while *cursor < list.len() && list[*cursor] <= first {
        *cursor += 1;
    }
    let rest = &list[*cursor..];
    // Resets are rare: a linear look is the quickest.
    let count = rest.iter().take_while(|at| **at < end).count();
    &rest[..count]
}

/// Evaluates every window.
pub(super) fn extrapolated(
    ctx: &RangeContext<'_>,
    mode: Mode,
    split: &Split<'_>,
    notes: &mut Notes,
    out: &mut Column,
) {
    let pairs = if mode.counter { Pairs::of(split) } else { Pairs::default() };
    let (mut resets_at, mut overlaps_at) = (0, 0);
    let seconds = ctx.windows.seconds();
    let mut known = Known::default();
    let hist_resets = if mode.counter { histogram_rate::resets(&split.hists) } else { Vec::new() };
    split.walk(&ctx.windows, (0, 0), |view| {
        if !view.values.is_empty() && !view.hists.is_empty() {
            notes.add(Note::Mixed);
            return;
        }
        if !view.hists.is_empty() {
            let resets = hist_resets.get(view.first_hist..).unwrap_or_default();
            if let Some(h) = of_histograms(&view, resets, mode, seconds, notes) {
                out.push_histogram(view.step, Arc::new(h));
            }
            return;
        }
        let last = view.values.len() - 1;
        let mut value = view.values[last] - view.values[0];
        if mode.counter {
            let end = view.first + last + 1;
            for at in within(&pairs.resets, &mut resets_at, view.first, end) {
                value += split.values[at - 1];
            }
            if !within(&pairs.overlaps, &mut overlaps_at, view.first, end).is_empty() {
                notes.overlaps += 1;
            }
        }
        let ends = Ends {
            start: view.start,
            end: view.end,
            first: view.ts[0],
            last: view.ts[last],
            first_start: split.starts.get(view.first).copied().unwrap_or(0),
            more: last,
        };
        let Some(reach) = ends.reach(mode.counter, view.values[0], value, &mut known) else {
            return;
        };
        if reach.from_zero {
            value += view.values[0];
        }
        out.set(view.step, value * known.factor(&reach, mode, seconds));
    });
}

fn of_histograms(
    view: &View<'_, '_>,
    resets: &[bool],
    mode: Mode,
    seconds: f64,
    notes: &mut Notes,
) -> Option<FloatHistogram> {
    let hists = view.hists;
    let (first, last) = (hists[0], hists[hists.len() - 1]);
    let mut result = match hists.len() {
        1 => None,
        _ => Some(histogram_rate::difference(hists, resets, mode.counter, notes)?),
    };
    let ends = Ends {
        start: view.start,
        end: view.end,
        first: first.t,
        last: last.t,
        first_start: if mode.counter { first.start } else { 0 },
        more: hists.len() - 1,
    };
    let count = result.as_ref().map_or(0.0, |h| h.count);
    let mut known = Known::default();
    let reach = ends.reach(mode.counter, first.h.count, count, &mut known)?;
    let mut h = if reach.from_zero {
        match result.take() {
            None => FloatHistogram::clone(first.h),
            Some(mut h) => {
                if !histogram_rate::add(&mut h, first.h, notes) {
                    return None;
                }
                h
            }
        }
    } else {
        result?
    };
    h.scale(known.factor(&reach, mode, seconds));
    Some(h)
}

/// The times that decide how far a difference is extrapolated.
struct Ends {
    start: Millis,
    end: Millis,
    first: Millis,
    last: Millis,
    /// Start time of the first sample, 0 where unknown or of no interest.
    first_start: Millis,
    /// Samples beyond the first.
    more: usize,
}

/// How far a difference reaches.
struct Reach {
    /// Seconds between the samples it is the difference of.
    sampled: f64,
    to_start: f64,
    to_end: f64,
    /// Whether the counter starts within the window, so that the first value counts in full.
    from_zero: bool,
}

/// What the window before came to. Where scrapes are regular windows differ in values alone, and most of
/// their divisions are the same.
#[derive(Default)]
struct Known {
    /// Milliseconds before the first sample, behind the last and between them; samples but one.
    times: (Millis, Millis, Millis, usize),
    /// The same in seconds, and the average distance of samples.
    seconds: [f64; 4],
    /// A reach (between the samples, to the start, to the end), and its factor.
    reach: Option<(f64, f64, f64)>,
    factor: f64,
}

impl Known {
    /// Seconds to the window's start, to its end, between the samples, and on average between two.
    #[inline]
    fn seconds(&mut self, ends: &Ends) -> [f64; 4] {
        let times = (ends.first - ends.start, ends.end - ends.last, ends.last - ends.first, ends.more);
        if times != self.times {
            let [to_start, to_end, sampled] = [times.0, times.1, times.2].map(|t| t as f64 / 1000.0);
            let average = if times.3 > 0 { sampled / times.3 as f64 } else { 0.0 };
            (self.times, self.seconds) = (times, [to_start, to_end, sampled, average]);
        }
        self.seconds
    }

    /// By what a difference is multiplied.
    #[inline]
    fn factor(&mut self, reach: &Reach, mode: Mode, seconds: f64) -> f64 {
        // Field by field: as arrays they would be read from memory as a whole just after being written in
        // parts, which processors wait for.
        if let Some((sampled, to_start, to_end)) = self.reach
            && sampled == reach.sampled
            && to_start == reach.to_start
            && to_end == reach.to_end
        {
            return self.factor;
        }
        let mut factor = 1.0;
        if reach.sampled != 0.0 {
            factor = (reach.sampled + reach.to_start + reach.to_end) / reach.sampled;
        }
        if mode.per_second {
            factor /= seconds;
        }
        self.reach = Some((reach.sampled, reach.to_start, reach.to_end));
        self.factor = factor;
        factor
    }
}

impl Ends {
    /// How far to extrapolate; `None` where one sample alone says nothing. `first` is the value (or
    /// count) of the first sample, `increase` what has been found so far.
    #[inline]
    fn reach(&self, counter: bool, first: f64, increase: f64, known: &mut Known) -> Option<Reach> {
        let [mut to_start, mut to_end, mut sampled, average] = known.seconds(self);
        // Samples further apart than usual: the series is taken to start or end within the window.
        let threshold = average * 1.1;
        let since = self.first_start;
        let from_zero = counter && since != 0 && since > self.start && since < self.first;
        if from_zero {
            to_start = 0.0;
            sampled = (self.last - since) as f64 / 1000.0;
        } else if self.more == 0 {
            return None;
        } else {
            if to_start >= threshold {
                to_start = average / 2.0;
            }
            // With a first value above the increase zero lies further back than the samples are apart.
            if counter && !(first >= increase && sampled >= to_start) {
                // A counter is never negative: it does not reach back beyond its zero.
                let to_zero =
                    if increase > 0.0 && first >= 0.0 { sampled * (first / increase) } else { to_start };
                if to_zero < to_start {
                    to_start = to_zero;
                }
            }
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        Some(Reach { sampled, to_start, to_end, from_zero })
    }
}
