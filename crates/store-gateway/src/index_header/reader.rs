//! Reading a finished index header, page by page.
//!
//! Holds lookups of label values, postings ranges and symbols. Plain reads, no mapping: a file that
//! shrinks or changes under us is an error of kind [`Kind::Header`](crate::error::Kind) and the header
//! is built anew. It reads no index. Invariant: a page's checksum is verified before it is believed.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tsdb_block::index::Version;

use super::directory::{Cursor, Directory, Page, TRAILER};
use crate::error::{Failure, Result};

/// Bytes of pages read at once when many values are wanted.
const SPAN: u64 = 256 << 10;

/// Where a header's bytes are.
#[derive(Clone, Debug)]
pub(super) enum Source {
    File(PathBuf),
    Memory(Bytes),
}

#[derive(Debug)]
enum Open {
    File(File, PathBuf),
    Memory(Bytes),
}

impl Source {
    fn open(&self) -> Result<Open> {
        Ok(match self {
            Source::Memory(bytes) => Open::Memory(bytes.clone()),
            Source::File(path) => {
                let file = File::open(path).map_err(|e| damaged(path.display(), e))?;
                Open::File(file, path.clone())
            }
        })
    }
}

fn damaged(place: impl std::fmt::Display, why: impl std::fmt::Display) -> Failure {
    Failure::header(format!("index header {place}: {why}"))
}

impl Open {
    fn name(&self) -> String {
        match self {
            Open::File(_, path) => path.display().to_string(),
            Open::Memory(_) => "in memory".to_owned(),
        }
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        match self {
            Open::File(file, _) => file.read_exact_at(out, at).map_err(|e| damaged(self.name(), e)),
            Open::Memory(all) => {
                let start = usize::try_from(at).unwrap_or(usize::MAX);
                let part = start.checked_add(out.len()).and_then(|end| all.get(start..end));
                out.copy_from_slice(part.ok_or_else(|| damaged("in memory", "out of bounds"))?);
                Ok(())
            }
        }
    }

    fn size(&self) -> Result<u64> {
        match self {
            Open::File(file, _) => Ok(file.metadata().map_err(|e| damaged(self.name(), e))?.len()),
            Open::Memory(all) => Ok(all.len() as u64),
        }
    }
}

/// Reads the directory of a header.
pub(super) fn load(source: &Source) -> Result<Directory> {
    let open = source.open()?;
    let size = open.size()?;
    let wrong = |why: &str| damaged(open.name(), why);
    let trailer_at = size.checked_sub(TRAILER as u64).ok_or_else(|| wrong("too short"))?;
    let mut trailer = [0; TRAILER];
    open.read(trailer_at, &mut trailer)?;
    let (at, len, crc) = Directory::locate(&trailer).ok_or_else(|| wrong("not of this version"))?;
    if at.checked_add(u64::from(len)) != Some(trailer_at) {
        return Err(wrong("its directory is not where it should be"));
    }
    let mut encoded = vec![0; len as usize];
    open.read(at, &mut encoded)?;
    if crc32c::crc32c(&encoded) != crc {
        return Err(wrong("its directory has a wrong checksum"));
    }
    Directory::decode(&encoded).ok_or_else(|| wrong("its directory does not read"))
}

/// Where a postings list stands in the index: from its length field to the next list.
pub(crate) type ListRange = Range<u64>;

/// An open header.
#[derive(Debug)]
pub(crate) struct Reader {
    directory: Arc<Directory>,
    open: Open,
    generation: u64,
}

impl Reader {
    pub(super) fn open(directory: Arc<Directory>, source: &Source, generation: u64) -> Result<Reader> {
        Ok(Reader { directory, open: source.open()?, generation })
    }

    /// Which build of the header this is.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The index format.
    pub(crate) fn version(&self) -> Version {
        self.directory.version
    }

    /// Where the series entries stand in the index.
    pub(crate) fn series_section(&self) -> Range<u64> {
        self.directory.toc.series..self.directory.series_end
    }

    /// Label names in order.
    pub(crate) fn label_names(&self) -> impl Iterator<Item = &str> {
        self.directory.names.iter().map(|n| n.text.as_str()).filter(|n| !n.is_empty())
    }

    /// Whether any series of the block carries `name`.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        !self.directory.pages_of(name).is_empty()
    }

    /// Bytes that the values of `name` take with their places, about, once they are texts.
    pub(crate) fn values_size(&self, name: &str) -> u64 {
        let pages = &self.directory.table[self.directory.pages_of(name)];
        let bytes: u64 = pages.iter().map(|p| u64::from(p.len)).sum();
        bytes + pages.len() as u64 * u64::from(self.directory.sampling) * 48
    }

    /// Gives every value of `name` in order, each with the place of its list.
    pub(crate) fn values(&self, name: &str, mut each: impl FnMut(&str, ListRange)) -> Result<()> {
        self.pages(self.directory.pages_of(name), |_, page| {
            let mut c = Cursor(page);
            while !c.0.is_empty() {
                let (value, range) = self.entry(&mut c)?;
                each(value, range);
            }
            Ok(())
        })
    }

    /// The places of the lists of `name` and each of `values`, which must ascend; `None` where there is
    /// no such pair.
    pub(crate) fn lookup<S: AsRef<str>>(&self, name: &str, values: &[S]) -> Result<Vec<Option<ListRange>>> {
        let pages = self.directory.pages_of(name);
        let firsts = &self.directory.first_values;
        let mut out = Vec::with_capacity(values.len());
        let mut held: Option<(usize, Vec<u8>, usize)> = None;
        for value in values {
            let value = value.as_ref();
            // The last page that begins at or before the value.
            let after = pages.start + partition(pages.len(), |i| firsts.get(pages.start + i) <= value);
            if after == pages.start {
                out.push(None);
                continue;
            }
            let at = after - 1;
            if held.as_ref().is_none_or(|(page, ..)| *page != at) {
                held = Some((at, self.page(self.directory.table[at])?, 0));
            }
            let Some((_, page, from)) = &mut held else { continue };
            let mut c = Cursor(&page[*from..]);
            let mut found = None;
            while !c.0.is_empty() {
                let here = page.len() - c.0.len();
                let (candidate, range) = self.entry(&mut c)?;
                match candidate.cmp(value) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => {
                        // The same value may be asked for again.
                        *from = here;
                        found = Some(range);
                        break;
                    }
                    std::cmp::Ordering::Greater => {
                        *from = here;
                        break;
                    }
                }
            }
            out.push(found);
        }
        Ok(out)
    }

    fn entry<'p>(&self, c: &mut Cursor<'p>) -> Result<(&'p str, ListRange)> {
        let mut parse = || Some((c.text()?, c.number()?, c.number()?));
        let (value, at, len) = parse().ok_or_else(|| damaged(self.open.name(), "a page does not read"))?;
        Ok((value, at..at.saturating_add(len)))
    }

    fn verify(&self, page: Page, bytes: &[u8]) -> Result<()> {
        if crc32c::crc32c(bytes) == page.crc {
            return Ok(());
        }
        Err(damaged(self.open.name(), format!("page at {} has a wrong checksum", page.at)))
    }

    fn page(&self, page: Page) -> Result<Vec<u8>> {
        let mut bytes = vec![0; page.len as usize];
        self.open.read(page.at, &mut bytes)?;
        self.verify(page, &bytes)?;
        Ok(bytes)
    }

    /// Reads consecutive pages of the table, many at once.
    fn pages(&self, all: Range<usize>, mut each: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let table = &self.directory.table;
        let mut next = all.start;
        while next < all.end {
            let first = next;
            let start = table[first].at;
            while next < all.end
                && (next == first || table[next].at + u64::from(table[next].len) - start <= SPAN)
            {
                next += 1;
            }
            let end = table[next - 1].at + u64::from(table[next - 1].len);
            let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
            self.open.read(start, &mut bytes)?;
            for (at, page) in table[first..next].iter().enumerate() {
                let from = (page.at - start) as usize;
                let part = bytes
                    .get(from..from + page.len as usize)
                    .ok_or_else(|| damaged(self.open.name(), "pages are not in a row"))?;
                self.verify(*page, part)?;
                each(first + at, part)?;
            }
        }
        Ok(())
    }
}

/// The number of leading indexes below `n` for which `fits` holds.
fn partition(n: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let mid = low + (high - low) / 2;
        if fits(mid) { low = mid + 1 } else { high = mid }
    }
    low
}

/// Pages that a [`Symbols`] keeps.
const SLOTS: usize = 64;

/// Symbols by reference. Keeps the pages used last, so that a walk in label order reads each once.
#[derive(Debug)]
pub(crate) struct Symbols {
    reader: Reader,
    slots: Vec<Option<(usize, Decoded)>>,
    last: usize,
}

/// A page of symbols, one text.
#[derive(Debug)]
struct Decoded {
    text: String,
    /// Start of each symbol in `text`, and its end.
    bounds: Vec<u32>,
    /// Start of each symbol in the page, for version 1.
    starts: Vec<u32>,
}

impl Symbols {
    /// Symbols of an open header.
    pub(crate) fn new(reader: Reader) -> Symbols {
        Symbols { reader, slots: (0..SLOTS).map(|_| None).collect(), last: 0 }
    }

    /// The symbol that a series entry refers to.
    #[inline]
    pub(crate) fn get(&mut self, reference: u32) -> Result<&str> {
        let firsts = &self.reader.directory.first_symbols;
        let begins = |page: usize| firsts.get(page).is_some_and(|f| *f <= reference);
        let mut page = self.last;
        if !begins(page) || begins(page + 1) {
            page = firsts.partition_point(|f| *f <= reference).wrapping_sub(1);
        }
        let missing = || Failure::block(format!("corrupt index: no symbol with reference {reference}"));
        if page >= firsts.len() {
            return Err(missing());
        }
        let first = firsts[page];
        self.last = page;
        let slot = page % SLOTS;
        if self.slots[slot].as_ref().is_none_or(|(held, _)| *held != page) {
            self.slots[slot] = Some((page, self.decode(page)?));
        }
        let Some((_, decoded)) = &self.slots[slot] else { return Err(missing()) };
        let i = match self.reader.directory.version {
            Version::V2 => (reference - first) as usize,
            Version::V1 => decoded.starts.binary_search(&(reference - first)).map_err(|_| missing())?,
        };
        match (decoded.bounds.get(i), decoded.bounds.get(i + 1)) {
            (Some(from), Some(to)) => Ok(&decoded.text[*from as usize..*to as usize]),
            _ => Err(missing()),
        }
    }

    /// The header.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    fn decode(&self, page: usize) -> Result<Decoded> {
        let bytes = self.reader.page(self.reader.directory.symbols[page])?;
        let mut c = Cursor(&bytes);
        let mut out =
            Decoded { text: String::with_capacity(bytes.len()), bounds: vec![0], starts: Vec::new() };
        while !c.0.is_empty() {
            out.starts.push((bytes.len() - c.0.len()) as u32);
            let symbol = c.text().ok_or_else(|| damaged(self.reader.open.name(), "a page does not read"))?;
            out.text.push_str(symbol);
            out.bounds.push(out.text.len() as u32);
        }
        Ok(out)
    }
}
