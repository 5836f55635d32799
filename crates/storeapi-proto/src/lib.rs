//! Thanos' gRPC messages and remote read's, generated from `proto/`, and lossless conversions.
//!
//! Holds wire types only: no server, no merging, no meaning. It does not know where bytes come
//! from. Invariant: a conversion to `model` and back gives the same message; what cannot be
//! converted is an error with the field's name. `cargo xtask codegen` rewrites `gen/`.

pub mod convert;

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
mod r#gen {
    pub mod thanos {
        include!("gen/thanos.rs");
        pub mod info {
            include!("gen/thanos.info.rs");
        }
    }
    pub mod hintspb {
        include!("gen/hintspb.rs");
    }
    pub mod prometheus_copy {
        include!("gen/prometheus_copy.rs");
    }
    pub mod prometheus {
        include!("gen/prometheus.rs");
    }
}

pub use r#gen::{hintspb, prometheus, prometheus_copy, thanos};
pub use thanos::info;

/// The `Any` type URL prefix of the hint messages.
pub const HINTS_TYPE_URL: &str = "type.googleapis.com/hintspb.";
