//! Filters that look at a node and the pods on it.

use super::World;
use wavetank::api::Pod;
use wavetank::api::labels::Op;
use wavetank::api::node::Node;
use wavetank::api::pod::{Effect, NodeSelectorTerm, Taint, Toleration};
use wavetank::api::resources::Resources;
use wavetank::control_plane::scheduler::framework::Code;
use wavetank::engine::Sym;

type Verdict = Result<(), (Code, Vec<String>)>;

fn never(text: &str) -> Verdict {
    Err((Code::UnschedulableAndUnresolvable, vec![text.to_owned()]))
}

pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.is_none_or(|e| e == taint.effect);
    let key = toleration.key.is_empty() && toleration.exists || toleration.key == taint.key;
    let value = toleration.exists || toleration.value == taint.value;
    effect && key && value
}

pub(crate) fn unschedulable(_: &World, pod: &Pod, node: &Node) -> Verdict {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        value: Sym::EMPTY,
        effect: Effect::NoSchedule,
        added: wavetank::api::Stamp::NONE,
    };
    if node.unschedulable && !pod.spec.tolerations.iter().any(|t| tolerates(t, &taint)) {
        return never("node(s) were unschedulable");
    }
    Ok(())
}

pub(crate) fn node_name(_: &World, pod: &Pod, node: &Node) -> Verdict {
    if !pod.spec.node_name.is_empty() && pod.spec.node_name != node.meta.name.sym() {
        return never("node(s) didn't match the requested node name");
    }
    Ok(())
}

/// The taints that keep a pod away, all tolerated?
pub(crate) fn all_tolerated(pod: &Pod, node: &Node) -> bool {
    let hard = node.taints.iter().filter(|t| t.effect != Effect::PreferNoSchedule);
    hard.into_iter().all(|taint| pod.spec.tolerations.iter().any(|t| tolerates(t, taint)))
}

pub(crate) fn taints(_: &World, pod: &Pod, node: &Node) -> Verdict {
    if all_tolerated(pod, node) { Ok(()) } else { never("node(s) had untolerated taint(s)") }
}

pub(crate) fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let some = !term.expressions.is_empty() || !term.fields.is_empty();
    let labels = |key: Sym| node.meta.labels.get(key);
    some && term.expressions.iter().all(|r| r.matches_value(labels(r.key)))
        && term.fields.iter().all(|r| r.matches_value(Some(node.meta.name.sym())))
}

pub(crate) fn node_wanted(pod: &Pod, node: &Node) -> bool {
    let selected = |(k, v): &(Sym, Sym)| node.meta.labels.get(*k) == Some(*v);
    let required = pod.spec.affinity.as_ref().and_then(|a| a.node_required.as_ref());
    pod.spec.node_selector.iter().all(selected)
        && required.is_none_or(|terms| terms.iter().any(|t| term_matches(t, node)))
}

pub(crate) fn node_affinity(_: &World, pod: &Pod, node: &Node) -> Verdict {
    if node_wanted(pod, node) {
        Ok(())
    } else {
        never("node(s) didn't match Pod's node affinity/selector")
    }
}

/// The node names to which the pod's terms narrow the choice, if each of them does.
pub(crate) fn narrowed(pod: &Pod) -> Option<Vec<Sym>> {
    let terms = pod.spec.affinity.as_ref()?.node_required.as_ref()?;
    let names = |term: &NodeSelectorTerm| {
        term.fields.iter().find(|f| f.op == Op::In).map(|f| f.values.clone())
    };
    let all: Option<Vec<Vec<Sym>>> = terms.iter().map(names).collect();
    all.filter(|all| !all.is_empty()).map(|all| all.concat())
}

fn host_ports(pod: &Pod) -> Vec<(wavetank::api::pod::Protocol, u16, Sym)> {
    let sidecars = pod.spec.init_containers.iter().filter(|c| c.sidecar);
    let ports = pod.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
    ports.filter(|p| p.host_port > 0).map(|p| (p.protocol, p.host_port, p.host_ip)).collect()
}

pub(crate) fn ports(world: &World, pod: &Pod, node: &Node) -> Verdict {
    let any = |ip: Sym| ip.is_empty() || ip.as_str() == "0.0.0.0";
    let taken: Vec<_> = world.pods_on(node).flat_map(host_ports).collect();
    for (protocol, port, ip) in host_ports(pod) {
        for &(p, q, other) in &taken {
            if p == protocol && q == port && (ip == other || any(ip) || any(other)) {
                let text = "node(s) didn't have free ports for the requested pod ports";
                return Err((Code::Unschedulable, vec![text.to_owned()]));
            }
        }
    }
    Ok(())
}

/// Sum of requests of the pods on a node.
pub(crate) fn requested(world: &World, node: &Node) -> Resources {
    let mut sum = Resources::default();
    for pod in world.pods_on(node) {
        sum.add(&pod.spec.requests);
    }
    sum
}

pub(crate) fn fit(world: &World, pod: &Pod, node: &Node) -> Verdict {
    let (has, used, asks) = (&node.status.allocatable, requested(world, node), &pod.spec.requests);
    let mut reasons = Vec::new();
    let mut hopeless = false;
    if i64::try_from(world.pods_on(node).count()).unwrap() + 1 > has.pods {
        reasons.push("Too many pods".to_owned());
    }
    let mut check = |name: &str, asks: i64, has: i64, used: i64| {
        if asks > 0 && asks > has - used {
            reasons.push(format!("Insufficient {name}"));
            hopeless |= asks > has;
        }
    };
    check("cpu", asks.cpu_milli, has.cpu_milli, used.cpu_milli);
    check("memory", asks.memory, has.memory, used.memory);
    check("ephemeral-storage", asks.ephemeral, has.ephemeral, used.ephemeral);
    for &(name, amount) in &asks.scalars {
        check(name.as_str(), amount, has.scalar(name), used.scalar(name));
    }
    if reasons.is_empty() {
        return Ok(());
    }
    let code = if hopeless { Code::UnschedulableAndUnresolvable } else { Code::Unschedulable };
    Err((code, reasons))
}
