//! Functions of single samples: a column in, the same column out.
//!
//! Holds mathematics, `round` and `clamp*`, calendar functions, and what reads one native histogram.
//! It knows no label. Invariant: functions of floats drop histograms without a word and the other way
//! round; a step without a sample stays one. Read next: `native` for what is read of a histogram.

#[cfg(test)]
mod tests;

use std::f64::consts::PI;

use super::{Param, math, native};
use crate::civil::{Civil, days_in_month};
use crate::{Column, Steps};

/// Which labels of the input are gone from the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drops {
    /// `__name__`, `__type__` and `__unit__`.
    Metadata,
    /// `__name__` alone.
    Name,
}

/// A function of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants carry the functions' own names")]
pub(crate) enum ElementKernel {
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Clamp,
    ClampMax,
    ClampMin,
    Cos,
    Cosh,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Deg,
    Exp,
    Floor,
    HistogramAvg,
    HistogramCount,
    HistogramStddev,
    HistogramStdvar,
    HistogramSum,
    Hour,
    Ln,
    Log10,
    Log2,
    Minute,
    Month,
    Rad,
    Round,
    Sgn,
    Sin,
    Sinh,
    Sqrt,
    Tan,
    Tanh,
    /// The evaluation time of each sample: `timestamp()` of anything but a plain selector.
    Timestamp,
    Year,
}

use ElementKernel as K;

/// Every kernel by the name of its function.
static NAMES: [(&str, ElementKernel); 41] = [
    ("abs", K::Abs),
    ("acos", K::Acos),
    ("acosh", K::Acosh),
    ("asin", K::Asin),
    ("asinh", K::Asinh),
    ("atan", K::Atan),
    ("atanh", K::Atanh),
    ("ceil", K::Ceil),
    ("clamp", K::Clamp),
    ("clamp_max", K::ClampMax),
    ("clamp_min", K::ClampMin),
    ("cos", K::Cos),
    ("cosh", K::Cosh),
    ("day_of_month", K::DayOfMonth),
    ("day_of_week", K::DayOfWeek),
    ("day_of_year", K::DayOfYear),
    ("days_in_month", K::DaysInMonth),
    ("deg", K::Deg),
    ("exp", K::Exp),
    ("floor", K::Floor),
    ("histogram_avg", K::HistogramAvg),
    ("histogram_count", K::HistogramCount),
    ("histogram_stddev", K::HistogramStddev),
    ("histogram_stdvar", K::HistogramStdvar),
    ("histogram_sum", K::HistogramSum),
    ("hour", K::Hour),
    ("ln", K::Ln),
    ("log10", K::Log10),
    ("log2", K::Log2),
    ("minute", K::Minute),
    ("month", K::Month),
    ("rad", K::Rad),
    ("round", K::Round),
    ("sgn", K::Sgn),
    ("sin", K::Sin),
    ("sinh", K::Sinh),
    ("sqrt", K::Sqrt),
    ("tan", K::Tan),
    ("tanh", K::Tanh),
    ("timestamp", K::Timestamp),
    ("year", K::Year),
];

impl ElementKernel {
    /// The kernel of a function, if it is one of single samples.
    pub(crate) fn of(function: &str) -> Option<Self> {
        NAMES.binary_search_by(|(name, _)| (*name).cmp(function)).ok().map(|i| NAMES[i].1)
    }

    /// What the result's labels lack.
    pub(crate) fn drops(self) -> Drops {
        match self {
            K::HistogramAvg
            | K::HistogramCount
            | K::HistogramStddev
            | K::HistogramStdvar
            | K::HistogramSum => Drops::Name,
            _ => Drops::Metadata,
        }
    }

    /// Evaluates every step in place. `params` are the scalar arguments that were written.
    pub(crate) fn eval(self, steps: Steps, params: &[Param], column: &mut Column) {
        match self {
            K::Abs => floats(column, f64::abs),
            K::Acos => floats(column, math::acos),
            K::Acosh => floats(column, math::acosh),
            K::Asin => floats(column, math::asin),
            K::Asinh => floats(column, math::asinh),
            K::Atan => floats(column, math::atan),
            K::Atanh => floats(column, math::atanh),
            K::Ceil => floats(column, f64::ceil),
            K::Clamp => clamp(column, Some(&params[0]), Some(&params[1])),
            K::ClampMax => clamp(column, None, Some(&params[0])),
            K::ClampMin => clamp(column, Some(&params[0]), None),
            K::Cos => floats(column, math::cos),
            K::Cosh => floats(column, math::cosh),
            K::DayOfMonth => floats(column, |v| f64::from(date(v).day)),
            K::DayOfWeek => floats(column, |v| f64::from(date(v).weekday)),
            K::DayOfYear => floats(column, |v| f64::from(date(v).day_of_year)),
            K::DaysInMonth => floats(column, |v| f64::from(days_in_month(date(v).year, date(v).month))),
            K::Deg => floats(column, |v| v * 180.0 / PI),
            K::Exp => floats(column, math::exp),
            K::Floor => floats(column, f64::floor),
            K::HistogramAvg => histograms(column, |h| h.sum / h.count),
            K::HistogramCount => histograms(column, |h| h.count),
            K::HistogramStddev => histograms(column, |h| native::variance(h).sqrt()),
            K::HistogramStdvar => histograms(column, native::variance),
            K::HistogramSum => histograms(column, |h| h.sum),
            K::Hour => floats(column, |v| f64::from(date(v).hour)),
            K::Ln => floats(column, math::ln),
            K::Log10 => floats(column, math::log10),
            K::Log2 => floats(column, math::log2),
            K::Minute => floats(column, |v| f64::from(date(v).minute)),
            K::Month => floats(column, |v| f64::from(date(v).month)),
            K::Rad => floats(column, |v| v * PI / 180.0),
            K::Round => round(column, params.first()),
            K::Sgn => floats(column, |v| match v {
                v if v < 0.0 => -1.0,
                v if v > 0.0 => 1.0,
                other => other,
            }),
            K::Sin => floats(column, math::sin),
            K::Sinh => floats(column, math::sinh),
            K::Sqrt => floats(column, f64::sqrt),
            K::Tan => floats(column, math::tan),
            K::Tanh => floats(column, math::tanh),
            K::Timestamp => {
                column.hists.clear();
                each(column, |step, _| steps.at(step) as f64 / 1000.0);
            }
            K::Year => floats(column, |v| date(v).year as f64),
        }
    }
}

/// Removes the histograms of a column.
fn drop_histograms(column: &mut Column) {
    for at in column.hists.drain(..) {
        column.present[at.index as usize / 64] &= !(1 << (at.index % 64));
    }
}

/// Replaces the value of every present step, none of which may hold a histogram.
fn each(column: &mut Column, f: impl Fn(usize, f64) -> f64) {
    for (at, word) in column.present.iter().enumerate() {
        let mut left = *word;
        if left == u64::MAX {
            for (i, v) in column.values[at * 64..at * 64 + 64].iter_mut().enumerate() {
                *v = f(at * 64 + i, *v);
            }
            continue;
        }
        while left != 0 {
            let step = at * 64 + left.trailing_zeros() as usize;
            left &= left - 1;
            column.values[step] = f(step, column.values[step]);
        }
    }
}

fn floats(column: &mut Column, f: impl Fn(f64) -> f64) {
    drop_histograms(column);
    each(column, |_, v| f(v));
}

fn histograms(column: &mut Column, f: impl Fn(&model::FloatHistogram) -> f64) {
    column.present.fill(0);
    for at in std::mem::take(&mut column.hists) {
        column.set(at.index as usize, f(&at.histogram));
    }
}

/// To the nearest multiple, halves up. Multiplying by the inverse loses less than dividing.
fn round(column: &mut Column, to_nearest: Option<&Param>) {
    drop_histograms(column);
    let nearest = |v: f64, inverse: f64| (v * inverse + 0.5).floor() / inverse;
    match to_nearest {
        None => each(column, |_, v| nearest(v, 1.0)),
        Some(Param::Const(to)) => {
            let inverse = 1.0 / to;
            each(column, |_, v| nearest(v, inverse));
        }
        Some(to) => each(column, |step, v| nearest(v, 1.0 / to.at(step))),
    }
}

/// Within bounds; a step whose bounds are the wrong way round has no result.
fn clamp(column: &mut Column, lower: Option<&Param>, upper: Option<&Param>) {
    drop_histograms(column);
    let bounds = |step: usize| {
        let lower = lower.map_or(f64::NEG_INFINITY, |p| p.at(step));
        let upper = upper.map_or(f64::INFINITY, |p| p.at(step));
        (lower, upper)
    };
    for step in 0..column.len() {
        let (lower, upper) = bounds(step);
        if upper < lower {
            column.present[step / 64] &= !(1 << (step % 64));
        }
    }
    each(column, |step, v| {
        let (lower, upper) = bounds(step);
        math::max(lower, math::min(upper, v))
    });
}

/// The date of a number of seconds. What does not fit 64 bits is the moment that Go's conversion makes
/// of it.
fn date(seconds: f64) -> Civil {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&seconds) {
        return Civil::from_unix(seconds as i64);
    }
    Civil {
        year: 292_277_026_596,
        month: 12,
        day: 4,
        day_of_year: 339,
        weekday: 0,
        hour: 15,
        minute: 30,
        second: 8,
    }
}
