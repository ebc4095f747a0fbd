//! What runs in a cluster beside its control plane: the metrics server.

pub mod metrics_server;
