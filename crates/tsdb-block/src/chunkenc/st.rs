//! Start timestamps within XOR2 and the start-timestamp histogram encodings.
//!
//! Holds the reader and writer of the optional field after each sample. It knows no sample.
//! A header byte says whether the first sample has one (bit 7) and from which sample on each has
//! one (bits 0 to 6; 0 for never). Invariant: a start timestamp of 0 means none.
//! Reference: Prometheus `tsdb/chunkenc/st.go`.

use model::Millis;

use super::bits::{BitWriter, Bits};
use crate::Result;

/// The last index the header can name; a longer chunk has the field from here on in any case.
const LAST_CHANGE: u32 = 0x7f;

/// Reading state.
#[derive(Clone, Copy, Debug)]
pub(super) struct StReader {
    first: bool,
    change: u32,
    distance: i64,
    /// Start timestamp of the sample read last.
    pub(super) st: Millis,
}

impl StReader {
    pub(super) fn new(header: u8) -> Self {
        StReader { first: header & 0x80 != 0, change: u32::from(header & 0x7f), distance: 0, st: 0 }
    }

    /// Whether any sample of the chunk has one.
    #[inline(always)]
    pub(super) fn is_present(&self) -> bool {
        self.first || self.change > 0
    }

    /// Reads the field of sample `i` at time `t`; `before` is the time of the sample before.
    #[inline(always)]
    pub(super) fn read(&mut self, b: &mut Bits<'_>, i: u32, t: Millis, before: Millis) -> Result<()> {
        if i == 0 {
            if self.first {
                self.st = t.wrapping_sub(b.varint()?);
            }
        } else if self.change > 0 && i >= self.change {
            let d = b.varbit_int();
            self.distance = if i == self.change { d } else { self.distance.wrapping_add(d) };
            self.st = before.wrapping_sub(self.distance);
        }
        Ok(())
    }
}

/// Whether a chunk with this header byte carries any start timestamp.
pub(super) fn present(header: u8) -> bool {
    header != 0
}

/// Writing state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StWriter {
    change: u32,
    distance: i64,
    st: Millis,
}

impl StWriter {
    /// Mirrors [`StReader::read`]; `header` is the place of the header byte.
    #[inline]
    pub(super) fn write(
        &mut self,
        b: &mut BitWriter,
        header: usize,
        i: u32,
        t: Millis,
        before: Millis,
        st: Millis,
    ) {
        if i == 0 {
            if st != 0 {
                b.varint(t.wrapping_sub(st));
                *b.byte(header) = 0x80;
            }
        } else {
            let distance = before.wrapping_sub(st);
            if self.change > 0 {
                b.varbit_int(distance.wrapping_sub(self.distance));
                self.distance = distance;
            } else if st != self.st || i == LAST_CHANGE {
                self.change = i;
                *b.byte(header) |= i as u8;
                b.varbit_int(distance);
                self.distance = distance;
            }
        }
        self.st = st;
    }
}
