//! What a kernel noticed over all windows of a series, before it becomes text.
//!
//! Holds a set of flags, so that a note repeated at every step costs a bit and not a string. It knows
//! no window. Invariant: writing gives the annotations that adding each at once would have given.

use super::RangeContext;
use crate::annotations::{Annotation, HistogramOperation};

/// One thing to note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Floats and histograms in a window that can take one kind only.
    Mixed,
    /// Histograms left out of a window of floats.
    Ignored,
    /// A gauge histogram under a function of counters.
    NotCounter,
    /// A counter histogram under a function of gauges.
    NotGauge,
    /// Exponential and custom buckets.
    Schemas,
    /// Custom bounds reconciled while adding.
    ReconciledAdd,
    /// Custom bounds reconciled while subtracting.
    ReconciledSub,
    /// Custom bounds reconciled while aggregating.
    ReconciledAggregate,
    /// Hints that contradict each other in an aggregation.
    Collision,
}

/// The notes of one series.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Notes {
    bits: u16,
    /// Windows in which start timestamps overlap with samples before.
    pub(super) overlaps: u64,
}

impl Notes {
    /// Adds one.
    #[inline]
    pub(super) fn add(&mut self, note: Note) {
        self.bits |= 1 << note as u16;
    }

    /// Adds all of `other`.
    pub(super) fn merge(&mut self, other: Notes) {
        self.bits |= other.bits;
        self.overlaps += other.overlaps;
    }

    /// Turns flags into annotations.
    pub(super) fn write(self, ctx: &mut RangeContext<'_>) {
        if self.bits == 0 && self.overlaps == 0 {
            return;
        }
        use HistogramOperation as Op;
        use Note as N;
        let (metric, span) = (ctx.labels.metric_name(), ctx.span);
        let all = [
            (N::Mixed, Annotation::mixed_floats_histograms(metric, span)),
            (N::Ignored, Annotation::histogram_ignored_in_mixed_range(metric, span)),
            (N::NotCounter, Annotation::native_histogram_not_counter(metric, span)),
            (N::NotGauge, Annotation::native_histogram_not_gauge(metric, span)),
            (N::Schemas, Annotation::mixed_exponential_custom_histograms(metric, span)),
            (N::ReconciledAdd, Annotation::mismatched_custom_buckets(Op::Addition, span)),
            (N::ReconciledSub, Annotation::mismatched_custom_buckets(Op::Subtraction, span)),
            (N::ReconciledAggregate, Annotation::mismatched_custom_buckets(Op::Aggregation, span)),
            (N::Collision, Annotation::counter_reset_collision(Op::Aggregation, span)),
        ];
        for (note, annotation) in all {
            if self.bits >> note as u16 & 1 == 1 {
                ctx.annotations.add(annotation);
            }
        }
        if self.overlaps > 0 {
            ctx.annotations.add(Annotation::start_time_overlaps(metric, self.overlaps, span));
        }
    }
}
