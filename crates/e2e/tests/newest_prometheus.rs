//! What only a Prometheus of today does: XOR2, start timestamps of histograms, compaction that waits for
//! uploads. Where the Prometheus at hand is older, this is not run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use e2e::harness::{self, Fleet, Service, wait};
use model::Labels;
use serde_json::Value;

/// Blocks of twenty seconds: cut, uploaded and read within a test.
const BLOCKS: &[&str] = &["--storage.tsdb.min-block-duration=20s", "--storage.tsdb.max-block-duration=20s"];

const QUERIES: &[&str] = &[
    "up",
    "go_goroutines",
    "sum by (code) (rate(prometheus_http_requests_total[15s]))",
    "prometheus_http_request_duration_seconds",
    "histogram_quantile(0.9, prometheus_http_request_duration_seconds)",
    "rate(prometheus_http_request_duration_seconds[15s])",
    "count({__name__=~\"prometheus_.*\"})",
];

/// A Prometheus whose command line knows `word`.
fn prometheus_with(word: &str) -> Option<PathBuf> {
    let program = harness::outside("ATHANOR_PROMETHEUS", "prometheus")?;
    let help = Command::new(&program).arg("--help").output().ok()?;
    let text = [help.stdout, help.stderr].concat();
    String::from_utf8_lossy(&text).contains(word).then_some(program)
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// The result without external labels, series in order.
fn plain(mut data: Value) -> Vec<String> {
    let mut series = data["result"].take();
    for s in series.as_array_mut().into_iter().flatten() {
        if let Some(metric) = s["metric"].as_object_mut() {
            metric.retain(|name, _| name != "cluster" && name != "replica");
        }
    }
    let mut all: Vec<String> = series.as_array().into_iter().flatten().map(Value::to_string).collect();
    all.sort();
    all
}

/// Asks `querier` and `prometheus` the same over `range` (seconds).
async fn compare(
    fleet: &Fleet,
    querier: &Service,
    prometheus: &Service,
    range: (i64, i64),
) -> anyhow::Result<()> {
    let (start, end) = (range.0.to_string(), range.1.to_string());
    for query in QUERIES {
        let params = [("query", *query), ("start", &start), ("end", &end), ("step", "1")];
        let own = plain(fleet.client().data(&prometheus.url("/api/v1/query_range"), &params).await?);
        let got = plain(fleet.client().data(&querier.url("/api/v1/query_range"), &params).await?);
        ensure!(!own.is_empty(), "{query}: Prometheus has nothing");
        ensure!(own == got, "{query}:\n  wanted {own:?}\n  got    {got:?}");
    }
    Ok(())
}

/// The seconds that the store's blocks cover, once that is enough for a query.
async fn uploaded(fleet: &Fleet, querier: &Service, store: &Service) -> anyhow::Result<(i64, i64)> {
    let stores = fleet.client().data(&querier.url("/api/v1/stores"), &[]).await?;
    let mut all = stores.as_object().context("stores")?.values().filter_map(Value::as_array).flatten();
    let found = all.find(|s| s["name"] == store.grpc).context("the store is not listed")?;
    let seconds = |v: &Value| v.as_i64().map(|ms| ms.div_euclid(1000)).context("a time");
    let (mint, maxt) = (seconds(&found["minTime"])? + 1, seconds(&found["maxTime"])? - 1);
    ensure!(maxt - mint >= 30 && maxt < i64::MAX / 1000 - 1, "the bucket holds {mint} to {maxt}");
    // What is asked looks back by fifteen seconds.
    Ok((mint + 16, maxt))
}

#[tokio::test(flavor = "multi_thread")]
async fn xor2_and_start_timestamps_are_answered_as_prometheus_answers_them() {
    let Some(program) = prometheus_with("histograms-st-encoding") else {
        return harness::not_run("XOR2: there is no Prometheus that writes it");
    };
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(dir.path()).unwrap();
    let folder = dir.path().join("bucket");
    std::fs::create_dir_all(&folder).unwrap();
    let bucket = harness::filesystem(&folder);
    let target = fleet.prometheus("target", &program, "global: {}\n", &[]).await.unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_native_histograms: true, external_labels: {{cluster: test, replica: a}}}}
storage: {{tsdb: {{chunk_encoding: {{floats: xor2}}}}}}
scrape_configs: [{{job_name: p, static_configs: [{{targets: ['{}']}}]}}]
",
        target.http
    );
    let features = ["--enable-feature=st-storage,histograms-st-encoding"];
    let server = fleet.prometheus("a", &program, &config, &[BLOCKS, &features].concat()).await.unwrap();
    let objstore = format!("--objstore.config={bucket}");
    let sidecar =
        fleet.sidecar("a", &harness::build("sidecar").unwrap(), &server, &[&objstore]).await.unwrap();
    let often = ["--sync-block-duration=2s", "--consistency-delay=0s"];
    let store =
        fleet.store("store", &harness::build("store-gateway").unwrap(), &bucket, &often).await.unwrap();

    let mut programs = vec![("ours", harness::build("querier").unwrap())];
    match harness::outside("ATHANOR_THANOS", "thanos") {
        Some(thanos) => programs.push(("theirs", thanos)),
        None => harness::not_run("XOR2 under Thanos' querier: there is no thanos"),
    }
    // Something to count in histograms.
    for _ in 0..20 {
        fleet.client().text(&target.url("/api/v1/status/buildinfo")).await.unwrap();
    }
    let store_endpoint = format!("--endpoint={}", store.grpc);
    for (name, program) in &programs {
        let live = fleet.querier(&format!("{name}-live"), program, &[&sidecar.grpc], &[]).await.unwrap();
        // Its store holds nothing at first.
        let cold = fleet.querier(&format!("{name}-cold"), program, &[], &[&store_endpoint]).await.unwrap();
        let range = wait("uploaded blocks", || uploaded(&fleet, &cold, &store)).await.unwrap();
        for querier in [&live, &cold] {
            wait("equal answers", || compare(&fleet, querier, &server, range)).await.unwrap();
        }
    }
    // The bucket really holds what this is about.
    let encodings: BTreeSet<u8> = blocks(&folder).iter().flat_map(|b| encodings(b)).collect();
    assert!(encodings.contains(&4) && encodings.contains(&5), "{encodings:?}");
}

/// Folders of whole blocks.
fn blocks(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.path()).filter(|p| p.join("meta.json").is_file()).collect()
}

fn encodings(block: &Path) -> Vec<u8> {
    let reader = tsdb_block::block::BlockReader::open(block).unwrap();
    let mut out = Vec::new();
    for series in reader.series().unwrap() {
        for chunk in &series.unwrap().2.chunks {
            out.push(reader.chunk(chunk).unwrap().0 as u8);
        }
    }
    out
}

/// With `--storage.tsdb.delay-compact-file.path` Prometheus compacts only what the sidecar has listed, so
/// every block it started with is in the bucket by the time a compacted one appears.
#[tokio::test(flavor = "multi_thread")]
async fn no_block_is_compacted_before_it_is_uploaded_and_listed() {
    const HOURS: i64 = 3_600_000;
    let Some(program) = prometheus_with("delay-compact-file.path") else {
        return harness::not_run("delayed compaction: there is no Prometheus that waits for uploads");
    };
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(dir.path()).unwrap();
    let (folder, tsdb) = (dir.path().join("bucket"), fleet.tsdb("a"));
    for path in [&folder, &tsdb] {
        std::fs::create_dir_all(path).unwrap();
    }
    let end = now() - now().rem_euclid(2 * HOURS) - 2 * HOURS;
    let mut written = BTreeSet::new();
    for start in (1..=24).rev().map(|n| end - 2 * HOURS * n) {
        let samples = (start..start + 2 * HOURS).step_by(60_000).map(|t| (t, (t % 977) as f64));
        let series = [(Labels::from_pairs([("__name__", "m")]), samples)];
        let ulid = e2e::blocks::write(&tsdb, None, start..start + 2 * HOURS, series).unwrap();
        written.insert(ulid.to_string());
    }
    let listed = tsdb.join("thanos.shipper.json");
    std::fs::write(&listed, r#"{"version":1,"uploaded":[]}"#).unwrap();
    let delay = format!("--storage.tsdb.delay-compact-file.path={}", listed.display());
    let labels = "global: {external_labels: {cluster: test, replica: a}}\n";
    let server = fleet.prometheus("a", &program, labels, &[&delay]).await.unwrap();
    let objstore = format!("--objstore.config={}", harness::filesystem(&folder));
    let _sidecar =
        fleet.sidecar("a", &harness::build("sidecar").unwrap(), &server, &[&objstore]).await.unwrap();
    let names = |dir: &Path| -> BTreeSet<String> {
        blocks(dir).iter().filter_map(|b| Some(b.file_name()?.to_str()?.to_owned())).collect()
    };
    let local = wait("a compacted block", || async {
        let local = names(&tsdb);
        ensure!(local.difference(&written).next().is_some(), "local blocks: {local:?}");
        Ok(local)
    })
    .await
    .unwrap();
    let (bucket, text) = (names(&folder), std::fs::read_to_string(&listed).unwrap());
    for gone in written.difference(&local) {
        assert!(bucket.contains(gone) && text.contains(gone), "{gone} was compacted away: {text}");
    }
    wait("all blocks in the bucket", || async {
        let bucket = names(&folder);
        ensure!(written.is_subset(&bucket), "{bucket:?}");
        Ok(())
    })
    .await
    .unwrap();
}
