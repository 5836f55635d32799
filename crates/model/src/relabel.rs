//! Relabelling: rules that keep, drop and rewrite label sets.
//!
//! Holds Prometheus' actions and their validation, on values already read; `component::relabel` reads
//! the YAML. Invariant: a [`Rule`] has passed validation, so applying it cannot fail. Names are checked
//! as UTF-8, as Thanos does. Reference: Prometheus `model/relabel`.

use md5::{Digest as _, Md5};

use crate::gofmt::quote;
use crate::regexp::Regexp;
use crate::{Labels, LabelsBuilder};

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    const ALL: [Action; 11] = [
        Action::Replace,
        Action::Keep,
        Action::Drop,
        Action::KeepEqual,
        Action::DropEqual,
        Action::HashMod,
        Action::LabelMap,
        Action::LabelDrop,
        Action::LabelKeep,
        Action::Lowercase,
        Action::Uppercase,
    ];

    /// The action of that name, in any letter case.
    pub fn parse(name: &str) -> Option<Action> {
        let name = name.to_lowercase();
        Action::ALL.into_iter().find(|a| a.as_str() == name)
    }

    /// As written in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Replace => "replace",
            Action::Keep => "keep",
            Action::Drop => "drop",
            Action::KeepEqual => "keepequal",
            Action::DropEqual => "dropequal",
            Action::HashMod => "hashmod",
            Action::LabelMap => "labelmap",
            Action::LabelDrop => "labeldrop",
            Action::LabelKeep => "labelkeep",
            Action::Lowercase => "lowercase",
            Action::Uppercase => "uppercase",
        }
    }
}

/// A rule as configured; the default is Prometheus'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Labels whose values are joined.
    pub source_labels: Vec<String>,
    /// Between the values.
    pub separator: String,
    /// The pattern as given; `(.*)` when not given.
    pub regex: Option<String>,
    /// For [`Action::HashMod`].
    pub modulus: u64,
    /// The label that is written; a template for [`Action::Replace`].
    pub target_label: String,
    /// The template of what is written.
    pub replacement: String,
    /// What to do.
    pub action: Action,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: None,
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action: Action::Replace,
        }
    }
}

/// A rule that can be applied.
#[derive(Clone, Debug)]
pub struct Rule {
    config: Config,
    regex: Regexp,
}

impl Rule {
    /// Checks and compiles.
    ///
    /// # Errors
    /// Prometheus' text.
    pub fn new(config: Config) -> Result<Self, String> {
        let regex = Regexp::new(config.regex.as_deref().unwrap_or("(.*)")).map_err(|e| e.to_string())?;
        validate(&config)?;
        Ok(Rule { config, regex })
    }

    /// What the rule does.
    pub fn action(&self) -> Action {
        self.config.action
    }

    /// Applies the rule; false to drop the set.
    fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        let Config { source_labels, separator, target_label, replacement, .. } = &self.config;
        let values: Vec<&str> = source_labels.iter().map(|name| labels.get(name)).collect();
        let value = values.join(separator);
        match self.config.action {
            Action::Keep => return self.regex.is_match(&value),
            Action::Drop => return !self.regex.is_match(&value),
            Action::KeepEqual => return labels.get(target_label) == value,
            Action::DropEqual => return labels.get(target_label) != value,
            Action::Replace => {
                let target = self.regex.replace(&value, target_label).filter(|t| !t.is_empty());
                if let (Some(target), Some(text)) = (target, self.regex.replace(&value, replacement)) {
                    labels.set(&target, &text);
                }
            }
            Action::HashMod => {
                let hash: [u8; 16] = Md5::digest(value.as_bytes()).into();
                let last = hash[8..].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
                labels.set(target_label, &(last % self.config.modulus).to_string());
            }
            Action::Lowercase => {
                labels.set(
                    target_label,
                    &value.chars().map(|c| single(c, c.to_lowercase())).collect::<String>(),
                );
            }
            Action::Uppercase => {
                labels.set(
                    target_label,
                    &value.chars().map(|c| single(c, c.to_uppercase())).collect::<String>(),
                );
            }
            Action::LabelMap => {
                for (name, value) in &labels.labels() {
                    if let Some(name) = self.regex.replace(name, replacement) {
                        labels.set(&name, value);
                    }
                }
            }
            Action::LabelDrop | Action::LabelKeep => {
                let keep = self.config.action == Action::LabelKeep;
                for (name, _) in &labels.labels() {
                    if self.regex.is_match(name) != keep {
                        labels.del(name);
                    }
                }
            }
        }
        true
    }
}

/// Go maps letters one to one: where there is no such letter, it keeps the one it has.
fn single(c: char, mut mapped: impl ExactSizeIterator<Item = char>) -> char {
    match (mapped.len(), mapped.next(), c) {
        (1, Some(to), _) => to,
        (_, _, '\u{130}') => 'i',
        _ => c,
    }
}

/// `labels` after all rules in their order; none when a rule drops them.
pub fn process(rules: &[Rule], labels: &Labels) -> Option<Labels> {
    let mut builder = LabelsBuilder::new(labels);
    rules.iter().all(|rule| rule.apply(&mut builder)).then(|| builder.labels())
}

fn validate(config: &Config) -> Result<(), String> {
    use Action::{
        DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase,
    };
    let default = Config::default();
    let (action, name) = (config.action, config.action.as_str());
    if action == HashMod && config.modulus == 0 {
        return Err("relabel configuration for hashmod requires non-zero modulus".to_owned());
    }
    let has_target = matches!(action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
    if has_target && config.target_label.is_empty() {
        return Err(format!("relabel configuration for {name} action requires 'target_label' value"));
    }
    let replaced = config.replacement != default.replacement;
    if matches!(action, Lowercase | Uppercase | KeepEqual | DropEqual) && replaced {
        return Err(format!("'replacement' can not be set for {name} action"));
    }
    if action == LabelMap && config.replacement.is_empty() {
        return Err(format!("{} is invalid 'replacement' for {name} action", quote(&config.replacement)));
    }
    let common = config.modulus != 0 || config.separator != default.separator || replaced;
    if matches!(action, KeepEqual | DropEqual) && (config.regex.is_some() || common) {
        return Err(format!(
            "{name} action requires only 'source_labels' and `target_label`, and no other fields"
        ));
    }
    let targeted = !config.source_labels.is_empty() || !config.target_label.is_empty();
    if matches!(action, LabelDrop | LabelKeep) && (targeted || common) {
        return Err(format!("{name} action requires only 'regex', and no other fields"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(
        action: Action,
        sources: &[&str],
        regex: Option<&str>,
        target: &str,
        replacement: &str,
    ) -> Config {
        Config {
            source_labels: sources.iter().map(|s| (*s).to_owned()).collect(),
            regex: regex.map(str::to_owned),
            target_label: target.to_owned(),
            replacement: replacement.to_owned(),
            action,
            ..Config::default()
        }
    }

    /// The set after one rule; empty text when dropped.
    fn after(config: Config) -> String {
        let labels =
            Labels::from_pairs([("a", "foo"), ("b", "bar"), ("c", "baz"), ("d", "Straße"), ("e", "foo")]);
        let rule = Rule::new(config).unwrap();
        process(&[rule], &labels).map_or_else(String::new, |l| l.to_string())
    }

    #[test]
    fn every_action_does_what_prometheus_does() {
        let all = r#"a="foo", b="bar", c="baz", d="Straße", e="foo""#;
        let whole = format!("{{{all}}}");
        for (config, want) in [
            (
                config(Action::Replace, &["a"], Some("f(.*)"), "d", "ch${1}-ch${1}"),
                r#"{a="foo", b="bar", c="baz", d="choo-choo", e="foo"}"#.into(),
            ),
            (
                config(Action::Replace, &["a", "b"], Some("f(.*);(.*)r"), "a", "b${1}${2}m"),
                r#"{a="boobam", b="bar", c="baz", d="Straße", e="foo"}"#.into(),
            ),
            (config(Action::Replace, &["a"], Some("x.*"), "b", "no"), whole.clone()),
            (
                config(Action::Replace, &["a"], None, "b", ""),
                r#"{a="foo", c="baz", d="Straße", e="foo"}"#.into(),
            ),
            (config(Action::Replace, &["a"], Some("f(x)?oo"), "${1}", "v"), whole.clone()),
            (config(Action::Replace, &[], None, "n", "v"), format!(r#"{{{all}, n="v"}}"#)),
            (config(Action::Keep, &["a"], Some("f|fo"), "", "$1"), String::new()),
            (config(Action::Keep, &["a", "nope"], Some("foo;"), "", "$1"), whole.clone()),
            (config(Action::Drop, &["a"], Some(".*o"), "", "$1"), String::new()),
            (config(Action::Drop, &["a"], Some("o"), "", "$1"), whole.clone()),
            (config(Action::KeepEqual, &["a"], None, "e", "$1"), whole.clone()),
            (config(Action::KeepEqual, &["a"], None, "b", "$1"), String::new()),
            (config(Action::DropEqual, &["a"], None, "e", "$1"), String::new()),
            (config(Action::DropEqual, &["a"], None, "b", "$1"), whole.clone()),
            (
                config(Action::LabelMap, &[], Some("(a|b)"), "", "x_$1"),
                format!(r#"{{{all}, x_a="foo", x_b="bar"}}"#),
            ),
            (config(Action::LabelDrop, &[], Some("[a-d]"), "", "$1"), r#"{e="foo"}"#.into()),
            (config(Action::LabelKeep, &[], Some("[ab]"), "", "$1"), r#"{a="foo", b="bar"}"#.into()),
            (
                config(Action::Uppercase, &["d"], None, "a", "$1"),
                r#"{a="STRAßE", b="bar", c="baz", d="Straße", e="foo"}"#.into(),
            ),
            (
                config(Action::Lowercase, &["d"], None, "d", "$1"),
                r#"{a="foo", b="bar", c="baz", d="straße", e="foo"}"#.into(),
            ),
        ] {
            let shown = format!("{config:?}");
            assert_eq!(after(config), want, "{shown}");
        }
    }

    #[test]
    fn hashes_are_those_of_prometheus() {
        // From Prometheus' own test of `hashmod`.
        let mut rule = config(Action::HashMod, &["c"], None, "d", "$1");
        rule.modulus = 1000;
        assert_eq!(after(rule), r#"{a="foo", b="bar", c="baz", d="976", e="foo"}"#);
    }

    #[test]
    fn rules_without_meaning_are_refused_by_name() {
        let all = |c: Config| Rule::new(c).unwrap_err();
        assert_eq!(
            all(config(Action::HashMod, &[], None, "a", "$1")),
            "relabel configuration for hashmod requires non-zero modulus"
        );
        assert_eq!(
            all(Config::default()),
            "relabel configuration for replace action requires 'target_label' value"
        );
        assert_eq!(
            all(config(Action::LabelMap, &[], None, "", "")),
            "\"\" is invalid 'replacement' for labelmap action"
        );
        assert_eq!(
            all(config(Action::Lowercase, &["a"], None, "b", "x")),
            "'replacement' can not be set for lowercase action"
        );
        let equal = "keepequal action requires only 'source_labels' and `target_label`, and no other fields";
        assert_eq!(all(config(Action::KeepEqual, &["a"], Some("(.*)"), "b", "$1")), equal);
        let drop = "labeldrop action requires only 'regex', and no other fields";
        assert_eq!(all(config(Action::LabelDrop, &["a"], None, "", "$1")), drop);
        assert!(all(config(Action::Keep, &["a"], Some("("), "", "$1")).starts_with("error parsing regexp"));
        assert_eq!((Action::parse("HashMod"), Action::parse("hash")), (Some(Action::HashMod), None));
    }
}
