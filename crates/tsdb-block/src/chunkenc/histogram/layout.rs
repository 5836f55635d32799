//! What all histograms of a chunk share: schema, zero bucket, spans and custom bounds.
//!
//! Holds reading and writing of it, and the reduction of resolutions that newer writers may use.
//! Invariant: the number of buckets is known and charged before any is read.

use std::sync::Arc;

use model::histogram::CUSTOM_BUCKETS_SCHEMA;
use model::{FloatHistogram, Span};

use super::super::bits::{BitWriter, Bits};
use super::super::budget::Allowance;
use crate::{Error, Result};

/// The finest resolution that queries work with.
pub(super) const MAX_SCHEMA: i32 = 8;

/// The shared part.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Layout {
    pub(in super::super) schema: i32,
    pub(in super::super) zero_threshold: f64,
    pub(in super::super) positive: Vec<Span>,
    pub(in super::super) negative: Vec<Span>,
    pub(in super::super) custom: Option<Arc<[f64]>>,
}

impl Layout {
    pub(super) fn read(b: &mut Bits<'_>, allow: &mut Allowance) -> Result<Layout> {
        let zero_threshold = read_zero_threshold(b);
        let schema = b.varbit_int();
        let schema = match i32::try_from(schema) {
            Ok(s) if s == CUSTOM_BUCKETS_SCHEMA || (-9..=52).contains(&s) => s,
            _ => return Err(Error::unsupported("histogram schema", schema)),
        };
        let positive = read_spans(b, allow)?;
        let negative = read_spans(b, allow)?;
        let custom = if schema == CUSTOM_BUCKETS_SCHEMA { Some(read_bounds(b, allow)?) } else { None };
        b.check()?;
        Ok(Layout { schema, zero_threshold, positive, negative, custom })
    }

    pub(super) fn write(&self, b: &mut BitWriter) {
        write_zero_threshold(b, self.zero_threshold);
        b.varbit_int(i64::from(self.schema));
        for spans in [&self.positive, &self.negative] {
            b.varbit_uint(spans.len() as u64);
            for s in spans {
                b.varbit_uint(u64::from(s.length));
                b.varbit_int(i64::from(s.offset));
            }
        }
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            let bounds = self.custom.as_deref().unwrap_or_default();
            b.varbit_uint(bounds.len() as u64);
            for x in bounds {
                write_bound(b, *x);
            }
        }
    }

    pub(super) fn buckets(&self) -> usize {
        bucket_count(&self.positive).saturating_add(bucket_count(&self.negative))
    }
}

/// Buckets that spans cover.
pub(super) fn bucket_count(spans: &[Span]) -> usize {
    spans.iter().fold(0usize, |n, s| n.saturating_add(s.length as usize))
}

fn read_spans(b: &mut Bits<'_>, allow: &mut Allowance) -> Result<Vec<Span>> {
    let n = b.varbit_uint();
    b.check()?;
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    allow.take(n, size_of::<Span>())?;
    let mut spans = Vec::with_capacity(n);
    for _ in 0..n {
        let (length, offset) = (b.varbit_uint(), b.varbit_int());
        match (u32::try_from(length), i32::try_from(offset)) {
            // Only the first span may begin below zero; the others lie behind the one before them.
            (Ok(length), Ok(offset)) if spans.is_empty() || offset >= 0 => {
                spans.push(Span { offset, length })
            }
            _ => return Err(b.fail(format!("span of length {length} at {offset}"))),
        }
        b.check()?;
    }
    Ok(spans)
}

fn read_bounds(b: &mut Bits<'_>, allow: &mut Allowance) -> Result<Arc<[f64]>> {
    let n = b.varbit_uint();
    b.check()?;
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    // Twice: once collected, once shared.
    allow.take(n, 2 * size_of::<f64>())?;
    let mut bounds = Vec::with_capacity(n);
    for _ in 0..n {
        let bound = match b.varbit_uint() {
            0 => f64::from_bits(b.read(64)),
            thousandths => (thousandths - 1) as f64 / 1000.0,
        };
        b.check()?;
        if bound.is_nan() || bounds.last().is_some_and(|last| *last >= bound) {
            return Err(b.fail("custom bounds do not ascend"));
        }
        bounds.push(bound);
    }
    Ok(bounds.into())
}

/// Bounds from 0 to 33554.43 with at most three decimals take a short form.
fn write_bound(b: &mut BitWriter, x: f64) {
    let thousandths = x * 1000.0;
    let whole = thousandths.round() as u64 as f64 / 1000.0 == x;
    if (0.0..=33_554_430.0).contains(&thousandths) && whole {
        b.varbit_uint(thousandths.round() as u64 + 1);
    } else {
        b.put(0, 1);
        b.put(x.to_bits(), 64);
    }
}

/// One byte for zero (0) and for powers of two from 2^-243 to 2^10 (1 to 254), else 255 and the
/// float.
fn write_zero_threshold(b: &mut BitWriter, x: f64) {
    let bits = x.to_bits();
    // 2^k has the biased exponent k + 1023 and is written as k + 244.
    let byte = (bits >> 52) as i64 - 1023 + 244;
    if x == 0.0 {
        b.put(0, 8);
    } else if bits << 12 == 0 && (1..=254).contains(&byte) {
        b.put(byte as u64, 8);
    } else {
        b.put(255, 8);
        b.put(bits, 64);
    }
}

fn read_zero_threshold(b: &mut Bits<'_>) -> f64 {
    match b.read(8) {
        0 => 0.0,
        255 => f64::from_bits(b.read(64)),
        byte => f64::from_bits((byte + 1023 - 244) << 52),
    }
}

/// Reduces a resolution above [`MAX_SCHEMA`] by merging buckets, as Prometheus' readers do.
pub(super) fn reduce(h: &mut FloatHistogram) {
    let by = (h.schema - MAX_SCHEMA) as u32;
    h.schema = MAX_SCHEMA;
    for (spans, buckets) in
        [(&mut h.positive_spans, &mut h.positive_buckets), (&mut h.negative_spans, &mut h.negative_buckets)]
    {
        let (mut to_spans, mut to_buckets): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::new());
        let (mut from, mut last, mut next) = (0i64, 0i64, buckets.iter());
        for s in spans.iter() {
            from += i64::from(s.offset);
            for count in next.by_ref().take(s.length as usize) {
                // Bucket i of the finer schema ends where bucket ceil(i / 2^by) of the coarser does.
                let to = ((from - 1) >> by.min(62)) + 1;
                match (to_spans.last_mut(), to_buckets.last_mut()) {
                    (Some(_), Some(b)) if to == last => *b += count,
                    (Some(span), Some(_)) if to == last + 1 => {
                        span.length += 1;
                        to_buckets.push(*count);
                    }
                    (before, _) => {
                        let offset = if before.is_some() { to - last - 1 } else { to };
                        to_spans.push(Span { offset: offset as i32, length: 1 });
                        to_buckets.push(*count);
                    }
                }
                last = to;
                from += 1;
            }
        }
        (*spans, *buckets) = (to_spans, to_buckets);
    }
}
