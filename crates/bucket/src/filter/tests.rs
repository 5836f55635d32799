//! Tests of the filters, without a bucket where they need none.

use component::flags::TimeOrDuration::{FromNow, Time};
use component::relabel::{SELECTOR, parse};
use tsdb_block::meta::{Compaction, Downsample, Thanos};

use super::*;
use crate::fetcher::tests::{meta, round};

fn ulid(n: u64) -> Ulid {
    Ulid::from_parts(n, 0)
}

fn spanning(n: u64, min_time: i64, max_time: i64) -> BlockMeta {
    BlockMeta { min_time, max_time, ..meta(ulid(n)) }
}

fn labelled(n: u64, labels: &[(&str, &str)]) -> BlockMeta {
    let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    BlockMeta { thanos: Some(Thanos { labels, ..Thanos::default() }), ..meta(ulid(n)) }
}

async fn left(filter: &dyn Filter, metas: Vec<BlockMeta>, state: State) -> Vec<u64> {
    let before = metas.len();
    let mut round = round(metas);
    filter.filter(&mut round).await.unwrap();
    assert_eq!(round.tally.get(state), before - round.blocks.len(), "what is left out is counted");
    round.blocks.keys().map(Ulid::timestamp_ms).collect()
}

#[tokio::test]
async fn blocks_that_touch_the_time_range_stay() {
    let metas = || {
        [
            (1, -10, 0),
            (2, -10, 10),
            (3, 0, 5),
            (4, 5, 20),
            (5, 20, 30),
            (6, 21, 30),
            (7, -10, -1),
            (8, -10, 90),
        ]
        .map(|(n, min, max)| spanning(n, min, max))
        .to_vec()
    };
    let fixed = TimePartition { min: Time(0), max: Time(20) };
    assert_eq!(left(&fixed, metas(), State::TimeExcluded).await, [1, 2, 3, 4, 5, 8]);
    let now = 1_795_359_533_602;
    let relative = TimePartition { min: FromNow(-10), max: FromNow(0) };
    let around = vec![
        spanning(1, 0, now - 11),
        spanning(2, 0, now - 10),
        spanning(3, now, now + 1),
        spanning(4, now + 1, now + 2),
    ];
    assert_eq!(left(&relative, around, State::TimeExcluded).await, [2, 3]);
}

#[tokio::test]
async fn r051_every_block_is_in_exactly_one_shard() {
    let metas: Vec<_> = (0..1000).map(|n| labelled(n, &[("cluster", "a"), ("n", &n.to_string())])).collect();
    for source in ["n", BLOCK_ID_LABEL] {
        let mut seen = Vec::new();
        for shard in 0..3 {
            let yaml = format!(
                "- {{action: hashmod, source_labels: [{source}], target_label: shard, modulus: 3}}\n- {{action: keep, source_labels: [shard], regex: '{shard}'}}"
            );
            let filter = LabelSharded { rules: parse(&yaml, SELECTOR).unwrap() };
            let mine = left(&filter, metas.clone(), State::LabelExcluded).await;
            assert!(mine.len() > 200, "{} blocks", mine.len());
            seen.extend(mine);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<u64>>());
    }
    let none = LabelSharded { rules: vec![] };
    assert_eq!(left(&none, vec![labelled(1, &[])], State::LabelExcluded).await, [1], "no rules, no loss");
}

#[tokio::test]
async fn fresh_blocks_wait_unless_a_compactor_wrote_them() {
    let now = 1_795_359_533_602u64;
    let by = |n: u64, source: &str, upload_time: &str| {
        let thanos = Thanos { source: source.into(), upload_time: upload_time.into(), ..Thanos::default() };
        BlockMeta { thanos: Some(thanos), ..meta(ulid(n)) }
    };
    let metas = vec![
        by(now - 60_001, "sidecar", NO_TIME),
        by(now - 60_000, "sidecar", NO_TIME),
        by(now - 59_999, "sidecar", NO_TIME),
        by(now - 59_998, "compactor", NO_TIME),
        by(now - 59_997, "compactor.repair", NO_TIME),
        by(now - 59_996, "bucket.repair", NO_TIME),
        by(now + 5, "ruler", NO_TIME),
        // The upload counts, not the name.
        by(5, "sidecar", "2026-11-22T14:58:53.602491173Z"),
        by(6, "sidecar", "2026-11-22T14:57:53.602Z"),
        by(7, "sidecar", "2026-11-22T14:57:53.603Z"),
        BlockMeta { thanos: None, ..meta(ulid(8)) },
    ];
    let filter = ConsistencyDelay::new(Duration::from_secs(60), &Registry::new()).unwrap();
    let mut round = round(metas);
    round.now = 1_795_359_533_602;
    filter.filter(&mut round).await.unwrap();
    let offset = |n: &u64| n.checked_sub(now - 60_001).map_or(*n, |d| d + 100);
    let left: Vec<u64> = round.blocks.keys().map(|id| offset(&id.timestamp_ms())).collect();
    assert_eq!(left, [6, 8, 100, 101, 103, 104, 105]);
    assert_eq!(round.tally.get(State::TooFresh), 4);
}

/// Upstream's twelve shapes: blocks with their sources and resolution, and which stay.
#[tokio::test]
async fn r049_lineage_duplicates_as_upstream() {
    type Block = (u64, &'static [u64], i64);
    let cases: [(&[Block], &[u64]); 13] = [
        (&[(1, &[1], 0), (2, &[2], 0), (3, &[3], 0)], &[1, 2, 3]),
        (&[(6, &[6], 0), (4, &[1, 3, 2], 0), (5, &[5], 0)], &[4, 5, 6]),
        (&[(5, &[5], 0), (6, &[6], 0), (3, &[1, 2], 0), (4, &[1, 2], 0)], &[3, 5, 6]),
        (&[(4, &[1, 2], 0), (6, &[6], 0), (5, &[1, 3, 2], 0)], &[5, 6]),
        (&[(6, &[6], 0), (1, &[1], 0), (2, &[2], 0), (3, &[3], 0), (4, &[2, 1, 3], 0)], &[4, 6]),
        (
            &[
                (10, &[1, 2, 3], 0),
                (11, &[6, 4, 5], 0),
                (14, &[14], 0),
                (1, &[1], 0),
                (13, &[1, 6, 2, 3, 5, 7, 4, 8, 9], 0),
                (12, &[7, 9, 8], 0),
            ],
            &[13, 14],
        ),
        (
            &[
                (8, &[1, 3, 2, 4], 0),
                (1, &[1], 0),
                (5, &[1, 2], 0),
                (6, &[1, 3, 2, 4], 0),
                (7, &[3, 1, 2], 0),
            ],
            &[6],
        ),
        (&[(10, &[1, 2, 6, 7], 0), (1, &[1], 0), (11, &[6, 8, 1, 2], 0)], &[10, 11]),
        (&[(10, &[6, 7, 1, 2], 0), (1, &[1], 0), (5, &[1, 2], 0), (11, &[2, 3, 1], 0)], &[10, 11]),
        (&[(1, &[1], 0), (2, &[1], 1000), (3, &[1], 10_000)], &[1, 2, 3]),
        (&[(1, &[1], 0), (6, &[6], 10_000), (4, &[1, 3, 2], 0), (5, &[2, 3, 1], 1000)], &[4, 5, 6]),
        (
            &[
                (10, &[7, 5, 1, 2], 0),
                (12, &[6, 7, 1], 10_000),
                (1, &[1], 0),
                (13, &[1], 10_000),
                (5, &[1, 2], 0),
                (11, &[2, 3, 1], 0),
            ],
            &[10, 11, 12],
        ),
        // Not upstream's: a block that names no source is not covered by just any other.
        (&[(1, &[], 0), (2, &[3, 4], 0), (5, &[1, 9], 0), (6, &[], 0)], &[2, 5, 6]),
    ];
    for (blocks, want) in cases {
        let metas = blocks.iter().map(|(n, sources, resolution)| {
            let sources = sources.iter().map(|s| ulid(*s)).collect();
            let thanos = Thanos { downsample: Downsample { resolution: *resolution }, ..Thanos::default() };
            let compaction = Compaction { sources, ..Default::default() };
            BlockMeta { compaction, thanos: Some(thanos), ..meta(ulid(*n)) }
        });
        assert_eq!(left(&Deduplicate, metas.collect(), State::Duplicate).await, want, "{blocks:?}");
    }
    // Other labels, other data.
    let two = vec![labelled(1, &[("replica", "a")]), labelled(2, &[("replica", "b")])];
    let same = |m: BlockMeta| BlockMeta { compaction: meta(ulid(1)).compaction, ..m };
    assert_eq!(left(&Deduplicate, two.into_iter().map(same).collect(), State::Duplicate).await, [1, 2]);
}
