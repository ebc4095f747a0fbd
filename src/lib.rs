//! Wavetank: a deterministic discrete-event simulator of a whole Kubernetes cluster.

pub mod engine;

pub mod api;

pub mod event;

pub mod client;

pub mod control_plane;

pub mod node;

pub mod cluster;

pub mod scenario;

pub mod session;

pub mod report;

pub mod sweep;
