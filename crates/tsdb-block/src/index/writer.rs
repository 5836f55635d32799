//! Writing an index, version 2.
//!
//! Holds [`Writer`], which takes symbols first, then series in order, and writes the same bytes as
//! Prometheus does for the same input. It keeps the postings in memory (four bytes a label of a
//! series, and some tens a label pair). Invariant: a file that [`Writer::finish`] did not complete
//! has no table of contents, so no reader accepts it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use model::Labels;

use super::{MAGIC, SERIES_ALIGN, Toc, offset_table, postings, series};
use crate::index::ChunkMeta;
use crate::wire::{crc, put_str};
use crate::{Error, Result};

/// Writes an index file.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    out: BufWriter<File>,
    pos: u64,
    toc: Toc,
    symbols: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
    all: Vec<u32>,
    pairs: BTreeMap<(u32, u32), Vec<u32>>,
    last: Option<Labels>,
    last_reference: u64,
    scratch: Vec<u8>,
}

impl Writer {
    /// Creates the file and writes the symbols, which must ascend without repetition.
    pub fn create<S: AsRef<str>>(path: &Path, symbols: impl IntoIterator<Item = S>) -> Result<Writer> {
        let file = File::create(path).map_err(Error::io(path))?;
        let mut w = Writer {
            path: path.to_owned(),
            out: BufWriter::with_capacity(1 << 18, file),
            pos: 0,
            toc: Toc::default(),
            symbols: HashMap::new(),
            names: Vec::new(),
            all: Vec::new(),
            pairs: BTreeMap::new(),
            last: None,
            last_reference: 0,
            scratch: Vec::new(),
        };
        let mut head = MAGIC.to_be_bytes().to_vec();
        head.push(2);
        w.put(&head)?;
        w.toc.symbols = w.pos;
        let mut body = vec![0; 4];
        for s in symbols {
            let s = s.as_ref();
            if w.names.last().is_some_and(|last| **last >= *s) {
                return Err(Error::Invalid(format!("symbol {s:?} out of order")));
            }
            put_str(&mut body, s);
            w.symbols.insert(s.into(), w.names.len() as u32);
            w.names.push(s.into());
        }
        body[..4].copy_from_slice(&(w.names.len() as u32).to_be_bytes());
        w.section(&body)?;
        w.toc.series = w.pos;
        Ok(w)
    }

    /// Appends a series. Label sets must ascend, as must chunk references and chunk times.
    pub fn add(&mut self, labels: &Labels, chunks: &[ChunkMeta]) -> Result<()> {
        if self.last.as_ref().is_some_and(|last| last >= labels) {
            return Err(Error::Invalid(format!("series {labels} out of order")));
        }
        let mut before: Option<&ChunkMeta> = None;
        for c in chunks {
            let late = before.is_some_and(|b| c.mint <= b.maxt);
            if late || c.maxt < c.mint || c.reference < self.last_reference {
                return Err(Error::Invalid(format!("chunks of series {labels} out of order")));
            }
            self.last_reference = c.reference;
            before = Some(c);
        }
        self.pad(SERIES_ALIGN)?;
        let reference = u32::try_from(self.pos / SERIES_ALIGN)
            .map_err(|_| Error::Invalid("an index of more than 64 GiB".into()))?;
        let mut pairs = Vec::new();
        for (n, v) in labels {
            let of = |s: &str| {
                self.symbols
                    .get(s)
                    .copied()
                    .ok_or_else(|| Error::Invalid(format!("{s:?} is not among the symbols")))
            };
            pairs.push((of(n)?, of(v)?));
        }
        self.all.push(reference);
        for p in &pairs {
            self.pairs.entry(*p).or_default().push(reference);
        }
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        series::encode(&pairs, chunks, &mut bytes);
        self.put(&bytes)?;
        self.scratch = bytes;
        self.last = Some(labels.clone());
        Ok(())
    }

    /// Writes postings and tables and syncs the file. Returns its size.
    pub fn finish(mut self) -> Result<u64> {
        self.toc.label_indices = self.pos;
        self.toc.postings = self.pos;
        self.pad(4)?;
        let (all, pairs) = (std::mem::take(&mut self.all), std::mem::take(&mut self.pairs));
        let count =
            u32::try_from(pairs.len() + 1).map_err(|_| Error::Invalid("too many label pairs".into()))?;
        let mut table = count.to_be_bytes().to_vec();
        offset_table::put(&mut table, "", "", self.pos);
        self.list(&all)?;
        for ((n, v), list) in pairs {
            offset_table::put(&mut table, &self.names[n as usize], &self.names[v as usize], self.pos);
            self.list(&list)?;
        }
        self.toc.label_indices_table = self.pos;
        self.toc.postings_table = self.pos;
        self.section(&table)?;
        let toc = self.toc.encode();
        self.put(&toc)?;
        let file = self.out.into_inner().map_err(|e| Error::io(&self.path)(e.into_error()))?;
        file.sync_all().map_err(Error::io(&self.path))?;
        Ok(self.pos)
    }

    fn list(&mut self, references: &[u32]) -> Result<()> {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        postings::encode(references, &mut bytes)?;
        self.put(&bytes)?;
        self.scratch = bytes;
        Ok(())
    }

    fn section(&mut self, body: &[u8]) -> Result<()> {
        let len =
            u32::try_from(body.len()).map_err(|_| Error::Invalid("a section of more than 4 GiB".into()))?;
        self.put(&len.to_be_bytes())?;
        self.put(body)?;
        self.put(&crc(body).to_be_bytes())
    }

    fn pad(&mut self, to: u64) -> Result<()> {
        let missing = self.pos.next_multiple_of(to) - self.pos;
        self.put(&[0; SERIES_ALIGN as usize][..missing as usize])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::io(&self.path))?;
        self.pos += bytes.len() as u64;
        Ok(())
    }
}
