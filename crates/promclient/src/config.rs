//! The YAML of `--prometheus.http-client` and the HTTP client made of it.
//!
//! Holds Thanos' HTTP client block (config-files table, section 7; upstream `pkg/clientconfig`). It
//! sends nothing. Invariant: every key of upstream's either works or is refused by name, and others are
//! named in the log and ignored, as upstream ignores them; certificates are read again when their files
//! change, passwords and tokens for each request.

use std::path::Path;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::Deserialize;

use crate::Error;

/// How to talk to Prometheus.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct HttpClientConfig {
    /// User and password.
    pub basic_auth: BasicAuth,
    /// Bearer token.
    pub bearer_token: String,
    /// File with the bearer token.
    pub bearer_token_file: String,
    /// Scheme and credentials, the newer spelling of a bearer token.
    pub authorization: Authorization,
    /// Proxy for every request; empty for none.
    pub proxy_url: String,
    /// TLS.
    pub tls_config: TlsConfig,
    /// Connections.
    pub transport_config: TransportConfig,
}

/// User and password.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct BasicAuth {
    /// User.
    pub username: String,
    /// Password.
    pub password: String,
    /// File with the password.
    pub password_file: String,
}

/// Scheme and credentials of the `Authorization` header.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Authorization {
    /// Scheme; empty for `Bearer`.
    pub r#type: String,
    /// Credentials.
    pub credentials: String,
    /// File with the credentials.
    pub credentials_file: String,
}

/// TLS towards Prometheus.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct TlsConfig {
    /// CA bundle; empty for the system's.
    pub ca_file: String,
    /// Client certificate.
    pub cert_file: String,
    /// Its key.
    pub key_file: String,
    /// Name expected in the certificate; refused unless empty.
    pub server_name: String,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
}

/// Connections; durations are integers in nanoseconds, as Thanos reads them.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct TransportConfig {
    /// Idle connections kept in all; with one host the smaller of this and the next counts.
    pub max_idle_conns: i64,
    /// Idle connections kept per host.
    pub max_idle_conns_per_host: i64,
    /// Connections per host; 0 for any number. Counts requests in flight, one per connection.
    pub max_conns_per_host: i64,
    /// How long an idle connection is kept; 0 for ever.
    pub idle_conn_timeout: i64,
    /// How long the head of an answer may take; 0 for ever.
    pub response_header_timeout: i64,
    /// How long to wait for `100 Continue`. No request of ours asks for one.
    pub expect_continue_timeout: i64,
    /// How long a TLS handshake may take; added to the next, both bound the connect.
    pub tls_handshake_timeout: i64,
    /// How long a dial may take.
    pub dialer_timeout: i64,
    /// Whether to refuse compressed answers. Ours are never asked to be compressed.
    pub disable_compression: bool,
}

impl Default for TransportConfig {
    fn default() -> Self {
        const SECOND: i64 = 1_000_000_000;
        TransportConfig {
            max_idle_conns: 100,
            max_idle_conns_per_host: 2,
            max_conns_per_host: 0,
            idle_conn_timeout: 90 * SECOND,
            response_header_timeout: 0,
            expect_continue_timeout: 10 * SECOND,
            tls_handshake_timeout: 10 * SECOND,
            dialer_timeout: 5 * SECOND,
            disable_compression: false,
        }
    }
}

impl HttpClientConfig {
    /// Reads the YAML; empty text gives the defaults.
    ///
    /// # Errors
    /// [`Error::Config`] for YAML that is none and for combinations that Thanos refuses.
    pub fn parse(yaml: &str) -> Result<Self, Error> {
        let wrong = |e| Error::Config(format!("parsing http config YAML: {e}"));
        let config: Option<HttpClientConfig> = serde_norway::from_str(yaml).map_err(wrong)?;
        let config = config.unwrap_or_default();
        let given: serde_norway::Value = serde_norway::from_str(yaml).map_err(wrong)?;
        for key in unknown_keys(&given) {
            tracing::warn!(key, "key of the http client config is not known and ignored");
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |text: &str| Err(Error::Config(format!("Improper http client config: {text}")));
        let basic = &self.basic_auth;
        let (has_basic, auth) = (*basic != BasicAuth::default(), &self.authorization);
        if !basic.password.is_empty() && !basic.password_file.is_empty() {
            return refuse("at most one of basic_auth password & password_file must be configured");
        }
        let bearers = [&self.bearer_token, &self.bearer_token_file];
        let has_bearer = bearers.iter().any(|b| !b.is_empty());
        if bearers.iter().all(|b| !b.is_empty()) {
            return refuse("at most one of bearer_token & bearer_token_file must be configured");
        }
        if !auth.credentials.is_empty() && !auth.credentials_file.is_empty() {
            return refuse("at most one of authorization credentials & credentials_file must be configured");
        }
        if auth.r#type.eq_ignore_ascii_case("basic") {
            return refuse("authorization type cannot be set to \"basic\", use \"basic_auth\" instead");
        }
        let has_auth = *auth != Authorization::default();
        if usize::from(has_basic) + usize::from(has_bearer) + usize::from(has_auth) > 1 {
            return refuse("at most one of basic_auth, bearer_token & bearer_token_file must be configured");
        }
        if !self.tls_config.server_name.is_empty() {
            return refuse("tls_config.server_name is not supported; use a URL whose host is that name");
        }
        if self.tls_config.cert_file.is_empty() != self.tls_config.key_file.is_empty() {
            return refuse("exactly one of key or cert file is configured, both are needed");
        }
        Ok(())
    }

    /// The `Authorization` header's value, files read anew.
    pub(crate) fn authorization_header(&self) -> Result<Option<Credentials>, Error> {
        let basic = &self.basic_auth;
        if *basic != BasicAuth::default() {
            let password = secret(&basic.password, &basic.password_file)?;
            return Ok(Some(Credentials::Basic(basic.username.clone(), password)));
        }
        let token = secret(&self.bearer_token, &self.bearer_token_file)?;
        if !token.is_empty() {
            return Ok(Some(Credentials::Scheme("Bearer".to_owned(), token)));
        }
        let auth = &self.authorization;
        let token = secret(&auth.credentials, &auth.credentials_file)?;
        let scheme = if auth.r#type.is_empty() { "Bearer" } else { auth.r#type.as_str() };
        Ok((!token.is_empty()).then(|| Credentials::Scheme(scheme.to_owned(), token)))
    }
}

/// The keys that are read, by section; the first section is the document.
const KEYS: [(&str, &[&str]); 5] = [
    (
        "",
        &[
            "basic_auth",
            "bearer_token",
            "bearer_token_file",
            "authorization",
            "proxy_url",
            "tls_config",
            "transport_config",
        ],
    ),
    ("basic_auth", &["username", "password", "password_file"]),
    ("authorization", &["type", "credentials", "credentials_file"]),
    ("tls_config", &["ca_file", "cert_file", "key_file", "server_name", "insecure_skip_verify"]),
    (
        "transport_config",
        &[
            "max_idle_conns",
            "max_idle_conns_per_host",
            "max_conns_per_host",
            "idle_conn_timeout",
            "response_header_timeout",
            "expect_continue_timeout",
            "tls_handshake_timeout",
            "dialer_timeout",
            "disable_compression",
        ],
    ),
];

/// Keys of a document that nobody reads, with their section.
fn unknown_keys(given: &serde_norway::Value) -> Vec<String> {
    let mut unknown = Vec::new();
    for (section, known) in KEYS {
        let map = if section.is_empty() { given.as_mapping() } else { given[section].as_mapping() };
        for key in map.into_iter().flat_map(|m| m.keys()).filter_map(|k| k.as_str()) {
            if !known.contains(&key) {
                unknown.push(if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") });
            }
        }
    }
    unknown
}

/// What goes into the `Authorization` header.
pub(crate) enum Credentials {
    /// User and password.
    Basic(String, String),
    /// Scheme and token.
    Scheme(String, String),
}

fn secret(inline: &str, file: &str) -> Result<String, Error> {
    if file.is_empty() {
        return Ok(inline.to_owned());
    }
    read(file).map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn read(file: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|e| Error::Config(format!("unable to read file {file}: {e}")))
}

type Stamp = [Option<SystemTime>; 3];

/// The connection pool, made anew when a certificate file changes.
#[derive(Debug)]
pub(crate) struct Pool {
    config: HttpClientConfig,
    user_agent: String,
    made: Mutex<(Stamp, reqwest::Client)>,
    /// Bounds requests in flight where `max_conns_per_host` asks for it.
    pub(crate) in_flight: Option<std::sync::Arc<tokio::sync::Semaphore>>,
}

impl Pool {
    pub(crate) fn new(config: HttpClientConfig, user_agent: &str) -> Result<Self, Error> {
        let made = build(&config, user_agent)?;
        let permits = usize::try_from(config.transport_config.max_conns_per_host).ok().filter(|n| *n > 0);
        let in_flight = permits.map(|n| {
            std::sync::Arc::new(tokio::sync::Semaphore::new(n.min(tokio::sync::Semaphore::MAX_PERMITS)))
        });
        let made = Mutex::new((stamp(&config.tls_config), made));
        Ok(Pool { config, user_agent: user_agent.to_owned(), made, in_flight })
    }

    pub(crate) fn config(&self) -> &HttpClientConfig {
        &self.config
    }

    pub(crate) fn client(&self) -> Result<reqwest::Client, Error> {
        let now = stamp(&self.config.tls_config);
        let mut made = self.made.lock();
        if made.0 != now {
            *made = (now, build(&self.config, &self.user_agent)?);
        }
        Ok(made.1.clone())
    }
}

fn stamp(tls: &TlsConfig) -> Stamp {
    [&tls.ca_file, &tls.cert_file, &tls.key_file]
        .map(|f| (!f.is_empty()).then(|| Path::new(f).metadata().ok()?.modified().ok()).flatten())
}

fn nanos(n: i64) -> Option<Duration> {
    u64::try_from(n).ok().filter(|n| *n > 0).map(Duration::from_nanos)
}

fn build(config: &HttpClientConfig, user_agent: &str) -> Result<reqwest::Client, Error> {
    let wrong = |what: &str, e: reqwest::Error| Error::Config(format!("{what}: {e}"));
    let (t, tls) = (&config.transport_config, &config.tls_config);
    let per_host = match (t.max_idle_conns, t.max_idle_conns_per_host) {
        // Zero means Go's defaults: no limit in all, two per host.
        (_, per) if per < 0 => 0,
        (0, 0) => 2,
        (0, per) => per,
        (all, 0) => all.min(2),
        (all, per) => all.min(per),
    };
    let mut builder = reqwest::Client::builder()
        .user_agent(user_agent)
        .pool_max_idle_per_host(usize::try_from(per_host).unwrap_or(0))
        .pool_idle_timeout(nanos(t.idle_conn_timeout))
        .no_proxy();
    if let (Some(dial), handshake) = (nanos(t.dialer_timeout), nanos(t.tls_handshake_timeout)) {
        builder = builder.connect_timeout(dial + handshake.unwrap_or_default());
    }
    if !config.proxy_url.is_empty() {
        let proxy = reqwest::Proxy::all(&config.proxy_url).map_err(|e| wrong("proxy_url", e))?;
        builder = builder.proxy(proxy);
    }
    if tls.insecure_skip_verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if !tls.ca_file.is_empty() {
        let bundle = reqwest::Certificate::from_pem_bundle(&read(&tls.ca_file)?)
            .map_err(|e| wrong(&tls.ca_file, e))?;
        builder = builder.tls_certs_only(bundle);
    }
    if !tls.cert_file.is_empty() {
        let mut pem = read(&tls.cert_file)?;
        pem.push(b'\n');
        pem.extend(read(&tls.key_file)?);
        let identity = reqwest::Identity::from_pem(&pem).map_err(|e| wrong(&tls.cert_file, e))?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|e| wrong("http client", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operator_file_and_refusals() {
        let c = HttpClientConfig::parse("tls_config:\n  insecure_skip_verify: true\n").unwrap();
        assert!(c.tls_config.insecure_skip_verify);
        assert_eq!(c.transport_config, TransportConfig::default());
        assert_eq!(HttpClientConfig::parse("").unwrap(), HttpClientConfig::default());
        for bad in [
            "transport_config: {dialer_timeout: 5s}",
            "basic_auth: {username: u, password: p, password_file: f}",
            "bearer_token: a\nbasic_auth: {username: u}",
            "bearer_token: a\nbearer_token_file: b",
            "authorization: {type: Basic, credentials: x}",
            "tls_config: {server_name: a}",
            "tls_config: {cert_file: a}",
        ] {
            assert!(matches!(HttpClientConfig::parse(bad), Err(Error::Config(_))), "{bad}");
        }
        let odd = "oauth2: {}\ntls_config: {ca: x, ca_file: ''}";
        assert_eq!(unknown_keys(&serde_norway::from_str(odd).unwrap()), ["oauth2", "tls_config.ca"]);
        HttpClientConfig::parse(odd).unwrap();
        // The operator's file must give a client that can be built.
        Pool::new(c, "test").unwrap();
    }

    #[test]
    fn secrets_are_read_for_each_request() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "one\n").unwrap();
        let c = HttpClientConfig::parse(&format!("bearer_token_file: {}", file.display())).unwrap();
        let token = |c: &HttpClientConfig| match c.authorization_header().unwrap() {
            Some(Credentials::Scheme(s, t)) => format!("{s} {t}"),
            _ => panic!("no bearer token"),
        };
        assert_eq!(token(&c), "Bearer one");
        std::fs::write(&file, "two").unwrap();
        assert_eq!(token(&c), "Bearer two");
    }
}
