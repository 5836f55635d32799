//! Sections of an index, cut into pages while they arrive.
//!
//! Holds the two streaming parsers, of symbols and of the postings offset table, over frames of any
//! size. It fetches nothing. Invariant: memory stays within a frame, an entry and a page, however long
//! the section is, and nothing is kept before the section's checksum was right: the caller throws the
//! file away when [`Section::finish`] fails.
//! Layout: Prometheus' `tsdb/docs/format/index.md`.

use tsdb_block::index::Version;

use super::directory::{Directory, Name, Page, put, put_text};
use crate::error::{Failure, Result};

/// Symbols of a page take about this many bytes.
const SYMBOL_PAGE: usize = 8 << 10;
/// A page of the table ends at this many bytes, also before it is full.
const TABLE_PAGE: usize = 64 << 10;
/// The longest entry that is believed: far above any label, far below memory.
const LONGEST_ENTRY: usize = 64 << 20;

/// What a parser does with the entries of a section's body.
pub(super) trait Entries {
    /// Name of the section in errors.
    const NAME: &'static str;
    /// Takes the entry that `body` begins with, `at` bytes after the start of the section body; `None`
    /// when more bytes are needed.
    fn take(&mut self, body: &[u8], at: u64, out: &mut Output) -> Result<Option<usize>>;
    /// All entries were taken.
    fn end(&mut self, out: &mut Output) -> Result<()>;
}

/// The header file as it grows.
#[derive(Debug)]
pub(super) struct Output {
    /// Bytes that are not written out yet.
    pub(super) pending: Vec<u8>,
    /// Bytes written out before them.
    pub(super) written: u64,
    pub(super) directory: Directory,
}

impl Output {
    fn page(&mut self, bytes: &[u8]) -> Result<Page> {
        let len = u32::try_from(bytes.len()).map_err(|_| Failure::block("a page of more than 4 GiB"))?;
        let page = Page { at: self.written + self.pending.len() as u64, len, crc: crc32c::crc32c(bytes) };
        self.pending.extend_from_slice(bytes);
        Ok(page)
    }
}

/// A section `len <4b> | count <4b> | entries | crc32c <4b>`.
#[derive(Debug)]
pub(super) struct Section<E> {
    entries: E,
    held: Vec<u8>,
    /// Bytes of the body that are behind us, the count included.
    at: u64,
    len: Option<u64>,
    left: u64,
    crc: u32,
    done: bool,
}

fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |b| u32::from_be_bytes(*b))
}

impl<E: Entries> Section<E> {
    pub(super) fn new(entries: E) -> Self {
        Section { entries, held: Vec::new(), at: 0, len: None, left: 0, crc: 0, done: false }
    }

    /// Whether the section is complete; what comes after it is ignored.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    fn corrupt(&self, reason: impl std::fmt::Display) -> Failure {
        Failure::block(format!("corrupt {} at offset {}: {reason}", E::NAME, self.at))
    }

    /// Takes the next bytes of the index.
    pub(super) fn push(&mut self, frame: &[u8], out: &mut Output) -> Result<()> {
        if self.done {
            return Ok(());
        }
        self.held.extend_from_slice(frame);
        let mut used = 0;
        if self.len.is_none() {
            if self.held.len() < 8 {
                return Ok(());
            }
            let len = u64::from(word(&self.held));
            if len < 4 {
                return Err(self.corrupt(format!("length {len}")));
            }
            (self.len, self.left, self.at) = (Some(len), u64::from(word(&self.held[4..])), 4);
            self.crc = crc32c::crc32c(&self.held[4..8]);
            used = 8;
        }
        let len = self.len.unwrap_or(0);
        while self.left > 0 {
            let rest = &self.held[used..];
            let within = usize::try_from(len - self.at).unwrap_or(usize::MAX).min(rest.len());
            match self.entries.take(&rest[..within], self.at, out)? {
                Some(n) => {
                    self.crc = crc32c::crc32c_append(self.crc, &rest[..n]);
                    used += n;
                    self.at += n as u64;
                    self.left -= 1;
                }
                None if within < rest.len() || within > LONGEST_ENTRY => {
                    return Err(self.corrupt(format!("entry without an end, {} more announced", self.left)));
                }
                None => break,
            }
        }
        if self.left == 0 {
            // What is left of the body counts for the checksum only.
            let rest = &self.held[used..];
            let more = usize::try_from(len - self.at).unwrap_or(usize::MAX).min(rest.len());
            self.crc = crc32c::crc32c_append(self.crc, &rest[..more]);
            used += more;
            self.at += more as u64;
            if self.at == len && self.held.len() - used >= 4 {
                let want = word(&self.held[used..]);
                if want != self.crc {
                    return Err(self.corrupt(format!("checksum {:08x}, expected {want:08x}", self.crc)));
                }
                self.entries.end(out)?;
                self.done = true;
            }
        }
        self.held.drain(..used);
        Ok(())
    }

    /// The bytes have ended.
    pub(super) fn finish(self) -> Result<E> {
        if !self.done {
            return Err(self.corrupt("the section ends early"));
        }
        Ok(self.entries)
    }
}

/// Takes a LEB128 number; `Ok(None)` when more bytes are needed.
fn number(body: &[u8], at: &mut usize) -> Result<Option<u64>> {
    let mut v = 0u64;
    for i in 0..10 {
        let Some(b) = body.get(*at + i) else { return Ok(None) };
        v |= u64::from(b & 0x7f).checked_shl(7 * i as u32).unwrap_or(0);
        if *b < 0x80 {
            *at += i + 1;
            return Ok(Some(v));
        }
    }
    Err(Failure::block("corrupt index: varint without an end"))
}

/// Takes a length and as many bytes.
fn bytes<'a>(body: &'a [u8], at: &mut usize) -> Result<Option<&'a [u8]>> {
    let Some(len) = number(body, at)? else { return Ok(None) };
    if len > LONGEST_ENTRY as u64 {
        return Err(Failure::block(format!("corrupt index: a text of {len} bytes")));
    }
    let len = len as usize;
    let Some(taken) = body.get(*at..*at + len) else { return Ok(None) };
    *at += len;
    Ok(Some(taken))
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Failure::block("corrupt index: a label is not UTF-8"))
}

/// Symbols into pages, as they stand.
#[derive(Debug)]
pub(super) struct Symbols {
    /// Offset of the section's body in the index: version 1 refers to symbols by place.
    base: u64,
    version: Version,
    count: u32,
    page: Vec<u8>,
    first: u32,
}

impl Symbols {
    /// For a section whose length field stands at `offset`.
    pub(super) fn new(version: Version, offset: u64) -> Self {
        Symbols { base: offset + 4, version, count: 0, page: Vec::new(), first: 0 }
    }

    fn flush(&mut self, out: &mut Output) -> Result<()> {
        if !self.page.is_empty() {
            let page = out.page(&self.page)?;
            out.directory.symbols.push(page);
            out.directory.first_symbols.push(self.first);
            self.page.clear();
        }
        Ok(())
    }
}

impl Entries for Symbols {
    const NAME: &'static str = "symbols";

    fn take(&mut self, body: &[u8], at: u64, out: &mut Output) -> Result<Option<usize>> {
        let mut used = 0;
        let Some(symbol) = bytes(body, &mut used)? else { return Ok(None) };
        text(symbol)?;
        if self.page.is_empty() {
            self.first = match self.version {
                Version::V2 => self.count,
                Version::V1 => u32::try_from(self.base + at)
                    .map_err(|_| Failure::block("symbols of a version 1 index behind 4 GiB"))?,
            };
        }
        self.page.extend_from_slice(&body[..used]);
        self.count += 1;
        if self.page.len() >= SYMBOL_PAGE {
            self.flush(out)?;
        }
        Ok(Some(used))
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        self.flush(out)
    }
}

/// An entry of the offset table with the bytes of its postings list.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    value: String,
    offset: u64,
}

/// The postings offset table into pages, each with values of one name.
#[derive(Debug)]
pub(super) struct Table {
    /// Where the last postings list ends.
    end: u64,
    /// Entries in a page.
    sampling: usize,
    last: Option<Entry>,
    /// Entries that came out of order (version 1 writes them so): sorted at the end.
    unsorted: Option<Vec<Entry>>,
    page: Vec<u8>,
    in_page: usize,
}

impl Table {
    /// For a table in which the last list ends at `end`. A version 1 table is sorted first.
    pub(super) fn new(version: Version, end: u64, sampling: u32) -> Self {
        let unsorted = (version == Version::V1).then(Vec::new);
        let sampling = (sampling as usize).max(1);
        Table { end, sampling, last: None, unsorted, page: Vec::new(), in_page: 0 }
    }

    fn add(&mut self, entry: &Entry, end: u64, out: &mut Output) -> Result<()> {
        let d = &mut out.directory;
        let same = d.names.last().is_some_and(|n| n.text == entry.name);
        if !same || self.in_page == self.sampling || self.page.len() >= TABLE_PAGE {
            self.flush(out)?;
            let d = &mut out.directory;
            if !same {
                let at = d.table.len() as u32;
                d.names.push(Name { text: entry.name.clone(), pages: at..at });
            }
            d.first_values.push(&entry.value)?;
        }
        put_text(&mut self.page, &entry.value);
        put(&mut self.page, entry.offset);
        put(&mut self.page, end.saturating_sub(entry.offset));
        self.in_page += 1;
        Ok(())
    }

    fn flush(&mut self, out: &mut Output) -> Result<()> {
        if self.in_page > 0 {
            let page = out.page(&self.page)?;
            out.directory.table.push(page);
            if let Some(name) = out.directory.names.last_mut() {
                name.pages.end += 1;
            }
            self.page.clear();
            self.in_page = 0;
        }
        Ok(())
    }
}

impl Entries for Table {
    const NAME: &'static str = "postings offset table";

    fn take(&mut self, body: &[u8], _: u64, out: &mut Output) -> Result<Option<usize>> {
        let mut at = 0;
        let Some(keys) = number(body, &mut at)? else { return Ok(None) };
        if keys != 2 {
            return Err(Failure::block(format!("corrupt {}: {keys} keys in an entry", Self::NAME)));
        }
        let Some(name) = bytes(body, &mut at)? else { return Ok(None) };
        let Some(value) = bytes(body, &mut at)? else { return Ok(None) };
        let Some(offset) = number(body, &mut at)? else { return Ok(None) };
        let entry = Entry { name: text(name)?.to_owned(), value: text(value)?.to_owned(), offset };
        if let Some(all) = &mut self.unsorted {
            all.push(entry);
            return Ok(Some(at));
        }
        if let Some(last) = self.last.take() {
            let ascends = (&last.name, &last.value) < (&entry.name, &entry.value);
            if !ascends || last.offset >= entry.offset {
                return Err(Failure::block(format!(
                    "corrupt {}: entries out of order at {}={}",
                    Self::NAME,
                    entry.name,
                    entry.value
                )));
            }
            self.add(&last, entry.offset, out)?;
        }
        self.last = Some(entry);
        Ok(Some(at))
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        if let Some(mut all) = self.unsorted.take() {
            let mut starts: Vec<u64> = all.iter().map(|e| e.offset).collect();
            starts.sort_unstable();
            all.sort_by(|a, b| (&a.name, &a.value).cmp(&(&b.name, &b.value)));
            for entry in &all {
                let next = starts.partition_point(|s| *s <= entry.offset);
                let end = starts.get(next).copied().unwrap_or(self.end);
                self.add(entry, end, out)?;
            }
        }
        if let Some(last) = self.last.take() {
            self.add(&last, self.end, out)?;
        }
        self.flush(out)
    }
}
