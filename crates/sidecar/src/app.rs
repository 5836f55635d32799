//! The sidecar, put together.
//!
//! Holds the page that reads as the diagram: one Prometheus, watched over; a store in front of it; a
//! loop that ships its blocks; a reloader. It decides nothing itself. Invariant: HTTP answers from the
//! start, gRPC only once the external labels are known.

use std::sync::Arc;

use anyhow::Context as _;
use component::log::requests::Requests;
use component::probe::Probe;
use component::{Env, grpc, http};
use promclient::{Client, HttpClientConfig};
use storeapi::StoreService;
use storeapi::instrumented::{self, Instrumented};
use storeapi::limited::{Limited, Limits};
use storeapi_proto::info::info_server::InfoServer;

use crate::args::Args;
use crate::heartbeat::Heartbeat;
use crate::info::InfoService;
use crate::reloader::Reloader;
use crate::ship;
use crate::state::State;
use crate::store::PrometheusStore;

const METHODS: [grpc::Method; 3] = [
    grpc::Method::stream("thanos.Store", "Series"),
    grpc::Method::unary("thanos.Store", "LabelNames"),
    grpc::Method::unary("thanos.Store", "LabelValues"),
];
const INFO: [grpc::Method; 1] = [grpc::Method::unary("thanos.info.Info", "Info")];

/// Runs until it is told to stop.
///
/// # Errors
/// Whatever keeps the sidecar from working: configuration, ports, a Prometheus without external labels.
pub async fn run(args: Args, env: Env) -> anyhow::Result<()> {
    let requests = Requests::from_flag(&args.request_logging)
        .context("error while parsing config for request logging")?;
    let yaml = args.prometheus.http_client.content().context("getting http client config")?;
    let config = HttpClientConfig::parse(&yaml.unwrap_or_default())?;
    let client = Client::new(&args.prometheus.url, config, "thanos-sidecar", env.budget.clone())?;
    let state = State::new(args.min_time, env.clock.now_millis());
    let probe = Probe::new(env.component, &env.registry)?;

    let bucket = match args.objstore.content().context("getting object store config")? {
        Some(yaml) => {
            let bucket = objstore::config::build(&yaml, env.component, &env.registry);
            Some(bucket.context("create bucket client")?)
        }
        None => {
            tracing::info!("no supported bucket was configured, uploads will be disabled");
            None
        }
    };
    let http = http::Server::new(env.component, &args.http, http::Router::new(), &env.registry, &probe)?;
    let http = http.start()?;

    let heartbeat = Heartbeat::new(&args, &env, client.clone(), state.clone(), probe.clone())?;
    let labelled = heartbeat.labelled();
    component::run::spawn(&env.shutdown, "heartbeat", heartbeat.run(bucket.is_some()));

    let reloader = Reloader::new(&args.reloader, client.clone(), &env)?;
    component::run::spawn(&env.shutdown, "reloader", reloader.run());

    let store = PrometheusStore::new(client, state.clone(), env.budget.clone(), &env.registry)?;
    let counted = Instrumented::new(Arc::new(store), instrumented::Metrics::new(&env.registry)?);
    let limits = Limits { series: args.limit_series, samples: args.limit_samples };
    let limited = Arc::new(Limited::new(Arc::new(counted), limits, &env.registry)?);
    let server = grpc::Server::new(env.component, &args.grpc, &env.registry, &probe)
        .with_log(requests.grpc)
        .add(StoreService::new(limited), &METHODS)
        .add(InfoServer::new(InfoService::new(state.clone(), probe.clone())), &INFO);

    if let Some(bucket) = bucket {
        component::run::spawn(&env.shutdown, "shipper", ship::run(args.clone(), env.clone(), state, bucket));
    }
    tracing::info!("starting sidecar");
    let grpc = match env.shutdown.or_stop(labelled.notified()).await {
        Some(()) => {
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
