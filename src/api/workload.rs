//! The workload kinds that controllers act on.

use super::labels::{LabelSet, Selector};
use super::meta::{Annotations, Meta, Stamp, Uid};
use super::pod::{Conditions, PodSpec};
use crate::engine::Sym;
use std::sync::Arc;

/// `IntOrString`: a count or a percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntOrPercent {
    /// A count.
    Int(i32),
    /// Per cent of another number.
    Percent(i32),
}

impl IntOrPercent {
    /// The count, with a percentage of `total` rounded up or down.
    /// Source: apimachinery `util/intstr/intstr.go` `GetScaledValueFromIntOrPercent`.
    #[must_use]
    pub fn of(self, total: i32, round_up: bool) -> i32 {
        match self {
            Self::Int(n) => n,
            Self::Percent(p) => {
                let product = i64::from(p) * i64::from(total);
                let scaled =
                    if round_up { (product + 99).div_euclid(100) } else { product.div_euclid(100) };
                i32::try_from(scaled).unwrap_or(i32::MAX)
            }
        }
    }
}

/// A pod template: what every pod made from it shares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodTemplate {
    /// Labels of the pods.
    pub labels: LabelSet,
    /// Annotations of the pods.
    pub annotations: Annotations,
    /// Spec of the pods.
    pub spec: Arc<PodSpec>,
}

/// A Deployment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Deployment {
    /// Metadata.
    pub meta: Meta,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.selector`.
    pub selector: Selector,
    /// `spec.template`.
    pub template: Arc<PodTemplate>,
    /// Strategy.
    pub strategy: Strategy,
    /// `minReadySeconds`.
    pub min_ready_s: u32,
    /// `revisionHistoryLimit`.
    pub history_limit: i32,
    /// `progressDeadlineSeconds`.
    pub progress_deadline_s: u32,
    /// `paused`.
    pub paused: bool,
    /// Status.
    pub status: DeploymentStatus,
    /// The original document.
    pub doc: Option<Arc<serde_json::Value>>,
}

/// Deployment strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// All old pods end before new ones are made.
    Recreate,
    /// Old pods are replaced by and by.
    RollingUpdate {
        /// Pods above the desired number; a percentage rounds up.
        max_surge: IntOrPercent,
        /// Pods below the desired number; a percentage rounds down.
        max_unavailable: IntOrPercent,
    },
}

impl Default for Strategy {
    fn default() -> Self {
        Self::RollingUpdate {
            max_surge: IntOrPercent::Percent(25),
            max_unavailable: IntOrPercent::Percent(25),
        }
    }
}

/// Deployment status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeploymentStatus {
    /// `observedGeneration`.
    pub observed_generation: u32,
    /// Pods of all `ReplicaSets`.
    pub replicas: i32,
    /// Pods of the new ReplicaSet.
    pub updated: i32,
    /// Ready pods.
    pub ready: i32,
    /// Available pods.
    pub available: i32,
    /// Unavailable pods.
    pub unavailable: i32,
    /// `collisionCount`.
    pub collisions: u32,
    /// Conditions.
    pub conditions: Conditions,
}

/// A ReplicaSet (a `ReplicationController` is the same thing under another name).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReplicaSet {
    /// Metadata.
    pub meta: Meta,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `minReadySeconds`.
    pub min_ready_s: u32,
    /// `spec.selector`.
    pub selector: Selector,
    /// `spec.template`.
    pub template: Arc<PodTemplate>,
    /// Status.
    pub status: ReplicaSetStatus,
    /// The original document, if it came from a file.
    pub doc: Option<Arc<serde_json::Value>>,
}

/// ReplicaSet status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaSetStatus {
    /// `observedGeneration`.
    pub observed_generation: u32,
    /// Pods.
    pub replicas: i32,
    /// Pods that carry all labels of the template.
    pub fully_labeled: i32,
    /// Ready pods.
    pub ready: i32,
    /// Available pods.
    pub available: i32,
    /// Conditions.
    pub conditions: Conditions,
}

/// A Job.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Job {
    /// Metadata.
    pub meta: Meta,
    /// `parallelism`.
    pub parallelism: i32,
    /// `completions`; none for a work queue.
    pub completions: Option<i32>,
    /// `backoffLimit`.
    pub backoff_limit: i32,
    /// `activeDeadlineSeconds`.
    pub active_deadline_s: Option<u32>,
    /// `ttlSecondsAfterFinished`.
    pub ttl_s: Option<u32>,
    /// `suspend`.
    pub suspend: bool,
    /// `completionMode: Indexed`.
    pub indexed: bool,
    /// Selector (made by the server).
    pub selector: Selector,
    /// Template.
    pub template: Arc<PodTemplate>,
    /// Status.
    pub status: JobStatus,
    /// The original document.
    pub doc: Option<Arc<serde_json::Value>>,
}

/// Job status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobStatus {
    /// Pods that are neither ended nor being deleted.
    pub active: i32,
    /// Ready pods.
    pub ready: i32,
    /// Pods that are being deleted and have not ended.
    pub terminating: i32,
    /// Pods that succeeded.
    pub succeeded: i32,
    /// Pods that failed.
    pub failed: i32,
    /// When the controller first saw it.
    pub start: Stamp,
    /// When it completed.
    pub completion: Stamp,
    /// `uncountedTerminatedPods.succeeded`: ended pods whose finalizer is still to be removed.
    pub uncounted_succeeded: Vec<Uid>,
    /// `uncountedTerminatedPods.failed`.
    pub uncounted_failed: Vec<Uid>,
    /// Conditions.
    pub conditions: Conditions,
}

/// A StatefulSet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StatefulSet {
    /// Metadata.
    pub meta: Meta,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `serviceName`.
    pub service: Sym,
    /// `podManagementPolicy: Parallel`.
    pub parallel: bool,
    /// `updateStrategy: OnDelete`.
    pub on_delete: bool,
    /// `rollingUpdate.partition`.
    pub partition: i32,
    /// `ordinals.start`.
    pub ordinals_start: i32,
    /// `minReadySeconds`.
    pub min_ready_s: u32,
    /// Selector.
    pub selector: Selector,
    /// Template.
    pub template: Arc<PodTemplate>,
    /// Status.
    pub status: StatefulSetStatus,
    /// The original document.
    pub doc: Option<Arc<serde_json::Value>>,
}

/// StatefulSet status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatefulSetStatus {
    /// `observedGeneration`.
    pub observed_generation: u32,
    /// Pods.
    pub replicas: i32,
    /// Ready pods.
    pub ready: i32,
    /// Available pods.
    pub available: i32,
    /// Pods of the current revision.
    pub current: i32,
    /// Pods of the update revision.
    pub updated: i32,
    /// `currentRevision`.
    pub current_revision: Sym,
    /// `updateRevision`.
    pub update_revision: Sym,
}

/// A DaemonSet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DaemonSet {
    /// Metadata.
    pub meta: Meta,
    /// Selector.
    pub selector: Selector,
    /// Template.
    pub template: Arc<PodTemplate>,
    /// `updateStrategy: OnDelete`.
    pub on_delete: bool,
    /// `maxUnavailable` (a percentage rounds up).
    pub max_unavailable: Option<IntOrPercent>,
    /// `minReadySeconds`.
    pub min_ready_s: u32,
    /// Status.
    pub status: DaemonSetStatus,
    /// The original document.
    pub doc: Option<Arc<serde_json::Value>>,
}

/// DaemonSet status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DaemonSetStatus {
    /// `observedGeneration`.
    pub observed_generation: u32,
    /// Nodes that should run a pod.
    pub desired: i32,
    /// Nodes that should and do.
    pub current: i32,
    /// Nodes that should not but do.
    pub misscheduled: i32,
    /// Ready pods.
    pub ready: i32,
    /// Available pods.
    pub available: i32,
    /// Pods of the newest template.
    pub updated: i32,
    /// Nodes that should have an available pod and have none.
    pub unavailable: i32,
}

/// A PriorityClass.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PriorityClass {
    /// Metadata.
    pub meta: Meta,
    /// `value`.
    pub value: i32,
    /// `globalDefault`.
    pub global_default: bool,
    /// `preemptionPolicy: Never`.
    pub never_preempts: bool,
    /// The original document.
    pub doc: Option<Arc<serde_json::Value>>,
}

/// A Namespace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Namespace {
    /// Metadata.
    pub meta: Meta,
    /// `status.phase: Terminating`.
    pub terminating: bool,
    /// The original document.
    pub doc: Option<Arc<serde_json::Value>>,
}

/// Any other object: metadata and the document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Generic {
    /// Metadata.
    pub meta: Meta,
    /// The whole document as given (apiVersion, kind, spec and so on).
    pub doc: Arc<serde_json::Value>,
}
