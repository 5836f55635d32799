//! The engine against a real Prometheus: generated expressions over the same blocks.
//!
//! `data` makes series, `blocks` puts them on disk and reads them back, `generate` makes expressions,
//! `prometheus` answers them, `answer`, `compare` and `duel` tell differences, `recorded` keeps answers for
//! machines without a Prometheus. Invariant: a seed stands for one list of expressions, so that every
//! difference can be seen again. Read `generate` first.

pub mod answer;
pub mod blocks;
pub mod compare;
pub mod data;
pub mod duel;
pub mod generate;
pub mod prometheus;
pub mod recorded;
mod rng;

pub use rng::Rng;

use promql::parse::Options;
use promql::{Engine, EngineOptions};

/// Switches of the engine that Prometheus has as feature flags.
#[derive(Clone, Copy, Debug, Default)]
pub struct Switches {
    /// `promql-delayed-name-removal`
    pub delayed_name_removal: bool,
    /// `use-start-timestamps`
    pub start_timestamps: bool,
    /// `type-and-unit-labels`
    pub type_and_unit_labels: bool,
}

impl Switches {
    /// The engine set up as the Prometheus it is compared with.
    pub fn engine(self, threads: usize) -> Engine {
        Engine::new(EngineOptions {
            parser: Options { xfunctions: false, ..Options::all() },
            threads,
            delayed_name_removal: self.delayed_name_removal,
            use_start_timestamps: self.start_timestamps,
            type_and_unit_labels: self.type_and_unit_labels,
            ..EngineOptions::default()
        })
    }

    /// The feature flags.
    pub fn features(self) -> Vec<&'static str> {
        let all = [
            (self.delayed_name_removal, "promql-delayed-name-removal"),
            (self.start_timestamps, "use-start-timestamps"),
            (self.type_and_unit_labels, "type-and-unit-labels"),
        ];
        all.into_iter().filter_map(|(on, name)| on.then_some(name)).collect()
    }
}
