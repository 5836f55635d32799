//! Recorded blocks and answers of real Prometheus and Thanos, against our binaries.

use std::path::Path;

use e2e::golden::{self, Known, Options, Programs};
use e2e::harness;

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_block_and_answer_is_ours_too() {
    let (dir, whole) = golden::data();
    let work = tempfile::tempdir().unwrap();
    let programs = Programs {
        store: harness::build("store-gateway").unwrap(),
        querier: harness::build("querier").unwrap(),
    };
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden-known.txt");
    let known = if list.is_file() { Known::read(&list).unwrap() } else { Known::default() };
    // The list is of the whole.
    let known = if whole { known } else { Known::default() };
    let options = Options { dir, programs, known, only: String::new(), work: work.path().to_owned() };
    let outcome = golden::replay(&options).await.unwrap();
    if !whole {
        harness::not_run("all but a slice of the golden data: $ATHANOR_GOLDEN names no folder");
    }
    for kind in &outcome.absent {
        harness::not_run(kind);
    }
    assert!(outcome.passed > 0, "nothing was compared");
    assert_eq!(outcome.failed, 0, "{}\n{}", outcome.differences.join("\n"), outcome.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_all_in_one_binary_is_either_service_under_its_verb() {
    let work = tempfile::tempdir().unwrap();
    let athanor = harness::build("athanor").unwrap();
    let options = Options {
        dir: golden::data().0,
        programs: Programs { store: athanor.clone(), querier: athanor },
        known: Known::default(),
        only: "query=up&".to_owned(),
        work: work.path().to_owned(),
    };
    let outcome = golden::replay(&options).await.unwrap();
    assert!(outcome.passed > 10, "{}", outcome.summary());
    assert_eq!(outcome.failed, 0, "{}", outcome.differences.join("\n"));
}
