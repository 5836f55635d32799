//! A bucket in memory, for tests and as the plainest statement of what a bucket is.
//!
//! Invariant: an upload is visible as a whole or not at all.

use std::collections::BTreeMap;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::StreamExt as _;
use parking_lot::RwLock;

use crate::bucket::folder;
use crate::{Attributes, Bucket, Entry, EntryStream, Error, ListOptions, ObjectStream, Result, UploadBody};

/// Objects in a sorted map.
#[derive(Debug, Default)]
pub struct InMemory {
    objects: RwLock<BTreeMap<String, (Bytes, SystemTime)>>,
}

impl InMemory {
    /// An empty bucket.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every key with its bytes.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.objects.read().iter().map(|(k, (b, _))| (k.clone(), b.clone())).collect()
    }

    fn object(&self, operation: &'static str, key: &str) -> Result<(Bytes, SystemTime)> {
        self.objects.read().get(key).cloned().ok_or_else(|| Error::not_found(operation, key))
    }
}

#[async_trait]
impl Bucket for InMemory {
    fn name(&self) -> &str {
        "inmem"
    }

    fn provider(&self) -> &'static str {
        "INMEM"
    }

    async fn get(&self, key: &str) -> Result<ObjectStream> {
        Ok(ObjectStream::from_bytes(self.object("get", key)?.0))
    }

    async fn get_range(&self, key: &str, offset: u64, len: Option<u64>) -> Result<ObjectStream> {
        let bytes = self.object("get_range", key)?.0;
        let start = offset.min(bytes.len() as u64);
        let end = len.map_or(bytes.len() as u64, |l| start.saturating_add(l).min(bytes.len() as u64));
        Ok(ObjectStream::from_bytes(bytes.slice(start as usize..end as usize)))
    }

    async fn attributes(&self, key: &str) -> Result<Attributes> {
        let (bytes, last_modified) = self.object("attributes", key)?;
        Ok(Attributes { size: bytes.len() as u64, last_modified })
    }

    async fn list(&self, dir: &str, options: ListOptions) -> Result<EntryStream> {
        let prefix = folder(dir);
        let objects = self.objects.read();
        let mut entries: Vec<Entry> = Vec::new();
        for (key, (bytes, time)) in
            objects.range(prefix.clone()..).take_while(|(k, _)| k.starts_with(&prefix))
        {
            let below = &key[prefix.len()..];
            match below.find('/') {
                Some(at) if !options.recursive => {
                    let key = format!("{prefix}{}", &below[..=at]);
                    if entries.last().is_none_or(|last| last.key != key) {
                        entries.push(Entry { key, is_dir: true, size: None, last_modified: None });
                    }
                }
                _ => entries.push(Entry {
                    key: key.clone(),
                    is_dir: false,
                    size: Some(bytes.len() as u64),
                    last_modified: Some(*time),
                }),
            }
        }
        Ok(futures::stream::iter(entries.into_iter().map(Ok)).boxed())
    }

    async fn upload(&self, key: &str, body: UploadBody) -> Result<()> {
        let bytes = body.collect(key).await?;
        self.objects.write().insert(key.to_owned(), (bytes, SystemTime::now()));
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.objects.write().remove(key).map(|_| ()).ok_or_else(|| Error::not_found("delete", key))
    }
}
