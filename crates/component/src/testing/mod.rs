//! Helpers for the tests of services (feature `testing`).
//!
//! Holds comparisons with Thanos' flags and metrics ([`parity`]), services as processes
//! ([`service`]) and a DNS server whose answers change ([`dns`]). It is linked by no binary. Invariant: a helper says what differs and leaves it to
//! the test to fail.

pub mod dns;
pub mod parity;
#[cfg(test)]
pub(crate) mod pki;
pub mod service;
