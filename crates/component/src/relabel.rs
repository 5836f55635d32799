//! Relabelling rules from YAML, as in `--selector.relabel-config`.
//!
//! Holds the reading of rules with yaml.v2's habits: unknown keys are passed over, and a key without a
//! value empties the field instead of leaving its default. It applies none ([`model::relabel`] does).
//! Upstream: `ParseRelabelConfig` in `pkg/block/fetcher.go`.

use model::relabel::{Action, Config, Rule};
use serde::Deserialize as _;
use serde_norway::Value;

/// What blocks and stores may be selected with.
pub const SELECTOR: &[Action] = &[Action::Keep, Action::Drop, Action::HashMod];

/// Reads rules; `supported` are the actions allowed, all of them when empty.
///
/// # Errors
/// A text that names the rule's fault.
pub fn parse(yaml: &str, supported: &[Action]) -> Result<Vec<Rule>, String> {
    let bad = |e: &dyn std::fmt::Display| format!("parsing relabel configuration: {e}");
    let Some(document) = serde_norway::Deserializer::from_str(yaml).next() else { return Ok(Vec::new()) };
    let mut value = Value::deserialize(document).map_err(|e| bad(&e))?;
    value.apply_merge().map_err(|e| bad(&e))?;
    let list = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Sequence(list) => list,
        _ => return Err(bad(&"yaml: unmarshal errors:\n  a list of rules is wanted")),
    };
    let mut rules = Vec::with_capacity(list.len());
    for value in &list {
        let config = config(value).map_err(|e| bad(&e))?;
        rules.push(Rule::new(config).map_err(|e| format!("validate relabel config: {e}"))?);
    }
    match rules.iter().map(Rule::action).find(|a| !supported.is_empty() && !supported.contains(a)) {
        Some(action) => Err(format!("unsupported relabel action: {}", action.as_str())),
        None => Ok(rules),
    }
}

fn config(value: &Value) -> Result<Config, String> {
    let Value::Mapping(map) = value else {
        return Err("yaml: unmarshal errors:\n  a rule is a mapping".to_owned());
    };
    let mut config = Config::default();
    for (key, value) in map {
        match key.as_str().unwrap_or_default() {
            "source_labels" => {
                config.source_labels = match value {
                    Value::Null => Vec::new(),
                    Value::Sequence(names) => {
                        names.iter().map(|n| text("source_labels", n)).collect::<Result<_, _>>()?
                    }
                    _ => return Err("yaml: unmarshal errors:\n  source_labels is a list".to_owned()),
                };
                if config.source_labels.iter().any(String::is_empty) {
                    return Err("\"\" is not a valid label name".to_owned());
                }
            }
            "separator" => config.separator = text("separator", value)?,
            "regex" => config.regex = Some(text("regex", value)?),
            "modulus" => {
                config.modulus = match value {
                    Value::Null => 0,
                    value => value
                        .as_u64()
                        .ok_or("yaml: unmarshal errors:\n  modulus is a whole number above zero")?,
                };
            }
            "target_label" => config.target_label = text("target_label", value)?,
            "replacement" => config.replacement = text("replacement", value)?,
            "action" => {
                let name = text("action", value)?;
                if name.is_empty() {
                    return Err("relabel action cannot be empty".to_owned());
                }
                config.action =
                    Action::parse(&name).ok_or_else(|| format!("unknown relabel action {name:?}"))?;
            }
            _ => {}
        }
    }
    Ok(config)
}

/// A scalar as text.
fn text(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(s) => Ok(s.clone()),
        Value::Bool(b) => Ok(b.to_string()),
        Value::Number(n) => Ok(n.to_string()),
        _ => Err(format!("yaml: unmarshal errors:\n  {key} is a text")),
    }
}

#[cfg(test)]
mod tests {
    use model::{Labels, relabel};

    use super::*;

    #[test]
    fn a_sharding_configuration_selects() {
        let yaml = "- action: hashmod\n  source_labels: [a, b]\n  target_label: shard\n  modulus: 2\n  comment: x\n- {action: KEEP, source_labels: [shard], regex: 1}\n";
        let rules = parse(yaml, SELECTOR).unwrap();
        let kept = |n: u32| {
            let labels = Labels::from_pairs([("a", n.to_string()), ("b", "x".to_owned())]);
            relabel::process(&rules, &labels).is_some()
        };
        let all = (0..100).filter(|n| kept(*n)).count();
        assert!((30..70).contains(&all), "{all} of 100");
        for empty in ["", "# nothing", "~", "[]"] {
            assert!(parse(empty, SELECTOR).unwrap().is_empty(), "{empty:?}");
        }
    }

    #[test]
    fn faults_are_named() {
        for (yaml, want) in [
            ("- {source_labels: [a], target_label: b}", "unsupported relabel action: replace"),
            ("- {action: x}", "parsing relabel configuration: unknown relabel action \"x\""),
            ("- {action: }", "parsing relabel configuration: relabel action cannot be empty"),
            (
                "- {action: hashmod, target_label: x}",
                "validate relabel config: relabel configuration for hashmod requires non-zero modulus",
            ),
        ] {
            assert_eq!(parse(yaml, SELECTOR).unwrap_err(), want);
        }
        for bad in ["a: b", "- 1", "- {regex: [a]}", "- {modulus: -1}", "- {source_labels: x}", "[", "- ~"] {
            assert!(parse(bad, &[]).unwrap_err().starts_with("parsing relabel"), "{bad}");
        }
    }
}
