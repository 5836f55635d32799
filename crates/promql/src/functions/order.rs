//! The order of `sort_by_label` and `sort_by_label_desc`.
//!
//! Holds the comparator. It knows no vector. Invariant: label values compare naturally, runs of digits
//! as numbers, and the whole label set settles ties.

use std::cmp::Ordering;

use model::Labels;

/// The order of `sort_by_label` (or, descending, `sort_by_label_desc`).
pub(crate) fn by_labels<S: AsRef<str>>(a: &Labels, b: &Labels, names: &[S], descending: bool) -> Ordering {
    let differing =
        names.iter().map(|name| (a.value(name.as_ref()), b.value(name.as_ref()))).find(|(x, y)| x != y);
    let order = match differing {
        Some((x, y)) if natural_less(x, y) => Ordering::Less,
        Some(_) => Ordering::Greater,
        None => a.cmp(b),
    };
    if descending { order.reverse() } else { order }
}

/// Runs of digits and of anything else.
fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let digit = rest.as_bytes().first()?.is_ascii_digit();
        let end = rest.bytes().position(|b| b.is_ascii_digit() != digit).unwrap_or(rest.len());
        let (chunk, tail) = rest.split_at(end);
        rest = tail;
        Some(chunk)
    })
}

/// Whether `a` comes before `b` in natural order, as the library that Prometheus uses has it: a text
/// comes before those it is the beginning of, numbers beyond 64 bits compare as text.
pub(crate) fn natural_less(a: &str, b: &str) -> bool {
    let (mut left, mut right) = (chunks(a).peekable(), chunks(b).peekable());
    while let Some(x) = left.next() {
        let Some(y) = right.next() else {
            return false;
        };
        let numbers = x.parse::<i64>().ok().zip(y.parse::<i64>().ok());
        let equal = match numbers {
            Some((x, y)) if x != y => return x < y,
            Some(_) => true,
            None => x == y,
        };
        if !equal {
            return x < y;
        }
        if left.peek().is_none() {
            return true;
        }
        if right.peek().is_none() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_compare_as_numbers() {
        for (a, b) in [("a2", "a10"), ("2", "10"), ("a", "b"), ("a", "a1"), ("1.9", "1.10"), ("", "x")] {
            assert_eq!((natural_less(a, b), natural_less(b, a)), (!a.is_empty(), false), "{a} {b}");
        }
        // The same number in other digits: whichever ends first comes first.
        assert!(natural_less("01", "1") && natural_less("1", "01"));
        assert!(natural_less("100000000000000000000", "99999999999999999999"));
    }

    #[test]
    fn labels_break_ties_by_the_whole_set() {
        let l = |a: &str, b: &str| Labels::from_pairs([("a", a), ("b", b)]);
        assert_eq!(by_labels(&l("x2", "1"), &l("x10", "0"), &["a"], false), Ordering::Less);
        assert_eq!(by_labels(&l("x2", "1"), &l("x10", "0"), &["a"], true), Ordering::Greater);
        assert_eq!(by_labels(&l("x", "10"), &l("x", "9"), &["a"], false), Ordering::Less);
        assert_eq!(by_labels(&l("x", "10"), &l("x", "9"), &["a", "b"], false), Ordering::Greater);
    }
}
