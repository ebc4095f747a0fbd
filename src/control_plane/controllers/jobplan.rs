//! The rules of Jobs apart from any API: which pods count as what, failure and success policies,
//! indexes (source: `ctl/job/`: `job_controller.go`, `pod_failure_policy.go`, `success_policy.go`,
//! `indexed_job_utils.go`).

use super::support::pods_of;
use crate::api::pod::{Condition, ConditionType, ContainerState, Phase, Truth};
use crate::api::versions::ObjRef;
use crate::api::workload::{FailureAction, FailureRule, Indexes, Job};
use crate::api::{Pod, Uid};
use crate::client::Cache;
use crate::engine::{SimDuration, SimTime};
use crate::event::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The annotation and label of a pod's completion index.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The annotation that counts the failures of the index before this pod.
pub(super) const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const BACKOFF: SimDuration = SimDuration::from_secs(10);
const MAX_BACKOFF: SimDuration = SimDuration::from_secs(600);

/// The wait after so many failures in a row. Source: `getRemainingTimeForFailuresCount`.
pub(super) fn backoff(failures: u32) -> SimDuration {
    match failures.checked_sub(1) {
        None => SimDuration::ZERO,
        Some(n) => BACKOFF.times(1 << n.min(10)).min(MAX_BACKOFF),
    }
}

/// A pod and its place.
pub(super) type Placed = (ObjRef, Arc<Pod>);

/// Pods of a job, sorted by what they mean to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Pods {
    pub(super) active: Vec<Placed>,
    /// Ended well, and not counted yet.
    pub(super) succeeded: Vec<Placed>,
    /// Failed (or on their way out), and not counted yet.
    pub(super) failed: Vec<Placed>,
    /// Being deleted, and not ended yet.
    pub(super) leaving: Vec<Placed>,
    pub(super) ready: i32,
}

impl Pods {
    /// Source: `getValidPodsWithFilter`, `isPodFailed`.
    pub(super) fn of(job: &Job, tracking: &str, caches: &Cache, cx: &Context<'_>) -> Self {
        let mut pods = Self::default();
        for (object, pod) in pods_of(job.meta.uid, caches, cx) {
            let tracked = pod.meta.has_finalizer(tracking);
            let leaving = pod.meta.terminating() && !pod.terminal();
            if leaving {
                pods.leaving.push((object, Arc::clone(&pod)));
            }
            if pod.active() {
                pods.ready += i32::from(pod.ready());
                pods.active.push((object, pod));
            } else if !tracked || leaving && only_ended(job) {
                continue;
            } else if pod.status.phase == Phase::Succeeded {
                pods.succeeded.push((object, pod));
            } else {
                pods.failed.push((object, pod));
            }
        }
        pods
    }
}

/// Whether only pods that have ended are failed, and are replaced.
/// Source: `onlyReplaceFailedPods`.
pub(super) fn only_ended(job: &Job) -> bool {
    job.replace_failed_only || job.failure_policy.is_some()
}

/// The condition that ended the job, if it has ended.
pub(super) fn finished(job: &Job) -> Option<Condition> {
    let holds = |kind| job.status.conditions.get(kind).filter(|c| c.status == Truth::True);
    holds(ConditionType::Complete).or_else(|| holds(ConditionType::Failed))
}

/// A pod's completion index, if it has one that the job has.
pub(super) fn index_of(job: &Job, pod: &Pod) -> Option<i32> {
    let index: i32 = pod.meta.annotation(INDEX)?.parse().ok()?;
    (0..job.completions.unwrap_or(0)).contains(&index).then_some(index)
}

/// What a failed pod means to its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// It counts towards the limits.
    pub(super) counts: bool,
    /// The job fails, and why.
    pub(super) fails_job: Option<String>,
    /// Its index fails.
    pub(super) fails_index: bool,
}

/// Source: `matchPodFailurePolicy`: the first rule that matches decides; without a match the
/// failure counts.
pub(super) fn judge(job: &Job, pod: &Pod) -> Verdict {
    let mut verdict = Verdict { counts: true, fails_job: None, fails_index: false };
    let rules = job.failure_policy.iter().flat_map(|rules| rules.iter()).enumerate();
    let matched =
        rules.filter(|(_, rule)| pod.status.phase == Phase::Failed || rule.exit_codes.is_none());
    for (i, rule) in matched {
        let Some(why) = matches(rule, pod) else { continue };
        match rule.action {
            FailureAction::Ignore => verdict.counts = false,
            FailureAction::Count => {}
            FailureAction::FailIndex => verdict.fails_index = true,
            FailureAction::FailJob => {
                verdict.fails_job = Some(format!("{why} matching FailJob rule at index {i}"));
            }
        }
        break;
    }
    if let (Some(limit), Some(_)) = (job.backoff_per_index, index_of(job, pod)) {
        verdict.fails_index |= verdict.counts && index_failures(pod) >= limit;
    }
    verdict
}

/// How often the pod's index had failed before it.
pub(super) fn index_failures(pod: &Pod) -> i32 {
    pod.meta.annotation(INDEX_FAILURES).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Why a rule matches a pod, if it does.
fn matches(rule: &FailureRule, pod: &Pod) -> Option<String> {
    let (ns, name) = (pod.meta.ns, pod.meta.name);
    if let Some((only, within, codes)) = &rule.exit_codes {
        let all = pod.status.init_containers.iter().chain(pod.status.containers.iter());
        for c in all.filter(|c| only.is_empty() || c.name == *only) {
            let ContainerState::Terminated { exit_code, .. } = c.state else { continue };
            if exit_code != 0 && codes.contains(&exit_code) == *within {
                let container = c.name;
                let text = format!(
                    "Container {container} for pod {ns}/{name} failed with exit code {exit_code}"
                );
                return Some(text);
            }
        }
    }
    let holds = rule
        .conditions
        .iter()
        .find(|(kind, status)| pod.status.condition(*kind).is_some_and(|c| c.status == *status));
    holds.map(|(kind, _)| format!("Pod {ns}/{name} has condition {}", kind.as_str()))
}

/// The rule of the success policy that holds, if one does. Source: `matchSuccessPolicy`.
pub(super) fn success(job: &Job, completed: &Indexes) -> Option<usize> {
    job.success_policy.iter().position(|rule| match (&rule.indexes, rule.count) {
        (None, count) => count.is_some_and(|n| completed.len() >= n),
        (Some(wanted), count) => {
            let n = wanted.iter().filter(|i| completed.contains(*i)).count();
            let n = crate::engine::num::i32_of(n);
            n >= count.unwrap_or(wanted.len())
        }
    })
}

/// The lowest indexes that have neither a pod nor an end, so many at most.
/// Source: `firstPendingIndexes`.
pub(super) fn pending(job: &Job, pods: &Pods, ended: (&Indexes, &Indexes), n: usize) -> Vec<i32> {
    let mut taken: BTreeSet<i32> =
        pods.active.iter().filter_map(|(_, pod)| index_of(job, pod)).collect();
    if only_ended(job) {
        taken.extend(pods.leaving.iter().filter_map(|(_, pod)| index_of(job, pod)));
    }
    (0..job.completions.unwrap_or(0))
        .filter(|i| !taken.contains(i) && !ended.0.contains(*i) && !ended.1.contains(*i))
        .take(n)
        .collect()
}

/// Active pods of an indexed job that must go: those whose index is done with, or has another pod.
/// Source: `appendDuplicatedIndexPodsForRemoval`.
pub(super) fn superfluous(job: &Job, pods: &[Placed], ended: (&Indexes, &Indexes)) -> Vec<Uid> {
    let mut seen: BTreeMap<i32, bool> = BTreeMap::new();
    let mut victims = Vec::new();
    for (_, pod) in pods {
        let index = index_of(job, pod);
        let fresh = |i: i32| seen.insert(i, true).is_none();
        let keep = index.is_some_and(|i| !ended.0.contains(i) && !ended.1.contains(i))
            && index.is_some_and(fresh);
        if !keep {
            victims.push(pod.meta.uid);
        }
    }
    victims
}

/// When a pod ended: its last container's end, or now.
pub(super) fn end_of(pod: &Pod, cx: &Context<'_>) -> SimTime {
    let ends = pod.status.containers.iter().filter_map(|c| match c.state {
        ContainerState::Terminated { finished, .. } => Some(finished),
        ContainerState::Waiting { .. } | ContainerState::Running { .. } => None,
    });
    ends.max().map_or(cx.now(), |stamp| cx.time_of(stamp))
}
