//! Validation of pods and pod templates (source: `apis/core/validation/validation.go`).

use super::path::{At, Problems};
use super::validate::{NOT_NEGATIVE, is_label, key, labels, natural, port, selector};
use crate::api::quantity::Quantity;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;

/// A pod.
pub(crate) fn pod(p: &core::Pod, problems: &mut Problems) {
    let at = At::ROOT.key("spec");
    match &p.spec {
        None => problems.required(&at, ""),
        Some(spec) => pod_spec(spec, &[], &at, problems),
    }
}

/// What a workload asks of its template.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Template<'a> {
    /// Claim templates, which make volumes.
    pub(crate) claims: &'a [core::PersistentVolumeClaim],
    /// Restart policies allowed.
    pub(crate) restart: &'a [&'a str],
}

/// A template.
pub(crate) fn template(
    t: &core::PodTemplateSpec,
    at: &At<'_>,
    wanted: Template<'_>,
    problems: &mut Problems,
) {
    let meta = at.key("metadata");
    labels(t.metadata.as_ref().and_then(|m| m.labels.as_ref()), &meta.key("labels"), problems);
    let here = at.key("spec");
    let empty = core::PodSpec::default();
    let spec = t.spec.as_ref().unwrap_or(&empty);
    pod_spec(spec, wanted.claims, &here, problems);
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    let known = ["Always", "OnFailure", "Never"];
    if known.contains(&policy) {
        problems.one_of(&here.key("restartPolicy"), policy, wanted.restart);
    }
    if spec.active_deadline_seconds.is_some() && wanted.restart == ["Always"] {
        let why = "activeDeadlineSeconds in ReplicaSet is not Supported";
        problems.forbidden(&here.key("activeDeadlineSeconds"), why);
    }
}

fn pod_spec(
    s: &core::PodSpec,
    claims: &[core::PersistentVolumeClaim],
    at: &At<'_>,
    problems: &mut Problems,
) {
    let known = ["Always", "OnFailure", "Never"];
    let policy = s.restart_policy.as_deref().unwrap_or("Always");
    problems.one_of(&at.key("restartPolicy"), policy, &known);
    let here = at.key("terminationGracePeriodSeconds");
    natural(s.termination_grace_period_seconds, &here, problems);
    if let Some(n) = s.active_deadline_seconds.filter(|n| *n < 1) {
        let why = "must be between 1 and 2147483647, inclusive";
        problems.invalid(&at.key("activeDeadlineSeconds"), n, why);
    }
    let mut volumes = volumes(s, at, problems);
    volumes.extend(claims.iter().filter_map(|c| c.metadata.name.as_deref()));
    let mut names = BTreeSet::new();
    let list = at.key("containers");
    if s.containers.is_empty() {
        problems.required(&list, "");
    }
    for (i, c) in s.containers.iter().enumerate() {
        container(c, &list.index(i), &mut names, problems);
        mounts(c, &list.index(i), &volumes, problems);
    }
    let list = at.key("initContainers");
    for (i, c) in s.init_containers.iter().flatten().enumerate() {
        let here = list.index(i);
        container(c, &here, &mut names, problems);
        mounts(c, &here, &volumes, problems);
        let sidecar = c.restart_policy.as_deref() == Some("Always");
        if !sidecar && (c.readiness_probe.is_some() || c.liveness_probe.is_some()) {
            let why = "may not be set for init containers without restartPolicy=Always";
            let which = if c.liveness_probe.is_some() { "livenessProbe" } else { "readinessProbe" };
            problems.forbidden(&here.key(which), why);
        }
    }
    host_ports(s, at, problems);
    labels(s.node_selector.as_ref(), &at.key("nodeSelector"), problems);
    tolerations(s, at, problems);
    spread(s, at, problems);
    if let Some(a) = &s.affinity {
        affinity(a, &at.key("affinity"), problems);
    }
}

/// Names of the volumes, which must be unique labels.
fn volumes<'s>(s: &'s core::PodSpec, at: &At<'_>, problems: &mut Problems) -> BTreeSet<&'s str> {
    let mut names = BTreeSet::new();
    let list = at.key("volumes");
    for (i, v) in s.volumes.iter().flatten().enumerate() {
        let here = list.index(i);
        let here = here.key("name");
        if v.name.is_empty() {
            problems.required(&here, "");
        } else if !is_label(&v.name) {
            problems.invalid(&here, &v.name, "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character");
        } else if !names.insert(v.name.as_str()) {
            problems.duplicate(&here, &v.name);
        }
    }
    names
}

fn mounts(c: &core::Container, at: &At<'_>, volumes: &BTreeSet<&str>, problems: &mut Problems) {
    let list = at.key("volumeMounts");
    for (i, m) in c.volume_mounts.iter().flatten().enumerate() {
        let here = list.index(i);
        if !volumes.contains(m.name.as_str()) {
            problems.push(&here.key("name"), format!("Not found: {:?}", m.name));
        }
        if m.mount_path.is_empty() {
            problems.required(&here.key("mountPath"), "");
        }
    }
}

fn container<'s>(
    c: &'s core::Container,
    at: &At<'_>,
    names: &mut BTreeSet<&'s str>,
    problems: &mut Problems,
) {
    let here = at.key("name");
    if c.name.is_empty() {
        problems.required(&here, "");
    } else if !is_label(&c.name) {
        problems.invalid(&here, &c.name, "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')");
    } else if !names.insert(&c.name) {
        problems.duplicate(&here, &c.name);
    }
    let image = c.image.as_deref().unwrap_or_default();
    if image.is_empty() {
        problems.required(&at.key("image"), "");
    } else if image.trim() != image {
        problems.invalid(&at.key("image"), image, "must not have leading or trailing whitespace");
    }
    let pull = c.image_pull_policy.as_deref().unwrap_or("Always");
    problems.one_of(&at.key("imagePullPolicy"), pull, &["Always", "IfNotPresent", "Never"]);
    if let Some(r) = &c.resources {
        resources(r, &at.key("resources"), problems);
    }
    ports(c, at, problems);
    let probes = [
        ("startupProbe", &c.startup_probe),
        ("livenessProbe", &c.liveness_probe),
        ("readinessProbe", &c.readiness_probe),
    ];
    for (field, p) in probes {
        if let Some(p) = p {
            probe(p, &at.key(field), field, problems);
        }
    }
}

fn ports(c: &core::Container, at: &At<'_>, problems: &mut Problems) {
    let list = at.key("ports");
    let mut names = BTreeSet::new();
    for (i, p) in c.ports.iter().flatten().enumerate() {
        let here = list.index(i);
        if p.container_port == 0 {
            problems.required(&here.key("containerPort"), "");
        } else {
            port(p.container_port, &here.key("containerPort"), problems);
        }
        if let Some(n) = p.host_port.filter(|n| *n != 0) {
            port(n, &here.key("hostPort"), problems);
        }
        let protocol = p.protocol.as_deref().unwrap_or("TCP");
        problems.one_of(&here.key("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
        if let Some(name) = p.name.as_deref().filter(|n| !n.is_empty()) {
            if let Some(why) = bad_port_name(name) {
                problems.invalid(&here.key("name"), name, why);
            } else if !names.insert(name) {
                problems.duplicate(&here.key("name"), name);
            }
        }
    }
}

/// Source: apimachinery `util/validation` `IsValidPortName`.
fn bad_port_name(name: &str) -> Option<&'static str> {
    let bytes = name.as_bytes();
    if bytes.len() > 15 {
        Some("must be no more than 15 characters")
    } else if !bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-') {
        Some("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    } else if !bytes.iter().any(u8::is_ascii_lowercase) {
        Some("must contain at least one letter (a-z)")
    } else if name.contains("--") {
        Some("must not contain consecutive hyphens")
    } else if name.starts_with('-') || name.ends_with('-') {
        Some("must not begin or end with a hyphen")
    } else {
        None
    }
}

/// Host ports must not collide within a pod.
fn host_ports(s: &core::PodSpec, at: &At<'_>, problems: &mut Problems) {
    let mut taken = BTreeSet::new();
    let list = at.key("containers");
    for (i, c) in s.containers.iter().enumerate() {
        let here = list.index(i);
        let ports = here.key("ports");
        for (j, p) in c.ports.iter().flatten().enumerate() {
            let Some(n) = p.host_port.filter(|n| *n != 0) else { continue };
            let protocol = p.protocol.as_deref().unwrap_or("TCP");
            let ip = p.host_ip.as_deref().unwrap_or_default();
            if !taken.insert((protocol, ip, n)) {
                let at = ports.index(j);
                problems.duplicate(&at.key("hostPort"), &format!("{protocol}/{ip}/{n}"));
            }
        }
    }
}

/// A non-negative quantity; one that cannot be parsed is told by the conversion.
pub(crate) fn amount(text: &str, at: &At<'_>, problems: &mut Problems) -> Option<Quantity> {
    let quantity = Quantity::parse(text).ok()?;
    if quantity.is_negative() {
        problems.invalid(at, text, NOT_NEGATIVE);
    }
    Some(quantity)
}

fn resources(r: &core::ResourceRequirements, at: &At<'_>, problems: &mut Problems) {
    let native = |name: &str| {
        matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
    };
    for (field, list) in [("limits", &r.limits), ("requests", &r.requests)] {
        let here = at.key(field);
        for (name, text) in list.iter().flatten() {
            let here = here.key(name);
            key(name, &here, problems);
            if !name.contains('/') && !native(name) {
                let hint = super::path::nearest(name, ["cpu", "memory", "ephemeral-storage"])
                    .map(|near| format!("did you mean {near:?}?"))
                    .unwrap_or_default();
                problems.push_hint(
                    &here,
                    format!("Invalid value: {name:?}: must be a standard resource for containers"),
                    hint,
                );
            }
            let quantity = amount(&text.0, &here, problems);
            if name.contains('/') && quantity.is_some_and(|q| !q.is_whole()) {
                problems.invalid(&here, &text.0, "must be an integer");
            }
        }
    }
    let here = at.key("requests");
    for (name, text) in r.requests.iter().flatten() {
        let limit = r.limits.as_ref().and_then(|l| l.get(name));
        let parsed = |t: &str| Quantity::parse(t).ok();
        let (Some(request), limit) = (parsed(&text.0), limit.and_then(|l| parsed(&l.0))) else {
            continue;
        };
        // Extended resources and huge pages cannot be overcommitted.
        let exact = name.contains('/') || name.starts_with("hugepages-");
        let here = here.key(name);
        match limit {
            Some(limit) if exact && request != limit => {
                let why = format!("must be equal to {name} limit of {limit}");
                problems.invalid(&here, request.to_string(), &why);
            }
            Some(limit) if request > limit => {
                let why = format!("must be less than or equal to {name} limit of {limit}");
                problems.invalid(&here, request.to_string(), &why);
            }
            None if exact => {
                let why = "Limit must be set for non overcommitable resources";
                problems.required(&at.key("limits"), why);
            }
            Some(_) | None => {}
        }
    }
}

fn probe(p: &core::Probe, at: &At<'_>, field: &str, problems: &mut Problems) {
    let handlers =
        [p.exec.is_some(), p.http_get.is_some(), p.tcp_socket.is_some(), p.grpc.is_some()];
    match handlers.iter().filter(|h| **h).count() {
        0 => problems.required(at, "must specify a handler type"),
        1 => {}
        _ => problems.forbidden(at, "may not specify more than 1 handler type"),
    }
    natural(p.initial_delay_seconds, &at.key("initialDelaySeconds"), problems);
    natural(p.timeout_seconds, &at.key("timeoutSeconds"), problems);
    natural(p.period_seconds, &at.key("periodSeconds"), problems);
    natural(p.success_threshold, &at.key("successThreshold"), problems);
    natural(p.failure_threshold, &at.key("failureThreshold"), problems);
    if let Some(n) = p.success_threshold.filter(|n| *n > 1 && field != "readinessProbe") {
        problems.invalid(&at.key("successThreshold"), n, "must be 1");
    }
    let ports = [
        ("httpGet", p.http_get.as_ref().map(|h| &h.port)),
        ("tcpSocket", p.tcp_socket.as_ref().map(|t| &t.port)),
    ];
    for (field, target) in ports {
        if let Some(IntOrString::Int(n)) = target {
            let here = at.key(field);
            port(*n, &here.key("port"), problems);
        }
    }
}

fn tolerations(s: &core::PodSpec, at: &At<'_>, problems: &mut Problems) {
    let list = at.key("tolerations");
    for (i, t) in s.tolerations.iter().flatten().enumerate() {
        let here = list.index(i);
        let operator = t.operator.as_deref().filter(|o| !o.is_empty()).unwrap_or("Equal");
        problems.one_of(&here.key("operator"), operator, &["Equal", "Exists"]);
        let name = t.key.as_deref().unwrap_or_default();
        if !name.is_empty() {
            key(name, &here.key("key"), problems);
        } else if operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            problems.invalid(&here.key("operator"), operator, why);
        }
        if operator == "Exists" && t.value.as_deref().is_some_and(|v| !v.is_empty()) {
            let why = "value must be empty when `operator` is 'Exists'";
            problems.invalid(&here.key("operator"), operator, why);
        }
        let effect = t.effect.as_deref().unwrap_or_default();
        if !effect.is_empty() {
            let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            problems.one_of(&here.key("effect"), effect, &known);
        }
        if t.toleration_seconds.is_some() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            problems.invalid(&here.key("effect"), effect, why);
        }
    }
}

fn spread(s: &core::PodSpec, at: &At<'_>, problems: &mut Problems) {
    let list = at.key("topologySpreadConstraints");
    for (i, c) in s.topology_spread_constraints.iter().flatten().enumerate() {
        let here = list.index(i);
        if c.max_skew < 1 {
            problems.invalid(&here.key("maxSkew"), c.max_skew, "must be greater than zero");
        }
        if c.topology_key.is_empty() {
            problems.required(&here.key("topologyKey"), "can not be empty");
        } else {
            key(&c.topology_key, &here.key("topologyKey"), problems);
        }
        let known = ["DoNotSchedule", "ScheduleAnyway"];
        problems.one_of(&here.key("whenUnsatisfiable"), &c.when_unsatisfiable, &known);
        if let Some(n) = c.min_domains.filter(|n| *n < 1) {
            problems.invalid(&here.key("minDomains"), n, "must be greater than zero");
        }
        if let Some(s) = &c.label_selector {
            selector(s, &here.key("labelSelector"), problems);
        }
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// A node affinity, of a pod or of `NodeAffinityArgs`.
pub(crate) fn node_affinity(node: &core::NodeAffinity, at: &At<'_>, problems: &mut Problems) {
    if let Some(required) = &node.required_during_scheduling_ignored_during_execution {
        let here = at.key(REQUIRED);
        let list = here.key("nodeSelectorTerms");
        if required.node_selector_terms.is_empty() {
            problems.required(&list, "must have at least one node selector term");
        }
        for (i, t) in required.node_selector_terms.iter().enumerate() {
            node_term(t, &list.index(i), problems);
        }
    }
    let list = at.key(PREFERRED);
    let preferred = &node.preferred_during_scheduling_ignored_during_execution;
    for (i, p) in preferred.iter().flatten().enumerate() {
        weight(p.weight, &list.index(i), problems);
        node_term(&p.preference, &list.index(i).key("preference"), problems);
    }
}

fn affinity(a: &core::Affinity, at: &At<'_>, problems: &mut Problems) {
    if let Some(node) = &a.node_affinity {
        node_affinity(node, &at.key("nodeAffinity"), problems);
    }
    let pod = a.pod_affinity.as_ref();
    let anti = a.pod_anti_affinity.as_ref();
    let sides = [
        (
            "podAffinity",
            pod.and_then(|p| p.required_during_scheduling_ignored_during_execution.as_ref()),
            pod.and_then(|p| p.preferred_during_scheduling_ignored_during_execution.as_ref()),
        ),
        (
            "podAntiAffinity",
            anti.and_then(|p| p.required_during_scheduling_ignored_during_execution.as_ref()),
            anti.and_then(|p| p.preferred_during_scheduling_ignored_during_execution.as_ref()),
        ),
    ];
    for (field, required, preferred) in sides {
        let here = at.key(field);
        let list = here.key(REQUIRED);
        for (i, t) in required.into_iter().flatten().enumerate() {
            pod_term(t, &list.index(i), problems);
        }
        let list = here.key(PREFERRED);
        for (i, w) in preferred.into_iter().flatten().enumerate() {
            weight(w.weight, &list.index(i), problems);
            pod_term(&w.pod_affinity_term, &list.index(i).key("podAffinityTerm"), problems);
        }
    }
}

fn weight(n: i32, at: &At<'_>, problems: &mut Problems) {
    if !(1..=100).contains(&n) {
        problems.invalid(&at.key("weight"), n, "must be in the range 1-100");
    }
}

fn node_term(t: &core::NodeSelectorTerm, at: &At<'_>, problems: &mut Problems) {
    let list = at.key("matchExpressions");
    for (i, r) in t.match_expressions.iter().flatten().enumerate() {
        let here = list.index(i);
        key(&r.key, &here.key("key"), problems);
        let values = r.values.as_deref().unwrap_or_default();
        let at = here.key("values");
        match r.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                problems.required(&at, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                problems.forbidden(&at, why);
            }
            "Gt" | "Lt" if values.len() != 1 => {
                let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                problems.required(&at, why);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => {
                problems.invalid(&here.key("operator"), other, "not a valid selector operator");
            }
        }
    }
    let list = at.key("matchFields");
    for (i, r) in t.match_fields.iter().flatten().enumerate() {
        if r.key != "metadata.name" {
            let here = list.index(i);
            problems.invalid(&here.key("key"), &r.key, "not a valid field selector key");
        }
    }
}

fn pod_term(t: &core::PodAffinityTerm, at: &At<'_>, problems: &mut Problems) {
    if t.topology_key.is_empty() {
        problems.required(&at.key("topologyKey"), "can not be empty");
    } else {
        key(&t.topology_key, &at.key("topologyKey"), problems);
    }
    for (field, s) in
        [("labelSelector", &t.label_selector), ("namespaceSelector", &t.namespace_selector)]
    {
        if let Some(s) = s {
            selector(s, &at.key(field), problems);
        }
    }
}
