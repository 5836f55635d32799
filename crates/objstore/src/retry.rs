//! Tries again what may succeed the second time.
//!
//! Repeats only operations that fail with [`ErrorKind::Retry`](crate::ErrorKind::Retry) before a body is handed out; a
//! body that breaks off is the reader's to resume. Invariant: an upload of a stream is never
//! repeated, since its bytes are gone.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Attributes, Bucket, EntryStream, ListOptions, ObjectStream, Result, SharedBucket, UploadBody};

/// A bucket that is patient.
#[derive(Debug)]
pub struct Retrying {
    inner: SharedBucket,
    attempts: u32,
    pause: Duration,
}

impl Retrying {
    /// At most `attempts` tries (at least one), with `pause` before the second, doubling up to 16
    /// times `pause`.
    pub fn new(inner: SharedBucket, attempts: u32, pause: Duration) -> Retrying {
        Retrying { inner, attempts: attempts.max(1), pause }
    }

    async fn run<T, F: Future<Output = Result<T>>>(&self, mut call: impl FnMut() -> F) -> Result<T> {
        let mut tried = 0;
        loop {
            let result = call().await;
            tried += 1;
            match result {
                Err(e) if e.is_retryable() && tried < self.attempts => {
                    tracing::debug!(error = %e, tried, "bucket operation is tried again");
                    tokio::time::sleep(self.pause * (1 << (tried - 1).min(4))).await;
                }
                result => return result,
            }
        }
    }
}

#[async_trait]
impl Bucket for Retrying {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn provider(&self) -> &'static str {
        self.inner.provider()
    }

    async fn get(&self, key: &str) -> Result<ObjectStream> {
        self.run(|| self.inner.get(key)).await
    }

    async fn get_range(&self, key: &str, offset: u64, len: Option<u64>) -> Result<ObjectStream> {
        self.run(|| self.inner.get_range(key, offset, len)).await
    }

    async fn attributes(&self, key: &str) -> Result<Attributes> {
        self.run(|| self.inner.attributes(key)).await
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.run(|| self.inner.exists(key)).await
    }

    async fn list(&self, dir: &str, options: ListOptions) -> Result<EntryStream> {
        self.run(|| self.inner.list(dir, options)).await
    }

    async fn upload(&self, key: &str, body: UploadBody) -> Result<()> {
        match body {
            UploadBody::Bytes(bytes) => {
                self.run(|| self.inner.upload(key, UploadBody::Bytes(bytes.clone()))).await
            }
            UploadBody::File(path) => {
                self.run(|| self.inner.upload(key, UploadBody::File(path.clone()))).await
            }
            body @ UploadBody::Stream(_) => self.inner.upload(key, body).await,
        }
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.run(|| self.inner.delete(key)).await
    }
}
