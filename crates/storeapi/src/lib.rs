//! What StoreAPI servers and clients share.
