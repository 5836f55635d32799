//! Compiled matchers, kept between requests.
//!
//! Holds `--matcher-cache-size` (upstream `pkg/store/cache/matchers_cache.go`). It matches nothing.
//! Invariant: a cached matcher equals one compiled anew; errors are not cached.

use component::metrics::{self, Gauge, IntCounter, Registry};
use model::Matcher;
use parking_lot::Mutex;
use storeapi_proto::convert::{self, ConvertError};
use storeapi_proto::thanos::LabelMatcher;

/// A matcher as it came: type, name, value.
type Wire = (i32, String, String);

/// The cache; without a size it compiles every time and shows no metrics, as upstream.
#[derive(Debug)]
pub(crate) struct MatcherCache(Option<Kept>);

#[derive(Debug)]
struct Kept {
    size: usize,
    matchers: Mutex<lru::LruCache<Wire, Matcher>>,
    requests: IntCounter,
    hits: IntCounter,
    items: Gauge,
    evicted: IntCounter,
}

impl MatcherCache {
    pub(crate) fn new(size: usize, registry: &Registry) -> metrics::Result<Self> {
        if size == 0 {
            return Ok(MatcherCache(None));
        }
        let name = |n: &str| format!("thanos_matchers_cache_{n}");
        metrics::gauge(registry, &name("max_items"), "Compiled matchers that are kept at most.")?
            .set(size as f64);
        Ok(MatcherCache(Some(Kept {
            size,
            matchers: Mutex::new(lru::LruCache::unbounded()),
            requests: metrics::counter(registry, &name("requests_total"), "Matchers asked of the cache.")?,
            hits: metrics::counter(registry, &name("hits_total"), "Matchers the cache had.")?,
            items: metrics::gauge(registry, &name("items"), "Compiled matchers that are kept.")?,
            evicted: metrics::counter(registry, &name("evicted_total"), "Matchers given up for others.")?,
        })))
    }

    /// The matchers of a request, compiled.
    pub(crate) fn compile(&self, wire: &[LabelMatcher]) -> Result<Vec<Matcher>, ConvertError> {
        let Some(kept) = &self.0 else { return convert::matchers(wire) };
        wire.iter().map(|m| kept.one(m)).collect()
    }
}

impl Kept {
    fn one(&self, wire: &LabelMatcher) -> Result<Matcher, ConvertError> {
        self.requests.inc();
        let key = (wire.r#type, wire.name.clone(), wire.value.clone());
        if let Some(hit) = self.matchers.lock().get(&key) {
            self.hits.inc();
            return Ok(hit.clone());
        }
        let compiled = convert::matchers(std::slice::from_ref(wire))?;
        let [matcher] = compiled.as_slice() else { return Err(ConvertError::MatcherType(wire.r#type)) };
        let mut matchers = self.matchers.lock();
        matchers.put(key, matcher.clone());
        while matchers.len() > self.size {
            matchers.pop_lru();
            self.evicted.inc();
        }
        self.items.set(matchers.len() as f64);
        Ok(matcher.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_compiled_once_and_errors_every_time() {
        let registry = Registry::new();
        let cache = MatcherCache::new(2, &registry).unwrap();
        let wire = |value: &str| LabelMatcher { r#type: 2, name: "a".into(), value: value.into() };
        for value in ["b.*", "b.*", "c", "d", "b.*"] {
            assert!(cache.compile(&[wire(value)]).unwrap()[0].matches(&value.replace(".*", "")));
        }
        assert!(cache.compile(&[wire("(")]).is_err());
        let text = metrics::text::encode(&registry.gather());
        for line in ["requests_total 6", "hits_total 1", "items 2", "evicted_total 2", "max_items 2"] {
            assert!(text.contains(&format!("thanos_matchers_cache_{line}\n")), "{line}\n{text}");
        }
    }
}
