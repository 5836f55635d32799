//! Bodies that are watched on their way.
//!
//! Holds [`Counted`] for requests and [`Answer`] for responses: messages counted, the end noticed,
//! and on a server deadlines and panics turned into a status. It changes no message. Invariant: after
//! an answer has ended, for whatever reason, the handler's stream is dropped.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use prometheus::IntCounter;
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use super::frames::Counter;
use super::instrument::Observation;

/// A request's body whose messages are counted.
pub(super) struct Counted {
    inner: Body,
    counter: Counter,
    count: IntCounter,
}

impl Counted {
    /// Counts the messages of `body` in `count`.
    pub(super) fn wrap(body: Body, count: IntCounter) -> Body {
        Body::new(Counted { inner: body, counter: Counter::default(), count })
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let messages = self.counter.count(data);
            self.count.inc_by(messages);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What a server adds to watching an answer.
pub(super) struct Guard {
    /// When the caller has waited long enough.
    pub(super) deadline: Option<Pin<Box<Sleep>>>,
    /// Counts panics.
    pub(super) panics: IntCounter,
}

/// A response's body until its end.
pub(super) struct Answer {
    /// `None` after the end.
    inner: Option<Body>,
    counter: Counter,
    count: IntCounter,
    observation: Observation,
    guard: Option<Guard>,
}

impl Answer {
    /// Watches `body`, whose messages count in `count`; on a server with a guard.
    pub(super) fn wrap(
        body: Body,
        count: IntCounter,
        observation: Observation,
        guard: Option<Guard>,
    ) -> Body {
        Body::new(Answer { inner: Some(body), counter: Counter::default(), count, observation, guard })
    }

    /// The end that a server gives to an answer.
    fn cut(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.inner = None;
        self.observation.end(status);
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}

/// What a caller is told whose time is over.
pub(super) fn too_late() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

/// What a caller is told whose handler panicked; counts and logs it.
pub(super) fn panicked(panic: &(dyn std::any::Any + Send), panics: &IntCounter) -> Status {
    panics.inc();
    let text = crate::run::panic_text(panic);
    tracing::error!(service = "gRPC/server", panic = text, "recovered from panic");
    Status::internal(text)
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let polled = match &mut this.guard {
            None => Pin::new(inner).poll_frame(cx),
            Some(guard) => {
                if let Some(deadline) = &mut guard.deadline
                    && deadline.as_mut().poll(cx).is_ready()
                {
                    return this.cut(&too_late());
                }
                let poll = AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx));
                match std::panic::catch_unwind(poll) {
                    Ok(polled) => polled,
                    Err(panic) => {
                        let status = panicked(&*panic, &guard.panics);
                        return this.cut(&status);
                    }
                }
            }
        };
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.count.inc_by(this.counter.count(data));
                } else if let Some(trailers) = frame.trailers_ref() {
                    let status = Status::from_header_map(trailers);
                    this.observation.end(&status.unwrap_or_else(|| Status::unknown("no status")));
                }
            }
            Poll::Ready(Some(Err(status))) => {
                this.observation.end(status);
                this.inner = None;
            }
            Poll::Ready(None) => {
                this.observation.end(&Status::unknown("the stream ended without a status"));
                this.inner = None;
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
