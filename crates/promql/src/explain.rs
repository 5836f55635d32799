//! A query's operators as a tree, for people to look at.
//!
//! Holds the finished tree with its names and figures. It knows no query and evaluates nothing: `plan`
//! names the operators, `exec` fills in what they took. Invariant: children stand before their parents and
//! the root is last, so that a tree of any depth is walked, written and dropped without recursion.
//! Reference: promql-engine `engine/explain.go`, whose names these follow where the operators are alike.

use std::time::Duration;

/// The operators of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation(Vec<Operator>);

/// An operator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Operator {
    /// What it does: `[aggregate] sum by ([job])`.
    pub name: String,
    /// Where it gets its input from, as indices into [`Explanation::operators`].
    pub children: Vec<usize>,
    /// Which selection it reads itself, if it does: its place among the calls of
    /// [`Queryable::select`](crate::Queryable::select) in this query.
    pub selection: Option<usize>,
    /// What it took; all zero for a query that was not run.
    pub figures: Figures,
}

/// What an operator took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Time in this operator and those below, waiting for the store included. What several threads did at
    /// the same time is added up.
    pub time: Duration,
    /// Samples loaded by this operator and those below, counted as in
    /// [`SampleStats::total`](crate::SampleStats::total).
    pub samples: i64,
    /// Most samples held while this operator and those below were evaluated, counted as in
    /// [`SampleStats::peak`](crate::SampleStats::peak).
    pub peak_samples: i64,
    /// Rows that this operator gave. A row is a series, or the part of one that came from one operand.
    pub series: u64,
    /// Most bytes that this operator alone had charged to the query's account at a time. Operators that
    /// pass on series by series hold none.
    pub peak_bytes: u64,
}

/// A step of [`Explanation::walk`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Visit<'e> {
    /// An operator, before its children; `first` among those of its parent or not.
    Enter {
        /// The operator.
        operator: &'e Operator,
        /// Whether no sibling came before.
        first: bool,
    },
    /// The same operator, after its children.
    Leave(&'e Operator),
}

impl Explanation {
    /// The tree of these operators, children before parents and the root last.
    pub(crate) fn new(operators: Vec<Operator>) -> Self {
        Explanation(operators)
    }

    /// Puts figures in, one an operator.
    pub(crate) fn fill(&mut self, figures: Vec<Figures>) {
        self.0.iter_mut().zip(figures).for_each(|(operator, figures)| operator.figures = figures);
    }

    /// All operators, children before parents.
    pub fn operators(&self) -> &[Operator] {
        &self.0
    }

    /// The operator that gives the result; `None` in an empty tree.
    pub fn root(&self) -> Option<&Operator> {
        self.0.last()
    }

    /// Walks the tree from the root, parents around their children.
    pub fn walk<'e>(&'e self, mut visit: impl FnMut(Visit<'e>)) {
        let Some(root) = self.root() else { return };
        visit(Visit::Enter { operator: root, first: true });
        let mut path: Vec<(&Operator, usize)> = vec![(root, 0)];
        while let Some((operator, next)) = path.last_mut() {
            let operator: &Operator = operator;
            let Some(child) = operator.children.get(*next).and_then(|c| self.0.get(*c)) else {
                visit(Visit::Leave(operator));
                path.pop();
                continue;
            };
            visit(Visit::Enter { operator: child, first: *next == 0 });
            *next += 1;
            path.push((child, 0));
        }
    }
}
