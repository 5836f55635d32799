//! The queries, and what is known to grow faster than its data.
//!
//! Holds no measurement. Invariant: growth is excused only where the answer itself demands it, with the
//! reason.

/// A query that is measured at growing sizes.
pub(crate) struct Case {
    /// Its text; `{w}` is a window in seconds.
    pub text: &'static str,
    /// At one time instead of many.
    pub instant: bool,
    /// Why its cost may grow faster than what grows along these axes, if it may.
    pub excused: &'static [(Axis, &'static str)],
}

/// What grows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    /// Series of a metric.
    Series,
    /// Samples of a series.
    Samples,
    /// Steps of a query.
    Steps,
    /// Samples of a window, at the same number of steps.
    Window,
    /// Series that all fall into one group, or each into its own.
    Skew,
}

impl Case {
    /// Why cost may grow along an axis.
    pub(crate) fn excuse(&self, axis: Axis) -> Option<&'static str> {
        self.excused.iter().find(|(a, _)| *a == axis).map(|(_, why)| *why)
    }
}

const fn range(text: &'static str) -> Case {
    Case { text, instant: false, excused: &[] }
}

const fn instant(text: &'static str) -> Case {
    Case { text, instant: true, excused: &[] }
}

const fn but(text: &'static str, excused: &'static [(Axis, &'static str)]) -> Case {
    Case { text, instant: false, excused }
}

const AFRESH: &str = "each window is added up afresh in order, as the reference's bits demand";
const RESETS: &str = "every second sample is a reset, and each window adds its own in order";
const SORTED: &str = "a window is kept in order: what enters and leaves moves what lies behind";
const LAYOUT: &str = "the layout of each histogram of a window decides that of its result";

/// Every family of operators.
pub(crate) const FAMILIES: &[Case] = &[
    range("x_total"),
    range("x_total @ 5000"),
    range("timestamp(x_total)"),
    range("x_total offset 500s > 100"),
    range("rate(x_total[1000s])"),
    range("rate(x_total[1000s] @ 5000)"),
    range("irate(x_total[1000s])"),
    range("delta(walk[1000s])"),
    range("deriv(walk[1000s])"),
    range("double_exponential_smoothing(walk[1000s], 0.5, 0.1)"),
    range("changes(walk[1000s])"),
    range("count_over_time(walk[1000s])"),
    range("sum_over_time(x_total[1000s])"),
    range("sum_over_time(walk[1000s])"),
    range("max_over_time(walk[1000s])"),
    range("stddev_over_time(walk[1000s])"),
    range("quantile_over_time(0.9, walk[1000s])"),
    range("quantile_over_time(time(), walk[1000s])"),
    range("mad_over_time(walk[1000s])"),
    range("absent_over_time(x_total[1000s])"),
    range("max_over_time(rate(x_total[1000s])[1000s:100s])"),
    range("sum(walk)"),
    range("sum by (k) (rate(x_total[1000s]))"),
    range("stddev without (i, own, instance) (x_total)"),
    range("topk(3, x_total)"),
    range("topk by (k) (3, x_total)"),
    range("limitk(3, x_total)"),
    range("quantile(0.9, x_total)"),
    range("quantile by (k) (0.9, x_total)"),
    range("count_values(\"v\", few)"),
    range("count_values(\"v\", x_total)"),
    instant("topk(1000000, x_total)"),
    instant("sort(x_total)"),
    instant("sort_desc(walk)"),
    instant("sort_by_label(x_total, \"k\", \"i\")"),
    range("x_total * 2 + 1"),
    range("x_total / y_total"),
    range("x_total > bool y_total"),
    range("x_total / ignoring (one) y_total"),
    range("x_total / on (k) group_left () keys"),
    range("keys / on (k) group_right () x_total"),
    range("spread + on (version) group_left (k) label_replace(keys, \"version\", \"$1\", \"k\", \"(.*)\")"),
    range("x_total and y_total"),
    range("x_total and on (k) keys"),
    range("x_total unless y_total"),
    range("x_total or walk"),
    range("abs(-walk)"),
    range("clamp(walk, -0.1, 0.1)"),
    range("label_replace(x_total, \"n\", \"$1\", \"i\", \".*(.)\")"),
    range("label_join(x_total, \"n\", \"-\", \"i\", \"k\")"),
    range("absent(x_total)"),
    range("scalar(single) + x_total"),
    range("info(x_total)"),
    range("histogram_quantile(0.9, h_bucket)"),
    range("histogram_quantile(0.9, sum by (le) (rate(h_bucket[1000s])))"),
    range("histogram_quantile(0.9, native)"),
    range("histogram_quantile(0.9, sum(rate(native[1000s])))"),
    range("sum_over_time(native[1000s])"),
];

/// Functions of range vectors.
pub(crate) const WINDOWS: &[Case] = &[
    range("count_over_time(walk[{w}s])"),
    range("present_over_time(walk[{w}s])"),
    range("absent_over_time(walk[{w}s])"),
    range("first_over_time(walk[{w}s])"),
    range("last_over_time(walk[{w}s])"),
    range("min_over_time(walk[{w}s])"),
    range("max_over_time(walk[{w}s])"),
    range("max_over_time(x_total[{w}s])"),
    range("ts_of_max_over_time(walk[{w}s])"),
    range("rate(x_total[{w}s])"),
    range("increase(x_total[{w}s])"),
    range("delta(walk[{w}s])"),
    range("irate(x_total[{w}s])"),
    range("changes(walk[{w}s])"),
    range("resets(x_total[{w}s])"),
    range("sum_over_time(x_total[{w}s])"),
    range("avg_over_time(x_total[{w}s])"),
    range("sum_over_time(x_total[{w}s:1s])"),
    range("max_over_time(rate(x_total[60s])[{w}s:10s])"),
    but("sum_over_time(walk[{w}s])", &[(Axis::Window, AFRESH)]),
    but("avg_over_time(walk[{w}s])", &[(Axis::Window, AFRESH)]),
    but("stddev_over_time(walk[{w}s])", &[(Axis::Window, AFRESH)]),
    but("stdvar_over_time(x_total[{w}s])", &[(Axis::Window, AFRESH)]),
    but("deriv(walk[{w}s])", &[(Axis::Window, AFRESH)]),
    but("predict_linear(walk[{w}s], 3600)", &[(Axis::Window, AFRESH)]),
    but("double_exponential_smoothing(walk[{w}s], 0.5, 0.1)", &[(Axis::Window, AFRESH)]),
    but("rate(walk[{w}s])", &[(Axis::Window, RESETS)]),
    but("quantile_over_time(0.9, walk[{w}s])", &[(Axis::Window, SORTED)]),
    but("mad_over_time(walk[{w}s])", &[(Axis::Window, SORTED)]),
    but("rate(native[{w}s])", &[(Axis::Window, LAYOUT)]),
    range("delta(native[{w}s])"),
    but("sum_over_time(native[{w}s])", &[(Axis::Window, AFRESH)]),
];

/// Matching and grouping, from each series its own group to all series in one.
pub(crate) const SKEWED: &[Case] = &[
    range("x_total * on (own) y_total"),
    range("x_total * on (k) group_left () keys"),
    range("x_total * on (one) group_left () single"),
    range("x_total * on () group_left () single"),
    range("x_total * on (one) group_left (version) spread"),
    range("x_total + on (one) group_left () fill (0) spread"),
    range("single * on (one) group_right () x_total"),
    range("spread * on (one) group_right () x_total"),
    range("x_total and on (own) y_total"),
    range("x_total and on (one) y_total"),
    range("x_total and on (one) spread"),
    range("spread and on (one) x_total"),
    range("x_total and on () y_total"),
    range("x_total unless on (own) y_total"),
    range("x_total unless on (one) y_total"),
    range("x_total unless on (one) spread"),
    range("spread unless on (one) x_total"),
    range("x_total unless on () y_total"),
    range("x_total or on (own) y_total"),
    range("x_total or on (one) y_total"),
    range("x_total or on (one) spread"),
    range("spread or on (one) x_total"),
    range("x_total or on () y_total"),
    range("x_total * on (one) y_total"),
    range("x_total * on (one) group_left () y_total"),
    range("x_total * on () group_right () y_total"),
    range("sum by (own) (x_total)"),
    range("sum by (one) (x_total)"),
    range("topk by (own) (3, x_total)"),
    range("topk by (one) (3, x_total)"),
    range("quantile by (own) (0.5, x_total)"),
    range("quantile by (one) (0.5, x_total)"),
    range("count_values by (own) (\"v\", x_total)"),
    range("count_values by (one) (\"v\", x_total)"),
    range("histogram_quantile(0.9, h_bucket)"),
    range("histogram_quantile(0.9, wide_bucket)"),
];
