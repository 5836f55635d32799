//! The index cache: postings and series entries of blocks, in memory.
//!
//! Holds what was fetched from indexes, least recently used out first, under Thanos' metrics. It knows
//! no bucket; who misses fetches and puts. Invariant: the cached bytes are charged to the process
//! budget, and requests come first: what they need is taken from the cache.
//! Series are kept in pages of the index (see `series`), so that a million of them are not a million
//! items. Upstream: `pkg/store/cache/inmemory.go`.

mod config;
mod lru;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use component::metrics::{self, Gauge, GaugeVec, HistogramVec, IntCounterVec, Registry};
use model::{Account, Budget};
use parking_lot::Mutex;
use tsdb_block::meta::Ulid;

pub use config::{CacheConfig, CacheConfigError};
use lru::Lru;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    Postings,
    ExpandedPostings,
    Series,
}

impl Item {
    const ALL: [Item; 3] = [Item::Postings, Item::ExpandedPostings, Item::Series];

    /// Thanos' name of the type, in metrics and configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Item::Postings => "Postings",
            Item::ExpandedPostings => "ExpandedPostings",
            Item::Series => "Series",
        }
    }
}

/// Names an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// The postings list of a label pair.
    Postings(Ulid, Arc<str>, Arc<str>),
    /// The references a set of matchers selects, by the matchers' text.
    Expanded(Ulid, Arc<str>),
    /// A page of the index.
    Page(Ulid, u32),
}

impl Key {
    fn item(&self) -> Item {
        match self {
            Key::Postings(..) => Item::Postings,
            Key::Expanded(..) => Item::ExpandedPostings,
            Key::Page(..) => Item::Series,
        }
    }

    /// Bytes a key takes, as Thanos counts: the ULID and the texts.
    fn size(&self) -> u64 {
        let texts = match self {
            Key::Postings(_, name, value) => name.len() + value.len() + 32,
            Key::Expanded(_, matchers) => matchers.len() + 16,
            Key::Page(..) => 8,
        };
        16 + texts as u64
    }
}

#[derive(Clone, Debug)]
struct Metrics {
    requests: IntCounterVec,
    hits: IntCounterVec,
    stored: HistogramVec,
    fetch: HistogramVec,
    added: IntCounterVec,
    evicted: IntCounterVec,
    overflowed: IntCounterVec,
    items: GaugeVec,
    size: GaugeVec,
    total: GaugeVec,
}

impl Metrics {
    fn new(registry: &Registry, config: &CacheConfig) -> metrics::Result<Self> {
        let name = |n: &str| format!("thanos_store_index_cache_{n}");
        let kind = ["item_type"];
        let both = ["item_type", "tenant"];
        let gauge =
            |n: &str, help: &str| -> metrics::Result<Gauge> { metrics::gauge(registry, &name(n), help) };
        gauge("max_size_bytes", "Bytes the index cache may hold.")?.set(config.max_size as f64);
        gauge("max_item_size_bytes", "Bytes of the largest item the index cache takes.")?
            .set(config.max_item_size as f64);
        let sizes = [32.0, 256.0, 512.0].into_iter().chain(
            [
                1.0,
                32.0,
                256.0,
                512.0,
                1024.0,
                32.0 * 1024.0,
                64.0 * 1024.0,
                128.0 * 1024.0,
                256.0 * 1024.0,
                512.0 * 1024.0,
            ]
            .map(|k| k * 1024.0),
        );
        let sizes: Vec<f64> = sizes.collect();
        let metrics = Metrics {
            requests: metrics::counters(
                registry,
                &name("requests_total"),
                "Items asked of the index cache.",
                &both,
            )?,
            hits: metrics::counters(registry, &name("hits_total"), "Items the index cache had.", &both)?,
            stored: metrics::histograms(
                registry,
                &name("stored_data_size_bytes"),
                "Bytes of items put into the index cache.",
                &both,
                &sizes,
            )?,
            fetch: metrics::histograms(
                registry,
                &name("fetch_duration_seconds"),
                "Seconds to look items up in the index cache.",
                &both,
                &FETCH_SECONDS,
            )?,
            added: metrics::counters(
                registry,
                &name("items_added_total"),
                "Items put into the index cache.",
                &kind,
            )?,
            evicted: metrics::counters(
                registry,
                &name("items_evicted_total"),
                "Items the index cache gave up for others.",
                &kind,
            )?,
            overflowed: metrics::counters(
                registry,
                &name("items_overflowed_total"),
                "Items too large for the index cache.",
                &kind,
            )?,
            items: metrics::gauges(registry, &name("items"), "Items in the index cache.", &kind)?,
            size: metrics::gauges(
                registry,
                &name("items_size_bytes"),
                "Bytes of items in the index cache.",
                &kind,
            )?,
            total: metrics::gauges(
                registry,
                &name("total_size_bytes"),
                "Bytes of items and keys in the index cache.",
                &kind,
            )?,
        };
        for item in Item::ALL.map(Item::name) {
            let tenant = storeapi::store::DEFAULT_TENANT;
            for family in [&metrics.requests, &metrics.hits] {
                family.with_label_values(&[item, tenant]);
            }
            for family in [&metrics.stored, &metrics.fetch] {
                family.with_label_values(&[item, tenant]);
            }
            for family in [&metrics.added, &metrics.evicted, &metrics.overflowed] {
                family.with_label_values(&[item]);
            }
            for family in [&metrics.items, &metrics.size, &metrics.total] {
                family.with_label_values(&[item]);
            }
        }
        Ok(metrics)
    }
}

/// Seconds of a lookup.
const FETCH_SECONDS: [f64; 15] =
    [0.01, 0.1, 0.3, 0.6, 1.0, 3.0, 6.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0];
/// What an item costs besides its bytes, as Thanos counts it.
const ITEM_OVERHEAD: u64 = 16;

/// The cache.
#[derive(Debug)]
pub struct IndexCache {
    config: CacheConfig,
    held: Mutex<Held>,
    account: Account,
    metrics: Metrics,
}

#[derive(Debug)]
struct Held {
    items: Lru<Key, Bytes>,
    bytes: u64,
}

impl IndexCache {
    /// A cache within `config` whose bytes are charged to `budget`.
    ///
    /// # Errors
    /// When `registry` has its metrics already.
    pub fn new(config: CacheConfig, budget: &Arc<Budget>, registry: &Registry) -> metrics::Result<Self> {
        let metrics = Metrics::new(registry, &config)?;
        let held = Mutex::new(Held { items: Lru::new(), bytes: 0 });
        Ok(IndexCache { config, held, account: budget.account(), metrics })
    }

    /// What is there of `keys`, in their order. They must be of one type.
    pub(crate) fn get_many(&self, keys: &[Key], tenant: &str) -> Vec<Option<Bytes>> {
        let Some(item) = keys.first().map(Key::item) else { return Vec::new() };
        if !self.config.takes(item) {
            return vec![None; keys.len()];
        }
        let began = Instant::now();
        let found: Vec<Option<Bytes>> = {
            let mut held = self.held.lock();
            keys.iter().map(|k| held.items.get(k).cloned()).collect()
        };
        let labels = [item.name(), tenant];
        self.metrics.requests.with_label_values(&labels).inc_by(keys.len() as u64);
        self.metrics.hits.with_label_values(&labels).inc_by(found.iter().flatten().count() as u64);
        self.metrics.fetch.with_label_values(&labels).observe(began.elapsed().as_secs_f64());
        found
    }

    /// Puts an item; `bytes` must not share a larger buffer, or more is held than counted.
    pub(crate) fn put(&self, key: Key, bytes: Bytes, tenant: &str) {
        let item = key.item();
        if !self.config.takes(item) {
            return;
        }
        let name = item.name();
        let len = bytes.len() as u64;
        self.metrics.stored.with_label_values(&[name, tenant]).observe(len as f64);
        let (size, total) = (len + ITEM_OVERHEAD, len + ITEM_OVERHEAD + key.size());
        if size > self.config.max_item_size || total > self.config.max_size {
            self.metrics.overflowed.with_label_values(&[name]).inc();
            return;
        }
        let mut held = self.held.lock();
        if held.items.get(&key).is_some() {
            return;
        }
        while held.bytes + total > self.config.max_size && self.evict(&mut held) {}
        while self.account.charge(total, &"index cache").is_err() {
            if !self.evict(&mut held) {
                return;
            }
        }
        held.bytes += total;
        held.items.put(key, bytes);
        self.metrics.added.with_label_values(&[name]).inc();
        self.count(item, 1.0, size, total);
    }

    /// Gives back at least `bytes` to the budget, if that much is cached.
    pub(crate) fn shrink(&self, bytes: u64) -> bool {
        let mut held = self.held.lock();
        let goal = held.bytes.saturating_sub(bytes);
        let before = held.bytes;
        while held.bytes > goal && self.evict(&mut held) {}
        held.bytes < before
    }

    /// Forgets everything of a block that is gone.
    pub(crate) fn forget(&self, block: Ulid) {
        let mut held = self.held.lock();
        let of = |k: &Key| match k {
            Key::Postings(id, ..) | Key::Expanded(id, _) | Key::Page(id, _) => *id == block,
        };
        for (key, bytes) in held.items.take_if(of) {
            self.release(&mut held, &key, &bytes);
        }
    }

    fn evict(&self, held: &mut Held) -> bool {
        let Some((key, bytes)) = held.items.pop() else { return false };
        self.metrics.evicted.with_label_values(&[key.item().name()]).inc();
        self.release(held, &key, &bytes);
        true
    }

    fn release(&self, held: &mut Held, key: &Key, bytes: &Bytes) {
        let size = bytes.len() as u64 + ITEM_OVERHEAD;
        let total = size + key.size();
        held.bytes -= total;
        self.account.release(total);
        self.count(key.item(), -1.0, size, total);
    }

    fn count(&self, item: Item, sign: f64, size: u64, total: u64) {
        let name = [item.name()];
        self.metrics.items.with_label_values(&name).add(sign);
        self.metrics.size.with_label_values(&name).add(sign * size as f64);
        self.metrics.total.with_label_values(&name).add(sign * total as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(n: u32) -> Key {
        Key::Page(Ulid::from_parts(1, 1), n)
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_budget_is_shared() {
        let budget = Budget::new(2_000, "--memory.budget");
        let registry = Registry::new();
        let config = CacheConfig { max_size: 1_000, max_item_size: 500, ..CacheConfig::default() };
        let cache = IndexCache::new(config, &budget, &registry).unwrap();
        for n in 0..3 {
            cache.put(page(n), Bytes::from(vec![n as u8; 260]), "t");
        }
        assert_eq!(budget.used(), 900, "260 bytes, 16 for the item and 24 for the key, three times");
        assert!(cache.get_many(&[page(0)], "t")[0].is_some());
        cache.put(page(3), Bytes::from(vec![3; 260]), "t");
        let left: Vec<bool> =
            cache.get_many(&[page(0), page(1), page(2), page(3)], "t").iter().map(Option::is_some).collect();
        assert_eq!(left, [true, false, true, true]);
        cache.put(page(9), Bytes::from(vec![0; 501]), "t");
        assert!(cache.get_many(&[page(9)], "t")[0].is_none(), "too large an item");

        // A request takes what the cache holds.
        let request = budget.account();
        request.charge(1_100, &"chunks").unwrap();
        assert!(request.charge(100, &"chunks").is_err());
        assert!(cache.shrink(100));
        request.charge(100, &"chunks").unwrap();
        cache.put(page(4), Bytes::from(vec![4; 460]), "t");
        assert!(cache.get_many(&[page(4)], "t")[0].is_some(), "it makes room among its own");
        cache.forget(Ulid::from_parts(1, 1));
        assert_eq!(budget.used(), 1_200);
        let text = metrics::text::encode(&registry.gather());
        for line in [
            "thanos_store_index_cache_items{item_type=\"Series\"} 0",
            "thanos_store_index_cache_total_size_bytes{item_type=\"Series\"} 0",
            "thanos_store_index_cache_items_overflowed_total{item_type=\"Series\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
