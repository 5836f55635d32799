//! What is known of the paired Prometheus at the moment.
//!
//! Holds external labels, time range and version behind one lock; it asks nobody. Invariant: the range
//! never begins before `--min-time`.

use std::sync::Arc;

use component::flags::value::TimeOrDuration;
use model::Labels;
use parking_lot::RwLock;

#[derive(Debug)]
struct Known {
    labels: Labels,
    min_time: i64,
    version: String,
}

/// The shared state. Clones share it.
#[derive(Clone, Debug)]
pub struct State {
    limit: TimeOrDuration,
    known: Arc<RwLock<Known>>,
}

impl State {
    /// Nothing is known yet; the range begins at `limit`.
    pub fn new(limit: TimeOrDuration, now: i64) -> Self {
        let known = Known { labels: Labels::empty(), min_time: limit.at(now), version: String::new() };
        State { limit, known: Arc::new(RwLock::new(known)) }
    }

    /// The external labels; empty before they are known.
    pub fn labels(&self) -> Labels {
        self.known.read().labels.clone()
    }

    /// First and last millisecond that can be asked for.
    pub fn range(&self) -> (i64, i64) {
        (self.known.read().min_time, i64::MAX)
    }

    /// Whether Prometheus takes matchers on label names and values (2.24 and later).
    pub fn labels_take_matchers(&self) -> bool {
        at_least_2_24(&self.known.read().version)
    }

    /// Notes the external labels.
    pub fn set_labels(&self, labels: Labels) {
        self.known.write().labels = labels;
    }

    /// Notes Prometheus' oldest timestamp.
    pub fn set_lowest(&self, lowest: i64, now: i64) {
        self.known.write().min_time = self.limit.at(now).max(lowest);
    }

    /// Notes the version.
    pub fn set_version(&self, version: String) {
        self.known.write().version = version;
    }
}

/// A version that cannot be read counts as old, as upstream.
fn at_least_2_24(version: &str) -> bool {
    let mut parts = version.split(['.', '-', '+']).map(|p| p.parse::<u64>().ok());
    match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor), Some(_)) => (major, minor) >= (2, 24),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (v, want) in
            [("2.23.9", false), ("2.24.0", true), ("3.14.0-rc.1", true), ("0", false), ("", false)]
        {
            assert_eq!(at_least_2_24(v), want, "{v}");
        }
    }

    /// R034: the advertised range begins at the later of the limit and Prometheus' data.
    #[test]
    fn r034_range_is_limited() {
        let s = State::new(TimeOrDuration::parse("-1h").unwrap(), 10_000_000);
        assert_eq!(s.range(), (6_400_000, i64::MAX));
        s.set_lowest(i64::MIN, 10_000_000);
        assert_eq!(s.range().0, 6_400_000);
        s.set_lowest(7_000_000, 10_000_000);
        assert_eq!(s.range().0, 7_000_000);
    }
}
