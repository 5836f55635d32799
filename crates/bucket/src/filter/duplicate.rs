//! Leaving out blocks whose data is in another block.
//!
//! Holds the filter on compaction sources. Invariant: for every source of a block that is left out there
//! is a block left in, of the same labels and resolution, that has it. Upstream:
//! `DefaultDeduplicateFilter`; a block without sources counts here as its own source.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use tsdb_block::meta::{BlockMeta, Ulid};

use super::Filter;
use crate::fetcher::{Round, State};

/// Leaves out blocks that a compaction has superseded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deduplicate;

#[async_trait]
impl Filter for Deduplicate {
    async fn filter(&self, round: &mut Round) -> objstore::Result<()> {
        let mut groups: BTreeMap<_, Vec<&BlockMeta>> = BTreeMap::new();
        for meta in round.blocks.values() {
            groups.entry((meta.resolution(), meta.external_labels())).or_default().push(meta);
        }
        let superseded: HashSet<Ulid> = groups.into_values().flat_map(superseded).collect();
        round.exclude(State::Duplicate, |id, _| superseded.contains(&id));
        Ok(())
    }
}

fn sources(meta: &BlockMeta) -> &[Ulid] {
    match meta.compaction.sources.as_slice() {
        [] => std::slice::from_ref(&meta.ulid),
        sources => sources,
    }
}

/// The blocks of one group that a block before them covers: most sources first, then by name.
fn superseded(mut group: Vec<&BlockMeta>) -> Vec<Ulid> {
    group.sort_by_key(|meta| (std::cmp::Reverse(sources(meta).len()), meta.ulid));
    let mut out = Vec::new();
    let mut kept: Vec<HashSet<Ulid>> = Vec::new();
    // Which kept blocks have a source: only they can cover a block that has it.
    let mut having: HashMap<Ulid, Vec<usize>> = HashMap::new();
    for meta in group {
        let sources = sources(meta);
        let candidates = sources.first().and_then(|first| having.get(first));
        let covered =
            candidates.into_iter().flatten().any(|&at| sources.iter().all(|s| kept[at].contains(s)));
        if covered {
            out.push(meta.ulid);
            continue;
        }
        let set: HashSet<Ulid> = sources.iter().copied().collect();
        for source in &set {
            having.entry(*source).or_default().push(kept.len());
        }
        kept.push(set);
    }
    out
}
