//! Quoted strings: where they end, and what they stand for.
//!
//! Holds the scanner for the three kinds of quotes and [`unquote`]. Invariant: a string token that
//! the scanner let pass unquotes to bytes, save for the cases [`unquote`] lists.
//! Reference: Prometheus `promql/parser/lex.go` (`lexString`), `util/strutil/quote.go`.

use model::gofmt::unicode_name;

use super::token::Kind;
use super::{Lexer, State, Step};

impl<'a> Lexer<'a> {
    /// Takes a string; its opening quote comes next.
    pub(super) fn string(&mut self, quote: u8) -> Step<'a> {
        self.state = State::Statements;
        self.pos += 1;
        let raw = quote == b'`';
        loop {
            let Some(b) = self.peek() else {
                return self.fail(if raw { "unterminated raw string" } else { "unterminated quoted string" });
            };
            if b == quote {
                return self.token(Kind::String, 1);
            }
            if b >= 0x80 {
                let (c, width) = self.rune_at(self.pos);
                // A replacement character written out is refused too, as Prometheus does.
                if c == '\u{fffd}' {
                    return self.fail("invalid UTF-8 rune");
                }
                self.pos += width;
                continue;
            }
            self.pos += 1;
            if raw {
                continue;
            }
            match b {
                b'\n' => return self.fail("unterminated quoted string"),
                b'\\' => self.escape(quote)?,
                _ => {}
            }
        }
    }

    /// Takes an escape sequence after its backslash.
    fn escape(&mut self, quote: u8) -> Result<(), super::LexError> {
        let Some(b) = self.peek() else {
            return self.fail("escape sequence not terminated");
        };
        let (digits, base, max) = match b {
            b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'\\' => {
                self.pos += 1;
                return Ok(());
            }
            b if b == quote => {
                self.pos += 1;
                return Ok(());
            }
            b'0'..=b'7' => (3, 8, 255),
            b'x' => (2, 16, 255),
            b'u' => (4, 16, 0x10_ffff),
            b'U' => (8, 16, 0x10_ffff),
            _ => {
                let c = self.rune_at(self.pos).0;
                return self.fail(format!("unknown escape sequence {}", unicode_name(c)));
            }
        };
        if base == 16 {
            self.pos += 1;
        }
        let mut value = 0u32;
        for _ in 0..digits {
            let Some(b) = self.peek() else {
                return self.fail("escape sequence not terminated");
            };
            let Some(digit) = char::from(b).to_digit(base) else {
                let c = self.rune_at(self.pos).0;
                return self.fail(format!("illegal character {} in escape sequence", unicode_name(c)));
            };
            value = value.wrapping_mul(base).wrapping_add(digit);
            self.pos += 1;
        }
        if value > max || (0xd800..0xe000).contains(&value) {
            return self.fail("escape sequence is an invalid Unicode code point");
        }
        Ok(())
    }
}

/// The bytes that a string token stands for; `None` where it is no string.
///
/// `\x` and octal escapes stand for single bytes, so the result need not be UTF-8.
pub(crate) fn unquote(token: &[u8]) -> Option<Vec<u8>> {
    let (quote, body) = match token {
        [quote, body @ .., last] if quote == last => (*quote, body),
        _ => return None,
    };
    if quote == b'`' {
        return (!body.contains(&b'`')).then(|| body.to_vec());
    }
    if !matches!(quote, b'"' | b'\'') || body.contains(&b'\n') {
        return None;
    }
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&b, tail)) = rest.split_first() {
        if b == quote {
            return None;
        }
        if b != b'\\' {
            out.push(b);
            rest = tail;
            continue;
        }
        let (&kind, tail) = tail.split_first()?;
        rest = tail;
        let simple = match kind {
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'\\' => b'\\',
            b'\'' | b'"' if kind == quote => kind,
            b'x' | b'u' | b'U' => {
                let digits = match kind {
                    b'x' => 2,
                    b'u' => 4,
                    _ => 8,
                };
                let value = radix(rest.get(..digits)?, 16)?;
                rest = &rest[digits..];
                if kind == b'x' {
                    out.push(value as u8);
                } else if value <= 0x10_ffff {
                    let c = char::from_u32(value).unwrap_or('\u{fffd}');
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                } else {
                    return None;
                }
                continue;
            }
            b'0'..=b'7' => {
                let high = u32::from(kind - b'0') << 6;
                let value = high | radix(rest.get(..2)?, 8)?;
                rest = &rest[2..];
                u8::try_from(value).ok()?
            }
            _ => return None,
        };
        out.push(simple);
    }
    Some(out)
}

fn radix(digits: &[u8], base: u32) -> Option<u32> {
    let mut value = 0u32;
    for b in digits {
        value = value.checked_mul(base)?.checked_add(char::from(*b).to_digit(base)?)?;
    }
    Some(value)
}
