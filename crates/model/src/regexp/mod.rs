//! Go's regular expressions over the `regex` family of crates.
//!
//! Holds a parser for Go's syntax (`parse`), its errors, and [`Regexp`], a compiled pattern that must
//! match a whole text. Label matchers add fast paths (`matcher`); `label_replace` and relabeling take
//! the groups from here. It knows no labels. Invariant: what Go's RE2 accepts, refuses and matches, so
//! does this; matching takes time linear in the text.

mod class;
mod error;
pub(crate) mod node;
mod parse;

use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::captures::Captures;
use regex_automata::{Anchored, Input, Span, meta};
use regex_syntax::hir::{Hir, Look};

pub use error::{Error, ErrorCode};
pub(crate) use parse::parse;

/// Bytes that one compiled pattern may take; Go would take up to 128 MiB.
const COMPILED_LIMIT: usize = 64 << 20;

/// A compiled pattern, anchored at both ends, `.` matching newlines: Prometheus' `^(?s:…)$`.
#[derive(Clone, Debug)]
pub struct Regexp {
    compiled: meta::Regex,
    /// Names of groups with their numbers; a name may be given twice.
    names: Vec<(Box<str>, usize)>,
}

impl Regexp {
    /// Compiles a pattern with its groups.
    ///
    /// # Errors
    /// [`Error`] with Go's text.
    pub fn new(pattern: &str) -> Result<Self, Error> {
        let (node, _) = parse(pattern)?;
        Regexp::compile(pattern, &node, true)
    }

    pub(crate) fn compile(pattern: &str, node: &node::Node, captures: bool) -> Result<Self, Error> {
        let hir = Hir::concat(vec![Hir::look(Look::Start), node.to_hir(captures), Hir::look(Look::End)]);
        let which = if captures { WhichCaptures::All } else { WhichCaptures::None };
        let config = meta::Config::new()
            .which_captures(which)
            .nfa_size_limit(Some(COMPILED_LIMIT))
            .onepass(captures)
            .utf8_empty(true);
        let compiled = meta::Builder::new()
            .configure(config)
            .build_from_hir(&hir)
            .map_err(|_| Error::new(ErrorCode::Large, pattern))?;
        let mut names = Vec::new();
        if captures {
            node.group_names(&mut names);
        }
        Ok(Regexp { compiled, names })
    }

    /// Whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(Input::new(text).anchored(Anchored::Yes))
    }

    /// Where the whole of `text` matches, `template` with `$1`, `${name}` and `$$` replaced as Go's
    /// `Regexp.Expand` does; groups that took no part and unknown ones become nothing.
    pub fn replace(&self, text: &str, template: &str) -> Option<String> {
        let mut captures = self.compiled.create_captures();
        self.compiled.captures(Input::new(text).anchored(Anchored::Yes), &mut captures);
        if !captures.is_match() {
            return None;
        }
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
                continue;
            }
            let Some((name, after)) = reference(after) else {
                // Malformed: the dollar is text.
                out.push('$');
                rest = after;
                continue;
            };
            let span = match group_number(name) {
                Some(index) => captures.get_group(index),
                None => self.named(&captures, name),
            };
            out.push_str(span.map_or("", |span| &text[span.range()]));
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    /// The span of a named group; of several groups with one name the first that took part.
    fn named(&self, captures: &Captures, name: &str) -> Option<Span> {
        let mut groups = self.names.iter().filter(|(n, _)| **n == *name);
        groups.find_map(|(_, index)| captures.get_group(*index))
    }
}

/// The group that `name` names by number: Go takes digits as a number up to 1e8.
fn group_number(name: &str) -> Option<usize> {
    if !name.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(name.parse().ok().filter(|n| *n < 100_000_000).unwrap_or(usize::MAX))
}

/// The name after a dollar, `name` or `{name}`, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let word = |c: char| c == '_' || c.is_alphanumeric();
    let (body, braced) = match text.strip_prefix('{') {
        Some(body) => (body, true),
        None => (text, false),
    };
    let end = body.find(|c| !word(c)).unwrap_or(body.len());
    let (name, rest) = body.split_at(end);
    if name.is_empty() {
        return None;
    }
    let rest = if braced { rest.strip_prefix('}')? } else { rest };
    Some((name, rest))
}

#[cfg(test)]
mod tests;
