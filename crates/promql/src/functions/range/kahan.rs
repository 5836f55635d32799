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

/// A window of floats: step, first index, number.
pub(super) type Span = (usize, usize, usize);

/// Collects windows until there are enough to work on side by side.
#[derive(Default)]
pub(super) struct Groups {
    held: [Span; LANES],
    count: usize,
}

impl Groups {
    /// Adds a window of at least one float; calls `work` when a group is full.
    #[inline]
    pub(super) fn push(&mut self, window: Span, work: impl FnOnce([Span; LANES])) {
        self.held[self.count] = window;
        self.count += 1;
        if self.count == LANES {
            self.count = 0;
            work(self.held);
        }
    }

    /// Calls `work` with the windows left over; the last one fills the group up.
    pub(super) fn finish(self, work: impl FnOnce([Span; LANES])) {
        if let Some(last) = self.count.checked_sub(1) {
            work(std::array::from_fn(|i| self.held[i.min(last)]));
        }
    }
}

/// The number of samples that all windows of a group have.
pub(super) fn shared(group: &[Span; LANES]) -> usize {
    group.iter().map(|(_, _, count)| *count).min().unwrap_or(0)
}

/// Sums up the windows of a group: `visit` gets the step, the window, the sum and its compensation.
#[inline]
pub(super) fn sums(
    group: [Span; LANES],
    values: &[f64],
    mut visit: impl FnMut(usize, Range<usize>, f64, f64),
) {
    let shared = shared(&group);
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
}
