//! Two Prometheus replicas, their sidecars, a bucket, a store gateway and a querier: one answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use e2e::exporter::Exporter;
use e2e::harness::{self, Fleet, Service, wait};
use serde_json::{Value, json};

/// What is asked everywhere: raw samples, ranges, sums. No counter with resets under `rate` and its kin:
/// there Thanos, and so we, take a reset between the samples of two replicas for none.
const QUERIES: &[&str] = &[
    "shop_temperature",
    "shop_orders_total",
    "rate(shop_orders_total[21s])",
    "sum by (shop) (increase(shop_orders_total[20s]))",
    "max_over_time(shop_temperature[13s]) - shop_temperature",
    "changes(shop_batches_total[25s])",
];

/// Blocks of twenty seconds: cut, uploaded and read within a test.
const BLOCKS: &[&str] = &["--storage.tsdb.min-block-duration=20s", "--storage.tsdb.max-block-duration=20s"];

struct Replicas {
    _dir: tempfile::TempDir,
    _exporter: Exporter,
    fleet: Fleet,
    prometheus: Vec<Service>,
    sidecars: Vec<Service>,
    store: Service,
    querier: Service,
}

impl Replicas {
    /// `None` where there is no Prometheus.
    async fn start() -> anyhow::Result<Option<Self>> {
        let Some(program) = harness::outside("ATHANOR_PROMETHEUS", "prometheus") else {
            harness::not_run("replicas: there is no prometheus");
            return Ok(None);
        };
        let dir = tempfile::tempdir()?;
        let folder = dir.path().join("bucket");
        std::fs::create_dir_all(&folder)?;
        let name = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bucket = harness::s3(&name).unwrap_or_else(|| {
            harness::not_run("replicas over S3: there is no server, a folder is the bucket");
            harness::filesystem(&folder)
        });
        let config = format!("--objstore.config={bucket}");
        let fleet = Fleet::new(dir.path())?;
        let exporter = Exporter::start().await?;
        let (mut prometheus, mut sidecars) = (Vec::new(), Vec::new());
        let sidecar = harness::build("sidecar")?;
        for replica in ["a", "b"] {
            let server = fleet.prometheus(replica, &program, &exporter.scraped_by(replica), BLOCKS).await?;
            sidecars.push(fleet.sidecar(replica, &sidecar, &server, &[&config]).await?);
            prometheus.push(server);
        }
        let often = ["--sync-block-duration=2s", "--consistency-delay=0s"];
        let store = fleet.store("store", &harness::build("store-gateway")?, &bucket, &often).await?;
        let endpoints = [&sidecars[0], &sidecars[1], &store].map(|s| format!("--endpoint={}", s.grpc));
        let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        // The store holds nothing yet: it is waited for below.
        let querier = fleet.querier("querier", &harness::build("querier")?, &[], &endpoints).await?;
        for service in &sidecars {
            wait("the sidecars", || fleet.knows(&querier, &service.grpc)).await?;
        }
        Ok(Some(Replicas { _dir: dir, _exporter: exporter, fleet, prometheus, sidecars, store, querier }))
    }

    /// The time range of what the store holds of both replicas, in seconds; an error while it is not
    /// enough for a query.
    async fn uploaded(&self) -> anyhow::Result<(i64, i64)> {
        let stores = self.fleet.client().data(&self.querier.url("/api/v1/stores"), &[]).await?;
        let mut all = stores.as_object().context("stores")?.values().filter_map(Value::as_array).flatten();
        let store = all.find(|s| s["name"] == self.store.grpc).context("the store is not listed")?;
        let replicas = store["labelSets"].as_array().map_or(0, Vec::len);
        ensure!(replicas == 2, "blocks of {replicas} replicas are in the bucket");
        let seconds = |v: &Value| v.as_i64().map(|ms| ms.div_euclid(1000)).context("a time");
        let (mint, maxt) = (seconds(&store["minTime"])? + 1, seconds(&store["maxTime"])? - 1);
        ensure!(maxt - mint >= 15, "the bucket holds {mint} to {maxt}");
        Ok((mint, maxt))
    }

    /// Asks the querier, of these stores only, and compares with what Prometheus `a` says itself.
    async fn compare(&self, stores: Option<&str>, (start, end): (i64, i64)) -> anyhow::Result<()> {
        let (start, end) = (start.to_string(), end.to_string());
        for query in QUERIES {
            let range = [("query", *query), ("start", &start), ("end", &end), ("step", "3")];
            let path = "/api/v1/query_range";
            let own = self.fleet.client().data(&self.prometheus[0].url(path), &range).await?;
            let matcher = stores.map(|addresses| format!("{{__address__=~\"{addresses}\"}}"));
            let mut asked = range.to_vec();
            asked.extend(matcher.as_deref().map(|m| ("storeMatch[]", m)));
            let ours = self.fleet.client().data(&self.querier.url(path), &asked).await?;
            let own = with_cluster(own);
            ensure!(
                own["result"].as_array().is_some_and(|r| !r.is_empty()),
                "{query}: Prometheus has nothing"
            );
            let (own, ours) = (&own["result"], &ours["result"]);
            ensure!(ours == own, "{query} of {stores:?}:\n  wanted {own}\n  got    {ours}");
        }
        Ok(())
    }
}

/// Prometheus' own answer has no external labels: adds the one that deduplication leaves.
fn with_cluster(mut data: Value) -> Value {
    for series in data["result"].as_array_mut().into_iter().flatten() {
        if series["metric"].get("job").is_some() {
            series["metric"]["cluster"] = json!("test");
        }
    }
    data
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64)
}

#[tokio::test(flavor = "multi_thread")]
async fn live_and_uploaded_data_give_prometheus_own_answer_and_one_replica_suffices() {
    let Some(mut all) = Replicas::start().await.unwrap() else { return };

    // Blocks of both replicas reach the store: either path, and both together, give the same.
    let range = wait("blocks of both replicas", || all.uploaded()).await.unwrap();
    let store = all.store.grpc.clone();
    let sidecars = all.sidecars.iter().map(|s| s.grpc.clone()).collect::<Vec<_>>().join("|");
    for stores in [Some(&*store), Some(&*sidecars), None] {
        all.compare(stores, range).await.unwrap();
    }

    // One replica dies, its sidecar with it: what it had scraped, and what is scraped from now on, is
    // still there, at first perhaps with a warning.
    let died = now();
    for service in [all.prometheus.pop(), all.sidecars.pop()].iter_mut().flatten() {
        service.process.kill().unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let recent = (died - 20, died + 5);
    wait("an answer without warnings from what is left", || all.compare(None, recent)).await.unwrap();
    all.compare(None, range).await.unwrap();
}
