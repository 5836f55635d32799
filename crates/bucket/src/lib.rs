//! Blocks in a bucket: finding them, marking them, sending them.
//!
//! Holds discovery ([`fetcher`], [`filter`], [`marker`]), [`upload`] and the [`shipper`] that calls it. It
//! knows no query and reads no chunk. Invariant: `meta.json` goes up last, so no half block is ever
//! visible. Start with `fetcher`.

pub mod fetcher;
pub mod filter;
mod local;
pub mod marker;
pub mod shipper;
mod small;
pub mod upload;
