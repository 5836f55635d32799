//! Native histograms as Prometheus' head block gives them back.
//!
//! Holds the rule by which samples are put into chunks, as far as it shows: within a chunk of counter
//! histograms every one but the first is known not to follow a reset, and all histograms of a chunk
//! have the buckets that any of them has. It stores no samples. Invariant: a gauge stays a gauge, and no
//! stated hint survives but through this rule. Chunks are not cut by size, which Prometheus does from
//! about 1 KiB on. Reference: Prometheus `tsdb/head_append.go`, `tsdb/chunkenc/float_histogram.go`.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, HistogramAt, Millis, Span, is_stale_nan};

/// No chunk goes beyond a multiple of this.
const CHUNK_RANGE: Millis = 24 * 3600 * 1000;

/// The chunk that a series is being appended to.
#[derive(Clone, Debug, Default)]
pub(super) enum HeadChunk {
    /// Nothing has been appended, or a float.
    #[default]
    Floats,
    /// Histograms.
    Histograms(Open),
}

/// A chunk of histograms.
#[derive(Clone, Debug)]
pub(super) struct Open {
    /// The end of the time range that the chunk may cover.
    end: Millis,
    /// Whether they are gauges.
    gauge: bool,
    /// Which of the series' histograms is its first.
    first: usize,
    /// The last one.
    last: Arc<FloatHistogram>,
    /// Indices of all positive buckets.
    positive: Vec<i32>,
    /// Indices of all negative buckets.
    negative: Vec<i32>,
}

impl HeadChunk {
    /// Notes a float.
    pub(super) fn float(&mut self) {
        *self = HeadChunk::Floats;
    }

    /// Notes a histogram and gives the one that is read in its place. Those of the same chunk, at the
    /// end of `earlier`, get the buckets that they did not have.
    pub(super) fn histogram(
        &mut self,
        t: Millis,
        h: &Arc<FloatHistogram>,
        earlier: &mut [HistogramAt],
    ) -> Arc<FloatHistogram> {
        let gauge = h.counter_reset_hint == CounterResetHint::Gauge;
        let mut read = (**h).clone();
        match self {
            HeadChunk::Histograms(open)
                if t < open.end && open.gauge == gauge && appendable(&open.last, h, gauge) =>
            {
                if !gauge {
                    read.counter_reset_hint = CounterResetHint::NotReset;
                }
                open.last = h.clone();
                if !is_stale_nan(h.sum) {
                    open.widen(&mut read, earlier);
                }
            }
            _ => {
                if !gauge {
                    read.counter_reset_hint = CounterResetHint::Unknown;
                }
                *self = HeadChunk::Histograms(Open {
                    end: t.div_euclid(CHUNK_RANGE) * CHUNK_RANGE + CHUNK_RANGE,
                    gauge,
                    first: earlier.len(),
                    last: h.clone(),
                    positive: indices(&h.positive_spans),
                    negative: indices(&h.negative_spans),
                });
            }
        }
        Arc::new(read)
    }
}

impl Open {
    /// Gives `read` the buckets of the chunk, and the chunk those of `read`.
    fn widen(&mut self, read: &mut FloatHistogram, earlier: &mut [HistogramAt]) {
        let (positive, negative) = (indices(&read.positive_spans), indices(&read.negative_spans));
        let (all_positive, all_negative) =
            (union(&self.positive, &positive), union(&self.negative, &negative));
        if all_positive != self.positive || all_negative != self.negative {
            for at in &mut earlier[self.first..] {
                if !is_stale_nan(at.histogram.sum) {
                    lay_out(Arc::make_mut(&mut at.histogram), &all_positive, &all_negative);
                }
            }
        }
        lay_out(read, &all_positive, &all_negative);
        (self.positive, self.negative) = (all_positive, all_negative);
    }
}

/// The index of every bucket.
fn indices(spans: &[Span]) -> Vec<i32> {
    let (mut out, mut next) = (Vec::new(), 0i32);
    for s in spans {
        next = next.wrapping_add(s.offset);
        out.extend((0..s.length).map(|i| next.wrapping_add(i as i32)));
        next = next.wrapping_add(s.length as i32);
    }
    out
}

fn union(a: &[i32], b: &[i32]) -> Vec<i32> {
    let mut all = [a, b].concat();
    all.sort_unstable();
    all.dedup();
    all
}

/// Gives a histogram exactly these buckets, which include its own.
fn lay_out(h: &mut FloatHistogram, positive: &[i32], negative: &[i32]) {
    for (spans, counts, all) in [
        (&mut h.positive_spans, &mut h.positive_buckets, positive),
        (&mut h.negative_spans, &mut h.negative_buckets, negative),
    ] {
        let own = indices(spans);
        if own == all {
            continue;
        }
        let mut populated = own.iter().zip(counts.iter()).peekable();
        let count = |i: &i32| populated.next_if(|p| p.0 == i).map_or(0.0, |p| *p.1);
        *counts = all.iter().map(count).collect();
        let mut laid: Vec<Span> = Vec::new();
        let mut next = 0i32;
        for index in all {
            match laid.last_mut() {
                Some(last) if next == *index => last.length += 1,
                _ => laid.push(Span { offset: index.wrapping_sub(next), length: 1 }),
            }
            next = index.wrapping_add(1);
        }
        *spans = laid;
    }
}

fn appendable(last: &FloatHistogram, h: &FloatHistogram, gauge: bool) -> bool {
    if !gauge && h.counter_reset_hint == CounterResetHint::Reset {
        return false;
    }
    if is_stale_nan(h.sum) {
        return true;
    }
    let same_layout = !is_stale_nan(last.sum)
        && h.schema == last.schema
        && h.zero_threshold == last.zero_threshold
        && h.custom_bounds() == last.custom_bounds();
    same_layout && (gauge || !h.lost_population(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};

    fn hints(of: &[(Millis, f64, CounterResetHint)]) -> Vec<CounterResetHint> {
        let mut chunk = HeadChunk::default();
        let read = |(t, count, hint): &(Millis, f64, CounterResetHint)| {
            let h = FloatHistogram { count: *count, counter_reset_hint: *hint, ..Default::default() };
            chunk.histogram(*t, &Arc::new(h), &mut []).counter_reset_hint
        };
        of.iter().map(read).collect()
    }

    #[test]
    fn the_first_histogram_of_a_chunk_is_unknown() {
        assert_eq!(
            hints(&[
                (0, 1.0, Unknown),
                (1, 2.0, Unknown),
                (2, 1.0, Unknown),
                (3, 1.0, Reset),
                (4, 1.0, NotReset)
            ]),
            [Unknown, NotReset, Unknown, Unknown, NotReset]
        );
        assert_eq!(
            hints(&[(0, 1.0, Gauge), (1, 0.0, Gauge), (2, 0.0, Unknown), (3, 0.0, Gauge)]),
            [Gauge, Gauge, Unknown, Gauge]
        );
        assert_eq!(hints(&[(0, 1.0, Unknown), (CHUNK_RANGE, 1.0, Unknown)]), [Unknown, Unknown]);
    }

    #[test]
    fn histograms_of_a_chunk_have_the_same_buckets() {
        let h = |count: f64, positive: &[(i32, u32)], buckets: &[f64], negative: &[(i32, u32)]| {
            let span = |(offset, length): &(i32, u32)| Span { offset: *offset, length: *length };
            Arc::new(FloatHistogram {
                count,
                positive_spans: positive.iter().map(span).collect(),
                positive_buckets: buckets.to_vec(),
                negative_spans: negative.iter().map(span).collect(),
                negative_buckets: vec![0.0; negative.iter().map(|s| s.1 as usize).sum()],
                ..FloatHistogram::default()
            })
        };
        let mut chunk = HeadChunk::default();
        let mut all: Vec<HistogramAt> = Vec::new();
        for (i, h) in [
            h(1.0, &[(2, 1)], &[1.0], &[]),
            h(3.0, &[(0, 1), (1, 2)], &[1.0, 1.0, 1.0], &[]),
            h(4.0, &[(2, 1)], &[4.0], &[(1, 1)]),
        ]
        .iter()
        .enumerate()
        {
            let histogram = chunk.histogram(i as Millis, h, &mut all);
            all.push(HistogramAt { index: i as u32, histogram });
        }
        // The third loses buckets, so that it begins a chunk of its own.
        let buckets: Vec<&[f64]> = all.iter().map(|h| h.histogram.positive_buckets.as_slice()).collect();
        assert_eq!(buckets, [&[0.0, 1.0, 0.0][..], &[1.0, 1.0, 1.0], &[4.0]]);
        assert_eq!(all[0].histogram.positive_spans, all[1].histogram.positive_spans);
        assert!(all.iter().map(|h| h.histogram.negative_buckets.len()).eq([0, 0, 1]));
    }
}
