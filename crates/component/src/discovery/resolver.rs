//! Questions to DNS servers.
//!
//! Holds the [`Resolve`] trait and its implementation over `hickory-resolver`. It knows no address
//! prefix. Invariant: "the name does not exist" is said only when every name of the search list was
//! answered so; a server that fails makes the lookup fail, so that callers keep what they know
//! (Thanos `pkg/discovery/dns/miekgdns`). The resolver configuration is read anew when its file has
//! changed.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::{DnsError, NetError, runtime::TokioRuntimeProvider};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Resolver, TokioResolver};
use parking_lot::Mutex;

/// Which of Thanos' two DNS clients is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Go's own: `/etc/hosts` first, IPv6 and IPv4 addresses together.
    Golang,
    /// Miek Gieben's: DNS only, IPv4 addresses only where there is no IPv6 one.
    Miekgdns,
}

impl Kind {
    /// The client that a flag's word names; an unknown one is logged and taken for `golang`.
    pub fn from_flag(word: &str) -> Self {
        match word {
            "miekgdns" => Kind::Miekgdns,
            "golang" => Kind::Golang,
            other => {
                tracing::warn!(r#type = other, "no such resolver type, defaulting to golang");
                Kind::Golang
            }
        }
    }
}

/// Why a lookup has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The servers say that the name does not exist.
    #[error("no such host {0:?}")]
    NotFound(String),
    /// It is not known whether the name exists.
    #[error("could not resolve {name:?}: {reason}")]
    Failed {
        /// The name as it was asked for.
        name: String,
        /// What servers answered, or why they did not.
        reason: String,
    },
}

/// A service record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// The host that serves.
    pub target: String,
    /// The port it serves on.
    pub port: u16,
}

/// Looks names up.
#[async_trait]
pub trait Resolve: Send + Sync + std::fmt::Debug {
    /// The addresses of `host`, of the families that the client prefers.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, LookupError>;
    /// The IPv4 addresses of `host`.
    async fn ipv4(&self, host: &str) -> Result<Vec<IpAddr>, LookupError>;
    /// The IPv6 addresses of `host`.
    async fn ipv6(&self, host: &str) -> Result<Vec<IpAddr>, LookupError>;
    /// The service records of `name`.
    async fn srv(&self, name: &str) -> Result<Vec<Srv>, LookupError>;
}

/// Where the servers are known from.
#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Fixed(Arc<Client>),
}

/// Asks the servers of the system's configuration.
#[derive(Debug)]
pub struct SystemResolver {
    kind: Kind,
    source: Source,
    /// The client made from the file's last content.
    client: Mutex<Option<(Vec<u8>, Arc<Client>)>>,
}

/// Servers, and how names are completed.
struct Client {
    resolver: TokioResolver,
    search: Vec<Name>,
    ndots: usize,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("search", &self.search).field("ndots", &self.ndots).finish()
    }
}

impl Client {
    fn new(kind: Kind, config: ResolverConfig, mut options: ResolverOpts) -> Result<Self, String> {
        // Every round asks anew, servers in the order of the file.
        options.cache_size = 0;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        options.use_hosts_file = match kind {
            Kind::Golang => ResolveHosts::Always,
            Kind::Miekgdns => ResolveHosts::Never,
        };
        let (search, ndots) = (config.search().to_vec(), options.ndots);
        let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build().map_err(|e| e.to_string())?;
        Ok(Client { resolver, search, ndots })
    }

    /// The full names that `name` may mean, in the order to try them: as resolv.conf(5) has it.
    fn candidates(&self, name: &str) -> Result<Vec<Name>, String> {
        let mut own = Name::from_utf8(name).map_err(|e| e.to_string())?;
        if name.ends_with('.') {
            return Ok(vec![own]);
        }
        let first = name.matches('.').count() >= self.ndots;
        // A completed name that grows too long is no name to try.
        let mut names: Vec<Name> =
            self.search.iter().filter_map(|domain| own.clone().append_domain(domain).ok()).collect();
        own.set_fqdn(true);
        names.insert(if first { 0 } else { names.len() }, own);
        Ok(names)
    }

    async fn records(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, LookupError> {
        let failed = |reason| LookupError::Failed { name: name.to_owned(), reason };
        let mut reasons = Vec::new();
        for candidate in self.candidates(name).map_err(failed)? {
            match self.resolver.lookup(candidate, kind).await {
                Ok(found) => {
                    let data = found.answers().iter().filter(|r| r.record_type() == kind);
                    return Ok(data.map(|r| r.data.clone()).collect());
                }
                Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
                    // The name exists, without such records: that is an answer.
                    ResponseCode::NoError => return Ok(Vec::new()),
                    ResponseCode::NXDomain => {}
                    code => reasons.push(format!("server answered {code}")),
                },
                Err(e) => reasons.push(e.to_string()),
            }
        }
        if reasons.is_empty() {
            return Err(LookupError::NotFound(name.to_owned()));
        }
        Err(failed(reasons.join("; ")))
    }

    async fn ips(&self, host: &str, kind: RecordType) -> Result<Vec<IpAddr>, LookupError> {
        let records = self.records(host, kind).await?;
        let ip = |data| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(a) => Some(IpAddr::V6(a.0)),
            _ => None,
        };
        Ok(records.into_iter().filter_map(ip).collect())
    }
}

impl SystemResolver {
    /// Asks the servers of `/etc/resolv.conf`.
    pub fn new(kind: Kind) -> Self {
        Self::from_file(kind, "/etc/resolv.conf")
    }

    /// Asks the servers of a file in resolv.conf(5)'s form.
    pub fn from_file(kind: Kind, path: impl Into<PathBuf>) -> Self {
        SystemResolver { kind, source: Source::File(path.into()), client: Mutex::new(None) }
    }

    /// Asks one server, without any search list.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn from_server(kind: Kind, server: SocketAddr) -> Result<Self, String> {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        let server = NameServerConfig::new(server.ip(), true, connections.into());
        Self::from_config(kind, ResolverConfig::from_name_servers(vec![server]), ResolverOpts::default())
    }

    pub(super) fn from_config(
        kind: Kind,
        config: ResolverConfig,
        options: ResolverOpts,
    ) -> Result<Self, String> {
        let client = Arc::new(Client::new(kind, config, options)?);
        Ok(SystemResolver { kind, source: Source::Fixed(client), client: Mutex::new(None) })
    }

    fn client(&self, name: &str) -> Result<Arc<Client>, LookupError> {
        let path = match &self.source {
            Source::Fixed(client) => return Ok(client.clone()),
            Source::File(path) => path,
        };
        let failed = |reason: String| LookupError::Failed {
            name: name.to_owned(),
            reason: format!("could not load {}: {reason}", path.display()),
        };
        let text = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
        let mut client = self.client.lock();
        if let Some((known, client)) = &*client
            && *known == text
        {
            return Ok(client.clone());
        }
        let (config, options) = parse_resolv_conf(&text).map_err(|e| failed(e.to_string()))?;
        let fresh = Arc::new(Client::new(self.kind, config, options).map_err(failed)?);
        *client = Some((text, fresh.clone()));
        Ok(fresh)
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let client = self.client(host)?;
        match self.kind {
            Kind::Miekgdns => match client.ips(host, RecordType::AAAA).await {
                Ok(found) if !found.is_empty() => Ok(found),
                _ => client.ips(host, RecordType::A).await,
            },
            Kind::Golang => {
                let (six, four) =
                    tokio::join!(client.ips(host, RecordType::AAAA), client.ips(host, RecordType::A));
                match (six, four) {
                    (Ok(six), Ok(four)) => Ok(four.into_iter().chain(six).collect()),
                    (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => Ok(found),
                    // A failure says more than "not found" of the other family.
                    (Err(e @ LookupError::Failed { .. }), _) | (_, Err(e)) | (Err(e), _) => Err(e),
                }
            }
        }
    }

    async fn ipv4(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(if ip.is_ipv4() { vec![ip] } else { Vec::new() }),
            Err(_) => self.client(host)?.ips(host, RecordType::A).await,
        }
    }

    async fn ipv6(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(if ip.is_ipv6() { vec![ip] } else { Vec::new() }),
            Err(_) => self.client(host)?.ips(host, RecordType::AAAA).await,
        }
    }

    async fn srv(&self, name: &str) -> Result<Vec<Srv>, LookupError> {
        let records = self.client(name)?.records(name, RecordType::SRV).await?;
        let srv = |data| match data {
            RData::SRV(s) => Some(Srv { target: s.target.to_utf8(), port: s.port }),
            _ => None,
        };
        Ok(records.into_iter().filter_map(srv).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::dns::Server;

    /// A resolver that asks `server` with this search list.
    fn searching(server: &Server, lines: &str) -> SystemResolver {
        let (config, options) = parse_resolv_conf(format!("nameserver 127.0.0.1\n{lines}\n")).unwrap();
        let (domain, search, servers) = config.into_parts();
        let servers = servers.into_iter().map(|mut known| {
            known.connections.iter_mut().for_each(|c| c.port = server.address().port());
            known
        });
        let config = ResolverConfig::from_parts(domain, search, servers.collect());
        SystemResolver::from_config(Kind::Miekgdns, config, options).unwrap()
    }

    #[tokio::test]
    async fn the_search_list_completes_names_and_one_failure_leaves_the_name_unknown() {
        let server = Server::start().await;
        server.addresses("store.ns.svc.local", &["10.0.0.1"]);
        let resolver = searching(&server, "search svc.local ns.svc.local\noptions ndots:5");
        assert_eq!(resolver.ipv4("store").await, Ok(vec!["10.0.0.1".parse().unwrap()]));
        assert_eq!(server.asked(), ["store.svc.local", "store.ns.svc.local"]);

        assert_eq!(resolver.ipv4("nobody").await, Err(LookupError::NotFound("nobody".to_owned())));
        server.fail("nobody.svc.local", true);
        let Err(LookupError::Failed { name, reason }) = resolver.ipv4("nobody").await else {
            panic!("a failing server is no answer");
        };
        assert_eq!(name, "nobody");
        assert!(reason.to_ascii_lowercase().contains("server failure"), "{reason}");
    }

    #[tokio::test]
    async fn rooted_names_and_names_with_enough_dots_are_asked_for_as_they_are_first() {
        let server = Server::start().await;
        let resolver = searching(&server, "search local\noptions ndots:1");
        assert!(resolver.ipv4("a.b.").await.is_err());
        assert!(resolver.ipv4("a.b").await.is_err());
        assert_eq!(server.asked(), ["a.b", "a.b", "a.b.local"]);
    }

    #[tokio::test]
    async fn a_missing_configuration_is_an_error_that_names_the_file() {
        let resolver = SystemResolver::from_file(Kind::Golang, "/nonexistent/resolv.conf");
        let err = resolver.srv("x").await.unwrap_err().to_string();
        assert!(
            err.starts_with("could not resolve \"x\": could not load /nonexistent/resolv.conf: "),
            "{err}"
        );
    }
}
