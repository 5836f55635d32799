//! Tests of `element`.

use std::sync::Arc;

use model::{FloatHistogram, Span};

use super::*;

const STEPS: Steps = Steps { start: 10_000, step: 1_000, count: 4 };

/// Floats at steps 0 and 2, a histogram at 1, nothing at 3.
fn column(a: f64, b: f64) -> Column {
    let mut c = Column::default();
    c.reset(4);
    c.set(0, a);
    c.set(2, b);
    c.push_histogram(1, Arc::new(FloatHistogram { count: 4.0, sum: 10.0, ..FloatHistogram::default() }));
    c
}

fn shown(c: &Column) -> Vec<Option<f64>> {
    (0..c.len()).map(|i| c.has(i).then(|| c.values[i])).collect()
}

fn eval(function: &str, params: &[Param], a: f64, b: f64) -> Vec<Option<f64>> {
    let mut c = column(a, b);
    ElementKernel::of(function).unwrap().eval(STEPS, params, &mut c);
    assert!(c.hists.is_empty());
    shown(&c)
}

#[test]
fn names_are_sorted_and_found() {
    assert!(NAMES.windows(2).all(|w| w[0].0 < w[1].0));
    assert_eq!(ElementKernel::of("ln"), Some(K::Ln));
    assert_eq!(ElementKernel::of("rate"), None);
}

#[test]
fn functions_of_floats_drop_histograms() {
    assert_eq!(eval("abs", &[], -1.0, 2.0), [Some(1.0), None, Some(2.0), None]);
    assert_eq!(eval("sgn", &[], -3.0, -0.0)[2].map(f64::to_bits), Some((-0.0f64).to_bits()));
    assert_eq!(eval("deg", &[], PI, 0.0)[0], Some(180.0));
}

#[test]
fn functions_of_histograms_drop_floats() {
    assert_eq!(eval("histogram_avg", &[], 1.0, 2.0), [None, Some(2.5), None, None]);
    assert_eq!(ElementKernel::of("histogram_sum").unwrap().drops(), Drops::Name);
    assert_eq!(ElementKernel::of("abs").unwrap().drops(), Drops::Metadata);
}

#[test]
fn timestamp_takes_every_sample() {
    assert_eq!(eval("timestamp", &[], 1.0, 2.0), [Some(10.0), Some(11.0), Some(12.0), None]);
}

#[test]
fn rounding_and_clamping_follow_their_parameters() {
    assert_eq!(eval("round", &[], 2.5, -2.5), [Some(3.0), None, Some(-2.0), None]);
    assert_eq!(eval("round", &[Param::Const(5.0)], 12.4, 13.0), [Some(10.0), None, Some(15.0), None]);
    let per_step = Param::PerStep(vec![1.0, 1.0, 10.0, 1.0]);
    assert_eq!(
        eval("round", std::slice::from_ref(&per_step), 4.4, 13.0),
        [Some(4.0), None, Some(10.0), None]
    );
    let clamp = |lo: f64, hi: f64| eval("clamp", &[Param::Const(lo), Param::Const(hi)], -5.0, 5.0);
    assert_eq!(clamp(-1.0, 1.0), [Some(-1.0), None, Some(1.0), None]);
    assert_eq!(clamp(1.0, -1.0), [None; 4]);
    assert!(clamp(f64::NAN, 1.0)[0].unwrap().is_nan());
    assert_eq!(eval("clamp_min", &[per_step], -5.0, 5.0), [Some(1.0), None, Some(10.0), None]);
}

#[test]
fn calendar_functions_are_utc() {
    let t = 1_709_210_096.0; // Thursday 2024-02-29 12:34:56
    for (function, want) in [
        ("year", 2024.0),
        ("month", 2.0),
        ("day_of_month", 29.0),
        ("day_of_week", 4.0),
        ("day_of_year", 60.0),
        ("days_in_month", 29.0),
        ("hour", 12.0),
        ("minute", 34.0),
    ] {
        assert_eq!(eval(function, &[], t, f64::NAN)[0], Some(want), "{function}");
    }
    assert_eq!(
        eval("year", &[], f64::NAN, 1e300),
        [Some(292_277_026_596.0), None, Some(292_277_026_596.0), None]
    );
}

#[test]
fn variance_uses_geometric_middles() {
    let h = FloatHistogram {
        count: 2.0,
        sum: 6.0,
        positive_spans: vec![Span { offset: 2, length: 1 }],
        positive_buckets: vec![2.0],
        ..FloatHistogram::default()
    };
    // (2, 4]: middle sqrt(8), mean 3.
    let delta = 8f64.sqrt() - 3.0;
    assert_eq!(native::variance(&h), 2.0 * delta * delta / 2.0);
}
