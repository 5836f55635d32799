//! The set of peers a querier or ruler asks.
//!
//! Holds the addresses, what each peer last said of itself (Info) and its health, and answers which
//! peers may hold data for a request (Thanos `pkg/query/endpointset.go`). It does not resolve names
//! and does not build channels: the caller hands down targets (`component::discovery`) and a
//! [`Connector`]. Invariant: a
//! peer that is not strict is asked for data only while its last Info call succeeded; a strict one
//! always, and the loop that updates never blocks those who read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use component::discovery::Target;
use model::{Labels, Matcher};
use parking_lot::RwLock;
use storeapi_proto::info::InfoResponse;
use tonic::{Code, Status};

use crate::external_labels::any_can_match;
use crate::store::{Store, status_text};

mod metrics;

pub use metrics::{MetricLabel, NodeMetrics};

/// What a peer offers.
#[async_trait]
pub trait Peer: Store {
    /// What the peer says of itself.
    ///
    /// # Errors
    /// Whatever the call failed with.
    async fn info(&self) -> Result<InfoResponse, Status>;
}

/// Opens peers.
pub trait Connector: Send + Sync {
    /// The peer `target`. Does not wait for the connection.
    ///
    /// # Errors
    /// A text for the log when the address or its settings cannot be used at all.
    fn connect(&self, target: &Target) -> Result<Arc<dyn Peer>, String>;
}

/// Time limits of the set.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Of one Info call (`--endpoint.info-timeout`).
    pub info: Duration,
    /// After which a peer that does not answer is forgotten (`--store.unhealthy-timeout`).
    pub unhealthy: Duration,
}

/// A peer's state as status pages show it.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointStatus {
    /// The address.
    pub name: String,
    /// When Info last succeeded, in milliseconds; 0 for never.
    pub last_check: i64,
    /// What Info last failed with; `None` when it succeeded.
    pub last_error: Option<String>,
    /// External label sets.
    pub label_sets: Vec<Labels>,
    /// Thanos' component word (`sidecar`, `store` …), empty for a peer that never spoke.
    pub component: String,
    /// Oldest data, in milliseconds.
    pub min_time: i64,
    /// Newest data, in milliseconds.
    pub max_time: i64,
}

/// One peer with the state of its last Info call. Immutable: the set replaces it.
#[derive(Clone)]
pub struct Endpoint {
    /// The address.
    pub addr: String,
    /// Whether it is asked even while unhealthy.
    pub strict: bool,
    /// The peer itself.
    pub peer: Arc<dyn Peer>,
    /// What it said last, if it ever did.
    pub info: Option<Arc<InfoResponse>>,
    /// External label sets, empty ones left out.
    pub label_sets: Arc<[Labels]>,
    created: i64,
    last_check: i64,
    last_error: Option<String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// As Thanos names a store in its error texts.
impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (min, max) = self.time_range();
        write!(f, "Addr: {} MinTime: {min} MaxTime: {max}", self.addr)
    }
}

impl Endpoint {
    fn new(spec: &Target, peer: Arc<dyn Peer>, now: i64) -> Self {
        Endpoint {
            addr: spec.name(),
            strict: spec.strict,
            peer,
            info: None,
            label_sets: Arc::from([]),
            created: now,
            last_check: 0,
            last_error: None,
        }
    }

    fn updated(mut self, info: Result<InfoResponse, String>, now: i64) -> Self {
        match info {
            Ok(info) => {
                let sets = info.label_sets.iter().map(|s| {
                    Labels::from_pairs(s.labels.iter().map(|l| (l.name.as_str(), l.value.as_str())))
                });
                self.label_sets = sets.filter(|s| !s.is_empty()).collect();
                self.info = Some(Arc::new(info));
                self.last_check = now;
                self.last_error = None;
            }
            Err(text) => self.last_error = Some(text),
        }
        self
    }

    /// Whether the peer is to be asked.
    pub fn is_queryable(&self) -> bool {
        self.strict || self.last_error.is_none()
    }

    /// Whether the peer serves series. A strict peer that never answered is assumed to.
    pub fn has_store(&self) -> bool {
        self.info.as_ref().is_none_or(|i| i.store.is_some())
    }

    /// Oldest and newest millisecond of its data; everything where it did not say.
    pub fn time_range(&self) -> (i64, i64) {
        match self.info.as_ref().and_then(|i| i.store.as_ref()) {
            Some(store) => (store.min_time, store.max_time),
            None => (i64::MIN, i64::MAX),
        }
    }

    /// Whether the peer filters by shard itself.
    pub fn supports_sharding(&self) -> bool {
        self.info.as_ref().and_then(|i| i.store.as_ref()).is_some_and(|s| s.supports_sharding)
    }

    /// Whether the peer removes replica labels and sorts accordingly.
    pub fn supports_without_replica_labels(&self) -> bool {
        self.info.as_ref().and_then(|i| i.store.as_ref()).is_some_and(|s| s.supports_without_replica_labels)
    }

    /// Thanos' component word; one for all those it does not know, and for a peer that never spoke.
    pub fn component(&self) -> &'static str {
        let word = self.info.as_ref().map_or("", |i| i.component_type.as_str());
        COMPONENTS.iter().find(|known| **known == word).copied().unwrap_or("unknown-store-api")
    }

    /// Whether the peer may hold series in `[mint, maxt]` that match.
    pub fn may_match(&self, mint: i64, maxt: i64, matchers: &[Matcher]) -> bool {
        let (min, max) = self.time_range();
        mint <= max && maxt >= min && any_can_match(matchers, &self.label_sets)
    }

    /// The state for status pages.
    pub fn status(&self) -> EndpointStatus {
        let (min_time, max_time) = self.time_range();
        EndpointStatus {
            name: self.addr.clone(),
            last_check: self.last_check,
            last_error: self.last_error.clone(),
            label_sets: self.label_sets.to_vec(),
            component: if self.info.is_some() { self.component().to_owned() } else { String::new() },
            min_time,
            max_time,
        }
    }
}

/// The component words that Thanos knows of peers.
const COMPONENTS: [&str; 6] = ["query", "rule", "sidecar", "store", "receive", "debug"];

/// What is said of a peer without the Info service.
const NO_METADATA: &str = "cannot obtain metadata: neither info nor store client found";

/// Two producers with the same external labels write into the same series and upload twice.
fn warn_of_equal_producers<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) {
    let mut producers: BTreeMap<String, usize> = BTreeMap::new();
    for e in endpoints.filter(|e| e.has_store() && matches!(e.component(), "sidecar" | "rule")) {
        let labels = label_sets_text(&e.label_sets);
        let count = producers.entry(labels).or_default();
        *count += 1;
        if *count > 1 {
            tracing::warn!(
                component = "endpointset",
                address = e.addr,
                extLset = label_sets_text(&e.label_sets),
                duplicates = %count,
                "found duplicate storeEndpoints producer (sidecar or ruler). This is not advised as it will malform data in in the same bucket"
            );
        }
    }
}

/// The label sets as one text, the way Thanos prints them in logs and metrics.
pub fn label_sets_text(sets: &[Labels]) -> String {
    let mut all: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
    all.sort();
    all.join(",")
}

/// All peers.
pub struct EndpointSet {
    connector: Box<dyn Connector>,
    timeouts: Timeouts,
    endpoints: RwLock<BTreeMap<String, Arc<Endpoint>>>,
    updating: tokio::sync::Mutex<()>,
    updated_once: tokio::sync::watch::Sender<bool>,
    metrics: NodeMetrics,
}

impl std::fmt::Debug for EndpointSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.endpoints.read().values()).finish()
    }
}

impl EndpointSet {
    /// An empty set.
    pub fn new(connector: Box<dyn Connector>, timeouts: Timeouts, metrics: NodeMetrics) -> Self {
        EndpointSet {
            connector,
            timeouts,
            endpoints: RwLock::default(),
            updating: tokio::sync::Mutex::default(),
            updated_once: tokio::sync::watch::Sender::new(false),
            metrics,
        }
    }

    /// Asks every address in `specs` for Info, adds those that answer (and strict ones), and forgets
    /// those that are not in `specs` any more or have been silent for too long. `now` is in
    /// milliseconds.
    pub async fn update(&self, specs: &[Target], now: i64) {
        let _turn = self.updating.lock().await;
        let known = self.endpoints.read().clone();
        // Of equal addresses the last spec wins, as in Thanos.
        let specs: BTreeMap<String, &Target> = specs.iter().map(|s| (s.name(), s)).collect();
        let asked = specs.iter().map(|(name, spec)| self.ask(name, spec, known.get(name), now));
        let answered = futures::future::join_all(asked).await;
        let mut next = BTreeMap::new();
        for endpoint in answered.into_iter().flatten() {
            if !known.contains_key(&endpoint.addr) {
                tracing::info!(
                    component = "endpointset",
                    address = endpoint.addr,
                    extLset = label_sets_text(&endpoint.label_sets),
                    "adding new {} with {:?}",
                    endpoint.component(),
                    apis(&endpoint),
                );
            }
            next.insert(endpoint.addr.clone(), Arc::new(endpoint));
        }
        for gone in known.values().filter(|e| !next.contains_key(&e.addr)) {
            tracing::info!(
                component = "endpointset",
                address = gone.addr,
                extLset = label_sets_text(&gone.label_sets),
                "removing endpoint because it's unhealthy or does not exist",
            );
        }
        let queryable = || next.values().filter(|e| e.is_queryable()).map(|e| &**e);
        warn_of_equal_producers(queryable());
        self.metrics.update(queryable());
        *self.endpoints.write() = next;
        self.updated_once.send_replace(true);
    }

    /// Asks one peer; `None` if it is (or becomes) no member of the set.
    async fn ask(
        &self,
        name: &str,
        spec: &Target,
        known: Option<&Arc<Endpoint>>,
        now: i64,
    ) -> Option<Endpoint> {
        let old = match known {
            Some(known) => (**known).clone(),
            None => match self.connector.connect(spec) {
                Ok(peer) => Endpoint::new(spec, peer, now),
                Err(err) => {
                    tracing::warn!(
                        component = "endpointset",
                        address = name,
                        err,
                        "new endpoint creation failed"
                    );
                    return None;
                }
            },
        };
        let info = match tokio::time::timeout(self.timeouts.info, old.peer.info()).await {
            Ok(Err(e)) if e.code() == Code::Unimplemented => Err(NO_METADATA.to_owned()),
            Ok(info) => info.map_err(|e| status_text(&e)),
            Err(_) => Err("rpc error: code = DeadlineExceeded desc = context deadline exceeded".to_owned()),
        };
        if let Err(e) = &info {
            let err = format!("getting metadata: {e}");
            tracing::warn!(component = "endpointset", address = name, err, "update of endpoint failed");
        }
        let mut next = old.updated(info, now);
        next.strict = spec.strict;
        let limit = self.timeouts.unhealthy.as_millis() as i64;
        let stay = match known {
            None => next.is_queryable(),
            Some(_) => spec.strict || now - next.created < limit || now - next.last_check < limit,
        };
        stay.then_some(next)
    }

    /// Waits until [`EndpointSet::update`] has completed once.
    pub async fn first_update(&self) {
        let mut seen = self.updated_once.subscribe();
        // The sender lives in `self`, so this ends only by the value.
        let _ = seen.wait_for(|done| *done).await;
    }

    /// The peers to ask for series, by address.
    pub fn stores(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints.read().values().filter(|e| e.is_queryable() && e.has_store()).cloned().collect()
    }

    /// All peers, healthy or not, by address.
    pub fn all(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints.read().values().cloned().collect()
    }

    /// The state of all peers, by address.
    pub fn statuses(&self) -> Vec<EndpointStatus> {
        self.endpoints.read().values().map(|e| e.status()).collect()
    }
}

/// The APIs a peer offers, in Thanos' words.
fn apis(e: &Endpoint) -> Vec<&'static str> {
    let Some(i) = &e.info else { return vec!["storeEndpoints"] };
    [
        (i.store.is_some(), "storeEndpoints"),
        (i.rules.is_some(), "rulesAPI"),
        (i.exemplars.is_some(), "exemplarsAPI"),
        (i.targets.is_some(), "targetsAPI"),
        (i.metric_metadata.is_some(), "MetricMetadataAPI"),
        (i.query.is_some(), "QueryAPI"),
    ]
    .into_iter()
    .filter_map(|(has, word)| has.then_some(word))
    .collect()
}

#[cfg(test)]
mod tests;
