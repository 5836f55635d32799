//! The store over a Prometheus of recorded answers: labels and order, damage, old servers, backpressure.
//!
//! It starts no real Prometheus (`e2e` does). Invariant: what is served is every sample once, or an error.

#[path = "support/fake.rs"]
mod fake;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use component::flags::value::TimeOrDuration;
use fake::{Fake, Read, chunk, frame, series};
use futures::StreamExt;
use model::{Budget, Labels};
use promclient::{Client, HttpClientConfig};
use prost::Message as _;
use sidecar::state::State;
use sidecar::store::PrometheusStore;
use storeapi::{Call, Item, Series, Store};
use storeapi_proto::{prometheus, thanos};
use tonic::{Code, Status};

fn store(fake: &Fake, external: &[(&str, &str)]) -> PrometheusStore {
    let budget = Budget::unlimited();
    let client =
        Client::new(&fake.url, HttpClientConfig::parse("").unwrap(), "test", budget.clone()).unwrap();
    let state = State::new(TimeOrDuration::parse("1970-01-01T00:00:01Z").unwrap(), 0);
    state.set_labels(Labels::from_pairs(external.iter().copied()));
    state.set_version("3.14.0".to_owned());
    PrometheusStore::new(client, state, budget, &component::metrics::Registry::new()).unwrap()
}

fn request(without: &[&str]) -> thanos::SeriesRequest {
    let any = |name: &str| thanos::LabelMatcher {
        r#type: thanos::label_matcher::Type::Re as i32,
        name: name.into(),
        value: ".*".into(),
    };
    thanos::SeriesRequest {
        min_time: i64::MIN,
        max_time: i64::MAX,
        matchers: vec![any("a"), any("r")],
        without_replica_labels: without.iter().map(|s| (*s).to_owned()).collect(),
        ..Default::default()
    }
}

async fn all(store: &PrometheusStore, without: &[&str]) -> Result<Vec<Series>, Status> {
    let mut stream = store.series(request(without), Call::internal("t")).await?;
    let mut out = Vec::new();
    while let Some(item) = stream.next().await {
        match item? {
            Item::Series(piece) => out.extend(piece),
            other => panic!("{other:?}"),
        }
    }
    Ok(out)
}

fn texts(series: &[Series]) -> Vec<String> {
    series.iter().map(|s| s.labels.to_string()).collect()
}

/// Prometheus adds its external labels to what it sends, after sorting by the labels it stored.
#[tokio::test]
async fn order_is_by_final_labels_though_prometheus_added_external_ones() {
    let sent = [
        [("a", "1"), ("m", "x"), ("z", "1")],
        [("a", "1"), ("m", "x"), ("z", "2")],
        [("a", "2"), ("m", "x"), ("z", "0")],
    ];
    let frames = sent.iter().map(|l| frame(vec![series(l, vec![chunk(5000)])])).collect();
    let fake = fake::start(Read::streamed(frames), &["a", "z"]).await;
    let got = all(&store(&fake, &[("m", "x")]), &[]).await.unwrap();
    assert_eq!(
        texts(&got),
        [r#"{a="1", m="x", z="1"}"#, r#"{a="1", m="x", z="2"}"#, r#"{a="2", m="x", z="0"}"#]
    );
    // The replica label is taken away; what is left is sorted.
    let got = all(&store(&fake, &[("m", "x")]), &["m"]).await.unwrap();
    assert_eq!(texts(&got), [r#"{a="1", z="1"}"#, r#"{a="1", z="2"}"#, r#"{a="2", z="0"}"#]);
}

/// A series' own label is replaced by the external one, and where order cannot follow, it is made.
#[tokio::test]
async fn external_labels_win_and_a_removed_label_leads_to_sorting() {
    let sent = [[("a", "1"), ("r", "2")], [("a", "2"), ("r", "1")]];
    let frames = sent.iter().map(|l| frame(vec![series(l, vec![chunk(5000)])])).collect();
    let fake = fake::start(Read::streamed(frames), &["a", "r"]).await;
    let got = all(&store(&fake, &[("a", "x")]), &[]).await.unwrap();
    assert_eq!(texts(&got), [r#"{a="x", r="1"}"#, r#"{a="x", r="2"}"#]);
    let got = all(&store(&fake, &[("e", "x")]), &["a"]).await.unwrap();
    assert_eq!(texts(&got), [r#"{e="x", r="1"}"#, r#"{e="x", r="2"}"#]);
}

/// R035: damage and early ends are errors, emptiness is not, two series in one frame are two.
#[tokio::test]
async fn r035_damaged_streams_are_errors() {
    let good = frame(vec![series(&[("a", "1")], vec![chunk(5000)])]);
    let mut wrong_crc = good.to_vec();
    *wrong_crc.last_mut().unwrap() ^= 1;
    let huge = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0]);
    let cases: [(&str, Read, &str); 6] = [
        ("checksum", Read::streamed(vec![good.clone(), wrong_crc.into()]), "checksum"),
        ("oversized", Read::streamed(vec![huge]), "50000000"),
        ("mid-frame", Read::streamed(vec![good.clone(), good.slice(..good.len() - 1)]), "frame"),
        ("dies after a frame", Read { cut: true, ..Read::streamed(vec![good.clone()]) }, "query Prometheus"),
        ("content type", Read { kind: "text/html", ..Read::streamed(vec![]) }, "content type: text/html"),
        (
            "500",
            Read { status: 500, kind: "text/html", ..Read::streamed(vec!["<h1>no".into()]) },
            "code 500; msg <h1>no",
        ),
    ];
    for (name, read, want) in cases {
        let fake = fake::start(read, &["a"]).await;
        let error = all(&store(&fake, &[("e", "x")]), &[]).await.expect_err(name);
        let text = error.message().to_lowercase();
        assert!(text.contains(&want.to_lowercase()) || name == "dies after a frame", "{name}: {error}");
        assert_ne!(error.code(), Code::Ok, "{name}");
    }
    let empty = series(&[("a", "0")], vec![]);
    let two = vec![empty, series(&[("a", "1")], vec![chunk(5000)]), series(&[("a", "2")], vec![chunk(5000)])];
    for (pieces, want) in [(vec![], 0), (vec![frame(vec![])], 0), (vec![frame(two)], 2)] {
        let fake = fake::start(Read::streamed(pieces), &["a"]).await;
        assert_eq!(all(&store(&fake, &[("e", "x")]), &[]).await.unwrap().len(), want);
    }
}

/// R005: an old Prometheus sends 131,075 samples of one series; chunks hold at most 120, all exact.
#[tokio::test]
async fn r005_samples_of_an_old_prometheus_become_chunks_of_120() {
    let samples: Vec<_> = (0..131_075)
        .map(|i| prometheus::Sample { timestamp: 2000 + i * 15, value: (i * i) as f64 })
        .collect();
    let labels = vec![prometheus::Label { name: "a".into(), value: "1".into() }];
    let timeseries = vec![prometheus::TimeSeries { labels, samples: samples.clone(), ..Default::default() }];
    let result = prometheus::QueryResult { timeseries };
    let response = prometheus::ReadResponse { results: vec![result] };
    let packed = snap::raw::Encoder::new().compress_vec(&response.encode_to_vec()).unwrap();
    let fake = fake::start(Read { kind: fake::SAMPLED, ..Read::streamed(vec![packed.into()]) }, &["a"]).await;
    let got = all(&store(&fake, &[("e", "x")]), &[]).await.unwrap();
    let mut read = model::Samples::default();
    for c in &got[0].chunks {
        let data = &c.parts[0].chunk.data;
        let before = read.len();
        tsdb_block::chunkenc::decode(tsdb_block::chunkenc::Encoding::Xor, data, &mut read).unwrap();
        assert!(read.len() - before <= 120);
        assert_eq!((c.min_time, c.max_time), (read.ts[before], read.ts[read.len() - 1]));
    }
    let want: Vec<_> = samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
    let got: Vec<_> = read.ts.iter().copied().zip(read.values.iter().map(|v| v.to_bits())).collect();
    assert!(got == want, "{} samples of {}", got.len(), want.len());
}

/// R034: nothing before `--min-time` is asked for, and an empty range asks nothing.
#[tokio::test]
async fn r034_an_empty_range_is_an_empty_answer() {
    let fake = fake::start(Read { status: 500, ..Read::streamed(vec![]) }, &["a"]).await;
    let store = store(&fake, &[("e", "x")]);
    for (min_time, max_time) in
        [(i64::MIN, 999), (i64::MAX, i64::MAX - 1), (5000, 4000), (i64::MIN, i64::MIN)]
    {
        let request = thanos::SeriesRequest { min_time, max_time, ..request(&[]) };
        let items: Vec<_> = store.series(request, Call::internal("t")).await.unwrap().collect().await;
        assert!(items.is_empty(), "{min_time}..{max_time}: {items:?}");
    }
    // At the limit itself Prometheus is asked.
    let request = thanos::SeriesRequest { min_time: 0, max_time: 1000, ..request(&[]) };
    assert!(store.series(request, Call::internal("t")).await.is_err());
}

/// R036: a Prometheus that is away is an error that says so.
#[tokio::test]
async fn r036_a_prometheus_that_is_away_is_an_error() {
    let fake = Fake { url: "http://127.0.0.1:1".into(), sent: Arc::default() };
    let error = all(&store(&fake, &[("e", "x")]), &[]).await.unwrap_err();
    assert!(error.message().starts_with("query Prometheus: "), "{error}");
}

/// A reader that stops taking series stops Prometheus: what is under way is bounded by buffers of the
/// connection, not by the answer.
#[tokio::test]
async fn a_slow_reader_slows_prometheus() {
    const FRAMES: usize = 200_000;
    let piece = |i: usize| {
        frame(vec![series(&[("a", &format!("{i:06}")), ("pad", &"x".repeat(500))], vec![chunk(5000)])])
    };
    let read = Read { pieces: FRAMES, piece: Arc::new(piece), ..Read::streamed(vec![]) };
    let fake = fake::start(read, &["a", "pad"]).await;
    let store = store(&fake, &[("e", "x")]);
    let mut stream = store.series(request(&[]), Call::internal("t")).await.unwrap();
    assert!(matches!(stream.next().await, Some(Ok(Item::Series(_)))), "the first series comes early");
    let mut last = usize::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let sent = fake.sent.load(Ordering::Relaxed);
        if sent == last {
            break;
        }
        last = sent;
    }
    assert!(last < FRAMES / 4, "{last} of {FRAMES} frames were sent to a reader that took one");
    let mut count = 1;
    while let Some(item) = stream.next().await {
        let Item::Series(piece) = item.unwrap() else { continue };
        count += piece.len();
    }
    assert_eq!(count, FRAMES);
}
