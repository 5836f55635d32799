//! A store and a querier for each setup, on a copy of its bucket.
//!
//! Knows where a setup's bucket is; the programs may be ours or Thanos' own. Invariant: recorded data
//! is never written to, services see a copy of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};

use super::{Options, Row};
use crate::harness::{self, Client, Service};

/// The programs under test.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Serves the bucket.
    pub store: PathBuf,
    /// Answers over the store.
    pub querier: PathBuf,
}

/// Where to ask for one setup.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) client: Client,
    /// The querier, `http://host:port`; empty when no row asks it.
    pub(super) querier: String,
    /// The store's gRPC.
    pub(super) store: tonic::transport::Channel,
}

/// The running services.
#[derive(Debug, Default)]
pub(super) struct Fleets {
    services: Vec<Service>,
    targets: BTreeMap<String, Arc<Target>>,
}

impl Fleets {
    pub(super) fn get(&self, setup: &str) -> anyhow::Result<Arc<Target>> {
        self.targets.get(setup).cloned().with_context(|| format!("no fleet for {setup:?}"))
    }

    /// Passes while every service runs.
    pub(super) fn alive(&mut self) -> anyhow::Result<()> {
        self.services.iter_mut().try_for_each(|s| s.process.alive())
    }
}

/// Starts what the rows need, all setups at once.
pub(super) async fn start_all(options: &Options, rows: &[Row]) -> anyhow::Result<Fleets> {
    let setups: BTreeSet<&str> = rows.iter().map(|r| r.setup.as_str()).collect();
    let started = setups.into_iter().map(|setup| async move {
        let querier = rows.iter().any(|r| r.setup == setup && !r.call.is_grpc());
        start(options, setup, querier).await.with_context(|| format!("setup {setup}"))
    });
    let mut fleets = Fleets::default();
    for (setup, target, services) in futures::future::try_join_all(started).await? {
        fleets.targets.insert(setup, Arc::new(target));
        fleets.services.extend(services);
    }
    Ok(fleets)
}

async fn start(
    options: &Options,
    setup: &str,
    with_querier: bool,
) -> anyhow::Result<(String, Target, Vec<Service>)> {
    let buckets = options.dir.join("buckets");
    let recorded = [setup.to_owned(), format!("compacted-{setup}")].map(|name| buckets.join(name));
    let recorded = recorded.iter().find(|p| p.is_dir()).context("there is no such bucket")?.clone();
    let work = options.work.join(setup);
    let copy = work.join("bucket");
    let to = copy.clone();
    tokio::task::spawn_blocking(move || copy_all(&recorded, &to)).await??;

    let fleet = harness::Fleet::new(&work)?;
    let store = fleet.store("store", &options.programs.store, &harness::filesystem(&copy), &[]).await?;
    let mut target = Target {
        client: fleet.client().clone(),
        querier: String::new(),
        store: tonic::transport::Endpoint::new(format!("http://{}", store.grpc))?.connect().await?,
    };
    let mut services = vec![store];
    if with_querier {
        let grpc = services[0].grpc.clone();
        let querier = fleet.querier("query", &options.programs.querier, &[&grpc], &[]).await?;
        target.querier = querier.url("");
        services.push(querier);
    }
    Ok((setup.to_owned(), target, services))
}

/// Copies a folder, writable.
fn copy_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &to)?;
        } else {
            std::fs::write(&to, std::fs::read(entry.path())?)?;
        }
    }
    ensure!(to.is_dir(), "{} was not copied", from.display());
    Ok(())
}
