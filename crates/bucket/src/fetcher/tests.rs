//! Discovery under odd listings and faults: the reliability cases R010, R022, R024, R040 and R041.

use std::sync::Arc;
use std::time::Duration;

use component::clock::ManualClock;
use component::metrics::{Registry, text};
use objstore::memory::InMemory;
use objstore::testing::{Fault, FaultStore, OperationKind};
use objstore::{Bucket as _, BucketExt as _, ErrorKind, SharedBucket};
use tsdb_block::meta::{Compaction, Thanos};

use super::*;
use crate::filter::IgnoreDeletionMarks;
use crate::marker::{DELETION_MARK, DeletionMark};

const A: &str = "01M5FC5ZR0JRHRCP081V3NP1HX";
const B: &str = "01M5FK1Q00E12PH56HXJ31K279";
const C: &str = "01M5FSXE80GGSXKANMMPEXFP6M";
const BOTH: [Strategy; 2] = [Strategy::Concurrent, Strategy::Recursive];

fn id(text: &str) -> Ulid {
    Ulid::from_string(text).unwrap()
}

/// A block's metadata.
pub(crate) fn meta(ulid: Ulid) -> BlockMeta {
    BlockMeta {
        ulid,
        min_time: 0,
        max_time: 7_200_000,
        stats: Default::default(),
        compaction: Compaction { level: 1, sources: vec![ulid], ..Default::default() },
        version: 1,
        thanos: Some(Thanos { source: "sidecar".to_owned(), ..Thanos::default() }),
        other: Default::default(),
    }
}

async fn put(bucket: &InMemory, key: &str, text: impl Into<Vec<u8>>) {
    bucket.upload_bytes(key, text.into().into()).await.unwrap();
}

async fn put_block(bucket: &InMemory, ulid: &str) {
    put(bucket, &format!("{ulid}/chunks/000001"), "c").await;
    put(bucket, &format!("{ulid}/index"), "i").await;
    put(bucket, &format!("{ulid}/meta.json"), meta(id(ulid)).to_json()).await;
}

struct Setup {
    store: Arc<InMemory>,
    faults: Arc<FaultStore>,
    registry: Registry,
    clock: ManualClock,
    dir: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        let store = Arc::new(InMemory::new());
        Setup {
            faults: Arc::new(FaultStore::new(store.clone())),
            store,
            registry: Registry::new(),
            clock: ManualClock::at(1_795_359_533_602),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn bucket(&self) -> SharedBucket {
        self.faults.clone()
    }

    /// A fetcher as after a restart with this data directory.
    fn fetcher(&self, strategy: Strategy, filters: Vec<Box<dyn Filter>>) -> Fetcher {
        let options = Options { strategy, concurrency: 4, data_dir: Some(self.dir.path().to_owned()) };
        let registry = Registry::new();
        Fetcher::new(self.bucket(), options, filters, Arc::new(self.clock.clone()), &registry).unwrap()
    }

    fn fail(&self, operation: OperationKind, key: &str, error: ErrorKind) {
        self.faults.inject(Fault {
            operation: Some(operation),
            key: key.to_owned(),
            error: Some(error),
            ..Fault::default()
        });
    }
}

/// A round in which these blocks are listed.
pub(crate) fn round(metas: impl IntoIterator<Item = BlockMeta>) -> Round {
    let blocks: BTreeMap<_, _> = metas.into_iter().map(|m| (m.ulid, Arc::new(m))).collect();
    Round {
        listed: blocks.keys().copied().collect(),
        blocks,
        marked: None,
        now: 1_795_359_533_602,
        tally: Tally::default(),
    }
}

fn names<T>(map: &BTreeMap<Ulid, T>) -> Vec<String> {
    map.keys().map(Ulid::to_string).collect()
}

#[tokio::test]
async fn a_file_is_read_once_and_survives_a_restart() {
    for strategy in BOTH {
        let setup = Setup::new();
        put_block(&setup.store, A).await;
        let fetcher = setup.fetcher(strategy, vec![]);
        let gets = || setup.faults.log().iter().filter(|o| o.kind == OperationKind::Get).count();
        let first = fetcher.fetch().await.unwrap();
        let second = fetcher.fetch().await.unwrap();
        assert!(Arc::ptr_eq(&first.blocks[&id(A)], &second.blocks[&id(A)]));
        let third = setup.fetcher(strategy, vec![]).fetch().await.unwrap();
        assert_eq!((*third.blocks[&id(A)]).clone(), meta(id(A)));
        assert_eq!(gets(), 1);
        // A block that is gone leaves nothing behind.
        setup.store.delete(&format!("{A}/meta.json")).await.unwrap();
        assert!(fetcher.fetch().await.unwrap().blocks.is_empty());
        assert!(!setup.dir.path().join("meta-syncer").join(A).exists());
    }
}

#[tokio::test]
async fn a_damaged_or_foreign_file_on_disk_is_read_again() {
    let setup = Setup::new();
    put_block(&setup.store, A).await;
    let want = meta(id(A)).to_json();
    let path = setup.dir.path().join("meta-syncer").join(A).join("meta.json");
    for bad in [b"".as_slice(), &want[..want.len() / 2], &meta(id(B)).to_json()] {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bad).unwrap();
        let view = setup.fetcher(Strategy::Concurrent, vec![]).fetch().await.unwrap();
        assert_eq!(*view.blocks[&id(A)], meta(id(A)));
        assert_eq!(std::fs::read(&path).unwrap(), want);
    }
}

#[tokio::test]
async fn a_replaced_file_is_noticed_when_objects_are_listed() {
    let setup = Setup::new();
    put_block(&setup.store, A).await;
    let fetcher = setup.fetcher(Strategy::Recursive, vec![]);
    assert_eq!(fetcher.fetch().await.unwrap().blocks[&id(A)].max_time, 7_200_000);
    let changed = BlockMeta { max_time: 9, ..meta(id(A)) };
    put(&setup.store, &format!("{A}/meta.json"), changed.to_json()).await;
    assert_eq!(fetcher.fetch().await.unwrap().blocks[&id(A)].max_time, 9);
    assert_eq!(fetcher.metrics.cache_busts.get(), 1);
}

#[tokio::test]
async fn r010_odd_meta_files_cost_their_own_block_only() {
    let text = String::from_utf8(meta(id(A)).to_json()).unwrap();
    let many: Vec<Ulid> = (0..100_000).map(|n| Ulid::from_parts(n, 1)).collect();
    let lineage = BlockMeta { compaction: Compaction { sources: many, ..Default::default() }, ..meta(id(A)) };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let with = |extra: &str| text.replacen('{', &format!("{{{extra},"), 1).into_bytes();
    let mut big = text.clone().into_bytes();
    big.resize(100 << 20, b' ');
    let cases: Vec<(&str, Vec<u8>, Option<State>)> = vec![
        ("version 0", text.replace("\"version\": 1", "\"version\": 0").into(), Some(State::Failed)),
        ("version 2", text.replace("\"version\": 1", "\"version\": 2").into(), Some(State::Failed)),
        ("no thanos", BlockMeta { thanos: None, ..meta(id(A)) }.to_json(), None),
        ("unknown field", with("\"new\": {\"a\": [1]}"), None),
        ("other block", meta(id(B)).to_json(), Some(State::Corrupted)),
        ("times reversed", BlockMeta { min_time: 9, max_time: 1, ..meta(id(A)) }.to_json(), None),
        ("negative times", BlockMeta { min_time: -9, max_time: -1, ..meta(id(A)) }.to_json(), None),
        ("many sources", lineage.to_json(), None),
        ("number as text", text.replace("7200000", "\"7200000\"").into(), Some(State::Corrupted)),
        ("duplicated key", with("\"minTime\": 5"), Some(State::Corrupted)),
        ("100 MiB", big, Some(State::Corrupted)),
        ("deep", deep.clone().into(), Some(State::Corrupted)),
        ("deep in an unknown field", with(&format!("\"x\": {deep}")), Some(State::Corrupted)),
        ("byte order mark", format!("\u{feff}{text}").into(), Some(State::Corrupted)),
        ("empty", vec![], Some(State::Corrupted)),
        ("half", text.as_bytes()[..text.len() / 2].to_vec(), Some(State::Corrupted)),
    ];
    for (what, json, state) in cases {
        for strategy in BOTH {
            let setup = Setup::new();
            put(&setup.store, &format!("{A}/meta.json"), json.clone()).await;
            put_block(&setup.store, B).await;
            let fetcher = setup.fetcher(strategy, vec![]);
            let mut tally = Tally::default();
            let view = fetcher.round(&mut tally).await.unwrap();
            assert!(view.is_complete() && view.blocks.contains_key(&id(B)), "{what}");
            assert_eq!(view.blocks.contains_key(&id(A)), state.is_none(), "{what}");
            if let Some(state) = state {
                assert_eq!((tally.get(state), tally.get(State::Loaded)), (1, 1), "{what}");
                // What another version or another block may need must not look like rubbish.
                let refused = matches!(view.partial[&id(A)], Partial::Refused(_));
                assert_eq!(
                    refused,
                    ["version", "other", "100 M"].iter().any(|p| what.starts_with(p)),
                    "{what}"
                );
            }
        }
    }
    let unknown = BlockMeta::parse(&with("\"new\": {\"a\": [1]}")).unwrap();
    assert!(String::from_utf8(unknown.to_json()).unwrap().contains("\"new\""), "kept on rewriting");
}

#[tokio::test]
async fn r017_a_short_body_is_neither_parsed_nor_kept() {
    let json = meta(id(A)).to_json();
    for at in [0, 1, json.len() / 2, json.len() - 1] {
        let setup = Setup::new();
        put_block(&setup.store, A).await;
        let operation = Some(OperationKind::Get);
        setup.faults.inject(Fault { operation, truncate: Some(at as u64), ..Fault::default() });
        let fetcher = setup.fetcher(Strategy::Recursive, vec![]);
        let view = fetcher.fetch().await.unwrap();
        assert_eq!((names(&view.failed), view.partial.len()), (vec![A.into()], 0), "cut at {at}");
        assert!(!setup.dir.path().join("meta-syncer").join(A).exists());
        assert_eq!(names(&fetcher.fetch().await.unwrap().blocks), [A]);
    }
}

#[tokio::test]
async fn r022_access_denied_is_not_absence() {
    for strategy in BOTH {
        let setup = Setup::new();
        put_block(&setup.store, A).await;
        put_block(&setup.store, B).await;
        let fetcher = setup.fetcher(strategy, vec![]);
        setup.fail(OperationKind::Get, &format!("{A}/meta.json"), ErrorKind::AccessDenied);
        let view = fetcher.fetch().await.unwrap();
        assert_eq!((names(&view.blocks), names(&view.failed)), (vec![B.into()], vec![A.into()]));
        assert!(view.partial.is_empty() && !view.is_complete());
        assert_eq!(fetcher.metrics.failures.get(), 1);
        // Known by now, and the bucket says 403 instead of 404 to the question whether it is there.
        if strategy == Strategy::Concurrent {
            assert!(fetcher.fetch().await.unwrap().is_complete());
            setup.fail(OperationKind::Exists, A, ErrorKind::AccessDenied);
            let view = fetcher.fetch().await.unwrap();
            assert_eq!((names(&view.failed), view.partial.len()), (vec![A.into()], 0));
        }
        setup.fail(OperationKind::List, "", ErrorKind::AccessDenied);
        assert!(matches!(fetcher.fetch().await, Err(Error::List(_))));
        let view = fetcher.fetch().await.unwrap();
        assert_eq!((view.is_complete(), names(&view.blocks)), (true, vec![A.into(), B.into()]));
    }
}

#[tokio::test]
async fn r024_large_and_dirty_listings() {
    let setup = Setup::new();
    let blocks: Vec<Ulid> = (1..=25_000).map(|n| Ulid::from_parts(n, 7)).collect();
    for ulid in &blocks {
        put(&setup.store, &format!("{ulid}/meta.json"), meta(*ulid).to_json()).await;
    }
    let lower = A.to_lowercase();
    let nested = format!("{C}/sub/meta.json");
    for junk in [
        "debug/metas/x",
        &format!("debug/metas/{A}.json"),
        &format!("{lower}/meta.json"),
        &format!("{}/meta.json", &A[..25]),
        &format!("{A}X/meta.json"),
        A,
        "empty/",
        &format!("{B}/"),
        &nested,
        &format!("{A} +/meta.json"),
        "with space/a+b",
        "81M5FC5ZR0JRHRCP081V3NP1HX/meta.json",
    ] {
        put(&setup.store, junk, "{}").await;
    }
    for strategy in BOTH {
        let options = Options { strategy, concurrency: 32, data_dir: None };
        let clock = Arc::new(setup.clock.clone());
        let fetcher = Fetcher::new(setup.bucket(), options, vec![], clock, &Registry::new()).unwrap();
        let view = fetcher.fetch().await.unwrap();
        assert_eq!(view.blocks.keys().copied().collect::<Vec<_>>(), blocks);
        // A folder object alone and a nested file: blocks that are not whole.
        assert_eq!(names(&view.partial), [B, C], "{strategy:?}");
        assert!(view.is_complete());
    }
}

#[tokio::test]
async fn r040_a_mark_that_vanishes_does_not_bring_the_block_back() {
    for strategy in BOTH {
        let setup = Setup::new();
        put_block(&setup.store, A).await;
        DeletionMark::put(&setup.bucket(), id(A), "compacted", 1_795_000_000_000).await.unwrap();
        let ignore = |setup: &Setup| -> Vec<Box<dyn Filter>> {
            vec![Box::new(IgnoreDeletionMarks::new(setup.bucket(), Duration::from_secs(60), 4))]
        };
        let fetcher = setup.fetcher(strategy, ignore(&setup));
        assert!(fetcher.fetch().await.unwrap().blocks.is_empty(), "the mark is old enough");
        for key in ["meta.json", "chunks/000001", "index", DELETION_MARK] {
            setup.store.delete(&format!("{A}/{key}")).await.unwrap();
            assert!(fetcher.fetch().await.unwrap().blocks.is_empty(), "after {key}");
        }
        // A late listing: `meta.json` still shows, and its text is known from earlier rounds.
        put_block(&setup.store, A).await;
        DeletionMark::put(&setup.bucket(), id(A), "again", 1_795_000_000_000).await.unwrap();
        assert!(fetcher.fetch().await.unwrap().blocks.is_empty());
        for key in ["meta.json", "chunks/000001", "index", DELETION_MARK] {
            setup.store.delete(&format!("{A}/{key}")).await.unwrap();
        }
        let mut round = round([meta(id(A))]);
        round.marked = (strategy == Strategy::Recursive).then(BTreeSet::new);
        fetcher.filters[0].filter(&mut round).await.unwrap();
        assert!(round.blocks.is_empty(), "{strategy:?}");
    }
}

#[tokio::test]
async fn a_mark_that_was_taken_back_brings_the_block_back() {
    for strategy in BOTH {
        let setup = Setup::new();
        put_block(&setup.store, A).await;
        DeletionMark::put(&setup.bucket(), id(A), "by mistake", 1_795_000_000_000).await.unwrap();
        let ignore = IgnoreDeletionMarks::new(setup.bucket(), Duration::ZERO, 4);
        let fetcher = setup.fetcher(strategy, vec![Box::new(ignore)]);
        assert!(fetcher.fetch().await.unwrap().blocks.is_empty());
        setup.store.delete(&format!("{A}/{DELETION_MARK}")).await.unwrap();
        assert_eq!(names(&fetcher.fetch().await.unwrap().blocks), [A], "{strategy:?}");
    }
}

#[tokio::test]
async fn r041_a_folder_with_a_mark_or_without_meta_is_no_block() {
    for strategy in BOTH {
        let setup = Setup::new();
        put_block(&setup.store, A).await;
        put_block(&setup.store, B).await;
        put_block(&setup.store, C).await;
        let fetcher = setup.fetcher(strategy, vec![]);
        assert_eq!(fetcher.fetch().await.unwrap().blocks.len(), 3);
        // With warm caches: only a mark, only chunks, and an index that is missing.
        DeletionMark::put(&setup.bucket(), id(A), "", 0).await.unwrap();
        for key in [
            format!("{A}/meta.json"),
            format!("{A}/index"),
            format!("{A}/chunks/000001"),
            format!("{B}/meta.json"),
            format!("{B}/index"),
            format!("{C}/index"),
        ] {
            setup.store.delete(&key).await.unwrap();
        }
        let view = fetcher.fetch().await.unwrap();
        assert_eq!(names(&view.partial), [A, B]);
        // Metadata cannot tell that the index is missing: loading the block does.
        assert_eq!(names(&view.blocks), [C]);
        let again = setup.fetcher(strategy, vec![]).fetch().await.unwrap();
        assert_eq!(names(&again.blocks), [C], "nor after a restart");
    }
}

#[tokio::test]
async fn an_incomplete_round_keeps_what_is_known() {
    let setup = Setup::new();
    put_block(&setup.store, A).await;
    let fetcher = setup.fetcher(Strategy::Recursive, vec![]);
    fetcher.fetch().await.unwrap();
    put_block(&setup.store, B).await;
    setup.fail(OperationKind::Get, B, ErrorKind::Retry);
    let view = fetcher.fetch().await.unwrap();
    assert_eq!((names(&view.blocks), names(&view.failed)), (vec![A.into()], vec![B.into()]));
    assert!(setup.dir.path().join("meta-syncer").join(A).exists());
    assert_eq!(fetcher.fetch().await.unwrap().blocks.len(), 2);
}

/// The lines of this family as a real store shows them, values apart.
#[tokio::test]
async fn metrics_are_those_of_a_store() {
    let setup = Setup::new();
    put_block(&setup.store, A).await;
    put(&setup.store, &format!("{B}/index"), "i").await;
    let options = Options { strategy: Strategy::Concurrent, concurrency: 1, data_dir: None };
    let clock = Arc::new(setup.clock.clone());
    let fetcher = Fetcher::new(setup.bucket(), options, vec![], clock, &setup.registry).unwrap();
    fetcher.fetch().await.unwrap();
    let shown = text::encode(&setup.registry.gather());
    for line in [
        "thanos_blocks_meta_base_cache_busts_total 0",
        "thanos_blocks_meta_base_syncs_total 1",
        "thanos_blocks_meta_modified{modified=\"replica-label-removed\"} 0",
        "thanos_blocks_meta_sync_duration_seconds_bucket{le=\"0.01\"} ",
        "thanos_blocks_meta_sync_duration_seconds_bucket{le=\"1000\"} 1",
        "thanos_blocks_meta_sync_failures_total 0",
        "thanos_blocks_meta_synced{state=\"corrupted-meta-json\"} 0",
        "thanos_blocks_meta_synced{state=\"duplicate\"} 0",
        "thanos_blocks_meta_synced{state=\"failed\"} 0",
        "thanos_blocks_meta_synced{state=\"label-excluded\"} 0",
        "thanos_blocks_meta_synced{state=\"loaded\"} 1",
        "thanos_blocks_meta_synced{state=\"marked-for-deletion\"} 0",
        "thanos_blocks_meta_synced{state=\"marked-for-no-compact\"} 0",
        "thanos_blocks_meta_synced{state=\"no-meta-json\"} 1",
        "thanos_blocks_meta_synced{state=\"parquet-migrated\"} 0",
        "thanos_blocks_meta_synced{state=\"time-excluded\"} 0",
        "thanos_blocks_meta_synced{state=\"too-fresh\"} 0",
        "thanos_blocks_meta_syncs_total 1",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
}
