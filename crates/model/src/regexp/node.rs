//! The tree of a parsed pattern, and its translation for the automata.
//!
//! Holds the nodes with the measures that Go limits (height, size, product of repetitions). It knows
//! no syntax. Invariant: a node's height is at most [`MAX_HEIGHT`], so recursion over it is safe.

use regex_syntax::hir::{self, Hir, Look};

/// Go's limit on nested operations.
pub(super) const MAX_HEIGHT: u32 = 1000;

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Matches the empty string.
    Empty,
    /// Matches nothing.
    Never,
    /// One character; with `fold` also those that differ in case only.
    Literal { c: char, fold: bool },
    /// One character of a set.
    Class(hir::ClassUnicode),
    /// Any character; without `newline` any but `\n`.
    Any { newline: bool },
    /// An assertion.
    Look(Look),
    /// Repetition; `max` of `None` is without bound.
    Repeat { min: u32, max: Option<u32>, greedy: bool, sub: Box<Node> },
    /// One after the other.
    Concat(Vec<Node>),
    /// One of them, the first that fits.
    Alternate(Vec<Node>),
    /// A capturing group.
    Capture { index: u32, name: Option<Box<str>>, sub: Box<Node> },
}

/// A node and its measures.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(super) height: u32,
    /// Instructions of Go's compiled form.
    pub(super) size: u64,
    /// The largest product of nested repetition counts.
    pub(super) copies: u64,
}

impl Node {
    pub(super) fn new(kind: Kind) -> Self {
        let (mut height, mut size, mut copies) = (0, 0u64, 1);
        let mut add = |sub: &Node| {
            height = height.max(sub.height);
            size = size.saturating_add(sub.size);
            copies = copies.max(sub.copies);
        };
        match &kind {
            Kind::Repeat { sub, .. } | Kind::Capture { sub, .. } => add(sub),
            Kind::Concat(subs) | Kind::Alternate(subs) => subs.iter().for_each(add),
            _ => {}
        }
        match &kind {
            Kind::Capture { .. } => size = size.saturating_add(2),
            Kind::Alternate(subs) => size = size.saturating_add(subs.len().saturating_sub(1) as u64),
            Kind::Repeat { min, max, .. } => {
                let (min, most) = (u64::from(*min), max.map(u64::from));
                size = match (min, most) {
                    (0, None) => size.saturating_add(2),
                    (min, None) => size.saturating_mul(min).saturating_add(1),
                    (min, Some(max)) => size.saturating_mul(max).saturating_add(max - min.min(max)),
                };
                copies = match most {
                    Some(0) => 1,
                    Some(m) => copies.saturating_mul(m),
                    None => copies.saturating_mul(min.max(1)),
                };
            }
            _ => {}
        }
        Node { kind, height: height + 1, size: size.max(1), copies }
    }

    /// The same pattern for the automata; capturing groups are kept only with `captures`.
    pub(super) fn to_hir(&self, captures: bool) -> Hir {
        match &self.kind {
            Kind::Empty => Hir::empty(),
            Kind::Never => Hir::fail(),
            Kind::Literal { c, fold: false } => Hir::literal(c.encode_utf8(&mut [0; 4]).as_bytes().to_vec()),
            Kind::Literal { c, fold: true } => {
                let mut class = hir::ClassUnicode::new([hir::ClassUnicodeRange::new(*c, *c)]);
                class.case_fold_simple();
                Hir::class(hir::Class::Unicode(class))
            }
            Kind::Class(class) => Hir::class(hir::Class::Unicode(class.clone())),
            Kind::Any { newline: true } => Hir::dot(hir::Dot::AnyChar),
            Kind::Any { newline: false } => Hir::dot(hir::Dot::AnyCharExceptLF),
            Kind::Look(look) => Hir::look(*look),
            Kind::Repeat { min, max, greedy, sub } => Hir::repetition(hir::Repetition {
                min: *min,
                max: *max,
                greedy: *greedy,
                sub: Box::new(sub.to_hir(captures)),
            }),
            Kind::Concat(subs) => Hir::concat(subs.iter().map(|s| s.to_hir(captures)).collect()),
            Kind::Alternate(subs) => Hir::alternation(subs.iter().map(|s| s.to_hir(captures)).collect()),
            Kind::Capture { sub, .. } if !captures => sub.to_hir(false),
            Kind::Capture { index, sub, .. } => Hir::capture(hir::Capture {
                index: *index,
                // Names are kept apart: Go lets two groups share one.
                name: None,
                sub: Box::new(sub.to_hir(captures)),
            }),
        }
    }

    /// Names of capturing groups with their numbers, in the order of their opening brackets.
    pub(super) fn group_names(&self, out: &mut Vec<(Box<str>, usize)>) {
        match &self.kind {
            Kind::Capture { index, name, sub } => {
                out.extend(name.clone().map(|n| (n, *index as usize)));
                sub.group_names(out);
            }
            Kind::Repeat { sub, .. } => sub.group_names(out),
            Kind::Concat(subs) | Kind::Alternate(subs) => subs.iter().for_each(|s| s.group_names(out)),
            _ => {}
        }
    }
}
