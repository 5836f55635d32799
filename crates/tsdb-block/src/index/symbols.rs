//! The symbol table: every string of an index, once, sorted.
//!
//! Invariant: a reference resolves to a string of this table or is an error; offsets are kept, strings
//! are not copied.

use super::Version;
use super::bytes::Cursor;
use crate::error::{Corrupt, Result};

/// The table over the section's body.
#[derive(Clone, Debug)]
pub struct Symbols<B> {
    body: B,
    base: u64,
    version: Version,
    starts: Vec<u32>,
}

impl<B: AsRef<[u8]>> Symbols<B> {
    /// Opens the table; `body` is the checked section body, which begins at `base` of the index.
    ///
    /// # Errors
    /// [`Corrupt`] when a string is cut off or the count is wrong.
    pub fn open(body: B, base: u64, version: Version) -> Result<Self> {
        let bytes = body.as_ref();
        let mut c = Cursor::new(bytes, base);
        let count = c.be32("symbol count")? as usize;
        // A symbol takes at least its length byte.
        if count > c.left() {
            return Err(c.corrupt("symbol count"));
        }
        let mut starts = Vec::with_capacity(count);
        for _ in 0..count {
            starts.push(c.consumed() as u32);
            c.uvarint_bytes("symbol")?;
        }
        Ok(Symbols { body, base, version, starts })
    }

    /// The string a series entry refers to.
    ///
    /// # Errors
    /// [`Corrupt`] when there is no such symbol.
    pub fn get(&self, reference: u32) -> Result<&[u8]> {
        let start = match self.version {
            Version::V2 => self.starts.get(reference as usize).copied(),
            // In version 1 the reference is the offset in the file.
            Version::V1 => u64::from(reference)
                .checked_sub(self.base)
                .and_then(|at| u32::try_from(at).ok())
                .filter(|at| self.starts.binary_search(at).is_ok()),
        };
        let start = start.ok_or_else(|| Corrupt::new("symbol reference", u64::from(reference)))? as usize;
        let bytes = self.body.as_ref().get(start..).unwrap_or_default();
        Cursor::new(bytes, self.base + start as u64).uvarint_bytes("symbol")
    }

    /// Number of symbols.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}
