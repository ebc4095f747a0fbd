//! Pod specs and statuses, and the small parts every object has.

use crate::api::Stamp;
use crate::api::labels::{Op, Requirement};
use crate::api::pod::{
    Affinity, Conditions, Container, ContainerState, ContainerStatus, Effect, Hook,
    NodeSelectorTerm, PodAffinityTerm, PodSpec, PodStatus, Port, PreemptionPolicy, Probe, Protocol,
    PullPolicy, Qos, RestartPolicy, SpreadConstraint, Taint, Toleration, Volume, VolumeSource,
};
use crate::api::quantity::Quantity;
use crate::api::resources::{Named, Resources};
use crate::engine::Sym;
use serde_json::{Map, Value, json};

type Object = Map<String, Value>;

/// Sets a field if there is something to set.
pub(super) fn put(object: &mut Object, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), value.into());
    }
}

/// Sets a timestamp unless it is absent.
pub(super) fn set_stamp(object: &mut Object, key: &str, stamp: Stamp) {
    put(object, key, (!stamp.is_none()).then(|| stamp.to_string()));
}

fn text(sym: Sym) -> Option<&'static str> {
    (!sym.is_empty()).then(|| sym.as_str())
}

fn list<T>(items: &[T], f: impl Fn(&T) -> Value) -> Option<Value> {
    (!items.is_empty()).then(|| Value::Array(items.iter().map(f).collect()))
}

/// A resource list; cpu and memory of amount 0 only if they are named.
pub(super) fn resources(r: &Resources, named: Named) -> Object {
    let mut out = Object::new();
    let mut set = |name: &str, quantity: Quantity, always: bool| {
        if always || !quantity.is_zero() {
            out.insert(name.to_owned(), quantity.to_string().into());
        }
    };
    set("cpu", Quantity::from_milli(r.cpu_milli), named.cpu);
    set("memory", Quantity::from_bytes(r.memory), named.memory);
    set("ephemeral-storage", Quantity::from_bytes(r.ephemeral), false);
    set("pods", Quantity::from_value(r.pods), false);
    for (name, amount) in &r.scalars {
        set(name.as_str(), Quantity::from_value(*amount), true);
    }
    out
}

/// Conditions; none if there are none.
pub(super) fn conditions(all: &Conditions, heartbeat: Option<Stamp>) -> Option<Value> {
    let all: Vec<_> = all.iter().collect();
    list(&all, |c| {
        let mut out = Object::new();
        out.insert("type".into(), c.kind.as_str().into());
        out.insert("status".into(), c.status.as_str().into());
        put(&mut out, "reason", text(c.reason));
        put(&mut out, "message", text(c.message));
        set_stamp(&mut out, "lastTransitionTime", c.transition);
        set_stamp(&mut out, "lastHeartbeatTime", heartbeat.unwrap_or_default());
        out.into()
    })
}

fn effect(e: Effect) -> &'static str {
    match e {
        Effect::NoSchedule => "NoSchedule",
        Effect::PreferNoSchedule => "PreferNoSchedule",
        Effect::NoExecute => "NoExecute",
    }
}

/// A taint.
pub(super) fn taint(t: &Taint) -> Value {
    let mut out = Object::new();
    out.insert("key".into(), t.key.as_str().into());
    put(&mut out, "value", text(t.value));
    out.insert("effect".into(), effect(t.effect).into());
    set_stamp(&mut out, "timeAdded", t.added);
    out.into()
}

fn toleration(t: &Toleration) -> Value {
    let mut out = Object::new();
    put(&mut out, "key", text(t.key));
    out.insert("operator".into(), if t.exists { "Exists" } else { "Equal" }.into());
    put(&mut out, "value", text(t.value));
    put(&mut out, "effect", t.effect.map(effect));
    put(&mut out, "tolerationSeconds", t.seconds);
    out.into()
}

/// A requirement of a selector.
pub(super) fn requirement(r: &Requirement) -> Value {
    let operator = match r.op {
        Op::In => "In",
        Op::NotIn => "NotIn",
        Op::Exists => "Exists",
        Op::DoesNotExist => "DoesNotExist",
        Op::Gt => "Gt",
        Op::Lt => "Lt",
    };
    let mut out = Object::new();
    out.insert("key".into(), r.key.as_str().into());
    out.insert("operator".into(), operator.into());
    put(&mut out, "values", list(&r.values, |v| v.as_str().into()));
    out.into()
}

/// A pod spec: the original document with the fields that admission and updates change.
pub(super) fn pod_spec(s: &PodSpec) -> Value {
    let mut out = match &s.doc {
        Some(doc) => doc.as_object().cloned().unwrap_or_default(),
        None => built(s),
    };
    for live in ["tolerations", "schedulingGates"] {
        out.remove(live);
    }
    put(&mut out, "tolerations", list(&s.tolerations, toleration));
    put(&mut out, "schedulingGates", list(&s.gates, |g| json!({"name": g})));
    put(&mut out, "priority", (s.priority != 0).then_some(s.priority));
    out.into()
}

/// A spec that no manifest gave.
fn built(s: &PodSpec) -> Object {
    let mut out = Object::new();
    put(&mut out, "containers", list(&s.containers, container));
    put(&mut out, "initContainers", list(&s.init_containers, container));
    put(&mut out, "nodeName", text(s.node_name));
    let selector: Object =
        s.node_selector.iter().map(|(k, v)| (k.to_string(), v.as_str().into())).collect();
    put(&mut out, "nodeSelector", (!selector.is_empty()).then_some(selector));
    put(&mut out, "affinity", s.affinity.as_deref().map(affinity));
    put(&mut out, "topologySpreadConstraints", list(&s.spread, spread));
    put(&mut out, "volumes", list(&s.volumes, volume));
    put(&mut out, "priorityClassName", text(s.priority_class));
    if s.preemption == PreemptionPolicy::Never {
        out.insert("preemptionPolicy".into(), "Never".into());
    }
    put(&mut out, "schedulerName", text(s.scheduler_name));
    let restart = match s.restart {
        RestartPolicy::Always => "Always",
        RestartPolicy::OnFailure => "OnFailure",
        RestartPolicy::Never => "Never",
    };
    out.insert("restartPolicy".into(), restart.into());
    out.insert("terminationGracePeriodSeconds".into(), s.grace_s.into());
    put(&mut out, "hostNetwork", s.host_network.then_some(true));
    put(&mut out, "activeDeadlineSeconds", s.active_deadline_s);
    let overhead = resources(&s.overhead, Named::default());
    put(&mut out, "overhead", (!overhead.is_empty()).then_some(overhead));
    if let Some((requests, named)) = &s.pod_level {
        out.insert("resources".into(), json!({"requests": resources(requests, *named)}));
    }
    put(&mut out, "readinessGates", list(&s.readiness_gates, |g| json!({"conditionType": g})));
    put(&mut out, "hostname", text(s.hostname.0));
    put(&mut out, "subdomain", text(s.hostname.1));
    put(&mut out, "serviceAccountName", text(s.service_account));
    put(&mut out, "runtimeClassName", text(s.runtime_class));
    out
}

fn container(c: &Container) -> Value {
    let mut out = Object::new();
    out.insert("name".into(), c.name.as_str().into());
    put(&mut out, "image", text(c.image));
    let mut amounts = Object::new();
    let requests = resources(&c.requests, c.requests_named);
    put(&mut amounts, "requests", (!requests.is_empty()).then_some(requests));
    let limits = resources(&c.limits, c.limits_named);
    put(&mut amounts, "limits", (!limits.is_empty()).then_some(limits));
    put(&mut out, "resources", (!amounts.is_empty()).then_some(amounts));
    put(&mut out, "ports", list(&c.ports, port));
    let pull = match c.pull {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    };
    out.insert("imagePullPolicy".into(), pull.into());
    put(&mut out, "restartPolicy", c.sidecar.then_some("Always"));
    put(&mut out, "startupProbe", c.startup.as_ref().map(probe));
    put(&mut out, "livenessProbe", c.liveness.as_ref().map(probe));
    put(&mut out, "readinessProbe", c.readiness.as_ref().map(probe));
    let mut hooks = Map::new();
    put(&mut hooks, "postStart", c.post_start.map(hook));
    put(&mut hooks, "preStop", c.pre_stop.map(hook));
    put(&mut out, "lifecycle", (!hooks.is_empty()).then_some(hooks));
    out.into()
}

fn hook(hook: Hook) -> Value {
    match hook {
        Hook::Sleep(seconds) => json!({"sleep": {"seconds": seconds}}),
        Hook::Run => json!({"exec": {}}),
    }
}

fn port(p: &Port) -> Value {
    let protocol = match p.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    };
    let mut out = Object::new();
    put(&mut out, "name", text(p.name));
    out.insert("containerPort".into(), p.container_port.into());
    put(&mut out, "hostPort", (p.host_port > 0).then_some(p.host_port));
    put(&mut out, "hostIP", text(p.host_ip));
    out.insert("protocol".into(), protocol.into());
    out.into()
}

/// What a probe asks is not modelled; a command that does nothing stands for it.
fn probe(p: &Probe) -> Value {
    let mut out = Object::new();
    out.insert("exec".into(), json!({"command": ["true"]}));
    put(&mut out, "initialDelaySeconds", (p.initial_delay_s > 0).then_some(p.initial_delay_s));
    out.insert("periodSeconds".into(), p.period_s.into());
    out.insert("timeoutSeconds".into(), p.timeout_s.into());
    out.insert("successThreshold".into(), p.success_threshold.into());
    out.insert("failureThreshold".into(), p.failure_threshold.into());
    put(&mut out, "terminationGracePeriodSeconds", p.grace_s);
    out.into()
}

pub(super) fn node_term(t: &NodeSelectorTerm) -> Value {
    let mut out = Object::new();
    put(&mut out, "matchExpressions", list(&t.expressions, requirement));
    put(&mut out, "matchFields", list(&t.fields, requirement));
    out.into()
}

fn pod_term(t: &PodAffinityTerm) -> Value {
    let mut out = Object::new();
    put(&mut out, "labelSelector", t.selector.as_ref().map(super::export::selector));
    put(&mut out, "namespaces", list(&t.namespaces, |n| n.as_str().into()));
    put(&mut out, "namespaceSelector", t.namespace_selector.as_ref().map(super::export::selector));
    out.insert("topologyKey".into(), t.topology_key.as_str().into());
    out.into()
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn affinity(a: &Affinity) -> Value {
    let mut out = Object::new();
    let mut node = Object::new();
    let required = a.node_required.as_ref();
    put(
        &mut node,
        REQUIRED,
        required.map(
            |terms| json!({"nodeSelectorTerms": terms.iter().map(node_term).collect::<Vec<_>>()}),
        ),
    );
    let weighted = |w: i64, field: &str, term: Value| json!({"weight": w, field: term});
    put(
        &mut node,
        PREFERRED,
        list(&a.node_preferred, |p| weighted(p.weight, "preference", node_term(&p.term))),
    );
    put(&mut out, "nodeAffinity", (!node.is_empty()).then_some(node));
    let sides = [
        ("podAffinity", &a.pod_required, &a.pod_preferred),
        ("podAntiAffinity", &a.anti_required, &a.anti_preferred),
    ];
    for (field, required, preferred) in sides {
        let mut side = Object::new();
        put(&mut side, REQUIRED, list(required, pod_term));
        put(
            &mut side,
            PREFERRED,
            list(preferred, |p| weighted(p.weight, "podAffinityTerm", pod_term(&p.term))),
        );
        put(&mut out, field, (!side.is_empty()).then_some(side));
    }
    out.into()
}

fn spread(c: &SpreadConstraint) -> Value {
    let mut out = Object::new();
    out.insert("maxSkew".into(), c.max_skew.into());
    out.insert("topologyKey".into(), c.topology_key.as_str().into());
    let when = if c.hard { "DoNotSchedule" } else { "ScheduleAnyway" };
    out.insert("whenUnsatisfiable".into(), when.into());
    put(&mut out, "labelSelector", c.selector.as_ref().map(super::export::selector));
    put(&mut out, "minDomains", c.min_domains);
    put(&mut out, "nodeAffinityPolicy", (!c.honor_affinity).then_some("Ignore"));
    put(&mut out, "nodeTaintsPolicy", c.honor_taints.then_some("Honor"));
    put(&mut out, "matchLabelKeys", list(&c.match_label_keys, |k| k.as_str().into()));
    out.into()
}

fn volume(v: &Volume) -> Value {
    let (field, source) = match v.source {
        VolumeSource::Claim(name, read_only) => {
            ("persistentVolumeClaim", json!({"claimName": name, "readOnly": read_only}))
        }
        VolumeSource::Ephemeral(ref template) => {
            let mut claim = super::export_storage::claim(&template.0);
            claim.retain(|key, _| key == "metadata" || key == "spec");
            ("ephemeral", json!({"volumeClaimTemplate": claim}))
        }
        VolumeSource::GcePd(name, read_only) => {
            ("gcePersistentDisk", json!({"pdName": name, "readOnly": read_only}))
        }
        VolumeSource::AwsEbs(id, read_only) => {
            ("awsElasticBlockStore", json!({"volumeID": id, "readOnly": read_only}))
        }
        VolumeSource::Iscsi(iqn, read_only) => {
            ("iscsi", json!({"iqn": iqn, "readOnly": read_only, "targetPortal": "", "lun": 0}))
        }
        VolumeSource::Rbd(monitors, pool, image, read_only) => {
            let monitors: Vec<&str> = monitors.as_str().split(',').collect();
            let source = json!({
                "monitors": monitors, "pool": pool, "image": image, "readOnly": read_only,
            });
            ("rbd", source)
        }
        VolumeSource::ConfigMap(name, optional) => {
            ("configMap", json!({"name": name, "optional": optional}))
        }
        VolumeSource::Secret(name, optional) => {
            ("secret", json!({"secretName": name, "optional": optional}))
        }
        VolumeSource::Csi(driver) => ("csi", json!({"driver": driver})),
        VolumeSource::Other => ("emptyDir", json!({})),
    };
    json!({"name": v.name, field: source})
}

/// A pod status.
pub(super) fn pod_status(s: &PodStatus) -> Object {
    let qos = match s.qos {
        Qos::BestEffort => "BestEffort",
        Qos::Burstable => "Burstable",
        Qos::Guaranteed => "Guaranteed",
    };
    let mut out = Object::new();
    out.insert("phase".into(), s.phase.as_str().into());
    out.insert("qosClass".into(), qos.into());
    put(&mut out, "conditions", conditions(&s.conditions, None));
    put(&mut out, "reason", text(s.reason));
    put(&mut out, "message", text(s.message));
    if s.pod_ip != 0 {
        let ip = std::net::Ipv4Addr::from(s.pod_ip).to_string();
        out.insert("podIPs".into(), json!([{"ip": ip}]));
        out.insert("podIP".into(), ip.into());
    }
    set_stamp(&mut out, "startTime", s.start);
    put(&mut out, "nominatedNodeName", text(s.nominated));
    let status = |c: &ContainerStatus| container_status(c, s);
    put(&mut out, "containerStatuses", list(&s.containers, status));
    put(&mut out, "initContainerStatuses", list(&s.init_containers, status));
    out
}

fn container_status(c: &ContainerStatus, pod: &PodStatus) -> Value {
    let mut out = Object::new();
    out.insert("name".into(), c.name.as_str().into());
    out.insert("image".into(), c.image.as_str().into());
    out.insert("imageID".into(), "".into());
    out.insert("state".into(), state(&c.state));
    out.insert("lastState".into(), c.last.as_ref().map_or_else(|| json!({}), state));
    out.insert("restartCount".into(), c.restarts.into());
    out.insert("ready".into(), c.ready.into());
    out.insert("started".into(), c.started.into());
    let resized = pod.resized.iter().flat_map(|r| &r.containers).find(|(n, ..)| *n == c.name);
    if let Some((_, allocated, actual)) = resized {
        let amounts = |r: &Resources| resources(r, Named::default());
        put(&mut out, "allocatedResources", allocated.as_ref().map(amounts));
        put(&mut out, "resources", actual.as_ref().map(|r| json!({"requests": amounts(r)})));
    }
    out.into()
}

fn state(s: &ContainerState) -> Value {
    let mut out = Object::new();
    match *s {
        ContainerState::Waiting { reason } => {
            put(&mut out, "reason", text(reason));
            json!({"waiting": out})
        }
        ContainerState::Running { started } => {
            set_stamp(&mut out, "startedAt", started);
            json!({"running": out})
        }
        ContainerState::Terminated { exit_code, reason, started, finished } => {
            out.insert("exitCode".into(), exit_code.into());
            put(&mut out, "reason", text(reason));
            if reason.as_str() == "ContainerStatusUnknown" {
                let lost = "The container could not be located when the pod was terminated";
                out.insert("message".into(), lost.into());
            }
            set_stamp(&mut out, "startedAt", started);
            set_stamp(&mut out, "finishedAt", finished);
            json!({"terminated": out})
        }
    }
}
