//! The querier, with a count of the bytes that it allocates: for benches.
//!
//! Only built with the feature `count-allocations`; the querier itself has neither the count nor its
//! cost. Invariant: `athanor_alloc_bytes_total` only grows. An allocation that grows counts what it grew
//! by, whereas Go's counter, having no such call, counts a new one.

use std::alloc::System;
use std::process::ExitCode;

use component::metrics::IntCounter;
use component::metrics::core::{Collector, Desc};
use component::metrics::proto::MetricFamily;
use querier::{Args, app};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Reads the allocator's count when it is asked.
#[derive(Debug)]
struct Allocated(IntCounter);

impl Collector for Allocated {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let bytes = u64::try_from(ALLOCATOR.stats().bytes_allocated).unwrap_or(u64::MAX);
        self.0.inc_by(bytes.saturating_sub(self.0.get()));
        self.0.collect()
    }
}

fn main() -> ExitCode {
    let about = "The querier, counting the bytes that it allocates.";
    component::main(vec![component::Command::new::<Args, _, _>("query", about, async |args, env| {
        let counter = IntCounter::new("athanor_alloc_bytes_total", "Bytes allocated since the start.")?;
        env.registry.register(Box::new(Allocated(counter)))?;
        app::run(args, env).await
    })])
}
