//! The one integration binary: one module per subject.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod calibration;
mod capacity;
mod causes;
mod cli;
mod cloud;
mod controllers;
mod controlplane;
mod determinism;
mod dumps;
mod explain;
mod golden;
mod golden_objects;
mod golden_read;
mod heartbeats;
mod kubelet;
mod logs;
mod manifests;
mod often_wrong;
mod outages;
mod partitions;
mod plain;
mod plugin;
mod policies;
mod probes;
mod real;
mod refusals;
mod same_decision;
mod scenarios;
mod scheduler_config;
mod stats;
mod storms;
mod stress;
mod support;
mod sweeps;
mod tidy;
mod timelines;
mod traces;
mod traffic;

mod volumes;
mod watches;
mod waves;
mod whatif;
mod work;
