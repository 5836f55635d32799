//! Real binaries against real peers: process control, the golden replay, demo, benches.
//!
//! Knows the services by command line and wire only, so that what is shown here holds for the
//! binaries that users run, and for Thanos' own in their place. Invariant: a process started here
//! ends with the value that holds it. Read `harness` first; the tools are the binaries in `src/bin`.

pub mod bench;
pub mod blocks;
pub mod cli;
pub mod demo;
pub mod differential;
pub mod exporter;
pub mod golden;
pub mod harness;
pub mod stall;
