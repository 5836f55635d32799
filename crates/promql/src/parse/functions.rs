//! The functions of the language: names, argument types, results.
//!
//! Holds the one table that the parser's type check and the engine share. It knows no evaluation.
//! Invariant: names are unique and sorted, so that [`lookup`] is a binary search.
//! Reference: Prometheus `promql/parser/functions.go`; `xdelta`, `xincrease` and `xrate` are Thanos'.

use super::ast::ValueType;
use ValueType::{Matrix, Scalar, String, Vector};
use Variadic::{Any, Exact, UpTo};

/// How many arguments a function takes beyond its table of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variadic {
    /// As many as there are types.
    Exact,
    /// The last type may be left out or repeated, so that there are at most `types - 1 + n`.
    UpTo(usize),
    /// The last type may be left out or repeated any number of times.
    Any,
}

/// Who may call a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Everyone.
    Stable,
    /// Parsers with experimental functions enabled.
    Experimental,
    /// Parsers with Thanos' extended functions enabled; unknown to others.
    Extended,
}

/// A function's signature.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// The name, in lower case.
    pub name: &'static str,
    /// Types of the arguments.
    pub args: &'static [ValueType],
    /// Whether there may be fewer or more.
    pub variadic: Variadic,
    /// Type of the result.
    pub returns: ValueType,
    /// Who may call it.
    pub gate: Gate,
}

impl Function {
    /// The fewest arguments a call may have.
    pub fn min_args(&self) -> usize {
        match self.variadic {
            Variadic::Exact => self.args.len(),
            Variadic::UpTo(_) | Variadic::Any => self.args.len().saturating_sub(1),
        }
    }

    /// The most arguments a call may have; `None` when there is no bound.
    pub fn max_args(&self) -> Option<usize> {
        match self.variadic {
            Variadic::Exact => Some(self.args.len()),
            Variadic::UpTo(n) => Some(self.args.len().saturating_sub(1) + n),
            Variadic::Any => None,
        }
    }
}

const fn plain(
    name: &'static str,
    args: &'static [ValueType],
    variadic: Variadic,
    returns: ValueType,
) -> Function {
    Function { name, args, variadic, returns, gate: Gate::Stable }
}

const fn gated(
    name: &'static str,
    args: &'static [ValueType],
    variadic: Variadic,
    returns: ValueType,
) -> Function {
    Function { name, args, variadic, returns, gate: Gate::Experimental }
}

const fn extended(name: &'static str) -> Function {
    Function { name, args: &[Matrix], variadic: Exact, returns: Vector, gate: Gate::Extended }
}

/// Every function, sorted by name.
pub static FUNCTIONS: &[Function] = &[
    plain("abs", &[Vector], Exact, Vector),
    plain("absent", &[Vector], Exact, Vector),
    plain("absent_over_time", &[Matrix], Exact, Vector),
    plain("acos", &[Vector], Exact, Vector),
    plain("acosh", &[Vector], Exact, Vector),
    plain("asin", &[Vector], Exact, Vector),
    plain("asinh", &[Vector], Exact, Vector),
    plain("atan", &[Vector], Exact, Vector),
    plain("atanh", &[Vector], Exact, Vector),
    plain("avg_over_time", &[Matrix], Exact, Vector),
    plain("ceil", &[Vector], Exact, Vector),
    plain("changes", &[Matrix], Exact, Vector),
    plain("clamp", &[Vector, Scalar, Scalar], Exact, Vector),
    plain("clamp_max", &[Vector, Scalar], Exact, Vector),
    plain("clamp_min", &[Vector, Scalar], Exact, Vector),
    plain("cos", &[Vector], Exact, Vector),
    plain("cosh", &[Vector], Exact, Vector),
    plain("count_over_time", &[Matrix], Exact, Vector),
    plain("day_of_month", &[Vector], UpTo(1), Vector),
    plain("day_of_week", &[Vector], UpTo(1), Vector),
    plain("day_of_year", &[Vector], UpTo(1), Vector),
    plain("days_in_month", &[Vector], UpTo(1), Vector),
    plain("deg", &[Vector], Exact, Vector),
    plain("delta", &[Matrix], Exact, Vector),
    plain("deriv", &[Matrix], Exact, Vector),
    gated("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Exact, Vector),
    gated("end", &[], Exact, Scalar),
    plain("exp", &[Vector], Exact, Vector),
    plain("first_over_time", &[Matrix], Exact, Vector),
    plain("floor", &[Vector], Exact, Vector),
    plain("histogram_avg", &[Vector], Exact, Vector),
    plain("histogram_count", &[Vector], Exact, Vector),
    plain("histogram_fraction", &[Scalar, Scalar, Vector], Exact, Vector),
    plain("histogram_quantile", &[Scalar, Vector], Exact, Vector),
    gated("histogram_quantiles", &[Vector, String, Scalar, Scalar], UpTo(9), Vector),
    plain("histogram_stddev", &[Vector], Exact, Vector),
    plain("histogram_stdvar", &[Vector], Exact, Vector),
    plain("histogram_sum", &[Vector], Exact, Vector),
    plain("hour", &[Vector], UpTo(1), Vector),
    plain("idelta", &[Matrix], Exact, Vector),
    plain("increase", &[Matrix], Exact, Vector),
    gated("info", &[Vector, Vector], UpTo(1), Vector),
    plain("irate", &[Matrix], Exact, Vector),
    plain("label_join", &[Vector, String, String, String], Any, Vector),
    plain("label_replace", &[Vector, String, String, String, String], Exact, Vector),
    plain("last_over_time", &[Matrix], Exact, Vector),
    plain("ln", &[Vector], Exact, Vector),
    plain("log10", &[Vector], Exact, Vector),
    plain("log2", &[Vector], Exact, Vector),
    gated("mad_over_time", &[Matrix], Exact, Vector),
    gated("max_of", &[Scalar, Scalar], Exact, Scalar),
    plain("max_over_time", &[Matrix], Exact, Vector),
    gated("min_of", &[Scalar, Scalar], Exact, Scalar),
    plain("min_over_time", &[Matrix], Exact, Vector),
    plain("minute", &[Vector], UpTo(1), Vector),
    plain("month", &[Vector], UpTo(1), Vector),
    plain("pi", &[], Exact, Scalar),
    plain("predict_linear", &[Matrix, Scalar], Exact, Vector),
    plain("present_over_time", &[Matrix], Exact, Vector),
    plain("quantile_over_time", &[Scalar, Matrix], Exact, Vector),
    plain("rad", &[Vector], Exact, Vector),
    gated("range", &[], Exact, Scalar),
    plain("rate", &[Matrix], Exact, Vector),
    plain("resets", &[Matrix], Exact, Vector),
    plain("round", &[Vector, Scalar], UpTo(1), Vector),
    plain("scalar", &[Vector], Exact, Scalar),
    plain("sgn", &[Vector], Exact, Vector),
    plain("sin", &[Vector], Exact, Vector),
    plain("sinh", &[Vector], Exact, Vector),
    plain("sort", &[Vector], Exact, Vector),
    gated("sort_by_label", &[Vector, String], Any, Vector),
    gated("sort_by_label_desc", &[Vector, String], Any, Vector),
    plain("sort_desc", &[Vector], Exact, Vector),
    plain("sqrt", &[Vector], Exact, Vector),
    gated("start", &[], Exact, Scalar),
    gated("start_timestamp", &[Vector], Exact, Vector),
    plain("stddev_over_time", &[Matrix], Exact, Vector),
    plain("stdvar_over_time", &[Matrix], Exact, Vector),
    gated("step", &[], Exact, Scalar),
    plain("sum_over_time", &[Matrix], Exact, Vector),
    plain("tan", &[Vector], Exact, Vector),
    plain("tanh", &[Vector], Exact, Vector),
    plain("time", &[], Exact, Scalar),
    plain("timestamp", &[Vector], Exact, Vector),
    gated("ts_of_first_over_time", &[Matrix], Exact, Vector),
    gated("ts_of_last_over_time", &[Matrix], Exact, Vector),
    gated("ts_of_max_over_time", &[Matrix], Exact, Vector),
    gated("ts_of_min_over_time", &[Matrix], Exact, Vector),
    plain("vector", &[Scalar], Exact, Vector),
    extended("xdelta"),
    extended("xincrease"),
    extended("xrate"),
    plain("year", &[Vector], UpTo(1), Vector),
];

/// The function called `name`, whatever its gate. Names are case-sensitive.
pub fn lookup(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &FUNCTIONS[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_found() {
        assert!(FUNCTIONS.windows(2).all(|w| w[0].name < w[1].name));
        let f = lookup("histogram_quantiles").unwrap();
        assert_eq!((f.min_args(), f.max_args(), f.gate), (3, Some(12), Gate::Experimental));
        assert_eq!(lookup("Rate"), None);
        assert_eq!(lookup("xrate").unwrap().gate, Gate::Extended);
        assert_eq!(
            (lookup("label_join").unwrap().min_args(), lookup("label_join").unwrap().max_args()),
            (3, None)
        );
    }
}
