//! client-go: the one road to the API server.

pub mod limiter;
