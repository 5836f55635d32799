//! The canonical text of a tree, broken at 100 columns.
//!
//! Holds the layout rules behind `/api/v1/format_query`. Invariant: what it prints parses to the same
//! tree; parts that fit are printed by `print`. The widths of all parts are measured in one pass.
//! Indentation makes the text of a chain grow with the square of its length, so it has a limit.
//! Reference: Prometheus `promql/parser/prettier.go`.

use super::ast::{Ast, Expr, NodeId};
use super::print;

/// Columns at which a part is broken up.
const WIDTH: usize = 100;

/// What is left to print.
enum Todo {
    /// A node at an indentation level; with `true` its own indentation is left out.
    Node(NodeId, usize, bool),
    Indent(usize),
    Text(&'static str),
    SubquerySuffix(NodeId),
    Operator(NodeId),
}

/// The pretty text would be longer than the limit given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the formatted expression is longer than {0} bytes")]
pub struct TooLong(pub usize);

impl Ast {
    /// The text as Prometheus' `Prettify` lays it out.
    ///
    /// # Errors
    /// [`TooLong`] once the text exceeds `limit` bytes.
    pub fn pretty(&self, limit: usize) -> Result<String, TooLong> {
        let widths = widths(self);
        let mut out = String::new();
        let mut todo = vec![Todo::Node(self.root(), 0, false)];
        while let Some(next) = todo.pop() {
            match next {
                Todo::Text(text) => out.push_str(text),
                Todo::Indent(level) => indent(level, &mut out),
                Todo::SubquerySuffix(id) => {
                    if let Expr::Subquery(s) = self.expr(id) {
                        print::subquery_suffix(self, s, &mut out);
                    }
                }
                Todo::Operator(id) => {
                    if let Expr::Binary(b) = self.expr(id) {
                        print::operator(b, &mut out);
                    }
                }
                Todo::Node(id, level, bare) => {
                    let broken = widths[id.index()] > WIDTH;
                    node(self, id, level, bare, broken, &mut todo, &mut out);
                }
            }
            if out.len() > limit {
                return Err(TooLong(limit));
            }
        }
        Ok(out)
    }
}

fn node(
    ast: &Ast,
    id: NodeId,
    level: usize,
    bare: bool,
    broken: bool,
    todo: &mut Vec<Todo>,
    out: &mut String,
) {
    let lead = |out: &mut String| {
        if !bare {
            indent(level, out);
        }
    };
    match ast.expr(id) {
        Expr::Unary { op, expr } => {
            lead(out);
            out.push_str(op.as_str());
            todo.push(Todo::Node(*expr, level, true));
        }
        // A subquery that fits is not indented, one that does not leaves that to its expression.
        Expr::Subquery(s) if broken => {
            todo.extend([Todo::SubquerySuffix(id), Todo::Node(s.expr, level, bare)]);
        }
        Expr::Subquery(_) => print::print(ast, id, out),
        Expr::Binary(b) if broken => {
            todo.extend([
                Todo::Node(b.rhs, level + 1, false),
                Todo::Text("\n"),
                Todo::Operator(id),
                Todo::Indent(level),
                Todo::Text("\n"),
                Todo::Node(b.lhs, level + 1, bare),
            ]);
        }
        Expr::Aggregate(a) if broken => {
            lead(out);
            print::aggregate_head(a, out);
            out.push_str("(\n");
            todo.extend([Todo::Text(")"), Todo::Indent(level), Todo::Text("\n")]);
            todo.push(Todo::Node(a.expr, level + 1, false));
            if let Some(param) = a.param {
                todo.extend([Todo::Text(",\n"), Todo::Node(param, level + 1, false)]);
            }
        }
        Expr::Call { func, args } if broken => {
            lead(out);
            out.push_str(func.name);
            out.push_str("(\n");
            todo.extend([Todo::Text(")"), Todo::Indent(level), Todo::Text("\n")]);
            for (i, arg) in args.iter().enumerate().rev() {
                todo.push(Todo::Node(*arg, level + 1, false));
                if i > 0 {
                    todo.push(Todo::Text(",\n"));
                }
            }
        }
        Expr::Paren(expr) if broken => {
            lead(out);
            out.push_str("(\n");
            todo.extend([Todo::Text(")"), Todo::Indent(level), Todo::Text("\n")]);
            todo.push(Todo::Node(*expr, level + 1, false));
        }
        _ => {
            lead(out);
            print::print(ast, id, out);
        }
    }
}

fn indent(level: usize, out: &mut String) {
    for _ in 0..level {
        out.push_str("  ");
    }
}

/// The width of every node's one-line text; children come before parents.
fn widths(ast: &Ast) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::with_capacity(ast.nodes().len());
    let mut text = String::new();
    for (i, node) in ast.nodes().iter().enumerate() {
        text.clear();
        let of = |id: &NodeId| widths[id.index()];
        let width = match &node.expr {
            Expr::Unary { op, expr } => op.as_str().len() + of(expr),
            Expr::Paren(expr) => 2 + of(expr),
            Expr::Subquery(s) => {
                print::subquery_suffix(ast, s, &mut text);
                text.len() + of(&s.expr)
            }
            Expr::Call { func, args } => {
                let commas = 2 * args.len().saturating_sub(1);
                func.name.len() + 2 + commas + args.iter().map(of).sum::<usize>()
            }
            Expr::Aggregate(a) => {
                print::aggregate_head(a, &mut text);
                text.len() + 2 + of(&a.expr) + a.param.as_ref().map_or(0, |p| of(p) + 2)
            }
            Expr::Binary(b) => {
                print::operator(b, &mut text);
                text.len() + 2 + of(&b.lhs) + of(&b.rhs)
            }
            // Parts of duration expressions are printed with their selector.
            Expr::Duration { .. } => 0,
            _ => {
                print::print(ast, NodeId(i as u32), &mut text);
                text.len()
            }
        };
        widths.push(width);
    }
    widths
}
