//! Expressions: precedence climbing over an explicit stack.
//!
//! Holds the loop that alternates between operands and operators, and what happens when an operator,
//! a bracket or the end closes what was open. Chains of operators and nested brackets grow a vector,
//! never the call stack. Invariant: operands are reduced in the order in which Prometheus' generated
//! parser reduces them, so the first error is the same.

use super::super::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Expr, NodeId, Span, UnaryOp, ValueType, VectorMatching,
};
use super::super::functions::{self, Gate};
use super::super::lex::token::{Keyword, Kind, Preprocessor, Token};
use super::{Parsed, Parser, Stop};

/// Something open, waiting for the operand being parsed.
enum Frame<'a> {
    Binary { lhs: NodeId, op: BinaryOp, matching: Option<Box<VectorMatching>>, return_bool: bool },
    Unary { op: UnaryOp, start: usize },
    Paren { start: usize },
    Call(Box<Call<'a>>),
    Aggregate(Box<OpenAggregate>),
}

struct Call<'a> {
    name: Token<'a>,
    args: Vec<NodeId>,
}

struct OpenAggregate {
    op: AggregateOp,
    start: usize,
    modifier: Option<Grouping>,
    args: Vec<NodeId>,
}

/// `by (…)` or `without (…)`.
struct Grouping {
    labels: Vec<String>,
    without: bool,
}

/// How strongly an operator binds, and signs as strongly as `*`.
fn precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Eql
        | BinaryOp::Neq
        | BinaryOp::Lss
        | BinaryOp::Lte
        | BinaryOp::Gtr
        | BinaryOp::Gte
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => SIGN,
        BinaryOp::Pow => 6,
    }
}

const SIGN: u8 = 5;

impl<'a> Parser<'a> {
    /// Parses up to the end of the input.
    pub(super) fn expr(&mut self) -> Parsed<NodeId> {
        let mut stack = Vec::new();
        let parsed = self.climb(&mut stack);
        parsed.map_err(|stop| match stop {
            // Of the constructs that can be open here only aggregations have words of their own.
            Stop::Unexpected if stack.iter().any(|f| matches!(f, Frame::Aggregate(_))) => {
                Stop::Error(Box::new(self.unexpected("aggregation", "")))
            }
            other => other,
        })
    }

    fn climb(&mut self, stack: &mut Vec<Frame<'a>>) -> Parsed<NodeId> {
        loop {
            let Some(mut operand) = self.operand(stack)? else { continue };
            // Operators and closing brackets, until another operand is due.
            loop {
                operand = self.modifiers(operand)?;
                let token = self.peek()?;
                if let Kind::Op(op) = token.kind {
                    self.bump();
                    let lhs = self.reduce(stack, operand, precedence(op), op == BinaryOp::Pow)?;
                    let (matching, return_bool) = self.binary_modifiers()?;
                    stack.push(Frame::Binary { lhs, op, matching, return_bool });
                    break;
                }
                operand = self.reduce(stack, operand, 0, false)?;
                match (stack.pop(), token.kind) {
                    (None, Kind::Eof) => return Ok(operand),
                    (Some(Frame::Paren { start }), Kind::RightParen) => {
                        self.bump();
                        self.depth -= 1;
                        let value_type = self.node(operand).value_type;
                        operand = self.push(Expr::Paren(operand), Span::new(start, token.end()), value_type);
                    }
                    (Some(Frame::Call(mut call)), Kind::RightParen) => {
                        self.bump();
                        call.args.push(operand);
                        operand = self.finish_call(call.name, call.args)?;
                    }
                    (Some(Frame::Aggregate(mut open)), Kind::RightParen) => {
                        self.bump();
                        open.args.push(operand);
                        operand = self.finish_aggregate(*open)?;
                    }
                    (Some(mut frame @ (Frame::Call(_) | Frame::Aggregate(_))), Kind::Comma) => {
                        self.bump();
                        match &mut frame {
                            Frame::Call(call) => call.args.push(operand),
                            Frame::Aggregate(open) => open.args.push(operand),
                            _ => {}
                        }
                        stack.push(frame);
                        if !starts_operand(self.peek()?.kind) {
                            let text = "trailing commas not allowed in function call args";
                            return Err(self.error(token.span(), text));
                        }
                        break;
                    }
                    (frame, _) => {
                        stack.extend(frame);
                        return Err(Stop::Unexpected);
                    }
                }
            }
        }
    }

    /// Parses one operand without its modifiers, or opens a frame and returns `None`.
    fn operand(&mut self, stack: &mut Vec<Frame<'a>>) -> Parsed<Option<NodeId>> {
        let token = self.peek()?;
        match token.kind {
            Kind::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.bump();
                self.deeper(token.span())?;
                let op = if op == BinaryOp::Add { UnaryOp::Plus } else { UnaryOp::Minus };
                stack.push(Frame::Unary { op, start: token.start });
                Ok(None)
            }
            Kind::Number | Kind::Duration => {
                self.bump();
                let (value, duration) = self.number_or_duration(token)?;
                let number = Expr::Number { value, duration };
                Ok(Some(self.push(number, token.span(), ValueType::Scalar)))
            }
            Kind::String => {
                self.bump();
                let value = self.unquote(token)?;
                let expr = Expr::String(value.into_boxed_slice());
                Ok(Some(self.push(expr, token.span(), ValueType::String)))
            }
            Kind::LeftParen => {
                self.bump();
                self.deeper(token.span())?;
                stack.push(Frame::Paren { start: token.start });
                Ok(None)
            }
            Kind::LeftBrace => self.selector(None).map(Some),
            Kind::Identifier | Kind::Preprocessor(_) => {
                self.bump();
                if self.eat(Kind::LeftParen)?.is_none() {
                    return self.selector(Some(token)).map(Some);
                }
                self.deeper(token.span())?;
                if self.eat(Kind::RightParen)?.is_some() {
                    return self.finish_call(token, Vec::new()).map(Some);
                }
                stack.push(Frame::Call(Box::new(Call { name: token, args: Vec::new() })));
                Ok(None)
            }
            Kind::Aggregate(op) => {
                self.bump();
                self.aggregate(stack, token, op)
            }
            kind if names_metric(kind) => {
                self.bump();
                self.selector(Some(token)).map(Some)
            }
            _ => Err(Stop::Unexpected),
        }
    }

    /// What follows the name of an aggregation; without brackets it is a metric's name.
    fn aggregate(
        &mut self,
        stack: &mut Vec<Frame<'a>>,
        token: Token<'a>,
        op: AggregateOp,
    ) -> Parsed<Option<NodeId>> {
        let modifier = match self.peek()?.kind {
            Kind::Keyword(Keyword::By | Keyword::Without) => {
                let parsed = self.grouping();
                Some(parsed?)
            }
            Kind::LeftParen => None,
            _ => return self.selector(Some(token)).map(Some),
        };
        let opened = self.expect(Kind::LeftParen);
        self.within(opened, "aggregation", "")?;
        self.deeper(token.span())?;
        let open = OpenAggregate { op, start: token.start, modifier, args: Vec::new() };
        if self.eat(Kind::RightParen)?.is_some() {
            return self.finish_aggregate(open).map(Some);
        }
        stack.push(Frame::Aggregate(Box::new(open)));
        Ok(None)
    }

    fn grouping(&mut self) -> Parsed<Grouping> {
        let without = self.peek()?.kind == Kind::Keyword(Keyword::Without);
        self.bump();
        Ok(Grouping { labels: self.grouping_labels()?, without })
    }

    /// Closes every operator on the stack that binds more strongly than `level`, or as strongly
    /// unless `right` says that it groups to the right.
    fn reduce(
        &mut self,
        stack: &mut Vec<Frame<'a>>,
        mut operand: NodeId,
        level: u8,
        right: bool,
    ) -> Parsed<NodeId> {
        loop {
            let own = match stack.last() {
                Some(Frame::Binary { op, .. }) => precedence(*op),
                Some(Frame::Unary { .. }) => SIGN,
                _ => return Ok(operand),
            };
            if own < level || (own == level && right) {
                return Ok(operand);
            }
            match stack.pop() {
                Some(Frame::Binary { lhs, op, matching, return_bool }) => {
                    operand = self.finish_binary(lhs, op, matching, return_bool, operand)?;
                }
                Some(Frame::Unary { op, start }) => {
                    self.depth -= 1;
                    operand = self.finish_unary(op, start, operand);
                }
                _ => return Ok(operand),
            }
        }
    }

    fn finish_unary(&mut self, op: UnaryOp, start: usize, operand: NodeId) -> NodeId {
        let node = &mut self.nodes[operand.index()];
        let span = Span::new(start, 0).to(node.span);
        if let Expr::Number { value, .. } = &mut node.expr {
            if op == UnaryOp::Minus {
                *value *= -1.0;
            }
            node.span = span;
            return operand;
        }
        let value_type = node.value_type;
        self.push(Expr::Unary { op, expr: operand }, span, value_type)
    }

    fn finish_binary(
        &mut self,
        lhs: NodeId,
        op: BinaryOp,
        matching: Option<Box<VectorMatching>>,
        return_bool: bool,
        rhs: NodeId,
    ) -> Parsed<NodeId> {
        let span = self.span(lhs).to(self.span(rhs));
        let filled = matching.as_ref().is_some_and(|m| m.fill_left.is_some() || m.fill_right.is_some());
        if filled && !self.options.fill_modifiers {
            return Err(self.error(span, "binop fill modifiers are experimental and not enabled"));
        }
        let scalar = |id: NodeId| self.node(id).value_type == ValueType::Scalar;
        let value_type = if scalar(lhs) && scalar(rhs) { ValueType::Scalar } else { ValueType::Vector };
        let binary = Binary { op, lhs, rhs, matching, vectors: true, return_bool };
        Ok(self.push(Expr::Binary(binary), span, value_type))
    }

    fn finish_call(&mut self, name: Token<'a>, args: Vec<NodeId>) -> Parsed<NodeId> {
        self.depth -= 1;
        let word = name.word();
        let found = functions::lookup(word).filter(|f| f.gate != Gate::Extended || self.options.xfunctions);
        let Some(func) = found else {
            let text = format!("unknown function with name {}", model::gofmt::quote(word));
            return Err(self.error(name.span(), text));
        };
        if func.gate == Gate::Experimental && !self.options.experimental_functions {
            let text = format!("function {} is not enabled", model::gofmt::quote(word));
            return Err(self.error(name.span(), text));
        }
        let span = Span::new(name.start, self.last_closing);
        Ok(self.push(Expr::Call { func, args: args.into_boxed_slice() }, span, func.returns))
    }

    /// The closing bracket has been taken; a modifier may follow if none came before.
    fn finish_aggregate(&mut self, open: OpenAggregate) -> Parsed<NodeId> {
        let OpenAggregate { op, start, modifier, args } = open;
        self.depth -= 1;
        let mut end = self.last_closing;
        let modifier = match modifier {
            Some(modifier) => modifier,
            None => match self.peek()?.kind {
                Kind::Keyword(Keyword::By | Keyword::Without) => {
                    let modifier = self.grouping()?;
                    end = self.last_closing;
                    modifier
                }
                // Prometheus had to read one token ahead to get here, and looks back for the bracket.
                _ => {
                    end = self.lex.right_paren_before_last(self.last_closing);
                    Grouping { labels: Vec::new(), without: false }
                }
            },
        };
        let span = Span::new(start, end);
        let fail = |text: String| Err(self.error(span, text));
        if args.is_empty() {
            return fail("no arguments for aggregate expression provided".to_owned());
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let name = op.as_str();
            return fail(format!(
                "{name}() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
            ));
        }
        let wanted = 1 + usize::from(op.has_param());
        if args.len() != wanted {
            return fail(format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
                args.len()
            ));
        }
        let param = op.has_param().then(|| args[0]);
        let Grouping { labels, without } = modifier;
        let aggregate = Aggregate { op, expr: args[wanted - 1], param, grouping: labels, without };
        Ok(self.push(Expr::Aggregate(Box::new(aggregate)), span, ValueType::Vector))
    }

    /// `bool`, `on`/`ignoring`, `group_left`/`group_right` and `fill…` after an operator.
    fn binary_modifiers(&mut self) -> Parsed<(Option<Box<VectorMatching>>, bool)> {
        let return_bool = self.eat(Kind::Keyword(Keyword::Bool))?.is_some();
        let mut matching = VectorMatching::default();
        let mut plain = true;
        if let Kind::Keyword(word @ (Keyword::On | Keyword::Ignoring)) = self.peek()?.kind {
            self.bump();
            matching.labels = self.grouping_labels()?;
            matching.on = word == Keyword::On;
            plain = false;
            if let Kind::Keyword(word @ (Keyword::GroupLeft | Keyword::GroupRight)) = self.peek()?.kind {
                self.bump();
                use super::super::ast::Cardinality::{ManyToOne, OneToMany};
                matching.card = if word == Keyword::GroupLeft { ManyToOne } else { OneToMany };
                // The labels may be left out where an operand or a fill follows.
                let next = self.peek()?.kind;
                if next == Kind::LeftParen || !starts_operand(next) {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        if let Kind::Keyword(word @ (Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) =
            self.peek()?.kind
        {
            self.bump();
            plain = false;
            let value = self.fill_value()?;
            let other = match word {
                Keyword::FillLeft => Some(Keyword::FillRight),
                Keyword::FillRight => Some(Keyword::FillLeft),
                _ => None,
            };
            let mut second = None;
            if let Some(other) = other
                && self.eat(Kind::Keyword(other))?.is_some()
            {
                second = Some(self.fill_value()?);
            }
            (matching.fill_left, matching.fill_right) = match word {
                Keyword::FillLeft => (Some(value), second),
                Keyword::FillRight => (second, Some(value)),
                _ => (Some(value), Some(value)),
            };
        }
        Ok(((!plain).then(|| Box::new(matching)), return_bool))
    }

    /// `(5)`, `(-1m)`
    fn fill_value(&mut self) -> Parsed<f64> {
        self.expect(Kind::LeftParen)?;
        let mut token = self.peek()?;
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
        let (value, _) = self.number_or_duration(token)?;
        self.expect(Kind::RightParen)?;
        Ok(sign * value)
    }
}

/// Words that may stand for a metric's name besides identifiers and aggregations.
pub(super) fn names_metric(kind: Kind) -> bool {
    use Keyword::{Anchored, By, Fill, FillLeft, FillRight, Offset, Smoothed, Without};
    matches!(
        kind,
        Kind::Identifier
            | Kind::MetricIdentifier
            | Kind::Aggregate(_)
            | Kind::Preprocessor(_)
            | Kind::Op(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
            | Kind::Keyword(By | Without | Offset | Smoothed | Anchored | Fill | FillLeft | FillRight)
    )
}

fn starts_operand(kind: Kind) -> bool {
    names_metric(kind)
        || matches!(
            kind,
            Kind::LeftBrace
                | Kind::LeftParen
                | Kind::Number
                | Kind::Duration
                | Kind::String
                | Kind::Op(BinaryOp::Add | BinaryOp::Sub)
        )
}

/// Words of a duration expression that take arguments or none.
pub(super) fn is_duration_word(word: Preprocessor) -> bool {
    matches!(word, Preprocessor::Step | Preprocessor::Range | Preprocessor::MaxOf | Preprocessor::MinOf)
}
