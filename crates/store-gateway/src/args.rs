//! The store gateway's flags, by Thanos' names.
//!
//! Holds one item a flag; it opens nothing. Invariant: what is declared here works or stands in
//! `testdata/parity/exceptions.toml` with its reason.

use std::time::Duration;

use component::flags::groups::{GrpcServer, Http, objstore, request_logging, selector_relabel};
use component::flags::value::TimeOrDuration;
use component::flags::{Args as Declared, Declare, PathOrContent};

/// Discovery of blocks.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// Between two syncs.
    pub sync_every: Duration,
    /// How the bucket is listed.
    pub discovery_strategy: String,
    /// Blocks loaded at once.
    pub sync_concurrency: i64,
    /// `meta.json` files read at once.
    pub meta_concurrency: i64,
    /// Oldest time served.
    pub min_time: TimeOrDuration,
    /// Latest time served.
    pub max_time: TimeOrDuration,
    /// Rules that select blocks.
    pub selector_relabel: PathOrContent,
    /// Younger blocks are not served.
    pub consistency_delay: Duration,
    /// Blocks marked for longer are not served.
    pub deletion_marks_delay: Duration,
    /// Bucket with parquet copies.
    pub parquet: PathOrContent,
}

/// What is kept, and where.
#[derive(Clone, Debug)]
pub struct Caching {
    /// Local folder.
    pub data_dir: String,
    /// Whether headers are kept in it.
    pub headers_on_disk: bool,
    /// Bytes of the index cache.
    pub index_cache_size: i64,
    /// The index cache in detail.
    pub index_cache: PathOrContent,
    /// Cache in front of the bucket.
    pub bucket_cache: PathOrContent,
    /// Bytes of upstream's chunk pool.
    pub chunk_pool_size: i64,
    /// Compiled matchers kept.
    pub matcher_cache_size: i64,
}

/// Index headers.
#[derive(Clone, Debug)]
pub struct Headers {
    /// Loaded on first use.
    pub lazy_reader: bool,
    /// Built on first use too.
    pub lazy_download: bool,
    /// Unused headers are dropped after this.
    pub idle_timeout: Duration,
    /// Every how many label values one stays in memory.
    pub sampling: i64,
}

/// How calls are answered.
#[derive(Clone, Debug)]
pub struct Calls {
    /// Most series of a call.
    pub limit_series: u64,
    /// Most samples of a Series call.
    pub limit_samples: u64,
    /// Old name of [`Calls::limit_series`].
    pub touched_series_limit: u64,
    /// Old name of [`Calls::limit_samples`].
    pub series_sample_limit: u64,
    /// Most bytes of a call.
    pub downloaded_bytes_limit: i64,
    /// Series calls at once.
    pub max_concurrency: i64,
    /// Series read at once from one block.
    pub series_batch: i64,
    /// Assumed bytes of a series entry.
    pub max_series_size: u64,
    /// Assumed bytes of a chunk.
    pub max_chunk_size: u64,
    /// Some postings may stay unread.
    pub lazy_postings: bool,
    /// Keys per series above which they do.
    pub key_series_ratio: f64,
}

/// HTTP beside probes and metrics.
#[derive(Clone, Debug)]
pub struct Web {
    /// Neither pages nor API.
    pub disable: bool,
    /// Prefix of links.
    pub external_prefix: String,
    /// Header that carries a prefix.
    pub prefix_header: String,
    /// No CORS headers.
    pub disable_cors: bool,
    /// External label by which pages group blocks.
    pub bucket_label: String,
    /// Blocks cannot be marked.
    pub disable_admin: bool,
}

/// All flags.
#[derive(Clone, Debug)]
pub struct Args {
    /// HTTP server.
    pub http: Http,
    /// gRPC server.
    pub grpc: GrpcServer,
    /// Bucket.
    pub objstore: PathOrContent,
    /// Request logging.
    pub request_logging: PathOrContent,
    /// Discovery.
    pub blocks: Blocks,
    /// Caches.
    pub caching: Caching,
    /// Index headers.
    pub headers: Headers,
    /// Calls.
    pub calls: Calls,
    /// Pages and API.
    pub web: Web,
}

impl Declared for Blocks {
    fn declare(d: &mut Declare<'_>) -> Self {
        Blocks {
            sync_every: d
                .flag("sync-block-duration", "Pause between two looks at the bucket's blocks.")
                .default("15m")
                .duration(),
            discovery_strategy: d
                .flag(
                    "block-discovery-strategy",
                    "How blocks are found: concurrent (one call a block) or recursive (all objects listed).",
                )
                .default("concurrent")
                .string(),
            sync_concurrency: d
                .flag("block-sync-concurrency", "Blocks loaded at once; at least 1.")
                .default("20")
                .int(),
            meta_concurrency: d
                .flag("block-meta-fetch-concurrency", "Files of block metadata read at once.")
                .default("32")
                .int(),
            min_time: d
                .flag("min-time", "Oldest time served: RFC 3339, or a duration before or after now.")
                .default("0000-01-01T00:00:00Z")
                .time_or_duration(),
            max_time: d
                .flag("max-time", "Latest time served: RFC 3339, or a duration before or after now.")
                .default("9999-12-31T23:59:59Z")
                .time_or_duration(),
            selector_relabel: selector_relabel(d),
            consistency_delay: d
                .flag("consistency-delay", "Least age of a block that is served, for buckets that lag.")
                .default("0s")
                .prom_duration(),
            deletion_marks_delay: d
                .flag(
                    "ignore-deletion-marks-delay",
                    "How long blocks marked for deletion are still served; half the compactor's delete delay.",
                )
                .default("24h")
                .prom_duration(),
            parquet: d
                .path_or_content("objstore-parquet.config", "settings of the bucket with parquet copies in YAML.")
                .expand()
                .done(),
        }
    }
}

impl Declared for Caching {
    fn declare(d: &mut Declare<'_>) -> Self {
        Caching {
            data_dir: d
                .flag(
                    "data-dir",
                    "Local folder for index headers and block metadata; all of it can be fetched again.",
                )
                .default("./data")
                .string(),
            headers_on_disk: d
                .flag("cache-index-header", "Keep index headers in the data directory.")
                .default("true")
                .bool(),
            index_cache_size: d
                .flag(
                    "index-cache-size",
                    "Bytes of the index cache in memory; without effect beside --index-cache.config.",
                )
                .default("250MB")
                .signed_bytes(),
            index_cache: d
                .path_or_content("index-cache.config", "index cache settings in YAML.")
                .expand()
                .done(),
            bucket_cache: d
                .path_or_content("store.caching-bucket.config", "bucket cache settings in YAML.")
                .expand()
                .hidden()
                .done(),
            chunk_pool_size: d
                .flag("chunk-pool-size", "Accepted for compatibility; the memory budget bounds chunks.")
                .default("2GB")
                .signed_bytes(),
            matcher_cache_size: d
                .flag("matcher-cache-size", "Compiled matchers that are kept; 0 for none.")
                .default("0")
                .int(),
        }
    }
}

impl Declared for Headers {
    fn declare(d: &mut Declare<'_>) -> Self {
        Headers {
            lazy_reader: d
                .flag("store.enable-index-header-lazy-reader", "Load an index header when it is first used.")
                .bool(),
            lazy_download: d
                .flag(
                    "store.index-header-lazy-download-strategy",
                    "When index headers are built: eager (with the block) or lazy (at its first query).",
                )
                .default("eager")
                .choice(&[("eager", false), ("lazy", true)]),
            idle_timeout: d
                .flag(
                    "store.index-header-lazy-reader-idle-timeout",
                    "Lazily loaded index headers leave memory after so long without use; 0 for never.",
                )
                .default("5m")
                .hidden()
                .duration(),
            sampling: d
                .flag(
                    "store.index-header-posting-offsets-in-mem-sampling",
                    "Every how many label values one stays in memory.",
                )
                .default("32")
                .hidden()
                .int(),
        }
    }
}

impl Declared for Calls {
    fn declare(d: &mut Declare<'_>) -> Self {
        Calls {
            limit_series: d
                .flag("store.limits.request-series", "Most series of a call; 0 for any number.")
                .default("0")
                .uint64(),
            limit_samples: d
                .flag(
                    "store.limits.request-samples",
                    "Most samples of a Series call, 120 a chunk; 0 for any.",
                )
                .default("0")
                .uint64(),
            touched_series_limit: d
                .flag("store.grpc.touched-series-limit", "Old name of --store.limits.request-series.")
                .default("0")
                .uint64(),
            series_sample_limit: d
                .flag("store.grpc.series-sample-limit", "Old name of --store.limits.request-samples.")
                .default("0")
                .uint64(),
            downloaded_bytes_limit: d
                .flag(
                    "store.grpc.downloaded-bytes-limit",
                    "Most bytes a call may take from bucket and index cache; 0 for any number.",
                )
                .default("0")
                .signed_bytes(),
            max_concurrency: d
                .flag("store.grpc.series-max-concurrency", "Series calls answered at once.")
                .default("20")
                .int(),
            series_batch: d
                .flag("debug.series-batch-size", "Series read at once from one block.")
                .default("10000")
                .hidden()
                .int(),
            max_series_size: d
                .flag("debug.estimated-max-series-size", "Bytes a series entry is assumed to have at most.")
                .default("65536")
                .hidden()
                .uint64(),
            max_chunk_size: d
                .flag("debug.estimated-max-chunk-size", "Bytes a chunk is assumed to have at most.")
                .default("16000")
                .hidden()
                .uint64(),
            lazy_postings: d
                .flag(
                    "store.enable-lazy-expanded-postings",
                    "Leave postings unread where reading series and matching them takes fewer bytes.",
                )
                .bool(),
            key_series_ratio: d
                .flag(
                    "store.posting-group-max-key-series-ratio",
                    "Label values per selected series above which their postings stay unread; 0 for no bound.",
                )
                .default("100")
                .float(),
        }
    }
}

impl Declared for Web {
    fn declare(d: &mut Declare<'_>) -> Self {
        Web {
            disable: d.flag("web.disable", "Serve probes and metrics only.").bool(),
            external_prefix: d.flag("web.external-prefix", "Prefix of links in pages.").default("").string(),
            prefix_header: d
                .flag("web.prefix-header", "Request header that carries the prefix of links.")
                .default("")
                .string(),
            disable_cors: d.flag("web.disable-cors", "Send no CORS headers.").bool(),
            bucket_label: d.flag("bucket-web-label", "External label by which pages group blocks.").string(),
            disable_admin: d
                .flag("disable-admin-operations", "Do not let blocks be marked over HTTP.")
                .bool(),
        }
    }
}

impl Declared for Args {
    fn declare(d: &mut Declare<'_>) -> Self {
        Args {
            http: Http::declare(d),
            grpc: GrpcServer::declare(d),
            objstore: objstore(d, true),
            request_logging: request_logging(d),
            blocks: Blocks::declare(d),
            caching: Caching::declare(d),
            headers: Headers::declare(d),
            calls: Calls::declare(d),
            web: Web::declare(d),
        }
    }
}
