//! Blocks in a bucket.

pub mod shipper;
pub mod upload;
