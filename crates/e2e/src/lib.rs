//! Real binaries against real peers.
