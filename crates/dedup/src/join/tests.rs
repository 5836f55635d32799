//! Joining chunks: overlaps, counters across resets, averages.

use proptest::prelude::*;

use super::*;

fn floats(points: &[(Millis, f64)]) -> Samples {
    let mut s = Samples::default();
    points.iter().for_each(|(t, v)| s.push(*t, *v));
    s
}

fn points(s: &Samples) -> Vec<(Millis, f64)> {
    s.ts.iter().copied().zip(s.values.iter().copied()).collect()
}

fn hist(count: f64) -> Arc<FloatHistogram> {
    Arc::new(FloatHistogram { count, sum: count * 2.0, positive_buckets: vec![count], ..Default::default() })
}

#[test]
fn overlap_goes_to_the_earlier_chunk() {
    let mut s = floats(&[(1, 1.0), (5, 5.0)]);
    let from = s.len();
    s.push(3, 30.0);
    s.push_histogram(5, hist(1.0));
    s.push(6, 60.0);
    s.push_histogram(7, hist(7.0));
    seal(&mut s, from);
    assert_eq!(points(&s), [(1, 1.0), (5, 5.0), (6, 60.0), (7, 14.0)]);
    assert_eq!(s.hists.len(), 1);
    assert_eq!((s.hists[0].index, s.hists[0].histogram.count), (3, 7.0));
}

#[test]
fn trimming_moves_histograms_along() {
    let mut s = floats(&[(1, 1.0), (2, 2.0)]);
    s.push_histogram(3, hist(3.0));
    s.push(4, 4.0);
    s.push_histogram(5, hist(5.0));
    trim(&mut s, 2, 4);
    assert_eq!(s.ts, [2, 3, 4]);
    assert_eq!((s.hists.len(), s.hists[0].index), (1, 1));
    trim(&mut s, 9, 9);
    assert!(s.is_empty() && s.hists.is_empty());
}

#[test]
fn counters_rise_over_resets_and_chunks() {
    let mut out = Samples::default();
    let mut counter = Counter::default();
    counter.feed(&floats(&[(10, 5.0), (20, 8.0), (30, 2.0)]), &mut out);
    // A downsampled chunk: first raw value, windows, and the true last value at the last timestamp.
    counter.feed(&floats(&[(30, 2.0), (40, 10.0), (50, 14.0), (50, 3.0)]), &mut out);
    // 3 was the last raw value, so 4 is a rise by 1, not a reset; NaN is left out.
    counter.feed(&floats(&[(60, 4.0), (65, f64::NAN), (70, 1.0)]), &mut out);
    let want = [(10, 5.0), (20, 8.0), (30, 10.0), (40, 18.0), (50, 22.0), (60, 23.0), (70, 24.0)];
    assert_eq!(points(&out), want);
}

#[test]
fn histograms_pass_a_counter_unchanged() {
    let mut chunk = Samples::default();
    chunk.push_histogram(10, hist(1.0));
    chunk.push_histogram(20, hist(2.0));
    let mut out = Samples::default();
    let mut counter = Counter::default();
    counter.feed(&chunk, &mut out);
    let mut second = Samples::default();
    second.push_histogram(15, hist(9.0));
    second.push_histogram(30, hist(3.0));
    counter.feed(&second, &mut out);
    assert_eq!(out.ts, [10, 20, 30]);
    assert_eq!(out.hists.iter().map(|h| h.histogram.count).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
}

#[test]
fn averages_need_aligned_columns() {
    let mut out = Samples::default();
    let (sum, count) = (floats(&[(1, 6.0), (2, 9.0)]), floats(&[(1, 3.0), (2, 2.0)]));
    average(&sum, &count, &mut out).unwrap();
    assert_eq!(points(&out), [(1, 2.0), (2, 4.5)]);
    assert_eq!(average(&sum, &floats(&[(1, 1.0)]), &mut out), Err(Misaligned::Length));
    assert_eq!(average(&sum, &floats(&[(1, 1.0), (3, 1.0)]), &mut out), Err(Misaligned::Timestamps));
    let mut sum = Samples::default();
    sum.push_histogram(1, hist(8.0));
    let mut out = Samples::default();
    average(&sum, &floats(&[(1, 4.0)]), &mut out).unwrap();
    assert_eq!((out.hists[0].histogram.count, out.hists[0].histogram.sum), (2.0, 4.0));
    assert_eq!(out.hists[0].histogram.positive_buckets, [2.0]);
}

/// The bits are those of a float histogram chunk with one bucket: 8, 12, 20, in Thanos 0.43.
#[test]
fn histograms_are_averaged_in_place_as_thanos_does() {
    let (mut sum, mut out) = (Samples::default(), Samples::default());
    [8.0, 12.0, 20.0].iter().enumerate().for_each(|(i, v)| sum.push_histogram(i as i64, hist(*v)));
    let count = floats(&[(0, 4.0), (1, 4.0), (2, 0.0)]);
    average_as_thanos(&sum, &count, &mut out).unwrap();
    let histogram = |i: usize| &out.hists[i].histogram;
    assert_eq!((histogram(0).positive_buckets[0], histogram(1).positive_buckets[0]), (2.0, 0.75));
    assert_eq!((histogram(1).count, histogram(1).sum), (3.0, 6.0));
    assert_eq!(histogram(2).positive_buckets, Vec::<f64>::new());
    let mut right = Samples::default();
    average(&sum, &count, &mut right).unwrap();
    assert_eq!(right.hists[1].histogram.positive_buckets, [3.0]);
    assert_eq!(average_as_thanos(&sum, &floats(&[(0, 1.0)]), &mut out), Err(Misaligned::Length));
}

proptest! {
    #[test]
    fn sealed_samples_rise(chunks in prop::collection::vec(prop::collection::vec((0..200i64, any::<bool>()), 0..20), 1..6)) {
        let mut s = Samples::default();
        let mut want: Vec<(Millis, f64)> = Vec::new();
        for (i, chunk) in chunks.iter().enumerate() {
            let from = s.len();
            for (t, is_hist) in chunk {
                if *is_hist { s.push_histogram(*t, hist(i as f64)) } else { s.push(*t, i as f64) }
                if want.last().is_none_or(|l| l.0 < *t) {
                    want.push((*t, if *is_hist { i as f64 * 2.0 } else { i as f64 }));
                }
            }
            seal(&mut s, from);
        }
        prop_assert_eq!(points(&s), want);
        prop_assert!(s.hists.iter().all(|h| s.values[h.index as usize] == h.histogram.sum));
        prop_assert!(s.hists.windows(2).all(|w| w[0].index < w[1].index));
    }
}
