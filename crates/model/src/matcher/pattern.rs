//! A matcher's pattern: how its values are recognised, fastest way first.
//!
//! Holds the choice between plain comparison and an automaton. Most patterns in queries are sets of
//! words, prefixes or `.*word.*`; those never run an automaton. Invariant: the choice changes the
//! speed, never the answer. Reference: Prometheus `model/labels/regexp.go`.

use std::collections::HashSet;

use crate::regexp::node::{Kind, Node};
use crate::regexp::{Error, Regexp, parse};

/// So many literals at most are drawn from one pattern (an alternation of words has no limit).
const MAX_SET: usize = 256;
/// So many shapes at most are tried one after the other.
const MAX_SHAPES: usize = 16;
/// From so many words on, a set is hashed.
const HASHED_FROM: usize = 16;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    how: How,
    set: Option<Vec<String>>,
    prefix: String,
}

#[derive(Debug)]
enum How {
    /// One of few words.
    Words(Vec<String>),
    /// One of many words.
    Hashed(HashSet<String>),
    /// Words and gaps.
    Shapes(Vec<Shape>),
    /// Anything else, after a look at the prefix.
    Automaton(Regexp),
}

/// Literals with gaps between them: `foo.*`, `.+foo`, `.*foo.*bar`.
#[derive(Debug, Clone, Default)]
struct Shape {
    first: Text,
    /// Each gap with the literal after it; the last literal ends the text.
    rest: Vec<(Gap, Text)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// `.*`
    Any,
    /// `.+`
    Some,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Text {
    text: String,
    /// Differences of ASCII case do not count; `text` has no letter that folds beyond ASCII.
    fold: bool,
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Result<Self, Error> {
        if let Some(words) = plain_words(pattern).or_else(|| escaped_words(pattern)) {
            return Ok(Pattern::words(words));
        }
        let (node, _) = parse(pattern)?;
        if let Some(words) = finite(&node) {
            return Ok(Pattern::words(words));
        }
        let prefix = leading_literal(&node);
        if let Some(shapes) = shapes(&node) {
            return Ok(Pattern { how: How::Shapes(shapes), set: None, prefix });
        }
        let how = How::Automaton(Regexp::compile(pattern, &node, false)?);
        Ok(Pattern { how, set: None, prefix })
    }

    /// Whether a pattern is plain words, which are compared and never parsed.
    pub(super) fn is_plain(pattern: &str) -> bool {
        plain_words(pattern).is_some()
    }

    /// A pattern that stands for these words.
    pub(super) fn words(mut words: Vec<String>) -> Self {
        let prefix = common_prefix(&words).to_owned();
        let mut seen = HashSet::new();
        words.retain(|w| seen.insert(w.clone()));
        let how = if words.len() < HASHED_FROM { How::Words(words.clone()) } else { How::Hashed(seen) };
        Pattern { how, set: Some(words), prefix }
    }

    #[inline]
    pub(super) fn is_match(&self, value: &str) -> bool {
        match &self.how {
            How::Words(words) => words.iter().any(|w| w == value),
            How::Hashed(words) => words.contains(value),
            How::Shapes(shapes) => shapes.iter().any(|s| s.is_match(value)),
            How::Automaton(regexp) => value.starts_with(self.prefix.as_str()) && regexp.is_match(value),
        }
    }

    pub(super) fn set(&self) -> Option<&[String]> {
        self.set.as_deref()
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether values are recognised without an automaton.
    #[cfg(test)]
    pub(super) fn is_fast(&self) -> bool {
        !matches!(self.how, How::Automaton(_))
    }
}

impl Shape {
    fn is_match(&self, value: &str) -> bool {
        let Some(mut rest) = self.first.strip_prefix(value) else { return false };
        let Some(((last_gap, last), middle)) = self.rest.split_last() else { return rest.is_empty() };
        for (gap, text) in middle {
            // A gap takes anything, so the first place where the literal fits is the best one.
            let skip = match gap {
                Gap::Any => 0,
                Gap::Some => match rest.chars().next() {
                    Some(c) => c.len_utf8(),
                    None => return false,
                },
            };
            let Some(at) = rest[skip..].find(text.text.as_str()) else { return false };
            rest = &rest[skip + at + text.text.len()..];
        }
        last.strip_suffix(rest).is_some_and(|gap| *last_gap == Gap::Any || !gap.is_empty())
    }
}

impl Text {
    fn strip_prefix<'v>(&self, value: &'v str) -> Option<&'v str> {
        if !self.fold {
            return value.strip_prefix(self.text.as_str());
        }
        let (head, tail) = value.split_at_checked(self.text.len())?;
        head.eq_ignore_ascii_case(&self.text).then_some(tail)
    }

    fn strip_suffix<'v>(&self, value: &'v str) -> Option<&'v str> {
        if !self.fold {
            return value.strip_suffix(self.text.as_str());
        }
        let (head, tail) = value.split_at_checked(value.len().checked_sub(self.text.len())?)?;
        tail.eq_ignore_ascii_case(&self.text).then_some(head)
    }

    /// Adds a character; false where the text cannot hold it.
    fn push(&mut self, c: char, fold: bool) -> bool {
        let cased = folds(c);
        let fold = fold && cased;
        // Letters whose case forms lie outside ASCII: k (Kelvin sign) and s (long s).
        if fold && (!c.is_ascii_alphabetic() || matches!(c.to_ascii_lowercase(), 'k' | 's')) {
            return false;
        }
        if cased && !self.text.is_empty() && self.fold != fold && self.text.chars().any(folds) {
            return false;
        }
        self.fold |= fold;
        self.text.push(c);
        true
    }
}

/// Whether `c` has other forms that differ in case.
fn folds(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphabetic();
    }
    let mut class = regex_syntax::hir::ClassUnicode::new([regex_syntax::hir::ClassUnicodeRange::new(c, c)]);
    class.case_fold_simple();
    class.ranges().len() > 1 || class.ranges().iter().any(|r| r.start() != r.end())
}

/// The words of `a|b|c` where none has a character with a meaning: such patterns are not even parsed.
fn plain_words(pattern: &str) -> Option<Vec<String>> {
    if pattern.bytes().any(|b| b"\\.+*?()[]{}^$".contains(&b)) {
        return None;
    }
    Some(pattern.split('|').map(str::to_owned).collect())
}

/// The same with punctuation behind a backslash, as programs write sets of addresses (`10\.0\.0\.1|…`).
fn escaped_words(pattern: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            '|' => {
                words.push(String::new());
                continue;
            }
            '\\' => chars.next().filter(char::is_ascii_punctuation)?,
            '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            c => c,
        };
        words.last_mut()?.push(literal);
    }
    Some(words)
}

fn common_prefix(words: &[String]) -> &str {
    let Some((first, others)) = words.split_first() else { return "" };
    let mut len = first.len();
    for word in others {
        len = first.bytes().zip(word.bytes()).take(len).take_while(|(a, b)| a == b).count();
    }
    while !first.is_char_boundary(len) {
        len -= 1;
    }
    &first[..len]
}

/// Every text that matches, where there are few.
fn finite(node: &Node) -> Option<Vec<String>> {
    let set = match &node.kind {
        Kind::Empty => vec![String::new()],
        Kind::Literal { c, fold } if !fold || !folds(*c) => vec![c.to_string()],
        Kind::Class(class) => {
            let size: usize = class.ranges().iter().map(|r| r.len()).sum();
            if size > MAX_SET {
                return None;
            }
            class.ranges().iter().flat_map(|r| r.start()..=r.end()).map(String::from).collect()
        }
        Kind::Capture { sub, .. } => finite(sub)?,
        Kind::Repeat { min: 0, max: Some(1), sub, .. } => {
            let mut set = finite(sub)?;
            set.push(String::new());
            set
        }
        Kind::Repeat { min, max: Some(max), sub, .. } if min == max && *max <= 8 => {
            let each = finite(sub)?;
            (0..*max).try_fold(vec![String::new()], |set, _| product(&set, &each))?
        }
        Kind::Concat(subs) => {
            let mut set = vec![String::new()];
            for (i, sub) in subs.iter().enumerate() {
                // The ends of the text are matched anyway, at its ends.
                let edge = match &sub.kind {
                    Kind::Look(regex_syntax::hir::Look::Start) => i == 0,
                    Kind::Look(regex_syntax::hir::Look::End) => i + 1 == subs.len(),
                    _ => false,
                };
                if !edge {
                    set = product(&set, &finite(sub)?)?;
                }
            }
            set
        }
        Kind::Alternate(subs) => {
            let mut set = Vec::new();
            for sub in subs {
                set.extend(finite(sub)?);
                if set.len() > MAX_SET {
                    return None;
                }
            }
            set
        }
        _ => return None,
    };
    (set.len() <= MAX_SET).then_some(set)
}

fn product(left: &[String], right: &[String]) -> Option<Vec<String>> {
    if left.len().saturating_mul(right.len()) > MAX_SET {
        return None;
    }
    Some(left.iter().flat_map(|l| right.iter().map(move |r| format!("{l}{r}"))).collect())
}

/// The literal that every match begins with.
fn leading_literal(node: &Node) -> String {
    let mut out = String::new();
    match &node.kind {
        Kind::Literal { c, fold } if !fold || !folds(*c) => out.push(*c),
        Kind::Capture { sub, .. } => return leading_literal(sub),
        Kind::Concat(subs) => {
            for sub in subs {
                match &sub.kind {
                    Kind::Literal { c, fold } if !fold || !folds(*c) => out.push(*c),
                    Kind::Look(regex_syntax::hir::Look::Start) if out.is_empty() => {}
                    _ => {
                        out.push_str(&leading_literal(sub));
                        break;
                    }
                }
            }
        }
        Kind::Alternate(subs) => {
            let each: Vec<String> = subs.iter().map(leading_literal).collect();
            return common_prefix(&each).to_owned();
        }
        _ => {}
    }
    out
}

/// The pattern as literals and gaps, where it is nothing else.
fn shapes(node: &Node) -> Option<Vec<Shape>> {
    let mut shapes = vec![Shape::default()];
    extend(&mut shapes, node)?;
    // Differences of case are only looked at where a literal stands at a known place.
    let searchable = |s: &Shape| {
        let middle = s.rest.len().saturating_sub(1);
        s.rest.iter().take(middle).all(|(_, t)| !t.fold)
    };
    shapes.iter().all(searchable).then_some(shapes)
}

fn extend(shapes: &mut Vec<Shape>, node: &Node) -> Option<()> {
    match &node.kind {
        Kind::Empty => Some(()),
        Kind::Literal { c, fold } => {
            let mut ends = shapes.iter_mut().map(|s| match s.rest.last_mut() {
                Some((_, text)) => text,
                None => &mut s.first,
            });
            ends.all(|text| text.push(*c, *fold)).then_some(())
        }
        Kind::Repeat { min, max: None, sub, .. } if *min <= 1 => {
            if !matches!(sub.kind, Kind::Any { newline: true }) {
                return None;
            }
            let gap = if *min == 1 { Gap::Some } else { Gap::Any };
            for shape in shapes {
                match shape.rest.last_mut() {
                    Some((before, text)) if text.text.is_empty() => match (*before, gap) {
                        (Gap::Some, Gap::Some) => return None,
                        (Gap::Any, gap) => *before = gap,
                        (Gap::Some, Gap::Any) => {}
                    },
                    _ => shape.rest.push((gap, Text::default())),
                }
            }
            Some(())
        }
        Kind::Capture { sub, .. } => extend(shapes, sub),
        Kind::Concat(subs) => subs.iter().try_for_each(|sub| extend(shapes, sub)),
        Kind::Alternate(subs) => {
            let before = std::mem::take(shapes);
            for sub in subs {
                let mut branch = before.clone();
                extend(&mut branch, sub)?;
                shapes.append(&mut branch);
                if shapes.len() > MAX_SHAPES {
                    return None;
                }
            }
            Some(())
        }
        Kind::Repeat { min: 0, max: Some(1), sub, .. } => {
            let mut with = shapes.clone();
            extend(&mut with, sub)?;
            shapes.append(&mut with);
            (shapes.len() <= MAX_SHAPES).then_some(())
        }
        _ => None,
    }
}
