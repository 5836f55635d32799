//! What StoreAPI servers and clients share.
//!
//! Holds the series in their internal form, the trait that sidecar, store gateway, querier and
//! remote peers implement, the merge of many streams, and the gRPC edge with a codec that does not
//! go through generated types. It knows no bucket, no Prometheus and no query. Invariant: every
//! stream is sorted by final labels, external ones added and replica ones removed.
//!
//! Read `store` and `series` first, then `merge`; `encoding` documents how chunk encodings newer
//! than Thanos travel.

pub mod batch;
mod buffers;
pub mod client;
pub mod codec;
pub mod encoding;
pub mod endpoints;
pub mod external_labels;
pub mod instrumented;
pub mod limited;
pub mod merge;
pub mod series;
pub mod server;
pub mod shard;
pub mod sort;
pub mod store;

pub use client::RemoteStore;
pub use encoding::ChunkEncodings;
pub use merge::Merge;
pub use series::{Aggr, AggrChunk, Chunk, Part, Series};
pub use server::StoreService;
pub use store::{Call, Item, SeriesStream, Store};
