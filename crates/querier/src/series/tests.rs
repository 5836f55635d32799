//! Decoding and deduplication of single series.

use model::{Millis, Samples};
use storeapi::{Aggr, AggrChunk, Part};

use super::*;
use crate::testing::chunk;

const ALL: (Millis, Millis) = (Millis::MIN, Millis::MAX);

fn decoded(decoder: &mut Decoder, chunks: &[AggrChunk], range: (Millis, Millis)) -> Vec<(Millis, f64)> {
    let (mut out, mut bad) = (Samples::default(), Vec::new());
    decoder.decode(chunks, range, Size::of(chunks).samples, &mut out, &mut bad);
    assert_eq!(bad, []);
    out.ts.iter().copied().zip(out.values).collect()
}

fn aggregates(parts: &[(Aggr, &[(Millis, f64)])]) -> AggrChunk {
    let first = chunk(parts[0].1);
    let part = |(aggr, points): &(Aggr, &[(Millis, f64)])| Part {
        aggr: *aggr,
        chunk: chunk(points).parts[0].chunk.clone(),
    };
    AggrChunk { parts: parts.iter().map(part).collect(), ..first }
}

#[test]
fn functions_choose_aggregates_as_in_thanos() {
    let want = |func: &str| Wanted::of_function(func).aggregates();
    let [count, sum, min, max, counter] =
        [Aggr::Count, Aggr::Sum, Aggr::Min, Aggr::Max, Aggr::Counter].map(|a| a as i32);
    assert_eq!(
        (want("min"), want("min_over_time"), want("minute")),
        (vec![min], vec![min], vec![count, sum])
    );
    assert_eq!(
        (want("max_over_time"), want("count"), want("count_values")),
        (vec![max], vec![count], vec![count])
    );
    assert_eq!(
        (want("sum"), want("sum_over_time"), want("")),
        (vec![count, sum], vec![sum], vec![count, sum])
    );
    for func in ["rate", "increase", "irate", "resets", "xrate", "xincrease"] {
        assert_eq!(want(func), [counter]);
    }
}

#[test]
fn overlapping_chunks_of_one_row_keep_the_earlier() {
    let chunks = [chunk(&[(1, 1.0), (5, 5.0)]), chunk(&[(3, 3.0), (5, 55.0), (7, 7.0)])];
    let got = decoded(&mut Decoder::new("", None), &chunks, ALL);
    assert_eq!(got, [(1, 1.0), (5, 5.0), (7, 7.0)]);
    // What lies behind the range in the first chunk hides nothing within it in the second.
    let got = decoded(&mut Decoder::new("", None), &chunks, (2, 4));
    assert_eq!(got, []);
    let got = decoded(&mut Decoder::new("", None), &chunks, (5, 6));
    assert_eq!(got, [(5, 5.0)]);
}

#[test]
fn replicas_are_followed_one_at_a_time() {
    let replica = |offset: Millis| -> Vec<(Millis, f64)> {
        (0..20).map(|i| (i * 30_000 + offset, offset as f64)).collect()
    };
    let chunks = [chunk(&replica(0)), chunk(&replica(3_000))];
    let mut penalty = Decoder::new("", Some(Algorithm::Penalty));
    assert_eq!(decoded(&mut penalty, &chunks, ALL), replica(0));
    let chain = decoded(&mut Decoder::new("", Some(Algorithm::Chain)), &chunks, ALL);
    assert_eq!((chain.len(), chain[0], chain[1]), (40, (0, 0.0), (3_000, 3_000.0)));
    // The columns are used again for the next series.
    assert_eq!(decoded(&mut penalty, &chunks[1..], ALL), replica(3_000));
    assert_eq!(decoded(&mut penalty, &[], ALL), []);
}

#[test]
fn r064_counters_of_replicas_do_not_fall_where_the_walk_changes_sides() {
    let a = chunk(&[(0, 20.0), (30_000, 30.0), (60_000, 40.0)]);
    let b = chunk(&[(5_000, 25.0), (35_000, 35.0), (65_000, 45.0), (300_000, 2.0), (330_000, 5.0)]);
    for func in ["rate", "increase", "irate", "resets"] {
        let got = decoded(&mut Decoder::new(func, Some(Algorithm::Penalty)), &[a.clone(), b.clone()], ALL);
        assert!(got.windows(2).all(|w| w[0].1 <= w[1].1), "{func}: {got:?}");
    }
    let raw = decoded(&mut Decoder::new("", Some(Algorithm::Penalty)), &[a, b], ALL);
    assert_eq!(raw.last(), Some(&(330_000, 5.0)));
}

#[test]
fn aggregates_are_averaged_counted_and_bounded() {
    let downsampled = aggregates(&[
        (Aggr::Count, &[(10, 4.0), (20, 2.0)]),
        (Aggr::Sum, &[(10, 8.0), (20, 3.0)]),
        (Aggr::Max, &[(10, 5.0), (20, 2.5)]),
    ]);
    let chunks = [downsampled, chunk(&[(30, 7.0)])];
    let got = |func: &str, range| decoded(&mut Decoder::new(func, None), &chunks, range);
    assert_eq!(got("", ALL), [(10, 2.0), (20, 1.5), (30, 7.0)]);
    assert_eq!(got("max_over_time", ALL), [(10, 5.0), (20, 2.5), (30, 7.0)]);
    assert_eq!(got("count_over_time", (15, 20)), [(20, 2.0)]);
    let counter = [
        aggregates(&[(Aggr::Counter, &[(10, 5.0), (20, 9.0), (20, 9.0)])]),
        aggregates(&[(Aggr::Counter, &[(30, 2.0), (40, 4.0), (40, 4.0)])]),
    ];
    let got = decoded(&mut Decoder::new("rate", None), &counter, (15, 40));
    assert_eq!(got, [(20, 9.0), (30, 11.0), (40, 13.0)]);
}

#[test]
fn a_chunk_that_cannot_be_used_costs_its_own_samples() {
    let good = [chunk(&[(1, 1.0)]), chunk(&[(30, 3.0)])];
    let with = |bad: Chunk| {
        let mut chunks = good.to_vec();
        chunks.insert(1, AggrChunk::raw(10, 20, bad));
        let (mut out, mut bad) = (Samples::default(), Vec::new());
        Decoder::new("", None).decode(&chunks, ALL, 0, &mut out, &mut bad);
        assert_eq!(out.ts, [1, 30]);
        bad.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let cut = Chunk { data: bytes::Bytes::from_static(&[0, 9, 1]), ..Chunk::default() };
    assert!(with(cut)[0].starts_with("chunk of time range 10-20: "), "offset and block format");
    for (encoding, text) in [(77, "77"), (-1, "-1"), (i32::MAX, "2147483647"), (254, "254")] {
        let want = format!("chunk of time range 10-20: unsupported chunk encoding {text}");
        assert_eq!(with(Chunk { encoding, ..Chunk::default() }), [want]);
    }
    let (mut out, mut bad) = (Samples::default(), Vec::new());
    let none = [AggrChunk { min_time: 1, max_time: 2, ..AggrChunk::default() }];
    Decoder::new("rate", None).decode(&none, ALL, 0, &mut out, &mut bad);
    assert_eq!(bad[0].reason, "no valid chunk found");
}
