//! Replays patterns and texts with the answers of Prometheus' own matcher: refusals with their text,
//! and whether each text matches.
//!
//! `testdata/regexp-cases.jsonl` holds generated patterns; `$ATHANOR_REGEXP_CASES` names a larger file of
//! the same shape.

#![allow(clippy::print_stdout, reason = "a test's output lists what differs")]

use model::{MatchType, Matcher};
use serde_json::Value;

#[test]
fn every_pattern_is_answered_as_go_answers() {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/regexp-cases.jsonl").into();
    let path = std::env::var("ATHANOR_REGEXP_CASES").unwrap_or(committed);
    let (mut passed, mut failed) = (0, 0);
    for line in std::fs::read_to_string(&path).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let pattern = case["pattern"].as_str().unwrap();
        let texts = case["texts"].as_array().unwrap();
        let want = case["error"].as_str().or(case["matches"].as_str()).unwrap();
        let got = match Matcher::new(MatchType::Regexp, "a", pattern) {
            Err(e) => e.to_string(),
            Ok(m) => texts.iter().map(|t| if m.matches(t.as_str().unwrap()) { '1' } else { '0' }).collect(),
        };
        if want == got {
            passed += 1;
            continue;
        }
        failed += 1;
        println!("{pattern:?}: wanted {want}, got {got} for {}", case["texts"]);
    }
    println!("{passed} passed, {failed} failed ({path})");
    assert!(passed > 100 && failed == 0);
}
