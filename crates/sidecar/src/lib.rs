//! StoreAPI over one Prometheus, and its uploads.
