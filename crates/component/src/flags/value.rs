//! The syntaxes of flag values, and how values are shown back.
//!
//! Pure text to number and back; it knows no flag. Messages are upstream's, because scripts and
//! people search for them. Invariant: no input panics or wraps; too large is an error.
//! Durations: Go's `time.ParseDuration` with days and weeks, and Prometheus' `model.ParseDuration`;
//! sizes: `units.ParseBase2Bytes`.

use std::fmt::Write as _;

use model::Millis;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const NANOS: i64 = 1;
const MICROS: i64 = 1_000 * NANOS;
const MILLIS: i64 = 1_000 * MICROS;
const SECOND: i64 = 1_000 * MILLIS;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// Splits the leading `[0-9]*` off `s`; `None` on overflow of i64.
fn leading_int(s: &str) -> Option<(i64, &str)> {
    let end = s.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(s.len());
    let (digits, rest) = s.split_at(end);
    let mut n: i64 = 0;
    for b in digits.bytes() {
        n = n.checked_mul(10)?.checked_add(i64::from(b - b'0'))?;
    }
    Some((n, rest))
}

/// Splits the leading fraction digits off `s`: their value, their scale, and the rest. Digits past
/// what an i64 holds do not count.
fn leading_fraction(s: &str) -> (i64, f64, &str) {
    let end = s.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(s.len());
    let (digits, rest) = s.split_at(end);
    let (mut n, mut scale, mut full) = (0i64, 1.0f64, false);
    for b in digits.bytes() {
        match n.checked_mul(10).and_then(|n| n.checked_add(i64::from(b - b'0'))) {
            Some(next) if !full => {
                n = next;
                scale *= 10.0;
            }
            _ => full = true,
        }
    }
    (n, scale, rest)
}

/// Parses a Go-style duration with `d` and `w` to nanoseconds.
///
/// # Errors
/// Go's message: invalid, missing or unknown unit.
pub fn go_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut s) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if s == "0" {
        return Ok(0);
    }
    if s.is_empty() {
        return Err(invalid());
    }
    let mut total: i64 = 0;
    while !s.is_empty() {
        if !(s.starts_with('.') || s.starts_with(|c: char| c.is_ascii_digit())) {
            return Err(invalid());
        }
        let (whole, rest) = leading_int(s).ok_or_else(invalid)?;
        let had_whole = rest.len() != s.len();
        s = rest;
        let (mut fraction, mut scale, mut had_fraction) = (0, 1.0, false);
        if let Some(rest) = s.strip_prefix('.') {
            let (f, by, after) = leading_fraction(rest);
            (fraction, scale, had_fraction) = (f, by, after.len() != rest.len());
            s = after;
        }
        if !had_whole && !had_fraction {
            return Err(invalid());
        }
        let end = s.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(s.len());
        if end == 0 {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let unit = match &s[..end] {
            "ns" => NANOS,
            "us" | "µs" | "μs" => MICROS,
            "ms" => MILLIS,
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            "w" => WEEK,
            other => return Err(format!("time: unknown unit {other:?} in duration {text:?}")),
        };
        s = &s[end..];
        let mut part = whole.checked_mul(unit).ok_or_else(invalid)?;
        if fraction > 0 {
            // At most `unit`, so the conversion is exact enough and cannot overflow.
            part = part.checked_add((fraction as f64 * (unit as f64 / scale)) as i64).ok_or_else(invalid)?;
        }
        total = total.checked_add(part).ok_or_else(invalid)?;
    }
    Ok(if negative { -total } else { total })
}

/// Shows nanoseconds as Go does: `1h0m0s`, `1.5s`, `100ms`, `0s`.
pub fn show_go_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    let with_fraction = |n: u64, unit: u64, name: &str| {
        let mut out = format!("{sign}{}", n / unit);
        if !n.is_multiple_of(unit) {
            let digits = unit.ilog10() as usize;
            let fraction = format!("{:0digits$}", n % unit);
            let _ = write!(out, ".{}", fraction.trim_end_matches('0'));
        }
        out + name
    };
    match n {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{n}ns"),
        1_000..1_000_000 => with_fraction(n, 1_000, "µs"),
        1_000_000..1_000_000_000 => with_fraction(n, 1_000_000, "ms"),
        _ => {
            let minutes = n / 60_000_000_000;
            let mut seconds = with_fraction(n % 60_000_000_000, 1_000_000_000, "s");
            if let Some(bare) = seconds.strip_prefix('-') {
                seconds = bare.to_owned();
            }
            match minutes {
                0 => format!("{sign}{seconds}"),
                1..60 => format!("{sign}{minutes}m{seconds}"),
                _ => format!("{sign}{}h{}m{seconds}", minutes / 60, minutes % 60),
            }
        }
    }
}

/// Units of Prometheus durations in descending order, with their milliseconds.
const PROM_UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Parses a Prometheus-style duration to milliseconds.
///
/// # Errors
/// Prometheus' message.
pub fn prom_duration(text: &str) -> Result<Millis, String> {
    match text {
        "" => return Err("empty duration string".to_owned()),
        "0" => return Ok(0),
        _ => {}
    }
    let invalid = || format!("not a valid duration string: {text:?}");
    let mut rest = text;
    let mut next_unit = 0;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().position(|b| !b.is_ascii_digit()).ok_or_else(invalid)?;
        if digits == 0 {
            return Err(invalid());
        }
        let (number, tail) = rest.split_at(digits);
        let end = tail.bytes().position(|b| b.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, after) = tail.split_at(end);
        let at = PROM_UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        if at < next_unit {
            return Err(invalid());
        }
        next_unit = at + 1;
        let overflow = || "duration out of range".to_owned();
        let number: i64 = number.parse().map_err(|_| overflow())?;
        total = number
            .checked_mul(PROM_UNITS[at].1)
            .and_then(|part| total.checked_add(part))
            // Upstream counts nanoseconds in an i64.
            .filter(|millis| *millis <= i64::MAX / 1_000_000)
            .ok_or_else(overflow)?;
        rest = after;
    }
    Ok(total)
}

/// Shows milliseconds as Prometheus does: `1d`, `1h30m`, `0s`; years and weeks only when exact.
pub fn show_prom_duration(millis: Millis) -> String {
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    if millis < 0 {
        out.push('-');
    }
    let mut left = millis.unsigned_abs();
    for (unit, by) in PROM_UNITS {
        let by = by.unsigned_abs();
        let exact_only = unit == "y" || unit == "w";
        if exact_only && !left.is_multiple_of(by) {
            continue;
        }
        if left / by > 0 {
            let _ = write!(out, "{}{unit}", left / by);
            left %= by;
        }
    }
    out
}

/// Parses a base-2 size with mandatory unit.
///
/// # Errors
/// Upstream's message: invalid, unknown unit, overflow.
pub fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("units: invalid {text}");
    let (negative, mut s) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if s == "0" {
        return Ok(0);
    }
    if s.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0f64;
    // `1GiB1GB` is refused upstream: all parts are of one spelling.
    let (mut saw_short, mut saw_long) = (false, false);
    while !s.is_empty() {
        if !(s.starts_with('.') || s.starts_with(|c: char| c.is_ascii_digit())) {
            return Err(invalid());
        }
        let (whole, rest) = leading_int(s).ok_or_else(invalid)?;
        let had_whole = rest.len() != s.len();
        s = rest;
        let mut number = whole as f64;
        let mut had_fraction = false;
        if let Some(rest) = s.strip_prefix('.') {
            let (digits, after) = leading_int(rest).ok_or_else(invalid)?;
            let count = rest.len() - after.len();
            number += digits as f64 / 10f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
            had_fraction = count > 0;
            s = after;
        }
        if !had_whole && !had_fraction {
            return Err(invalid());
        }
        let end = s.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(s.len());
        let unit = &s[..end];
        s = &s[end..];
        let unknown = || format!("units: unknown unit {unit} in {text}");
        let power = if unit == "B" {
            0
        } else {
            let (letter, suffix) = unit.split_at_checked(1).ok_or_else(unknown)?;
            match suffix {
                "B" => saw_short = true,
                "iB" => saw_long = true,
                _ => return Err(unknown()),
            }
            1 + "KMGTPE".find(letter).ok_or_else(unknown)? as i32
        };
        if saw_short && saw_long {
            return Err(unknown());
        }
        total += number * 1024f64.powi(power);
    }
    if negative {
        total = -total;
    }
    if !(total >= i64::MIN as f64 && total < i64::MAX as f64) {
        return Err("units: overflow parsing unit".to_owned());
    }
    Ok(total as i64)
}

/// Shows a size as upstream does: `2GiB`, `1GiB512MiB`, `0B`.
pub fn show_bytes(n: i64) -> String {
    if n == 0 {
        return "0B".to_owned();
    }
    let mut left = n.unsigned_abs();
    let mut parts = Vec::new();
    for prefix in ["", "K", "M", "G", "T", "P", "E"] {
        if !left.is_multiple_of(1024) {
            parts.push(format!("{}{prefix}{}", left % 1024, if prefix.is_empty() { "B" } else { "iB" }));
        }
        left /= 1024;
    }
    parts.reverse();
    let shown = parts.concat();
    if n < 0 { format!("-{shown}") } else { shown }
}

/// Parses a number as Go's `ParseFloat` does for the forms flags have.
///
/// # Errors
/// Go's message.
pub fn float(text: &str) -> Result<f64, String> {
    let invalid = || format!("strconv.ParseFloat: parsing {text:?}: invalid syntax");
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    let known_word = ["inf", "infinity", "nan"].iter().any(|w| bare.eq_ignore_ascii_case(w));
    if !known_word && !bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(invalid());
    }
    let value: f64 = text.parse().map_err(|_| invalid())?;
    if value.is_infinite() && !known_word {
        return Err(format!("strconv.ParseFloat: parsing {text:?}: value out of range"));
    }
    Ok(value)
}

/// Parses a number as float and truncates it: `1.9` is 1, `1e1` is 10.
///
/// # Errors
/// As [`float`]; a number that no i64 holds is refused.
pub fn int(text: &str) -> Result<i64, String> {
    let value = float(text)?.trunc();
    if value >= i64::MIN as f64 && value < i64::MAX as f64 {
        Ok(value as i64)
    } else {
        Err(format!("strconv.ParseFloat: parsing {text:?}: value out of range"))
    }
}

/// Go's base prefixes and underscores: the digits and the base, or `None` when malformed.
fn based(text: &str) -> Option<(String, u32)> {
    let lower = text.to_ascii_lowercase();
    let (digits, base) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (&lower[..], 10),
    };
    // An underscore stands between digits, or between a prefix and a digit.
    let prefixed = base != 10;
    let bad = digits.ends_with('_')
        || digits.contains("__")
        || (digits.starts_with('_') && !prefixed)
        || digits.is_empty();
    (!bad).then(|| (digits.replace('_', ""), base))
}

/// Parses an unsigned 64-bit number with Go's base prefixes and underscores.
///
/// # Errors
/// Go's message.
pub fn uint64(text: &str) -> Result<u64, String> {
    let fail = |why| format!("strconv.ParseUint: parsing {text:?}: {why}");
    let (digits, base) = based(text).ok_or_else(|| fail("invalid syntax"))?;
    if !digits.chars().all(|c| c.is_digit(base)) {
        return Err(fail("invalid syntax"));
    }
    u64::from_str_radix(&digits, base).map_err(|_| fail("value out of range"))
}

/// Parses a signed 64-bit number with Go's base prefixes and underscores.
///
/// # Errors
/// Go's message.
pub fn int64(text: &str) -> Result<i64, String> {
    let fail = |why| format!("strconv.ParseInt: parsing {text:?}: {why}");
    let (negative, bare) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, base) = based(bare).ok_or_else(|| fail("invalid syntax"))?;
    if !digits.chars().all(|c| c.is_digit(base)) {
        return Err(fail("invalid syntax"));
    }
    let signed = if negative { format!("-{digits}") } else { digits };
    i64::from_str_radix(&signed, base).map_err(|_| fail("value out of range"))
}

/// Checks that `text` is one of `words`.
///
/// # Errors
/// Upstream's message with all words.
pub fn one_of(text: &str, words: &[&str]) -> Result<String, String> {
    if words.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("enum value must be one of {}, got '{text}'", words.join(",")))
    }
}

/// Checks an endpoint's address.
///
/// # Errors
/// Upstream's message when it is empty, or neither `host:port` nor a DNS query.
pub fn address(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("Address is empty.".to_owned());
    }
    if !text.contains('+') && !text.contains(':') {
        return Err(format!("Address {text} is not of <host>:<port> format or a valid DNS query."));
    }
    Ok(text.to_owned())
}

/// Checks a URL's outward form: a scheme before the first colon, no control characters.
///
/// # Errors
/// Go's message for what is commonly mistyped.
pub fn url(text: &str) -> Result<String, String> {
    let fail = |why: &str| Err(format!("invalid URL: parse {text:?}: {why}"));
    if text.chars().any(|c| c.is_ascii_control()) {
        return fail("net/url: invalid control character in URL");
    }
    if text.starts_with(':') {
        return fail("missing protocol scheme");
    }
    if let Some((scheme, rest)) = text.split_once(':')
        && !rest.starts_with("//")
        && scheme.starts_with(|c: char| c.is_ascii_digit())
        && !scheme.contains('/')
    {
        return fail("first path segment in URL cannot contain colon");
    }
    Ok(text.to_owned())
}

/// A point in time, or a length of time relative to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeOrDuration {
    /// Milliseconds since the epoch.
    Time(Millis),
    /// Milliseconds after now; negative is before.
    FromNow(Millis),
}

impl TimeOrDuration {
    /// Parses RFC 3339, else a Prometheus duration with an optional minus.
    ///
    /// # Errors
    /// The duration's message, as upstream.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
            let millis = time.unix_timestamp_nanos().div_euclid(1_000_000);
            return i64::try_from(millis).map(TimeOrDuration::Time).map_err(|e| e.to_string());
        }
        match text.strip_prefix('-') {
            Some(positive) => prom_duration(positive).map(|millis| TimeOrDuration::FromNow(-millis)),
            None => prom_duration(text).map(TimeOrDuration::FromNow),
        }
    }

    /// The time in milliseconds when it is now `now`.
    pub fn at(self, now: Millis) -> Millis {
        match self {
            TimeOrDuration::Time(time) => time,
            TimeOrDuration::FromNow(length) => now.saturating_add(length),
        }
    }

    /// As `/api/v1/status/flags` shows it: Go's `time.Time` or a Prometheus duration.
    pub fn show(&self) -> String {
        match self {
            TimeOrDuration::FromNow(length) => show_prom_duration(*length),
            TimeOrDuration::Time(millis) => {
                match OffsetDateTime::from_unix_timestamp_nanos(i128::from(*millis) * 1_000_000) {
                    Err(_) => millis.to_string(),
                    Ok(t) => {
                        let fraction = format!("{:03}", t.millisecond());
                        let fraction = fraction.trim_end_matches('0');
                        let dot = if fraction.is_empty() { "" } else { "." };
                        format!(
                            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}{dot}{fraction} +0000 UTC",
                            t.year(),
                            u8::from(t.month()),
                            t.day(),
                            t.hour(),
                            t.minute(),
                            t.second()
                        )
                    }
                }
            }
        }
    }
}
