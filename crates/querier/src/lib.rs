//! The Prometheus HTTP API over many StoreAPIs.
//!
//! Holds the service: arguments, the fan-out, deduplication, the bridge to the engine and the API. It
//! knows no bucket and no Prometheus. Invariant: an answer is complete, or carries a warning that names
//! what is missing, or is an error.
//!
//! Read `app` first, then `proxy`, `queryable` and `api`.

pub mod active;
pub mod api;
pub mod app;
pub mod args;
pub mod config;
pub mod fanout;
pub mod info;
pub mod metrics;
pub mod peers;
pub mod pool;
pub mod proxy;
pub mod queryable;
pub mod remote;
pub mod series;
#[cfg(test)]
mod testing;

pub use args::Args;

/// The service under its verb.
pub fn command() -> component::Command {
    component::Command::new::<Args, _, _>(
        "query",
        "Query node exposing PromQL enabled Query API with data retrieved from multiple store nodes.",
        app::run,
    )
}
