//! The gRPC side of a service: server, clients, health.
//!
//! Holds the [`Server`] that services are added to and the [`Channel`] clients are built on. It knows
//! no service's messages. Invariant: the health service says SERVING exactly while the probe is ready.
//! Message sizes are not limited below 2 GiB, as in Thanos: give generated servers and clients
//! `.max_decoding_message_size(MAX_MESSAGE)`. Parts: `server` and `call`, `client`, `compress`,
//! `instrument`, `health`.

mod bodies;
mod call;
mod client;
mod compress;
mod frames;
mod health;
mod instrument;
mod paced;
mod server;
mod snappy;
#[cfg(test)]
mod tests;

pub use client::{BadAddress, Channel, Connector};
pub use instrument::{ClientMetrics, code_name};
pub use server::{Running, Server};

/// The largest message either side takes, as Thanos sets it: Go's `math.MaxInt32`.
pub const MAX_MESSAGE: usize = i32::MAX as usize;

/// Whether a method answers once or with a stream; the `grpc_type` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// One request, one answer.
    Unary,
    /// One request, many answers.
    ServerStream,
}

impl MethodKind {
    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            MethodKind::Unary => "unary",
            MethodKind::ServerStream => "server_stream",
        }
    }
}

/// Methods that answer with a stream, by their bare names, which are unique among Thanos' services.
const STREAMS: [&str; 9] = [
    "Series",
    "Rules",
    "Targets",
    "MetricMetadata",
    "Exemplars",
    "TSDBStatistics",
    "Query",
    "QueryRange",
    "Watch",
];

/// The kind of one of Thanos' methods, or of the health service's.
pub(crate) fn kind_of(method: &str) -> MethodKind {
    if STREAMS.contains(&method) { MethodKind::ServerStream } else { MethodKind::Unary }
}

/// A method whose metrics exist from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Full service name, such as `thanos.Store`.
    pub service: &'static str,
    /// Bare method name, such as `Series`.
    pub name: &'static str,
    /// Whether it streams.
    pub kind: MethodKind,
}

impl Method {
    /// A method that answers once.
    pub const fn unary(service: &'static str, name: &'static str) -> Self {
        Method { service, name, kind: MethodKind::Unary }
    }

    /// A method that answers with a stream.
    pub const fn stream(service: &'static str, name: &'static str) -> Self {
        Method { service, name, kind: MethodKind::ServerStream }
    }
}
