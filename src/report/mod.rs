//! What a run amounts to: metrics, tables, plots, pages. Everything here only observes.
//!
//! [`metrics::Metrics`] watches a run; [`summary::Summary`] says in words and numbers what it saw;
//! [`rundir::RunDir`] is the directory a run leaves behind.

pub mod cost;
pub mod curves;
pub mod disks;
pub mod downtime;
pub mod events;
pub mod expect;
pub mod explain;
pub mod export;
mod export_control;
mod export_pod;
mod export_storage;
pub mod faults;
pub mod fits;
pub mod fragments;
pub mod gpus;
pub mod html;
pub mod logs;
pub mod measures;
pub mod metrics;
pub mod network;
pub mod nodes;
pub mod plots;
pub mod pods;
pub mod refusals;
pub mod requests;
pub mod rows;
pub mod rundir;
mod service;
pub mod slowdown;
pub mod standing;
pub mod strain;
pub mod summary;
pub mod text;
pub mod timeseries;
pub mod traffic;
pub mod work;
pub mod workloads;

#[cfg(test)]
mod tests;
