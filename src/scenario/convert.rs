//! From k8s-openapi types to the simulator's compact ones: metadata, selectors, amounts, and the
//! kinds that are small.

use super::path::{At, Problems};
use crate::api::labels::{Op, Requirement};
use crate::api::meta::Deletion;
use crate::api::node::{Node, NodeImage, NodeStatus};
use crate::api::pod::{Condition, ConditionType, Conditions, Effect, Taint, Truth};
use crate::api::quantity::Quantity;
use crate::api::resources::{Named, Resources};
use crate::api::workload::{IntOrPercent, Namespace, PriorityClass};
use crate::api::{Kind, LabelSet, Meta, Name, Owner, Selector, Stamp, Uid};
use crate::engine::Sym;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::scheduling::v1 as scheduling;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, ObjectMeta, OwnerReference, Time,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A text as a symbol; absent is empty.
pub(crate) fn sym(text: Option<&String>) -> Sym {
    text.map(|t| Sym::new(t)).unwrap_or_default()
}

/// A count that cannot be negative (validation has refused those that are).
pub(crate) fn nat(n: impl Into<i64>) -> u32 {
    let n = n.into();
    u32::try_from(n).unwrap_or(if n < 0 { 0 } else { u32::MAX })
}

/// A timestamp; those before 1970 and after 2106 count as absent.
pub(crate) fn stamp(time: Option<&Time>) -> Stamp {
    Stamp(time.and_then(|t| u32::try_from(t.0.as_second()).ok()).unwrap_or(0))
}

/// The first half of a UUID; of any other text, its hash.
pub(crate) fn uid(text: Option<&String>) -> Uid {
    let Some(text) = text.filter(|t| !t.is_empty()) else { return Uid::default() };
    let hex: String = text.chars().filter(|c| *c != '-').collect();
    let uuid = hex.len() == 32 && text.len() == 36;
    let first = hex.get(..16).filter(|_| uuid).and_then(|half| u64::from_str_radix(half, 16).ok());
    let bits = first.unwrap_or_else(|| crate::engine::digest::hash_bytes(text.as_bytes()));
    // A printed identity says version 4 there; so what is printed reads back as the same.
    Uid(bits & !0xf000 | 0x4000)
}

fn owner(reference: &OwnerReference) -> Owner {
    let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
    Owner {
        kind: Kind::find(group, &reference.kind).unwrap_or(Kind::Custom),
        name: Name::new(&reference.name),
        uid: uid(Some(&reference.uid)),
        controller: reference.controller.unwrap_or(false),
        block_owner_deletion: reference.block_owner_deletion.unwrap_or(false),
    }
}

/// Labels as an interned set.
pub(crate) fn labels(map: Option<&BTreeMap<String, String>>) -> LabelSet {
    LabelSet::new(map.into_iter().flatten().map(|(k, v)| (Sym::new(k), Sym::new(v))))
}

/// Annotations, sorted by key.
pub(crate) fn annotations(map: Option<&BTreeMap<String, String>>) -> crate::api::meta::Annotations {
    let list: Vec<(Sym, Arc<str>)> =
        map.into_iter().flatten().map(|(k, v)| (Sym::new(k), v.as_str().into())).collect();
    (!list.is_empty()).then(|| list.into())
}

/// Object metadata. Without a namespace, a namespaced object goes to `default`; without a name, the
/// base of its generated name stands in for it.
pub(crate) fn meta(namespaced: bool, m: &ObjectMeta) -> Meta {
    let ns = match (namespaced, m.namespace.as_deref()) {
        (false, _) => Sym::EMPTY,
        (true, None | Some("")) => Sym::new("default"),
        (true, Some(ns)) => Sym::new(ns),
    };
    let generated = || m.generate_name.as_deref().unwrap_or_default().trim_end_matches('-');
    let name = m.name.as_deref().filter(|n| !n.is_empty()).unwrap_or_else(generated);
    let owners: Vec<Owner> = m.owner_references.iter().flatten().map(owner).collect();
    let finalizers: Vec<Sym> = m.finalizers.iter().flatten().map(|f| Sym::new(f)).collect();
    Meta {
        ns,
        name: Name::new(name),
        uid: uid(m.uid.as_ref()),
        labels: labels(m.labels.as_ref()),
        annotations: annotations(m.annotations.as_ref()),
        owners: (!owners.is_empty()).then(|| owners.into()),
        finalizers: (!finalizers.is_empty()).then(|| finalizers.into()),
        created: stamp(m.creation_timestamp.as_ref()),
        generation: nat(m.generation.unwrap_or(0)),
        deletion: m.deletion_timestamp.as_ref().map(|at| Deletion {
            at: stamp(Some(at)),
            grace_s: nat(m.deletion_grace_period_seconds.unwrap_or(0)),
        }),
        resource_version: m.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0),
    }
}

/// Parses a quantity; a bad one is noted and counts as nothing.
pub(crate) fn quantity(text: &Text, at: &At<'_>, problems: &mut Problems) -> Quantity {
    Quantity::parse(&text.0).unwrap_or_else(|why| {
        problems.push(at, why);
        Quantity::ZERO
    })
}

/// Resources that kube-scheduler counts beside the native ones (source: `IsScalarResourceName`).
fn scalar(name: &str) -> bool {
    name.contains('/') || name.starts_with("hugepages-") || name.starts_with("attachable-volumes-")
}

/// A resource list, and which of cpu and memory it names.
pub(crate) fn resources(
    list: Option<&BTreeMap<String, Text>>,
    at: &At<'_>,
    problems: &mut Problems,
) -> (Resources, Named) {
    let (mut amounts, mut named) = (Resources::default(), Named::default());
    for (name, text) in list.into_iter().flatten() {
        let quantity = quantity(text, &at.key(name), problems).round_to_milli();
        match name.as_str() {
            "cpu" => {
                amounts.cpu_milli = quantity.milli_value();
                named.cpu = true;
            }
            "memory" => {
                amounts.memory = quantity.value();
                named.memory = true;
            }
            "ephemeral-storage" => amounts.ephemeral = quantity.value(),
            "pods" => amounts.pods = quantity.value(),
            other if scalar(other) => amounts.set_scalar(Sym::new(other), quantity.value()),
            _ => {}
        }
    }
    (amounts, named)
}

/// An operator of a selector; validation has refused unknown ones.
pub(crate) fn operator(text: &str) -> Op {
    match text {
        "NotIn" => Op::NotIn,
        "Exists" => Op::Exists,
        "DoesNotExist" => Op::DoesNotExist,
        "Gt" => Op::Gt,
        "Lt" => Op::Lt,
        _ => Op::In,
    }
}

/// A label selector.
pub(crate) fn selector(s: &LabelSelector) -> Selector {
    let mut requirements: Vec<Requirement> = s
        .match_labels
        .iter()
        .flatten()
        .map(|(key, value)| Requirement {
            key: Sym::new(key),
            op: Op::In,
            values: vec![Sym::new(value)],
        })
        .collect();
    requirements.extend(s.match_expressions.iter().flatten().map(|e| Requirement {
        key: Sym::new(&e.key),
        op: operator(&e.operator),
        values: e.values.iter().flatten().map(|v| Sym::new(v)).collect(),
    }));
    Selector::new(requirements)
}

/// A count or a percentage; validation has refused anything else.
pub(crate) fn int_or_percent(value: &IntOrString) -> IntOrPercent {
    match value {
        IntOrString::Int(n) => IntOrPercent::Int(*n),
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|p| p.parse().ok());
            percent.map_or(IntOrPercent::Int(0), IntOrPercent::Percent)
        }
    }
}

/// A condition type by its name.
pub(crate) fn condition_type(text: &str) -> ConditionType {
    ConditionType::NUMBERED
        .into_iter()
        .find(|known| known.as_str() == text)
        .unwrap_or_else(|| ConditionType::Other(Sym::new(text)))
}

/// A status of a condition.
pub(crate) fn truth(text: &str) -> Truth {
    match text {
        "True" => Truth::True,
        "False" => Truth::False,
        _ => Truth::Unknown,
    }
}

/// Conditions of any kind: every kind has its own type with the same fields.
macro_rules! conditions {
    ($list:expr) => {{
        let mut all = $crate::api::pod::Conditions::default();
        for c in $list.into_iter().flatten() {
            let transition = $crate::scenario::convert::stamp(c.last_transition_time.as_ref());
            let (reason, message) = (c.reason.as_ref(), c.message.as_ref());
            all.set($crate::scenario::convert::condition(
                &c.type_, &c.status, reason, message, transition,
            ));
        }
        all
    }};
}
pub(crate) use conditions;

pub(crate) fn condition(
    kind: &str,
    status: &str,
    reason: Option<&String>,
    message: Option<&String>,
    transition: Stamp,
) -> Condition {
    Condition {
        kind: condition_type(kind),
        status: truth(status),
        reason: sym(reason),
        message: sym(message),
        transition,
    }
}

/// A taint effect; none for an unknown one.
pub(crate) fn effect(text: &str) -> Option<Effect> {
    match text {
        "NoSchedule" => Some(Effect::NoSchedule),
        "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
        "NoExecute" => Some(Effect::NoExecute),
        _ => None,
    }
}

/// A node, with its status as dumped.
pub(crate) fn node(n: &core::Node, doc: &Value, problems: &mut Problems) -> Node {
    let spec = n.spec.clone().unwrap_or_default();
    let taints: Vec<Taint> = spec
        .taints
        .iter()
        .flatten()
        .filter_map(|t| {
            Some(Taint {
                key: Sym::new(&t.key),
                value: sym(t.value.as_ref()),
                effect: effect(&t.effect)?,
                added: stamp(t.time_added.as_ref()),
            })
        })
        .collect();
    Node {
        meta: meta(false, &n.metadata),
        unschedulable: spec.unschedulable.unwrap_or(false),
        taints: taints.into(),
        pod_cidr: sym(spec.pod_cidr.as_ref()),
        provider_id: sym(spec.provider_id.as_ref()),
        status: n.status.as_ref().map(|s| node_status(s, problems)).unwrap_or_default(),
        doc: Some(Arc::new(doc.clone())),
    }
}

fn node_status(s: &core::NodeStatus, problems: &mut Problems) -> NodeStatus {
    let at = At::ROOT.key("status");
    let capacity = resources(s.capacity.as_ref(), &at.key("capacity"), problems).0;
    // The API server fills a missing allocatable from capacity (`SetDefaults_NodeStatus`).
    let allocatable = match &s.allocatable {
        Some(list) => resources(Some(list), &at.key("allocatable"), problems).0,
        None => capacity.clone(),
    };
    let images: Vec<NodeImage> = s
        .images
        .iter()
        .flatten()
        .map(|i| NodeImage {
            names: i.names.iter().flatten().map(|n| Sym::new(n)).collect(),
            size: i.size_bytes.unwrap_or(0),
        })
        .collect();
    let conditions: Conditions = conditions!(&s.conditions);
    let attached = s.volumes_attached.iter().flatten();
    NodeStatus {
        capacity: Arc::new(capacity),
        allocatable: Arc::new(allocatable),
        conditions,
        heartbeat_ns: 0,
        images: images.into(),
        volumes_in_use: s.volumes_in_use.iter().flatten().map(|v| Sym::new(v)).collect(),
        volumes_attached: attached.map(|v| Sym::new(&v.name)).collect(),
    }
}

/// A namespace.
pub(crate) fn namespace(n: &core::Namespace, doc: &Value) -> Namespace {
    let phase = n.status.as_ref().and_then(|s| s.phase.as_deref());
    Namespace {
        meta: meta(false, &n.metadata),
        terminating: phase == Some("Terminating"),
        finalized: false,
        conditions: conditions!(n.status.as_ref().map(|s| &s.conditions).into_iter().flatten()),
        doc: Some(Arc::new(doc.clone())),
    }
}

/// A PriorityClass.
pub(crate) fn priority_class(p: &scheduling::PriorityClass, doc: &Value) -> PriorityClass {
    PriorityClass {
        meta: meta(false, &p.metadata),
        value: p.value,
        global_default: p.global_default.unwrap_or(false),
        never_preempts: p.preemption_policy.as_deref() == Some("Never"),
        doc: Some(Arc::new(doc.clone())),
    }
}
