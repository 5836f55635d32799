//! The two forms of a log line.
//!
//! Entry to text, without the newline; it writes nothing. Invariant: a line is one line, whatever the
//! values hold. Quoting as go-logfmt, JSON as Go's encoder without HTML escapes.

use std::fmt::Write as _;

use super::Entry;

/// A field's value, its type kept for JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Anything printed.
    Text(String),
    /// A whole number.
    Int(i128),
    /// A floating point number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

impl Value {
    pub(crate) fn text(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Int(n) => n.to_string(),
            Value::Float(f) => crate::metrics::float::show(*f),
            Value::Bool(b) => b.to_string(),
        }
    }
}

fn pairs(entry: &Entry) -> impl Iterator<Item = (&str, Value)> {
    let message = entry.message.iter().map(|m| ("msg", Value::Text(m.clone())));
    let own = entry.fields.iter().map(|(name, value)| (name.as_str(), value.clone()));
    entry.head.iter().map(|(name, value)| (name.as_str(), value.clone())).chain(message).chain(own)
}

pub(crate) fn logfmt(entry: &Entry) -> String {
    let mut out = String::new();
    for (name, value) in pairs(entry) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(name);
        out.push('=');
        let text = value.text();
        let plain = !text.chars().any(|c| c <= ' ' || matches!(c, '=' | '"' | '\u{7f}' | '\u{fffd}'));
        if plain {
            out.push_str(&text);
        } else {
            quote(&mut out, &text);
        }
    }
    out
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' || c == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

pub(crate) fn json(entry: &Entry) -> String {
    // The map sorts by key; a key given twice keeps its last value, as Go's map does.
    let mut map = serde_json::Map::new();
    for (name, value) in pairs(entry) {
        let value = match value {
            Value::Text(text) => serde_json::Value::from(text),
            Value::Bool(b) => b.into(),
            Value::Int(n) => match (i64::try_from(n), u64::try_from(n)) {
                (Ok(n), _) => n.into(),
                (_, Ok(n)) => n.into(),
                _ => n.to_string().into(),
            },
            Value::Float(f) if f.is_finite() => f.into(),
            Value::Float(f) => crate::metrics::float::show(f).into(),
        };
        map.insert(name.to_owned(), value);
    }
    serde_json::Value::Object(map).to_string()
}
