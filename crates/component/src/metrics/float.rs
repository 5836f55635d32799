//! Floats as Go prints them.
//!
//! Go's shortest `g` form, which the exposition formats inherit: `0.001`, `1e+06`, `+Inf`. It knows
//! no metric. Invariant: parsing the text gives the same bits back (NaN payloads apart).

use std::fmt::Write as _;

/// The shortest form writes an exponent below 1e-04 and from 1e+06 on.
const EXPONENT_FROM: i32 = 6;

/// Appends `value` in Go's `strconv.FormatFloat(value, 'g', -1, 64)` form.
pub fn push(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if value == 0.0 {
        out.push_str(if value.is_sign_negative() { "-0" } else { "0" });
    } else {
        // Rust's `e` form has the same shortest digits: `-1.5e-7`.
        let start = out.len();
        let _ = write!(out, "{value:e}");
        let at = out[start..].find('e').map_or(out.len(), |i| start + i);
        let exponent: i32 = out[at + 1..].parse().unwrap_or(0);
        if (-4..EXPONENT_FROM).contains(&exponent) {
            out.truncate(start);
            let _ = write!(out, "{value}");
        } else {
            out.truncate(at);
            let sign = if exponent < 0 { '-' } else { '+' };
            let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
        }
    }
}

/// `value` as text: see [`push`].
pub fn show(value: f64) -> String {
    let mut out = String::new();
    push(&mut out, value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_prints() {
        for (value, text) in [
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1_048_576.0, "1.048576e+06"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e9, "1.5e+09"),
            (1.844_674_407_370_955_2e19, "1.8446744073709552e+19"),
            (-0.25, "-0.25"),
            (-2.5e-7, "-2.5e-07"),
            (0.0, "0"),
            (-0.0, "-0"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(show(value), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn reads_back(bits: u64) {
            let value = f64::from_bits(bits);
            let text = show(value);
            let back: f64 = text.replace("Inf", "inf").parse().unwrap();
            proptest::prop_assert!(back.to_bits() == bits || (back.is_nan() && value.is_nan()));
        }
    }
}
