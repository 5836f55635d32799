//! A sidecar that is killed while it uploads.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use e2e::harness::{self, Fleet, Service, wait};
use e2e::stall::Stall;
use model::Labels;

const CONFIGURATION: &str = "global: {external_labels: {cluster: test, replica: a}}\n";
const HOUR: i64 = 3_600_000;

/// A block in Prometheus' folder, as Prometheus would have cut it; its time range in milliseconds.
fn local_block(tsdb: &Path) -> (i64, i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let end = now - now.rem_euclid(2 * HOUR) - 2 * HOUR;
    let start = end - 2 * HOUR;
    let series = (0..50).map(|i| {
        let labels = Labels::from_pairs([("__name__", "stock"), ("item", &format!("{i:02}"))]);
        (labels, (start + 1..end).step_by(15_000).map(move |t| (t, ((t / 15_000) % (i + 7)) as f64)))
    });
    e2e::blocks::write(tsdb, None, start..end, series).unwrap();
    (start, end)
}

/// Passes when the store sees so many whole blocks and so many without their `meta.json`.
async fn sees(fleet: &Fleet, store: &Service, whole: u32, half: u32) -> anyhow::Result<()> {
    let metrics = fleet.client().text(&store.url("/metrics")).await?;
    for (state, count) in [("loaded", whole), ("no-meta-json", half)] {
        let line = format!("thanos_blocks_meta_synced{{state=\"{state}\"}} {count}");
        ensure!(metrics.lines().any(|l| l == line), "no line {line} in\n{metrics}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn r027_a_sidecar_killed_in_mid_upload_leaves_no_visible_half_block_and_its_successor_completes_it() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().file_name().unwrap().to_string_lossy().into_owned();
    let (Some(program), Some(bucket)) =
        (harness::outside("ATHANOR_PROMETHEUS", "prometheus"), harness::s3(&prefix))
    else {
        return harness::not_run("killed in mid-upload: there is no prometheus, or no S3 server");
    };
    let fleet = Fleet::new(dir.path()).unwrap();
    std::fs::create_dir_all(fleet.tsdb("a")).unwrap();
    let (start, end) = local_block(&fleet.tsdb("a"));
    let blocks = ["--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h"];
    let prometheus = fleet.prometheus("a", &program, CONFIGURATION, &blocks).await.unwrap();

    // The chunks get through, the index does not.
    let server = std::env::var("ATHANOR_S3_ENDPOINT").unwrap();
    let proxy = Stall::before("/index", &server).await.unwrap();
    let stalling = format!("--objstore.config={}", bucket.replace(&server, &proxy.address));
    let sidecar = harness::build("sidecar").unwrap();
    let mut first = fleet.sidecar("a", &sidecar, &prometheus, &[&stalling]).await.unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(120), proxy.stalled()).await.unwrap();
    first.process.kill().unwrap();
    drop(proxy);

    let often = ["--sync-block-duration=1s", "--consistency-delay=0s"];
    let store =
        fleet.store("store", &harness::build("store-gateway").unwrap(), &bucket, &often).await.unwrap();
    wait("the store to see the half block as such", || sees(&fleet, &store, 0, 1)).await.unwrap();

    let config = format!("--objstore.config={bucket}");
    let _second = fleet.sidecar("a", &sidecar, &prometheus, &[&config]).await.unwrap();
    wait("the block to be whole", || sees(&fleet, &store, 1, 0)).await.unwrap();

    let querier = harness::build("querier").unwrap();
    let querier = fleet.querier("querier", &querier, &[&store.grpc], &[]).await.unwrap();
    let (start, end) = ((start / 1000).to_string(), (end / 1000 - 1).to_string());
    let params = [("query", "stock"), ("start", &*start), ("end", &end), ("step", "61")];
    let path = "/api/v1/query_range";
    let mut own = fleet.client().data(&prometheus.url(path), &params).await.unwrap();
    for series in own["result"].as_array_mut().unwrap() {
        series["metric"]["cluster"] = "test".into();
    }
    let ours = fleet.client().data(&querier.url(path), &params).await.unwrap();
    assert_eq!(own["result"].as_array().unwrap().len(), 50);
    assert_eq!(ours["result"], own["result"]);
}
