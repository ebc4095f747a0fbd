//! Jobs on a schedule.

use super::Name;
use super::meta::{Meta, Stamp, Uid};
use super::workload::Job;
use crate::engine::Sym;
use std::sync::Arc;

/// A CronJob.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CronJob {
    /// Metadata.
    pub meta: Meta,
    /// `spec.schedule`, as written.
    pub schedule: Sym,
    /// `spec.timeZone`; empty for that of the controller manager, which is UTC.
    pub time_zone: Sym,
    /// `spec.concurrencyPolicy`.
    pub concurrency: Concurrency,
    /// `spec.suspend`.
    pub suspend: bool,
    /// `spec.startingDeadlineSeconds`.
    pub starting_deadline_s: Option<u32>,
    /// `spec.successfulJobsHistoryLimit`.
    pub successful_limit: u32,
    /// `spec.failedJobsHistoryLimit`.
    pub failed_limit: u32,
    /// `spec.jobTemplate`: labels, annotations and spec of the jobs.
    pub template: Arc<Job>,
    /// Status.
    pub status: CronJobStatus,
    /// The original document.
    pub doc: Option<Arc<serde_json::Value>>,
}

/// `concurrencyPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Concurrency {
    /// Jobs may overlap.
    #[default]
    Allow,
    /// A run is skipped while the one before goes on.
    Forbid,
    /// The one before is deleted.
    Replace,
}

/// Status of a CronJob.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CronJobStatus {
    /// Jobs that run.
    pub active: Vec<(Name, Uid)>,
    /// `lastScheduleTime`.
    pub last_schedule: Stamp,
    /// `lastSuccessfulTime`.
    pub last_successful: Stamp,
}
