//! Round trips and damage over all encodings.

use proptest::prelude::*;

use super::histogram::{CounterReset, FloatEncoder, IntEncoder};
use super::*;
use model::{Histogram, Span};

fn xor_chunk(samples: &[(Millis, f64)]) -> Vec<u8> {
    let mut e = xor::Encoder::new();
    samples.iter().for_each(|(t, v)| e.push(*t, *v).unwrap());
    e.finish()
}

pub(super) fn histograms(n: usize, st: bool) -> (Vec<u8>, Vec<u8>) {
    let mut ints = IntEncoder::new(CounterReset::Reset, st);
    let mut floats = FloatEncoder::new(CounterReset::Gauge, st);
    for i in 0..n as i64 {
        let mut h = Histogram {
            schema: 3,
            zero_threshold: 0.001,
            zero_count: i as u64,
            count: 10 * i as u64,
            sum: 1.5 * i as f64,
            positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
            negative_spans: vec![Span { offset: 0, length: 1 }],
            positive_buckets: vec![i, 2 * i, -i],
            negative_buckets: vec![i * i],
            ..Histogram::default()
        };
        if i == n as i64 - 1 {
            h.sum = f64::from_bits(model::STALE_NAN_BITS);
        }
        ints.push(i / 3 * 1000, i * 15_000 + i % 7, &h).unwrap();
        floats.push(i / 3 * 1000, i * 15_000 + i % 7, &h.to_float()).unwrap();
    }
    (ints.finish(), floats.finish())
}

#[test]
fn histograms_survive_and_ranges_select() {
    for st in [false, true] {
        let (ints, floats) = histograms(200, st);
        let (e, f) = match st {
            false => (Encoding::Histogram, Encoding::FloatHistogram),
            true => (Encoding::HistogramSt, Encoding::FloatHistogramSt),
        };
        for (enc, data) in [(e, &ints), (f, &floats)] {
            let chunk = lossless::read(enc, data).unwrap();
            assert_eq!((chunk.samples.len(), count(enc, data).unwrap()), (200, 200));
            assert_eq!(&lossless::write(&chunk).unwrap(), data);
            let mut all = Samples::default();
            decode(enc, data, &mut all).unwrap();
            assert_eq!((all.hists.len(), all.start_ts.len()), (200, if st { 200 } else { 0 }));
            assert_eq!(all.histogram(5).unwrap().positive_buckets, [5.0, 15.0, 10.0]);
            let mut some = Samples::default();
            decode_range(enc, data, all.ts[10], all.ts[19], &mut some).unwrap();
            assert_eq!(some.ts, all.ts[10..20]);
            assert_eq!(some.hists[9].histogram, all.hists[19].histogram);
            assert_eq!(time_range(enc, data).unwrap(), Some((0, all.ts[199])));
            if st {
                assert_eq!(all.start_ts[7], 2000);
                let (plain, bytes) = reencode::drop_start_timestamps(enc, data).unwrap();
                let again = lossless::read(plain, &bytes).unwrap();
                assert_eq!(again.reset, chunk.reset);
                for (a, b) in again.samples.iter().zip(&chunk.samples) {
                    assert_eq!((a.t, format!("{:?}", a.value)), (b.t, format!("{:?}", b.value)));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn floats_survive(samples in proptest::collection::vec((any::<i64>(), any::<u64>(), any::<i64>()), 0..300)) {
        let plain: Vec<(Millis, f64)> = samples.iter().map(|s| (s.0 >> (s.1 % 50), f64::from_bits(s.1))).collect();
        let data = xor_chunk(&plain);
        let mut out = Samples::default();
        decode(Encoding::Xor, &data, &mut out).unwrap();
        prop_assert_eq!(&out.ts, &plain.iter().map(|s| s.0).collect::<Vec<_>>());
        let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&out.values), plain.iter().map(|s| s.1.to_bits()).collect::<Vec<_>>());
        let mut e = xor2::Encoder::new();
        for s in &samples {
            let v = if s.1 % 5 == 0 { model::STALE_NAN_BITS } else { s.1 };
            e.push(if s.1 % 3 == 0 { 0 } else { s.2 }, s.0 >> (s.1 % 50), f64::from_bits(v)).unwrap();
        }
        let data = e.finish();
        let mut out = Samples::default();
        decode(Encoding::Xor2, &data, &mut out).unwrap();
        prop_assert_eq!(out.len(), samples.len());
        for (i, s) in samples.iter().enumerate() {
            let v = if s.1 % 5 == 0 { model::STALE_NAN_BITS } else { s.1 };
            prop_assert_eq!((out.ts[i], out.values[i].to_bits()), (s.0 >> (s.1 % 50), v));
            let want = if s.1 % 3 == 0 { 0 } else { s.2 };
            prop_assert_eq!(out.start_ts.get(i).copied().unwrap_or(0), want);
        }
        let (to, bytes) = reencode::drop_start_timestamps(Encoding::Xor2, &data).unwrap();
        let mut again = Samples::default();
        decode(to, &bytes, &mut again).unwrap();
        prop_assert_eq!((&again.ts, bits(&again.values)), (&out.ts, bits(&out.values)));
    }

    #[test]
    fn noise_is_an_error_or_samples(mut data in proptest::collection::vec(any::<u8>(), 0..400), tame: bool) {
        if tame && data.len() > 2 {
            data[0] = 0;
        }
        let mut out = Samples::default();
        for byte in [1, 2, 3, 4, 5, 6, 0xff] {
            let enc = Encoding::from_byte(byte).unwrap();
            let before = out.len();
            if decode(enc, &data, &mut out).is_err() {
                prop_assert_eq!(out.len(), before);
            }
            prop_assert_eq!(out.ts.len(), out.values.len());
            prop_assert!(out.start_ts.is_empty() || out.start_ts.len() == out.ts.len());
            let _ = lossless::read(enc, &data);
            let _ = time_range(enc, &data);
            let _ = reencode::drop_start_timestamps(enc, &data);
        }
    }
}

#[test]
fn truncation_is_an_error_everywhere() {
    let (ints, floats) = histograms(30, true);
    let mut e = xor2::Encoder::new();
    (0..50).for_each(|i| e.push(i, i * 1000, i as f64).unwrap());
    let xor = xor_chunk(&(0..50).map(|i| (i * 1000 + i % 3, i as f64 / 7.0)).collect::<Vec<_>>());
    for (enc, data) in [
        (Encoding::Xor, xor),
        (Encoding::Xor2, e.finish()),
        (Encoding::HistogramSt, ints),
        (Encoding::FloatHistogramSt, floats),
    ] {
        for cut in 0..data.len() {
            let mut out = Samples::default();
            assert!(decode(enc, &data[..cut], &mut out).is_err(), "{enc:?} cut at {cut}");
            assert!(out.is_empty());
        }
    }
}

#[test]
fn aggregates_are_split_and_joined() {
    let sub = xor_chunk(&[(1, 1.0), (2, 2.0)]);
    let mut a = aggr::Aggregates::default();
    a.set(aggr::Aggregate::Count, Some(aggr::SubChunk { encoding: Encoding::Xor, data: &sub }));
    a.set(aggr::Aggregate::Counter, Some(aggr::SubChunk { encoding: Encoding::Xor, data: &sub }));
    let bytes = a.encode();
    assert_eq!(aggr::Aggregates::parse(&bytes).unwrap(), a);
    assert_eq!(count(Encoding::Aggr, &bytes).unwrap(), 2);
    assert_eq!(time_range(Encoding::Aggr, &bytes).unwrap(), Some((1, 2)));
    assert!(aggr::Aggregates::parse(&bytes[..bytes.len() - 1]).is_err());
}
