//! `InterPodAffinity`, behaviour reference §2.14.

use super::World;
use std::collections::BTreeMap;
use wavetank::api::node::Node;
use wavetank::api::pod::{Affinity, PodAffinityTerm};
use wavetank::api::{LabelSet, Pod};
use wavetank::control_plane::scheduler::framework::Code;
use wavetank::engine::Sym;

/// Whether a term of a pod in `ns` is about another pod. `own` marks terms of the pod in hand:
/// their namespace selector is resolved to names up front, and then asked once more without labels.
fn about(world: &World, ns: Sym, term: &PodAffinityTerm, other: &Pod, own: bool) -> bool {
    let there = other.meta.ns;
    let in_namespace = match &term.namespace_selector {
        None if term.namespaces.is_empty() => there == ns,
        None => term.namespaces.contains(&there),
        Some(selector) => {
            let known = world.namespaces.iter().any(|(n, _)| *n == there);
            let resolved = known && selector.matches(world.labels_of_namespace(there));
            let bare = if own {
                selector.matches(LabelSet::default())
            } else {
                selector.matches(world.labels_of_namespace(there))
            };
            term.namespaces.contains(&there) || own && resolved || bare
        }
    };
    in_namespace && term.selector.as_ref().is_some_and(|s| s.matches(other.meta.labels))
}

fn affinity(pod: &Pod) -> Affinity {
    pod.spec.affinity.as_deref().cloned().unwrap_or_default()
}

/// Every pod that is placed on a known node, with that node.
fn everywhere(world: &World) -> impl Iterator<Item = (&Pod, &Node)> {
    world.placed.iter().filter_map(|(pod, at)| {
        let node = world.nodes.iter().find(|n| n.meta.name.sym() == *at)?;
        Some((&**pod, &**node))
    })
}

pub(crate) fn filter(world: &World, pod: &Pod, node: &Node) -> Result<(), (Code, Vec<String>)> {
    let own = affinity(pod);
    let no = |code, text: &str| Err((code, vec![text.to_owned()]));
    let mine = |t: &PodAffinityTerm, other: &Pod| about(world, pod.meta.ns, t, other, true);
    let terms = &own.pod_required;
    let value = |n: &Node, t: &PodAffinityTerm| n.meta.labels.get(t.topology_key);
    // Only pods that match all the terms count for any of them.
    let all = |other: &Pod| terms.iter().all(|t| mine(t, other));
    let with_keys = terms.iter().all(|t| value(node, t).is_some());
    let met = terms.iter().all(|t| {
        everywhere(world).any(|(other, there)| {
            all(other) && value(there, t).is_some() && value(there, t) == value(node, t)
        })
    });
    let any_counted = everywhere(world)
        .any(|(other, there)| all(other) && terms.iter().any(|t| value(there, t).is_some()));
    let first = !any_counted && all(pod);
    if !(with_keys && (met || first)) {
        let text = "node(s) didn't match pod affinity rules";
        return no(Code::UnschedulableAndUnresolvable, text);
    }
    let same = |t: &PodAffinityTerm, there: &Node| {
        value(node, t).is_some() && value(node, t) == value(there, t)
    };
    for t in &own.anti_required {
        if everywhere(world).any(|(other, there)| same(t, there) && mine(t, other)) {
            return no(Code::Unschedulable, "node(s) didn't match pod anti-affinity rules");
        }
    }
    for (other, there) in everywhere(world) {
        for t in &affinity(other).anti_required {
            if same(t, there) && about(world, other.meta.ns, t, pod, false) {
                let text = "node(s) didn't satisfy existing pods anti-affinity rules";
                return no(Code::Unschedulable, text);
            }
        }
    }
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "as upstream: float64 of int64 and back"
)]
pub(crate) fn score(world: &World, pod: &Pod, nodes: &[&Node]) -> Option<(Vec<i64>, Vec<i64>)> {
    let own = affinity(pod);
    let mut sums: BTreeMap<(String, String), i64> = BTreeMap::new();
    let mut add = |t: &PodAffinityTerm, there: &Node, weight: i64| {
        if let Some(v) = there.meta.labels.get(t.topology_key) {
            *sums.entry((t.topology_key.to_string(), v.to_string())).or_default() += weight;
        }
    };
    for (other, there) in everywhere(world) {
        let plus = own.pod_preferred.iter().map(|t| (&t.term, t.weight));
        let minus = own.anti_preferred.iter().map(|t| (&t.term, -t.weight));
        for (t, weight) in plus.chain(minus) {
            if about(world, pod.meta.ns, t, other, true) {
                add(t, there, weight);
            }
        }
        let theirs = affinity(other);
        let hard = theirs.pod_required.iter().map(|t| (t, 1));
        let plus = theirs.pod_preferred.iter().map(|t| (&t.term, t.weight));
        let minus = theirs.anti_preferred.iter().map(|t| (&t.term, -t.weight));
        for (t, weight) in hard.chain(plus).chain(minus) {
            if about(world, other.meta.ns, t, pod, false) {
                add(t, there, weight);
            }
        }
    }
    if sums.is_empty() {
        return None;
    }
    let raw: Vec<i64> = nodes
        .iter()
        .map(|node| {
            let pairs = node.meta.labels.pairs().iter();
            pairs.filter_map(|(k, v)| sums.get(&(k.to_string(), v.to_string()))).sum()
        })
        .collect();
    let (max, min) = (*raw.iter().max()?, *raw.iter().min()?);
    let normal = |s: &i64| {
        if max > min { (100.0 * ((s - min) as f64 / (max - min) as f64)) as i64 } else { 0 }
    };
    let normal = raw.iter().map(normal).collect();
    Some((raw, normal))
}
