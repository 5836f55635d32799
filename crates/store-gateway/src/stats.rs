//! What a request cost.
//!
//! Holds counters that all parts of a request add to, their place in metrics and in the hints a caller
//! may ask for (upstream `queryStats`). It measures nothing itself. Invariant: everything fetched from
//! the bucket or looked at is counted once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use storeapi_proto::hintspb;

use crate::metrics::Metrics;

/// Kinds of data in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    Postings,
    Series,
    Chunks,
}

impl Data {
    const ALL: [(Data, &str); 3] =
        [(Data::Postings, "postings"), (Data::Series, "series"), (Data::Chunks, "chunks")];
}

#[derive(Debug, Default)]
struct Count {
    items: AtomicU64,
    bytes: AtomicU64,
}

impl Count {
    fn add(&self, items: u64, bytes: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The counters of one request.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    touched: [Count; 3],
    fetched: [Count; 3],
    reads: [AtomicU64; 3],
    postings_to_fetch: AtomicU64,
    merged_series: AtomicU64,
    merged_chunks: AtomicU64,
}

impl Stats {
    /// Items that were looked at, wherever they came from.
    pub(crate) fn touch(&self, data: Data, items: u64, bytes: u64) {
        self.touched[data as usize].add(items, bytes);
    }

    /// Items that one read of the bucket brought.
    pub(crate) fn fetch(&self, data: Data, items: u64, bytes: u64) {
        self.fetched[data as usize].add(items, bytes);
        self.reads[data as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Postings lists that the cache did not have.
    pub(crate) fn to_fetch(&self, lists: u64) {
        self.postings_to_fetch.fetch_add(lists, Ordering::Relaxed);
    }

    /// Series and chunks that were sent.
    pub(crate) fn merged(&self, series: u64, chunks: u64) {
        self.merged_series.fetch_add(series, Ordering::Relaxed);
        self.merged_chunks.fetch_add(chunks, Ordering::Relaxed);
    }

    /// Observes everything for `tenant`.
    pub(crate) fn observe(&self, metrics: &Metrics, tenant: &str) {
        metrics.show_tenant(tenant);
        for (data, name) in Data::ALL {
            let at = data as usize;
            let labels = [name, tenant];
            metrics.touched.with_label_values(&labels).observe(self.touched[at].items() as f64);
            metrics.fetched.with_label_values(&labels).observe(self.fetched[at].items() as f64);
            metrics.touched_bytes.with_label_values(&labels).observe(self.touched[at].bytes() as f64);
            metrics.fetched_bytes.with_label_values(&labels).observe(self.fetched[at].bytes() as f64);
        }
        let postings = self.touched[0].bytes() + self.fetched[0].bytes();
        metrics.postings_size.with_label_values(&[tenant]).observe(postings as f64);
        let series = self.merged_series.load(Ordering::Relaxed);
        metrics.result_series.with_label_values(&[tenant]).observe(series as f64);
    }

    /// The form callers get when they ask for it.
    pub(crate) fn to_hints(&self, blocks: usize, get_all: Duration, merge: Duration) -> hintspb::QueryStats {
        let n = |v: u64| i64::try_from(v).unwrap_or(i64::MAX);
        let load = |v: &AtomicU64| n(v.load(Ordering::Relaxed));
        let duration = |d: Duration| {
            Some(prost_types::Duration { seconds: n(d.as_secs()), nanos: d.subsec_nanos() as i32 })
        };
        let [pt, st, ct] = &self.touched;
        let [pf, sf, cf] = &self.fetched;
        let [pr, sr, cr] = &self.reads;
        hintspb::QueryStats {
            blocks_queried: n(blocks as u64),
            merged_series_count: load(&self.merged_series),
            merged_chunks_count: load(&self.merged_chunks),
            postings_touched: n(pt.items()),
            postings_touched_size_sum: n(pt.bytes()),
            postings_to_fetch: load(&self.postings_to_fetch),
            postings_fetched: n(pf.items()),
            postings_fetched_size_sum: n(pf.bytes()),
            postings_fetch_count: load(pr),
            series_touched: n(st.items()),
            series_touched_size_sum: n(st.bytes()),
            series_fetched: n(sf.items()),
            series_fetched_size_sum: n(sf.bytes()),
            series_fetch_count: load(sr),
            chunks_touched: n(ct.items()),
            chunks_touched_size_sum: n(ct.bytes()),
            chunks_fetched: n(cf.items()),
            chunks_fetched_size_sum: n(cf.bytes()),
            chunks_fetch_count: load(cr),
            data_downloaded_size_sum: n(pf.bytes() + sf.bytes() + cf.bytes()),
            get_all_duration: duration(get_all),
            merge_duration: duration(merge),
        }
    }
}
