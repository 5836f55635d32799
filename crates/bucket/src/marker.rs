//! Marks on blocks: small JSON files beside `meta.json`.
//!
//! Holds the deletion mark, read and written as Thanos does. It decides nothing. Invariant: a mark that
//! cannot be read, is of another version or names another block is not a mark, and says why.
//! Upstream: `pkg/block/metadata/markers.go`.

use bytes::Bytes;
use objstore::{BucketExt as _, SharedBucket};
use serde::{Deserialize, Serialize};
use tsdb_block::meta::Ulid;

use crate::small::{Small, read_small};

/// The deletion mark's name within a block.
pub const DELETION_MARK: &str = "deletion-mark.json";
/// The only version.
const VERSION: i64 = 1;
/// A larger mark is none.
const MAX_BYTES: u64 = 1 << 20;

/// Says that a block is to be deleted once its mark is old enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionMark {
    /// The block.
    pub id: Ulid,
    /// 1.
    #[serde(default)]
    pub version: i64,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
    /// When it was marked, in seconds since the epoch.
    #[serde(default)]
    pub deletion_time: i64,
}

/// Why a block's mark was not read.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// The bucket did not say.
    #[error("get file: {0}")]
    Bucket(#[from] objstore::Error),
    /// There is a file, and it is no mark of this block.
    #[error("unmarshal marker JSON: file: {key}; err: {reason}")]
    Unusable {
        /// The file.
        key: String,
        /// Why.
        reason: String,
    },
}

impl DeletionMark {
    fn key(block: Ulid) -> String {
        format!("{block}/{DELETION_MARK}")
    }

    /// The block's deletion mark, if it has one.
    ///
    /// # Errors
    /// [`MarkError`].
    pub async fn read(bucket: &SharedBucket, block: Ulid) -> Result<Option<DeletionMark>, MarkError> {
        let key = DeletionMark::key(block);
        let unusable = |reason: String| MarkError::Unusable { key: key.clone(), reason };
        let json = match read_small(bucket, &key, MAX_BYTES).await {
            Ok(Small::Whole(json)) => json,
            Ok(Small::TooLarge) => return Err(unusable(format!("larger than {MAX_BYTES} bytes"))),
            Err(e) if e.is_not_found() => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let mark: DeletionMark = serde_json::from_slice(&json).map_err(|e| unusable(e.to_string()))?;
        if mark.version != VERSION {
            let version = mark.version;
            return Err(unusable(format!(
                "unexpected deletion-mark file version {version}, expected {VERSION}"
            )));
        }
        if mark.id != block {
            return Err(unusable(format!("it is of block {}", mark.id)));
        }
        Ok(Some(mark))
    }

    /// Marks the block, or leaves the mark it has; `now` in milliseconds. Returns whether it is new.
    ///
    /// # Errors
    /// Whatever the bucket says.
    pub async fn put(
        bucket: &SharedBucket,
        block: Ulid,
        details: &str,
        now: model::Millis,
    ) -> objstore::Result<bool> {
        let key = DeletionMark::key(block);
        if bucket.exists(&key).await? {
            tracing::warn!(block = %block, "requested to mark for deletion, but file already exists; this should not happen; investigate");
            return Ok(false);
        }
        let mark = DeletionMark {
            id: block,
            version: VERSION,
            details: details.to_owned(),
            deletion_time: now.div_euclid(1000),
        };
        // Text and numbers: this cannot fail.
        let json = serde_json::to_vec(&mark).unwrap_or_default();
        bucket.upload_bytes(&key, Bytes::from(json)).await?;
        tracing::info!(block = %block, details, "block has been marked for deletion");
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use objstore::memory::InMemory;

    use super::*;

    const A: &str = "01M5FC5ZR0JRHRCP081V3NP1HX";
    const B: &str = "01M5FK1Q00E12PH56HXJ31K279";

    async fn bucket(text: Option<&str>) -> (SharedBucket, Ulid) {
        let bucket: SharedBucket = Arc::new(InMemory::new());
        let id = Ulid::from_string(A).unwrap();
        if let Some(text) = text {
            bucket.upload_bytes(&format!("{A}/{DELETION_MARK}"), text.to_owned().into()).await.unwrap();
        }
        (bucket, id)
    }

    #[tokio::test]
    async fn a_mark_is_written_once_and_read_back() {
        let (bucket, id) = bucket(None).await;
        assert_eq!(DeletionMark::read(&bucket, id).await.unwrap(), None);
        assert!(DeletionMark::put(&bucket, id, "why", 1_700_000_000_999).await.unwrap());
        assert!(!DeletionMark::put(&bucket, id, "again", 0).await.unwrap());
        let text = bucket.read(&format!("{A}/{DELETION_MARK}")).await.unwrap();
        let want = format!(r#"{{"id":"{A}","version":1,"details":"why","deletion_time":1700000000}}"#);
        assert_eq!(text, want);
        assert_eq!(DeletionMark::read(&bucket, id).await.unwrap().unwrap().deletion_time, 1_700_000_000);
    }

    #[tokio::test]
    async fn what_is_no_mark_of_this_block_is_refused() {
        let version2 = format!(r#"{{"id":"{A}","version":2,"deletion_time":1}}"#);
        let other = format!(r#"{{"id":"{B}","version":1,"deletion_time":1}}"#);
        let text = format!(r#"{{"id":"{A}","version":1,"deletion_time":"1"}}"#);
        let large = " ".repeat(MAX_BYTES as usize + 1);
        for bad in ["", "{", "null", version2.as_str(), other.as_str(), text.as_str(), large.as_str()] {
            let (bucket, id) = bucket(Some(bad)).await;
            let read = DeletionMark::read(&bucket, id).await;
            assert!(matches!(read, Err(MarkError::Unusable { .. })), "{:.80}", bad);
        }
    }
}
