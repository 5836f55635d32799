//! Exponentials and powers.
//!
//! Holds `e^x` (a Taylor series of a sixteenth of the argument, with fused steps, as Go has it on
//! amd64), `2^x` (msun's rational form) and `x^y` (by squaring). It knows no logarithm but through
//! `log`. Invariant: overflow gives an infinity and underflow zero, never an error.

use super::log::ln;
use super::{scale, split};

const LOG2_E: f64 = std::f64::consts::LOG2_E;
/// ln 2 in two parts, the first with zeros at its end.
const LN2_UPPER: f64 = 0.693_147_180_559_662_956_511_601_805_686_950_683_593_75;
const LN2_LOWER: f64 = 0.282_352_905_630_315_771_225_884_481_750_134_360_255_254_120_68e-12;

/// 1/9! down to 1/2!, 1: what the series needs beyond its first terms.
const TAYLOR: [f64; 8] = [
    2.480_158_730_158_730_158_7e-5,
    1.984_126_984_126_984_127_0e-4,
    1.388_888_888_888_888_888_9e-3,
    8.333_333_333_333_333_333_3e-3,
    4.166_666_666_666_666_666_7e-2,
    1.666_666_666_666_666_666_7e-1,
    0.5,
    1.0,
];

/// `e^x`
pub fn exp(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x > 7.097_827_128_933_84e+02 {
        return f64::INFINITY;
    }
    if x < -1e9 {
        return 0.0;
    }
    let k = (LOG2_E * x).round_ties_even();
    let r = (-LN2_UPPER).mul_add(k, x);
    let r = (-LN2_LOWER).mul_add(k, r) * 0.0625;
    let series = TAYLOR[1..].iter().fold(TAYLOR[0], |sum, term| r.mul_add(sum, *term));
    // (1 + y)^2 - 1 = y * (y + 2), four times: back from a sixteenth.
    let mut y = r * series;
    for _ in 0..3 {
        y *= y + 2.0;
    }
    let y = (y + 2.0).mul_add(y, 1.0);
    let biased = k as i64 + 1023;
    let power = |biased: i64| f64::from_bits((biased as u64) << 52);
    if biased > 0 {
        return if biased >= 0x7ff { f64::INFINITY } else { y * power(biased) };
    }
    if biased < -52 { 0.0 } else { y * power(biased + 1022) * power(1) }
}

/// `2^x`
pub fn exp2(x: f64) -> f64 {
    const LN2_HI: f64 = 6.931_471_803_691_238_164_90e-01;
    const LN2_LO: f64 = 1.908_214_929_270_587_700_02e-10;
    if x.is_nan() {
        return x;
    }
    if x > 1.023_999_999_999_999_9e+03 {
        return f64::INFINITY;
    }
    if x < -1.0740e+03 {
        return 0.0;
    }
    let k = if x > 0.0 { (x + 0.5) as i64 } else { (x - 0.5) as i64 };
    let t = x - k as f64;
    rational(t * LN2_HI, -t * LN2_LO, k)
}

/// `e^(hi - lo) * 2^k` for a small difference.
fn rational(hi: f64, lo: f64, k: i64) -> f64 {
    const P: [f64; 5] = [
        1.666_666_666_666_666_574_15e-01,
        -2.777_777_777_701_559_338_42e-03,
        6.613_756_321_437_934_361_17e-05,
        -1.653_390_220_546_525_153_90e-06,
        4.138_136_797_057_238_460_39e-08,
    ];
    let r = hi - lo;
    let t = r * r;
    let c = r - t * (P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * P[4]))));
    let y = 1.0 - ((lo - (r * c) / (2.0 - c)) - hi);
    scale(y, k)
}

fn is_odd(x: f64) -> bool {
    x.abs() < 9_007_199_254_740_992.0 && x.trunc() == x && x as i64 & 1 == 1
}

/// `x^y`
pub fn pow(x: f64, y: f64) -> f64 {
    if y == 0.0 || x == 1.0 {
        return 1.0;
    }
    if y == 1.0 {
        return x;
    }
    if x.is_nan() || y.is_nan() {
        return f64::NAN;
    }
    if x == 0.0 {
        let odd = x.is_sign_negative() && is_odd(y);
        return match (y < 0.0, odd) {
            (true, true) => f64::NEG_INFINITY,
            (true, false) => f64::INFINITY,
            (false, true) => x,
            (false, false) => 0.0,
        };
    }
    let huge = |rises: bool| match () {
        () if x == -1.0 => 1.0,
        () if (x.abs() < 1.0) == rises => 0.0,
        () => f64::INFINITY,
    };
    if y.is_infinite() {
        return huge(y > 0.0);
    }
    if x == f64::NEG_INFINITY {
        return pow(-0.0, -y);
    }
    if x == f64::INFINITY {
        return if y < 0.0 { 0.0 } else { x };
    }
    if y == 0.5 {
        return x.sqrt();
    }
    if y == -0.5 {
        return 1.0 / x.sqrt();
    }
    let (mut whole, mut part) = (y.abs().trunc(), y.abs().fract());
    if part != 0.0 && x < 0.0 {
        return f64::NAN;
    }
    if whole >= 9_223_372_036_854_775_808.0 {
        return huge(y > 0.0);
    }
    let (mut result, mut exponent) = (1.0, 0i64);
    if part != 0.0 {
        if part > 0.5 {
            part -= 1.0;
            whole += 1.0;
        }
        result = exp(part * ln(x));
    }
    let (mut base, base_exponent) = split(x);
    let mut base_exponent = i64::from(base_exponent);
    let mut left = whole as i64;
    while left != 0 {
        if !(-4096..=4096).contains(&base_exponent) {
            // Over- or underflows for sure: the exponent alone decides.
            exponent += base_exponent;
            break;
        }
        if left & 1 == 1 {
            result *= base;
            exponent += base_exponent;
        }
        base *= base;
        base_exponent <<= 1;
        if base < 0.5 {
            base += base;
            base_exponent -= 1;
        }
        left >>= 1;
    }
    if y < 0.0 {
        result = 1.0 / result;
        exponent = -exponent;
    }
    scale(result, exponent)
}
