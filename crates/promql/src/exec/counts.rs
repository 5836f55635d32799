//! Histograms reduced to count and sum, where an expression needs no more.
//!
//! Holds Prometheus' "histogram stats" reading: buckets go, and what they tell of counter resets between
//! neighbours is kept as a hint. It knows no function. Invariant: a hint is computed exactly where
//! Prometheus' iterator has just passed the histogram before; where it jumps ahead nothing is known.
//! Reference: Prometheus `promql/histogram_stats_iterator.go`, `storage/buffer.go`.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, HistogramAt, Millis, Samples, is_stale_nan};

use crate::column::Steps;

/// How an iterator is moved through the samples.
pub(crate) struct Reading {
    /// The steps.
    pub steps: Steps,
    /// How far before its step each look ends.
    pub offset: Millis,
    /// How far back the first look reaches.
    pub first: Millis,
    /// How far back the others reach.
    pub others: Millis,
}

impl Reading {
    /// Of an instant selector.
    pub(crate) fn instant(steps: Steps, offset: Millis, lookback: Millis) -> Self {
        Reading { steps, offset, first: lookback, others: lookback }
    }

    /// Of a range selector.
    pub(crate) fn range(steps: Steps, offset: Millis, range: Millis) -> Self {
        Reading { steps, offset, first: range, others: range.min(steps.step) }
    }

    /// Indices of samples that are reached by a jump.
    fn jumps(&self, ts: &[Millis]) -> Vec<usize> {
        let mut jumps = Vec::new();
        let mut at: Option<usize> = None;
        for step in 0..self.steps.count {
            let end = self.steps.at(step).saturating_sub(self.offset);
            let from = end.saturating_sub(if step == 0 { self.first } else { self.others });
            if at.is_none_or(|at| ts.get(at).is_some_and(|t| from > *t)) {
                let target = ts.partition_point(|t| *t < from).max(at.unwrap_or(0));
                jumps.push(target);
                at = Some(target);
            }
            let reached = at.unwrap_or(0);
            at = Some(reached + ts[reached.min(ts.len())..].partition_point(|t| *t < end));
            if at == Some(ts.len()) {
                break;
            }
        }
        jumps
    }
}

/// Takes the buckets out of `samples`.
pub(crate) fn strip_buckets(samples: &mut Samples, reading: &Reading) {
    if samples.hists.is_empty() {
        return;
    }
    let jumps = reading.jumps(&samples.ts);
    let mut jumps = jumps.into_iter().peekable();
    let mut last: Option<Arc<FloatHistogram>> = None;
    let hists = std::mem::take(&mut samples.hists);
    samples.hists = hists
        .into_iter()
        .map(|HistogramAt { index, histogram }| {
            while jumps.next_if(|j| *j <= index as usize).is_some() {
                last = None;
            }
            let hint = match (histogram.counter_reset_hint, &last) {
                (hint, _) if is_stale_nan(histogram.sum) => hint,
                (CounterResetHint::Unknown, Some(last)) if histogram.detect_reset(last) => {
                    CounterResetHint::Reset
                }
                (CounterResetHint::Unknown, Some(_)) => CounterResetHint::NotReset,
                (hint, _) => hint,
            };
            let reduced = FloatHistogram {
                counter_reset_hint: hint,
                schema: histogram.schema,
                count: histogram.count,
                sum: histogram.sum,
                ..FloatHistogram::default()
            };
            // What is known of the one before does not matter for the one after.
            if !is_stale_nan(histogram.sum) {
                last = Some(histogram);
            }
            HistogramAt { index, histogram: Arc::new(reduced) }
        })
        .collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(counts: &[f64]) -> Samples {
        let mut samples = Samples::default();
        for (i, count) in counts.iter().enumerate() {
            let h = FloatHistogram { count: *count, zero_count: *count, ..FloatHistogram::default() };
            samples.push_histogram(i as Millis * 10, Arc::new(h));
        }
        samples
    }

    fn hints(samples: &Samples) -> Vec<CounterResetHint> {
        samples.hists.iter().map(|h| h.histogram.counter_reset_hint).collect()
    }

    #[test]
    fn neighbours_tell_of_resets_and_jumps_forget() {
        use CounterResetHint::{NotReset, Reset, Unknown};
        let mut all = samples(&[1.0, 2.0, 1.0, 3.0]);
        let steps = Steps { start: 0, step: 10, count: 4 };
        strip_buckets(&mut all, &Reading::range(steps, 0, 20));
        assert_eq!(hints(&all), [Unknown, NotReset, Reset, NotReset]);
        // The second step starts beyond what was read for the first.
        let mut gap = samples(&[1.0, 2.0, 1.0, 3.0]);
        let steps = Steps { start: 0, step: 30, count: 2 };
        strip_buckets(&mut gap, &Reading::range(steps, 0, 5));
        assert_eq!(hints(&gap)[3], Unknown);
    }
}
