//! Logarithms.
//!
//! Holds the natural logarithm by msun's polynomial and what is derived from it. It knows no
//! exponential. Invariant: negative numbers give NaN, zero negative infinity.

use super::split;

pub(super) const LN2_HI: f64 = 6.931_471_803_691_238_164_90e-01;
pub(super) const LN2_LO: f64 = 1.908_214_929_270_587_700_02e-10;
const L: [f64; 7] = [
    6.666_666_666_666_735_130e-01,
    3.999_999_999_940_941_908e-01,
    2.857_142_874_366_239_149e-01,
    2.222_219_843_214_978_396e-01,
    1.818_357_216_161_805_012e-01,
    1.531_383_769_920_937_332e-01,
    1.479_819_860_511_658_591e-01,
];

/// The natural logarithm.
pub fn ln(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x < 0.0 {
        return f64::NAN;
    }
    // Subnormal numbers are not normalised, as on amd64.
    let bits = x.to_bits();
    let mut f = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 0.5f64.to_bits());
    let mut k = ((bits >> 52 & 0x7ff) as i32 - 0x3fe) as f64;
    if f <= std::f64::consts::FRAC_1_SQRT_2 {
        k -= 1.0;
        f *= 2.0;
    }
    let f = f - 1.0;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let odd = s2 * (L[0] + s4 * (L[2] + s4 * (L[4] + s4 * L[6])));
    let even = s4 * (L[1] + s4 * (L[3] + s4 * L[5]));
    let r = odd + even;
    let half = 0.5 * f * f;
    k * LN2_HI - ((half - (s * (half + r) + k * LN2_LO)) - f)
}

/// The decimal logarithm.
pub fn log10(x: f64) -> f64 {
    ln(x) * std::f64::consts::LOG10_E
}

/// The binary logarithm; exact for powers of two.
pub fn log2(x: f64) -> f64 {
    let (fraction, exponent) = split(x);
    if fraction == 0.5 {
        return f64::from(exponent - 1);
    }
    ln(fraction) * std::f64::consts::LOG2_E + f64::from(exponent)
}

/// `ln(1 + x)` without loss for small `x`.
pub(super) fn ln_1p(x: f64) -> f64 {
    const SQRT2_M1: f64 = 4.142_135_623_730_950_488_017e-01;
    const SQRT2_HALF_M1: f64 = -2.928_932_188_134_524_755_992e-01;
    if x < -1.0 || x.is_nan() {
        return f64::NAN;
    }
    if x == -1.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY {
        return x;
    }
    let size = x.abs();
    if size < 2f64.powi(-54) {
        return x;
    }
    if size < 2f64.powi(-29) {
        return x - x * x * 0.5;
    }
    let (mut f, mut k, mut c, mut low) = (x, 0i64, 0.0, 1u64);
    if !(size < SQRT2_M1 && x > SQRT2_HALF_M1) {
        let large = size >= 9_007_199_254_740_992.0;
        let u = if large { x } else { 1.0 + x };
        k = (u.to_bits() >> 52) as i64 - 1023;
        if !large {
            c = if k > 0 { 1.0 - (u - x) } else { x - (u - 1.0) } / u;
        }
        low = u.to_bits() & 0x000f_ffff_ffff_ffff;
        let u = if low < 0x0006_a09e_667f_3bcd {
            f64::from_bits(low | 0x3ff0_0000_0000_0000)
        } else {
            k += 1;
            let u = f64::from_bits(low | 0x3fe0_0000_0000_0000);
            low = (0x0010_0000_0000_0000 - low) >> 2;
            u
        };
        f = u - 1.0;
    }
    let half = 0.5 * f * f;
    let k = k as f64;
    if low == 0 {
        if f == 0.0 {
            return if k == 0.0 { 0.0 } else { k * LN2_HI + (c + k * LN2_LO) };
        }
        let r = half * (1.0 - 0.666_666_666_666_666_66 * f);
        return if k == 0.0 { f - r } else { k * LN2_HI - ((r - (k * LN2_LO + c)) - f) };
    }
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * (L[0] + z * (L[1] + z * (L[2] + z * (L[3] + z * (L[4] + z * (L[5] + z * L[6]))))));
    if k == 0.0 {
        return f - (half - s * (half + r));
    }
    k * LN2_HI - ((half - (s * (half + r) + (k * LN2_LO + c))) - f)
}
