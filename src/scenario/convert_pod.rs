//! Pods and pod templates to the compact form.

use super::convert::{
    annotations, conditions, effect, labels, meta, nat, operator, resources, selector, stamp, sym,
};
use super::path::{At, Problems};
use crate::api::labels::Requirement;
use crate::api::pod::{
    Affinity, ConfigUse, Container, ContainerState, ContainerStatus, Hook, NodeSelectorTerm, Phase,
    Pod, PodAffinityTerm, PodSpec, PodStatus, Port, PreemptionPolicy, PreferredNodeTerm,
    PreferredPodTerm, Probe, Protocol, PullPolicy, Qos, Resized, RestartPolicy, SpreadConstraint,
    Toleration, Volume, VolumeSource,
};
use crate::api::storage::{ClaimTemplate, PersistentVolumeClaim};
use crate::api::workload::PodTemplate;
use crate::engine::Sym;
use k8s_openapi::api::core::v1 as core;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pod, with its status as dumped.
pub(crate) fn pod(p: &core::Pod, doc: &Value, problems: &mut Problems) -> Pod {
    let annotations = p.metadata.annotations.as_ref();
    let empty = core::PodSpec::default();
    let spec = pod_spec(
        p.spec.as_ref().unwrap_or(&empty),
        doc.get("spec"),
        annotations,
        &At::ROOT,
        problems,
    );
    let mut status = p.status.as_ref().map(|s| pod_status(s, problems)).unwrap_or_default();
    if p.status.as_ref().is_none_or(|s| s.qos_class.is_none()) {
        status.qos = spec.qos();
    }
    Pod { meta: meta(true, &p.metadata), node: spec.node_name, spec: Arc::new(spec), status }
}

/// A pod template.
pub(crate) fn template(
    t: &core::PodTemplateSpec,
    doc: Option<&Value>,
    at: &At<'_>,
    problems: &mut Problems,
) -> Arc<PodTemplate> {
    let m = t.metadata.clone().unwrap_or_default();
    let empty = core::PodSpec::default();
    let spec = pod_spec(
        t.spec.as_ref().unwrap_or(&empty),
        doc.and_then(|d| d.get("spec")),
        m.annotations.as_ref(),
        at,
        problems,
    );
    Arc::new(PodTemplate {
        labels: labels(m.labels.as_ref()),
        annotations: annotations(m.annotations.as_ref()),
        spec: Arc::new(spec),
    })
}

/// A pod spec; `at` is where the pod or template stands.
pub(crate) fn pod_spec(
    s: &core::PodSpec,
    doc: Option<&Value>,
    annotations: Option<&BTreeMap<String, String>>,
    at: &At<'_>,
    problems: &mut Problems,
) -> PodSpec {
    let here = at.key("spec");
    let mut spec = PodSpec {
        containers: containers(&s.containers, &here.key("containers"), problems),
        init_containers: containers(
            s.init_containers.as_deref().unwrap_or_default(),
            &here.key("initContainers"),
            problems,
        ),
        affinity: s.affinity.as_ref().map(|a| Arc::new(affinity(a))),
        tolerations: s.tolerations.iter().flatten().map(toleration).collect(),
        spread: s.topology_spread_constraints.iter().flatten().map(spread).collect(),
        gates: s.scheduling_gates.iter().flatten().map(|g| Sym::new(&g.name)).collect(),
        volumes: s.volumes.iter().flatten().map(|v| volume(v, problems)).collect(),
        overhead: resources(s.overhead.as_ref(), &here.key("overhead"), problems).0,
        pod_level: s.resources.as_ref().map(|r| {
            resources(r.requests.as_ref(), &here.key("resources").key("requests"), problems)
        }),
        readiness_gates: s
            .readiness_gates
            .iter()
            .flatten()
            .map(|g| Sym::new(&g.condition_type))
            .collect(),
        doc: doc.map(|d| Arc::new(d.clone())),
        ..scalars(s)
    };
    let meta = at.key("metadata");
    let said = meta.key("annotations");
    spec.behaviour = super::behaviour::read(&spec, annotations, &said, problems);
    spec.sum_requests();
    spec
}

/// The fields of a pod spec that are a single value.
fn scalars(s: &core::PodSpec) -> PodSpec {
    PodSpec {
        node_name: sym(s.node_name.as_ref()),
        node_selector: s
            .node_selector
            .iter()
            .flatten()
            .map(|(k, v)| (Sym::new(k), Sym::new(v)))
            .collect(),
        priority_class: sym(s.priority_class_name.as_ref()),
        priority: s.priority.unwrap_or(0),
        preemption: match s.preemption_policy.as_deref() {
            Some("Never") => PreemptionPolicy::Never,
            _ => PreemptionPolicy::PreemptLowerPriority,
        },
        scheduler_name: Sym::new(
            s.scheduler_name.as_deref().filter(|n| !n.is_empty()).unwrap_or("default-scheduler"),
        ),
        restart: match s.restart_policy.as_deref() {
            Some("OnFailure") => RestartPolicy::OnFailure,
            Some("Never") => RestartPolicy::Never,
            _ => RestartPolicy::Always,
        },
        grace_s: nat(s.termination_grace_period_seconds.unwrap_or(30)),
        host_network: s.host_network.unwrap_or(false),
        active_deadline_s: s.active_deadline_seconds.map(nat),
        hostname: (sym(s.hostname.as_ref()), sym(s.subdomain.as_ref())),
        service_account: sym(s.service_account_name.as_ref().or(s.service_account.as_ref())),
        runtime_class: sym(s.runtime_class_name.as_ref()),
        ..PodSpec::default()
    }
}

fn containers(list: &[core::Container], at: &At<'_>, problems: &mut Problems) -> Vec<Container> {
    list.iter().enumerate().map(|(i, c)| container(c, &at.index(i), problems)).collect()
}

fn container(c: &core::Container, at: &At<'_>, problems: &mut Problems) -> Container {
    let here = at.key("resources");
    let wanted = c.resources.as_ref();
    let (requests, requests_named) =
        resources(wanted.and_then(|r| r.requests.as_ref()), &here.key("requests"), problems);
    let (limits, limits_named) =
        resources(wanted.and_then(|r| r.limits.as_ref()), &here.key("limits"), problems);
    let image = c.image.as_deref().unwrap_or_default();
    Container {
        name: Sym::new(&c.name),
        image: Sym::new(image),
        requests,
        requests_named,
        limits,
        limits_named,
        ports: c.ports.iter().flatten().map(port).collect(),
        pull: match c.image_pull_policy.as_deref() {
            Some("Always") => PullPolicy::Always,
            Some("Never") => PullPolicy::Never,
            Some(_) => PullPolicy::IfNotPresent,
            None if super::defaults::latest(image) => PullPolicy::Always,
            None => PullPolicy::IfNotPresent,
        },
        sidecar: c.restart_policy.as_deref() == Some("Always"),
        startup: c.startup_probe.as_ref().map(probe),
        liveness: c.liveness_probe.as_ref().map(probe),
        readiness: c.readiness_probe.as_ref().map(probe),
        post_start: c.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()).map(hook),
        pre_stop: c.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref()).map(hook),
        config: environment(c),
    }
}

/// ConfigMaps and Secrets of `envFrom` and `env`.
fn environment(c: &core::Container) -> Vec<ConfigUse> {
    let one = |secret, name: &str, key: &str, optional: Option<bool>| ConfigUse {
        secret,
        name: Sym::new(name),
        key: Sym::new(key),
        optional: optional.unwrap_or(false),
    };
    let whole = c.env_from.iter().flatten().flat_map(|from| {
        let config = from.config_map_ref.as_ref().map(|r| one(false, &r.name, "", r.optional));
        let secret = from.secret_ref.as_ref().map(|r| one(true, &r.name, "", r.optional));
        config.into_iter().chain(secret)
    });
    let single =
        c.env.iter().flatten().filter_map(|var| var.value_from.as_ref()).flat_map(|from| {
            let config = from.config_map_key_ref.as_ref();
            let config = config.map(|r| one(false, &r.name, &r.key, r.optional));
            let secret = from.secret_key_ref.as_ref();
            let secret = secret.map(|r| one(true, &r.name, &r.key, r.optional));
            config.into_iter().chain(secret)
        });
    whole.chain(single).collect()
}

fn hook(hook: &core::LifecycleHandler) -> Hook {
    let sleep = hook.sleep.as_ref();
    sleep.map_or(Hook::Run, |s| Hook::Sleep(u32::try_from(s.seconds).unwrap_or(0)))
}

fn port(p: &core::ContainerPort) -> Port {
    let number = |n: i32| u16::try_from(n).unwrap_or(0);
    Port {
        name: sym(p.name.as_ref()),
        container_port: number(p.container_port),
        host_port: number(p.host_port.unwrap_or(0)),
        host_ip: sym(p.host_ip.as_ref()),
        protocol: match p.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
    }
}

fn probe(p: &core::Probe) -> Probe {
    // Zero counts as not given, as in Go.
    let or = |value: Option<i32>, default: u32| value.filter(|v| *v != 0).map_or(default, nat);
    Probe {
        initial_delay_s: or(p.initial_delay_seconds, 0),
        period_s: or(p.period_seconds, 10),
        timeout_s: or(p.timeout_seconds, 1),
        success_threshold: or(p.success_threshold, 1),
        failure_threshold: or(p.failure_threshold, 3),
        grace_s: p.termination_grace_period_seconds.map(nat),
    }
}

fn toleration(t: &core::Toleration) -> Toleration {
    Toleration {
        key: sym(t.key.as_ref()),
        exists: t.operator.as_deref() == Some("Exists"),
        value: sym(t.value.as_ref()),
        effect: t.effect.as_deref().and_then(effect),
        seconds: t.toleration_seconds,
    }
}

pub(crate) fn affinity(a: &core::Affinity) -> Affinity {
    let node = a.node_affinity.as_ref();
    let pod = a.pod_affinity.as_ref();
    let anti = a.pod_anti_affinity.as_ref();
    let required =
        node.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref());
    Affinity {
        node_required: required.map(|r| r.node_selector_terms.iter().map(node_term).collect()),
        node_preferred: node
            .and_then(|n| n.preferred_during_scheduling_ignored_during_execution.as_ref())
            .into_iter()
            .flatten()
            .map(|p| PreferredNodeTerm {
                weight: i64::from(p.weight),
                term: node_term(&p.preference),
            })
            .collect(),
        pod_required: pod_terms(
            pod.and_then(|p| p.required_during_scheduling_ignored_during_execution.as_ref()),
        ),
        pod_preferred: weighted_terms(
            pod.and_then(|p| p.preferred_during_scheduling_ignored_during_execution.as_ref()),
        ),
        anti_required: pod_terms(
            anti.and_then(|p| p.required_during_scheduling_ignored_during_execution.as_ref()),
        ),
        anti_preferred: weighted_terms(
            anti.and_then(|p| p.preferred_during_scheduling_ignored_during_execution.as_ref()),
        ),
    }
}

pub(crate) fn node_term(t: &core::NodeSelectorTerm) -> NodeSelectorTerm {
    let requirements = |list: Option<&Vec<core::NodeSelectorRequirement>>| -> Vec<Requirement> {
        list.into_iter()
            .flatten()
            .map(|r| Requirement {
                key: Sym::new(&r.key),
                op: operator(&r.operator),
                values: r.values.iter().flatten().map(|v| Sym::new(v)).collect(),
            })
            .collect()
    };
    NodeSelectorTerm {
        expressions: requirements(t.match_expressions.as_ref()),
        fields: requirements(t.match_fields.as_ref()),
    }
}

fn pod_term(t: &core::PodAffinityTerm) -> PodAffinityTerm {
    PodAffinityTerm {
        selector: t.label_selector.as_ref().map(selector),
        namespaces: t.namespaces.iter().flatten().map(|n| Sym::new(n)).collect(),
        namespace_selector: t.namespace_selector.as_ref().map(selector),
        topology_key: Sym::new(&t.topology_key),
    }
}

fn pod_terms(list: Option<&Vec<core::PodAffinityTerm>>) -> Vec<PodAffinityTerm> {
    list.into_iter().flatten().map(pod_term).collect()
}

fn weighted_terms(list: Option<&Vec<core::WeightedPodAffinityTerm>>) -> Vec<PreferredPodTerm> {
    list.into_iter()
        .flatten()
        .map(|w| PreferredPodTerm {
            weight: i64::from(w.weight),
            term: pod_term(&w.pod_affinity_term),
        })
        .collect()
}

pub(crate) fn spread(c: &core::TopologySpreadConstraint) -> SpreadConstraint {
    SpreadConstraint {
        max_skew: c.max_skew,
        topology_key: Sym::new(&c.topology_key),
        hard: c.when_unsatisfiable != "ScheduleAnyway",
        selector: c.label_selector.as_ref().map(selector),
        min_domains: c.min_domains,
        honor_affinity: c.node_affinity_policy.as_deref() != Some("Ignore"),
        honor_taints: c.node_taints_policy.as_deref() == Some("Honor"),
        match_label_keys: c.match_label_keys.iter().flatten().map(|k| Sym::new(k)).collect(),
    }
}

fn volume(v: &core::Volume, problems: &mut Problems) -> Volume {
    Volume { name: Sym::new(&v.name), source: volume_source(v, problems) }
}

fn volume_source(v: &core::Volume, problems: &mut Problems) -> VolumeSource {
    let flag = |b: Option<bool>| b.unwrap_or(false);
    if let Some(c) = &v.persistent_volume_claim {
        VolumeSource::Claim(Sym::new(&c.claim_name), flag(c.read_only))
    } else if let Some(e) = &v.ephemeral {
        let template = e.volume_claim_template.clone().unwrap_or_default();
        let claim = core::PersistentVolumeClaim {
            metadata: template.metadata.unwrap_or_default(),
            spec: Some(template.spec),
            status: None,
        };
        let claim = super::convert_storage::claim(&claim, &Value::Null, problems);
        let claim = PersistentVolumeClaim { doc: None, ..claim };
        VolumeSource::Ephemeral(Arc::new(ClaimTemplate(claim)))
    } else if let Some(d) = &v.gce_persistent_disk {
        VolumeSource::GcePd(Sym::new(&d.pd_name), flag(d.read_only))
    } else if let Some(d) = &v.aws_elastic_block_store {
        VolumeSource::AwsEbs(Sym::new(&d.volume_id), flag(d.read_only))
    } else if let Some(d) = &v.iscsi {
        VolumeSource::Iscsi(Sym::new(&d.iqn), flag(d.read_only))
    } else if let Some(d) = &v.rbd {
        // The pool is "rbd" unless given (source: `SetDefaults_RBDVolumeSource`).
        let pool = d.pool.as_deref().filter(|p| !p.is_empty()).unwrap_or("rbd");
        let monitors = d.monitors.join(",");
        VolumeSource::Rbd(
            Sym::new(&monitors),
            Sym::new(pool),
            Sym::new(&d.image),
            flag(d.read_only),
        )
    } else if let Some(m) = &v.config_map {
        VolumeSource::ConfigMap(Sym::new(&m.name), flag(m.optional))
    } else if let Some(s) = &v.secret {
        VolumeSource::Secret(sym(s.secret_name.as_ref()), flag(s.optional))
    } else if let Some(c) = &v.csi {
        VolumeSource::Csi(Sym::new(&c.driver))
    } else {
        VolumeSource::Other
    }
}

fn pod_status(s: &core::PodStatus, problems: &mut Problems) -> PodStatus {
    let ip = s.pod_ip.as_deref().and_then(|ip| ip.parse::<std::net::Ipv4Addr>().ok());
    let statuses = |list: Option<&Vec<core::ContainerStatus>>| -> Arc<[ContainerStatus]> {
        list.into_iter().flatten().map(container_status).collect()
    };
    PodStatus {
        phase: match s.phase.as_deref() {
            Some("Running") => Phase::Running,
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            Some("Unknown") => Phase::Unknown,
            _ => Phase::Pending,
        },
        qos: match s.qos_class.as_deref() {
            Some("Guaranteed") => Qos::Guaranteed,
            Some("Burstable") => Qos::Burstable,
            _ => Qos::BestEffort,
        },
        conditions: conditions!(&s.conditions),
        reason: sym(s.reason.as_ref()),
        message: sym(s.message.as_ref()),
        pod_ip: ip.map_or(0, u32::from),
        start: stamp(s.start_time.as_ref()),
        nominated: sym(s.nominated_node_name.as_ref()),
        containers: statuses(s.container_statuses.as_ref()),
        init_containers: statuses(s.init_container_statuses.as_ref()),
        resized: resized(s, problems),
    }
}

/// What an in-place resize left: the requests in force, where the status tells them.
fn resized(s: &core::PodStatus, problems: &mut Problems) -> Option<Arc<Resized>> {
    let at = At::ROOT.key("status");
    let mut found = Resized::default();
    let lists = [
        ("containerStatuses", &s.container_statuses),
        ("initContainerStatuses", &s.init_container_statuses),
    ];
    for (field, list) in lists {
        let at = at.key(field);
        for (i, c) in list.iter().flatten().enumerate() {
            let at = at.index(i);
            let allocated = c.allocated_resources.as_ref();
            let actual = c.resources.as_ref().and_then(|r| r.requests.as_ref());
            if allocated.is_none() && actual.is_none() {
                continue;
            }
            let allocated =
                allocated.map(|l| resources(Some(l), &at.key("allocatedResources"), problems).0);
            let actual = actual
                .map(|l| resources(Some(l), &at.key("resources").key("requests"), problems).0);
            found.containers.push((Sym::new(&c.name), allocated, actual));
        }
    }
    // Source: component-helpers `resource.IsPodResizeInfeasible`.
    found.infeasible = s
        .conditions
        .iter()
        .flatten()
        .any(|c| c.type_ == "PodResizePending" && c.reason.as_deref() == Some("Infeasible"));
    (!found.containers.is_empty() || found.infeasible).then(|| Arc::new(found))
}

fn container_status(c: &core::ContainerStatus) -> ContainerStatus {
    let waiting = ContainerState::Waiting { reason: Sym::EMPTY };
    ContainerStatus {
        name: Sym::new(&c.name),
        image: Sym::new(&c.image),
        state: c.state.as_ref().and_then(container_state).unwrap_or(waiting),
        last: c.last_state.as_ref().and_then(container_state),
        restarts: nat(c.restart_count),
        ready: c.ready,
        started: c.started.unwrap_or(false),
    }
}

fn container_state(s: &core::ContainerState) -> Option<ContainerState> {
    if let Some(r) = &s.running {
        return Some(ContainerState::Running { started: stamp(r.started_at.as_ref()) });
    }
    if let Some(t) = &s.terminated {
        return Some(ContainerState::Terminated {
            exit_code: t.exit_code,
            reason: sym(t.reason.as_ref()),
            started: stamp(t.started_at.as_ref()),
            finished: stamp(t.finished_at.as_ref()),
        });
    }
    s.waiting.as_ref().map(|w| ContainerState::Waiting { reason: sym(w.reason.as_ref()) })
}
