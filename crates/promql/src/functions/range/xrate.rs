//! Thanos' `xrate`, `xincrease` and `xdelta`, which take in the sample before the window.
//!
//! Holds the kernel of the three. It knows no histogram: those are refused. Invariant: the sample
//! before a window counts when it is less than [`LOOKBACK`] older than the window's start; nothing is
//! extrapolated beyond it. Reference: `promql-engine`, `ringbuffer/functions.go`.

use model::{Millis, Samples};

use super::RangeContext;
use super::rate::Mode;
use super::window::advance;
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
    let mut inside = 0;
    ctx.windows.walk(&samples.ts, (LOOKBACK, 0), |window, range| {
        inside = advance(&samples.ts[..range.end], inside, window.start);
        let first = inside.saturating_sub(1).max(range.start);
        let reach = Reach {
            ts: &samples.ts[first..range.end],
            values: &samples.values[first..range.end],
            start: window.start,
            end: window.end,
            range: ctx.windows.range,
            appeared: samples.ts[0],
        };
        out.set(window.step, reach.eval(mode));
    });
    Ok(())
}

impl Reach<'_> {
    fn eval(&self, mode: Mode) -> f64 {
        let (ts, values) = (self.ts, self.values);
        let last = ts.len() - 1;
        let xincrease = mode.counter && !mode.per_second;
        // A counter that has just appeared came from nothing.
        let constant = values.windows(2).all(|w| w[0] == w[1]);
        if xincrease && constant && self.end <= self.range + self.appeared {
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
