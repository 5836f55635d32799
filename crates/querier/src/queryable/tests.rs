//! Selections over scripted stores.

use model::{Budget, Samples};
use promql::StorageError;

use super::*;
use crate::pool::Cpus;
use crate::testing::{Fake, Step, proxy, series};

fn scope() -> Scope {
    Scope {
        replica_labels: Vec::new(),
        store_matchers: Arc::default(),
        max_resolution: 3_600_000,
        partial: true,
        shard: None,
        tenant: "t".to_owned(),
        enforced: None,
        deadline: Instant::now() + std::time::Duration::from_secs(60),
        cancel: CancellationToken::new(),
    }
}

async fn store(steps: Vec<Step>, scope: Scope, max_selects: usize) -> QueryStore {
    let stores = Stores {
        store: Arc::new(proxy(vec![Arc::new(Fake::of(steps))], None).await),
        suspects: Box::new(|_, _, _| Vec::new()),
        runtime: Handle::current(),
        max_selects,
        selects: None,
        algorithm: Algorithm::Penalty,
    };
    let account = Arc::new(Budget::unlimited().account());
    QueryStore::new(Arc::new(stores), scope, account, Arc::new(Cpus::new(1).lease()))
}

fn selection() -> Selection {
    let matchers = vec![Matcher::equal("job", "web")];
    Selection { mint: 0, maxt: 1000, matchers, hints: Hints::default() }
}

/// Reads a set to its end on a thread that may block.
async fn read(mut set: Box<dyn SeriesSet>) -> Result<(usize, Vec<String>), StorageError> {
    let task = tokio::task::spawn_blocking(move || {
        let (mut samples, mut count) = (Samples::default(), 0);
        while set.next(&mut samples)?.is_some() {
            count += 1;
        }
        Ok((count, set.warnings()))
    });
    task.await.unwrap()
}

#[test]
fn requests_follow_hints_and_scope() {
    let mut selection = selection();
    selection.hints = Hints { func: "rate".to_owned(), range: 600_000, ..Hints::default() };
    let scope = Scope {
        replica_labels: vec!["replica".to_owned()],
        enforced: Some(Matcher::equal("job", "mine")),
        ..scope()
    };
    let request = scope.request(&selection);
    // Two samples of the coarsest data have to fit into the range.
    assert_eq!((request.max_resolution_window, request.limit), (300_000, 0));
    assert_eq!((request.aggregates, request.without_replica_labels), (vec![5], vec!["replica".to_owned()]));
    assert_eq!((request.matchers.len(), request.matchers[0].value.as_str()), (1, "mine"));
    assert_eq!(request.partial_response_strategy, thanos::PartialResponseStrategy::Warn as i32);
    selection.hints = Hints { func: "max_over_time".to_owned(), range: 600_000, ..Hints::default() };
    let request = Scope { partial: false, ..scope }.request(&selection);
    assert_eq!((request.max_resolution_window, request.aggregates), (3_600_000, vec![4]));
    assert_eq!(request.partial_response_strategy, thanos::PartialResponseStrategy::Abort as i32);
}

#[test]
fn stores_are_told_grouping_and_projection_where_they_may_act_on_it() {
    let query =
        |hints: Hints, scope: &Scope| scope.request(&Selection { hints, ..selection() }).query_hints.unwrap();
    let bare = thanos::QueryHints {
        func: Some(thanos::Func::default()),
        series_hash_label_name: "__cf_series_hash__".to_owned(),
        ..Default::default()
    };
    let rate = Hints { func: "rate".to_owned(), step: 1000, range: 60_000, ..Hints::default() };
    assert_eq!(query(rate.clone(), &scope()), bare);
    let grouped = |by, label: &[&str]| Hints {
        func: "max".to_owned(),
        grouping: label.iter().map(|l| (*l).to_owned()).collect(),
        by,
        ..Hints::default()
    };
    for (hints, want) in [
        (grouped(true, &[]), Some((true, vec![]))),
        (grouped(true, &["a"]), Some((true, vec!["a"]))),
        (grouped(false, &["a"]), Some((false, vec!["a"]))),
        (grouped(false, &[]), None),
    ] {
        let want = want.map(|(by, labels): (bool, Vec<&str>)| thanos::Grouping {
            by,
            labels: labels.into_iter().map(str::to_owned).collect(),
        });
        assert_eq!(query(hints, &scope()), thanos::QueryHints { grouping: want, ..bare.clone() });
    }

    let names = |all: &[&str]| all.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let narrow = Hints { projection: Some(names(&["__name__", "a"])), ..rate.clone() };
    let told = thanos::QueryHints {
        projection_labels: names(&["__name__", "a"]),
        projection_include: true,
        ..bare.clone()
    };
    assert_eq!(query(narrow.clone(), &scope()), told);
    // By which labels replicas are merged and shards are cut is not the store's to know.
    let replicas = Scope { replica_labels: names(&["replica"]), ..scope() };
    assert_eq!(query(narrow.clone(), &replicas), bare);
    let sharded = Scope { shard: Some(thanos::ShardInfo::default()), ..scope() };
    assert_eq!(query(narrow, &sharded), bare);
    let odd = Hints { projection: Some(names(&["__cf_series_hash__"])), ..rate };
    assert_eq!(query(odd, &scope()), bare);
}

#[test]
fn refusals_name_the_matcher_that_lets_most_through() {
    let matcher = |kind, value| Matcher::new(kind, "l", value).unwrap();
    let all = [
        matcher(MatchType::Equal, "a"),
        matcher(MatchType::Regexp, "a|b"),
        matcher(MatchType::Regexp, "a.*"),
        matcher(MatchType::Regexp, ".+"),
        matcher(MatchType::NotEqual, "a"),
        matcher(MatchType::Regexp, ".*"),
    ];
    for wider in 1..all.len() {
        let text = charged_for(&all[..=wider]);
        assert!(text.ends_with(&format!("(widest matcher {})", all[wider])), "{text}");
    }
}

/// A selection that is waited for must not wait for a place that another one holds which is not.
#[tokio::test(flavor = "multi_thread")]
async fn selections_at_a_narrow_gate_may_be_read_in_any_order() {
    let steps: Vec<Step> = (0..12)
        .map(|i| {
            let of = |n| series(&format!("i={i:02} job=web n={n:03}"), &[&[(1, 1.0)]]);
            Step::Send((0..300).map(of).collect())
        })
        .collect();
    let store = store(steps, scope(), 1).await;
    let sets: Vec<_> = (0..3).map(|_| store.select(&selection())).collect();
    for set in sets.into_iter().rev() {
        assert_eq!(read(set).await, Ok((3600, vec![])));
    }
    assert!(store.completeness()());
    assert_eq!(store.counts().series.load(Ordering::Relaxed), 3 * 3600);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancellation_and_deadline_end_a_set_that_blocks() {
    let hung = || vec![Step::Send(vec![series("job=web", &[&[(1, 1.0)]])]), Step::Hang];
    let canceled = scope();
    let token = canceled.cancel.clone();
    let first = store(hung(), canceled, 4).await;
    let reading = tokio::spawn(read(first.select(&selection())));
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    token.cancel();
    assert!(matches!(reading.await.unwrap(), Err(StorageError::Canceled(_))));

    let soon = Scope { deadline: Instant::now() + std::time::Duration::from_millis(50), ..scope() };
    let second = store(hung(), soon, 4).await;
    let set = second.select(&selection());
    assert!(matches!(read(set).await, Err(StorageError::Timeout(_)) | Ok((1, _))));
    assert!(!second.completeness()());
}
