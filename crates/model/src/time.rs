//! Time as Prometheus counts it, and its two duration grammars.
//!
//! Holds the millisecond timestamp and the parsers that flags, YAML and PromQL share. It never
//! reads a clock. Invariant: parsing refuses overflow instead of wrapping.

/// Milliseconds since the Unix epoch, or a length of time in milliseconds.
pub type Millis = i64;
