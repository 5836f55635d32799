//! Tests of `merge`.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use model::Labels;
use proptest::prelude::*;

use super::*;
use crate::series::Chunk;

fn chunk(min: i64, data: &'static str) -> AggrChunk {
    AggrChunk::raw(min, min + 9, Chunk { encoding: 0, data: Bytes::from(data), hash: 0 })
}

fn series(name: &str, chunks: Vec<AggrChunk>) -> Series {
    Series { labels: Labels::from_pairs([("n", name)]), chunks }
}

fn stream(items: Vec<Result<Item, Status>>) -> SeriesStream {
    futures::stream::iter(items).boxed()
}

fn collect(streams: Vec<SeriesStream>) -> Vec<Result<Item, Status>> {
    Merge::new(streams).collect::<Vec<_>>().now_or_never().expect("ready streams never wait")
}

fn flat(items: Vec<Result<Item, Status>>) -> Vec<Series> {
    items
        .into_iter()
        .flat_map(|i| match i.unwrap() {
            Item::Series(all) => all,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn equal_series_join_and_identical_chunks_drop() {
    let a = vec![Ok(Item::Series(vec![
        series("a", vec![chunk(0, "x"), chunk(10, "y")]),
        series("c", vec![chunk(0, "q")]),
    ]))];
    let b = vec![
        Ok(Item::Series(vec![series("a", vec![chunk(0, "x"), chunk(10, "z")])])),
        Ok(Item::Series(vec![series("b", vec![chunk(5, "w")])])),
    ];
    // Equal times sort by bytes, larger first, as Thanos compares.
    assert_eq!(
        flat(collect(vec![stream(a), stream(vec![]), stream(b)])),
        [
            series("a", vec![chunk(0, "x"), chunk(10, "z"), chunk(10, "y")]),
            series("b", vec![chunk(5, "w")]),
            series("c", vec![chunk(0, "q")]),
        ]
    );
}

#[test]
fn a_series_spread_over_frames_of_one_stream_is_one_series() {
    let a = vec![
        Ok(Item::Series(vec![series("a", vec![chunk(0, "x")])])),
        Ok(Item::Series(vec![series("a", vec![chunk(10, "y")])])),
    ];
    assert_eq!(flat(collect(vec![stream(a)])), [series("a", vec![chunk(0, "x"), chunk(10, "y")])]);
    assert!(collect(vec![]).is_empty());
}

#[test]
fn aggregates_count_as_seen_by_their_first_new_part() {
    let part = |d: &'static str| Chunk { encoding: 0, data: Bytes::from(d), hash: 0 };
    let mut one = AggrChunk { min_time: 0, max_time: 9, ..Default::default() };
    one.set(Aggr::Count, part("n"));
    one.set(Aggr::Sum, part("s"));
    let mut two = one.clone();
    two.set(Aggr::Sum, part("t"));
    // `two` differs by its sum and stays; a third copy of `one` has its sum left to be seen.
    let s = |c: &AggrChunk| vec![Ok(Item::Series(vec![series("a", vec![c.clone()])]))];
    let out = flat(collect(vec![stream(s(&one)), stream(s(&two)), stream(s(&one)), stream(s(&one))]));
    assert_eq!(out[0].chunks.iter().filter(|c| **c == one).count(), 2);
    assert_eq!(out[0].chunks.iter().filter(|c| **c == two).count(), 1);
}

#[test]
fn warnings_pass_and_errors_end() {
    let a = vec![Ok(Item::Warning("w".into())), Ok(Item::Series(vec![series("a", vec![])]))];
    let out = collect(vec![stream(a)]);
    assert_eq!(out.len(), 2);
    assert_eq!(out[0].as_ref().unwrap(), &Item::Warning("w".into()));
    let out = collect(vec![stream(vec![Err(Status::aborted("x"))]), stream(vec![])]);
    assert_eq!(out[0].as_ref().unwrap_err().code(), tonic::Code::Aborted);
    assert_eq!(out.len(), 1);
}

#[test]
fn what_is_complete_is_not_held_up_by_a_slow_stream() {
    let (tx, rx) = futures::channel::mpsc::unbounded();
    let a = vec![Ok(Item::Series(vec![series("a", vec![]), series("c", vec![])]))];
    tx.unbounded_send(Ok(Item::Series(vec![series("b", vec![])]))).unwrap();
    let mut merge = Merge::new(vec![stream(a), rx.boxed()]);
    // `b` may still continue in the next frame, so only `a` is complete.
    let first = merge.next().now_or_never().flatten().unwrap().unwrap();
    assert_eq!(first, Item::Series(vec![series("a", vec![])]));
    assert!(merge.next().now_or_never().is_none());
    drop(tx);
    let rest = merge.next().now_or_never().flatten().unwrap().unwrap();
    assert_eq!(rest, Item::Series(vec![series("b", vec![]), series("c", vec![])]));
}

proptest! {
    /// Any split of any series over any streams and frames gives the sorted union.
    #[test]
    fn merge_is_the_sorted_union(parts in proptest::collection::vec((0usize..6, 0u32..40, 0i64..50), 0..200), frame in 1usize..5) {
        let mut streams: Vec<BTreeMap<String, Vec<AggrChunk>>> = vec![BTreeMap::new(); 6];
        let mut want: BTreeMap<String, BTreeMap<i64, ()>> = BTreeMap::new();
        for (s, name, t) in parts {
            let name = format!("{name:02}");
            let text: &'static str = Box::leak(format!("{name}/{t}").into_boxed_str());
            streams[s].entry(name.clone()).or_default().push(chunk(t, text));
            want.entry(name).or_default().insert(t, ());
        }
        let streams = streams.into_iter().map(|m| {
            let all: Vec<Series> = m.into_iter().map(|(n, mut c)| { c.sort_by(AggrChunk::order); series(&n, c) }).collect();
            stream(all.chunks(frame).map(|c| Ok(Item::Series(c.to_vec()))).collect())
        }).collect();
        let got: Vec<(String, Vec<i64>)> = flat(collect(streams)).into_iter()
            .map(|s| (s.labels.value("n").to_owned(), s.chunks.iter().map(|c| c.min_time).collect())).collect();
        let want: Vec<(String, Vec<i64>)> = want.into_iter().map(|(n, ts)| (n, ts.into_keys().collect())).collect();
        prop_assert_eq!(got, want);
    }
}
