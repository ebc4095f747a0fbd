//! Wavetank: a deterministic discrete-event simulator of a whole Kubernetes cluster.

pub mod api;
pub mod client;
pub mod control_plane;
pub mod engine;
pub mod event;
pub mod scenario;
