//! How many samples lie in the windows of a series, as Prometheus weighs them.
//!
//! Holds the weight of a histogram and one walk over the windows of a series. It knows no node and no sum
//! over series. Invariant: a window is `(end - range - before, end + after]`, and what of it is fresh lies
//! behind the end of the window before. Reference: Prometheus `promql/value.go` (`HPoint.size`),
//! `util/stats/query_stats.go`.

use model::{HistogramAt, Millis, Samples};

use crate::column::Column;
use crate::functions::range::Windows;

/// What a histogram weighs in a series.
pub(crate) fn weight(h: &HistogramAt) -> i64 {
    (h.histogram.size() as i64 + 8) / 16
}

fn beyond_one(hists: &[HistogramAt]) -> i64 {
    hists.iter().map(|h| weight(h) - 1).sum()
}

/// What a series weighs.
pub(crate) fn of_samples(samples: &Samples) -> i64 {
    samples.len() as i64 + beyond_one(&samples.hists)
}

/// What a row weighs.
pub(crate) fn of_column(column: &Column) -> i64 {
    column.count() as i64 + beyond_one(&column.hists)
}

/// What the windows of a series hold.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// By step.
    pub each: Vec<i64>,
    /// By step: what is in no window before.
    pub fresh: Vec<i64>,
    /// The most.
    pub most: i64,
    /// At the last step.
    pub last: i64,
}

impl Held {
    /// Weighs the windows of a series, widened by the margins before and after.
    pub(crate) fn weigh(&mut self, windows: &Windows, margins: (Millis, Millis), samples: &Samples) {
        if samples.hists.is_empty() {
            return self.walk(windows, margins, &samples.ts, |at| at as i64);
        }
        let mut sums: Vec<i64> = (0..=samples.len() as i64).collect();
        let mut extra = 0;
        let mut hists = samples.hists.iter().peekable();
        for (at, sum) in sums.iter_mut().skip(1).enumerate() {
            extra += hists.next_if(|h| h.index as usize == at).map_or(0, |h| weight(h) - 1);
            *sum += extra;
        }
        self.walk(windows, margins, &samples.ts, |at| sums[at]);
    }

    /// `weight` is that of all samples before an index.
    fn walk(
        &mut self,
        windows: &Windows,
        (before, after): (Millis, Millis),
        ts: &[Millis],
        weight: impl Fn(usize) -> i64,
    ) {
        let steps = windows.steps.count;
        self.each.resize(steps, 0);
        self.fresh.resize(steps, 0);
        (self.most, self.last) = (0, 0);
        let (mut lo, mut hi, mut seen) = (0, 0, 0);
        for (i, (each, fresh)) in self.each.iter_mut().zip(&mut self.fresh).enumerate() {
            let end = windows.end(i);
            let from = end.saturating_sub(windows.range).saturating_sub(before);
            lo = advance(ts, lo, from);
            hi = advance(ts, hi, end.saturating_add(after));
            self.last = weight(hi) - weight(lo);
            self.most = self.most.max(self.last);
            *each = self.last;
            *fresh = weight(hi) - weight(lo.max(seen));
            seen = hi;
        }
    }
}

/// The index of the first time behind `t`, from `at` on.
fn advance(ts: &[Millis], mut at: usize, t: Millis) -> usize {
    while ts.get(at).is_some_and(|time| *time <= t) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::FloatHistogram;

    use super::*;
    use crate::column::Steps;

    #[test]
    fn windows_hold_what_lies_in_them_and_fresh_is_what_no_window_had() {
        let mut samples = Samples::default();
        [0, 10, 20, 30, 45, 60].iter().for_each(|t| samples.push(*t, 1.0));
        let windows = |range, step| Windows {
            steps: Steps { start: 20, step, count: 3 },
            range,
            offset: 0,
            fixed: None,
        };
        let mut held = Held::default();
        // (0, 20], (20, 40], (40, 60]
        held.weigh(&windows(20, 20), (0, 0), &samples);
        assert_eq!(
            (held.each.as_slice(), held.fresh.as_slice()),
            ([2, 1, 2].as_slice(), [2, 1, 2].as_slice())
        );
        assert_eq!((held.most, held.last), (2, 2));
        // They overlap: (-20, 20], (-10, 30], (0, 40]
        held.weigh(&windows(40, 10), (0, 0), &samples);
        assert_eq!(
            (held.each.as_slice(), held.fresh.as_slice()),
            ([3, 4, 3].as_slice(), [3, 1, 0].as_slice())
        );
        // There are gaps between them: (15, 20], (35, 40], (55, 60], and wider ones.
        held.weigh(&windows(5, 20), (0, 0), &samples);
        assert_eq!(
            (held.each.as_slice(), held.fresh.as_slice()),
            ([1, 0, 1].as_slice(), [1, 0, 1].as_slice())
        );
        held.weigh(&windows(5, 20), (5, 5), &samples);
        assert_eq!((held.each.as_slice(), held.last), ([1, 1, 1].as_slice(), 1));
        // With `@` all are the same one.
        held.weigh(&Windows { fixed: Some(30), ..windows(40, 20) }, (0, 0), &samples);
        assert_eq!(
            (held.each.as_slice(), held.fresh.as_slice()),
            ([4, 4, 4].as_slice(), [4, 0, 0].as_slice())
        );
    }

    #[test]
    fn histograms_weigh_by_their_size() {
        let mut samples = Samples::default();
        let buckets = FloatHistogram { positive_buckets: vec![1.0; 40], ..FloatHistogram::default() };
        samples.push(0, 1.0);
        samples.push_histogram(10, Arc::new(buckets));
        samples.push(20, 1.0);
        let own = weight(&samples.hists[0]);
        assert!(own > 10);
        let steps = Steps { start: 0, step: 10, count: 3 };
        let mut held = Held::default();
        held.weigh(&Windows { steps, range: 20, offset: 0, fixed: None }, (0, 0), &samples);
        assert_eq!((held.each, held.fresh), (vec![1, own + 1, own + 1], vec![1, own, 1]));
        assert_eq!(of_samples(&samples), own + 2);
    }
}
