//! kube-scheduler.
//!
//! Reading order: [`framework`] (what a plugin is), [`plugins`], [`cache`] with its [`columns`],
//! [`counts`] and node [`tree`], [`profile`] (a scheduling cycle over batches of nodes), [`queue`],
//! and [`cycle`] (events: cycle, bind, answers). [`evaluate`] is the same decision in the plainest
//! way, with everything kept.

pub mod cache;
pub mod columns;
pub mod config;
pub mod config_file;
pub mod counts;
pub mod cycle;
pub mod evaluate;
pub mod framework;
pub mod plugins;
pub mod profile;
pub mod queue;
pub mod report;
pub mod requests;
pub mod statics;
pub mod ties;
pub mod tree;
pub mod volume_binder;
pub mod volumes;
pub mod watch;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod volume_tests;

pub use config::SchedulerConfig;
pub use cycle::Scheduler;
