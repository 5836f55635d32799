//! Which TSDBs behind the stores are asked: `--selector.relabel-config`.
//!
//! Holds the rules and the matchers that keep a store, which may front several TSDBs, to those that were
//! selected (Thanos `pkg/store/tsdb_selector.go`). It asks no store. Invariant: a store without label
//! sets is always asked, because nothing is known of it.

use std::collections::{BTreeMap, BTreeSet};

use model::relabel::{self, Rule};
use model::{Labels, MatchType, Matcher};

/// Selects by external labels. Without rules it selects everything.
#[derive(Debug, Default)]
pub struct TsdbSelector(Vec<Rule>);

impl TsdbSelector {
    /// A selector by `rules`.
    pub fn new(rules: Vec<Rule>) -> Self {
        TsdbSelector(rules)
    }

    /// The sets that are selected; `None` where there is nothing to select.
    pub fn select(&self, sets: &[Labels]) -> Option<Vec<Labels>> {
        if self.0.is_empty() || sets.is_empty() {
            return None;
        }
        Some(sets.iter().filter(|set| relabel::process(&self.0, set).is_some()).cloned().collect())
    }
}

/// Matchers that all of `sets` satisfy: for each label one that lists its values, where absent counts as
/// a value (`MatchersForLabelSets`).
pub(super) fn matchers(sets: &[Labels]) -> Vec<Matcher> {
    let mut values: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for (name, value) in sets.iter().flat_map(Labels::iter) {
        let (count, seen) = values.entry(name).or_default();
        *count += 1;
        seen.insert(value);
    }
    let matchers = values.into_iter().map(|(name, (count, mut seen))| {
        if count < sets.len() {
            seen.insert("^$");
        }
        // Values are patterns here, as upstream has it.
        let pattern = seen.into_iter().collect::<Vec<_>>().join("|");
        Matcher::new(MatchType::Regexp, name, pattern)
    });
    matchers.filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_hold_stores_to_the_selected_sets() {
        let sets =
            [Labels::from_pairs([("cluster", "a"), ("tenant", "1")]), Labels::from_pairs([("cluster", "b")])];
        let shown: Vec<String> = matchers(&sets).iter().map(ToString::to_string).collect();
        assert_eq!(shown, [r#"cluster=~"a|b""#, r#"tenant=~"1|^$""#]);
        assert!(matchers(&sets)[1].matches("") && !matchers(&sets)[1].matches("2"));
    }

    #[test]
    fn selects_by_rules() {
        let rules = component::relabel::parse(
            "- {action: keep, source_labels: [cluster], regex: a}",
            component::relabel::SELECTOR,
        );
        let selector = TsdbSelector::new(rules.unwrap());
        let [a, b] = ["a", "b"].map(|c| Labels::from_pairs([("cluster", c)]));
        assert_eq!(selector.select(&[a.clone(), b.clone()]), Some(vec![a]));
        assert_eq!(selector.select(&[b]), Some(vec![]));
        assert_eq!((selector.select(&[]), TsdbSelector::default().select(&[])), (None, None));
    }
}
