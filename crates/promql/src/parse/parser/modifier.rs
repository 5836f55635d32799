//! What follows an operand: ranges, subqueries, `offset`, `@`, `anchored`, `smoothed`.
//!
//! Holds the rules for which of them may follow what. Invariant: a modifier changes the selector or
//! subquery it follows; the selector inside a range selector carries the modifiers written after the
//! range.

use std::sync::Arc;

use super::super::ast::{
    At, BinaryOp, DurationArg, Expr, Extended, NodeId, Subquery, ValueType, VectorSelector,
};
use super::super::lex::token::{Keyword, Kind, Preprocessor, Token};
use super::super::literal;
use super::{Parsed, Parser, Stop};
use model::gofmt::float_fixed;

/// What `offset` and `@` change.
enum Target<'n> {
    Selector(&'n mut VectorSelector),
    Subquery(&'n mut Subquery),
}

const AFTER_BRACKET: &str = "number, duration, step(), or range()";

impl<'a> Parser<'a> {
    /// Applies every modifier that follows `operand`.
    pub(super) fn modifiers(&mut self, mut operand: NodeId) -> Parsed<NodeId> {
        loop {
            let token = self.peek()?;
            match token.kind {
                Kind::LeftBracket => {
                    self.bump();
                    operand = self.range(operand, token)?;
                }
                Kind::Keyword(Keyword::Offset) => {
                    self.bump();
                    let parsed = self.offset_duration();
                    let offset = self.within(parsed, "offset", AFTER_BRACKET)?;
                    self.set_offset(operand, offset)?;
                }
                Kind::At => {
                    self.bump();
                    let parsed = self.at_value(operand);
                    let at = self.within(parsed, "@", "timestamp")?;
                    self.set_at(operand, at)?;
                }
                Kind::Keyword(Keyword::Anchored) => {
                    self.bump();
                    self.set_extended(operand, Extended::Anchored)?;
                }
                Kind::Keyword(Keyword::Smoothed) => {
                    self.bump();
                    self.set_extended(operand, Extended::Smoothed)?;
                }
                _ => return Ok(operand),
            }
        }
    }

    /// `[5m]`, `[5m:]`, `[5m:10s]`; the opening bracket has been taken.
    fn range(&mut self, operand: NodeId, open: Token<'a>) -> Parsed<NodeId> {
        let parsed = self.duration_expr();
        let range = self.within(parsed, "subquery or range selector", AFTER_BRACKET)?;
        let range = self.positive(range)?;
        if let Some(close) = self.eat(Kind::RightBracket)? {
            return self.finish_matrix(operand, range, open, close);
        }
        let colon = self.expect(Kind::Colon);
        self.within(colon, "subquery or range", "\":\" or \"]\"")?;
        let mut step = None;
        let close = match self.eat(Kind::RightBracket)? {
            Some(close) => close,
            None => {
                let parsed = self.duration_expr();
                let wanted = "number, duration, step(), range(), or \"]\"";
                let id = self.within(parsed, "subquery selector", wanted)?;
                step = Some(self.positive(id)?);
                let close = self.expect(Kind::RightBracket);
                self.within(close, "subquery selector", "\"]\"")?
            }
        };
        let span = self.span(operand).to(close.span());
        let subquery = Subquery { expr: operand, range, step, offset: None, at: None };
        Ok(self.push(Expr::Subquery(Box::new(subquery)), span, ValueType::Matrix))
    }

    fn finish_matrix(
        &mut self,
        operand: NodeId,
        range: DurationArg,
        open: Token<'a>,
        close: Token<'a>,
    ) -> Parsed<NodeId> {
        let wrong = match &self.node(operand).expr {
            Expr::Vector(v) if v.offset.is_some() => Some("no offset modifiers allowed before range"),
            Expr::Vector(v) if v.at.is_some() => Some("no @ modifiers allowed before range"),
            Expr::Vector(_) => None,
            _ => Some("ranges only allowed for vector selectors"),
        };
        if let Some(text) = wrong {
            return Err(self.error(open.span().to(close.span()), text));
        }
        let span = self.span(operand).to(close.span());
        Ok(self.push(Expr::Matrix { selector: operand, range }, span, ValueType::Matrix))
    }

    /// A range or step; constants must be above zero.
    fn positive(&mut self, id: NodeId) -> Parsed<DurationArg> {
        let node = self.node(id);
        if let Expr::Number { value, .. } = node.expr
            && value <= 0.0
        {
            return Err(self.error(node.span, "duration must be greater than 0"));
        }
        Ok(self.duration_arg(id))
    }

    /// A parsed duration as an argument: constants leave the tree.
    fn duration_arg(&mut self, id: NodeId) -> DurationArg {
        match self.node(id).expr {
            Expr::Number { value, .. } => {
                if id.index() + 1 == self.nodes.len() {
                    self.nodes.pop();
                }
                DurationArg::Nanos(literal::nanos(value))
            }
            _ => DurationArg::Expr(id),
        }
    }

    fn target(&mut self, operand: NodeId, wrong: &str) -> Parsed<Target<'_>> {
        let at = match self.node(operand).expr {
            Expr::Matrix { selector, .. } => selector,
            _ => operand,
        };
        let span = self.span(operand);
        if !matches!(self.node(at).expr, Expr::Vector(_) | Expr::Subquery(_)) {
            return Err(self.error(span, wrong));
        }
        match &mut self.nodes[at.index()].expr {
            Expr::Vector(selector) => Ok(Target::Selector(Arc::make_mut(selector))),
            Expr::Subquery(subquery) => Ok(Target::Subquery(subquery)),
            _ => Err(Stop::Unexpected),
        }
    }

    fn set_offset(&mut self, operand: NodeId, offset: NodeId) -> Parsed<()> {
        let span = self.span(operand);
        let arg = match self.duration_arg(offset) {
            DurationArg::Nanos(0) => None,
            arg => Some(arg),
        };
        let wrong = "offset modifier must be preceded by an instant vector selector or range vector selector \
                     or a subquery";
        let slot = match self.target(operand, wrong)? {
            Target::Selector(s) => &mut s.offset,
            Target::Subquery(s) => &mut s.offset,
        };
        if slot.is_some() {
            return Err(self.error(span, "offset may not be set multiple times"));
        }
        *slot = arg;
        self.extend_to_last_closing(operand);
        Ok(())
    }

    fn extend_to_last_closing(&mut self, operand: NodeId) {
        let end = u32::try_from(self.last_closing).unwrap_or(u32::MAX);
        self.nodes[operand.index()].span.end = end;
    }

    /// `5`, `-1.5`, `1m`, `start()`, `end()`
    fn at_value(&mut self, operand: NodeId) -> Parsed<At> {
        let mut token = self.peek()?;
        if let Kind::Preprocessor(word @ (Preprocessor::Start | Preprocessor::End)) = token.kind {
            self.bump();
            self.expect(Kind::LeftParen)?;
            self.expect(Kind::RightParen)?;
            return Ok(if word == Preprocessor::Start { At::Start } else { At::End });
        }
        let mut sign = 1.0;
        if let Kind::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) = token.kind {
            self.bump();
            sign = if op == BinaryOp::Sub { -1.0 } else { 1.0 };
            token = self.peek()?;
        }
        if !matches!(token.kind, Kind::Number | Kind::Duration) {
            return Err(Stop::Unexpected);
        }
        self.bump();
        let seconds = sign * self.number_or_duration(token)?.0;
        // As Prometheus: the seconds must fit 64 bits, the milliseconds need not.
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        if !(seconds > -LIMIT && seconds < LIMIT) {
            let text = format!("timestamp out of bounds for @ modifier: {}", float_fixed(seconds, 6));
            return Err(self.error(self.span(operand), text));
        }
        Ok(At::Timestamp(literal::to_i64((seconds * 1000.0).round())))
    }

    fn set_at(&mut self, operand: NodeId, at: At) -> Parsed<()> {
        let span = self.span(operand);
        let wrong = "@ modifier must be preceded by an instant vector selector or range vector selector or a \
                     subquery";
        let slot = match self.target(operand, wrong)? {
            Target::Selector(s) => &mut s.at,
            Target::Subquery(s) => &mut s.at,
        };
        if slot.is_some() {
            return Err(self.error(span, "@ <timestamp> may not be set multiple times"));
        }
        *slot = Some(at);
        self.extend_to_last_closing(operand);
        Ok(())
    }

    fn set_extended(&mut self, operand: NodeId, kind: Extended) -> Parsed<()> {
        let span = self.span(operand);
        let name = if kind == Extended::Anchored { "anchored" } else { "smoothed" };
        if !self.options.extended_range_selectors {
            return Err(self.error(span, format!("{name} modifier is experimental and not enabled")));
        }
        if let Expr::Subquery(_) = self.node(operand).expr {
            return Err(self.error(span, format!("{name} modifier is not supported for subqueries")));
        }
        let wrong = format!("{name} modifier not implemented");
        if let Target::Selector(selector) = self.target(operand, &wrong)? {
            if selector.extended != Extended::None && selector.extended != kind {
                let text = "anchored and smoothed modifiers cannot be used together";
                return Err(self.error(span, text));
            }
            selector.extended = kind;
        }
        Ok(())
    }
}
