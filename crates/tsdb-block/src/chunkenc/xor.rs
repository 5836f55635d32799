//! XOR chunks (encoding 1): float samples, Prometheus' variant of Gorilla.
//!
//! Holds the walker and the encoder. It knows nothing of other encodings. Invariant: the walker
//! hands over a sample only after all of its bits were inside the chunk.
//! Reference: Prometheus `tsdb/chunkenc/xor.go`.

use model::Millis;

use super::bits::{BitWriter, Bits, Span, WINDOW, WriteSpan, signed};
use crate::{Error, Result};

const NAME: &str = "XOR chunk";
/// Bytes before the first sample: the number of samples.
pub(super) const HEADER: usize = 2;

/// Calls `sink` with time and value bits of each sample until it returns false.
#[inline(always)]
pub(super) fn walk(data: &[u8], mut sink: impl FnMut(Millis, u64) -> bool) -> Result<()> {
    let n = super::word(data, NAME)?;
    if n == 0 {
        return Ok(());
    }
    let mut b = Bits::new(data, HEADER, NAME);
    let mut t = b.varint()?;
    let mut value = b.read(64);
    b.check()?;
    if !sink(t, value) || n == 1 {
        return Ok(());
    }
    let mut delta = b.uvarint()? as i64;
    let mut span = Span::default();
    t = t.wrapping_add(delta);
    b.xor(&mut value, &mut span)?;
    b.check()?;
    if !sink(t, value) {
        return Ok(());
    }
    let mut left = usize::from(n) - 2;
    while left > 0 {
        let w = b.window();
        if w >> 62 == 0 {
            // Two zero bits a sample: same interval, same value. A window holds many of them.
            let run = (w.leading_zeros().min(WINDOW) as usize / 2).min(left);
            b.pos += 2 * run;
            b.check()?;
            left -= run;
            for _ in 0..run {
                t = t.wrapping_add(delta);
                if !sink(t, value) {
                    return Ok(());
                }
            }
            continue;
        }
        left -= 1;
        if w >> 63 == 0 {
            b.pos += 1;
            b.xor_in(w << 1, WINDOW - 1, &mut value, &mut span)?;
        } else {
            let (dod, used) = delta_of_delta(&mut b, w);
            delta = delta.wrapping_add(dod);
            match used {
                0 => b.xor(&mut value, &mut span)?,
                _ => b.xor_in(w << used, WINDOW - used, &mut value, &mut span)?,
            }
        }
        t = t.wrapping_add(delta);
        b.check()?;
        if !sink(t, value) {
            break;
        }
    }
    Ok(())
}

/// The change of the interval, and how many bits of the window `w` it took: none of use where it took 68.
#[inline(always)]
fn delta_of_delta(b: &mut Bits<'_>, w: u64) -> (i64, u32) {
    let (prefix, n) = match w >> 60 {
        0b1000..=0b1011 => (2, 14),
        0b1100 | 0b1101 => (3, 17),
        0b1110 => (4, 20),
        _ => {
            b.pos += 4;
            return (b.read(64) as i64, 0);
        }
    };
    b.pos += (prefix + n) as usize;
    (signed(w << prefix >> (64 - n), n), prefix + n)
}

/// Writes a chunk.
#[derive(Clone, Debug)]
pub struct Encoder {
    bits: BitWriter,
    count: u16,
    t: Millis,
    delta: i64,
    value: u64,
    span: WriteSpan,
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
            value: 0,
            span: WriteSpan::default(),
        }
    }

    /// Appends a sample; refuses the one after 65,535.
    #[inline]
    pub fn push(&mut self, t: Millis, v: f64) -> Result<()> {
        let value = v.to_bits();
        match self.count {
            0 => {
                self.bits.varint(t);
                self.bits.put(value, 64);
            }
            1 => {
                self.delta = t.wrapping_sub(self.t);
                self.bits.uvarint(self.delta as u64);
                self.bits.xor(value ^ self.value, &mut self.span);
            }
            u16::MAX => return Err(Error::Invalid("a chunk of more than 65535 samples".into())),
            _ => {
                let delta = t.wrapping_sub(self.t);
                let dod = delta.wrapping_sub(self.delta);
                self.delta = delta;
                let low = |n: u32| dod as u64 & ((1 << n) - 1);
                match dod {
                    0 => self.bits.put(0, 1),
                    -8_191..=8_192 => self.bits.put(0b10 << 14 | low(14), 16),
                    -65_535..=65_536 => self.bits.put(0b110 << 17 | low(17), 20),
                    -524_287..=524_288 => self.bits.put(0b1110 << 20 | low(20), 24),
                    _ => {
                        self.bits.put(0b1111, 4);
                        self.bits.put(dod as u64, 64);
                    }
                }
                self.bits.xor(value ^ self.value, &mut self.span);
            }
        }
        self.t = t;
        self.value = value;
        self.count += 1;
        Ok(())
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
