//! The lexer: bytes to tokens, one at a time, as the parser asks.
//!
//! Holds a state machine over the input; states that belong to series descriptions are in `series`,
//! numbers in `number`. It knows brackets and braces only as far as they change what a byte means.
//! Invariant: every call to [`Lexer::next`] moves forward or ends; errors carry Prometheus' text and
//! the place where the token began. Reference: Prometheus `promql/parser/lex.go`.

mod number;
mod series;
pub(super) mod string;
pub(super) mod token;

use model::gofmt::quote_rune;

use super::ast::BinaryOp;
use token::{Kind, Token, duration_keyword, keyword};

/// What the next bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Statements,
    Braces,
    Duration,
    Space,
    Values,
    Histogram,
    Buckets,
    BucketNumber,
    Done,
}

/// What follows a closed histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterHistogram {
    None,
    Open,
    Operator,
}

/// Why lexing stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LexError {
    /// Prometheus' text, without position.
    pub(super) text: String,
    /// Where the offending token began; the range reaches to the end of the input.
    pub(super) start: usize,
}

/// The lexer.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    input: &'a [u8],
    state: State,
    /// Next byte to read.
    pos: usize,
    /// First byte of the token being read.
    start: usize,
    /// Start of the token handed out last.
    last: usize,
    paren_depth: usize,
    brace_open: bool,
    bracket_open: bool,
    got_colon: bool,
    got_duration: bool,
    series: bool,
    histogram: AfterHistogram,
}

type Step<'a> = Result<Option<Token<'a>>, LexError>;

impl<'a> Lexer<'a> {
    /// A lexer for an expression, a selector or a metric; with `series` for a series description.
    pub(super) fn new(input: &'a [u8], series: bool) -> Self {
        Lexer {
            input,
            state: State::Statements,
            pos: 0,
            start: 0,
            last: 0,
            paren_depth: 0,
            brace_open: false,
            bracket_open: false,
            got_colon: false,
            got_duration: false,
            series,
            histogram: AfterHistogram::None,
        }
    }

    /// The whole input.
    pub(super) fn input(&self) -> &'a [u8] {
        self.input
    }

    /// The next token that is not a comment; after the end, `Eof` for ever.
    pub(super) fn next(&mut self) -> Result<Token<'a>, LexError> {
        loop {
            if let Some(token) = self.step()? {
                self.last = token.start;
                if token.kind != Kind::Comment {
                    return Ok(token);
                }
            }
        }
    }

    fn step(&mut self) -> Step<'a> {
        match self.state {
            State::Statements => self.statements(),
            State::Braces => self.braces(),
            State::Duration => self.duration(),
            State::Space => {
                self.skip_spaces();
                self.state = State::Statements;
                Ok(None)
            }
            State::Values => self.values(),
            State::Histogram => self.histogram(),
            State::Buckets => self.buckets(),
            State::BucketNumber => self.number(),
            State::Done => Ok(Some(self.emit(Kind::Eof))),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.pos).copied()
    }

    fn peek_is(&self, set: impl Fn(u8) -> bool) -> bool {
        self.peek().is_some_and(set)
    }

    /// Takes one byte of `set`, if it comes next.
    fn accept(&mut self, set: impl Fn(u8) -> bool) -> bool {
        let found = self.peek_is(set);
        self.pos += usize::from(found);
        found
    }

    fn accept_run(&mut self, set: impl Fn(u8) -> bool) {
        while self.accept(&set) {}
    }

    /// The character at `at` and its width, for error texts: U+FFFD at the end and for bytes that
    /// are no UTF-8.
    fn rune_at(&self, at: usize) -> (char, usize) {
        let rest = self.input.get(at..).unwrap_or_default();
        let head = &rest[..rest.len().min(4)];
        match head.utf8_chunks().next() {
            Some(chunk) => match chunk.valid().chars().next() {
                Some(c) => (c, c.len_utf8()),
                None => ('\u{fffd}', 1),
            },
            None => ('\u{fffd}', 0),
        }
    }

    fn emit(&mut self, kind: Kind) -> Token<'a> {
        let token = Token { kind, start: self.start, text: &self.input[self.start..self.pos] };
        self.start = self.pos;
        token
    }

    /// Takes `extra` more bytes and hands out a token.
    fn token(&mut self, kind: Kind, extra: usize) -> Step<'a> {
        self.pos += extra;
        Ok(Some(self.emit(kind)))
    }

    fn fail<T>(&mut self, text: impl Into<String>) -> Result<T, LexError> {
        self.state = State::Done;
        Err(LexError { text: text.into(), start: self.start })
    }

    /// Fails naming the character at `at`.
    fn unexpected<T>(&mut self, what: &str, at: usize) -> Result<T, LexError> {
        let c = self.rune_at(at).0;
        self.fail(format!("{what}{}", quote_rune(c)))
    }

    fn skip_spaces(&mut self) {
        self.accept_run(is_space);
        self.start = self.pos;
    }

    /// `#` to the end of the line.
    fn comment(&mut self) -> Step<'a> {
        let rest = &self.input[self.pos..];
        let len = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
        self.state = State::Statements;
        self.token(Kind::Comment, len)
    }

    fn statements(&mut self) -> Step<'a> {
        if self.histogram != AfterHistogram::None {
            self.state = State::Histogram;
            return Ok(None);
        }
        if self.brace_open {
            self.state = State::Braces;
            return Ok(None);
        }
        let Some(b) = self.peek() else {
            if self.paren_depth != 0 {
                return self.fail("unclosed left parenthesis");
            }
            if self.bracket_open {
                return self.fail("unclosed left bracket");
            }
            self.state = State::Done;
            return Ok(Some(self.emit(Kind::Eof)));
        };
        let second = self.input.get(self.pos + 1).copied();
        match b {
            b'#' => self.comment(),
            b',' => self.token(Kind::Comma, 1),
            b if is_space(b) => {
                self.skip_spaces();
                Ok(None)
            }
            b'*' => self.token(Kind::Op(BinaryOp::Mul), 1),
            b'/' => self.token(Kind::Op(BinaryOp::Div), 1),
            b'%' => self.token(Kind::Op(BinaryOp::Mod), 1),
            b'+' => self.token(Kind::Op(BinaryOp::Add), 1),
            b'-' => self.token(Kind::Op(BinaryOp::Sub), 1),
            b'^' => self.token(Kind::Op(BinaryOp::Pow), 1),
            b'@' => self.token(Kind::At, 1),
            b'=' => match second {
                Some(b'=') => self.token(Kind::Op(BinaryOp::Eql), 2),
                Some(b'~') => self.fail("unexpected character after '=': '~'"),
                _ => self.token(Kind::Equal, 1),
            },
            b'!' => match second {
                Some(b'=') => self.token(Kind::Op(BinaryOp::Neq), 2),
                _ => self.unexpected("unexpected character after '!': ", self.pos + 1),
            },
            b'<' => match second {
                Some(b'=') => self.token(Kind::Op(BinaryOp::Lte), 2),
                Some(b'/') => self.token(Kind::Op(BinaryOp::TrimUpper), 2),
                _ => self.token(Kind::Op(BinaryOp::Lss), 1),
            },
            b'>' => match second {
                Some(b'=') => self.token(Kind::Op(BinaryOp::Gte), 2),
                Some(b'/') => self.token(Kind::Op(BinaryOp::TrimLower), 2),
                _ => self.token(Kind::Op(BinaryOp::Gtr), 1),
            },
            b'"' | b'\'' | b'`' => self.string(b),
            b'(' | b')' => self.paren(b),
            b'{' => {
                self.brace_open = true;
                self.state = State::Braces;
                self.token(Kind::LeftBrace, 1)
            }
            b'[' => {
                if self.bracket_open {
                    return self.fail("unexpected left bracket '['");
                }
                self.got_colon = false;
                self.bracket_open = true;
                self.state = State::Duration;
                let token = self.token(Kind::LeftBracket, 1);
                self.skip_spaces();
                token
            }
            b']' => {
                if !self.bracket_open {
                    return self.fail("unexpected right bracket ']'");
                }
                self.bracket_open = false;
                self.token(Kind::RightBracket, 1)
            }
            b if is_digit(b) || (b == b'.' && second.is_some_and(is_digit)) => self.number_or_duration(),
            b if is_alpha(b) || b == b':' => {
                if self.bracket_open {
                    self.word_in_brackets(b)
                } else {
                    self.word()
                }
            }
            _ => self.unexpected("unexpected character: ", self.pos),
        }
    }

    fn paren(&mut self, b: u8) -> Step<'a> {
        if b == b'(' {
            self.paren_depth += 1;
            return self.token(Kind::LeftParen, 1);
        }
        let token = self.token(Kind::RightParen, 1);
        match self.paren_depth.checked_sub(1) {
            Some(depth) => self.paren_depth = depth,
            None => return self.fail("unexpected right parenthesis ')'"),
        }
        token
    }

    /// A letter or colon after the first number between brackets.
    fn word_in_brackets(&mut self, first: u8) -> Step<'a> {
        if first == b':' {
            if self.got_colon {
                return self.fail("unexpected colon ':'");
            }
            self.got_colon = true;
            return self.token(Kind::Colon, 1);
        }
        match self.scan_duration_keyword(first) {
            Some(kind) => self.token(kind, 0),
            None => {
                self.fail(format!("unexpected character: {}, expected ':'", quote_rune(char::from(first))))
            }
        }
    }

    fn scan_duration_keyword(&mut self, first: u8) -> Option<Kind> {
        if !matches!(first.to_ascii_lowercase(), b's' | b'r' | b'm') {
            return None;
        }
        self.accept_run(is_alpha);
        let lower = self.input[self.start..self.pos].to_ascii_lowercase();
        duration_keyword(&lower).map(Kind::Preprocessor)
    }

    fn word(&mut self) -> Step<'a> {
        self.accept_run(|b| is_alpha(b) || is_digit(b) || b == b':');
        let text = &self.input[self.start..self.pos];
        let kind = match keyword(text) {
            Some(Kind::Keyword(
                token::Keyword::Fill | token::Keyword::FillLeft | token::Keyword::FillRight,
            )) if !self.paren_follows() => Kind::Identifier,
            Some(kind) => kind,
            None if text.contains(&b':') => Kind::MetricIdentifier,
            None => Kind::Identifier,
        };
        self.state = if self.series && self.peek() != Some(b'{') { State::Values } else { State::Statements };
        self.token(kind, 0)
    }

    fn paren_follows(&self) -> bool {
        self.input[self.pos..].iter().find(|b| !is_space(**b)) == Some(&b'(')
    }

    fn braces(&mut self) -> Step<'a> {
        let Some(b) = self.peek() else {
            return self.fail("unexpected end of input inside braces");
        };
        let second = self.input.get(self.pos + 1).copied();
        match b {
            b'#' => self.comment(),
            b if is_space(b) => {
                self.skip_spaces();
                Ok(None)
            }
            b if is_alpha(b) => {
                self.accept_run(|b| is_alpha(b) || is_digit(b));
                self.token(Kind::Identifier, 0)
            }
            b',' => self.token(Kind::Comma, 1),
            b'"' | b'\'' | b'`' => self.string(b),
            b'=' if second == Some(b'~') => self.token(Kind::EqualRegex, 2),
            b'=' => self.token(Kind::Equal, 1),
            b'!' => match second {
                Some(b'~') => self.token(Kind::NotEqualRegex, 2),
                Some(b'=') => self.token(Kind::Op(BinaryOp::Neq), 2),
                _ => self.unexpected("unexpected character after '!' inside braces: ", self.pos + 1),
            },
            b'{' => self.fail("unexpected left brace '{'"),
            b'}' => {
                self.brace_open = false;
                self.state = if self.series { State::Values } else { State::Statements };
                self.token(Kind::RightBrace, 1)
            }
            _ => self.unexpected("unexpected character inside braces: ", self.pos),
        }
    }

    /// Between `[` and the first number.
    fn duration(&mut self) -> Step<'a> {
        let Some(b) = self.peek() else {
            return self.fail("unexpected end of input in duration expression");
        };
        let second = self.input.get(self.pos + 1).copied();
        match b {
            b']' => {
                self.bracket_open = false;
                self.got_colon = false;
                self.state = State::Statements;
                self.token(Kind::RightBracket, 1)
            }
            b':' => {
                let token = self.token(Kind::Colon, 1);
                if !self.got_duration {
                    return self.fail("unexpected colon before duration in duration expression");
                }
                if self.got_colon {
                    return self.fail("unexpected repeated colon in duration expression");
                }
                self.got_colon = true;
                token
            }
            b'(' | b')' => self.paren(b),
            b if is_space(b) => {
                self.skip_spaces();
                Ok(None)
            }
            b'+' => self.token(Kind::Op(BinaryOp::Add), 1),
            b'-' => self.token(Kind::Op(BinaryOp::Sub), 1),
            b'*' => self.token(Kind::Op(BinaryOp::Mul), 1),
            b'/' => self.token(Kind::Op(BinaryOp::Div), 1),
            b'%' => self.token(Kind::Op(BinaryOp::Mod), 1),
            b'^' => self.token(Kind::Op(BinaryOp::Pow), 1),
            b',' => self.token(Kind::Comma, 1),
            b if is_digit(b) || (b == b'.' && second.is_some_and(is_digit)) => {
                self.got_duration = true;
                self.number_or_duration()
            }
            b => {
                let at = self.pos;
                match self.scan_duration_keyword(b) {
                    Some(kind) => self.token(kind, 0),
                    None => self.unexpected("unexpected character in duration expression: ", at),
                }
            }
        }
    }

    /// Where a sequence's own brackets were opened too far, the closing one before `at`: used where
    /// the parser had to read one token ahead to find the end of an aggregation. Falls back to
    /// `fallback` as Prometheus' `findPrevRightParen` does.
    pub(super) fn right_paren_before_last(&self, fallback: usize) -> usize {
        let n = self.input.len();
        if fallback == 0 || fallback > n || self.last == 0 || self.last >= n || self.input[self.last] != b')'
        {
            return fallback;
        }
        for i in (1..self.last).rev() {
            match self.input[i] {
                b')' => return i + 1,
                b if is_space(b) => {}
                _ => return fallback,
            }
        }
        fallback
    }
}

pub(super) fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_digit(b: u8) -> bool {
    b.is_ascii_digit()
}

fn is_alpha(b: u8) -> bool {
    b == b'_' || b.is_ascii_alphabetic()
}

fn is_alphanumeric(b: u8) -> bool {
    is_alpha(b) || is_digit(b)
}
