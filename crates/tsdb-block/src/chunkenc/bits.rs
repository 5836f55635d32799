//! Bits out of a byte slice, most significant first.
//!
//! Holds the window reader of the chunk decoders: one unaligned eight-byte load gives at least 57 bits
//! at any position. It does not know codes. Invariant: reading past the end yields zeros and is noticed
//! by [`Bits::overrun`], so that hot loops check once a sample and not once a bit.

/// A position in a bit string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    /// Reads `bytes` from the first bit on.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Bits { bytes, at: 0 }
    }

    /// The next 57 bits or more, left-aligned; zeros behind the end.
    #[inline(always)]
    pub(crate) fn window(&self) -> u64 {
        let byte = self.at >> 3;
        let raw = match self.bytes.get(byte..byte + 8) {
            Some(b) => u64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            None => self.tail(byte),
        };
        raw << (self.at & 7)
    }

    #[cold]
    fn tail(&self, byte: usize) -> u64 {
        let mut last = [0u8; 8];
        let rest = self.bytes.get(byte..).unwrap_or_default();
        last[..rest.len().min(8)].copy_from_slice(&rest[..rest.len().min(8)]);
        u64::from_be_bytes(last)
    }

    /// Moves on by `n` bits.
    #[inline(always)]
    pub(crate) fn skip(&mut self, n: u32) {
        self.at += n as usize;
    }

    /// `n` bits, at most 64, as a number.
    #[inline(always)]
    pub(crate) fn take(&mut self, n: u32) -> u64 {
        if n == 0 {
            return 0;
        }
        if n <= 57 {
            let out = self.window() >> (64 - n);
            self.skip(n);
            return out;
        }
        let high = self.window() >> 32;
        self.skip(32);
        let low = self.window() >> (64 - (n - 32));
        self.skip(n - 32);
        high << (n - 32) | low
    }

    /// Whether more was read than there is.
    #[inline(always)]
    pub(crate) fn overrun(&self) -> bool {
        self.at > self.bytes.len() * 8
    }

    /// Position in bytes, for error messages.
    pub(crate) fn byte(&self) -> u64 {
        (self.at >> 3) as u64
    }
}
