//! The control plane, one component per folder.

pub mod scheduler;
