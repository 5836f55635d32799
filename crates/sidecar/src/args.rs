//! The sidecar's flags, by Thanos' names.
//!
//! Holds one item a flag; it opens nothing. Invariant: what is declared here works or stands in
//! `testdata/parity/exceptions.toml` with its reason.

use std::time::Duration;

use component::flags::groups::{GrpcServer, Http, objstore, request_logging};
use component::flags::value::TimeOrDuration;
use component::flags::{Args as Declared, Declare, PathOrContent};

/// How Prometheus is made to reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadMethod {
    /// POST to `/-/reload`.
    Http,
    /// SIGHUP to a process by name.
    Signal,
}

/// The paired Prometheus.
#[derive(Clone, Debug)]
pub struct Prometheus {
    /// Base URL.
    pub url: String,
    /// How long uploads wait for external labels.
    pub ready_timeout: Duration,
    /// How often configuration and time range are read.
    pub config_interval: Duration,
    /// How long one such reading may take.
    pub config_timeout: Duration,
    /// HTTP client settings.
    pub http_client: PathOrContent,
}

/// Watching Prometheus' configuration.
#[derive(Clone, Debug)]
pub struct Reloader {
    /// File to watch; empty for none.
    pub config_file: String,
    /// Where the expanded copy goes; empty for none.
    pub output_file: String,
    /// Directories to watch.
    pub rule_dirs: Vec<String>,
    /// How often everything is read anew.
    pub watch_interval: Duration,
    /// Pause between attempts.
    pub retry_interval: Duration,
    /// How to reload.
    pub method: ReloadMethod,
    /// Name of the process for [`ReloadMethod::Signal`].
    pub process_name: String,
}

/// Shipping of blocks.
#[derive(Clone, Debug)]
pub struct Shipper {
    /// Also ship compacted blocks.
    pub upload_compacted: bool,
    /// Accept that Prometheus compacts.
    pub ignore_unequal_block_size: bool,
    /// Go on behind a block that fails.
    pub allow_out_of_order: bool,
    /// Go on behind a block that cannot be read.
    pub skip_corrupted: bool,
    /// Hash recorded of files.
    pub hash: bool,
    /// Name of the state file.
    pub meta_file_name: String,
    /// Files of a block sent at once; 0 for one.
    pub concurrency: i64,
}

/// All flags.
#[derive(Clone, Debug)]
pub struct Args {
    /// HTTP server.
    pub http: Http,
    /// gRPC server.
    pub grpc: GrpcServer,
    /// Prometheus.
    pub prometheus: Prometheus,
    /// Prometheus' data directory.
    pub tsdb_path: String,
    /// Reloader.
    pub reloader: Reloader,
    /// Request logging.
    pub request_logging: PathOrContent,
    /// Bucket.
    pub objstore: PathOrContent,
    /// Shipping.
    pub shipper: Shipper,
    /// Most series of a Series call.
    pub limit_series: u64,
    /// Most samples of a Series call.
    pub limit_samples: u64,
    /// Oldest time served.
    pub min_time: TimeOrDuration,
}

impl Declared for Prometheus {
    fn declare(d: &mut Declare<'_>) -> Self {
        Prometheus {
            url: d
                .flag("prometheus.url", "Base URL of the paired Prometheus; a local one is best.")
                .default("http://localhost:9090")
                .url(),
            ready_timeout: d
                .flag("prometheus.ready_timeout", "How long uploads wait for Prometheus' external labels.")
                .default("10m")
                .duration(),
            config_interval: d
                .flag("prometheus.get_config_interval", "How often Prometheus' configuration is read.")
                .default("30s")
                .duration(),
            config_timeout: d
                .flag("prometheus.get_config_timeout", "How long reading the configuration may take.")
                .default("30s")
                .duration(),
            http_client: d
                .path_or_content("prometheus.http-client", "HTTP client settings towards Prometheus in YAML.")
                .done(),
        }
    }
}

impl Declared for Reloader {
    fn declare(d: &mut Declare<'_>) -> Self {
        Reloader {
            config_file: d
                .flag("reloader.config-file", "Prometheus configuration file to watch.")
                .default("")
                .string(),
            output_file: d
                .flag(
                    "reloader.config-envsubst-file",
                    "Where the configuration goes with variables replaced.",
                )
                .default("")
                .string(),
            rule_dirs: d.flag("reloader.rule-dir", "Rule directory to watch (repeatable).").strings(),
            watch_interval: d
                .flag("reloader.watch-interval", "How often watched files are read anew.")
                .default("3m")
                .duration(),
            retry_interval: d
                .flag("reloader.retry-interval", "Pause before a failed reload is tried again.")
                .default("5s")
                .duration(),
            method: d
                .flag("reloader.method", "How Prometheus is made to reload: http or signal.")
                .default("http")
                .choice(&[("http", ReloadMethod::Http), ("signal", ReloadMethod::Signal)]),
            process_name: d
                .flag("reloader.process-name", "Name of the process that gets the signal.")
                .default("prometheus")
                .string(),
        }
    }
}

impl Declared for Shipper {
    fn declare(d: &mut Declare<'_>) -> Self {
        Shipper {
            upload_compacted: d
                .flag("shipper.upload-compacted", "Also upload compacted blocks, for a migration.")
                .bool(),
            ignore_unequal_block_size: d
                .flag("shipper.ignore-unequal-block-size", "Accept that Prometheus' block durations differ.")
                .hidden()
                .bool(),
            allow_out_of_order: d
                .flag("shipper.allow-out-of-order-uploads", "Go on behind a block that fails to upload.")
                .hidden()
                .bool(),
            skip_corrupted: d
                .flag("shipper.skip-corrupted-blocks", "Go on behind a block that cannot be read.")
                .hidden()
                .bool(),
            meta_file_name: d
                .flag("shipper.meta-file-name", "File in the data directory that lists uploaded blocks.")
                .default("thanos.shipper.json")
                .string(),
            concurrency: d
                .flag("shipper.upload-concurrency", "Files of a block uploaded at once; 0 for one.")
                .default("0")
                .int(),
            hash: d
                .flag("hash-func", "Hash recorded of uploaded files: SHA256, or empty for none.")
                .default("")
                .choice(&[("SHA256", true), ("", false)]),
        }
    }
}

impl Declared for Args {
    fn declare(d: &mut Declare<'_>) -> Self {
        Args {
            http: Http::declare(d),
            grpc: GrpcServer::declare(d),
            prometheus: Prometheus::declare(d),
            tsdb_path: d.flag("tsdb.path", "Prometheus' data directory.").default("./data").string(),
            reloader: Reloader::declare(d),
            request_logging: request_logging(d),
            objstore: objstore(d, false),
            shipper: Shipper::declare(d),
            limit_series: d
                .flag("store.limits.request-series", "Most series of a Series call; 0 for any number.")
                .default("0")
                .uint64(),
            limit_samples: d
                .flag(
                    "store.limits.request-samples",
                    "Most samples of a Series call, 120 a chunk; 0 for any.",
                )
                .default("0")
                .uint64(),
            min_time: d
                .flag("min-time", "Oldest time served: RFC 3339, or a duration before or after now.")
                .default("0000-01-01T00:00:00Z")
                .time_or_duration(),
        }
    }
}
