//! Bit streams, most significant bit first.
//!
//! Holds the reader and writer under every sample encoding, and the variable-width integers of the
//! histogram encodings. It knows no sample. Invariant: the reader sees zeros after the end and
//! never fails by itself; whoever uses what it read asks [`Bits::check`] first, once per sample.
//!
//! The reader looks at a window: one unaligned load of eight bytes holds the next 57 bits or more,
//! so a sample costs one or two loads and no loop over bits.

use crate::{Error, Result};

/// Bits that [`Bits::window`] always holds.
pub(super) const WINDOW: u32 = 57;

/// A reading position, in bits.
#[derive(Clone, Debug)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    pub(super) pos: usize,
    section: &'static str,
}

impl<'a> Bits<'a> {
    /// Starts at byte `skip` of `data`.
    pub(super) fn new(data: &'a [u8], skip: usize, section: &'static str) -> Self {
        Bits { data, pos: skip * 8, section }
    }

    #[cold]
    pub(super) fn fail(&self, reason: impl Into<String>) -> Error {
        Error::corrupt(self.section, (self.pos / 8).min(self.data.len()), reason)
    }

    /// Fails if anything was read from behind the end.
    #[inline(always)]
    pub(super) fn check(&self) -> Result<()> {
        if self.pos > self.data.len() * 8 { Err(self.fail("truncated")) } else { Ok(()) }
    }

    /// The next [`WINDOW`] bits or more, left-aligned, without moving on.
    #[inline(always)]
    pub(super) fn window(&self) -> u64 {
        let byte = self.pos >> 3;
        let word = match self.data.get(byte..).and_then(|d| d.first_chunk::<8>()) {
            Some(b) => u64::from_be_bytes(*b),
            None => self.tail(byte),
        };
        word << (self.pos & 7)
    }

    #[cold]
    fn tail(&self, byte: usize) -> u64 {
        let mut b = [0; 8];
        if let Some(rest) = self.data.get(byte..) {
            b[..rest.len()].copy_from_slice(rest);
        }
        u64::from_be_bytes(b)
    }

    /// The next `n` bits, 1 to 64.
    #[inline(always)]
    pub(super) fn read(&mut self, n: u32) -> u64 {
        if n <= WINDOW {
            let v = self.window() >> (64 - n);
            self.pos += n as usize;
            v
        } else {
            let high = self.window() >> 32;
            self.pos += 32;
            let low = self.window() >> (96 - n);
            self.pos += n as usize - 32;
            high << (n - 32) | low
        }
    }

    /// A LEB128 number at any bit position.
    pub(super) fn uvarint(&mut self) -> Result<u64> {
        let mut v = 0u64;
        for i in 0..10 {
            let b = self.read(8);
            if i == 9 && b > 1 {
                break;
            }
            v |= (b & 0x7f) << (7 * i);
            if b < 0x80 {
                return Ok(v);
            }
        }
        Err(self.fail("varint of more than 64 bits"))
    }

    /// A zigzag LEB128 number at any bit position.
    pub(super) fn varint(&mut self) -> Result<i64> {
        let u = self.uvarint()?;
        Ok((u >> 1) as i64 ^ -((u & 1) as i64))
    }

    /// Width of the next variable-width integer; its prefix is consumed.
    #[inline(always)]
    fn varbit_width(&mut self) -> (u32, u64) {
        let w = self.window();
        let ones = (!w).leading_zeros().min(8);
        let prefix = if ones == 8 { 8 } else { ones + 1 };
        self.pos += prefix as usize;
        (WIDTHS[ones as usize], w << prefix)
    }

    /// An integer as Prometheus' `putVarbitInt` writes it.
    #[inline(always)]
    pub(super) fn varbit_int(&mut self) -> i64 {
        let (n, w) = self.varbit_width();
        match n {
            0 => 0,
            1..=25 => {
                self.pos += n as usize;
                signed(w >> (64 - n), n)
            }
            64 => self.read(64) as i64,
            n => signed(self.read(n), n),
        }
    }

    /// Calls `take` with `n` integers as [`Bits::varbit_int`] reads them. Small ones, which buckets of
    /// histograms mostly are, come out of a table, several to a window.
    #[inline(always)]
    pub(super) fn varbit_ints(&mut self, n: usize, mut take: impl FnMut(usize, i64)) {
        let (mut w, mut valid) = (self.window(), WINDOW);
        for i in 0..n {
            if valid < SMALL_BITS {
                (w, valid) = (self.window(), WINDOW);
            }
            let small = SMALL[(w >> (64 - SMALL_BITS)) as usize];
            if small.len == 0 {
                take(i, self.varbit_int());
                valid = 0;
            } else {
                self.pos += usize::from(small.len);
                w <<= small.len;
                valid -= u32::from(small.len);
                take(i, i64::from(small.value));
            }
        }
    }

    /// An integer as Prometheus' `putVarbitUint` writes it.
    #[inline(always)]
    pub(super) fn varbit_uint(&mut self) -> u64 {
        let (n, w) = self.varbit_width();
        match n {
            0 => 0,
            1..=25 => {
                self.pos += n as usize;
                w >> (64 - n)
            }
            n => self.read(n),
        }
    }

    /// A float coded against the one before it, as in XOR chunks.
    #[inline(always)]
    pub(super) fn xor(&mut self, value: &mut u64, span: &mut Span) -> Result<()> {
        let w = self.window();
        self.xor_in(w, WINDOW, value, span)
    }

    /// The same, when `w` already holds the next `valid` bits (13 or more).
    #[inline(always)]
    pub(super) fn xor_in(&mut self, w: u64, valid: u32, value: &mut u64, span: &mut Span) -> Result<()> {
        if w >> 63 == 0 {
            self.pos += 1;
            return Ok(());
        }
        if w >> 62 == 0b10 {
            self.pos += 2;
            self.reuse(w << 2, valid - 2, value, span);
            return Ok(());
        }
        self.pos += 2;
        self.renew(w << 2, valid - 2, value, span)
    }

    /// Significant bits in the span of the float before.
    #[inline(always)]
    pub(super) fn reuse(&mut self, w: u64, valid: u32, value: &mut u64, span: &Span) {
        let bits = if span.bits <= valid {
            self.pos += span.bits as usize;
            w >> (64 - span.bits)
        } else {
            self.read(span.bits)
        };
        *value ^= bits << span.trailing;
    }

    /// A new span (5 bits of leading zeros, 6 of length) and its significant bits.
    #[inline(always)]
    pub(super) fn renew(&mut self, w: u64, valid: u32, value: &mut u64, span: &mut Span) -> Result<()> {
        let leading = (w >> 59) as u32;
        let bits = match (w << 5 >> 58) as u32 {
            0 => 64,
            n => n,
        };
        if leading + bits > 64 {
            return Err(self.fail(format!("{bits} significant bits after {leading} zeros")));
        }
        self.pos += 11;
        *span = Span { bits, trailing: 64 - leading - bits };
        self.reuse(w << 11, valid - 11, value, span);
        Ok(())
    }
}

/// Where the significant bits of the last float coded in full stood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    bits: u32,
    trailing: u32,
}

impl Default for Span {
    /// A reader that meets "same span" first takes all 64 bits, as Prometheus' does.
    fn default() -> Self {
        Span { bits: 64, trailing: 0 }
    }
}

/// Bits of the longest integer in [`SMALL`].
const SMALL_BITS: u32 = 9;

/// An integer of few bits; `len` 0 stands for a longer one.
#[derive(Clone, Copy)]
struct Small {
    value: i8,
    len: u8,
}

/// What the next [`SMALL_BITS`] bits begin with: `0`, `10` and 3 bits, or `110` and 6.
static SMALL: [Small; 1 << SMALL_BITS] = {
    let mut table = [Small { value: 0, len: 0 }; 1 << SMALL_BITS];
    let mut bits = 0;
    while bits < table.len() {
        let n = match bits >> (SMALL_BITS - 3) {
            0b000..=0b011 => 0,
            0b100 | 0b101 => 3,
            0b110 => 6,
            _ => {
                bits += 1;
                continue;
            }
        };
        let len = if n == 0 { 1 } else { n / 3 + 1 + n };
        let raw = (bits >> (SMALL_BITS as usize - len)) & ((1 << n) - 1);
        let value = if n > 0 && raw > 1 << (n - 1) { raw as i8 - (1 << n) } else { raw as i8 };
        table[bits] = Small { value, len: len as u8 };
        bits += 1;
    }
    table
};

const WIDTHS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

/// `raw` of `n` bits as a number from `-(2^(n-1) - 1)` to `2^(n-1)`: the upper half is one longer.
#[inline(always)]
pub(super) fn signed(raw: u64, n: u32) -> i64 {
    if raw > 1 << (n - 1) { raw.wrapping_sub(1 << n) as i64 } else { raw as i64 }
}

/// Whether `x` has a place in [`signed`]'s range for `n` bits.
fn fits(x: i64, n: u32) -> bool {
    -((1i64 << (n - 1)) - 1) <= x && x <= 1 << (n - 1)
}

/// A growing bit stream.
#[derive(Clone, Debug, Default)]
pub(super) struct BitWriter {
    out: Vec<u8>,
    /// Bits not yet in `out`, left-aligned.
    held: u64,
    /// Their number, below 8 between calls.
    count: u32,
}

impl BitWriter {
    /// Starts after `header` zero bytes.
    pub(super) fn new(header: usize) -> Self {
        let mut out = Vec::with_capacity(256);
        out.resize(header, 0);
        BitWriter { out, held: 0, count: 0 }
    }

    /// Appends the lowest `n` bits of `v`, 0 to 64.
    #[inline]
    pub(super) fn put(&mut self, v: u64, n: u32) {
        if n > 56 {
            self.put(v >> 32, n - 32);
            return self.put(v & 0xffff_ffff, 32);
        }
        if n == 0 {
            return;
        }
        self.held |= (v << (64 - n)) >> self.count;
        self.count += n;
        let whole = (self.count / 8) as usize;
        self.out.extend_from_slice(&self.held.to_be_bytes()[..whole]);
        self.held = if whole == 8 { 0 } else { self.held << (whole * 8) };
        self.count &= 7;
    }

    /// Appends a LEB128 number, not aligned.
    pub(super) fn uvarint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.put(v & 0x7f | 0x80, 8);
            v >>= 7;
        }
        self.put(v, 8);
    }

    /// Appends a zigzag LEB128 number, not aligned.
    pub(super) fn varint(&mut self, v: i64) {
        self.uvarint(((v << 1) ^ (v >> 63)) as u64);
    }

    /// Mirrors [`Bits::varbit_int`].
    pub(super) fn varbit_int(&mut self, v: i64) {
        let class = if v == 0 { 0 } else { (1..8).find(|c| fits(v, WIDTHS[*c])).unwrap_or(8) };
        self.varbit(class, v as u64);
    }

    /// Mirrors [`Bits::varbit_uint`].
    pub(super) fn varbit_uint(&mut self, v: u64) {
        let class = if v == 0 { 0 } else { (1..8).find(|c| v >> WIDTHS[*c] == 0).unwrap_or(8) };
        self.varbit(class, v);
    }

    fn varbit(&mut self, class: usize, v: u64) {
        if class == 8 {
            self.put(0xff, 8);
        } else {
            self.put((1 << (class + 1)) - 2, class as u32 + 1);
        }
        self.put(v, WIDTHS[class]);
    }

    /// Mirrors [`Bits::xor`]; `delta` is the new value's bits xor the old one's.
    #[inline]
    pub(super) fn xor(&mut self, delta: u64, span: &mut WriteSpan) {
        if delta == 0 {
            return self.put(0, 1);
        }
        if span.covers(delta) {
            self.put(0b10, 2);
            self.significant(delta, span);
        } else {
            self.put(0b11, 2);
            self.renew(delta, span);
        }
    }

    /// The significant bits of `delta` within `span`.
    #[inline]
    pub(super) fn significant(&mut self, delta: u64, span: &WriteSpan) {
        self.put(delta >> span.trailing, 64 - span.leading - span.trailing);
    }

    /// A new span around `delta`, and its significant bits.
    pub(super) fn renew(&mut self, delta: u64, span: &mut WriteSpan) {
        *span = WriteSpan { leading: delta.leading_zeros().min(31), trailing: delta.trailing_zeros() };
        let bits = 64 - span.leading - span.trailing;
        self.put(u64::from(span.leading), 5);
        self.put(u64::from(bits & 63), 6);
        self.significant(delta, span);
    }

    /// Byte `i` of what has been written, to fill in a header.
    pub(super) fn byte(&mut self, i: usize) -> &mut u8 {
        &mut self.out[i]
    }

    /// Bytes so far, the last one padded.
    pub(super) fn len(&self) -> usize {
        self.out.len() + usize::from(self.count > 0)
    }

    /// The stream, padded with zero bits to a whole byte.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.out.push(self.held.to_be_bytes()[0]);
        }
        self.out
    }
}

/// Where the significant bits of the last float written in full stood.
#[derive(Clone, Copy, Debug)]
pub(super) struct WriteSpan {
    leading: u32,
    trailing: u32,
}

impl Default for WriteSpan {
    /// No span yet: nothing is covered.
    fn default() -> Self {
        WriteSpan { leading: u32::MAX, trailing: 0 }
    }
}

impl WriteSpan {
    /// Whether the bits of `delta`, which is not zero, lie within.
    #[inline]
    pub(super) fn covers(&self, delta: u64) -> bool {
        delta.leading_zeros().min(31) >= self.leading && delta.trailing_zeros() >= self.trailing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_survive_at_any_bit(ints: Vec<(i64, u8)>, floats: Vec<u64>) {
            let mut w = BitWriter::new(0);
            let (mut last, mut span) = (0u64, WriteSpan::default());
            for (v, shift) in &ints {
                let v = v >> (shift & 63);
                w.varbit_int(v);
                w.varbit_uint(v as u64);
                w.varint(v);
                w.put(v as u64, u32::from(*shift & 63) + 1);
            }
            for f in &floats {
                w.xor(f ^ last, &mut span);
                last = *f;
            }
            let bytes = w.finish();
            let mut r = Bits::new(&bytes, 0, "t");
            for (v, shift) in &ints {
                let v = v >> (shift & 63);
                prop_assert_eq!(r.varbit_int(), v);
                prop_assert_eq!(r.varbit_uint(), v as u64);
                prop_assert_eq!(r.varint().unwrap(), v);
                let n = u32::from(*shift & 63) + 1;
                prop_assert_eq!(r.read(n), (v as u64) << (64 - n) >> (64 - n));
            }
            let (mut value, mut span) = (0u64, Span::default());
            for f in &floats {
                r.xor(&mut value, &mut span).unwrap();
                prop_assert_eq!(value, *f);
            }
            r.check().unwrap();
            prop_assert!(bytes.len() * 8 - r.pos < 8);
        }
    }
}
