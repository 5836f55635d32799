//! The gRPC server: HTTP/2 connections, services by name, drained on stop.
//!
//! Generated tonic services are added with [`Server::add`]; TLS, compression,
//! metrics and panics lie around all of them (`call`). It knows no message. Invariant: after `stop` no call begins; calls in flight get
//! the grace period, then their connections are cut.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prometheus::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;
use tower::util::BoxCloneSyncService;

use super::call::{Calls, Routed};
use super::instrument::ServerMetrics;
use super::{Method, health};
use crate::flags::groups::GrpcServer as Flags;
use crate::log::requests::GrpcLog;
use crate::net;
use crate::probe::Probe;
use crate::tls;

/// Streams one connection may have open at once.
const MAX_STREAMS: u32 = 10_000;
/// How often an idle connection is asked whether it lives, and how long it may take to say so: grpc-go's
/// defaults.
const PING_EVERY: Duration = Duration::from_secs(2 * 60 * 60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(120);
/// Flow-control windows large enough for batches of chunks.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A server to be started.
#[derive(Debug)]
pub struct Server {
    component: &'static str,
    flags: Flags,
    services: HashMap<String, Routed>,
    methods: Vec<Method>,
    registry: Registry,
    log: Option<GrpcLog>,
}

/// A server that accepts.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    component: &'static str,
    grace: Duration,
    stop: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
}

impl Server {
    /// A server with the health service, metrics in `registry`.
    pub fn new(component: &'static str, flags: &Flags, registry: &Registry, probe: &Probe) -> Self {
        let server = Server {
            component,
            flags: flags.clone(),
            services: HashMap::new(),
            methods: Vec::new(),
            registry: registry.clone(),
            log: None,
        };
        server.add(health::service(probe), &[])
    }

    /// Writes lines about calls.
    pub fn with_log(mut self, log: Option<GrpcLog>) -> Self {
        self.log = log;
        self
    }

    /// Adds a generated service; `methods` get their metrics at once, others are unknown, unless there
    /// are none.
    pub fn add<S>(mut self, service: S, methods: &[Method]) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let routed = Routed {
            service: BoxCloneSyncService::new(service),
            methods: methods.iter().map(|m| m.name).collect(),
        };
        self.services.insert(S::NAME.to_owned(), routed);
        self.methods.extend_from_slice(methods);
        self
    }

    /// Binds and accepts on the present runtime.
    ///
    /// # Errors
    /// When the address cannot be bound or TLS is set up wrongly.
    pub fn start(self) -> anyhow::Result<Running> {
        let address = &self.flags.address;
        let tls = tls::server(&self.flags.tls)?.map(TlsAcceptor::from);
        let metrics = ServerMetrics::new(&self.registry, &self.methods)?;
        let listener =
            net::bind(address).map_err(|e| anyhow::anyhow!("listen gRPC on address {address}: {e}"))?;
        let bound = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        tracing::info!(
            service = "gRPC/server",
            component = self.component,
            address = %address,
            "listening for serving gRPC"
        );
        let running = Running {
            address: bound,
            component: self.component,
            grace: self.flags.grace_period,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
        };
        let (stop, cut, connections) =
            (running.stop.clone(), running.cut.clone(), running.connections.clone());
        let calls =
            Calls { services: Arc::new(self.services), metrics, component: self.component, log: self.log };
        let handling = Handling { calls, tls, max_age: self.flags.max_connection_age };
        running.connections.spawn(async move {
            while let Some(stream) = net::accept(&listener, &stop).await {
                let (handling, stop, cut) = (handling.clone(), stop.clone(), cut.clone());
                connections.spawn(async move { handling.connection(stream, stop, cut).await });
            }
        });
        Ok(running)
    }
}

impl Running {
    /// Where it listens, with the port the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting calls and waits for those in flight, at most for the grace period.
    pub async fn stop(self) {
        let (service, component) = ("gRPC/server", self.component);
        tracing::info!(service, component, "internal server is shutting down");
        self.stop.cancel();
        self.connections.close();
        if self.grace.is_zero() {
            self.cut.cancel();
        } else {
            tracing::info!(service, component, "gracefully stopping internal server");
        }
        if tokio::time::timeout(self.grace, self.connections.wait()).await.is_err() {
            tracing::info!(service, component, "grace period exceeded enforcing shutdown");
            self.cut.cancel();
            self.connections.wait().await;
            return;
        }
        tracing::info!(service, component, "internal server is shutdown gracefully");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.cut.cancel();
    }
}

#[derive(Clone)]
struct Handling {
    calls: Calls,
    tls: Option<TlsAcceptor>,
    max_age: Duration,
}

impl Handling {
    async fn connection(self, stream: TcpStream, stop: CancellationToken, cut: CancellationToken) {
        let Ok(peer) = stream.peer_addr() else { return };
        let Some(tls) = &self.tls else { return self.serve(stream, peer, stop, cut).await };
        let handshake = tokio::time::timeout(HANDSHAKE, tls.accept(stream));
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            () = stop.cancelled() => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.serve(stream, peer, stop, cut).await,
            Ok(Err(e)) => tracing::debug!(service = "gRPC/server", err = %e, "TLS handshake failed"),
            Err(_) => tracing::debug!(service = "gRPC/server", "TLS handshake took too long"),
        }
    }

    async fn serve<S>(self, stream: S, peer: SocketAddr, stop: CancellationToken, cut: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let calls = self.calls.clone();
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let calls = calls.clone();
            async move { Ok::<_, Infallible>(calls.answer(request.map(Body::new), peer).await) }
        });
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let aged = async {
            if self.max_age.is_zero() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(jittered(self.max_age)).await;
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = stop.cancelled() => None,
            () = cut.cancelled() => return,
            () = aged => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                // GOAWAY: calls in flight go on, new ones must come on another connection.
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = cut.cancelled() => return,
                }
            }
        };
        if let Err(e) = ended {
            tracing::debug!(service = "gRPC/server", err = %e, "connection ended with an error");
        }
    }
}

/// `age` give or take a tenth, so that connections made together do not end together; as grpc-go.
fn jittered(age: Duration) -> Duration {
    let dice = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), age) % 2001;
    age.mul_f64(0.9 + 0.2 * dice as f64 / 2000.0)
}
