//! The queriers side by side: promql-engine's range queries to whole processes over the same blocks.
//!
//! One Thanos store serves our querier and Thanos' with either engine; a Prometheus has the blocks as its
//! own. `queries` holds the data and what is asked, `cost` what a request costs. Invariant: nothing is
//! measured before all have answered; an engine whose answer differs from Prometheus' is named, and ours
//! may differ only where it has the answer of one of Thanos' engines.

mod cost;
mod queries;
mod table;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::harness::{self, Fleet, Service};
use cost::Cost;
use table::{Row, Table};

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Our querier.
    pub querier: PathBuf,
    /// Our querier with a count of its allocations.
    pub counting: PathBuf,
    /// Thanos.
    pub thanos: PathBuf,
    /// Prometheus.
    pub prometheus: PathBuf,
    /// Measurements a query and side.
    pub rounds: usize,
    /// Pods: 1,000 but in tests.
    pub pods: usize,
    /// On how many cores, one table each.
    pub cores: Vec<usize>,
    /// Only queries whose name has this in it.
    pub only: String,
    /// Blocks, logs and data go here.
    pub work: PathBuf,
}

/// CPU that a measurement should take at least, so that garbage collection has its share.
const ENOUGH_MS: f64 = 150.0;
const MOST_REQUESTS: f64 = 50.0;
const GO_COUNTER: &str = "go_memstats_alloc_bytes_total";
const OUR_COUNTER: &str = "athanor_alloc_bytes_total";
const FEATURE: &str = "--enable-feature=promql-experimental-functions";

/// Asks everything of everyone; `say` gets a line as soon as it stands. False when an answer of ours is
/// neither Prometheus' nor Thanos'.
///
/// # Errors
/// When a service fails.
pub async fn run(options: &Options, mut say: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<bool> {
    let fleet = Fleet::new(&options.work)?;
    let bucket = options.work.join("bucket");
    let start = queries::start();
    for (dir, external) in [(&bucket, Some(&[("replica", "a")][..])), (&fleet.tsdb("bench"), None)] {
        std::fs::create_dir_all(dir)?;
        let (dir, pods) = (dir.clone(), options.pods);
        tokio::task::spawn_blocking(move || queries::write(&dir, external, pods, start)).await??;
    }
    let store = fleet.store("store", &options.thanos, &harness::filesystem(&bucket), &[]).await?;
    let mut equal = true;
    for cores in &options.cores {
        say(&format!("{} pods, {} rounds, cores: {cores}", options.pods, options.rounds))?;
        let contest = Contest::start(options, &fleet, &store, *cores).await?;
        let mut table = Table::default();
        say(&table.head())?;
        for (name, text) in queries::QUERIES.iter().filter(|q| q.0.contains(&options.only)) {
            let row = contest.measure(options.rounds, name, text, start).await?;
            equal &= row.ours_is_right();
            say(&table.add(row))?;
        }
        say(&table.summary())?;
    }
    Ok(equal)
}

/// The sides of the contest: ours, Thanos' with either engine, Prometheus.
struct Contest {
    fleet: Fleet,
    sides: [Service; 4],
    counting: Service,
}

/// Prometheus' place among the sides.
const PROMETHEUS: usize = 3;

impl Contest {
    /// Starts them, each confined to the same cores.
    async fn start(options: &Options, all: &Fleet, store: &Service, cores: usize) -> anyhow::Result<Self> {
        let dir = options.work.join(format!("cores-{cores}"));
        std::fs::create_dir_all(&dir)?;
        let fleet = Fleet::new(&dir)?;
        let stores = [store.grpc.as_str()];
        let querier = async |name: &str, program: &Path, more: &[&str]| {
            let program = confined(&dir, name, program, cores)?;
            fleet.querier(name, &program, &stores, &[&[FEATURE], more].concat()).await
        };
        let ours = querier("ours", &options.querier, &[]).await?;
        let counting = querier("counting", &options.counting, &[]).await?;
        let prometheus = ["--query.promql-engine=prometheus"];
        let thanos = ["--query.promql-engine=thanos"];
        let with_prometheus = querier("thanos-prometheus", &options.thanos, &prometheus).await?;
        let with_thanos = querier("thanos-thanos", &options.thanos, &thanos).await?;
        // No compaction: it would be measured.
        let fixed = ["--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h", FEATURE];
        let program = confined(&dir, "prometheus", &options.prometheus, cores)?;
        let prometheus = all.prometheus("bench", &program, "global: {}\n", &fixed).await?;
        Ok(Contest { fleet, sides: [ours, with_prometheus, with_thanos, prometheus], counting })
    }

    async fn measure(&self, rounds: usize, name: &str, text: &str, start: i64) -> anyhow::Result<Row> {
        let client = self.fleet.client();
        let query = queries::parameters(name, text, start);
        let mut answers = Vec::with_capacity(self.sides.len());
        for service in &self.sides {
            answers.push(cost::ask(client, service, &query).await?);
        }
        let (mut differences, mut requests) = ([const { None }; 4], [1; 4]);
        for (difference, answer) in differences.iter_mut().zip(&answers) {
            *difference = cost::difference(&answers[PROMETHEUS], answer)?;
        }
        // `limit_ratio` takes other series in Thanos' build than in Prometheus', and ours follows Thanos.
        for thanos in &answers[1..PROMETHEUS] {
            if differences[0].is_some() && cost::difference(thanos, &answers[0])?.is_none() {
                differences[0] = None;
            }
        }
        for (side, service) in self.sides.iter().enumerate() {
            let cpu = cost::cpu(client, service, &query, 1).await?;
            requests[side] = (ENOUGH_MS / cpu).ceil().clamp(2.0, MOST_REQUESTS) as usize;
        }
        let mut cpu = [const { Vec::new() }; 4];
        for _ in 0..rounds {
            for (side, service) in self.sides.iter().enumerate() {
                cpu[side].push(cost::cpu(client, service, &query, requests[side]).await?);
            }
        }
        let mut costs = cpu.map(|mut all| Cost { cpu: table::median(&mut all), allocated: 0.0 });
        let counters = [OUR_COUNTER, GO_COUNTER, GO_COUNTER, GO_COUNTER];
        for (side, service) in [&self.counting].into_iter().chain(&self.sides[1..]).enumerate() {
            // What is kept for later requests is not this one's.
            cost::ask(client, service, &query).await?;
            costs[side].allocated = cost::bytes(client, service, counters[side], &query, 2).await?;
        }
        Ok(Row { name: name.to_owned(), costs, differences })
    }
}

/// A program that runs another on the first cores only; Go's runtime and ours count those.
fn confined(dir: &Path, name: &str, program: &Path, cores: usize) -> anyhow::Result<PathBuf> {
    let path = dir.join(format!("{name}.sh"));
    let last = cores.saturating_sub(1);
    std::fs::write(&path, format!("#!/bin/sh\nexec taskset -c 0-{last} '{}' \"$@\"\n", program.display()))?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    Ok(path)
}
