//! The gRPC side of a service: server, clients, health.
//!
//! Holds the [`Server`] that services are added to and the [`Channel`] clients are built on. It knows
//! no service's messages. Invariant: the health service says SERVING exactly while the probe is ready.
//! Message sizes are not limited below 2 GiB, as in Thanos: give generated servers and clients
//! `.max_decoding_message_size(MAX_MESSAGE)`. Parts: `server`, `client`, `health`, `layer`.

mod client;
mod health;
mod server;
#[cfg(test)]
mod tests;

pub use client::{Channel, Connector};
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
