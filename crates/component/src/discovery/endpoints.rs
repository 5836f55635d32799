//! `--endpoint.sd-config`: the peers of a querier, with their client settings.
//!
//! Holds the document, what the endpoint flags add to it, and which settings hold for which address
//! (Thanos `cmd/thanos/endpointset.go`). It resolves no name and opens no channel. Invariant: a
//! document that does not hold together is refused as a whole, at start with an error, later with a
//! log line and the document before kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus::IntCounter;
use serde::Deserialize;

use super::provider::is_dynamic;
use crate::clock::SharedClock;
use crate::flags::PathOrContent;
use crate::flags::groups::GrpcClient;
use crate::shutdown::Shutdown;

/// Endpoints that come from flags of their own.
#[derive(Clone, Debug, Default)]
pub struct Static {
    /// `--endpoint` and its old names.
    pub endpoints: Vec<String>,
    /// `--endpoint-group`.
    pub groups: Vec<String>,
    /// `--endpoint-strict` and its old name.
    pub strict: Vec<String>,
    /// `--endpoint-group-strict`.
    pub strict_groups: Vec<String>,
}

/// Why a document was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The document cannot be had.
    #[error("unable to load config content: {0}")]
    Content(#[from] crate::flags::ContentError),
    /// The document is not what it should be.
    #[error("unable to unmarshal config content: {0}")]
    Yaml(#[from] serde_norway::Error),
    /// A strict endpoint must be one address.
    #[error(
        "{0} is a dynamically specified endpoint i.e. it uses SD and that is not permitted under strict mode."
    )]
    StrictDynamic(String),
    /// Settings of groups on something else.
    #[error("{0} service_config is only valid for endpoint groups.")]
    ServiceConfig(String),
    /// Neither `none` nor `snappy`.
    #[error("endpoint {address}: invalid compression: {word}, must be 'none' or 'snappy'")]
    Compression {
        /// The endpoint.
        address: String,
        /// What it says.
        word: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Tls {
    enabled: Option<bool>,
    insecure_skip_verify: Option<bool>,
    cert_file: Option<String>,
    key_file: Option<String>,
    ca_file: Option<String>,
    min_version: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Client {
    tls_config: Tls,
    server_name: String,
    compression: String,
}

impl Client {
    /// Whether it says nothing of TLS, so that the global settings hold, compression included.
    fn is_global(&self) -> bool {
        self.tls_config == Tls::default() && self.server_name.is_empty()
    }

    /// The settings it stands for; what it leaves open comes from `fallback`, or is Thanos' default.
    fn settings(&self, fallback: Option<&GrpcClient>) -> GrpcClient {
        let tls = &self.tls_config;
        let says_tls = tls.cert_file.is_some()
            || tls.key_file.is_some()
            || tls.ca_file.is_some()
            || tls.insecure_skip_verify.is_some();
        let text = |own: &Option<String>, of: fn(&GrpcClient) -> &String, default: &str| {
            let inherited = fallback.map(|f| of(f).clone());
            own.clone().or(inherited).unwrap_or_else(|| default.to_owned())
        };
        GrpcClient {
            secure: tls.enabled.unwrap_or(says_tls || fallback.is_some_and(|f| f.secure)),
            skip_verify: tls.insecure_skip_verify.unwrap_or(fallback.is_some_and(|f| f.skip_verify)),
            cert: text(&tls.cert_file, |f| &f.cert, ""),
            key: text(&tls.key_file, |f| &f.key, ""),
            ca: text(&tls.ca_file, |f| &f.ca, ""),
            min_version: text(&tls.min_version, |f| &f.min_version, "1.3"),
            server_name: self.server_name.clone(),
            snappy: self.compression == "snappy",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Endpoint {
    address: String,
    strict: bool,
    group: bool,
    service_config: String,
    client_config: Client,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Document {
    default_client_config: Client,
    endpoints: Vec<Endpoint>,
}

/// Endpoints of document and flags together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints(Document);

/// One peer to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `host:port`; for a group the name that stands for its members.
    pub address: String,
    /// Whether the peer is asked even while it is unhealthy.
    pub strict: bool,
    /// Set for a group, one peer of many members that share the load: its service configuration in
    /// gRPC's JSON, empty for Thanos' default.
    pub group: Option<String>,
    /// How to connect.
    pub client: Arc<GrpcClient>,
}

impl Target {
    /// A target that is no group and neither strict nor encrypted.
    pub fn plain(address: &str) -> Self {
        Target { address: address.to_owned(), strict: false, group: None, client: Arc::default() }
    }

    /// The name under which status pages and metrics show it.
    pub fn name(&self) -> String {
        match self.group {
            Some(_) => format!("thanos:///{}", self.address),
            None => self.address.clone(),
        }
    }
}

impl Endpoints {
    /// Reads a document and adds the flags' endpoints.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(yaml: &str, flags: &Static) -> Result<Self, ConfigError> {
        let mut document = if yaml.trim().is_empty() {
            Document::default()
        } else {
            serde_norway::from_str::<Option<Document>>(yaml)?.unwrap_or_default()
        };
        for (addresses, strict, group) in [
            (&flags.endpoints, false, false),
            (&flags.groups, false, true),
            (&flags.strict, true, false),
            (&flags.strict_groups, true, true),
        ] {
            document.endpoints.extend(addresses.iter().map(|address| Endpoint {
                address: address.clone(),
                strict,
                group,
                ..Endpoint::default()
            }));
        }
        for endpoint in &document.endpoints {
            let address = || endpoint.address.clone();
            if endpoint.strict && is_dynamic(&endpoint.address) {
                return Err(ConfigError::StrictDynamic(address()));
            }
            if !endpoint.group && !endpoint.service_config.is_empty() {
                return Err(ConfigError::ServiceConfig(address()));
            }
            let word = &endpoint.client_config.compression;
            if !matches!(word.as_str(), "" | "none" | "snappy") {
                return Err(ConfigError::Compression { address: address(), word: word.clone() });
            }
        }
        Ok(Endpoints(document))
    }

    /// The addresses that a [`super::Provider`] has to resolve: those with a prefix, groups apart.
    pub fn dynamic(&self) -> Vec<String> {
        let single = self.0.endpoints.iter().filter(|e| !e.group && is_dynamic(&e.address));
        single.map(|e| e.address.clone()).collect()
    }

    /// All peers: groups and plain addresses with their settings, then `resolved` (what a provider
    /// says the dynamic ones stand for) with the global settings, which `flags` give unless the
    /// document has a default of its own. Of equal names the last one stays, in the order of names;
    /// each duplicate counts in `duplicates`.
    pub fn targets(&self, resolved: &[String], flags: &GrpcClient, duplicates: &IntCounter) -> Vec<Target> {
        let default = &self.0.default_client_config;
        let global = if default.is_global() {
            Arc::new(flags.clone())
        } else {
            Arc::new(GrpcClient { snappy: flags.snappy, ..default.settings(None) })
        };
        let single = self.0.endpoints.iter().filter(|e| e.group || !is_dynamic(&e.address));
        let single = single.map(|e| Target {
            address: e.address.clone(),
            strict: e.strict,
            group: e.group.then(|| e.service_config.clone()),
            client: match e.client_config.tls_config.enabled {
                _ if e.client_config.is_global() => global.clone(),
                None => Arc::new(e.client_config.settings(Some(&global))),
                Some(_) => Arc::new(e.client_config.settings(None)),
            },
        });
        let resolved = resolved.iter().map(|address| Target {
            address: address.clone(),
            strict: false,
            group: None,
            client: global.clone(),
        });
        let mut targets = BTreeMap::new();
        for target in single.chain(resolved) {
            let name = target.name();
            if targets.insert(name.clone(), target).is_some() {
                tracing::warn!(addr = name, "Duplicate endpoint address is provided");
                duplicates.inc();
            }
        }
        targets.into_values().collect()
    }
}

/// The endpoints as the document says at present. Clones share it.
#[derive(Clone, Debug)]
pub struct Source {
    document: PathOrContent,
    flags: Static,
    /// The content last seen and the last good endpoints.
    state: Arc<RwLock<(Option<String>, Arc<Endpoints>)>>,
}

impl Source {
    /// Reads the document for the first time.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(document: PathOrContent, flags: Static) -> Result<Self, ConfigError> {
        let yaml = document.content()?;
        let endpoints = Endpoints::parse(yaml.as_deref().unwrap_or(""), &flags)?;
        Ok(Source { document, flags, state: Arc::new(RwLock::new((yaml, Arc::new(endpoints)))) })
    }

    /// The last good endpoints.
    pub fn current(&self) -> Arc<Endpoints> {
        self.state.read().1.clone()
    }

    /// Reads the document anew if it comes from a file. What is wrong is logged once a content.
    pub fn reload(&self) {
        if self.document.path().is_none() {
            return;
        }
        let yaml = match self.document.content() {
            Ok(yaml) => yaml,
            Err(err) => {
                tracing::error!(%err, "failed to reload endpoint config");
                return;
            }
        };
        if self.state.read().0 == yaml {
            return;
        }
        tracing::info!("reloading endpoint config");
        let parsed = Endpoints::parse(yaml.as_deref().unwrap_or(""), &self.flags);
        let mut state = self.state.write();
        state.0 = yaml;
        match parsed {
            Ok(endpoints) => state.1 = Arc::new(endpoints),
            Err(err) => tracing::error!(%err, "failed to reload endpoint config"),
        }
    }

    /// Reloads every `every` until shutdown; returns at once when there is no file to read.
    pub async fn run(self, every: Duration, clock: SharedClock, shutdown: Shutdown) {
        if self.document.path().is_none() {
            return;
        }
        while shutdown.or_stop(clock.sleep(every)).await.is_some() {
            self.reload();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter() -> IntCounter {
        IntCounter::new("duplicates", "x").unwrap()
    }

    fn targets(yaml: &str, flags: &GrpcClient) -> BTreeMap<String, GrpcClient> {
        let endpoints = Endpoints::parse(yaml, &Static::default()).unwrap();
        let targets = endpoints.targets(&["10.0.0.1:1".to_owned()], flags, &counter());
        targets.into_iter().map(|t| (t.name(), (*t.client).clone())).collect()
    }

    #[test]
    fn client_settings_follow_the_six_rules() {
        let flags = GrpcClient {
            secure: true,
            ca: "flag-ca".into(),
            min_version: "1.2".into(),
            snappy: true,
            ..GrpcClient::default()
        };
        let yaml = "
endpoints:
- address: global:1
  client_config: {compression: none}
- address: partial:1
  client_config: {tls_config: {cert_file: own-cert}}
- address: named:1
  client_config: {server_name: other, compression: snappy}
- address: enabled:1
  client_config: {tls_config: {enabled: true, ca_file: own-ca}}
- address: clear:1
  client_config: {tls_config: {enabled: false}}
- address: group:1
  group: true
  unknown_key: ignored
";
        let found = targets(yaml, &flags);
        assert_eq!(found["global:1"], flags);
        assert_eq!(found["thanos:///group:1"], flags);
        assert_eq!(found["10.0.0.1:1"], flags);
        let own = GrpcClient { cert: "own-cert".into(), snappy: false, ..flags.clone() };
        assert_eq!(found["partial:1"], own);
        assert_eq!(found["named:1"], GrpcClient { server_name: "other".into(), ..flags.clone() });
        let hard = GrpcClient { min_version: "1.3".into(), ..GrpcClient::default() };
        assert_eq!(found["enabled:1"], GrpcClient { secure: true, ca: "own-ca".into(), ..hard.clone() });
        assert_eq!(found["clear:1"], hard);

        // A default in the document takes the flags' place, compression apart.
        let yaml =
            "default_client_config: {server_name: d, compression: none}\nendpoints: [{address: 'a:1'}]";
        let found = targets(yaml, &flags);
        let wanted = GrpcClient { server_name: "d".into(), snappy: true, ..hard };
        assert_eq!((&found["a:1"], &found["10.0.0.1:1"]), (&wanted, &wanted));
    }

    #[test]
    fn what_does_not_hold_together_is_refused_by_name() {
        let refused = |yaml: &str, flags: Static| Endpoints::parse(yaml, &flags).unwrap_err().to_string();
        let none = Static::default;
        assert_eq!(
            refused("endpoints: [{address: dns+a:1, strict: true}]", none()),
            "dns+a:1 is a dynamically specified endpoint i.e. it uses SD and that is not permitted under strict mode."
        );
        assert_eq!(
            refused("", Static { strict_groups: vec!["dns+b:1".into()], ..none() }),
            "dns+b:1 is a dynamically specified endpoint i.e. it uses SD and that is not permitted under strict mode."
        );
        assert_eq!(
            refused("endpoints: [{address: 'a:1', service_config: '{}'}]", none()),
            "a:1 service_config is only valid for endpoint groups."
        );
        assert_eq!(
            refused("endpoints: [{address: 'a:1', client_config: {compression: zip}}]", none()),
            "endpoint a:1: invalid compression: zip, must be 'none' or 'snappy'"
        );
        assert!(refused("endpoints: 7", none()).starts_with("unable to unmarshal config content: "));
    }

    #[test]
    fn duplicates_are_counted_and_the_last_one_stays() {
        let flags = Static {
            endpoints: vec!["a:1".into(), "dns+x:1".into()],
            groups: vec!["dns+g:1".into()],
            strict: vec!["a:1".into()],
            ..Static::default()
        };
        let endpoints = Endpoints::parse("", &flags).unwrap();
        assert_eq!(endpoints.dynamic(), ["dns+x:1"]);
        let duplicates = counter();
        let targets = endpoints.targets(&["b:1".into(), "b:1".into()], &GrpcClient::default(), &duplicates);
        let shown: Vec<(String, bool)> = targets.iter().map(|t| (t.name(), t.strict)).collect();
        let wanted = [("a:1", true), ("b:1", false), ("thanos:///dns+g:1", false)];
        assert_eq!(shown, wanted.map(|(name, strict)| (name.to_owned(), strict)));
        assert_eq!(duplicates.get(), 2);
    }

    #[tokio::test]
    async fn a_file_is_read_again_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("endpoints.yaml");
        std::fs::write(&path, "endpoints: [{address: 'a:1'}]").unwrap();
        let words = [format!("--endpoint.sd-config-file={}", path.display())];
        let pair = |d: &mut crate::flags::Declare<'_>| d.path_or_content("endpoint.sd-config", "x").done();
        let specs = crate::flags::specs_of(|d| drop(pair(d)));
        let verb = crate::flags::Verb { name: "query", about: "", flags: specs };
        let parsed = crate::flags::parse(&[], &[verb], &words).unwrap();
        let document = crate::flags::read(&parsed, pair).unwrap().values;

        let source = Source::load(document, Static::default()).unwrap();
        let names = || {
            let targets = source.current().targets(&[], &GrpcClient::default(), &counter());
            targets.iter().map(Target::name).collect::<Vec<_>>()
        };
        assert_eq!(names(), ["a:1"]);
        let clock = crate::clock::ManualClock::at(0);
        let shutdown = Shutdown::new();
        let run = source.clone().run(Duration::from_secs(300), Arc::new(clock.clone()), shutdown.clone());
        let task = tokio::spawn(run);
        for (content, wanted) in [
            ("endpoints: [{address: 'b:1'}]", "b:1"),
            ("endpoints: 7", "b:1"),
            ("endpoints: [{address: 'c:1'}]", "c:1"),
        ] {
            while clock.sleepers() == 0 {
                tokio::task::yield_now().await;
            }
            std::fs::write(&path, content).unwrap();
            clock.advance(Duration::from_secs(300));
            while clock.sleepers() == 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(names(), [wanted]);
        }
        shutdown.trigger(crate::shutdown::Reason::Finished);
        task.await.unwrap();
    }
}
