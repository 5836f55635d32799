//! The trait that every provider implements, and comfort on top of it.
//!
//! Holds the operations and their arguments. It knows no provider. Invariant: keys have no leading
//! slash; a folder exists only as a prefix of keys; listings are sorted by key. A wrapper forwards
//! every operation of [`Bucket`], `exists` too; [`BucketExt`] is built on them and needs no forwarding.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};

use crate::{Error, ErrorKind, Result};

/// A bucket that is shared by the tasks of a process.
pub type SharedBucket = Arc<dyn Bucket>;

/// The entries of a listing, as they arrive.
pub type EntryStream = BoxStream<'static, Result<Entry>>;

/// Objects by key.
#[async_trait]
pub trait Bucket: Send + Sync + Debug + 'static {
    /// The bucket's name: the constant label `bucket` of its metrics.
    fn name(&self) -> &str;

    /// The provider's name as in Thanos' YAML (`S3`, `FILESYSTEM`).
    fn provider(&self) -> &'static str;

    /// The whole object.
    ///
    /// # Errors
    /// Not found, or whatever the provider says.
    async fn get(&self, key: &str) -> Result<ObjectStream>;

    /// `len` bytes from `offset`, or all from there on; a range past the end is cut, and one that
    /// begins at or behind the end is empty.
    ///
    /// # Errors
    /// Not found, or whatever the provider says.
    async fn get_range(&self, key: &str, offset: u64, len: Option<u64>) -> Result<ObjectStream>;

    /// Size and time of an object.
    ///
    /// # Errors
    /// Not found, or whatever the provider says.
    async fn attributes(&self, key: &str) -> Result<Attributes>;

    /// Whether the object is there.
    ///
    /// # Errors
    /// Every error but not found.
    async fn exists(&self, key: &str) -> Result<bool> {
        match self.attributes(key).await {
            Ok(_) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The entries below `dir` (empty for the root; a trailing slash makes no difference), sorted by
    /// key. A folder that does not exist has no entries.
    ///
    /// # Errors
    /// Whatever the provider says.
    async fn list(&self, dir: &str, options: ListOptions) -> Result<EntryStream>;

    /// Writes an object; readers see the old one or the whole new one.
    ///
    /// # Errors
    /// Whatever the provider or the body says.
    async fn upload(&self, key: &str, body: UploadBody) -> Result<()>;

    /// Removes an object.
    ///
    /// # Errors
    /// Not found where the provider can tell; or whatever the provider says.
    async fn delete(&self, key: &str) -> Result<()>;
}

/// How to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// All objects below the folder, and no folders; else one level with its folders.
    pub recursive: bool,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The full key; a folder's ends with a slash.
    pub key: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// The object's size in bytes, where the listing tells.
    pub size: Option<u64>,
    /// When the object was written, where the listing tells.
    pub last_modified: Option<SystemTime>,
}

/// What is known of an object without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Bytes.
    pub size: u64,
    /// When it was written.
    pub last_modified: SystemTime,
}

/// An object's bytes, as they arrive.
pub struct ObjectStream {
    /// How many bytes are to come.
    pub len: u64,
    /// What tells this content of the object from others, where the store says it (an ETag).
    pub version: Option<String>,
    /// The bytes.
    pub body: BoxStream<'static, Result<Bytes>>,
}

impl Debug for ObjectStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectStream({} bytes)", self.len)
    }
}

impl ObjectStream {
    /// A stream over bytes already in memory.
    pub fn from_bytes(bytes: Bytes) -> ObjectStream {
        let len = bytes.len() as u64;
        ObjectStream { len, version: None, body: futures::stream::once(async move { Ok(bytes) }).boxed() }
    }

    /// Everything, in one buffer. A single frame is not copied.
    ///
    /// # Errors
    /// What the stream says when it breaks off; retryable when it ends without a word.
    pub async fn collect(self) -> Result<Bytes> {
        let bytes = concat(self.body, self.len).await?;
        let got = bytes.len() as u64;
        if got == self.len {
            return Ok(bytes);
        }
        let text = format!("the body has {got} bytes instead of {}", self.len);
        Err(Error::new(ErrorKind::Retry, "read", "", text))
    }
}

/// All frames in one buffer, which `hint` bytes should fill.
async fn concat(mut body: BoxStream<'static, Result<Bytes>>, hint: u64) -> Result<Bytes> {
    let Some(first) = body.try_next().await? else { return Ok(Bytes::new()) };
    let Some(second) = body.try_next().await? else { return Ok(first) };
    // The length is the server's word: it bounds the first allocation only up to a point.
    let mut all = BytesMut::with_capacity(usize::try_from(hint).unwrap_or(0).min(64 << 20));
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while let Some(next) = body.try_next().await? {
        all.extend_from_slice(&next);
    }
    Ok(all.freeze())
}

/// What to upload.
pub enum UploadBody {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A local file, read as it is sent.
    File(PathBuf),
    /// A stream of unknown length.
    Stream(BoxStream<'static, Result<Bytes>>),
}

impl Debug for UploadBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UploadBody::Bytes(b) => write!(f, "{} bytes", b.len()),
            UploadBody::File(p) => write!(f, "file {}", p.display()),
            UploadBody::Stream(_) => f.write_str("stream"),
        }
    }
}

impl UploadBody {
    /// The whole body in memory.
    ///
    /// # Errors
    /// When the file or the stream cannot be read.
    pub async fn collect(self, key: &str) -> Result<Bytes> {
        match self {
            UploadBody::Bytes(bytes) => Ok(bytes),
            UploadBody::File(path) => tokio::fs::read(&path)
                .await
                .map(Bytes::from)
                .map_err(|e| Error::io("read", path.display().to_string(), e)),
            UploadBody::Stream(body) => {
                concat(body, 0).await.map_err(|e| Error::new(e.kind(), "upload", key, e))
            }
        }
    }
}

impl From<Bytes> for UploadBody {
    fn from(bytes: Bytes) -> Self {
        UploadBody::Bytes(bytes)
    }
}

/// Comfort for callers; never implemented by hand.
#[async_trait]
pub trait BucketExt: Bucket {
    /// The whole object in one buffer. For small objects: nothing bounds it.
    ///
    /// # Errors
    /// Those of [`Bucket::get`].
    async fn read(&self, key: &str) -> Result<Bytes> {
        self.get(key).await?.collect().await
    }

    /// `len` bytes from `offset` in one buffer, fewer at the end of the object.
    ///
    /// # Errors
    /// Those of [`Bucket::get_range`].
    async fn read_range(&self, key: &str, offset: u64, len: u64) -> Result<Bytes> {
        self.get_range(key, offset, Some(len)).await?.collect().await
    }

    /// Uploads bytes in memory.
    ///
    /// # Errors
    /// Those of [`Bucket::upload`].
    async fn upload_bytes(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.upload(key, UploadBody::Bytes(bytes)).await
    }
}

impl<B: Bucket + ?Sized> BucketExt for B {}

/// The form of `dir` that keys below it start with: empty, or ending with a slash.
pub(crate) fn folder(dir: &str) -> String {
    let dir = dir.trim_matches('/');
    if dir.is_empty() { String::new() } else { format!("{dir}/") }
}
