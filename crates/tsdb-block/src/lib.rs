//! Prometheus block bytes, read and written; never a bucket.
//!
//! Holds the formats of a block: meta, index, chunk segments, tombstones, chunk encodings. It never
//! awaits and never fetches: callers bring bytes. Invariant: no input makes it panic, or allocate more
//! than 64 times its size. Start with `index`, then `chunkenc`.

pub mod chunkenc;
pub mod error;
pub mod index;
pub mod meta;

pub use error::{Corrupt, Result};
