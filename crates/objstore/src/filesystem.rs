//! Thanos' FILESYSTEM provider: a key is a path below one directory.
//!
//! It knows no configuration text. Invariants: no key leaves the root; an upload appears by a rename,
//! whole or not at all; folders left empty by a deletion go with it; empty folders are not listed.
//! Behaviour reference: upstream `providers/filesystem/filesystem.go`. Read `bucket` for the trait.

use std::io::ErrorKind as IoKind;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use crate::{
    Attributes, Bucket, Entry, EntryStream, Error, ErrorKind, ListOptions, ObjectStream, Result, UploadBody,
};

/// Temporary files of uploads in flight; never listed.
const TEMPORARY: &str = ".athanor-upload-";
/// Bytes read from a file at once.
const FRAME: usize = 256 << 10;

/// A directory as a bucket.
#[derive(Debug)]
pub struct Filesystem {
    root: PathBuf,
    name: String,
}

impl Filesystem {
    /// A bucket in `directory`, which need not exist.
    ///
    /// # Errors
    /// When the working directory is needed to make the path absolute and is gone.
    pub fn new(directory: impl AsRef<Path>) -> Result<Filesystem> {
        let directory = directory.as_ref();
        let absolute = std::path::absolute(directory)
            .map_err(|e| Error::io("open", directory.display().to_string(), e))?;
        let mut root = PathBuf::new();
        for part in absolute.components() {
            match part {
                Component::ParentDir => {
                    root.pop();
                }
                part => root.push(part),
            }
        }
        let name = format!("fs: {}", root.display());
        Ok(Filesystem { root, name })
    }

    /// The path of a key; refuses keys that are empty or climb.
    fn path(&self, operation: &'static str, key: &str) -> Result<PathBuf> {
        let invalid = |text: &'static str| Error::new(ErrorKind::Invalid, operation, key, text);
        let relative = key.trim_matches('/');
        if relative.is_empty() {
            return Err(invalid("object name is empty"));
        }
        if relative.contains('\0') || relative.split('/').any(|part| part == "..") {
            return Err(invalid("object name leaves the bucket"));
        }
        Ok(self.root.join(relative))
    }

    async fn open(
        &self,
        operation: &'static str,
        key: &str,
        offset: u64,
        len: Option<u64>,
    ) -> Result<ObjectStream> {
        let path = self.path(operation, key)?;
        let failed = |e| missing(operation, key, e);
        let mut file = tokio::fs::File::open(&path).await.map_err(failed)?;
        let meta = file.metadata().await.map_err(failed)?;
        if meta.is_dir() {
            return Err(Error::not_found(operation, key));
        }
        let rest = meta.len().saturating_sub(offset);
        let len = len.unwrap_or(rest).min(rest);
        if offset > 0 && len > 0 {
            file.seek(std::io::SeekFrom::Start(offset)).await.map_err(failed)?;
        }
        file.set_max_buf_size(FRAME);
        let key = key.to_owned();
        let body = stream::try_unfold((file, len), move |(mut file, left)| {
            let key = key.clone();
            async move {
                if left == 0 {
                    return Ok(None);
                }
                let mut frame = vec![0; usize::try_from(left).unwrap_or(FRAME).min(FRAME)];
                let n = file.read(&mut frame).await.map_err(|e| Error::io(operation, key.as_str(), e))?;
                if n == 0 {
                    return Err(Error::new(
                        ErrorKind::Other,
                        operation,
                        key,
                        "the file became shorter while it was read",
                    ));
                }
                frame.truncate(n);
                Ok(Some((Bytes::from(frame), (file, left - n as u64))))
            }
        });
        Ok(ObjectStream { len, version: None, body: body.boxed() })
    }
}

/// A missing file or a file where a folder should be is a missing object; the rest by its own kind.
fn missing(operation: &'static str, key: &str, error: std::io::Error) -> Error {
    match error.kind() {
        IoKind::NotFound | IoKind::NotADirectory => Error::not_found(operation, key),
        _ => Error::io(operation, key, error),
    }
}

#[async_trait]
impl Bucket for Filesystem {
    fn name(&self) -> &str {
        &self.name
    }

    fn provider(&self) -> &'static str {
        "FILESYSTEM"
    }

    async fn get(&self, key: &str) -> Result<ObjectStream> {
        self.open("get", key, 0, None).await
    }

    async fn get_range(&self, key: &str, offset: u64, len: Option<u64>) -> Result<ObjectStream> {
        self.open("get_range", key, offset, len).await
    }

    async fn attributes(&self, key: &str) -> Result<Attributes> {
        let path = self.path("attributes", key)?;
        let meta = tokio::fs::metadata(&path).await.map_err(|e| missing("attributes", key, e))?;
        if meta.is_dir() {
            return Err(Error::not_found("attributes", key));
        }
        let last_modified = meta.modified().map_err(|e| Error::io("attributes", key, e))?;
        Ok(Attributes { size: meta.len(), last_modified })
    }

    async fn list(&self, dir: &str, options: ListOptions) -> Result<EntryStream> {
        let prefix = dir.trim_matches('/').to_owned();
        let root = if prefix.is_empty() { self.root.clone() } else { self.path("iter", &prefix)? };
        let for_task = prefix.clone();
        let entries = tokio::task::spawn_blocking(move || {
            let mut out = Vec::new();
            walk(&root, &for_task, options.recursive, &mut out)
                .map(|()| out)
                .map_err(|e| Error::io("iter", for_task, e))
        })
        .await
        .map_err(|e| Error::new(ErrorKind::Other, "iter", prefix, e))?;
        let mut entries = entries?;
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(stream::iter(entries.into_iter().map(Ok)).boxed())
    }

    async fn upload(&self, key: &str, body: UploadBody) -> Result<()> {
        let path = self.path("upload", key)?;
        let failed = |e| Error::io("upload", key, e);
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        // A deletion may remove the folder between its creation and the file's: try again then.
        let mut tries = 0;
        let temporary = loop {
            tokio::fs::create_dir_all(&folder).await.map_err(failed)?;
            match tempfile::Builder::new()
                .prefix(TEMPORARY)
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
                .tempfile_in(&folder)
            {
                Ok(file) => break file,
                Err(e) if e.kind() == IoKind::NotFound && tries < 3 => tries += 1,
                Err(e) => return Err(failed(e)),
            }
        };
        let mut to = tokio::fs::File::from_std(temporary.as_file().try_clone().map_err(failed)?);
        match body {
            UploadBody::Bytes(bytes) => to.write_all(&bytes).await.map_err(failed)?,
            UploadBody::File(from) => {
                let mut from = tokio::fs::File::open(&from).await.map_err(|e| {
                    Error::new(ErrorKind::Other, "upload", key, format!("{}: {e}", from.display()))
                })?;
                tokio::io::copy(&mut from, &mut to).await.map_err(failed)?;
            }
            UploadBody::Stream(mut frames) => {
                while let Some(frame) = frames.next().await {
                    let frame = frame.map_err(|e| Error::new(e.kind(), "upload", key, e))?;
                    to.write_all(&frame).await.map_err(failed)?;
                }
            }
        }
        to.flush().await.map_err(failed)?;
        to.sync_all().await.map_err(failed)?;
        drop(to);
        temporary.persist(&path).map_err(|e| failed(e.error))?;
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let mut path = self.path("delete", key)?;
        let removed = match tokio::fs::symlink_metadata(&path).await {
            Ok(meta) if meta.is_dir() => tokio::fs::remove_dir_all(&path).await,
            Ok(_) => tokio::fs::remove_file(&path).await,
            Err(e) => Err(e),
        };
        match removed {
            Err(e) if !matches!(e.kind(), IoKind::NotFound | IoKind::NotADirectory) => {
                return Err(Error::io("delete", key, e));
            }
            _ => {}
        }
        // `remove_dir` refuses a folder with content, so nobody's new object is lost to a race.
        while path.pop() && path != self.root && tokio::fs::remove_dir(&path).await.is_ok() {}
        Ok(())
    }
}

fn walk(dir: &Path, prefix: &str, recursive: bool, out: &mut Vec<Entry>) -> std::io::Result<()> {
    let files = match std::fs::read_dir(dir) {
        Ok(files) => files,
        Err(e) if matches!(e.kind(), IoKind::NotFound | IoKind::NotADirectory) => return Ok(()),
        Err(e) => return Err(e),
    };
    for file in files {
        let file = file?;
        let name = file.file_name();
        let Some(name) = name.to_str().filter(|n| !n.starts_with(TEMPORARY)) else { continue };
        let key = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        if file.file_type()?.is_dir() {
            if recursive {
                walk(&file.path(), &key, true, out)?;
            } else if has_entries(&file.path())? {
                out.push(Entry { key: key + "/", is_dir: true, size: None, last_modified: None });
            }
            continue;
        }
        match std::fs::metadata(file.path()) {
            Ok(meta) => {
                let last_modified: Option<SystemTime> = meta.modified().ok();
                out.push(Entry { key, is_dir: false, size: Some(meta.len()), last_modified });
            }
            // Deleted since the folder was read.
            Err(e) if e.kind() == IoKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn has_entries(dir: &Path) -> std::io::Result<bool> {
    match std::fs::read_dir(dir) {
        Ok(mut files) => Ok(files.next().transpose()?.is_some()),
        Err(e) if e.kind() == IoKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}
