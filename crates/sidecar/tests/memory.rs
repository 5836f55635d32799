//! A million series through the sidecar's gRPC face: what that costs in resident memory.
//!
//! Holds one test, alone in its process, because it measures the process. Prometheus, sidecar and client
//! all run in it, so the bound is for the three together. Invariant: nothing here keeps a series.

#[allow(dead_code, reason = "this test needs a part of it")]
#[path = "support/fake.rs"]
mod fake;

use std::sync::Arc;

use component::flags::value::TimeOrDuration;
use fake::{Read, chunk, frame, series};
use futures::StreamExt;
use model::{Budget, Labels};
use promclient::{Client, HttpClientConfig};
use sidecar::state::State;
use sidecar::store::PrometheusStore;
use storeapi::{Call, Item, RemoteStore, Store, StoreService};
use storeapi_proto::thanos;

/// Resident bytes of this process.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_series_pass_within_32_mib() {
    const FRAMES: usize = 10_000;
    const PER_FRAME: usize = 100;
    let data = chunk(5000);
    let piece = move |i: usize| {
        let one = |n: usize| {
            let id = format!("{:07}", i * PER_FRAME + n);
            series(&[("__name__", "http_requests_total"), ("e", "x"), ("id", &id)], vec![data.clone()])
        };
        frame((0..PER_FRAME).map(one).collect())
    };
    let read = Read { pieces: FRAMES, piece: Arc::new(piece), ..Read::streamed(vec![]) };
    let fake = fake::start(read, &["__name__", "id"]).await;
    let budget = Budget::new(32 << 20, "--memory.budget");
    let client =
        Client::new(&fake.url, HttpClientConfig::parse("").unwrap(), "test", budget.clone()).unwrap();
    let state = State::new(TimeOrDuration::parse("1970-01-01T00:00:01Z").unwrap(), 0);
    state.set_labels(Labels::from_pairs([("e", "x")]));
    let store = PrometheusStore::new(client, state, budget, &component::metrics::Registry::new()).unwrap();

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let service = StoreService::new(Arc::new(store));
    tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(service, incoming));
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let remote = RemoteStore::new(channel.connect().await.unwrap());

    let any = thanos::LabelMatcher {
        r#type: thanos::label_matcher::Type::Re as i32,
        name: "id".into(),
        value: ".+".into(),
    };
    let request = thanos::SeriesRequest {
        max_time: i64::MAX,
        matchers: vec![any],
        response_batch_size: 64,
        ..Default::default()
    };
    let before = resident();
    let mut stream = remote.series(request, Call::internal("t")).await.unwrap();
    let (mut count, mut most) = (0, before);
    while let Some(item) = stream.next().await {
        let Item::Series(all) = item.unwrap() else { continue };
        for one in &all {
            assert_eq!(one.labels.value("id"), format!("{:07}", count));
            count += 1;
        }
        if count % 8192 < all.len() {
            most = most.max(resident());
        }
    }
    assert_eq!(count, FRAMES * PER_FRAME);
    let grown = most - before;
    assert!(grown < 32 << 20, "resident memory grew by {grown} bytes");
}
