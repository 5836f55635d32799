//! Samples as arrays.
//!
//! Holds the column form in which the whole read path hands samples on: decoders append to it,
//! deduplication and the engine read slices of it. It knows no chunk. Invariant: `ts` and `values`
//! have the same length, `start_ts` has that length or is empty, and `hists` is ascending by index.

use std::sync::Arc;

use crate::{FloatHistogram, Millis};

/// The bits of the NaN that marks a series as stale (Prometheus `model/value`).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Whether `v` is the staleness marker (and not just any NaN).
#[inline]
pub fn is_stale_nan(v: f64) -> bool {
    v.to_bits() == STALE_NAN_BITS
}

/// A run of samples of one series, in time order, as columns.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Timestamps, ascending.
    pub ts: Vec<Millis>,
    /// Float values; at the index of a histogram the value is the histogram's sum (a stale marker
    /// stays a stale marker).
    pub values: Vec<f64>,
    /// Start timestamps, one per sample, or empty where no chunk carried any.
    pub start_ts: Vec<Millis>,
    /// The samples that are histograms, ascending by `index`.
    pub hists: Vec<HistogramAt>,
}

/// A histogram at a position of [`Samples`].
#[derive(Clone, Debug)]
pub struct HistogramAt {
    /// Index into `ts`.
    pub index: u32,
    /// The histogram, counts absolute.
    pub histogram: Arc<FloatHistogram>,
}

impl Samples {
    /// Number of samples.
    #[inline]
    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// Whether there is no sample.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }

    /// Empties every column, keeping the memory.
    pub fn clear(&mut self) {
        self.ts.clear();
        self.values.clear();
        self.start_ts.clear();
        self.hists.clear();
    }

    /// Appends a float without a start timestamp (zero is written where the column is in use).
    #[inline]
    pub fn push(&mut self, t: Millis, v: f64) {
        self.ts.push(t);
        self.values.push(v);
        if !self.start_ts.is_empty() {
            self.start_ts.push(0);
        }
    }

    /// Appends a histogram without a start timestamp.
    pub fn push_histogram(&mut self, t: Millis, h: Arc<FloatHistogram>) {
        self.hists.push(HistogramAt { index: self.ts.len() as u32, histogram: h.clone() });
        self.push(t, h.sum);
    }

    /// The histogram at `index`, if that sample is one. Logarithmic in the number of histograms.
    pub fn histogram(&self, index: usize) -> Option<&Arc<FloatHistogram>> {
        let i = self.hists.binary_search_by_key(&(index as u32), |h| h.index).ok()?;
        Some(&self.hists[i].histogram)
    }
}
