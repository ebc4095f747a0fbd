//! `NodeAffinity` and nodeSelector (source: `plg/nodeaffinity/node_affinity.go`).

use crate::api::Pod;
use crate::api::labels::Op;
use crate::api::node::Node;
use crate::api::placement::{meets, node_matches, required_terms};
use crate::api::pod::{NodeSelectorTerm, PreferredNodeTerm};
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{
    ClusterEvent, Code, CycleState, Hint, Plugin, PreFilter, Reason, Verdict, View,
    default_normalize,
};
use crate::engine::{Sym, num};

/// `NodeAffinityArgs`, and the plugin made of them.
#[derive(Debug, Clone, Default)]
pub struct NodeAffinity {
    /// `addedAffinity.required…`: terms every pod of the profile must meet (one of them).
    pub required: Option<Vec<NodeSelectorTerm>>,
    /// `addedAffinity.preferred…`.
    pub preferred: Vec<PreferredNodeTerm>,
}

/// The names to which every term narrows the choice; none if some term does not.
fn named_nodes(terms: &[NodeSelectorTerm]) -> Option<Vec<Sym>> {
    let mut all: Vec<Sym> = Vec::new();
    for term in terms {
        let mut names: Option<Vec<Sym>> = None;
        for field in &term.fields {
            if field.op == Op::In && field.key.as_str() == "metadata.name" {
                names = Some(match names {
                    None => field.values.clone(),
                    Some(old) => old.into_iter().filter(|n| field.values.contains(n)).collect(),
                });
            }
        }
        all.extend(names?);
    }
    Some(all)
}

impl NodeAffinity {
    fn enforced(&self, node: &Node) -> bool {
        self.required.as_ref().is_none_or(|terms| terms.iter().any(|t| meets(t, node)))
    }

    fn fits(&self, pod: &Pod, node: &Node) -> bool {
        self.enforced(node) && node_matches(pod, node)
    }

    fn preferred<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = &'a PreferredNodeTerm> {
        let own = pod.spec.affinity.as_ref().map(|a| a.node_preferred.as_slice());
        self.preferred.iter().chain(own.unwrap_or_default())
    }
}

impl Plugin for NodeAffinity {
    fn pre_filter(&self, view: View<'_>, _state: &mut CycleState) -> PreFilter {
        let pod = view.pod;
        let Some(terms) = required_terms(pod) else {
            let nothing = self.required.is_none() && pod.spec.node_selector.is_empty();
            return if nothing { PreFilter::Skip } else { PreFilter::Run };
        };
        if terms.is_empty() {
            return PreFilter::Run;
        }
        let Some(names) = named_nodes(terms) else { return PreFilter::Run };
        if names.is_empty() {
            let reason = "pod affinity terms conflict".into();
            return PreFilter::Reject(Code::UnschedulableAndUnresolvable, vec![reason]);
        }
        let mut at: Vec<u32> =
            names.iter().filter_map(|n| view.cache.position(*n)).map(num::u32_of).collect();
        at.sort_unstable();
        at.dedup();
        PreFilter::Narrow(at)
    }

    fn is_static(&self) -> bool {
        true
    }

    fn filter_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> Verdict {
        let node = view.cache.node(at);
        if !self.enforced(node) {
            Verdict::reject(Code::UnschedulableAndUnresolvable, 2)
        } else if !node_matches(view.pod, node) {
            Verdict::reject(Code::UnschedulableAndUnresolvable, 1)
        } else {
            Verdict::PASS
        }
    }

    fn reason(&self, _view: View<'_>, bit: u8) -> Reason {
        if bit == 1 {
            "node(s) didn't match scheduler-enforced node affinity".into()
        } else {
            "node(s) didn't match Pod's node affinity/selector".into()
        }
    }

    fn pre_score(&self, view: View<'_>, _state: &mut CycleState, _nodes: &[u32]) -> bool {
        self.preferred(view.pod).next().is_some()
    }

    fn score_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> i64 {
        let node = view.cache.node(at);
        self.preferred(view.pod).filter(|p| meets(&p.term, node)).map(|p| p.weight).sum()
    }

    fn normalize(&self, _view: View<'_>, _state: &CycleState, _nodes: &[u32], scores: &mut [i64]) {
        default_normalize(scores, false);
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        match event {
            ClusterEvent::NodeAdd(node) => Hint::of(self.fits(pod, node)),
            ClusterEvent::NodeUpdate { old, new } => {
                Hint::of(!self.fits(pod, old) && self.fits(pod, new))
            }
            ClusterEvent::NodeDelete(_)
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::PodGone(_)
            | ClusterEvent::Own { .. }
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}
