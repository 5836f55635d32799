//! A reading position in one replica's samples.
//!
//! Knows how to step, to seek and to copy the sample under the cursor. It does not know why.
//! Invariant: `hist` always points at the first histogram whose index is not below `at`.

use model::{Millis, Samples};

/// What stands under a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    None,
    Float,
    Histogram,
}

/// A forward-only cursor over [`Samples`].
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    samples: &'a Samples,
    at: usize,
    hist: usize,
}

impl<'a> Cursor<'a> {
    /// At the first sample.
    pub(crate) fn new(samples: &'a Samples) -> Self {
        Cursor { samples, at: 0, hist: 0 }
    }

    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        if self.at >= self.samples.ts.len() {
            Kind::None
        } else if self.on_histogram() {
            Kind::Histogram
        } else {
            Kind::Float
        }
    }

    #[inline]
    fn on_histogram(&self) -> bool {
        self.samples.hists.get(self.hist).is_some_and(|h| h.index as usize == self.at)
    }

    #[inline]
    pub(crate) fn ended(&self) -> bool {
        self.at >= self.samples.ts.len()
    }

    /// Timestamp under the cursor; the cursor must not have ended.
    #[inline]
    pub(crate) fn t(&self) -> Millis {
        self.samples.ts[self.at]
    }

    /// Value under the cursor; the cursor must not have ended.
    #[inline]
    pub(crate) fn v(&self) -> f64 {
        self.samples.values[self.at]
    }

    /// Start timestamp under the cursor, or zero where none is known.
    pub(crate) fn start_t(&self) -> Millis {
        self.samples.start_ts.get(self.at).copied().unwrap_or(0)
    }

    /// One sample on.
    #[inline]
    pub(crate) fn step(&mut self) {
        self.at += 1;
        self.settle();
    }

    /// On to the first sample at or after `t`; never back.
    ///
    /// Replicas are scraped at the same rate, so the answer is nearly always within a few samples;
    /// only after a gap does the search widen.
    #[inline]
    pub(crate) fn seek(&mut self, t: Millis) {
        let ts = &self.samples.ts[..];
        let mut near = 0;
        while self.at < ts.len() && ts[self.at] < t {
            self.at += 1;
            near += 1;
            if near == 8 {
                self.at += ts[self.at..].partition_point(|x| *x < t);
                break;
            }
        }
        self.settle();
    }

    #[inline]
    fn settle(&mut self) {
        while self.samples.hists.get(self.hist).is_some_and(|h| (h.index as usize) < self.at) {
            self.hist += 1;
        }
    }

    /// Appends the sample under the cursor to `out`, bit by bit.
    #[inline]
    pub(crate) fn copy_to(&self, out: &mut Samples) {
        self.copy_changed(|v| v, out);
    }

    /// As [`Cursor::copy_to`], a float raised by `add`. Even zero changes some: a stale marker becomes
    /// an ordinary NaN.
    #[inline]
    pub(crate) fn copy_raised(&self, add: f64, out: &mut Samples) {
        self.copy_changed(|v| v + add, out);
    }

    #[inline]
    fn copy_changed(&self, change: impl Fn(f64) -> f64, out: &mut Samples) {
        let t = self.samples.ts[self.at];
        if self.on_histogram() {
            out.push_histogram(t, self.samples.hists[self.hist].histogram.clone());
        } else {
            out.push(t, change(self.samples.values[self.at]));
        }
        if !self.samples.start_ts.is_empty() {
            set_last_start(out, self.samples.start_ts[self.at]);
        }
    }
}

/// Writes the start timestamp of the last sample, opening the column when it is the first known.
pub(crate) fn set_last_start(out: &mut Samples, start: Millis) {
    if out.start_ts.is_empty() {
        if start == 0 {
            return;
        }
        out.start_ts.resize(out.ts.len(), 0);
    }
    if let Some(last) = out.start_ts.last_mut() {
        *last = start;
    }
}
