//! Uploading: one request for what is small, parts for the rest.
//!
//! Holds both ways and the repetition of each piece. Invariants: the object appears whole or not at all,
//! parts of an upload that fails or is given up are removed, and every piece carries its MD5 sum.

use std::path::PathBuf;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_types::byte_stream::Length;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use md5::{Digest as _, Md5};

use super::S3;
use super::error::classify;
use crate::{Error, ErrorKind, Result, UploadBody};

/// Parts in flight.
const PARALLEL: usize = 4;
/// The most parts an object may have.
const MAX_PARTS: u64 = 10_000;

/// Something that can be sent more than once.
#[derive(Clone, Debug)]
enum Piece {
    Bytes(Bytes),
    File { path: PathBuf, offset: u64, len: u64 },
}

fn local(key: &str, path: &std::path::Path, error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Other, "upload", key, format!("{}: {error}", path.display()))
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::File { len, .. } => *len,
        }
    }

    async fn body(&self, key: &str) -> Result<ByteStream> {
        match self {
            Piece::Bytes(bytes) => Ok(ByteStream::from(bytes.clone())),
            Piece::File { len: 0, .. } => Ok(ByteStream::from_static(b"")),
            Piece::File { path, offset, len } => ByteStream::read_from()
                .path(path)
                .offset(*offset)
                .length(Length::Exact(*len))
                .buffer_size(256 << 10)
                .build()
                .await
                .map_err(|e| local(key, path, e)),
        }
    }

    /// The MD5 sum as a header carries it.
    async fn md5(&self, key: &str) -> Result<String> {
        let digest: [u8; 16] = match self {
            Piece::Bytes(bytes) => Md5::digest(bytes).into(),
            Piece::File { path, offset, len } => {
                let (path, offset, len) = (path.clone(), *offset, *len);
                let name = path.clone();
                tokio::task::spawn_blocking(move || sum(&path, offset, len))
                    .await
                    .map_err(|e| local(key, &name, e))?
                    .map_err(|e| local(key, &name, e))?
            }
        };
        Ok(BASE64_STANDARD.encode(digest))
    }
}

fn sum(path: &std::path::Path, offset: u64, len: u64) -> std::io::Result<[u8; 16]> {
    use std::io::{Read as _, Seek as _};
    let mut file = std::fs::File::open(path)?;
    file.seek(std::io::SeekFrom::Start(offset))?;
    let mut file = file.take(len);
    let mut digest = Md5::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize().into()),
            n => digest.update(&buffer[..n]),
        }
    }
}

impl S3 {
    pub(super) async fn send(&self, key: &str, body: UploadBody) -> Result<()> {
        let client = self.client().await?;
        match body {
            UploadBody::Bytes(bytes) => {
                let len = bytes.len() as u64;
                let piece = |offset: u64, end: u64| Piece::Bytes(bytes.slice(offset as usize..end as usize));
                self.pieces(client, key, len, piece).await
            }
            UploadBody::File(path) => {
                let meta = tokio::fs::metadata(&path).await.map_err(|e| local(key, &path, e))?;
                let piece = |offset, end| Piece::File { path: path.clone(), offset, len: end - offset };
                self.pieces(client, key, meta.len(), piece).await
            }
            UploadBody::Stream(frames) => self.stream(client, key, frames).await,
        }
    }

    /// Sends something of known length.
    async fn pieces(
        &self,
        client: &Client,
        key: &str,
        len: u64,
        piece: impl Fn(u64, u64) -> Piece,
    ) -> Result<()> {
        if len < self.config.part_size {
            return self.put(client, key, piece(0, len)).await;
        }
        let size = self.config.part_size.max(len.div_ceil(MAX_PARTS));
        let pieces: Vec<Result<Piece>> =
            (0..len.div_ceil(size)).map(|n| Ok(piece(n * size, ((n + 1) * size).min(len)))).collect();
        self.parts(client, key, stream::iter(pieces).boxed(), PARALLEL).await
    }

    /// Sends something whose length shows at its end; one part at a time is in memory.
    async fn stream(
        &self,
        client: &Client,
        key: &str,
        frames: BoxStream<'static, Result<Bytes>>,
    ) -> Result<()> {
        let size = usize::try_from(self.config.part_size).unwrap_or(usize::MAX);
        let pieces = stream::try_unfold((frames, BytesMut::new()), move |(mut frames, mut all)| async move {
            while all.len() < size {
                match frames.try_next().await? {
                    Some(frame) => all.extend_from_slice(&frame),
                    None if all.is_empty() => return Ok(None),
                    None => break,
                }
            }
            let part = all.split_to(all.len().min(size)).freeze();
            Ok(Some((Piece::Bytes(part), (frames, all))))
        });
        let failed = |e: Error| Error::new(e.kind(), "upload", key, e);
        let mut pieces = pieces.map_err(failed).boxed();
        let first = pieces.try_next().await?.unwrap_or(Piece::Bytes(Bytes::new()));
        if first.len() < self.config.part_size {
            return self.put(client, key, first).await;
        }
        self.parts(client, key, stream::once(async { Ok(first) }).chain(pieces).boxed(), 1).await
    }

    async fn put(&self, client: &Client, key: &str, piece: Piece) -> Result<()> {
        let md5 = piece.md5(key).await?;
        let send = || async {
            let put = client.put_object().bucket(&self.config.bucket).key(key).content_md5(&md5);
            let put = put.content_length(piece.len() as i64).body(piece.body(key).await?);
            put.send().await.map_err(|e| classify("upload", key, e))
        };
        self.policy.run(send).await.map(drop)
    }

    /// Sends parts, and makes an object of them once all have arrived.
    async fn parts(
        &self,
        client: &Client,
        key: &str,
        pieces: BoxStream<'_, Result<Piece>>,
        parallel: usize,
    ) -> Result<()> {
        let create = || async {
            let create = client.create_multipart_upload().bucket(&self.config.bucket).key(key);
            create.send().await.map_err(|e| classify("upload", key, e))
        };
        let created = self.policy.run(create).await?;
        let id = created.upload_id().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| Error::new(ErrorKind::Other, "upload", key, "the upload got no id"))?;
        let mut remains = Remains {
            client: client.clone(),
            bucket: self.config.bucket.clone(),
            key: key.to_owned(),
            id: Some(id.to_owned()),
        };
        let sent = async {
            let parts = pieces.enumerate().map(|(n, piece)| async move {
                let piece = piece?;
                let part = self.part(client, key, id, n as i32 + 1, &piece).await?;
                Ok::<_, Error>((part, piece.len()))
            });
            let parts: Vec<(CompletedPart, u64)> = parts.buffered(parallel).try_collect().await?;
            let len = parts.iter().map(|(_, len)| len).sum();
            self.complete(client, key, id, parts.into_iter().map(|(part, _)| part).collect(), len).await
        };
        match sent.await {
            Ok(()) => remains.id = None,
            Err(e) => {
                remains.remove().await;
                return Err(e);
            }
        }
        Ok(())
    }

    async fn part(
        &self,
        client: &Client,
        key: &str,
        id: &str,
        n: i32,
        piece: &Piece,
    ) -> Result<CompletedPart> {
        let md5 = piece.md5(key).await?;
        let send = || async {
            let part = client.upload_part().bucket(&self.config.bucket).key(key).upload_id(id).part_number(n);
            let part = part.content_md5(&md5).content_length(piece.len() as i64).body(piece.body(key).await?);
            part.send().await.map_err(|e| classify("upload", key, e))
        };
        let answer = self.policy.run(send).await?;
        Ok(CompletedPart::builder().part_number(n).set_e_tag(answer.e_tag().map(str::to_owned)).build())
    }

    async fn complete(
        &self,
        client: &Client,
        key: &str,
        id: &str,
        parts: Vec<CompletedPart>,
        len: u64,
    ) -> Result<()> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let send = || async {
            let complete = client.complete_multipart_upload().bucket(&self.config.bucket).key(key);
            match complete.upload_id(id).multipart_upload(parts.clone()).send().await {
                // Status 200 is sent before the parts are joined: only the tag says that they were.
                Ok(answer) if answer.e_tag().is_some() => Ok(()),
                Ok(_) => {
                    Err(Error::new(ErrorKind::Retry, "upload", key, "completion was answered without a tag"))
                }
                Err(e) if e.code() == Some("NoSuchUpload") => {
                    // An earlier try took effect without saying so, or someone removed the parts.
                    let there = crate::Bucket::attributes(self, key).await;
                    if there.is_ok_and(|a| a.size == len) { Ok(()) } else { Err(classify("upload", key, e)) }
                }
                Err(e) => Err(classify("upload", key, e)),
            }
        };
        self.policy.run(send).await
    }
}

/// Parts that have no object yet; removed when given up.
struct Remains {
    client: Client,
    bucket: String,
    key: String,
    id: Option<String>,
}

impl Remains {
    /// Asks for the removal; a failure is logged, since the upload's own error says more.
    async fn remove(&mut self) {
        let Some(id) = self.id.take() else { return };
        let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(&self.key).upload_id(id);
        if let Err(e) = abort.send().await {
            let err = classify("upload", &self.key, e);
            tracing::warn!(err = %err, "parts of a failed upload stay in the bucket");
        }
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        if self.id.is_none() {
            return;
        }
        let mut rest = Remains {
            client: self.client.clone(),
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            id: self.id.take(),
        };
        // The upload was given up in mid-flight: its caller waits no longer, so this runs on its own.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { rest.remove().await });
        }
    }
}
