//! Decoding per sample, and postings intersection. Throughput is in samples or references.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::Samples;
use tsdb_block::chunkenc::{self, Encoding, histogram, xor, xor2};
use tsdb_block::index::postings;

const N: usize = 120;

/// A small deterministic generator: the figures must not depend on a seed.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn pattern(name: &str, jitter: bool) -> Vec<(i64, f64)> {
    let (mut s, mut v) = (0x9e37_79b9_7f4a_7c15u64, 100.0);
    (0..N as i64)
        .map(|i| {
            let off = if jitter { next(&mut s) as i64 % 5 } else { 0 };
            match name {
                "constant" => {}
                "counter" => v += (next(&mut s) % 50) as f64,
                "float counter" => v += (next(&mut s) % 1000) as f64 / 997.0,
                _ => v = (next(&mut s) >> 11) as f64 / (1u64 << 53) as f64,
            }
            (1_792_627_200_000 + i * 15_000 + off, v)
        })
        .collect()
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(N as u64));
    let mut out = Samples::default();
    let mut run = |name: String, encoding: Encoding, data: &[u8]| {
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                chunkenc::decode(encoding, black_box(data), &mut out).unwrap();
                out.values.len()
            })
        });
    };
    for name in ["constant", "counter", "float counter", "random"] {
        for jitter in [false, true] {
            let (mut a, mut b) = (xor::Encoder::new(), xor2::Encoder::new());
            for (t, v) in pattern(name, jitter) {
                a.push(t, v).unwrap();
                b.push(0, t, v).unwrap();
            }
            let tag = if jitter { " jitter" } else { "" };
            run(format!("xor {name}{tag}"), Encoding::Xor, &a.finish());
            run(format!("xor2 {name}{tag}"), Encoding::Xor2, &b.finish());
        }
    }
    let mut h = histogram::IntEncoder::new(histogram::CounterReset::Unknown, false);
    let mut state = 7u64;
    let mut absolute = [0i64; 20];
    for i in 0..N as i64 {
        absolute.iter_mut().for_each(|b| *b += (next(&mut state) % 4) as i64);
        let deltas = std::iter::once(absolute[0]).chain(absolute.windows(2).map(|w| w[1] - w[0]));
        let sample = model::Histogram {
            schema: 3,
            count: absolute.iter().sum::<i64>() as u64,
            sum: i as f64 * 1.7,
            positive_spans: vec![model::Span { offset: 0, length: 20 }],
            positive_buckets: deltas.collect(),
            ..model::Histogram::default()
        };
        h.push(0, i * 15_000, &sample).unwrap();
    }
    run("histogram of 20 buckets".into(), Encoding::Histogram, &h.finish());
    group.finish();
}

fn intersect(c: &mut Criterion) {
    let mut group = c.benchmark_group("intersect");
    let twos: Vec<u32> = (0..2_000_000).step_by(2).collect();
    let threes: Vec<u32> = (0..2_000_000).step_by(3).collect();
    let few: Vec<u32> = (0..2_000_000).step_by(1000).collect();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    postings::encode(&twos, &mut a).unwrap();
    postings::encode(&threes, &mut b).unwrap();
    let (a, b) = (postings::decode(&a).unwrap(), postings::decode(&b).unwrap());
    group.throughput(Throughput::Elements((twos.len() + threes.len()) as u64));
    group.bench_function("arrays", |bench| {
        bench.iter(|| postings::intersect(black_box(twos.as_slice()), black_box(threes.as_slice())))
    });
    group.bench_function("stored bytes", |bench| {
        bench.iter(|| postings::intersect(black_box(a), black_box(b)))
    });
    group.bench_function("few against many", |bench| {
        bench.iter(|| postings::intersect(black_box(few.as_slice()), black_box(a)))
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    targets = decode, intersect
}
criterion_main!(benches);
