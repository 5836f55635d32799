//! Putting a stream into the order of its final labels.
//!
//! Adding external labels or removing replica labels can disturb the order in which a source emits
//! series. This module holds the two remedies: [`Holdback`] for labels that no series carries
//! itself, which keeps back only the few series that could move, and [`sort_all`] for the rest. It
//! knows no chunk. Invariant: the output is sorted by labels.
//!
//! Why holding back suffices: let `S` be the original labels and `F(S)` the same with external
//! labels merged in, none of which occurs in any `S`. Two sets that differ in some pair keep their
//! order, because both get the same external labels before that pair. Only where one set is a
//! prefix of the other can they swap: an external label that sorts after the end of the shorter one
//! lands before the next pair of the longer. So everything at or after `S` in the original order is
//! at or after `S` with just those external labels that sort before its last name: [`lower_bound`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use model::Labels;

use crate::series::Series;

/// The least final label set that any series at or after `original` can have.
pub fn lower_bound(original: &Labels, external: &Labels) -> Labels {
    let Some((last, _)) = original.iter().last() else { return Labels::empty() };
    let before: Vec<(&str, &str)> = external.iter().filter(|(n, _)| *n < last).collect();
    original.extended_with(&Labels::from_sorted(before))
}

/// Re-establishes order after external labels were added, over a source in its original order.
#[derive(Debug)]
pub struct Holdback<T> {
    heap: BinaryHeap<Reverse<Held<T>>>,
    count: u64,
}

impl<T> Default for Holdback<T> {
    fn default() -> Self {
        Holdback { heap: BinaryHeap::new(), count: 0 }
    }
}

#[derive(Debug)]
struct Held<T> {
    labels: Labels,
    at: u64,
    value: T,
}

impl<T> PartialEq for Held<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Held<T> {}

impl<T> PartialOrd for Held<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Held<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.labels.cmp(&other.labels).then(self.at.cmp(&other.at))
    }
}

impl<T> Holdback<T> {
    /// Takes the next value with its final labels.
    pub fn push(&mut self, labels: Labels, value: T) {
        self.heap.push(Reverse(Held { labels, at: self.count, value }));
        self.count += 1;
    }

    /// The least value, if nothing that is still to come can sort before it.
    pub fn pop(&mut self, bound: &Labels) -> Option<(Labels, T)> {
        if self.heap.peek()?.0.labels > *bound {
            return None;
        }
        self.drain()
    }

    /// The least value, when the source has ended.
    pub fn drain(&mut self) -> Option<(Labels, T)> {
        self.heap.pop().map(|Reverse(h)| (h.labels, h.value))
    }

    /// Number of values held.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

/// Sorts whole series by labels, keeping the order of equal ones.
pub fn sort_all(series: &mut [Series]) {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Holding back gives the full sort, whatever the labels.
        #[test]
        fn holdback_sorts(sets in proptest::collection::btree_set(
            proptest::collection::btree_map("[a-f]", "[0-2]", 0..5), 0..40),
            ext in proptest::collection::btree_map("[A-Ca-f]x", "[0-2]", 0..3)) {
            let external = Labels::from_pairs(ext);
            let mut original: Vec<Labels> = sets.into_iter().map(Labels::from_pairs).collect();
            original.sort();
            let mut held = Holdback::default();
            let mut got = Vec::new();
            for s in &original {
                let bound = lower_bound(s, &external);
                while let Some((l, ())) = held.pop(&bound) { got.push(l); }
                held.push(s.extended_with(&external), ());
            }
            while let Some((l, ())) = held.drain() { got.push(l); }
            let mut want: Vec<Labels> = original.iter().map(|s| s.extended_with(&external)).collect();
            want.sort();
            prop_assert_eq!(got, want);
        }
    }

    #[test]
    fn only_prefixes_wait() {
        let external = Labels::from_pairs([("m", "e")]);
        let (short, long) = (Labels::from_pairs([("a", "1")]), Labels::from_pairs([("a", "1"), ("b", "1")]));
        let mut held = Holdback::default();
        held.push(short.extended_with(&external), "short");
        // The longer set sorts first once `m` is in, so the shorter must wait for it.
        assert!(held.pop(&lower_bound(&long, &external)).is_none());
        held.push(long.extended_with(&external), "long");
        assert_eq!(held.drain().map(|d| d.1), Some("long"));
    }
}
