//! The store over a Prometheus made of recorded frames: damage, order, backpressure.
