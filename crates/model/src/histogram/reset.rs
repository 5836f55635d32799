//! Counter reset detection between two float histograms.
//!
//! Holds the question "did the counter behind these two samples start again in between?". It knows
//! no time and no chunk. Invariant: an explicit hint decides alone; else any lost or shrunk
//! population is a reset, at the coarser of the two layouts (Prometheus' `DetectReset`).

use super::buckets::{bound, indices, merged};
use super::{CounterResetHint, FloatHistogram, Span};

impl FloatHistogram {
    /// Whether a counter reset lies between `previous` and this one.
    pub fn detect_reset(&self, previous: &FloatHistogram) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            // A gauge has no resets, but rate() may be asked of one: then it is taken as a counter.
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        self.lost_population(previous)
    }

    /// [`Self::detect_reset`] without looking at the hint.
    pub fn lost_population(&self, previous: &FloatHistogram) -> bool {
        if self.count < previous.count {
            return true;
        }
        if self.uses_custom_buckets() {
            if !previous.uses_custom_buckets() {
                return true;
            }
            if self.custom_bounds() != previous.custom_bounds() {
                return self.custom_lost(previous);
            }
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        if self.uses_custom_buckets() != previous.uses_custom_buckets() {
            return true;
        }
        let (zero, threshold) = previous.zero_count_at(self.zero_threshold);
        if threshold != self.zero_threshold || self.zero_count < zero {
            return true;
        }
        self.side_lost(&self.positive_spans, &self.positive_buckets, previous, true)
            || self.side_lost(&self.negative_spans, &self.negative_buckets, previous, false)
    }

    fn side_lost(&self, spans: &[Span], counts: &[f64], previous: &FloatHistogram, positive: bool) -> bool {
        let (p_spans, p_counts) = if positive {
            (&previous.positive_spans, &previous.positive_buckets)
        } else {
            (&previous.negative_spans, &previous.negative_buckets)
        };
        let exponential = !self.uses_custom_buckets();
        let starts_above =
            || indices(spans).next().is_none_or(|i| bound(i, self.schema, &[]) > self.zero_threshold);
        if self.schema == previous.schema && spans == p_spans && (!exponential || starts_above()) {
            return counts.iter().zip(p_counts).any(|(a, b)| a < b);
        }
        let within = |b: &(i32, f64)| exponential && bound(b.0, self.schema, &[]) <= self.zero_threshold;
        let mut now = merged(spans, counts, self.schema, self.schema).skip_while(within).peekable();
        for (index, count) in merged(p_spans, p_counts, previous.schema, self.schema).skip_while(within) {
            while now.next_if(|b| b.0 < index).is_some() {}
            let lost = match now.peek() {
                Some(b) if b.0 == index => b.1 < count,
                _ => count != 0.0,
            };
            if lost {
                return true;
            }
        }
        false
    }

    /// Custom buckets with different bounds: compares what lies between the bounds both have.
    fn custom_lost(&self, previous: &FloatHistogram) -> bool {
        let (mine, theirs) = (self.custom_bounds(), previous.custom_bounds());
        let (mut now, mut before) = (self.positive().peekable(), previous.positive().peekable());
        let (mut i, mut j) = (0, 0);
        while i <= mine.len() && j <= theirs.len() {
            let a = mine.get(i).copied().unwrap_or(f64::INFINITY);
            let b = theirs.get(j).copied().unwrap_or(f64::INFINITY);
            if a == b {
                let (mut x, mut y) = (0.0, 0.0);
                while let Some(bucket) = now.next_if(|k| k.upper <= a) {
                    x += bucket.count;
                }
                while let Some(bucket) = before.next_if(|k| k.upper <= a) {
                    y += bucket.count;
                }
                if x < y {
                    return true;
                }
                i += 1;
                j += 1;
            } else if a < b {
                i += 1;
            } else {
                j += 1;
            }
        }
        false
    }
}
