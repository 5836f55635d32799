//! XOR: floats as Prometheus has always stored them (`tsdb/chunkenc/xor.go`).
//!
//! Two bytes of count, then for each sample a delta of delta and the value XORed with the one before.

use super::bits::Bits;
use crate::error::{Corrupt, Result};
use crate::index::bytes::Cursor;
use model::Samples;

/// Appends the samples of `data` to `out`.
///
/// # Errors
/// [`Corrupt`] when the data ends before its count of samples.
pub fn decode(data: &[u8], out: &mut Samples) -> Result<()> {
    let what = "XOR chunk";
    let mut head = Cursor::new(data, 0);
    let count = usize::from(head.take(2, what).map(|b| u16::from_be_bytes([b[0], b[1]]))?);
    if count == 0 {
        return Ok(());
    }
    let mut t = head.varint(what)?;
    let mut value = head.be64(what)?;
    // Every further sample takes at least two bits.
    if count - 1 > head.left().saturating_mul(4) {
        return Err(Corrupt::new(what, 0));
    }
    out.ts.reserve(count);
    out.values.reserve(count);
    out.push(t, f64::from_bits(value));
    if count == 1 {
        return Ok(());
    }
    let mut delta = head.uvarint(what)? as i64;
    t = t.wrapping_add(delta);
    let mut bits = Bits::new(&data[head.consumed()..]);
    let (mut leading, mut width) = (0u32, 0u32);
    read_value(&mut bits, &mut value, &mut leading, &mut width);
    out.push(t, f64::from_bits(value));
    for _ in 2..count {
        let window = bits.window();
        if window >> 63 == 0 {
            bits.skip(1);
        } else {
            delta = delta.wrapping_add(delta_of_delta(&mut bits, window));
        }
        t = t.wrapping_add(delta);
        read_value(&mut bits, &mut value, &mut leading, &mut width);
        out.push(t, f64::from_bits(value));
    }
    if bits.overrun() {
        return Err(Corrupt::new(what, head.consumed() as u64 + bits.byte()));
    }
    Ok(())
}

#[inline(always)]
fn delta_of_delta(bits: &mut Bits<'_>, window: u64) -> i64 {
    let (prefix, size) = match window.leading_ones() {
        1 => (2, 14),
        2 => (3, 17),
        3 => (4, 20),
        _ => {
            bits.skip(4);
            return bits.take(64) as i64;
        }
    };
    bits.skip(prefix + size);
    let raw = (window << prefix) >> (64 - size);
    // The upper end of the range belongs to the positive numbers: 1 << (size - 1) itself is positive.
    if raw > 1 << (size - 1) { raw as i64 - (1i64 << size) } else { raw as i64 }
}

#[inline(always)]
fn read_value(bits: &mut Bits<'_>, value: &mut u64, leading: &mut u32, width: &mut u32) {
    let window = bits.window();
    if window >> 63 == 0 {
        bits.skip(1);
        return;
    }
    if window >> 62 == 0b11 {
        *leading = (window >> 57) as u32 & 0x1f;
        *width = match (window >> 51) as u32 & 0x3f {
            0 => 64,
            n => n,
        };
        bits.skip(13);
    } else {
        bits.skip(2);
    }
    let trailing = 64u32.saturating_sub(*leading + *width);
    *value ^= bits.take(*width) << trailing;
}
