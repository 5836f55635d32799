//! Byte-aligned primitives of the block formats: varints, big-endian words, CRC32C.
//!
//! Holds the cursor every byte-aligned decoder uses and the writers that mirror it. It knows no
//! section. Invariant: the cursor never reads outside its slice, and never advances past an error.

use crate::{Error, Result};

/// CRC32C (Castagnoli), the checksum of every section of a block.
#[inline]
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// A reading position in a slice.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    data: &'a [u8],
    pos: usize,
    section: &'static str,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(data: &'a [u8], section: &'static str) -> Self {
        Cursor { data, pos: 0, section }
    }

    pub(crate) fn at(data: &'a [u8], pos: usize, section: &'static str) -> Self {
        Cursor { data, pos: pos.min(data.len()), section }
    }

    #[inline]
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.data.len() - self.pos
    }

    #[cold]
    pub(crate) fn fail(&self, reason: impl Into<String>) -> Error {
        Error::corrupt(self.section, self.pos, reason)
    }

    #[inline]
    pub(crate) fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        match self.data[self.pos..].get(..n) {
            Some(b) => {
                self.pos += n;
                Ok(b)
            }
            None => Err(self.fail(format!("{n} bytes wanted, {} left", self.left()))),
        }
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.bytes(1)?[0])
    }

    #[inline]
    pub(crate) fn be32(&mut self) -> Result<u32> {
        let mut b = [0; 4];
        b.copy_from_slice(self.bytes(4)?);
        Ok(u32::from_be_bytes(b))
    }

    #[inline]
    pub(crate) fn be64(&mut self) -> Result<u64> {
        let mut b = [0; 8];
        b.copy_from_slice(self.bytes(8)?);
        Ok(u64::from_be_bytes(b))
    }

    /// LEB128, at most ten bytes and 64 bits, as Go's `binary.Uvarint`.
    #[inline]
    pub(crate) fn uvarint(&mut self) -> Result<u64> {
        if let Some(&b) = self.data.get(self.pos)
            && b < 0x80
        {
            self.pos += 1;
            return Ok(u64::from(b));
        }
        self.uvarint_long()
    }

    fn uvarint_long(&mut self) -> Result<u64> {
        let mut v = 0u64;
        for (i, &b) in self.data[self.pos..].iter().take(10).enumerate() {
            if i == 9 && b > 1 {
                return Err(self.fail("varint of more than 64 bits"));
            }
            v |= u64::from(b & 0x7f) << (7 * i);
            if b < 0x80 {
                self.pos += i + 1;
                return Ok(v);
            }
        }
        Err(self.fail("varint without an end"))
    }

    /// Zigzag LEB128, as Go's `binary.Varint`.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<i64> {
        let u = self.uvarint()?;
        Ok((u >> 1) as i64 ^ -((u & 1) as i64))
    }

    /// A varint that must fit in 32 bits.
    #[inline]
    pub(crate) fn uvarint32(&mut self) -> Result<u32> {
        let at = self.pos;
        u32::try_from(self.uvarint()?)
            .map_err(|_| Error::corrupt(self.section, at, "number of more than 32 bits"))
    }

    /// A length and as many bytes.
    #[inline]
    pub(crate) fn uvarint_bytes(&mut self) -> Result<&'a [u8]> {
        let at = self.pos;
        let n = self.uvarint()?;
        if n > self.left() as u64 {
            let left = self.left();
            self.pos = at;
            return Err(self.fail(format!("length {n}, {left} bytes left")));
        }
        self.bytes(n as usize)
    }

    /// A length and as many bytes of UTF-8.
    #[inline]
    pub(crate) fn uvarint_str(&mut self) -> Result<&'a str> {
        let at = self.pos;
        let b = self.uvarint_bytes()?;
        std::str::from_utf8(b).map_err(|_| Error::corrupt(self.section, at, "string is not UTF-8"))
    }
}

pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

pub(crate) fn put_varint(out: &mut Vec<u8>, v: i64) {
    put_uvarint(out, ((v << 1) ^ (v >> 63)) as u64);
}

pub(crate) fn put_str(out: &mut Vec<u8>, s: &str) {
    put_uvarint(out, s.len() as u64);
    out.extend_from_slice(s.as_bytes());
}

/// The body of a section `len <4b> | body | crc32 <4b>` that begins at `offset` of `data`, its
/// checksum verified.
pub(crate) fn section<'a>(data: &'a [u8], offset: u64, name: &'static str) -> Result<&'a [u8]> {
    let start = usize::try_from(offset).ok().filter(|s| *s <= data.len()).ok_or_else(|| {
        Error::corrupt(name, data.len(), format!("section begins at {offset}, after the end"))
    })?;
    let mut c = Cursor::at(data, start, name);
    let len = c.be32()? as usize;
    let body = c.bytes(len)?;
    let want = c.be32()?;
    if crc(body) != want {
        return Err(Error::corrupt(name, start, format!("checksum {:08x}, expected {want:08x}", crc(body))));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_mirror_each_other_and_refuse_nonsense() {
        for v in [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN, 1_792_627_200_000] {
            let mut b = Vec::new();
            put_varint(&mut b, v);
            assert_eq!(Cursor::new(&b, "t").varint().unwrap(), v);
            for cut in 0..b.len() {
                assert!(Cursor::new(&b[..cut], "t").varint().is_err());
            }
        }
        assert!(Cursor::new(&[0xff; 20], "t").uvarint().is_err());
        assert!(
            Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], "t").uvarint().is_err()
        );
        assert!(Cursor::new(&[5, b'a'], "t").uvarint_bytes().is_err());
    }
}
