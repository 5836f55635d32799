//! Elementary functions with the roundings that Prometheus' answers have.
//!
//! Holds exponentials, logarithms, trigonometric and hyperbolic functions as Go computes them on
//! amd64: the classic algorithms of Cephes and of FreeBSD's msun with their coefficients, in the same
//! order of operations, since the last digits of an answer show them. It knows no vector. Invariant:
//! every function is total; the recorded values in `tests` are Go's, bit by bit.

#![allow(
    clippy::excessive_precision,
    clippy::approx_constant,
    clippy::inconsistent_digit_grouping,
    reason = "coefficients stand as they were published"
)]

mod exp;
mod hyperbolic;
mod log;
mod reduce;
#[cfg(test)]
mod tests;
mod trig;

pub use exp::{exp, exp2, pow};
pub use hyperbolic::{acosh, asinh, atanh, cosh, sinh, tanh};
pub use log::{ln, log2, log10};
pub use trig::{acos, asin, atan, atan2, cos, sin, tan};

/// The larger of two: infinity wins over NaN, NaN over numbers, and +0 over -0.
#[inline]
pub fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

/// The smaller of two: negative infinity wins over NaN, NaN over numbers, and -0 over +0.
#[inline]
pub fn min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

/// A number as `fraction * 2^exponent` with a fraction from 0.5 to 1; zero, infinities and NaN are
/// their own fraction.
fn split(x: f64) -> (f64, i32) {
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    let (x, shift) = if x.abs() < f64::MIN_POSITIVE { (x * 2f64.powi(52), -52) } else { (x, 0) };
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32 - 1022 + shift;
    (f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52), exponent)
}

/// `x * 2^exponent`, rounded once.
fn scale(x: f64, exponent: i64) -> f64 {
    let (fraction, own) = split(x);
    if fraction == 0.0 || !fraction.is_finite() {
        return x;
    }
    // The fraction is below 1: one less than where the leading digit stands.
    let exponent = exponent + i64::from(own) - 1;
    if exponent < -1075 {
        return 0f64.copysign(x);
    }
    if exponent > 1023 {
        return f64::INFINITY.copysign(x);
    }
    let with = |e: i64| f64::from_bits(fraction.to_bits() & !(0x7ff << 52) | ((e + 1023) as u64) << 52);
    if exponent < -1022 { with(exponent + 53) * 2f64.powi(-53) } else { with(exponent) }
}
