//! Merging streams of series, and frames to and from bytes. Throughput is in series.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use futures::{StreamExt as _, stream};
use model::Labels;
use storeapi::Merge;
use storeapi::codec::{Frame, decode, encode, frame_len};
use storeapi::series::{AggrChunk, Chunk, Series};
use storeapi::store::{Item, SeriesStream};

const SERIES: usize = 20_000;
const BATCH: usize = 64;

fn chunk(n: usize) -> AggrChunk {
    let data = Bytes::from(vec![(n % 251) as u8; 100]);
    AggrChunk::raw(0, 7_200_000, Chunk { encoding: 0, hash: n as u64 + 1, data })
}

fn series(n: usize) -> Series {
    let (pod, zone) = (format!("pod-{n:07}"), format!("zone-{}", n % 3));
    let labels = Labels::from_pairs([
        ("__name__", "http_requests_total"),
        ("cluster", "eu1"),
        ("code", "200"),
        ("pod", &pod),
        ("zone", &zone),
    ]);
    Series { labels, chunks: vec![chunk(n)] }
}

fn streamed(all: &[Series]) -> SeriesStream {
    let batches: Vec<_> = all.chunks(BATCH).map(|b| Ok(Item::Series(b.to_vec()))).collect();
    stream::iter(batches).boxed()
}

fn merge(c: &mut Criterion) {
    let all: Vec<Series> = (0..SERIES).map(series).collect();
    let mut group = c.benchmark_group("merge");
    group.sample_size(20);
    for ways in [1, 2, 8, 64] {
        // Each stream has every `ways`-th series; and, for replicas, all have all.
        let dealt: Vec<Vec<Series>> =
            (0..ways).map(|w| all.iter().skip(w).step_by(ways).cloned().collect()).collect();
        let same: Vec<&[Series]> = vec![&all[..SERIES / ways]; ways];
        let dealt: Vec<&[Series]> = dealt.iter().map(Vec::as_slice).collect();
        for (name, streams) in [("disjoint", dealt), ("equal", same)] {
            group.throughput(Throughput::Elements(streams.iter().map(|s| s.len() as u64).sum()));
            group.bench_function(format!("{ways} {name}"), |b| {
                b.iter_batched(
                    || streams.iter().map(|s| streamed(s)).collect::<Vec<_>>(),
                    |streams| {
                        block_on(async {
                            let (mut merged, mut count) = (Merge::new(streams), 0);
                            while let Some(item) = merged.next().await {
                                if let Ok(Item::Series(all)) = item {
                                    count += black_box(all).len();
                                }
                            }
                            count
                        })
                    },
                    criterion::BatchSize::LargeInput,
                )
            });
        }
    }
}

fn frames(c: &mut Criterion) {
    let frame = Frame::Batch((0..BATCH).map(series).collect());
    let mut bytes = Vec::new();
    encode(&frame, &mut bytes);
    let bytes = Bytes::from(bytes);
    let mut group = c.benchmark_group("frame");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("encode", |b| {
        b.iter(|| {
            let mut out = Vec::with_capacity(frame_len(&frame));
            encode(black_box(&frame), &mut out);
            out
        })
    });
    group.bench_function("decode", |b| b.iter(|| decode(black_box(&bytes)).unwrap()));
}

criterion_group!(benches, merge, frames);
criterion_main!(benches);
