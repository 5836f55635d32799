//! The canonical text of a tree, on one line.
//!
//! Holds the printer; `pretty` breaks long lines. It knows nothing of the input the tree came from.
//! Invariant: what it prints parses to the same tree, and takes linear time and no recursion.
//! Reference: Prometheus `promql/parser/printer.go`.

use std::fmt::{self, Write as _};

use model::gofmt::{float_fixed, float_g, write_float, write_quoted};
use model::labels::{METRIC_NAME, is_legacy_label_name};
use model::time::DurationText;
use model::{MatchType, Millis};

use super::ast::{
    Aggregate, Ast, At, Binary, Cardinality, DurationArg, DurationOp, Expr, Extended, NodeId, Subquery,
    VectorSelector,
};
use super::literal::to_i64;

/// What is left to print.
enum Todo {
    Node(NodeId),
    Text(&'static str),
    /// The part of a subquery after its expression.
    SubquerySuffix(NodeId),
    /// The operator of a binary node, with its spaces and modifiers.
    Operator(NodeId),
}

/// Appends the canonical text of `root` to `out`.
pub(super) fn print(ast: &Ast, root: NodeId, out: &mut String) {
    let mut todo = vec![Todo::Node(root)];
    while let Some(next) = todo.pop() {
        match next {
            Todo::Text(text) => out.push_str(text),
            Todo::SubquerySuffix(id) => {
                if let Expr::Subquery(s) = ast.expr(id) {
                    subquery_suffix(ast, s, out);
                }
            }
            Todo::Operator(id) => {
                if let Expr::Binary(b) = ast.expr(id) {
                    out.push(' ');
                    operator(b, out);
                    out.push(' ');
                }
            }
            Todo::Node(id) => node(ast, id, &mut todo, out),
        }
    }
}

fn node(ast: &Ast, id: NodeId, todo: &mut Vec<Todo>, out: &mut String) {
    match ast.expr(id) {
        Expr::Number { value, duration } => number(*value, *duration, out),
        Expr::String(s) => write_quoted(out, s),
        Expr::Vector(s) => {
            selector(s, out);
            at(s.at, out);
            extended(s.extended, out);
            offset(ast, s.offset, out);
        }
        Expr::Matrix { .. } => matrix(ast, id, out),
        Expr::Subquery(s) => todo.extend([Todo::SubquerySuffix(id), Todo::Node(s.expr)]),
        Expr::Call { func, args } => {
            out.push_str(func.name);
            out.push('(');
            todo.push(Todo::Text(")"));
            for (i, arg) in args.iter().enumerate().rev() {
                todo.push(Todo::Node(*arg));
                if i > 0 {
                    todo.push(Todo::Text(", "));
                }
            }
        }
        Expr::Aggregate(a) => {
            aggregate_head(a, out);
            out.push('(');
            todo.extend([Todo::Text(")"), Todo::Node(a.expr)]);
            if let Some(param) = a.param {
                todo.extend([Todo::Text(", "), Todo::Node(param)]);
            }
        }
        Expr::Binary(b) => todo.extend([Todo::Node(b.rhs), Todo::Operator(id), Todo::Node(b.lhs)]),
        Expr::Unary { op, expr } => {
            out.push_str(op.as_str());
            todo.push(Todo::Node(*expr));
        }
        Expr::Paren(expr) => {
            out.push('(');
            todo.extend([Todo::Text(")"), Todo::Node(*expr)]);
        }
        Expr::Duration { op, lhs, rhs, wrapped } => {
            duration_node(*op, *lhs, *rhs, *wrapped, todo, out);
        }
    }
}

fn duration_node(
    op: DurationOp,
    lhs: Option<NodeId>,
    rhs: Option<NodeId>,
    wrapped: bool,
    todo: &mut Vec<Todo>,
    out: &mut String,
) {
    if wrapped {
        out.push('(');
        todo.push(Todo::Text(")"));
    }
    let operand = |id: Option<NodeId>| id.map(Todo::Node);
    match (op, lhs) {
        (DurationOp::Step, _) => out.push_str("step()"),
        (DurationOp::Range, _) => out.push_str("range()"),
        (DurationOp::MinOf | DurationOp::MaxOf, _) => {
            out.push_str(op.as_str());
            out.push('(');
            todo.push(Todo::Text(")"));
            todo.extend(operand(rhs));
            todo.push(Todo::Text(", "));
            todo.extend(operand(lhs));
        }
        (_, None) => {
            if op == DurationOp::Sub {
                out.push('-');
            }
            todo.extend(operand(rhs));
        }
        (_, Some(_)) => {
            todo.extend(operand(rhs));
            todo.extend([Todo::Text(" "), Todo::Text(op.as_str()), Todo::Text(" ")]);
            todo.extend(operand(lhs));
        }
    }
}

fn number(value: f64, duration: bool, out: &mut String) {
    if !duration {
        return write_float(out, value);
    }
    if value < 0.0 {
        out.push('-');
    }
    let _ = write!(out, "{}", DurationText::from_nanos(to_i64(value.abs() * 1e9)));
}

/// Nanoseconds as a duration, without a sign of its own.
fn nanos(n: i64, out: &mut String) {
    let _ = write!(out, "{}", DurationText::from_nanos(n));
}

/// `name{…}` without modifiers; matchers sorted by their text.
fn selector(s: &VectorSelector, out: &mut String) {
    out.push_str(&s.name);
    let mut shown: Vec<String> = Vec::new();
    for m in &s.matchers {
        let is_name =
            m.name == METRIC_NAME && m.kind == MatchType::Equal && *m.value == *s.name && !m.value.is_empty();
        if !is_name {
            shown.push(m.to_string());
        }
    }
    if !shown.is_empty() {
        shown.sort_unstable();
        out.push('{');
        out.push_str(&shown.join(","));
        out.push('}');
    }
}

fn at(at: Option<At>, out: &mut String) {
    match at {
        Some(At::Timestamp(ms)) => {
            out.push_str(" @ ");
            out.push_str(&at_seconds(ms));
        }
        Some(At::Start) => out.push_str(" @ start()"),
        Some(At::End) => out.push_str(" @ end()"),
        None => {}
    }
}

/// Milliseconds as `@` shows them: seconds with three decimals.
pub(super) fn at_seconds(ms: Millis) -> String {
    float_fixed(ms as f64 / 1000.0, 3)
}

fn extended(extended: Extended, out: &mut String) {
    out.push_str(match extended {
        Extended::None => "",
        Extended::Anchored => " anchored",
        Extended::Smoothed => " smoothed",
    });
}

fn offset(ast: &Ast, arg: Option<DurationArg>, out: &mut String) {
    let Some(arg) = arg else { return };
    out.push_str(" offset ");
    match arg {
        DurationArg::Expr(id) => print(ast, id, out),
        DurationArg::Nanos(n) if n < 0 => {
            out.push('-');
            nanos(n.wrapping_neg(), out);
        }
        DurationArg::Nanos(n) => nanos(n, out),
    }
}

fn duration_arg(ast: &Ast, arg: DurationArg, out: &mut String) {
    match arg {
        DurationArg::Expr(id) => print(ast, id, out),
        DurationArg::Nanos(n) => nanos(n, out),
    }
}

fn matrix(ast: &Ast, id: NodeId, out: &mut String) {
    let Expr::Matrix { selector: inner, range } = ast.expr(id) else { return };
    let Expr::Vector(s) = ast.expr(*inner) else { return };
    selector(s, out);
    out.push('[');
    duration_arg(ast, *range, out);
    out.push(']');
    extended(s.extended, out);
    at(s.at, out);
    offset(ast, s.offset, out);
}

/// `[range:step] @ at offset offset`
pub(super) fn subquery_suffix(ast: &Ast, s: &Subquery, out: &mut String) {
    out.push('[');
    duration_arg(ast, s.range, out);
    out.push(':');
    match s.step {
        Some(DurationArg::Nanos(0)) | None => {}
        Some(step) => duration_arg(ast, step, out),
    }
    out.push(']');
    at(s.at, out);
    offset(ast, s.offset, out);
}

/// `sum by (a, b) `, up to the opening bracket.
pub(super) fn aggregate_head(a: &Aggregate, out: &mut String) {
    out.push_str(a.op.as_str());
    if a.without || !a.grouping.is_empty() {
        out.push_str(if a.without { " without " } else { " by " });
        labels(&a.grouping, out);
        out.push(' ');
    }
}

/// The operator of a binary node with `bool` and its matching.
pub(super) fn operator(b: &Binary, out: &mut String) {
    out.push_str(b.op.as_str());
    if b.return_bool {
        out.push_str(" bool");
    }
    let Some(m) = b.matching() else { return };
    let grouped = matches!(m.card, Cardinality::ManyToOne | Cardinality::OneToMany);
    if !m.labels.is_empty() || m.on || grouped {
        out.push_str(if m.on { " on " } else { " ignoring " });
        labels(&m.labels, out);
    }
    if grouped {
        out.push_str(if m.card == Cardinality::ManyToOne { " group_left " } else { " group_right " });
        labels(&m.include, out);
    }
    match (m.fill_left, m.fill_right) {
        (Some(l), Some(r)) if l == r => fill(" fill", l, out),
        (l, r) => {
            if let Some(l) = l {
                fill(" fill_left", l, out);
            }
            if let Some(r) = r {
                fill(" fill_right", r, out);
            }
        }
    }
}

fn fill(word: &str, value: f64, out: &mut String) {
    let _ = write!(out, "{word} ({})", float_g(value));
}

fn labels(names: &[String], out: &mut String) {
    out.push('(');
    for (i, name) in names.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        if is_legacy_label_name(name) {
            out.push_str(name);
        } else {
            write_quoted(out, name.as_bytes());
        }
    }
    out.push(')');
}

/// A part of a tree, for printing.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    pub(super) ast: &'a Ast,
    pub(super) id: NodeId,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        print(self.ast, self.id, &mut out);
        f.write_str(&out)
    }
}

/// Prometheus' canonical text.
impl fmt::Display for Ast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(self.root()).fmt(f)
    }
}

impl Ast {
    /// The canonical text of a part of the tree.
    pub fn show(&self, id: NodeId) -> Shown<'_> {
        Shown { ast: self, id }
    }
}
