//! What benches share: a sink that looks at every point, CPU time, and (`callgrind`) instructions.
//!
//! Knows no query and no data. Invariant: what is measured is this process alone, so that other work on
//! the machine does not count.

#![allow(dead_code, reason = "a bench takes what it needs")]

pub(crate) mod callgrind;

use std::hint::black_box;
use std::time::Duration;

use model::{Labels, Millis};
use promql::{Points, QueryError, Sink, Value};
use rustix::time::{ClockId, clock_gettime};

/// CPU time of this process so far, of all its threads.
pub(crate) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// A number from the environment.
pub(crate) fn number(name: &str, or: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
}

/// Touches every value and keeps none.
#[derive(Default)]
pub(crate) struct Touch;

impl Sink for Touch {
    fn scalar(&mut self, _: Millis, value: f64) -> Result<(), QueryError> {
        black_box(value);
        Ok(())
    }

    fn string(&mut self, _: Millis, value: &[u8]) -> Result<(), QueryError> {
        black_box(value);
        Ok(())
    }

    fn sample(&mut self, _: &Labels, _: Millis, value: Value<'_>) -> Result<(), QueryError> {
        black_box(value);
        Ok(())
    }

    fn series(&mut self, _: &Labels, points: Points<'_>) -> Result<(), QueryError> {
        black_box(points.floats().map(|p| p.1).sum::<f64>());
        Ok(())
    }
}
