//! The symbol table: every label name and value, sorted, once.
//!
//! Holds a decoder of the section and a table with constant-time lookup. It knows no label.
//! Invariant: [`Symbols`] found every symbol inside the section when it was built, so that lookups
//! only fail for references that do not exist.

use bytes::Bytes;

use super::Version;
use crate::wire::{Cursor, section};
use crate::{Error, Result};

const NAME: &str = "symbols";

/// Reads the symbols of a section body (what stands between length and checksum), in order, each
/// with the offset of its length field within `body`.
pub fn iter(body: &[u8]) -> Result<impl Iterator<Item = Result<(usize, &str)>>> {
    let mut c = Cursor::new(body, NAME);
    let mut left = c.be32()?;
    Ok(std::iter::from_fn(move || {
        if left == 0 {
            // The count is a lie where bytes are left over.
            return (c.left() > 0).then(|| {
                let error = c.fail(format!("{} bytes after the last entry", c.left()));
                c = Cursor::new(&[], NAME);
                Err(error)
            });
        }
        left -= 1;
        let at = c.pos();
        let item = c.uvarint_str().map(|s| (at, s));
        if item.is_err() {
            (left, c) = (0, Cursor::new(&[], NAME));
        }
        Some(item)
    }))
}

/// The checked body of the symbol section at `offset` of `index`.
pub fn body(index: &[u8], offset: u64) -> Result<&[u8]> {
    section(index, offset, NAME)
}

/// A symbol table over the bytes of an index.
#[derive(Clone, Debug)]
pub struct Symbols {
    body: Bytes,
    /// Offset of `body` in the index: version 1 refers to symbols by their place in the file.
    base: u64,
    version: Version,
    /// Offset of each symbol in `body`, ascending.
    offsets: Vec<u32>,
}

impl Symbols {
    /// Reads the section at `offset` of `index`. Four bytes a symbol stay allocated.
    pub fn parse(index: &Bytes, offset: u64, version: Version) -> Result<Symbols> {
        let part = body(index, offset)?;
        let mut offsets = Vec::new();
        for s in iter(part)? {
            // A section is at most 4 GiB long, its length having four bytes.
            offsets.push(s?.0 as u32);
        }
        offsets.shrink_to_fit();
        Ok(Symbols { body: index.slice_ref(part), base: offset + 4, version, offsets })
    }

    /// Number of symbols.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The symbol that a series entry refers to.
    pub fn get(&self, reference: u32) -> Result<&str> {
        let at = match self.version {
            Version::V2 => self.offsets.get(reference as usize).copied(),
            Version::V1 => u64::from(reference)
                .checked_sub(self.base)
                .and_then(|o| u32::try_from(o).ok())
                .filter(|o| self.offsets.binary_search(o).is_ok()),
        };
        match at {
            Some(at) => self.read(at),
            None => Err(Error::corrupt(NAME, 0, format!("no symbol with reference {reference}"))),
        }
    }

    /// The reference of `symbol`, if it is in the table. Logarithmic.
    pub fn find(&self, symbol: &str) -> Option<u32> {
        let i = self.offsets.binary_search_by(|o| self.read(*o).unwrap_or("").cmp(symbol)).ok()?;
        match self.version {
            Version::V2 => Some(i as u32),
            Version::V1 => u32::try_from(self.base + u64::from(self.offsets[i])).ok(),
        }
    }

    /// All symbols in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<&str>> {
        self.offsets.iter().map(|o| self.read(*o))
    }

    fn read(&self, at: u32) -> Result<&str> {
        Cursor::at(&self.body, at as usize, NAME).uvarint_str()
    }
}
