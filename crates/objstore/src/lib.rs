//! The Bucket trait, its providers and wrappers; knows no blocks.
