//! What an update may not change (422). Sources: `apis/*/validation/validation.go`,
//! `Validate*Update`; behaviour reference §1.8. Values are validated in full where manifests are
//! read; here stand the rules that need the old object.

use super::admission::pvcresize;
use crate::api::pod::{Pod, PodSpec};
use crate::api::request::ApiError;
use crate::api::storage::{PersistentVolumeClaim, StorageClass, keys};
use crate::api::workload::Generic;
use crate::api::{Kind, Obj};
use crate::engine::Sym;
use crate::event::Context;
use serde_json::Value;
use std::sync::Arc;

type Doc = Option<Arc<Value>>;

/// Kinds whose strategy does not allow an update without a resourceVersion (source: the strategies'
/// `AllowUnconditionalUpdate`).
const CONDITIONAL: [Kind; 14] = [
    Kind::PodDisruptionBudget,
    Kind::Lease,
    Kind::Custom,
    Kind::CSIDriver,
    Kind::CSINode,
    Kind::VolumeAttachment,
    Kind::RuntimeClass,
    Kind::FlowSchema,
    Kind::PriorityLevelConfiguration,
    Kind::APIService,
    Kind::CustomResourceDefinition,
    Kind::MutatingWebhookConfiguration,
    Kind::ValidatingWebhookConfiguration,
    Kind::CSIStorageCapacity,
];

/// A PUT of some kinds must say what it replaces.
pub(super) fn versioned(new: &Obj) -> Result<(), ApiError> {
    let unsaid = new.meta().is_some_and(|m| m.resource_version == 0);
    if unsaid && CONDITIONAL.contains(&new.kind()) {
        let text = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
        return Err(ApiError::Invalid(Sym::new(text)));
    }
    Ok(())
}

/// Compares an object with what an update makes of it.
pub(super) fn validate(old: &Obj, new: &Obj, cx: &Context<'_>) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    finalizers(old, new, &mut errors);
    if let (Obj::Pod(old), Obj::Pod(new)) = (old, new) {
        pod(old, new, &mut errors);
    } else if let (Obj::Deployment(old), Obj::Deployment(new)) = (old, new) {
        selector(old.selector == new.selector, &new.doc, &mut errors);
    } else if let (Obj::ReplicaSet(old), Obj::ReplicaSet(new)) = (old, new) {
        selector(old.selector == new.selector, &new.doc, &mut errors);
    } else if let (Obj::DaemonSet(old), Obj::DaemonSet(new)) = (old, new) {
        selector(old.selector == new.selector, &new.doc, &mut errors);
    } else if let (Obj::StatefulSet(old), Obj::StatefulSet(new)) = (old, new) {
        let same = old.selector == new.selector && old.parallel == new.parallel;
        stateful_set(same, &old.doc, &new.doc, &mut errors);
    } else if let (Obj::Job(before), Obj::Job(after)) = (old, new) {
        job(&before.doc, &after.doc, before.suspend, &mut errors);
    } else if let (Obj::PriorityClass(old), Obj::PriorityClass(new)) = (old, new) {
        if old.value != new.value {
            errors.push("value: Forbidden: may not be changed in an update.".to_owned());
        }
        if old.never_preempts != new.never_preempts {
            let word = if new.never_preempts { "Never" } else { "PreemptLowerPriority" };
            errors.push(format!("preemptionPolicy: Invalid value: {word:?}: field is immutable"));
        }
    } else if let (Obj::PersistentVolumeClaim(old), Obj::PersistentVolumeClaim(new)) = (old, new) {
        claim(old, new, &mut errors);
        pvcresize::updated(old, new, cx.versions())?;
    } else if let (Obj::PersistentVolume(old), Obj::PersistentVolume(new)) = (old, new) {
        if old.block != new.block {
            immutable("spec.volumeMode", Some(&block_or_not(new.block)), &mut errors);
        }
    } else if let (Obj::StorageClass(old), Obj::StorageClass(new)) = (old, new) {
        storage_class(old, new, &mut errors);
    } else if let (Obj::Generic(kind, before), Obj::Generic(_, after)) = (old, new)
        && !Arc::ptr_eq(&before.doc, &after.doc)
    {
        generic(*kind, before, after, &mut errors);
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(ApiError::Invalid(Sym::new(one))),
        many => Err(ApiError::Invalid(Sym::new(&format!("[{}]", many.join(", "))))),
    }
}

/// Source: `mach/api/validation/objectmeta.go` `ValidateNoNewFinalizers`.
fn finalizers(old: &Obj, new: &Obj, errors: &mut Vec<String>) {
    let (Some(old), Some(new)) = (old.meta(), new.meta()) else { return };
    if old.deletion.is_none() {
        return;
    }
    let had = old.finalizers.as_deref().unwrap_or_default();
    let list = new.finalizers.as_deref().unwrap_or_default();
    let added: Vec<String> =
        list.iter().filter(|f| !had.contains(f)).map(|f| format!("{:?}", f.as_str())).collect();
    if !added.is_empty() {
        errors.push(format!(
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being \
             deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        ));
    }
}

fn at<'a>(doc: &'a Doc, path: &str) -> Option<&'a Value> {
    doc.as_ref()?.pointer(path)
}

/// `FIELD: Invalid value: VALUE: field is immutable`.
fn immutable(field: &str, value: Option<&Value>, errors: &mut Vec<String>) {
    let value = value.map_or_else(|| "null".to_owned(), Value::to_string);
    errors.push(format!("{field}: Invalid value: {value}: field is immutable"));
}

fn selector(same: bool, doc: &Doc, errors: &mut Vec<String>) {
    if !same {
        immutable("spec.selector", at(doc, "/spec/selector"), errors);
    }
}

/// The documents' specs without some fields.
fn without(doc: &Doc, fields: &[&str]) -> Option<Value> {
    let mut spec = at(doc, "/spec")?.clone();
    let map = spec.as_object_mut()?;
    for field in fields {
        map.remove(*field);
    }
    Some(spec)
}

fn unshared(old: &Doc, new: &Doc) -> bool {
    !matches!((old, new), (Some(a), Some(b)) if Arc::ptr_eq(a, b)) && old.is_some() && new.is_some()
}

fn stateful_set(same: bool, old: &Doc, new: &Doc, errors: &mut Vec<String>) {
    const MAY: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    if !same || unshared(old, new) && without(old, &MAY) != without(new, &MAY) {
        errors.push(
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', \
             'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', \
             'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
                .to_owned(),
        );
    }
}

fn job(old: &Doc, new: &Doc, suspended: bool, errors: &mut Vec<String>) {
    if !unshared(old, new) {
        return;
    }
    for field in [
        "completionMode",
        "podFailurePolicy",
        "successPolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "template",
    ] {
        let path = format!("/spec/{field}");
        // The template of a suspended job may be given other resources and another place to run.
        let free = field == "template" && suspended;
        if !free && at(old, &path) != at(new, &path) {
            immutable(&format!("spec.{field}"), at(new, &path), errors);
        }
    }
    let completions = at(new, "/spec/completions");
    let elastic = at(new, "/spec/completionMode").and_then(Value::as_str) == Some("Indexed")
        && completions == at(new, "/spec/parallelism");
    if !elastic && at(old, "/spec/completions") != completions {
        immutable("spec.completions", completions, errors);
    }
}

/// A pod: images, a shorter deadline, more tolerations, fewer gates.
/// Source: `apis/core/validation/validation.go` `ValidatePodUpdate`.
fn pod(old: &Arc<Pod>, new: &Arc<Pod>, errors: &mut Vec<String>) {
    if Arc::ptr_eq(&old.spec, &new.spec) {
        return;
    }
    let (before, after) = (&old.spec, &new.spec);
    let later = match (before.active_deadline_s, after.active_deadline_s) {
        (Some(had), Some(has)) => has > had,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if later {
        let value = after.active_deadline_s.map_or("null".to_owned(), |s| s.to_string());
        errors.push(format!(
            "spec.activeDeadlineSeconds: Invalid value: {value}: must be less than or equal to \
             previous value"
        ));
    }
    if !before.tolerations.iter().all(|t| after.tolerations.contains(t)) {
        errors.push(
            "spec.tolerations: Forbidden: existing toleration can not be modified except its \
             tolerationSeconds"
                .to_owned(),
        );
    }
    if after.gates.iter().any(|g| !before.gates.contains(g)) {
        errors.push(
            "spec.schedulingGates: Forbidden: only deletion is allowed, but found new scheduling \
             gates"
                .to_owned(),
        );
    }
    if !same_otherwise(before, after) {
        errors.push(
            "spec: Forbidden: pod updates may not change fields other than \
             `spec.containers[*].image`,`spec.initContainers[*].image`,\
             `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
             tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
             previously negative)"
                .to_owned(),
        );
    }
}

/// The specs are equal but for what may change (and the document, which holds the same).
fn same_otherwise(old: &PodSpec, new: &PodSpec) -> bool {
    let mut munged = new.clone();
    munged.tolerations.clone_from(&old.tolerations);
    munged.gates.clone_from(&old.gates);
    munged.active_deadline_s = old.active_deadline_s;
    munged.doc.clone_from(&old.doc);
    let lists = [
        (&mut munged.containers, &old.containers),
        (&mut munged.init_containers, &old.init_containers),
    ];
    for (list, had) in lists {
        if list.len() != had.len() {
            return false;
        }
        for (container, had) in list.iter_mut().zip(had) {
            container.image = had.image;
        }
    }
    munged == *old
}

/// Fields of kinds kept as documents that never change.
const FIXED: [(Kind, &str); 3] =
    [(Kind::Secret, "type"), (Kind::EndpointSlice, "addressType"), (Kind::RuntimeClass, "handler")];

/// Kinds that are kept as documents.
fn generic(kind: Kind, old: &Generic, new: &Generic, errors: &mut Vec<String>) {
    let (before, after) = (Some(Arc::clone(&old.doc)), Some(Arc::clone(&new.doc)));
    let differ = |path: &str| at(&before, path) != at(&after, path);
    let fixed = FIXED.iter().filter(|(of, _)| *of == kind).map(|(_, field)| *field);
    for field in fixed {
        let path = format!("/{}", field.replace('.', "/"));
        if differ(&path) {
            immutable(field, at(&after, &path), errors);
        }
    }
    let binding = matches!(kind, Kind::RoleBinding | Kind::ClusterRoleBinding);
    if binding && differ("/roleRef") {
        let value = at(&after, "/roleRef").map_or_else(String::new, Value::to_string);
        errors.push(format!("roleRef: Invalid value: {value}: cannot change roleRef"));
    }
    let holds_data = matches!(kind, Kind::ConfigMap | Kind::Secret);
    if holds_data && at(&before, "/immutable") == Some(&Value::Bool(true)) {
        let why = "Forbidden: field is immutable when `immutable` is set";
        let changed = ["data", "binaryData"].into_iter().filter(|f| differ(&format!("/{f}")));
        errors.extend(changed.map(|field| format!("{field}: {why}")));
    }
    let address = "/spec/clusterIP";
    if kind == Kind::Service && at(&after, address).is_some() && differ(address) {
        let value = at(&after, address).map_or_else(String::new, Value::to_string);
        let text = format!("spec.clusterIPs[0]: Invalid value: [{value}]: may not change once set");
        errors.push(text);
    }
}

/// A class is fixed but for whether volumes may grow. Source: `apis/storage/validation`.
fn storage_class(old: &StorageClass, new: &StorageClass, errors: &mut Vec<String>) {
    let differ = |field: &str| at(&old.doc, field) != at(&new.doc, field);
    let rows = [
        ("parameters", differ("/parameters")),
        ("provisioner", old.provisioner != new.provisioner),
        ("reclaimPolicy", old.reclaim != new.reclaim),
    ];
    let changed = rows.iter().filter(|(_, differs)| *differs);
    errors.extend(changed.map(|(f, _)| format!("{f}: Forbidden: updates to {f} are forbidden.")));
    if old.waits != new.waits {
        let word = Value::from(if new.waits { "WaitForFirstConsumer" } else { "Immediate" });
        immutable("volumeBindingMode", Some(&word), errors);
    }
}

fn block_or_not(block: bool) -> Value {
    Value::from(if block { "Block" } else { "Filesystem" })
}

/// A bound claim may only grow; an unbound one may only be bound.
fn claim(old: &PersistentVolumeClaim, new: &PersistentVolumeClaim, errors: &mut Vec<String>) {
    let rebound = !old.volume.is_empty() && old.volume != new.volume;
    let fixed = |c: &PersistentVolumeClaim| (c.modes, c.block, c.selector.clone());
    // Source: `validateStorageClassUpgradeFromNil`: the binder gives it the default class later.
    let classless = old.class.is_none() && old.meta.annotation(keys::BETA_CLASS).is_none();
    let another = !classless && old.class_name() != new.class_name();
    if rebound || another || fixed(old) != fixed(new) {
        errors.push(
            "spec: Forbidden: spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims"
                .to_owned(),
        );
    }
    if new.request < old.request {
        errors.push(
            "spec.resources.requests.storage: Forbidden: field can not be less than \
             status.capacity"
                .to_owned(),
        );
    }
}
