//! Printed forms of histograms and of floats inside them.
//!
//! Holds the form that label values and messages use, `{count:4, sum:9, (1,2]:3}`, the form of test
//! scripts, `{{schema:0 count:4 …}}`, and Go's `%g`. It knows no JSON. Invariant: digits are the
//! shortest that read back to the same float, as Go prints them.

use std::fmt::Write as _;

use super::{Bucket, CounterResetHint, FloatHistogram, Span};

/// A float as Go's `%g` prints it: shortest digits, an exponent of at least two digits below 1e-4
/// and from 1e21 on.
pub fn format_g(v: f64) -> String {
    if v.is_nan() {
        return "NaN".to_owned();
    }
    if v.is_infinite() {
        return if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if v == 0.0 {
        return if v.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let sci = format!("{v:e}");
    let (mantissa, exp) = sci.split_once('e').unwrap_or((&sci, "0"));
    let exp: i32 = exp.parse().unwrap_or(0);
    if (-4..21).contains(&exp) {
        return format!("{v}");
    }
    let sign = if exp < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exp.abs())
}

fn bucket_text(b: &Bucket, lower_inclusive: bool, upper_inclusive: bool) -> String {
    let (open, close) = (if lower_inclusive { '[' } else { '(' }, if upper_inclusive { ']' } else { ')' });
    format!("{open}{},{}{close}:{}", format_g(b.lower), format_g(b.upper), format_g(b.count))
}

impl FloatHistogram {
    /// The form Prometheus prints where a histogram becomes text.
    pub fn text(&self) -> String {
        let mut out = format!("{{count:{}, sum:{}", format_g(self.count), format_g(self.sum));
        let custom = self.uses_custom_buckets();
        let one = |b: &Bucket| {
            if custom {
                bucket_text(b, b.index == 0, true)
            } else {
                bucket_text(b, b.lower < 0.0, b.upper > 0.0)
            }
        };
        let negative: Vec<Bucket> = self.negative().filter(|b| b.count != 0.0).collect();
        for b in negative.iter().rev() {
            let _ = write!(out, ", {}", one(b));
        }
        if self.zero_count != 0.0 {
            let _ = write!(out, ", {}", bucket_text(&self.zero_bucket(), true, true));
        }
        for b in self.positive().filter(|b| b.count != 0.0) {
            let _ = write!(out, ", {}", one(&b));
        }
        out.push('}');
        out
    }

    /// The form of test scripts, one span a side, only fields that differ from their default.
    pub fn test_expression(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut number = |key: &str, v: f64| {
            if v != 0.0 {
                parts.push(format!("{key}:{}", format_g(v)));
            }
        };
        if self.schema != 0 {
            number("schema", f64::from(self.schema));
        }
        number("count", self.count);
        number("sum", self.sum);
        number("z_bucket", self.zero_count);
        number("z_bucket_w", self.zero_threshold);
        let list = |v: &[f64]| v.iter().map(|x| format_g(*x)).collect::<Vec<_>>().join(" ");
        if self.uses_custom_buckets() {
            parts.push(format!("custom_values:[{}]", list(self.custom_bounds())));
        }
        match self.counter_reset_hint {
            CounterResetHint::Unknown => {}
            CounterResetHint::Reset => parts.push("counter_reset_hint:reset".to_owned()),
            CounterResetHint::NotReset => parts.push("counter_reset_hint:not_reset".to_owned()),
            CounterResetHint::Gauge => parts.push("counter_reset_hint:gauge".to_owned()),
        }
        let mut side = |prefix: &str, spans: &[Span], counts: &[f64]| {
            let (mut spans, mut counts) = (spans.to_vec(), counts.to_vec());
            super::buckets::compact(&mut spans, &mut counts, None, usize::MAX >> 1);
            if let Some(first) = spans.first().filter(|s| s.offset != 0) {
                parts.push(format!("{prefix}offset:{}", first.offset));
            }
            if !counts.is_empty() {
                parts.push(format!("{prefix}buckets:[{}]", list(&counts)));
            }
        };
        side("", &self.positive_spans, &self.positive_buckets);
        side("n_", &self.negative_spans, &self.negative_buckets);
        format!("{{{{{}}}}}", parts.join(" "))
    }
}
