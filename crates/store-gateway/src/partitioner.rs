//! Few large reads in place of many small ones.
//!
//! Holds the joining of sorted byte ranges that lie close together (upstream's gap-based partitioner),
//! with a bound on a part's length so that no read grows without end. It reads nothing. Invariant: the
//! parts cover every range, in order, and no range is split.

use std::ops::Range;

/// How ranges are joined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partitioner {
    /// Ranges at most this far apart are read together.
    pub(crate) gap: u64,
    /// A part that is this long takes no further range.
    pub(crate) longest: u64,
}

/// One read, and the ranges it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) bytes: Range<u64>,
    pub(crate) items: Range<usize>,
}

impl Partitioner {
    /// Joins `ranges`, which must be sorted by their start.
    pub(crate) fn parts(self, ranges: impl IntoIterator<Item = Range<u64>>) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for (i, range) in ranges.into_iter().enumerate() {
            match parts.last_mut() {
                Some(p)
                    if range.start <= p.bytes.end.saturating_add(self.gap)
                        && (p.bytes.end - p.bytes.start < self.longest || range.end <= p.bytes.end) =>
                {
                    p.bytes.end = p.bytes.end.max(range.end);
                    p.items.end = i + 1;
                }
                _ => parts.push(Part { bytes: range, items: i..i + 1 }),
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(gap: u64, longest: u64, ranges: &[Range<u64>], want: &[(Range<u64>, Range<usize>)]) {
        let got = Partitioner { gap, longest }.parts(ranges.iter().cloned());
        let want: Vec<Part> =
            want.iter().map(|(bytes, items)| Part { bytes: bytes.clone(), items: items.clone() }).collect();
        assert_eq!(got, want, "{ranges:?}");
    }

    #[test]
    fn joins_near_and_overlapping_ranges_up_to_a_length() {
        check(5, 1000, &[], &[]);
        check(5, 1000, &[0..10, 15..20, 26..30], &[(0..20, 0..2), (26..30, 2..3)]);
        check(0, 1000, &[0..10, 2..4, 10..20], &[(0..20, 0..3)]);
        check(5, 15, &[0..10, 10..20, 20..30], &[(0..20, 0..2), (20..30, 2..3)]);
        check(u64::MAX, u64::MAX, &[0..1, 900..901], &[(0..901, 0..2)]);
    }
}
