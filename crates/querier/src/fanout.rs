//! Which endpoints a query's selections were asked of, and what each sent.
//!
//! Holds the numbers that an analysed query shows (Thanos `pkg/query/fanout`). It asks nobody itself. A
//! selection takes its [`Slot`] along through the stores between query and fan-out; of a query that is not
//! analysed there is none, and nothing is counted. Invariant: an endpoint's numbers are there before the
//! end of its stream is seen.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use storeapi::Series;

/// What one endpoint sent for one selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Which of the query's selections, in the order in which they were begun.
    pub selection: usize,
    /// The endpoint.
    pub address: String,
    /// From the call to the end of the stream.
    pub duration: Duration,
    /// Bytes of labels and chunks.
    pub bytes: u64,
    /// Messages.
    pub responses: u64,
    /// Series.
    pub series: u64,
    /// Chunks.
    pub chunks: u64,
    /// Samples in them.
    pub samples: u64,
}

/// The entries of one query. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Tracker(Arc<Mutex<Vec<Entry>>>);

impl Tracker {
    /// The place of a selection.
    pub fn slot(&self, selection: usize) -> Slot {
        Slot { tracker: self.clone(), selection }
    }

    /// Everything so far, by selection and address.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = self.0.lock().clone();
        entries.sort_by(|a, b| (a.selection, &a.address).cmp(&(b.selection, &b.address)));
        entries
    }
}

/// Where a selection's endpoints are noted.
#[derive(Clone, Debug)]
pub struct Slot {
    tracker: Tracker,
    selection: usize,
}

tokio::task_local! {
    static CURRENT: Slot;
}

/// Awaits `call` with `slot` along, if there is one.
pub async fn within<F: Future>(slot: Option<Slot>, call: F) -> F::Output {
    match slot {
        Some(slot) => CURRENT.scope(slot, call).await,
        None => call.await,
    }
}

/// Begins to count what an endpoint sends, if anybody wants to know.
pub fn begin(address: &str) -> Option<Meter> {
    let slot = CURRENT.try_with(Clone::clone).ok()?;
    let entry = Entry { selection: slot.selection, address: address.to_owned(), ..Entry::default() };
    Some(Meter { tracker: slot.tracker, began: Instant::now(), entry })
}

/// Counts one endpoint's stream; noted when dropped.
#[derive(Debug)]
pub struct Meter {
    tracker: Tracker,
    began: Instant,
    entry: Entry,
}

impl Meter {
    /// A message came, with these series.
    pub fn add(&mut self, series: &[Series]) {
        let entry = &mut self.entry;
        let (chunks, samples) = crate::series::counts(series);
        entry.responses += 1;
        entry.bytes += series.iter().map(|s| s.byte_len() as u64).sum::<u64>();
        entry.series += series.len() as u64;
        entry.chunks += chunks;
        entry.samples += samples;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.entry.duration = self.began.elapsed();
        self.tracker.0.lock().push(std::mem::take(&mut self.entry));
    }
}
