//! Limits and the memory budget.

mod common;

use common::blocks::{Spec, plain_series};
use component::clock::SystemClock;
use model::Budget;
use store_gateway::CallLimits;
use store_gateway::store::Options;
use storeapi::{Call, Store as _};
use storeapi_proto::thanos;
use tonic::Code;

fn dropped(opened: &common::Opened, reason: &str) -> f64 {
    let text = component::metrics::text::encode(&opened.env.registry.gather());
    let line = format!(
        "thanos_bucket_store_queries_dropped_total{{reason=\"{reason}\",tenant=\"default-tenant\"}} "
    );
    text.lines().find_map(|l| l.strip_prefix(&line)).map_or(0.0, |v| v.parse().unwrap())
}

/// R046, the store's half: exactly the limit passes, one less is refused, once, whatever the strategy.
#[tokio::test(flavor = "multi_thread")]
async fn r046_limits_hold_exactly_at_the_edge() {
    let dir = tempfile::tempdir().unwrap();
    // Two blocks, so that a limit counts over the whole request.
    let first = Spec::new(1, plain_series(10)).write(dir.path());
    let mut other = Spec::new(2, plain_series(10));
    other.labels = vec![("cluster", "two")];
    other.write(dir.path());
    let request = || common::request(&[(0, "__name__", "up")]);
    let with = |limits: CallLimits| {
        let options = Options { limits, ..Options::default() };
        let dir = dir.path().to_owned();
        async move { common::over(&dir, options).await }
    };
    for (limits, passes, reason, text) in [
        (CallLimits { series: 20, ..Default::default() }, true, "series", ""),
        (
            CallLimits { series: 19, ..Default::default() },
            false,
            "series",
            "exceeded series limit: limit 19 violated (got 20)",
        ),
        (CallLimits { chunks: 20, ..Default::default() }, true, "chunks", ""),
        (
            CallLimits { chunks: 19, ..Default::default() },
            false,
            "chunks",
            "exceeded chunks limit: limit 19 violated (got 20)",
        ),
        (CallLimits::default(), true, "bytes", ""),
        (
            CallLimits { bytes: 10, ..Default::default() },
            false,
            "bytes",
            "exceeded bytes limit while fetching postings: limit 10 violated (got ",
        ),
    ] {
        let opened = with(limits).await;
        for strategy in [0, 1] {
            let before = dropped(&opened, reason);
            let mut r = request();
            r.partial_response_strategy = strategy;
            match common::series(&opened.store, r).await {
                Ok(answer) => {
                    assert!(passes, "{limits:?}");
                    assert_eq!((answer.series.len(), answer.warnings.len()), (20, 0));
                    assert_eq!(dropped(&opened, reason), before);
                }
                Err(status) => {
                    assert!(!passes, "{limits:?}: {status:?}");
                    assert_eq!(status.code(), Code::ResourceExhausted);
                    let want = format!("rpc error: code = ResourceExhausted desc = {text}");
                    assert!(status.message().contains(&want), "{status:?}");
                    assert_eq!(dropped(&opened, reason), before + 1.0, "counted once");
                }
            }
        }
    }
    // The exact number of bytes of a request, learnt from the hints, passes; one less does not.
    let opened = with(CallLimits::default()).await;
    let mut r = request();
    let asked =
        storeapi_proto::hintspb::SeriesRequestHints { enable_query_stats: true, ..Default::default() };
    r.hints = Some(prost_types::Any {
        type_url: "type.googleapis.com/hintspb.SeriesRequestHints".into(),
        value: prost::Message::encode_to_vec(&asked),
    });
    let answer = common::series(&opened.store, r).await.unwrap();
    let hints: storeapi_proto::hintspb::SeriesResponseHints =
        prost::Message::decode(answer.hints[0].value.as_slice()).unwrap();
    assert_eq!(hints.queried_blocks.len(), 2);
    assert!(hints.queried_blocks.iter().any(|b| b.id == first));
    let stats = hints.query_stats.unwrap();
    assert_eq!((stats.blocks_queried, stats.merged_series_count, stats.merged_chunks_count), (2, 20, 20));
    assert_eq!((stats.series_touched, stats.chunks_touched), (20, 20));

    // Names and values with matchers count series too.
    let opened = with(CallLimits { series: 19, ..Default::default() }).await;
    let matchers = vec![common::matcher(0, "__name__", "up")];
    let names = thanos::LabelNamesRequest {
        start: i64::MIN,
        end: i64::MAX,
        matchers: matchers.clone(),
        ..Default::default()
    };
    let status = opened.store.label_names(names, Call::internal("default-tenant")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let values = thanos::LabelValuesRequest {
        label: "n".into(),
        start: i64::MIN,
        end: i64::MAX,
        matchers,
        ..Default::default()
    };
    let status = opened.store.label_values(values, Call::internal("default-tenant")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
}

/// A request that the memory budget has no room for is refused by name before its series are fetched, and
/// the next one is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_the_budget_is_refused_and_the_next_answered() {
    let dir = tempfile::tempdir().unwrap();
    Spec::new(1, plain_series(50_000)).write(dir.path());
    let bucket: objstore::SharedBucket =
        std::sync::Arc::new(objstore::filesystem::Filesystem::new(dir.path()).unwrap());
    let budget = Budget::new(8 << 20, "--memory.budget");
    let env = component::Env::for_tests("store", SystemClock::shared());
    let opened = common::open(bucket.clone(), Options::default(), env, Some(budget.clone()));
    opened.store.sync(&common::metas(&bucket).await, true).await;
    let small = || common::request(&[(2, "n", "000.*")]);
    for _ in 0..3 {
        for strategy in [0, 1] {
            let mut all = common::request(&[(0, "__name__", "up")]);
            all.partial_response_strategy = strategy;
            let status = common::series(&opened.store, all).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted);
            for part in ["--memory.budget", "50000 series", "__name__=\\\"up\\\"", "8388608"] {
                let shown = format!("{:?}", status.message());
                assert!(shown.contains(part), "{part} in {shown}");
            }
        }
        let answer = common::series(&opened.store, small()).await.unwrap();
        assert_eq!((answer.series.len(), answer.warnings.len()), (100, 0));
    }
    // Values of a label, and matchers that need all of them, are refused by name too.
    let tight = Budget::new(1 << 20, "--memory.budget");
    let opened_tight = common::open(bucket.clone(), Options::default(), common::env(), Some(tight.clone()));
    opened_tight.store.sync(&common::metas(&bucket).await, true).await;
    let all_values = || thanos::LabelValuesRequest {
        label: "n".into(),
        start: i64::MIN,
        end: i64::MAX,
        ..Default::default()
    };
    let status = opened_tight.store.label_values(all_values(), Call::internal("t")).await.unwrap_err();
    assert!(status.message().contains("values of label n"), "{status:?}");
    let status = common::series(&opened_tight.store, common::request(&[(2, "n", "0.*1")])).await.unwrap_err();
    assert!(status.message().contains("label values for n=~\"0.*1\""), "{status:?}");
    assert_eq!(
        opened.store.label_values(all_values(), Call::internal("t")).await.unwrap().values.len(),
        50_000
    );
    let answer = common::series(&opened_tight.store, common::request(&[(0, "n", "00001")])).await.unwrap();
    assert_eq!(answer.series.len(), 1);

    // The cache gives way to requests.
    let answer = common::series(&opened.store, common::request(&[(2, "n", "0.*")])).await.unwrap();
    assert_eq!(answer.series.len(), 10_000);
    assert!(budget.used() <= 8 << 20);
}
