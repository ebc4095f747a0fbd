//! Validation as the API server does it, with its words (sources:
//! `apis/*/validation/validation.go`, apimachinery `util/validation/validation.go`).

use super::convert;
use super::path::{At, Problems};
use super::validate_pod::{self, Template};
use crate::api::quantity::Quantity;
use crate::api::{Kind, Selector};
use k8s_openapi::api::{
    apps::v1 as apps, autoscaling, batch::v1 as batch, core::v1 as core, policy::v1 as policy,
    scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

const LABEL_1123: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
/// The phrase for a count below zero.
pub(crate) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
/// `TotalAnnotationSizeLimitB`.
const MAX_ANNOTATIONS: usize = 256 << 10;
/// `MaxSecretSize`, of `ConfigMaps`, too.
const MAX_DATA: usize = 1 << 20;

fn lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// A DNS-1123 label.
pub(crate) fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(|b| lower(*b)) && bytes.last().is_some_and(|b| lower(*b));
    ends && bytes.len() <= 63 && bytes.iter().all(|b| lower(*b) || *b == b'-')
}

/// A DNS-1123 subdomain. Its labels may be longer than 63.
pub(crate) fn is_subdomain(text: &str) -> bool {
    let part = |p: &str| {
        let bytes = p.as_bytes();
        bytes.first().is_some_and(|b| lower(*b))
            && bytes.last().is_some_and(|b| lower(*b))
            && bytes.iter().all(|b| lower(*b) || *b == b'-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

fn qualified_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.len() <= 63
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// The key of a label, annotation, taint or extended resource.
pub(crate) fn key(text: &str, at: &At<'_>, problems: &mut Problems) {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(p, n)| (Some(p), n));
    if prefix.is_some_and(|p| !is_subdomain(p)) {
        problems.invalid(at, text, &format!("prefix part {SUBDOMAIN}"));
    }
    if !qualified_name(name) {
        problems.invalid(at, text, LABEL_KEY);
    }
}

/// The value of a label.
pub(crate) fn label_value(text: &str, at: &At<'_>, problems: &mut Problems) {
    if !text.is_empty() && !qualified_name(text) {
        problems.invalid(at, text, LABEL_VALUE);
    }
}

/// Labels.
pub(crate) fn labels(map: Option<&BTreeMap<String, String>>, at: &At<'_>, problems: &mut Problems) {
    for (name, value) in map.into_iter().flatten() {
        key(name, &at.key(name), problems);
        label_value(value, &at.key(name), problems);
    }
}

/// How names of a kind are formed.
fn name_rule(kind: Kind, name: &str) -> Option<&'static str> {
    let path_segment = [
        Kind::Role,
        Kind::ClusterRole,
        Kind::RoleBinding,
        Kind::ClusterRoleBinding,
        Kind::CertificateSigningRequest,
    ];
    if path_segment.contains(&kind) {
        let bad = name == "." || name == ".." || name.contains(['/', '%']);
        return bad.then_some("may not be '.' or '..' and may not contain '/' or '%'");
    }
    if kind == Kind::Namespace {
        return (!is_label(name)).then_some(LABEL_1123);
    }
    if kind == Kind::Service {
        let letter = name.starts_with(|c: char| c.is_ascii_lowercase());
        return (!is_label(name) || !letter).then_some(LABEL_1035);
    }
    (!is_subdomain(name)).then_some(SUBDOMAIN)
}

/// Object metadata.
pub(crate) fn meta(kind: Kind, m: &ObjectMeta, problems: &mut Problems) {
    let at = At::ROOT.key("metadata");
    let (name, generate) = (m.name.as_deref(), m.generate_name.as_deref());
    match (name.filter(|n| !n.is_empty()), generate.filter(|n| !n.is_empty())) {
        (Some(name), _) => {
            if let Some(rule) = name_rule(kind, name) {
                problems.invalid(&at.key("name"), name, rule);
            }
        }
        (None, Some(base)) => {
            if let Some(rule) = name_rule(kind, &format!("{base}x")) {
                problems.invalid(&at.key("generateName"), base, rule);
            }
        }
        (None, None) => problems.required(&at.key("name"), "name or generateName is required"),
    }
    if let Some(ns) = m.namespace.as_deref().filter(|ns| !ns.is_empty() && !is_label(ns)) {
        problems.invalid(&at.key("namespace"), ns, LABEL_1123);
    }
    labels(m.labels.as_ref(), &at.key("labels"), problems);
    let here = at.key("annotations");
    let mut size = 0;
    for (name, value) in m.annotations.iter().flatten() {
        key(&name.to_ascii_lowercase(), &here.key(name), problems);
        size += name.len() + value.len();
    }
    if size > MAX_ANNOTATIONS {
        problems.push(&here, format!("Too long: may not be more than {MAX_ANNOTATIONS} bytes"));
    }
}

/// A count that must not be negative.
pub(crate) fn natural(n: Option<impl Into<i64>>, at: &At<'_>, problems: &mut Problems) {
    if let Some(n) = n.map(Into::into).filter(|n| *n < 0) {
        problems.invalid(at, n, NOT_NEGATIVE);
    }
}

/// A label selector's own form.
pub(crate) fn selector(s: &LabelSelector, at: &At<'_>, problems: &mut Problems) {
    labels(s.match_labels.as_ref(), &at.key("matchLabels"), problems);
    let list = at.key("matchExpressions");
    for (i, e) in s.match_expressions.iter().flatten().enumerate() {
        let here = list.index(i);
        let values = e.values.as_deref().unwrap_or_default();
        key(&e.key, &here.key("key"), problems);
        match e.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                problems.required(&here.key("values"), why);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                problems.forbidden(&here.key("values"), why);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                problems.invalid(&here.key("operator"), other, "not a valid selector operator");
            }
        }
    }
}

/// What all workloads with a selector share: the selector must be there and match the template.
fn workload(
    s: &LabelSelector,
    template: &core::PodTemplateSpec,
    replicas: Option<i32>,
    claims: &[core::PersistentVolumeClaim],
    problems: &mut Problems,
) {
    let at = At::ROOT.key("spec");
    natural(replicas, &at.key("replicas"), problems);
    selector(s, &at.key("selector"), problems);
    let converted: Selector = convert::selector(s);
    let pods = template.metadata.as_ref().and_then(|m| m.labels.as_ref());
    if converted.is_empty() {
        problems.push_hint(
            &at.key("selector"),
            "Required value",
            "set spec.selector.matchLabels to the labels of the template",
        );
    }
    if converted.is_empty() || !converted.matches(convert::labels(pods)) {
        let shown = serde_json::to_string(&pods).unwrap_or_default();
        problems.push_hint(
            &at.key("template").key("metadata").key("labels"),
            format!("Invalid value: {shown}: `selector` does not match template `labels`"),
            "give the template the labels that spec.selector.matchLabels asks for",
        );
    }
    let claims = Template { claims, restart: &["Always"] };
    validate_pod::template(template, &at.key("template"), claims, problems);
}

/// `IntOrString` that counts pods.
fn count_or_percent(value: Option<&IntOrString>, at: &At<'_>, problems: &mut Problems) {
    match value {
        Some(IntOrString::Int(n)) => natural(Some(*n), at, problems),
        Some(IntOrString::String(text)) => {
            let digits = text.strip_suffix('%').unwrap_or_default();
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%', or '93%', regex used for validation is '[0-9]+%')";
                problems.invalid(at, text, why);
            }
        }
        None => {}
    }
}

fn is_zero(value: Option<&IntOrString>) -> bool {
    match value {
        Some(IntOrString::Int(n)) => *n == 0,
        Some(IntOrString::String(text)) => {
            text.trim_end_matches('%').trim_start_matches('0').is_empty()
        }
        None => false,
    }
}

/// A Deployment.
pub(crate) fn deployment(d: &apps::Deployment, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    let Some(spec) = &d.spec else { return problems.required(&at, "") };
    workload(&spec.selector, &spec.template, spec.replicas, &[], problems);
    natural(spec.min_ready_seconds, &at.key("minReadySeconds"), problems);
    natural(spec.revision_history_limit, &at.key("revisionHistoryLimit"), problems);
    let here = at.key("progressDeadlineSeconds");
    natural(spec.progress_deadline_seconds, &here, problems);
    if let Some(deadline) = spec.progress_deadline_seconds
        && deadline <= spec.min_ready_seconds.unwrap_or(0)
    {
        problems.invalid(&here, deadline, "must be greater than minReadySeconds");
    }
    let Some(strategy) = &spec.strategy else { return };
    let here = at.key("strategy");
    let kind = strategy.type_.as_deref().unwrap_or("RollingUpdate");
    problems.one_of(&here.key("type"), kind, &["Recreate", "RollingUpdate"]);
    let Some(rolling) = &strategy.rolling_update else { return };
    let at = here.key("rollingUpdate");
    if kind == "Recreate" {
        problems.forbidden(&at, "may not be specified when strategy `type` is 'Recreate'");
        return;
    }
    let (surge, unavailable) = (rolling.max_surge.as_ref(), rolling.max_unavailable.as_ref());
    count_or_percent(surge, &at.key("maxSurge"), problems);
    count_or_percent(unavailable, &at.key("maxUnavailable"), problems);
    if is_zero(surge) && is_zero(unavailable) {
        problems.invalid(&at.key("maxUnavailable"), 0, "may not be 0 when `maxSurge` is 0");
    }
}

/// A ReplicaSet.
pub(crate) fn replica_set(r: &apps::ReplicaSet, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    let Some(spec) = &r.spec else { return problems.required(&at, "") };
    let template = spec.template.clone().unwrap_or_default();
    workload(&spec.selector, &template, spec.replicas, &[], problems);
    natural(spec.min_ready_seconds, &at.key("minReadySeconds"), problems);
}

/// A `ReplicationController`, whose selector is a plain map.
pub(crate) fn replication_controller(r: &core::ReplicationController, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    let Some(spec) = &r.spec else { return problems.required(&at, "") };
    let Some(template) = &spec.template else {
        return problems.required(&at.key("template"), "");
    };
    let s = LabelSelector { match_labels: spec.selector.clone(), match_expressions: None };
    workload(&s, template, spec.replicas, &[], problems);
}

/// A StatefulSet.
pub(crate) fn stateful_set(s: &apps::StatefulSet, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    let Some(spec) = &s.spec else { return problems.required(&at, "") };
    let claims = spec.volume_claim_templates.as_deref().unwrap_or_default();
    workload(&spec.selector, &spec.template, spec.replicas, claims, problems);
    natural(spec.min_ready_seconds, &at.key("minReadySeconds"), problems);
    let policy = spec.pod_management_policy.as_deref().unwrap_or("OrderedReady");
    problems.one_of(&at.key("podManagementPolicy"), policy, &["OrderedReady", "Parallel"]);
    if let Some(update) = &spec.update_strategy {
        let here = at.key("updateStrategy");
        let kind = update.type_.as_deref().unwrap_or("RollingUpdate");
        problems.one_of(&here.key("type"), kind, &["OnDelete", "RollingUpdate"]);
        let partition = update.rolling_update.as_ref().and_then(|r| r.partition);
        natural(partition, &here.key("rollingUpdate").key("partition"), problems);
    }
}

/// A DaemonSet.
pub(crate) fn daemon_set(d: &apps::DaemonSet, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    let Some(spec) = &d.spec else { return problems.required(&at, "") };
    workload(&spec.selector, &spec.template, None, &[], problems);
    natural(spec.min_ready_seconds, &at.key("minReadySeconds"), problems);
    let Some(update) = &spec.update_strategy else { return };
    let here = at.key("updateStrategy");
    let kind = update.type_.as_deref().unwrap_or("RollingUpdate");
    problems.one_of(&here.key("type"), kind, &["OnDelete", "RollingUpdate"]);
    let Some(rolling) = &update.rolling_update else { return };
    let at = here.key("rollingUpdate");
    let (surge, unavailable) = (rolling.max_surge.as_ref(), rolling.max_unavailable.as_ref());
    count_or_percent(surge, &at.key("maxSurge"), problems);
    count_or_percent(unavailable, &at.key("maxUnavailable"), problems);
    if is_zero(surge) && is_zero(unavailable) {
        problems.required(&at.key("maxUnavailable"), "cannot be 0 when maxSurge is 0");
    } else if !is_zero(surge) && surge.is_some() && !is_zero(unavailable) {
        problems.invalid(&at.key("maxSurge"), 1, "may not be set when maxUnavailable is non-zero");
    }
}

/// A Job.
pub(crate) fn job(j: &batch::Job, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    let Some(spec) = &j.spec else { return problems.required(&at, "") };
    job_spec(spec, &at, problems);
    if !spec.manual_selector.unwrap_or(false) && spec.selector.is_some() {
        problems.push_hint(
            &at.key("selector"),
            "Invalid value: `selector` not auto-generated",
            "leave spec.selector out: the API server makes it",
        );
    }
}

fn job_spec(spec: &batch::JobSpec, at: &At<'_>, problems: &mut Problems) {
    natural(spec.parallelism, &at.key("parallelism"), problems);
    natural(spec.completions, &at.key("completions"), problems);
    natural(spec.active_deadline_seconds, &at.key("activeDeadlineSeconds"), problems);
    natural(spec.backoff_limit, &at.key("backoffLimit"), problems);
    natural(spec.ttl_seconds_after_finished, &at.key("ttlSecondsAfterFinished"), problems);
    let mode = spec.completion_mode.as_deref().unwrap_or("NonIndexed");
    problems.one_of(&at.key("completionMode"), mode, &["NonIndexed", "Indexed"]);
    if mode == "Indexed" {
        if spec.completions.is_none() {
            problems.required(&at.key("completions"), "when completion mode is Indexed");
        }
        if let Some(n) = spec.parallelism.filter(|n| *n > 100_000) {
            let why = "must be less than or equal to 100000 when completion mode is Indexed";
            problems.invalid(&at.key("parallelism"), n, why);
        }
    } else if spec.backoff_limit_per_index.is_some() {
        problems.invalid(
            &at.key("backoffLimitPerIndex"),
            spec.backoff_limit_per_index.unwrap_or(0),
            "requires indexed completion mode",
        );
    }
    let here = at.key("template");
    let pods = Template { claims: &[], restart: &["OnFailure", "Never"] };
    validate_pod::template(&spec.template, &here, pods, problems);
    if let Some(policy) = &spec.pod_failure_policy {
        let restart = spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref());
        if restart != Some("Never") {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            problems.invalid(&here.key("spec").key("restartPolicy"), restart.unwrap_or(""), why);
        }
        if policy.rules.len() > 20 {
            problems.push(
                &at.key("podFailurePolicy").key("rules"),
                "Too many: must have at most 20 items",
            );
        }
    }
}

/// A CronJob. Its schedule is read where it is used.
pub(crate) fn cron_job(c: &batch::CronJob, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    let Some(spec) = &c.spec else { return problems.required(&at, "") };
    if spec.schedule.is_empty() {
        problems.required(&at.key("schedule"), "");
    }
    let policy = spec.concurrency_policy.as_deref().unwrap_or("Allow");
    problems.one_of(&at.key("concurrencyPolicy"), policy, &["Allow", "Forbid", "Replace"]);
    if let Some(job) = &spec.job_template.spec {
        job_spec(job, &at.key("jobTemplate").key("spec"), problems);
    }
}

/// A PriorityClass.
pub(crate) fn priority_class(p: &scheduling::PriorityClass, problems: &mut Problems) {
    let name = p.metadata.name.as_deref().unwrap_or_default();
    if name.starts_with("system-")
        && !matches!(name, "system-cluster-critical" | "system-node-critical")
    {
        let why = "priority class names with 'system-' prefix are reserved for system use only";
        problems.forbidden(&At::ROOT.key("metadata").key("name"), why);
    } else if p.value > 1_000_000_000 && !name.starts_with("system-") {
        let why = "maximum allowed value of a user defined priority is 1000000000";
        problems.forbidden(&At::ROOT.key("value"), why);
    }
    let policy = p.preemption_policy.as_deref().unwrap_or("PreemptLowerPriority");
    problems.one_of(&At::ROOT.key("preemptionPolicy"), policy, &["Never", "PreemptLowerPriority"]);
}

/// Nothing beyond metadata.
pub(crate) fn nothing<T>(_object: &T, _problems: &mut Problems) {}

/// A node.
pub(crate) fn node(n: &core::Node, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    let list = at.key("taints");
    for (i, t) in n.spec.iter().flat_map(|s| s.taints.iter().flatten()).enumerate() {
        let here = list.index(i);
        key(&t.key, &here.key("key"), problems);
        label_value(t.value.as_deref().unwrap_or_default(), &here.key("value"), problems);
        let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        problems.one_of(&here.key("effect"), &t.effect, &known);
    }
}

/// A port number.
pub(crate) fn port(n: i32, at: &At<'_>, problems: &mut Problems) {
    if !(1..=65_535).contains(&n) {
        problems.invalid(at, n, "must be between 1 and 65535, inclusive");
    }
}

/// A Service.
pub(crate) fn service(s: &core::Service, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    let Some(spec) = &s.spec else { return problems.required(&at, "") };
    labels(spec.selector.as_ref(), &at.key("selector"), problems);
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    let known = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    problems.one_of(&at.key("type"), kind, &known);
    problems.one_of(
        &at.key("sessionAffinity"),
        spec.session_affinity.as_deref().unwrap_or("None"),
        &["ClientIP", "None"],
    );
    let ports = spec.ports.as_deref().unwrap_or_default();
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let list = at.key("ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        problems.required(&list, "");
    }
    if kind == "ExternalName" && spec.external_name.as_deref().is_none_or(str::is_empty) {
        problems.required(&at.key("externalName"), "");
    }
    let mut names = std::collections::BTreeSet::new();
    for (i, p) in ports.iter().enumerate() {
        let here = list.index(i);
        port(p.port, &here.key("port"), problems);
        if let Some(IntOrString::Int(n)) = &p.target_port {
            port(*n, &here.key("targetPort"), problems);
        }
        let protocol = p.protocol.as_deref().unwrap_or("TCP");
        problems.one_of(&here.key("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
        let name = p.name.as_deref().unwrap_or_default();
        if name.is_empty() && ports.len() > 1 {
            problems.required(&here.key("name"), "");
        } else if !name.is_empty() && !is_label(name) {
            problems.invalid(&here.key("name"), name, LABEL_1123);
        } else if !name.is_empty() && !names.insert(name) {
            problems.duplicate(&here.key("name"), name);
        }
    }
}

fn data_size(size: usize, problems: &mut Problems) {
    if size > MAX_DATA {
        let why = format!("Too long: may not be more than {MAX_DATA} bytes");
        problems.push(&At::ROOT.key("data"), why);
    }
}

/// A ConfigMap.
pub(crate) fn config_map(c: &core::ConfigMap, problems: &mut Problems) {
    let text: usize = c.data.iter().flatten().map(|(_, v)| v.len()).sum();
    let binary: usize = c.binary_data.iter().flatten().map(|(_, v)| v.0.len()).sum();
    data_size(text + binary, problems);
}

/// A Secret.
pub(crate) fn secret(s: &core::Secret, problems: &mut Problems) {
    data_size(s.data.iter().flatten().map(|(_, v)| v.0.len()).sum(), problems);
}

/// A `PersistentVolume`.
pub(crate) fn persistent_volume(v: &core::PersistentVolume, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    let Some(spec) = &v.spec else { return problems.required(&at, "") };
    if spec.access_modes.as_ref().is_none_or(Vec::is_empty) {
        problems.required(&at.key("accessModes"), "");
    }
    let here = at.key("capacity");
    let storage = spec.capacity.as_ref().and_then(|c| c.get("storage"));
    match storage {
        None => problems.required(&here, ""),
        Some(text) => positive(&text.0, &here.key("storage"), problems),
    }
}

/// A `PersistentVolumeClaim`.
pub(crate) fn claim(c: &core::PersistentVolumeClaim, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    let Some(spec) = &c.spec else { return problems.required(&at, "") };
    if spec.access_modes.as_ref().is_none_or(Vec::is_empty) {
        problems.required(&at.key("accessModes"), "at least 1 access mode is required");
    }
    let here = at.key("resources");
    let storage = spec.resources.as_ref().and_then(|r| r.requests.as_ref()?.get("storage"));
    match storage {
        None => problems.required(&here.key("storage"), ""),
        Some(text) => positive(&text.0, &here.key("requests").key("storage"), problems),
    }
}

fn positive(text: &str, at: &At<'_>, problems: &mut Problems) {
    match Quantity::parse(text) {
        Ok(q) if q > Quantity::ZERO => {}
        Ok(_) => problems.invalid(at, text, "must be greater than zero"),
        Err(why) => problems.push(at, why),
    }
}

/// A `ResourceQuota`.
pub(crate) fn quota(q: &core::ResourceQuota, problems: &mut Problems) {
    let hard = q.spec.iter().flat_map(|s| s.hard.iter().flatten());
    let spec = At::ROOT.key("spec");
    for (name, text) in hard {
        validate_pod::amount(&text.0, &spec.key("hard").key(name), problems);
    }
}

/// A `StorageClass`.
pub(crate) fn storage_class(c: &storage::StorageClass, problems: &mut Problems) {
    if c.provisioner.is_empty() {
        problems.required(&At::ROOT.key("provisioner"), "");
    }
    let mode = c.volume_binding_mode.as_deref().unwrap_or("Immediate");
    let known = ["Immediate", "WaitForFirstConsumer"];
    problems.one_of(&At::ROOT.key("volumeBindingMode"), mode, &known);
}

/// A `PodDisruptionBudget`.
pub(crate) fn pdb(b: &policy::PodDisruptionBudget, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    let Some(spec) = &b.spec else { return };
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        problems.push(&at, "Invalid value: minAvailable and maxUnavailable cannot be both set");
    }
    count_or_percent(spec.min_available.as_ref(), &at.key("minAvailable"), problems);
    count_or_percent(spec.max_unavailable.as_ref(), &at.key("maxUnavailable"), problems);
    if let Some(s) = &spec.selector {
        selector(s, &at.key("selector"), problems);
    }
}

fn hpa_bounds(min: Option<i32>, max: i32, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    let min = min.unwrap_or(1);
    if min < 1 {
        problems.invalid(&at.key("minReplicas"), min, "must be greater than or equal to 1");
    }
    if max < 1 {
        problems.invalid(&at.key("maxReplicas"), max, "must be greater than 0");
    } else if max < min {
        let why = "must be greater than or equal to `minReplicas`";
        problems.invalid(&at.key("maxReplicas"), max, why);
    }
}

/// A `HorizontalPodAutoscaler`, v2.
pub(crate) fn hpa(h: &autoscaling::v2::HorizontalPodAutoscaler, problems: &mut Problems) {
    if let Some(spec) = &h.spec {
        hpa_bounds(spec.min_replicas, spec.max_replicas, problems);
    }
}

/// A `HorizontalPodAutoscaler`, v1.
pub(crate) fn hpa_v1(h: &autoscaling::v1::HorizontalPodAutoscaler, problems: &mut Problems) {
    if let Some(spec) = &h.spec {
        hpa_bounds(spec.min_replicas, spec.max_replicas, problems);
    }
}
