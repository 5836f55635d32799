//! From a query to pipelines: what is evaluated when, over which steps, from which selections.
//!
//! Holds the analysis of the tree ([`Analysis`]), the selections with their hints, and the compiler that
//! strings operators together. It knows no sample. Invariant: everything here is a loop over the flat
//! tree, so no expression of any shape makes it recurse. Read `analysis`, then `compile`.

mod aggregate;
mod analysis;
mod call;
mod compile;
mod explain;
mod flow;
mod info;
mod join;
mod projection;
mod select;

pub(crate) use analysis::Analysis;
pub(crate) use compile::{Program, Root, compile};
pub(crate) use explain::Outline;
pub(crate) use flow::{Flow, InfoStep, Select, Source, Staged, Step};
