//! `label_replace` and `label_join`: functions of label sets alone.
//!
//! Holds both as objects made once a call. It knows no sample. Invariant: a label set that a function
//! gives is well formed; an empty value deletes the label.

use model::labels::METRIC_NAME;
use model::regexp::Regexp;
use model::{Labels, LabelsBuilder};

/// Labels that describe the metric rather than the series: gone when a function changes the value.
pub(crate) const METADATA: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// Whether Prometheus takes `name` for a label: any text that is not empty.
fn valid(name: &str) -> bool {
    !name.is_empty()
}

/// A call of `label_replace`.
#[derive(Clone, Debug)]
pub(crate) struct LabelReplace {
    target: String,
    template: String,
    source: String,
    pattern: Regexp,
}

impl LabelReplace {
    /// Takes the arguments in the order written.
    ///
    /// # Errors
    /// Prometheus' text for a bad pattern or name.
    pub(crate) fn new(target: &str, template: &str, source: &str, pattern: &str) -> Result<Self, String> {
        let compiled = Regexp::new(pattern)
            .map_err(|_| format!("invalid regular expression in label_replace(): {pattern}"))?;
        if !valid(target) {
            return Err(format!("invalid destination label name in label_replace(): {target}"));
        }
        Ok(LabelReplace {
            target: target.to_owned(),
            template: template.to_owned(),
            source: source.to_owned(),
            pattern: compiled,
        })
    }

    /// The new labels; `None` where the pattern does not match, so that all stays as it was.
    pub(crate) fn apply(&self, labels: &Labels) -> Option<Labels> {
        let value = self.pattern.replace(labels.value(&self.source), &self.template)?;
        Some(LabelsBuilder::new(labels).set(&self.target, &value).labels())
    }

    /// Whether a series that matched got its metric name from the call, so that it is kept even
    /// where it was about to be dropped.
    pub(crate) fn sets_name(&self) -> bool {
        self.target == METRIC_NAME
    }
}

/// A call of `label_join`.
#[derive(Clone, Debug)]
pub(crate) struct LabelJoin {
    target: String,
    separator: String,
    sources: Vec<String>,
}

impl LabelJoin {
    /// Takes the arguments in the order written.
    ///
    /// # Errors
    /// Prometheus' text for a bad name.
    pub(crate) fn new(target: &str, separator: &str, sources: &[&str]) -> Result<Self, String> {
        if let Some(bad) = sources.iter().find(|s| !valid(s)) {
            return Err(format!("invalid source label name in label_join(): {bad}"));
        }
        if !valid(target) {
            return Err(format!("invalid destination label name in label_join(): {target}"));
        }
        Ok(LabelJoin {
            target: target.to_owned(),
            separator: separator.to_owned(),
            sources: sources.iter().map(|s| (*s).to_owned()).collect(),
        })
    }

    /// The new labels.
    pub(crate) fn apply(&self, labels: &Labels) -> Labels {
        let values: Vec<&str> = self.sources.iter().map(|s| labels.value(s)).collect();
        LabelsBuilder::new(labels).set(&self.target, &values.join(&self.separator)).labels()
    }

    /// As [`LabelReplace::sets_name`].
    pub(crate) fn sets_name(&self) -> bool {
        self.target == METRIC_NAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Labels {
        Labels::from_pairs([("__name__", "up"), ("a", "x-1"), ("b", "y")])
    }

    #[test]
    fn replace_matches_whole_values_and_expands_groups() {
        let apply = |dst, tpl, src, re| {
            LabelReplace::new(dst, tpl, src, re).unwrap().apply(&base()).map(|l| l.to_string())
        };
        let text = |s: &str| Some(s.to_owned());
        assert_eq!(
            apply("c", "$2/$1", "a", "(.*)-(.*)"),
            text(r#"{__name__="up", a="x-1", b="y", c="1/x"}"#)
        );
        assert_eq!(apply("c", "v", "a", "x"), None);
        assert_eq!(apply("a", "", "a", ".*"), text(r#"{__name__="up", b="y"}"#));
        assert_eq!(apply("c", "all", "missing", ""), text(r#"{__name__="up", a="x-1", b="y", c="all"}"#));
        assert_eq!(
            LabelReplace::new("c", "", "a", "(").unwrap_err(),
            "invalid regular expression in label_replace(): ("
        );
        assert_eq!(
            LabelReplace::new("", "", "a", "").unwrap_err(),
            "invalid destination label name in label_replace(): "
        );
    }

    #[test]
    fn join_takes_missing_labels_as_empty() {
        let join = |dst: &str, sources: &[&str]| LabelJoin::new(dst, "-", sources).unwrap().apply(&base());
        assert_eq!(join("c", &["b", "x", "a"]).value("c"), "y--x-1");
        assert_eq!(join("b", &[]).get("b"), None);
        assert!(LabelJoin::new("__name__", "", &[]).unwrap().sets_name());
        assert_eq!(
            LabelJoin::new("c", "", &[""]).unwrap_err(),
            "invalid source label name in label_join(): "
        );
    }
}
