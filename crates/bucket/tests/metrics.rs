//! The series of buckets and of discovery, as a real store showed them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bucket::fetcher::{Fetcher, Options, Strategy};
use bucket::filter::ConsistencyDelay;
use component::clock::SystemClock;
use component::metrics::{Registry, text};
use objstore::instrumented::Metrics;
use objstore::memory::InMemory;

/// Comment lines, and names with labels: everything but the values.
fn shape(text: &str) -> BTreeSet<String> {
    let ours = ["thanos_blocks_meta_", "thanos_objstore_", "thanos_consistency_delay_"];
    let lines = text.lines().filter(|l| ours.iter().any(|name| l.contains(name)));
    lines
        .map(|line| match line.starts_with('#') {
            true => line.to_owned(),
            false => line.rsplit_once(' ').map_or("", |(series, _)| series).to_owned(),
        })
        .collect()
}

#[tokio::test]
async fn series_are_those_of_a_real_store() {
    let root = std::env::var("ATHANOR_GOLDEN")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/golden").to_owned());
    let path = Path::new(&root).join("metrics/store.txt");
    if !path.exists() {
        #[expect(clippy::print_stderr, reason = "says what was not run")]
        {
            eprintln!("not run: {} is not there", path.display());
        }
        return;
    }
    let registry = Registry::new();
    Metrics::new(&registry, "fs: /bucket").unwrap();
    let filters: Vec<Box<dyn bucket::filter::Filter>> =
        vec![Box::new(ConsistencyDelay::new(Duration::ZERO, &registry).unwrap())];
    let options = Options { strategy: Strategy::Concurrent, concurrency: 1, data_dir: None };
    let empty = Arc::new(InMemory::new());
    Fetcher::new(empty, options, filters, SystemClock::shared(), &registry).unwrap();
    let shown = shape(&text::encode(&registry.gather()));
    assert_eq!(shown, shape(&std::fs::read_to_string(path).unwrap()));
}
