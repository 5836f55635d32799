//! StoreAPI over a bucket.
