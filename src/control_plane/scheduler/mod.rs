//! kube-scheduler.

pub mod cache;
pub mod columns;
pub mod config;
pub mod config_file;
pub mod counts;
pub mod evaluate;
pub mod framework;
pub mod plugins;
pub mod profile;
pub mod report;
pub mod requests;
pub mod statics;
pub mod ties;
pub mod tree;
