//! Checks of histogram arithmetic against results worked out by hand.

use super::*;

fn hist(schema: i32, count: f64, offset: i32, buckets: &[f64]) -> FloatHistogram {
    FloatHistogram {
        schema,
        count,
        sum: count * 2.0,
        positive_spans: vec![Span { offset, length: buckets.len() as u32 }],
        positive_buckets: buckets.to_vec(),
        ..FloatHistogram::default()
    }
}

#[test]
fn adding_inserts_missing_buckets_and_merges_schemas() {
    let mut a = hist(0, 3.0, 0, &[1.0, 2.0]);
    assert_eq!(a.add(&hist(0, 4.0, 3, &[4.0])), Ok(Outcome::default()));
    assert_eq!(a.positive_spans, [Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }]);
    assert_eq!(a.positive_buckets, [1.0, 2.0, 4.0]);
    assert_eq!(a.count, 7.0);
    let mut fine = hist(1, 4.0, 1, &[1.0, 1.0, 1.0, 1.0]);
    fine.add(&hist(0, 1.0, 1, &[1.0])).unwrap();
    assert_eq!((fine.schema, fine.positive_buckets.as_slice()), (0, &[3.0, 2.0][..]));
}

#[test]
fn subtraction_negates_what_only_the_right_side_has() {
    let mut a = hist(0, 3.0, 0, &[3.0]);
    a.sub(&hist(0, 2.0, 1, &[2.0])).unwrap();
    assert_eq!(a.positive_buckets, [3.0, -2.0]);
    a.sub(&hist(0, 0.0, 0, &[3.0, -2.0])).unwrap();
    a.compact(0);
    assert!(a.positive_buckets.is_empty() && a.positive_spans.is_empty());
}

#[test]
fn custom_bounds_are_reduced_to_the_common_ones() {
    let custom = |bounds: &[f64], buckets: &[f64]| FloatHistogram {
        custom_values: Some(Arc::from(bounds)),
        ..hist(CUSTOM_BUCKETS_SCHEMA, buckets.iter().sum(), 0, buckets)
    };
    let mut a = custom(&[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0, 1.0]);
    let out = a.add(&custom(&[2.0, 5.0], &[10.0, 20.0, 30.0])).unwrap();
    assert!(out.bounds_reconciled);
    assert_eq!(a.custom_bounds(), [2.0]);
    assert_eq!(a.positive_buckets, [12.0, 52.0]);
    assert_eq!(a.add(&hist(0, 1.0, 0, &[1.0])), Err(IncompatibleSchema));
}

#[test]
fn wider_zero_bucket_swallows_populated_ones() {
    let mut a = hist(0, 6.0, 0, &[1.0, 2.0, 3.0]);
    let wide =
        FloatHistogram { zero_threshold: 1.5, zero_count: 5.0, count: 5.0, ..FloatHistogram::default() };
    a.add(&wide).unwrap();
    assert_eq!((a.zero_threshold, a.zero_count), (2.0, 8.0));
    assert_eq!(a.positive_buckets, [3.0]);
}

#[test]
fn compensation_keeps_small_parts() {
    let mut sum = hist(0, 1e100, 0, &[1e100]);
    let mut comp = None;
    sum.kahan_add(&hist(0, 1.0, 0, &[1.0]), &mut comp).unwrap();
    sum.kahan_add(&hist(0, -1e100, 0, &[-1e100]), &mut comp).unwrap();
    sum.add(&comp.unwrap()).unwrap();
    assert_eq!((sum.count, sum.positive_buckets[0]), (1.0, 1.0));
}

#[test]
fn resets_are_lost_populations() {
    let a = hist(0, 3.0, 0, &[1.0, 2.0]);
    assert!(!hist(0, 4.0, 0, &[1.0, 3.0]).detect_reset(&a));
    assert!(hist(0, 4.0, 0, &[0.0, 4.0]).detect_reset(&a));
    assert!(hist(0, 4.0, 1, &[4.0]).detect_reset(&a));
    assert!(hist(0, 2.0, 0, &[1.0, 2.0]).detect_reset(&a));
    assert!(!hist(-1, 3.0, 0, &[1.0, 2.0]).detect_reset(&a));
    let hinted = FloatHistogram { counter_reset_hint: CounterResetHint::Reset, ..a.clone() };
    assert!(hinted.detect_reset(&a));
}

#[test]
fn texts() {
    let mut h = hist(0, 3.0, 0, &[1.0, 0.0, 2.0]);
    h.zero_count = 1.0;
    h.zero_threshold = 0.001;
    assert_eq!(h.text(), "{count:3, sum:6, [-0.001,0.001]:1, (0.5,1]:1, (2,4]:2}");
    assert_eq!(h.test_expression(), "{{count:3 sum:6 z_bucket:1 z_bucket_w:0.001 buckets:[1 0 2]}}");
    h.sum = 1_234_567.0;
    assert!(h.text().starts_with("{count:3, sum:1.234567e+06, "));
}

#[test]
fn compaction_keeps_short_gaps_on_demand() {
    let mut h = hist(0, 3.0, 0, &[0.0, 1.0, 0.0, 0.0, 2.0, 0.0]);
    h.compact(2);
    assert_eq!(h.positive_buckets, [1.0, 0.0, 0.0, 2.0]);
    h.compact(0);
    assert_eq!(h.positive_spans, [Span { offset: 1, length: 1 }, Span { offset: 2, length: 1 }]);
}
