//! One-to-one deduplication: every sample of every replica, one per timestamp.
//!
//! What `--deduplication.func=chain` asks for. Knows only columns. Invariant: output equals that of
//! Prometheus' `chainSampleIterator` (`storage/merge.go`), down to which replica wins a tie: the heap
//! is walked with the same sift rules, because the winner at equal timestamps depends on them.

use std::sync::Arc;

use model::{CounterResetHint, Millis, Samples};

use crate::row::{Cursor, Kind};

/// Merges rows into `out`; see [`crate::merge`].
pub fn merge(rows: &[Samples], out: &mut Samples) {
    out.clear();
    let mut heap = Heap::default();
    let mut cursors: Vec<Cursor<'_>> = rows.iter().map(Cursor::new).collect();
    for (i, c) in cursors.iter().enumerate().skip(1) {
        if !c.ended() {
            heap.push(i, &cursors);
        }
    }
    let mut current = 0;
    let mut last: Option<Millis> = None;
    loop {
        // Step the current row to its next new timestamp; the first call stands on it already.
        let mut changed = last.is_none();
        if last.is_some() {
            cursors[current].step();
        }
        loop {
            if cursors[current].ended() {
                if heap.is_empty() {
                    return;
                }
            } else {
                let t = cursors[current].t();
                if last == Some(t) {
                    cursors[current].step();
                    continue;
                }
                if heap.0.first().is_none_or(|top| t < cursors[*top].t()) {
                    break;
                }
                heap.push(current, &cursors);
            }
            current = heap.pop(&cursors);
            changed = true;
            if last != Some(cursors[current].t()) {
                break;
            }
            cursors[current].step();
        }
        last = Some(cursors[current].t());
        emit(&cursors[current], !changed, out);
    }
}

/// Copies the sample; a histogram that follows another row's says nothing about resets.
fn emit(at: &Cursor<'_>, consecutive: bool, out: &mut Samples) {
    at.copy_to(out);
    if consecutive || at.kind() != Kind::Histogram {
        return;
    }
    if let Some(last) = out.hists.last_mut()
        && !matches!(last.histogram.counter_reset_hint, CounterResetHint::Gauge | CounterResetHint::Unknown)
    {
        Arc::make_mut(&mut last.histogram).counter_reset_hint = CounterResetHint::Unknown;
    }
}

/// A binary min-heap of row numbers by timestamp with the sift order of Go's `container/heap`.
#[derive(Debug, Default)]
struct Heap(Vec<usize>);

impl Heap {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn less(&self, i: usize, j: usize, cursors: &[Cursor<'_>]) -> bool {
        cursors[self.0[i]].t() < cursors[self.0[j]].t()
    }

    fn push(&mut self, row: usize, cursors: &[Cursor<'_>]) {
        self.0.push(row);
        let mut j = self.0.len() - 1;
        while j > 0 {
            let parent = (j - 1) / 2;
            if !self.less(j, parent, cursors) {
                break;
            }
            self.0.swap(parent, j);
            j = parent;
        }
    }

    /// Takes the smallest out. The heap must not be empty.
    fn pop(&mut self, cursors: &[Cursor<'_>]) -> usize {
        let row = self.0.swap_remove(0);
        let n = self.0.len();
        let mut i = 0;
        loop {
            let left = 2 * i + 1;
            if left >= n {
                break;
            }
            let mut child = left;
            if left + 1 < n && self.less(left + 1, left, cursors) {
                child = left + 1;
            }
            if !self.less(child, i, cursors) {
                break;
            }
            self.0.swap(i, child);
            i = child;
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(points: &[(Millis, f64)]) -> Samples {
        let mut s = Samples::default();
        points.iter().for_each(|(t, v)| s.push(*t, *v));
        s
    }

    fn merged(rows: &[Samples]) -> Vec<(Millis, f64)> {
        let mut out = Samples::default();
        merge(rows, &mut out);
        out.ts.iter().copied().zip(out.values).collect()
    }

    #[test]
    fn every_timestamp_once_in_order() {
        let rows = [row(&[(1, 1.0), (3, 3.0), (5, 5.0)]), row(&[(2, 2.0), (3, 30.0), (9, 9.0)]), row(&[])];
        let got = merged(&rows);
        assert_eq!(got.iter().map(|p| p.0).collect::<Vec<_>>(), [1, 2, 3, 5, 9]);
        assert_eq!((got[0].1, got[3].1, got[4].1), (1.0, 5.0, 9.0));
    }

    #[test]
    fn a_histogram_after_a_change_of_row_forgets_its_hint() {
        let hist = |hint| {
            Arc::new(model::FloatHistogram { counter_reset_hint: hint, count: 1.0, ..Default::default() })
        };
        let (mut a, mut b) = (Samples::default(), Samples::default());
        a.push_histogram(1, hist(CounterResetHint::NotReset));
        a.push_histogram(2, hist(CounterResetHint::NotReset));
        b.push_histogram(3, hist(CounterResetHint::NotReset));
        b.push_histogram(4, hist(CounterResetHint::Gauge));
        let mut out = Samples::default();
        merge(&[a, b], &mut out);
        let hints: Vec<_> = out.hists.iter().map(|h| h.histogram.counter_reset_hint).collect();
        use CounterResetHint::{Gauge, NotReset, Unknown};
        assert_eq!(hints, [Unknown, NotReset, Unknown, Gauge]);
    }
}
