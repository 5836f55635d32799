//! What every service needs once: flags, HTTP, gRPC, probes, logs, metrics, budget.
