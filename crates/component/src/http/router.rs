//! Paths and methods to handlers.
//!
//! Patterns are `matchit`'s (`/api/v1/label/{name}/values`, `{*rest}`). It knows no endpoint.
//! Invariant: an unknown path answers Go's 404 text, a known one with a wrong method Go's 405 text and
//! `Allow`.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::{Metrics, Request, Response, body, gzip, plain_error};
use crate::log::requests::HttpLog;

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;
type Handler = Arc<dyn Fn(Request) -> Answer + Send + Sync>;

#[derive(Clone)]
struct Endpoint {
    /// The `handler` label; `None` is not counted.
    name: Option<Arc<str>>,
    handler: Handler,
}

type Methods = BTreeMap<String, Endpoint>;

/// What `{name}` in a pattern matched, unescaped, in the request's extensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathParams(Vec<(String, String)>);

/// The path parameter `name` of a routed request.
pub fn param(request: &Request, name: &str) -> Option<String> {
    let params = request.extensions().get::<PathParams>()?;
    params.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
}

/// Paths and methods to handlers. Built once, then shared.
#[derive(Default)]
pub struct Router {
    patterns: BTreeMap<String, Methods>,
    metrics: Option<Metrics>,
    log: Option<HttpLog>,
    cors: bool,
    gzip: bool,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.patterns.iter().map(|(p, m)| (p, m.keys().collect::<Vec<_>>()))).finish()
    }
}

/// Two patterns cannot both stand.
#[derive(Debug, thiserror::Error)]
#[error("route {pattern}: {reason}")]
pub struct BadRoute {
    pattern: String,
    reason: String,
}

impl Router {
    /// No routes.
    pub fn new() -> Self {
        Router::default()
    }

    /// Counts requests of named endpoints into `metrics`.
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Writes lines about requests of named endpoints; needs [`Router::with_metrics`], which sees
    /// their ends.
    pub fn with_log(mut self, log: Option<HttpLog>) -> Self {
        self.log = log;
        self
    }

    /// Adds permissive CORS headers to named endpoints and answers their OPTIONS with 204.
    pub fn with_cors(mut self, enabled: bool) -> Self {
        self.cors = enabled;
        self
    }

    /// Compresses the answers of named endpoints for clients that accept gzip.
    pub fn with_gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    /// Adds an endpoint that is counted under `name` (the `handler` label).
    pub fn on<F, A>(self, methods: &[Method], pattern: &str, name: &str, handler: F) -> Self
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        self.add(methods, pattern, Some(name.into()), handler)
    }

    /// Adds an endpoint that is not counted.
    pub fn on_uncounted<F, A>(self, methods: &[Method], pattern: &str, handler: F) -> Self
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        self.add(methods, pattern, None, handler)
    }

    fn add<F, A>(mut self, methods: &[Method], pattern: &str, name: Option<Arc<str>>, handler: F) -> Self
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        let known = self.patterns.entry(pattern.to_owned()).or_default();
        for method in methods {
            known.insert(
                method.as_str().to_owned(),
                Endpoint { name: name.clone(), handler: handler.clone() },
            );
        }
        self
    }

    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`BadRoute`] when a pattern is malformed or conflicts with another.
    pub fn build(self) -> Result<Routes, BadRoute> {
        let mut tree = matchit::Router::new();
        for (pattern, methods) in self.patterns {
            tree.insert(pattern.clone(), methods).map_err(|e| BadRoute { pattern, reason: e.to_string() })?;
        }
        Ok(Routes(Arc::new(Inner {
            tree,
            metrics: self.metrics,
            log: self.log,
            cors: self.cors,
            gzip: self.gzip,
        })))
    }
}

struct Inner {
    tree: matchit::Router<Methods>,
    metrics: Option<Metrics>,
    log: Option<HttpLog>,
    cors: bool,
    gzip: bool,
}

/// A built router. Clones share it.
#[derive(Clone)]
pub struct Routes(Arc<Inner>);

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Routes")
    }
}

impl Routes {
    /// Answers a request.
    pub async fn answer(&self, mut request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let Ok(matched) = self.0.tree.at(&path) else {
            return plain_error(StatusCode::NOT_FOUND, "404 page not found");
        };
        let methods = matched.value;
        let method = request.method().as_str();
        // A pattern that only answers OPTIONS does not make a path exist.
        if method != "OPTIONS" && methods.keys().all(|m| m == "OPTIONS") {
            return plain_error(StatusCode::NOT_FOUND, "404 page not found");
        }
        // Go's net/http answers HEAD by running the GET handler; the connection drops the body.
        let endpoint =
            methods.get(method).or_else(|| (method == "HEAD").then(|| methods.get("GET")).flatten());
        let Some(endpoint) = endpoint.cloned() else {
            let named = methods.values().any(|e| e.name.is_some());
            let mut allow: Vec<&str> = methods.keys().map(String::as_str).collect();
            allow.push("OPTIONS");
            allow.sort_unstable();
            let allow = HeaderValue::from_str(&allow.join(", "));
            let mut response = if method == "OPTIONS" {
                let mut response = Response::new(body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                if self.0.cors && named {
                    add_cors(&mut response);
                }
                response
            } else {
                plain_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
            };
            if let Ok(allow) = allow {
                response.headers_mut().insert(header::ALLOW, allow);
            }
            return response;
        };
        let params = matched.params.iter().map(|(n, v)| (n.to_owned(), percent_decode(v))).collect();
        request.extensions_mut().insert(PathParams(params));
        if endpoint.name.is_some() {
            identify(&mut request);
        }
        let counted = endpoint.name.as_deref().zip(self.0.metrics.as_ref());
        let zipped = (self.0.gzip && endpoint.name.is_some()).then(|| request.headers().clone());
        let mut response = match counted {
            Some((name, metrics)) => {
                let peer = request.extensions().get::<Peer>().map_or_else(String::new, |p| p.0.to_string());
                let log = self.0.log.as_ref().and_then(|log| log.begin(&request, name, &peer));
                metrics.observe(name, request, &*endpoint.handler, log).await
            }
            None => (endpoint.handler)(request).await,
        };
        if self.0.cors && endpoint.name.is_some() {
            add_cors(&mut response);
        }
        match zipped {
            Some(headers) => gzip::answer(&headers, response),
            None => response,
        }
    }
}

/// Who asks, in the request's extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Sees that a request has an id, in `X-Request-ID`.
fn identify(request: &mut Request) {
    let name = HeaderName::from_static("x-request-id");
    if request.headers().get(&name).is_none_or(HeaderValue::is_empty)
        && let Ok(id) = HeaderValue::from_str(&ulid::Ulid::generate().to_string())
    {
        request.headers_mut().insert(name, id);
    }
}

fn add_cors(response: &mut Response) {
    for (name, value) in [
        ("access-control-allow-headers", "Accept, Accept-Encoding, Authorization, Content-Type, Origin"),
        ("access-control-allow-methods", "GET, POST, OPTIONS"),
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", "Date"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok());
        match hex.filter(|_| bytes[at] == b'%').and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
