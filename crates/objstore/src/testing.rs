//! What every bucket must do, and buckets that misbehave on command.
//!
//! Holds the conformance suite ([`acceptance`]), [`FaultStore`] (a log of operations and a script of
//! faults) and [`Delayed`]. It knows no provider. Invariant: the suite leaves the bucket as it found
//! it when it passes. Reference: upstream `testing.go` for the cases every Thanos provider passes.

mod acceptance;
mod delay;
mod fault;

pub use acceptance::acceptance;
pub use delay::Delayed;
pub use fault::{Fault, FaultStore, Operation, OperationKind};
