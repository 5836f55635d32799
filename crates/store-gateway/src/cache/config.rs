//! How large the index cache is, from `--index-cache-size` or `--index-cache.config`.
//!
//! Holds Thanos' YAML (`pkg/store/cache/factory.go`): only IN-MEMORY is built, the remote backends are
//! refused by name. Invariant: an item never may be larger than the cache.

use component::flags::value;
use serde_norway::{Mapping, Value};

use super::Item;

/// What the index cache holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Bytes of keys and values together.
    pub max_size: u64,
    /// Bytes of one value.
    pub max_item_size: u64,
    /// Item types that are cached; none means all.
    pub enabled_items: Vec<String>,
}

impl Default for CacheConfig {
    fn default() -> Self {
        CacheConfig { max_size: 250 << 20, max_item_size: 125 << 20, enabled_items: Vec::new() }
    }
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheConfigError {
    /// Not YAML of the known fields.
    #[error("parsing config YAML file: {0}")]
    Yaml(String),
    /// No such backend.
    #[error("index cache with type {0} is not supported")]
    UnknownType(String),
    /// A backend of Thanos that this version does not have.
    #[error("index cache with type {0} is not supported by this version; use IN-MEMORY")]
    MissingType(String),
    /// An item type that does not exist.
    #[error("unsupported item type {0}")]
    Item(String),
    /// An item would not fit.
    #[error(
        "create IN-MEMORY index cache: max item size ({item}) cannot be bigger than overall cache size ({all})"
    )]
    Sizes {
        /// Largest item.
        item: String,
        /// Whole cache.
        all: String,
    },
}

impl CacheConfig {
    /// A cache of `bytes` with the fixed item size that goes with the flag.
    ///
    /// # Errors
    /// When it is smaller than one item may be.
    pub fn of_size(bytes: u64) -> Result<Self, CacheConfigError> {
        CacheConfig { max_size: bytes, ..CacheConfig::default() }.checked()
    }

    /// Reads the YAML.
    ///
    /// # Errors
    /// [`CacheConfigError`].
    pub fn parse(yaml: &str) -> Result<Self, CacheConfigError> {
        let bad = |text: String| CacheConfigError::Yaml(text);
        let document: Value = serde_norway::from_str(yaml).map_err(|e| bad(e.to_string()))?;
        let map = mapping(&document).ok_or_else(|| bad("a mapping is wanted".to_owned()))?;
        let known = ["type", "config", "enabled_items", "ttl"];
        if let Some(key) = map.keys().find(|k| !k.as_str().is_some_and(|k| known.contains(&k))) {
            let key = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
            return Err(bad(format!("field {key} not found in type cache.IndexCacheConfig")));
        }
        let kind = map.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        match kind.to_uppercase().as_str() {
            "IN-MEMORY" => {}
            "MEMCACHED" | "REDIS" => return Err(CacheConfigError::MissingType(kind)),
            _ => return Err(CacheConfigError::UnknownType(kind)),
        }
        let mut config = CacheConfig::default();
        let inner = map.get("config").unwrap_or(&Value::Null);
        let inner = mapping(inner).ok_or_else(|| bad("field config wants a mapping".to_owned()))?;
        for (name, field) in
            [("max_size", &mut config.max_size), ("max_item_size", &mut config.max_item_size)]
        {
            match inner.get(name) {
                None | Some(Value::Null) => {}
                Some(v) => *field = bytes(v).map_err(|e| bad(format!("field {name}: {e}")))?,
            }
        }
        if let Some(Value::Sequence(items)) = map.get("enabled_items") {
            config.enabled_items = items.iter().map(|i| i.as_str().unwrap_or_default().to_owned()).collect();
        }
        let exists = |name: &String| Item::ALL.iter().any(|i| i.name() == name);
        if let Some(unknown) = config.enabled_items.iter().find(|i| !exists(i)) {
            return Err(CacheConfigError::Item(unknown.clone()));
        }
        config.checked()
    }

    fn checked(self) -> Result<Self, CacheConfigError> {
        if self.max_item_size > self.max_size {
            let show = |n: u64| value::show_bytes(i64::try_from(n).unwrap_or(i64::MAX));
            return Err(CacheConfigError::Sizes { item: show(self.max_item_size), all: show(self.max_size) });
        }
        Ok(self)
    }

    pub(crate) fn takes(&self, item: Item) -> bool {
        self.enabled_items.is_empty() || self.enabled_items.iter().any(|i| i == item.name())
    }
}

fn mapping(value: &Value) -> Option<Mapping> {
    match value {
        Value::Null => Some(Mapping::new()),
        Value::Mapping(map) => Some(map.clone()),
        _ => None,
    }
}

/// Bytes as a number, or as text with a unit.
fn bytes(value: &Value) -> Result<u64, String> {
    match value {
        Value::Number(n) => n.as_u64().ok_or_else(|| format!("{n} is no size")),
        Value::String(s) => {
            let n = s.parse::<i64>().or_else(|_| value::bytes(s))?;
            u64::try_from(n).map_err(|_| format!("{s} is no size"))
        }
        _ => Err("a size is wanted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_types_and_refusals() {
        let config =
            CacheConfig::parse("type: in-memory\nconfig:\n  max_size: 1GB\n  max_item_size: 2MiB\nttl: 1h")
                .unwrap();
        assert_eq!((config.max_size, config.max_item_size), (1 << 30, 2 << 20));
        let config = CacheConfig::parse(
            "\"type\": \"IN-MEMORY\"\n\"config\":\n  \"max_size\": \"250MB\"\nenabled_items: [Postings]",
        )
        .unwrap();
        assert!(config.takes(Item::Postings) && !config.takes(Item::Series));
        for (yaml, want) in [
            (
                "type: MEMCACHED",
                "index cache with type MEMCACHED is not supported by this version; use IN-MEMORY",
            ),
            ("type: redis", "index cache with type redis is not supported by this version; use IN-MEMORY"),
            ("type: disk", "index cache with type disk is not supported"),
            ("type: IN-MEMORY\nenabled_items: [series]", "unsupported item type series"),
            (
                "typ: IN-MEMORY",
                "parsing config YAML file: field typ not found in type cache.IndexCacheConfig",
            ),
            (
                "type: IN-MEMORY\nconfig: {max_size: 1MB}",
                "create IN-MEMORY index cache: max item size (125MiB) cannot be bigger than overall cache size (1MiB)",
            ),
        ] {
            assert_eq!(CacheConfig::parse(yaml).unwrap_err().to_string(), want);
        }
        assert!(CacheConfig::of_size(124 << 20).is_err());
        assert_eq!(CacheConfig::of_size(125 << 20).unwrap().max_size, 125 << 20);
    }
}
