//! Channels to gRPC servers.
//!
//! A [`Connector`] holds what all of a service's channels share (TLS, compression, metrics); a
//! [`Channel`] is one address. It resolves no DNS prefixes (`discovery` does). Invariant: making a
//! channel never blocks or fails for a server that is away; its calls do.

use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tonic::body::Body;
use tonic::transport::Endpoint;
use tower::Service;

/// Keep-alive as Thanos sets it.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Makes channels.
#[derive(Clone, Debug, Default)]
pub struct Connector {}

/// An address cannot be dialled.
#[derive(Debug, thiserror::Error)]
#[error("gRPC address {address}: {reason}")]
pub struct BadAddress {
    address: String,
    reason: String,
}

impl Connector {
    /// A connector without TLS and compression.
    pub fn plain() -> Self {
        Connector {}
    }

    /// A channel to `address` (`host:port`), which connects when first used.
    ///
    /// # Errors
    /// [`BadAddress`] when `address` is no authority.
    pub fn channel(&self, address: &str) -> Result<Channel, BadAddress> {
        let bad =
            |e: tonic::transport::Error| BadAddress { address: address.to_owned(), reason: e.to_string() };
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(bad)?
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .tcp_nodelay(true);
        Ok(Channel { inner: endpoint.connect_lazy() })
    }
}

/// A connection to one address, made anew when it breaks. Clones share it.
#[derive(Clone, Debug)]
pub struct Channel {
    inner: tonic::transport::Channel,
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = <tonic::transport::Channel as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.inner.call(request)
    }
}
