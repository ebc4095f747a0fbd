//! Workload kinds to the compact form.

use super::convert::{
    condition_type, conditions, int_or_percent, meta, nat, selector, stamp, sym, truth,
};
use super::convert_pod::template;
use super::path::{At, Problems, Seg};
use super::readers::Found;
use crate::api::workload::{
    ControllerRevision, DaemonSet, DaemonSetStatus, Deployment, DeploymentStatus, FailureAction,
    FailureRule, Indexes, IntOrPercent, Job, JobStatus, ReplicaSet, ReplicaSetStatus, StatefulSet,
    StatefulSetStatus, Strategy, SuccessRule,
};
use crate::api::{Kind, Obj, Selector};
use crate::engine::Sym;
use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch, core::v1 as core};
use serde_json::Value;
use std::sync::Arc;

/// The status of a ReplicaSet or `ReplicationController`: two types with the same fields.
macro_rules! replica_status {
    ($s:expr) => {
        ReplicaSetStatus {
            observed_generation: nat($s.observed_generation.unwrap_or(0)),
            replicas: $s.replicas,
            fully_labeled: $s.fully_labeled_replicas.unwrap_or(0),
            ready: $s.ready_replicas.unwrap_or(0),
            available: $s.available_replicas.unwrap_or(0),
            terminating: None,
            conditions: conditions!(&$s.conditions),
        }
    };
}

/// Where a workload's template stands in its document.
fn template_doc(doc: &Value) -> Option<&Value> {
    doc.get("spec")?.get("template")
}

/// A Deployment.
pub(crate) fn deployment(d: &apps::Deployment, doc: &Value, problems: &mut Problems) -> Deployment {
    let spec = d.spec.clone().unwrap_or_default();
    let at = At::ROOT.key("spec");
    Deployment {
        meta: meta(true, &d.metadata),
        replicas: spec.replicas.unwrap_or(1),
        selector: selector(&spec.selector),
        template: template(&spec.template, template_doc(doc), &at.key("template"), problems),
        strategy: strategy(spec.strategy.as_ref()),
        min_ready_s: nat(spec.min_ready_seconds.unwrap_or(0)),
        history_limit: spec.revision_history_limit.unwrap_or(10),
        progress_deadline_s: nat(spec.progress_deadline_seconds.unwrap_or(600)),
        paused: spec.paused.unwrap_or(false),
        status: d.status.as_ref().map(deployment_status).unwrap_or_default(),
        doc: Some(Arc::new(doc.clone())),
    }
}

fn strategy(s: Option<&apps::DeploymentStrategy>) -> Strategy {
    if s.and_then(|s| s.type_.as_deref()) == Some("Recreate") {
        return Strategy::Recreate;
    }
    let rolling = s.and_then(|s| s.rolling_update.as_ref());
    let quarter = IntOrPercent::Percent(25);
    Strategy::RollingUpdate {
        max_surge: rolling.and_then(|r| r.max_surge.as_ref()).map_or(quarter, int_or_percent),
        max_unavailable: rolling
            .and_then(|r| r.max_unavailable.as_ref())
            .map_or(quarter, int_or_percent),
    }
}

fn deployment_status(s: &apps::DeploymentStatus) -> DeploymentStatus {
    DeploymentStatus {
        observed_generation: nat(s.observed_generation.unwrap_or(0)),
        replicas: s.replicas.unwrap_or(0),
        updated: s.updated_replicas.unwrap_or(0),
        ready: s.ready_replicas.unwrap_or(0),
        available: s.available_replicas.unwrap_or(0),
        terminating: None,
        unavailable: s.unavailable_replicas.unwrap_or(0),
        collisions: nat(s.collision_count.unwrap_or(0)),
        conditions: conditions!(&s.conditions),
    }
}

/// A ReplicaSet.
pub(crate) fn replica_set(
    r: &apps::ReplicaSet,
    doc: &Value,
    problems: &mut Problems,
) -> ReplicaSet {
    let spec = r.spec.clone().unwrap_or_default();
    let at = At::ROOT.key("spec");
    let pods = spec.template.unwrap_or_default();
    ReplicaSet {
        meta: meta(true, &r.metadata),
        replicas: spec.replicas.unwrap_or(1),
        min_ready_s: nat(spec.min_ready_seconds.unwrap_or(0)),
        selector: selector(&spec.selector),
        template: template(&pods, template_doc(doc), &at.key("template"), problems),
        status: r.status.as_ref().map(|s| replica_status!(s)).unwrap_or_default(),
        doc: Some(Arc::new(doc.clone())),
    }
}

/// A StatefulSet.
pub(crate) fn stateful_set(s: &apps::StatefulSet, doc: &Value, found: &mut Found) -> StatefulSet {
    let spec = s.spec.clone().unwrap_or_default();
    let at = At::ROOT.key("spec");
    let retention = spec.persistent_volume_claim_retention_policy.as_ref();
    let update = spec.update_strategy.as_ref();
    let rolling = update.and_then(|u| u.rolling_update.as_ref());
    StatefulSet {
        meta: meta(true, &s.metadata),
        replicas: spec.replicas.unwrap_or(1),
        service: sym(spec.service_name.as_ref()),
        claims: claims(doc, found),
        claims_go_with_set: retention.and_then(|r| r.when_deleted.as_deref()) == Some("Delete"),
        claims_go_with_pod: retention.and_then(|r| r.when_scaled.as_deref()) == Some("Delete"),
        history_limit: spec.revision_history_limit.unwrap_or(10),
        parallel: spec.pod_management_policy.as_deref() == Some("Parallel"),
        on_delete: update.and_then(|u| u.type_.as_deref()) == Some("OnDelete"),
        partition: rolling.and_then(|r| r.partition).unwrap_or(0),
        ordinals_start: spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0),
        min_ready_s: nat(spec.min_ready_seconds.unwrap_or(0)),
        selector: selector(&spec.selector),
        template: template(
            &spec.template,
            template_doc(doc),
            &at.key("template"),
            &mut found.errors,
        ),
        status: s
            .status
            .as_ref()
            .map(|s| StatefulSetStatus {
                observed_generation: nat(s.observed_generation.unwrap_or(0)),
                replicas: s.replicas,
                ready: s.ready_replicas.unwrap_or(0),
                available: s.available_replicas.unwrap_or(0),
                current: s.current_replicas.unwrap_or(0),
                updated: s.updated_replicas.unwrap_or(0),
                current_revision: sym(s.current_revision.as_ref()),
                update_revision: sym(s.update_revision.as_ref()),
                collisions: nat(s.collision_count.unwrap_or(0)),
            })
            .unwrap_or_default(),
        doc: Some(Arc::new(doc.clone())),
    }
}

/// Claim templates, each read as the claim it is to become.
fn claims(doc: &Value, found: &mut Found) -> Arc<[Obj]> {
    let list = doc.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    let claim = |(i, template): (usize, &Value)| {
        let mut claim = template.clone();
        if let Some(claim) = claim.as_object_mut() {
            claim.insert("apiVersion".into(), "v1".into());
            claim.insert("kind".into(), "PersistentVolumeClaim".into());
        }
        let mut below = Found::new(found.mode);
        let read = super::readers::read(Kind::PersistentVolumeClaim, "v1", &claim, &mut below);
        let templates = Seg::Key("volumeClaimTemplates".to_owned());
        found.below(&[Seg::Key("spec".to_owned()), templates, Seg::Index(i)], below);
        read
    };
    list.into_iter().flatten().enumerate().filter_map(claim).collect()
}

/// A `ReplicationController`: a ReplicaSet whose selector is a map of labels.
pub(crate) fn replication_controller(
    r: &core::ReplicationController,
    doc: &Value,
    problems: &mut Problems,
) -> ReplicaSet {
    let spec = r.spec.clone().unwrap_or_default();
    let at = At::ROOT.key("spec");
    let pods = spec.template.unwrap_or_default();
    let labels = spec.selector.iter().flatten().map(|(k, v)| (Sym::new(k), Sym::new(v)));
    ReplicaSet {
        meta: meta(true, &r.metadata),
        replicas: spec.replicas.unwrap_or(1),
        min_ready_s: nat(spec.min_ready_seconds.unwrap_or(0)),
        selector: Selector::of_labels(labels),
        template: template(&pods, template_doc(doc), &at.key("template"), problems),
        status: r.status.as_ref().map(|s| replica_status!(s)).unwrap_or_default(),
        doc: Some(Arc::new(doc.clone())),
    }
}

/// A `ControllerRevision`; its template is the patch that its data holds.
pub(crate) fn controller_revision(
    r: &apps::ControllerRevision,
    doc: &Value,
    problems: &mut Problems,
) -> ControllerRevision {
    let at = At::ROOT.key("data");
    let held = doc.pointer("/data/spec/template");
    let pods = held.and_then(|t| serde_json::from_value(t.clone()).ok()).unwrap_or_default();
    ControllerRevision {
        meta: meta(true, &r.metadata),
        revision: r.revision,
        template: template(&pods, held, &at, problems),
        doc: Some(Arc::new(doc.clone())),
    }
}

/// A DaemonSet.
pub(crate) fn daemon_set(d: &apps::DaemonSet, doc: &Value, problems: &mut Problems) -> DaemonSet {
    let spec = d.spec.clone().unwrap_or_default();
    let at = At::ROOT.key("spec");
    let update = spec.update_strategy.as_ref();
    let rolling = update.and_then(|u| u.rolling_update.as_ref());
    let on_delete = update.and_then(|u| u.type_.as_deref()) == Some("OnDelete");
    let unavailable = rolling.and_then(|r| r.max_unavailable.as_ref());
    let some = |n: &IntOrPercent| *n != IntOrPercent::Int(0) && *n != IntOrPercent::Percent(0);
    DaemonSet {
        meta: meta(true, &d.metadata),
        selector: selector(&spec.selector),
        template: template(&spec.template, template_doc(doc), &at.key("template"), problems),
        on_delete,
        max_unavailable: (!on_delete)
            .then(|| unavailable.map_or(IntOrPercent::Int(1), int_or_percent)),
        max_surge: rolling.and_then(|r| r.max_surge.as_ref()).map(int_or_percent).filter(some),
        history_limit: spec.revision_history_limit.unwrap_or(10),
        min_ready_s: nat(spec.min_ready_seconds.unwrap_or(0)),
        status: d
            .status
            .as_ref()
            .map(|s| DaemonSetStatus {
                observed_generation: nat(s.observed_generation.unwrap_or(0)),
                desired: s.desired_number_scheduled,
                current: s.current_number_scheduled,
                misscheduled: s.number_misscheduled,
                ready: s.number_ready,
                available: s.number_available.unwrap_or(0),
                updated: s.updated_number_scheduled.unwrap_or(0),
                unavailable: s.number_unavailable.unwrap_or(0),
                collisions: nat(s.collision_count.unwrap_or(0)),
            })
            .unwrap_or_default(),
        doc: Some(Arc::new(doc.clone())),
    }
}

/// A Job.
pub(crate) fn job(j: &batch::Job, doc: &Value, problems: &mut Problems) -> Job {
    let spec = j.spec.clone().unwrap_or_default();
    let at = At::ROOT.key("spec");
    // Both unset: one run of one pod. Only parallelism set: a work queue.
    let both_unset = spec.completions.is_none() && spec.parallelism.is_none();
    let backoff = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 };
    Job {
        meta: meta(true, &j.metadata),
        parallelism: spec.parallelism.unwrap_or(1),
        completions: if both_unset { Some(1) } else { spec.completions },
        backoff_limit: spec.backoff_limit.unwrap_or(backoff),
        active_deadline_s: spec.active_deadline_seconds.map(nat),
        ttl_s: spec.ttl_seconds_after_finished.map(nat),
        suspend: spec.suspend.unwrap_or(false),
        indexed: spec.completion_mode.as_deref() == Some("Indexed"),
        backoff_per_index: spec.backoff_limit_per_index,
        max_failed_indexes: spec.max_failed_indexes,
        replace_failed_only: spec
            .pod_replacement_policy
            .as_deref()
            .map_or(spec.pod_failure_policy.is_some(), |policy| policy == "Failed"),
        failure_policy: spec
            .pod_failure_policy
            .as_ref()
            .map(|policy| policy.rules.iter().map(failure_rule).collect()),
        success_policy: spec
            .success_policy
            .iter()
            .flat_map(|p| &p.rules)
            .map(success_rule)
            .collect(),
        selector: spec.selector.as_ref().map(selector).unwrap_or_default(),
        template: template(&spec.template, template_doc(doc), &at.key("template"), problems),
        status: j
            .status
            .as_ref()
            .map(|s| JobStatus {
                active: s.active.unwrap_or(0),
                ready: s.ready.unwrap_or(0),
                terminating: s.terminating.unwrap_or(0),
                succeeded: s.succeeded.unwrap_or(0),
                failed: s.failed.unwrap_or(0),
                start: stamp(s.start_time.as_ref()),
                completion: stamp(s.completion_time.as_ref()),
                conditions: conditions!(&s.conditions),
                completed_indexes: indexes(s.completed_indexes.as_ref()),
                failed_indexes: indexes(s.failed_indexes.as_ref()),
                ..JobStatus::default()
            })
            .unwrap_or_default(),
        doc: Some(Arc::new(doc.clone())),
    }
}

fn indexes(text: Option<&String>) -> Indexes {
    text.map(|t| Indexes::parse(t)).unwrap_or_default()
}

fn failure_rule(rule: &batch::PodFailurePolicyRule) -> FailureRule {
    FailureRule {
        action: match rule.action.as_str() {
            "FailJob" => FailureAction::FailJob,
            "FailIndex" => FailureAction::FailIndex,
            "Ignore" => FailureAction::Ignore,
            _ => FailureAction::Count,
        },
        exit_codes: rule.on_exit_codes.as_ref().map(|codes| {
            let within = codes.operator == "In";
            (sym(codes.container_name.as_ref()), within, codes.values.as_slice().into())
        }),
        conditions: rule
            .on_pod_conditions
            .iter()
            .flatten()
            .map(|c| (condition_type(&c.type_), truth(c.status.as_deref().unwrap_or("True"))))
            .collect(),
    }
}

fn success_rule(rule: &batch::SuccessPolicyRule) -> SuccessRule {
    SuccessRule {
        indexes: rule.succeeded_indexes.as_ref().map(|t| Indexes::parse(t)),
        count: rule.succeeded_count,
    }
}
