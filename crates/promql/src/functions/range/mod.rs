//! Functions of a range vector: one series' samples in, one column out.
//!
//! Holds the list of kernels, what they are told ([`RangeContext`]) and the dispatch. It knows no
//! selector: whoever calls has removed stale markers and hands over samples that cover every window.
//! Invariant: a window of step `i` is `(end - range, end]`, and its result is that of a fresh
//! evaluation of those samples alone, however much work neighbouring windows share. Read `window`
//! for how windows are walked, then `rate` and `over_time`.

mod changes;
mod extended;
mod histogram_rate;
mod instant;
mod kahan;
mod notes;
mod order_statistics;
mod over_time;
mod rate;
mod regression;
mod start_time;
mod sums;
#[cfg(test)]
mod tests;
mod window;
mod xrate;

use model::{Labels, Millis, Samples};

use crate::annotations::{Annotation, Annotations};
use crate::functions::Param;
use crate::parse::{Extended, Span};
use crate::{Column, Steps};

pub(crate) use extended::{extend_floats, smooth_instant};
use notes::Notes;
use window::Split;

/// Which windows a call looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    /// Evaluation times.
    pub(crate) steps: Steps,
    /// Length of a window.
    pub(crate) range: Millis,
    /// How far the window's end lies before the evaluation time.
    pub(crate) offset: Millis,
    /// The time of `@`: then every step has the same window.
    pub(crate) fixed: Option<Millis>,
}

impl Windows {
    /// The last millisecond of step `i`'s window, inclusive.
    #[inline]
    pub(crate) fn end(&self, i: usize) -> Millis {
        self.fixed.unwrap_or_else(|| self.steps.at(i)).saturating_sub(self.offset)
    }

    /// The length of a window in seconds, rounded as Go's `Duration.Seconds`.
    fn seconds(&self) -> f64 {
        (self.range / 1000) as f64 + (self.range % 1000 * 1_000_000) as f64 / 1e9
    }
}

/// What a kernel is told about its call.
pub(crate) struct RangeContext<'a> {
    /// The windows.
    pub(crate) windows: Windows,
    /// The series' labels, metric name included.
    pub(crate) labels: &'a Labels,
    /// Where the call's first argument stands: annotations point there.
    pub(crate) span: Span,
    /// The scalar arguments, in order.
    pub(crate) params: &'a [Param],
    /// `anchored` or `smoothed` on the selector.
    pub(crate) extended: Extended,
    /// The lookback delta, which extended selectors reach beyond their window.
    pub(crate) lookback: Millis,
    /// Whether start timestamps tell of counter resets.
    pub(crate) use_start_timestamps: bool,
    /// Whether `__type__` tells what is a counter.
    pub(crate) type_and_unit: bool,
    /// Where to note what the user should know.
    pub(crate) annotations: &'a mut Annotations,
}

/// A function of a range vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants carry the functions' own names")]
pub(crate) enum RangeKernel {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Deriv,
    PredictLinear,
    DoubleExponentialSmoothing,
    Changes,
    Resets,
    AvgOverTime,
    SumOverTime,
    MinOverTime,
    MaxOverTime,
    CountOverTime,
    PresentOverTime,
    FirstOverTime,
    LastOverTime,
    QuantileOverTime,
    MadOverTime,
    StddevOverTime,
    StdvarOverTime,
    TsOfFirstOverTime,
    TsOfLastOverTime,
    TsOfMinOverTime,
    TsOfMaxOverTime,
    Xrate,
    Xincrease,
    Xdelta,
}

use RangeKernel as K;

/// Every kernel by the name of its function. `absent_over_time` asks each series whether it is
/// present; what it makes of the answers is in `functions::absent`.
static NAMES: [(&str, RangeKernel); 30] = [
    ("absent_over_time", K::PresentOverTime),
    ("avg_over_time", K::AvgOverTime),
    ("changes", K::Changes),
    ("count_over_time", K::CountOverTime),
    ("delta", K::Delta),
    ("deriv", K::Deriv),
    ("double_exponential_smoothing", K::DoubleExponentialSmoothing),
    ("first_over_time", K::FirstOverTime),
    ("idelta", K::Idelta),
    ("increase", K::Increase),
    ("irate", K::Irate),
    ("last_over_time", K::LastOverTime),
    ("mad_over_time", K::MadOverTime),
    ("max_over_time", K::MaxOverTime),
    ("min_over_time", K::MinOverTime),
    ("predict_linear", K::PredictLinear),
    ("present_over_time", K::PresentOverTime),
    ("quantile_over_time", K::QuantileOverTime),
    ("rate", K::Rate),
    ("resets", K::Resets),
    ("stddev_over_time", K::StddevOverTime),
    ("stdvar_over_time", K::StdvarOverTime),
    ("sum_over_time", K::SumOverTime),
    ("ts_of_first_over_time", K::TsOfFirstOverTime),
    ("ts_of_last_over_time", K::TsOfLastOverTime),
    ("ts_of_max_over_time", K::TsOfMaxOverTime),
    ("ts_of_min_over_time", K::TsOfMinOverTime),
    ("xdelta", K::Xdelta),
    ("xincrease", K::Xincrease),
    ("xrate", K::Xrate),
];

impl RangeKernel {
    /// The kernel of a function, if it is one of range vectors.
    pub(crate) fn of(function: &str) -> Option<Self> {
        NAMES.binary_search_by(|(name, _)| (*name).cmp(function)).ok().map(|i| NAMES[i].1)
    }

    /// Whether the result keeps the metric name.
    pub(crate) fn keeps_name(self) -> bool {
        matches!(self, K::FirstOverTime | K::LastOverTime)
    }

    /// How far before the first window's start and behind the last one's end samples are needed.
    pub(crate) fn margins(self, extended: Extended, lookback: Millis) -> (Millis, Millis) {
        match (self, extended) {
            (K::Xrate | K::Xincrease | K::Xdelta, _) => (xrate::LOOKBACK, 0),
            (_, Extended::None) => (0, 0),
            (_, Extended::Anchored) => (lookback, 0),
            (_, Extended::Smoothed) => (lookback, lookback),
        }
    }

    /// Why `function` cannot be called with a selector of this kind, if it cannot.
    pub(crate) fn refuses(function: &str, extended: Extended) -> Option<String> {
        let (modifier, allowed): (_, &[&str]) = match extended {
            Extended::None => return None,
            Extended::Anchored => ("anchored", &["changes", "delta", "increase", "rate", "resets"]),
            Extended::Smoothed => ("smoothed", &["delta", "increase", "rate"]),
        };
        if allowed.contains(&function) {
            return None;
        }
        let allowed = allowed.join(", ");
        Some(format!("{modifier} modifier can only be used with: {allowed} - not with {function}"))
    }

    /// Evaluates every window over one series. `samples` are without stale markers; those outside of
    /// all windows (and [`RangeKernel::margins`]) do no harm.
    ///
    /// # Errors
    /// Prometheus' text, where a parameter or a type of sample fails the query.
    pub(crate) fn eval(
        self,
        ctx: &mut RangeContext<'_>,
        samples: &Samples,
        out: &mut Column,
    ) -> Result<(), String> {
        out.reset(ctx.windows.steps.count);
        if samples.is_empty() {
            return Ok(());
        }
        let mut notes = Notes::default();
        let result = self.dispatch(ctx, samples, out, &mut notes);
        notes.write(ctx);
        result
    }

    fn dispatch(
        self,
        ctx: &mut RangeContext<'_>,
        samples: &Samples,
        out: &mut Column,
        notes: &mut Notes,
    ) -> Result<(), String> {
        let with_starts = ctx.use_start_timestamps;
        match self {
            K::Rate | K::Increase | K::Delta => {
                let counter = self != K::Delta;
                let split = Split::new(samples, with_starts && counter);
                let mode = rate::Mode { counter, per_second: self == K::Rate };
                match ctx.extended {
                    Extended::None => rate::extrapolated(ctx, mode, &split, notes, out),
                    _ => extended::rate(ctx, mode, &split, notes, out),
                }
                if counter && out.count() > out.hists.len() {
                    note_non_counter(ctx);
                }
            }
            K::Irate => instant::eval(ctx, true, samples, with_starts, notes, out),
            K::Idelta => instant::eval(ctx, false, samples, false, notes, out),
            K::Deriv => regression::deriv(ctx, &Split::new(samples, false), notes, out),
            K::PredictLinear => regression::predict_linear(ctx, &Split::new(samples, false), notes, out),
            K::DoubleExponentialSmoothing => {
                return regression::smoothing(ctx, &Split::new(samples, false), notes, out);
            }
            K::Changes => changes::changes(ctx, samples, out),
            K::Resets => changes::resets(ctx, samples, with_starts, out),
            K::AvgOverTime => sums::avg(ctx, &Split::new(samples, false), notes, out),
            K::SumOverTime => sums::sum(ctx, &Split::new(samples, false), notes, out),
            K::MinOverTime => over_time::min(ctx, &Split::new(samples, false), notes, out),
            K::MaxOverTime => over_time::max(ctx, &Split::new(samples, false), notes, out),
            K::TsOfMinOverTime => over_time::ts_of_min(ctx, &Split::new(samples, false), notes, out),
            K::TsOfMaxOverTime => over_time::ts_of_max(ctx, &Split::new(samples, false), notes, out),
            K::CountOverTime => over_time::count(ctx, samples, out),
            K::PresentOverTime => over_time::present(ctx, samples, out),
            K::FirstOverTime => over_time::first(ctx, samples, out),
            K::LastOverTime => over_time::last(ctx, samples, out),
            K::TsOfFirstOverTime => over_time::ts_of_first(ctx, samples, out),
            K::TsOfLastOverTime => over_time::ts_of_last(ctx, samples, out),
            K::QuantileOverTime => {
                order_statistics::quantile_over_time(ctx, &Split::new(samples, false), notes, out)
            }
            K::MadOverTime => order_statistics::mad_over_time(ctx, &Split::new(samples, false), notes, out),
            K::StddevOverTime => sums::variance(ctx, true, &Split::new(samples, false), notes, out),
            K::StdvarOverTime => sums::variance(ctx, false, &Split::new(samples, false), notes, out),
            K::Xrate | K::Xincrease | K::Xdelta => {
                let mode = rate::Mode { counter: self != K::Xdelta, per_second: self == K::Xrate };
                return xrate::eval(ctx, mode, samples, out);
            }
        }
        Ok(())
    }
}

/// Tells of a rate over something that, by its name or type, is no counter.
fn note_non_counter(ctx: &mut RangeContext<'_>) {
    let metric = ctx.labels.metric_name();
    if metric.is_empty() {
        return;
    }
    if ctx.type_and_unit {
        let kind = ctx.labels.value("__type__");
        if kind != "counter" && kind != "histogram" {
            ctx.annotations.add(Annotation::possible_non_counter_label(metric, kind, ctx.span));
        }
    } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| metric.ends_with(suffix)) {
        ctx.annotations.add(Annotation::possible_non_counter(metric, ctx.span));
    }
}
