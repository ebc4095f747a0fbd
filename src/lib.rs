//! Wavetank: a deterministic discrete-event simulator of a whole Kubernetes cluster.

pub mod api;
pub mod engine;
pub mod event;
pub mod report;
pub mod scenario;
