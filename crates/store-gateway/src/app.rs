//! The store gateway, put together.
//!
//! Holds the page that reads as the diagram: a bucket, discovery of its blocks, the store over them, HTTP
//! and gRPC in front. It decides nothing itself. Invariant: HTTP answers from the start; gRPC, and
//! readiness, begin with the first sync, which is tried for half a minute.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bucket::fetcher::{self, Fetcher};
use bucket::filter::{
    ConsistencyDelay, Deduplicate, Filter, IgnoreDeletionMarks, LabelSharded, TimePartition,
};
use component::log::requests::Requests;
use component::probe::Probe;
use component::{Env, grpc, http};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use objstore::SharedBucket;
use storeapi::StoreService;
use storeapi::instrumented::{self, Instrumented};
use storeapi_proto::info::info_server::InfoServer;
use tokio::sync::Notify;

use crate::api::Api;
use crate::args::Args;
use crate::cache::IndexCache;
use crate::config::Config;
use crate::info::InfoService;
use crate::store::BucketStore;

const STORE: [grpc::Method; 3] = [
    grpc::Method::stream("thanos.Store", "Series"),
    grpc::Method::unary("thanos.Store", "LabelNames"),
    grpc::Method::unary("thanos.Store", "LabelValues"),
];
const INFO: [grpc::Method; 1] = [grpc::Method::unary("thanos.info.Info", "Info")];

/// How long the first sync is tried, and the pause between tries.
const FIRST_SYNC: Duration = Duration::from_secs(30);
const FIRST_SYNC_PAUSE: Duration = Duration::from_secs(10);
/// How often unused index headers are looked for.
const UNLOAD_EVERY: Duration = Duration::from_secs(60);

/// Runs until it is told to stop.
///
/// # Errors
/// Whatever keeps the store from working: configuration, ports, a bucket that cannot be read.
pub async fn run(args: Args, env: Env) -> anyhow::Result<()> {
    let config = Config::new(&args, &env.clock)?;
    let bucket = objstore::config::build(&config.bucket, env.component, &env.registry)?;
    let probe = Probe::new(env.component, &env.registry)?;
    let api = Api::new(&env, &args.web.bucket_label);
    let requests = Requests::from_flag(&args.request_logging)
        .context("error while parsing config for request logging")?;
    let mut router = http::Router::new();
    if !args.web.disable {
        let counted = router.with_metrics(http::Metrics::new(&env.registry, None)?).with_gzip();
        let counted = counted.with_log(requests.http);
        router = api.routes(counted.with_cors(!args.web.disable_cors));
    }
    let http = http::Server::new(env.component, &args.http, router, &env.registry, &probe)?.start()?;

    let fetcher = discovery(&args, &config, &bucket, &env)?;
    let cache = Arc::new(IndexCache::new(config.cache, &env.budget, &env.registry)?);
    let store = Arc::new(BucketStore::new(bucket, config.store, cache, env.clone())?);
    let counted = Instrumented::new(store.clone(), instrumented::Metrics::new(&env.registry)?);
    let server = grpc::Server::new(env.component, &args.grpc, &env.registry, &probe)
        .with_log(requests.grpc)
        .add(StoreService::new(Arc::new(counted)), &STORE)
        .add(InfoServer::new(InfoService::new(store.clone(), probe.clone())), &INFO);

    let synced = Arc::new(Notify::new());
    let sync = Sync { fetcher, store: store.clone(), api, env: env.clone(), every: args.blocks.sync_every };
    component::run::spawn(&env.shutdown, "block sync", sync.run(synced.clone()));
    component::run::spawn(&env.shutdown, "index header unloading", unload(store, env.clone()));
    tracing::info!("starting store node");
    let grpc = match env.shutdown.or_stop(synced.notified()).await {
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

/// Discovery with Thanos' filters, in their order.
fn discovery(args: &Args, config: &Config, bucket: &SharedBucket, env: &Env) -> anyhow::Result<Fetcher> {
    let (blocks, n) = (&args.blocks, config.meta_concurrency);
    let filters: Vec<Box<dyn Filter>> = vec![
        Box::new(TimePartition { min: blocks.min_time, max: blocks.max_time }),
        Box::new(LabelSharded { rules: config.rules.clone() }),
        Box::new(ConsistencyDelay::new(blocks.consistency_delay, &env.registry)?),
        Box::new(IgnoreDeletionMarks::new(bucket.clone(), blocks.deletion_marks_delay, n)),
        Box::new(Deduplicate),
    ];
    let options = fetcher::Options {
        strategy: config.strategy,
        concurrency: n,
        data_dir: config.store.data_dir.clone(),
    };
    let fetcher = Fetcher::new(bucket.clone(), options, filters, env.clock.clone(), &env.registry);
    fetcher.context("meta fetcher")
}

/// Keeps the store's blocks as the bucket's.
struct Sync {
    fetcher: Fetcher,
    store: Arc<BucketStore>,
    api: Arc<Api>,
    env: Env,
    every: Duration,
}

impl Sync {
    async fn run(self, synced: Arc<Notify>) -> anyhow::Result<()> {
        tracing::info!("initializing bucket store");
        let began = Instant::now();
        let first = async {
            loop {
                match self.round().await {
                    Ok(()) => return Ok(()),
                    Err(e) if began.elapsed() + FIRST_SYNC_PAUSE > FIRST_SYNC => return Err(e),
                    Err(e) => {
                        tracing::error!(err = %format!("{e:#}"), "function failed. Retrying in next tick")
                    }
                }
                self.env.clock.sleep(FIRST_SYNC_PAUSE).await;
            }
        };
        match self.env.shutdown.or_stop(first).await {
            None => return Ok(()),
            Some(done) => done.context("bucket store initial sync")?,
        }
        self.store.remove_stale_folders().await;
        tracing::info!(init_duration = ?began.elapsed(), "bucket store ready");
        synced.notify_one();
        while self.env.shutdown.or_stop(self.env.clock.sleep(self.every)).await.is_some() {
            match self.env.shutdown.or_stop(self.round()).await {
                Some(Err(e)) => tracing::warn!(err = %format!("{e:#}"), "syncing blocks failed"),
                Some(Ok(())) => {}
                None => break,
            }
        }
        Ok(())
    }

    /// Boxed, because the compiler cannot see through all that is borrowed within.
    fn round(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        self.round_unboxed().boxed()
    }

    async fn round_unboxed(&self) -> anyhow::Result<()> {
        let now = self.env.clock.now_millis();
        let view = match self.fetcher.fetch().await {
            Ok(view) => view,
            Err(e) => {
                self.api.set_loaded(Err(e.to_string()), now);
                return Err(anyhow::Error::new(e).context("sync block"));
            }
        };
        self.api.set_loaded(Ok(view.blocks.values().cloned().collect()), now);
        self.store.sync(&view.blocks, view.is_complete()).await;
        match view.failed.iter().next() {
            None => Ok(()),
            Some((id, e)) => {
                anyhow::bail!("sync block: incomplete view: {} blocks failed, {id}: {e}", view.failed.len())
            }
        }
    }
}

async fn unload(store: Arc<BucketStore>, env: Env) -> anyhow::Result<()> {
    while env.shutdown.or_stop(env.clock.sleep(UNLOAD_EVERY)).await.is_some() {
        store.unload_idle().await;
    }
    Ok(())
}
