//! Cutting a stream of items into gRPC messages.
//!
//! Holds `response_batch_size`: 0 and 1 give one message per series, more gives batches of exactly
//! that many, the last one short (Thanos `pkg/store/batchable.go`). It knows no encoding. Invariant:
//! order is kept, and a warning or hint sends what was collected before it. A batch is sent early
//! where the producer has nothing more ready, so that a reader never waits for a full one.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use tonic::Status;

use crate::codec::Frame;
use crate::series::Series;
use crate::store::{Item, SeriesStream};

/// The batch size callers ask for (Thanos `DefaultResponseBatchSize`).
pub const DEFAULT_RESPONSE_BATCH_SIZE: i64 = 64;

/// A stream of frames made from a stream of items.
pub struct Batches {
    inner: SeriesStream,
    size: usize,
    ready: std::vec::IntoIter<Series>,
    held: Vec<Series>,
    note: Option<Frame>,
    end: Option<Option<Status>>,
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batches(of {})", self.size)
    }
}

impl Batches {
    /// Cuts `inner` as the request's `response_batch_size` says.
    pub fn new(inner: SeriesStream, response_batch_size: i64) -> Self {
        // A batch is bounded whatever the caller asks, so that no message outgrows its limit.
        let size = usize::try_from(response_batch_size).unwrap_or(0).clamp(1, 4096);
        Batches { inner, size, ready: Vec::new().into_iter(), held: Vec::new(), note: None, end: None }
    }

    fn flush(&mut self) -> Option<Frame> {
        (!self.held.is_empty()).then(|| Frame::Batch(std::mem::take(&mut self.held)))
    }
}

impl Stream for Batches {
    type Item = Result<Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.size == 1 {
                if let Some(series) = this.ready.next() {
                    return Poll::Ready(Some(Ok(Frame::Series(series))));
                }
            } else {
                while let Some(series) = this.ready.next() {
                    this.held.push(series);
                    if this.held.len() == this.size {
                        return Poll::Ready(this.flush().map(Ok));
                    }
                }
            }
            if this.note.is_some() || this.end.is_some() {
                if let Some(frame) = this.flush().or_else(|| this.note.take()) {
                    return Poll::Ready(Some(Ok(frame)));
                }
                if let Some(end) = &mut this.end {
                    return Poll::Ready(end.take().map(Err));
                }
            }
            match this.inner.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(Item::Series(all)))) => this.ready = all.into_iter(),
                Poll::Ready(Some(Ok(Item::Warning(text)))) => this.note = Some(Frame::Warning(text)),
                Poll::Ready(Some(Ok(Item::Hints(any)))) => this.note = Some(Frame::Hints(any)),
                Poll::Ready(Some(Err(status))) => this.end = Some(Some(status)),
                Poll::Ready(None) => this.end = Some(None),
                Poll::Pending => return this.flush().map_or(Poll::Pending, |f| Poll::Ready(Some(Ok(f)))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};
    use model::Labels;

    use super::*;

    #[test]
    fn sizes_order_and_notes() {
        let s = |n: usize| Series { labels: Labels::from_pairs([("n", n.to_string())]), chunks: vec![] };
        let items = |fail: bool| {
            let mut all = vec![
                Ok(Item::Series((0..5).map(s).collect())),
                Ok(Item::Warning("w".into())),
                Ok(Item::Series(vec![s(5)])),
            ];
            if fail {
                all.push(Err(Status::aborted("late")));
            }
            futures::stream::iter(all).boxed()
        };
        let run = |size, fail| -> Vec<String> {
            let all: Vec<_> = Batches::new(items(fail), size).collect().now_or_never().unwrap();
            all.into_iter()
                .map(|f| match f {
                    Ok(Frame::Series(_)) => "1".to_owned(),
                    Ok(Frame::Batch(b)) => format!("b{}", b.len()),
                    Ok(Frame::Warning(w)) => w,
                    Ok(Frame::Hints(_)) => "h".to_owned(),
                    Err(e) => e.message().to_owned(),
                })
                .collect()
        };
        assert_eq!(run(2, false), ["b2", "b2", "b1", "w", "b1"]);
        assert_eq!(run(0, true), ["1", "1", "1", "1", "1", "w", "1", "late"]);
        assert_eq!(run(64, true), ["b5", "w", "b1", "late"]);
    }
}
