//! One store's series, read ahead of the merge.
//!
//! A task of its own pulls the stream, so that a slow store holds up nobody else's decoding, and sends
//! it on through a short channel, so that a slow reader holds up the store. It knows no other store.
//! Invariant: dropping the stream ends the call; what goes wrong is said once, with the store's name,
//! as a warning or as the error of the call; series that go out are strictly ascending by labels.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use model::{Account, Labels};
use storeapi::endpoints::{Endpoint, label_sets_text};
use storeapi::shard::ShardMatcher;
use storeapi::store::status_text;
use storeapi::{Call, Item, Series, SeriesStream};
use storeapi_proto::thanos;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::Inner;
use crate::fanout;

/// Messages read ahead.
const AHEAD: usize = 4;
/// Series sent on at once after sorting.
const PIECE: usize = 256;

/// What the task sends; `None` says that all has been sent.
type Sent = Option<Result<Item, Status>>;

/// The stream of `store`. Nothing fails here: failures are items.
pub(super) fn open(
    proxy: Arc<Inner>,
    store: Arc<Endpoint>,
    request: thanos::SeriesRequest,
    call: Call,
    strict: bool,
) -> SeriesStream {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let deadline = call.deadline.map(Instant::from_std);
    let meter = fanout::begin(&store.addr);
    let source = Source { proxy, store, strict, deadline, sender, received: false, meter };
    let task = tokio::spawn(source.run(request, call));
    Box::pin(Guarded { receiver, task, ended: false })
}

/// Ends the task when nobody reads any more.
struct Guarded {
    receiver: mpsc::Receiver<Sent>,
    task: tokio::task::JoinHandle<()>,
    ended: bool,
}

impl Stream for Guarded {
    type Item = Result<Item, Status>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = std::task::ready!(self.receiver.poll_recv(cx));
        self.ended = !matches!(next, Some(Some(Ok(_))));
        Poll::Ready(match next {
            Some(item) => item,
            // The task died before it said that all was sent.
            None => Some(Err(Status::internal("reading from a store broke off"))),
        })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Source {
    proxy: Arc<Inner>,
    store: Arc<Endpoint>,
    strict: bool,
    deadline: Option<Instant>,
    sender: mpsc::Sender<Sent>,
    received: bool,
    /// What the store sends, counted where an analysis wants to know.
    meter: Option<fanout::Meter>,
}

/// Why a source stops early.
enum Stop {
    /// Nobody reads any more.
    Unread,
    /// The store failed; said as a warning, or as the error of the call.
    Failed(String),
    /// The call failed for another reason than the store.
    Refused(Status),
}

impl Source {
    async fn run(mut self, request: thanos::SeriesRequest, call: Call) {
        let result = self.pull(request, call).await;
        if !self.received {
            self.proxy.empty_streams.inc();
        }
        drop(self.meter.take());
        // A reader that has gone needs no last word.
        let last = match result {
            Ok(()) | Err(Stop::Unread) => None,
            Err(Stop::Refused(status)) => Some(Err(status)),
            Err(Stop::Failed(text)) if self.strict => Some(Err(Status::aborted(text))),
            Err(Stop::Failed(text)) => Some(Ok(Item::Warning(text))),
        };
        if let Some(last) = last {
            let _ = self.sender.send(Some(last)).await;
        }
        let _ = self.sender.send(None).await;
    }

    async fn pull(&mut self, request: thanos::SeriesRequest, call: Call) -> Result<(), Stop> {
        let removed = match request.without_replica_labels.is_empty() {
            false if !self.store.supports_without_replica_labels() => request.without_replica_labels.clone(),
            _ => Vec::new(),
        };
        let sort = !removed.is_empty() || self.proxy.unsorted.lock().contains(&self.store.addr);
        let mut shard = match &request.shard_info {
            Some(info) if !self.store.supports_sharding() => ShardMatcher::new(Some(info)),
            _ => ShardMatcher::new(None),
        };
        let opened = self.timed(self.store.clone().peer.series(request, call)).await?;
        let mut stream = opened.map_err(|e| self.open_failure(&e))?;
        let mut sorter = sort.then(|| Sorter::new(&self.proxy, removed));
        // The empty set stands before all others.
        let mut last = Labels::empty();
        while let Some(item) = self.timed(stream.next()).await? {
            let item = item.map_err(|e| self.failed(&status_text(&e)))?;
            self.received = true;
            let mut series = match item {
                Item::Series(series) => series,
                Item::Warning(text) => {
                    if self.strict {
                        return Err(Stop::Failed(text));
                    }
                    self.send(Item::Warning(text)).await?;
                    continue;
                }
                // Hints name blocks of one store; nobody asks for them behind a fan-out.
                Item::Hints(_) => continue,
            };
            if let Some(meter) = &mut self.meter {
                meter.add(&series);
            }
            series.retain(|s| shard.matches(&s.labels));
            if let Some(sorter) = &mut sorter {
                sorter.take(series)?;
                continue;
            }
            let Some(end) = series.last().map(|s| s.labels.clone()) else { continue };
            // Parts of one series may come apart, but in a row.
            let labels = std::iter::once(&last).chain(series.iter().map(|s| &s.labels));
            if !labels.is_sorted() {
                self.proxy.unsorted.lock().insert(self.store.addr.clone());
                return Err(self.failed("series are not in the order of their labels"));
            }
            last = end;
            self.send(Item::Series(series)).await?;
        }
        if let Some(sorter) = sorter {
            let (account, mut sorted) = sorter.finish();
            while !sorted.is_empty() {
                let rest = sorted.split_off(PIECE.min(sorted.len()));
                let piece = std::mem::replace(&mut sorted, rest);
                let bytes = piece.iter().map(|s| s.byte_len() as u64).sum();
                self.send(Item::Series(piece)).await?;
                account.release(bytes);
            }
        }
        Ok(())
    }

    async fn send(&self, item: Item) -> Result<(), Stop> {
        self.sender.send(Some(Ok(item))).await.map_err(|_| Stop::Unread)
    }

    /// Waits at most for the response timeout, and not beyond the deadline of the call.
    async fn timed<F: Future>(&self, future: F) -> Result<F::Output, Stop> {
        let silence = self.proxy.limits.response_timeout;
        let until = [silence.map(|limit| Instant::now() + limit), self.deadline];
        let Some(until) = until.into_iter().flatten().min() else { return Ok(future.await) };
        tokio::time::timeout_at(until, future).await.map_err(|_| {
            match silence.filter(|_| self.deadline != Some(until)) {
                Some(limit) => {
                    let shown = component::flags::value::show_go_duration(limit.as_nanos() as i64);
                    Stop::Failed(format!(
                        "failed to receive any data in {shown} from {}: \
                         rpc error: code = Canceled desc = context canceled",
                        self.store
                    ))
                }
                None => self.failed("rpc error: code = DeadlineExceeded desc = context deadline exceeded"),
            }
        })
    }

    fn failed(&self, why: &str) -> Stop {
        Stop::Failed(format!("receive series from {}: {why}", self.store))
    }

    /// What a store that cannot be reached is said of differs from what one that answers is.
    fn open_failure(&self, status: &Status) -> Stop {
        let unreached =
            status.code() == Code::Unavailable && status.message().starts_with("connection error: ");
        if !unreached {
            return self.failed(&status_text(status));
        }
        let id = match label_sets_text(&self.store.label_sets) {
            id if id.is_empty() => "Store Gateway".to_owned(),
            id => id,
        };
        let text = format!("fetch series for {id} {}: {}", self.store, status_text(status));
        if self.strict { Stop::Refused(Status::unknown(text)) } else { Stop::Failed(text) }
    }
}

/// Takes all series of a store that does not send them in order, or with replica labels.
struct Sorter {
    account: Account,
    removed: Vec<String>,
    all: Vec<Series>,
}

impl Sorter {
    fn new(proxy: &Inner, removed: Vec<String>) -> Self {
        Sorter { account: proxy.budget.account(), removed, all: Vec::new() }
    }

    fn take(&mut self, series: Vec<Series>) -> Result<(), Stop> {
        for mut s in series {
            s.labels = s.labels.without(&self.removed);
            self.account
                .charge(s.byte_len() as u64, &"series to be sorted")
                .map_err(|e| Stop::Refused(Status::resource_exhausted(e.to_string())))?;
            self.all.push(s);
        }
        Ok(())
    }

    fn finish(mut self) -> (Account, Vec<Series>) {
        storeapi::sort::sort_all(&mut self.all);
        (self.account, self.all)
    }
}
