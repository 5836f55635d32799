//! The type check, and what it settles in the tree.
//!
//! Holds Prometheus' rules about which types go where. Walks with an explicit stack. It also finishes
//! binary nodes: set operators match many-to-many, and scalars are not matched. Invariant: the error
//! reported is the first one Prometheus reports. Reference: Prometheus `promql/parser/parse.go`
//! (`checkAST`).

use std::sync::Arc;

use model::gofmt::quote;
use model::labels::METRIC_NAME;

use super::ast::{AggregateOp, Binary, Cardinality, Expr, Node, NodeId, Span, ValueType, VectorSelector};
use super::error::ParseError;
use super::functions::{Function, Variadic};
use super::lex::is_space;

/// A node to be looked at before or after its children.
enum Visit {
    Enter(NodeId),
    Leave(NodeId),
    /// A child of an aggregation or call must have a type.
    Expect {
        child: NodeId,
        want: ValueType,
        context: Context,
    },
}

#[derive(Clone, Copy)]
enum Context {
    Aggregation,
    AggregationParam,
    Call(&'static Function),
}

struct Check<'n> {
    input: &'n [u8],
    nodes: &'n mut [Node],
}

type Checked = Result<(), ParseError>;

/// Checks the tree below `root`.
pub(super) fn check(input: &[u8], nodes: &mut [Node], root: NodeId) -> Checked {
    let mut check = Check { input, nodes };
    let mut todo = vec![Visit::Enter(root)];
    while let Some(visit) = todo.pop() {
        match visit {
            Visit::Enter(id) => check.enter(id, &mut todo)?,
            Visit::Leave(id) => check.leave(id)?,
            Visit::Expect { child, want, context } => check.expect(child, want, context)?,
        }
    }
    Ok(())
}

impl Check<'_> {
    fn fail(&self, span: Span, text: impl Into<String>) -> Checked {
        Err(ParseError::new(self.input, span, text))
    }

    fn value_type(&self, id: NodeId) -> ValueType {
        self.nodes[id.index()].value_type
    }

    fn span(&self, id: NodeId) -> Span {
        self.nodes[id.index()].span
    }

    /// Schedules the children of `id`; what is pushed last is looked at first.
    fn enter(&mut self, id: NodeId, todo: &mut Vec<Visit>) -> Checked {
        match &self.nodes[id.index()].expr {
            Expr::Number { .. } | Expr::String(_) | Expr::Duration { .. } => {}
            Expr::Vector(selector) => return self.selector(self.span(id), selector),
            Expr::Matrix { selector, .. } => todo.push(Visit::Enter(*selector)),
            Expr::Paren(expr) => todo.push(Visit::Enter(*expr)),
            Expr::Unary { expr, .. } => todo.extend([Visit::Leave(id), Visit::Enter(*expr)]),
            Expr::Subquery(s) => todo.extend([Visit::Leave(id), Visit::Enter(s.expr)]),
            Expr::Binary(b) => todo.extend([Visit::Leave(id), Visit::Enter(b.rhs), Visit::Enter(b.lhs)]),
            Expr::Aggregate(a) => {
                if let Some(param) = a.param {
                    let want =
                        if a.op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
                    todo.push(Visit::Expect { child: param, want, context: Context::AggregationParam });
                    todo.push(Visit::Enter(param));
                }
                let context = Context::Aggregation;
                todo.push(Visit::Expect { child: a.expr, want: ValueType::Vector, context });
                todo.push(Visit::Enter(a.expr));
            }
            Expr::Call { func, args } => {
                let (func, args) = (*func, args.clone());
                self.call(id, func, &args)?;
                for (i, arg) in args.iter().enumerate().rev() {
                    let Some(want) = func.args.get(i).or(func.args.last()) else { continue };
                    todo.push(Visit::Expect { child: *arg, want: *want, context: Context::Call(func) });
                    todo.push(Visit::Enter(*arg));
                }
            }
        }
        Ok(())
    }

    fn leave(&mut self, id: NodeId) -> Checked {
        let span = self.span(id);
        match &self.nodes[id.index()].expr {
            Expr::Unary { expr, .. } => {
                let found = self.value_type(*expr);
                if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                    let found = quote(found.documented());
                    let text = format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {found}"
                    );
                    return self.fail(span, text);
                }
            }
            Expr::Subquery(s) => {
                let found = self.value_type(s.expr);
                if found != ValueType::Vector {
                    let found = found.as_str();
                    return self.fail(
                        span,
                        format!("subquery is only allowed on instant vector, got {found} instead"),
                    );
                }
            }
            Expr::Binary(b) => {
                self.binary(span, b)?;
                let vectors = [b.lhs, b.rhs].iter().all(|side| self.value_type(*side) == ValueType::Vector);
                if let Expr::Binary(b) = &mut self.nodes[id.index()].expr {
                    settle(b, vectors);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn expect(&self, child: NodeId, want: ValueType, context: Context) -> Checked {
        let found = self.value_type(child);
        if found == want {
            return Ok(());
        }
        let place = match context {
            Context::Aggregation => "aggregation expression".to_owned(),
            Context::AggregationParam => "aggregation parameter".to_owned(),
            Context::Call(func) => format!("call to function {}", quote(func.name)),
        };
        let text = format!("expected type {} in {place}, got {}", want.documented(), found.documented());
        self.fail(self.span(child), text)
    }

    fn selector(&self, span: Span, selector: &VectorSelector) -> Checked {
        if selector.name.is_empty() {
            if selector.info_labels || selector.matchers.iter().any(|m| !m.matches_empty()) {
                return Ok(());
            }
            return self.fail(span, "vector selector must contain at least one non-empty matcher");
        }
        let written = &selector.matchers[..selector.matchers.len().saturating_sub(1)];
        match written.iter().find(|m| m.name == METRIC_NAME) {
            Some(m) => {
                let (name, again) = (quote(&selector.name), m.quoted_value());
                self.fail(span, format!("metric name must not be set twice: {name} or {again}"))
            }
            None => Ok(()),
        }
    }

    fn call(&mut self, id: NodeId, func: &'static Function, args: &[NodeId]) -> Checked {
        let (span, name, got) = (self.span(id), quote(func.name), args.len());
        if got < func.min_args() || func.max_args().is_some_and(|most| got > most) {
            let text = match func.variadic {
                Variadic::Exact => {
                    format!("expected {} argument(s) in call to {name}, got {got}", func.args.len())
                }
                _ if got < func.min_args() => {
                    format!("expected at least {} argument(s) in call to {name}, got {got}", func.min_args())
                }
                _ => {
                    let most = func.max_args().unwrap_or(got);
                    format!("expected at most {most} argument(s) in call to {name}, got {got}")
                }
            };
            return self.fail(span, text);
        }
        if func.name != "info" || args.len() < 2 {
            return Ok(());
        }
        let found = self.value_type(args[1]);
        if found != ValueType::Vector {
            let (want, found) = (ValueType::Vector.documented(), found.documented());
            return self.fail(span, format!("expected type {want} in call to function {name}, got {found}"));
        }
        let place = self.span(args[1]);
        match &mut self.nodes[args[1].index()].expr {
            Expr::Vector(selector) if selector.name.is_empty() => {
                Arc::make_mut(selector).info_labels = true;
                Ok(())
            }
            Expr::Vector(_) => self.fail(place, "expected label selectors only, got vector selector instead"),
            _ => self.fail(place, "expected label selectors only"),
        }
    }

    fn binary(&self, span: Span, b: &Binary) -> Checked {
        let (lhs, rhs) = (self.value_type(b.lhs), self.value_type(b.rhs));
        let scalar = |t| t == ValueType::Scalar;
        if b.return_bool && !b.op.is_comparison() {
            let text = "bool modifier can only be used on comparison operators";
            return self.fail(self.operator_span(b), text);
        }
        if b.op.is_comparison() && !b.return_bool && scalar(lhs) && scalar(rhs) {
            return self.fail(self.operator_span(b), "comparisons between scalars must use BOOL modifier");
        }
        let matching = b.matching.as_deref();
        if let Some(m) = matching.filter(|m| m.on)
            && let Some(twice) = m.labels.iter().find(|l| m.include.contains(l))
        {
            let text = format!("label {} must not occur in ON and GROUP clause at once", quote(twice));
            return self.fail(self.operator_span(b), text);
        }
        for side in [b.lhs, b.rhs] {
            if !matches!(self.value_type(side), ValueType::Scalar | ValueType::Vector) {
                let text = "binary expression must contain only scalar and instant vector types";
                return self.fail(self.span(side), text);
            }
        }
        if let Some(m) = matching {
            let filled = m.fill_left.is_some() || m.fill_right.is_some();
            let grouped = matches!(m.card, Cardinality::ManyToOne | Cardinality::OneToMany);
            if lhs != ValueType::Vector || rhs != ValueType::Vector {
                if !m.labels.is_empty() {
                    return self.fail(span, "vector matching only allowed between instant vectors");
                }
                if filled {
                    return self.fail(span, "filling in missing series only allowed between instant vectors");
                }
            } else if b.op.is_set() {
                if grouped {
                    let op = quote(b.op.as_str());
                    return self.fail(span, format!("no grouping allowed for {op} operation"));
                }
                if filled {
                    return self.fail(span, "filling in missing series not allowed for set operators");
                }
            }
        }
        if (scalar(lhs) || scalar(rhs)) && b.op.is_set() {
            let op = quote(b.op.as_str());
            return self.fail(span, format!("set operator {op} not allowed in binary scalar expression"));
        }
        Ok(())
    }

    /// The operator with its modifiers; the end is that of Prometheus, one byte short.
    fn operator_span(&self, b: &Binary) -> Span {
        let at = |i: usize| self.input.get(i).is_some_and(|b| is_space(*b));
        let mut start = self.span(b.lhs).end as usize;
        while at(start) {
            start += 1;
        }
        let mut end = (self.span(b.rhs).start as usize).saturating_sub(1);
        while end > 0 && at(end) {
            end -= 1;
        }
        Span::new(start, end)
    }
}

fn settle(b: &mut Binary, vectors: bool) {
    b.vectors = vectors;
    if !vectors {
        b.matching = None;
    } else if let Some(m) = b.matching.as_mut().filter(|_| b.op.is_set()) {
        m.card = Cardinality::ManyToMany;
    }
}
