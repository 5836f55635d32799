//! Prometheus block bytes, read and written from files or buffers; never a bucket.
//!
//! Holds the on-disk formats: `meta` (meta.json with Thanos' section), `index` (v1 and v2),
//! `chunks` (segment files), `chunkenc` (the sample encodings), `tombstones`, and `block`, which
//! joins them into a directory. It never awaits: callers fetch, it decodes. Invariant: no input,
//! however damaged, panics here or makes memory grow beyond a small multiple of its own size.
//! Read `index` and `chunkenc` first.

pub mod block;
pub mod chunkenc;
pub mod chunks;
pub mod error;
pub mod index;
mod map;
pub mod meta;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tombstones;
mod wire;

pub use error::{Error, Result};
