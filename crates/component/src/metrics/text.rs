//! The text format 0.0.4, as Go's client writes it.
//!
//! Turns gathered families into text; it negotiates nothing (`http::exposition` does). Invariant:
//! equal families give equal bytes, whatever the order they came in. Format: Prometheus'
//! "text-based format"; spellings: prometheus/common `expfmt/text_create.go`.

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::float;

/// The media type, as Go's client answers it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// Encodes families sorted by name.
pub fn encode(families: &[MetricFamily]) -> String {
    let mut sorted: Vec<&MetricFamily> = families.iter().filter(|f| !f.get_metric().is_empty()).collect();
    sorted.sort_by(|a, b| a.name().cmp(b.name()));
    let mut out = String::new();
    for family in sorted {
        encode_family(&mut out, family);
    }
    out
}

fn encode_family(out: &mut String, family: &MetricFamily) {
    let name = family.name();
    out.push_str("# HELP ");
    out.push_str(name);
    out.push(' ');
    escape(out, family.help(), false);
    out.push_str("\n# TYPE ");
    out.push_str(name);
    out.push(' ');
    out.push_str(type_name(family.get_field_type()));
    out.push('\n');
    for metric in sorted_metrics(family) {
        let labels = metric.get_label();
        match family.get_field_type() {
            MetricType::COUNTER => sample(out, name, "", labels, None, metric.get_counter().get_value()),
            MetricType::GAUGE => sample(out, name, "", labels, None, metric.get_gauge().get_value()),
            MetricType::SUMMARY => {
                let summary = metric.get_summary();
                for q in summary.get_quantile() {
                    sample(out, name, "", labels, Some(("quantile", q.quantile())), q.value());
                }
                sample(out, name, "_sum", labels, None, summary.sample_sum());
                sample(out, name, "_count", labels, None, summary.sample_count() as f64);
            }
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                let mut saw_infinity = false;
                for b in histogram.get_bucket() {
                    saw_infinity |= b.upper_bound() == f64::INFINITY;
                    let count = b.cumulative_count() as f64;
                    sample(out, name, "_bucket", labels, Some(("le", b.upper_bound())), count);
                }
                let count = histogram.get_sample_count() as f64;
                if !saw_infinity {
                    sample(out, name, "_bucket", labels, Some(("le", f64::INFINITY)), count);
                }
                sample(out, name, "_sum", labels, None, histogram.get_sample_sum());
                sample(out, name, "_count", labels, None, count);
            }
            MetricType::UNTYPED => {}
        }
    }
}

/// A family's metrics by label values, as Go's registry gathers them.
pub(super) fn sorted_metrics(family: &MetricFamily) -> Vec<&Metric> {
    let mut metrics: Vec<&Metric> = family.get_metric().iter().collect();
    metrics.sort_by(|a, b| {
        let values = |m: &Metric| m.get_label().iter().map(|l| l.value().to_owned()).collect::<Vec<_>>();
        a.get_label().len().cmp(&b.get_label().len()).then_with(|| values(a).cmp(&values(b)))
    });
    metrics
}

pub(super) fn type_name(kind: MetricType) -> &'static str {
    match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::SUMMARY => "summary",
        MetricType::HISTOGRAM => "histogram",
        MetricType::UNTYPED => "untyped",
    }
}

fn sample(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[LabelPair],
    extra: Option<(&str, f64)>,
    value: f64,
) {
    out.push_str(name);
    out.push_str(suffix);
    push_labels(out, labels, extra, float::push);
    out.push(' ');
    float::push(out, value);
    out.push('\n');
}

/// Appends `{a="b",le="1"}`, or nothing without labels.
pub(super) fn push_labels(
    out: &mut String,
    labels: &[LabelPair],
    extra: Option<(&str, f64)>,
    number: fn(&mut String, f64),
) {
    if labels.is_empty() && extra.is_none() {
        return;
    }
    let mut before = '{';
    for label in labels {
        out.push(before);
        out.push_str(label.name());
        out.push_str("=\"");
        escape(out, label.value(), true);
        out.push('"');
        before = ',';
    }
    if let Some((name, value)) = extra {
        out.push(before);
        out.push_str(name);
        out.push_str("=\"");
        number(out, value);
        out.push('"');
    }
    out.push('}');
}

/// Escapes backslash and newline, and the double quote where asked.
pub(super) fn escape(out: &mut String, text: &str, quote: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quote => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}
