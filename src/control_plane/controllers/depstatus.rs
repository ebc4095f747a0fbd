//! The status of a Deployment (source: `ctl/deployment/{progress,sync}.go`).

use super::rollout::Wish;
use super::support::condition;
use crate::api::pod::{Condition, ConditionType, Conditions, Truth};
use crate::api::versions::ObjRef;
use crate::api::workload::{Deployment, DeploymentStatus, ReplicaSet};
use crate::api::{Name, Uid};
use crate::engine::{SimDuration, SimTime};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::sync::Arc;

const AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// `progressDeadlineSeconds` that means none (source: `HasProgressDeadline`).
const NO_DEADLINE: u32 = 2_147_483_647;

/// Sets a condition unless status and reason stay; says whether anything changed.
/// Source: `deployment_util.go` `SetDeploymentCondition`.
pub(super) fn set(conditions: &mut Conditions, condition: Condition) -> bool {
    let same = conditions
        .get(condition.kind)
        .is_some_and(|c| c.status == condition.status && c.reason == condition.reason);
    !same && conditions.set(condition)
}

/// Condition Progressing when the new ReplicaSet was made or found.
pub(super) fn found(made: bool, name: Name, cx: &Context<'_>) -> Condition {
    let (reason, verb) = if made {
        ("NewReplicaSetCreated", "Created new")
    } else {
        ("FoundNewReplicaSet", "Found new")
    };
    let message = format!("{verb} replica set \"{name}\"");
    condition(ConditionType::Progressing, Truth::True, reason, &message, cx)
}

/// Condition Available.
pub(super) fn available(wish: Wish, available: i32, cx: &Context<'_>) -> Condition {
    let kind = ConditionType::Available;
    if available >= wish.replicas - wish.unavailable {
        let message = "Deployment has minimum availability.";
        condition(kind, Truth::True, "MinimumReplicasAvailable", message, cx)
    } else {
        let message = "Deployment does not have minimum availability.";
        condition(kind, Truth::False, "MinimumReplicasUnavailable", message, cx)
    }
}

/// The counts, from the statuses of the `ReplicaSets`; the conditions as they are.
pub(super) fn counts<'a>(
    deployment: &Deployment,
    all: impl Iterator<Item = &'a (ObjRef, Arc<ReplicaSet>)>,
    new: Option<&(ObjRef, Arc<ReplicaSet>)>,
) -> DeploymentStatus {
    let mut status = DeploymentStatus {
        observed_generation: deployment.meta.generation,
        updated: new.map_or(0, |(_, rs)| rs.status.replicas),
        collisions: deployment.status.collisions,
        conditions: deployment.status.conditions.clone(),
        ..DeploymentStatus::default()
    };
    let mut wanted = 0;
    // Unknown as long as one of the sets has not said it.
    let mut terminating = Some(0);
    for (_, rs) in all {
        terminating = terminating.zip(rs.status.terminating).map(|(sum, n)| sum + n);
        wanted += rs.replicas;
        status.replicas += rs.status.replicas;
        status.ready += rs.status.ready;
        status.available += rs.status.available;
    }
    status.unavailable = (wanted - status.available).max(0);
    status.terminating = terminating;
    status
}

/// Source: `DeploymentComplete`.
pub(super) fn complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    status.updated == deployment.replicas
        && status.replicas == deployment.replicas
        && status.available == deployment.replicas
        && status.observed_generation >= deployment.meta.generation
}

/// Copies the condition `ReplicaFailure` of the `ReplicaSets` (the new one first).
pub(super) fn mirror_failure(
    status: &mut DeploymentStatus,
    new: Option<&(ObjRef, Arc<ReplicaSet>)>,
    old: &[(ObjRef, Arc<ReplicaSet>)],
) {
    let kind = ConditionType::ReplicaFailure;
    let failure = new.into_iter().chain(old).find_map(|(_, rs)| rs.status.conditions.get(kind));
    match failure {
        Some(failure) => {
            set(&mut status.conditions, failure);
        }
        None => status.conditions.remove(kind),
    }
}

/// When each Deployment last made progress (upstream keeps it as `lastUpdateTime` of the
/// condition).
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    last: FxHashMap<Uid, SimTime>,
}

impl Progress {
    pub(super) fn note(&mut self, uid: Uid, now: SimTime) {
        self.last.insert(uid, now);
    }

    pub(super) fn forget(&mut self, uid: Uid) {
        self.last.remove(&uid);
    }

    /// Condition Progressing of a paused (or resumed) Deployment.
    /// Source: `checkPausedConditions`.
    pub(super) fn pause(
        &mut self,
        deployment: &Deployment,
        status: &mut DeploymentStatus,
        cx: &Context<'_>,
    ) {
        let kind = ConditionType::Progressing;
        let old = status.conditions.get(kind);
        let reason = old.map_or("", |c| c.reason.as_str());
        let (kept, paused) = (reason == TIMED_OUT, reason == PAUSED);
        if !has_deadline(deployment) || kept || paused == deployment.paused {
            return;
        }
        let (reason, message) = if deployment.paused {
            (PAUSED, "Deployment is paused")
        } else {
            ("DeploymentResumed", "Deployment is resumed")
        };
        set(&mut status.conditions, condition(kind, Truth::Unknown, reason, message, cx));
        self.note(deployment.meta.uid, cx.now());
    }

    /// Condition Progressing of a rollout. Source: `syncRolloutStatus`.
    pub(super) fn judge(
        &mut self,
        deployment: &Deployment,
        new: Option<&ReplicaSet>,
        status: &mut DeploymentStatus,
        cx: &Context<'_>,
    ) {
        let kind = ConditionType::Progressing;
        if !has_deadline(deployment) {
            status.conditions.remove(kind);
            return;
        }
        // A rollout that this manager has not seen begin gets the whole span.
        self.last.entry(deployment.meta.uid).or_insert(cx.now());
        let old = deployment.status.conditions.get(kind);
        let reason = old.map_or("", |c| c.reason.as_str());
        if status.replicas == status.updated && reason == AVAILABLE {
            return;
        }
        let whose = new.map_or_else(
            || format!("Deployment \"{}\"", deployment.meta.name),
            |rs| format!("ReplicaSet \"{}\"", rs.meta.name),
        );
        if complete(deployment, status) {
            let message = format!("{whose} has successfully progressed.");
            set(&mut status.conditions, condition(kind, Truth::True, AVAILABLE, &message, cx));
            self.note(deployment.meta.uid, cx.now());
        } else if progressed(&deployment.status, status) {
            let message = format!("{whose} is progressing.");
            let new = condition(kind, Truth::True, "ReplicaSetUpdated", &message, cx);
            // The text is renewed even if the reason stays.
            status.conditions.set(new);
            self.note(deployment.meta.uid, cx.now());
        } else if old.is_some() && self.timed_out(deployment, reason, cx) {
            let message = format!("{whose} has timed out progressing.");
            set(&mut status.conditions, condition(kind, Truth::False, TIMED_OUT, &message, cx));
        }
    }

    fn timed_out(&self, deployment: &Deployment, reason: &str, cx: &Context<'_>) -> bool {
        match reason {
            AVAILABLE => false,
            TIMED_OUT => true,
            _ => self.deadline(deployment, cx) < cx.now(),
        }
    }

    fn deadline(&self, deployment: &Deployment, cx: &Context<'_>) -> SimTime {
        let last = self.last.get(&deployment.meta.uid).copied().unwrap_or(cx.now());
        last + SimDuration::from_secs(u64::from(deployment.progress_deadline_s))
    }

    /// When to look at a rollout that has not moved again.
    /// Source: `requeueStuckDeployment`.
    pub(super) fn recheck(
        &self,
        deployment: &Deployment,
        status: &DeploymentStatus,
        cx: &Context<'_>,
    ) -> Option<SimDuration> {
        let condition = status.conditions.get(ConditionType::Progressing)?;
        let over = condition.reason.as_str() == TIMED_OUT || complete(deployment, status);
        let settled = condition.reason.as_str() == AVAILABLE;
        if !has_deadline(deployment) || over || settled || deployment.paused {
            return None;
        }
        let at = self.deadline(deployment, cx).max(cx.now()) + SimDuration::from_secs(1);
        Some(at.since(cx.now()))
    }
}

fn has_deadline(deployment: &Deployment) -> bool {
    deployment.progress_deadline_s != NO_DEADLINE
}

/// Source: `DeploymentProgressing`.
fn progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let rest = |s: &DeploymentStatus| s.replicas - s.updated;
    new.updated > old.updated
        || rest(new) < rest(old)
        || new.ready > old.ready
        || new.available > old.available
}
