//! The Prometheus API over many StoreAPIs.
