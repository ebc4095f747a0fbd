//! Objects back to documents, as `kubectl get -o yaml` prints them: what the manifest said, with
//! the live fields laid over it; objects without a manifest are written from their typed form.

use super::export_control as control;
use super::export_pod::{conditions, pod_spec, pod_status, put, resources, set_stamp, taint};
use super::export_storage;
use crate::api::kevent::KEvent;
use crate::api::labels::Op;
use crate::api::node::Node;
use crate::api::object::Obj;
use crate::api::pod::Pod;
use crate::api::workload::{
    DaemonSet, Deployment, IntOrPercent, Job, PodTemplate, ReplicaSet, StatefulSet, Strategy,
};
use crate::api::{Kind, LabelSet, Lease, Meta, Selector, Stamp};
use crate::engine::SimTime;
use crate::engine::time::NANOS_PER_SEC;
use serde_json::{Map, Value, json};
use std::sync::Arc;

type Object = Map<String, Value>;
type Doc = Option<Arc<Value>>;

/// The whole object; `epoch_s` is the unix time at which the run began.
#[must_use]
pub fn to_value(obj: &Obj, epoch_s: u32) -> Value {
    let mut doc = match obj {
        Obj::Pod(o) => pod(o),
        Obj::Node(o) => node(o, epoch_s),
        Obj::Event(o) => event(o),
        Obj::Namespace(o) => {
            let mut doc = base(o.doc.as_ref());
            let phase = if o.terminating { "Terminating" } else { "Active" };
            let mut status = Object::new();
            status.insert("phase".into(), phase.into());
            put(&mut status, "conditions", conditions(&o.conditions, None));
            doc.insert("status".into(), status.into());
            doc
        }
        Obj::Deployment(o) => deployment(o),
        Obj::ReplicaSet(o) => replica_set(o),
        Obj::StatefulSet(o) => stateful_set(o),
        Obj::DaemonSet(o) => daemon_set(o),
        Obj::Job(o) => job(o),
        Obj::PriorityClass(o) => {
            let mut doc = base(o.doc.as_ref());
            doc.insert("value".into(), o.value.into());
            put(&mut doc, "globalDefault", o.global_default.then_some(true));
            let policy = if o.never_preempts { "Never" } else { "PreemptLowerPriority" };
            doc.insert("preemptionPolicy".into(), policy.into());
            doc
        }
        Obj::PersistentVolume(o) => export_storage::volume(o),
        Obj::PersistentVolumeClaim(o) => export_storage::claim(o),
        Obj::StorageClass(o) => export_storage::class(o),
        Obj::VolumeAttachment(o) => export_storage::attachment(o),
        Obj::CSINode(o) => export_storage::csi_node(o),
        Obj::CSIDriver(o) => export_storage::csi_driver(o),
        Obj::CSIStorageCapacity(o) => export_storage::csi_capacity(o),
        Obj::Lease(o) => lease(o, epoch_s),
        Obj::ReplicationController(o) => control::replication_controller(o),
        Obj::CronJob(o) => control::cron_job(o),
        Obj::ControllerRevision(o) => control::revision(o),
        Obj::HorizontalPodAutoscaler(o) => control::autoscaler(o),
        Obj::EndpointSlice(o) => control::slice(o),
        Obj::Endpoints(o) => control::endpoints(o),
        Obj::PodMetrics(_) => Object::new(),
        Obj::Generic(_, o) => o.doc.as_object().cloned().unwrap_or_default(),
    };
    let kind = obj.kind();
    if kind != Kind::Custom && !doc.contains_key("apiVersion") {
        doc.insert("apiVersion".into(), kind.api_version().into());
        doc.insert("kind".into(), kind.name().into());
    }
    if let Some(m) = obj.meta() {
        let given = doc.get("metadata").cloned().unwrap_or_default();
        doc.insert("metadata".into(), meta(m, &given));
    }
    sorted(Value::Object(doc))
}

fn lease(o: &Lease, epoch_s: u32) -> Object {
    let micro = |at: SimTime| {
        let (s, us) = (at.0 / NANOS_PER_SEC, at.0 % NANOS_PER_SEC / 1_000);
        let stamp = Stamp(epoch_s.saturating_add(u32::try_from(s).unwrap_or(u32::MAX)));
        stamp.to_string().replace('Z', &format!(".{us:06}Z"))
    };
    let mut spec = Object::new();
    put(&mut spec, "holderIdentity", (!o.holder.is_empty()).then(|| o.holder.as_str()));
    spec.insert("leaseDurationSeconds".into(), o.duration_s.into());
    put(&mut spec, "acquireTime", o.acquired.map(micro));
    spec.insert("renewTime".into(), micro(o.renewed).into());
    put(&mut spec, "leaseTransitions", o.acquired.map(|_| o.transitions));
    Object::from_iter([("spec".to_owned(), Value::Object(spec))])
}

/// The whole object as YAML.
#[must_use]
pub fn to_yaml(obj: &Obj, epoch_s: u32) -> String {
    serde_yaml::to_string(&to_value(obj, epoch_s)).unwrap_or_default()
}

/// kubectl prints keys in the order of the alphabet.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(k, v)| (k, sorted(v))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

pub(super) fn base(doc: Option<&Arc<Value>>) -> Object {
    doc.and_then(|d| d.as_object()).cloned().unwrap_or_default()
}

/// The document and its `spec`, to lay live fields over.
pub(super) fn with_spec(doc: &Doc) -> (Object, Object) {
    let mut doc = base(doc.as_ref());
    let spec = doc.remove("spec");
    let spec = spec.and_then(|s| s.as_object().cloned()).unwrap_or_default();
    (doc, spec)
}

pub(super) fn whole(mut doc: Object, spec: Object, status: Object) -> Object {
    doc.insert("spec".into(), spec.into());
    doc.insert("status".into(), status.into());
    doc
}

fn labels(set: LabelSet) -> Option<Value> {
    let map: Object = set.pairs().iter().map(|(k, v)| (k.to_string(), v.as_str().into())).collect();
    (!map.is_empty()).then(|| map.into())
}

fn meta(m: &Meta, given: &Value) -> Value {
    let mut out = Object::new();
    put(&mut out, "generateName", given.get("generateName").cloned());
    put(&mut out, "name", (!m.name.is_empty()).then(|| m.name.to_string()));
    put(&mut out, "namespace", (!m.ns.is_empty()).then(|| m.ns.as_str()));
    put(&mut out, "uid", (m.uid.0 != 0).then(|| m.uid.to_string()));
    put(&mut out, "labels", labels(m.labels));
    if let Some(list) = m.annotations.as_deref() {
        let map: Object = list.iter().map(|(k, v)| (k.to_string(), (**v).into())).collect();
        out.insert("annotations".into(), map.into());
    }
    if let Some(owners) = m.owners.as_deref() {
        let list: Vec<Value> = owners
            .iter()
            .map(|o| {
                json!({
                    "apiVersion": o.kind.api_version(), "kind": o.kind.name(),
                    "name": o.name.to_string(), "uid": o.uid.to_string(),
                    "controller": o.controller, "blockOwnerDeletion": o.block_owner_deletion,
                })
            })
            .collect();
        out.insert("ownerReferences".into(), list.into());
    }
    if let Some(all) = m.finalizers.as_deref() {
        out.insert("finalizers".into(), all.iter().map(|f| f.as_str()).collect());
    }
    set_stamp(&mut out, "creationTimestamp", m.created);
    put(&mut out, "generation", (m.generation > 0).then_some(m.generation));
    if let Some(deletion) = m.deletion {
        set_stamp(&mut out, "deletionTimestamp", deletion.at);
        out.insert("deletionGracePeriodSeconds".into(), deletion.grace_s.into());
    }
    let version = m.resource_version;
    put(&mut out, "resourceVersion", (version > 0).then(|| version.to_string()));
    out.into()
}

/// A label selector.
#[must_use]
pub fn selector(s: &Selector) -> Value {
    let mut out = Object::new();
    let mut pairs = Object::new();
    let mut expressions = Vec::new();
    for r in s.requirements.iter() {
        match (r.op, r.values.as_slice()) {
            (Op::In, [one]) if !pairs.contains_key(r.key.as_str()) => {
                pairs.insert(r.key.to_string(), one.as_str().into());
            }
            _ => expressions.push(super::export_pod::requirement(r)),
        }
    }
    put(&mut out, "matchLabels", (!pairs.is_empty()).then_some(pairs));
    put(&mut out, "matchExpressions", (!expressions.is_empty()).then_some(expressions));
    out.into()
}

pub(super) fn template(t: &PodTemplate) -> Value {
    let mut m = Object::new();
    put(&mut m, "labels", labels(t.labels));
    if let Some(list) = t.annotations.as_deref() {
        let map: Object = list.iter().map(|(k, v)| (k.to_string(), (**v).into())).collect();
        m.insert("annotations".into(), map.into());
    }
    json!({"metadata": m, "spec": pod_spec(&t.spec)})
}

fn int_or_percent(value: IntOrPercent) -> Value {
    match value {
        IntOrPercent::Int(n) => n.into(),
        IntOrPercent::Percent(p) => format!("{p}%").into(),
    }
}

/// Zero counts are left out of a status, as Go's `omitempty` does.
pub(super) fn counts(list: &[(&str, i64)]) -> Object {
    list.iter().filter(|(_, n)| *n != 0).map(|(k, n)| ((*k).to_owned(), (*n).into())).collect()
}

fn pod(o: &Pod) -> Object {
    let mut spec = match pod_spec(&o.spec) {
        Value::Object(spec) => spec,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Object::new()
        }
    };
    put(&mut spec, "nodeName", (!o.node.is_empty()).then(|| o.node.as_str()));
    whole(Object::new(), spec, pod_status(&o.status))
}

fn node(o: &Node, epoch_s: u32) -> Object {
    let (mut doc, mut spec) = with_spec(&o.doc);
    let given = doc.remove("status").and_then(|s| s.as_object().cloned()).unwrap_or_default();
    spec.remove("unschedulable");
    put(&mut spec, "unschedulable", o.unschedulable.then_some(true));
    spec.remove("taints");
    let taints: Vec<Value> = o.taints.iter().map(taint).collect();
    put(&mut spec, "taints", (!taints.is_empty()).then_some(taints));
    put(&mut spec, "podCIDR", (!o.pod_cidr.is_empty()).then(|| o.pod_cidr.as_str()));
    put(&mut spec, "providerID", (!o.provider_id.is_empty()).then(|| o.provider_id.as_str()));
    let mut status = given;
    for (field, amounts) in
        [("capacity", &o.status.capacity), ("allocatable", &o.status.allocatable)]
    {
        // Amounts outside the model (such as hugepages of size 0) stay as dumped.
        let mut list = status.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
        list.extend(resources(amounts, crate::api::resources::Named { cpu: false, memory: false }));
        put(&mut status, field, (!list.is_empty()).then_some(list));
    }
    status.remove("conditions");
    let seconds = o.status.heartbeat_ns / NANOS_PER_SEC;
    let beat = Stamp(epoch_s.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX)));
    let heartbeat = (o.status.heartbeat_ns > 0).then_some(beat);
    put(&mut status, "conditions", conditions(&o.status.conditions, heartbeat));
    let images: Vec<Value> =
        o.status.images.iter().map(|i| json!({"names": i.names, "sizeBytes": i.size})).collect();
    status.remove("images");
    put(&mut status, "images", (!images.is_empty()).then_some(images));
    let in_use: Vec<&str> = o.status.volumes_in_use.iter().map(|v| v.as_str()).collect();
    put(&mut status, "volumesInUse", (!in_use.is_empty()).then_some(in_use));
    let attached = o.status.volumes_attached.iter();
    let attached: Vec<Value> =
        attached.map(|v| json!({"name": v.as_str(), "devicePath": ""})).collect();
    put(&mut status, "volumesAttached", (!attached.is_empty()).then_some(attached));
    whole(doc, spec, status)
}

fn event(e: &KEvent) -> Object {
    let object = json!({
        "kind": e.kind.name(), "apiVersion": e.kind.api_version(),
        "name": e.name.to_string(), "namespace": e.ns, "uid": e.uid.to_string(),
    });
    let mut out = Object::new();
    let name = format!("{}.{:x}", e.name, e.uid.0 ^ u64::from(e.first.0));
    out.insert("metadata".into(), json!({"name": name, "namespace": e.ns}));
    out.insert("involvedObject".into(), object);
    out.insert("reason".into(), e.reason.as_str().into());
    out.insert("message".into(), e.message().into());
    out.insert("type".into(), if e.warning() { "Warning" } else { "Normal" }.into());
    out.insert("count".into(), e.count.into());
    set_stamp(&mut out, "firstTimestamp", e.first);
    set_stamp(&mut out, "lastTimestamp", e.last);
    out.insert("source".into(), json!({"component": e.component()}));
    out
}

fn deployment(o: &Deployment) -> Object {
    let (doc, mut spec) = with_spec(&o.doc);
    spec.insert("replicas".into(), o.replicas.into());
    spec.insert("selector".into(), selector(&o.selector));
    spec.insert("template".into(), template(&o.template));
    spec.insert(
        "strategy".into(),
        match o.strategy {
            Strategy::Recreate => json!({"type": "Recreate"}),
            Strategy::RollingUpdate { max_surge, max_unavailable } => json!({
                "type": "RollingUpdate",
                "rollingUpdate": {
                    "maxSurge": int_or_percent(max_surge),
                    "maxUnavailable": int_or_percent(max_unavailable),
                },
            }),
        },
    );
    put(&mut spec, "minReadySeconds", (o.min_ready_s > 0).then_some(o.min_ready_s));
    spec.insert("revisionHistoryLimit".into(), o.history_limit.into());
    spec.insert("progressDeadlineSeconds".into(), o.progress_deadline_s.into());
    spec.remove("paused");
    put(&mut spec, "paused", o.paused.then_some(true));
    let s = &o.status;
    let mut status = counts(&[
        ("observedGeneration", s.observed_generation.into()),
        ("replicas", s.replicas.into()),
        ("updatedReplicas", s.updated.into()),
        ("readyReplicas", s.ready.into()),
        ("availableReplicas", s.available.into()),
        ("unavailableReplicas", s.unavailable.into()),
        ("collisionCount", s.collisions.into()),
    ]);
    put(&mut status, "terminatingReplicas", s.terminating);
    put(&mut status, "conditions", conditions(&s.conditions, None));
    whole(doc, spec, status)
}

fn replica_set(o: &ReplicaSet) -> Object {
    let (doc, mut spec) = with_spec(&o.doc);
    spec.insert("replicas".into(), o.replicas.into());
    spec.insert("selector".into(), selector(&o.selector));
    spec.insert("template".into(), template(&o.template));
    put(&mut spec, "minReadySeconds", (o.min_ready_s > 0).then_some(o.min_ready_s));
    let s = &o.status;
    let mut status = counts(&[
        ("observedGeneration", s.observed_generation.into()),
        ("fullyLabeledReplicas", s.fully_labeled.into()),
        ("readyReplicas", s.ready.into()),
        ("availableReplicas", s.available.into()),
    ]);
    status.insert("replicas".into(), s.replicas.into());
    put(&mut status, "terminatingReplicas", s.terminating);
    put(&mut status, "conditions", conditions(&s.conditions, None));
    whole(doc, spec, status)
}

fn stateful_set(o: &StatefulSet) -> Object {
    let (doc, mut spec) = with_spec(&o.doc);
    spec.insert("replicas".into(), o.replicas.into());
    spec.insert("selector".into(), selector(&o.selector));
    spec.insert("template".into(), template(&o.template));
    put(&mut spec, "serviceName", (!o.service.is_empty()).then(|| o.service.as_str()));
    let policy = if o.parallel { "Parallel" } else { "OrderedReady" };
    spec.insert("podManagementPolicy".into(), policy.into());
    let update = if o.on_delete {
        json!({"type": "OnDelete"})
    } else {
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": o.partition}})
    };
    spec.insert("updateStrategy".into(), update);
    if o.ordinals_start != 0 {
        spec.insert("ordinals".into(), json!({"start": o.ordinals_start}));
    }
    put(&mut spec, "minReadySeconds", (o.min_ready_s > 0).then_some(o.min_ready_s));
    let s = &o.status;
    let mut status = counts(&[
        ("observedGeneration", s.observed_generation.into()),
        ("readyReplicas", s.ready.into()),
        ("currentReplicas", s.current.into()),
        ("updatedReplicas", s.updated.into()),
    ]);
    status.insert("replicas".into(), s.replicas.into());
    status.insert("availableReplicas".into(), s.available.into());
    let revisions =
        [("currentRevision", s.current_revision), ("updateRevision", s.update_revision)];
    for (key, revision) in revisions {
        put(&mut status, key, (!revision.is_empty()).then(|| revision.as_str()));
    }
    whole(doc, spec, status)
}

fn daemon_set(o: &DaemonSet) -> Object {
    let (doc, mut spec) = with_spec(&o.doc);
    spec.insert("selector".into(), selector(&o.selector));
    spec.insert("template".into(), template(&o.template));
    if o.on_delete {
        spec.insert("updateStrategy".into(), json!({"type": "OnDelete"}));
    } else if !spec.contains_key("updateStrategy") {
        let most = o.max_unavailable.map_or(json!(1), int_or_percent);
        let update = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": most}});
        spec.insert("updateStrategy".into(), update);
    }
    put(&mut spec, "minReadySeconds", (o.min_ready_s > 0).then_some(o.min_ready_s));
    let s = &o.status;
    let mut status = counts(&[
        ("observedGeneration", s.observed_generation.into()),
        ("numberAvailable", s.available.into()),
        ("updatedNumberScheduled", s.updated.into()),
        ("numberUnavailable", s.unavailable.into()),
    ]);
    let always = [
        ("desiredNumberScheduled", s.desired),
        ("currentNumberScheduled", s.current),
        ("numberMisscheduled", s.misscheduled),
        ("numberReady", s.ready),
    ];
    status.extend(always.map(|(key, n)| (key.to_owned(), n.into())));
    whole(doc, spec, status)
}

fn job(o: &Job) -> Object {
    let (doc, mut spec) = with_spec(&o.doc);
    spec.insert("parallelism".into(), o.parallelism.into());
    put(&mut spec, "completions", o.completions);
    spec.insert("backoffLimit".into(), o.backoff_limit.into());
    put(&mut spec, "activeDeadlineSeconds", o.active_deadline_s);
    put(&mut spec, "ttlSecondsAfterFinished", o.ttl_s);
    spec.insert("suspend".into(), o.suspend.into());
    let mode = if o.indexed { "Indexed" } else { "NonIndexed" };
    spec.insert("completionMode".into(), mode.into());
    if !o.selector.is_empty() {
        spec.insert("selector".into(), selector(&o.selector));
    }
    spec.insert("template".into(), template(&o.template));
    let s = &o.status;
    let mut status = counts(&[
        ("active", s.active.into()),
        ("ready", s.ready.into()),
        ("terminating", s.terminating.into()),
        ("succeeded", s.succeeded.into()),
        ("failed", s.failed.into()),
    ]);
    set_stamp(&mut status, "startTime", s.start);
    set_stamp(&mut status, "completionTime", s.completion);
    put(&mut status, "conditions", conditions(&s.conditions, None));
    whole(doc, spec, status)
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
