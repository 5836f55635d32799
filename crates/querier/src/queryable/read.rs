//! Reading one selection: a task ahead, a set behind it.
//!
//! The task waits for stores and hands batches on through a short channel; the set takes them, decodes,
//! and blocks the query's thread where there is nothing. It knows no request. Invariant: a task whose
//! set is gone ends; a batch's bytes stay charged until the set has decoded it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use component::gate::{Gate, Pass};
use futures::StreamExt;
use model::{Account, Labels, Samples};
use parking_lot::Mutex;
use promql::{SeriesSet, StorageError};
use storeapi::store::status_text;
use storeapi::{Call, Item, Series};
use storeapi_proto::thanos;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{Counts, Range, Stores};
use crate::fanout::{self, Slot};
use crate::pool::Lease;
use crate::series::{BadChunk, Decoder, Size};

/// Batches read ahead of the query.
const AHEAD: usize = 2;

/// What task and set of one selection share.
pub(super) struct Shared {
    pub(super) stores: Arc<Stores>,
    pub(super) account: Arc<Account>,
    pub(super) counts: Arc<Counts>,
    pub(super) incomplete: Arc<AtomicUsize>,
    pub(super) warnings: Mutex<Vec<String>>,
    pub(super) partial: bool,
    pub(super) what: String,
}

impl Shared {
    fn warn(&self, text: String) {
        let mut warnings = self.warnings.lock();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    fn charge(&self, bytes: u64) -> Result<(), StorageError> {
        self.account.charge(bytes, &self.what).map_err(|e| StorageError::Limit(e.to_string()))
    }
}

/// Series whose bytes are charged.
pub(super) struct Batch {
    series: Vec<Series>,
    bytes: u64,
}

/// `Ok(None)` is the end; a channel that closes without it broke off.
pub(super) type Message = Result<Option<Batch>, StorageError>;

/// Reads ahead.
pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) gate: Gate,
    pub(super) cancel: CancellationToken,
    pub(super) deadline: Instant,
    /// Where endpoints are noted, if anybody wants to know.
    pub(super) slot: Option<Slot>,
}

impl Task {
    /// Starts reading.
    pub(super) fn spawn(self, request: thanos::SeriesRequest, call: Call) -> mpsc::Receiver<Message> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let runtime = self.shared.stores.runtime.clone();
        runtime.spawn(async move {
            let last = tokio::select! {
                biased;
                () = self.cancel.cancelled() => {
                    Err(StorageError::Canceled("query was canceled in expression evaluation".to_owned()))
                }
                () = tokio::time::sleep_until(self.deadline) => {
                    Err(StorageError::Timeout("query timed out in expression evaluation".to_owned()))
                }
                // Nobody waits for an answer any more.
                () = sender.closed() => return,
                read = self.read(request, call, &sender) => read.map(|()| None),
            };
            let _ = sender.send(last).await;
        });
        receiver
    }

    async fn read(
        &self,
        request: thanos::SeriesRequest,
        call: Call,
        sender: &mpsc::Sender<Message>,
    ) -> Result<(), StorageError> {
        // A place at the gate is for waiting on stores. It is given up for good as soon as the query is
        // what holds this selection up: the query may be waiting for another selection by then.
        let mut pass: Option<Pass> = Some(self.gate.pass().await);
        let call = self.shared.stores.store.series(request, call);
        let opened = fanout::within(self.slot.clone(), call).await;
        let mut stream = opened.map_err(|e| store_error(&e))?;
        while let Some(item) = stream.next().await {
            let series = match item.map_err(|e| store_error(&e))? {
                Item::Series(series) => series,
                Item::Warning(text) => {
                    self.shared.warn(text);
                    continue;
                }
                Item::Hints(_) => continue,
            };
            let bytes = series.iter().map(|s| s.byte_len() as u64).sum();
            self.shared.charge(bytes)?;
            self.count(&series);
            match sender.try_send(Ok(Some(Batch { series, bytes }))) {
                Ok(()) => {}
                Err(TrySendError::Full(batch)) => {
                    pass = None;
                    if sender.send(batch).await.is_err() {
                        return Ok(());
                    }
                }
                Err(TrySendError::Closed(_)) => return Ok(()),
            }
        }
        drop(pass);
        Ok(())
    }

    fn count(&self, series: &[Series]) {
        let counts = &self.shared.counts;
        counts.series.fetch_add(series.len() as u64, Ordering::Relaxed);
        let (chunks, samples) = crate::series::counts(series);
        counts.chunks.fetch_add(chunks, Ordering::Relaxed);
        counts.samples.fetch_add(samples, Ordering::Relaxed);
    }
}

/// A store's error as the querier shows it: Go wraps it, and prints statuses with their code, other
/// errors, which arrive here as unknown, without.
pub(crate) fn store_error_text(call: &str, status: &Status) -> String {
    match status.code() {
        Code::Unknown if status.message().starts_with("failed to send ") => {
            // The limit was met while sending on, which Go wraps once more.
            format!(
                "proxy {call}: rpc error: code = Unknown desc = send series response: {}",
                status.message()
            )
        }
        Code::Unknown => format!("proxy {call}: {}", status.message()),
        _ => format!("proxy {call}: {}", status_text(status)),
    }
}

fn store_error(status: &Status) -> StorageError {
    let text = store_error_text("Series()", status);
    match status.code() {
        Code::ResourceExhausted => StorageError::Limit(text),
        _ => StorageError::Failed(text),
    }
}

/// The series of one selection, pulled by the query.
pub(super) struct Set {
    shared: Arc<Shared>,
    messages: mpsc::Receiver<Message>,
    decoder: Decoder,
    range: Arc<Range>,
    lease: Arc<Lease>,
    batch: std::vec::IntoIter<Series>,
    batch_bytes: u64,
    decoded_bytes: u64,
    bad: Vec<BadChunk>,
    ended: bool,
}

impl Set {
    pub(super) fn new(
        shared: Arc<Shared>,
        messages: mpsc::Receiver<Message>,
        decoder: Decoder,
        range: Arc<Range>,
        lease: Arc<Lease>,
    ) -> Self {
        Set {
            shared,
            messages,
            decoder,
            range,
            lease,
            batch: Vec::new().into_iter(),
            batch_bytes: 0,
            decoded_bytes: 0,
            bad: Vec::new(),
            ended: false,
        }
    }

    /// The next batch; false at the end.
    fn take_batch(&mut self) -> Result<bool, StorageError> {
        self.shared.account.release(std::mem::take(&mut self.batch_bytes));
        if self.ended {
            return Ok(false);
        }
        let message = match self.messages.try_recv() {
            Ok(message) => Some(message),
            Err(mpsc::error::TryRecvError::Disconnected) => None,
            Err(mpsc::error::TryRecvError::Empty) => {
                let messages = &mut self.messages;
                self.lease.while_outside(|| messages.blocking_recv())
            }
        };
        self.ended = !matches!(message, Some(Ok(Some(_))));
        let broken = || StorageError::Failed("proxy Series(): reading from stores broke off".to_owned());
        let Some(batch) = message.ok_or_else(broken)?? else {
            if self.shared.warnings.lock().is_empty() {
                self.shared.incomplete.fetch_sub(1, Ordering::AcqRel);
            }
            return Ok(false);
        };
        self.batch_bytes = batch.bytes;
        self.batch = batch.series.into_iter();
        Ok(true)
    }

    /// Chunks that cannot be used cost their own samples, or the query where nothing may be missing.
    fn complain(&mut self, labels: &Labels) -> Result<(), StorageError> {
        for bad in self.bad.drain(..) {
            let from = (self.shared.stores.suspects)(labels, bad.min_time, bad.max_time).join(", ");
            let text = format!("decoding series {labels} from {from}: {bad}");
            if !self.shared.partial {
                return Err(StorageError::Failed(text));
            }
            self.shared.warn(text);
        }
        Ok(())
    }
}

impl SeriesSet for Set {
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StorageError> {
        self.shared.account.release(std::mem::take(&mut self.decoded_bytes));
        loop {
            let Some(series) = self.batch.next() else {
                if self.take_batch()? {
                    continue;
                }
                return Ok(None);
            };
            let size = Size::of(&series.chunks);
            self.shared.charge(size.bytes)?;
            self.decoded_bytes += size.bytes;
            self.decoder.decode(&series.chunks, self.range.bounds(), size.samples, samples, &mut self.bad);
            if !self.bad.is_empty() {
                self.complain(&series.labels)?;
            }
            if !samples.is_empty() {
                return Ok(Some(series.labels));
            }
            self.shared.account.release(std::mem::take(&mut self.decoded_bytes));
        }
    }

    fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.shared.warnings.lock())
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        // What is left in the channel stays charged to the account, which ends with the query.
        self.shared.account.release(self.batch_bytes + self.decoded_bytes);
    }
}
