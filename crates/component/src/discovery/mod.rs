//! Where peers are: names resolved again and again, files of targets, the endpoint configuration.
//!
//! Holds Thanos' address prefixes (`dns+`, `dnssrv+`, `dnssrvnoa+`, `dnsdualstack+`) behind a
//! [`Provider`], file service discovery ([`files`]) and `--endpoint.sd-config` ([`endpoints`]). It
//! opens no connection and knows no protocol of those found. Invariant: a failure never shrinks what
//! is known: the last good answer of a name or a file stays until there is a better one. Read
//! `provider` first, then `resolver`.
//!
//! A service makes one provider per metric prefix, asks it to resolve on a fixed period, and reads
//! addresses whenever it updates its set of peers; plain `host:port` entries pass through:
//!
//! ```no_run
//! # async fn example(env: component::Env) -> anyhow::Result<()> {
//! use std::time::Duration;
//! use component::discovery::{Kind, Provider};
//!
//! let every = Duration::from_secs(30); // --store.sd-dns-interval
//! let kind = Kind::from_flag("miekgdns"); // --store.sd-dns-resolver
//! let provider = Provider::new(&env.registry, "thanos_query_endpoints", kind)?;
//! let configured = vec!["dns+stores.example:10901".to_owned(), "10.0.0.7:10901".to_owned()];
//! component::run::spawn(&env.shutdown, "dns", {
//!     let (shutdown, clock, provider) = (env.shutdown.clone(), env.clock.clone(), provider.clone());
//!     async move {
//!         loop {
//!             // Bounded by the period; failures are counted, and old answers stay.
//!             if let Err(err) = provider.resolve(&configured, every).await {
//!                 tracing::error!(%err, "failed to resolve addresses for endpoints");
//!             }
//!             if shutdown.or_stop(clock.sleep(every)).await.is_none() {
//!                 return Ok(());
//!             }
//!         }
//!     }
//! });
//! // In the loop that updates the set of peers:
//! let _addresses: Vec<String> = provider.addresses(); // ["10.0.0.7:10901", "10.1.2.3:10901", …]
//! # Ok(()) }
//! ```

pub mod endpoints;
pub mod files;
mod provider;
mod resolver;
#[cfg(test)]
mod tests;

pub use endpoints::Target;
pub use provider::{Provider, ResolveErrors, is_dynamic};
pub use resolver::{Kind, LookupError, Resolve, Srv, SystemResolver};
