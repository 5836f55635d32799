//! Channels to gRPC servers.
//!
//! A [`Connector`] holds what channels with equal settings share (TLS, compression, metrics); a
//! [`Channel`] is one address. It resolves no DNS prefixes (`discovery` does). Invariant: making a
//! channel never blocks or fails for a server that is away; its calls do, with Go's texts.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tower::Service;

use super::bodies::{Answer, Counted};
use super::compress::{Encoding, accept_snappy};
use super::instrument::ClientMetrics;
use super::kind_of;
use super::paced::Paced;
use crate::flags::groups::GrpcClient;
use crate::tls;

/// Keep-alive as Thanos sets it.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// A status may be long: it names what is missing from an answer.
const HEADERS: u32 = 1 << 20;

/// Makes channels.
#[derive(Clone, Debug, Default)]
pub struct Connector {
    tls: Option<tls::Client>,
    snappy: bool,
    metrics: Option<ClientMetrics>,
}

/// An address cannot be dialled.
#[derive(Debug, thiserror::Error)]
#[error("gRPC address {address}: {reason}")]
pub struct BadAddress {
    address: String,
    reason: String,
}

impl Connector {
    /// A connector without TLS, compression and metrics.
    pub fn plain() -> Self {
        Connector::default()
    }

    /// A connector as the client flags, or an endpoint's own settings, say; calls count in `metrics`.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(settings: &GrpcClient, metrics: Option<ClientMetrics>) -> Result<Self, tls::Error> {
        Ok(Connector { tls: tls::client(settings)?, snappy: settings.snappy, metrics })
    }

    /// A channel to `address` (`host:port`), which connects when first used.
    ///
    /// # Errors
    /// [`BadAddress`] when `address` is no authority.
    pub fn channel(&self, address: &str) -> Result<Channel, BadAddress> {
        let bad = |reason: String| BadAddress { address: address.to_owned(), reason };
        let uri: Uri = format!("http://{address}").parse().map_err(|e| bad(format!("{e}")))?;
        let host = uri.host().map(|h| h.trim_matches(['[', ']']).to_owned());
        let (Some(host), Some(port)) = (host, uri.port_u16()) else {
            return Err(bad("missing port in address".to_owned()));
        };
        let mut endpoint = Endpoint::from(uri)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(HEADERS);
        let tls = match &self.tls {
            None => None,
            Some(tls) => {
                let own = tls.server_name.as_ref().map(|name| name.to_str().into_owned());
                let authority = own.as_deref().unwrap_or(address);
                let origin = format!("https://{authority}").parse().map_err(|e| bad(format!("{e}")))?;
                endpoint = endpoint.origin(origin);
                let name = match &tls.server_name {
                    Some(name) => name.clone(),
                    None => rustls::pki_types::ServerName::try_from(host.clone())
                        .map_err(|e| bad(e.to_string()))?,
                };
                Some((tokio_rustls::TlsConnector::from(tls.config.clone()), name))
            }
        };
        let target = Arc::new(Target { host, port, tls });
        let connect = tower::service_fn(move |_: Uri| {
            let target = target.clone();
            async move { target.connect().await.map(|stream| TokioIo::new(Paced::new(stream))) }
        });
        Ok(Channel {
            inner: endpoint.connect_with_connector_lazy(connect),
            snappy: self.snappy,
            metrics: self.metrics.clone(),
        })
    }
}

/// Where a channel connects to.
struct Target {
    host: String,
    port: u16,
    tls: Option<(tokio_rustls::TlsConnector, rustls::pki_types::ServerName<'static>)>,
}

/// A connection could not be made; texts as Go's gRPC words them.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("transport: Error while dialing: dial tcp {address}: {reason}")]
    Dial { address: String, reason: String },
    #[error("transport: authentication handshake failed: {0}")]
    Handshake(std::io::Error),
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for S {}

impl Target {
    async fn connect(&self) -> Result<Box<dyn Stream>, ConnectError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|e| {
            let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
            ConnectError::Dial { address: format!("{host}:{}", self.port), reason: reason(&e) }
        })?;
        // Requests are written whole; waiting for more bytes only delays them.
        let _ = stream.set_nodelay(true);
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((tls, name)) => {
                Box::new(tls.connect(name.clone(), stream).await.map_err(ConnectError::Handshake)?)
            }
        })
    }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        std::io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        _ => error.to_string(),
    }
}

/// A failed call as a status: `Unavailable` where no connection could be made or it broke.
fn status(error: tonic::transport::Error) -> Status {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    let mut text = String::new();
    while let Some(cause) = at {
        if let Some(connect) = cause.downcast_ref::<ConnectError>() {
            return Status::unavailable(format!("connection error: desc = {:?}", connect.to_string()));
        }
        let shown = cause.to_string();
        if !text.ends_with(&shown) {
            text = if text.is_empty() { shown } else { format!("{text}: {shown}") };
        }
        at = cause.source();
    }
    let code = Status::from_error(Box::new(error)).code();
    let code = if code == Code::Unknown { Code::Unavailable } else { code };
    Status::new(code, text)
}

/// A connection to one address, made anew when it breaks. Clones share it.
#[derive(Clone, Debug)]
pub struct Channel {
    inner: tonic::transport::Channel,
    snappy: bool,
    metrics: Option<ClientMetrics>,
}

/// A connection that is closed at its age may have been given a call just before; a new one is as good.
const ATTEMPTS: usize = 3;

/// Sends a request of one message, again where it certainly has not left.
async fn sent(
    mut channel: tonic::transport::Channel,
    head: http::request::Parts,
    body: Body,
) -> Result<Response<Body>, SendError> {
    let message = body.collect().await.map_err(SendError::Request)?.to_bytes();
    let mut attempt = 1;
    loop {
        let body = Body::new(Full::new(message.clone()));
        match channel.call(Request::from_parts(head.clone(), body)).await {
            Err(e) if attempt < ATTEMPTS && is_unsent(&e) => attempt += 1,
            done => return done.map_err(SendError::Transport),
        }
        std::future::poll_fn(|cx| Service::<Request<Body>>::poll_ready(&mut channel, cx))
            .await
            .map_err(SendError::Transport)?;
    }
}

/// Why a request was not answered.
enum SendError {
    Request(Status),
    Transport(tonic::transport::Error),
}

/// Whether the connection was closed before it took the request.
fn is_unsent(error: &tonic::transport::Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
    causes.filter_map(|e| e.downcast_ref::<hyper::Error>()).any(hyper::Error::is_canceled)
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Service::<Request<Body>>::poll_ready(&mut self.inner, cx).map_err(status)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut head, mut body) = request.into_parts();
        let observation = self.metrics.as_ref().map(|metrics| {
            let path = head.uri.path().trim_start_matches('/');
            let (service, method) = path.rsplit_once('/').unwrap_or((path, ""));
            metrics.begin(kind_of(method), service, method)
        });
        if let Some(observation) = &observation {
            body = Counted::wrap(body, observation.sent.clone());
        }
        accept_snappy(&mut head.headers);
        if self.snappy {
            Encoding::Snappy.announce(&mut head.headers);
            body = Encoding::Snappy.compressed(body);
        }
        // The one that was found ready.
        let ready = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            let mut observation = observation;
            let response = sent(inner, head, body).await.map_err(|e| {
                let status = match e {
                    SendError::Request(status) => status,
                    SendError::Transport(e) => status(e),
                };
                if let Some(observation) = &mut observation {
                    observation.end(&status);
                }
                status
            })?;
            let (mut head, mut body) = response.into_parts();
            if let Some(encoding) = Encoding::take(&mut head.headers) {
                body = encoding.decompressed(body);
            }
            if let Some(mut observation) = observation {
                if let Some(status) = Status::from_header_map(&head.headers) {
                    observation.end(&status);
                }
                let count = observation.received.clone();
                body = Answer::wrap(body, count, observation, None);
            }
            Ok(Response::from_parts(head, body))
        })
    }
}
