//! A scheduler in the plainest way, straight from the rules of the behaviour reference §2: no
//! cache, no columns, no counts kept, every pod of the cluster looked at for every question. The
//! property test in `same_decision.rs` holds the fast one to it.

pub(crate) mod affinity;
pub(crate) mod filters;
pub(crate) mod scores;
pub(crate) mod spread;

use std::sync::Arc;
use wavetank::api::node::Node;
use wavetank::api::{Kind, LabelSet, Name, Pod, Selector};
use wavetank::control_plane::scheduler::framework::Code;
use wavetank::engine::Sym;

/// All there is: nodes in the order in which the scheduler goes through them, pods on nodes, and
/// the objects that default constraints and affinity namespaces come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) placed: Vec<(Arc<Pod>, Sym)>,
    pub(crate) namespaces: Vec<(Sym, LabelSet)>,
    pub(crate) services: Vec<(Sym, Selector)>,
    pub(crate) owners: Vec<((Kind, Sym, Name), Selector)>,
}

impl World {
    pub(crate) fn pods_on(&self, node: &Node) -> impl Iterator<Item = &Pod> {
        let name = node.meta.name.sym();
        self.placed.iter().filter(move |(_, at)| *at == name).map(|(pod, _)| &**pod)
    }

    pub(crate) fn labels_of_namespace(&self, ns: Sym) -> LabelSet {
        let found = self.namespaces.iter().find(|(name, _)| *name == ns);
        found.map(|(_, labels)| *labels).unwrap_or_default()
    }
}

/// A rejection: plugin, code, reasons.
pub(crate) type Rejected = (&'static str, Code, Vec<String>);

/// One plugin's scores over the feasible nodes: name, raw, after normalisation and weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scores {
    pub(crate) plugin: &'static str,
    pub(crate) raw: Vec<i64>,
    pub(crate) weighted: Vec<i64>,
}

/// A decision in full.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judged {
    /// Nodes that a `PreFilter` left out.
    pub(crate) absent: Vec<Sym>,
    pub(crate) rejected: Vec<(Sym, Rejected)>,
    pub(crate) feasible: Vec<Sym>,
    /// Score plugins that were not skipped.
    pub(crate) scores: Vec<Scores>,
    pub(crate) totals: Vec<i64>,
}

type Filter = fn(&World, &Pod, &Node) -> Result<(), (Code, Vec<String>)>;

/// In the order of the default profile.
const FILTERS: [(&str, Filter); 8] = [
    ("NodeUnschedulable", filters::unschedulable),
    ("NodeName", filters::node_name),
    ("TaintToleration", filters::taints),
    ("NodeAffinity", filters::node_affinity),
    ("NodePorts", filters::ports),
    ("NodeResourcesFit", filters::fit),
    ("PodTopologySpread", spread::filter),
    ("InterPodAffinity", affinity::filter),
];

/// Judges every node; `enough` and `start` as upstream samples (all nodes: their number, and 0).
/// Also says how many nodes were looked at.
pub(crate) fn judge(world: &World, pod: &Pod, start: usize, enough: usize) -> (Judged, usize) {
    let mut out = Judged::default();
    let named = filters::narrowed(pod);
    let all = world.nodes.len();
    let candidates: Vec<&Arc<Node>> = match &named {
        None => world.nodes.iter().collect(),
        Some(names) => {
            let (kept, left_out) =
                world.nodes.iter().partition(|n| names.contains(&n.meta.name.sym()));
            let left_out: Vec<&Arc<Node>> = left_out;
            out.absent = left_out.iter().map(|n| n.meta.name.sym()).collect();
            kept
        }
    };
    let mut seen = 0;
    for i in 0..candidates.len() {
        let node = candidates[(start + i) % candidates.len()];
        seen += 1;
        let name = node.meta.name.sym();
        match FILTERS.iter().find_map(|(plugin, f)| Some((*plugin, f(world, pod, node).err()?))) {
            Some((plugin, (code, reasons))) => out.rejected.push((name, (plugin, code, reasons))),
            None => out.feasible.push(name),
        }
        if out.feasible.len() == enough {
            break;
        }
    }
    assert!(all > 0, "a cluster has nodes");
    score(world, pod, &mut out);
    (out, seen)
}

fn score(world: &World, pod: &Pod, out: &mut Judged) {
    let find = |name: &Sym| world.nodes.iter().find(|n| n.meta.name.sym() == *name);
    let nodes: Vec<&Node> = out.feasible.iter().filter_map(find).map(|n| &**n).collect();
    out.totals = vec![0; nodes.len()];
    if nodes.is_empty() {
        return;
    }
    let mut add = |plugin: &'static str, weight: i64, scored: Option<(Vec<i64>, Vec<i64>)>| {
        let Some((raw, normal)) = scored else { return };
        let weighted: Vec<i64> = normal.iter().map(|s| s * weight).collect();
        for (total, score) in out.totals.iter_mut().zip(&weighted) {
            *total += score;
        }
        out.scores.push(Scores { plugin, raw, weighted });
    };
    add("TaintToleration", 3, scores::taints(pod, &nodes));
    add("NodeAffinity", 2, scores::node_affinity(pod, &nodes));
    add("NodeResourcesFit", 1, scores::least_allocated(world, pod, &nodes));
    add("PodTopologySpread", 2, spread::score(world, pod, &nodes));
    add("InterPodAffinity", 2, affinity::score(world, pod, &nodes));
    add("NodeResourcesBalancedAllocation", 1, scores::balanced(world, pod, &nodes));
    add("ImageLocality", 1, scores::images(world, pod, &nodes));
}
