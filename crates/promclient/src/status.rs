//! What Prometheus says of itself.
//!
//! Holds configuration, flags, version, oldest timestamp, block and head statistics (upstream
//! `pkg/promclient`). It keeps nothing. Invariant: an endpoint that an old Prometheus lacks is told
//! apart from one that fails.

use std::collections::BTreeMap;

use model::Labels;
use serde::Deserialize;

use crate::metrics_text::Scanner;
use crate::{Client, Error};

/// Prometheus' flags that a sidecar looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    all: BTreeMap<String, String>,
}

impl Flags {
    /// A flag's value; empty when Prometheus has no such flag.
    pub fn get(&self, name: &str) -> &str {
        self.all.get(name).map_or("", String::as_str)
    }

    /// `storage.tsdb.min-block-duration`.
    pub fn min_block_duration(&self) -> &str {
        self.get("storage.tsdb.min-block-duration")
    }

    /// `storage.tsdb.max-block-duration`.
    pub fn max_block_duration(&self) -> &str {
        self.get("storage.tsdb.max-block-duration")
    }

    /// `storage.tsdb.delay-compact-file.path`; empty when compaction does not wait for uploads.
    pub fn delay_compact_file(&self) -> &str {
        self.get("storage.tsdb.delay-compact-file.path")
    }
}

impl FromIterator<(String, String)> for Flags {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Flags { all: pairs.into_iter().collect() }
    }
}

#[derive(Deserialize)]
struct ConfigYaml {
    #[serde(default)]
    yaml: String,
}

#[derive(Default, Deserialize)]
struct PrometheusConfig {
    #[serde(default)]
    global: Option<Global>,
}

#[derive(Default, Deserialize)]
struct Global {
    #[serde(default)]
    external_labels: Option<BTreeMap<String, serde_norway::Value>>,
}

/// The external labels in a Prometheus configuration.
///
/// # Errors
/// [`Error::Malformed`] for YAML that is none, and for values that are no scalars.
pub fn external_labels(yaml: &str) -> Result<Labels, Error> {
    let wrong = |e: String| Error::malformed("parse Prometheus config", e);
    let config: Option<PrometheusConfig> = serde_norway::from_str(yaml).map_err(|e| wrong(e.to_string()))?;
    let set = config.and_then(|c| c.global).and_then(|g| g.external_labels).unwrap_or_default();
    let mut pairs = Vec::with_capacity(set.len());
    for (name, value) in set {
        let value = match value {
            serde_norway::Value::String(s) => s,
            serde_norway::Value::Bool(b) => b.to_string(),
            serde_norway::Value::Number(n) => n.to_string(),
            serde_norway::Value::Null => String::new(),
            _ => return Err(wrong(format!("external label {name:?} is not a string"))),
        };
        pairs.push((name, value));
    }
    Ok(Labels::from_pairs(pairs))
}

impl Client {
    /// The external labels of the loaded configuration.
    ///
    /// # Errors
    /// When Prometheus does not answer or answers nonsense.
    pub async fn external_labels(&self) -> Result<Labels, Error> {
        let config: Option<ConfigYaml> = self.get_data(self.url(&["api", "v1", "status", "config"])).await?;
        external_labels(&config.map(|c| c.yaml).unwrap_or_default())
    }

    /// The flags; `None` where Prometheus is too old to tell.
    ///
    /// # Errors
    /// When Prometheus does not answer or answers nonsense.
    pub async fn flags(&self) -> Result<Option<Flags>, Error> {
        match self.get_data(self.url(&["api", "v1", "status", "flags"])).await {
            Ok(all) => Ok(Some(Flags { all: all.unwrap_or_default() })),
            Err(e) if e.http_code() == Some(404) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The version; `0` where Prometheus is too old to tell.
    ///
    /// # Errors
    /// When Prometheus does not answer or answers nonsense.
    pub async fn version(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct BuildInfo {
            #[serde(default)]
            version: String,
        }
        match self.get_data::<BuildInfo>(self.url(&["api", "v1", "status", "buildinfo"])).await {
            Ok(info) => Ok(info.map(|i| i.version).unwrap_or_default()),
            Err(e) if matches!(e.http_code(), Some(404 | 405)) => Ok("0".to_owned()),
            Err(e) => Err(e),
        }
    }

    /// The oldest timestamp in milliseconds, from `prometheus_tsdb_lowest_timestamp_seconds`;
    /// `i64::MIN` while there is no block yet.
    ///
    /// # Errors
    /// When Prometheus does not answer or does not expose the metric.
    pub async fn lowest_timestamp(&self) -> Result<i64, Error> {
        const METRIC: &str = "prometheus_tsdb_lowest_timestamp_seconds";
        let url = self.url(&["metrics"]);
        let (answer, _permit) = self.send("GET", url.clone(), |r| r).await?;
        let mut answer = crate::client::success(answer).await?;
        let mut scanner = Scanner::new(METRIC);
        while let Some(piece) = answer.chunk().await.map_err(|e| Error::transport("GET", url.as_str(), e))? {
            scanner.push(&piece);
        }
        let seconds = scanner.finish().ok_or_else(|| {
            Error::malformed(url.as_str(), format!("metric families did not contain '{METRIC}'"))
        })?;
        Ok(lowest_millis(seconds))
    }

    /// Runtime information as JSON.
    ///
    /// # Errors
    /// When Prometheus does not answer or answers nonsense.
    pub async fn runtime_info(&self) -> Result<serde_json::Value, Error> {
        let url = self.url(&["api", "v1", "status", "runtimeinfo"]);
        self.get_data(url).await.map(Option::unwrap_or_default)
    }

    /// Statistics of the head as JSON, at most `limit` entries a list (0 for Prometheus' default).
    ///
    /// # Errors
    /// When Prometheus does not answer or answers nonsense.
    pub async fn tsdb_status(&self, limit: u64) -> Result<serde_json::Value, Error> {
        let mut url = self.url(&["api", "v1", "status", "tsdb"]);
        if limit > 0 {
            url.query_pairs_mut().append_pair("limit", &limit.to_string());
        }
        self.get_data(url).await.map(Option::unwrap_or_default)
    }

    /// The metas of loaded blocks as JSON; `None` where Prometheus is too old to tell.
    ///
    /// # Errors
    /// When Prometheus does not answer or answers nonsense.
    pub async fn blocks(&self) -> Result<Option<serde_json::Value>, Error> {
        match self.get_data(self.url(&["api", "v1", "status", "tsdb", "blocks"])).await {
            Err(e) if e.http_code() == Some(404) => Ok(None),
            other => other,
        }
    }

    /// Asks Prometheus to reload its configuration.
    ///
    /// # Errors
    /// When Prometheus does not answer, refuses, or cannot load it.
    pub async fn reload(&self) -> Result<(), Error> {
        let (answer, _permit) = self.send("POST", self.url(&["-", "reload"]), |r| r).await?;
        crate::client::success(answer).await.map(drop)
    }
}

fn lowest_millis(seconds: f64) -> i64 {
    let millis = seconds * 1000.0;
    // Without a block Prometheus shows i64::MAX milliseconds, rounded by the float.
    if millis >= i64::MAX as f64 { i64::MIN } else { millis as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_configuration() {
        let set = external_labels(
            "global:\n  scrape_interval: 1s\n  external_labels:\n    b: \"1\"\n    a: x\n    n: 2\nscrape_configs: []\n",
        );
        assert_eq!(set.unwrap(), Labels::from_pairs([("a", "x"), ("b", "1"), ("n", "2")]));
        assert!(external_labels("global: {}").unwrap().is_empty());
        assert!(external_labels("").unwrap().is_empty());
        assert!(external_labels("global: {external_labels: {a: [1]}}").is_err());
        assert!(external_labels("global: [").is_err());
    }

    #[test]
    fn no_block_yet_means_from_the_beginning() {
        assert_eq!(lowest_millis(9.223_372_036_854_776e15), i64::MIN);
        assert_eq!(lowest_millis(1_700_000_000.5), 1_700_000_000_500);
    }
}
