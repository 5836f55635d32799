//! A bucket inside a bucket: every key gets a prefix on the way in and loses it on the way out.
//!
//! Invariant: an empty key stays empty, so the provider itself refuses it; the name (the metrics'
//! label) is the inner bucket's. Behaviour reference: upstream `prefixed_bucket.go`.

use async_trait::async_trait;
use futures::stream::StreamExt as _;

use crate::{Attributes, Bucket, EntryStream, ListOptions, ObjectStream, Result, SharedBucket, UploadBody};

/// A view of the keys below one prefix.
#[derive(Debug)]
pub struct Prefixed {
    inner: SharedBucket,
    prefix: String,
}

/// `inner` seen from `prefix`; `inner` itself when the prefix is nothing but slashes.
pub fn prefixed(inner: SharedBucket, prefix: &str) -> SharedBucket {
    match prefix.trim_matches('/') {
        "" => inner,
        prefix => std::sync::Arc::new(Prefixed { inner, prefix: format!("{prefix}/") }),
    }
}

impl Prefixed {
    fn key(&self, key: &str) -> String {
        if key.is_empty() { String::new() } else { format!("{}{key}", self.prefix) }
    }
}

#[async_trait]
impl Bucket for Prefixed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn provider(&self) -> &'static str {
        self.inner.provider()
    }

    async fn get(&self, key: &str) -> Result<ObjectStream> {
        self.inner.get(&self.key(key)).await
    }

    async fn get_range(&self, key: &str, offset: u64, len: Option<u64>) -> Result<ObjectStream> {
        self.inner.get_range(&self.key(key), offset, len).await
    }

    async fn attributes(&self, key: &str) -> Result<Attributes> {
        self.inner.attributes(&self.key(key)).await
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.inner.exists(&self.key(key)).await
    }

    async fn list(&self, dir: &str, options: ListOptions) -> Result<EntryStream> {
        let prefix = self.prefix.clone();
        let entries = self.inner.list(&format!("{prefix}{dir}"), options).await?;
        let strip = move |entry: Result<crate::Entry>| {
            entry.map(|mut e| {
                if let Some(rest) = e.key.strip_prefix(&prefix) {
                    e.key = rest.to_owned();
                }
                e
            })
        };
        Ok(entries.map(strip).boxed())
    }

    async fn upload(&self, key: &str, body: UploadBody) -> Result<()> {
        self.inner.upload(&self.key(key), body).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(&self.key(key)).await
    }
}
