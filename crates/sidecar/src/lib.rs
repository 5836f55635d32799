//! StoreAPI over one Prometheus, and its uploads.
//!
//! Holds the service: arguments, the watch over Prometheus, the store, the reloader and the loop that
//! ships blocks. It knows no bucket layout (`bucket` does) and no wire of Prometheus (`promclient`
//! does). Invariant: nothing is served or shipped before the external labels are known.
//!
//! Read `app` first, then `store` and `heartbeat`.

pub mod app;
pub mod args;
pub mod heartbeat;
pub mod info;
pub mod reloader;
mod ship;
pub mod state;
pub mod store;

pub use args::Args;

/// The service under its verb.
pub fn command() -> component::Command {
    component::Command::new::<Args, _, _>("sidecar", "Sidecar for Prometheus server.", app::run)
}
