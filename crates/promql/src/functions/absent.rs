//! `absent` and `absent_over_time`: a sample where there is none.
//!
//! Holds the labels and the column of the one series that both return. It knows no selector but its
//! matchers. Invariant: the result is present at exactly the steps at which no input was.

use model::labels::METRIC_NAME;
use model::{Labels, LabelsBuilder, MatchType, Matcher};

use crate::Column;

/// The labels that a selector pins down: one equality each; a name that is matched twice is left out.
pub(crate) fn labels_of(matchers: &[Matcher]) -> Labels {
    let mut builder = LabelsBuilder::new(&Labels::empty());
    let mut seen: Vec<&str> = Vec::new();
    for m in matchers.iter().filter(|m| m.name != METRIC_NAME) {
        if m.kind == MatchType::Equal && !seen.contains(&m.name.as_str()) {
            seen.push(&m.name);
            builder.set(&m.name, &m.value);
        } else {
            builder.del(&m.name);
        }
    }
    builder.labels()
}

/// Marks the steps at which `column` has a sample in `seen`, which starts empty.
pub(crate) fn mark(seen: &mut Vec<u64>, column: &Column) {
    seen.resize(column.present.len().max(seen.len()), 0);
    seen.iter_mut().zip(&column.present).for_each(|(a, b)| *a |= b);
}

/// 1 at the steps not marked.
pub(crate) fn column(seen: &[u64], count: usize) -> Column {
    let mut out = Column::default();
    out.reset(count);
    for step in 0..count {
        if seen.get(step / 64).is_none_or(|word| word >> (step % 64) & 1 == 0) {
            out.set(step, 1.0);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_from_single_equalities() {
        let m = |name: &str, kind, value: &str| Matcher::new(kind, name, value).unwrap();
        use MatchType::{Equal, NotEqual};
        let all = [
            m("a", Equal, "1"),
            m("b", Equal, "1"),
            m("b", Equal, "1"),
            m("c", NotEqual, "x"),
            m("d", Equal, ""),
            m("__name__", Equal, "metric"),
        ];
        assert_eq!(labels_of(&all).to_string(), r#"{a="1"}"#);
    }

    #[test]
    fn columns_are_complements() {
        let mut input = Column::default();
        input.reset(70);
        input.set(0, 5.0);
        input.set(69, 5.0);
        let mut seen = Vec::new();
        mark(&mut seen, &input);
        let out = column(&seen, 70);
        assert_eq!(out.count(), 68);
        assert!(!out.has(0) && out.has(1) && !out.has(69));
        assert_eq!(column(&[], 3).count(), 3);
    }
}
