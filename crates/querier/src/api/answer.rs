//! A query's answer, written while the query runs.
//!
//! Holds the sink that turns results into JSON, and the hand-over to the connection. It evaluates
//! nothing. Invariant: an error is an error answer as long as nothing was sent; after that it breaks the
//! connection, so that half an answer never looks whole. Up to [`HELD`] bytes wait for the end of the
//! query before the first is sent.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use component::buffers::Pool;
use component::http::{BoxError, Response, body};
use futures::StreamExt;
use http::{HeaderValue, header};
use model::{Account, Labels, Millis};
use promql::{Points, QueryError, Sink, Value};
use tokio::sync::{mpsc, oneshot};

use super::{Failure, is_incomplete, json, no_store};
use crate::pool::Lease;

/// Bytes of an answer that are kept back until the query has ended.
pub const HELD: usize = 2 << 20;
/// Bytes sent at once after that.
const PIECE: usize = 128 << 10;
/// Pieces on their way to the client.
const ON_THE_WAY: usize = 4;

/// A piece of a body; `None` says that it was the last.
type Piece = Option<Result<Bytes, BoxError>>;

/// Buffers of answers, and bytes of them that may wait in the process.
static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(MOST_IDLE));
const MOST_IDLE: usize = 8 << 20;

/// The texts of the first times of a series, which those of the next are mostly equal to.
#[derive(Default)]
struct Times(Vec<(Millis, usize, [u8; Times::LONGEST])>);

impl Times {
    /// What is remembered is bounded, so that it need not be paid for.
    const MOST: usize = 1 << 11;
    const LONGEST: usize = 32;

    /// Writes what stands before the value of point `i`: `,[time,"`.
    #[inline]
    fn write(&mut self, out: &mut Vec<u8>, i: usize, t: Millis) {
        let from = out.len();
        if let Some((known, len, text)) = self.0.get(i)
            && *known == t
        {
            // A copy whose length is constant is no call.
            out.extend_from_slice(text);
            out.truncate(from + len);
            return;
        }
        self.write_new(out, i, t);
    }

    fn write_new(&mut self, out: &mut Vec<u8>, i: usize, t: Millis) {
        let from = out.len();
        out.extend_from_slice(b",[");
        json::time(out, t);
        out.extend_from_slice(b",\"");
        let (written, mut text) = (&out[from..], [0; Times::LONGEST]);
        let Some(start) = text.get_mut(..written.len()) else { return };
        start.copy_from_slice(written);
        let entry = (t, written.len(), text);
        if let Some(old) = self.0.get_mut(i) {
            *old = entry;
        } else if self.0.len() == i && i < Times::MOST {
            self.0.push(entry);
        }
    }
}

/// How the answer begins: sent once.
pub type Head = Result<Response, Failure>;

/// Writes an answer.
pub struct Answer {
    out: Vec<u8>,
    first: bool,
    head: Option<oneshot::Sender<Head>>,
    pieces: Option<mpsc::Sender<Piece>>,
    times: Times,
    account: Arc<Account>,
    charged: u64,
    lease: Arc<Lease>,
    /// Whether everything read so far is complete, and nothing more is to come.
    complete: Box<dyn Fn() -> bool + Send>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({} bytes)", self.out.len())
    }
}

/// What follows the result.
#[derive(Debug, Default)]
pub struct Rest {
    /// `stats`, as JSON.
    pub stats: Option<String>,
    /// `analysis`, as JSON; an empty object where there is none.
    pub analysis: Option<Vec<u8>>,
    /// `warnings`.
    pub warnings: Vec<String>,
}

impl Answer {
    /// An answer of this type of result. `complete` tells whether an answer that is sent before its end
    /// may be kept by caches.
    pub fn new(
        result_type: &str,
        head: oneshot::Sender<Head>,
        account: Arc<Account>,
        lease: Arc<Lease>,
        complete: impl Fn() -> bool + Send + 'static,
    ) -> Self {
        let kept = POOL.take(HELD..=usize::MAX).or_else(|| POOL.take(4096..=HELD));
        let mut out = kept.unwrap_or_else(|| Vec::with_capacity(4096));
        out.extend_from_slice(b"{\"status\":\"success\",\"data\":{\"resultType\":\"");
        out.extend_from_slice(result_type.as_bytes());
        out.extend_from_slice(b"\",\"result\":[");
        Answer {
            out,
            first: true,
            head: Some(head),
            pieces: None,
            times: Times::default(),
            account,
            charged: 0,
            lease,
            complete: Box::new(complete),
        }
    }

    /// Ends a good answer.
    pub fn finish(mut self, rest: Rest) {
        self.out.push(b']');
        if let Some(stats) = rest.stats {
            self.out.extend_from_slice(b",\"stats\":");
            self.out.extend_from_slice(stats.as_bytes());
        }
        self.out.extend_from_slice(b",\"analysis\":");
        self.out.extend_from_slice(rest.analysis.as_deref().unwrap_or(b"{}"));
        self.out.push(b'}');
        if !rest.warnings.is_empty() {
            self.out.extend_from_slice(b",\"warnings\":[");
            for (i, warning) in rest.warnings.iter().enumerate() {
                if i > 0 {
                    self.out.push(b',');
                }
                json::string(&mut self.out, warning.as_bytes());
            }
            self.out.push(b']');
        }
        self.out.push(b'}');
        let last = POOL.lend(std::mem::take(&mut self.out));
        // Nobody may be there any more.
        if let Some(head) = self.head.take() {
            let mut response = of_body(body::full(last));
            if rest.warnings.iter().any(|w| is_incomplete(w)) {
                no_store(&mut response);
            }
            let _ = head.send(Ok(response));
        } else if let Some(pieces) = self.pieces.take() {
            self.lease.while_outside(|| {
                let _ = pieces.blocking_send(Some(Ok(last)));
                let _ = pieces.blocking_send(None);
            });
        }
    }

    /// Ends it with an error.
    pub fn fail(mut self, failure: Failure) {
        if let Some(head) = self.head.take() {
            let _ = head.send(Err(failure));
        } else if let Some(pieces) = self.pieces.take() {
            tracing::warn!(err = failure.text, "query failed while its answer was being sent");
            let _ = self.lease.while_outside(|| pieces.blocking_send(Some(Err(failure.text.into()))));
        }
    }

    fn begin_item(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
    }

    /// After an item: pays for what is kept, and sends what is too much to keep.
    fn end_item(&mut self) -> Result<(), QueryError> {
        // A buffer that has been larger before is no fault of this query.
        let kept = self.out.len().next_power_of_two().min(self.out.capacity()) as u64;
        if kept > self.charged {
            self.account.charge(kept - self.charged, &"the answer's text")?;
            self.charged = kept;
        }
        let limit = if self.head.is_some() { HELD } else { PIECE };
        if (HELD / 2..HELD).contains(&self.out.capacity()) && self.out.len() > HELD / 4 {
            // Not twice as large as it can become.
            self.out.reserve_exact(HELD + PIECE - self.out.len());
        }
        if self.out.len() >= limit { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), QueryError> {
        if let Some(head) = self.head.take() {
            let (sender, receiver) = mpsc::channel(ON_THE_WAY);
            let mut response = of_body(streamed(receiver));
            if !(self.complete)() {
                no_store(&mut response);
            }
            head.send(Ok(response)).map_err(|_| QueryError::Canceled)?;
            self.pieces = Some(sender);
        }
        let next = POOL.take(PIECE..=2 * PIECE).unwrap_or_else(|| Vec::with_capacity(PIECE + PIECE / 4));
        let piece = POOL.lend(std::mem::replace(&mut self.out, next));
        self.account.release(std::mem::take(&mut self.charged));
        let Some(pieces) = &self.pieces else { return Err(QueryError::Canceled) };
        let sent = self.lease.while_outside(|| pieces.blocking_send(Some(Ok(piece))));
        sent.map_err(|_| QueryError::Canceled)
    }

    fn scalar_item(&mut self, at: Millis, write: impl FnOnce(&mut Vec<u8>)) {
        // Scalars and strings have their time without trailing zeros, unlike samples.
        let seconds = at as f64 / 1000.0;
        self.out.extend_from_slice(model::gofmt::float(seconds).as_bytes());
        self.out.push(b',');
        write(&mut self.out);
    }
}

fn of_body(body: component::http::Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The body of pieces; one that ends without its last piece breaks off.
fn streamed(receiver: mpsc::Receiver<Piece>) -> component::http::Body {
    let pieces = futures::stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Some(Ok(piece))) => Some((Ok(piece), Some(receiver))),
            Some(Some(Err(e))) => Some((Err(e), None)),
            Some(None) => None,
            None => Some((Err("the query broke off".into()), None)),
        }
    });
    body::stream(pieces.boxed())
}

/// A body that keeps `guard` until it has been read or dropped.
pub fn guarded(body: component::http::Body, guard: impl Send + 'static) -> component::http::Body {
    use http_body_util::BodyExt as _;
    let mut guard = Some(guard);
    let whole = http_body::Body::size_hint(&body).exact().is_some();
    if whole {
        // It is written already; headers keep the length.
        drop(guard.take());
        return body;
    }
    body.map_frame(move |frame| {
        let _ = &guard;
        frame
    })
    .boxed_unsync()
}

impl Sink for Answer {
    fn scalar(&mut self, at: Millis, value: f64) -> Result<(), QueryError> {
        self.scalar_item(at, |out| json::plain_value(out, value));
        Ok(())
    }

    fn string(&mut self, at: Millis, value: &[u8]) -> Result<(), QueryError> {
        let text = String::from_utf8_lossy(value);
        self.scalar_item(at, |out| json::string(out, text.as_bytes()));
        Ok(())
    }

    fn sample(&mut self, labels: &Labels, at: Millis, value: Value<'_>) -> Result<(), QueryError> {
        self.begin_item();
        let out = &mut self.out;
        out.extend_from_slice(b"{\"metric\":");
        json::labels(out, labels);
        match value {
            Value::Float(v) => {
                out.extend_from_slice(b",\"value\":[");
                json::time(out, at);
                out.push(b',');
                json::value(out, v);
            }
            Value::Histogram(h) => {
                out.extend_from_slice(b",\"histogram\":[");
                json::time(out, at);
                out.push(b',');
                json::histogram(out, h);
            }
        }
        out.extend_from_slice(b"]}");
        self.end_item()
    }

    fn series(&mut self, labels: &Labels, points: Points<'_>) -> Result<(), QueryError> {
        self.begin_item();
        let out = &mut self.out;
        out.extend_from_slice(b"{\"metric\":");
        json::labels(out, labels);
        let before = out.len();
        out.extend_from_slice(b",\"values\":");
        let (first, mut i) = (out.len(), 0);
        points.each_float(|t, v| {
            self.times.write(out, i, t);
            json::float(out, v);
            out.extend_from_slice(b"\"]");
            i += 1;
        });
        match out.get_mut(first) {
            // In place of a comma.
            Some(comma) => {
                *comma = b'[';
                out.push(b']');
            }
            None => out.truncate(before),
        }
        let mut any = false;
        for (t, h) in points.histograms() {
            out.extend_from_slice(if any { b",[" } else { b",\"histograms\":[[" });
            any = true;
            json::time(out, t);
            out.push(b',');
            json::histogram(out, h);
            out.push(b']');
        }
        if any {
            out.push(b']');
        }
        out.push(b'}');
        self.end_item()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_same_whether_remembered_or_not() {
        let mut times = Times::default();
        for row in [&[0, 30_000, 60_500][..], &[0, 30_000], &[30_000, 30_000, 60_500, -1], &[Millis::MIN + 1]]
        {
            let (mut got, mut want) = (Vec::new(), Vec::new());
            for (i, t) in row.iter().enumerate() {
                times.write(&mut got, i, *t);
                want.extend_from_slice(b",[");
                json::time(&mut want, *t);
                want.extend_from_slice(b",\"");
            }
            assert_eq!(got, want);
        }
    }
}
