//! A client of the Prometheus HTTP API.
//!
//! Holds what a sidecar asks of its Prometheus: status, series, labels and remote read, over one
//! configured HTTP client. It knows no StoreAPI and no block. Invariant: whatever Prometheus sends is
//! bounded before it is kept, and chunk bytes are slices of what was received.
//!
//! Read `client` first, then `remote_read`; `config` is the YAML of `--prometheus.http-client`.

pub mod client;
pub mod config;
pub mod error;
mod metrics_text;
pub mod query;
pub mod remote_read;
pub mod series;
pub mod status;

pub use client::Client;
pub use config::HttpClientConfig;
pub use error::Error;
