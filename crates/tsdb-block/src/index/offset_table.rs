//! The postings offset table (and the label offset table, which has the same shape).
//!
//! Holds a streaming decoder over the section body and [`Postings`], a compact searchable form. It
//! knows no postings list. Invariant: [`Postings`] entries are sorted by name, then value, also
//! when the file (version 1) had them in another order.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;

use crate::wire::{Cursor, section};
use crate::{Error, Result};

const NAME: &str = "postings offset table";

/// One entry: where the postings list of a label pair begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Label name; empty in the entry of all series.
    pub name: &'a str,
    /// Label value.
    pub value: &'a str,
    /// Offset of the list's length field from the start of the index.
    pub offset: u64,
    /// Offset of this entry within the section body.
    pub at: usize,
}

/// The checked body of the table at `offset` of `index`.
pub fn body(index: &[u8], offset: u64) -> Result<&[u8]> {
    section(index, offset, NAME)
}

/// Reads the entries of a section body in file order.
pub fn iter(body: &[u8]) -> Result<impl Iterator<Item = Result<Entry<'_>>>> {
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
        let item = entry(&mut c);
        if item.is_err() {
            (left, c) = (0, Cursor::new(&[], NAME));
        }
        Some(item)
    }))
}

/// Reads one entry that begins at `at` of `body`; also says where the next one begins.
pub fn entry_at(body: &[u8], at: usize) -> Result<(Entry<'_>, usize)> {
    let mut c = Cursor::at(body, at, NAME);
    let e = entry(&mut c)?;
    Ok((e, c.pos()))
}

fn entry<'a>(c: &mut Cursor<'a>) -> Result<Entry<'a>> {
    let at = c.pos();
    let keys = c.uvarint()?;
    if keys != 2 {
        return Err(Error::corrupt(NAME, at, format!("{keys} keys in an entry, expected 2")));
    }
    Ok(Entry { name: c.uvarint_str()?, value: c.uvarint_str()?, offset: c.uvarint()?, at })
}

/// Appends an entry in the form [`iter`] reads.
pub(crate) fn put(out: &mut Vec<u8>, name: &str, value: &str, offset: u64) {
    crate::wire::put_uvarint(out, 2);
    crate::wire::put_str(out, name);
    crate::wire::put_str(out, value);
    crate::wire::put_uvarint(out, offset);
}

/// The whole table of a local index, searchable by name and value.
#[derive(Clone, Debug)]
pub struct Postings {
    body: Bytes,
    names: Vec<Name>,
    values: Vec<Value>,
}

#[derive(Clone, Debug)]
struct Name {
    /// Where the name stands in `body`.
    text: Range<u32>,
    /// Its entries in `values`.
    values: Range<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Value {
    at: u32,
    len: u32,
    offset: u64,
}

impl Postings {
    /// Reads the table at `offset` of `index`. Sixteen bytes an entry stay allocated.
    pub fn parse(index: &Bytes, offset: u64) -> Result<Postings> {
        let part = body(index, offset)?;
        let place = |s: &str| {
            let at = s.as_ptr() as usize - part.as_ptr() as usize;
            at as u32..(at + s.len()) as u32
        };
        let (mut sorted, mut last): (bool, Option<(&str, &str)>) = (true, None);
        for e in iter(part)? {
            let e = e?;
            sorted &= last.is_none_or(|l| l < (e.name, e.value));
            last = Some((e.name, e.value));
        }
        let mut out = Postings { body: index.slice_ref(part), names: Vec::new(), values: Vec::new() };
        let mut push = |e: Entry<'_>| {
            let i = out.values.len() as u32;
            let v = place(e.value);
            out.values.push(Value { at: v.start, len: v.end - v.start, offset: e.offset });
            match out.names.last_mut() {
                Some(n) if part[n.text.start as usize..n.text.end as usize] == *e.name.as_bytes() => {
                    n.values.end = i + 1;
                }
                _ => out.names.push(Name { text: place(e.name), values: i..i + 1 }),
            }
        };
        if sorted {
            for e in iter(part)? {
                push(e?);
            }
        } else {
            let mut all = iter(part)?.collect::<Result<Vec<_>>>()?;
            all.sort_by(|a, b| (a.name, a.value).cmp(&(b.name, b.value)));
            all.into_iter().for_each(push);
        }
        out.names.shrink_to_fit();
        out.values.shrink_to_fit();
        Ok(out)
    }

    /// Label names in order; the empty name of the list of all series is left out.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|n| self.text(n.text.start, n.text.end)).filter(|n| !n.is_empty())
    }

    /// Values of `name` in order, each with the offset of its postings list.
    pub fn values(&self, name: &str) -> impl Iterator<Item = (&str, u64)> {
        let range = self.find_name(name).map_or(0..0, |n| n.values.start as usize..n.values.end as usize);
        self.values[range].iter().map(|v| (self.text(v.at, v.at + v.len), v.offset))
    }

    /// Offset of the postings list of a label pair.
    pub fn offset(&self, name: &str, value: &str) -> Option<u64> {
        let n = self.find_name(name)?;
        let values = &self.values[n.values.start as usize..n.values.end as usize];
        let i = values.binary_search_by(|v| self.text(v.at, v.at + v.len).cmp(value)).ok()?;
        Some(values[i].offset)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn find_name(&self, name: &str) -> Option<&Name> {
        let by = |n: &Name| -> Ordering { self.text(n.text.start, n.text.end).cmp(name) };
        self.names.binary_search_by(by).ok().map(|i| &self.names[i])
    }

    fn text(&self, from: u32, to: u32) -> &str {
        // Both ends were taken from a `str` within the body by `parse`.
        std::str::from_utf8(&self.body[from as usize..to as usize]).unwrap_or_default()
    }
}
