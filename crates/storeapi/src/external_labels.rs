//! What external labels mean for a request.
//!
//! Holds the question that every StoreAPI asks first: can series with these external labels match,
//! and which matchers are left for the data itself. It knows no store. Invariant: a matcher on an
//! external label is decided here and never reaches an index.

use model::{Labels, Matcher};

/// The matchers that remain once `external` is taken into account; `None` if no series can match
/// (Thanos `matchesExternalLabels`, `bucketBlockSet.labelMatchers`).
pub fn remaining(matchers: &[Matcher], external: &Labels) -> Option<Vec<Matcher>> {
    let mut rest = Vec::with_capacity(matchers.len());
    for m in matchers {
        match external.value(&m.name) {
            "" => rest.push(m.clone()),
            value if !m.matches(value) => return None,
            _ => {}
        }
    }
    Some(rest)
}

/// Whether a store that announces `sets` can hold a match: any set in which each matcher either
/// matches or names a label the set does not have. No sets means the store says nothing.
pub fn any_can_match(matchers: &[Matcher], sets: &[Labels]) -> bool {
    sets.is_empty() || sets.iter().any(|set| can_match(matchers, set))
}

/// Whether series with the external labels `set` can match.
pub fn can_match(matchers: &[Matcher], set: &Labels) -> bool {
    matchers.iter().all(|m| match set.value(&m.name) {
        "" => true,
        value => m.matches(value),
    })
}

#[cfg(test)]
mod tests {
    use model::MatchType;

    use super::*;

    #[test]
    fn matchers_are_decided_by_external_labels() {
        let external = Labels::from_pairs([("cluster", "eu1"), ("empty", "")]);
        let eq = |n: &str, v: &str| Matcher::equal(n, v);
        assert_eq!(remaining(&[eq("cluster", "eu1"), eq("a", "b")], &external), Some(vec![eq("a", "b")]));
        assert_eq!(remaining(&[eq("cluster", "us")], &external), None);
        assert_eq!(remaining(&[eq("empty", "x")], &external), Some(vec![eq("empty", "x")]));
        let not = Matcher::new(MatchType::NotRegexp, "cluster", "eu.*").unwrap();
        assert!(!any_can_match(std::slice::from_ref(&not), std::slice::from_ref(&external)));
        assert!(any_can_match(&[not], &[external, Labels::empty()]));
        assert!(any_can_match(&[eq("cluster", "us")], &[]));
    }
}
