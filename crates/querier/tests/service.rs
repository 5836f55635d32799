//! The querier as a process, over a store served by the test.

mod support;

use component::testing::parity::{Exceptions, metrics};
use serde_json::json;
use support::{Querier, Store};

/// A little work of each kind, so that labelled series exist.
async fn work(querier: &Querier) {
    querier.get("/api/v1/query?query=up&time=600").await;
    querier.post("/api/v1/query", "query=up&time=600").await;
    querier.get("/api/v1/query_range?query=up&start=0&end=600&step=60").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_those_of_thanos() {
    let store = Store::start().await;
    let querier = Querier::start(&[&format!("--endpoint={}", store.address)]).await;
    work(&querier).await;
    let ours = metrics::families(&querier.get("/metrics").await.body);
    let theirs = metrics::parse(include_str!("../testdata/parity/metrics.tsv"));
    let exceptions = Exceptions::parse(include_str!("../testdata/parity/exceptions.toml")).unwrap();
    assert_eq!(metrics::compare(&ours, &theirs, &exceptions), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_over_the_wire_are_complete_compressed_on_demand_and_open_to_all_origins() {
    let store = Store::start().await;
    let querier = Querier::start(&[&format!("--endpoint={}", store.address)]).await;
    let answer = querier.get("/api/v1/query?query=up&time=600").await;
    let result = answer.json()["data"]["result"].clone();
    assert_eq!(result, json!([{"metric": {"__name__": "up", "job": "web"}, "value": [600, "1"]}]));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!((answer.header("vary"), answer.header("content-encoding")), (Some("Accept-Encoding"), None));
    let long = querier.zipped("/api/v1/query_range?query=up&start=0&end=600&step=1").await;
    assert_eq!(long["data"]["result"][0]["values"].as_array().unwrap().len(), 601);
    let flags = querier.get("/api/v1/status/flags").await.json();
    assert_eq!(flags["data"]["query.timeout"], "2m");
    assert_eq!(querier.get("/-/ready").await.body, "OK");
    querier.stop().await;
}
