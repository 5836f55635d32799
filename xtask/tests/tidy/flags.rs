//! Flags that are accepted and then ignored must be confessed.
//!
//! A flag whose value no other file reads does nothing. It is allowed where Thanos has the flag and
//! its meaning is void here, and then stands in `<service>/testdata/parity/exceptions.toml` as
//!
//! ```toml
//! [[flag]]
//! name = "selector.example"
//! kind = "ignored"    # or "different", "absent"
//! reason = "one sentence for the user"
//! ```
//!
//! Whether a value is read is judged by its field's name: `.name` or a pattern with `name` somewhere
//! in the crate outside `args.rs`.

use std::collections::BTreeMap;

use crate::{Text, none, texts};

/// A declared flag: its name, and the field or variable that takes its value, if any.
#[derive(Debug, PartialEq)]
struct Declared {
    flag: String,
    taken_by: Option<String>,
}

/// Every `d.flag("name", …)` and `d.path_or_content("name", …)` of a file.
fn declared(source: &str) -> Vec<Declared> {
    let mut out = Vec::new();
    for call in [".flag(", ".path_or_content("] {
        for (at, _) in source.match_indices(call) {
            let rest = source[at + call.len()..].trim_start();
            let Some(flag) = rest.strip_prefix('"').and_then(|r| r.split('"').next()) else { continue };
            let before = source[..at].trim_end().trim_end_matches(is_word).trim_end();
            out.push(Declared { flag: flag.to_owned(), taken_by: taker(before) });
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The name before `:` or `=` at the end of a text: what the following value goes to.
fn taker(before: &str) -> Option<String> {
    let before = before.strip_suffix([':', '='])?.trim_end();
    let start = before.rfind(|c| !is_word(c)).map_or(0, |i| i + 1);
    let name = &before[start..];
    (!name.is_empty() && !name.starts_with('_')).then(|| name.to_owned())
}

/// Whether a file reads a field of this name.
fn reads(source: &str, name: &str) -> bool {
    source.match_indices(name).any(|(at, _)| {
        let (before, after) = (&source[..at], &source[at + name.len()..]);
        let word = !after.starts_with(is_word);
        let pattern = before.ends_with([' ', '{', '(']) && after.starts_with([',', ' ', '}', ':', ')']);
        word && (before.ends_with('.') || pattern)
    })
}

/// The entries of an exceptions file: flag, kind, reason.
fn exceptions(text: &Text, found: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for section in text.content.split("[[flag]]").skip(1) {
        let section = section.split("\n[").next().unwrap_or_default();
        let value = |key: &str| {
            let line = section.lines().find_map(|l| l.split_once('=').filter(|(k, _)| k.trim() == key));
            let value = line.map(|(_, v)| v.trim().trim_matches('"').to_owned());
            value.filter(|v| !v.is_empty())
        };
        match (value("name"), value("kind"), value("reason")) {
            (Some(name), Some(kind), Some(_)) => drop(out.insert(name, kind)),
            (name, ..) => found.push(format!("{}: {name:?} lacks name, kind or reason", text.path)),
        }
    }
    out
}

#[test]
fn ignored_flags_stand_in_exceptions_with_their_reason() {
    let texts = texts();
    let mut found = Vec::new();
    for service in ["sidecar", "store-gateway", "querier"] {
        let src = format!("crates/{service}/src/");
        let of_service: Vec<&Text> = texts.iter().filter(|t| t.path.starts_with(&src)).collect();
        let is_args = |t: &Text| t.path[src.len()..].starts_with("args");
        let file = format!("crates/{service}/testdata/parity/exceptions.toml");
        let listed = texts.iter().find(|t| t.path == file);
        let listed = listed.map(|t| exceptions(t, &mut found)).unwrap_or_default();

        let mut ignored = Vec::new();
        for args in of_service.iter().filter(|t| is_args(t)) {
            for Declared { flag, taken_by } in declared(&args.content) {
                let read = taken_by
                    .is_some_and(|name| of_service.iter().any(|t| !is_args(t) && reads(&t.content, &name)));
                if !read {
                    ignored.push(flag);
                }
            }
        }
        for flag in &ignored {
            if listed.get(flag).is_none_or(|kind| kind != "ignored") {
                found.push(format!("{service}: --{flag} is accepted and read by nobody"));
            }
        }
        for (flag, _) in listed.iter().filter(|(_, kind)| *kind == "ignored") {
            // A family's names are put together: `format!("{kind}.partial-response")`.
            let family = flag.split_once('.').map(|(_, rest)| format!("}}.{rest}\""));
            let named = |text: &str| {
                text.contains(&format!("\"{flag}\"")) || family.as_ref().is_some_and(|f| text.contains(f))
            };
            let named = of_service.iter().any(|t| is_args(t) && named(&t.content));
            if !named {
                found.push(format!("{file}: --{flag} is not declared"));
            }
        }
    }
    none("a flag does something, or exceptions.toml says why not", found);
}

#[test]
fn a_flag_is_found_with_what_takes_its_value() {
    let source = r#"
        Args {
            a: d.flag("a.one", "Help.").bool(),
            b: d
                .flag(
                    "b.two", "Help.")
                .string(),
        };
        d.flag("c.three", "Help.").bool();
        let _ = d.path_or_content("d.four", "Help.").done();
        let e = d.flag("e", "").int();"#;
    let mut found: Vec<_> = declared(source).into_iter().map(|d| (d.flag, d.taken_by)).collect();
    found.sort();
    let want =
        [("a.one", Some("a")), ("b.two", Some("b")), ("c.three", None), ("d.four", None), ("e", Some("e"))];
    assert_eq!(found, want.map(|(f, t)| (f.to_owned(), t.map(str::to_owned))));
    assert!(reads("if args.b.is_empty()", "b") && reads("let Args { a, b } = args", "b"));
    assert!(!reads("args.bb, about", "b"));
}
