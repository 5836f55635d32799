//! The parser: tokens to syntax tree.
//!
//! Holds the token cursor, the tree under construction and the entry points. Expressions are parsed
//! by precedence climbing with an explicit stack (`expr`), so that neither brackets nor chains
//! recurse. It knows no types (see `check`). Invariant: tokens are read exactly as far ahead as
//! Prometheus' generated parser reads them, because which of two errors comes first, and where some
//! spans end, depends on it. Reference: Prometheus `promql/parser/generated_parser.y`, `parse.go`.

mod duration;
mod expr;
mod modifier;
mod selector;
mod series;

use std::collections::HashMap;
use std::sync::Arc;

use model::Matcher;

use super::Options;
use super::ast::{Ast, Expr, Node, NodeId, Span, ValueType, VectorSelector};
use super::check;
use super::error::ParseError;
use super::lex::Lexer;
use super::lex::token::{Kind, Token, describe};
use super::literal;

pub use series::{HistogramDescription, SequenceItem, SeriesDescription};

/// Brackets, calls, aggregations and signs may be nested this deep.
pub const MAX_DEPTH: usize = 1000;

/// Why parsing stops.
enum Stop {
    /// The token read last does not fit; the innermost construct that has words for it turns this
    /// into an error.
    Unexpected,
    /// An error with its text.
    Error(Box<ParseError>),
}

type Parsed<T> = Result<T, Stop>;

struct Parser<'a> {
    lex: Lexer<'a>,
    options: &'a Options,
    /// The token read but not taken.
    ahead: Option<Token<'a>>,
    /// The token read last, taken or not.
    last: Token<'a>,
    /// End of the last closing bracket, number or duration read.
    last_closing: usize,
    nodes: Vec<Node>,
    depth: usize,
    /// Selectors of a bare name, by name.
    bare: HashMap<&'a [u8], Arc<VectorSelector>>,
}

/// Parses an expression and checks its types.
pub(super) fn parse_expr(input: &[u8], options: &Options) -> Result<Ast, ParseError> {
    let mut parser = Parser::new(input, options, false)?;
    let parsed = parser.whole_expr();
    let root = parsed.map_err(|stop| parser.resolve(stop, "", ""))?;
    check::check(input, &mut parser.nodes, root)?;
    parser.nodes.shrink_to_fit();
    Ok(Ast { nodes: parser.nodes, root })
}

/// Parses a metric selector, `name{a="b"}`, into its matchers.
pub(super) fn parse_metric_selector(input: &[u8], options: &Options) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = Parser::new(input, options, false)?;
    let parsed = parser.whole_selector();
    let id = parsed.map_err(|stop| parser.resolve(stop, "", ""))?;
    match parser.nodes.swap_remove(id.index()).expr {
        Expr::Vector(selector) => Ok(Arc::unwrap_or_clone(selector).matchers),
        _ => Ok(Vec::new()),
    }
}

/// Parses a metric, `name{a="b"}`, into its label pairs.
pub(super) fn parse_metric(input: &[u8], options: &Options) -> Result<model::Labels, ParseError> {
    let mut parser = Parser::new(input, options, false)?;
    let parsed = parser.whole_metric();
    parsed.map_err(|stop| parser.resolve(stop, "", ""))
}

/// Parses a series description, `name{a="b"} 1 2+3x4 _`.
pub(super) fn parse_series(input: &[u8], options: &Options) -> Result<SeriesDescription, ParseError> {
    let mut parser = Parser::new(input, options, true)?;
    let parsed = parser.whole_series();
    parsed.map_err(|stop| parser.resolve(stop, "", ""))
}

impl<'a> Parser<'a> {
    fn new(input: &'a [u8], options: &'a Options, series: bool) -> Result<Self, ParseError> {
        if u32::try_from(input.len()).is_err() {
            let text = format!("expression of {} bytes is too long", input.len());
            return Err(ParseError::new(&[], Span::default(), text));
        }
        Ok(Parser {
            lex: Lexer::new(input, series),
            options,
            ahead: None,
            last: Token { kind: Kind::Eof, start: 0, text: b"" },
            last_closing: 0,
            // No expression has more nodes than bytes; what is not used is given back.
            nodes: Vec::with_capacity(input.len()),
            depth: 0,
            bare: HashMap::new(),
        })
    }

    /// The next token, without taking it.
    fn peek(&mut self) -> Parsed<Token<'a>> {
        if let Some(token) = self.ahead {
            return Ok(token);
        }
        let token = match self.lex.next() {
            Ok(token) => token,
            Err(e) => {
                let span = Span::new(e.start, self.lex.input().len());
                return Err(self.error(span, e.text));
            }
        };
        if matches!(
            token.kind,
            Kind::RightBrace | Kind::RightParen | Kind::RightBracket | Kind::Duration | Kind::Number
        ) {
            self.last_closing = token.end();
        }
        self.last = token;
        self.ahead = Some(token);
        Ok(token)
    }

    /// Takes the token that [`Parser::peek`] showed.
    fn bump(&mut self) {
        self.ahead = None;
    }

    /// Takes the next token if it is of `kind`.
    fn eat(&mut self, kind: Kind) -> Parsed<Option<Token<'a>>> {
        let token = self.peek()?;
        if token.kind != kind {
            return Ok(None);
        }
        self.bump();
        Ok(Some(token))
    }

    /// Takes the next token, which must be of `kind`.
    fn expect(&mut self, kind: Kind) -> Parsed<Token<'a>> {
        self.eat(kind)?.ok_or(Stop::Unexpected)
    }

    fn error(&self, span: Span, text: impl Into<String>) -> Stop {
        Stop::Error(Box::new(ParseError::new(self.lex.input(), span, text)))
    }

    /// Gives an unexpected token its words: `unexpected X in context, expected wanted`.
    fn unexpected(&self, context: &str, wanted: &str) -> ParseError {
        let mut text = format!("unexpected {}", describe(&self.last));
        if !context.is_empty() {
            text.push_str(" in ");
            text.push_str(context);
        }
        if !wanted.is_empty() {
            text.push_str(", expected ");
            text.push_str(wanted);
        }
        ParseError::new(self.lex.input(), self.last.span(), text)
    }

    fn resolve(&self, stop: Stop, context: &str, wanted: &str) -> ParseError {
        match stop {
            Stop::Unexpected => self.unexpected(context, wanted),
            Stop::Error(e) => *e,
        }
    }

    /// As [`Parser::resolve`], for use within a construct.
    fn within<T>(&self, parsed: Parsed<T>, context: &str, wanted: &str) -> Parsed<T> {
        parsed.map_err(|stop| Stop::Error(Box::new(self.resolve(stop, context, wanted))))
    }

    fn push(&mut self, expr: Expr, span: Span, value_type: ValueType) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node { expr, span, value_type });
        id
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    fn span(&self, id: NodeId) -> Span {
        self.nodes[id.index()].span
    }

    fn deeper(&mut self, span: Span) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let text = format!("brackets, calls and signs are nested more than {MAX_DEPTH} deep");
            return Err(self.error(span, text));
        }
        Ok(())
    }

    /// The value of a number token that has just been taken.
    fn number(&self, token: Token<'a>) -> Parsed<f64> {
        literal::number(token.word())
            .map_err(|text| self.error(self.last.span(), format!("error parsing number: {text}")))
    }

    /// The value of a number or duration token in seconds, and whether it was a duration.
    fn number_or_duration(&self, token: Token<'a>) -> Parsed<(f64, bool)> {
        if token.kind == Kind::Number {
            return Ok((self.number(token)?, false));
        }
        let nanos =
            model::time::parse_duration(token.word()).map_err(|e| self.error(token.span(), e.to_string()))?;
        Ok((literal::seconds(nanos), true))
    }

    fn whole_expr(&mut self) -> Parsed<NodeId> {
        if self.peek()?.kind == Kind::Eof {
            return Err(self.error(Span::default(), "no expression found in input"));
        }
        self.expr()
    }

    fn end(&mut self) -> Parsed<()> {
        self.expect(Kind::Eof).map(|_| ())
    }
}
