//! Segment files: the chunks of a block, one after another.
//!
//! Holds the decoder of one stored chunk, [`Reader`] and [`Writer`]. It knows no encoding's inside.
//! A chunk is `length (varint) | encoding <1b> | data | crc32 <4b>`, the checksum over encoding and
//! data. Invariant: nothing is handed out before its checksum was verified.
//! The layout is described in Prometheus' `tsdb/docs/format/chunks.md`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::chunkenc::Encoding;
use crate::wire::{Cursor, crc, put_uvarint};
use crate::{Error, Result};

/// First four bytes of a segment.
pub const MAGIC: u32 = 0x85BD_40DD;
/// Bytes before the first chunk: magic, version, padding.
pub const HEADER_LEN: usize = 8;
/// Size at which Prometheus begins another segment.
pub const SEGMENT_SIZE: u64 = 512 << 20;
/// Name of the folder within a block.
pub const DIR_NAME: &str = "chunks";

const NAME: &str = "chunk";

/// A stored chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Its encoding.
    pub encoding: Encoding,
    /// Its data.
    pub data: &'a [u8],
    /// Bytes it occupies in the segment.
    pub len: usize,
}

/// Reads the chunk at the beginning of `bytes`, which may go on after it.
pub fn parse(bytes: &[u8]) -> Result<Stored<'_>> {
    let mut c = Cursor::new(bytes, NAME);
    let len = c.uvarint32()? as usize;
    let start = c.pos();
    let encoding = c.u8()?;
    let data = c.bytes(len)?;
    let want = c.be32()?;
    let got = crc(&bytes[start..start + 1 + len]);
    if got != want {
        return Err(Error::corrupt(NAME, 0, format!("checksum {got:08x}, expected {want:08x}")));
    }
    Ok(Stored { encoding: Encoding::try_from(encoding)?, data, len: c.pos() })
}

/// Bytes that the chunk `bytes` begins with occupies, told from its length field alone.
pub fn stored_len(bytes: &[u8]) -> Result<u64> {
    let mut c = Cursor::new(bytes, NAME);
    let len = c.uvarint32()?;
    Ok(c.pos() as u64 + 1 + u64::from(len) + 4)
}

/// The segments of a local block.
#[derive(Clone, Debug)]
pub struct Reader {
    /// By number, counted from zero: a reference names a file, not a place in the listing.
    segments: BTreeMap<u32, (PathBuf, Bytes)>,
}

impl Reader {
    /// Maps all segments of the folder.
    pub fn open(dir: &Path) -> Result<Reader> {
        let mut segments = BTreeMap::new();
        for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
            let entry = entry.map_err(Error::io(dir))?;
            let number = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok());
            let Some(number) = number.and_then(|n| n.checked_sub(1)) else { continue };
            let path = entry.path();
            let data = crate::map::file(&path)?;
            header(&data).map_err(|e| e.in_file(&path, 0))?;
            segments.insert(number, (path, data));
        }
        Ok(Reader { segments })
    }

    /// The chunk that an index refers to.
    pub fn chunk(&self, reference: u64) -> Result<(Encoding, Bytes)> {
        let (segment, offset) = ((reference >> 32) as u32, reference & 0xffff_ffff);
        let Some((path, data)) = self.segments.get(&segment) else {
            let file = u64::from(segment) + 1;
            return Err(Error::corrupt(NAME, 0, format!("no segment {file:06} for reference {reference}")));
        };
        let rest = data.get(offset as usize..).unwrap_or_default();
        let stored = parse(rest).map_err(|e| match e.in_file(path, offset) {
            Error::Corrupt { file, section, offset, reason } => {
                let reason = format!("{reason} (chunk reference {reference})");
                Error::Corrupt { file, section, offset, reason }
            }
            other => other,
        })?;
        Ok((stored.encoding, data.slice_ref(stored.data)))
    }

    /// Size of all segments in bytes.
    pub fn size(&self) -> u64 {
        self.segments.values().map(|s| s.1.len() as u64).sum()
    }
}

fn header(data: &[u8]) -> Result<()> {
    let mut c = Cursor::new(data, "segment header");
    let magic = c.be32()?;
    if magic != MAGIC {
        return Err(Error::corrupt("segment header", 0, format!("magic number {magic:08x}")));
    }
    match c.u8()? {
        1 => Ok(()),
        v => Err(Error::unsupported("segment version", i64::from(v))),
    }
}

/// Writes segments into a folder.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    limit: u64,
    segments: u32,
    open: Option<(PathBuf, BufWriter<File>, u64)>,
    scratch: Vec<u8>,
}

impl Writer {
    /// Creates the folder; segments end at [`SEGMENT_SIZE`].
    pub fn create(dir: &Path) -> Result<Writer> {
        Writer::with_segment_size(dir, SEGMENT_SIZE)
    }

    /// Creates the folder; no segment grows beyond `limit` bytes unless one chunk does.
    pub fn with_segment_size(dir: &Path, limit: u64) -> Result<Writer> {
        fs::create_dir_all(dir).map_err(Error::io(dir))?;
        Ok(Writer { dir: dir.to_owned(), limit, segments: 0, open: None, scratch: Vec::new() })
    }

    /// Appends a chunk and returns its reference.
    pub fn write(&mut self, encoding: Encoding, data: &[u8]) -> Result<u64> {
        let len =
            u32::try_from(data.len()).map_err(|_| Error::Invalid("a chunk of more than 4 GiB".into()))?;
        self.scratch.clear();
        put_uvarint(&mut self.scratch, u64::from(len));
        let start = self.scratch.len();
        self.scratch.push(encoding as u8);
        self.scratch.extend_from_slice(data);
        let sum = crc(&self.scratch[start..]);
        self.scratch.extend_from_slice(&sum.to_be_bytes());
        let size = self.scratch.len() as u64;
        if self.open.as_ref().is_some_and(|(_, _, at)| at + size > self.limit && *at > HEADER_LEN as u64) {
            self.close()?;
        }
        let (path, file, at) = match &mut self.open {
            Some(open) => open,
            none => {
                self.segments += 1;
                let path = self.dir.join(format!("{:06}", self.segments));
                let mut file = BufWriter::new(File::create(&path).map_err(Error::io(&path))?);
                let mut head = [0u8; HEADER_LEN];
                head[..4].copy_from_slice(&MAGIC.to_be_bytes());
                head[4] = 1;
                file.write_all(&head).map_err(Error::io(&path))?;
                none.insert((path, file, HEADER_LEN as u64))
            }
        };
        let offset = u32::try_from(*at).map_err(|_| Error::Invalid("a segment of more than 4 GiB".into()))?;
        file.write_all(&self.scratch).map_err(Error::io(path))?;
        *at += size;
        Ok(u64::from(self.segments - 1) << 32 | u64::from(offset))
    }

    fn close(&mut self) -> Result<()> {
        if let Some((path, file, _)) = self.open.take() {
            let file = file.into_inner().map_err(|e| Error::io(&path)(e.into_error()))?;
            file.sync_all().map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// Writes out and syncs the last segment and the folder.
    pub fn finish(mut self) -> Result<()> {
        self.close()?;
        crate::block::sync_dir(&self.dir)
    }
}
