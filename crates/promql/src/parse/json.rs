//! The tree as JSON, as `/api/v1/parse_query` answers it.
//!
//! Holds the writer; no JSON library, so that the crate has none. Invariant: keys are sorted and
//! strings escaped as Go's encoder does, so the bytes are Prometheus'.
//! Reference: Prometheus `web/api/v1/translate_ast.go`.

use std::fmt::Write as _;

use model::Matcher;
use model::gofmt::{float, float_e};

use super::ast::{Ast, At, Binary, DurationArg, Expr, Extended, NodeId, Subquery, ValueType, VectorSelector};
use super::functions::{Function, Variadic};

/// What is left to write.
enum Todo {
    Node(NodeId),
    /// A duration expression's operand.
    Duration(Option<NodeId>),
    Text(&'static str),
    /// A subquery after its inner expression.
    SubqueryRest(NodeId),
    /// An aggregation between its expression and its parameter.
    AggregateMiddle(NodeId),
    /// What follows an aggregation's parameter.
    AggregateRest(NodeId),
    /// A binary node between its operands.
    BinaryMiddle(NodeId),
    /// A call after its arguments.
    CallRest(&'static Function),
}

impl Ast {
    /// The tree as `/api/v1/parse_query` answers it.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        write(self, self.root(), &mut out);
        out
    }
}

fn write(ast: &Ast, root: NodeId, out: &mut String) {
    let mut todo = vec![Todo::Node(root)];
    while let Some(next) = todo.pop() {
        match next {
            Todo::Text(text) => out.push_str(text),
            Todo::Node(id) => node(ast, id, &mut todo, out),
            Todo::Duration(None) => out.push_str("null"),
            Todo::Duration(Some(id)) => duration(ast, id, &mut todo, out),
            Todo::SubqueryRest(id) => {
                if let Expr::Subquery(s) = ast.expr(id) {
                    subquery_rest(ast, s, out);
                }
            }
            Todo::AggregateMiddle(id) => {
                if let Expr::Aggregate(a) = ast.expr(id) {
                    out.push_str(",\"grouping\":");
                    strings(&a.grouping, out);
                    let _ = write!(out, ",\"op\":\"{}\",\"param\":", a.op.as_str());
                    todo.push(a.param.map_or(Todo::Text("null"), Todo::Node));
                }
            }
            Todo::AggregateRest(id) => {
                if let Expr::Aggregate(a) = ast.expr(id) {
                    let _ = write!(out, ",\"type\":\"aggregation\",\"without\":{}}}", a.without);
                }
            }
            Todo::BinaryMiddle(id) => {
                if let Expr::Binary(b) = ast.expr(id) {
                    binary_middle(b, out);
                }
            }
            Todo::CallRest(func) => call_rest(func, out),
        }
    }
}

fn node(ast: &Ast, id: NodeId, todo: &mut Vec<Todo>, out: &mut String) {
    match ast.expr(id) {
        Expr::Number { value, .. } => {
            let _ = write!(out, "{{\"type\":\"numberLiteral\",\"val\":\"{}\"}}", float(*value));
        }
        Expr::String(s) => {
            out.push_str("{\"type\":\"stringLiteral\",\"val\":");
            string(s, out);
            out.push('}');
        }
        Expr::Vector(s) => selector(ast, s, None, out),
        Expr::Matrix { selector: inner, range } => {
            if let Expr::Vector(s) = ast.expr(*inner) {
                selector(ast, s, Some(*range), out);
            }
        }
        Expr::Subquery(s) => {
            out.push_str("{\"expr\":");
            todo.extend([Todo::SubqueryRest(id), Todo::Node(s.expr)]);
        }
        Expr::Call { func, args } => {
            out.push_str("{\"args\":[");
            todo.push(Todo::CallRest(func));
            for (i, arg) in args.iter().enumerate().rev() {
                todo.push(Todo::Node(*arg));
                if i > 0 {
                    todo.push(Todo::Text(","));
                }
            }
        }
        Expr::Aggregate(a) => {
            out.push_str("{\"expr\":");
            todo.extend([Todo::AggregateRest(id), Todo::AggregateMiddle(id), Todo::Node(a.expr)]);
        }
        Expr::Binary(b) => {
            let _ = write!(out, "{{\"bool\":{},\"lhs\":", b.return_bool);
            todo.extend([Todo::Text(",\"type\":\"binaryExpr\"}"), Todo::Node(b.rhs)]);
            todo.extend([Todo::BinaryMiddle(id), Todo::Node(b.lhs)]);
        }
        Expr::Unary { op, expr } => {
            out.push_str("{\"expr\":");
            let rest = match op {
                super::ast::UnaryOp::Plus => ",\"op\":\"+\",\"type\":\"unaryExpr\"}",
                super::ast::UnaryOp::Minus => ",\"op\":\"-\",\"type\":\"unaryExpr\"}",
            };
            todo.extend([Todo::Text(rest), Todo::Node(*expr)]);
        }
        Expr::Paren(expr) => {
            out.push_str("{\"expr\":");
            todo.extend([Todo::Text(",\"type\":\"parenExpr\"}"), Todo::Node(*expr)]);
        }
        Expr::Duration { .. } => duration(ast, id, todo, out),
    }
}

fn duration(ast: &Ast, id: NodeId, todo: &mut Vec<Todo>, out: &mut String) {
    match ast.expr(id) {
        Expr::Number { value, duration } => {
            let val = float(*value);
            let _ = write!(out, "{{\"duration\":{duration},\"type\":\"numberLiteral\",\"val\":\"{val}\"}}");
        }
        Expr::Duration { op, lhs, rhs, wrapped } => {
            out.push_str("{\"lhs\":");
            let rest = if *wrapped {
                ",\"type\":\"durationExpr\",\"wrapped\":true}"
            } else {
                ",\"type\":\"durationExpr\",\"wrapped\":false}"
            };
            todo.extend([Todo::Text(rest), Todo::Duration(*rhs), Todo::Text("\",\"rhs\":")]);
            todo.extend([Todo::Text(op.as_str()), Todo::Text(",\"op\":\""), Todo::Duration(*lhs)]);
        }
        _ => out.push_str("null"),
    }
}

/// A constant's milliseconds, 0 for an expression, and the expression.
fn duration_arg(ast: &Ast, key: &str, arg: Option<DurationArg>, out: &mut String) {
    let millis = arg.and_then(DurationArg::millis).unwrap_or(0);
    let _ = write!(out, ",\"{key}\":{millis},\"{key}Expr\":");
    match arg.and_then(DurationArg::expr) {
        Some(id) => write(ast, id, out),
        None => out.push_str("null"),
    }
}

fn at(at: Option<At>, out: &mut String) {
    out.push_str(match at {
        Some(At::Start) => "\"start\"",
        Some(At::End) => "\"end\"",
        _ => "null",
    });
}

fn timestamp(at: Option<At>, out: &mut String) {
    out.push_str(",\"timestamp\":");
    match at {
        Some(At::Timestamp(ms)) => {
            let _ = write!(out, "{ms}");
        }
        _ => out.push_str("null"),
    }
}

fn selector(ast: &Ast, s: &VectorSelector, range: Option<DurationArg>, out: &mut String) {
    let _ = write!(out, "{{\"anchored\":{},\"matchers\":[", s.extended == Extended::Anchored);
    for (i, m) in s.matchers.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        matcher(m, out);
    }
    out.push_str("],\"name\":");
    string(s.name.as_bytes(), out);
    duration_arg(ast, "offset", s.offset, out);
    if range.is_some() {
        duration_arg(ast, "range", range, out);
    }
    let _ = write!(out, ",\"smoothed\":{},\"startOrEnd\":", s.extended == Extended::Smoothed);
    at(s.at, out);
    timestamp(s.at, out);
    let kind = if range.is_some() { "matrixSelector" } else { "vectorSelector" };
    let _ = write!(out, ",\"type\":\"{kind}\"}}");
}

fn matcher(m: &Matcher, out: &mut String) {
    out.push_str("{\"name\":");
    string(m.name_bytes(), out);
    let _ = write!(out, ",\"type\":\"{}\",\"value\":", m.kind.as_str());
    string(m.value_bytes(), out);
    out.push('}');
}

fn subquery_rest(ast: &Ast, s: &Subquery, out: &mut String) {
    duration_arg(ast, "offset", s.offset, out);
    duration_arg(ast, "range", Some(s.range), out);
    out.push_str(",\"startOrEnd\":");
    at(s.at, out);
    duration_arg(ast, "step", s.step, out);
    timestamp(s.at, out);
    out.push_str(",\"type\":\"subquery\"}");
}

fn call_rest(func: &Function, out: &mut String) {
    out.push_str("],\"func\":{\"argTypes\":[");
    for (i, arg) in func.args.iter().map(|t: &ValueType| t.as_str()).enumerate() {
        let _ = write!(out, "{}\"{arg}\"", if i > 0 { "," } else { "" });
    }
    let variadic = match func.variadic {
        Variadic::Exact => 0,
        Variadic::UpTo(n) => n as i64,
        Variadic::Any => -1,
    };
    let (name, returns) = (func.name, func.returns.as_str());
    let _ = write!(out, "],\"name\":\"{name}\",\"returnType\":\"{returns}\",\"variadic\":{variadic}}}");
    out.push_str(",\"type\":\"call\"}");
}

fn binary_middle(b: &Binary, out: &mut String) {
    out.push_str(",\"matching\":");
    match b.matching() {
        None => out.push_str("null"),
        Some(m) => {
            let _ = write!(out, "{{\"card\":\"{}\",\"fillValues\":{{\"lhs\":", m.card.as_str());
            number(m.fill_left, out);
            out.push_str(",\"rhs\":");
            number(m.fill_right, out);
            out.push_str("},\"include\":");
            strings(&m.include, out);
            out.push_str(",\"labels\":");
            strings(&m.labels, out);
            let _ = write!(out, ",\"on\":{}}}", m.on);
        }
    }
    out.push_str(",\"op\":");
    string(b.op.as_str(), out);
    out.push_str(",\"rhs\":");
}

/// A number as Go's JSON encoder writes it; what JSON cannot hold is null.
fn number(value: Option<f64>, out: &mut String) {
    match value.filter(|v| v.is_finite()) {
        None => out.push_str("null"),
        Some(v) if v == 0.0 || (1e-6..1e21).contains(&v.abs()) => out.push_str(&float(v)),
        Some(v) => out.push_str(&float_e(v)),
    }
}

fn strings(list: &[String], out: &mut String) {
    out.push('[');
    for (i, item) in list.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        string(item, out);
    }
    out.push(']');
}

/// A string as Go's JSON encoder writes it, safe for HTML; bytes that are not UTF-8 become `\ufffd`.
fn string(s: impl AsRef<[u8]>, out: &mut String) {
    out.push('"');
    for chunk in s.as_ref().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                    let _ = write!(out, "\\u{:04x}", c as u32);
                }
                c => out.push(c),
            }
        }
        for _ in chunk.invalid() {
            out.push_str("\\ufffd");
        }
    }
    out.push('"');
}
