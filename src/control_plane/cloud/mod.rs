//! The cloud around the cluster, and those of its components that talk to it.
//!
//! [`provider`] grants and takes machines as [`config`] says; [`manager`] is
//! cloud-controller-manager; [`autoscaler`] adds and takes away nodes, in the style of the cluster
//! autoscaler or of Karpenter. They meet the provider through messages
//! ([`crate::event::cloud`]) and the cluster through its API server, like everybody.

pub mod autoscaler;
pub mod config;
pub mod manager;
pub mod provider;

pub use autoscaler::Autoscaler;
pub use config::CloudConfig;
pub use manager::CloudManager;
pub use provider::{Cloud, Deed};
