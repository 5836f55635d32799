//! Warnings and infos that a query's result carries, with Prometheus' texts.
//!
//! Holds one constructor per annotation of Prometheus 3.14 (`util/annotations`), the set that merges
//! equal ones, and its rendering. It knows no operator and no series. Invariant: two annotations are
//! the same when their texts without position are; of the same ones the later replaces the earlier,
//! except that "forced monotonicity" and "start time overlap" add up and keep the first position.
//! Whoever merges does so in the order of evaluation. The order of rendering is that of the texts.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use model::Millis;
use model::gofmt::{float_g, quote};

use crate::civil::Civil;
use crate::parse::Span;

/// How serious an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Something is likely wrong with the result.
    Warning,
    /// Something worth knowing.
    Info,
}

/// What histograms were doing when an annotation came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistogramOperation {
    /// `+`, or a correction for counter resets.
    Addition,
    /// `-`, or the difference of two samples.
    Subtraction,
    /// `sum`, `avg`, and their forms over time.
    Aggregation,
}

impl HistogramOperation {
    fn as_str(self) -> &'static str {
        match self {
            HistogramOperation::Addition => "addition",
            HistogramOperation::Subtraction => "subtraction",
            HistogramOperation::Aggregation => "aggregation",
        }
    }
}

/// One warning or info.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    level: Level,
    /// The text without position: the identity.
    text: Box<str>,
    /// Where in the query; storage warnings have no place in it.
    span: Option<Span>,
    detail: Detail,
}

/// What is summed up over equal annotations.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Detail {
    None,
    Monotonicity(Forced),
    Overlap { count: u64 },
}

fn for_metric(text: &str, metric: &str) -> String {
    if metric.is_empty() { text.to_owned() } else { format!("{text} for metric name {}", quote(metric)) }
}

impl Annotation {
    fn new(level: Level, text: impl fmt::Display, span: Span) -> Self {
        let prefix = match level {
            Level::Warning => "PromQL warning: ",
            Level::Info => "PromQL info: ",
        };
        let text = format!("{prefix}{text}").into_boxed_str();
        Annotation { level, text, span: Some(span), detail: Detail::None }
    }

    fn warning(text: impl fmt::Display, span: Span) -> Self {
        Annotation::new(Level::Warning, text, span)
    }

    fn info(text: impl fmt::Display, span: Span) -> Self {
        Annotation::new(Level::Info, text, span)
    }

    /// What a store had to say; carried as it is.
    pub fn storage(text: impl Into<String>) -> Self {
        let text = text.into().into_boxed_str();
        Annotation { level: Level::Warning, text, span: None, detail: Detail::None }
    }

    /// A quantile outside of 0 to 1, or NaN.
    pub fn invalid_quantile(q: f64, span: Span) -> Self {
        Self::warning(format_args!("quantile value should be between 0 and 1, got {}", float_g(q)), span)
    }

    /// A ratio of `limit_ratio` outside of -1 to 1, or NaN, and what is taken instead.
    pub fn invalid_ratio(ratio: f64, instead: f64, span: Span) -> Self {
        let (ratio, instead) = (float_g(ratio), float_g(instead));
        Self::warning(
            format_args!("ratio value should be between -1 and 1, got {ratio}, capping to {instead}"),
            span,
        )
    }

    /// A classic histogram's `le` label that is no number.
    pub fn bad_bucket_label(metric: &str, value: &str, span: Span) -> Self {
        let text = format!("bucket label \"le\" is missing or has a malformed value of {}", quote(value));
        Self::warning(for_metric(&text, metric), span)
    }

    /// Floats and histograms in one range.
    pub fn mixed_floats_histograms(metric: &str, span: Span) -> Self {
        Self::warning(
            format_args!("encountered a mix of histograms and floats for metric name {}", quote(metric)),
            span,
        )
    }

    /// Floats and histograms in one group of an aggregation.
    pub fn mixed_floats_histograms_aggregation(span: Span) -> Self {
        Self::warning("encountered a mix of histograms and floats for aggregation", span)
    }

    /// The same histogram in classic and in native form.
    pub fn mixed_classic_native_histograms(metric: &str, span: Span) -> Self {
        Self::warning(for_metric("vector contains a mix of classic and native histograms", metric), span)
    }

    /// A gauge histogram under a function of counters.
    pub fn native_histogram_not_counter(metric: &str, span: Span) -> Self {
        Self::warning(format_args!("this native histogram metric is not a counter: {}", quote(metric)), span)
    }

    /// A counter histogram under a function of gauges.
    pub fn native_histogram_not_gauge(metric: &str, span: Span) -> Self {
        Self::warning(format_args!("this native histogram metric is not a gauge: {}", quote(metric)), span)
    }

    /// Exponential and custom buckets together.
    pub fn mixed_exponential_custom_histograms(metric: &str, span: Span) -> Self {
        let metric = quote(metric);
        Self::warning(
            format_args!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {metric}"
            ),
            span,
        )
    }

    /// `rate` and its family over something whose name is no counter's.
    pub fn possible_non_counter(metric: &str, span: Span) -> Self {
        let metric = quote(metric);
        Self::info(
            format_args!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric}"
            ),
            span,
        )
    }

    /// `rate` and its family over something whose `__type__` is no counter's.
    pub fn possible_non_counter_label(metric: &str, type_label: &str, span: Span) -> Self {
        let (metric, type_label) = (quote(metric), quote(type_label));
        Self::info(
            format_args!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {type_label}: {metric}"
            ),
            span,
        )
    }

    /// Classic buckets whose counts fell: between bounds `buckets`, by at most `max_diff`, at times
    /// `times`, so many samples `more` than one. Equal ones are joined.
    pub(crate) fn forced_monotonicity(metric: &str, span: Span, forced: &Forced) -> Self {
        const TEXT: &str = "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
        let detail = Detail::Monotonicity(*forced);
        Annotation { detail, ..Self::info(for_metric(TEXT, metric), span) }
    }

    /// A binary operator between types that it does not combine (`histogram * histogram`, say).
    pub fn incompatible_types(lhs: &str, operator: &str, rhs: &str, span: Span) -> Self {
        let quoted = quote(operator);
        Self::info(
            format_args!(
                "incompatible sample types encountered for binary operator {quoted}: {lhs} {operator} {rhs}"
            ),
            span,
        )
    }

    /// An aggregation that takes floats only met a histogram.
    pub fn histogram_ignored_in_aggregation(aggregation: &str, span: Span) -> Self {
        Self::info(format_args!("ignored histogram in {aggregation} aggregation"), span)
    }

    /// A range function that takes floats only met both.
    pub fn histogram_ignored_in_mixed_range(metric: &str, span: Span) -> Self {
        let metric = quote(metric);
        Self::info(
            format_args!(
                "ignored histograms in a range containing both floats and histograms for metric name {metric}"
            ),
            span,
        )
    }

    /// A binary operator between histograms whose buckets cannot be combined.
    pub fn incompatible_bucket_layout(operator: &str, span: Span) -> Self {
        Self::warning(
            format_args!("incompatible bucket layout encountered for binary operator {operator}"),
            span,
        )
    }

    /// A sort function in a range query.
    pub fn sort_in_range_query(span: Span) -> Self {
        Self::warning(
            "sort is ineffective for range queries since results are always ordered by labels",
            span,
        )
    }

    /// A quantile of a native histogram that falls among observations of NaN.
    pub fn quantile_nan_result(metric: &str, span: Span) -> Self {
        const TEXT: &str = "input to histogram_quantile has NaN observations, result is NaN";
        Self::info(for_metric(TEXT, metric), span)
    }

    /// A quantile of a native histogram with some observations of NaN.
    pub fn quantile_nan_skew(metric: &str, span: Span) -> Self {
        const TEXT: &str = "input to histogram_quantile has NaN observations, result is skewed higher";
        Self::info(for_metric(TEXT, metric), span)
    }

    /// A fraction of a native histogram with some observations of NaN.
    pub fn fraction_nan(metric: &str, span: Span) -> Self {
        const TEXT: &str =
            "input to histogram_fraction has NaN observations, which are excluded from all fractions";
        Self::info(for_metric(TEXT, metric), span)
    }

    /// Histograms that contradict each other about a counter reset.
    pub fn counter_reset_collision(operation: HistogramOperation, span: Span) -> Self {
        Self::warning(
            format_args!("conflicting counter resets during histogram {}", operation.as_str()),
            span,
        )
    }

    /// Custom bucket bounds that differed and were reduced to the common ones.
    pub fn mismatched_custom_buckets(operation: HistogramOperation, span: Span) -> Self {
        Self::info(
            format_args!("mismatched custom buckets were reconciled during {}", operation.as_str()),
            span,
        )
    }

    /// A start timestamp before the previous sample, met in so many windows. Equal ones add up.
    pub fn start_time_overlaps(metric: &str, count: u64, span: Span) -> Self {
        let metric = quote(metric);
        let text =
            format!("sample has start time that overlaps with previous sample timestamp for metric {metric}");
        Annotation { detail: Detail::Overlap { count }, ..Self::warning(text, span) }
    }

    /// How serious it is.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The text without position and details: two annotations are equal when this is.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text with details and position, as the HTTP API shows it.
    pub fn render(&self, query: &str) -> String {
        let Some(span) = self.span.filter(|_| !query.is_empty()) else {
            return self.text.to_string();
        };
        let at = match crate::parse::position(query.as_bytes(), span.start as usize) {
            Some((line, column)) => format!("{line}:{column}"),
            None => "invalid position".to_owned(),
        };
        match self.detail {
            Detail::Monotonicity(f) => {
                let time = |t: Millis| Civil::from_unix(t / 1000).rfc3339();
                format!(
                    "{}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {} ({at})",
                    self.text,
                    float_g(f.min_bucket),
                    float_g(f.max_bucket),
                    two_digits(f.max_diff),
                    f.more.wrapping_add(1),
                    time(f.mint),
                    time(f.maxt),
                )
            }
            Detail::Overlap { count } if count > 1 => format!("{} ({count} occurrences) ({at})", self.text),
            Detail::Overlap { .. } | Detail::None => format!("{} ({at})", self.text),
        }
    }

    /// Joins a later one of the same text.
    fn join(&mut self, later: &Annotation) {
        match (&mut self.detail, later.detail) {
            (Detail::Monotonicity(mine), Detail::Monotonicity(theirs)) => mine.join(&theirs),
            (Detail::Overlap { count }, Detail::Overlap { count: more }) => *count += more,
            _ => self.span = later.span,
        }
    }
}

/// Where classic buckets had to be fixed, summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Forced {
    /// First time.
    pub(crate) mint: Millis,
    /// Last time.
    pub(crate) maxt: Millis,
    /// Lowest bound.
    pub(crate) min_bucket: f64,
    /// Highest bound.
    pub(crate) max_bucket: f64,
    /// Largest fall.
    pub(crate) max_diff: f64,
    /// Samples beyond the first. Prometheus counts too many over the steps of a range query (see
    /// `functions::classic`), so that this wraps.
    pub(crate) more: i64,
}

impl Forced {
    /// Adds what was found later.
    pub(crate) fn join(&mut self, later: &Forced) {
        (self.mint, self.maxt) = (self.mint.min(later.mint), self.maxt.max(later.maxt));
        // Comparisons, not min and max: a NaN never replaces what was there before.
        self.min_bucket = if later.min_bucket < self.min_bucket { later.min_bucket } else { self.min_bucket };
        self.max_bucket = if later.max_bucket > self.max_bucket { later.max_bucket } else { self.max_bucket };
        self.max_diff = if later.max_diff > self.max_diff { later.max_diff } else { self.max_diff };
        self.more = self.more.wrapping_add(later.more).wrapping_add(1);
    }
}

/// As Go's `%.2g` prints it.
fn two_digits(v: f64) -> String {
    if !v.is_finite() || v == 0.0 {
        return float_g(v);
    }
    let text = format!("{v:.1e}");
    let exponent: i32 = text.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let rounded: f64 = text.parse().unwrap_or(v);
    if (-4..2).contains(&exponent) { format!("{rounded}") } else { model::gofmt::float_e(rounded) }
}

/// A set of annotations; equal ones are one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    entries: BTreeMap<Box<str>, Annotation>,
}

impl Annotations {
    /// Adds one, joining it to an equal one.
    pub fn add(&mut self, annotation: Annotation) {
        match self.entries.get_mut(&annotation.text) {
            Some(known) => known.join(&annotation),
            None => {
                self.entries.insert(annotation.text.clone(), annotation);
            }
        }
    }

    /// Adds all of `other`, whose annotations count as the later ones.
    pub fn merge(&mut self, other: Annotations) {
        if self.entries.is_empty() {
            *self = other;
            return;
        }
        other.entries.into_values().for_each(|a| self.add(a));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All, in order of their texts.
    pub fn iter(&self) -> impl Iterator<Item = &Annotation> {
        self.entries.values()
    }

    /// Number of warnings and of infos.
    pub fn counts(&self) -> (usize, usize) {
        let warnings = self.iter().filter(|a| a.level == Level::Warning).count();
        (warnings, self.entries.len() - warnings)
    }

    /// Warnings and infos as the HTTP API gives them, positions taken from the text of the query. Of
    /// each kind at most so many are listed (0: all); one more line counts the others.
    pub fn render(&self, query: &str, max_warnings: usize, max_infos: usize) -> (Vec<String>, Vec<String>) {
        let part = |level: Level, name: &str, limit: usize| {
            let limit = if limit == 0 { usize::MAX } else { limit };
            let of_level = || self.iter().filter(move |a| a.level == level);
            let mut out: Vec<String> = of_level().take(limit).map(|a| a.render(query)).collect();
            let skipped = of_level().count() - out.len();
            if skipped > 0 {
                out.push(format!("{skipped} more {name} annotations omitted"));
            }
            out
        };
        (part(Level::Warning, "warning", max_warnings), part(Level::Info, "info", max_infos))
    }
}
