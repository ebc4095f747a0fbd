//! `TaintToleration` (source: `plg/tainttoleration/taint_toleration.go`).

use crate::api::Pod;
use crate::api::node::Node;
use crate::api::pod::{Effect, Toleration};
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{
    ClusterEvent, Code, CycleState, Hint, MAX_SCORE, Plugin, Reason, Verdict, View,
    default_normalize,
};

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaintToleration;

/// True if no `NoSchedule` or `NoExecute` taint of the node repels these tolerations.
#[must_use]
pub fn tolerates(tolerations: &[Toleration], node: &Node) -> bool {
    node.taints
        .iter()
        .filter(|t| t.effect != Effect::PreferNoSchedule)
        .all(|taint| tolerations.iter().any(|t| t.tolerates(taint)))
}

impl Plugin for TaintToleration {
    fn is_static(&self) -> bool {
        true
    }

    fn filter_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> Verdict {
        if tolerates(&view.pod.spec.tolerations, view.cache.node(at)) {
            Verdict::PASS
        } else {
            Verdict::reject(Code::UnschedulableAndUnresolvable, 1)
        }
    }

    fn reason(&self, _view: View<'_>, _bit: u8) -> Reason {
        "node(s) had untolerated taint(s)".into()
    }

    fn score_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> i64 {
        let mut untolerated = 0;
        for taint in view.cache.node(at).taints.iter() {
            // A toleration of another effect cannot match such a taint anyway.
            let preferred = taint.effect == Effect::PreferNoSchedule;
            if preferred && !view.pod.spec.tolerations.iter().any(|t| t.tolerates(taint)) {
                untolerated += 1;
            }
        }
        untolerated
    }

    fn normalize(&self, _view: View<'_>, _state: &CycleState, _nodes: &[u32], scores: &mut [i64]) {
        default_normalize(scores, true);
    }

    fn constant_score(&self, view: View<'_>, _state: &CycleState) -> Option<i64> {
        (!view.cache.prefers()).then_some(MAX_SCORE)
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        let mine = &pod.spec.tolerations;
        match event {
            ClusterEvent::NodeAdd(node) => Hint::of(tolerates(mine, node)),
            ClusterEvent::NodeUpdate { old, new } => {
                // A cordon is a taint to the scheduler; it changes nothing here by itself.
                Hint::of(!tolerates(mine, old) && tolerates(mine, new))
            }
            ClusterEvent::Own { old } => Hint::of(old.spec.tolerations != *mine),
            ClusterEvent::NodeDelete(_)
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::PodGone(_)
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}
