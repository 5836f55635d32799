//! A service against what is known of Thanos' same service.
//!
//! Facts lie in `<service>/testdata/parity`: `flags.tsv` (a slice of the flag table), `metrics.tsv`
//! (what a real component's `/metrics` shows, see [`metrics::facts`]) and `exceptions.toml`, which
//! says where the two differ and why. It starts nothing. Invariant: every difference is either
//! reported or excused, and an excuse that excuses nothing is reported as well (so read the
//! exceptions anew for each comparison).
//!
//! ```
//! use component::testing::parity::{Exceptions, flags};
//!
//! fn same_flags(command: &component::Command, table: &str, exceptions: &str) {
//!     let exceptions = Exceptions::parse(exceptions).unwrap();
//!     assert_eq!(flags::compare(command.specs(), table, &exceptions), Vec::<String>::new());
//! }
//! ```

pub mod arguments;
pub mod flags;
pub mod metrics;

use std::cell::Cell;

/// One entry of `exceptions.toml`.
#[derive(Debug)]
struct Exception {
    table: String,
    name: String,
    kind: String,
    used: Cell<bool>,
}

/// What differs on purpose.
#[derive(Debug, Default)]
pub struct Exceptions(Vec<Exception>);

/// The kinds that an entry may have.
const KINDS: [&str; 4] = ["ignored", "different", "absent", "added"];
/// The tables that an entry may be for.
const TABLES: [&str; 3] = ["flag", "metric", "endpoint"];

impl Exceptions {
    /// Reads `[[flag]]`, `[[metric]]` and `[[endpoint]]` entries of `name`, `kind` and `reason`, each on
    /// a line of its own. A metric's name may end with `*`, and labels behind it are for the reader.
    /// Kinds: `ignored` (accepted without effect), `different` (than upstream, or works otherwise),
    /// `absent` (here), `added` (here).
    ///
    /// # Errors
    /// The entry that lacks something.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut entries = Vec::new();
        let mut table = String::new();
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut finish = |table: &str, fields: &mut Vec<(String, String)>| -> Result<(), String> {
            if table.is_empty() {
                return Ok(());
            }
            let field = |name: &str| {
                let found = fields.iter().find(|(n, v)| n == name && !v.is_empty());
                found
                    .map(|(_, v)| v.clone())
                    .ok_or_else(|| format!("[[{table}]] {fields:?}: {name} is missing"))
            };
            let (name, kind, _reason) = (field("name")?, field("kind")?, field("reason")?);
            if !KINDS.contains(&kind.as_str()) || !TABLES.contains(&table) {
                return Err(format!("[[{table}]] {name}: {kind} is none of {KINDS:?}"));
            }
            fields.clear();
            entries.push(Exception { table: table.to_owned(), name, kind, used: Cell::new(false) });
            Ok(())
        };
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            if let Some(name) = line.strip_prefix("[[").and_then(|l| l.strip_suffix("]]")) {
                finish(&table, &mut fields)?;
                table = name.to_owned();
            } else if let Some((name, value)) = line.split_once('=') {
                let value = value.split(" #").next().unwrap_or("").trim().trim_matches('"');
                fields.push((name.trim().to_owned(), value.to_owned()));
            } else {
                return Err(format!("line {line:?} is none of ours"));
            }
        }
        finish(&table, &mut fields)?;
        Ok(Exceptions(entries))
    }

    /// Whether a difference of this kind is excused.
    fn excuses(&self, table: &str, name: &str, kind: &str) -> bool {
        let fits = |e: &&Exception| {
            let own = e.name.split('{').next().unwrap_or("");
            let named = match own.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == own,
            };
            e.table == table && e.kind == kind && named
        };
        let mut found = self.0.iter().filter(fits).peekable();
        let any = found.peek().is_some();
        found.for_each(|e| e.used.set(true));
        any
    }

    /// A text for each entry of `table` that excused nothing; what is different or ignored may be so in a
    /// way that is not compared.
    fn unused(&self, table: &str) -> Vec<String> {
        let kinds = ["absent", "added"];
        let unused =
            self.0.iter().filter(|e| e.table == table && kinds.contains(&e.kind.as_str()) && !e.used.get());
        unused.map(|e| format!("exception for {table} {}: nothing is {}", e.name, e.kind)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_need_name_kind_and_reason_and_are_used_or_reported() {
        let text = "# head\n[[flag]]\nname = \"a\"\nkind = \"absent\" # why\nreason = \"r = s\"\n\n\
                    [[metric]]\nname = \"go_*\"\nkind = \"absent\"\nreason = \"r\"\n";
        let exceptions = Exceptions::parse(text).unwrap();
        assert!(!exceptions.excuses("flag", "go_x", "absent"));
        assert!(exceptions.excuses("metric", "go_x", "absent"));
        assert!(!exceptions.excuses("flag", "a", "added"));
        assert_eq!(exceptions.unused("flag"), ["exception for flag a: nothing is absent"]);
        assert_eq!(exceptions.unused("metric"), Vec::<String>::new());
        for bad in [
            "[[flag]]\nname = \"a\"\nkind = \"absent\"",
            "[[flag]]\nname=\"a\"\nkind=\"odd\"\nreason=\"r\"",
            "x",
        ] {
            assert!(Exceptions::parse(bad).is_err(), "{bad}");
        }
    }
}
