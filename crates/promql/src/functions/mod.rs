//! The functions of the language, as kernels over one series at a time.
//!
//! Holds what a call computes once its arguments are there: `range` over samples, `element` over a
//! column, `classic` over the buckets of a histogram, `labels`, `order`, `absent` and `info` over
//! label sets. It knows no plan, no storage and no thread. Invariant: results equal those of
//! Prometheus 3.14 by bits, so sums are taken in its order (only `^`, exponentials, logarithms and
//! trigonometry may differ in the last places). Read `range` first.

pub(crate) mod absent;
pub(crate) mod classic;
pub(crate) mod element;
pub(crate) mod info;
pub(crate) mod labels;
pub(crate) mod native;
pub(crate) mod order;
pub(crate) mod quantile;
pub(crate) mod range;

pub(crate) use model::math;

/// A scalar argument over the steps of an evaluation.
#[derive(Clone, Debug)]
pub(crate) enum Param {
    /// The same at every step.
    Const(f64),
    /// One value a step.
    PerStep(Vec<f64>),
}

impl Param {
    /// The value at step `i`.
    #[inline]
    pub(crate) fn at(&self, i: usize) -> f64 {
        match self {
            Param::Const(v) => *v,
            Param::PerStep(values) => values[i],
        }
    }
}
