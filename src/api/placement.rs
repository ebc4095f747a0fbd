//! Whether a pod may be on a node, as scheduler and kubelet both ask.

use super::labels::LabelSet;
use super::node::Node;
use super::pod::{NodeSelectorTerm, Pod, PodSpec, Protocol};
use crate::engine::Sym;

/// A host port: protocol, port, address (empty for all addresses).
pub type HostPort = (Protocol, u16, Sym);

/// Whether a node meets a term; an empty term is met by none.
#[must_use]
pub fn meets(term: &NodeSelectorTerm, node: &Node) -> bool {
    if term.expressions.is_empty() && term.fields.is_empty() {
        return false;
    }
    term.expressions.iter().all(|r| r.matches_value(node.meta.labels.get(r.key)))
        && term.fields.iter().all(|r| {
            r.key.as_str() == "metadata.name" && r.matches_value(Some(node.meta.name.sym()))
        })
}

/// The terms of the pod's required node affinity.
#[must_use]
pub fn required_terms(pod: &Pod) -> Option<&Vec<NodeSelectorTerm>> {
    pod.spec.affinity.as_ref()?.node_required.as_ref()
}

/// Whether labels meet the pod's nodeSelector.
#[must_use]
pub fn selects(spec: &PodSpec, labels: LabelSet) -> bool {
    spec.node_selector.iter().all(|(k, v)| labels.get(*k) == Some(*v))
}

/// Whether a node meets the pod's nodeSelector and required node affinity.
#[must_use]
pub fn node_matches(pod: &Pod, node: &Node) -> bool {
    selects(&pod.spec, node.meta.labels)
        && required_terms(pod).is_none_or(|terms| terms.iter().any(|t| meets(t, node)))
}

/// Host ports of app containers and sidecars.
pub fn host_ports(spec: &PodSpec) -> impl Iterator<Item = HostPort> {
    let sidecars = spec.init_containers.iter().filter(|c| c.sidecar);
    let containers = spec.containers.iter().chain(sidecars);
    containers.flat_map(|c| &c.ports).filter(|p| p.host_port != 0).map(|p| {
        let all = p.host_ip.is_empty() || p.host_ip.as_str() == "0.0.0.0";
        (p.protocol, p.host_port, if all { Sym::EMPTY } else { p.host_ip })
    })
}

/// Same protocol and port, and the same address or all addresses on either side.
#[must_use]
pub fn ports_conflict(a: HostPort, b: HostPort) -> bool {
    (a.0, a.1) == (b.0, b.1) && (a.2 == b.2 || a.2.is_empty() || b.2.is_empty())
}
