//! `PodTopologySpread`, behaviour reference §2.13.

use super::World;
use super::filters::{all_tolerated, node_wanted};
use std::collections::BTreeMap;
use wavetank::api::labels::{Op, Requirement};
use wavetank::api::node::Node;
use wavetank::api::pod::SpreadConstraint;
use wavetank::api::{Pod, Selector};
use wavetank::control_plane::scheduler::framework::Code;
use wavetank::engine::{Sym, num};

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The constraint's selector with the pod's values of `matchLabelKeys`; none selects nothing.
fn selector(pod: &Pod, c: &SpreadConstraint) -> Option<Selector> {
    let mut all = c.selector.as_ref()?.requirements.to_vec();
    for key in &c.match_label_keys {
        if let Some(value) = pod.meta.labels.get(*key) {
            all.push(Requirement { key: *key, op: Op::In, values: vec![value] });
        }
    }
    Some(Selector::new(all))
}

fn value(node: &Node, key: Sym) -> Option<Sym> {
    node.meta.labels.get(key)
}

fn included(pod: &Pod, node: &Node, c: &SpreadConstraint) -> bool {
    (!c.honor_affinity || node_wanted(pod, node)) && (!c.honor_taints || all_tolerated(pod, node))
}

/// Pods on a node that count: same namespace, not being deleted, selected; an empty selector counts
/// none.
fn count(world: &World, pod: &Pod, node: &Node, selectors: &[Selector]) -> i64 {
    if selectors.is_empty() || selectors.iter().any(Selector::is_empty) {
        return 0;
    }
    let counts = |other: &&Pod| {
        other.meta.ns == pod.meta.ns
            && !other.meta.terminating()
            && selectors.iter().all(|s| s.matches(other.meta.labels))
    };
    i64::try_from(world.pods_on(node).filter(counts).count()).unwrap()
}

pub(crate) fn filter(world: &World, pod: &Pod, node: &Node) -> Result<(), (Code, Vec<String>)> {
    let text = "node(s) didn't match pod topology spread constraints";
    let hard: Vec<&SpreadConstraint> = pod.spec.spread.iter().filter(|c| c.hard).collect();
    for c in &hard {
        let Some(here) = value(node, c.topology_key) else {
            let missing = format!("{text} (missing required label)");
            return Err((Code::UnschedulableAndUnresolvable, vec![missing]));
        };
        let chosen = selector(pod, c);
        let selectors: Vec<Selector> = chosen.clone().into_iter().collect();
        let mut domains: BTreeMap<String, i64> = BTreeMap::new();
        for other in &world.nodes {
            let everywhere = hard.iter().all(|c| value(other, c.topology_key).is_some());
            if everywhere && included(pod, other, c) {
                let domain = value(other, c.topology_key).unwrap().to_string();
                *domains.entry(domain).or_default() +=
                    if chosen.is_some() { count(world, pod, other, &selectors) } else { 0 };
            }
        }
        let wanted = i64::from(c.min_domains.unwrap_or(1));
        let few = i64::try_from(domains.len()).unwrap() < wanted;
        let min = if few { 0 } else { domains.values().copied().min().unwrap_or(0) };
        let own = i64::from(chosen.is_some_and(|s| s.matches(pod.meta.labels)));
        let there = domains.get(here.as_str()).copied().unwrap_or(0);
        if there + own - min > i64::from(c.max_skew) {
            return Err((Code::Unschedulable, vec![text.to_owned()]));
        }
    }
    Ok(())
}

/// The soft constraints with their selectors, and whether a node must have every key.
fn soft(world: &World, pod: &Pod) -> (Vec<(SpreadConstraint, Vec<Selector>)>, bool) {
    if !pod.spec.spread.is_empty() {
        let own = pod.spec.spread.iter().filter(|c| !c.hard);
        return (own.map(|c| (c.clone(), selector(pod, c).into_iter().collect())).collect(), true);
    }
    let mut selectors: Vec<Selector> = world
        .services
        .iter()
        .filter(|(ns, s)| *ns == pod.meta.ns && !s.is_empty() && s.matches(pod.meta.labels))
        .map(|(_, s)| s.clone())
        .collect();
    if let Some(owner) = pod.meta.controller() {
        let key = (owner.kind, pod.meta.ns, owner.name);
        selectors.extend(world.owners.iter().filter(|(k, _)| *k == key).map(|(_, s)| s.clone()));
    }
    if selectors.is_empty() {
        return (Vec::new(), false);
    }
    let system = |max_skew, key: &str| SpreadConstraint {
        max_skew,
        topology_key: key.into(),
        hard: false,
        selector: None,
        min_domains: None,
        honor_affinity: true,
        honor_taints: false,
        match_label_keys: Vec::new(),
    };
    let both = [system(3, HOSTNAME), system(5, ZONE)];
    (both.map(|c| (c, selectors.clone())).to_vec(), false)
}

#[expect(clippy::cast_precision_loss, reason = "as upstream: float64 of int64")]
pub(crate) fn score(world: &World, pod: &Pod, nodes: &[&Node]) -> Option<(Vec<i64>, Vec<i64>)> {
    let (constraints, all_keys) = soft(world, pod);
    if constraints.is_empty() {
        return None;
    }
    let ignored = |node: &Node| {
        all_keys && constraints.iter().any(|(c, _)| value(node, c.topology_key).is_none())
    };
    let mut sums = vec![0.0_f64; nodes.len()];
    for (c, selectors) in &constraints {
        let hostname = c.topology_key.as_str() == HOSTNAME;
        let mut domains: BTreeMap<String, i64> = BTreeMap::new();
        // Upstream reads an absent label as an empty value: such nodes are a domain of their own.
        let domain = |n: &Node| value(n, c.topology_key).unwrap_or_default().to_string();
        for node in nodes.iter().filter(|n| !ignored(n)) {
            domains.entry(domain(node)).or_default();
        }
        let size =
            if hostname { nodes.iter().filter(|n| !ignored(n)).count() } else { domains.len() };
        let weight = num::ln(size as f64 + 2.0);
        for other in world.nodes.iter().filter(|n| !ignored(n) && included(pod, n, c)) {
            if let Some(n) = domains.get_mut(&domain(other)) {
                *n += count(world, pod, other, selectors);
            }
        }
        for (sum, node) in sums.iter_mut().zip(nodes) {
            let Some(v) = value(node, c.topology_key).filter(|_| !ignored(node)) else { continue };
            let n = if hostname { count(world, pod, node, selectors) } else { domains[v.as_str()] };
            *sum += n as f64 * weight + f64::from(c.max_skew - 1);
        }
    }
    let raw: Vec<i64> = sums.iter().map(|s| num::round(*s)).collect();
    let counted = || raw.iter().zip(nodes).filter(|(_, n)| !ignored(n)).map(|(s, _)| *s);
    let (max, min) = (counted().max().unwrap_or(0), counted().min().unwrap_or(0));
    let normal = |(raw, node): (&i64, &&Node)| match () {
        () if ignored(node) => 0,
        () if max == 0 => 100,
        () => 100 * (max + min - raw) / max,
    };
    let normal = raw.iter().zip(nodes).map(normal).collect();
    Some((raw, normal))
}
