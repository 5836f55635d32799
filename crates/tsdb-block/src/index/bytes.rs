//! Reading numbers out of index bytes.
//!
//! Holds a cursor that never panics and knows its absolute offset, so that every error can name the
//! place. Invariant: a length that was read is checked against what is left before anything is
//! allocated or sliced.

use crate::error::{Corrupt, Result};

/// A cursor over a slice of an index file.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    base: u64,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes`, which lie at offset `base` of their file.
    pub fn new(bytes: &'a [u8], base: u64) -> Self {
        Cursor { bytes, at: 0, base }
    }

    /// Offset in the file of the next byte.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Bytes left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Bytes read so far.
    pub fn consumed(&self) -> usize {
        self.at
    }

    /// An error at the present position.
    pub fn corrupt(&self, what: &'static str) -> Corrupt {
        Corrupt::new(what, self.offset())
    }

    /// The next `n` bytes.
    #[inline]
    pub fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8]> {
        if n > self.left() {
            return Err(self.corrupt(what));
        }
        let out = &self.bytes[self.at..self.at + n];
        self.at += n;
        Ok(out)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, what: &'static str) -> Result<u8> {
        Ok(self.take(1, what)?[0])
    }

    /// A big-endian 32-bit number.
    #[inline]
    pub fn be32(&mut self, what: &'static str) -> Result<u32> {
        let b = self.take(4, what)?;
        Ok(u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// A big-endian 64-bit number.
    #[inline]
    pub fn be64(&mut self, what: &'static str) -> Result<u64> {
        let b = self.take(8, what)?;
        Ok(u64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
    }

    /// An unsigned LEB128 number, Go's `binary.Uvarint`.
    #[inline]
    pub fn uvarint(&mut self, what: &'static str) -> Result<u64> {
        let (mut value, mut shift) = (0u64, 0u32);
        loop {
            let b = self.u8(what)?;
            if shift == 63 && b > 1 {
                return Err(self.corrupt(what));
            }
            value |= u64::from(b & 0x7f) << shift;
            if b < 0x80 {
                return Ok(value);
            }
            shift += 7;
            if shift > 63 {
                return Err(self.corrupt(what));
            }
        }
    }

    /// A zigzag LEB128 number, Go's `binary.Varint`.
    #[inline]
    pub fn varint(&mut self, what: &'static str) -> Result<i64> {
        let raw = self.uvarint(what)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// Bytes with a LEB128 length in front.
    #[inline]
    pub fn uvarint_bytes(&mut self, what: &'static str) -> Result<&'a [u8]> {
        let len = self.uvarint(what)?;
        let len = usize::try_from(len).map_err(|_| self.corrupt(what))?;
        self.take(len, what)
    }
}
