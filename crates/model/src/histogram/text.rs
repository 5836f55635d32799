//! Printed forms of histograms and of floats inside them.
//!
//! Holds the form that label values and messages use, `{count:4, sum:9, (1,2]:3}`, the form of test
//! scripts, `{{schema:0 count:4 …}}`, numbers as Go's `%g`. It knows no JSON. Invariant: digits are the
//! shortest that read back to the same float, as Go prints them.

use std::fmt::Write as _;

use super::{Bucket, CounterResetHint, FloatHistogram, Span};
use crate::gofmt::float_g;

fn bucket_text(b: &Bucket, lower_inclusive: bool, upper_inclusive: bool) -> String {
    let (open, close) = (if lower_inclusive { '[' } else { '(' }, if upper_inclusive { ']' } else { ')' });
    format!("{open}{},{}{close}:{}", float_g(b.lower), float_g(b.upper), float_g(b.count))
}

impl FloatHistogram {
    /// The form Prometheus prints where a histogram becomes text.
    pub fn text(&self) -> String {
        let mut out = format!("{{count:{}, sum:{}", float_g(self.count), float_g(self.sum));
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
                parts.push(format!("{key}:{}", float_g(v)));
            }
        };
        if self.schema != 0 {
            number("schema", f64::from(self.schema));
        }
        number("count", self.count);
        number("sum", self.sum);
        number("z_bucket", self.zero_count);
        number("z_bucket_w", self.zero_threshold);
        let list = |v: &[f64]| v.iter().map(|x| float_g(*x)).collect::<Vec<_>>().join(" ");
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
