//! The flags, validated.
//!
//! Holds what follows from flags without looking at the network: replica labels split, selector labels
//! unquoted, prefixes normalised, lookbacks by resolution. It opens nothing. Invariant: a value that the
//! service cannot honour is refused here, by name, or logged once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use model::{Labels, Millis};
use promql::parse;

use crate::args::{Args, EngineName, Mode};

/// Resolutions of blocks, in milliseconds: raw, five minutes, one hour.
const RESOLUTIONS: [Millis; 3] = [0, 300_000, 3_600_000];

/// Prometheus' lookback where none is set.
const DEFAULT_LOOKBACK: Millis = 300_000;

/// A lookback for each resolution (Thanos `LookbackDeltaFactory`): data of five minutes or one hour
/// has gaps that would look stale within five minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookbacks {
    given: Millis,
    by_resolution: Vec<Millis>,
}

impl Lookbacks {
    /// Lookbacks for a flag's value, zero where it is not set.
    pub fn new(given: Millis, dynamic: bool) -> Self {
        let mut last = given;
        let levels = if dynamic { &RESOLUTIONS[..] } else { &RESOLUTIONS[..1] };
        let by_resolution = levels
            .iter()
            .map(|r| {
                if given < *r {
                    last = *r;
                }
                last
            })
            .collect();
        Lookbacks { given, by_resolution }
    }

    /// The lookback for queries that may read data as coarse as `max_resolution`.
    pub fn of(&self, max_resolution: Millis) -> Millis {
        let coarse = (1..self.by_resolution.len())
            .rev()
            .find(|i| RESOLUTIONS[i - 1].max(self.given) < max_resolution)
            .unwrap_or(0);
        match self.by_resolution[coarse] {
            0 => DEFAULT_LOOKBACK,
            lookback => lookback,
        }
    }
}

/// How tenants are told apart.
#[derive(Clone, Debug)]
pub struct Tenancy {
    /// Header that names the tenant.
    pub header: String,
    /// Tenant of requests without it.
    pub default: String,
    /// The label that every selector must match the tenant with, when enforced.
    pub enforced_label: Option<Arc<str>>,
}

/// How requests are answered.
#[derive(Clone, Debug)]
pub struct Config {
    /// Path prefix of API and pages, empty or `/…` without a slash at the end.
    pub route_prefix: String,
    /// Sorted, without repetition.
    pub replica_labels: Vec<String>,
    /// Labels announced for this querier.
    pub selector_labels: Labels,
    /// Lookback by resolution.
    pub lookbacks: Lookbacks,
    /// Syntax that is accepted.
    pub syntax: parse::Options,
    /// Engine of requests that name none.
    pub engine: EngineName,
    /// Longest evaluation.
    pub timeout: Duration,
    /// Queries at once.
    pub max_concurrent: usize,
    /// Selects of one query at once.
    pub max_concurrent_select: usize,
    /// Most samples of a query; zero for any number.
    pub max_samples: usize,
    /// Step of subqueries without one.
    pub evaluation_interval: Millis,
    /// Least step of range queries without one.
    pub default_step: Duration,
    /// How replicas are merged.
    pub dedup: dedup::Algorithm,
    /// Whether answers may be partial where a request does not say.
    pub partial_response: bool,
    /// Whether the resolution follows the step where a request does not say.
    pub auto_downsampling: bool,
    /// Resolution of instant queries where it follows the flag, in milliseconds.
    pub instant_resolution: Millis,
    /// Window of metadata requests without one; zero for all time.
    pub metadata_range: Millis,
    /// Longest silence of a store; `None` for any.
    pub response_timeout: Option<Duration>,
    /// Tenants.
    pub tenancy: Tenancy,
}

impl Config {
    /// Validates `args`.
    ///
    /// # Errors
    /// A value that cannot be honoured.
    pub fn new(args: &Args) -> anyhow::Result<Self> {
        warn_of_ignored(args);
        let tenancy = &args.tenancy;
        if !tenancy.certificate_field.is_empty() {
            anyhow::bail!(
                "query.tenant-certificate-field: this version reads no client certificates; remove the flag"
            );
        }
        let prefix = match args.web.route_prefix.as_str() {
            "" => path_of(&args.web.external_prefix),
            given => given,
        };
        let syntax = parse::Options {
            experimental_functions: has_feature(args, "promql-experimental-functions"),
            xfunctions: args.query.x_functions,
            ..parse::Options::default()
        };
        Ok(Config {
            route_prefix: match prefix.trim_matches('/') {
                "" => String::new(),
                path => format!("/{path}"),
            },
            replica_labels: split_labels(&args.query.replica_labels),
            selector_labels: parse_labels(&args.stores.selector_labels).context("parse federation labels")?,
            lookbacks: Lookbacks::new(millis(args.query.lookback_delta), args.query.dynamic_lookback),
            syntax,
            engine: args.query.engine,
            timeout: args.query.timeout,
            max_concurrent: usize::try_from(args.query.max_concurrent).unwrap_or(0),
            max_concurrent_select: usize::try_from(args.query.max_concurrent_select).unwrap_or(0),
            max_samples: usize::try_from(args.query.max_samples).unwrap_or(usize::MAX),
            evaluation_interval: millis(args.query.evaluation_interval),
            default_step: args.query.default_step,
            dedup: args.query.dedup,
            partial_response: args.partial.query,
            auto_downsampling: args.query.auto_downsampling,
            instant_resolution: millis(args.query.instant_resolution),
            metadata_range: millis(args.query.metadata_range),
            response_timeout: Some(args.stores.response_timeout).filter(|t| !t.is_zero()),
            tenancy: Tenancy {
                header: tenancy.header.clone(),
                default: tenancy.default.clone(),
                enforced_label: tenancy.enforce.then(|| tenancy.label.as_str().into()),
            },
        })
    }
}

fn has_feature(args: &Args, name: &str) -> bool {
    args.query.features.iter().any(|f| f == name)
}

/// Says once what is accepted without effect; `exceptions.toml` has the same list.
fn warn_of_ignored(args: &Args) {
    for feature in ["promql-at-modifier", "promql-negative-offset"] {
        if has_feature(args, feature) {
            tracing::warn!(
                option = feature,
                "This option for --enable-feature is now permanently enabled and therefore a no-op."
            );
        }
    }
    if has_feature(args, "query-pushdown") {
        tracing::warn!(
            option = "query-pushdown",
            "This option for --enable-feature is now permanently deprecated and therefore ignored."
        );
    }
    if has_feature(args, "promql-experimental-functions") {
        tracing::info!(option = "promql-experimental-functions", "Experimental PromQL functions enabled.");
    }
    let ignored = [
        (
            args.query.disable_fallback,
            "query.disable-fallback",
            "there is one engine, which never falls back",
        ),
        (
            args.query.mode == Mode::Distributed,
            "query.mode",
            "queries are evaluated here, over all stores; answers are the same",
        ),
        (
            !args.query.partition_labels.is_empty(),
            "query.partition-label",
            "it only concerns --query.mode=distributed",
        ),
        (
            args.query.distributed_overlap,
            "query.distributed-with-overlapping-interval",
            "it only concerns --query.mode=distributed",
        ),
        (args.stores.strategy == "lazy", "grpc.proxy-strategy", "streams are always read as they come"),
        (
            args.stores.lazy_buffer != 20,
            "query.lazy-retrieval-max-buffered-responses",
            "buffers have a fixed size in bytes",
        ),
    ];
    for (given, flag, why) in ignored {
        if given {
            tracing::warn!(flag, why, "flag is accepted without effect");
        }
    }
}

/// The path of `--web.external-prefix`, which may be a whole URL.
fn path_of(prefix: &str) -> &str {
    match prefix.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => prefix,
    }
}

/// Label names from flags with commas: sorted, each once.
pub fn split_labels(given: &[String]) -> Vec<String> {
    let mut all: Vec<String> =
        given.iter().filter(|g| !g.is_empty()).flat_map(|g| g.split(',')).map(str::to_owned).collect();
    all.sort();
    all.dedup();
    all
}

/// Labels from `name="value"` flags (Thanos `parseFlagLabels`).
fn parse_labels(given: &[String]) -> anyhow::Result<Labels> {
    let mut pairs = Vec::new();
    for text in given {
        let (name, value) =
            text.split_once('=').ok_or_else(|| anyhow::anyhow!("unrecognized label {text:?}"))?;
        anyhow::ensure!(!name.is_empty(), "unsupported format for label {text}");
        let parsed = value
            .starts_with(['"', '`'])
            .then(|| parse::Options::default().parse_metric(format!("{{value={value}}}")).ok())
            .flatten()
            .filter(|set| set.len() <= 1)
            .ok_or_else(|| anyhow::anyhow!("unquote label value: invalid syntax"))?;
        pairs.push((name.to_owned(), parsed.value("value").to_owned()));
    }
    Ok(Labels::from_pairs(pairs))
}

fn millis(length: Duration) -> Millis {
    Millis::try_from(length.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookback_grows_with_the_resolution_as_in_thanos() {
        let unset = Lookbacks::new(0, true);
        let table = |l: &Lookbacks| [0, 1, 300_000, 300_001, 3_600_000].map(|r| l.of(r) / 60_000);
        assert_eq!(table(&unset), [5, 5, 5, 60, 60]);
        assert_eq!(table(&Lookbacks::new(600_000, true)), [10, 10, 10, 10, 60]);
        assert_eq!(table(&Lookbacks::new(7_200_000, true)), [120, 120, 120, 120, 120]);
        assert_eq!(table(&Lookbacks::new(0, false)), [5, 5, 5, 5, 5]);
    }

    #[test]
    fn replica_labels_split_at_commas() {
        let given = ["b,a", "", "c", "a"].map(str::to_owned);
        assert_eq!(split_labels(&given), ["a", "b", "c"]);
    }

    #[test]
    fn selector_labels_are_quoted_or_refused() {
        let parse = |text: &str| parse_labels(&[text.to_owned()]);
        assert_eq!(parse(r#"a="x\n""#).unwrap().value("a"), "x\n");
        assert_eq!(parse("a=``").unwrap().get("a"), Some(""));
        for bad in ["a", "a=x", "=\"x\"", r#"a="x",b="y""#] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_may_be_urls() {
        assert_eq!(path_of("http://thanos.example:80/a/b"), "/a/b");
        assert_eq!((path_of("http://thanos.example"), path_of("/x")), ("", "/x"));
    }
}
