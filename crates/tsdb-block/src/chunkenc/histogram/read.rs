//! Walkers over the samples of histogram chunks.
//!
//! Holds the state that carries from sample to sample: integers as deltas of deltas, floats as xor
//! against the one before. It knows no output form. Invariant: the callback sees a sample only
//! after all of its bits were inside the chunk.

use model::{Millis, STALE_NAN_BITS};

use super::super::bits::{Bits, Span};
use super::super::budget::Allowance;
use super::super::st::StReader;
use super::super::{Encoding, byte, word};
use super::{CounterReset, Layout, has_start_timestamps};
use crate::Result;

const NAME: &str = "histogram chunk";
/// Bytes before the layout.
pub(super) const HEADER: usize = 3;

/// The three header bytes.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Head {
    pub(in super::super) count: u16,
    pub(in super::super) reset: CounterReset,
    /// The start timestamp byte, in the encodings that have one.
    pub(in super::super) st: Option<u8>,
}

/// Reads the header. With start timestamps the reset bits stand above a count of 14 bits.
pub(in super::super) fn head(encoding: Encoding, data: &[u8]) -> Result<Head> {
    let (count, third) = (word(data, NAME)?, byte(data, 2, NAME)?);
    Ok(if has_start_timestamps(encoding) {
        Head { count: count & 0x3fff, reset: CounterReset::from_bits((count >> 14) as u8), st: Some(third) }
    } else {
        Head { count, reset: CounterReset::from_bits(third >> 6), st: None }
    })
}

/// A number stored as delta of delta.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Dod {
    pub(in super::super) value: i64,
    delta: i64,
}

impl Dod {
    #[inline(always)]
    fn next(&mut self, b: &mut Bits<'_>) {
        self.step(b.varbit_int());
    }

    #[inline(always)]
    fn step(&mut self, dod: i64) {
        self.delta = self.delta.wrapping_add(dod);
        self.value = self.value.wrapping_add(self.delta);
    }
}

/// A float stored as xor.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Xored {
    pub(in super::super) value: u64,
    span: Span,
}

impl Xored {
    #[inline(always)]
    fn next(&mut self, b: &mut Bits<'_>) -> Result<()> {
        b.xor(&mut self.value, &mut self.span)
    }
}

/// An integer histogram as decoded.
#[derive(Debug, Default)]
pub(in super::super) struct IntSample {
    pub(in super::super) index: usize,
    pub(in super::super) t: Millis,
    pub(in super::super) st: Millis,
    pub(in super::super) count: Dod,
    pub(in super::super) zero: Dod,
    pub(in super::super) sum: Xored,
    /// Deltas between neighbouring buckets.
    pub(in super::super) positive: Vec<Dod>,
    pub(in super::super) negative: Vec<Dod>,
}

impl IntSample {
    pub(in super::super) fn stale(&self) -> bool {
        self.sum.value == STALE_NAN_BITS
    }
}

/// A float histogram as decoded.
#[derive(Debug, Default)]
pub(in super::super) struct FloatSample {
    pub(in super::super) index: usize,
    pub(in super::super) t: Millis,
    pub(in super::super) st: Millis,
    pub(in super::super) count: Xored,
    pub(in super::super) zero: Xored,
    pub(in super::super) sum: Xored,
    pub(in super::super) positive: Vec<Xored>,
    pub(in super::super) negative: Vec<Xored>,
}

impl FloatSample {
    pub(in super::super) fn stale(&self) -> bool {
        self.sum.value == STALE_NAN_BITS
    }
}

/// Calls `sink` with each integer histogram until it returns false.
pub(in super::super) fn walk_int(
    encoding: Encoding,
    data: &[u8],
    allow: &mut Allowance,
    mut sink: impl FnMut(&Layout, &IntSample, &mut Allowance) -> Result<bool>,
) -> Result<()> {
    let head = head(encoding, data)?;
    if head.count == 0 {
        return Ok(());
    }
    let mut b = Bits::new(data, HEADER, NAME);
    let layout = Layout::read(&mut b, allow)?;
    let mut st = head.st.map(StReader::new);
    let mut s = IntSample::default();
    allow.take(layout.buckets(), size_of::<Dod>())?;
    s.positive.resize(super::layout::bucket_count(&layout.positive), Dod::default());
    s.negative.resize(super::layout::bucket_count(&layout.negative), Dod::default());
    let mut time = Dod { value: b.varbit_int(), delta: 0 };
    s.count.value = b.varbit_uint() as i64;
    s.zero.value = b.varbit_uint() as i64;
    s.sum.value = b.read(64);
    for d in s.positive.iter_mut().chain(&mut s.negative) {
        d.value = b.varbit_int();
    }
    let mut before = time.value;
    loop {
        s.t = time.value;
        if let Some(st) = &mut st {
            st.read(&mut b, s.index as u32, s.t, before)?;
            s.st = st.st;
        }
        b.check()?;
        if !sink(&layout, &s, allow)? {
            return Ok(());
        }
        s.index += 1;
        if s.index >= usize::from(head.count) {
            return Ok(());
        }
        before = s.t;
        time.next(&mut b);
        s.count.next(&mut b);
        s.zero.next(&mut b);
        s.sum.next(&mut b)?;
        if !s.stale() {
            for side in [&mut s.positive, &mut s.negative] {
                let side = side.as_mut_slice();
                b.varbit_ints(side.len(), |i, dod| side[i].step(dod));
            }
        }
    }
}

/// Calls `sink` with each float histogram until it returns false.
pub(in super::super) fn walk_float(
    encoding: Encoding,
    data: &[u8],
    allow: &mut Allowance,
    mut sink: impl FnMut(&Layout, &FloatSample, &mut Allowance) -> Result<bool>,
) -> Result<()> {
    let head = head(encoding, data)?;
    if head.count == 0 {
        return Ok(());
    }
    let mut b = Bits::new(data, HEADER, NAME);
    let layout = Layout::read(&mut b, allow)?;
    let mut st = head.st.map(StReader::new);
    let mut s = FloatSample::default();
    allow.take(layout.buckets(), size_of::<Xored>())?;
    s.positive.resize(super::layout::bucket_count(&layout.positive), Xored::default());
    s.negative.resize(super::layout::bucket_count(&layout.negative), Xored::default());
    let mut time = Dod { value: b.varbit_int(), delta: 0 };
    for x in [&mut s.count, &mut s.zero, &mut s.sum] {
        x.value = b.read(64);
    }
    for x in s.positive.iter_mut().chain(&mut s.negative) {
        x.value = b.read(64);
    }
    let mut before = time.value;
    loop {
        s.t = time.value;
        if let Some(st) = &mut st {
            st.read(&mut b, s.index as u32, s.t, before)?;
            s.st = st.st;
        }
        b.check()?;
        if !sink(&layout, &s, allow)? {
            return Ok(());
        }
        s.index += 1;
        if s.index >= usize::from(head.count) {
            return Ok(());
        }
        before = s.t;
        time.next(&mut b);
        s.count.next(&mut b)?;
        s.zero.next(&mut b)?;
        s.sum.next(&mut b)?;
        if !s.stale() {
            for x in s.positive.iter_mut().chain(&mut s.negative) {
                x.next(&mut b)?;
            }
        }
    }
}
