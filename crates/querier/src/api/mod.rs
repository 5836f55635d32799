//! The HTTP API.
//!
//! Holds the routes and what they share; each endpoint has a module. It evaluates nothing and asks no
//! store itself. Invariant: handlers do nothing that takes long on the server's own threads. Parts:
//! `params` (reading requests), `query` and `evaluate` (PromQL), `explain` (its operators), `labels` (series and labels), `syntax`
//! (parsing alone), `status`, `json` and `answer` (writing).

pub mod answer;
pub mod evaluate;
mod explain;
pub mod json;
mod labels;
pub mod params;
mod query;
mod status;
mod syntax;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;

use component::api::ErrorType;
use component::clock::SharedClock;
use component::http::{Request, Response, Router};
use http::{HeaderValue, Method, header};
use storeapi::endpoints::EndpointSet;
use tokio::runtime::Handle;

use crate::config::{Config, Tenancy};
use crate::proxy::Proxy;
use evaluate::Evaluator;
use params::Params;

/// Everything that endpoints need.
#[derive(Debug)]
pub struct Api {
    /// The flags.
    pub config: Config,
    /// Evaluates queries.
    pub evaluator: Evaluator,
    /// Answers for series and labels.
    pub proxy: Proxy,
    /// The peers.
    pub endpoints: Arc<EndpointSet>,
    /// The time.
    pub clock: SharedClock,
    /// Where requests run that wait for stores.
    pub runtime: Handle,
    /// What `/status/flags` shows.
    pub flags: Vec<(String, String)>,
    /// When the process started, in milliseconds.
    pub started: i64,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it is called.
    pub kind: ErrorType,
    /// The text.
    pub text: String,
}

impl Failure {
    /// The request is at fault.
    pub fn bad_data(text: impl Into<String>) -> Self {
        Failure { kind: ErrorType::BadData, text: text.into() }
    }

    /// The request could not be carried out.
    pub fn execution(text: impl Into<String>) -> Self {
        Failure { kind: ErrorType::Execution, text: text.into() }
    }

    /// The answer.
    pub fn into_response(self) -> Response {
        let mut response = component::api::error(self.kind, &self.text);
        no_store(&mut response);
        response
    }
}

/// Keeps caches from holding an answer that may be incomplete.
fn no_store(response: &mut Response) {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Whether a warning says that something is missing, unlike those of the engine.
fn is_incomplete(warning: &str) -> bool {
    !warning.starts_with("PromQL info") && !warning.starts_with("PromQL warning")
}

/// A finished answer.
fn success<T: serde::Serialize>(data: &T, warnings: &[String]) -> Response {
    let mut response = component::api::success(data, warnings, &[]);
    if warnings.iter().any(|w| is_incomplete(w)) {
        no_store(&mut response);
    }
    response
}

/// The tenant of a request.
///
/// # Errors
/// A name that would lead elsewhere as a path.
fn tenant(tenancy: &Tenancy, request: &Request) -> Result<String, Failure> {
    let header =
        |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty());
    let tenant = header(&tenancy.header).or_else(|| header("thanos-tenant")).unwrap_or(&tenancy.default);
    if tenant.contains('/') && tenant != "/" {
        return Err(Failure::bad_data("tenant name not valid"));
    }
    Ok(tenant.to_owned())
}

/// A request with its parameters read.
struct Asked {
    params: Params,
    tenant: Result<String, Failure>,
    /// `{name}` of the path.
    name: String,
}

const GET: &[Method] = &[Method::GET];
const GET_POST: &[Method] = &[Method::GET, Method::POST];

impl Api {
    /// Adds the endpoints to `router`.
    pub fn routes(self: &Arc<Self>, router: Router) -> Router {
        let path = |rest: &str| format!("{}/api/v1/{rest}", self.config.route_prefix);
        let router = router
            .on(GET_POST, &path("query"), "query", self.handler(query::instant))
            .on(GET_POST, &path("query_range"), "query_range", self.handler(query::range))
            .on(GET_POST, &path("query_explain"), "query", self.handler(explain::instant))
            .on(GET_POST, &path("query_range_explain"), "query", self.handler(explain::range))
            .on(GET_POST, &path("series"), "series", self.handler(labels::series))
            .on(GET_POST, &path("labels"), "label_names", self.handler(labels::names))
            .on(GET, &path("label/{name}/values"), "label_values", self.handler(labels::values))
            .on(GET_POST, &path("parse_query"), "parse_query", self.handler(syntax::parse_query))
            .on(GET_POST, &path("format_query"), "format_query", self.handler(syntax::format_query))
            .on(GET, &path("stores"), "stores", self.handler(status::stores))
            .on(GET, &path("status/flags"), "status_flags", self.handler(status::flags))
            .on(GET, &path("status/buildinfo"), "status_build", self.handler(status::build_info))
            .on(GET, &path("status/runtimeinfo"), "status_runtime", self.handler(status::runtime_info));
        let router = router.on(&[Method::OPTIONS], &path("{*path}"), "options", |_| async {
            let mut response = Response::new(component::http::body::empty());
            *response.status_mut() = http::StatusCode::NO_CONTENT;
            response
        });
        let prefix = &self.config.route_prefix;
        if prefix.is_empty() {
            return router;
        }
        // Whoever asks for the bare prefix means the pages below it.
        let target = HeaderValue::from_str(&format!("{prefix}/graph")).ok();
        let redirect = move |_: Request| {
            let mut response = Response::new(component::http::body::empty());
            *response.status_mut() = http::StatusCode::FOUND;
            if let Some(target) = &target {
                response.headers_mut().insert(header::LOCATION, target.clone());
            }
            async move { response }
        };
        router.on_uncounted(GET, "/", redirect.clone()).on_uncounted(GET, prefix, redirect)
    }

    /// A handler that runs `answer` away from the server's threads and ends it when the client goes.
    fn handler<F, A>(
        self: &Arc<Self>,
        answer: F,
    ) -> impl Fn(Request) -> std::pin::Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync + 'static
    where
        F: Fn(Arc<Api>, Asked) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Response, Failure>> + Send + 'static,
    {
        let api = self.clone();
        move |request: Request| {
            let (api, answer) = (api.clone(), answer.clone());
            Box::pin(async move {
                let tenant = tenant(&api.config.tenancy, &request);
                let name = component::http::param(&request, "name").unwrap_or_default();
                let params = match Params::of(request).await {
                    Ok(params) => params,
                    Err(e) => return e.into_response(),
                };
                let runtime = api.runtime.clone();
                let asked = Asked { params, tenant, name };
                let task = Aborted(runtime.spawn(answer(api, asked)));
                match task.await {
                    Ok(response) => response,
                    Err(failure) => failure.into_response(),
                }
            })
        }
    }
}

/// A task that ends with its waiter.
struct Aborted(tokio::task::JoinHandle<Result<Response, Failure>>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Future for Aborted {
    type Output = Result<Response, Failure>;
    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx).map(|joined| {
            joined.unwrap_or_else(|e| {
                tracing::error!(err = %e, "answering a request broke off");
                Err(Failure { kind: ErrorType::Internal, text: "answering the request broke off".to_owned() })
            })
        })
    }
}
