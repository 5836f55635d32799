//! Sine, cosine, tangent and their inverses.
//!
//! Holds Cephes' polynomials. It knows no series of its own. Invariant: infinities give NaN where the
//! function has no limit, and the sign of zero is kept by odd functions.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

use super::reduce::octant;

const SIN: [f64; 6] = [
    1.589_623_015_765_465_680_60e-10,
    -2.505_074_776_285_780_728_66e-8,
    2.755_731_362_138_572_452_13e-6,
    -1.984_126_982_958_953_859_96e-4,
    8.333_333_333_322_118_588_78e-3,
    -1.666_666_666_666_663_072_95e-1,
];
const COS: [f64; 6] = [
    -1.135_853_652_138_768_173_00e-11,
    2.087_570_084_197_473_167_78e-9,
    -2.755_731_417_929_673_881_12e-7,
    2.480_158_728_885_170_453_48e-5,
    -1.388_888_888_887_305_641_16e-3,
    4.166_666_666_666_659_292_18e-2,
];

/// A polynomial, highest coefficient first.
fn horner(x: f64, coefficients: &[f64]) -> f64 {
    coefficients[1..].iter().fold(coefficients[0], |sum, c| sum * x + c)
}

/// Sine near zero.
fn near_sin(z: f64) -> f64 {
    let zz = z * z;
    z + z * zz * horner(zz, &SIN)
}

/// Cosine near zero.
fn near_cos(z: f64) -> f64 {
    let zz = z * z;
    1.0 - 0.5 * zz + zz * zz * horner(zz, &COS)
}

fn signed(negative: bool, y: f64) -> f64 {
    if negative { -y } else { y }
}

/// The cosine.
pub fn cos(x: f64) -> f64 {
    if !x.is_finite() {
        return f64::NAN;
    }
    let (j, z) = octant(x.abs());
    // Quarters: +cos, -sin, -cos, +sin.
    signed(j == 2 || j == 4, if j & 2 == 2 { near_sin(z) } else { near_cos(z) })
}

/// The sine.
pub fn sin(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::NAN;
    }
    let (j, z) = octant(x.abs());
    let y = if j & 2 == 2 { near_cos(z) } else { near_sin(z) };
    signed((x < 0.0) != (j > 3), y)
}

/// The tangent.
pub fn tan(x: f64) -> f64 {
    const P: [f64; 3] =
        [-1.309_369_391_813_837_776_46e4, 1.153_516_648_385_874_161_40e6, -1.795_652_519_764_848_779_88e7];
    const Q: [f64; 5] = [
        1.0,
        1.368_129_634_706_929_546_78e4,
        -1.320_892_344_402_109_674_47e6,
        2.500_838_018_233_579_158_39e7,
        -5.386_957_559_294_546_298_81e7,
    ];
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::NAN;
    }
    let (j, z) = octant(x.abs());
    let zz = z * z;
    let mut y = z;
    if zz > 1e-14 {
        y = z + z * (zz * horner(zz, &P) / horner(zz, &Q));
    }
    if j & 2 == 2 {
        y = -1.0 / y;
    }
    signed(x < 0.0, y)
}

/// The arc tangent of 0 to 0.66.
fn small_atan(x: f64) -> f64 {
    const P: [f64; 5] = [
        -8.750_608_600_031_904_122_785e-01,
        -1.615_753_718_733_365_076_637e+01,
        -7.500_855_792_314_704_667_340e+01,
        -1.228_866_684_490_136_173_410e+02,
        -6.485_021_904_942_025_371_773e+01,
    ];
    const Q: [f64; 6] = [
        1.0,
        2.485_846_490_142_306_297_962e+01,
        1.650_270_098_316_988_542_046e+02,
        4.328_810_604_912_902_668_951e+02,
        4.853_903_996_359_136_964_868e+02,
        1.945_506_571_482_613_964_425e+02,
    ];
    let z = x * x;
    let z = z * horner(z, &P) / horner(z, &Q);
    x * z + x
}

/// The arc tangent of a non-negative number.
fn positive_atan(x: f64) -> f64 {
    /// What pi/2 lacks as a float.
    const MORE: f64 = 6.123_233_995_736_765_886_130e-17;
    const TAN_3_PI_8: f64 = 2.414_213_562_373_095_048_80;
    if x <= 0.66 {
        small_atan(x)
    } else if x > TAN_3_PI_8 {
        FRAC_PI_2 - small_atan(1.0 / x) + MORE
    } else {
        FRAC_PI_4 + small_atan((x - 1.0) / (x + 1.0)) + 0.5 * MORE
    }
}

/// The arc tangent.
pub fn atan(x: f64) -> f64 {
    if x == 0.0 {
        x
    } else if x > 0.0 {
        positive_atan(x)
    } else {
        -positive_atan(-x)
    }
}

/// The angle of the point `(x, y)`.
pub fn atan2(y: f64, x: f64) -> f64 {
    if y.is_nan() || x.is_nan() {
        return f64::NAN;
    }
    let angle = if y == 0.0 {
        if x.is_sign_positive() { 0.0 } else { PI }
    } else if x == 0.0 {
        FRAC_PI_2
    } else if x.is_infinite() {
        match (x > 0.0, y.is_infinite()) {
            (true, true) => FRAC_PI_4,
            (true, false) => 0.0,
            (false, true) => 3.0 * PI / 4.0,
            (false, false) => PI,
        }
    } else if y.is_infinite() {
        FRAC_PI_2
    } else {
        let q = atan(y / x);
        return match (x < 0.0, q <= 0.0) {
            (false, _) => q,
            (true, true) => q + PI,
            (true, false) => q - PI,
        };
    };
    angle.copysign(y)
}

/// The arc sine.
pub fn asin(x: f64) -> f64 {
    if x == 0.0 {
        return x;
    }
    let size = if x < 0.0 { -x } else { x };
    if size > 1.0 {
        return f64::NAN;
    }
    let other = (1.0 - size * size).sqrt();
    let y = if size > 0.7 { FRAC_PI_2 - positive_atan(other / size) } else { positive_atan(size / other) };
    signed(x < 0.0, y)
}

/// The arc cosine.
pub fn acos(x: f64) -> f64 {
    FRAC_PI_2 - asin(x)
}
