//! A map that knows what was not used for longest.
//!
//! Holds a thin layer over the `lru` crate: unbounded, because the bound is in bytes and belongs to the
//! caller. Invariant: `pop` returns items in the order of their last use.

use std::hash::Hash;

/// The map.
#[derive(Debug)]
pub(super) struct Lru<K: Hash + Eq, V>(lru::LruCache<K, V>);

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    pub(super) fn new() -> Self {
        Lru(lru::LruCache::unbounded())
    }

    /// The value, which thereby is the latest used.
    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        self.0.put(key, value);
    }

    /// Takes out the item that was not used for longest.
    pub(super) fn pop(&mut self) -> Option<(K, V)> {
        self.0.pop_lru()
    }

    /// Takes out all items that fit.
    pub(super) fn take_if(&mut self, fits: impl Fn(&K) -> bool) -> Vec<(K, V)> {
        let keys: Vec<K> = self.0.iter().map(|(k, _)| k).filter(|k| fits(k)).cloned().collect();
        keys.into_iter().filter_map(|k| self.0.pop_entry(&k)).collect()
    }
}
