//! Kubernetes JSON of the golden files into API types: just as much as those files use.

use super::golden_read as read;
use serde_json::Value;
use std::sync::Arc;
use wavetank::api::meta::{Deletion, Owner, Stamp, Uid};
use wavetank::api::node::{Node, NodeImage, NodeStatus};
use wavetank::api::pod::{
    Affinity, Condition, ConditionType, Conditions, Container, Effect, PodAffinityTerm, Port,
    PreemptionPolicy, PreferredPodTerm, Protocol, Resized, Taint, Toleration, Truth, Volume,
};
use wavetank::api::resources::{Named, Resources};
use wavetank::api::{Kind, LabelSet, Meta, Name, Obj, Pod, PodSpec, PodStatus, Selector};
use wavetank::engine::Sym;
use wavetank::scenario::manifest::{Mode, obj_from_json, pod_spec_from_value};

pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn sym(value: &Value) -> Sym {
    Sym::new(value.as_str().unwrap_or_default())
}

fn syms(value: &Value) -> Vec<Sym> {
    value.as_array().into_iter().flatten().map(sym).collect()
}

fn pairs(value: &Value) -> Vec<(Sym, Sym)> {
    value.as_object().into_iter().flatten().map(|(k, v)| (Sym::new(k), sym(v))).collect()
}

/// A quantity times `scale`, rounded up.
fn quantity(text: &str, scale: i128) -> i64 {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (int, frac) = number.split_once('.').unwrap_or((number, ""));
    let mantissa: i128 = format!("{int}{frac}").parse().unwrap();
    let (up, down): (i128, i128) = match unit {
        "" => (1, 1),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        other => panic!("unit {other:?}"),
    };
    let below = down * 10_i128.pow(u32::try_from(frac.len()).unwrap());
    let product = mantissa * up * scale;
    i64::try_from((product + below - 1) / below).unwrap()
}

fn resources(value: &Value) -> (Resources, Named) {
    let mut out = Resources::default();
    let mut named = Named::default();
    for (key, value) in value.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match key.as_str() {
            "cpu" => (out.cpu_milli, named.cpu) = (quantity(&text, 1000), true),
            "memory" => (out.memory, named.memory) = (quantity(&text, 1), true),
            "ephemeral-storage" => out.ephemeral = quantity(&text, 1),
            "pods" => out.pods = quantity(&text, 1),
            other => out.set_scalar(Sym::new(other), quantity(&text, 1)),
        }
    }
    (out, named)
}

pub(crate) fn meta(value: &Value) -> Meta {
    let meta = &value["metadata"];
    let mut out = Meta::named(sym(&meta["namespace"]), Name::from(sym(&meta["name"])));
    out.labels = LabelSet::new(pairs(&meta["labels"]));
    let owners: Vec<Owner> = list(meta, "ownerReferences").iter().filter_map(owner).collect();
    out.owners = (!owners.is_empty()).then(|| owners.into());
    if !meta["deletionTimestamp"].is_null() {
        out.deletion = Some(Deletion { at: Stamp(1), grace_s: 30 });
    }
    out
}

fn owner(value: &Value) -> Option<Owner> {
    let group = value["apiVersion"].as_str()?.rsplit_once('/').map_or("", |(g, _)| g);
    Some(Owner {
        kind: Kind::find(group, value["kind"].as_str()?)?,
        name: Name::from(sym(&value["name"])),
        uid: Uid(1),
        controller: value["controller"].as_bool().unwrap_or(false),
        block_owner_deletion: false,
    })
}

fn effect(value: &Value) -> Option<Effect> {
    match value.as_str()? {
        "NoSchedule" => Some(Effect::NoSchedule),
        "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
        "NoExecute" => Some(Effect::NoExecute),
        other => panic!("effect {other:?}"),
    }
}

pub(crate) fn node(value: &Value) -> Node {
    let taints = list(&value["spec"], "taints").iter().map(|t| Taint {
        key: sym(&t["key"]),
        value: sym(&t["value"]),
        effect: effect(&t["effect"]).unwrap(),
        added: Stamp::NONE,
    });
    let status = &value["status"];
    let images = list(status, "images").iter().map(|i| NodeImage {
        names: syms(&i["names"]),
        size: i["sizeBytes"].as_i64().unwrap_or(0),
    });
    Node {
        meta: meta(value),
        unschedulable: value["spec"]["unschedulable"].as_bool().unwrap_or(false),
        taints: taints.collect(),
        status: NodeStatus {
            allocatable: resources(&status["allocatable"]).0.into(),
            images: images.collect(),
            ..NodeStatus::default()
        },
        ..Node::default()
    }
}

fn container(value: &Value) -> Container {
    let (requests, requests_named) = resources(&value["resources"]["requests"]);
    let ports = list(value, "ports").iter().map(|p| Port {
        name: Sym::EMPTY,
        container_port: 80,
        host_port: p["hostPort"].as_u64().unwrap_or(0).try_into().unwrap(),
        host_ip: sym(&p["hostIP"]),
        protocol: match p["protocol"].as_str() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
    });
    Container {
        name: sym(&value["name"]),
        image: sym(&value["image"]),
        requests,
        requests_named,
        ports: ports.collect(),
        sidecar: value["restartPolicy"] == "Always",
        ..Container::default()
    }
}

fn selector(value: &Value) -> Option<Selector> {
    (!value.is_null()).then(|| read::selector(value).unwrap())
}

fn pod_term(value: &Value) -> PodAffinityTerm {
    PodAffinityTerm {
        selector: selector(&value["labelSelector"]),
        namespaces: syms(&value["namespaces"]),
        namespace_selector: selector(&value["namespaceSelector"]),
        topology_key: sym(&value["topologyKey"]),
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn affinity(value: &Value) -> Affinity {
    let (node_required, node_preferred) = read::node_affinity(&value["nodeAffinity"]).unwrap();
    let required = |of: &str| list(&value[of], REQUIRED).iter().map(pod_term).collect();
    let preferred = |of: &str| {
        let one = |p: &Value| PreferredPodTerm {
            weight: p["weight"].as_i64().unwrap(),
            term: pod_term(&p["podAffinityTerm"]),
        };
        list(&value[of], PREFERRED).iter().map(one).collect()
    };
    Affinity {
        node_required,
        node_preferred,
        pod_required: required("podAffinity"),
        pod_preferred: preferred("podAffinity"),
        anti_required: required("podAntiAffinity"),
        anti_preferred: preferred("podAntiAffinity"),
    }
}

fn toleration(value: &Value) -> Toleration {
    Toleration {
        key: sym(&value["key"]),
        exists: value["operator"] == "Exists",
        value: sym(&value["value"]),
        effect: effect(&value["effect"]),
        seconds: None,
    }
}

/// A storage object, as the reader of manifests and dumps has it.
pub(crate) fn storage(value: &Value) -> Obj {
    obj_from_json(value, Mode::Dump).expect("an object of the golden files")
}

fn volumes(spec: &Value) -> Vec<Volume> {
    if list(spec, "volumes").is_empty() {
        return Vec::new();
    }
    let bare = serde_json::json!({"containers": [], "volumes": spec["volumes"]});
    pod_spec_from_value(&bare, Mode::Dump).expect("volumes of the golden files").volumes
}

fn spec(value: &Value) -> PodSpec {
    let pod_level = &value["resources"]["requests"];
    let mut out = PodSpec {
        containers: list(value, "containers").iter().map(container).collect(),
        init_containers: list(value, "initContainers").iter().map(container).collect(),
        node_name: sym(&value["nodeName"]),
        node_selector: pairs(&value["nodeSelector"]),
        affinity: (!value["affinity"].is_null()).then(|| Arc::new(affinity(&value["affinity"]))),
        tolerations: list(value, "tolerations").iter().map(toleration).collect(),
        spread: list(value, "topologySpreadConstraints")
            .iter()
            .map(|c| read::spread_constraint(c).unwrap())
            .collect(),
        volumes: volumes(value),
        gates: list(value, "schedulingGates").iter().map(|g| sym(&g["name"])).collect(),
        priority: value["priority"].as_i64().unwrap_or(0).try_into().unwrap(),
        preemption: match value["preemptionPolicy"].as_str() {
            Some("Never") => PreemptionPolicy::Never,
            _ => PreemptionPolicy::PreemptLowerPriority,
        },
        scheduler_name: sym(&value["schedulerName"]),
        overhead: resources(&value["overhead"]).0,
        pod_level: (!pod_level.is_null()).then(|| resources(pod_level)),
        ..PodSpec::default()
    };
    out.sum_requests();
    out
}

fn resized(status: &Value) -> Option<Arc<Resized>> {
    let statuses = list(status, "containerStatuses");
    if statuses.is_empty() {
        return None;
    }
    let amounts = |v: &Value| (!v.is_null()).then(|| resources(v).0);
    let one = |s: &Value| {
        let actual = s.get("resources").map(|r| resources(&r["requests"]).0);
        (sym(&s["name"]), amounts(&s["allocatedResources"]), actual)
    };
    let infeasible = list(status, "conditions")
        .iter()
        .any(|c| c["type"] == "PodResizePending" && c["reason"] == "Infeasible");
    Some(Arc::new(Resized { containers: statuses.iter().map(one).collect(), infeasible }))
}

/// Seconds since the epoch.
fn start(value: &Value) -> Stamp {
    let Some(text) = value.as_str() else { return Stamp::NONE };
    let at: jiff::Timestamp = text.parse().unwrap();
    Stamp(at.as_second().try_into().unwrap())
}

/// The one condition that preemption reads.
fn disruption(status: &Value) -> Conditions {
    let mut out = Conditions::default();
    for c in list(status, "conditions").iter().filter(|c| c["type"] == "DisruptionTarget") {
        out.set(Condition {
            kind: ConditionType::DisruptionTarget,
            status: if c["status"] == "True" { Truth::True } else { Truth::False },
            reason: sym(&c["reason"]),
            message: Sym::EMPTY,
            transition: Stamp::NONE,
        });
    }
    out
}

pub(crate) fn pod(value: &Value) -> Pod {
    let status = &value["status"];
    Pod {
        meta: meta(value),
        spec: Arc::new(spec(&value["spec"])),
        node: sym(&value["spec"]["nodeName"]),
        status: PodStatus {
            nominated: sym(&status["nominatedNodeName"]),
            start: start(&status["startTime"]),
            conditions: disruption(status),
            resized: resized(status),
            ..PodStatus::default()
        },
    }
}

/// The pod selector of a service or of an owner of pods.
pub(crate) fn workload_selector(value: &Value) -> Option<Selector> {
    let given = &value["spec"]["selector"];
    match value["kind"].as_str()? {
        "Service" | "ReplicationController" => {
            given.is_object().then(|| Selector::of_labels(pairs(given)))
        }
        _ => selector(given),
    }
}
