//! The list of rows that are known to fail.
//!
//! A line is `FILE:LINE cause`; `#` starts a comment. Knows no answers. Invariant: the list stays an
//! exception: few rows, no expression more than twice, no row without a cause, none that passes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};

use super::Row;

/// The most rows a list may hold.
const MOST: usize = 20;
/// The most rows of one expression.
const OF_ONE_EXPRESSION: usize = 2;

/// Rows by name, with causes.
#[derive(Clone, Debug, Default)]
pub struct Known(BTreeMap<String, String>);

impl Known {
    /// Reads a list.
    ///
    /// # Errors
    /// When the file cannot be read, or a line has no cause.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Known::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut rows = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (row, cause) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            ensure!(!cause.trim().is_empty(), "{row} has no cause");
            ensure!(rows.insert(row.to_owned(), cause.trim().to_owned()).is_none(), "{row} is listed twice");
        }
        ensure!(rows.len() <= MOST, "{} rows are listed, at most {MOST} may be", rows.len());
        Ok(Known(rows))
    }

    /// Why a row may fail.
    pub(super) fn cause(&self, row: &str) -> Option<&str> {
        self.0.get(row).map(String::as_str)
    }

    /// Holds the list against the rows.
    pub(super) fn check(&self, rows: &[Row]) -> anyhow::Result<()> {
        let mut expressions: BTreeMap<String, usize> = BTreeMap::new();
        let mut left: Vec<&String> = self.0.keys().collect();
        for row in rows.iter().filter(|r| self.0.contains_key(&r.id())) {
            left.retain(|name| **name != row.id());
            let count = expressions.entry(row.expression()).or_default();
            *count += 1;
            ensure!(
                *count <= OF_ONE_EXPRESSION,
                "{} is listed more than {OF_ONE_EXPRESSION} times",
                row.expression()
            );
        }
        ensure!(left.is_empty(), "no such rows: {left:?}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::rows::{Call, HttpRow};

    fn row(line: usize, query: &str) -> Row {
        let call = Call::Http(HttpRow {
            method: "GET".into(),
            path: "/api/v1/query".into(),
            params: vec![("query".into(), query.into())],
            status: 200,
            body: serde_json::Value::Null,
        });
        Row { file: "raw".into(), line, setup: "raw".into(), call }
    }

    #[test]
    fn a_list_needs_causes_and_stays_short() {
        let known = Known::parse("# why\nraw:3 rounding\n\n").unwrap();
        assert_eq!(known.cause("raw:3"), Some("rounding"));
        assert_eq!(known.cause("raw:4"), None);
        assert!(Known::parse("raw:3").is_err());
        assert!(Known::parse("raw:3 a\nraw:3 b").is_err());
        let many: String = (0..21).map(|i| format!("raw:{i} a\n")).collect();
        assert!(Known::parse(&many).is_err());
    }

    #[test]
    fn a_list_names_rows_that_exist_and_no_expression_thrice() {
        let rows = [row(1, "up"), row(2, "up"), row(3, "up"), row(4, "x")];
        Known::parse("raw:1 a\nraw:2 a\nraw:4 a").unwrap().check(&rows).unwrap();
        assert!(Known::parse("raw:1 a\nraw:2 a\nraw:3 a").unwrap().check(&rows).is_err());
        assert!(Known::parse("raw:5 a").unwrap().check(&rows).is_err());
    }
}
