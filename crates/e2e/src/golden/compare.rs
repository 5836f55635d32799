//! What counts as equal, and how a difference is told.
//!
//! Walks two JSON values together and names each place where they part. Knows no request. Invariant:
//! looseness applies to sample values alone, never to labels, timestamps or texts.

use serde_json::Value;

/// How sample values are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Numbers {
    /// Character by character.
    Exact,
    /// As floats, within this relative distance.
    Within(f64),
}

/// At most so many differences of one row are told.
const TOLD: usize = 5;

/// Adds the differences between what was recorded and what came.
pub(super) fn differences(want: &Value, got: &Value, numbers: Numbers, out: &mut Vec<String>) {
    let mut found = Vec::new();
    walk(want, got, "", false, numbers, &mut found);
    let more = found.len().saturating_sub(TOLD);
    out.extend(found.into_iter().take(TOLD));
    if more > 0 {
        out.push(format!("and {more} more"));
    }
}

fn walk(want: &Value, got: &Value, path: &str, sample: bool, numbers: Numbers, out: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, want) in a {
                let sample =
                    sample || matches!(key.as_str(), "value" | "values" | "histogram" | "histograms");
                let path = format!("{path}.{key}");
                match b.get(key) {
                    Some(got) => walk(want, got, &path, sample, numbers, out),
                    None => out.push(format!("{path}: wanted {}, got nothing", short(want))),
                }
            }
            for (key, got) in b.iter().filter(|(k, _)| !a.contains_key(*k)) {
                out.push(format!("{path}.{key}: wanted nothing, got {}", short(got)));
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                out.push(format!("{path}: wanted {} items, got {}", a.len(), b.len()));
                // Where they part is more telling than how many there are.
                if let Some(i) = (0..a.len().max(b.len())).find(|i| a.get(*i) != b.get(*i)) {
                    let side = |v: &[Value]| v.get(i).map_or_else(|| "nothing".to_owned(), short);
                    out.push(format!("{path}[{i}]: wanted {}, got {}", side(a), side(b)));
                }
                return;
            }
            for (i, (want, got)) in a.iter().zip(b).enumerate() {
                walk(want, got, &format!("{path}[{i}]"), sample, numbers, out);
            }
        }
        _ if want == got || same_number(want, got) || (sample && near(want, got, numbers)) => {}
        _ => out.push(format!("{path}: wanted {}, got {}", short(want), short(got))),
    }
}

/// `1` and `1.0`: what JSON's spelling leaves open.
fn same_number(want: &Value, got: &Value) -> bool {
    want.is_number() && got.is_number() && want.as_f64() == got.as_f64()
}

fn near(want: &Value, got: &Value, numbers: Numbers) -> bool {
    let Numbers::Within(limit) = numbers else { return false };
    let float = |v: &Value| v.as_str().and_then(|s| s.parse::<f64>().ok());
    match (float(want), float(got)) {
        (Some(a), Some(b)) => (a - b).abs() <= limit * a.abs().max(b.abs()),
        _ => false,
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(want: Value, got: Value, numbers: Numbers) -> Vec<String> {
        let mut out = Vec::new();
        differences(&want, &got, numbers, &mut out);
        out
    }

    #[test]
    fn values_may_be_near_and_nothing_else_may() {
        let row = |label: &str, t: f64, v: &str| json!({"metric": {"a": label}, "values": [[t, v]]});
        let want = row("1", 1.0, "0.3");
        let near = Numbers::Within(1e-12);
        assert!(found(want.clone(), want.clone(), Numbers::Exact).is_empty());
        assert!(found(want.clone(), row("1", 1.0, "0.30000000000000004"), near).is_empty());
        assert_eq!(found(want.clone(), row("1", 1.0, "0.30000000000000004"), Numbers::Exact).len(), 1);
        assert_eq!(found(want.clone(), row("1", 1.0, "0.3001"), near).len(), 1);
        assert_eq!(found(want.clone(), row("1", 1.0, "NaN"), near).len(), 1);
        assert_eq!(
            found(want.clone(), row("1.0", 1.0, "0.3"), near),
            [r#".metric.a: wanted "1", got "1.0""#]
        );
        assert_eq!(found(want, row("1", 1.001, "0.3"), near).len(), 1);
    }

    #[test]
    fn missing_extra_and_different_lengths_are_told() {
        assert_eq!(found(json!({"a": 1}), json!({"b": 1}), Numbers::Exact).len(), 2);
        assert_eq!(
            found(json!([1, 2]), json!([1, 3, 4]), Numbers::Exact),
            [": wanted 2 items, got 3", "[1]: wanted 2, got 3"]
        );
    }
}
