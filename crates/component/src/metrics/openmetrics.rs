//! OpenMetrics 1.0.0 text, as Go's client writes it.
//!
//! Differs from [`super::text`] in whole numbers (`1.0`), in counters (the family loses `_total`),
//! in the order of the header lines and in the closing `# EOF`. Invariant: as `text`. Spellings:
//! prometheus/common `expfmt/openmetrics_create.go`; no `_created` lines, as Thanos writes none.

use prometheus::proto::{LabelPair, MetricFamily, MetricType};

use super::float;
use super::text::{escape, push_labels, sorted_metrics, type_name};

/// The media type, as Go's client answers it.
pub const CONTENT_TYPE: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores";

/// Encodes families sorted by name, and the end mark.
pub fn encode(families: &[MetricFamily]) -> String {
    let mut sorted: Vec<&MetricFamily> = families.iter().filter(|f| !f.get_metric().is_empty()).collect();
    sorted.sort_by(|a, b| a.name().cmp(b.name()));
    let mut out = String::new();
    for family in sorted {
        encode_family(&mut out, family);
    }
    out.push_str("# EOF\n");
    out
}

fn encode_family(out: &mut String, family: &MetricFamily) {
    let name = family.name();
    let kind = family.get_field_type();
    // A counter without `_total` cannot be told as a counter here.
    let short = if kind == MetricType::COUNTER { name.strip_suffix("_total").unwrap_or(name) } else { name };
    let spelt = match kind {
        MetricType::COUNTER if short.len() == name.len() => "unknown",
        MetricType::UNTYPED => "unknown",
        other => type_name(other),
    };
    out.push_str("# HELP ");
    out.push_str(short);
    out.push(' ');
    escape(out, family.help(), true);
    out.push_str("\n# TYPE ");
    out.push_str(short);
    out.push(' ');
    out.push_str(spelt);
    out.push('\n');
    for metric in sorted_metrics(family) {
        let labels = metric.get_label();
        match kind {
            MetricType::COUNTER => {
                let suffix = if spelt == "counter" { "_total" } else { "" };
                sample(out, short, suffix, labels, None, Value::Float(metric.get_counter().get_value()));
            }
            MetricType::GAUGE => {
                sample(out, name, "", labels, None, Value::Float(metric.get_gauge().get_value()));
            }
            MetricType::SUMMARY => {
                let summary = metric.get_summary();
                for q in summary.get_quantile() {
                    sample(out, name, "", labels, Some(("quantile", q.quantile())), Value::Float(q.value()));
                }
                sample(out, name, "_sum", labels, None, Value::Float(summary.sample_sum()));
                sample(out, name, "_count", labels, None, Value::Count(summary.sample_count()));
            }
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                let mut saw_infinity = false;
                for b in histogram.get_bucket() {
                    saw_infinity |= b.upper_bound() == f64::INFINITY;
                    let count = Value::Count(b.cumulative_count());
                    sample(out, name, "_bucket", labels, Some(("le", b.upper_bound())), count);
                }
                let count = histogram.get_sample_count();
                if !saw_infinity {
                    let at = Some(("le", f64::INFINITY));
                    sample(out, name, "_bucket", labels, at, Value::Count(count));
                }
                sample(out, name, "_sum", labels, None, Value::Float(histogram.get_sample_sum()));
                sample(out, name, "_count", labels, None, Value::Count(count));
            }
            MetricType::UNTYPED => {}
        }
    }
}

/// A sample's value: counts of observations stay whole, everything else is a float.
#[derive(Clone, Copy)]
enum Value {
    Float(f64),
    Count(u64),
}

fn sample(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[LabelPair],
    extra: Option<(&str, f64)>,
    value: Value,
) {
    out.push_str(name);
    out.push_str(suffix);
    push_labels(out, labels, extra, push_float);
    out.push(' ');
    match value {
        Value::Float(value) => push_float(out, value),
        Value::Count(count) => out.push_str(&count.to_string()),
    }
    out.push('\n');
}

/// Go's form, with `.0` where neither point nor exponent is written.
fn push_float(out: &mut String, value: f64) {
    let start = out.len();
    float::push(out, value);
    if value.is_finite() && !out[start..].contains(['.', 'e']) {
        out.push_str(".0");
    }
}
