//! XOR2 chunks (encoding 4): float samples with optional start timestamps.
//!
//! Holds the walker and the encoder. Time and value share one prefix, a stale marker costs a few
//! bits and leaves the value that later ones are coded against alone. It knows nothing of other
//! encodings. Invariant: as for `xor`. Reference: Prometheus `tsdb/chunkenc/xor2.go`.

use model::{Millis, STALE_NAN_BITS};

use super::bits::{BitWriter, Bits, Span, WINDOW, WriteSpan};
use super::st::{StReader, StWriter};
use crate::{Error, Result};

const NAME: &str = "XOR2 chunk";
/// Bytes before the first sample: the number of samples and the start timestamp byte.
pub(super) const HEADER: usize = 3;

/// Calls `sink` with start timestamp (0 for none), time and value bits of each sample until it
/// returns false.
#[inline(always)]
pub(super) fn walk(data: &[u8], mut sink: impl FnMut(Millis, Millis, u64) -> bool) -> Result<()> {
    let n = super::word(data, NAME)?;
    if n == 0 {
        return Ok(());
    }
    let mut b = Bits::new(data, HEADER, NAME);
    let mut st = StReader::new(super::byte(data, 2, NAME)?);
    let (mut base, mut span, mut delta) = (0u64, Span::default(), 0i64);
    let mut t = b.varint()?;
    let mut value = b.read(64);
    if value != STALE_NAN_BITS {
        base = value;
    }
    st.read(&mut b, 0, t, 0)?;
    b.check()?;
    if !sink(st.st, t, value) {
        return Ok(());
    }
    let mut i = 1;
    while i < n {
        let before = t;
        let w = b.window();
        if i == 1 {
            delta = b.uvarint()? as i64;
            let w = b.window();
            value = after_time(&mut b, w, WINDOW, &mut base, &mut span)?;
        } else if w >> 63 == 0 {
            value = base;
            if !st.is_present() {
                // One zero bit a sample: same interval, same value. A window holds many of them.
                let run = w.leading_zeros().min(WINDOW).min(u32::from(n - i)) as u16;
                b.pos += usize::from(run);
                b.check()?;
                for _ in 0..run {
                    t = t.wrapping_add(delta);
                    if !sink(0, t, value) {
                        return Ok(());
                    }
                }
                i += run;
                continue;
            }
            b.pos += 1;
        } else if w >> 62 == 0b10 {
            b.pos += 3;
            if w << 2 >> 63 == 0 {
                b.reuse(w << 3, WINDOW - 3, &mut base, &span);
            } else {
                b.renew(w << 3, WINDOW - 3, &mut base, &mut span)?;
            }
            value = base;
        } else if w >> 59 == 0b11111 {
            b.pos += 5;
            value = STALE_NAN_BITS;
        } else {
            let (prefix, bits) = match w >> 60 {
                0b1100 | 0b1101 => (3, 13),
                0b1110 => (4, 20),
                _ => (5, 64),
            };
            b.pos += prefix;
            if bits == 64 {
                delta = delta.wrapping_add(b.read(64) as i64);
                let w = b.window();
                value = after_time(&mut b, w, WINDOW, &mut base, &mut span)?;
            } else {
                b.pos += bits as usize;
                delta = delta.wrapping_add((w << prefix) as i64 >> (64 - bits));
                let used = prefix as u32 + bits;
                value = after_time(&mut b, w << used, WINDOW - used, &mut base, &mut span)?;
            }
        }
        t = t.wrapping_add(delta);
        st.read(&mut b, u32::from(i), t, before)?;
        b.check()?;
        if !sink(st.st, t, value) {
            break;
        }
        i += 1;
    }
    Ok(())
}

/// The value after an explicit time: `0` same, `10` same span, `110` new span, `111` stale.
#[inline(always)]
fn after_time(b: &mut Bits<'_>, w: u64, valid: u32, base: &mut u64, span: &mut Span) -> Result<u64> {
    match w >> 61 {
        0b000..=0b011 => b.pos += 1,
        0b100 | 0b101 => {
            b.pos += 2;
            b.reuse(w << 2, valid - 2, base, span);
        }
        0b110 => {
            b.pos += 3;
            b.renew(w << 3, valid - 3, base, span)?;
        }
        _ => {
            b.pos += 3;
            return Ok(STALE_NAN_BITS);
        }
    }
    Ok(*base)
}

/// Writes a chunk.
#[derive(Clone, Debug)]
pub struct Encoder {
    bits: BitWriter,
    count: u16,
    t: Millis,
    delta: i64,
    base: u64,
    span: WriteSpan,
    st: StWriter,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder::new()
    }
}

impl Encoder {
    /// An empty chunk.
    pub fn new() -> Self {
        Encoder {
            bits: BitWriter::new(HEADER),
            count: 0,
            t: 0,
            delta: 0,
            base: 0,
            span: WriteSpan::default(),
            st: StWriter::default(),
        }
    }

    /// Appends a sample with its start timestamp (0 for none); refuses the one after 65,535.
    pub fn push(&mut self, st: Millis, t: Millis, v: f64) -> Result<()> {
        let value = v.to_bits();
        let before = self.t;
        match self.count {
            0 => {
                self.bits.varint(t);
                self.bits.put(value, 64);
            }
            1 => {
                self.delta = t.wrapping_sub(self.t);
                self.bits.uvarint(self.delta as u64);
                self.after_time(value);
            }
            u16::MAX => return Err(Error::Invalid("a chunk of more than 65535 samples".into())),
            _ => {
                let delta = t.wrapping_sub(self.t);
                let dod = delta.wrapping_sub(self.delta);
                self.delta = delta;
                self.joint(dod, value);
            }
        }
        self.st.write(&mut self.bits, HEADER - 1, u32::from(self.count), t, before, st);
        self.t = t;
        if value != STALE_NAN_BITS {
            self.base = value;
        }
        self.count += 1;
        Ok(())
    }

    fn joint(&mut self, dod: i64, value: u64) {
        let low = |n: u32| dod as u64 & ((1 << n) - 1);
        match dod {
            0 if value == STALE_NAN_BITS => return self.bits.put(0b11111, 5),
            0 if value == self.base => return self.bits.put(0, 1),
            0 => {
                let change = value ^ self.base;
                if self.span.covers(change) {
                    self.bits.put(0b100, 3);
                    self.bits.significant(change, &self.span);
                } else {
                    self.bits.put(0b101, 3);
                    self.bits.renew(change, &mut self.span);
                }
                return;
            }
            -4_096..=4_095 => self.bits.put(0b110 << 13 | low(13), 16),
            -524_288..=524_287 => self.bits.put(0b1110 << 20 | low(20), 24),
            _ => {
                self.bits.put(0b11110, 5);
                self.bits.put(dod as u64, 64);
            }
        }
        self.after_time(value);
    }

    fn after_time(&mut self, value: u64) {
        let change = value ^ self.base;
        if value == STALE_NAN_BITS {
            self.bits.put(0b111, 3);
        } else if change == 0 {
            self.bits.put(0, 1);
        } else if self.span.covers(change) {
            self.bits.put(0b10, 2);
            self.bits.significant(change, &self.span);
        } else {
            self.bits.put(0b110, 3);
            self.bits.renew(change, &mut self.span);
        }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far.
    pub fn byte_len(&self) -> usize {
        self.bits.len()
    }

    /// The chunk's data.
    pub fn finish(mut self) -> Vec<u8> {
        let [a, b] = self.count.to_be_bytes();
        *self.bits.byte(0) = a;
        *self.bits.byte(1) = b;
        self.bits.finish()
    }
}
