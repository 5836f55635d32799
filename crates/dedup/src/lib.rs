//! Replica deduplication.
