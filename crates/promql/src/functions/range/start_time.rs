//! What start timestamps say about counter resets.
//!
//! Holds the two questions that `rate`, `irate`, `increase` and `resets` ask of neighbouring samples.
//! It knows no window. Invariant: a start timestamp of 0 is unknown and never a reset.

use model::Millis;

/// A sample's start time and time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed {
    /// Start of what it counts; 0 is unknown.
    pub(super) start: Millis,
    /// Its time.
    pub(super) t: Millis,
}

/// Whether the counter started again between two neighbours.
pub(super) fn is_reset(previous: Timed, current: Timed) -> bool {
    // Unknown, invalid, or OpenTelemetry's way to say unknown (start equals time).
    if current.start == 0 || current.start >= current.t || current.start < previous.t {
        return false;
    }
    if current.start > previous.t {
        return true;
    }
    // The start is the time of the sample before: a delta series, or a cumulative one whose start is
    // unknown. Only the first is a reset, and it has a valid start before.
    previous.start <= previous.t && previous.start != 0 && previous.start != previous.t
}

/// Whether a start lies before the sample before without being its start too.
pub(super) fn overlaps(previous: Timed, current: Timed) -> bool {
    current.start != 0 && current.start < previous.t && current.start != previous.start
}
