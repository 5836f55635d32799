//! Refusing a compacted block that would overlap blocks in the bucket.
//!
//! Holds a list of the bucket's blocks with the same external labels, fetched when first needed
//! (upstream `lazyOverlapChecker`). Invariant: a bucket that cannot be listed refuses, too.

use component::flags::value::show_go_duration;
use futures::StreamExt as _;
use model::Labels;
use objstore::{BucketExt as _, ListOptions, SharedBucket};
use tsdb_block::meta::{BlockMeta, FILE_NAME, Ulid};

/// Why a compacted block is not shipped.
#[derive(Debug, thiserror::Error)]
pub enum Overlap {
    /// Blocks share time.
    #[error("shipping compacted block {block} is blocked; overlap spotted: {list}")]
    Found {
        /// The block to be shipped.
        block: Ulid,
        /// All that overlap.
        list: String,
    },
    /// The bucket's blocks are not known.
    #[error("get all block meta.: {0}")]
    Bucket(#[from] objstore::Error),
    /// A block of the bucket cannot be read.
    #[error("get all block meta.: unmarshal meta.json for block {0}: {1}")]
    Meta(String, tsdb_block::meta::MetaError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    min: i64,
    max: i64,
    id: Ulid,
}

impl Range {
    fn of(meta: &BlockMeta) -> Self {
        Range { min: meta.min_time, max: meta.max_time, id: meta.ulid }
    }
}

fn span(min: i64, max: i64) -> String {
    show_go_duration((max.saturating_sub(min) / 1000).saturating_mul(1_000_000_000))
}

/// Remembers the bucket's blocks for one pass.
#[derive(Default)]
pub(super) struct Checker {
    known: Option<Vec<Range>>,
}

impl Checker {
    pub(super) async fn check(
        &mut self,
        bucket: &SharedBucket,
        labels: &Labels,
        new: &BlockMeta,
    ) -> Result<(), Overlap> {
        if self.known.is_none() {
            tracing::info!(id = %new.ulid, "gathering all existing blocks from the remote bucket for check");
            self.known = Some(gather(bucket, labels).await?);
        }
        let mut all = self.known.clone().unwrap_or_default();
        all.push(Range::of(new));
        all.sort_unstable();
        match overlapping(&all) {
            list if list.is_empty() => Ok(()),
            list => Err(Overlap::Found { block: new.ulid, list: list.join("\n") }),
        }
    }
}

async fn gather(bucket: &SharedBucket, labels: &Labels) -> Result<Vec<Range>, Overlap> {
    let mut found = Vec::new();
    let mut entries = bucket.list("", ListOptions::default()).await?;
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let name = entry.key.trim_end_matches('/');
        if Ulid::from_string(name).is_err() {
            continue;
        }
        let json = bucket.read(&format!("{name}/{FILE_NAME}")).await?;
        let meta = BlockMeta::parse(&json).map_err(|e| Overlap::Meta(name.to_owned(), e))?;
        let own = meta.thanos.as_ref().map(|t| Labels::from_pairs(&t.labels)).unwrap_or_default();
        if own == *labels {
            found.push(Range::of(&meta));
        }
    }
    Ok(found)
}

/// Groups of blocks that share time, in Prometheus' words; `all` is sorted.
fn overlapping(all: &[Range]) -> Vec<String> {
    let mut out = Vec::new();
    for (i, a) in all.iter().enumerate() {
        for b in &all[i + 1..] {
            if b.min >= a.max {
                break;
            }
            let (min, max) = (b.min, a.max.min(b.max));
            let block = |r: &Range| {
                format!("<ulid: {}, mint: {}, maxt: {}, range: {}>", r.id, r.min, r.max, span(r.min, r.max))
            };
            out.push(format!(
                "[mint: {min}, maxt: {max}, range: {}, blocks: 2]: {}, {}",
                span(min, max),
                block(a),
                block(b)
            ));
        }
    }
    out
}
