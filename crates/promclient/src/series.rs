//! Series, label names and label values by matchers.
//!
//! Holds three GET endpoints with matchers in Prometheus' selector syntax. It knows no external label.
//! Invariant: label sets come sorted, whatever the order in the JSON.

use std::fmt;

use model::{Labels, Matcher};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use crate::{Client, Error};

/// A selector with all of `matchers`, as `match[]` takes it.
pub fn selector(matchers: &[Matcher]) -> String {
    let parts: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
    format!("{{{}}}", parts.join(","))
}

/// Seconds with millisecond digits, as Go prints the shortest float.
fn seconds(millis: i64) -> String {
    // The division is the one Prometheus' own client makes; the shortest digits follow from it.
    format!("{}", millis as f64 / 1000.0)
}

/// A label set out of a JSON object, without a map in between.
struct Set(Labels);

impl<'de> Deserialize<'de> for Set {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Set;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Set, A::Error> {
                let mut pairs: Vec<(String, String)> = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Set(Labels::from_pairs(pairs)))
            }
        }
        d.deserialize_map(Pairs)
    }
}

/// What a metadata request is about.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Matchers; empty for all series (labels and values only).
    pub matchers: &'a [Matcher],
    /// First millisecond.
    pub start: i64,
    /// Last millisecond.
    pub end: i64,
    /// Most entries; 0 for all.
    pub limit: i64,
}

impl Scope<'_> {
    fn apply(&self, mut url: reqwest::Url) -> reqwest::Url {
        {
            let mut query = url.query_pairs_mut();
            if !self.matchers.is_empty() {
                query.append_pair("match[]", &selector(self.matchers));
            }
            query.append_pair("start", &seconds(self.start)).append_pair("end", &seconds(self.end));
            if self.limit > 0 {
                query.append_pair("limit", &self.limit.to_string());
            }
        }
        url
    }
}

impl Client {
    /// Label sets of the series in `scope`, in Prometheus' order.
    ///
    /// # Errors
    /// When Prometheus does not answer, refuses, or answers nonsense.
    pub async fn series(&self, scope: Scope<'_>) -> Result<Vec<Labels>, Error> {
        let url = scope.apply(self.url(&["api", "v1", "series"]));
        let sets: Option<Vec<Set>> = self.get_data(url).await?;
        Ok(sets.unwrap_or_default().into_iter().map(|s| s.0).collect())
    }

    /// Label names of the series in `scope`, sorted.
    ///
    /// # Errors
    /// As [`Client::series`].
    pub async fn label_names(&self, scope: Scope<'_>) -> Result<Vec<String>, Error> {
        let url = scope.apply(self.url(&["api", "v1", "labels"]));
        self.get_data(url).await.map(Option::unwrap_or_default)
    }

    /// Values of the label `name` in `scope`, sorted.
    ///
    /// # Errors
    /// As [`Client::series`].
    pub async fn label_values(&self, name: &str, scope: Scope<'_>) -> Result<Vec<String>, Error> {
        let url = scope.apply(self.url(&["api", "v1", "label", name, "values"]));
        self.get_data(url).await.map(Option::unwrap_or_default)
    }
}

#[cfg(test)]
mod tests {
    use model::MatchType;

    use super::*;

    #[test]
    fn selectors_and_times() {
        let ms = [Matcher::equal("__name__", "up"), Matcher::new(MatchType::NotRegexp, "a", "x\"y").unwrap()];
        assert_eq!(selector(&ms), r#"{__name__="up",a!~"x\"y"}"#);
        assert_eq!(seconds(1_700_000_000_123), "1700000000.123");
        assert_eq!(seconds(-1500), "-1.5");
    }

    #[test]
    fn sets_are_sorted() {
        let sets: Vec<Set> = serde_json::from_str(r#"[{"b":"1","a":"2"}]"#).unwrap();
        assert_eq!(sets[0].0, Labels::from_pairs([("a", "2"), ("b", "1")]));
        assert!(serde_json::from_str::<Vec<Set>>(r#"[{"b":1}]"#).is_err());
    }
}
