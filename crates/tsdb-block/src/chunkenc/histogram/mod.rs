//! Histogram chunks (encodings 2, 3, 5, 6).
//!
//! Holds the layout in front of the samples and the walkers in `read`, the encoders in `write`.
//! Invariant: every allocation is charged to an allowance that the size of the data bounds.
//! Reference: Prometheus `tsdb/chunkenc/{histogram,float_histogram,histogram_meta}.go`.

mod layout;
mod read;
mod write;

pub(super) use layout::Layout;
pub(super) use read::{Dod, FloatSample, IntSample, Xored, head, walk_float, walk_int};
pub use write::{FloatEncoder, IntEncoder};

use std::sync::Arc;

use model::histogram::CUSTOM_BUCKETS_SCHEMA;
use model::sample::HistogramAt;
use model::{CounterResetHint, FloatHistogram, Millis, STALE_NAN_BITS, Samples};

use super::Encoding;
use super::budget::Allowance;
use crate::{Error, Result};

/// What a chunk's header says about the histogram before its first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum CounterReset {
    /// Nothing.
    #[default]
    Unknown = 0b00,
    /// There was no reset between.
    NotReset = 0b01,
    /// There was a reset between.
    Reset = 0b10,
    /// The chunk holds gauge histograms.
    Gauge = 0b11,
}

impl CounterReset {
    fn from_bits(two: u8) -> CounterReset {
        match two & 3 {
            0b01 => CounterReset::NotReset,
            0b10 => CounterReset::Reset,
            0b11 => CounterReset::Gauge,
            _ => CounterReset::Unknown,
        }
    }

    /// The hint of the histogram at position `i` of the chunk. The header itself is not believed
    /// for the first: the chunk before it may be missing.
    pub(super) fn hint(self, i: usize) -> CounterResetHint {
        match self {
            CounterReset::Gauge => CounterResetHint::Gauge,
            _ if i > 0 => CounterResetHint::NotReset,
            _ => CounterResetHint::Unknown,
        }
    }
}

pub(super) fn has_start_timestamps(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::HistogramSt | Encoding::FloatHistogramSt)
}

pub(super) fn is_float(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::FloatHistogram | Encoding::FloatHistogramSt)
}

/// Calls `see` with the time of each sample until it returns false.
pub(super) fn times(encoding: Encoding, data: &[u8], mut see: impl FnMut(Millis) -> bool) -> Result<()> {
    let mut allow = Allowance::of(data);
    if is_float(encoding) {
        walk_float(encoding, data, &mut allow, |_, s, _| Ok(see(s.t)))
    } else {
        walk_int(encoding, data, &mut allow, |_, s, _| Ok(see(s.t)))
    }
}

/// Appends the histograms within the range to `out`, as float histograms.
pub(super) fn decode(
    encoding: Encoding,
    data: &[u8],
    mint: Millis,
    maxt: Millis,
    out: &mut Samples,
) -> Result<()> {
    let head = head(encoding, data)?;
    let st = head.st.is_some_and(super::st::present);
    let mut allow = Allowance::of(data);
    let mut take = |t: Millis, start: Millis, h: FloatHistogram| {
        let h = Arc::new(h);
        out.hists.push(HistogramAt { index: out.ts.len() as u32, histogram: h.clone() });
        out.push(t, h.sum);
        if st {
            super::set_st(out, start);
        }
    };
    if is_float(encoding) {
        walk_float(encoding, data, &mut allow, |layout, s, allow| {
            if s.t >= mint && s.t <= maxt {
                layout.charge(s.stale(), allow)?;
                let h = if s.stale() { stale() } else { layout.float(head.reset.hint(s.index), s) };
                take(s.t, s.st, plausible(h, s.index)?);
            }
            Ok(s.t <= maxt)
        })
    } else {
        walk_int(encoding, data, &mut allow, |layout, s, allow| {
            if s.t >= mint && s.t <= maxt {
                layout.charge(s.stale(), allow)?;
                let h = if s.stale() { stale() } else { layout.float_of_int(head.reset.hint(s.index), s) };
                take(s.t, s.st, plausible(h, s.index)?);
            }
            Ok(s.t <= maxt)
        })
    }
}

/// A histogram that a writer could have meant: Prometheus appends none with a bucket below zero.
fn plausible(h: FloatHistogram, index: usize) -> Result<FloatHistogram> {
    let negative = |buckets: &[f64]| buckets.iter().any(|count| *count < 0.0);
    if negative(&h.positive_buckets) || negative(&h.negative_buckets) {
        return Err(Error::corrupt(
            "histogram chunk",
            0,
            format!("histogram {index} has a bucket below zero"),
        ));
    }
    Ok(h)
}

fn stale() -> FloatHistogram {
    FloatHistogram { sum: f64::from_bits(STALE_NAN_BITS), ..FloatHistogram::default() }
}

impl Layout {
    /// Charges one histogram of this layout in the column form.
    fn charge(&self, stale: bool, allow: &mut Allowance) -> Result<()> {
        // The struct with its counters, its place in three columns, and what growing them wastes.
        allow.take(1, size_of::<FloatHistogram>() + 152)?;
        if stale {
            return Ok(());
        }
        allow.take(self.buckets(), size_of::<f64>())?;
        allow.take(self.positive.len() + self.negative.len(), size_of::<model::Span>())
    }

    fn float(&self, hint: CounterResetHint, s: &FloatSample) -> FloatHistogram {
        let values = |b: &[read::Xored]| b.iter().map(|x| f64::from_bits(x.value)).collect();
        self.assemble(
            hint,
            f64::from_bits(s.count.value),
            f64::from_bits(s.zero.value),
            f64::from_bits(s.sum.value),
            values(&s.positive),
            values(&s.negative),
        )
    }

    fn float_of_int(&self, hint: CounterResetHint, s: &IntSample) -> FloatHistogram {
        let values = |b: &[read::Dod]| {
            let mut at = 0i64;
            b.iter()
                .map(|d| {
                    at = at.wrapping_add(d.value);
                    at as f64
                })
                .collect()
        };
        let sum = f64::from_bits(s.sum.value);
        self.assemble(
            hint,
            s.count.value as u64 as f64,
            s.zero.value as u64 as f64,
            sum,
            values(&s.positive),
            values(&s.negative),
        )
    }

    fn assemble(
        &self,
        counter_reset_hint: CounterResetHint,
        count: f64,
        zero_count: f64,
        sum: f64,
        positive_buckets: Vec<f64>,
        negative_buckets: Vec<f64>,
    ) -> FloatHistogram {
        let mut h = FloatHistogram {
            counter_reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans: self.positive.clone(),
            negative_spans: self.negative.clone(),
            positive_buckets,
            negative_buckets,
            custom_values: self.custom.clone(),
        };
        if h.schema > layout::MAX_SCHEMA && h.schema != CUSTOM_BUCKETS_SCHEMA {
            layout::reduce(&mut h);
        }
        h
    }
}
