//! Vertical sharding: which series belong to one of several cooperating requests.
//!
//! Holds the hash of `thanos.ShardInfo` (Thanos `storepb.ShardMatcher`). It knows no stream.
//! Invariant: over all indexes of one sharding, each series matches exactly once.

use model::Labels;
use storeapi_proto::thanos::ShardInfo;

/// Decides for label sets; reuses its buffer, so it is not shared between threads.
#[derive(Debug, Default)]
pub struct ShardMatcher {
    info: Option<ShardInfo>,
    buf: Vec<u8>,
}

impl ShardMatcher {
    /// A matcher for a request; without sharding everything matches.
    pub fn new(info: Option<&ShardInfo>) -> Self {
        ShardMatcher { info: info.filter(|i| i.total_shards >= 1).cloned(), buf: Vec::new() }
    }

    /// Whether a series with these final labels belongs to the shard.
    pub fn matches(&mut self, labels: &Labels) -> bool {
        let Some(info) = &self.info else { return true };
        self.buf.clear();
        for (name, value) in labels.iter() {
            if info.labels.iter().any(|l| l == name) == info.by {
                for text in [name, value] {
                    self.buf.extend_from_slice(text.as_bytes());
                    self.buf.push(0xff);
                }
            }
        }
        xxhash_rust::xxh64::xxh64(&self.buf, 0) % info.total_shards as u64 == info.shard_index as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_series_is_in_one_shard() {
        let sets: Vec<Labels> = (0..50)
            .map(|i| Labels::from_pairs([("pod", format!("p{}", i % 10)), ("le", i.to_string())]))
            .collect();
        for by in [true, false] {
            let shard = |n| ShardInfo { shard_index: n, total_shards: 3, by, labels: vec!["le".into()] };
            let mut matchers: Vec<_> = (0..3).map(|n| ShardMatcher::new(Some(&shard(n)))).collect();
            for set in &sets {
                assert_eq!(matchers.iter_mut().filter_map(|m| m.matches(set).then_some(())).count(), 1);
            }
        }
        assert!(ShardMatcher::new(None).matches(&sets[0]));
        // Without `le`, all buckets of one pod share a shard.
        let mut m = ShardMatcher::new(Some(&ShardInfo {
            shard_index: 0,
            total_shards: 2,
            by: false,
            labels: vec!["le".into()],
        }));
        assert_eq!(m.matches(&sets[0]), m.matches(&sets[10]));
    }
}
