//! Sets of characters and escapes: `[a-z\d]`, `[[:alpha:]]`, `\pL`, `\x{e9}`.
//!
//! Holds the part of the parser below single characters. Invariant: errors name the part of the
//! pattern that Go names.

use regex_syntax::hir::ClassUnicode;

use super::super::class;
use super::super::error::{Error, ErrorCode};
use super::super::node::Kind;
use super::{Parsed, Parser};

impl<'p> Parser<'p> {
    /// `\d`, `\pL`, `\P{Greek}`: adds the set and takes it; false where none comes next.
    pub(super) fn class_escape(&mut self, class: &mut ClassUnicode) -> Parsed<bool> {
        if self.byte(0) != Some(b'\\') {
            return Ok(false);
        }
        let Some(letter) = self.byte(1) else { return Ok(false) };
        if let Some((set, negated)) = class::perl(letter) {
            self.at += 2;
            self.add_set(class, class::ranges(set), negated);
            return Ok(true);
        }
        if !matches!(letter, b'p' | b'P') {
            return Ok(false);
        }
        let begin = self.at;
        self.at += 2;
        let mut name = match self.next_char() {
            Some('{') => {
                let Some(end) = self.rest().find('}') else {
                    self.at = self.pattern.len();
                    return self.fail(ErrorCode::InvalidCharRange, begin);
                };
                let name = &self.rest()[..end];
                self.at += end + 1;
                name
            }
            _ => &self.pattern[begin + 2..self.at],
        };
        let mut negated = letter == b'P';
        if let Some(rest) = name.strip_prefix('^') {
            negated = !negated;
            name = rest;
        }
        let Some(set) = class::unicode(name) else {
            return self.fail(ErrorCode::InvalidCharRange, begin);
        };
        self.add_set(class, set, negated);
        Ok(true)
    }

    fn add_set(&self, class: &mut ClassUnicode, mut set: ClassUnicode, negated: bool) {
        if self.flags.fold {
            set.case_fold_simple();
        }
        if negated {
            set.negate();
        }
        class.union(&set);
    }

    /// An escape that stands for one code point; the backslash comes next.
    pub(super) fn char_escape(&mut self) -> Parsed<u32> {
        let begin = self.at;
        self.at += 1;
        let Some(c) = self.next_char() else {
            return Err(Error::new(ErrorCode::TrailingBackslash, ""));
        };
        let octal = |b: Option<u8>| b.is_some_and(|b| matches!(b, b'0'..=b'7'));
        let simple = match c {
            'a' => 0x07,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            '0'..='7' if c == '0' || octal(self.byte(0)) => {
                let mut value = c as u32 - '0' as u32;
                for _ in 0..2 {
                    match self.byte(0) {
                        Some(b @ b'0'..=b'7') => value = value * 8 + u32::from(b - b'0'),
                        _ => break,
                    }
                    self.at += 1;
                }
                value
            }
            'x' => return self.hex_escape(begin),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c as u32,
            _ => return self.fail(ErrorCode::InvalidEscape, begin),
        };
        Ok(simple)
    }

    /// `\x41`, `\x{10ffff}`, after the `x`.
    fn hex_escape(&mut self, begin: usize) -> Parsed<u32> {
        let hex = |c: Option<char>| c.and_then(|c| c.to_digit(16));
        let first = self.next_char();
        if first != Some('{') {
            let high = hex(first);
            let low = if first.is_some() { hex(self.next_char()) } else { None };
            return match (high, low) {
                (Some(high), Some(low)) => Ok(high * 16 + low),
                _ => self.fail(ErrorCode::InvalidEscape, begin),
            };
        }
        let (mut value, mut digits) = (0u32, 0);
        while let Some(c) = self.next_char() {
            if c == '}' && digits > 0 {
                return Ok(value);
            }
            let Some(digit) = c.to_digit(16) else { break };
            value = value * 16 + digit;
            digits += 1;
            if value > 0x10_ffff {
                break;
            }
        }
        self.fail(ErrorCode::InvalidEscape, begin)
    }

    /// `[…]`
    pub(super) fn class(&mut self) -> Parsed<()> {
        let begin = self.at;
        self.at += 1;
        let negated = self.byte(0) == Some(b'^');
        self.at += usize::from(negated);
        let mut class = ClassUnicode::empty();
        let mut first = true;
        while first || self.byte(0) != Some(b']') {
            first = false;
            if self.posix_class(&mut class)? || self.class_escape(&mut class)? {
                continue;
            }
            let from = self.at;
            let lo = self.class_char(begin)?;
            let mut hi = lo;
            if self.byte(0) == Some(b'-') && self.byte(1).is_some_and(|b| b != b']') {
                self.at += 1;
                hi = self.class_char(begin)?;
                if hi < lo {
                    return self.fail(ErrorCode::InvalidCharRange, from);
                }
            }
            let mut range = ClassUnicode::empty();
            class::push(&mut range, lo, hi);
            self.add_set(&mut class, range, false);
        }
        self.at += 1;
        if negated {
            class.negate();
        }
        self.add(Kind::Class(class))
    }

    fn class_char(&mut self, begin: usize) -> Parsed<u32> {
        match self.byte(0) {
            None => Err(Error::new(ErrorCode::MissingBracket, &self.pattern[begin..])),
            Some(b'\\') => self.char_escape(),
            Some(_) => Ok(self.next_char().unwrap_or_default() as u32),
        }
    }

    /// `[:alpha:]` between brackets; false where none comes next.
    fn posix_class(&mut self, class: &mut ClassUnicode) -> Parsed<bool> {
        let text = self.rest();
        if text.len() <= 2 || !text.starts_with("[:") {
            return Ok(false);
        }
        let Some(end) = text[2..].find(":]") else { return Ok(false) };
        let (begin, name) = (self.at, &text[2..2 + end]);
        self.at += end + 4;
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let Some(set) = class::posix(name) else {
            return self.fail(ErrorCode::InvalidCharRange, begin);
        };
        self.add_set(class, class::ranges(set), negated);
        Ok(true)
    }
}
