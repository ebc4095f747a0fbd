//! The workload kinds that controllers act on.

use super::labels::{LabelSet, Selector};
use super::meta::{Annotations, Meta, Stamp, Uid};
use super::object::Obj;
use super::pod::{ConditionType, Conditions, PodSpec, Truth};
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
    /// `terminatingReplicas`; none before 1.35.
    pub terminating: Option<i32>,
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
    /// `terminatingReplicas`: pods that are to go and have not ended; none before 1.35.
    pub terminating: Option<i32>,
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
    /// `backoffLimitPerIndex`.
    pub backoff_per_index: Option<i32>,
    /// `maxFailedIndexes`.
    pub max_failed_indexes: Option<i32>,
    /// `podFailurePolicy.rules`; none if there is no policy.
    pub failure_policy: Option<Arc<[FailureRule]>>,
    /// `successPolicy.rules`.
    pub success_policy: Arc<[SuccessRule]>,
    /// `podReplacementPolicy: Failed`: a pod is replaced once it has ended.
    pub replace_failed_only: bool,
    /// Selector (made by the server).
    pub selector: Selector,
    /// Template.
    pub template: Arc<PodTemplate>,
    /// Status.
    pub status: JobStatus,
    /// The original document.
    pub doc: Option<Arc<serde_json::Value>>,
}

impl Job {
    /// What the API server gives a new job: a selector by the job's identity, and the labels of the
    /// pods that go with it. Source: `registry/batch/job/strategy.go` `generateSelector`.
    pub fn generate_selector(&mut self) {
        if !self.selector.is_empty() {
            return;
        }
        let uid = Sym::new(&self.meta.uid.to_string());
        let name = self.meta.name.sym();
        let prefixed = Sym::new("batch.kubernetes.io/controller-uid");
        let labels = [
            (prefixed, uid),
            (Sym::new("batch.kubernetes.io/job-name"), name),
            (Sym::new("controller-uid"), uid),
            (Sym::new("job-name"), name),
        ];
        let given = self.template.labels.pairs().iter().copied();
        let template = Arc::make_mut(&mut self.template);
        template.labels = LabelSet::new(given.chain(labels));
        self.selector = Selector::of_labels([(prefixed, uid)]);
    }
}

/// A rule of `podFailurePolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureRule {
    /// What follows.
    pub action: FailureAction,
    /// `onExitCodes`: container (empty: any), true for `In`, and the codes.
    pub exit_codes: Option<(Sym, bool, Arc<[i32]>)>,
    /// `onPodConditions`: type and status.
    pub conditions: Arc<[(ConditionType, Truth)]>,
}

/// What a rule of `podFailurePolicy` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureAction {
    /// The job fails.
    FailJob,
    /// The index fails.
    FailIndex,
    /// The failure is not counted.
    Ignore,
    /// The failure is counted, as without a rule.
    Count,
}

/// A rule of `successPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuccessRule {
    /// `succeededIndexes`; none for all.
    pub indexes: Option<Indexes>,
    /// `succeededCount`; none for all of the indexes.
    pub count: Option<i32>,
}

/// A set of completion indexes, as ranges in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Indexes(pub Vec<(i32, i32)>);

impl Indexes {
    /// Reads `0-2,5`; what is no index is left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut out = Self::default();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse::<i32>()) {
                out.insert_range(first, last);
            }
        }
        out
    }

    /// Adds an index.
    pub fn insert(&mut self, index: i32) {
        self.insert_range(index, index);
    }

    fn insert_range(&mut self, first: i32, last: i32) {
        let mut merged = (first, last);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for &(a, b) in &self.0 {
            if b.saturating_add(1) < merged.0 {
                before.push((a, b));
            } else if merged.1.saturating_add(1) < a {
                after.push((a, b));
            } else {
                merged = (merged.0.min(a), merged.1.max(b));
            }
        }
        before.push(merged);
        before.extend(after);
        self.0 = before;
    }

    /// Whether an index is in the set.
    #[must_use]
    pub fn contains(&self, index: i32) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(at).is_some_and(|(first, _)| *first <= index)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> i32 {
        self.0.iter().map(|(a, b)| b - a + 1).sum()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The indexes below a bound.
    pub fn iter(&self) -> impl Iterator<Item = i32> {
        self.0.iter().flat_map(|(a, b)| *a..=*b)
    }
}

impl std::fmt::Display for Indexes {
    /// As `completedIndexes` prints them: `0-2,5`; two in a row are `0,1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
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
    /// `completedIndexes`.
    pub completed_indexes: Indexes,
    /// `failedIndexes`.
    pub failed_indexes: Indexes,
    /// Conditions.
    pub conditions: Conditions,
}

/// A StatefulSet.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the API with two values")]
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
    /// `volumeClaimTemplates`.
    pub claims: Arc<[Obj]>,
    /// `persistentVolumeClaimRetentionPolicy.whenDeleted: Delete`.
    pub claims_go_with_set: bool,
    /// `persistentVolumeClaimRetentionPolicy.whenScaled: Delete`.
    pub claims_go_with_pod: bool,
    /// `revisionHistoryLimit`.
    pub history_limit: i32,
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
    /// `collisionCount`.
    pub collisions: u32,
}

/// A `ControllerRevision`: a template that a StatefulSet or DaemonSet has had.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ControllerRevision {
    /// Metadata.
    pub meta: Meta,
    /// `revision`.
    pub revision: i64,
    /// The template (`data` holds it as a patch).
    pub template: Arc<PodTemplate>,
    /// The original document, if it came from a file.
    pub doc: Option<Arc<serde_json::Value>>,
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
    /// `maxSurge` (a percentage rounds up); none for 0.
    pub max_surge: Option<IntOrPercent>,
    /// `revisionHistoryLimit`.
    pub history_limit: i32,
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
    /// `collisionCount`.
    pub collisions: u32,
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
    /// `spec.finalizers` is empty: it has been emptied.
    pub finalized: bool,
    /// Conditions of a namespace that is being emptied.
    pub conditions: Conditions,
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
