//! What `/metrics` shows against what a real component shows.
//!
//! Reduces an exposition to facts (type, help, label names, bucket bounds by their spelling) and
//! compares two of them; values do not count. It scrapes nothing. Invariant: facts written down and
//! read again are the same facts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::Exceptions;

/// What is comparable of a metric family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// `counter`, `gauge`, `histogram`, `summary`.
    pub kind: String,
    /// Whether it has a help text.
    pub help: bool,
    /// The label names of its series, without `le` and `quantile`, each combination once.
    pub labels: BTreeSet<Vec<String>>,
    /// The `le` or `quantile` spellings in their order, each list once.
    pub bounds: BTreeSet<Vec<String>>,
}

/// Families by name, from the text format 0.0.4.
pub fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    // Bounds of each series, in order.
    let mut bounds: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            families.entry(name.to_owned()).or_default().help = !help.is_empty();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, ""));
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if !line.starts_with('#') && !line.is_empty() {
            let (name, labels) = series(line);
            let family = ["", "_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix))
                .find(|name| families.contains_key(*name))
                .unwrap_or(name)
                .to_owned();
            let entry = families.entry(family.clone()).or_default();
            let is_bound = |name: &str| {
                (name == "le" && entry.kind == "histogram") || (name == "quantile" && entry.kind == "summary")
            };
            let (bound, rest): (Vec<_>, Vec<_>) = labels.into_iter().partition(|(name, _)| is_bound(name));
            if let Some((_, value)) = bound.first() {
                bounds.entry((family, format!("{rest:?}"))).or_default().push(value.clone());
            }
            entry.labels.insert(rest.into_iter().map(|(name, _)| name).collect());
        }
    }
    for ((family, _), list) in bounds {
        families.entry(family).or_default().bounds.insert(list);
    }
    families
}

/// Name and labels of a sample's line.
fn series(line: &str) -> (&str, Vec<(String, String)>) {
    let Some((name, mut rest)) = line.split_once('{') else {
        return (line.split(' ').next().unwrap_or(line), Vec::new());
    };
    let mut labels = Vec::new();
    while let Some((label, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let mut end = after.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => value.extend(chars.next().map(|(_, c)| if c == 'n' { '\n' } else { c })),
                c => value.push(c),
            }
        }
        labels.push((label.trim_start_matches(',').to_owned(), value));
        rest = &after[end..];
        if rest.starts_with('}') {
            break;
        }
    }
    labels.sort();
    (name, labels)
}

/// Facts as they are kept in `testdata/parity/metrics.tsv`, without families that begin with one of
/// `without`: name, type, help, label names, bounds.
pub fn facts(families: &BTreeMap<String, Family>, without: &[&str]) -> String {
    let mut out = String::from("metric\ttype\thelp\tlabels\tbounds\n");
    let lists =
        |lists: &BTreeSet<Vec<String>>| lists.iter().map(|list| list.join(",")).collect::<Vec<_>>().join("|");
    for (name, family) in families.iter().filter(|(name, _)| !without.iter().any(|w| name.starts_with(w))) {
        let help = if family.help { "yes" } else { "no" };
        let (labels, bounds) = (lists(&family.labels), lists(&family.bounds));
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name}\t{}\t{help}\t{labels}\t{bounds}", family.kind);
    }
    out
}

/// Facts from their kept form.
pub fn parse(facts: &str) -> BTreeMap<String, Family> {
    let lists = |text: &str| -> BTreeSet<Vec<String>> {
        let list = |list: &str| list.split(',').filter(|w| !w.is_empty()).map(str::to_owned).collect();
        text.split('|').map(list).collect()
    };
    let mut families = BTreeMap::new();
    for line in facts.lines().skip(1) {
        let mut columns = line.split('\t');
        let mut next = || columns.next().unwrap_or("");
        let (name, kind, help, labels, bounds) = (next(), next(), next(), next(), next());
        let mut bounds = lists(bounds);
        bounds.remove(&Vec::new());
        let family = Family { kind: kind.to_owned(), help: help == "yes", labels: lists(labels), bounds };
        families.insert(name.to_owned(), family);
    }
    families
}

/// What differs between `ours` and `theirs` and is not excused, one text a difference.
pub fn compare(
    ours: &BTreeMap<String, Family>,
    theirs: &BTreeMap<String, Family>,
    exceptions: &Exceptions,
) -> Vec<String> {
    let mut found = Vec::new();
    for (name, family) in ours {
        let Some(wanted) = theirs.get(name) else {
            if !exceptions.excuses("metric", name, "added") {
                found.push(format!("{name} is not upstream"));
            }
            continue;
        };
        let mut differs = Vec::new();
        if family.kind != wanted.kind {
            differs.push(format!("{name} is a {} here and a {} upstream", family.kind, wanted.kind));
        }
        if family.help != wanted.help {
            differs.push(format!("{name} has help: {} here, {} upstream", family.help, wanted.help));
        }
        if family.labels != wanted.labels {
            differs
                .push(format!("{name} has labels {:?} here and {:?} upstream", family.labels, wanted.labels));
        }
        if family.bounds != wanted.bounds {
            differs
                .push(format!("{name} has bounds {:?} here and {:?} upstream", family.bounds, wanted.bounds));
        }
        if !differs.is_empty() && !exceptions.excuses("metric", name, "different") {
            found.append(&mut differs);
        }
    }
    for name in theirs.keys().filter(|name| !ours.contains_key(*name)) {
        if !exceptions.excuses("metric", name, "absent") {
            found.push(format!("{name} is missing"));
        }
    }
    found.extend(exceptions.unused("metric"));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_seconds H.\n# TYPE a_seconds histogram\n\
        a_seconds_bucket{x=\"1,\\\"=\",le=\"0.1\"} 0\na_seconds_bucket{x=\"1,\\\"=\",le=\"+Inf\"} 1\n\
        a_seconds_sum{x=\"1,\\\"=\"} 1\na_seconds_count{x=\"1,\\\"=\"} 1\n\
        # HELP b_total\n# TYPE b_total counter\nb_total 1\n\
        # HELP c H.\n# TYPE c gauge\nc{z=\"1\",y=\"2\"} 1\nc{y=\"2\"} 1\n\
        # HELP go_x H.\n# TYPE go_x gauge\ngo_x 1\n";

    #[test]
    fn expositions_reduce_to_facts_that_survive_being_written() {
        let read = families(TEXT);
        let written = facts(&read, &["go_"]);
        assert_eq!(
            written,
            "metric\ttype\thelp\tlabels\tbounds\n\
             a_seconds\thistogram\tyes\tx\t0.1,+Inf\n\
             b_total\tcounter\tno\t\t\n\
             c\tgauge\tyes\ty|y,z\t\n"
        );
        let mut without = read.clone();
        without.remove("go_x");
        assert_eq!(parse(&written), without);
    }

    #[test]
    fn every_kind_of_difference_is_reported_or_excused() {
        let theirs = families(TEXT);
        let mut text = TEXT
            .replace("\"0.1\"", "\"0.10\"")
            .replace("z=", "w=")
            .replace("# TYPE b_total counter", "# TYPE b_total gauge");
        text = text.replace("# HELP b_total", "# HELP b_total H.").replace("go_x", "rust_x");
        let ours = families(&text);
        let found = compare(&ours, &theirs, &Exceptions::default());
        assert_eq!(
            found,
            [
                "a_seconds has bounds {[\"0.10\", \"+Inf\"]} here and {[\"0.1\", \"+Inf\"]} upstream",
                "b_total is a gauge here and a counter upstream",
                "b_total has help: true here, false upstream",
                "c has labels {[\"w\", \"y\"], [\"y\"]} here and {[\"y\"], [\"y\", \"z\"]} upstream",
                "rust_x is not upstream",
                "go_x is missing",
            ]
        );
        let excused = "[[metric]]\nname = \"*\"\nkind = \"different\"\nreason = \"r\"\n\
                       [[metric]]\nname = \"go_*\"\nkind = \"absent\"\nreason = \"r\"\n\
                       [[metric]]\nname = \"rust_x\"\nkind = \"added\"\nreason = \"r\"\n";
        let parsed = || Exceptions::parse(excused).unwrap();
        assert_eq!(compare(&ours, &theirs, &parsed()), Vec::<String>::new());
        assert_eq!(compare(&theirs, &theirs, &parsed()).len(), 2);
    }
}
