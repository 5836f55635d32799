//! Chunks with everything they say: integer counts, counter reset header, start timestamps.
//!
//! Holds a form for verification and rewriting. The read path uses [`super::decode`] instead.
//! Invariant: [`write()`] of what [`read`] gave returns the same bytes, for chunks whose writer chose
//! the spans of xor-coded floats as Prometheus does.

use model::{FloatHistogram, Histogram, Millis, STALE_NAN_BITS};

use super::budget::Allowance;
use super::histogram::{self, CounterReset, FloatEncoder, IntEncoder};
use super::{Encoding, xor, xor2};
use crate::{Error, Result};

/// A decoded chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Its encoding, any but [`Encoding::Aggr`].
    pub encoding: Encoding,
    /// Its counter reset header; unknown for floats.
    pub reset: CounterReset,
    /// Its samples.
    pub samples: Vec<Sample>,
    /// Bytes after the last sample, which writers of 2019 sometimes left.
    pub tail: Vec<u8>,
}

/// A sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Time.
    pub t: Millis,
    /// Start timestamp, 0 for none.
    pub st: Millis,
    /// Value.
    pub value: Value,
}

/// A value of any kind. Float equality is not bit equality: compare `to_bits` for that.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A float.
    Float(f64),
    /// An integer histogram.
    Histogram(Histogram),
    /// A float histogram.
    FloatHistogram(FloatHistogram),
}

/// Decodes a chunk.
///
/// # Errors
/// Corrupt data by offset; [`Encoding::Aggr`] is unsupported here.
pub fn read(encoding: Encoding, data: &[u8]) -> Result<Chunk> {
    let mut chunk = samples(encoding, data)?;
    if let Some(tail) = write(&chunk).ok().and_then(|again| data.strip_prefix(again.as_slice())) {
        chunk.tail = tail.to_vec();
    }
    Ok(chunk)
}

fn samples(encoding: Encoding, data: &[u8]) -> Result<Chunk> {
    let mut samples = Vec::new();
    let mut allow = Allowance::of(data);
    // What one sample takes, growth of the vector included.
    let each = 3 * size_of::<Sample>();
    let mut charged = Ok(());
    let mut float = |st, t, v| {
        charged = allow.take(1, each);
        if charged.is_ok() {
            samples.push(Sample { t, st, value: Value::Float(f64::from_bits(v)) });
        }
        charged.is_ok()
    };
    match encoding {
        Encoding::Xor => xor::walk(data, |t, v| float(0, t, v))?,
        Encoding::Xor2 => xor2::walk(data, float)?,
        Encoding::Aggr => return Err(Error::unsupported("decoding of chunk encoding", 0xff)),
        _ => return histograms(encoding, data),
    }
    charged?;
    Ok(Chunk { encoding, reset: CounterReset::Unknown, samples, tail: Vec::new() })
}

fn histograms(encoding: Encoding, data: &[u8]) -> Result<Chunk> {
    let mut samples = Vec::new();
    let mut allow = Allowance::of(data);
    let each = 3 * size_of::<Sample>();
    let reset = histogram::head(encoding, data)?.reset;
    if histogram::is_float(encoding) {
        histogram::walk_float(encoding, data, &mut allow, |l, s, allow| {
            allow.take(1, each)?;
            allow.take(s.positive.len() + s.negative.len() + l.positive.len() + l.negative.len(), 8)?;
            let values = |b: &[histogram::Xored]| b.iter().map(|x| f64::from_bits(x.value)).collect();
            let h = if s.stale() {
                FloatHistogram { sum: f64::from_bits(STALE_NAN_BITS), ..FloatHistogram::default() }
            } else {
                FloatHistogram {
                    counter_reset_hint: reset.hint(s.index),
                    schema: l.schema,
                    zero_threshold: l.zero_threshold,
                    zero_count: f64::from_bits(s.zero.value),
                    count: f64::from_bits(s.count.value),
                    sum: f64::from_bits(s.sum.value),
                    positive_spans: l.positive.clone(),
                    negative_spans: l.negative.clone(),
                    positive_buckets: values(&s.positive),
                    negative_buckets: values(&s.negative),
                    custom_values: l.custom.clone(),
                }
            };
            samples.push(Sample { t: s.t, st: s.st, value: Value::FloatHistogram(h) });
            Ok(true)
        })?;
    } else {
        histogram::walk_int(encoding, data, &mut allow, |l, s, allow| {
            allow.take(1, each)?;
            allow.take(s.positive.len() + s.negative.len() + l.positive.len() + l.negative.len(), 8)?;
            let values = |b: &[histogram::Dod]| b.iter().map(|d| d.value).collect();
            let h = if s.stale() {
                Histogram { sum: f64::from_bits(STALE_NAN_BITS), ..Histogram::default() }
            } else {
                Histogram {
                    counter_reset_hint: reset.hint(s.index),
                    schema: l.schema,
                    zero_threshold: l.zero_threshold,
                    zero_count: s.zero.value as u64,
                    count: s.count.value as u64,
                    sum: f64::from_bits(s.sum.value),
                    positive_spans: l.positive.clone(),
                    negative_spans: l.negative.clone(),
                    positive_buckets: values(&s.positive),
                    negative_buckets: values(&s.negative),
                    custom_values: l.custom.clone(),
                }
            };
            samples.push(Sample { t: s.t, st: s.st, value: Value::Histogram(h) });
            Ok(true)
        })?;
    }
    Ok(Chunk { encoding, reset, samples, tail: Vec::new() })
}

/// Encodes a chunk. Start timestamps are dropped where the encoding has no place for them.
///
/// # Errors
/// [`Error::Invalid`] where a sample is of another kind than the encoding, or does not fit.
pub fn write(chunk: &Chunk) -> Result<Vec<u8>> {
    let mut out = body(chunk)?;
    out.extend_from_slice(&chunk.tail);
    Ok(out)
}

fn body(chunk: &Chunk) -> Result<Vec<u8>> {
    let st = histogram::has_start_timestamps(chunk.encoding);
    let wrong =
        || Err(Error::Invalid(format!("sample of another kind in a {} chunk", chunk.encoding.name())));
    match chunk.encoding {
        Encoding::Xor => {
            let mut e = xor::Encoder::new();
            for s in &chunk.samples {
                let Value::Float(v) = s.value else { return wrong() };
                e.push(s.t, v)?;
            }
            Ok(e.finish())
        }
        Encoding::Xor2 => {
            let mut e = xor2::Encoder::new();
            for s in &chunk.samples {
                let Value::Float(v) = s.value else { return wrong() };
                e.push(s.st, s.t, v)?;
            }
            Ok(e.finish())
        }
        Encoding::Histogram | Encoding::HistogramSt => {
            let mut e = IntEncoder::new(chunk.reset, st);
            for s in &chunk.samples {
                let Value::Histogram(h) = &s.value else { return wrong() };
                e.push(s.st, s.t, h)?;
            }
            Ok(e.finish())
        }
        Encoding::FloatHistogram | Encoding::FloatHistogramSt => {
            let mut e = FloatEncoder::new(chunk.reset, st);
            for s in &chunk.samples {
                let Value::FloatHistogram(h) = &s.value else { return wrong() };
                e.push(s.st, s.t, h)?;
            }
            Ok(e.finish())
        }
        Encoding::Aggr => Err(Error::unsupported("encoding of chunk encoding", 0xff)),
    }
}
