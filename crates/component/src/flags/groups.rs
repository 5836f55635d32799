//! Flags that several services share, each group declared once.
//!
//! Names, defaults and syntaxes are Thanos'; the texts are ours. Groups know nothing of how their
//! values are used, but say where to read on. Invariant: a group declares the same flags wherever
//! it is used.

use std::time::Duration;

use super::{Args, Declare, PathOrContent};

/// The flags of every verb, before or after it: logs, tracing, memory.
#[derive(Clone, Debug)]
pub struct Common {
    /// Text or JSON: see `crate::log`.
    pub log_format: crate::log::Format,
    /// The least severe level that is written.
    pub log_level: crate::log::Level,
    /// A name added to every log line; empty for none.
    pub debug_name: String,
    /// Tracing exporter settings.
    pub tracing: PathOrContent,
    /// The memory budget: see `crate::budget`.
    pub memory: Memory,
}

impl Args for Common {
    fn declare(d: &mut Declare<'_>) -> Self {
        use crate::log::{Format, Level};
        d.flag("help", "Print usage and exit; --help-long prints all commands.").short('h').bool();
        d.flag("help-long", "Print the usage of all commands and exit.").hidden().bool();
        d.flag("help-man", "Print the usage of all commands and exit.").hidden().bool();
        d.flag("version", "Print the version and exit.").bool();
        Common {
            debug_name: d.flag("debug.name", "Name added to each log line.").hidden().string(),
            log_level: d.flag("log.level", "Lowest severity that is logged.").default("info").choice(&[
                ("error", Level::Error),
                ("warn", Level::Warn),
                ("info", Level::Info),
                ("debug", Level::Debug),
            ]),
            log_format: d
                .flag("log.format", "How log lines are written: logfmt, json, or journald.")
                .default("logfmt")
                .choice(&[
                    ("logfmt", Format::Logfmt),
                    ("json", Format::Json),
                    ("journald", Format::Journald),
                ]),
            tracing: d
                .path_or_content("tracing.config", "tracing exporter settings in YAML.")
                .expand()
                .done(),
            memory: Memory::declare(d),
        }
    }
}

/// How much memory requests may use together.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The budget in bytes, when set by hand.
    pub budget: Option<u64>,
    /// Whether `ratio` of the detected limit is used where no budget is set by hand.
    pub automatic: bool,
    /// The share of the detected limit, in (0, 1].
    pub ratio: f64,
}

impl Args for Memory {
    fn declare(d: &mut Declare<'_>) -> Self {
        Memory {
            automatic: d
                .flag(
                    "enable-auto-gomemlimit",
                    "Let the memory budget be --auto-gomemlimit.ratio of the memory found.",
                )
                .bool(),
            ratio: d
                .flag(
                    "auto-gomemlimit.ratio",
                    "Share of the container's or machine's memory for that budget, above 0 and at most 1.",
                )
                .default("0.9")
                .float(),
            budget: d
                .flag(
                    "memory.budget",
                    "Bytes that all requests may hold together; a request that needs more is refused. \
                     By default a share of the cgroup limit, the resource limit or the machine's memory.",
                )
                .placeholder("<bytes>")
                .optional_bytes(),
        }
    }
}

/// The HTTP server.
#[derive(Clone, Debug)]
pub struct Http {
    /// `host:port` to listen on.
    pub address: String,
    /// How long shutdown waits for running requests.
    pub grace_period: Duration,
    /// Path of the web configuration (TLS, users, headers); empty for plain HTTP.
    pub config: String,
}

impl Args for Http {
    fn declare(d: &mut Declare<'_>) -> Self {
        Http {
            address: d
                .flag("http-address", "host:port on which HTTP is served.")
                .default("0.0.0.0:10902")
                .string(),
            grace_period: d
                .flag("http-grace-period", "How long shutdown waits for running HTTP requests.")
                .default("2m")
                .prom_duration(),
            config: d
                .flag("http.config", "File with TLS, users and headers for every HTTP path.")
                .default("")
                .string(),
        }
    }
}

/// The gRPC server.
#[derive(Clone, Debug)]
pub struct GrpcServer {
    /// `host:port` to listen on.
    pub address: String,
    /// Certificate and key.
    pub tls: ServerTls,
    /// Age at which connections are asked to reconnect; zero for never.
    pub max_connection_age: Duration,
    /// How long shutdown waits for running calls.
    pub grace_period: Duration,
}

/// TLS of a gRPC server, as flags give it: see `crate::tls`.
#[derive(Clone, Debug, Default)]
pub struct ServerTls {
    /// Certificate file; empty for plain text.
    pub cert: String,
    /// Key file.
    pub key: String,
    /// CA bundle; when set, clients must show a certificate it signed.
    pub client_ca: String,
    /// Least TLS version.
    pub min_version: String,
    /// Go names of cipher suites; empty for the defaults.
    pub ciphers: Vec<String>,
    /// Go names of key exchange groups; empty for the defaults.
    pub curves: Vec<String>,
}

const TLS_VERSIONS: [&str; 4] = ["1.0", "1.1", "1.2", "1.3"];

impl Args for GrpcServer {
    fn declare(d: &mut Declare<'_>) -> Self {
        GrpcServer {
            address: d
                .flag("grpc-address", "host:port on which gRPC is served; other components must reach it.")
                .default("0.0.0.0:10901")
                .string(),
            tls: ServerTls {
                cert: d
                    .flag(
                        "grpc-server-tls-cert",
                        "Certificate file of the gRPC server; empty for plain text.",
                    )
                    .default("")
                    .string(),
                key: d
                    .flag("grpc-server-tls-key", "Key file of the gRPC server; empty for plain text.")
                    .default("")
                    .string(),
                client_ca: d
                    .flag(
                        "grpc-server-tls-client-ca",
                        "CA bundle; when set, clients must show a certificate signed by it.",
                    )
                    .default("")
                    .string(),
                min_version: d
                    .flag("grpc-server-tls-min-version", "Lowest TLS version the gRPC server accepts.")
                    .default("1.3")
                    .one_of(&TLS_VERSIONS),
                ciphers: d
                    .flag(
                        "grpc-server-tls-ciphers",
                        "Cipher suite allowed on the gRPC server, by Go's name (repeatable, or with commas).",
                    )
                    .strings(),
                curves: d
                    .flag(
                        "grpc-server-tls-curves",
                        "Key exchange allowed on the gRPC server, by Go's name (repeatable, or with commas).",
                    )
                    .strings(),
            },
            max_connection_age: d
                .flag("grpc-server-max-connection-age", "Age at which gRPC connections are renewed.")
                .default("60m")
                .duration(),
            grace_period: d
                .flag("grpc-grace-period", "How long shutdown waits for running gRPC calls.")
                .default("2m")
                .duration(),
        }
    }
}

/// How to reach gRPC servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcClient {
    /// Whether to use TLS at all.
    pub secure: bool,
    /// Whether to accept any certificate.
    pub skip_verify: bool,
    /// Certificate shown to servers; empty for none.
    pub cert: String,
    /// Its key.
    pub key: String,
    /// CA bundle; empty for the system's.
    pub ca: String,
    /// Name expected in the servers' certificates; empty for the host.
    pub server_name: String,
    /// Least TLS version.
    pub min_version: String,
    /// Whether requests are compressed with snappy.
    pub snappy: bool,
}

impl Args for GrpcClient {
    fn declare(d: &mut Declare<'_>) -> Self {
        GrpcClient {
            secure: d.flag("grpc-client-tls-secure", "Use TLS towards gRPC endpoints.").bool(),
            skip_verify: d
                .flag("grpc-client-tls-skip-verify", "Do not verify the endpoints' certificates.")
                .bool(),
            cert: d
                .flag("grpc-client-tls-cert", "Certificate file shown to gRPC endpoints.")
                .default("")
                .string(),
            key: d.flag("grpc-client-tls-key", "Key file of that certificate.").default("").string(),
            ca: d.flag("grpc-client-tls-ca", "CA bundle that verifies gRPC endpoints.").default("").string(),
            server_name: d
                .flag("grpc-client-server-name", "Name expected in the endpoints' certificates.")
                .default("")
                .string(),
            snappy: d
                .flag("grpc-compression", "Compression of gRPC requests: snappy or none.")
                .default("none")
                .choice(&[("snappy", true), ("none", false)]),
            min_version: d
                .flag("grpc-client-tls-min-version", "Lowest TLS version towards gRPC endpoints.")
                .default("1.3")
                .one_of(&TLS_VERSIONS),
        }
    }
}

/// Declares the bucket's configuration, `--objstore.config` and `--objstore.config-file`.
pub fn objstore(d: &mut Declare<'_>, required: bool) -> PathOrContent {
    let pair = d.path_or_content("objstore.config", "object storage settings in YAML.").expand().secret();
    if required { pair.required() } else { pair }.done()
}

/// Declares `--request.logging-config` and its file form: see `crate::log::requests`.
pub fn request_logging(d: &mut Declare<'_>) -> PathOrContent {
    d.path_or_content("request.logging-config", "request logging settings in YAML.").expand().done()
}

/// Declares `--selector.relabel-config` and its file form.
pub fn selector_relabel(d: &mut Declare<'_>) -> PathOrContent {
    d.path_or_content(
        "selector.relabel-config",
        "relabelling that selects blocks by external labels, in YAML.",
    )
    .expand()
    .done()
}
