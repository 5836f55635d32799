//! Prometheus' test scripts, run on the engine, and a store of series in memory.
//!
//! Holds the script language (`script`), the store that `load` fills (`memory`), the comparison of
//! answers (`compare`) and the runner with its hidden repetitions (`run`). It knows no engine beyond
//! the public interface. Invariant: a script that passes here passes in Prometheus 3.14, and the
//! other way round. Other crates use [`Memory`] and [`load`] for tests of their own. Reference:
//! Prometheus `promql/promqltest`. Read `script` first.

mod chunks;
mod compare;
pub mod folder;
mod memory;
mod nhcb;
mod repeat;
mod run;
pub mod script;

pub use compare::almost_equal;
pub use memory::{AppendError, Memory};
pub use run::{Difference, Report, Runner, load};
pub use script::Script;
