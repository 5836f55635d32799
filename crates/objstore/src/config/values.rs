//! Values of a provider's section, read as yaml.v2 reads them.
//!
//! Holds a [`Section`] whose keys are taken one by one. It knows no provider. Invariants: a key without a
//! value empties its field instead of leaving the default, and every key of a section is either taken
//! or refused by name.

use std::time::Duration;

use serde_norway::{Mapping, Value};

/// A mapping on its way into fields.
#[derive(Debug)]
pub(crate) struct Section {
    map: Mapping,
    /// What the mapping is called in errors, as upstream's Go type.
    kind: &'static str,
}

fn wrong(key: &str, wanted: &str) -> String {
    format!("yaml: unmarshal errors:\n  field {key}: {wanted} is wanted")
}

impl Section {
    /// A section; null stands for an empty one.
    pub(crate) fn new(value: &Value, kind: &'static str) -> Result<Section, String> {
        let map = match value {
            Value::Null => Mapping::new(),
            Value::Mapping(map) => map.clone(),
            _ => return Err(format!("yaml: unmarshal errors:\n  {kind} wants a mapping")),
        };
        Ok(Section { map, kind })
    }

    /// Takes a key: none when it is absent, null when it has no value.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key)
    }

    /// Takes a key into `field`, which stays as it is when the key is absent.
    pub(crate) fn read<T>(
        &mut self,
        key: &str,
        field: &mut T,
        read: impl FnOnce(&str, &Value) -> Result<T, String>,
    ) -> Result<(), String> {
        if let Some(value) = self.take(key) {
            *field = read(key, &value)?;
        }
        Ok(())
    }

    /// Whether every key has been taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Refuses what was not taken.
    pub(crate) fn end(self) -> Result<(), String> {
        let unknown: Vec<String> = self
            .map
            .keys()
            .map(|key| {
                let key = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
                format!("  field {key} not found in type {}", self.kind)
            })
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(format!("yaml: unmarshal errors:\n{}", unknown.join("\n")))
    }
}

/// A string; scalars of other types become their text.
pub(crate) fn text(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(s) => Ok(s.clone()),
        Value::Bool(b) => Ok(b.to_string()),
        Value::Number(n) => Ok(n.to_string()),
        _ => Err(wrong(key, "a string")),
    }
}

/// A boolean in any of YAML 1.1's spellings.
pub(crate) fn boolean(key: &str, value: &Value) -> Result<bool, String> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(b) => Ok(*b),
        Value::String(s) => match s.as_str() {
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Ok(true),
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Ok(false),
            _ => Err(wrong(key, "a boolean")),
        },
        _ => Err(wrong(key, "a boolean")),
    }
}

/// A whole number that is not negative; a fraction is cut off.
pub(crate) fn number(key: &str, value: &Value) -> Result<u64, String> {
    let cut = |f: f64| (f >= 0.0 && f < 2f64.powi(63)).then_some(f as u64);
    match value {
        Value::Null => Ok(0),
        value => value
            .as_u64()
            .or_else(|| value.as_f64().and_then(cut))
            .ok_or_else(|| wrong(key, "a whole number")),
    }
}

/// A Prometheus duration: `1m30s`, or a bare `0`.
pub(crate) fn duration(key: &str, value: &Value) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 7] = [
        ("ms", 1),
        ("s", 1000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 604_800_000),
        ("y", 31_536_000_000),
    ];
    if matches!(value, Value::Null) {
        return Ok(Duration::ZERO);
    }
    let text = text(key, value)?;
    let bad = || format!("not a valid duration string: {text:?}");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut millis, mut below) = (text.as_str(), 0u64, UNITS.len());
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let count: u64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        // Units come in falling order, each at most once.
        let at = UNITS[..below].iter().position(|(name, _)| *name == &rest[..unit]).ok_or_else(bad)?;
        rest = &rest[unit..];
        below = at;
        millis = count.checked_mul(UNITS[at].1).and_then(|m| millis.checked_add(m)).ok_or_else(bad)?;
    }
    if text.is_empty() { Err(bad()) } else { Ok(Duration::from_millis(millis)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_read_as_yaml_v2_reads_them() {
        let value = |text: &str| serde_norway::from_str::<Value>(text).unwrap();
        for (yaml, want) in [("yes", true), ("On", true), ("true", true), ("", false), ("off", false)] {
            assert_eq!(boolean("k", &value(yaml)), Ok(want), "{yaml}");
        }
        for (yaml, want) in [("0x10", 16), ("1e8", 100_000_000), ("~", 0), ("7", 7)] {
            assert_eq!(number("k", &value(yaml)), Ok(want), "{yaml}");
        }
        for (yaml, want) in [("1m30s", 90_000), ("0", 0), ("", 0), ("2m", 120_000), ("1d1ms", 86_400_001)] {
            assert_eq!(duration("k", &value(yaml)), Ok(Duration::from_millis(want)), "{yaml}");
        }
        for bad in ["1.5s", "30", "-1s", "\"\"", "1s1m", "1s1s", "1x", "s", "99999999999999999999y", "[]"] {
            assert!(duration("k", &value(bad)).is_err(), "{bad}");
        }
        for bad in ["-1", "\"7\"", "x", "[1]"] {
            assert!(number("k", &value(bad)).is_err(), "{bad}");
        }
        assert!(boolean("k", &value("maybe")).is_err() && text("k", &value("[a]")).is_err());
    }
}
