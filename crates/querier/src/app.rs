//! The querier, put together.
//!
//! Holds the page that reads as the diagram: peers, found and asked for Info; a fan-out over them; the
//! engine above it; HTTP and gRPC in front. It decides nothing itself. Invariant: HTTP answers from the
//! start; gRPC, and readiness, begin with the first round of Info.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use component::gate::{self, Gate};
use component::log::requests::Requests;
use component::probe::Probe;
use component::{Env, grpc, http};
use promql::{Engine, EngineOptions};
use storeapi::instrumented::{self, Instrumented};
use storeapi::limited::{Limited, Limits};
use storeapi::{Store, StoreService};
use storeapi_proto::info::info_server::InfoServer;
use storeapi_proto::thanos::query_server::QueryServer;
use tokio::runtime::Handle;

use crate::active::ActiveQueries;
use crate::api::Api;
use crate::api::evaluate::Evaluator;
use crate::args::Args;
use crate::config::Config;
use crate::info::InfoService;
use crate::metrics::Metrics;
use crate::peers::Discovery;
use crate::proxy::{self, Proxy, TsdbSelector};
use crate::queryable::Stores;
use crate::remote::QueryService;

const STORE: [grpc::Method; 3] = [
    grpc::Method::stream("thanos.Store", "Series"),
    grpc::Method::unary("thanos.Store", "LabelNames"),
    grpc::Method::unary("thanos.Store", "LabelValues"),
];
const QUERY: [grpc::Method; 2] =
    [grpc::Method::stream("thanos.Query", "Query"), grpc::Method::stream("thanos.Query", "QueryRange")];
const INFO: [grpc::Method; 1] = [grpc::Method::unary("thanos.info.Info", "Info")];

/// How long readiness waits for the first round of Info where no response timeout is set.
const FIRST_ROUND: Duration = Duration::from_secs(30);

/// Runs until it is told to stop.
///
/// # Errors
/// Whatever keeps the querier from working: configuration, ports.
pub async fn run(args: Args, env: Env) -> anyhow::Result<()> {
    let requests = Requests::from_flag(&args.request_logging)
        .context("error while parsing config for request logging")?;
    let config = Config::new(&args)?;
    let relabel =
        args.stores.selector_relabel.content().context("error while parsing tsdb selector configuration")?;
    let rules = component::relabel::parse(&relabel.unwrap_or_default(), component::relabel::SELECTOR);
    let tsdbs = TsdbSelector::new(rules.map_err(anyhow::Error::msg)?);
    let probe = Probe::new(env.component, &env.registry)?;
    let discovery = Discovery::new(&args.endpoints, &args.client, &env)?;
    let endpoints = discovery.set();

    let limits = proxy::Limits { response_timeout: config.response_timeout, labels_timeout: config.timeout };
    let selector = config.selector_labels.clone();
    let proxy = Proxy::new(endpoints.clone(), selector, tsdbs, limits, env.budget.clone(), &env.registry)?;
    let counted = Instrumented::new(Arc::new(proxy.clone()), instrumented::Metrics::new(&env.registry)?);
    let limits = Limits { series: args.stores.limit_series, samples: args.stores.limit_samples };
    let store = Arc::new(Limited::new(Arc::new(counted), limits, &env.registry)?);

    let evaluator = evaluator(&args, &config, &env, &proxy, store.clone())?;
    let tenant = http::Tenant {
        header: config.tenancy.header.parse().context("query.tenant-header")?,
        default: config.tenancy.default.clone(),
    };
    let remote = QueryService::new(config.clone(), evaluator.clone(), env.clock.clone());
    let api = Arc::new(Api {
        evaluator,
        proxy: proxy.clone(),
        endpoints: endpoints.clone(),
        clock: env.clock.clone(),
        runtime: Handle::current(),
        flags: env.flags.clone(),
        started: env.clock.now_millis(),
        config: config.clone(),
    });
    let router = http::Router::new()
        .with_metrics(http::Metrics::new(&env.registry, Some(tenant))?)
        .with_log(requests.http)
        .with_gzip()
        .with_cors(!args.web.disable_cors);
    let router = api.routes(router);
    let http = http::Server::new(env.component, &args.http, router, &env.registry, &probe)?.start()?;

    let server = grpc::Server::new(env.component, &args.grpc, &env.registry, &probe)
        .with_log(requests.grpc)
        .add(StoreService::new(store), &STORE)
        .add(QueryServer::new(remote).max_decoding_message_size(grpc::MAX_MESSAGE), &QUERY)
        .add(InfoServer::new(InfoService::new(proxy, probe.clone())), &INFO);
    discovery.start(&env);
    tracing::info!("starting query node");

    let timeout = config.response_timeout.unwrap_or(FIRST_ROUND);
    let first = tokio::time::timeout(timeout, endpoints.first_update());
    let grpc = match env.shutdown.or_stop(first).await {
        Some(found) => {
            if found.is_err() {
                tracing::warn!("timeout waiting for first endpoint update before marking gRPC as ready");
            }
            // Whoever is told that this is ready may ask at once.
            let server = server.start()?;
            probe.ready();
            Some(server)
        }
        None => None,
    };
    let stop = async {
        let grpc = async {
            if let Some(grpc) = grpc {
                grpc.stop().await;
            }
        };
        tokio::join!(http.stop(), grpc);
    };
    env.shutdown.drain(&probe, stop, args.grpc.grace_period).await;
    Ok(())
}

/// The engine over the stores.
fn evaluator(
    args: &Args,
    config: &Config,
    env: &Env,
    proxy: &Proxy,
    store: Arc<dyn Store>,
) -> anyhow::Result<Evaluator> {
    let suspects = proxy.clone();
    let stores = Arc::new(Stores {
        store,
        suspects: Box::new(move |series, mint, maxt| suspects.suspects(series, mint, maxt)),
        runtime: Handle::current(),
        max_selects: config.max_concurrent_select,
        selects: Some(gate::Metrics::new(&env.registry, "thanos_query_concurrent_selects_gate", "selects")?),
        algorithm: config.dedup,
    });
    let step = config.evaluation_interval;
    let engine = Engine::new(EngineOptions {
        lookback: config.lookbacks.of(0),
        max_samples: config.max_samples,
        parser: config.syntax,
        slicelabels_hash: true,
        default_step: Arc::new(move |_| step),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        ..EngineOptions::default()
    });
    let gate = gate::Metrics::new(&env.registry, "thanos_query_concurrent_gate", "queries")?;
    let gate = Gate::new(config.max_concurrent, Some(gate));
    let folder = &args.query.active_query_path;
    let tracked = (!folder.is_empty()).then_some(config.max_concurrent);
    let metrics = Metrics::new(&env.registry, &args.telemetry, tracked)?;
    let active = tracked.map(|n| ActiveQueries::open(Path::new(folder), n, env.clock.clone()));
    let active = active.transpose().context("query.active-query-path")?;
    Ok(Evaluator::new(engine, stores, gate, env.budget.clone(), metrics, active, config.timeout))
}
