//! Compensated sums, several side by side.
//!
//! Holds sums in lanes, so that the processor works on neighbouring windows at once, and the grouping
//! of windows into lanes. It knows no function. Invariant: as long as everything stays finite, sum
//! and compensation equal those of `kahan_inc` bit by bit: both find the exact error of each
//! addition. Whoever meets an infinity or NaN sums again the slow way.

use std::ops::Range;

/// `N` running sums with their compensations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes<const N: usize> {
    sum: [f64; N],
    c: [f64; N],
}

impl<const N: usize> Default for Lanes<N> {
    fn default() -> Self {
        Lanes { sum: [0.0; N], c: [0.0; N] }
    }
}

impl<const N: usize> Lanes<N> {
    /// Adds a term to each. The error of an addition is found without a comparison of sizes.
    #[inline(always)]
    pub(super) fn add(&mut self, terms: [f64; N]) {
        for (i, x) in terms.into_iter().enumerate() {
            let sum = self.sum[i];
            let t = sum + x;
            let added = t - sum;
            self.c[i] += (sum - (t - added)) + (x - added);
            self.sum[i] = t;
        }
    }

    /// Sum and compensation of one together.
    #[inline(always)]
    pub(super) fn total(&self, i: usize) -> f64 {
        self.sum[i] + self.c[i]
    }

    /// One of the sums alone.
    pub(super) fn lane(&self, i: usize) -> Lanes<1> {
        Lanes { sum: [self.sum[i]], c: [self.c[i]] }
    }

    /// Whether no sum has left the range in which it is exact.
    pub(super) fn is_finite(&self) -> bool {
        self.sum.iter().chain(&self.c).all(|v| v.is_finite())
    }
}

/// Windows worked on at once.
const LANES: usize = 4;

/// Windows of floats: step, first index, number.
#[derive(Default)]
pub(super) struct Spans {
    all: Vec<(usize, usize, usize)>,
}

impl Spans {
    /// Adds a window of at least one float.
    pub(super) fn push(&mut self, step: usize, first: usize, count: usize) {
        self.all.push((step, first, count));
    }

    /// Calls `visit` with each step and its window.
    pub(super) fn each(&self, mut visit: impl FnMut(usize, Range<usize>)) {
        self.all.iter().for_each(|(step, first, count)| visit(*step, *first..first + count));
    }

    /// Calls `visit` with windows in groups and the number of samples that all of a group have. The
    /// last window fills the last group up.
    #[inline]
    pub(super) fn groups(&self, mut visit: impl FnMut([(usize, usize, usize); LANES], usize)) {
        for group in self.all.chunks(LANES) {
            let group: [_; LANES] = std::array::from_fn(|i| group[i.min(group.len() - 1)]);
            visit(group, group.iter().map(|(_, _, count)| *count).min().unwrap_or(0));
        }
    }

    /// Sums up every window: `visit` gets the step, the window, the sum and its compensation.
    #[inline]
    pub(super) fn sums(&self, values: &[f64], mut visit: impl FnMut(usize, Range<usize>, f64, f64)) {
        self.groups(|group, shared| {
            let mut lanes = Lanes::<LANES>::default();
            let heads = group.map(|(_, first, _)| &values[first..first + shared]);
            for i in 0..shared {
                lanes.add(heads.map(|head| head[i]));
            }
            for (lane, (step, first, count)) in group.into_iter().enumerate() {
                let mut own = lanes.lane(lane);
                values[first + shared..first + count].iter().for_each(|v| own.add([*v]));
                visit(step, first..first + count, own.sum[0], own.c[0]);
            }
        });
    }
}
