//! Counter reset hints as Prometheus' head block gives them back.
//!
//! Holds the rule by which samples are put into chunks, as far as it shows in hints: within a chunk
//! of counter histograms every one but the first is known not to follow a reset. It stores no
//! samples. Invariant: a gauge stays a gauge, and no stated hint survives but through this rule.
//! Chunks are not cut by size, which Prometheus does from about 1 KiB on. Reference: Prometheus
//! `tsdb/head_append.go`, `tsdb/chunkenc/float_histogram.go`.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, Millis, is_stale_nan};

/// No chunk goes beyond a multiple of this.
const CHUNK_RANGE: Millis = 24 * 3600 * 1000;

/// The chunk that a series is being appended to.
#[derive(Clone, Debug, Default)]
pub(super) enum HeadChunk {
    /// Nothing has been appended, or a float.
    #[default]
    Floats,
    /// Histograms.
    Histograms {
        /// The end of the time range that the chunk may cover.
        end: Millis,
        /// Whether they are gauges.
        gauge: bool,
        /// The last of them.
        last: Arc<FloatHistogram>,
    },
}

impl HeadChunk {
    /// Notes a float.
    pub(super) fn float(&mut self) {
        *self = HeadChunk::Floats;
    }

    /// Notes a histogram and gives the hint with which it is read.
    pub(super) fn histogram(&mut self, t: Millis, h: &Arc<FloatHistogram>) -> CounterResetHint {
        let gauge = h.counter_reset_hint == CounterResetHint::Gauge;
        let goes_on = matches!(self, HeadChunk::Histograms { end, gauge: g, last }
            if t < *end && *g == gauge && appendable(last, h, gauge));
        match self {
            HeadChunk::Histograms { last, .. } if goes_on => *last = h.clone(),
            _ => {
                let end = t.div_euclid(CHUNK_RANGE) * CHUNK_RANGE + CHUNK_RANGE;
                *self = HeadChunk::Histograms { end, gauge, last: h.clone() };
            }
        }
        match (gauge, goes_on) {
            (true, _) => CounterResetHint::Gauge,
            (false, true) => CounterResetHint::NotReset,
            (false, false) => CounterResetHint::Unknown,
        }
    }
}

fn appendable(last: &FloatHistogram, h: &FloatHistogram, gauge: bool) -> bool {
    if !gauge && h.counter_reset_hint == CounterResetHint::Reset {
        return false;
    }
    if is_stale_nan(h.sum) {
        return true;
    }
    let same_layout = !is_stale_nan(last.sum)
        && h.schema == last.schema
        && h.zero_threshold == last.zero_threshold
        && h.custom_bounds() == last.custom_bounds();
    same_layout && (gauge || !h.lost_population(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};

    fn hints(of: &[(Millis, f64, CounterResetHint)]) -> Vec<CounterResetHint> {
        let mut chunk = HeadChunk::default();
        let read = |(t, count, hint): &(Millis, f64, CounterResetHint)| {
            let h = FloatHistogram { count: *count, counter_reset_hint: *hint, ..Default::default() };
            chunk.histogram(*t, &Arc::new(h))
        };
        of.iter().map(read).collect()
    }

    #[test]
    fn the_first_histogram_of_a_chunk_is_unknown() {
        assert_eq!(
            hints(&[
                (0, 1.0, Unknown),
                (1, 2.0, Unknown),
                (2, 1.0, Unknown),
                (3, 1.0, Reset),
                (4, 1.0, NotReset)
            ]),
            [Unknown, NotReset, Unknown, Unknown, NotReset]
        );
        assert_eq!(
            hints(&[(0, 1.0, Gauge), (1, 0.0, Gauge), (2, 0.0, Unknown), (3, 0.0, Gauge)]),
            [Gauge, Gauge, Unknown, Gauge]
        );
        assert_eq!(hints(&[(0, 1.0, Unknown), (CHUNK_RANGE, 1.0, Unknown)]), [Unknown, Unknown]);
    }
}
