//! Numbers and durations.
//!
//! Holds the scanners for `1_000.5e3`, `0xff` and `1h30m`. They find where a number ends, not what
//! it is worth (see `parse::literal`). Invariant: the text of an error is what had been taken when
//! the number went wrong, as in Prometheus.

use model::gofmt::quote_bytes;

use super::token::Kind;
use super::{Lexer, State, Step, is_alphanumeric, is_digit};

impl<'a> Lexer<'a> {
    pub(super) fn number(&mut self) -> Step<'a> {
        self.state = State::Statements;
        if self.scan_number() {
            return self.token(Kind::Number, 0);
        }
        let text = format!("bad number syntax: {}", quote_bytes(&self.input[self.start..self.pos]));
        self.fail(text)
    }

    pub(super) fn number_or_duration(&mut self) -> Step<'a> {
        self.state = State::Statements;
        if self.scan_number() {
            return self.token(Kind::Number, 0);
        }
        if self.scan_rest_of_duration() {
            return self.token(Kind::Duration, 0);
        }
        let text =
            format!("bad number or duration syntax: {}", quote_bytes(&self.input[self.start..self.pos]));
        self.fail(text)
    }

    /// Continues after digits that turned out not to be a number. On failure the character that
    /// did not fit has been taken.
    fn scan_rest_of_duration(&mut self) -> bool {
        if !self.accept(|b| b"smhdwy".contains(&b)) {
            return false;
        }
        self.accept(|b| b == b's');
        while self.accept(is_digit) {
            self.accept_run(is_digit);
            // Years only come first.
            if !self.accept(|b| b"smhdw".contains(&b)) {
                return false;
            }
            self.accept(|b| b == b's');
        }
        let more = self.peek_is(is_alphanumeric);
        self.pos += usize::from(more);
        !more
    }

    /// Takes a number's bytes; false when they are none, with what was taken up to there.
    fn scan_number(&mut self) -> bool {
        let begin = self.pos;
        let mut hex = false;
        // In series descriptions an `x` repeats a value.
        if !self.series && self.accept(|b| b == b'0') && self.accept(|b| matches!(b, b'x' | b'X')) {
            self.accept(|b| b == b'_');
            hex = true;
        }
        let digit = |b: u8| if hex { b.is_ascii_hexdigit() } else { is_digit(b) };
        let exponent = |b: u8| matches!(b, b'e' | b'E');
        let (mut dots, mut exponents) = (0, 0);
        self.accept(|b| b == b'.');
        self.accept(digit);
        while self.peek_is(|b| digit(b) || exponent(b) || matches!(b, b'.' | b'_')) {
            // A second dot or exponent is taken and refused.
            if (dots > 0 && self.accept(|b| b == b'.')) || (exponents > 0 && self.accept(exponent)) {
                return false;
            }
            if self.accept(|b| b == b'.') {
                dots += 1;
                if self.accept(|b| matches!(b, b'_' | b'.')) || hex {
                    return false;
                }
            } else if self.accept(exponent) {
                exponents += 1;
                self.accept(|b| matches!(b, b'+' | b'-'));
                if self.accept(|b| exponent(b) || matches!(b, b'_' | b'.')) || self.peek().is_none() {
                    return false;
                }
            } else if self.accept(|b| b == b'_') {
                if self.accept(|b| exponent(b) || matches!(b, b'_' | b'.')) || self.peek().is_none() {
                    return false;
                }
            } else {
                self.accept_run(digit);
            }
        }
        if self.pos == begin {
            return false;
        }
        (self.series && self.peek() == Some(b'x')) || !self.peek_is(is_alphanumeric)
    }
}
