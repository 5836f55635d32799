//! StoreAPI over a bucket.
//!
//! Holds the service: which blocks a request needs, their postings, series and chunks by ranged reads,
//! and the merge of their answers. It knows neither how blocks are discovered (`bucket` does) nor how
//! an answer is put on the wire (`storeapi` does). Invariants: no index and no chunk object is ever read
//! whole, and bytes are charged before they are fetched.
//!
//! A request's way: [`store`], then per block `postings`, `series`, `chunks`, joined in `stream`. The
//! local part of an index is `index_header`.

mod api;
pub mod app;
pub mod args;
mod block;
mod block_set;
pub mod cache;
mod chunks;
pub mod config;
mod error;
mod fetch;
mod index_header;
pub mod info;
mod limits;
mod matchers;
mod metrics;
mod partitioner;
mod pool;
mod postings;
mod request;
mod series;
mod stats;
pub mod store;
mod stream;

pub use args::Args;
pub use block::{BLOCK_ID_LABEL, Estimates};
pub use block_set::RESOLUTIONS;
pub use index_header::{FILE_NAME as INDEX_HEADER_FILE, Laziness};
pub use limits::CallLimits;
pub use postings::LazyOptions;

/// The service under its verb.
pub fn command() -> component::Command {
    component::Command::new::<Args, _, _>(
        "store",
        "Store node giving access to blocks in a bucket provider.",
        app::run,
    )
}
