//! A bucket as far away as one likes.
//!
//! Each operation waits before it begins. Invariant: nothing else changes.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Attributes, Bucket, EntryStream, ListOptions, ObjectStream, Result, SharedBucket, UploadBody};

/// Adds a pause to each operation.
#[derive(Debug)]
pub struct Delayed {
    inner: SharedBucket,
    pause: Duration,
}

impl Delayed {
    /// `inner`, with `pause` before every operation.
    pub fn new(inner: SharedBucket, pause: Duration) -> Delayed {
        Delayed { inner, pause }
    }
}

#[async_trait]
impl Bucket for Delayed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn provider(&self) -> &'static str {
        self.inner.provider()
    }

    async fn get(&self, key: &str) -> Result<ObjectStream> {
        tokio::time::sleep(self.pause).await;
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &str, offset: u64, len: Option<u64>) -> Result<ObjectStream> {
        tokio::time::sleep(self.pause).await;
        self.inner.get_range(key, offset, len).await
    }

    async fn attributes(&self, key: &str) -> Result<Attributes> {
        tokio::time::sleep(self.pause).await;
        self.inner.attributes(key).await
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        tokio::time::sleep(self.pause).await;
        self.inner.exists(key).await
    }

    async fn list(&self, dir: &str, options: ListOptions) -> Result<EntryStream> {
        tokio::time::sleep(self.pause).await;
        self.inner.list(dir, options).await
    }

    async fn upload(&self, key: &str, body: UploadBody) -> Result<()> {
        tokio::time::sleep(self.pause).await;
        self.inner.upload(key, body).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        tokio::time::sleep(self.pause).await;
        self.inner.delete(key).await
    }
}
