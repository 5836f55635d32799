//! Thanos' bucket configuration: `type`, `config`, `prefix`, in YAML.
//!
//! Holds the outer document and the choice of provider. Invariant:
//! every key either has an effect or is refused by name. Facts: upstream `client/factory.go`.

#[cfg_attr(not(feature = "s3"), expect(dead_code, reason = "providers behind features read more kinds"))]
pub(crate) mod values;

use std::sync::Arc;

use serde_norway::Value;

use crate::filesystem::Filesystem;
use crate::instrumented::{Instrumented, Metrics};
#[cfg(feature = "s3")]
use crate::retry::Retrying;
use crate::traced::Traced;
use crate::{SharedBucket, prefixed::prefixed};
use values::{Section, text};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The outer document is not what it should be.
    #[error("parsing config YAML file: {0}")]
    Yaml(String),
    /// No such provider.
    #[error("bucket with type {0} is not supported")]
    UnknownType(String),
    /// A provider of Thanos that this build does not have.
    #[error("bucket with type {0} is not supported by this build")]
    MissingProvider(String),
    /// The provider refuses its part.
    #[error("create {kind} client: {text}")]
    Provider {
        /// The type, as written.
        kind: String,
        /// What is wrong.
        text: String,
    },
    /// The bucket's metrics are registered already.
    #[error("register bucket metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// A parsed outer document.
#[derive(Clone, PartialEq)]
pub struct BucketConfig {
    /// The provider's type, as written.
    pub kind: String,
    /// The provider's part; null when absent.
    pub config: Value,
    /// Prepended to every key.
    pub prefix: String,
}

/// Without the provider's part, which holds secrets.
impl std::fmt::Debug for BucketConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketConfig")
            .field("kind", &self.kind)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Reads the outer document strictly; only the first YAML document counts.
///
/// # Errors
/// When it is no mapping of the three known keys.
pub fn parse(yaml: &str) -> Result<BucketConfig, ConfigError> {
    use serde::Deserialize as _;
    let bad = |e: &dyn std::fmt::Display| ConfigError::Yaml(e.to_string());
    let mut out = BucketConfig { kind: String::new(), config: Value::Null, prefix: String::new() };
    let Some(document) = serde_norway::Deserializer::from_str(yaml).next() else { return Ok(out) };
    let mut value = Value::deserialize(document).map_err(|e| bad(&e))?;
    value.apply_merge().map_err(|e| bad(&e))?;
    let map = match value {
        Value::Null => return Ok(out),
        Value::Mapping(map) => map,
        _ => return Err(bad(&"yaml: unmarshal errors:\n  cannot unmarshal into client.BucketConfig")),
    };
    let mut unknown = Vec::new();
    for (key, value) in map {
        match key.as_str() {
            Some("type") => out.kind = text("type", &value).map_err(|e| bad(&e))?,
            Some("prefix") => out.prefix = text("prefix", &value).map_err(|e| bad(&e))?,
            Some("config") => out.config = value,
            _ => {
                let key = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
                let line = yaml.lines().position(|l| l.starts_with(&key)).map_or(1, |n| n + 1);
                unknown.push(format!("  line {line}: field {key} not found in type client.BucketConfig"));
            }
        }
    }
    if unknown.is_empty() {
        Ok(out)
    } else {
        Err(bad(&format!("yaml: unmarshal errors:\n{}", unknown.join("\n"))))
    }
}

/// A provider whose part has been read.
enum Provider {
    Filesystem {
        /// Where objects are kept.
        directory: String,
    },
    #[cfg(feature = "s3")]
    S3(Box<crate::s3::config::Config>),
}

fn provider(config: &BucketConfig) -> Result<Provider, ConfigError> {
    let kind = || config.kind.clone();
    let refuse = |text: String| ConfigError::Provider { kind: kind(), text };
    match config.kind.to_uppercase().as_str() {
        "FILESYSTEM" => {
            let mut section = Section::new(&config.config, "filesystem.Config").map_err(refuse)?;
            let mut directory = String::new();
            section.read("directory", &mut directory, text).map_err(refuse)?;
            if directory.is_empty() {
                return Err(refuse("missing directory for filesystem bucket".into()));
            }
            Ok(Provider::Filesystem { directory })
        }
        #[cfg(feature = "s3")]
        "S3" => crate::s3::config::Config::parse(&config.config)
            .map(|s3| Provider::S3(Box::new(s3)))
            .map_err(refuse),
        #[cfg(not(feature = "s3"))]
        "S3" => Err(ConfigError::MissingProvider(kind())),
        "GCS" | "AZURE" | "SWIFT" | "COS" | "ALIYUNOSS" | "BOS" | "OCI" | "OBS" => {
            Err(ConfigError::MissingProvider(kind()))
        }
        _ => Err(ConfigError::UnknownType(kind())),
    }
}

/// Reads a configuration to the end without opening anything.
///
/// # Errors
/// When the text or the provider's part cannot be used.
pub fn validate(yaml: &str) -> Result<(), ConfigError> {
    provider(&parse(yaml)?).map(drop)
}

/// The configured bucket, traced and instrumented on `registry`; `component` goes into the user agent.
///
/// # Errors
/// When the text, the provider's part or the registry does not allow it.
pub fn build(
    yaml: &str,
    component: &str,
    registry: &prometheus::Registry,
) -> Result<SharedBucket, ConfigError> {
    let config = parse(yaml)?;
    let refuse = |text: String| ConfigError::Provider { kind: config.kind.clone(), text };
    let bucket: SharedBucket = match provider(&config)? {
        Provider::Filesystem { directory } => {
            Arc::new(Filesystem::new(&directory).map_err(|e| refuse(e.to_string()))?)
        }
        #[cfg(feature = "s3")]
        Provider::S3(section) => {
            let env = |name: &str| std::env::var(name).ok();
            let s3 = crate::s3::S3::new(*section, component, &env).map_err(refuse)?;
            let policy = s3.policy();
            Arc::new(Retrying::new(Arc::new(s3), policy))
        }
    };
    tracing::debug!(component, provider = bucket.provider(), bucket = bucket.name(), "bucket configured");
    let metrics = Metrics::new(registry, bucket.name())?;
    let counted = Instrumented::new(prefixed(bucket, &config.prefix), metrics);
    Ok(Arc::new(Traced::new(Arc::new(counted))))
}

#[cfg(test)]
mod tests;
