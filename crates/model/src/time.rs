//! Time as Prometheus counts it, and its duration grammar.
//!
//! Holds the millisecond timestamp and the parser and printer that flags, YAML and PromQL share. It
//! never reads a clock. Invariant: parsing refuses overflow instead of wrapping.
//! Reference: `prometheus/common` `model/time.go`.

use std::fmt;

use crate::gofmt::quote;

/// Milliseconds since the Unix epoch, or a length of time in milliseconds.
pub type Millis = i64;

/// Units from the largest to the smallest, in nanoseconds: the order in which they may be written.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3600 * SECOND),
    ("w", 7 * 24 * 3600 * SECOND),
    ("d", 24 * 3600 * SECOND),
    ("h", 3600 * SECOND),
    ("m", 60 * SECOND),
    ("s", SECOND),
    ("ms", 1_000_000),
];

const SECOND: u64 = 1_000_000_000;

/// Why a duration was refused; the text is Prometheus'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing was given.
    #[error("empty duration string")]
    Empty,
    /// Not numbers and units, or units out of order.
    #[error("not a valid duration string: {}", quote(.0))]
    Invalid(String),
    /// An unknown unit.
    #[error("unknown unit {} in duration {}", quote(.unit), quote(.text))]
    Unit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// More than 2^63 - 1 nanoseconds.
    #[error("duration out of range")]
    Range,
}

/// Parses `1h30m`, `5m`, `100ms`, `0` into nanoseconds: a year has 365 days, a week 7; units go from
/// large to small, each at most once; there is no sign and no fraction.
///
/// # Errors
/// [`DurationError`] with Prometheus' text.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(0),
        _ => {}
    }
    let invalid = || DurationError::Invalid(text.to_owned());
    let (mut rest, mut units, mut total) = (text, 0, 0u64);
    while !rest.is_empty() {
        let (number, tail) = split_where(rest, |b| !b.is_ascii_digit());
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let (unit, tail) = split_where(tail, |b| b.is_ascii_digit());
        if unit.is_empty() {
            return Err(invalid());
        }
        let Some(at) = UNITS.iter().position(|u| u.0 == unit) else {
            return Err(DurationError::Unit { unit: unit.to_owned(), text: text.to_owned() });
        };
        if at < units {
            return Err(invalid());
        }
        units = at + 1;
        let nanos = number.checked_mul(UNITS[at].1).ok_or(DurationError::Range)?;
        total = total.checked_add(nanos).ok_or(DurationError::Range)?;
        rest = tail;
    }
    i64::try_from(total).map_err(|_| DurationError::Range)
}

/// As [`parse_duration`], with an optional leading `-`.
///
/// # Errors
/// [`DurationError`]; the text quotes what follows the sign.
pub fn parse_signed_duration(text: &str) -> Result<i64, DurationError> {
    match text.strip_prefix('-') {
        Some(rest) => parse_duration(rest).map(|n| -n),
        None => parse_duration(text),
    }
}

/// Parses a duration into milliseconds, dropping what is finer.
///
/// # Errors
/// As [`parse_duration`].
pub fn parse_duration_millis(text: &str) -> Result<Millis, DurationError> {
    parse_duration(text).map(|n| n / 1_000_000)
}

fn split_where(text: &str, stop: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().position(stop).unwrap_or(text.len()))
}

/// A duration in milliseconds that prints as Prometheus prints it: `1h30m`, `90d`, `2w`, `0s`,
/// `-5m`. Years and weeks appear only where they divide the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationText(pub Millis);

impl DurationText {
    /// From nanoseconds, dropping what is finer than a millisecond.
    pub fn from_nanos(nanos: i64) -> Self {
        DurationText(nanos / 1_000_000)
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.0.unsigned_abs();
        for (unit, nanos) in UNITS {
            let size = nanos / 1_000_000;
            let exact_only = matches!(unit, "y" | "w");
            if rest < size || (exact_only && !rest.is_multiple_of(size)) {
                continue;
            }
            write!(f, "{}{unit}", rest / size)?;
            rest %= size;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_as_prometheus_parses_them() {
        let ok = |s: &str| parse_duration(s).unwrap() / 1_000_000;
        assert_eq!(ok("1h30m"), 5_400_000);
        assert_eq!(ok("1y2w3d4h5m6s7ms"), 33_019_506_007);
        assert_eq!((ok("0"), ok("0s"), ok("500ms"), ok("010s")), (0, 0, 500, 10_000));
        let bad = |s: &str| parse_duration(s).unwrap_err().to_string();
        assert_eq!(bad(""), "empty duration string");
        assert_eq!(bad("5"), "not a valid duration string: \"5\"");
        assert_eq!(bad("1m1d"), "not a valid duration string: \"1m1d\"");
        assert_eq!(bad("1m1m"), "not a valid duration string: \"1m1m\"");
        assert_eq!(bad("-1m"), "not a valid duration string: \"-1m\"");
        assert_eq!(bad("1.5h"), "unknown unit \".\" in duration \"1.5h\"");
        assert_eq!(bad("5ys"), "unknown unit \"ys\" in duration \"5ys\"");
        assert_eq!(bad("293y"), "duration out of range");
        assert_eq!(bad("99999999999999999999s"), "not a valid duration string: \"99999999999999999999s\"");
        assert_eq!(parse_signed_duration("-1m"), Ok(-60_000_000_000));
    }

    #[test]
    fn durations_print_as_prometheus_prints_them() {
        let shown = |ms| DurationText(ms).to_string();
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(5_400_000), "1h30m");
        assert_eq!(shown(90 * 86_400_000), "90d");
        assert_eq!(shown(14 * 86_400_000), "2w");
        assert_eq!(shown(365 * 86_400_000), "1y");
        assert_eq!(shown(366 * 86_400_000), "366d");
        assert_eq!(shown(-61_001), "-1m1s1ms");
        assert_eq!(shown(i64::MIN), "-106751991167d7h12m55s808ms");
    }
}
