//! The Prometheus HTTP API over many StoreAPIs.
//!
//! Holds the service: arguments, the fan-out, deduplication, the bridge to the engine and the API. It
//! knows no bucket and no Prometheus. Invariant: an answer is complete, or carries a warning that names
//! what is missing, or is an error.
//!
//! Read `app` first, then `proxy`, `queryable` and `api`.

pub mod args;
pub mod config;
pub mod pool;
pub mod proxy;
pub mod series;
