//! Tests of `annotations`.

use super::*;

fn span(at: usize) -> Span {
    Span::new(at, at + 1)
}

#[test]
fn texts_are_those_of_the_http_api() {
    let s = span(0);
    let cases = [
        (
            Annotation::invalid_quantile(2.0, s),
            "PromQL warning: quantile value should be between 0 and 1, got 2 (1:1)",
        ),
        (
            Annotation::invalid_quantile(f64::NEG_INFINITY, s),
            "PromQL warning: quantile value should be between 0 and 1, got -Inf (1:1)",
        ),
        (
            Annotation::invalid_ratio(1234567.0, 1.0, s),
            "PromQL warning: ratio value should be between -1 and 1, got 1.234567e+06, capping to 1 (1:1)",
        ),
        (
            Annotation::bad_bucket_label("a", "x", s),
            r#"PromQL warning: bucket label "le" is missing or has a malformed value of "x" for metric name "a" (1:1)"#,
        ),
        (
            Annotation::bad_bucket_label("", "", s),
            r#"PromQL warning: bucket label "le" is missing or has a malformed value of "" (1:1)"#,
        ),
        (
            Annotation::mixed_floats_histograms("", s),
            r#"PromQL warning: encountered a mix of histograms and floats for metric name "" (1:1)"#,
        ),
        (
            Annotation::incompatible_types("float", "+", "histogram", s),
            r#"PromQL info: incompatible sample types encountered for binary operator "+": float + histogram (1:1)"#,
        ),
        (
            Annotation::possible_non_counter_label("m", "gauge", s),
            r#"PromQL info: metric might not be a counter, __type__ label is not set to "counter" or "histogram", got "gauge": "m" (1:1)"#,
        ),
        (
            Annotation::counter_reset_collision(HistogramOperation::Aggregation, s),
            "PromQL warning: conflicting counter resets during histogram aggregation (1:1)",
        ),
        (Annotation::storage("store gone"), "store gone"),
    ];
    for (annotation, text) in cases {
        assert_eq!(annotation.render("x"), text);
    }
}

#[test]
fn positions_count_lines_and_bytes() {
    let a = |at| Annotation::sort_in_range_query(span(at)).render("ab\ncd");
    assert!(a(0).ends_with(" (1:1)"));
    assert!(a(4).ends_with(" (2:2)"));
    assert!(a(5).ends_with(" (2:3)"));
    assert!(a(6).ends_with(" (invalid position)"));
    assert!(Annotation::sort_in_range_query(span(0)).render("").ends_with("by labels"));
}

#[test]
fn equal_texts_are_one_and_the_later_position_stays() {
    let mut set = Annotations::default();
    set.add(Annotation::possible_non_counter("m", span(2)));
    set.add(Annotation::possible_non_counter("m", span(1)));
    let mut other = Annotations::default();
    other.add(Annotation::possible_non_counter("m", span(0)));
    other.add(Annotation::sort_in_range_query(span(0)));
    set.merge(other);
    assert_eq!(set.counts(), (1, 1));
    assert!(set.render("abcdefg", 0, 0).1[0].ends_with("\"m\" (1:1)"));
}

#[test]
fn forced_monotonicity_adds_up_and_keeps_the_first_position() {
    let one = |at, t, min_bucket, max_bucket, max_diff| {
        let forced = Forced { mint: t, maxt: t, min_bucket, max_bucket, max_diff, more: 0 };
        Annotation::forced_monotonicity("m", span(at), &forced)
    };
    let mut set = Annotations::default();
    set.add(one(0, 60_000, 0.5, 1.0, 3.2e-3));
    set.add(one(3, 0, 0.1, 0.2, 0.5));
    let mut other = Annotations::default();
    other.add(one(5, 3_600_999, 1.0, f64::INFINITY, 123.4));
    set.merge(other);
    let (_, infos) = set.render("abcdefg", 0, 0);
    assert_eq!(
        infos,
        [
            "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name \"m\", from buckets 0.1 to +Inf, with a max diff of 1.2e+02, over 3 samples from 1970-01-01T00:00:00Z to 1970-01-01T01:00:00Z (1:1)"
        ]
    );
}

#[test]
fn overlaps_are_counted() {
    let mut set = Annotations::default();
    set.add(Annotation::start_time_overlaps("m", 1, span(0)));
    let text =
        "PromQL warning: sample has start time that overlaps with previous sample timestamp for metric \"m\"";
    assert_eq!(set.render("m", 0, 0).0, [format!("{text} (1:1)")]);
    set.add(Annotation::start_time_overlaps("m", 1, span(0)));
    assert_eq!(set.render("m", 0, 0).0, [format!("{text} (2 occurrences) (1:1)")]);
}

#[test]
fn limits_leave_a_line_that_counts_the_rest() {
    let mut set = Annotations::default();
    for i in 0..5 {
        set.add(Annotation::possible_non_counter(&i.to_string(), span(0)));
    }
    set.add(Annotation::sort_in_range_query(span(0)));
    let (warnings, infos) = set.render("m", 10, 3);
    assert_eq!((warnings.len(), infos.len()), (1, 4));
    assert_eq!(infos[3], "2 more info annotations omitted");
}

#[test]
fn two_digits_follow_go() {
    let cases = [(0.00012, "0.00012"), (123.4, "1.2e+02"), (99.9, "1e+02"), (10.0, "10"), (0.0, "0")];
    for (v, text) in cases {
        assert_eq!(two_digits(v), text);
    }
    assert_eq!((two_digits(1e-5), two_digits(f64::INFINITY)), ("1e-05".to_owned(), "+Inf".to_owned()));
}
