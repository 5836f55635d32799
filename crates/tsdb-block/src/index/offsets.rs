//! The postings offset table: for each label pair, where its postings list begins.
//!
//! Invariant: entries come in the order of the file, sorted by name and then value in version 2.

use super::bytes::Cursor;
use crate::error::Result;

/// One entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry<'a> {
    /// Label name; empty for the list of all series.
    pub name: &'a [u8],
    /// Label value.
    pub value: &'a [u8],
    /// Offset of the postings list in the index.
    pub postings: u64,
    /// Offset of this entry in the index.
    pub at: u64,
}

/// Iterates over the table's checked section body, which begins at `base` of the index.
#[derive(Clone, Debug)]
pub struct OffsetTable<'a> {
    cursor: Cursor<'a>,
    left: u32,
}

impl<'a> OffsetTable<'a> {
    /// Opens the body of a whole table.
    ///
    /// # Errors
    /// When the count is cut off.
    pub fn new(body: &'a [u8], base: u64) -> Result<Self> {
        let mut cursor = Cursor::new(body, base);
        let left = cursor.be32("postings offset count")?;
        Ok(OffsetTable { cursor, left })
    }

    /// Opens a run of `count` entries cut out of the table, the first at `base` of the index.
    pub fn entries(bytes: &'a [u8], base: u64, count: u32) -> Self {
        OffsetTable { cursor: Cursor::new(bytes, base), left: count }
    }

    /// Entries not read yet.
    pub fn left(&self) -> u32 {
        self.left
    }

    fn read(&mut self) -> Result<OffsetEntry<'a>> {
        let at = self.cursor.offset();
        let keys = self.cursor.uvarint("postings offset key count")?;
        if keys != 2 {
            return Err(self.cursor.corrupt("postings offset key count"));
        }
        let name = self.cursor.uvarint_bytes("postings offset name")?;
        let value = self.cursor.uvarint_bytes("postings offset value")?;
        let postings = self.cursor.uvarint("postings offset")?;
        Ok(OffsetEntry { name, value, postings, at })
    }
}

impl<'a> Iterator for OffsetTable<'a> {
    type Item = Result<OffsetEntry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.read();
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry)
    }
}
