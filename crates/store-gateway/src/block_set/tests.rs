//! Which blocks are chosen.

use component::clock::SystemClock;
use component::metrics::Registry;
use objstore::memory::InMemory;
use tsdb_block::meta::BlockMeta;

use super::*;
use crate::fetch::RangeReader;
use crate::index_header::{self, Laziness};

fn block(n: u64, mint: i64, maxt: i64, resolution: i64) -> Arc<Block> {
    let id = Ulid::from_parts(n, 0);
    let json = format!(
        r#"{{"ulid":"{id}","minTime":{mint},"maxTime":{maxt},"version":1,
        "thanos":{{"labels":{{"a":"b"}},"downsample":{{"resolution":{resolution}}}}}}}"#
    );
    let shared = index_header::Shared {
        reader: RangeReader::new(Arc::new(InMemory::new())),
        metrics: index_header::Metrics::new(&Registry::new()).unwrap(),
        laziness: Laziness::LazyBuild,
        sampling: 32,
        clock: SystemClock::shared(),
    };
    let meta = BlockMeta::parse(json.as_bytes()).unwrap();
    Arc::new(Block::new(Arc::new(meta), shared, crate::Estimates::default(), None))
}

fn view(blocks: &[(i64, i64, i64)]) -> View {
    let mut view = View::default();
    for (n, (mint, maxt, resolution)) in blocks.iter().enumerate() {
        view.add(block(n as u64 + 1, *mint, *maxt, *resolution)).unwrap();
    }
    view
}

#[track_caller]
fn check(blocks: &[(i64, i64, i64)], (mint, maxt, max): (i64, i64, i64), want: &[(i64, i64, i64)]) {
    let view = view(blocks);
    let set = view.sets.values().next().unwrap();
    let got: Vec<_> = set
        .select(mint, maxt, max, &[])
        .iter()
        .map(|b| (b.meta.min_time, b.meta.max_time, b.meta.resolution()))
        .collect();
    assert_eq!(got, want);
}

const RAW: i64 = 0;
const FIVE: i64 = 300_000;
const HOUR: i64 = 3_600_000;

#[test]
fn ranges_are_half_open_and_blocks_in_time_order() {
    let raw = [(0, 100, RAW), (100, 200, RAW), (200, 300, RAW)];
    check(&raw, (0, 99, 0), &[(0, 100, RAW)]);
    check(&raw, (0, 100, 0), &[(0, 100, RAW), (100, 200, RAW)]);
    check(&raw, (100, 100, 0), &[(100, 200, RAW)]);
    check(&raw, (300, 400, 0), &[]);
    check(&raw, (50, 40, 0), &[]);
    check(&raw, (i64::MIN, i64::MAX, -1), &raw);
}

#[test]
fn the_coarsest_allowed_comes_first_and_gaps_are_filled() {
    let all = [
        (0, 100, RAW),
        (100, 200, RAW),
        (200, 300, RAW),
        (300, 400, RAW),
        (100, 200, FIVE),
        (200, 300, FIVE),
        (100, 200, HOUR),
    ];
    check(&all, (0, 400, 0), &[(0, 100, RAW), (100, 200, RAW), (200, 300, RAW), (300, 400, RAW)]);
    check(&all, (0, 399, FIVE), &[(0, 100, RAW), (100, 200, FIVE), (200, 300, FIVE), (300, 400, RAW)]);
    check(&all, (0, 399, HOUR), &[(0, 100, RAW), (100, 200, HOUR), (200, 300, FIVE), (300, 400, RAW)]);
    check(&all, (0, 399, HOUR - 1), &[(0, 100, RAW), (100, 200, FIVE), (200, 300, FIVE), (300, 400, RAW)]);
    check(&all, (150, 160, i64::MAX), &[(100, 200, HOUR)]);
    // A coarse block in the middle of a finer one: both are needed.
    check(
        &[(0, 300, RAW), (100, 200, FIVE)],
        (0, 299, FIVE),
        &[(0, 300, RAW), (100, 200, FIVE), (0, 300, RAW)],
    );
}

#[test]
fn selectors_match_labels_and_ulid() {
    let view = view(&[(0, 100, RAW), (100, 200, RAW)]);
    let set = view.sets.values().next().unwrap();
    let first = set.select(0, 50, 0, &[])[0].id.to_string();
    assert_eq!(set.select(0, 199, 0, &[Matcher::equal(crate::BLOCK_ID_LABEL, &first)]).len(), 1);
    assert_eq!(set.select(0, 199, 0, &[Matcher::equal("a", "b")]).len(), 2);
    assert_eq!(set.select(0, 199, 0, &[Matcher::equal("a", "c")]).len(), 0);
}

#[test]
fn unknown_resolutions_are_refused_and_removed_blocks_are_gone() {
    let mut view = view(&[(0, 100, RAW)]);
    assert_eq!(view.add(block(9, 0, 1, 7)), Err("unsupported downsampling resolution 7".to_owned()));
    let id = *view.blocks.keys().next().unwrap();
    view.remove(id).unwrap();
    assert!(view.sets.is_empty() && view.blocks.is_empty());
    assert_eq!(view.time_range(), (i64::MAX, i64::MIN));
}

#[test]
fn stretches_join_what_touches() {
    let view = view(&[(0, 100, RAW), (100, 200, RAW), (0, 200, FIVE), (300, 400, RAW)]);
    let got: Vec<_> = view.stretches().into_iter().map(|(_, a, b)| (a, b)).collect();
    assert_eq!(got, [(0, 200), (300, 400)]);
}
