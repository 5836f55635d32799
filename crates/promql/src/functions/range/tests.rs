//! Windows that slide against windows evaluated afresh, and tables of results.

use std::sync::Arc;

use model::histogram::kahan_inc;
use model::{CounterResetHint, FloatHistogram, HistogramAt, Span as Run};
use proptest::prelude::*;

use super::*;

const SPAN: Span = Span { start: 0, end: 1 };

/// A call over one series.
#[derive(Clone, Debug)]
struct Call {
    kernel: RangeKernel,
    steps: Steps,
    range: Millis,
    offset: Millis,
    params: Vec<Param>,
    extended: Extended,
    starts: bool,
}

impl Call {
    fn instant(kernel: RangeKernel, at: Millis, range: Millis) -> Self {
        let steps = Steps::instant(at);
        let (params, extended) = (vec![Param::Const(0.5), Param::Const(0.3)], Extended::None);
        Call { kernel, steps, range, offset: 0, params, extended, starts: false }
    }

    fn eval(&self, samples: &Samples) -> (Column, Vec<String>, Result<(), String>) {
        let labels = Labels::from_pairs([("__name__", "m")]);
        let mut annotations = Annotations::default();
        let mut ctx = RangeContext {
            windows: Windows { steps: self.steps, range: self.range, offset: self.offset, fixed: None },
            labels: &labels,
            span: SPAN,
            params: &self.params,
            extended: self.extended,
            lookback: 300_000,
            use_start_timestamps: self.starts,
            type_and_unit: false,
            annotations: &mut annotations,
        };
        let mut out = Column::default();
        let result = self.kernel.eval(&mut ctx, samples, &mut out);
        let (warnings, infos) = annotations.render("m", 0, 0);
        (out, [warnings, infos].concat(), result)
    }
}

/// Minutes and values; `_` is no sample.
fn floats(text: &str) -> Samples {
    let mut s = Samples::default();
    for (i, v) in text.split(' ').enumerate() {
        if let Ok(v) = v.parse() {
            s.push(i as Millis * 60_000, v);
        }
    }
    s
}

fn value(kernel: RangeKernel, at_minutes: Millis, range_minutes: Millis, text: &str) -> Option<f64> {
    let call = Call::instant(kernel, at_minutes * 60_000, range_minutes * 60_000);
    let (out, _, result) = call.eval(&floats(text));
    result.unwrap();
    out.has(0).then(|| out.values[0])
}

#[test]
fn names_are_sorted_and_found() {
    assert!(NAMES.windows(2).all(|w| w[0].0 < w[1].0));
    assert_eq!(RangeKernel::of("rate"), Some(K::Rate));
    assert_eq!(RangeKernel::of("abs"), None);
    assert!(K::LastOverTime.keeps_name() && !K::Rate.keeps_name());
}

#[test]
fn tables_of_results() {
    // Windows are left-open: 5m at minute 5 leaves out minute 0.
    let cases = [
        (K::SumOverTime, 5, 5, "100 1 2 3 4 5", Some(15.0)),
        (K::AvgOverTime, 5, 5, "100 1 2 3 4 5", Some(3.0)),
        (K::CountOverTime, 5, 5, "100 1 _ 3 _ 5", Some(3.0)),
        (K::MinOverTime, 5, 5, "-9 NaN 2 1 4 5", Some(1.0)),
        (K::MaxOverTime, 5, 5, "99 NaN 2 1 4 -inf", Some(4.0)),
        (K::TsOfMaxOverTime, 5, 5, "99 4 2 1 4 2", Some(240.0)),
        (K::TsOfMinOverTime, 5, 5, "0 4 1 1 4 2", Some(180.0)),
        (K::FirstOverTime, 5, 5, "0 _ 7 1 4 2", Some(7.0)),
        (K::LastOverTime, 5, 5, "0 _ 7 1 4 _", Some(4.0)),
        (K::TsOfFirstOverTime, 5, 5, "0 _ 7 1 4 _", Some(120.0)),
        (K::TsOfLastOverTime, 5, 5, "0 _ 7 1 4 _", Some(240.0)),
        (K::PresentOverTime, 5, 5, "0 _ 7", Some(1.0)),
        (K::PresentOverTime, 9, 5, "0 _ 7", None),
        (K::StdvarOverTime, 5, 5, "9 1 3 1 3 2", Some(0.8)),
        (K::QuantileOverTime, 5, 4, "9 9 3 1 4 2", Some(2.5)),
        (K::MadOverTime, 5, 5, "9 4 6 2 1 999", Some(2.0)),
        (K::Changes, 5, 5, "9 1 1 NaN NaN 2", Some(2.0)),
        (K::Resets, 5, 5, "9 1 2 1 NaN 0", Some(1.0)),
        // No value at the start of the window is a reset: only what lies within counts.
        (K::Increase, 5, 5, "100 0 60 120 180 240", Some(240.0)),
        (K::Rate, 5, 4, "0 0 60 120 180 240", Some(1.0)),
        (K::Increase, 4, 4, "5 10 20 5 15", Some(25.0 * 240.0 / 180.0)),
        (K::Delta, 4, 4, "0 10 8 6 4", Some(-8.0)),
        (K::Irate, 5, 5, "0 60 120 180 30 90", Some(1.0)),
        (K::Irate, 4, 5, "0 60 120 180 30", Some(0.5)),
        (K::Idelta, 4, 5, "0 60 120 180 30", Some(-150.0)),
        (K::Idelta, 1, 1, "0 60", None),
        (K::Deriv, 5, 5, "0 1 2 3 4 5", Some(1.0 / 60.0)),
        (K::Deriv, 5, 5, "7 7 7 7 7 7", Some(0.0)),
        (K::DoubleExponentialSmoothing, 4, 4, "0 10 20 30 40", Some(40.0)),
        // Thanos': the sample before counts, the rest of the hour is reached for.
        (K::Xincrease, 5, 4, "0 1 2 3 4 6", Some(5.0)),
        (K::Xdelta, 5, 4, "0 1 2 3 4 6", Some(5.0)),
        (K::Xrate, 5, 4, "0 60 120 180 240 300", Some(1.0)),
        (K::Xincrease, 3, 4, "_ _ 7", Some(7.0)),
        (K::Xincrease, 30, 4, "0 5", Some(0.0)),
        (K::Xincrease, 90, 4, "0 5", None),
    ];
    for (kernel, at, range, text, want) in cases {
        let got = value(kernel, at, range, text);
        let close = match (got, want) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-9,
            (a, b) => a == b,
        };
        assert!(close, "{kernel:?} over [{range}m] at {at}m of {text}: got {got:?}, want {want:?}");
    }
}

#[test]
fn bad_factors_fail_the_query_only_where_there_are_samples() {
    let mut call = Call::instant(K::DoubleExponentialSmoothing, 60_000, 60_000);
    call.params = vec![Param::Const(1.0), Param::Const(0.5)];
    let want = "invalid smoothing factor. Expected: 0 < sf < 1, got: 1.000000";
    assert_eq!(call.eval(&floats("1 2")).2, Err(want.to_owned()));
    assert_eq!(call.eval(&floats("1")).2, Ok(()));
    call.params = vec![Param::Const(0.5), Param::Const(-1.0)];
    let want = "invalid trend factor. Expected: 0 < tf < 1, got: -1.000000";
    assert_eq!(call.eval(&floats("1 2")).2, Err(want.to_owned()));
}

#[test]
fn extended_selectors_refuse_other_functions() {
    let text = |f, e| RangeKernel::refuses(f, e);
    assert_eq!(text("rate", Extended::Anchored), None);
    assert_eq!(
        text("resets", Extended::Smoothed).unwrap(),
        "smoothed modifier can only be used with: delta, increase, rate - not with resets"
    );
    assert_eq!(
        text("sum_over_time", Extended::Anchored).unwrap(),
        "anchored modifier can only be used with: changes, delta, increase, rate, resets - not with sum_over_time"
    );
}

#[test]
fn extended_selectors_give_their_own_samples() {
    let (ts, vs) = ([0, 60_000, 120_000, 180_000], [0.0, 60.0, 120.0, 180.0]);
    let anchored = extend_floats((&ts, &vs), (30_000, 150_000), false);
    assert_eq!(anchored, (vec![30_000, 60_000, 120_000, 150_000], vec![0.0, 60.0, 120.0, 180.0]));
    let smoothed = extend_floats((&ts, &vs), (30_000, 150_000), true);
    assert_eq!(smoothed, (vec![30_000, 60_000, 120_000, 150_000], vec![30.0, 60.0, 120.0, 150.0]));
    assert_eq!(extend_floats((&[], &[]), (0, 1), true), (vec![], vec![]));
}

/// The quantity of a sample: mostly counters and whole numbers, at times anything.
fn any_value() -> impl Strategy<Value = f64> + Clone {
    prop_oneof![
        6 => (0u32..50).prop_map(f64::from),
        4 => -10.0..1e6f64,
        1 => Just(f64::NAN),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(1e308)],
    ]
}

fn any_histogram() -> impl Strategy<Value = FloatHistogram> + Clone {
    use CounterResetHint as Hint;
    let hint = prop_oneof![6 => Just(Hint::Unknown), 1 => Just(Hint::Gauge), 1 => Just(Hint::Reset), 1 => Just(Hint::NotReset)];
    (
        hint,
        prop::collection::vec(0u32..9, 1..4),
        prop_oneof![4 => Just(0i32), 1 => Just(1), 1 => Just(-53)],
        0i32..3,
    )
        .prop_map(|(counter_reset_hint, counts, schema, offset)| {
            let positive_buckets: Vec<f64> = counts.into_iter().map(f64::from).collect();
            FloatHistogram {
                counter_reset_hint,
                schema,
                count: positive_buckets.iter().sum(),
                sum: positive_buckets.iter().sum::<f64>() * 1.5,
                positive_spans: vec![Run { offset, length: positive_buckets.len() as u32 }],
                positive_buckets,
                custom_values: (schema == -53).then(|| Arc::from([1.0, 2.0, 5.0, 7.0, 9.0, 11.0])),
                ..FloatHistogram::default()
            }
        })
}

fn any_samples() -> impl Strategy<Value = Samples> {
    let float =
        (1i64..90_000, any_value(), -100_000i64..1_000).prop_map(|(gap, v, start)| (gap, Ok(v), start));
    let hist =
        (1i64..90_000, any_histogram(), -100_000i64..1_000).prop_map(|(gap, h, start)| (gap, Err(h), start));
    let mixed = prop_oneof![20 => float.clone(), 1 => hist.clone()];
    let series = prop_oneof![
        4 => prop::collection::vec(float, 0..60),
        2 => prop::collection::vec(hist, 0..30),
        2 => prop::collection::vec(mixed, 0..60),
    ];
    series.prop_map(|all| {
        let (mut s, mut t) = (Samples::default(), 0);
        for (gap, sample, start) in all {
            t += gap;
            match sample {
                Ok(v) => s.push(t, v),
                Err(h) => s.push_histogram(t, Arc::new(h)),
            }
            s.start_ts.resize(s.ts.len(), 0);
            *s.start_ts.last_mut().unwrap() = if start % 3 == 0 { 0 } else { (t + start).max(0) };
        }
        s
    })
}

fn any_call() -> impl Strategy<Value = Call> {
    let kernels: Vec<RangeKernel> = NAMES.iter().map(|(_, k)| *k).collect();
    let extended =
        prop_oneof![4 => Just(Extended::None), 1 => Just(Extended::Anchored), 1 => Just(Extended::Smoothed)];
    let q = prop_oneof![Just(0.5), -0.1..1.1f64];
    (
        prop::sample::select(kernels),
        0i64..500_000,
        1i64..200_000,
        1usize..40,
        1i64..900_000,
        -9i64..90_000,
        q,
        extended,
        any::<bool>(),
    )
        .prop_map(|(kernel, start, step, count, range, offset, q, extended, starts)| {
            let allowed =
                NAMES.iter().any(|(name, k)| *k == kernel && RangeKernel::refuses(name, extended).is_none());
            let q = if kernel == K::DoubleExponentialSmoothing { 0.4 } else { q };
            Call {
                kernel,
                steps: Steps { start, step, count },
                range,
                offset,
                params: vec![Param::Const(q), Param::Const(0.3)],
                extended: if allowed { extended } else { Extended::None },
                starts,
            }
        })
}

/// The samples of one window with its margins, alone.
fn alone(samples: &Samples, (after, until): (Millis, Millis)) -> Samples {
    let mut out = Samples::default();
    for i in 0..samples.len() {
        if samples.ts[i] > after && samples.ts[i] <= until {
            if let Some(h) = samples.histogram(i) {
                out.hists.push(HistogramAt { index: out.ts.len() as u32, histogram: h.clone() });
            }
            out.ts.push(samples.ts[i]);
            out.values.push(samples.values[i]);
            out.start_ts.push(samples.start_ts[i]);
        }
    }
    out
}

fn sample(column: &Column, step: usize) -> Option<String> {
    let canonical = |v: f64| if v.is_nan() { f64::NAN } else { v }.to_bits();
    column.has(step).then(|| match column.histogram(step) {
        Some(h) => format!("{h:?}"),
        None => format!("{:016x} {}", canonical(column.values[step]), column.values[step]),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn sliding_equals_fresh(samples in any_samples(), call in any_call()) {
        // What Thanos' functions make of the first sample known depends on more than the window.
        prop_assume!(!matches!(call.kernel, K::Xrate | K::Xincrease | K::Xdelta));
        let (all, notes, result) = call.eval(&samples);
        let mut fresh_notes: Vec<String> = Vec::new();
        let (before, after) = call.kernel.margins(call.extended, 300_000);
        for step in 0..call.steps.count {
            let at = call.steps.at(step);
            let end = at - call.offset;
            let window = alone(&samples, (end - call.range - before, end + after));
            let fresh = Call { steps: Steps::instant(at), ..call.clone() };
            let (one, more, one_result) = fresh.eval(&window);
            prop_assert_eq!(&one_result, &result);
            prop_assert_eq!(sample(&all, step), sample(&one, 0), "step {} of {:?}", step, call);
            fresh_notes.extend(more);
        }
        let strip = |notes: Vec<String>| {
            let mut notes: Vec<String> = notes.iter().map(|n| n.split(" (").next().unwrap().to_owned()).collect();
            notes.sort();
            notes.dedup();
            notes
        };
        prop_assert_eq!(strip(notes), strip(fresh_notes));
    }

    #[test]
    fn kernels_equal_the_plain_definitions(samples in any_samples(), call in any_call()) {
        if !samples.hists.is_empty() || call.extended != Extended::None {
            return Ok(());
        }
        let plain: fn(&[f64]) -> f64 = match call.kernel {
            K::SumOverTime => plain_sum,
            K::MaxOverTime => |v| v.iter().copied().fold(v[0], |m, x| if x > m || m.is_nan() { x } else { m }),
            K::MinOverTime => |v| v.iter().copied().fold(v[0], |m, x| if x < m || m.is_nan() { x } else { m }),
            K::Resets if !call.starts => |v| v.windows(2).filter(|w| w[1] < w[0]).count() as f64,
            K::Changes => |v| v.windows(2).filter(|w| w[0] != w[1] && !(w[0].is_nan() && w[1].is_nan())).count() as f64,
            K::CountOverTime => |v| v.len() as f64,
            K::MadOverTime => plain_mad,
            _ => return Ok(()),
        };
        let (out, _, _) = call.eval(&samples);
        for step in 0..call.steps.count {
            let end = call.steps.at(step) - call.offset;
            let window = alone(&samples, (end - call.range, end)).values;
            let want = (!window.is_empty()).then(|| plain(&window));
            let got = out.has(step).then(|| out.values[step]);
            let bits = |v: Option<f64>| v.map(|v| if v.is_nan() { u64::MAX } else { v.to_bits() });
            prop_assert_eq!(bits(got), bits(want), "step {} of {:?}", step, call);
        }
    }
}

fn plain_mad(values: &[f64]) -> f64 {
    if values.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    let middle = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(crate::functions::quantile::nan_first);
        crate::functions::quantile::quantile_of_sorted(0.5, &sorted)
    };
    let median = middle(values);
    middle(&values.iter().map(|v| (v - median).abs()).collect::<Vec<_>>())
}

fn plain_sum(values: &[f64]) -> f64 {
    let (sum, c) = values.iter().fold((0.0, 0.0), |(sum, c), v| kahan_inc(*v, sum, c));
    if sum.is_infinite() { sum } else { sum + c }
}
