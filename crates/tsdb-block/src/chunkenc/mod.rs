//! Chunk encodings: the bytes of a chunk to samples and back.
//!
//! Holds one module per encoding and the dispatch over them: [`decode`] fills columns for the read
//! path, `lossless` keeps integer counts and headers for verification and rewriting, `reencode`
//! takes start timestamps out for peers that cannot read them, `aggr` splits Thanos' aggregates.
//! It knows no file. Invariant: bytes that end early are an error, which leaves the output as it
//! was; allocation stays within 64 bytes per input byte and 1 MiB. Read `xor` first.

pub mod aggr;
mod bits;
mod budget;
pub mod histogram;
pub mod lossless;
pub mod reencode;
mod st;
pub mod xor;
pub mod xor2;

use model::{Millis, Samples};

use crate::{Error, Result};

/// The encoding byte of a chunk on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// Floats.
    Xor = 1,
    /// Integer histograms.
    Histogram = 2,
    /// Float histograms.
    FloatHistogram = 3,
    /// Floats, newer form, with optional start timestamps.
    Xor2 = 4,
    /// Integer histograms with start timestamps.
    HistogramSt = 5,
    /// Float histograms with start timestamps.
    FloatHistogramSt = 6,
    /// Thanos' five aggregates of a downsampled series.
    Aggr = 0xff,
}

impl Encoding {
    /// The encoding of a byte, if there is one.
    pub fn from_byte(byte: u8) -> Option<Encoding> {
        Some(match byte {
            1 => Encoding::Xor,
            2 => Encoding::Histogram,
            3 => Encoding::FloatHistogram,
            4 => Encoding::Xor2,
            5 => Encoding::HistogramSt,
            6 => Encoding::FloatHistogramSt,
            0xff => Encoding::Aggr,
            _ => return None,
        })
    }

    /// Prometheus' name of the encoding.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Xor => "XOR",
            Encoding::Histogram => "histogram",
            Encoding::FloatHistogram => "float_histogram",
            Encoding::Xor2 => "XOR2",
            Encoding::HistogramSt => "histogram_st",
            Encoding::FloatHistogramSt => "float_histogram_st",
            Encoding::Aggr => "aggr",
        }
    }
}

impl TryFrom<u8> for Encoding {
    type Error = Error;
    fn try_from(byte: u8) -> Result<Encoding> {
        Encoding::from_byte(byte).ok_or(Error::unsupported("chunk encoding", i64::from(byte)))
    }
}

/// Appends the samples of a chunk's data to `out`.
///
/// # Errors
/// Corrupt data, by offset within it; `out` is then as before. [`Encoding::Aggr`] is unsupported
/// here: choose an aggregate with [`aggr::Aggregates`] first.
pub fn decode(encoding: Encoding, data: &[u8], out: &mut Samples) -> Result<()> {
    let before = Mark::of(out);
    let done = match encoding {
        Encoding::Xor => xor_all(data, out),
        Encoding::Xor2 => xor2_all(data, out),
        _ => decode_between(encoding, data, Millis::MIN, Millis::MAX, out),
    };
    if done.is_err() {
        before.restore(out);
    }
    done
}

/// Appends the samples with `mint <= time <= maxt`. Histograms outside the range are not built,
/// and nothing after it is read.
///
/// # Errors
/// As [`decode`]. Damage after the range may go unseen.
pub fn decode_range(
    encoding: Encoding,
    data: &[u8],
    mint: Millis,
    maxt: Millis,
    out: &mut Samples,
) -> Result<()> {
    let before = Mark::of(out);
    let done = decode_between(encoding, data, mint, maxt, out);
    if done.is_err() {
        before.restore(out);
    }
    done
}

fn decode_between(
    encoding: Encoding,
    data: &[u8],
    mint: Millis,
    maxt: Millis,
    out: &mut Samples,
) -> Result<()> {
    match encoding {
        Encoding::Xor => xor::walk(data, |t, v| {
            if t >= mint && t <= maxt {
                out.push(t, f64::from_bits(v));
            }
            t <= maxt
        }),
        Encoding::Xor2 => {
            let st = st::present(byte(data, 2, "XOR2 chunk")?);
            xor2::walk(data, |s, t, v| {
                if t >= mint && t <= maxt {
                    out.push(t, f64::from_bits(v));
                    if st {
                        set_st(out, s);
                    }
                }
                t <= maxt
            })
        }
        Encoding::Aggr => Err(Error::unsupported("decoding of chunk encoding", 0xff)),
        _ => histogram::decode(encoding, data, mint, maxt, out),
    }
}

fn xor_all(data: &[u8], out: &mut Samples) -> Result<()> {
    let (base, n) = (out.len(), usize::from(count(Encoding::Xor, data)?).min(data.len() * 4));
    out.ts.resize(base + n, 0);
    out.values.resize(base + n, 0.0);
    let mut columns = out.ts[base..].iter_mut().zip(&mut out.values[base..]);
    let mut wrote = 0;
    xor::walk(data, |t, v| match columns.next() {
        Some((ts, value)) => {
            (*ts, *value) = (t, f64::from_bits(v));
            wrote += 1;
            true
        }
        None => false,
    })?;
    settle(out, base, wrote);
    Ok(())
}

fn xor2_all(data: &[u8], out: &mut Samples) -> Result<()> {
    let st = st::present(byte(data, 2, "XOR2 chunk")?);
    let (base, n) = (out.len(), usize::from(count(Encoding::Xor2, data)?).min(data.len() * 8));
    out.ts.resize(base + n, 0);
    out.values.resize(base + n, 0.0);
    let mut columns = out.ts[base..].iter_mut().zip(&mut out.values[base..]);
    let mut wrote = 0;
    if !st {
        xor2::walk(data, |_, t, v| match columns.next() {
            Some((ts, value)) => {
                (*ts, *value) = (t, f64::from_bits(v));
                wrote += 1;
                true
            }
            None => false,
        })?;
        settle(out, base, wrote);
        return Ok(());
    }
    out.start_ts.resize(base + n, 0);
    let mut starts = out.start_ts[base..].iter_mut();
    xor2::walk(data, |s, t, v| match (columns.next(), starts.next()) {
        (Some((ts, value)), Some(start)) => {
            (*ts, *value, *start) = (t, f64::from_bits(v), s);
            wrote += 1;
            true
        }
        _ => false,
    })?;
    settle(out, base, wrote);
    Ok(())
}

/// Cuts the columns to what was written; the start timestamps, where in use, to the same length.
fn settle(out: &mut Samples, base: usize, wrote: usize) {
    out.ts.truncate(base + wrote);
    out.values.truncate(base + wrote);
    if !out.start_ts.is_empty() {
        out.start_ts.resize(base + wrote, 0);
    }
}

/// Sets the start timestamp of the sample pushed last, starting the column where it is not in use.
fn set_st(out: &mut Samples, st: Millis) {
    out.start_ts.resize(out.ts.len(), 0);
    if let Some(last) = out.start_ts.last_mut() {
        *last = st;
    }
}

/// Column lengths to go back to.
struct Mark {
    len: usize,
    start_ts: usize,
    hists: usize,
}

impl Mark {
    fn of(out: &Samples) -> Mark {
        Mark { len: out.len(), start_ts: out.start_ts.len(), hists: out.hists.len() }
    }

    fn restore(self, out: &mut Samples) {
        out.ts.truncate(self.len);
        out.values.truncate(self.len);
        out.start_ts.truncate(self.start_ts);
        out.hists.truncate(self.hists);
    }
}

/// Number of samples that the chunk's header announces.
pub fn count(encoding: Encoding, data: &[u8]) -> Result<u16> {
    match encoding {
        Encoding::HistogramSt | Encoding::FloatHistogramSt => Ok(word(data, "histogram chunk")? & 0x3fff),
        Encoding::Aggr => match aggr::Aggregates::parse(data)?.get(aggr::Aggregate::Count) {
            Some(c) if c.encoding != Encoding::Aggr => count(c.encoding, c.data),
            _ => Ok(0),
        },
        _ => word(data, "chunk"),
    }
}

/// Times of the first and last sample, `None` for a chunk without samples. Reads the whole chunk,
/// but builds no histogram.
pub fn time_range(encoding: Encoding, data: &[u8]) -> Result<Option<(Millis, Millis)>> {
    let mut range: Option<(Millis, Millis)> = None;
    let mut see = |t| {
        range = Some((range.map_or(t, |r| r.0), t));
        true
    };
    match encoding {
        Encoding::Xor => xor::walk(data, |t, _| see(t))?,
        Encoding::Xor2 => xor2::walk(data, |_, t, _| see(t))?,
        Encoding::Aggr => {
            for sub in aggr::Aggregates::parse(data)?.iter().map(|(_, s)| s) {
                if sub.encoding == Encoding::Aggr {
                    continue;
                }
                if let Some((a, b)) = time_range(sub.encoding, sub.data)? {
                    range = Some(range.map_or((a, b), |r| (r.0.min(a), r.1.max(b))));
                }
            }
        }
        _ => histogram::times(encoding, data, see)?,
    }
    Ok(range)
}

/// Time of the first sample, without reading further.
pub fn first_timestamp(encoding: Encoding, data: &[u8]) -> Result<Option<Millis>> {
    let mut first = None;
    let mut see = |t| {
        first = Some(t);
        false
    };
    match encoding {
        Encoding::Xor => xor::walk(data, |t, _| see(t))?,
        Encoding::Xor2 => xor2::walk(data, |_, t, _| see(t))?,
        Encoding::Aggr => return Ok(time_range(encoding, data)?.map(|r| r.0)),
        _ => histogram::times(encoding, data, see)?,
    }
    Ok(first)
}

fn word(data: &[u8], section: &'static str) -> Result<u16> {
    match data.first_chunk::<2>() {
        Some(b) => Ok(u16::from_be_bytes(*b)),
        None => Err(Error::corrupt(section, 0, "no sample count")),
    }
}

fn byte(data: &[u8], i: usize, section: &'static str) -> Result<u8> {
    data.get(i).copied().ok_or_else(|| Error::corrupt(section, data.len(), "truncated header"))
}

#[cfg(test)]
mod tests;
