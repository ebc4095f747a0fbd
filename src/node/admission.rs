//! What a kubelet checks when it first sees a pod: a pod that does not fit fails for good, and its
//! controller makes another one. Sources: behaviour reference §4.9;
//! `pkg/kubelet/lifecycle/predicate.go`, `kubelet.go` `rejectPod`.

use super::NodeAgent;
use super::pressure::{EVICTED, Short};
use crate::api::node::{Node, keys};
use crate::api::placement::{host_ports, node_matches, ports_conflict, selects};
use crate::api::pod::{Effect, Phase, Pod, PodStatus, Qos, Taint};
use crate::api::request::Op;
use crate::api::versions::ObjRef;
use crate::api::{Kind, Name, Stamp};
use crate::engine::intern::Known;
use crate::engine::{Sym, num};
use crate::event::{Canary, Context};
use std::sync::Arc;

static NODE_AFFINITY: Known = Known::new("NodeAffinity");
static NODE_PORTS: Known = Known::new("NodePorts");
static TAINT_TOLERATION: Known = Known::new("TaintToleration");
static OS_LABEL: Known = Known::new("PodOSSelectorNodeLabelDoesNotMatch");
const OS: &str = "kubernetes.io/os";

/// From this priority on a pod is critical (source: `types/pod_update.go` `IsCriticalPod`).
const CRITICAL: i32 = 2_000_000_000;

/// Why a pod is refused.
pub(super) struct Refusal {
    pub(super) reason: Sym,
    pub(super) message: String,
}

impl Refusal {
    fn predicate(name: &Known, why: &str) -> Self {
        Self { reason: name.sym(), message: format!("Predicate {} failed: {why}", name.sym()) }
    }
}

/// True for pods that a node keeps at almost any price.
pub(super) fn critical(pod: &crate::api::PodSpec) -> bool {
    pod.priority >= CRITICAL
}

/// Why the kubelet refuses a pod, if it does.
pub(super) fn refuses(node: &NodeAgent, pod: &Pod, cx: &Context<'_>) -> Option<Refusal> {
    refusals(node, pod, cx, cx.planted() != Some(Canary::Overcommit))
}

/// Why the kubelet refuses a pod, with a look at resources or without.
fn refusals(node: &NodeAgent, pod: &Pod, cx: &Context<'_>, resources: bool) -> Option<Refusal> {
    let runs = !pod.status.start.is_none();
    let object = cx.versions().find(Kind::Node, Sym::EMPTY, Name::new(node.setup.name.as_str()));
    let object = object.and_then(|o| cx.versions().current(Kind::Node, o)?.as_node());
    let down = super::shutdown::refusal(node)
        .map(|(reason, message)| Refusal { reason, message: message.to_owned() });
    down.or_else(|| under_pressure(node, pod))
        .or_else(|| resources.then(|| lacking(node, pod)).flatten())
        .or_else(|| object.and_then(|o| unsuited(node, pod, o)))
        .or_else(|| taken_port(node, pod))
        .or_else(|| object.filter(|_| !runs).and_then(|o| tainted(pod, o)))
}

/// Short of memory the node takes no pod that asked for nothing; short of anything else, none at
/// all (source: `eviction_manager.go` `Admit`).
fn under_pressure(node: &NodeAgent, pod: &Pod) -> Option<Refusal> {
    let short: Vec<Short> = Short::ALL.into_iter().filter(|s| node.short_of(*s)).collect();
    if short.is_empty() || critical(&pod.spec) {
        return None;
    }
    let taint = Taint {
        key: Sym::new(keys::MEMORY_PRESSURE),
        value: Sym::EMPTY,
        effect: Effect::NoSchedule,
        added: Stamp::NONE,
    };
    let spared = pod.spec.qos() != Qos::BestEffort
        || pod.spec.tolerations.iter().any(|t| t.tolerates(&taint));
    if short == [Short::Memory] && spared {
        return None;
    }
    let names: Vec<&str> = short.iter().map(|s| s.row(true).0.as_str()).collect();
    let message = format!("The node had condition: [{}]. ", names.join(" "));
    Some(Refusal { reason: EVICTED.sym(), message })
}

/// A resource that a pod asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A place among the pods.
    Pods,
    /// Milli-cores.
    Cpu,
    /// Bytes.
    Memory,
    /// Bytes.
    Ephemeral,
    /// An extended resource.
    Scalar(Sym),
}

impl Need {
    fn name(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Ephemeral => "ephemeral-storage",
            Self::Scalar(name) => name.as_str(),
        }
    }
}

/// What a pod asks for of a resource, what others have of it, and what there is.
type Balance = (Need, [i64; 3]);

/// Resources of which too little is left (source: scheduler `noderesources.Fits`). Extended
/// resources that the node does not name are not its business.
fn short_of(node: &NodeAgent, pod: &Pod) -> Vec<Balance> {
    let (wants, has) = (&pod.spec.requests, node.allocatable());
    let (used, pods) = node.workers.held();
    let plain = [
        (Need::Pods, [1, num::i64_of(pods), has.pods]),
        (Need::Cpu, [wants.cpu_milli, used.cpu_milli, has.cpu_milli]),
        (Need::Memory, [wants.memory, used.memory, has.memory]),
        (Need::Ephemeral, [wants.ephemeral, used.ephemeral, has.ephemeral]),
    ];
    let known = wants.scalars.iter().filter(|(n, _)| has.scalars.iter().any(|h| h.0 == *n));
    let scalars =
        known.map(|&(n, wanted)| (Need::Scalar(n), [wanted, used.scalar(n), has.scalar(n)]));
    let short = |(_, [wanted, used, has]): &Balance| *wanted > 0 && *wanted > has - used;
    plain.into_iter().chain(scalars).filter(short).collect()
}

/// How much of which resource would have to be freed for a pod.
pub(super) fn missing(node: &NodeAgent, pod: &Pod) -> Vec<(Need, i64)> {
    let short = short_of(node, pod).into_iter();
    short.map(|(need, [wanted, used, has])| (need, wanted - (has - used))).collect()
}

/// The first resource of which too little is left.
fn lacking(node: &NodeAgent, pod: &Pod) -> Option<Refusal> {
    let (need, [wanted, used, capacity]) = *short_of(node, pod).first()?;
    let name = need.name();
    Some(Refusal {
        reason: Sym::new(&format!("OutOf{name}")),
        message: format!(
            "Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, \
             capacity: {capacity}"
        ),
    })
}

/// True if nothing but resources keeps a pod from the node, and it is one for which others have to
/// go.
pub(super) fn wants_room(node: &NodeAgent, pod: &Pod, cx: &Context<'_>) -> bool {
    critical(&pod.spec) && refusals(node, pod, cx, false).is_none() && lacking(node, pod).is_some()
}

/// The node's labels are not those that the pod asks for, or it is another node.
fn unsuited(node: &NodeAgent, pod: &Pod, object: &Node) -> Option<Refusal> {
    let os = |of: Option<Sym>| of.unwrap_or_default();
    let asked = pod.spec.node_selector.iter().find(|(k, _)| k.as_str() == OS).map(|(_, v)| *v);
    if asked.is_some() && os(asked) != os(object.meta.labels.get(OS.into())) {
        let message =
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Some(Refusal { reason: OS_LABEL.sym(), message: message.to_owned() });
    }
    debug_assert!(pod.node == node.setup.name, "a pod of another node");
    let plain = pod.spec.node_selector.is_empty() && pod.spec.affinity.is_none();
    let fits = plain || selects(&pod.spec, object.meta.labels) && node_matches(pod, object);
    let why = "node(s) didn't match Pod's node affinity/selector";
    (!fits).then(|| Refusal::predicate(&NODE_AFFINITY, why))
}

/// A host port that another pod of the node has.
fn taken_port(node: &NodeAgent, pod: &Pod) -> Option<Refusal> {
    host_ports(&pod.spec).next()?;
    let taken = node.workers.active().any(|other| {
        host_ports(&other.spec).any(|a| host_ports(&pod.spec).any(|b| ports_conflict(a, b)))
    });
    let why = "node(s) didn't have free ports for the requested pod ports";
    taken.then(|| Refusal::predicate(&NODE_PORTS, why))
}

/// A `NoExecute` taint that the pod does not tolerate.
fn tainted(pod: &Pod, object: &Node) -> Option<Refusal> {
    let untolerated = object.taints.iter().any(|taint| {
        taint.effect == Effect::NoExecute
            && !pod.spec.tolerations.iter().any(|t| t.tolerates(taint))
    });
    let why = "node(s) had taints that the pod didn't tolerate";
    untolerated.then(|| Refusal::predicate(&TAINT_TOLERATION, why))
}

/// A pod is refused: it fails for good.
pub(super) fn refuse(
    node: &mut NodeAgent,
    object: ObjRef,
    pod: &Arc<Pod>,
    refusal: &Refusal,
    cx: &mut Context<'_>,
) {
    let status = PodStatus {
        phase: Phase::Failed,
        reason: refusal.reason,
        message: Sym::new(&format!("Pod was rejected: {}", refusal.message)),
        start: if pod.status.start.is_none() { cx.stamp() } else { pod.status.start },
        containers: Arc::clone(&pod.status.containers),
        init_containers: Arc::clone(&pod.status.init_containers),
        ..PodStatus::default()
    };
    let (ns, name, uid) = (pod.meta.ns, pod.meta.name, pod.meta.uid);
    let text = Sym::new(&refusal.message);
    node.say((Kind::Pod, ns, name, uid), (true, refusal.reason, text), cx);
    let op = Op::PodStatus(Box::new(status));
    node.submit(Kind::Pod, ns, name, Some(object), op, None, cx);
}
