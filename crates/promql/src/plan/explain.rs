//! The tree of operators that a plan amounts to.
//!
//! Holds which nodes of the syntax tree are operators of their own, and their names. It knows no sample.
//! Invariant: what was computed while planning is a number here, what is evaluated once and repeated
//! stands under `[stepInvariant]`, and a range selector is part of the call that reads it. Loops only.
//! Reference: the `String` and `Explain` methods of promql-engine's operators.

use std::collections::HashMap;
use std::fmt::Write as _;

use model::{Matcher, gofmt};

use super::analysis::Analysis;
use crate::explain::{Explanation, Operator};
use crate::functions::range::RangeKernel;
use crate::parse::{AggregateOp, DurationArg, Expr, Function, NodeId, UnaryOp, ValueType, VectorMatching};

/// The longest text of arguments in a name.
const LONGEST: usize = 200;

/// What compiling knows of nodes.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Scalars that were computed while planning.
    pub constants: HashMap<NodeId, f64>,
    /// The selections that nodes read.
    pub selections: HashMap<NodeId, usize>,
}

/// The operators of a plan with what is needed to fill in figures.
#[derive(Debug)]
pub(crate) struct Outline {
    /// The tree.
    pub tree: Explanation,
    /// The node of each operator, and over how many steps its only result is repeated (for
    /// `[stepInvariant]`).
    pub nodes: Vec<(NodeId, Option<usize>)>,
}

/// The operators of an analysed query. `None` where Thanos has no operators either: strings, and range vectors as results.
pub(crate) fn outline(a: &Analysis<'_>, text: &[u8], known: &Known) -> Option<Outline> {
    let root = a.ast.root();
    if !matches!(a.ast.node(root).value_type, ValueType::Vector | ValueType::Scalar) {
        return None;
    }
    let constants = &known.constants;
    let outliner = Outliner { a, text, constants };
    let mut shown = vec![false; a.ast.nodes().len()];
    shown[root.index()] = true;
    for i in (0..shown.len()).rev().filter(|i| *i <= root.index()) {
        if shown[i] {
            outliner.children(NodeId(i as u32), |child| shown[child.index()] = true);
        }
    }
    let mut operators: Vec<Operator> = Vec::new();
    let mut nodes = Vec::new();
    let mut operator_of = vec![0; shown.len()];
    for i in (0..shown.len()).filter(|i| shown[*i]) {
        let id = NodeId(i as u32);
        let mut children = Vec::new();
        outliner.children(id, |child| children.push(operator_of[child.index()]));
        match (outliner.is_transparent(id), children.first()) {
            (true, Some(inner)) => operator_of[i] = *inner,
            _ => {
                operator_of[i] = operators.len();
                let (name, selection) = (outliner.name(id), known.selections.get(&id).copied());
                operators.push(Operator { name, children, selection, ..Operator::default() });
                nodes.push((id, None));
            }
        }
        let steps = a.outer_context(id).steps.count;
        if a.hoisted[i] && steps > 1 && !constants.contains_key(&id) && !a.outer_context(id).is_empty() {
            let (name, children) = ("[stepInvariant]".to_owned(), vec![operator_of[i]]);
            operator_of[i] = operators.len();
            operators.push(Operator { name, children, ..Operator::default() });
            nodes.push((id, Some(steps)));
        }
    }
    Some(Outline { tree: Explanation::new(operators), nodes })
}

struct Outliner<'o, 'q> {
    a: &'o Analysis<'q>,
    text: &'o [u8],
    constants: &'o HashMap<NodeId, f64>,
}

impl Outliner<'_, '_> {
    fn is_nothing(&self, id: NodeId) -> bool {
        self.a.context(id).is_empty()
    }

    /// Whether a node only hands on what is within.
    fn is_transparent(&self, id: NodeId) -> bool {
        matches!(self.a.ast.expr(id), Expr::Paren(_) | Expr::Unary { op: UnaryOp::Plus, .. })
    }

    /// The nodes that give an operator its input.
    fn children(&self, id: NodeId, mut each: impl FnMut(NodeId)) {
        if self.constants.contains_key(&id) || self.is_nothing(id) {
            return;
        }
        let is_string = |id: NodeId| self.a.ast.node(id).value_type == ValueType::String;
        match self.a.ast.expr(id) {
            Expr::Paren(inner) | Expr::Unary { expr: inner, .. } => each(*inner),
            Expr::Binary(binary) => [binary.lhs, binary.rhs].into_iter().for_each(each),
            Expr::Aggregate(aggregate) => {
                aggregate.param.into_iter().filter(|p| !is_string(*p)).for_each(&mut each);
                each(aggregate.expr);
            }
            Expr::Call { func, args } => {
                for (i, arg) in args.iter().enumerate() {
                    match self.a.ast.expr(self.a.ast.unparen(*arg)) {
                        Expr::Matrix { .. } | Expr::String(_) => {}
                        Expr::Vector(_) if reads_itself(func, i) => {}
                        Expr::Subquery(subquery) => each(subquery.expr),
                        _ => each(*arg),
                    }
                }
            }
            _ => {}
        }
    }

    fn name(&self, id: NodeId) -> String {
        if let Some(value) = self.constants.get(&id) {
            return format!("[numberLiteral] {}", gofmt::float_g(*value));
        }
        if self.is_nothing(id) {
            return "[noop]".to_owned();
        }
        match self.a.ast.expr(id) {
            Expr::Number { value, .. } => format!("[numberLiteral] {}", gofmt::float_g(*value)),
            Expr::Vector(v) => format!("[vectorSelector] {} 0 mod 1", matchers(&v.matchers)),
            Expr::Unary { .. } => "[unaryNegation]".to_owned(),
            Expr::Binary(binary) => match binary.matching() {
                None => format!("[vectorScalarBinary] {}", binary.op.as_str()),
                Some(m) => format!("[vectorBinary] {} - {}", binary.op.as_str(), matching(m)),
            },
            Expr::Aggregate(aggregate) => {
                let mode = if aggregate.without { "without" } else { "by" };
                let groups = format!("{mode} ([{}])", aggregate.grouping.join(" "));
                let op = aggregate.op.as_str();
                match aggregate.op {
                    AggregateOp::CountValues => {
                        let param = aggregate.param.map(|p| match self.a.ast.expr(self.a.ast.unparen(p)) {
                            Expr::String(label) => String::from_utf8_lossy(label).into_owned(),
                            _ => String::new(),
                        });
                        format!("[countValues] {groups} - param ({})", param.unwrap_or_default())
                    }
                    AggregateOp::Topk
                    | AggregateOp::Bottomk
                    | AggregateOp::Limitk
                    | AggregateOp::LimitRatio => format!("[kaggregate] {op} {groups}"),
                    _ => format!("[aggregate] {op} {groups}"),
                }
            }
            Expr::Call { func, args } => self.call(func, args),
            _ => "[noop]".to_owned(),
        }
    }

    fn call(&self, func: &Function, args: &[NodeId]) -> String {
        let name = func.name;
        let inner = |i: usize| args.get(i).map(|a| self.a.ast.expr(self.a.ast.unparen(*a)));
        match name {
            "scalar" | "absent" => format!("[{name}]"),
            "time" => "[noArgFunction]".to_owned(),
            "label_replace" | "label_join" => "[relabel]".to_owned(),
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => {
                format!("[{name}]([{}])", self.texts(args))
            }
            "timestamp" | "start_timestamp" => match inner(0) {
                Some(Expr::Vector(v)) => format!("[{name}] {} 0 mod 1", matchers(&v.matchers)),
                _ => format!("[{name}]"),
            },
            _ if RangeKernel::of(name).is_some() => {
                for i in 0..args.len() {
                    match inner(i) {
                        Some(Expr::Matrix { selector, range }) => {
                            let Expr::Vector(v) = self.a.ast.expr(*selector) else { continue };
                            let (all, range) = (matchers(&v.matchers), length(Some(*range)));
                            return format!("[matrixSelector] {name}({all}[{range}] 0 mod 1)");
                        }
                        Some(Expr::Subquery(s)) => {
                            return format!(
                                "[subquery] {name}([{}:{}])",
                                length(Some(s.range)),
                                length(s.step)
                            );
                        }
                        _ => {}
                    }
                }
                format!("[function] {name}()")
            }
            _ => format!("[function] {name}([{}])", self.texts(args)),
        }
    }

    /// Arguments as written, cut where they are long: names of nested calls would grow with the square.
    fn texts(&self, args: &[NodeId]) -> String {
        let mut out = String::new();
        for (i, arg) in args.iter().enumerate() {
            if out.len() > LONGEST {
                break;
            }
            let span = self.a.ast.span(*arg);
            let text = self.text.get(span.start as usize..span.end as usize).unwrap_or(&[]);
            let cut = &text[..text.len().min(LONGEST)];
            let (space, more) = (if i > 0 { " " } else { "" }, if cut.len() < text.len() { "…" } else { "" });
            let _ = write!(out, "{space}{}{more}", String::from_utf8_lossy(cut));
        }
        out
    }
}

/// Whether a call reads the selector in its `i`th argument itself.
fn reads_itself(func: &Function, i: usize) -> bool {
    matches!((func.name, i), ("timestamp" | "start_timestamp", 0) | ("info", 1))
}

/// Matchers as Go prints a list of them, the metric name first.
fn matchers(all: &[Matcher]) -> String {
    let is_name = |m: &&Matcher| m.name == model::labels::METRIC_NAME;
    let shown = all.iter().filter(is_name).chain(all.iter().filter(|m| !is_name(m)));
    format!("{{[{}]}}", shown.map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

fn matching(m: &VectorMatching) -> String {
    let mode = if m.on { "on" } else { "ignoring" };
    format!("{}, {mode}: [{}], group: [{}]", m.card.as_str(), m.labels.join(" "), m.include.join(" "))
}

/// A length of time as Go prints it, whole seconds and below; empty where there is none.
fn length(of: Option<DurationArg>) -> String {
    let Some(nanos) = of.and_then(|d| match d {
        DurationArg::Nanos(n) => Some(n),
        DurationArg::Expr(_) => None,
    }) else {
        return String::new();
    };
    let seconds = nanos.unsigned_abs() / 1_000_000_000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = (nanos.unsigned_abs() % 60_000_000_000) as f64 / 1e9;
    let sign = if nanos < 0 { "-" } else { "" };
    let rest = gofmt::float(rest);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{rest}s"),
        (0, _) => format!("{sign}{minutes}m{rest}s"),
        _ => format!("{sign}{hours}h{minutes}m{rest}s"),
    }
}
