//! Prometheus' recorded answers to generated expressions, without Prometheus.
//!
//! The blocks are made again, read back and queried; `testdata/promql/README.md` tells how the answers
//! were recorded. Every difference is printed.

#![allow(clippy::print_stdout, reason = "a test's output lists what differs")]

use std::path::Path;

use e2e::differential::answer::Answer;
use e2e::differential::{Switches, blocks, compare, data, recorded};

fn replay(file: &str, switches: Switches) {
    let dir = tempfile::tempdir().unwrap();
    blocks::write(dir.path(), data::series()).unwrap();
    let store = blocks::read(dir.path()).unwrap();
    let engine = switches.engine(2);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/promql").join(file);
    let rows = recorded::read(&path).unwrap();
    let mut different = 0;
    for (request, wanted) in &rows {
        let got = Answer::of_engine(&engine, &store, request);
        if let Some(text) = compare::difference(&request.expr, wanted, &got) {
            different += 1;
            println!("{request:?}\n  {text}");
        }
    }
    println!("{} answers replayed, {different} differ", rows.len());
    assert!(rows.len() > 500 && different == 0);
}

#[test]
fn recorded_answers_are_given_again() {
    replay("answers.jsonl.gz", Switches::default());
}

#[test]
fn recorded_answers_with_every_switch_are_given_again() {
    let all = Switches { delayed_name_removal: true, start_timestamps: true, type_and_unit_labels: true };
    replay("answers-switches.jsonl.gz", all);
}
