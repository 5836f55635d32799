//! Prometheus block bytes, read and written; never a bucket.
