//! Building an index header from the bucket by ranged reads.
//!
//! Holds which ranges are read: the table of contents, the symbols, the postings offset table, and
//! nothing else of the index. It decodes through `sections`. Invariant: a header exists under its name
//! only when it is complete and on disk; until then it has another name, which the next start removes.

use std::path::{Path, PathBuf};

use futures::TryStreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tsdb_block::index::{HEADER_LEN, Toc, Version, toc};
use tsdb_block::meta::Ulid;

use super::directory::{Directory, MAGIC};
use super::sections::{Entries, Output, Section, Symbols, Table};
use crate::error::{Context as _, Failure, Result};
use crate::fetch::RangeReader;

/// Suffix of a header that is being written.
pub(super) const TMP_SUFFIX: &str = ".tmp";
/// Bytes read at the end of an index at most, in the hope for the whole offset table.
const LONGEST_TAIL: u64 = 32 << 10;
/// Bytes collected before they are written out.
const WRITE: usize = 1 << 20;

/// Which index to read.
#[derive(Clone, Debug)]
pub(super) struct Target<'a> {
    pub(super) block: Ulid,
    pub(super) key: &'a str,
    /// Size of the index as meta.json tells it, if it does.
    pub(super) size: Option<u64>,
    pub(super) sampling: u32,
}

/// Where the header goes.
#[derive(Debug)]
enum Sink {
    Memory(Vec<u8>),
    File(tokio::fs::File, PathBuf),
}

impl Sink {
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Sink::Memory(all) => all.extend_from_slice(bytes),
            Sink::File(file, path) => file.write_all(bytes).await.map_err(io(path))?,
        }
        Ok(())
    }
}

/// A local I/O error on `path`.
pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> Failure + use<> {
    let path = path.to_owned();
    move |e| Failure::block(format!("{}: {e}", path.display()))
}

/// Builds the header in memory.
pub(super) async fn in_memory(reader: &RangeReader, target: &Target<'_>) -> Result<Vec<u8>> {
    let mut sink = Sink::Memory(Vec::new());
    write(reader, target, &mut sink).await?;
    match sink {
        Sink::Memory(all) => Ok(all),
        Sink::File(..) => Ok(Vec::new()),
    }
}

/// Builds the header at `path`, by way of a temporary name.
pub(super) async fn on_disk(reader: &RangeReader, target: &Target<'_>, path: &Path) -> Result<()> {
    let mut tmp = path.as_os_str().to_owned();
    tmp.push(TMP_SUFFIX);
    let tmp = PathBuf::from(tmp);
    let dir = path.parent().unwrap_or(Path::new("."));
    tokio::fs::create_dir_all(dir).await.map_err(io(dir))?;
    let file = tokio::fs::File::create(&tmp).await.map_err(io(&tmp))?;
    let mut sink = Sink::File(file, tmp.clone());
    let written = match write(reader, target, &mut sink).await {
        Ok(()) => finish(sink, &tmp, path, dir).await,
        Err(e) => Err(e),
    };
    if written.is_err() {
        // A leftover is harmless: the next build overwrites it, the next start removes it.
        let _ = tokio::fs::remove_file(&tmp).await;
    }
    written
}

async fn finish(sink: Sink, tmp: &Path, path: &Path, dir: &Path) -> Result<()> {
    if let Sink::File(mut file, _) = sink {
        file.flush().await.map_err(io(tmp))?;
        file.sync_all().await.map_err(io(tmp))?;
    }
    tokio::fs::rename(tmp, path).await.map_err(io(path))?;
    let dir = tokio::fs::File::open(dir).await.map_err(io(dir))?;
    dir.sync_all().await.map_err(io(path))
}

async fn write(reader: &RangeReader, target: &Target<'_>, sink: &mut Sink) -> Result<()> {
    let shape = shape(reader, target).await?;
    let directory = Directory {
        block: target.block,
        version: Version::V2,
        index_size: shape.size,
        series_end: shape.after(shape.toc.series),
        toc: shape.toc,
        sampling: target.sampling,
        symbols: Vec::new(),
        first_symbols: Vec::new(),
        table: Vec::new(),
        first_values: Default::default(),
        names: Vec::new(),
    };
    let mut out = Output { pending: MAGIC.to_vec(), written: 0, directory };
    let mut feed = Feed { reader, key: target.key, sink };

    // Symbols follow the file's head, so that one read brings both.
    let end = shape.after(shape.toc.symbols);
    let together = shape.toc.symbols == HEADER_LEN as u64;
    let head =
        if together { Vec::new() } else { reader.read_exact(target.key, 0, HEADER_LEN as u64).await? };
    let start = if together { 0 } else { shape.toc.symbols };
    let version =
        feed.symbols(start, end, shape.toc.symbols, &head, &mut out).await.context("read symbols")?;
    out.directory.version = version;

    let (at, until) = (shape.toc.postings_table, shape.size - toc::LEN as u64);
    let table = Table::new(version, shape.after(shape.toc.postings), target.sampling);
    let mut table = Section::new(table);
    if at >= shape.tail_at {
        let from = usize::try_from(at - shape.tail_at).unwrap_or(usize::MAX);
        table.push(shape.tail.get(from..).unwrap_or_default(), &mut out)?;
        feed.flush(&mut out, true).await?;
    } else {
        feed.section(at, until, &mut table, &mut out).await.context("read postings offset table")?;
    }
    table.finish()?;

    let encoded = out.directory.encode();
    let trailer = Directory::trailer(&encoded, out.written);
    feed.sink.write(&encoded).await?;
    feed.sink.write(&trailer).await
}

/// What the end of an index tells.
struct Shape {
    size: u64,
    toc: Toc,
    tail: Vec<u8>,
    tail_at: u64,
}

impl Shape {
    /// Where the section at `at` ends at the latest: where the next one begins.
    fn after(&self, at: u64) -> u64 {
        let t = &self.toc;
        let last = self.size - toc::LEN as u64;
        [t.symbols, t.series, t.label_indices, t.label_indices_table, t.postings, t.postings_table]
            .into_iter()
            .filter(|o| *o > at && *o < last)
            .min()
            .unwrap_or(last)
    }
}

async fn shape(reader: &RangeReader, target: &Target<'_>) -> Result<Shape> {
    if let Some(size) = target.size
        && let Ok(shape) = shape_of(reader, target.key, size).await
    {
        return Ok(shape);
    }
    // meta.json does not tell the size, or a wrong one.
    let size = reader.bucket().attributes(target.key).await.context("get object attributes of index")?.size;
    shape_of(reader, target.key, size).await.context("read index TOC")
}

async fn shape_of(reader: &RangeReader, key: &str, size: u64) -> Result<Shape> {
    let least = toc::LEN as u64;
    if size < HEADER_LEN as u64 + least {
        return Err(Failure::block(format!("{key}: an index of {size} bytes")));
    }
    let len = (size / 8).clamp(least, LONGEST_TAIL);
    let tail_at = size - len;
    let tail = reader.read_exact(key, tail_at, len).await?;
    let toc = Toc::parse(&tail).map_err(|e| e.in_file(Path::new(key), tail_at))?;
    let within = |o: u64| o >= HEADER_LEN as u64 && o < size - least;
    if !within(toc.symbols) || !within(toc.postings_table) || toc.series > size || toc.postings > size {
        return Err(Failure::block(format!("{key}: corrupt TOC: sections outside of {size} bytes")));
    }
    Ok(Shape { size, toc, tail, tail_at })
}

/// Brings sections from the bucket to the sink.
struct Feed<'a> {
    reader: &'a RangeReader,
    key: &'a str,
    sink: &'a mut Sink,
}

impl Feed<'_> {
    async fn flush(&mut self, out: &mut Output, all: bool) -> Result<()> {
        if out.pending.len() >= WRITE || all {
            self.sink.write(&out.pending).await?;
            out.written += out.pending.len() as u64;
            out.pending.clear();
        }
        Ok(())
    }

    /// Reads the head, unless it is there, and the symbols whose length field stands at `at`.
    async fn symbols(
        &mut self,
        start: u64,
        end: u64,
        at: u64,
        head: &[u8],
        out: &mut Output,
    ) -> Result<Version> {
        let mut head = head.to_vec();
        let mut frames = self.reader.stream(self.key, start, end - start).await?;
        let mut skip = if head.is_empty() { HEADER_LEN } else { 0 };
        let mut section = None;
        while let Some(frame) = frames.try_next().await? {
            let mut frame = &frame[..];
            if skip > 0 {
                let taken = skip.min(frame.len());
                head.extend_from_slice(&frame[..taken]);
                frame = &frame[taken..];
                skip -= taken;
                if skip > 0 {
                    continue;
                }
            }
            let version = Version::parse(&head).map_err(|e| e.in_file(Path::new(self.key), 0))?;
            let section = section.get_or_insert_with(|| Section::new(Symbols::new(version, at)));
            section.push(frame, out)?;
            self.flush(out, false).await?;
        }
        let version = Version::parse(&head).map_err(|e| e.in_file(Path::new(self.key), 0))?;
        match section {
            Some(section) => section.finish().map_err(|e| e.context(self.key))?,
            None => return Err(Failure::block(format!("{}: no symbols", self.key))),
        };
        Ok(version)
    }

    async fn section<E: Entries>(
        &mut self,
        start: u64,
        end: u64,
        section: &mut Section<E>,
        out: &mut Output,
    ) -> Result<()> {
        let mut frames = self.reader.stream(self.key, start, end.saturating_sub(start)).await?;
        while let Some(frame) = frames.try_next().await? {
            section.push(&frame, out).map_err(|e| e.context(self.key))?;
            self.flush(out, false).await?;
            if section.is_done() {
                break;
            }
        }
        self.flush(out, true).await
    }
}
