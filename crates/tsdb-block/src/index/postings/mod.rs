//! Postings: ascending lists of series references.
//!
//! Holds the stored form (big-endian words, [`List`]), and in `sets` the set operations, which run
//! on the stored form and on plain arrays alike. It knows no label. Invariant: a [`List`] has whole
//! words; its order is the writer's promise, and a broken one gives wrong sets but never a panic.

mod sets;

pub use sets::{Postings, intersect, intersect_all, subtract, union, union_all};

use crate::wire::{Cursor, section};
use crate::{Error, Result};

const NAME: &str = "postings";

/// A postings list as it stands in the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List<'a> {
    words: &'a [[u8; 4]],
}

impl<'a> List<'a> {
    /// Reads `count <4b> | reference <4b>…`: a section body, or the same cut out of a fetched range
    /// (bytes after the last reference are not looked at).
    pub fn from_body(body: &'a [u8]) -> Result<List<'a>> {
        let mut c = Cursor::new(body, NAME);
        let count = c.be32()? as usize;
        let words = body[4..].as_chunks::<4>().0;
        match words.get(..count) {
            Some(words) => Ok(List { words }),
            None => Err(Error::corrupt(NAME, 0, format!("{count} references in {} bytes", body.len()))),
        }
    }

    /// References in the stored order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.words.iter().map(|w| u32::from_be_bytes(*w))
    }

    /// The same list as an array.
    pub fn to_vec(self) -> Vec<u32> {
        self.iter().collect()
    }

    /// The stored words, without the count.
    pub fn as_words(self) -> &'a [[u8; 4]] {
        self.words
    }

    /// Number of references.
    pub fn len(self) -> usize {
        self.words.len()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.words.is_empty()
    }
}

/// Reads a whole section, `len <4b> | count <4b> | references | crc32 <4b>`, from the beginning of
/// `data`, its checksum verified.
pub fn decode(data: &[u8]) -> Result<List<'_>> {
    decode_at(data, 0)
}

/// Like [`decode`], at `offset` of a whole index.
pub fn decode_at(index: &[u8], offset: u64) -> Result<List<'_>> {
    let body = section(index, offset, NAME)?;
    let list = List::from_body(body)?;
    if body.len() != 4 + 4 * list.len() {
        return Err(Error::corrupt(
            NAME,
            usize::try_from(offset).unwrap_or_default(),
            format!("{} references in a section of {} bytes", list.len(), body.len()),
        ));
    }
    Ok(list)
}

/// Appends a whole section as [`decode`] reads it.
pub fn encode(references: &[u32], out: &mut Vec<u8>) -> Result<()> {
    let too_long = || Error::Invalid(format!("a postings list of {} references", references.len()));
    let body = references.len().checked_mul(4).and_then(|n| n.checked_add(4)).ok_or_else(too_long)?;
    let len = u32::try_from(body).map_err(|_| too_long())?;
    out.extend_from_slice(&len.to_be_bytes());
    let start = out.len();
    out.extend_from_slice(&(references.len() as u32).to_be_bytes());
    for r in references {
        out.extend_from_slice(&r.to_be_bytes());
    }
    let sum = crate::wire::crc(&out[start..]);
    out.extend_from_slice(&sum.to_be_bytes());
    Ok(())
}
