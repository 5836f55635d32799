//! Reduction of angles to an eighth of a turn.
//!
//! Holds Cody and Waite's reduction for moderate angles and Payne and Hanek's for huge ones. It knows
//! no sine. Invariant: the octant returned is even, so that the rest lies around zero.

use std::f64::consts::FRAC_PI_4;

/// 4/pi in binary, 64 digits a word; the first word is the whole part.
const FOUR_BY_PI: [u64; 20] = [
    0x0000_0000_0000_0001,
    0x45f3_06dc_9c88_2a53,
    0xf84e_afa3_ea69_bb81,
    0xb6c5_2b32_7887_2083,
    0xfca2_c757_bd77_8ac3,
    0x6e48_dc74_849b_a5c0,
    0x0c92_5dd4_13a3_2439,
    0xfc3b_d639_6253_4e7d,
    0xd104_6bea_5d76_8909,
    0xd338_e04d_68be_fc82,
    0x7323_ac73_06a6_73e9,
    0x3908_bf17_7bf2_5076,
    0x3ff1_2fff_bc0b_301f,
    0xde5e_2316_b414_da3e,
    0xda6c_fd9e_4f96_136e,
    0x9e8c_7ecd_3cbf_d45a,
    0xea4f_758f_d7cb_e2f6,
    0x7a0e_73ef_14a5_25d4,
    0xd7f6_bf62_3f1a_ba10,
    0xac06_608d_f8f6_d757,
];

/// The octant (0, 2, 4 or 6) and what is left of a finite, non-negative angle.
pub(super) fn octant(x: f64) -> (u64, f64) {
    if x >= 536_870_912.0 {
        return huge(x);
    }
    // pi/4 in three parts.
    const A: f64 = 7.853_981_256_484_985_351_56e-1;
    const B: f64 = 3.774_894_707_930_798_176_68e-8;
    const C: f64 = 2.695_151_429_079_059_526_45e-15;
    let mut j = (x * (4.0 / std::f64::consts::PI)) as u64;
    j += j & 1;
    let y = j as f64;
    (j & 7, ((x - y * A) - y * B) - y * C)
}

fn huge(x: f64) -> (u64, f64) {
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i64 - 1023 - 52;
    let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
    let (word, shift) = ((exponent + 61) as usize / 64, (exponent + 61) as u32 % 64);
    let digits = |at: usize| {
        let tail = if shift == 0 { 0 } else { FOUR_BY_PI[at + 1] >> (64 - shift) };
        FOUR_BY_PI[at] << shift | tail
    };
    let wide = |digits: u64| u128::from(digits) * u128::from(mantissa);
    let top = u128::from(digits(word).wrapping_mul(mantissa)) << 64;
    let product = top.wrapping_add(wide(digits(word + 1))).wrapping_add(wide(digits(word + 2)) >> 64);
    let j = (product >> 125) as u64;
    let fraction = product << 3;
    // As a float in [0, 1), cut to 53 digits and not rounded.
    let zeros = (fraction >> 64).leading_zeros() - 64;
    let kept = (fraction << (zeros + 1) >> 76) as u64;
    let z = f64::from_bits(u64::from(1023 - (zeros + 1)) << 52 | kept);
    if j & 1 == 1 { ((j + 1) & 7, (z - 1.0) * FRAC_PI_4) } else { (j, z * FRAC_PI_4) }
}
