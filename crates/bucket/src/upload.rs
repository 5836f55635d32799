//! Sending a local block directory to a bucket.
//!
//! Holds the order of objects: chunks, index, then `meta.json` (upstream `pkg/block/block.go`, `upload`).
//! It does not choose blocks (`shipper` does) and deletes nothing: what a failed attempt left behind is
//! overwritten by the next. Invariant: while `meta.json` is not in the bucket no reader sees the block,
//! and it is sent only after everything else has been accepted.

#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::{StreamExt as _, TryStreamExt as _};
use objstore::{BucketExt as _, SharedBucket, UploadBody};
use tsdb_block::meta::{self, BlockMeta, File, Hash, MetaError};

use crate::local::blocking;

/// Folder of chunk segments.
pub const CHUNKS: &str = "chunks";
/// The index.
pub const INDEX: &str = "index";

/// How to upload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Record SHA-256 of every file.
    pub hash: bool,
    /// Chunk segments sent at once; 0 counts as 1.
    pub concurrency: usize,
}

/// Why a block was not uploaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The local files cannot be read.
    #[error("{what} {path}: {source}")]
    Local {
        /// What was done.
        what: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// `meta.json` cannot be used.
    #[error("read meta {path}: {source}")]
    Meta {
        /// The file.
        path: String,
        /// Why.
        source: MetaError,
    },
    /// The directory is not named as the block is.
    #[error("not a block dir: {0}")]
    NotABlock(String),
    /// A block without external labels would collide with others.
    #[error("empty external labels are not allowed for Thanos block.")]
    NoLabels,
    /// The bucket refused; try again later.
    #[error("upload {what}: {source}")]
    Bucket {
        /// Which part.
        what: &'static str,
        /// Why.
        source: objstore::Error,
    },
}

fn local(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::Local { what, path, source }
}

/// Reads a block's `meta.json`.
///
/// # Errors
/// [`Error::Local`] and [`Error::Meta`].
pub fn read_meta(dir: &Path) -> Result<BlockMeta, Error> {
    let path = dir.join(meta::FILE_NAME);
    let json = std::fs::read(&path).map_err(local("open", &path))?;
    BlockMeta::parse(&json).map_err(|source| Error::Meta { path: path.display().to_string(), source })
}

/// Names of the chunk segments, sorted.
///
/// # Errors
/// [`Error::Local`].
pub fn segments(dir: &Path) -> Result<Vec<String>, Error> {
    let chunks = dir.join(CHUNKS);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&chunks).map_err(local("read dir", &chunks))? {
        let entry = entry.map_err(local("read dir", &chunks))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// What is to be sent.
struct Plan {
    id: String,
    meta: BlockMeta,
    segments: Vec<PathBuf>,
}

fn plan(dir: &Path, hash: bool) -> Result<Plan, Error> {
    let meta = read_meta(dir)?;
    let id = meta.ulid.to_string();
    if dir.file_name().and_then(|n| n.to_str()) != Some(&id) {
        return Err(Error::NotABlock(dir.display().to_string()));
    }
    if meta.thanos.as_ref().is_none_or(|t| t.labels.is_empty()) {
        return Err(Error::NoLabels);
    }
    let names = segments(dir)?;
    let mut files = Vec::with_capacity(names.len() + 2);
    let paths = names.iter().map(|n| (format!("{CHUNKS}/{n}"), dir.join(CHUNKS).join(n)));
    for (rel_path, path) in paths.chain([(INDEX.to_owned(), dir.join(INDEX))]) {
        let size = path.metadata().map_err(local("stat", &path))?.len();
        let hash = if hash { Some(sha256(&path)?) } else { None };
        files.push(File { rel_path, size_bytes: i64::try_from(size).unwrap_or(i64::MAX), hash });
    }
    files.push(File { rel_path: meta::FILE_NAME.to_owned(), ..File::default() });
    let mut meta = meta;
    if let Some(thanos) = &mut meta.thanos {
        thanos.files = files;
    }
    Ok(Plan { id, meta, segments: names.iter().map(|n| dir.join(CHUNKS).join(n)).collect() })
}

fn sha256(path: &Path) -> Result<Hash, Error> {
    let mut file = std::fs::File::open(path).map_err(local("open", path))?;
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).map_err(local("read", path))? {
            0 => break,
            n => digest.update(&buffer[..n]),
        }
    }
    let value = digest.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect();
    Ok(Hash { func: "SHA256".to_owned(), value })
}

/// Uploads the block in `dir`; `now` is the time noted in `meta.json`, in milliseconds.
///
/// # Errors
/// [`Error`]; what has been sent stays and is overwritten by the next attempt.
pub async fn upload(bucket: &SharedBucket, dir: &Path, options: Options, now: i64) -> Result<(), Error> {
    let from = dir.to_owned();
    let Plan { id, mut meta, segments } = blocking(move || plan(&from, options.hash)).await?;
    let failed = |what| move |source| Error::Bucket { what, source };
    let sends = segments.into_iter().map(|path| {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let key = format!("{id}/{CHUNKS}/{name}");
        async move { bucket.upload(&key, UploadBody::File(path)).await }
    });
    futures::stream::iter(sends)
        .buffer_unordered(options.concurrency.clamp(1, 1024))
        .try_collect::<()>()
        .await
        .map_err(failed("chunks"))?;
    let index = UploadBody::File(dir.join(INDEX));
    bucket.upload(&format!("{id}/{INDEX}"), index).await.map_err(failed("index"))?;
    if let Some(thanos) = &mut meta.thanos {
        thanos.upload_time = rfc3339(now);
    }
    let json = Bytes::from(meta.to_json());
    bucket.upload_bytes(&format!("{id}/{}", meta::FILE_NAME), json).await.map_err(failed("meta file"))
}

/// Milliseconds as Go writes a UTC time in JSON: no digits that say nothing.
fn rfc3339(millis: i64) -> String {
    let nanos = i128::from(millis) * 1_000_000;
    time::OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| meta::NO_TIME.to_owned())
}
