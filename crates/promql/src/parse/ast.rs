//! The syntax tree: a flat list of nodes, children before parents.
//!
//! Holds every construct of the language of Prometheus 3.14 with the byte span it was written at.
//! It knows no text (see `print`), no tokens (see `lex`) and no data. Nodes live in one vector and
//! name their children by index, so an expression of any shape is walked, copied and dropped in
//! linear time without recursion: [`Ast::nodes`] in order is a post-order walk, which is what a
//! planner wants. Invariant: a child's [`NodeId`] is smaller than its parent's (durations
//! belong to their selector and may follow it), every id stored in a node is valid, and a tree handed out by the parser has passed the type check.
//! Reference: Prometheus `promql/parser/ast.go`. Read next: `functions`, then `parser`.

mod op;

use std::sync::Arc;

use model::{MatchType, Matcher, Millis};

use super::functions::Function;

pub use op::{AggregateOp, BinaryOp, DurationOp, UnaryOp};

/// A range of bytes of the input, `start..end`.
///
/// Spans are Prometheus' own, so that error and annotation positions agree; in odd inputs (a
/// comment between two closing parentheses) `end` may lie past the construct, as it does there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// A span from offsets; offsets beyond `u32` saturate (the parser refuses such inputs).
    pub fn new(start: usize, end: usize) -> Self {
        let clip = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span { start: clip(start), end: clip(end) }
    }

    /// The span from the start of `self` to the end of `last`.
    pub fn to(self, last: Span) -> Self {
        Span { start: self.start, end: last.end }
    }
}

/// The type of an expression's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// No value.
    None,
    /// One sample per series.
    Vector,
    /// A number.
    Scalar,
    /// A range of samples per series.
    Matrix,
    /// A string.
    String,
}

impl ValueType {
    /// The name as the HTTP API and `promql` write it: `vector`, `scalar`, `matrix`, `string`, `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            ValueType::None => "none",
            ValueType::Vector => "vector",
            ValueType::Scalar => "scalar",
            ValueType::Matrix => "matrix",
            ValueType::String => "string",
        }
    }

    /// The name used in documentation and error texts: `instant vector`, `range vector`, else as
    /// [`ValueType::as_str`].
    pub fn documented(self) -> &'static str {
        match self {
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
            other => other.as_str(),
        }
    }
}

/// How many series of one side match one of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cardinality {
    /// The default.
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

impl Cardinality {
    /// The name as Prometheus writes it: `one-to-one`, `many-to-one`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        }
    }
}

/// How the series of two vectors are matched.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorMatching {
    /// The cardinality.
    pub card: Cardinality,
    /// The labels named by `on` or `ignoring`, in the order written.
    pub labels: Vec<String>,
    /// Whether `labels` are those that must agree (`on`) or those left out (`ignoring`, or nothing).
    pub on: bool,
    /// Labels that `group_left` or `group_right` copy from the "one" side.
    pub include: Vec<String>,
    /// Value for series missing on the left (`fill`, `fill_left`).
    pub fill_left: Option<f64>,
    /// Value for series missing on the right (`fill`, `fill_right`).
    pub fill_right: Option<f64>,
}

impl Default for VectorMatching {
    fn default() -> Self {
        VectorMatching {
            card: Cardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        }
    }
}

/// The `@` modifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    /// `@ 1700000000.5`, in milliseconds.
    Timestamp(Millis),
    /// `@ start()`
    Start,
    /// `@ end()`
    End,
}

/// A length of time as written: a constant, or an expression to be evaluated per query.
///
/// The constant keeps Prometheus' nanoseconds: `1ns` cannot be written, but `offset 0.0004` can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationArg {
    /// Nanoseconds.
    Nanos(i64),
    /// A node of kind [`Expr::Duration`] (experimental duration expressions).
    Expr(NodeId),
}

impl DurationArg {
    /// The constant in milliseconds, rounded towards zero as Prometheus' `durationMilliseconds` does;
    /// `None` for an expression.
    pub fn millis(self) -> Option<Millis> {
        match self {
            DurationArg::Nanos(n) => Some(n / 1_000_000),
            DurationArg::Expr(_) => None,
        }
    }

    /// The node of an expression.
    pub fn expr(self) -> Option<NodeId> {
        match self {
            DurationArg::Nanos(_) => None,
            DurationArg::Expr(id) => Some(id),
        }
    }
}

/// The experimental modifier of a range or instant selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Extended {
    /// Neither.
    #[default]
    None,
    /// `anchored`: samples at the range's ends are taken from the sample before.
    Anchored,
    /// `smoothed`: samples at the range's ends are interpolated.
    Smoothed,
}

/// An instant selector, or the selector inside a range selector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The metric name written before the braces; empty when there is none.
    pub name: Box<str>,
    /// All matchers in the order written, the one made of `name` last.
    pub matchers: Vec<Matcher>,
    /// `offset`, signed; `None` when not written or zero.
    pub offset: Option<DurationArg>,
    /// `@`
    pub at: Option<At>,
    /// `anchored` or `smoothed`.
    pub extended: Extended,
    /// Whether this is the label selector of `info()`, which need not have a non-empty matcher.
    pub info_labels: bool,
}

impl VectorSelector {
    /// The value of the equality matcher on the metric name, if there is exactly such a matcher.
    pub fn metric_name(&self) -> Option<&str> {
        self.matchers
            .iter()
            .find(|m| m.name == model::labels::METRIC_NAME && m.kind == MatchType::Equal)
            .map(|m| m.value.as_str())
    }
}

/// The index of a node in its [`Ast`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The position in [`Ast::nodes`].
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number; `duration` when written like `5m` (the value is then in seconds).
    Number {
        /// The value.
        value: f64,
        /// Whether it was written as a duration, and is printed as one.
        duration: bool,
    },
    /// A string. Escapes may spell bytes that are not UTF-8.
    String(Box<[u8]>),
    /// An instant selector. Selectors of a bare name are shared between the places where the name stands.
    Vector(Arc<VectorSelector>),
    /// A range selector.
    Matrix {
        /// A node of kind [`Expr::Vector`]; it carries offset, `@` and extended modifiers.
        selector: NodeId,
        /// The range.
        range: DurationArg,
    },
    /// A subquery.
    Subquery(Box<Subquery>),
    /// A function call.
    Call {
        /// The function.
        func: &'static Function,
        /// Its arguments.
        args: Box<[NodeId]>,
    },
    /// An aggregation.
    Aggregate(Box<Aggregate>),
    /// A binary operation.
    Binary(Binary),
    /// A sign (numbers take theirs into the value).
    Unary {
        /// The sign.
        op: UnaryOp,
        /// The operand.
        expr: NodeId,
    },
    /// Parentheses.
    Paren(NodeId),
    /// Part of a duration expression; only below a [`DurationArg::Expr`].
    Duration {
        /// The operator.
        op: DurationOp,
        /// Left operand: absent for signs, `step()` and `range()`.
        lhs: Option<NodeId>,
        /// Right operand: absent for `step()` and `range()`. Operands are [`Expr::Number`]
        /// (seconds) or [`Expr::Duration`].
        rhs: Option<NodeId>,
        /// Whether it was written in parentheses.
        wrapped: bool,
    },
}

/// `expr[range:step] @ at offset offset`
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// The inner expression.
    pub expr: NodeId,
    /// The range.
    pub range: DurationArg,
    /// The step; `None` for the default.
    pub step: Option<DurationArg>,
    /// `offset`, signed; `None` when not written or zero.
    pub offset: Option<DurationArg>,
    /// `@`
    pub at: Option<At>,
}

/// `op by (grouping) (param, expr)`
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The aggregation.
    pub op: AggregateOp,
    /// The vector.
    pub expr: NodeId,
    /// The parameter of those that have one.
    pub param: Option<NodeId>,
    /// Labels of `by` or `without`, in the order written.
    pub grouping: Vec<String>,
    /// Whether `grouping` was written after `without`.
    pub without: bool,
}

/// `lhs op bool on (…) group_left (…) rhs`
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Left operand.
    pub lhs: NodeId,
    /// Right operand.
    pub rhs: NodeId,
    /// Matching that is not plain one-to-one on all labels; read it with [`Binary::matching`]. Boxed
    /// and absent by default, so that long chains stay small.
    pub(super) matching: Option<Box<VectorMatching>>,
    /// Whether both operands are vectors.
    pub(super) vectors: bool,
    /// `bool` after a comparison.
    pub return_bool: bool,
}

static PLAIN: VectorMatching = VectorMatching {
    card: Cardinality::OneToOne,
    labels: Vec::new(),
    on: false,
    include: Vec::new(),
    fill_left: None,
    fill_right: None,
};

static PLAIN_SET: VectorMatching = VectorMatching {
    card: Cardinality::ManyToMany,
    labels: Vec::new(),
    on: false,
    include: Vec::new(),
    fill_left: None,
    fill_right: None,
};

impl Binary {
    /// How to match the two vectors; `None` when an operand is a scalar.
    pub fn matching(&self) -> Option<&VectorMatching> {
        match (&self.matching, self.vectors) {
            (_, false) => None,
            (Some(m), _) => Some(m),
            (None, _) if self.op.is_set() => Some(&PLAIN_SET),
            (None, _) => Some(&PLAIN),
        }
    }
}

/// A node: what it is, where it stands, what its value is.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub expr: Expr,
    /// Where it stands in the input.
    pub span: Span,
    /// The type of its value.
    pub value_type: ValueType,
}

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Ast {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
}

impl Ast {
    /// The outermost node.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// The node of `id`.
    #[inline]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// What the node of `id` is.
    #[inline]
    pub fn expr(&self, id: NodeId) -> &Expr {
        &self.nodes[id.index()].expr
    }

    /// What the node of `id` is, to be changed in place. Its children have to stay valid.
    pub(crate) fn expr_mut(&mut self, id: NodeId) -> &mut Expr {
        &mut self.nodes[id.index()].expr
    }

    /// Where the node of `id` stands.
    pub fn span(&self, id: NodeId) -> Span {
        self.nodes[id.index()].span
    }

    /// The type of the whole expression's value.
    pub fn value_type(&self) -> ValueType {
        self.node(self.root).value_type
    }

    /// All nodes, children before parents; [`NodeId`] is the index.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Calls `visit` with each child of `id` in the order of evaluation. Duration expressions are not
    /// children: they belong to their selector.
    pub fn for_each_child(&self, id: NodeId, mut visit: impl FnMut(NodeId)) {
        match self.expr(id) {
            Expr::Number { .. } | Expr::String(_) | Expr::Vector(_) | Expr::Duration { .. } => {}
            Expr::Matrix { selector, .. } => visit(*selector),
            Expr::Subquery(s) => visit(s.expr),
            Expr::Call { args, .. } => args.iter().copied().for_each(visit),
            Expr::Aggregate(a) => {
                visit(a.expr);
                a.param.into_iter().for_each(visit);
            }
            Expr::Binary(b) => {
                visit(b.lhs);
                visit(b.rhs);
            }
            Expr::Unary { expr, .. } => visit(*expr),
            Expr::Paren(expr) => visit(*expr),
        }
    }

    /// The inner node of any number of parentheses around `id`.
    pub fn unparen(&self, mut id: NodeId) -> NodeId {
        while let Expr::Paren(inner) = self.expr(id) {
            id = *inner;
        }
        id
    }

    /// The matchers of every selector, in the order in which the selectors are written.
    pub fn selectors(&self) -> impl Iterator<Item = &[Matcher]> {
        self.nodes.iter().filter_map(|n| match &n.expr {
            Expr::Vector(v) => Some(v.matchers.as_slice()),
            _ => None,
        })
    }
}
