//! kube-scheduler.
//!
//! Reading order: [`framework`] (what a plugin is), [`plugins`], [`cache`] with its [`columns`],
//! [`counts`] and node [`tree`], [`profile`] (a scheduling cycle over batches of nodes),
//! [`preemption`] with the [`nominator`], [`queue`], [`cycle`] (events: cycle, bind, answers), and
//! `executor` (preemption carried out). [`evaluate`] is the same decision in the plainest way, with
//! everything kept; [`explain`] asks it about a pod of a run.

pub mod cache;
pub mod columns;
pub mod config;
pub mod counts;
pub mod cycle;
pub mod evaluate;
mod executor;
pub mod explain;
pub mod framework;
pub mod gang;
pub mod nominator;
mod places;
pub mod plugins;
pub mod policies;
pub mod preemption;
pub mod profile;
pub mod queue;
pub mod report;
pub mod requests;
pub mod statics;
pub mod ties;
pub mod timed;
pub mod tree;
pub mod volume_binder;
pub mod volumes;
pub mod watch;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_binding;
#[cfg(test)]
mod tests_hints;
#[cfg(test)]
mod tests_preemption;
#[cfg(test)]
mod volume_tests;

pub use config::SchedulerConfig;
pub use cycle::Scheduler;
