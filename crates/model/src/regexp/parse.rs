//! Go's regular expression syntax, to a tree.
//!
//! Holds the parser for the syntax that `regexp/syntax` accepts with the flags `Perl|DotNL`, as
//! Prometheus uses it: `.` matches newlines, `^` and `$` are the ends of the text. Groups grow a
//! vector, not the call stack. Invariant: a pattern is refused exactly where Go refuses it, with Go's
//! text. Sets and escapes are in `escape`. Reference: Go `regexp/syntax/parse.go` (as in `github.com/grafana/regexp`).

mod escape;

use regex_syntax::hir::{ClassUnicode, Look};

use super::error::{Error, ErrorCode};
use super::node::{Kind, MAX_HEIGHT, Node};

/// Go's limit on instructions, 128 MiB of them.
const MAX_SIZE: u64 = (128 << 20) / 40;
/// Go's limit on the bounds of all classes, 128 MiB of them.
const MAX_RUNES: usize = (128 << 20) / 4;
/// Go's limit on one repetition and on the product of nested ones.
const MAX_REPEAT: u64 = 1000;

#[derive(Clone, Copy)]
struct Flags {
    fold: bool,
    multi_line: bool,
    dot_newline: bool,
    lazy: bool,
}

/// An open group, or the whole pattern.
struct Group {
    /// Flags to return to when it closes.
    flags: Flags,
    /// Number and name of a capturing group.
    capture: Option<(u32, Option<Box<str>>)>,
    alternatives: Vec<Node>,
    current: Vec<Node>,
}

struct Parser<'p> {
    pattern: &'p str,
    /// Next byte.
    at: usize,
    flags: Flags,
    groups: Vec<Group>,
    captures: u32,
    runes: usize,
}

type Parsed<T> = Result<T, Error>;

/// A parsed pattern and the number of its capturing groups.
pub(crate) fn parse(pattern: &str) -> Parsed<(Node, u32)> {
    let flags = Flags { fold: false, multi_line: false, dot_newline: true, lazy: false };
    let whole = Group { flags, capture: None, alternatives: Vec::new(), current: Vec::new() };
    let mut parser = Parser { pattern, at: 0, flags, groups: vec![whole], captures: 0, runes: 0 };
    let node = parser.run()?;
    Ok((node, parser.captures))
}

impl<'p> Parser<'p> {
    fn rest(&self) -> &'p str {
        &self.pattern[self.at..]
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.pattern.as_bytes().get(self.at + ahead).copied()
    }

    fn next_char(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn fail<T>(&self, code: ErrorCode, from: usize) -> Parsed<T> {
        Err(Error::new(code, &self.pattern[from..self.at]))
    }

    fn fail_whole<T>(&self, code: ErrorCode) -> Parsed<T> {
        Err(Error::new(code, self.pattern))
    }

    fn run(&mut self) -> Parsed<Node> {
        // Start of the repetition just parsed: another one may not follow.
        let mut repeated = None;
        while let Some(b) = self.byte(0) {
            let begin = self.at;
            let mut repeat = None;
            match b {
                b'(' if self.byte(1) == Some(b'?') => self.perl_group()?,
                b'(' => {
                    self.at += 1;
                    self.captures += 1;
                    let index = self.captures;
                    self.open(Some((index, None)));
                }
                b'|' => {
                    self.at += 1;
                    self.close_alternative()?;
                }
                b')' => {
                    self.close_group()?;
                    self.at += 1;
                }
                b'^' => {
                    self.take(Kind::Look(if self.flags.multi_line { Look::StartLF } else { Look::Start }), 1)?
                }
                b'$' => {
                    self.take(Kind::Look(if self.flags.multi_line { Look::EndLF } else { Look::End }), 1)?
                }
                b'.' => self.take(Kind::Any { newline: self.flags.dot_newline }, 1)?,
                b'[' => self.class()?,
                b'*' | b'+' | b'?' => {
                    self.at += 1;
                    let (min, max) = match b {
                        b'*' => (0, None),
                        b'+' => (1, None),
                        _ => (0, Some(1)),
                    };
                    self.repeat(begin, min, max, repeated, false)?;
                    repeat = Some(begin);
                }
                b'{' => match self.counts() {
                    Some((min, max, rest)) => {
                        self.at = rest;
                        let big = |n: u64| n > MAX_REPEAT;
                        if big(min) || max.is_some_and(|max| big(max) || min > max) {
                            return self.fail(ErrorCode::InvalidRepeatSize, begin);
                        }
                        self.repeat(begin, min as u32, max.map(|m| m as u32), repeated, true)?;
                        repeat = Some(begin);
                    }
                    None => {
                        self.at += 1;
                        self.literal(u32::from(b'{'))?;
                    }
                },
                b'\\' => self.escape()?,
                _ => {
                    let c = self.next_char().unwrap_or_default();
                    self.literal(c as u32)?;
                }
            }
            repeated = repeat;
        }
        if self.groups.len() != 1 {
            // Go closes what was open with its own checks first; none of them fails here.
            return self.fail_whole(ErrorCode::MissingParen);
        }
        self.finish_group()
    }

    fn open(&mut self, capture: Option<(u32, Option<Box<str>>)>) {
        self.groups.push(Group { flags: self.flags, capture, alternatives: Vec::new(), current: Vec::new() });
    }

    /// Adds a node to the innermost group.
    fn add(&mut self, kind: Kind) -> Parsed<()> {
        let node = self.checked(kind)?;
        if let Some(group) = self.groups.last_mut() {
            group.current.push(node);
        }
        Ok(())
    }

    fn checked(&mut self, kind: Kind) -> Parsed<Node> {
        if let Kind::Class(class) = &kind {
            self.runes += class.ranges().len() * 2;
        }
        let node = Node::new(kind);
        if self.runes > MAX_RUNES || node.size > MAX_SIZE {
            return self.fail_whole(ErrorCode::Large);
        }
        if node.height > MAX_HEIGHT {
            return self.fail_whole(ErrorCode::NestingDepth);
        }
        Ok(node)
    }

    fn take(&mut self, kind: Kind, bytes: usize) -> Parsed<()> {
        self.at += bytes;
        self.add(kind)
    }

    fn literal(&mut self, c: u32) -> Parsed<()> {
        match char::from_u32(c) {
            Some(c) => self.add(Kind::Literal { c, fold: self.flags.fold }),
            // No text holds a surrogate.
            None => self.add(Kind::Never),
        }
    }

    fn close_alternative(&mut self) -> Parsed<()> {
        let current = self.groups.last_mut().map(|g| std::mem::take(&mut g.current)).unwrap_or_default();
        let node = self.joined(current, Kind::Concat, |kind| match kind {
            Kind::Concat(subs) => Ok(subs),
            other => Err(other),
        })?;
        if let Some(group) = self.groups.last_mut() {
            group.alternatives.push(node);
        }
        Ok(())
    }

    /// Joins nodes under an operation, taking up children of the same operation.
    fn joined(
        &mut self,
        nodes: Vec<Node>,
        join: fn(Vec<Node>) -> Kind,
        split: fn(Kind) -> Result<Vec<Node>, Kind>,
    ) -> Parsed<Node> {
        if nodes.is_empty() {
            return self.checked(Kind::Empty);
        }
        let mut flat = Vec::with_capacity(nodes.len());
        for node in nodes {
            let Node { kind, height, size, copies } = node;
            match split(kind) {
                Ok(subs) => flat.extend(subs),
                Err(kind) => flat.push(Node { kind, height, size, copies }),
            }
        }
        match flat.len() {
            1 => Ok(flat.swap_remove(0)),
            _ => self.checked(join(flat)),
        }
    }

    fn finish_group(&mut self) -> Parsed<Node> {
        self.close_alternative()?;
        let alternatives =
            self.groups.last_mut().map(|g| std::mem::take(&mut g.alternatives)).unwrap_or_default();
        self.joined(alternatives, Kind::Alternate, |kind| match kind {
            Kind::Alternate(subs) => Ok(subs),
            other => Err(other),
        })
    }

    fn close_group(&mut self) -> Parsed<()> {
        if self.groups.len() < 2 {
            return self.fail_whole(ErrorCode::UnexpectedParen);
        }
        let node = self.finish_group()?;
        let Some(group) = self.groups.pop() else { return Ok(()) };
        self.flags = group.flags;
        let node = match group.capture {
            Some((index, name)) => self.checked(Kind::Capture { index, name, sub: Box::new(node) })?,
            None => node,
        };
        if let Some(outer) = self.groups.last_mut() {
            outer.current.push(node);
        }
        Ok(())
    }

    /// Applies the repetition written from `begin` to here to the node before it.
    fn repeat(
        &mut self,
        begin: usize,
        min: u32,
        max: Option<u32>,
        repeated: Option<usize>,
        counted: bool,
    ) -> Parsed<()> {
        let mut greedy = !self.flags.lazy;
        if self.byte(0) == Some(b'?') {
            self.at += 1;
            greedy = !greedy;
        }
        if let Some(from) = repeated {
            return self.fail(ErrorCode::InvalidRepeatOp, from);
        }
        let Some(sub) = self.groups.last_mut().and_then(|g| g.current.pop()) else {
            return self.fail(ErrorCode::MissingRepeatArgument, begin);
        };
        let node = self.checked(Kind::Repeat { min, max, greedy, sub: Box::new(sub) })?;
        if counted && (min >= 2 || max.is_some_and(|m| m >= 2)) && node.copies > MAX_REPEAT {
            return self.fail(ErrorCode::InvalidRepeatSize, begin);
        }
        if let Some(group) = self.groups.last_mut() {
            group.current.push(node);
        }
        Ok(())
    }

    /// `{2}`, `{2,}`, `{2,5}`: the counts and where they end; `None` where the brace is a literal.
    fn counts(&self) -> Option<(u64, Option<u64>, usize)> {
        let (min, rest) = count(&self.rest()[1..])?;
        let (max, rest) = match rest.strip_prefix(',') {
            None => (Some(min), rest),
            Some(rest) if rest.starts_with('}') => (None, rest),
            Some(rest) => count(rest).map(|(max, rest)| (Some(max), rest))?,
        };
        let rest = rest.strip_prefix('}')?;
        Some((min, max, self.pattern.len() - rest.len()))
    }

    /// `(?P<name>`, `(?<name>`, `(?:`, `(?i)`, `(?i-s:`
    fn perl_group(&mut self) -> Parsed<()> {
        let begin = self.at;
        let text = self.rest();
        let named = if text.len() > 4 && text.starts_with("(?P<") {
            Some(4)
        } else {
            (text.len() > 3 && text.starts_with("(?<")).then_some(3)
        };
        if let Some(skip) = named {
            let Some(end) = text.find('>') else {
                return Err(Error::new(ErrorCode::InvalidNamedCapture, text));
            };
            let name = &text[skip..end];
            if name.is_empty() || !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
                return Err(Error::new(ErrorCode::InvalidNamedCapture, &text[..=end]));
            }
            self.at += end + 1;
            self.captures += 1;
            self.open(Some((self.captures, Some(name.into()))));
            return Ok(());
        }
        self.at += 2;
        let (mut flags, mut on, mut seen) = (self.flags, true, false);
        while let Some(c) = self.next_char() {
            match c {
                'i' => flags.fold = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_newline = on,
                'U' => flags.lazy = on,
                '-' if on => {
                    (on, seen) = (false, false);
                    continue;
                }
                ':' | ')' if on || seen => {
                    if c == ':' {
                        self.open(None);
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
            seen = true;
        }
        self.fail(ErrorCode::InvalidPerlOp, begin)
    }

    /// A backslash outside of brackets.
    fn escape(&mut self) -> Parsed<()> {
        match self.byte(1) {
            Some(b'A') => return self.take(Kind::Look(Look::Start), 2),
            Some(b'z') => return self.take(Kind::Look(Look::End), 2),
            Some(b'b') => return self.take(Kind::Look(Look::WordAscii), 2),
            Some(b'B') => return self.take(Kind::Look(Look::WordAsciiNegate), 2),
            Some(b'C') => return Err(Error::new(ErrorCode::InvalidEscape, "\\C")),
            Some(b'Q') => {
                self.at += 2;
                let rest = self.rest();
                let (quoted, after) = match rest.find("\\E") {
                    Some(end) => (&rest[..end], end + 2),
                    None => (rest, rest.len()),
                };
                self.at += after;
                for c in quoted.chars() {
                    self.literal(c as u32)?;
                }
                return Ok(());
            }
            _ => {}
        }
        let mut class = ClassUnicode::empty();
        if self.class_escape(&mut class)? {
            return self.add(Kind::Class(class));
        }
        let c = self.char_escape()?;
        self.literal(c)
    }
}

/// A decimal number without leading zeros and what follows it; large ones saturate.
fn count(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || (digits > 1 && text.starts_with('0')) {
        return None;
    }
    Some((text[..digits].parse().unwrap_or(u64::MAX), &text[digits..]))
}
