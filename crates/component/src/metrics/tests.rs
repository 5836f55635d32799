//! Spellings of the two text formats.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::*;

fn registry() -> Registry {
    let registry = Registry::new();
    let counters =
        counters(&registry, "b_requests_total", "Two\nlines and a \\ and a \".", &["code", "a"]).unwrap();
    counters.with_label_values(&["200", "x\"y\\z\n"]).inc_by(1_234_567);
    counters.with_label_values(&["100", "é"]).inc();
    let odd =
        register(&registry, IntCounterVec::new(Opts::new("c_odd", "No suffix."), &[]).unwrap()).unwrap();
    odd.with_label_values::<&str>(&[]).inc();
    let bounds = vec![0.001, 1.0, 1_048_576.0];
    let histogram = HistogramVec::new(HistogramOpts::new("a_seconds", "H.").buckets(bounds), &["x"]).unwrap();
    register(&registry, histogram.clone()).unwrap();
    histogram.with_label_values(&["1"]).observe(0.5);
    histogram.with_label_values(&["1"]).observe(2e7);
    gauge(&registry, "d_gauge", "G.").unwrap().set(f64::NEG_INFINITY);
    let summary = Summary::new("e_summary", "S.", &[], &[0.5, 0.99]).unwrap();
    registry.register(Box::new(summary.clone())).unwrap();
    summary.observe(&[], 0.25);
    // Without a series there is nothing to show.
    gauges(&registry, "f_empty", "E.", &["x"]).unwrap();
    registry
}

#[test]
fn the_classic_format_is_spelt_as_go_spells_it() {
    assert_eq!(
        text::encode(&registry().gather()),
        "# HELP a_seconds H.\n\
         # TYPE a_seconds histogram\n\
         a_seconds_bucket{x=\"1\",le=\"0.001\"} 0\n\
         a_seconds_bucket{x=\"1\",le=\"1\"} 1\n\
         a_seconds_bucket{x=\"1\",le=\"1.048576e+06\"} 1\n\
         a_seconds_bucket{x=\"1\",le=\"+Inf\"} 2\n\
         a_seconds_sum{x=\"1\"} 2.00000005e+07\n\
         a_seconds_count{x=\"1\"} 2\n\
         # HELP b_requests_total Two\\nlines and a \\\\ and a \".\n\
         # TYPE b_requests_total counter\n\
         b_requests_total{a=\"x\\\"y\\\\z\\n\",code=\"200\"} 1.234567e+06\n\
         b_requests_total{a=\"é\",code=\"100\"} 1\n\
         # HELP c_odd No suffix.\n\
         # TYPE c_odd counter\n\
         c_odd 1\n\
         # HELP d_gauge G.\n\
         # TYPE d_gauge gauge\n\
         d_gauge -Inf\n\
         # HELP e_summary S.\n\
         # TYPE e_summary summary\n\
         e_summary{quantile=\"0.5\"} 0.25\n\
         e_summary{quantile=\"0.99\"} 0.25\n\
         e_summary_sum 0.25\n\
         e_summary_count 1\n"
    );
}

#[test]
fn openmetrics_is_spelt_as_go_spells_it() {
    assert_eq!(
        openmetrics::encode(&registry().gather()),
        "# HELP a_seconds H.\n\
         # TYPE a_seconds histogram\n\
         a_seconds_bucket{x=\"1\",le=\"0.001\"} 0\n\
         a_seconds_bucket{x=\"1\",le=\"1.0\"} 1\n\
         a_seconds_bucket{x=\"1\",le=\"1.048576e+06\"} 1\n\
         a_seconds_bucket{x=\"1\",le=\"+Inf\"} 2\n\
         a_seconds_sum{x=\"1\"} 2.00000005e+07\n\
         a_seconds_count{x=\"1\"} 2\n\
         # HELP b_requests Two\\nlines and a \\\\ and a \\\".\n\
         # TYPE b_requests counter\n\
         b_requests_total{a=\"x\\\"y\\\\z\\n\",code=\"200\"} 1.234567e+06\n\
         b_requests_total{a=\"é\",code=\"100\"} 1.0\n\
         # HELP c_odd No suffix.\n\
         # TYPE c_odd unknown\n\
         c_odd 1.0\n\
         # HELP d_gauge G.\n\
         # TYPE d_gauge gauge\n\
         d_gauge -Inf\n\
         # HELP e_summary S.\n\
         # TYPE e_summary summary\n\
         e_summary{quantile=\"0.5\"} 0.25\n\
         e_summary{quantile=\"0.99\"} 0.25\n\
         e_summary_sum 0.25\n\
         e_summary_count 1\n\
         # EOF\n"
    );
}
