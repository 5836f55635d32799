//! Tests of `classic`.

use std::sync::Arc;

use super::*;

const STEPS: Steps = Steps { start: 0, step: 60_000, count: 3 };

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn column(values: &[f64]) -> Column {
    let mut c = Column::default();
    c.reset(values.len());
    for (i, v) in values.iter().enumerate() {
        if !v.is_nan() {
            c.set(i, *v);
        }
    }
    c
}

fn bucket(le: &str, values: &[f64]) -> (Labels, Column) {
    (labels(&[("__name__", "h"), ("le", le)]), column(values))
}

fn native(name: &str, steps: &[usize]) -> (Labels, Column) {
    let h = FloatHistogram {
        count: 4.0,
        sum: 6.0,
        positive_spans: vec![model::Span { offset: 1, length: 1 }],
        positive_buckets: vec![4.0],
        ..FloatHistogram::default()
    };
    let mut c = Column::default();
    c.reset(3);
    steps.iter().for_each(|s| c.push_histogram(*s, Arc::new(h.clone())));
    (labels(&[("__name__", name)]), c)
}

fn run(function: &HistogramFunction<'_>, input: &[(Labels, Column)]) -> (Vec<String>, Vec<String>) {
    let mut annotations = Annotations::default();
    let interrupt = crate::Interrupt::new();
    let mut ctx = HistogramContext {
        interrupt: &interrupt,
        steps: STEPS,
        span: Span::new(0, 1),
        keep_names: false,
        annotations: &mut annotations,
    };
    let out = eval(function, &mut ctx, input).unwrap();
    let shown = out
        .iter()
        .map(|(l, c)| {
            let values: Vec<String> =
                (0..c.len()).map(|i| if c.has(i) { c.values[i].to_string() } else { "_".into() }).collect();
            format!("{l} {}", values.join(" "))
        })
        .collect();
    let (warnings, infos) = annotations.render("q", 0, 0);
    (shown, [warnings, infos].concat())
}

const HALF: Param = Param::Const(0.5);
const NONE: f64 = f64::NAN;

fn half() -> HistogramFunction<'static> {
    HistogramFunction::Quantile(&HALF, Span { start: 0, end: 1 })
}

#[test]
fn quantiles_of_classic_buckets_interpolate() {
    let input =
        [bucket("+Inf", &[4.0, 4.0, NONE]), bucket("1", &[1.0, 4.0, 1.0]), bucket("2", &[3.0, 4.0, 2.0])];
    let (out, notes) = run(&half(), &input);
    // Without +Inf there is no telling.
    assert_eq!((out, notes), (vec!["{} 1.5 0.5 NaN".to_owned()], vec![]));
}

#[test]
fn fractions_of_classic_buckets_interpolate() {
    let input = [bucket("+Inf", &[4.0; 3]), bucket("1", &[1.0; 3]), bucket("2", &[3.0; 3])];
    let (lower, upper) = (Param::Const(1.0), Param::PerStep(vec![1.5, 2.0, 100.0]));
    let (out, _) = run(&HistogramFunction::Fraction(&lower, &upper), &input);
    assert_eq!(out, ["{} 0.25 0.5 0.5"]);
}

#[test]
fn falling_counts_are_raised_and_told_of() {
    let input = [bucket("1", &[5.0; 3]), bucket("2", &[3.0; 3]), bucket("+Inf", &[4.0; 3])];
    let (out, notes) = run(&half(), &input);
    assert_eq!(out, ["{} 0.5 0.5 0.5"]);
    assert_eq!(notes.len(), 1);
    // One sample a step; the total doubles at each step but the first, as in Prometheus.
    assert!(
        notes[0].contains(", from buckets 2 to +Inf, with a max diff of 2, over 10 samples from"),
        "{notes:?}"
    );
}

#[test]
fn classic_and_native_exclude_each_other_step_by_step() {
    let input = [native("h", &[1, 2]), bucket("+Inf", &[2.0, 2.0, NONE]), bucket("1", &[1.0, 1.0, NONE])];
    let (out, notes) = run(&half(), &input);
    let mut out = out;
    out.sort();
    assert_eq!(out, ["{} 1 _ _", "{} _ _ 1.414213562373095"]);
    assert_eq!(notes, ["PromQL warning: vector contains a mix of classic and native histograms (1:1)"]);
}

#[test]
fn bad_bounds_and_quantiles_are_noted() {
    let input = [bucket("x", &[1.0; 3]), bucket("1e999", &[1.0; 3])];
    let q = Param::Const(2.0);
    let (out, notes) = run(&HistogramFunction::Quantile(&q, Span::new(0, 1)), &input);
    assert_eq!((out.len(), notes.len()), (0, 3));
    assert_eq!(notes[2], "PromQL warning: quantile value should be between 0 and 1, got 2 (1:1)");
}

#[test]
fn several_quantiles_are_told_apart_by_a_label() {
    let span = Span::new(0, 1);
    let qs = [(Param::Const(1.0), span), (Param::PerStep(vec![0.5, 0.5, 0.25]), span)];
    let (mut out, _) = run(&HistogramFunction::Quantiles("q", &qs), &[native("h", &[0, 1, 2])]);
    out.sort();
    assert_eq!(
        out,
        [
            r#"{q="0.25"} _ _ 1.189207115002721"#,
            r#"{q="0.5"} 1.414213562373095 1.414213562373095 _"#,
            r#"{q="1.0"} 2 2 2"#
        ]
    );
}
