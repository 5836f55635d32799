//! The store gateway as a process: its metrics against Thanos'.

mod common;

use common::blocks::{Spec, plain_series};
use component::grpc::Connector;
use component::testing::parity::{Exceptions, metrics};
use component::testing::service::Service;
use futures::StreamExt as _;
use storeapi::{Call, RemoteStore, Store as _};
use storeapi_proto::thanos;

/// A little work of each kind, so that labelled series exist.
async fn work(store: &Service) {
    let remote = RemoteStore::new(Connector::plain().channel(&store.grpc).unwrap());
    for _ in 0..2 {
        let message = thanos::SeriesRequest {
            max_time: i64::MAX,
            matchers: vec![thanos::LabelMatcher {
                r#type: 0,
                name: "__name__".to_owned(),
                value: "up".to_owned(),
            }],
            ..Default::default()
        };
        let mut series = remote.series(message, Call::internal("default-tenant")).await.unwrap();
        while let Some(item) = series.next().await {
            item.unwrap();
        }
    }
    let message = thanos::LabelNamesRequest { end: i64::MAX, ..Default::default() };
    remote.label_names(message, Call::internal("default-tenant")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_those_of_thanos() {
    let (bucket, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Spec::new(1, plain_series(10)).write(bucket.path());
    let store = Service::start(
        env!("CARGO_BIN_EXE_store-gateway"),
        "store",
        &[
            format!("--data-dir={}", data.path().display()),
            format!("--objstore.config=type: FILESYSTEM\nconfig: {{directory: {}}}", bucket.path().display()),
        ],
    );
    store.wait_ready();
    work(&store).await;
    let ours = metrics::families(&store.get("/metrics").unwrap().1);
    let theirs = metrics::parse(include_str!("../testdata/parity/metrics.tsv"));
    let exceptions = Exceptions::parse(include_str!("../testdata/parity/exceptions.toml")).unwrap();
    let none: Vec<String> = Vec::new();
    assert_eq!(metrics::compare(&ours, &theirs, &exceptions), none);
}
