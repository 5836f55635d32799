//! The querier as a process, over a store served by the test.

mod support;

use component::testing::parity::{Exceptions, metrics};
use futures::StreamExt as _;
use serde_json::json;
use storeapi_proto::thanos;
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

/// What other queriers and rulers ask over gRPC.
#[tokio::test(flavor = "multi_thread")]
async fn queries_over_grpc_give_series_warnings_and_statistics() {
    let store = Store::start().await;
    let querier = Querier::start(&[&format!("--endpoint={}", store.address)]).await;
    let channel =
        component::grpc::Connector::plain().channel(&format!("127.0.0.1:{}", querier.grpc)).unwrap();
    let mut client = thanos::query_client::QueryClient::new(channel);
    let request = thanos::QueryRequest { query: "up * 3".into(), time_seconds: 600, ..Default::default() };
    let frames: Vec<_> = client.query(request).await.unwrap().into_inner().collect().await;
    use thanos::query_response::Result as Instant;
    let results: Vec<_> = frames.into_iter().map(|f| f.unwrap().result.unwrap()).collect();
    let [Instant::Timeseries(series), Instant::Stats(stats)] = &results[..] else { panic!("{results:?}") };
    assert_eq!((series.samples[0].value, series.samples[0].timestamp), (3.0, 600_000));
    assert_eq!((series.labels[0].name.as_str(), series.labels[0].value.as_str()), ("job", "web"));
    assert!(stats.samples_total > 0);

    let range = |query: &str| thanos::QueryRangeRequest {
        query: query.into(),
        start_time_seconds: 0,
        end_time_seconds: 600,
        interval_seconds: 60,
        response_batch_size: 64,
        ..Default::default()
    };
    let frames: Vec<_> =
        client.query_range(range("rate(up[5m])")).await.unwrap().into_inner().collect().await;
    use thanos::query_range_response::Result as Range;
    let results: Vec<_> = frames.into_iter().map(|f| f.unwrap().result.unwrap()).collect();
    let [Range::TimeseriesBatch(batch), Range::Warnings(warning), Range::Stats(_)] = &results[..] else {
        panic!("{results:?}")
    };
    assert_eq!((batch.series.len(), batch.series[0].samples.len()), (1, 10));
    assert!(warning.starts_with("PromQL info: metric might not be a counter"), "{warning}");
    // The same on both sides of an operator: an error of evaluation.
    let error = client
        .query_range(range("up + on(x) (up or up{x=\"\"} or label_replace(up, \"a\", \"b\", \"\", \"\"))"))
        .await;
    let error = error.unwrap().into_inner().next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), tonic::Code::Aborted);
    let error = client.query_range(range("sum(")).await.unwrap_err();
    assert_eq!(error.message(), "1:5: parse error: unclosed left parenthesis");
}

/// R057: a peer that accepts and never answers holds up readiness for the Info timeout, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn r057_readiness_waits_for_the_first_round() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = Store::start().await;
    let querier = Querier::launch(&[
        &format!("--endpoint={}", silent.local_addr().unwrap()),
        &format!("--endpoint={}", store.address),
        "--endpoint.info-timeout=2s",
    ]);
    let mut seen = Vec::new();
    while seen.last() != Some(&200) {
        let status = querier.probe("ready").await;
        seen.extend(status.filter(|s| seen.last() != Some(s)));
        if status == Some(503) {
            assert_eq!(querier.probe("healthy").await, Some(200));
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(seen, [503, 200]);
    let answer = querier.get("/api/v1/query?query=up&time=600").await.json();
    assert_eq!((answer["data"]["result"].as_array().unwrap().len(), &answer["warnings"]), (1, &json!(null)));
    let stores = querier.get("/api/v1/stores").await.json();
    assert_eq!(stores["data"]["store"].as_array().unwrap().len(), 1);
}
