//! Processes of real programs: started on free ports, watched, stopped.
//!
//! `process` holds one child and its log; `services` knows the command lines of Thanos' services and
//! of Prometheus; `http` asks them things. Invariant: whatever is started here is killed, by its own
//! process id, when the value that holds it is dropped; what a process wrote is in every error.

mod http;
mod process;
mod programs;
mod services;

pub use http::{Client, wait};
pub use process::{Process, free_port};
pub use programs::{build, not_run, outside, program};
pub use services::{Fleet, Service, filesystem, labels_of, s3};
