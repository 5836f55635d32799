//! Penalty deduplication of two replicas with jitter, as floats and as counters.

#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::Samples;

fn replica(offset: i64) -> Samples {
    let mut s = Samples::default();
    for i in 0..100_000i64 {
        s.push(offset + i * 30_000 + (i * 7919) % 200, i as f64);
    }
    s
}

fn penalty(c: &mut Criterion) {
    let rows = [replica(0), replica(14_000)];
    let mut group = c.benchmark_group("penalty");
    group.throughput(Throughput::Elements(200_000));
    for (name, counter) in [("gauge", false), ("counter", true)] {
        let mut out = Samples::default();
        group.bench_function(name, |b| b.iter(|| dedup::penalty::merge(&rows, counter, &mut out)));
    }
    group.finish();
}

criterion_group!(benches, penalty);
criterion_main!(benches);
