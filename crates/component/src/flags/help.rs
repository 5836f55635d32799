//! The text of `--help`.
//!
//! Lays out specs as kingpin does (flag column, wrapped help column); it knows no service.
//! Invariant: every flag that is not hidden appears exactly once.

use std::fmt::Write as _;

use super::{Kind, Spec, Verb};

const WIDTH: usize = 80;
const HELP_COLUMN: usize = 33;

/// The usage of `program`, for one verb when `verb` is given.
pub(crate) fn usage(
    program: &str,
    about: &str,
    common: &[Spec],
    verbs: &[Verb<'_>],
    verb: Option<usize>,
) -> String {
    let mut out = String::new();
    match verb.and_then(|at| verbs.get(at)) {
        Some(verb) => {
            let _ = writeln!(out, "usage: {program} {} [<flags>]\n\n{}\n\n", verb.name, verb.about);
            flags(&mut out, common.iter().chain(&verb.flags));
        }
        None => {
            let _ = writeln!(out, "usage: {program} [<flags>] <command> [<args> ...]\n\n{about}\n\n");
            flags(&mut out, common.iter());
            out.push_str("\nCommands:\n");
            for verb in verbs {
                let _ = writeln!(out, "{} [<flags>]", verb.name);
                for line in wrap(verb.about, WIDTH - 4) {
                    let _ = writeln!(out, "    {line}");
                }
                out.push('\n');
            }
        }
    }
    out
}

fn flags<'s>(out: &mut String, specs: impl Iterator<Item = &'s Spec>) {
    out.push_str("Flags:\n");
    for spec in specs.filter(|s| !s.hidden) {
        let head = head(spec);
        let lines = wrap(&spec.help, WIDTH - HELP_COLUMN);
        let mut lines = lines.iter();
        if head.len() + 2 <= HELP_COLUMN {
            let first = lines.next().map_or("", String::as_str);
            let _ = writeln!(out, "{}", format!("{head:HELP_COLUMN$}{first}").trim_end());
        } else {
            let _ = writeln!(out, "{head}");
        }
        for line in lines {
            let _ = writeln!(out, "{:HELP_COLUMN$}{line}", "");
        }
    }
}

fn head(spec: &Spec) -> String {
    let mut head = match spec.short {
        Some(letter) => format!("  -{letter}, --"),
        None => "      --".to_owned(),
    };
    if spec.kind == Kind::Bool {
        let _ = write!(head, "[no-]{}", spec.name);
        return head;
    }
    let _ = write!(head, "{}=", spec.name);
    match (&spec.placeholder, spec.default.first()) {
        (Some(text), _) => head.push_str(text),
        (None, Some(default)) if spec.kind == Kind::Text => {
            let _ = write!(head, "{default:?}");
        }
        (None, Some(default)) => head.push_str(default),
        (None, None) => head.push_str(&spec.name.to_uppercase()),
    }
    if spec.repeatable {
        head.push_str(" ...");
    }
    head
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}
