//! Generated Thanos gRPC messages and lossless conversions, nothing else.
