//! Server-side defaults, written into the document itself, so that validation, conversion and
//! "YAML as kubectl prints it" all see one object. Sources:
//! `apis/{core,apps,batch,…}/v1/defaults.go`. Tolerant of documents of the wrong shape: those are
//! refused afterwards, by the typed reader.

use crate::api::Kind;
use serde_json::{Map, Value, json};

type Object = Map<String, Value>;

type Fill = fn(&mut Object);

/// Kinds whose `spec` has defaults beside those of its pod template.
const SPECS: &[(Kind, Fill)] = &[
    (Kind::Deployment, deployment),
    (Kind::ReplicaSet, |spec| set(spec, "replicas", json!(1))),
    (Kind::ReplicationController, replication_controller),
    (Kind::StatefulSet, stateful_set),
    (Kind::DaemonSet, daemon_set),
    (Kind::Job, job),
    (Kind::CronJob, cron_job),
    (Kind::Service, service),
    (Kind::HorizontalPodAutoscaler, |spec| set(spec, "minReplicas", json!(1))),
    (Kind::PersistentVolume, |spec| {
        set(spec, "persistentVolumeReclaimPolicy", json!("Retain"));
        set(spec, "volumeMode", json!("Filesystem"));
    }),
    (Kind::PersistentVolumeClaim, |spec| set(spec, "volumeMode", json!("Filesystem"))),
];

/// Fills what the API server would fill in an object of this kind.
pub(crate) fn apply(kind: Kind, doc: &mut Value) {
    if kind == Kind::Pod {
        return pod(doc);
    }
    if kind == Kind::Namespace {
        let name = doc.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
        return namespace(doc, name);
    }
    let Some(doc) = doc.as_object_mut() else { return };
    if kind == Kind::StorageClass {
        set(doc, "reclaimPolicy", json!("Delete"));
        set(doc, "volumeBindingMode", json!("Immediate"));
    }
    let Some(spec) = child(doc, "spec") else { return };
    if let Some((_, fill)) = SPECS.iter().find(|(k, _)| *k == kind) {
        fill(spec);
    }
    if let Some(template) = child(spec, "template") {
        template_spec(template);
    }
}

/// True if the image reference has tag `latest` or neither tag nor digest.
pub(crate) fn latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn set(object: &mut Object, key: &str, value: Value) {
    if object.get(key).is_none_or(Value::is_null) {
        object.insert(key.to_owned(), value);
    }
}

fn child<'a>(object: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    object.get_mut(key)?.as_object_mut()
}

/// The child object, made if it is not there.
fn made<'a>(object: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    set(object, key, json!({}));
    child(object, key)
}

fn each(object: &mut Object, key: &str, mut f: impl FnMut(&mut Object)) {
    for item in object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(item) = item.as_object_mut() {
            f(item);
        }
    }
}

fn text<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

fn namespace(doc: &mut Value, name: Option<String>) {
    let Some(doc) = doc.as_object_mut() else { return };
    if let (Some(name), Some(meta)) = (name, child(doc, "metadata"))
        && let Some(labels) = made(meta, "labels")
    {
        set(labels, "kubernetes.io/metadata.name", json!(name));
    }
    if let Some(spec) = made(doc, "spec") {
        set(spec, "finalizers", json!(["kubernetes"]));
    }
}

fn template_spec(template: &mut Object) {
    if let Some(spec) = child(template, "spec") {
        pod_spec(spec);
    }
}

fn deployment(spec: &mut Object) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    let Some(strategy) = made(spec, "strategy") else { return };
    set(strategy, "type", json!("RollingUpdate"));
    if text(strategy, "type") == Some("RollingUpdate")
        && let Some(rolling) = made(strategy, "rollingUpdate")
    {
        set(rolling, "maxSurge", json!("25%"));
        set(rolling, "maxUnavailable", json!("25%"));
    }
}

fn replication_controller(spec: &mut Object) {
    set(spec, "replicas", json!(1));
    let labels = spec.get("template").and_then(|t| t.pointer("/metadata/labels")).cloned();
    if let Some(labels) = labels {
        set(spec, "selector", labels);
    }
}

fn stateful_set(spec: &mut Object) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "podManagementPolicy", json!("OrderedReady"));
    if let Some(retention) = made(spec, "persistentVolumeClaimRetentionPolicy") {
        set(retention, "whenDeleted", json!("Retain"));
        set(retention, "whenScaled", json!("Retain"));
    }
    if let Some(update) = made(spec, "updateStrategy") {
        set(update, "type", json!("RollingUpdate"));
        if text(update, "type") == Some("RollingUpdate")
            && let Some(rolling) = made(update, "rollingUpdate")
        {
            set(rolling, "partition", json!(0));
        }
    }
    each(spec, "volumeClaimTemplates", |claim| {
        if let Some(claim) = child(claim, "spec") {
            set(claim, "volumeMode", json!("Filesystem"));
        }
    });
}

fn daemon_set(spec: &mut Object) {
    set(spec, "revisionHistoryLimit", json!(10));
    let Some(update) = made(spec, "updateStrategy") else { return };
    set(update, "type", json!("RollingUpdate"));
    if text(update, "type") == Some("RollingUpdate")
        && let Some(rolling) = made(update, "rollingUpdate")
    {
        set(rolling, "maxSurge", json!(0));
        set(rolling, "maxUnavailable", json!(1));
    }
}

fn job(spec: &mut Object) {
    let absent = |key: &str| spec.get(key).is_none_or(Value::is_null);
    if absent("completions") && absent("parallelism") {
        set(spec, "completions", json!(1));
    }
    set(spec, "parallelism", json!(1));
    let per_index = spec.contains_key("backoffLimitPerIndex");
    set(spec, "backoffLimit", json!(if per_index { i32::MAX } else { 6 }));
    set(spec, "completionMode", json!("NonIndexed"));
    set(spec, "suspend", json!(false));
    set(spec, "manualSelector", json!(false));
    let policy =
        if spec.contains_key("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    set(spec, "podReplacementPolicy", json!(policy));
}

fn cron_job(spec: &mut Object) {
    set(spec, "concurrencyPolicy", json!("Allow"));
    set(spec, "suspend", json!(false));
    set(spec, "successfulJobsHistoryLimit", json!(3));
    set(spec, "failedJobsHistoryLimit", json!(1));
    let job = child(spec, "jobTemplate").and_then(|t| child(t, "spec"));
    if let Some(template) = job.and_then(|s| child(s, "template")) {
        template_spec(template);
    }
}

fn service(spec: &mut Object) {
    set(spec, "sessionAffinity", json!("None"));
    set(spec, "type", json!("ClusterIP"));
    let kind = text(spec, "type").unwrap_or_default().to_owned();
    if text(spec, "sessionAffinity") == Some("ClientIP") {
        set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10_800}}));
    }
    each(spec, "ports", |port| {
        set(port, "protocol", json!("TCP"));
        if let Some(number) = port.get("port").cloned() {
            set(port, "targetPort", number);
        }
    });
    if kind != "ExternalName" {
        set(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if kind == "NodePort" || kind == "LoadBalancer" || spec.contains_key("externalIPs") {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
}

fn pod(doc: &mut Value) {
    let labels = doc.pointer("/metadata/labels").and_then(Value::as_object).cloned();
    let Some(spec) = doc.get_mut("spec").and_then(Value::as_object_mut) else { return };
    set(spec, "enableServiceLinks", json!(true));
    pod_spec(spec);
    if let Some(affinity) = child(spec, "affinity") {
        match_label_keys(affinity, &labels.unwrap_or_default());
    }
}

/// The API server merges `matchLabelKeys` and `mismatchLabelKeys` of a pod's affinity terms into
/// their selectors. Source: `registry/core/pod/strategy.go`
/// `applyMatchLabelKeysAndMismatchLabelKeys`.
fn match_label_keys(affinity: &mut Object, labels: &Object) {
    for side in ["podAffinity", "podAntiAffinity"] {
        let Some(side) = child(affinity, side) else { continue };
        each(side, "requiredDuringSchedulingIgnoredDuringExecution", |t| merge_keys(t, labels));
        each(side, "preferredDuringSchedulingIgnoredDuringExecution", |w| {
            if let Some(term) = child(w, "podAffinityTerm") {
                merge_keys(term, labels);
            }
        });
    }
}

fn merge_keys(term: &mut Object, labels: &Object) {
    let mut merged = Vec::new();
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in term.get(field).and_then(Value::as_array).into_iter().flatten() {
            if let Some(value) = key.as_str().and_then(|k| labels.get(k)) {
                merged.push(json!({"key": key, "operator": operator, "values": [value]}));
            }
        }
    }
    let Some(selector) = child(term, "labelSelector").filter(|_| !merged.is_empty()) else {
        return;
    };
    set(selector, "matchExpressions", json!([]));
    if let Some(list) = selector.get_mut("matchExpressions").and_then(Value::as_array_mut) {
        list.extend(merged);
    }
}

/// A pod spec, in a pod or in a template.
pub(crate) fn pod_spec(spec: &mut Object) {
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "schedulerName", json!("default-scheduler"));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "securityContext", json!({}));
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool) == Some(true);
    for list in ["containers", "initContainers"] {
        each(spec, list, |c| container(c, host_network));
    }
    each(spec, "volumes", volume);
}

fn container(c: &mut Object, host_network: bool) {
    let policy =
        if latest(text(c, "image").unwrap_or_default()) { "Always" } else { "IfNotPresent" };
    set(c, "imagePullPolicy", json!(policy));
    set(c, "terminationMessagePath", json!("/dev/termination-log"));
    set(c, "terminationMessagePolicy", json!("File"));
    each(c, "ports", |port| {
        set(port, "protocol", json!("TCP"));
        if let Some(number) = port.get("containerPort").cloned().filter(|_| host_network) {
            set(port, "hostPort", number);
        }
    });
    for name in ["startupProbe", "livenessProbe", "readinessProbe"] {
        if let Some(p) = child(c, name) {
            probe(p);
        }
    }
    if let Some(resources) = made(c, "resources") {
        requests_from_limits(resources);
    }
}

fn requests_from_limits(resources: &mut Object) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    if let Some(requests) = made(resources, "requests") {
        for (name, amount) in limits {
            set(requests, &name, amount);
        }
    }
}

fn probe(p: &mut Object) {
    let defaults = [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ];
    for (key, value) in defaults {
        // Zero counts as not given.
        if p.get(key).and_then(Value::as_i64) == Some(0) {
            p.insert(key.to_owned(), Value::Null);
        }
        set(p, key, json!(value));
    }
    if let Some(get) = child(p, "httpGet") {
        set(get, "path", json!("/"));
        set(get, "scheme", json!("HTTP"));
    }
}

fn volume(v: &mut Object) {
    const MODE: i32 = 0o644;
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        if let Some(source) = child(v, source) {
            set(source, "defaultMode", json!(MODE));
        }
    }
    if let Some(path) = child(v, "hostPath") {
        set(path, "type", json!(""));
    }
    if let Some(ephemeral) = child(v, "ephemeral") {
        let claim = child(ephemeral, "volumeClaimTemplate").and_then(|t| child(t, "spec"));
        if let Some(claim) = claim {
            set(claim, "volumeMode", json!("Filesystem"));
        }
    }
    // A volume that names no source is an emptyDir.
    if v.len() == 1 && v.contains_key("name") {
        v.insert("emptyDir".to_owned(), json!({}));
    }
}
