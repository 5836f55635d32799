//! Conversions between wire messages and the data model.
//!
//! Holds labels and matchers both ways, for StoreAPI and for remote read. It does not know streams.
//! Invariant: a label set that is not sorted, or names a label twice, is an error and never silently
//! repaired, because every merge downstream relies on the order.

use model::{Labels, MatchType, Matcher, MatcherError};

use crate::{prometheus, thanos};

/// A message that has no meaning in the data model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConvertError {
    /// Labels out of order, or one name twice; the second of the two names.
    UnsortedLabels(String),
    /// A matcher type this version does not know.
    MatcherType(i32),
    /// A pattern that does not compile.
    Pattern {
        /// The matcher's label.
        name: String,
        /// Go's text for the fault.
        error: MatcherError,
    },
}

impl std::fmt::Display for ConvertError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConvertError::UnsortedLabels(name) => write!(f, "labels are not sorted at {name:?}"),
            ConvertError::MatcherType(kind) => write!(f, "unsupported matcher type {kind}"),
            ConvertError::Pattern { error, .. } => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ConvertError {}

fn sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Result<Labels, ConvertError> {
    let mut last: Option<&str> = None;
    for (name, _) in pairs.clone() {
        if last.is_some_and(|l| l >= name) {
            return Err(ConvertError::UnsortedLabels(name.to_owned()));
        }
        last = Some(name);
    }
    Ok(Labels::from_sorted(pairs))
}

/// StoreAPI labels as a label set.
///
/// # Errors
/// [`ConvertError::UnsortedLabels`].
pub fn labels(wire: &[thanos::Label]) -> Result<Labels, ConvertError> {
    sorted(wire.iter().map(|l| (l.name.as_str(), l.value.as_str())))
}

/// Remote read labels as a label set.
///
/// # Errors
/// [`ConvertError::UnsortedLabels`].
pub fn prometheus_labels(wire: &[prometheus::Label]) -> Result<Labels, ConvertError> {
    sorted(wire.iter().map(|l| (l.name.as_str(), l.value.as_str())))
}

/// A label set as StoreAPI labels.
pub fn to_labels(labels: &Labels) -> Vec<thanos::Label> {
    labels.iter().map(|(n, v)| thanos::Label { name: n.to_owned(), value: v.to_owned() }).collect()
}

/// A label set as the message that `Info` carries.
pub fn to_label_set(labels: &Labels) -> thanos::ZLabelSet {
    thanos::ZLabelSet { labels: to_labels(labels) }
}

/// StoreAPI matchers, compiled.
///
/// # Errors
/// [`ConvertError::MatcherType`] and [`ConvertError::Pattern`].
pub fn matchers(wire: &[thanos::LabelMatcher]) -> Result<Vec<Matcher>, ConvertError> {
    wire.iter()
        .map(|m| {
            let kind = match thanos::label_matcher::Type::try_from(m.r#type) {
                Ok(thanos::label_matcher::Type::Eq) => MatchType::Equal,
                Ok(thanos::label_matcher::Type::Neq) => MatchType::NotEqual,
                Ok(thanos::label_matcher::Type::Re) => MatchType::Regexp,
                Ok(thanos::label_matcher::Type::Nre) => MatchType::NotRegexp,
                Err(_) => return Err(ConvertError::MatcherType(m.r#type)),
            };
            Matcher::new(kind, m.name.clone(), m.value.clone())
                .map_err(|error| ConvertError::Pattern { name: m.name.clone(), error })
        })
        .collect()
}

/// Matchers as StoreAPI messages.
pub fn to_matchers(matchers: &[Matcher]) -> Vec<thanos::LabelMatcher> {
    matchers
        .iter()
        .map(|m| thanos::LabelMatcher {
            r#type: matcher_type(m.kind),
            name: m.name.clone(),
            value: m.value.clone(),
        })
        .collect()
}

/// Matchers as remote read messages.
pub fn to_prometheus_matchers(matchers: &[Matcher]) -> Vec<prometheus::LabelMatcher> {
    matchers
        .iter()
        .map(|m| prometheus::LabelMatcher {
            r#type: matcher_type(m.kind),
            name: m.name.clone(),
            value: m.value.clone(),
        })
        .collect()
}

/// The wire number of a matcher type: StoreAPI and remote read agree on it.
fn matcher_type(kind: MatchType) -> i32 {
    match kind {
        MatchType::Equal => 0,
        MatchType::NotEqual => 1,
        MatchType::Regexp => 2,
        MatchType::NotRegexp => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_round_trip_and_refuse_disorder() {
        let set = Labels::from_pairs([("a", "1"), ("b", "")]);
        assert_eq!(labels(&to_labels(&set)), Ok(set.clone()));
        let mut wire = to_labels(&set);
        wire.reverse();
        assert_eq!(labels(&wire), Err(ConvertError::UnsortedLabels("a".into())));
        let twice = [wire[0].clone(), wire[0].clone()];
        assert_eq!(labels(&twice), Err(ConvertError::UnsortedLabels("b".into())));
    }

    #[test]
    fn matchers_round_trip() {
        let all = [MatchType::Equal, MatchType::NotEqual, MatchType::Regexp, MatchType::NotRegexp]
            .map(|kind| Matcher::new(kind, "n", "a|b").unwrap());
        assert_eq!(matchers(&to_matchers(&all)).unwrap(), all);
        let unknown = thanos::LabelMatcher { r#type: 9, ..Default::default() };
        assert_eq!(matchers(&[unknown]), Err(ConvertError::MatcherType(9)));
    }
}
