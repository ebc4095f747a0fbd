//! What a run amounts to: metrics, tables, plots, pages. Everything here only observes.
//!
//! [`metrics::Metrics`] watches a run; [`summary::Summary`] says in words and numbers what it saw;
//! [`rundir::RunDir`] is the directory a run leaves behind.

pub mod events;
pub mod faults;
pub mod metrics;
pub mod nodes;
pub mod pods;
pub mod requests;
pub mod rows;
pub mod timeseries;
pub mod workloads;
