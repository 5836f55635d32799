//! Label sets in one compact, shared allocation.
//!
//! A set is a run of `len name len value` with LEB128 lengths, sorted by name. It knows nothing of
//! where labels come from. Invariant: names are unique, sorted, and every string is UTF-8; the
//! bytes are only ever written by this module. Ordering is that of Prometheus
//! (`model/labels` `Compare`): pair by pair, name before value, the shorter set first.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, LazyLock};

pub use crate::gofmt::quote;

/// The label that carries the metric name.
pub const METRIC_NAME: &str = "__name__";

/// An immutable, sorted label set. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[u8]>);

impl Default for Labels {
    fn default() -> Self {
        Labels::empty()
    }
}

impl Labels {
    /// The empty set; all of them share their nothing.
    pub fn empty() -> Self {
        static EMPTY: LazyLock<Labels> = LazyLock::new(|| Labels(Arc::from(&[][..])));
        EMPTY.clone()
    }

    /// Builds a set from pairs in any order. Empty values are kept; of equal names the last wins.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut all: Vec<(N, V)> = pairs.into_iter().collect();
        all.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        Encoder::written(|out| {
            for (i, (n, v)) in all.iter().enumerate() {
                if all.get(i + 1).is_some_and(|next| next.0.as_ref() == n.as_ref()) {
                    continue;
                }
                out.push(n.as_ref(), v.as_ref());
            }
        })
    }

    /// Builds a set from pairs that are already sorted by unique name, without sorting again.
    ///
    /// Order is checked in debug builds only: callers own this precondition.
    pub fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut last: Option<String> = None;
        Encoder::written(|out| {
            for (n, v) in pairs {
                if cfg!(debug_assertions) {
                    debug_assert!(last.as_deref().is_none_or(|l| l < n), "label names are not sorted");
                    last = Some(n.to_owned());
                }
                out.push(n, v);
            }
        })
    }

    /// The pairs in name order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.iter_bytes())
    }

    /// The pairs in name order as bytes: what comparing and encoding need, without a UTF-8 check.
    pub fn iter_bytes(&self) -> BytesIter<'_> {
        BytesIter { rest: &self.0 }
    }

    /// The value of `name`, if the set has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        for (n, v) in self.iter() {
            match n.cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => return Some(v),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// The value of `name`, or the empty string: PromQL does not tell the two apart.
    pub fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// The metric name, or the empty string.
    pub fn metric_name(&self) -> &str {
        self.value(METRIC_NAME)
    }

    /// Whether the set carries `name`.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Number of pairs. Linear in the number of pairs.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of the shared allocation: what a memory account charges for this set.
    pub fn byte_len(&self) -> usize {
        self.0.len()
    }

    /// The encoded bytes: equal sets have equal bytes, so they can key a map.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A 64-bit hash of the whole set, stable within this version of the program.
    pub fn hash64(&self) -> u64 {
        xxhash_rust::xxh64::xxh64(&self.0, 0)
    }

    /// This set without the given names.
    pub fn without<S: AsRef<str>>(&self, names: &[S]) -> Labels {
        if !self.iter_bytes().any(|(n, _)| names.iter().any(|d| d.as_ref().as_bytes() == n)) {
            return self.clone();
        }
        self.filtered(|n| !names.iter().any(|d| d.as_ref().as_bytes() == n))
    }

    /// This set reduced to the given names.
    pub fn only<S: AsRef<str>>(&self, names: &[S]) -> Labels {
        self.filtered(|n| names.iter().any(|d| d.as_ref().as_bytes() == n))
    }

    /// The pairs whose name passes. Costs one allocation: that of the result.
    fn filtered(&self, keep: impl Fn(&[u8]) -> bool) -> Labels {
        Encoder::written(|out| {
            let mut pairs = self.iter_bytes();
            loop {
                let from = self.0.len() - pairs.rest.len();
                let Some((name, _)) = pairs.next() else { break };
                if keep(name) {
                    let to = self.0.len() - pairs.rest.len();
                    out.buf.extend_from_slice(&self.0[from..to]);
                }
            }
        })
    }

    /// This set without the metric name.
    pub fn without_metric_name(&self) -> Labels {
        self.without(&[METRIC_NAME])
    }

    /// This set with every pair of `other` added; on equal names `other` wins.
    pub fn extended_with(&self, other: &Labels) -> Labels {
        if other.is_empty() {
            return self.clone();
        }
        let (mut a, mut b) = (self.iter().peekable(), other.iter().peekable());
        Encoder::written(|out| {
            loop {
                match (a.peek(), b.peek()) {
                    (Some(x), Some(y)) => match x.0.cmp(y.0) {
                        Ordering::Less => a.next().map(|(n, v)| out.push(n, v)),
                        Ordering::Greater => b.next().map(|(n, v)| out.push(n, v)),
                        Ordering::Equal => {
                            a.next();
                            b.next().map(|(n, v)| out.push(n, v))
                        }
                    },
                    (Some(_), None) => a.next().map(|(n, v)| out.push(n, v)),
                    (None, Some(_)) => b.next().map(|(n, v)| out.push(n, v)),
                    (None, None) => return,
                };
            }
        })
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        // UTF-8 sorts as its bytes do.
        self.iter_bytes().cmp(other.iter_bytes())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Prometheus' text form, `{a="b", c="d"}`, values quoted as Go's `strconv.Quote` does.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (n, v)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_label_name(n) {
                f.write_str(n)?
            } else {
                f.write_str(&quote(n))?
            }
            write!(f, "={}", quote(v))?;
        }
        f.write_str("}")
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterator over the pairs of a [`Labels`] as bytes, in name order.
#[derive(Clone, Debug)]
pub struct BytesIter<'a> {
    rest: &'a [u8],
}

impl<'a> BytesIter<'a> {
    #[inline]
    fn field(&mut self) -> &'a [u8] {
        let (mut len, mut shift, mut at) = (0usize, 0, 0);
        loop {
            let b = self.rest[at];
            at += 1;
            len |= ((b & 0x7f) as usize) << shift;
            if b < 0x80 {
                break;
            }
            shift += 7;
        }
        let (s, rest) = self.rest[at..].split_at(len);
        self.rest = rest;
        s
    }
}

impl<'a> Iterator for BytesIter<'a> {
    type Item = (&'a [u8], &'a [u8]);
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some((self.field(), self.field()))
    }
}

/// Iterator over the pairs of a [`Labels`], in name order.
#[derive(Clone, Debug)]
pub struct Iter<'a>(BytesIter<'a>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // The bytes were copied from a `str` by `Encoder`; checking costs less than an unsafe block.
        let text = |b| std::str::from_utf8(b).unwrap_or_default();
        self.0.next().map(|(n, v)| (text(n), text(v)))
    }
}

#[derive(Default)]
struct Encoder {
    buf: Vec<u8>,
}

impl Encoder {
    /// The set that `write` writes. Costs one allocation, that of the set: what is written first goes
    /// into a buffer of the thread.
    fn written(write: impl FnOnce(&mut Encoder)) -> Labels {
        thread_local! {
            static SCRATCH: RefCell<Encoder> = const { RefCell::new(Encoder { buf: Vec::new() }) };
        }
        // Taken out, so that `write` may make sets itself.
        let mut encoder = SCRATCH.take();
        encoder.buf.clear();
        write(&mut encoder);
        let labels = Labels(Arc::from(encoder.buf.as_slice()));
        if encoder.buf.capacity() <= Encoder::MOST_KEPT {
            SCRATCH.set(encoder);
        }
        labels
    }

    /// Bytes that a thread may keep.
    const MOST_KEPT: usize = 64 << 10;

    fn push(&mut self, name: &str, value: &str) {
        self.field(name);
        self.field(value);
    }

    fn field(&mut self, s: &str) {
        let mut n = s.len();
        while n >= 0x80 {
            self.buf.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.buf.push(n as u8);
        self.buf.extend_from_slice(s.as_bytes());
    }
}

/// Writes one label set after the other through one buffer, so that each costs a single allocation.
#[derive(Default)]
pub struct LabelsWriter(Encoder);

impl fmt::Debug for LabelsWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LabelsWriter({} bytes)", self.0.buf.len())
    }
}

impl LabelsWriter {
    /// Begins an empty set.
    pub fn clear(&mut self) {
        self.0.buf.clear();
    }

    /// Appends a pair. Names must ascend: callers own this precondition.
    #[inline]
    pub fn push(&mut self, name: &str, value: &str) {
        self.0.push(name, value);
    }

    /// The set written since the last [`LabelsWriter::clear`].
    pub fn labels(&self) -> Labels {
        Labels(Arc::from(self.0.buf.as_slice()))
    }
}

/// Edits a label set: later calls win; a value set to the empty string removes the label, as in
/// Prometheus.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Starts from an existing set.
    pub fn new(base: &Labels) -> Self {
        LabelsBuilder { pairs: base.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// Sets `name`; an empty value deletes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.binary_search_by(|p| p.0.as_str().cmp(name)) {
            Ok(i) if value.is_empty() => {
                self.pairs.remove(i);
            }
            Ok(i) => self.pairs[i].1 = value.to_owned(),
            Err(_) if value.is_empty() => {}
            Err(i) => self.pairs.insert(i, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Deletes `name`.
    pub fn del(&mut self, name: &str) -> &mut Self {
        self.set(name, "")
    }

    /// The current value of `name`, or the empty string.
    pub fn get(&self, name: &str) -> &str {
        self.pairs.binary_search_by(|p| p.0.as_str().cmp(name)).map_or("", |i| &self.pairs[i].1)
    }

    /// The finished set.
    pub fn labels(&self) -> Labels {
        Labels::from_sorted(self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())))
    }
}

/// xxHash64 of any bytes, as Prometheus hashes its own encoding of label sets.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh64::xxh64(bytes, 0)
}

/// Whether `name` is a label name of the classic grammar `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether `name` is a metric name of the classic grammar `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_pairwise_and_shorter_first() {
        let l = |p: &[(&str, &str)]| Labels::from_pairs(p.iter().copied());
        let mut sets = [
            l(&[("b", "1")]),
            l(&[("a", "2")]),
            l(&[("a", "1"), ("b", "1")]),
            l(&[("a", "1")]),
            l(&[]),
            l(&[("a", "10")]),
        ];
        sets.sort();
        let shown: Vec<String> = sets.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["{}", r#"{a="1"}"#, r#"{a="1", b="1"}"#, r#"{a="10"}"#, r#"{a="2"}"#, r#"{b="1"}"#]
        );
    }

    #[test]
    fn long_values_and_edits_survive() {
        let long = "x".repeat(70_000);
        let l = Labels::from_pairs([("z", long.as_str()), ("a", "1"), ("a", "2")]);
        assert_eq!(l.get("a"), Some("2"));
        assert_eq!(l.value("z").len(), 70_000);
        let mut b = LabelsBuilder::new(&l);
        b.set("m", "mid").del("z");
        assert_eq!(b.labels().to_string(), r#"{a="2", m="mid"}"#);
        let e = l.extended_with(&Labels::from_pairs([("a", "9"), ("b", "8")]));
        assert_eq!((e.value("a"), e.value("b"), e.len()), ("9", "8", 3));
        assert_eq!(e.without(&["b", "z"]).to_string(), r#"{a="9"}"#);
    }

    #[test]
    fn quoting_follows_go() {
        assert_eq!(quote("a\"b\\\n\u{1}é\u{200b}"), "\"a\\\"b\\\\\\n\\x01é\\u200b\"");
        assert_eq!(Labels::from_pairs([("a.b", "c")]).to_string(), r#"{"a.b"="c"}"#);
    }
}
