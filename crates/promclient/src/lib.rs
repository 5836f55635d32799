//! A client of the Prometheus HTTP API.
