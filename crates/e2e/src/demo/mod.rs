//! The demo: two replicas' blocks in a bucket, a store gateway, a querier, one checked answer.
//!
//! `shop` makes up the data and knows what a query must answer; here the fleet is started, checked and
//! stopped. With a Prometheus, two real replicas scrape the fleet, each with its sidecar. Invariant:
//! nothing is printed as working that has not just been asked and compared.

mod shop;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::harness::{self, Fleet, Service, labels_of, wait};

/// The binaries of the demo.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Ours.
    pub store: PathBuf,
    /// Ours.
    pub querier: PathBuf,
    /// Ours, and used only with a Prometheus.
    pub sidecar: PathBuf,
    /// A real Prometheus, if there is one.
    pub prometheus: Option<PathBuf>,
}

/// A running demo.
#[derive(Debug)]
pub struct Demo {
    querier: Service,
    /// Everything else, in the order in which it stops.
    others: Vec<(String, Service)>,
    shop: shop::Shop,
}

/// Replicas have these names.
const REPLICAS: [&str; 2] = ["a", "b"];

impl Demo {
    /// Writes the blocks below `dir` and starts the services.
    ///
    /// # Errors
    /// When something cannot be written or started.
    pub async fn start(dir: &Path, programs: &Programs) -> anyhow::Result<Self> {
        let bucket_dir = dir.join("bucket");
        std::fs::create_dir_all(&bucket_dir)?;
        let shop = shop::Shop::until_now()?;
        let written = shop.clone();
        let to = bucket_dir.clone();
        tokio::task::spawn_blocking(move || written.write(&to)).await??;

        let bucket = harness::filesystem(&bucket_dir);
        let fleet = Fleet::new(dir)?;
        let store = fleet.store("store", &programs.store, &bucket, &[]).await?;
        let mut others = vec![("store gateway".to_owned(), store)];
        if let Some(prometheus) = &programs.prometheus {
            others.extend(replicas(&fleet, prometheus, &programs.sidecar, &bucket, &others[0].1).await?);
        }
        let stores: Vec<&str> = others
            .iter()
            .filter(|(name, _)| !name.starts_with("prometheus"))
            .map(|(_, s)| s.grpc.as_str())
            .collect();
        let querier = fleet.querier("querier", &programs.querier, &stores, &[]).await?;
        Ok(Demo { querier, others, shop })
    }

    /// Asks and compares; what was asked, and the answer in words.
    ///
    /// # Errors
    /// When an answer is not what was written or scraped.
    pub async fn check(&self) -> anyhow::Result<Vec<String>> {
        let client = harness::Client::new()?;
        let url = self.querier.url("/api/v1/query_range");
        let (start, end, step) = (self.shop.start(), self.shop.end(), self.shop.step());
        let ask = async |dedup: &str| {
            let range = [("start", start.as_str()), ("end", end.as_str()), ("step", step.as_str())];
            let params = [&[("query", shop::QUERY), ("dedup", dedup)][..], &range].concat();
            client.data(&url, &params).await
        };
        let both = ask("false").await?;
        ensure!(
            labels_of(&both, "replica").iter().filter(|r| *r == "a").count() == shop::INSTANCES.len(),
            "without deduplication both replicas answer: {both}"
        );
        let samples = self.shop.compare(&ask("true").await?)?;
        let mut told = vec![format!(
            "{} over {} hours: {samples} samples of {} series, replicas joined, gaps filled: all as written",
            shop::QUERY,
            shop::HOURS,
            shop::INSTANCES.len(),
        )];
        if self.others.iter().any(|(name, _)| name.starts_with("sidecar")) {
            let url = self.querier.url("/api/v1/query");
            let up = wait("both replicas to have scraped everything", || self.scraped(&client, &url)).await?;
            told.push(format!(
                "up: {up} targets, scraped by two Prometheus servers, each once in the answer"
            ));
        }
        Ok(told)
    }

    /// How many of our services both replicas have scraped; an error while it is not all of them.
    async fn scraped(&self, client: &harness::Client, url: &str) -> anyhow::Result<usize> {
        let up = client.data(url, &[("query", r#"up{job="athanor"} == 1"#)]).await?;
        let both = client.data(url, &[("query", r#"up{job="athanor"} == 1"#), ("dedup", "false")]).await?;
        let targets = labels_of(&up, "instance");
        ensure!(labels_of(&up, "replica").iter().all(String::is_empty), "a replica label is left: {up}");
        let expected = 1 + self.others.iter().filter(|(name, _)| !name.starts_with("prometheus")).count();
        ensure!(targets.len() == expected, "scraped: {targets:?}");
        ensure!(labels_of(&both, "replica").len() == 2 * expected, "scraped twice: {both}");
        Ok(targets.len())
    }

    /// What to look at: URLs, a `curl` line, and its answer.
    ///
    /// # Errors
    /// When the querier does not answer.
    pub async fn tell(&self) -> anyhow::Result<String> {
        use std::fmt::Write as _;
        let mut out = String::new();
        writeln!(out, "querier         {}", self.querier.url(""))?;
        for (name, service) in &self.others {
            writeln!(out, "{name:<15} {}", service.url("/metrics"))?;
        }
        let url = self.querier.url("/api/v1/query");
        let time = self.shop.end();
        let answer: Value =
            harness::Client::new()?.data(&url, &[("query", shop::QUERY), ("time", &time)]).await?;
        writeln!(out, "\n  curl -G {url} --data-urlencode 'query={}' -d time={time}\n", shop::QUERY)?;
        for sample in answer["result"].as_array().context("a vector")? {
            writeln!(out, "  {} {}", sample["metric"], sample["value"][1].as_str().unwrap_or_default())?;
        }
        Ok(out)
    }

    /// Stops everything in order, the querier first.
    ///
    /// # Errors
    /// When a service does not stop, or not with success.
    pub async fn stop(self) -> anyhow::Result<()> {
        let querier = ("querier".to_owned(), self.querier);
        for (name, service) in std::iter::once(querier).chain(self.others) {
            let status = service.process.stop(Duration::from_secs(60)).await?;
            ensure!(status.success(), "{name} ended with {status}");
        }
        Ok(())
    }
}

/// Two Prometheus servers that scrape the fleet, each with a sidecar that uploads.
async fn replicas(
    fleet: &Fleet,
    prometheus: &Path,
    sidecar: &Path,
    bucket: &str,
    store: &Service,
) -> anyhow::Result<Vec<(String, Service)>> {
    let mut targets = vec![store.http.clone(), fleet.reserve("querier")?];
    for replica in REPLICAS {
        targets.push(fleet.reserve(&format!("sidecar-{replica}"))?);
    }
    let (mut servers, mut sidecars) = (Vec::new(), Vec::new());
    for replica in REPLICAS {
        let configuration = format!(
            "global: {{scrape_interval: 1s, external_labels: {{cluster: demo, replica: {replica}}}}}\n\
             scrape_configs:\n- job_name: athanor\n  static_configs: [{{targets: [{}]}}]\n",
            targets.iter().map(|t| format!("'{t}'")).collect::<Vec<_>>().join(", ")
        );
        let name = format!("sidecar-{replica}");
        let blocks = ["--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h"];
        let server = fleet.prometheus(&name, prometheus, &configuration, &blocks).await?;
        let config = format!("--objstore.config={bucket}");
        sidecars.push((name.clone(), fleet.sidecar(&name, sidecar, &server, &[&config]).await?));
        servers.push((format!("prometheus-{replica}"), server));
    }
    // A sidecar stops before its Prometheus.
    Ok(sidecars.into_iter().chain(servers).collect())
}
