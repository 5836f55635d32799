//! Declared flags against a slice of Thanos' flag table.
//!
//! A row is `component, flag, type, default, repeatable, hidden, note` and more, by tabs; a pair of
//! path and content is one row. It parses no command line. Invariant: names, defaults, syntax,
//! repetition, negation (which is the syntax of booleans) and visibility are all compared.

use std::collections::BTreeMap;

use super::Exceptions;
use crate::flags::{Kind, Spec};

/// What the table says of one flag.
#[derive(Debug, PartialEq)]
struct Row {
    kind: Kind,
    default: Vec<String>,
    repeatable: bool,
    hidden: bool,
    short: Option<char>,
}

fn rows(table: &str) -> Result<BTreeMap<String, Row>, String> {
    let mut rows = BTreeMap::new();
    for line in table.lines().filter(|l| !l.is_empty() && !l.starts_with("component\t")) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [_, name, kind, default, repeatable, hidden, note, ..] = columns[..] else {
            return Err(format!("row {line:?} has too few columns"));
        };
        let yes = |text: &str| text == "yes";
        let known = kind_of(kind, note).ok_or_else(|| format!("--{name}: type {kind} ({note})"))?;
        let short = note.split("short=-").nth(1).and_then(|rest| rest.chars().next());
        let default = match default {
            "-" => Vec::new(),
            "\"\"" => vec![String::new()],
            list if yes(repeatable) => list.split(',').map(str::to_owned).collect(),
            text => vec![text.to_owned()],
        };
        let row = |default| Row {
            kind: known.clone(),
            default,
            repeatable: yes(repeatable),
            hidden: yes(hidden),
            short,
        };
        if kind == "pathorcontent" {
            rows.insert(format!("{name}-file"), row(Vec::new()));
        }
        rows.insert(name.to_owned(), row(default));
    }
    Ok(rows)
}

fn kind_of(kind: &str, note: &str) -> Option<Kind> {
    let words = kind.strip_prefix("enum(").and_then(|k| k.strip_suffix(')'));
    if let Some(words) = words {
        return Some(Kind::OneOf(words.split(',').map(|w| w.trim_matches('"').to_owned()).collect()));
    }
    Some(match kind {
        "bool" => Kind::Bool,
        "string" if note.contains("parsed as URL") => Kind::Url,
        "string" | "pathorcontent" => Kind::Text,
        "address" if note.contains("listen address") => Kind::Text,
        "address" => Kind::Address,
        "duration" if note.contains("syntax=prom-duration") => Kind::PromDuration,
        "duration" if note.contains("syntax=go-duration") => Kind::GoDuration,
        "bytes" => Kind::Bytes,
        "int" if note.contains("parsed as float") => Kind::Int,
        "int" if note.contains("unsigned 64-bit") => Kind::Uint64,
        "int" if note.contains("64-bit") => Kind::Int64,
        "float" => Kind::Float,
        "time-or-duration" => Kind::TimeOrDuration,
        _ => return None,
    })
}

/// Words of a choice in any order; everything else as it is.
fn same_kind(ours: &Kind, theirs: &Kind) -> bool {
    match (ours, theirs) {
        (Kind::OneOf(ours), Kind::OneOf(theirs)) => {
            ours.len() == theirs.len() && ours.iter().all(|w| theirs.contains(w))
        }
        (ours, theirs) => ours == theirs,
    }
}

/// What differs between `specs` and `table` and is not excused, one text a difference.
pub fn compare(specs: &[Spec], table: &str, exceptions: &Exceptions) -> Vec<String> {
    let rows = match rows(table) {
        Ok(rows) => rows,
        Err(e) => return vec![format!("flags.tsv: {e}")],
    };
    let mut found = Vec::new();
    for spec in specs {
        let name = &spec.name;
        let Some(row) = rows.get(name) else {
            if !exceptions.excuses("flag", name, "added") {
                found.push(format!("--{name} is not upstream"));
            }
            continue;
        };
        // Whether it does anything is for `xtask tidy` to judge.
        exceptions.excuses("flag", name, "ignored");
        let mut differs = Vec::new();
        if !same_kind(&spec.kind, &row.kind) {
            differs.push(format!("--{name} is {:?} here and {:?} upstream", spec.kind, row.kind));
        }
        // A flag without default shows its zero, so an empty text is no default either.
        let without_empty = |d: &[String]| if *d == [""] { Vec::new() } else { d.to_vec() };
        let bool_default = |d: &[String]| spec.kind == Kind::Bool && d.is_empty();
        if without_empty(&spec.default) != without_empty(&row.default) && !bool_default(&row.default) {
            differs
                .push(format!("--{name} defaults to {:?} here and {:?} upstream", spec.default, row.default));
        }
        if spec.repeatable != row.repeatable {
            differs.push(format!(
                "--{name} is repeatable: {} here, {} upstream",
                spec.repeatable, row.repeatable
            ));
        }
        if spec.hidden != row.hidden {
            differs.push(format!("--{name} is hidden: {} here, {} upstream", spec.hidden, row.hidden));
        }
        if spec.short != row.short {
            differs.push(format!("--{name} is short {:?} here and {:?} upstream", spec.short, row.short));
        }
        if !differs.is_empty() && !exceptions.excuses("flag", name, "different") {
            found.append(&mut differs);
        }
    }
    for name in rows.keys().filter(|name| !specs.iter().any(|s| s.name == **name)) {
        if !exceptions.excuses("flag", name, "absent") {
            found.push(format!("--{name} is missing"));
        }
    }
    found.extend(exceptions.unused("flag"));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::groups::Common;
    use crate::flags::specs_of;

    const TABLE: &str = "component\tflag\ttype\tdefault\trepeatable\thidden\tnote\tmeaning\n\
        x\ta\tbool\tfalse\tno\tno\t--no-a form\tm\n\
        x\tb\tduration\t2m\tno\tyes\tsyntax=prom-duration\tm\n\
        x\tc\tfloat\t1,2\tyes\tno\t\tm\n\
        x\td.config\tpathorcontent\t-\tno\tno\ttwo flags\tm\n";

    #[test]
    fn every_kind_of_difference_is_reported_or_excused() {
        let same = specs_of(|d| {
            d.flag("a", "h").bool();
            d.flag("b", "h").default("2m").hidden().prom_duration();
            d.flag("c", "h").default("1").default("2").floats();
            d.path_or_content("d.config", "h").done();
        });
        assert_eq!(compare(&same, TABLE, &Exceptions::default()), Vec::<String>::new());
        let other = specs_of(|d| {
            d.flag("a", "h").string();
            d.flag("b", "h").default("3m").duration();
            d.flag("c", "h").default("1").default("2").float();
            d.flag("e", "h").bool();
        });
        assert_eq!(
            compare(&other, TABLE, &Exceptions::default()),
            [
                "--a is Text here and Bool upstream",
                "--a defaults to [] here and [\"false\"] upstream",
                "--b is GoDuration here and PromDuration upstream",
                "--b defaults to [\"3m\"] here and [\"2m\"] upstream",
                "--b is hidden: false here, true upstream",
                "--c is repeatable: false here, true upstream",
                "--e is not upstream",
                "--d.config is missing",
                "--d.config-file is missing",
            ]
        );
        let excused: String = [
            ("a", "different"),
            ("b", "different"),
            ("c", "different"),
            ("e", "added"),
            ("d.config", "absent"),
            ("d.config-file", "absent"),
        ]
        .map(|(name, kind)| format!("[[flag]]\nname = \"{name}\"\nkind = \"{kind}\"\nreason = \"r\"\n"))
        .concat();
        let parsed = || Exceptions::parse(&excused).unwrap();
        assert_eq!(compare(&other, TABLE, &parsed()), Vec::<String>::new());
        assert_eq!(compare(&same, TABLE, &parsed()).len(), 3);
    }

    #[test]
    fn common_flags_are_those_of_thanos() {
        let table = include_str!("../../../testdata/parity/flags.tsv");
        let exceptions = include_str!("../../../testdata/parity/exceptions.toml");
        let exceptions = Exceptions::parse(exceptions).unwrap();
        assert_eq!(compare(&crate::flags::specs::<Common>(), table, &exceptions), Vec::<String>::new());
    }
}
