//! Duration expressions: `5m`, `5m + step()`, `max_of(1h, 2 * range())`.
//!
//! Holds a second, smaller climb with its own stack, for use between brackets and after `offset`.
//! After `offset` a sign or a lone number ends the duration, so that `a offset 5m + b` adds `b`.
//! Invariant: the result is a number in seconds or a node of kind [`Expr::Duration`].

use super::super::ast::{BinaryOp, DurationOp, Expr, NodeId, Span, ValueType};
use super::super::lex::token::{Kind, Preprocessor, Token};
use super::super::literal;
use super::expr::is_duration_word;
use super::{Parsed, Parser, Stop};

enum Frame<'a> {
    Binary { lhs: NodeId, op: DurationOp, at: Token<'a> },
    Unary { minus: bool, at: Token<'a> },
    Paren { open: Token<'a> },
    Extremum { op: DurationOp, word: Token<'a>, first: Option<NodeId> },
}

fn binary(kind: Kind) -> Option<(DurationOp, u8)> {
    let Kind::Op(op) = kind else { return None };
    Some(match op {
        BinaryOp::Add => (DurationOp::Add, 1),
        BinaryOp::Sub => (DurationOp::Sub, 1),
        BinaryOp::Mul => (DurationOp::Mul, SIGN),
        BinaryOp::Div => (DurationOp::Div, SIGN),
        BinaryOp::Mod => (DurationOp::Mod, SIGN),
        BinaryOp::Pow => (DurationOp::Pow, 3),
        _ => return None,
    })
}

const SIGN: u8 = 2;

fn level(op: DurationOp) -> u8 {
    match op {
        DurationOp::Add | DurationOp::Sub => 1,
        DurationOp::Pow => 3,
        _ => SIGN,
    }
}

impl<'a> Parser<'a> {
    /// A duration expression as between brackets; reads one token beyond it.
    pub(super) fn duration_expr(&mut self) -> Parsed<NodeId> {
        let depth = self.depth;
        let parsed = self.climb_duration(Vec::new());
        self.depth = depth;
        parsed
    }

    /// The duration after `offset`.
    pub(super) fn offset_duration(&mut self) -> Parsed<NodeId> {
        let first = self.peek()?;
        match first.kind {
            Kind::Number | Kind::Duration => {
                self.bump();
                self.duration_literal(first)
            }
            Kind::Preprocessor(word) if is_duration_word(word) => {
                self.bump();
                let de = self.duration_word(first, word)?;
                self.experimental(de)?;
                Ok(de)
            }
            Kind::Op(BinaryOp::Add | BinaryOp::Sub) => {
                self.bump();
                self.signed_offset(first)
            }
            _ => self.duration_expr(),
        }
    }

    fn signed_offset(&mut self, sign: Token<'a>) -> Parsed<NodeId> {
        let minus = sign.kind == Kind::Op(BinaryOp::Sub);
        let next = self.peek()?;
        match next.kind {
            Kind::Number | Kind::Duration => {
                self.bump();
                let (value, duration) = self.number_or_duration(next)?;
                let value = if minus { -value } else { value };
                if literal::out_of_range(value) {
                    return Err(self.error(sign.span(), "duration out of range"));
                }
                let span = sign.span().to(next.span());
                Ok(self.push(Expr::Number { value, duration }, span, ValueType::Scalar))
            }
            Kind::Preprocessor(word) if is_duration_word(word) => {
                self.bump();
                let rhs = self.duration_word(next, word)?;
                let op = if minus { DurationOp::Sub } else { DurationOp::Add };
                let span = sign.span().to(self.span(rhs));
                let de = self.push_duration(op, None, Some(rhs), span);
                self.experimental(de)?;
                Ok(de)
            }
            Kind::LeftParen => {
                self.bump();
                self.deeper(next.span())?;
                let inner = self.duration_expr()?;
                self.expect(Kind::RightParen)?;
                self.depth -= 1;
                let span = self.span(inner);
                let wrapped = self.wrap(inner, span);
                self.signed(minus, sign, wrapped)
            }
            _ => {
                let depth = self.depth;
                let parsed = self.climb_duration(vec![Frame::Unary { minus, at: sign }]);
                self.depth = depth;
                parsed
            }
        }
    }

    fn climb_duration(&mut self, mut stack: Vec<Frame<'a>>) -> Parsed<NodeId> {
        loop {
            let token = self.peek()?;
            let mut operand = match token.kind {
                Kind::Number | Kind::Duration => {
                    self.bump();
                    self.duration_literal(token)?
                }
                Kind::Op(BinaryOp::Add | BinaryOp::Sub) => {
                    self.bump();
                    self.deeper(token.span())?;
                    stack.push(Frame::Unary { minus: token.kind == Kind::Op(BinaryOp::Sub), at: token });
                    continue;
                }
                Kind::LeftParen => {
                    self.bump();
                    self.deeper(token.span())?;
                    stack.push(Frame::Paren { open: token });
                    continue;
                }
                Kind::Preprocessor(word @ (Preprocessor::Step | Preprocessor::Range)) => {
                    self.bump();
                    let de = self.duration_word(token, word)?;
                    self.experimental(de)?;
                    de
                }
                Kind::Preprocessor(word @ (Preprocessor::MaxOf | Preprocessor::MinOf)) => {
                    self.bump();
                    self.expect(Kind::LeftParen)?;
                    self.deeper(token.span())?;
                    stack.push(Frame::Extremum { op: extremum(word), word: token, first: None });
                    continue;
                }
                _ => return Err(Stop::Unexpected),
            };
            loop {
                let token = self.peek()?;
                if let Some((op, own)) = binary(token.kind) {
                    self.bump();
                    let lhs = self.reduce_duration(&mut stack, operand, own, op == DurationOp::Pow)?;
                    stack.push(Frame::Binary { lhs, op, at: token });
                    break;
                }
                operand = self.reduce_duration(&mut stack, operand, 0, false)?;
                match (stack.pop(), token.kind) {
                    (None, _) => return Ok(operand),
                    (Some(Frame::Paren { open }), Kind::RightParen) => {
                        self.bump();
                        self.depth = self.depth.saturating_sub(1);
                        self.experimental(operand)?;
                        operand = self.wrap(operand, open.span().to(token.span()));
                    }
                    (Some(Frame::Extremum { op, word, first: None }), Kind::Comma) => {
                        self.bump();
                        stack.push(Frame::Extremum { op, word, first: Some(operand) });
                        break;
                    }
                    (Some(Frame::Extremum { op, first: Some(first), .. }), Kind::RightParen) => {
                        self.bump();
                        self.depth = self.depth.saturating_sub(1);
                        let span = self.span(first).to(self.span(operand));
                        operand = self.push_duration(op, Some(first), Some(operand), span);
                        self.experimental(operand)?;
                    }
                    _ => return Err(Stop::Unexpected),
                }
            }
        }
    }

    fn reduce_duration(
        &mut self,
        stack: &mut Vec<Frame<'a>>,
        mut operand: NodeId,
        limit: u8,
        right: bool,
    ) -> Parsed<NodeId> {
        loop {
            let own = match stack.last() {
                Some(Frame::Binary { op, .. }) => level(*op),
                Some(Frame::Unary { .. }) => SIGN,
                _ => return Ok(operand),
            };
            if own < limit || (own == limit && right) {
                return Ok(operand);
            }
            operand = match stack.pop() {
                Some(Frame::Binary { lhs, op, at }) => self.finish_duration(lhs, op, at, operand)?,
                Some(Frame::Unary { minus, at }) => {
                    self.depth = self.depth.saturating_sub(1);
                    self.signed(minus, at, operand)?
                }
                _ => return Ok(operand),
            };
        }
    }

    fn finish_duration(&mut self, lhs: NodeId, op: DurationOp, at: Token<'a>, rhs: NodeId) -> Parsed<NodeId> {
        self.experimental(lhs)?;
        let zero = matches!(self.node(rhs).expr, Expr::Number { value, .. } if value == 0.0);
        if zero && op == DurationOp::Div {
            return Err(self.error(at.span(), "division by zero"));
        }
        if zero && op == DurationOp::Mod {
            return Err(self.error(at.span(), "modulo by zero"));
        }
        let span = self.span(lhs).to(self.span(rhs));
        Ok(self.push_duration(op, Some(lhs), Some(rhs), span))
    }

    fn duration_literal(&mut self, token: Token<'a>) -> Parsed<NodeId> {
        let (value, duration) = self.number_or_duration(token)?;
        if literal::out_of_range(value) {
            return Err(self.error(token.span(), "duration out of range"));
        }
        Ok(self.push(Expr::Number { value, duration }, token.span(), ValueType::Scalar))
    }

    /// `step()`, `range()`, `max_of(a, b)`, `min_of(a, b)`, the word having been taken.
    fn duration_word(&mut self, token: Token<'a>, word: Preprocessor) -> Parsed<NodeId> {
        self.expect(Kind::LeftParen)?;
        let op = match word {
            Preprocessor::MaxOf | Preprocessor::MinOf => {
                self.deeper(token.span())?;
                let first = self.duration_expr()?;
                self.expect(Kind::Comma)?;
                let second = self.duration_expr()?;
                self.expect(Kind::RightParen)?;
                self.depth -= 1;
                let span = self.span(first).to(self.span(second));
                return Ok(self.push_duration(extremum(word), Some(first), Some(second), span));
            }
            Preprocessor::Step => DurationOp::Step,
            _ => DurationOp::Range,
        };
        let close = self.expect(Kind::RightParen)?;
        Ok(self.push_duration(op, None, None, token.span().to(close.span())))
    }

    fn signed(&mut self, minus: bool, sign: Token<'a>, operand: NodeId) -> Parsed<NodeId> {
        let node = &mut self.nodes[operand.index()];
        if let Expr::Number { value, .. } = &mut node.expr {
            if minus {
                *value *= -1.0;
            }
            let value = *value;
            node.span = sign.span().to(node.span);
            if literal::out_of_range(value) {
                return Err(self.error(sign.span(), "duration out of range"));
            }
            return Ok(operand);
        }
        if !minus {
            return Ok(operand);
        }
        let span = sign.span().to(node.span);
        Ok(self.push_duration(DurationOp::Sub, None, Some(operand), span))
    }

    /// Marks a duration expression as parenthesised; a number becomes the operand of a plus.
    fn wrap(&mut self, id: NodeId, span: Span) -> NodeId {
        if let Expr::Duration { wrapped, .. } = &mut self.nodes[id.index()].expr {
            *wrapped = true;
            return id;
        }
        // As in Prometheus the span ends with the number, not with the bracket.
        let span = span.to(self.span(id));
        let wrapped = Expr::Duration { op: DurationOp::Add, lhs: None, rhs: Some(id), wrapped: true };
        self.push(wrapped, span, ValueType::Scalar)
    }

    fn push_duration(
        &mut self,
        op: DurationOp,
        lhs: Option<NodeId>,
        rhs: Option<NodeId>,
        span: Span,
    ) -> NodeId {
        self.push(Expr::Duration { op, lhs, rhs, wrapped: false }, span, ValueType::Scalar)
    }

    fn experimental(&self, id: NodeId) -> Parsed<()> {
        if self.options.duration_expressions {
            return Ok(());
        }
        Err(self.error(self.span(id), "experimental duration expression is not enabled"))
    }
}

fn extremum(word: Preprocessor) -> DurationOp {
    if word == Preprocessor::MaxOf { DurationOp::MaxOf } else { DurationOp::MinOf }
}
