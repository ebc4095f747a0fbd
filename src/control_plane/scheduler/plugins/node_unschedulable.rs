//! `NodeUnschedulable`: cordoned nodes take only pods that tolerate it.

use crate::api::Pod;
use crate::api::meta::Stamp;
use crate::api::node::{Node, keys};
use crate::api::pod::{Effect, Taint};
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{
    ClusterEvent, Code, CycleState, Hint, Plugin, Reason, Verdict, View,
};
use crate::engine::Sym;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct NodeUnschedulable {
    taint: Taint,
}

impl Default for NodeUnschedulable {
    fn default() -> Self {
        let key = Sym::new(keys::UNSCHEDULABLE);
        let (value, effect, added) = (Sym::EMPTY, Effect::NoSchedule, Stamp::NONE);
        Self { taint: Taint { key, value, effect, added } }
    }
}

impl NodeUnschedulable {
    fn tolerated(&self, pod: &Pod) -> bool {
        pod.spec.tolerations.iter().any(|t| t.tolerates(&self.taint))
    }

    fn fits(&self, pod: &Pod, node: &Node) -> bool {
        !node.unschedulable || self.tolerated(pod)
    }
}

impl Plugin for NodeUnschedulable {
    fn is_static(&self) -> bool {
        true
    }

    fn filter_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> Verdict {
        if self.fits(view.pod, view.cache.node(at)) {
            Verdict::PASS
        } else {
            Verdict::reject(Code::UnschedulableAndUnresolvable, 1)
        }
    }

    fn reason(&self, _view: View<'_>, _bit: u8) -> Reason {
        "node(s) were unschedulable".into()
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        match event {
            ClusterEvent::NodeAdd(node) => Hint::of(!node.unschedulable),
            ClusterEvent::NodeUpdate { old, new } => {
                Hint::of(old.unschedulable && !new.unschedulable)
            }
            ClusterEvent::Own { old } => {
                Hint::of(old.spec.tolerations != pod.spec.tolerations && self.tolerated(pod))
            }
            ClusterEvent::NodeDelete(_)
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::PodGone(_)
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}
