//! Matching with all series on one key: sizes at which looking at pairs of series would not end.
//!
//! Two sides of 50,000 series have 2,500,000,000 pairs. How cost grows is what `benches/linear` shows.

use model::{Labels, Samples};
use promql::{Engine, EngineOptions, Points, QueryError, QueryOptions, Queryable, Selection, SeriesSet};
use promql::{Sink, StorageError, Value, parse};

const SERIES: usize = 50_000;

/// `many` and `more` are of one `key`; `apart` has each key once, theirs among them; `one` is a single series.
struct Store;

struct Stream {
    name: String,
    next: usize,
}

impl Queryable for Store {
    fn select(&self, selection: &Selection) -> Box<dyn SeriesSet> {
        let name = selection.matchers.iter().find(|m| m.name == "__name__").map(|m| m.value.clone());
        Box::new(Stream { name: name.unwrap_or_default(), next: 0 })
    }
}

impl SeriesSet for Stream {
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StorageError> {
        samples.clear();
        let at = self.next;
        if at == if self.name == "one" { 1 } else { SERIES } {
            return Ok(None);
        }
        self.next += 1;
        samples.push(0, at as f64);
        let number = format!("{at:06}");
        let (i, key) = match self.name.as_str() {
            "apart" => ("", number.as_str()),
            _ => (number.as_str(), "000000"),
        };
        let pairs = [("__name__", self.name.as_str()), ("i", i), ("key", key)];
        Ok(Some(Labels::from_sorted(pairs.into_iter().filter(|(_, value)| !value.is_empty()))))
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Counts what comes out, and adds it up.
#[derive(Default)]
struct Total(usize, f64);

impl Sink for Total {
    fn scalar(&mut self, _: i64, _: f64) -> Result<(), QueryError> {
        Ok(())
    }

    fn string(&mut self, _: i64, _: &[u8]) -> Result<(), QueryError> {
        Ok(())
    }

    fn sample(&mut self, _: &Labels, _: i64, value: Value<'_>) -> Result<(), QueryError> {
        if let Value::Float(value) = value {
            (self.0, self.1) = (self.0 + 1, self.1 + value);
        }
        Ok(())
    }

    fn series(&mut self, _: &Labels, _: Points<'_>) -> Result<(), QueryError> {
        Ok(())
    }
}

fn ask(query: &str) -> Result<(usize, f64), QueryError> {
    let engine = Engine::new(EngineOptions { parser: parse::Options::all(), ..EngineOptions::default() });
    let mut total = Total::default();
    engine.instant(query, 0, QueryOptions::default())?.run(&Store, &mut total)?;
    Ok((total.0, total.1))
}

#[test]
fn fifty_thousand_series_of_one_key_are_matched_without_a_look_at_pairs() {
    let n = SERIES;
    let sum = (n * (n - 1) / 2) as f64;
    for (query, rows, total) in [
        ("many and on (key) more", n, sum),
        ("many and on (key) apart", n, sum),
        ("apart and on (key) many", 1, 0.0),
        ("many unless on (key) more", 0, 0.0),
        ("apart unless on (key) many", n - 1, sum),
        ("many or on (key) more", n, sum),
        ("many or on () more", n, sum),
        ("many + on (key) group_left () one", n, sum),
        ("many + on (key) group_left () apart", n, sum),
        ("apart + on (key) group_right () many", n, sum),
    ] {
        assert_eq!(ask(query).unwrap(), (rows, total), "{query}");
    }
}

#[test]
fn sides_that_do_not_match_are_refused_as_quickly() {
    for query in ["many * on (key) more", "many * on (key) group_left () more"] {
        let refused = ask(query).unwrap_err().to_string();
        assert!(refused.contains("many-to-many matching not allowed"), "{query}: {refused}");
    }
}
