//! The layout of buckets: indices, bounds, iteration, compaction, resolution, validity.
//!
//! Holds what turns spans and counts into buckets with bounds, and back. It knows no arithmetic
//! between histograms. Invariant: malformed spans (too long, too short) never panic: iteration ends
//! with the shorter of spans and counts. Behaviour follows Prometheus' `model/histogram`.

use super::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Span, bounds};
use crate::math::log2;

/// One bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Population.
    pub count: f64,
    /// Index within the schema and sign; 0 for the zero bucket.
    pub index: i32,
}

impl Bucket {
    /// The share of the bucket's width at or below `v`, for `v` strictly inside finite bounds:
    /// linear, or on a logarithmic scale.
    pub fn fraction_below(&self, v: f64, linear: bool) -> f64 {
        if linear {
            return (v - self.lower) / (self.upper - self.lower);
        }
        let (lower, upper) = (log2(self.lower.abs()), log2(self.upper.abs()));
        let at = log2(v.abs());
        if v > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
    }
}

/// The absolute index of each bucket of a run of spans.
pub(super) fn indices(spans: &[Span]) -> impl Iterator<Item = i32> + '_ {
    let mut next = 0i32;
    spans.iter().flat_map(move |s| {
        let from = next.wrapping_add(s.offset);
        next = from.wrapping_add(s.length as i32);
        (0..s.length).map(move |i| from.wrapping_add(i as i32))
    })
}

/// Index and count of the bucket whose count stands at `at`.
fn nth(spans: &[Span], counts: &[f64], at: usize) -> Option<(i32, f64)> {
    let count = *counts.get(at)?;
    let (mut next, mut left) = (0i32, at);
    for s in spans {
        next = next.wrapping_add(s.offset);
        if left < s.length as usize {
            return Some((next.wrapping_add(left as i32), count));
        }
        left -= s.length as usize;
        next = next.wrapping_add(s.length as i32);
    }
    None
}

/// Whether two runs of spans describe the same indices.
pub(super) fn same_layout(a: &[Span], b: &[Span]) -> bool {
    if a == b {
        return true;
    }
    // Joined runs of consecutive indices; empty spans only move the offset.
    let runs = |spans: &[Span]| {
        let mut out: Vec<(i64, u64)> = Vec::with_capacity(spans.len());
        let mut next = 0i64;
        for s in spans {
            next += i64::from(s.offset);
            if s.length > 0 {
                match out.last_mut() {
                    Some(last) if last.0 + last.1 as i64 == next => last.1 += u64::from(s.length),
                    _ => out.push((next, u64::from(s.length))),
                }
            }
            next += i64::from(s.length);
        }
        out
    };
    runs(a) == runs(b)
}

/// Builds spans from ascending indices, one at a time.
#[derive(Default)]
pub(super) struct SpanBuilder {
    spans: Vec<Span>,
    next: i32,
}

impl SpanBuilder {
    pub(super) fn push(&mut self, index: i32) {
        match self.spans.last_mut() {
            Some(last) if self.next == index => last.length += 1,
            Some(_) => self.spans.push(Span { offset: index.wrapping_sub(self.next), length: 1 }),
            None => self.spans.push(Span { offset: index, length: 1 }),
        }
        self.next = index.wrapping_add(1);
    }

    pub(super) fn finish(self) -> Vec<Span> {
        self.spans
    }
}

/// Index at a coarser schema of what has `index` at `from`.
#[inline]
pub(super) fn target_index(index: i32, from: i32, to: i32) -> i32 {
    (index.wrapping_sub(1) >> (from - to).clamp(0, 31)).wrapping_add(1)
}

/// Upper bound of bucket `index`; custom bounds where the schema says so.
pub(super) fn bound(index: i32, schema: i32, custom: &[f64]) -> f64 {
    if schema != CUSTOM_BUCKETS_SCHEMA {
        return bounds::exponential(index, schema);
    }
    match usize::try_from(index) {
        Err(_) => f64::NEG_INFINITY,
        Ok(i) => custom.get(i).copied().unwrap_or(f64::INFINITY),
    }
}

/// Drops empty buckets, keeping up to `max_empty` in a row between populated ones. `extra` is a
/// parallel column (compensations): a bucket is empty only if both are zero.
pub(super) fn compact(
    spans: &mut Vec<Span>,
    counts: &mut Vec<f64>,
    mut extra: Option<&mut Vec<f64>>,
    max_empty: usize,
) {
    let untouched = extra.is_none()
        && counts.iter().all(|c| *c != 0.0)
        && spans.iter().all(|s| s.length > 0)
        && spans.iter().skip(1).all(|s| i64::from(s.offset) > max_empty as i64);
    if untouched {
        return;
    }
    let mut builder = SpanBuilder::default();
    let (mut new_counts, mut new_extra) = (Vec::with_capacity(counts.len()), Vec::new());
    let mut last: Option<i32> = None;
    for (i, index) in indices(spans).take(counts.len()).enumerate() {
        let e = extra.as_ref().map_or(0.0, |e| e.get(i).copied().unwrap_or(0.0));
        if counts[i] == 0.0 && e == 0.0 {
            continue;
        }
        if let Some(last) = last {
            let gap = i64::from(index) - i64::from(last) - 1;
            if gap > 0 && gap <= max_empty as i64 {
                for missing in last + 1..index {
                    builder.push(missing);
                    new_counts.push(0.0);
                    new_extra.push(0.0);
                }
            }
        }
        builder.push(index);
        new_counts.push(counts[i]);
        new_extra.push(e);
        last = Some(index);
    }
    *spans = builder.finish();
    *counts = new_counts;
    if let Some(extra) = extra.as_mut() {
        **extra = new_extra;
    }
}

/// Ascending `(index, count)` of one side, merged to a coarser schema.
pub(super) struct Merged<'a, I: Iterator<Item = i32>> {
    inner: std::iter::Peekable<std::iter::Zip<I, std::iter::Copied<std::slice::Iter<'a, f64>>>>,
    from: i32,
    to: i32,
}

pub(super) fn merged<'a>(
    spans: &'a [Span],
    counts: &'a [f64],
    from: i32,
    to: i32,
) -> Merged<'a, impl Iterator<Item = i32> + 'a> {
    Merged { inner: indices(spans).zip(counts.iter().copied()).peekable(), from, to }
}

impl<I: Iterator<Item = i32>> Iterator for Merged<'_, I> {
    type Item = (i32, f64);

    #[inline]
    fn next(&mut self) -> Option<(i32, f64)> {
        let (index, count) = self.inner.next()?;
        if self.from == self.to {
            return Some((index, count));
        }
        let (target, mut sum) = (target_index(index, self.from, self.to), 0.0 + count);
        while let Some((i, c)) = self.inner.peek().copied() {
            if target_index(i, self.from, self.to) != target {
                break;
            }
            sum += c;
            self.inner.next();
        }
        Some((target, sum))
    }
}

impl FloatHistogram {
    /// Positive buckets, ascending from zero.
    pub fn positive(&self) -> impl Iterator<Item = Bucket> + '_ {
        let (schema, custom) = (self.schema, self.custom_bounds());
        indices(&self.positive_spans).zip(&self.positive_buckets).map(move |(i, c)| Bucket {
            lower: bound(i.wrapping_sub(1), schema, custom),
            upper: bound(i, schema, custom),
            count: *c,
            index: i,
        })
    }

    /// Negative buckets, descending from zero.
    pub fn negative(&self) -> impl Iterator<Item = Bucket> + '_ {
        let schema = self.schema;
        indices(&self.negative_spans).zip(&self.negative_buckets).map(move |(i, c)| Bucket {
            lower: -bound(i, schema, &[]),
            upper: -bound(i.wrapping_sub(1), schema, &[]),
            count: *c,
            index: i,
        })
    }

    /// The positive bucket whose count stands at `at`, without looking at the others' bounds.
    pub fn positive_at(&self, at: usize) -> Option<Bucket> {
        let (index, count) = nth(&self.positive_spans, &self.positive_buckets, at)?;
        let (schema, custom) = (self.schema, self.custom_bounds());
        let (lower, upper) = (bound(index.wrapping_sub(1), schema, custom), bound(index, schema, custom));
        Some(Bucket { lower, upper, count, index })
    }

    /// The negative bucket whose count stands at `at`, without looking at the others' bounds.
    pub fn negative_at(&self, at: usize) -> Option<Bucket> {
        let (index, count) = nth(&self.negative_spans, &self.negative_buckets, at)?;
        let (lower, upper) =
            (-bound(index, self.schema, &[]), -bound(index.wrapping_sub(1), self.schema, &[]));
        Some(Bucket { lower, upper, count, index })
    }

    /// A bucket as a neighbour of the zero bucket: where that is populated it ends at its threshold.
    pub fn beside_zero(&self, mut b: Bucket) -> Bucket {
        if b.upper < 0.0 && b.upper > -self.zero_threshold {
            b.upper = -self.zero_threshold;
        } else if b.lower > 0.0 && b.lower < self.zero_threshold {
            b.lower = self.zero_threshold;
        }
        b
    }

    /// The zero bucket.
    pub fn zero_bucket(&self) -> Bucket {
        Bucket { lower: -self.zero_threshold, upper: self.zero_threshold, count: self.zero_count, index: 0 }
    }

    /// All buckets in ascending order; the neighbours of a populated zero bucket end at its
    /// threshold.
    pub fn all_buckets(&self) -> Vec<Bucket> {
        let mut out = Vec::with_capacity(self.positive_buckets.len() + self.negative_buckets.len() + 1);
        let clip = |b: Bucket| self.beside_zero(b);
        out.extend(self.negative().map(clip));
        out.reverse();
        if self.zero_count > 0.0 {
            out.push(self.zero_bucket());
        }
        out.extend(self.positive().map(clip));
        out
    }

    /// Drops empty buckets and joins neighbouring spans, in place; up to `max_empty` empty buckets
    /// in a row are kept (or inserted) between populated ones.
    pub fn compact(&mut self, max_empty: usize) {
        compact(&mut self.positive_spans, &mut self.positive_buckets, None, max_empty);
        compact(&mut self.negative_spans, &mut self.negative_buckets, None, max_empty);
    }

    /// A copy at a coarser exponential schema; the same schema gives a plain copy. The counter
    /// reset hint is not carried over to a coarser one.
    pub fn to_schema(&self, schema: i32) -> FloatHistogram {
        if schema >= self.schema || self.uses_custom_buckets() {
            return self.clone();
        }
        let side = |spans: &[Span], counts: &[f64]| {
            let mut builder = SpanBuilder::default();
            let counts = merged(spans, counts, self.schema, schema)
                .map(|(i, c)| {
                    builder.push(i);
                    c
                })
                .collect();
            (builder.finish(), counts)
        };
        let (positive_spans, positive_buckets) = side(&self.positive_spans, &self.positive_buckets);
        let (negative_spans, negative_buckets) = side(&self.negative_spans, &self.negative_buckets);
        FloatHistogram {
            counter_reset_hint: Default::default(),
            schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count,
            count: self.count,
            sum: self.sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: None,
        }
    }

    /// Checks that spans and counts agree, that no population is negative and that the fields fit
    /// the schema.
    ///
    /// # Errors
    /// [`InvalidHistogram`] naming the first rule broken.
    pub fn validate(&self) -> Result<(), InvalidHistogram> {
        use InvalidHistogram as E;
        let custom = self.custom_bounds();
        if self.uses_custom_buckets() {
            if custom.iter().any(|b| b.is_nan()) {
                return Err(E::CustomBoundNan);
            }
            if custom.windows(2).any(|w| w[1] <= w[0]) {
                return Err(E::CustomBoundsOrder);
            }
            if custom.iter().any(|b| b.is_infinite()) {
                return Err(E::CustomBoundInfinite);
            }
            if self.positive_spans.iter().any(|s| s.offset < 0) {
                return Err(E::SpanOffset);
            }
            let reach: u64 =
                self.positive_spans.iter().map(|s| u64::from(s.length) + s.offset.max(0) as u64).sum();
            if (custom.len() as u64 + 1) < reach {
                return Err(E::CustomBoundsFew);
            }
            if self.zero_count != 0.0
                || self.zero_threshold != 0.0
                || !self.negative_spans.is_empty()
                || !self.negative_buckets.is_empty()
            {
                return Err(E::CustomExtra);
            }
        } else if !(-4..=8).contains(&self.schema) {
            return Err(E::Schema(self.schema));
        } else if self.custom_values.is_some() {
            return Err(E::ExponentialBounds);
        }
        for (spans, counts) in
            [(&self.positive_spans, &self.positive_buckets), (&self.negative_spans, &self.negative_buckets)]
        {
            if spans.iter().skip(1).any(|s| s.offset < 0) {
                return Err(E::SpanOffset);
            }
            if spans.iter().map(|s| u64::from(s.length)).sum::<u64>() != counts.len() as u64 {
                return Err(E::SpanCount);
            }
            if counts.iter().any(|c| *c < 0.0) {
                return Err(E::NegativeBucket);
            }
        }
        if self.zero_count < 0.0 {
            return Err(E::NegativeBucket);
        }
        if self.count < 0.0 {
            return Err(E::NegativeCount);
        }
        Ok(())
    }
}

/// Why a histogram is not well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHistogram {
    /// The schema is neither exponential (-4..=8) nor custom (-53).
    #[error(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema {0}"
    )]
    Schema(i32),
    /// A custom bound is NaN.
    #[error("custom buckets: histogram custom bounds must not be NaN")]
    CustomBoundNan,
    /// Custom bounds do not rise.
    #[error("custom buckets: histogram custom bounds must be in strictly increasing order")]
    CustomBoundsOrder,
    /// A custom bound is infinite.
    #[error("custom buckets: histogram custom bounds must be finite")]
    CustomBoundInfinite,
    /// Spans reach beyond the custom bounds.
    #[error("custom buckets: histogram custom bounds are too few")]
    CustomBoundsFew,
    /// A zero bucket or negative buckets beside custom bounds.
    #[error("custom buckets: must have neither a zero bucket nor negative buckets")]
    CustomExtra,
    /// Custom bounds beside an exponential schema.
    #[error("histogram with exponential schema must not have custom bounds")]
    ExponentialBounds,
    /// A span after the first has a negative offset.
    #[error("histogram has a span whose offset is negative")]
    SpanOffset,
    /// Spans and counts disagree.
    #[error("histogram spans specify different number of buckets than provided")]
    SpanCount,
    /// A population is negative.
    #[error("histogram has a bucket whose observation count is negative")]
    NegativeBucket,
    /// The number of observations is negative.
    #[error("histogram's observation count is negative")]
    NegativeCount,
}
