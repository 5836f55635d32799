//! Helpers for the tests of services (feature `testing`).
//!
//! Holds a DNS server whose answers change. It is linked by no binary. Invariant: a helper says what
//! differs and leaves it to the test to fail.

pub mod dns;
#[cfg(test)]
pub(crate) mod pki;
