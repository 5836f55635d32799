//! The sidecar as a process beside a fake Prometheus: its metrics against Thanos'.

#[path = "support/fake.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod fake;

use component::grpc::Connector;
use component::testing::parity::{Exceptions, metrics};
use component::testing::service::Service;
use futures::StreamExt as _;
use storeapi::{Call, RemoteStore, Store as _};
use storeapi_proto::thanos;

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_those_of_thanos() {
    let now = 1_000;
    let read = fake::Read::streamed(vec![fake::frame(vec![fake::series(
        &[("__name__", "up")],
        vec![fake::chunk(now)],
    )])]);
    let prometheus = fake::start(read, &["__name__"]).await;
    let (bucket, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = data.path().join("prometheus.yml");
    std::fs::write(&config, "global: {}\n").unwrap();
    let sidecar = Service::start(
        env!("CARGO_BIN_EXE_sidecar"),
        "sidecar",
        &[
            format!("--prometheus.url={}", prometheus.url),
            format!("--tsdb.path={}", data.path().display()),
            format!("--reloader.config-file={}", config.display()),
            format!("--objstore.config=type: FILESYSTEM\nconfig: {{directory: {}}}", bucket.path().display()),
        ],
    );
    sidecar.wait_ready();
    let remote = RemoteStore::new(Connector::plain().channel(&sidecar.grpc).unwrap());
    let matchers =
        vec![thanos::LabelMatcher { r#type: 0, name: "__name__".to_owned(), value: "up".to_owned() }];
    let message = thanos::SeriesRequest { max_time: now, matchers, ..Default::default() };
    let mut series = remote.series(message, Call::internal("default-tenant")).await.unwrap();
    while let Some(item) = series.next().await {
        item.unwrap();
    }
    let ours = metrics::families(&sidecar.get("/metrics").unwrap().1);
    let theirs = metrics::parse(include_str!("../testdata/parity/metrics.tsv"));
    let exceptions = Exceptions::parse(include_str!("../testdata/parity/exceptions.toml")).unwrap();
    let none: Vec<String> = Vec::new();
    assert_eq!(metrics::compare(&ours, &theirs, &exceptions), none);
}
