//! The SDK's requests over our HTTP client.
//!
//! Holds the connector and what bounds an exchange in time: the wait for an answer's head, and the pace
//! of its body. Invariant: a server that accepts and then stays silent, or drips, ends in an error; time
//! in which nobody reads the body does not count against the server.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// A body must bring so many bytes in each [`Transport::stall`], or end.
const PACE: u64 = 4096;
/// How long a body may stay behind that pace.
pub(super) const STALL: Duration = Duration::from_secs(30);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Sends requests.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    pub(super) client: reqwest::Client,
    /// How long the head of an answer may take once the request is sent; 0 for ever.
    pub(super) head: Duration,
    /// How long a body may stay behind its pace.
    pub(super) stall: Duration,
    /// Requests in flight, where limited.
    pub(super) connections: Option<Arc<Semaphore>>,
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(async move { this.send(request).await })
    }
}

impl Transport {
    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let permit = match self.connections {
            // Never closed.
            Some(connections) => connections.acquire_owned().await.ok(),
            None => None,
        };
        let user = |e: BoxError| ConnectorError::user(e);
        let request = request.try_into_http1x().map_err(|e| user(e.into()))?;
        let sent = Arc::new(Mutex::new(Instant::now()));
        let request = request.map(|body| reqwest::Body::wrap(Sending { body, progress: sent.clone() }));
        let request = reqwest::Request::try_from(request).map_err(|e| user(e.into()))?;
        let mut answer = std::pin::pin!(self.client.execute(request));
        let answer = loop {
            if self.head.is_zero() {
                break answer.await;
            }
            let deadline = *sent.lock() + self.head;
            match tokio::time::timeout_at(deadline, &mut answer).await {
                Ok(answer) => break answer,
                Err(_) if *sent.lock() + self.head > deadline => {}
                Err(_) => {
                    let text = "timeout awaiting response headers";
                    return Err(ConnectorError::timeout(text.into()));
                }
            }
        };
        let answer = answer.map_err(|e| ConnectorError::io(e.into()))?;
        let answer = http::Response::from(answer)
            .map(|body| SdkBody::from_body_1_x(Receiving::new(body, self.stall, permit)));
        HttpResponse::try_from(answer).map_err(|e| ConnectorError::other(e.into(), None))
    }
}

/// A request's body, which notes when it was last asked for more.
struct Sending {
    body: SdkBody,
    progress: Arc<Mutex<Instant>>,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        *this.progress.lock() = Instant::now();
        Body::poll_frame(Pin::new(&mut this.body), cx)
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}

/// An answer's body, which must keep its pace while it is waited for.
struct Receiving {
    body: reqwest::Body,
    stall: Duration,
    /// Waiting that is left until the pace is missed.
    left: Duration,
    /// Since when it is waited for.
    since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    received: u64,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Receiving {
    fn new(body: reqwest::Body, stall: Duration, permit: Option<OwnedSemaphorePermit>) -> Self {
        let timer = Box::pin(tokio::time::sleep(stall));
        Receiving { body, stall, left: stall, since: None, timer, received: 0, _permit: permit }
    }
}

impl Body for Receiving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        match &frame {
            Poll::Ready(frame) => {
                if let Some(since) = this.since.take() {
                    this.left = this.left.saturating_sub(since.elapsed());
                }
                let data = frame.as_ref().and_then(|f| f.as_ref().ok()).and_then(Frame::data_ref);
                this.received += data.map_or(0, |d| d.len() as u64);
                if this.received >= PACE {
                    (this.received, this.left) = (0, this.stall);
                }
            }
            Poll::Pending => {
                if this.since.is_none() {
                    let now = Instant::now();
                    this.since = Some(now);
                    this.timer.as_mut().reset(now + this.left);
                }
                if this.timer.as_mut().poll(cx).is_ready() {
                    let text = format!("the body brought {} bytes in {:?}", this.received, this.stall);
                    return Poll::Ready(Some(Err(text.into())));
                }
            }
        }
        frame.map(|f| f.map(|f| f.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
