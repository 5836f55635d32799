//! The listener: accepts, serves, drains.
//!
//! One thread pool of its own per server; HTTP/1.1 and HTTP/2, with TLS and users where
//! `--http.config` says so (`web_config`). It adds
//! `/metrics` and the probes to a service's routes. Invariant: after `stop` no new connection is
//! accepted, and requests in flight get the grace period to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use prometheus::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::router::{Peer, Routes};
use super::web_config::WebConfig;
use super::{Request, Response, Router, body, exposition, plain_error};
use crate::flags::groups::Http;
use crate::net;
use crate::probe::Probe;

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Threads that accept and serve; handlers hand heavy work to a pool.
const THREADS: usize = 2;

/// A server to be started.
#[derive(Debug)]
pub struct Server {
    component: &'static str,
    flags: Http,
    routes: Routes,
    registry: Registry,
    probe: Probe,
}

/// A server that accepts.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    component: &'static str,
    grace: Duration,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// A server for `router`'s paths, `/metrics` of `registry`, and `probe`.
    ///
    /// # Errors
    /// When a route is malformed.
    pub fn new(
        component: &'static str,
        flags: &Http,
        router: Router,
        registry: &Registry,
        probe: &Probe,
    ) -> anyhow::Result<Self> {
        let healthy = probe.clone();
        let ready = probe.clone();
        let scraped = registry.clone();
        let any = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];
        let router = router
            .on_uncounted(&any, "/-/healthy", move |_| {
                let passes = healthy.status().healthy;
                async move { probe_answer(passes) }
            })
            .on_uncounted(&any, "/-/ready", move |_| {
                let passes = ready.status().ready;
                async move { probe_answer(passes) }
            })
            .on_uncounted(&any, "/metrics", move |request: Request| {
                let answer = exposition::answer(&scraped, request.headers());
                async move { answer }
            });
        let routes = router.build()?;
        Ok(Server {
            component,
            flags: flags.clone(),
            routes,
            registry: registry.clone(),
            probe: probe.clone(),
        })
    }

    /// Binds and accepts on a thread of its own; says that the process is healthy.
    ///
    /// # Errors
    /// When the address cannot be bound or the web configuration is wrong.
    pub fn start(self) -> anyhow::Result<Running> {
        let address = &self.flags.address;
        let config = WebConfig::load(&self.flags.config)?.map(Arc::new);
        tracing::info!(
            service = "http/server",
            component = self.component,
            address = %address,
            "listening for requests and metrics"
        );
        let listener =
            net::bind(address).map_err(|e| anyhow::anyhow!("listen HTTP on address {address}: {e}"))?;
        let bound = listener.local_addr()?;
        let word = if config.as_ref().is_some_and(|c| c.is_tls()) { "enabled" } else { "disabled" };
        tracing::info!(service = "http/server", component = self.component, address = %bound, "TLS is {word}.");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("http")
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let grace = self.flags.grace_period;
        let (routes, stopped) = (self.routes, stop.clone());
        let thread = std::thread::Builder::new().name("http-server".to_owned()).spawn(move || {
            runtime.block_on(serve(listener, routes, config, stopped, grace));
            // Connections that outlast the grace period are cut here.
            runtime.shutdown_background();
        })?;
        self.probe.healthy();
        drop(self.registry);
        Ok(Running { address: bound, component: self.component, grace, stop, thread: Some(thread) })
    }
}

impl Running {
    /// Where it listens, with the port the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting and waits for requests in flight, at most for the grace period.
    pub async fn stop(mut self) {
        let (service, component) = ("http/server", self.component);
        tracing::info!(service, component, "internal server is shutting down");
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let ended = tokio::task::spawn_blocking(move || thread.join());
            // The thread ends by itself within the grace period.
            let _ = tokio::time::timeout(self.grace + Duration::from_secs(5), ended).await;
        }
        tracing::info!(service, component, "internal server is shutdown gracefully");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn probe_answer(passes: bool) -> Response {
    if passes {
        let mut response = Response::new(body::full("OK"));
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    } else {
        plain_error(StatusCode::SERVICE_UNAVAILABLE, "NOT OK")
    }
}

async fn serve(
    listener: std::net::TcpListener,
    routes: Routes,
    config: Option<Arc<WebConfig>>,
    stop: CancellationToken,
    grace: Duration,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(e) => {
            tracing::error!(service = "http/server", err = %e, "listener cannot be used");
            return;
        }
    };
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    server.http2().timer(TokioTimer::new());
    let server = Arc::new(server);
    let graceful = GracefulShutdown::new();
    while let Some(stream) = net::accept(&listener, &stop).await {
        let Ok(peer) = stream.peer_addr() else { continue };
        let handling = Handling { server: server.clone(), routes: routes.clone(), config: config.clone() };
        if handling.config.as_ref().is_some_and(|c| c.is_tls()) {
            // Until the handshake is over there is no request to wait for.
            let watcher = graceful.watcher();
            tokio::spawn(async move {
                if let Some(stream) = handling.shake_hands(stream).await {
                    handling.serve(stream, peer, watcher).await;
                }
            });
        } else {
            tokio::spawn(handling.serve(stream, peer, graceful.watcher()));
        }
    }
    drop(listener);
    let drained = tokio::time::timeout(grace, graceful.shutdown()).await;
    if drained.is_err() {
        tracing::error!(
            service = "http/server",
            grace_seconds = grace.as_secs_f64(),
            "requests outlasted the grace period"
        );
    }
}

/// What connections share.
struct Handling {
    server: Arc<auto::Builder<TokioExecutor>>,
    routes: Routes,
    config: Option<Arc<WebConfig>>,
}

impl Handling {
    async fn shake_hands(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let tls = self.config.as_ref()?.tls();
        let shaken = match tls {
            Ok(tls) => {
                let accepting = TlsAcceptor::from(tls?).accept(stream);
                tokio::time::timeout(HEAD_TIMEOUT, accepting).await.map_err(|e| e.to_string())
            }
            Err(e) => Err(e.to_string()),
        };
        let shaken = shaken.and_then(|shaken| shaken.map_err(|e| e.to_string()));
        if let Err(err) = &shaken {
            tracing::debug!(service = "http/server", err, "TLS handshake failed");
        }
        shaken.ok()
    }

    async fn serve<S>(self, stream: S, peer: SocketAddr, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (routes, config) = (self.routes, self.config);
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (routes, config) = (routes.clone(), config.clone());
            async move {
                let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
                request.extensions_mut().insert(Peer(peer));
                Ok::<_, std::convert::Infallible>(answer(&routes, config.as_ref(), request).await)
            }
        });
        let connection =
            self.server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        if let Err(e) = watcher.watch(connection).await {
            tracing::debug!(service = "http/server", err = %e, "connection ended with an error");
        }
    }
}

async fn answer(routes: &Routes, config: Option<&Arc<WebConfig>>, request: Request) -> Response {
    let Some(config) = config else { return routes.answer(request).await };
    match config.admit(request.headers()).await {
        Ok(headers) => {
            let mut response = routes.answer(request).await;
            response.headers_mut().extend(headers);
            response
        }
        Err(response) => response,
    }
}
