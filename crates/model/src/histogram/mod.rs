//! Native histograms: integer form as stored, float form as computed with.
//!
//! Holds the shapes and their conversions. It knows no chunk encoding and no PromQL function.
//! Invariant: a [`FloatHistogram`] has absolute bucket counts; a [`Histogram`] has deltas, as
//! Prometheus' `model/histogram` stores them. Schemas: -4..=8 exponential, -53 custom buckets.
//! Read next: `buckets` (layout and bounds), `arith` (sums), `reset` (counter resets), `trim`,
//! `text` (printed forms).

mod arith;
mod bounds;
mod buckets;
mod reset;
#[cfg(test)]
mod tests;
mod text;
mod trim;

use std::sync::Arc;

pub use arith::{IncompatibleSchema, Outcome, kahan_inc};
pub use buckets::{Bucket, InvalidHistogram};

/// The schema number of histograms with custom bucket bounds.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// A run of consecutive buckets: `offset` from the end of the previous run (the first from index 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// Gap before this run.
    pub offset: i32,
    /// Number of buckets in it.
    pub length: u32,
}

/// What is known about counter resets between a histogram and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CounterResetHint {
    /// Nothing is known.
    #[default]
    Unknown,
    /// This one follows a reset.
    Reset,
    /// This one does not follow a reset.
    NotReset,
    /// This is a gauge histogram: resets have no meaning.
    Gauge,
}

/// An integer histogram: bucket counts as deltas between neighbours.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Histogram {
    /// Counter reset hint.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: u64,
    /// All observations.
    pub count: u64,
    /// Sum of observations; a stale marker here makes the sample stale.
    pub sum: f64,
    /// Runs of positive buckets.
    pub positive_spans: Vec<Span>,
    /// Runs of negative buckets.
    pub negative_spans: Vec<Span>,
    /// Deltas of positive bucket counts.
    pub positive_buckets: Vec<i64>,
    /// Deltas of negative bucket counts.
    pub negative_buckets: Vec<i64>,
    /// Upper bounds of custom buckets, the last (+Inf) left out; shared between samples.
    pub custom_values: Option<Arc<[f64]>>,
}

/// A float histogram: bucket counts absolute.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct FloatHistogram {
    /// Counter reset hint.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of observations; a stale marker here makes the sample stale.
    pub sum: f64,
    /// Runs of positive buckets.
    pub positive_spans: Vec<Span>,
    /// Runs of negative buckets.
    pub negative_spans: Vec<Span>,
    /// Positive bucket counts.
    pub positive_buckets: Vec<f64>,
    /// Negative bucket counts.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of custom buckets, the last (+Inf) left out; shared between samples.
    pub custom_values: Option<Arc<[f64]>>,
}

impl Histogram {
    /// The same histogram with absolute float counts.
    pub fn to_float(&self) -> FloatHistogram {
        FloatHistogram {
            counter_reset_hint: self.counter_reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count as f64,
            count: self.count as f64,
            sum: self.sum,
            positive_spans: self.positive_spans.clone(),
            negative_spans: self.negative_spans.clone(),
            positive_buckets: absolute(&self.positive_buckets),
            negative_buckets: absolute(&self.negative_buckets),
            custom_values: self.custom_values.clone(),
        }
    }
}

fn absolute(deltas: &[i64]) -> Vec<f64> {
    let mut at = 0i64;
    deltas
        .iter()
        .map(|d| {
            at = at.wrapping_add(*d);
            at as f64
        })
        .collect()
}

impl FloatHistogram {
    /// Whether the buckets are custom ones (schema -53).
    #[inline]
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// The upper bounds of custom buckets; empty for exponential ones.
    pub fn custom_bounds(&self) -> &[f64] {
        self.custom_values.as_deref().unwrap_or(&[])
    }

    /// Bytes that Prometheus counts for one histogram in memory (its `FloatHistogram.Size`).
    pub fn size(&self) -> usize {
        168 + 8
            * (self.positive_spans.len()
                + self.negative_spans.len()
                + self.positive_buckets.len()
                + self.negative_buckets.len()
                + self.custom_bounds().len())
    }

    /// Bit-wise equality of data: layout, counts, sum and zero bucket; the counter reset hint is
    /// not data.
    pub fn data_eq(&self, other: &FloatHistogram) -> bool {
        let bits = |a: &[f64], b: &[f64]| {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits())
        };
        self.schema == other.schema
            && self.count.to_bits() == other.count.to_bits()
            && self.sum.to_bits() == other.sum.to_bits()
            && (!self.uses_custom_buckets() || self.custom_bounds() == other.custom_bounds())
            && self.zero_threshold == other.zero_threshold
            && self.zero_count.to_bits() == other.zero_count.to_bits()
            && buckets::same_layout(&self.negative_spans, &other.negative_spans)
            && bits(&self.negative_buckets, &other.negative_buckets)
            && buckets::same_layout(&self.positive_spans, &other.positive_spans)
            && bits(&self.positive_buckets, &other.positive_buckets)
    }
}
