//! The querier's flags, by Thanos' names.
//!
//! Holds one item a flag; it opens nothing and checks no relation between flags (`config` does).
//! Invariant: what is declared here works or stands in `testdata/parity/exceptions.toml` with its
//! reason.

use std::time::Duration;

use component::flags::groups::{GrpcClient, GrpcServer, Http, request_logging};
use component::flags::{Args as Declared, Declare, PathOrContent};
use dedup::Algorithm;
use storeapi::endpoints::MetricLabel;

/// Which engine a request without `engine` means. Both run the one we have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineName {
    /// Prometheus' engine.
    Prometheus,
    /// Thanos' engine.
    Thanos,
}

/// Whether whole queries are evaluated here, or parts of them by other queriers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Here.
    Local,
    /// Parts elsewhere.
    Distributed,
}

/// Where the API and its pages are served.
#[derive(Clone, Debug)]
pub struct Web {
    /// Path under which everything but probes and metrics is served.
    pub route_prefix: String,
    /// Path by which users reach it.
    pub external_prefix: String,
    /// Header that names that path.
    pub prefix_header: String,
    /// Whether to leave CORS headers out.
    pub disable_cors: bool,
    /// External URL of this querier.
    pub alert_query_url: String,
}

/// Which peers there are.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Addresses, plain or with a DNS prefix.
    pub endpoints: Vec<String>,
    /// Addresses asked also while they are unhealthy.
    pub strict: Vec<String>,
    /// Names that stand for interchangeable peers.
    pub groups: Vec<String>,
    /// The same, asked also while unhealthy.
    pub strict_groups: Vec<String>,
    /// Endpoints in YAML.
    pub sd_config: PathOrContent,
    /// How often that YAML is read again.
    pub sd_config_interval: Duration,
    /// Globs of files that list endpoints.
    pub sd_files: Vec<String>,
    /// How often those files are read again at the latest.
    pub sd_interval: Duration,
    /// How often names are resolved.
    pub dns_interval: Duration,
    /// How names are resolved.
    pub dns_resolver: String,
    /// When an endpoint that does not answer is forgotten.
    pub unhealthy_timeout: Duration,
    /// Deadline of an Info call, and how often it is made.
    pub info_timeout: Duration,
    /// Addresses that stand in for what endpoint groups resolve to.
    pub inject_addresses: Vec<String>,
    /// Labels of the connection gauge.
    pub metric_labels: Vec<MetricLabel>,
}

/// How queries are evaluated.
#[derive(Clone, Debug)]
pub struct Query {
    /// Longest evaluation.
    pub timeout: Duration,
    /// Engine of requests that name none.
    pub engine: EngineName,
    /// Fail instead of using Prometheus' engine.
    pub disable_fallback: bool,
    /// Accept `xrate`, `xincrease` and `xdelta`.
    pub x_functions: bool,
    /// Local or distributed.
    pub mode: Mode,
    /// Queries at once.
    pub max_concurrent: i64,
    /// Selects of one query at once.
    pub max_concurrent_select: i64,
    /// Most samples of a query; zero for any number.
    pub max_samples: u64,
    /// Lookback; zero for five minutes.
    pub lookback_delta: Duration,
    /// Longer lookback over downsampled data.
    pub dynamic_lookback: bool,
    /// How replicas are merged.
    pub dedup: Algorithm,
    /// Replica labels as given, with commas.
    pub replica_labels: Vec<String>,
    /// Labels that partition remote queriers.
    pub partition_labels: Vec<String>,
    /// Use the lowest start time of remote engines.
    pub distributed_overlap: bool,
    /// `max_source_resolution` of instant queries.
    pub instant_resolution: Duration,
    /// Window of metadata requests without one; zero for all time.
    pub metadata_range: Duration,
    /// Whether the resolution follows the step.
    pub auto_downsampling: bool,
    /// Step of subqueries without one.
    pub evaluation_interval: Duration,
    /// Least step of range queries without one.
    pub default_step: Duration,
    /// Directory of the file of running queries; empty for none.
    pub active_query_path: String,
    /// Feature names.
    pub features: Vec<String>,
}

/// Whether answers may be partial, by API.
#[derive(Clone, Copy, Debug)]
pub struct Partial {
    /// Queries, series and labels.
    pub query: bool,
    /// Rules.
    pub rule: bool,
    /// Targets.
    pub target: bool,
    /// Metric metadata.
    pub metadata: bool,
    /// Exemplars.
    pub exemplar: bool,
    /// TSDB statistics.
    pub status: bool,
}

/// How stores are asked.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Longest silence of a store; zero for any.
    pub response_timeout: Duration,
    /// Most series of a Series call; zero for any number.
    pub limit_series: u64,
    /// Most samples of a Series call, 120 a chunk; zero for any number.
    pub limit_samples: u64,
    /// How streams are read; ours are always read as they come.
    pub strategy: String,
    /// Responses buffered with the lazy strategy.
    pub lazy_buffer: i64,
    /// Labels announced for this querier, `name="value"`.
    pub selector_labels: Vec<String>,
    /// Relabelling that selects stores by external labels.
    pub selector_relabel: PathOrContent,
}

/// Buckets of the select telemetry.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Seconds.
    pub seconds: Vec<f64>,
    /// Samples.
    pub samples: Vec<f64>,
    /// Series.
    pub series: Vec<f64>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Tenancy {
    /// Header that names the tenant.
    pub header: String,
    /// Tenant of requests without it.
    pub default: String,
    /// Field of the client's certificate that names the tenant; empty for none.
    pub certificate_field: String,
    /// Whether every selector gets a matcher for the tenant.
    pub enforce: bool,
    /// The label of that matcher.
    pub label: String,
}

/// All flags.
#[derive(Clone, Debug)]
pub struct Args {
    /// HTTP server.
    pub http: Http,
    /// gRPC server.
    pub grpc: GrpcServer,
    /// gRPC clients.
    pub client: GrpcClient,
    /// Paths.
    pub web: Web,
    /// Peers.
    pub endpoints: Endpoints,
    /// Queries.
    pub query: Query,
    /// Partial answers.
    pub partial: Partial,
    /// Stores.
    pub stores: Stores,
    /// Telemetry.
    pub telemetry: Telemetry,
    /// Tenancy.
    pub tenancy: Tenancy,
    /// Request logging.
    pub request_logging: PathOrContent,
}

impl Declared for Web {
    fn declare(d: &mut Declare<'_>) -> Self {
        Web {
            route_prefix: d
                .flag("web.route-prefix", "Path prefix of API and pages; --web.external-prefix by default.")
                .default("")
                .string(),
            external_prefix: d
                .flag("web.external-prefix", "Path prefix in links and redirects.")
                .default("")
                .string(),
            prefix_header: d
                .flag(
                    "web.prefix-header",
                    "Header that names the path prefix; only behind a proxy that sets it.",
                )
                .default("")
                .string(),
            disable_cors: d.flag("web.disable-cors", "Do not send CORS headers.").bool(),
            alert_query_url: d
                .flag("alert.query-url", "External URL of this querier in the links of alerts.")
                .string(),
        }
    }
}

impl Declared for Endpoints {
    fn declare(d: &mut Declare<'_>) -> Self {
        Endpoints {
            endpoints: d
                .flag(
                    "endpoint",
                    "Address of a Thanos API server (repeatable); dns+, dnssrv+, dnssrvnoa+ and dnsdualstack+ \
                     look a name up.",
                )
                .placeholder("<endpoint>")
                .addresses(),
            groups: d
                .flag("endpoint-group", "Name of interchangeable API servers, asked in turn (repeatable).")
                .placeholder("<endpoint-group>")
                .addresses(),
            strict: d
                .flag("endpoint-strict", "Address of a server that is asked also while unhealthy (repeatable).")
                .placeholder("<endpoint-strict>")
                .addresses(),
            strict_groups: d
                .flag("endpoint-group-strict", "Group that is asked also while unhealthy (repeatable).")
                .placeholder("<endpoint-group-strict>")
                .addresses(),
            sd_config: d.path_or_content("endpoint.sd-config", "endpoints in YAML.").done(),
            sd_config_interval: d
                .flag("endpoint.sd-config-reload-interval", "How often that file is read again.")
                .default("5m")
                .prom_duration(),
            sd_files: d
                .flag("store.sd-files", "Files that list endpoints; a glob (repeatable).")
                .placeholder("<path>")
                .strings(),
            sd_interval: d
                .flag("store.sd-interval", "How often those files are read again at the latest.")
                .default("5m")
                .prom_duration(),
            dns_interval: d
                .flag("store.sd-dns-interval", "How often names are resolved.")
                .default("30s")
                .prom_duration(),
            dns_resolver: d
                .flag("store.sd-dns-resolver", "How names are resolved: golang or miekgdns.")
                .default("miekgdns")
                .hidden()
                .string(),
            unhealthy_timeout: d
                .flag("store.unhealthy-timeout", "When an endpoint that does not answer is forgotten.")
                .default("5m")
                .prom_duration(),
            info_timeout: d
                .flag("endpoint.info-timeout", "Deadline of Info calls.")
                .default("5s")
                .hidden()
                .prom_duration(),
            inject_addresses: d
                .flag("inject-test-addresses", "What endpoint groups resolve to, for tests (repeatable).")
                .placeholder("<inject-test-address>")
                .hidden()
                .addresses(),
            metric_labels: metric_labels(d),
        }
    }
}

/// Declares `--query.conn-metric.label`.
fn metric_labels(d: &mut Declare<'_>) -> Vec<MetricLabel> {
    let all = [MetricLabel::ExternalLabels, MetricLabel::StoreType, MetricLabel::IpPort];
    let names = all.map(MetricLabel::name);
    let given = d
        .flag("query.conn-metric.label", "Label of the connection gauge (repeatable).")
        .default(names[0])
        .default(names[1])
        .some_of(&names);
    let mut labels: Vec<MetricLabel> = Vec::new();
    for name in given {
        let label = all.into_iter().find(|l| l.name() == name);
        labels.extend(label.filter(|l| !labels.contains(l)));
    }
    labels
}

impl Declared for Query {
    fn declare(d: &mut Declare<'_>) -> Self {
        Query {
            timeout: d.flag("query.timeout", "Longest evaluation of a query.").default("2m").prom_duration(),
            engine: d
                .flag("query.promql-engine", "Engine of requests that name none; both run the same one.")
                .default("prometheus")
                .choice(&[("prometheus", EngineName::Prometheus), ("thanos", EngineName::Thanos)]),
            disable_fallback: d
                .flag("query.disable-fallback", "Fail where thanos' engine would fall back.")
                .default("false")
                .hidden()
                .bool(),
            x_functions: d
                .flag("query.enable-x-functions", "Accept xrate, xincrease and xdelta.")
                .default("false")
                .bool(),
            mode: d
                .flag("query.mode", "Where queries are evaluated: local or distributed.")
                .default("local")
                .choice(&[("local", Mode::Local), ("distributed", Mode::Distributed)]),
            max_concurrent: d.flag("query.max-concurrent", "Queries evaluated at once.").default("20").int(),
            max_concurrent_select: d
                .flag("query.max-concurrent-select", "Selects of one query at once.")
                .default("4")
                .int(),
            max_samples: d
                .flag(
                    "query.max-samples",
                    "Most samples that a query may hold at a time, as Prometheus counts them; 0 for any number.",
                )
                .default("0")
                .uint64(),
            lookback_delta: d
                .flag("query.lookback-delta", "How far to look back for a sample; 5m when not set.")
                .duration(),
            dynamic_lookback: d
                .flag("query.dynamic-lookback-delta", "Look back further over downsampled data.")
                .default("true")
                .hidden()
                .bool(),
            dedup: d
                .flag("deduplication.func", "How replicas are merged: penalty or chain.")
                .default("penalty")
                .choice(&[("penalty", Algorithm::Penalty), ("chain", Algorithm::Chain)]),
            replica_labels: d
                .flag("query.replica-label", "Label that tells replicas apart (repeatable, or with commas).")
                .strings(),
            partition_labels: d
                .flag("query.partition-label", "Label that partitions remote queriers (repeatable).")
                .strings(),
            distributed_overlap: d
                .flag(
                    "query.distributed-with-overlapping-interval",
                    "Use the lowest start time of remote queriers.",
                )
                .default("false")
                .hidden()
                .bool(),
            instant_resolution: d
                .flag(
                    "query.instant.default.max_source_resolution",
                    "max_source_resolution of instant queries without one.",
                )
                .default("0s")
                .hidden()
                .prom_duration(),
            metadata_range: d
                .flag(
                    "query.metadata.default-time-range",
                    "Window of series and label requests without one; 0 for all time.",
                )
                .default("0s")
                .duration(),
            auto_downsampling: d
                .flag("query.auto-downsampling", "Let the resolution follow the step (step / 5).")
                .default("false")
                .bool(),
            evaluation_interval: d
                .flag("query.default-evaluation-interval", "Step of subqueries without one.")
                .default("1m")
                .prom_duration(),
            default_step: d
                .flag("query.default-step", "Least step of range queries without one.")
                .default("1s")
                .prom_duration(),
            active_query_path: d
                .flag("query.active-query-path", "Directory of the file of running queries.")
                .default("")
                .string(),
            features: d
                .flag("enable-feature", "Feature to enable (repeatable): promql-experimental-functions.")
                .default("")
                .strings(),
        }
    }
}

impl Declared for Partial {
    fn declare(d: &mut Declare<'_>) -> Self {
        let mut hidden = |name: &str, what: &str| {
            d.flag(format!("{name}.partial-response"), format!("Answer {what} partially where stores fail."))
                .default("true")
                .hidden()
                .bool()
        };
        let (rule, target) = (hidden("rule", "rules"), hidden("target", "targets"));
        let (metadata, exemplar) = (hidden("metric-metadata", "metadata"), hidden("exemplar", "exemplars"));
        let status = hidden("status", "TSDB statistics");
        let query = d
            .flag("query.partial-response", "Answer queries partially where stores fail.")
            .default("true")
            .bool();
        Partial { query, rule, target, metadata, exemplar, status }
    }
}

impl Declared for Stores {
    fn declare(d: &mut Declare<'_>) -> Self {
        Stores {
            response_timeout: d
                .flag("store.response-timeout", "How long a store may send nothing; 0 for any time.")
                .default("0ms")
                .prom_duration(),
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
            strategy: d
                .flag("grpc.proxy-strategy", "How streams of stores are read: eager or lazy.")
                .default("eager")
                .hidden()
                .one_of(&["eager", "lazy"]),
            lazy_buffer: d
                .flag(
                    "query.lazy-retrieval-max-buffered-responses",
                    "Responses buffered by the lazy strategy.",
                )
                .default("20")
                .hidden()
                .int(),
            selector_labels: d
                .flag("selector-label", "Label announced for this querier, name=\"value\" (repeatable).")
                .placeholder("<name>=\"<value>\"")
                .strings(),
            selector_relabel: component::flags::groups::selector_relabel(d),
        }
    }
}

impl Declared for Telemetry {
    fn declare(d: &mut Declare<'_>) -> Self {
        let mut floats = |name: &str, help: &str, defaults: &[&str]| {
            let item = d.flag(format!("query.telemetry.{name}"), help);
            defaults.iter().fold(item, |item, value| item.default(value)).floats()
        };
        Telemetry {
            seconds: floats(
                "request-duration-seconds-quantiles",
                "Bucket of the duration of selects (repeatable).",
                &["0.1", "0.25", "0.75", "1.25", "1.75", "2.5", "3", "5", "10"],
            ),
            samples: floats(
                "request-samples-quantiles",
                "Bucket of the samples of selects (repeatable).",
                &["100", "1000", "10000", "100000", "1000000"],
            ),
            series: floats(
                "request-series-seconds-quantiles",
                "Bucket of the series of selects (repeatable).",
                &["10", "100", "1000", "10000", "100000"],
            ),
        }
    }
}

impl Declared for Tenancy {
    fn declare(d: &mut Declare<'_>) -> Self {
        Tenancy {
            header: d
                .flag("query.tenant-header", "Header that names the tenant.")
                .default("THANOS-TENANT")
                .string(),
            default: d
                .flag("query.default-tenant-id", "Tenant of requests without that header.")
                .default("default-tenant")
                .string(),
            certificate_field: d
                .flag(
                    "query.tenant-certificate-field",
                    "Field of the client's certificate that names the tenant.",
                )
                .default("")
                .one_of(&["", "organization", "organizationalUnit", "commonName"]),
            enforce: d
                .flag("query.enforce-tenancy", "Answer with series of the tenant only.")
                .default("false")
                .bool(),
            label: d
                .flag("query.tenant-label-name", "Label that holds the tenant.")
                .default("tenant_id")
                .string(),
        }
    }
}

impl Declared for Args {
    fn declare(d: &mut Declare<'_>) -> Self {
        Args {
            http: Http::declare(d),
            grpc: GrpcServer::declare(d),
            client: GrpcClient::declare(d),
            web: Web::declare(d),
            query: Query::declare(d),
            partial: Partial::declare(d),
            endpoints: Endpoints::declare(d),
            stores: Stores::declare(d),
            telemetry: Telemetry::declare(d),
            tenancy: Tenancy::declare(d),
            request_logging: request_logging(d),
        }
    }
}
