//! Text as Go writes and reads it: quoted strings and floating-point numbers.
//!
//! Holds the few formats of Go's `strconv` and `fmt` that appear in Prometheus' answers and error
//! texts. It knows no message. Invariant: for every input the bytes are those of Go 1.26. Read `parse`
//! for the way back.

use std::fmt::Write as _;

mod parse;
mod printable;

pub use parse::{FloatError, parse_float, underscores_separate_digits};

/// Quotes as Go's `strconv.Quote`: printable runes stay, the rest is escaped.
pub fn quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    write_quoted(&mut out, s.as_bytes());
    out
}

/// Quotes bytes as Go's `strconv.Quote`: bytes that are not UTF-8 become `\xNN`.
pub fn quote_bytes(s: &[u8]) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    write_quoted(&mut out, s);
    out
}

/// Appends [`quote_bytes`] to `out`.
pub fn write_quoted(out: &mut String, s: &[u8]) {
    out.push('"');
    for chunk in s.utf8_chunks() {
        for c in chunk.valid().chars() {
            write_rune(out, c, '"');
        }
        for b in chunk.invalid() {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out.push('"');
}

/// Quotes one code point as Go's `%q` does: in single quotes.
pub fn quote_rune(c: char) -> String {
    let mut out = String::from("'");
    write_rune(&mut out, c, '\'');
    out.push('\'');
    out
}

/// Describes one code point as Go's `%#U` does: `U+0061 'a'`, without the quoted part where it is
/// not printable.
pub fn unicode_name(c: char) -> String {
    let mut out = format!("U+{:04X}", c as u32);
    if is_print(c) {
        let _ = write!(out, " '{c}'");
    }
    out
}

/// Go's `strconv.IsPrint`.
pub fn is_print(c: char) -> bool {
    printable::is_print(c as u32)
}

fn write_rune(out: &mut String, c: char, quote: char) {
    match c {
        c if c == quote || c == '\\' => {
            out.push('\\');
            out.push(c);
        }
        c if is_print(c) => out.push(c),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        c => {
            let n = c as u32;
            let _ = match n {
                0..0x20 | 0x7f => write!(out, "\\x{n:02x}"),
                0x20..0x10000 => write!(out, "\\u{n:04x}"),
                _ => write!(out, "\\U{n:08x}"),
            };
        }
    }
}

/// Formats as Go's `strconv.FormatFloat(v, 'f', -1, 64)`: the shortest digits that read back the
/// same, never an exponent; `+Inf`, `-Inf`, `NaN`. This is how samples are written.
pub fn float(v: f64) -> String {
    let mut out = String::new();
    write_float(&mut out, v);
    out
}

/// Appends [`float`] to `out`.
pub fn write_float(out: &mut String, v: f64) {
    match special(v) {
        Some(text) => out.push_str(text),
        // Rust's `Display` also writes the shortest digits without an exponent.
        None => {
            let from = out.len();
            let _ = write!(out, "{v}");
            if may_tie(v) {
                let fixed = to_even(v, &out[from..], 0);
                out.truncate(from);
                out.push_str(&fixed);
            }
        }
    }
}

/// Formats as Go's `%v` and `strconv.FormatFloat(v, 'g', -1, 64)`: the shortest digits, written
/// with an exponent below 1e-4 and from 1e6 up.
pub fn float_g(v: f64) -> String {
    if let Some(text) = special(v) {
        return text.to_owned();
    }
    let shortest = format!("{v:e}");
    let (_, exponent) = split_exponent(&shortest);
    if (-4..6).contains(&exponent) {
        return float(v);
    }
    float_e(v)
}

/// Formats as Go's `strconv.FormatFloat(v, 'e', -1, 64)`: `1.5e+06`.
pub fn float_e(v: f64) -> String {
    if let Some(text) = special(v) {
        return text.to_owned();
    }
    let shortest = format!("{v:e}");
    let (digits, exponent) = split_exponent(&shortest);
    let digits = if may_tie(v) { to_even(v, digits, exponent) } else { digits.to_owned() };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// Formats as Go's `%.Nf`, rounding the exact value half to even.
pub fn float_fixed(v: f64, decimals: usize) -> String {
    match special(v) {
        Some(text) => text.to_owned(),
        None => format!("{v:.decimals$}"),
    }
}

/// Whether `v` could lie exactly between two shortest decimals: its own decimal expansion has to end soon.
fn may_tie(v: f64) -> bool {
    const SMALL: f64 = (1u64 << 30) as f64;
    let whole = v.fract() == 0.0 && v.abs() < (1u64 << 53) as f64;
    !whole && (v * SMALL).fract() == 0.0
}

/// The shortest digits as Go rounds them: of two that are equally near, the even one. Rust takes the
/// larger. `text` times ten to `exponent` is `v`.
fn to_even(v: f64, text: &str, exponent: i32) -> String {
    let significant = text.bytes().filter(u8::is_ascii_digit).skip_while(|b| *b == b'0').count();
    let trailing = match text.contains('.') {
        true => 0,
        false => text.bytes().rev().take_while(|b| *b == b'0').count(),
    };
    let n = significant - trailing;
    // One digit more is the exact value, and a five: a tie.
    let longer = format!("{v:.n$e}");
    let exact = format!("{v:.*e}", n + 25);
    let (more, _) = split_exponent(&longer);
    let (all, _) = split_exponent(&exact);
    let tie =
        more.ends_with('5') && all.strip_prefix(more).is_some_and(|rest| rest.bytes().all(|b| b == b'0'));
    let mut digits = text.as_bytes().to_vec();
    let last = digits.iter().rposition(|b| (b'1'..=b'9').contains(b));
    let odd = last.filter(|at| digits[*at] % 2 == 1);
    if let (true, Some(at)) = (tie, odd) {
        // What stands before the five is either this digit, or the one below.
        let below = more.as_bytes()[..more.len() - 1].iter().rev().find(|b| b.is_ascii_digit());
        digits[at] = if below == Some(&digits[at]) { digits[at] + 1 } else { digits[at] - 1 };
    }
    let even = String::from_utf8(digits).unwrap_or_default();
    // Below a power of two the neighbours are closer, and the smaller one may no longer read back.
    match format!("{even}e{exponent}").parse::<f64>() {
        Ok(back) if back == v => even,
        _ => text.to_owned(),
    }
}

fn special(v: f64) -> Option<&'static str> {
    if v.is_nan() {
        Some("NaN")
    } else if v == f64::INFINITY {
        Some("+Inf")
    } else if v == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}

fn split_exponent(text: &str) -> (&str, i32) {
    match text.split_once('e') {
        Some((digits, exponent)) => (digits, exponent.parse().unwrap_or(0)),
        None => (text, 0),
    }
}

#[cfg(test)]
mod tests;
