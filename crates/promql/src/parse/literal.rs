//! What numbers and durations are worth.
//!
//! Holds Go's rules for number literals and the arithmetic between seconds and nanoseconds. It knows
//! no tokens. Invariant: values and error texts are those of Go's `strconv` and `time`.

use model::gofmt::{parse_float, quote, underscores_separate_digits};

const NANOS_PER_SECOND: f64 = 1e9;

/// Parses a number as Prometheus does: an integer with Go's prefixes and underscores, else a float.
///
/// # Errors
/// The text of Go's `strconv.ParseFloat`.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    if let Some(value) = integer(text) {
        return Ok(value as f64);
    }
    parse_float(text).map_err(|why| format!("strconv.ParseFloat: parsing {}: {why}", quote(text)))
}

/// Go's `strconv.ParseInt(text, 0, 64)` for text without a sign.
fn integer(text: &str) -> Option<i64> {
    if !underscores_separate_digits(text) {
        return None;
    }
    let plain: String = text.chars().filter(|c| *c != '_').collect::<String>().to_ascii_lowercase();
    let (digits, radix) = match plain.as_bytes() {
        [b'0', b'x', ..] => (&plain[2..], 16),
        [b'0', b'o', ..] => (&plain[2..], 8),
        [b'0', b'b', ..] => (&plain[2..], 2),
        [b'0', _, ..] => (&plain[1..], 8),
        _ => (plain.as_str(), 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(digits, radix).ok()
}

/// Nanoseconds as seconds, computed as Go's `Duration.Seconds` does.
pub(super) fn seconds(nanos: i64) -> f64 {
    let whole = nanos / 1_000_000_000;
    let rest = nanos % 1_000_000_000;
    whole as f64 + rest as f64 / NANOS_PER_SECOND
}

/// Seconds as nanoseconds, rounded half away from zero. What does not fit (NaN, the upper bound itself)
/// becomes the smallest integer, as Go's conversion does on amd64.
pub(super) fn nanos(seconds: f64) -> i64 {
    to_i64((seconds * NANOS_PER_SECOND).round())
}

/// Go's `int64(f)` on amd64.
pub(super) fn to_i64(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

/// Whether so many seconds do not fit 64 bits of nanoseconds.
pub(super) fn out_of_range(seconds: f64) -> bool {
    const LIMIT: f64 = 9_223_372_036.854_776;
    !(-LIMIT..=LIMIT).contains(&seconds) && !seconds.is_nan()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_go_numbers() {
        let rows = [
            ("1_000", 1000.0),
            ("1_000.5", 1000.5),
            ("0_8", 8.0),
            ("010", 8.0),
            ("089", 89.0),
            ("0x_1F", 31.0),
            ("1_0e1_0", 1e11),
            (".5", 0.5),
            ("5.", 5.0),
            ("Inf", f64::INFINITY),
            ("18446744073709551616", 18446744073709551616.0),
        ];
        for (text, want) in rows {
            assert_eq!(number(text), Ok(want), "{text}");
        }
        assert!(number("nan").unwrap().is_nan());
        assert_eq!(
            number("0xffffffffffffffff").unwrap_err(),
            "strconv.ParseFloat: parsing \"0xffffffffffffffff\": invalid syntax"
        );
        assert_eq!(number("1e309").unwrap_err(), "strconv.ParseFloat: parsing \"1e309\": value out of range");
        assert!(number("0x").is_err() && number(".").is_err());
    }

    #[test]
    fn durations_convert_exactly() {
        assert_eq!(seconds(1_500_000_000), 1.5);
        assert_eq!(nanos(0.1), 100_000_000);
        assert!(out_of_range(1e10) && !out_of_range(9_223_372_036.0));
    }
}
