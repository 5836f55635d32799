//! Floating-point numbers as Go reads them.
//!
//! Holds Go's syntax of floats: hexadecimal mantissas, underscores, names. Decimal digits are left to the
//! standard library, which rounds them as Go does. Invariant: every text gives the bits, or the error, of
//! Go 1.26's `strconv.ParseFloat`.

/// Why a text is no float; written as Go writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FloatError {
    /// It has not the form of one.
    #[error("invalid syntax")]
    Syntax,
    /// It is too large.
    #[error("value out of range")]
    Range,
}

/// Go's NaN.
const NAN: u64 = 0x7ff8_0000_0000_0001;

/// Go's `strconv.ParseFloat(text, 64)`.
///
/// # Errors
/// [`FloatError`].
pub fn parse_float(text: &str) -> Result<f64, FloatError> {
    let (sign, body) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let lower = body.to_ascii_lowercase();
    match lower.as_str() {
        "inf" | "infinity" => return Ok(sign * f64::INFINITY),
        "nan" if body.len() == text.len() => return Ok(f64::from_bits(NAN)),
        _ => {}
    }
    if !lower.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !underscores_separate_digits(body) {
        return Err(FloatError::Syntax);
    }
    let plain = lower.replace('_', "");
    let value = match plain.strip_prefix("0x") {
        Some(digits) => hexadecimal(digits)?,
        None => plain.parse::<f64>().map_err(|_| FloatError::Syntax)?,
    };
    if value.is_infinite() {
        return Err(FloatError::Range);
    }
    Ok(sign * value)
}

/// Whether underscores stand only between digits, or between the prefix of a base and a digit. The text
/// has no sign.
pub fn underscores_separate_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'_') {
        return true;
    }
    let prefixed = bytes.len() >= 2 && bytes[0] == b'0' && matches!(bytes[1] | 0x20, b'x' | b'o' | b'b');
    let hex = prefixed && bytes[1] | 0x20 == b'x';
    let digit = |b: u8| b.is_ascii_digit() || (hex && b.is_ascii_hexdigit());
    let mut before_is_digit = prefixed;
    let body = if prefixed { &bytes[2..] } else { bytes };
    for (i, &b) in body.iter().enumerate() {
        if b == b'_' && !(before_is_digit && body.get(i + 1).is_some_and(|n| digit(*n))) {
            return false;
        }
        before_is_digit = digit(b);
    }
    true
}

/// What stands behind `0x`: a mantissa and, always, a binary exponent.
fn hexadecimal(text: &str) -> Result<f64, FloatError> {
    let (mantissa, exponent) = text.split_once('p').ok_or(FloatError::Syntax)?;
    let mut exponent = binary_exponent(exponent)?;
    let (mut bits, mut cut, mut point, mut any) = (0u64, false, false, false);
    for c in mantissa.chars() {
        if c == '.' && !point {
            point = true;
            continue;
        }
        let digit = c.to_digit(16).ok_or(FloatError::Syntax)?;
        any = true;
        if bits >> 60 == 0 {
            bits = bits << 4 | u64::from(digit);
            exponent -= 4 * i64::from(point);
        } else {
            cut |= digit != 0;
            exponent += 4 * i64::from(!point);
        }
    }
    if !any {
        return Err(FloatError::Syntax);
    }
    Ok(scaled(bits, cut, exponent))
}

fn binary_exponent(text: &str) -> Result<i64, FloatError> {
    /// Far beyond every float, whatever the mantissa.
    const MOST: i64 = 100_000;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(FloatError::Syntax);
    }
    let value = digits.bytes().fold(0, |n, b| (10 * n + i64::from(b - b'0')).min(MOST));
    Ok(if text.starts_with('-') { -value } else { value })
}

/// The float nearest to `bits` times two to `exponent`, of two the even one; infinite where there is none.
/// If digits were `cut`, the number is a little larger.
fn scaled(bits: u64, cut: bool, exponent: i64) -> f64 {
    const FRACTION: u32 = f64::MANTISSA_DIGITS - 1;
    const BIAS: i64 = f64::MAX_EXP as i64 - 1;
    const SMALLEST: i64 = f64::MIN_EXP as i64 - 1;
    if bits == 0 {
        return 0.0;
    }
    let zeros = bits.leading_zeros();
    let bits = bits << zeros;
    // The exponent of the first bit, and how many bits fit from there on: fewer below the normal ones.
    let first = exponent + 63 - i64::from(zeros);
    let precision = i64::from(FRACTION) + 1 - (SMALLEST - first).max(0);
    let Ok(precision) = u32::try_from(precision) else { return 0.0 };
    let (kept, rest) = match precision {
        0 => (0, bits),
        _ => (bits >> (64 - precision), bits << precision),
    };
    let half = 1 << 63;
    let up = rest > half || (rest == half && (cut || kept % 2 == 1));
    let kept = kept + u64::from(up);
    if precision <= FRACTION {
        // Rounded up to the first normal float, it has that one's bits.
        return f64::from_bits(kept);
    }
    let carried = i64::from(kept >> (FRACTION + 1) != 0);
    let first = first + carried;
    match u64::try_from(first + BIAS) {
        Ok(exponent) if first <= BIAS => {
            f64::from_bits(exponent << FRACTION | (kept >> carried & ((1 << FRACTION) - 1)))
        }
        _ => f64::INFINITY,
    }
}
