//! PromQL: parser, engine and the [`Queryable`] trait it consumes.
//!
//! Holds the language alone: text to tree, tree to arrays, arrays to a sink. It knows `model` and
//! nothing else: no chunk, no block, no wire, no runtime. Invariant: an answer depends on the
//! series, the expression and the options, never on the number of threads. Read `storage` first.

mod aggregate;
pub mod annotations;
mod binary;
mod civil;
pub mod column;
pub mod engine;
mod error;
mod exec;
pub mod explain;
mod functions;
mod interrupt;
pub mod parse;
mod plan;
pub mod sink;
pub mod stats;
pub mod storage;
pub mod testing;

pub use annotations::{Annotation, Annotations};
pub use column::{Column, Steps};
pub use engine::{DefaultStep, Engine, EngineOptions, Outcome, Query, QueryOptions, Times};
pub use error::{ErrorKind, QueryError};
pub use explain::Explanation;
pub use interrupt::Interrupt;
pub use sink::{Collect, Points, Sink, Value};
pub use stats::{SampleStats, Statistics, StatsLevel, Timings};
pub use storage::{Hints, Queryable, Selection, SeriesSet, StorageError};
