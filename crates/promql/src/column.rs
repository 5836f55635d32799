//! One series over the steps of an evaluation, as arrays.
//!
//! Holds [`Steps`] (the evaluation times) and [`Column`] (a value, a histogram or nothing at each of
//! them): what operators hand to each other. It knows no label and no operator. Invariant: `values`
//! has one entry a step, an entry counts only where `present` has its bit, and `hists` is ascending by
//! step and lists exactly the present steps that hold a histogram (whose entry in `values` counts only
//! where `both` has its bit, too). Read `storage` for where samples come from.

use std::sync::Arc;

use model::histogram::FloatHistogram;
use model::{HistogramAt, Millis};

/// The times at which an expression is evaluated: `start`, `start + step`, …, `count` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// First evaluation time.
    pub start: Millis,
    /// Distance between evaluation times; irrelevant where `count` is 1.
    pub step: Millis,
    /// Number of evaluation times; at least one.
    pub count: usize,
}

impl Steps {
    /// A single evaluation time.
    pub fn instant(at: Millis) -> Self {
        Steps { start: at, step: 1, count: 1 }
    }

    /// The evaluation time of step `i`.
    #[inline]
    pub fn at(&self, i: usize) -> Millis {
        self.start + self.step * i as Millis
    }

    /// The last evaluation time.
    pub fn last(&self) -> Millis {
        self.at(self.count - 1)
    }
}

/// One series' values over [`Steps`].
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// One entry a step; counts only where present, and where no histogram stands.
    pub values: Vec<f64>,
    /// A bit a step, least significant first: whether there is a sample.
    pub present: Vec<u64>,
    /// The present steps that hold a histogram, ascending; `index` is the step.
    pub hists: Vec<HistogramAt>,
    /// The steps that hold a float besides their histogram, as bits; empty where there are none. Only
    /// series that were put together have such steps, and only results and subqueries get to see them.
    pub both: Vec<u64>,
}

impl Column {
    /// Makes this a column of `count` absent steps, keeping the memory.
    pub fn reset(&mut self, count: usize) {
        self.values.clear();
        self.values.resize(count, 0.0);
        self.present.clear();
        self.present.resize(count.div_ceil(64), 0);
        self.hists.clear();
        self.both.clear();
    }

    /// Number of steps.
    #[inline]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no step at all (a column of absent steps is not empty).
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether step `i` has a sample.
    #[inline]
    pub fn has(&self, i: usize) -> bool {
        self.present[i / 64] >> (i % 64) & 1 == 1
    }

    /// Whether any step has a sample.
    pub fn any(&self) -> bool {
        self.present.iter().any(|w| *w != 0)
    }

    /// How many steps have a sample.
    pub fn count(&self) -> usize {
        self.present.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether every step has a sample.
    pub fn is_full(&self) -> bool {
        let (whole, rest) = (self.values.len() / 64, self.values.len() % 64);
        self.present[..whole].iter().all(|w| *w == u64::MAX)
            && (rest == 0 || self.present[whole] == (1 << rest) - 1)
    }

    /// The first present step.
    pub fn first(&self) -> Option<usize> {
        let at = self.present.iter().position(|w| *w != 0)?;
        Some(at * 64 + self.present[at].trailing_zeros() as usize)
    }

    /// The last present step.
    pub fn last(&self) -> Option<usize> {
        let at = self.present.iter().rposition(|w| *w != 0)?;
        Some(at * 64 + 63 - self.present[at].leading_zeros() as usize)
    }

    /// Marks every step as present, and removes all histograms.
    pub fn fill(&mut self) {
        self.hists.clear();
        self.both.clear();
        self.present.fill(u64::MAX);
        let rest = self.values.len() % 64;
        if let (Some(last), true) = (self.present.last_mut(), rest != 0) {
            *last = (1 << rest) - 1;
        }
    }

    /// Removes the samples whose bit in `keep` is not set, histograms included.
    pub fn retain(&mut self, keep: &[u64]) {
        self.present.iter_mut().zip(keep).for_each(|(have, keep)| *have &= keep);
        self.both.iter_mut().zip(keep).for_each(|(have, keep)| *have &= keep);
        let present = &self.present;
        self.hists.retain(|h| present[h.index as usize / 64] >> (h.index % 64) & 1 == 1);
    }

    /// Sets step `i` to a float. The step must not hold a histogram.
    #[inline]
    pub fn set(&mut self, i: usize, v: f64) {
        self.values[i] = v;
        self.present[i / 64] |= 1 << (i % 64);
    }

    /// Appends a histogram at step `i`, which lies behind every histogram so far.
    pub fn push_histogram(&mut self, i: usize, h: Arc<FloatHistogram>) {
        debug_assert!(self.hists.last().is_none_or(|last| (last.index as usize) < i));
        self.present[i / 64] |= 1 << (i % 64);
        self.hists.push(HistogramAt { index: i as u32, histogram: h });
    }

    /// Removes the sample of step `i`, if any. Takes time in the number of histograms behind it.
    pub fn unset(&mut self, i: usize) {
        self.present[i / 64] &= !(1 << (i % 64));
        if let Some(both) = self.both.get_mut(i / 64) {
            *both &= !(1 << (i % 64));
        }
        if let Ok(at) = self.hists.binary_search_by_key(&(i as u32), |h| h.index) {
            self.hists.remove(at);
        }
    }

    /// Whether step `i` holds a float besides its histogram.
    #[inline]
    pub fn has_both(&self, i: usize) -> bool {
        self.both.get(i / 64).is_some_and(|both| both >> (i % 64) & 1 == 1)
    }

    /// The steps that hold a float, and those that hold a histogram, as bits.
    pub fn kinds(&self) -> (Vec<u64>, Vec<u64>) {
        let (mut floats, mut hists) = (self.present.clone(), vec![0; self.present.len()]);
        for h in &self.hists {
            let (word, bit) = (h.index as usize / 64, 1 << (h.index % 64));
            floats[word] &= !bit;
            hists[word] |= bit;
        }
        floats.iter_mut().zip(&self.both).for_each(|(floats, both)| *floats |= both);
        (floats, hists)
    }

    /// The histogram of step `i`, if it holds one.
    pub fn histogram(&self, i: usize) -> Option<&Arc<FloatHistogram>> {
        let at = self.hists.binary_search_by_key(&(i as u32), |h| h.index).ok()?;
        Some(&self.hists[at].histogram)
    }

    /// The steps at which runs of present steps begin and end, in turn; a run that reaches the last step
    /// has no end.
    pub(crate) fn edges(&self) -> impl Iterator<Item = usize> + '_ {
        let mut before = 0;
        let changes = self.present.iter().map(move |word| {
            let changes = word ^ (word << 1 | before);
            before = word >> 63;
            changes
        });
        bits(changes).take_while(|i| *i < self.len())
    }

    /// The present steps, ascending.
    pub fn steps(&self) -> impl Iterator<Item = usize> + '_ {
        bits(self.present.iter().copied())
    }
}

/// The places of the bits that are set, ascending.
fn bits(words: impl Iterator<Item = u64>) -> impl Iterator<Item = usize> {
    words.enumerate().flat_map(|(at, mut left)| {
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let bit = left.trailing_zeros() as usize;
            left &= left - 1;
            Some(at * 64 + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_values_and_histograms_agree() {
        let mut c = Column::default();
        c.reset(130);
        assert_eq!((c.len(), c.any()), (130, false));
        c.set(0, 1.5);
        c.set(129, -2.0);
        c.push_histogram(64, Arc::default());
        assert_eq!(c.steps().collect::<Vec<_>>(), [0, 64, 129]);
        assert!(c.histogram(64).is_some() && c.histogram(0).is_none());
        c.unset(64);
        assert_eq!((c.count(), c.hists.len()), (2, 0));
        assert!(c.has(129) && !c.has(64));
        assert_eq!((c.first(), c.last(), c.is_full()), (Some(0), Some(129), false));
        c.fill();
        assert!(c.is_full() && c.count() == 130);
        c.push_histogram(70, Arc::default());
        c.retain(&[1, 0, 0]);
        assert_eq!((c.steps().collect::<Vec<_>>(), c.hists.len()), (vec![0], 0));
    }

    #[test]
    fn edges_are_where_runs_begin_and_end() {
        let edges = |len: usize, present: &[usize]| {
            let mut c = Column::default();
            c.reset(len);
            present.iter().for_each(|i| c.set(*i, 0.0));
            c.edges().collect::<Vec<_>>()
        };
        assert_eq!(edges(70, &[]), []);
        assert_eq!(edges(70, &[0, 1, 5, 62, 63, 64, 69]), [0, 2, 5, 6, 62, 65, 69]);
        assert_eq!(edges(64, &[63]), [63]);
        assert_eq!(edges(65, &[63]), [63, 64]);
        assert_eq!(edges(128, &[127]), [127]);
    }
}
