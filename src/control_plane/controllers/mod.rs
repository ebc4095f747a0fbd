//! kube-controller-manager.

mod depstatus;
mod ranking;
mod rollout;
mod support;

pub mod deployment;
pub mod replicaset;
