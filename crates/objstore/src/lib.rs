//! Object storage behind one narrow trait.
//!
//! Holds the [`Bucket`] trait, its providers, the wrappers that carry policy (metrics, traces, retries,
//! a prefix) and Thanos' YAML. It knows no block and no label. Invariant: a listing, a range past the
//! end and a missing key mean the same for every provider; `testing` proves it. Start with `bucket`.

pub mod bucket;
pub mod config;
pub mod error;
pub mod filesystem;
pub mod instrumented;
pub mod memory;
pub mod prefixed;
pub mod retry;
#[cfg(feature = "s3")]
mod s3;
pub mod testing;
pub mod traced;

pub use bucket::{
    Attributes, Bucket, BucketExt, Entry, EntryStream, ListOptions, ObjectStream, SharedBucket, UploadBody,
};
pub use error::{Error, ErrorKind, Result};
