//! The engine against a real Prometheus: generated expressions over the same blocks.
//!
//! `data` makes series, `blocks` puts them on disk and reads them back, `generate` makes expressions,
//! `prometheus` answers them, `answer` and `compare` tell differences, `recorded` keeps answers for
//! machines without a Prometheus. Invariant: a seed stands for one list of expressions, so that every
//! difference can be seen again. Read `generate` first.

pub mod answer;
pub mod blocks;
pub mod compare;
pub mod data;
pub mod generate;
pub mod prometheus;
pub mod recorded;
mod rng;

pub use rng::Rng;

use promql::parse::Options;
use promql::{Engine, EngineOptions};

/// The engine set up as the Prometheus it is compared with.
pub fn engine(threads: usize) -> Engine {
    Engine::new(EngineOptions {
        max_samples: 50_000_000,
        parser: Options { xfunctions: false, ..Options::all() },
        threads,
        ..EngineOptions::default()
    })
}
