//! Answers against expectations.
//!
//! Holds the rules by which a value counts as the expected one. It runs nothing. Invariant: the
//! tolerances are those of Prometheus' own runner (`util/almost`, `promqltest`), so that no script
//! passes here that fails there.

use model::{FloatHistogram, Labels, Millis, Samples, Span, is_stale_nan};

use super::script::{Check, Expectation, Expected, ExpectedSeries, Window};
use crate::parse::{SequenceValue, ValueType};
use crate::sink::Collect;

/// Relative difference that floats may have.
const EPSILON: f64 = 1e-6;

/// What was wanted and what came instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) wanted: String,
    pub(super) got: String,
}

fn mismatch<T>(wanted: impl Into<String>, got: impl Into<String>) -> Result<T, Mismatch> {
    Err(Mismatch { wanted: wanted.into(), got: got.into() })
}

/// Whether two floats are equal up to a relative difference of `epsilon`; a stale marker equals
/// itself only, any other NaN every other NaN.
pub fn almost_equal(a: f64, b: f64, epsilon: f64) -> bool {
    if is_stale_nan(a) || is_stale_nan(b) {
        return is_stale_nan(a) && is_stale_nan(b);
    }
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < epsilon
}

impl Expectation {
    /// Checks the answer's value. `window` gives the times of the values of a matrix.
    pub(super) fn check_value(
        &self,
        of: ValueType,
        answer: &Collect,
        window: Option<Window>,
    ) -> Result<(), Mismatch> {
        match (of, &self.values) {
            (ValueType::Scalar, Expected::Scalar(want)) => {
                let got = answer.scalar.map_or(f64::NAN, |s| s.1);
                if !almost_equal(*want, got, EPSILON) {
                    return mismatch(format!("scalar {want}"), format!("scalar {got}"));
                }
                Ok(())
            }
            (ValueType::String, Expected::String(want)) => {
                let got = answer.string.as_ref().map_or(&b""[..], |s| &s.1);
                if want != got {
                    let show = |text: &[u8]| format!("string {:?}", String::from_utf8_lossy(text));
                    return mismatch(show(want), show(got));
                }
                Ok(())
            }
            (ValueType::Vector, Expected::Series(want)) => self.check_vector(want, &answer.series),
            (ValueType::Matrix, Expected::Series(want)) => {
                if self.ordered {
                    return mismatch("a vector in order", "a matrix");
                }
                check_sorted(&answer.series)?;
                let Some(window) = window else { return mismatch("no matrix", "a matrix") };
                check_matrix(want, &answer.series, window)
            }
            (of, want) => {
                let kind = match want {
                    Expected::Series(_) => "series",
                    Expected::Scalar(_) => "a scalar",
                    Expected::String(_) => "a string",
                };
                mismatch(kind, format!("a {}", of.as_str()))
            }
        }
    }

    fn check_vector(&self, want: &[ExpectedSeries], got: &[(Labels, Samples)]) -> Result<(), Mismatch> {
        for (place, (labels, samples)) in got.iter().enumerate() {
            let Some(expected) = want.iter().find(|s| s.labels == *labels) else {
                return mismatch("no such series", format!("{labels} {}", show(samples)));
            };
            if self.ordered && expected.position != place + 1 {
                let at = |n: usize| format!("{labels} at place {n}");
                return mismatch(at(expected.position), at(place + 1));
            }
            let Some(value) = expected.values.first() else {
                return mismatch(format!("{labels} without a value"), "one value");
            };
            if !same_point(value, samples, 0) {
                let wanted = format!("{labels} {}", show_value(value));
                return mismatch(wanted, format!("{labels} {}", show(samples)));
            }
        }
        check_missing(want, got)
    }

    /// Checks the error's text.
    pub(super) fn check_failure(&self, text: &str) -> Result<(), Mismatch> {
        match self.failure.iter().find(|check| !check.matches(text)) {
            Some(check) => mismatch(format!("error: {}", check.describe()), format!("error: {text:?}")),
            None => Ok(()),
        }
    }

    /// Checks annotations, as the API shows them.
    pub(super) fn check_annotations(&self, warnings: &[String], infos: &[String]) -> Result<(), Mismatch> {
        let classes = [
            ("warning", warnings, &self.warn, self.no_warn, self.some_warn),
            ("info", infos, &self.info, self.no_info, self.some_info),
        ];
        for (class, texts, checks, none, some) in classes {
            let got = || format!("{class}s {texts:?}");
            if none && !texts.is_empty() {
                return mismatch(format!("no {class}"), got());
            }
            if some && texts.is_empty() {
                return mismatch(format!("some {class}"), got());
            }
            let unmet = |check: &&Check| !texts.iter().any(|text| check.matches(text));
            if let Some(check) = checks.iter().find(unmet) {
                return mismatch(format!("{class}: {}", check.describe()), got());
            }
            let surplus = |text: &&String| !checks.iter().any(|check| check.matches(text));
            if let (false, Some(text)) = (checks.is_empty(), texts.iter().find(surplus)) {
                return mismatch(format!("no other {class}"), format!("{class} {text:?}"));
            }
        }
        Ok(())
    }
}

/// Series of a matrix ascend by labels.
pub(super) fn check_sorted(series: &[(Labels, Samples)]) -> Result<(), Mismatch> {
    match series.windows(2).find(|w| w[0].0 > w[1].0) {
        Some(w) => mismatch("series in order of labels", format!("{} before {}", w[0].0, w[1].0)),
        None => Ok(()),
    }
}

fn check_missing(want: &[ExpectedSeries], got: &[(Labels, Samples)]) -> Result<(), Mismatch> {
    match want.iter().find(|s| !got.iter().any(|(labels, _)| *labels == s.labels)) {
        Some(s) => {
            let values: Vec<String> = s.values.iter().map(show_value).collect();
            mismatch(format!("{} {}", s.labels, values.join(" ")), "no such series")
        }
        None => Ok(()),
    }
}

fn check_matrix(want: &[ExpectedSeries], got: &[(Labels, Samples)], window: Window) -> Result<(), Mismatch> {
    for (labels, samples) in got {
        let Some(expected) = want.iter().find(|s| s.labels == *labels) else {
            return mismatch("no such series", format!("{labels} {}", show(samples)));
        };
        let differ = || {
            let values: Vec<String> = expected.values.iter().map(show_value).collect();
            let wanted = format!("{labels} {}", values.join(" "));
            mismatch(wanted, format!("{labels} {}", show(samples)))
        };
        let mut at = 0;
        for (i, value) in expected.values.iter().enumerate() {
            let t = window.start + window.step * i as Millis;
            if t > window.end {
                return mismatch(format!("{labels} with {} points", expected.values.len()), "fewer steps");
            }
            if *value == SequenceValue::Omitted {
                continue;
            }
            if samples.ts.get(at) != Some(&t) || !same_point(value, samples, at) {
                return differ();
            }
            at += 1;
        }
        if at != samples.len() {
            return differ();
        }
    }
    check_missing(want, got)
}

fn same_point(want: &SequenceValue, got: &Samples, at: usize) -> bool {
    match (want, got.histogram(at)) {
        // An omitted value stands for zero in a vector.
        (SequenceValue::Omitted, None) => got.values.get(at).is_some_and(|v| almost_equal(0.0, *v, EPSILON)),
        (SequenceValue::Float(want), None) => {
            got.values.get(at).is_some_and(|v| almost_equal(*want, *v, EPSILON))
        }
        (SequenceValue::Histogram { histogram, hint_written }, Some(got)) => {
            same_histogram(histogram, got, *hint_written)
        }
        _ => false,
    }
}

/// Whether `got` is the expected histogram; the counter reset hint counts where it was written.
fn same_histogram(want: &FloatHistogram, got: &FloatHistogram, hint_written: bool) -> bool {
    let compacted = |h: &FloatHistogram| {
        let mut h = h.clone();
        h.compact(0);
        h
    };
    let (want, got) = (compacted(want), compacted(got));
    let bits = |a: &[f64]| a.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let close = |a: &[f64], b: &[f64]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| almost_equal(*a, *b, EPSILON))
    };
    want.schema == got.schema
        && want.zero_threshold == got.zero_threshold
        && close(&[want.count, want.sum, want.zero_count], &[got.count, got.sum, got.zero_count])
        && (!want.uses_custom_buckets() || bits(want.custom_bounds()) == bits(got.custom_bounds()))
        && same_spans(&want.negative_spans, &got.negative_spans)
        && close(&want.negative_buckets, &got.negative_buckets)
        && same_spans(&want.positive_spans, &got.positive_spans)
        && close(&want.positive_buckets, &got.positive_buckets)
        && (!hint_written || want.counter_reset_hint == got.counter_reset_hint)
}

/// Whether spans are the same once empty ones are joined to their successors.
fn same_spans(a: &[Span], b: &[Span]) -> bool {
    let joined = |spans: &[Span]| {
        let (mut out, mut gap) = (Vec::with_capacity(spans.len()), 0i64);
        for s in spans {
            gap += i64::from(s.offset);
            if s.length > 0 {
                out.push((gap, s.length));
                gap = 0;
            }
        }
        out
    };
    joined(a) == joined(b)
}

fn show_value(value: &SequenceValue) -> String {
    match value {
        SequenceValue::Omitted => "_".to_owned(),
        SequenceValue::Float(v) => show_float(*v),
        SequenceValue::Histogram { histogram, .. } => histogram.test_expression(),
    }
}

fn show_float(v: f64) -> String {
    if is_stale_nan(v) { "stale".to_owned() } else { model::gofmt::float(v) }
}

/// `1@0 2@60000 {{count:1}}@120000`
fn show(samples: &Samples) -> String {
    let point = |i: usize| {
        let value = match samples.histogram(i) {
            Some(h) => h.test_expression(),
            None => show_float(samples.values[i]),
        };
        format!("{value}@{}", samples.ts[i])
    };
    let (all, most) = (samples.len(), 100);
    let mut text = (0..all.min(most)).map(point).collect::<Vec<_>>().join(" ");
    if all > most {
        text.push_str(&format!(" and {} more", all - most));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::script::Script;

    fn expect(lines: &str) -> Expectation {
        let script = Script::parse(&format!("eval instant at 0 a\n{lines}")).unwrap();
        script.evals().next().unwrap().expect.clone()
    }

    fn vector(lines: &[&str]) -> Collect {
        let mut answer = Collect::default();
        for line in lines {
            let series = crate::parse::Options::all().parse_series(line).unwrap();
            let mut samples = Samples::default();
            for (i, value) in series.values(100).unwrap().into_iter().enumerate() {
                match value {
                    SequenceValue::Omitted => {}
                    SequenceValue::Float(v) => samples.push(i as Millis, v),
                    SequenceValue::Histogram { histogram, .. } => {
                        samples.push_histogram(i as Millis, histogram);
                    }
                }
            }
            answer.series.push((series.labels, samples));
        }
        answer
    }

    fn vector_meets(got: &[&str], want: &str) -> bool {
        expect(want).check_value(ValueType::Vector, &vector(got), None).is_ok()
    }

    #[test]
    fn floats_are_equal_within_a_millionth() {
        assert!(almost_equal(1.0, 1.0 + 1e-6, EPSILON) && !almost_equal(1.0, 1.0 + 3e-6, EPSILON));
        assert!(almost_equal(f64::NAN, -f64::NAN, EPSILON) && !almost_equal(0.0, 1e-300, EPSILON));
        assert!(!almost_equal(f64::NAN, f64::from_bits(model::STALE_NAN_BITS), EPSILON));
        assert!(almost_equal(0.0, -0.0, EPSILON) && almost_equal(f64::INFINITY, f64::INFINITY, EPSILON));
    }

    #[test]
    fn vectors_are_equal_in_any_order_unless_ordered() {
        assert!(vector_meets(&["a 1", "b 2"], "b 2\na 1"));
        assert!(!vector_meets(&["a 1", "b 2"], "expect ordered\nb 2\na 1"));
        assert!(vector_meets(&["a 1", "b 2"], "expect ordered\na 1\nb 2"));
        assert!(!vector_meets(&["a 1"], "") && !vector_meets(&[], "a 1") && vector_meets(&[], ""));
        assert!(!vector_meets(&["a {{count:1}}"], "a 1") && !vector_meets(&["a 1"], "a {{count:1}}"));
        let gauge = "a {{count:1 sum:1 counter_reset_hint:gauge}}";
        assert!(vector_meets(&[gauge], "a {{count:1 sum:1}}"));
        assert!(!vector_meets(&["a {{count:1 sum:1}}"], gauge));
        assert!(vector_meets(&["a {{buckets:[0 1 0 2]}}"], "a {{offset:1 buckets:[1 0 2 0]}}"));
        assert!(!vector_meets(&["a {{buckets:[1]}}"], "a {{offset:1 buckets:[1]}}"));
    }

    #[test]
    fn matrices_are_equal_point_by_point() {
        let window = Some(Window { start: 0, end: 2, step: 1 });
        let meets = |got: &[&str], want: &str| {
            let want = expect(&format!("expect range vector from 0 to 1s step 1s\n{want}"));
            want.check_value(ValueType::Matrix, &vector(got), window).is_ok()
        };
        assert!(meets(&["a 1 _ 3"], "a 1 _ 3") && meets(&["a 1"], "a 1") && meets(&["a 1"], "a 1 _"));
        assert!(!meets(&["a 1 2"], "a 1") && !meets(&["a 1"], "a 1 2") && !meets(&["a 1 _ 3"], "a 1 3"));
        assert!(!meets(&["a 1"], "a 1 _ _ _") && !meets(&["b 1", "a 1"], "a 1\nb 1"));
    }

    #[test]
    fn every_annotation_needs_a_clause_and_every_clause_an_annotation() {
        let meets = |want: &str, warnings: &[&str]| {
            let warnings: Vec<String> = warnings.iter().map(|w| (*w).to_owned()).collect();
            expect(want).check_annotations(&warnings, &[]).is_ok()
        };
        assert!(meets("", &["x"]) && meets("expect warn", &["x", "y"]) && !meets("expect warn", &[]));
        assert!(!meets("expect no_warn", &["x"]) && meets("expect no_warn", &[]));
        assert!(!meets("expect warn msg: x", &["x", "y"]));
        assert!(meets("expect warn msg: x\nexpect warn regex: y$", &["x", "xy"]));
        assert!(!meets("expect warn msg: x\nexpect warn msg: y", &["x"]) && !meets("expect info", &["x"]));
    }
}
