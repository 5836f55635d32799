//! The fan-out over scripted stores.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use model::Matcher;
use storeapi::{Call, Item, Store};
use storeapi_proto::{convert, thanos};
use tonic::{Code, Status};

use super::*;
use crate::testing::{Fake, Step, chunk, labels, proxy, series};

const WARN: i32 = thanos::PartialResponseStrategy::Warn as i32;
const ABORT: i32 = thanos::PartialResponseStrategy::Abort as i32;

fn request(strategy: i32) -> thanos::SeriesRequest {
    thanos::SeriesRequest {
        min_time: 0,
        max_time: 1000,
        matchers: convert::to_matchers(&[Matcher::equal("job", "web")]),
        partial_response_strategy: strategy,
        ..Default::default()
    }
}

/// The series and warnings of an answer.
async fn read(proxy: &Proxy, request: thanos::SeriesRequest) -> Result<(Vec<Series>, Vec<String>), Status> {
    let mut stream = proxy.series(request, Call::default()).await?;
    let (mut all, mut warnings) = (Vec::new(), Vec::new());
    while let Some(item) = stream.next().await {
        match item? {
            Item::Series(some) => all.extend(some),
            Item::Warning(text) => warnings.push(text),
            Item::Hints(_) => {}
        }
    }
    Ok((all, warnings))
}

use storeapi::Series;

fn one(name: &str) -> Vec<Series> {
    vec![series(&format!("job=web name={name}"), &[&[(10, 1.0), (20, 2.0)]])]
}

fn names(all: &[Series]) -> Vec<&str> {
    all.iter().map(|s| s.labels.value("name")).collect()
}

fn broken() -> Status {
    Status::internal("disk gone")
}

fn unreachable() -> Status {
    Status::unavailable("connection error: desc = \"transport: Error while dialing\"")
}

/// One way for a store to go wrong, and what its warning says.
fn faults() -> Vec<(&'static str, Fake, &'static str)> {
    let second = || Step::Send(one("x"));
    let refusing = |status| Fake { refuse: Some(status), words: Err(broken()), ..Fake::default() };
    vec![
        (
            "cannot be reached",
            refusing(unreachable()),
            "fetch series for Store Gateway Addr: s2:1 MinTime: -9223372036854775808 MaxTime: 9223372036854775807: \
             rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing\"",
        ),
        (
            "refuses",
            refusing(broken()),
            "receive series from Addr: s2:1 MinTime: -9223372036854775808 MaxTime: 9223372036854775807: \
             rpc error: code = Internal desc = disk gone",
        ),
        (
            "fails at once",
            Fake::of(vec![Step::Fail(broken())]),
            "receive series from Addr: s2:1 MinTime: -9223372036854775808 MaxTime: 9223372036854775807: \
             rpc error: code = Internal desc = disk gone",
        ),
        (
            "fails in mid-stream",
            Fake::of(vec![second(), Step::Fail(broken())]),
            "receive series from Addr: s2:1 MinTime: -9223372036854775808 MaxTime: 9223372036854775807: \
             rpc error: code = Internal desc = disk gone",
        ),
        (
            "never answers",
            Fake { mute: true, ..Fake::of(vec![Step::Hang]) },
            "failed to receive any data in 1s from Addr: s2:1 MinTime: -9223372036854775808 MaxTime: \
             9223372036854775807: rpc error: code = Canceled desc = context canceled",
        ),
        (
            "stops answering",
            Fake { mute: true, ..Fake::of(vec![second(), Step::Hang]) },
            "failed to receive any data in 1s from Addr: s2:1 MinTime: -9223372036854775808 MaxTime: \
             9223372036854775807: rpc error: code = Canceled desc = context canceled",
        ),
        ("warns", Fake::of(vec![second(), Step::Warn("block 01H is damaged")]), "block 01H is damaged"),
        (
            "is out of order",
            Fake::of(vec![Step::Send([one("z"), one("a")].concat())]),
            "receive series from Addr: s2:1 MinTime: -9223372036854775808 MaxTime: 9223372036854775807: \
             series are not in the order of their labels",
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn r052_a_faulty_store_costs_its_own_series_with_a_warning_or_the_whole_answer() {
    for position in 0..3 {
        for (what, fault, text) in faults() {
            let fault = Arc::new(fault);
            let mut stores: Vec<Arc<Fake>> =
                ["b", "c"].map(|name| Arc::new(Fake::holding(one(name)))).to_vec();
            stores.insert(position, fault.clone());
            let proxy = proxy(stores, Some(Duration::from_secs(1))).await;
            let text = text.replace("s2:1", &format!("s{}:1", position + 1));
            let (got, warnings) = read(&proxy, request(WARN)).await.unwrap();
            assert!(names(&got).windows(2).all(|w| w[0] < w[1]), "{what}: {got:?}");
            assert!(["b", "c"].iter().all(|n| names(&got).contains(n)), "{what}: {got:?}");
            assert_eq!(warnings, std::slice::from_ref(&text), "{what} at {position}");
            assert_eq!(fault.open.load(Ordering::SeqCst), 0, "{what}: a stream stayed open");

            // A store that was seen to be out of order is sorted from then on.
            if what == "is out of order" {
                let (got, warnings) = read(&proxy, request(ABORT)).await.unwrap();
                assert_eq!((names(&got), warnings.len()), (vec!["a", "b", "c", "z"], 0));
                continue;
            }
            let error = read(&proxy, request(ABORT)).await.unwrap_err();
            let code = if what == "cannot be reached" { Code::Unknown } else { Code::Aborted };
            assert_eq!((error.code(), error.message()), (code, text.as_str()), "{what} at {position}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn r052_label_calls_lose_only_the_faulty_store() {
    let good = |word: &str| Arc::new(Fake { words: Ok(vec![word.to_owned()]), ..Fake::default() });
    for (fault, text) in [
        (Fake { words: Err(broken()), ..Fake::default() }, "rpc error: code = Internal desc = disk gone"),
        (
            Fake { mute: true, ..Fake::default() },
            "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
        ),
    ] {
        let proxy = proxy(vec![good("b"), Arc::new(fault), good("a")], Some(Duration::from_secs(1))).await;
        let store = "Addr: s2:1 MinTime: -9223372036854775808 MaxTime: 9223372036854775807";
        let ask = |strategy| thanos::LabelNamesRequest {
            partial_response_strategy: strategy,
            end: 10,
            ..Default::default()
        };
        let got = proxy.label_names(ask(WARN), Call::default()).await.unwrap();
        let want = format!("fetch label names from store {store}: {text}");
        assert_eq!((got.names, got.warnings), (vec!["a".to_owned(), "b".to_owned()], vec![want.clone()]));
        let error = proxy.label_names(ask(ABORT), Call::default()).await.unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::Unknown, want.as_str()));

        let ask = |strategy| thanos::LabelValuesRequest {
            label: "job".to_owned(),
            partial_response_strategy: strategy,
            end: 10,
            limit: 1,
            ..Default::default()
        };
        let got = proxy.label_values(ask(WARN), Call::default()).await.unwrap();
        let want = format!("fetch label values from store {store}: {text}");
        assert_eq!((got.values, got.warnings), (vec!["a".to_owned()], vec![want]));
        assert!(proxy.label_values(ask(ABORT), Call::default()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn r053_slow_stores_are_waited_for_side_by_side_and_data_restarts_the_clock() {
    let hung = (0..20).map(|_| Arc::new(Fake::of(vec![Step::Hang])));
    // Slow, but never silent for a whole second.
    let pause = Step::Wait(Duration::from_millis(900));
    let steps = ["a", "b", "c"].map(|n| [pause.clone(), Step::Send(one(n))]).concat();
    let mut stores: Vec<Arc<Fake>> = hung.collect();
    stores.push(Arc::new(Fake::of(steps)));
    let proxy = proxy(stores, Some(Duration::from_secs(1))).await;
    let began = tokio::time::Instant::now();
    let (got, warnings) = read(&proxy, request(WARN)).await.unwrap();
    assert_eq!((names(&got), warnings.len()), (vec!["a", "b", "c"], 20));
    assert!(began.elapsed() < Duration::from_millis(2800), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn r054_the_deadline_of_a_call_ends_stores_that_never_answer() {
    let hung = Arc::new(Fake::of(vec![Step::Send(one("b")), Step::Hang]));
    let proxy = proxy(vec![Arc::new(Fake::holding(one("a"))), hung.clone()], None).await;
    let deadline = Some(tokio::time::Instant::now().into_std() + Duration::from_secs(2));
    let call = Call { deadline, ..Call::default() };
    let stream = proxy.series(request(WARN), call).await.unwrap();
    let items: Vec<_> = stream.collect().await;
    let warned = items.iter().filter(|i| {
        matches!(i, Ok(Item::Warning(text))
        if text.starts_with("receive series from Addr: s2:1 ") && text.ends_with("context deadline exceeded"))
    });
    assert_eq!(warned.count(), 1, "{items:?}");
    assert_eq!(hung.open.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn r055_dropping_an_answer_ends_every_stream_and_a_panic_is_an_error() {
    let stores: Vec<Arc<Fake>> =
        (0..5).map(|_| Arc::new(Fake::of(vec![Step::Send(one("a")), Step::Hang]))).collect();
    let proxy_of = proxy(stores.clone(), None).await;
    for _ in 0..20 {
        let mut stream = proxy_of.series(request(WARN), Call::default()).await.unwrap();
        while stores.iter().any(|s| s.open.load(Ordering::SeqCst) == 0) {
            tokio::select! {
                _ = stream.next() => {}
                () = tokio::task::yield_now() => {}
            }
        }
        drop(stream);
        while stores.iter().any(|s| s.open.load(Ordering::SeqCst) > 0) {
            tokio::task::yield_now().await;
        }
    }
    let dying = proxy(vec![Arc::new(Fake::of(vec![Step::Send(one("a")), Step::Panic]))], None).await;
    let error = read(&dying, request(WARN)).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Internal, "reading from a store broke off"));
}

#[tokio::test]
async fn r056_no_store_is_an_error_only_where_nothing_may_be_missing() {
    let none = proxy(vec![], None).await;
    let elsewhere = Fake { sets: vec![labels("job=other")], ..Fake::holding(one("a")) };
    let unmatched = proxy(vec![Arc::new(elsewhere)], None).await;
    for (disabled, strategy, fails) in
        [(false, WARN, false), (true, WARN, true), (false, ABORT, true), (true, ABORT, true)]
    {
        let request = thanos::SeriesRequest { partial_response_disabled: disabled, ..request(strategy) };
        let answer = read(&none, request.clone()).await;
        assert_eq!(answer.is_err(), fails, "{disabled} {strategy}");
        if let Err(e) = answer {
            assert_eq!((e.code(), e.message()), (Code::Unknown, "No StoreAPIs available"));
        }
        assert_eq!(read(&unmatched, request).await.unwrap(), (vec![], vec![]));
    }
}

#[tokio::test]
async fn r058_stores_are_chosen_by_inclusive_overlap() {
    let old = Arc::new(Fake { range: (0, 499), ..Fake::holding(one("old")) });
    let new = Arc::new(Fake { range: (500, i64::MAX), ..Fake::holding(one("new")) });
    let proxy = proxy(vec![old, new], None).await;
    for (range, want) in [
        ((0, 498), vec!["old"]),
        ((499, 499), vec!["old"]),
        ((499, 500), vec!["new", "old"]),
        ((500, 500), vec!["new"]),
        ((501, 900), vec!["new"]),
    ] {
        let request = thanos::SeriesRequest { min_time: range.0, max_time: range.1, ..request(WARN) };
        assert_eq!(names(&read(&proxy, request).await.unwrap().0), want, "{range:?}");
    }
}

#[tokio::test]
async fn r059_replica_labels_are_removed_here_where_a_store_cannot() {
    let own =
        |replica: &str, more: &str| series(&format!("job=web replica={replica} z={more}"), &[&[(1, 1.0)]]);
    let sorted = vec![own("a", "1"), own("a", "2"), own("b", "1"), own("b", "3")];
    for removes in [true, false] {
        // A store that removes labels itself also sorts; this one's order after removal is right.
        let of_store = match removes {
            true => vec![own("a", "1"), own("b", "1"), own("a", "2"), own("b", "3")],
            false => sorted.clone(),
        };
        let store = Arc::new(Fake { removes, ..Fake::holding(of_store) });
        let other = Arc::new(Fake::holding(vec![own("c", "2"), own("c", "4")]));
        let proxy = proxy(vec![store, other], None).await;
        let request =
            thanos::SeriesRequest { without_replica_labels: vec!["replica".into()], ..request(ABORT) };
        let (got, _) = read(&proxy, request).await.unwrap();
        let z: Vec<&str> = got.iter().map(|s| s.labels.value("z")).collect();
        assert_eq!(z, ["1", "2", "3", "4"], "removes: {removes}");
        assert!(got.iter().all(|s| !s.labels.has("replica")));
    }
}

#[tokio::test]
async fn r060_identical_chunks_of_several_stores_come_once() {
    let points: &[(i64, f64)] = &[(10, 1.0), (20, 2.0)];
    let with_hash = || vec![series("job=web", &[points])];
    let without = || {
        let mut all = with_hash();
        all[0].chunks[0].parts[0].chunk.hash = 0;
        all
    };
    let shifted = vec![series("job=web", &[&[(11, 1.0), (21, 2.0)]])];
    let stores = [with_hash(), without(), shifted, with_hash()].map(|s| Arc::new(Fake::holding(s)));
    let (got, _) = read(&proxy(stores.to_vec(), None).await, request(ABORT)).await.unwrap();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].chunks.iter().map(|c| c.min_time).collect::<Vec<_>>(), [10, 11]);
    assert_eq!(got[0].chunks[0], chunk(points));
}

#[tokio::test]
async fn r068_the_order_of_arrival_does_not_matter() {
    let of = |i: u64| -> Vec<Series> {
        (0..8).map(|n| series(&format!("job=web n={n}"), &[&[(i as i64 * 7 + n, n as f64)]])).collect()
    };
    let mut first: Option<Vec<Series>> = None;
    for seed in 0..50u64 {
        let stores = (0..6u64).map(|i| {
            let steps = of(i).into_iter().enumerate().flat_map(|(n, s)| {
                let wait = (seed * 31 + i * 17 + n as u64 * 13) % 7;
                let pause = (wait > 3).then_some(Step::Wait(Duration::from_micros(wait * 10)));
                pause.into_iter().chain([Step::Send(vec![s])])
            });
            Arc::new(Fake::of(steps.collect()))
        });
        let (got, _) = read(&proxy(stores.collect(), None).await, request(ABORT)).await.unwrap();
        assert_eq!(first.get_or_insert_with(|| got.clone()), &got, "seed {seed}");
    }
}

#[tokio::test]
async fn requests_are_pruned_by_labels_and_address_and_limited() {
    let a = Arc::new(Fake { sets: vec![labels("zone=a")], ..Fake::holding([one("a"), one("b")].concat()) });
    let b = Arc::new(Fake { sets: vec![labels("zone=b")], ..Fake::holding(one("c")) });
    let proxy = proxy(vec![a.clone(), b.clone()], None).await;
    let zone = |value: &str| {
        let matchers = [Matcher::equal("job", "web"), Matcher::equal("zone", value)];
        thanos::SeriesRequest { matchers: convert::to_matchers(&matchers), ..request(ABORT) }
    };
    read(&proxy, zone("b")).await.unwrap();
    assert_eq!((a.seen.lock().len(), b.seen.lock().len()), (0, 1));
    let address = Matcher::equal("__address__", "s1:1");
    let call = Call { store_matchers: vec![vec![address]].into(), ..Call::default() };
    let items: Vec<_> = proxy.series(request(ABORT), call).await.unwrap().collect().await;
    assert!(matches!(&items[..], [Ok(Item::Series(all))] if names(all) == ["a", "b"]), "{items:?}");
    let (got, _) = read(&proxy, thanos::SeriesRequest { limit: 2, ..request(ABORT) }).await.unwrap();
    assert_eq!(names(&got), ["a", "b"]);

    let none = thanos::SeriesRequest { matchers: vec![], ..request(ABORT) };
    let error = read(&proxy, none).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::InvalidArgument, "no matchers specified (excluding selector labels)")
    );
    assert_eq!(proxy.label_sets(), [labels("zone=a"), labels("zone=b")]);
    assert_eq!(proxy.suspects(&labels("job=web zone=a"), 0, 1), ["s1:1"]);
}

#[tokio::test]
async fn labels_are_left_out_by_a_single_store_that_asks_no_others() {
    let hints = thanos::QueryHints {
        grouping: Some(thanos::Grouping { by: true, labels: vec!["name".to_owned()] }),
        projection_labels: vec!["name".to_owned()],
        projection_include: true,
        ..Default::default()
    };
    let all = thanos::QueryHints { projection_labels: vec![], projection_include: false, ..hints.clone() };
    let holding = |component| Fake { component, ..Fake::holding(one("a")) };
    let elsewhere = || Fake { range: (2000, 3000), ..Fake::default() };
    for (fakes, want) in [
        (vec![holding("store")], &hints),
        (vec![holding("sidecar"), elsewhere()], &hints),
        (vec![holding("store"), holding("store")], &all),
        (vec![holding("query")], &all),
        (vec![holding("")], &all),
    ] {
        let fakes: Vec<Arc<Fake>> = fakes.into_iter().map(Arc::new).collect();
        let proxy = proxy(fakes.clone(), None).await;
        let request = thanos::SeriesRequest { query_hints: Some(hints.clone()), ..request(ABORT) };
        read(&proxy, request).await.unwrap();
        let seen: Vec<_> = fakes.iter().flat_map(|f| f.seen.lock().clone()).collect();
        assert!(!seen.is_empty());
        for request in seen {
            assert_eq!(request.query_hints.as_ref(), Some(want));
        }
    }
}
