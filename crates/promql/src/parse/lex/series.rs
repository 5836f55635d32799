//! States that only series descriptions reach: sequences of values and histograms.
//!
//! Holds the part of the lexer behind `metric{a="b"} 1 2+3x4 _x5 {{schema:1 buckets:[1 2]}}x3`, the
//! language of test scripts and of rule tests. Spaces separate values there, so they are tokens.
//! Reference: Prometheus `promql/parser/lex.go` (`lexValueSequence`, `lexHistogram`).

use model::gofmt::quote_bytes;

use super::token::{Kind, histogram_key, keyword, reset_hint};
use super::{AfterHistogram, Lexer, State, Step, is_alpha, is_digit, is_space};
use crate::parse::ast::BinaryOp;

impl<'a> Lexer<'a> {
    pub(super) fn values(&mut self) -> Step<'a> {
        if self.histogram != AfterHistogram::None {
            self.state = State::Histogram;
            return Ok(None);
        }
        let Some(b) = self.peek() else {
            self.state = State::Statements;
            return Ok(None);
        };
        let second = self.input.get(self.pos + 1).copied();
        match b {
            b'{' if second == Some(b'{') => {
                self.histogram = AfterHistogram::Open;
                self.state = State::Histogram;
                self.token(Kind::OpenHistogram, 2)
            }
            b if is_space(b) => {
                let token = self.token(Kind::Space, 1);
                self.skip_spaces();
                token
            }
            b'+' => self.token(Kind::Op(BinaryOp::Add), 1),
            b'-' => self.token(Kind::Op(BinaryOp::Sub), 1),
            b'x' => self.token(Kind::Times, 1),
            b'_' => self.token(Kind::Blank, 1),
            b if is_digit(b) || (b == b'.' && second.is_some_and(is_digit)) => {
                let token = self.number()?;
                self.state = State::Values;
                Ok(token)
            }
            b if is_alpha(b) => self.word(),
            _ => self.unexpected("unexpected character in series sequence: ", self.pos),
        }
    }

    pub(super) fn histogram(&mut self) -> Step<'a> {
        if self.histogram == AfterHistogram::Operator {
            self.histogram = AfterHistogram::None;
            self.state = State::Values;
            let kind = match self.peek() {
                Some(b'+') => Kind::Op(BinaryOp::Add),
                Some(b'-') => Kind::Op(BinaryOp::Sub),
                _ => Kind::Times,
            };
            return self.token(kind, 1);
        }
        if self.bracket_open {
            self.state = State::Buckets;
            return Ok(None);
        }
        match self.peek() {
            Some(b) if is_space(b) => {
                self.state = State::Space;
                self.token(Kind::Space, 1)
            }
            Some(b) if is_alpha(b) => self.histogram_word(),
            Some(b':') => self.token(Kind::Colon, 1),
            Some(b'-') => self.token(Kind::Op(BinaryOp::Sub), 1),
            Some(b) if is_digit(b) => self.number(),
            Some(b'[') => {
                self.bracket_open = true;
                self.got_colon = false;
                self.got_duration = false;
                self.state = State::Buckets;
                self.token(Kind::LeftBracket, 1)
            }
            Some(b'}') if self.input.get(self.pos + 1) == Some(&b'}') => {
                let token = self.token(Kind::CloseHistogram, 2);
                if self.peek_is(|b| matches!(b, b'x' | b'+' | b'-')) {
                    self.histogram = AfterHistogram::Operator;
                } else {
                    self.histogram = AfterHistogram::None;
                    self.state = State::Values;
                }
                token
            }
            _ => self.unexpected("histogram description incomplete unexpected: ", self.pos),
        }
    }

    fn histogram_word(&mut self) -> Step<'a> {
        self.accept_run(is_alpha);
        let text = &self.input[self.start..self.pos];
        let lower = text.to_ascii_lowercase();
        if let Some(key) = histogram_key(&lower) {
            if self.peek() == Some(b':') {
                return self.token(Kind::HistogramKey(key), 0);
            }
            return self.fail("missing `:` for histogram descriptor");
        }
        if keyword(&lower) == Some(Kind::Number) {
            return self.token(Kind::Number, 0);
        }
        if let Some(hint) = reset_hint(&lower) {
            return self.token(Kind::ResetHint(hint), 0);
        }
        self.fail(format!("bad histogram descriptor found: {}", quote_bytes(text)))
    }

    pub(super) fn buckets(&mut self) -> Step<'a> {
        match self.peek() {
            Some(b) if is_space(b) => {
                self.state = State::Space;
                self.token(Kind::Space, 1)
            }
            Some(b'-') => {
                self.state = State::BucketNumber;
                self.token(Kind::Op(BinaryOp::Sub), 1)
            }
            Some(b) if is_digit(b) => self.number(),
            Some(b']') => {
                self.bracket_open = false;
                self.state = State::Histogram;
                self.token(Kind::RightBracket, 1)
            }
            Some(b) if is_alpha(b) => {
                self.pos += 1;
                if keyword(&self.input[self.start..self.pos]) == Some(Kind::Number) {
                    self.state = State::Statements;
                    return self.token(Kind::Number, 0);
                }
                Ok(None)
            }
            _ => self.unexpected("invalid character in buckets description: ", self.pos),
        }
    }
}
