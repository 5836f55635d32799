//! `thanos_bucket_store_*`, by Thanos' names, labels and bounds.
//!
//! Holds the store's metrics; the index cache and the index headers hold their own. It observes nothing
//! itself. Invariant: what Thanos shows at its start, this shows at its start.

use component::metrics::{
    self, Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, core,
};
use storeapi::store::DEFAULT_TENANT;

/// Seconds of one step of a request.
const SECONDS: [f64; 14] = [0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 3.0, 6.0, 9.0, 20.0, 30.0, 60.0, 90.0, 120.0];
/// Seconds to load a block.
const LOAD: [f64; 12] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0, 60.0, 90.0, 120.0, 300.0];
const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;

/// `count` bounds from `start`, each twice the one before.
fn doubling(start: f64, count: i32) -> Vec<f64> {
    (0..count).map(|i| start * 2f64.powi(i)).collect()
}

/// The metrics of a bucket store. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) block_loads: IntCounter,
    pub(crate) block_load_failures: IntCounter,
    pub(crate) block_drops: IntCounter,
    pub(crate) block_drop_failures: IntCounter,
    pub(crate) blocks_loaded: Gauge,
    pub(crate) last_loaded: Gauge,
    pub(crate) block_load_duration: Histogram,
    pub(crate) touched: HistogramVec,
    pub(crate) fetched: HistogramVec,
    pub(crate) touched_bytes: HistogramVec,
    pub(crate) fetched_bytes: HistogramVec,
    pub(crate) blocks_queried: HistogramVec,
    pub(crate) get_all_duration: HistogramVec,
    pub(crate) merge_duration: HistogramVec,
    pub(crate) result_series: HistogramVec,
    pub(crate) sent_chunk_size: HistogramVec,
    pub(crate) postings_size: HistogramVec,
    pub(crate) queries_dropped: IntCounterVec,
    pub(crate) series_refetches: IntCounterVec,
    pub(crate) chunk_refetches: IntCounterVec,
    pub(crate) empty_postings: IntCounterVec,
    pub(crate) lazy_postings: IntCounter,
    pub(crate) lazy_groups: IntCounterVec,
    pub(crate) lazy_size: IntCounter,
    pub(crate) lazy_overfetched: IntCounter,
    pub(crate) series_fetch: HistogramVec,
    pub(crate) series_fetch_sum: HistogramVec,
    pub(crate) postings_fetch: HistogramVec,
    pub(crate) chunks_fetch: HistogramVec,
    pub(crate) chunks_fetch_sum: HistogramVec,
    /// Shown for dashboards; cached postings are kept as they are stored, so nothing is compressed.
    compression: Vec<core::GenericCounterVec<core::AtomicF64>>,
}

/// Registers in groups that share a prefix.
struct Group<'r> {
    registry: &'r Registry,
}

impl Group<'_> {
    fn name(name: &str) -> String {
        format!("thanos_bucket_store_{name}")
    }

    fn counter(&self, name: &str, help: &str) -> metrics::Result<IntCounter> {
        metrics::counter(self.registry, &Self::name(name), help)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> metrics::Result<IntCounterVec> {
        metrics::counters(self.registry, &Self::name(name), help, labels)
    }

    fn gauge(&self, name: &str, help: &str) -> metrics::Result<Gauge> {
        metrics::gauge(self.registry, &Self::name(name), help)
    }

    fn by_tenant(&self, name: &str, help: &str, bounds: &[f64]) -> metrics::Result<HistogramVec> {
        metrics::histograms(self.registry, &Self::name(name), help, &["tenant"], bounds)
    }

    fn by_type(&self, name: &str, help: &str, first: f64) -> metrics::Result<HistogramVec> {
        let labels = ["data_type", "tenant"];
        metrics::histograms(self.registry, &Self::name(name), help, &labels, &doubling(first, 15))
    }

    /// Counters whose series of the default tenant exist from the start.
    fn compression(
        &self,
        name: &str,
        help: &str,
        by_op: bool,
    ) -> metrics::Result<core::GenericCounterVec<core::AtomicF64>> {
        let labels: &[&str] = if by_op { &["op", "tenant"] } else { &["tenant"] };
        let all = metrics::register(
            self.registry,
            core::GenericCounterVec::new(Opts::new(Self::name(name), help), labels)?,
        )?;
        if by_op {
            for op in ["encode", "decode"] {
                all.with_label_values(&[op, DEFAULT_TENANT]);
            }
        }
        Ok(all)
    }
}

impl Metrics {
    /// Makes the series exist that upstream shows of a tenant from its first request.
    pub(crate) fn show_tenant(&self, tenant: &str) {
        for family in &self.compression {
            if family.get_metric_with_label_values(&[tenant]).is_err() {
                for op in ["encode", "decode"] {
                    family.with_label_values(&[op, tenant]);
                }
            }
        }
    }

    /// Registers them.
    ///
    /// # Errors
    /// When `registry` has one of them already.
    pub(crate) fn new(registry: &Registry) -> metrics::Result<Self> {
        let g = Group { registry };
        let mut sizes = vec![32.0, 256.0, 512.0, KIB, 32.0 * KIB, 256.0 * KIB, 512.0 * KIB, MIB];
        let mut postings_sizes = sizes.clone();
        sizes.extend([32.0 * MIB, 256.0 * MIB, 512.0 * MIB]);
        postings_sizes.extend([32.0, 128.0, 256.0, 512.0, 768.0, 1024.0].map(|m| m * MIB));
        Ok(Metrics {
            block_loads: g.counter("block_loads_total", "Blocks of the bucket that were tried to load.")?,
            block_load_failures: g
                .counter("block_load_failures_total", "Blocks of the bucket that failed to load.")?,
            block_drops: g.counter("block_drops_total", "Blocks that were dropped.")?,
            block_drop_failures: g
                .counter("block_drop_failures_total", "Blocks whose local files could not be removed.")?,
            blocks_loaded: g.gauge("blocks_loaded", "Blocks that are loaded now.")?,
            last_loaded: g
                .gauge("blocks_last_loaded_timestamp_seconds", "When the last block was loaded.")?,
            block_load_duration: metrics::histogram(
                registry,
                &Group::name("block_load_duration_seconds"),
                "Seconds taken to load a block.",
                &LOAD,
            )?,
            touched: g.by_type("series_data_touched", "Items looked at by a Series call.", 200.0)?,
            fetched: g.by_type("series_data_fetched", "Items fetched by a Series call.", 200.0)?,
            touched_bytes: g.by_type(
                "series_data_size_touched_bytes",
                "Bytes looked at by a Series call.",
                KIB,
            )?,
            fetched_bytes: g.by_type(
                "series_data_size_fetched_bytes",
                "Bytes fetched by a Series call.",
                KIB,
            )?,
            blocks_queried: g.by_tenant(
                "series_blocks_queried",
                "Blocks that a Series call looked into.",
                &doubling(1.0, 10),
            )?,
            get_all_duration: g.by_tenant(
                "series_get_all_duration_seconds",
                "Seconds until the postings of all blocks were there.",
                &SECONDS,
            )?,
            merge_duration: g.by_tenant(
                "series_merge_duration_seconds",
                "Seconds in which the answers of all blocks were merged and sent.",
                &SECONDS,
            )?,
            result_series: g.by_tenant(
                "series_result_series",
                "Series in the answer of a Series call.",
                &doubling(100.0, 15),
            )?,
            sent_chunk_size: g.by_tenant(
                "sent_chunk_size_bytes",
                "Bytes of the chunks of one series as they were sent.",
                &sizes,
            )?,
            postings_size: g.by_tenant(
                "postings_size_bytes",
                "Bytes of postings of one Series call.",
                &postings_sizes,
            )?,
            queries_dropped: g.counters(
                "queries_dropped_total",
                "Calls that were refused because of a limit.",
                &["reason", "tenant"],
            )?,
            series_refetches: g.counters(
                "series_refetches_total",
                "Series entries that were longer than estimated and read again.",
                &["tenant"],
            )?,
            chunk_refetches: g.counters(
                "chunk_refetches_total",
                "Chunks that were longer than estimated and read again.",
                &["tenant"],
            )?,
            empty_postings: g.counters(
                "empty_postings_total",
                "Blocks that were asked and had no matching series.",
                &["tenant"],
            )?,
            lazy_postings: g.counter(
                "lazy_expanded_postings_total",
                "Lookups in which some postings were not fetched because series are cheaper.",
            )?,
            lazy_groups: g.counters(
                "lazy_expanded_posting_groups_total",
                "Groups of postings that were not fetched, by reason.",
                &["reason"],
            )?,
            lazy_size: g.counter(
                "lazy_expanded_posting_size_bytes_total",
                "Bytes of postings that were not fetched.",
            )?,
            lazy_overfetched: g.counter(
                "lazy_expanded_posting_series_overfetched_size_bytes_total",
                "Bytes of series entries that were fetched in vain in their place.",
            )?,
            series_fetch: g.by_tenant(
                "series_fetch_duration_seconds",
                "Seconds to fetch one batch of series entries, from cache or bucket.",
                &SECONDS,
            )?,
            series_fetch_sum: g.by_tenant(
                "series_fetch_duration_sum_seconds",
                "Seconds to fetch all series entries of one block.",
                &SECONDS,
            )?,
            postings_fetch: g.by_tenant(
                "postings_fetch_duration_seconds",
                "Seconds to fetch the postings of one block, from cache or bucket.",
                &SECONDS,
            )?,
            chunks_fetch: g.by_tenant(
                "chunks_fetch_duration_seconds",
                "Seconds spent fetching the chunks of one block, reads added up.",
                &SECONDS,
            )?,
            chunks_fetch_sum: g.by_tenant(
                "chunks_fetch_duration_sum_seconds",
                "Seconds in which the chunks of one block were fetched.",
                &SECONDS,
            )?,
            compression: vec![
                g.compression(
                    "cached_postings_compressions_total",
                    "Postings compressed for the cache.",
                    true,
                )?,
                g.compression(
                    "cached_postings_compression_errors_total",
                    "Postings that failed to compress.",
                    true,
                )?,
                g.compression(
                    "cached_postings_compression_time_seconds_total",
                    "Seconds spent compressing postings.",
                    true,
                )?,
                g.compression(
                    "cached_postings_original_size_bytes_total",
                    "Bytes of cached postings before compression.",
                    false,
                )?,
                g.compression(
                    "cached_postings_compressed_size_bytes_total",
                    "Bytes of cached postings after compression.",
                    false,
                )?,
            ],
        })
    }
}
