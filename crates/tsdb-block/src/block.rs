//! A block: a folder with meta.json, index, segments and tombstones.
//!
//! Holds [`BlockReader`] and [`BlockWriter`]. It knows no bucket and no compaction. Invariant: a
//! block that is being written has another name until everything in it is on disk, meta.json last,
//! so that a crash never leaves half a block that a reader would take for one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::Labels;

use crate::chunkenc::{self, Encoding};
use crate::index::{ChunkMeta, Series};
use crate::meta::{BlockMeta, Stats};
use crate::tombstones::Tombstones;
use crate::{Error, Result, chunks, index, meta, tombstones};

/// Suffix of a block's folder while it is being written; Prometheus removes such at its start.
pub const TMP_SUFFIX: &str = ".tmp-for-creation";

/// A local block, open for reading.
#[derive(Clone, Debug)]
pub struct BlockReader {
    /// What the block says about itself.
    pub meta: BlockMeta,
    /// Its index.
    pub index: index::Reader,
    /// Its chunks.
    pub chunks: chunks::Reader,
    /// Its deleted ranges; empty where the file is absent.
    pub tombstones: Tombstones,
}

impl BlockReader {
    /// Opens the block in `dir`.
    pub fn open(dir: &Path) -> Result<BlockReader> {
        let path = dir.join(meta::FILE_NAME);
        let json = fs::read(&path).map_err(Error::io(&path))?;
        let meta = BlockMeta::parse(&json)
            .map_err(|e| Error::corrupt("meta.json", 0, e.to_string()).in_file(&path, 0))?;
        let path = dir.join(tombstones::FILE_NAME);
        let tombstones = match fs::read(&path) {
            Ok(bytes) => Tombstones::parse(&bytes).map_err(|e| e.in_file(&path, 0))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Tombstones::default(),
            Err(e) => return Err(Error::io(&path)(e)),
        };
        Ok(BlockReader {
            meta,
            index: index::Reader::open(&dir.join(index::FILE_NAME))?,
            chunks: chunks::Reader::open(&dir.join(chunks::DIR_NAME))?,
            tombstones,
        })
    }

    /// All series in label order: reference, labels and chunks.
    pub fn series(&self) -> Result<impl Iterator<Item = Result<(u32, Labels, Series)>>> {
        Ok(self.index.all_postings()?.iter().map(|reference| {
            let mut s = Series::default();
            self.index.series(reference, &mut s)?;
            Ok((reference, self.index.labels(&s)?, s))
        }))
    }

    /// A chunk's encoding and data.
    pub fn chunk(&self, meta: &ChunkMeta) -> Result<(Encoding, Bytes)> {
        self.chunks.chunk(meta.reference)
    }
}

/// Writes a block. Series must be added in label order; their labels stay in memory until the end.
#[derive(Debug)]
pub struct BlockWriter {
    dir: PathBuf,
    tmp: PathBuf,
    chunks: chunks::Writer,
    series: Vec<(Labels, Vec<ChunkMeta>)>,
    stats: Stats,
    done: bool,
}

impl BlockWriter {
    /// Begins the block that will be `dir`, whose last part should be its ULID.
    pub fn create(dir: &Path) -> Result<BlockWriter> {
        let mut tmp = dir.as_os_str().to_owned();
        tmp.push(TMP_SUFFIX);
        let tmp = PathBuf::from(tmp);
        if tmp.exists() {
            fs::remove_dir_all(&tmp).map_err(Error::io(&tmp))?;
        }
        fs::create_dir_all(&tmp).map_err(Error::io(&tmp))?;
        let chunks = chunks::Writer::create(&tmp.join(chunks::DIR_NAME))?;
        Ok(BlockWriter {
            dir: dir.to_owned(),
            tmp,
            chunks,
            series: Vec::new(),
            stats: Stats::default(),
            done: false,
        })
    }

    /// Appends a series with its chunks in time order. Times are read from the chunks.
    pub fn add<'a>(
        &mut self,
        labels: &Labels,
        chunks: impl IntoIterator<Item = (Encoding, &'a [u8])>,
    ) -> Result<()> {
        let mut metas = Vec::new();
        for (encoding, data) in chunks {
            let Some((mint, maxt)) = chunkenc::time_range(encoding, data)? else {
                return Err(Error::Invalid(format!("an empty chunk of series {labels}")));
            };
            metas.push((ChunkMeta { mint, maxt, reference: 0 }, encoding, data));
        }
        self.add_with_times(labels, metas)
    }

    /// Like [`BlockWriter::add`] with times the caller knows; the references are filled in.
    pub fn add_with_times<'a>(
        &mut self,
        labels: &Labels,
        chunks: impl IntoIterator<Item = (ChunkMeta, Encoding, &'a [u8])>,
    ) -> Result<()> {
        if self.series.last().is_some_and(|(last, _)| last >= labels) {
            return Err(Error::Invalid(format!("series {labels} out of order")));
        }
        let mut metas = Vec::new();
        for (mut meta, encoding, data) in chunks {
            meta.reference = self.chunks.write(encoding, data)?;
            let n = u64::from(chunkenc::count(encoding, data)?);
            self.stats.num_samples += n;
            match encoding {
                Encoding::Xor | Encoding::Xor2 => self.stats.num_float_samples += n,
                Encoding::Aggr => {}
                _ => self.stats.num_histogram_samples += n,
            }
            self.stats.num_chunks += 1;
            metas.push(meta);
        }
        self.stats.num_series += 1;
        self.series.push((labels.clone(), metas));
        Ok(())
    }

    /// Completes the block and gives it its name. The counts in `meta` are replaced by what was
    /// written; the rest, its time range included, is the caller's. Returns what was written.
    pub fn finish(mut self, mut meta: BlockMeta) -> Result<BlockMeta> {
        let chunks =
            std::mem::replace(&mut self.chunks, chunks::Writer::create(&self.tmp.join(chunks::DIR_NAME))?);
        chunks.finish()?;
        let symbols: BTreeSet<&str> =
            self.series.iter().flat_map(|(l, _)| l.iter()).flat_map(|(n, v)| [n, v]).collect();
        let mut index = index::Writer::create(&self.tmp.join(index::FILE_NAME), symbols)?;
        for (labels, metas) in &self.series {
            index.add(labels, metas)?;
        }
        index.finish()?;
        write_synced(&self.tmp.join(tombstones::FILE_NAME), &Tombstones::default().encode())?;
        meta.version = meta::VERSION;
        meta.stats = std::mem::take(&mut self.stats);
        write_synced(&self.tmp.join(meta::FILE_NAME), &meta.to_json())?;
        sync_dir(&self.tmp)?;
        fs::rename(&self.tmp, &self.dir).map_err(Error::io(&self.dir))?;
        self.done = true;
        sync_dir(self.dir.parent().unwrap_or(Path::new(".")))?;
        Ok(meta)
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        if !self.done {
            // Nothing to do about a failure: the suffix keeps the rest from being read.
            let _ = fs::remove_dir_all(&self.tmp);
        }
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(Error::io(path))?;
    file.write_all(bytes).map_err(Error::io(path))?;
    file.sync_all().map_err(Error::io(path))
}

/// Makes names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|d| d.sync_all()).map_err(Error::io(dir))
}
