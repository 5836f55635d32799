//! What configured addresses stand for at present.
//!
//! Splits prefix, name and port, asks a [`Resolve`] and remembers each address' last good answer
//! (Thanos `pkg/discovery/dns`). It speaks no DNS itself. Invariant: an answer replaces the one
//! before only when the lookup succeeded, and addresses no longer configured are forgotten only by a
//! round without failures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use parking_lot::RwLock;
use prometheus::{GaugeVec, IntCounter, Registry};

use super::resolver::{Kind, LookupError, Resolve, SystemResolver};
use crate::metrics;

/// Lookups in flight at once in one round.
const CONCURRENCY: usize = 16;

/// The prefix of an address and what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Query {
    Addresses,
    Srv,
    SrvNoAddresses,
    DualStack,
}

impl Query {
    fn from_prefix(prefix: &str) -> Option<Self> {
        Some(match prefix {
            "dns" => Query::Addresses,
            "dnssrv" => Query::Srv,
            "dnssrvnoa" => Query::SrvNoAddresses,
            "dnsdualstack" => Query::DualStack,
            _ => return None,
        })
    }
}

/// Whether `address` has a prefix, that is, stands for others; a `+` is enough, as in Thanos.
pub fn is_dynamic(address: &str) -> bool {
    address.split_once('+').is_some_and(|(prefix, _)| !prefix.is_empty())
}

/// Why lookups of one round failed, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveErrors(Vec<String>);

impl ResolveErrors {
    /// One message a failed address.
    pub fn messages(&self) -> &[String] {
        &self.0
    }
}

impl std::fmt::Display for ResolveErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.len() > 1 {
            write!(f, "{} errors: ", self.0.len())?;
        }
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for ResolveErrors {}

#[derive(Debug)]
struct Metrics {
    results: GaugeVec,
    lookups: IntCounter,
    failures: IntCounter,
}

impl Metrics {
    fn new(registry: &Registry, prefix: &str) -> prometheus::Result<Self> {
        Ok(Metrics {
            results: metrics::gauges(
                registry,
                &format!("{prefix}_dns_provider_results"),
                "How many addresses each configured address stands for.",
                &["addr"],
            )?,
            lookups: metrics::counter(
                registry,
                &format!("{prefix}_dns_lookups_total"),
                "How often a name was looked up.",
            )?,
            failures: metrics::counter(
                registry,
                &format!("{prefix}_dns_failures_total"),
                "How often looking up a name failed.",
            )?,
        })
    }

    /// Shows `now`; series of addresses that are only in `before` go.
    fn show(&self, before: &BTreeSet<String>, now: &BTreeMap<String, Vec<String>>) {
        for (address, found) in now {
            self.results.with_label_values(&[address]).set(found.len() as f64);
        }
        for gone in before.iter().filter(|a| !now.contains_key(*a)) {
            // It is there unless somebody else took it, and then it is gone as well.
            let _ = self.results.remove_label_values(&[gone]);
        }
    }
}

/// Remembers what configured addresses stand for. Clones share it.
#[derive(Clone, Debug)]
pub struct Provider(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    resolver: Box<dyn Resolve>,
    resolved: RwLock<BTreeMap<String, Vec<String>>>,
    metrics: Metrics,
}

impl Provider {
    /// A provider that knows nothing yet and reads the system's resolver configuration.
    ///
    /// `prefix` names its metrics: `<prefix>_dns_lookups_total`, `<prefix>_dns_failures_total`,
    /// `<prefix>_dns_provider_results{addr}`.
    ///
    /// # Errors
    /// When the registry has one of them.
    pub fn new(registry: &Registry, prefix: &str, kind: Kind) -> prometheus::Result<Self> {
        Self::with_resolver(registry, prefix, Box::new(SystemResolver::new(kind)))
    }

    /// As [`Provider::new`], asking `resolver`.
    ///
    /// # Errors
    /// As [`Provider::new`].
    pub fn with_resolver(
        registry: &Registry,
        prefix: &str,
        resolver: Box<dyn Resolve>,
    ) -> prometheus::Result<Self> {
        let metrics = Metrics::new(registry, prefix)?;
        Ok(Provider(Arc::new(Inner { resolver, resolved: RwLock::default(), metrics })))
    }

    /// Looks all of `configured` up and takes it for the whole configuration: others are forgotten,
    /// unless a lookup failed. A name that has no answer within `limit` counts as failed.
    ///
    /// # Errors
    /// What failed; everything else is updated nevertheless.
    pub async fn resolve(&self, configured: &[String], limit: Duration) -> Result<(), ResolveErrors> {
        self.update(configured, limit, true).await
    }

    /// As [`Provider::resolve`] for addresses that join those known before.
    ///
    /// # Errors
    /// As [`Provider::resolve`].
    pub async fn resolve_more(&self, configured: &[String], limit: Duration) -> Result<(), ResolveErrors> {
        self.update(configured, limit, false).await
    }

    async fn update(
        &self,
        configured: &[String],
        limit: Duration,
        forget: bool,
    ) -> Result<(), ResolveErrors> {
        let lookups = configured.iter().cloned().map(|address| {
            let provider = self.clone();
            async move {
                let found = provider.ask(&address, limit).await;
                (address, found)
            }
        });
        let answered: Vec<_> = futures::stream::iter(lookups).buffered(CONCURRENCY).collect().await;

        let mut errors = Vec::new();
        let mut fresh = BTreeMap::new();
        for (address, found) in answered {
            match found {
                Ok(found) => drop(fresh.insert(address, found)),
                Err(message) => errors.push(message),
            }
        }
        let mut resolved = self.0.resolved.write();
        let before: BTreeSet<String> = resolved.keys().cloned().collect();
        if forget && errors.is_empty() {
            resolved.clear();
        }
        resolved.append(&mut fresh);
        self.0.metrics.show(&before, &resolved);
        if errors.is_empty() { Ok(()) } else { Err(ResolveErrors(errors)) }
    }

    async fn ask(&self, address: &str, limit: Duration) -> Result<Vec<String>, String> {
        let Some((prefix, name)) = address.split_once('+').filter(|_| is_dynamic(address)) else {
            return Ok(vec![address.to_owned()]);
        };
        self.0.metrics.lookups.inc();
        let found = tokio::time::timeout(limit, self.look_up(prefix, name)).await;
        let found = found.unwrap_or_else(|_| Err(format!("lookup of {name:?}: context deadline exceeded")));
        if found.is_err() {
            self.0.metrics.failures.inc();
        }
        found
    }

    /// Everything known, in the order of the configured addresses; one that two of them stand for
    /// comes twice.
    pub fn addresses(&self) -> Vec<String> {
        self.0.resolved.read().values().flatten().cloned().collect()
    }

    /// What one configured address stands for.
    pub fn addresses_of(&self, configured: &str) -> Vec<String> {
        self.0.resolved.read().get(configured).cloned().unwrap_or_default()
    }

    async fn look_up(&self, prefix: &str, name: &str) -> Result<Vec<String>, String> {
        let query = Query::from_prefix(prefix).ok_or_else(|| format!("invalid lookup scheme {prefix:?}"))?;
        let (scheme, name) = match name.split_once("//") {
            Some((scheme, rest)) => (format!("{scheme}//"), rest.split("//").next().unwrap_or("")),
            None => (String::new(), name),
        };
        let (host, port) = split_host_port(name);
        let missing = |word| format!("missing port in address given for {word} lookup: {name}");
        let resolver = &self.0.resolver;
        let with_port = |ip: std::net::IpAddr, port: &str| format!("{scheme}{}", join(&ip.to_string(), port));
        let mut found = Vec::new();
        match query {
            Query::Addresses => {
                let port = port.ok_or_else(|| missing("dns"))?;
                let ips = known(resolver.addresses(host).await, host, "lookup IP addresses", host)?;
                found.extend(ips.into_iter().map(|ip| with_port(ip, port)));
            }
            Query::DualStack => {
                let port = port.ok_or_else(|| missing("dnsdualstack"))?;
                let (six, four) = (resolver.ipv6(host).await, resolver.ipv4(host).await);
                let mut failed = Vec::new();
                let mut ips = Vec::new();
                for answer in [six, four] {
                    match answer {
                        Ok(more) => ips.extend(more),
                        Err(LookupError::NotFound(_)) => {}
                        Err(e) => failed.push(e.to_string()),
                    }
                }
                if ips.is_empty() && !failed.is_empty() {
                    let failed = ResolveErrors(failed);
                    return Err(format!("lookup IP addresses (dual-stack) {host:?}: {failed}"));
                }
                found.extend(ips.into_iter().map(|ip| with_port(ip, port)));
            }
            Query::Srv | Query::SrvNoAddresses => {
                let records = known(resolver.srv(host).await, host, "lookup SRV records", host)?;
                for record in records {
                    let port = port.map_or_else(|| record.port.to_string(), str::to_owned);
                    if query == Query::SrvNoAddresses {
                        let target = record.target.trim_end_matches('.');
                        found.push(format!("{scheme}{}", join(target, &port)));
                        continue;
                    }
                    let ips = resolver.addresses(&record.target).await;
                    let ips = known(ips, host, "lookup IP addresses", &record.target)?;
                    found.extend(ips.into_iter().map(|ip| with_port(ip, &port)));
                }
            }
        }
        if found.is_empty() {
            tracing::warn!(host, "IP address lookup yielded no results. No host found or no addresses found");
        }
        Ok(found)
    }
}

/// A name that does not exist stands for nothing, which is an answer; only other failures are errors.
fn known<T>(
    answer: Result<Vec<T>, LookupError>,
    configured: &str,
    doing: &str,
    asked: &str,
) -> Result<Vec<T>, String> {
    match answer {
        Ok(found) => Ok(found),
        Err(err @ LookupError::NotFound(_)) => {
            tracing::error!(host = asked, %err, "failed to {doing}");
            Ok(Vec::new())
        }
        Err(err) => Err(format!("{doing} {configured:?}: {err}")),
    }
}

/// As Go's `net.SplitHostPort` where that succeeds with a port; else all is the host.
fn split_host_port(name: &str) -> (&str, Option<&str>) {
    let Some((host, port)) = name.rsplit_once(':') else { return (name, None) };
    let host = match host.strip_prefix('[').map(|h| h.strip_suffix(']')) {
        Some(Some(inner)) => inner,
        Some(None) => return (name, None),
        None if host.contains(':') => return (name, None),
        None => host,
    };
    (host, Some(port).filter(|p| !p.is_empty()))
}

/// As Go's `net.JoinHostPort`.
fn join(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
