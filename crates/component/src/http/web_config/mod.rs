//! `--http.config`: TLS, users, headers and a rate limit for every path of the HTTP port.
//!
//! Holds the file in exporter-toolkit's form and what it says at present. It routes nothing and opens
//! no connection. Invariant: the file is read anew for every connection and request, so that a change
//! counts at once; one that cannot be used lets nobody in. Parts: `auth`, `tls`.

mod auth;
mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use parking_lot::Mutex;
use rustls::ServerConfig;
use serde::Deserialize;

use super::{Response, plain_error};
use auth::Passwords;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It cannot be read.
    #[error("{0}")]
    Io(String),
    /// It is not what it should be.
    #[error("{0}")]
    Yaml(#[from] serde_norway::Error),
    /// Some of it cannot be.
    #[error("{0}")]
    Invalid(String),
    /// Its TLS part cannot be set up.
    #[error(transparent)]
    Tls(#[from] crate::tls::Error),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Document {
    tls_server_config: tls::Settings,
    http_server_config: HttpSettings,
    rate_limit: RateLimit,
    basic_auth_users: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HttpSettings {
    http2: bool,
    headers: BTreeMap<String, String>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings { http2: true, headers: BTreeMap::new() }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RateLimit {
    burst: i64,
    #[serde(deserialize_with = "nanoseconds")]
    interval: i64,
}

/// A length of time as Go's YAML has it: a duration's text, or whole nanoseconds.
fn nanoseconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Number(i64),
        Text(String),
    }
    match Form::deserialize(from)? {
        Form::Number(nanos) => Ok(nanos),
        Form::Text(text) => crate::flags::value::go_duration(&text).map_err(serde::de::Error::custom),
    }
}

/// The headers that may be set, with the values that may be.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

impl Document {
    fn parse(text: &str) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Ok(Document::default());
        }
        Ok(serde_norway::from_str::<Option<Document>>(text)?.unwrap_or_default())
    }

    fn headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.http_server_config.headers {
            let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| known == name) else {
                return Err(Error::Invalid(format!("HTTP header {name:?} can not be configured")));
            };
            if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
                return Err(Error::Invalid(format!(
                    "invalid value for {name}. Expected one of: {allowed:?}, but got: {value:?}"
                )));
            }
            let bad = |e: &dyn std::fmt::Display| Error::Invalid(format!("invalid value for {name}: {e}"));
            let value = HeaderValue::from_str(value).map_err(|e| bad(&e))?;
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(&e))?, value);
        }
        Ok(headers)
    }
}

/// What the file says at one moment.
#[derive(Clone, Debug)]
struct Current {
    text: String,
    document: Arc<Document>,
    headers: HeaderMap,
}

/// The configuration of an HTTP server.
#[derive(Debug)]
pub(super) struct WebConfig {
    path: PathBuf,
    current: Mutex<Option<Current>>,
    passwords: Passwords,
    bucket: Option<Mutex<Bucket>>,
    tls: Option<tls::Reloaded>,
}

/// Tokens for requests, as Go's `rate.Limiter` hands them out.
#[derive(Debug)]
struct Bucket {
    interval: Duration,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let gained = now.duration_since(self.at).as_secs_f64() / self.interval.as_secs_f64();
        self.tokens = (self.tokens + gained).min(self.burst);
        self.at = now;
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

impl WebConfig {
    /// Reads the file for the first time; no path is no configuration.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) fn load(path: &str) -> Result<Option<Self>, Error> {
        if path.is_empty() {
            return Ok(None);
        }
        let mut config = WebConfig {
            path: PathBuf::from(path),
            current: Mutex::new(None),
            passwords: Passwords::default(),
            bucket: None,
            tls: None,
        };
        let document = config.current()?.document;
        for hash in document.basic_auth_users.values() {
            auth::check_hash(hash).map_err(Error::Invalid)?;
        }
        let limit = document.rate_limit;
        if limit.interval != 0 {
            let interval = Duration::from_nanos(u64::try_from(limit.interval).unwrap_or(1));
            let burst = limit.burst.max(0) as f64;
            config.bucket = Some(Mutex::new(Bucket { interval, burst, tokens: burst, at: Instant::now() }));
        }
        if document.tls_server_config.is_present() {
            let reloaded = tls::Reloaded::default();
            reloaded.server(
                &document.tls_server_config,
                config.folder(),
                document.http_server_config.http2,
            )?;
            config.tls = Some(reloaded);
        }
        Ok(Some(config))
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    fn current(&self) -> Result<Current, Error> {
        let text = std::fs::read_to_string(&self.path)
            .map_err(|e| Error::Io(format!("open {}: {e}", self.path.display())))?;
        let mut current = self.current.lock();
        if let Some(current) = &*current
            && current.text == text
        {
            return Ok(current.clone());
        }
        let document = Document::parse(&text)?;
        let headers = document.headers()?;
        let fresh = Current { text, document: Arc::new(document), headers };
        *current = Some(fresh.clone());
        Ok(fresh)
    }

    /// Whether connections are TLS; decided once, at start.
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The settings of the next connection, `None` for plain text.
    ///
    /// # Errors
    /// [`Error`]; the connection must then be closed.
    pub(super) fn tls(&self) -> Result<Option<Arc<ServerConfig>>, Error> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let document = self.current()?.document;
        tls.server(&document.tls_server_config, self.folder(), document.http_server_config.http2).map(Some)
    }

    /// Whether a request may pass: the headers for its answer, or the answer that sends it away.
    pub(super) async fn admit(self: &Arc<Self>, request: &HeaderMap) -> Result<HeaderMap, Response> {
        let Current { document, headers, .. } = self.current().map_err(|err| {
            tracing::error!(service = "http/server", %err, "Unable to parse configuration");
            refused(StatusCode::INTERNAL_SERVER_ERROR)
        })?;
        if let Some(bucket) = &self.bucket
            && !bucket.lock().take(Instant::now())
        {
            return Err(refused(StatusCode::TOO_MANY_REQUESTS));
        }
        if document.basic_auth_users.is_empty() {
            return Ok(headers);
        }
        if let Some((user, password)) = auth::basic(request) {
            let this = self.clone();
            let known = tokio::task::spawn_blocking(move || {
                this.passwords.fit(&document.basic_auth_users, &user, &password)
            });
            if known.await.unwrap_or(false) {
                return Ok(headers);
            }
        }
        let mut response = refused(StatusCode::UNAUTHORIZED);
        response.headers_mut().extend(headers);
        response.headers_mut().insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        Err(response)
    }
}

fn refused(status: StatusCode) -> Response {
    plain_error(status, status.canonical_reason().unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_text(yaml: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.yml");
        std::fs::write(&path, yaml).unwrap();
        WebConfig::load(&path.display().to_string()).unwrap_err().to_string()
    }

    #[test]
    fn files_that_cannot_be_used_are_refused_at_start() {
        assert!(WebConfig::load("").unwrap().is_none());
        assert!(WebConfig::load("/nonexistent/web.yml").is_err());
        assert!(refused_text("unknown: 1").contains("unknown field"));
        assert_eq!(
            refused_text("http_server_config: {headers: {Server: x}}"),
            "HTTP header \"Server\" can not be configured"
        );
        assert_eq!(
            refused_text("http_server_config: {headers: {X-Frame-Options: x}}"),
            "invalid value for X-Frame-Options. Expected one of: [\"deny\", \"sameorigin\"], but got: \"x\""
        );
        assert!(refused_text("basic_auth_users: {a: plain}").starts_with("crypto/bcrypt: "));
        assert_eq!(refused_text("tls_server_config: {key_file: k}"), "missing one of cert or cert_file");
        assert_eq!(refused_text("tls_server_config: {cert_file: k}"), "missing one of key or key_file");
    }

    #[test]
    fn tokens_come_back_with_time_up_to_the_burst() {
        let start = Instant::now();
        let interval = Duration::from_secs(1);
        let mut bucket = Bucket { interval, burst: 2.0, tokens: 2.0, at: start };
        let at = |seconds| start + Duration::from_secs(seconds);
        let taken = [0, 0, 0, 1, 1, 60, 60, 60].map(|seconds| bucket.take(at(seconds)));
        assert_eq!(taken, [true, true, false, true, false, true, true, false]);
        let limit: RateLimit = serde_norway::from_str("{interval: 1m, burst: 3}").unwrap();
        assert_eq!((limit.interval, limit.burst), (60_000_000_000, 3));
    }
}
