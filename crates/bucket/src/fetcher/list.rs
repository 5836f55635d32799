//! Listing the blocks of a bucket, in one of two ways.
//!
//! Holds both strategies and what counts as a block: a folder named by a ULID as `Ulid` writes it.
//! Invariant: only `<ulid>/meta.json` itself makes a block whole, and everything that is not below such
//! a folder is ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use objstore::{ListOptions, SharedBucket};
use tsdb_block::meta::{FILE_NAME, Ulid};

use super::Strategy;
use crate::marker::DELETION_MARK;

/// Questions asked at once by [`Strategy::Concurrent`].
const QUESTIONS: usize = 64;

/// Blocks as listed.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Blocks with a `meta.json`, and when it was written, where the strategy saw that.
    pub active: BTreeMap<Ulid, Option<SystemTime>>,
    /// Blocks without.
    pub partial: BTreeSet<Ulid>,
    /// Blocks of which the bucket did not say.
    pub failed: BTreeMap<Ulid, objstore::Error>,
    /// Blocks with a deletion mark, where the strategy saw them.
    pub marked: Option<BTreeSet<Ulid>>,
}

/// The block that a folder's name names.
pub(super) fn block(folder: &str) -> Option<Ulid> {
    let id = Ulid::from_string(folder).ok()?;
    // The parser also takes lower case, which no writer of blocks uses.
    (id.to_string() == folder).then_some(id)
}

pub(super) async fn list(bucket: &SharedBucket, strategy: Strategy) -> objstore::Result<Listing> {
    match strategy {
        Strategy::Concurrent => concurrent(bucket).await,
        Strategy::Recursive => recursive(bucket).await,
    }
}

async fn recursive(bucket: &SharedBucket) -> objstore::Result<Listing> {
    let mut listing = Listing::default();
    let mut marked = BTreeSet::new();
    let mut entries = bucket.list("", ListOptions { recursive: true }).await?;
    while let Some(entry) = entries.try_next().await? {
        let Some((folder, file)) = entry.key.split_once('/') else { continue };
        let Some(id) = block(folder) else { continue };
        if file == FILE_NAME {
            listing.active.insert(id, entry.last_modified);
            continue;
        }
        listing.partial.insert(id);
        if file == DELETION_MARK {
            marked.insert(id);
        }
    }
    listing.partial.retain(|id| !listing.active.contains_key(id));
    listing.marked = Some(marked);
    Ok(listing)
}

async fn concurrent(bucket: &SharedBucket) -> objstore::Result<Listing> {
    let mut listing = Listing::default();
    let entries = bucket.list("", ListOptions { recursive: false }).await?;
    let found = entries.try_filter_map(|entry| async move {
        Ok(entry.key.strip_suffix('/').and_then(block).filter(|_| entry.is_dir))
    });
    let found: BTreeSet<Ulid> = found.try_collect().await?;
    let asked =
        found.into_iter().map(|id| async move { (id, bucket.exists(&format!("{id}/{FILE_NAME}")).await) });
    let mut answers = stream::iter(asked).buffer_unordered(QUESTIONS);
    while let Some((id, answer)) = answers.next().await {
        match answer {
            Ok(true) => {
                listing.active.insert(id, None);
            }
            Ok(false) => {
                listing.partial.insert(id);
            }
            Err(e) => {
                listing.failed.insert(id, e);
            }
        }
    }
    Ok(listing)
}
