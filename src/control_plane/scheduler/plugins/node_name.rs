//! `NodeName`: a pod that names its node goes there or nowhere.

use crate::api::Pod;
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{
    ClusterEvent, Code, CycleState, Hint, Plugin, Reason, Verdict, View,
};

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeName;

impl Plugin for NodeName {
    fn is_static(&self) -> bool {
        true
    }

    fn filter_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> Verdict {
        let wanted = view.pod.spec.node_name;
        if wanted.is_empty() || wanted == view.cache.at(at).name {
            Verdict::PASS
        } else {
            Verdict::reject(Code::UnschedulableAndUnresolvable, 1)
        }
    }

    fn reason(&self, _view: View<'_>, _bit: u8) -> Reason {
        "node(s) didn't match the requested node name".into()
    }

    fn hint(&self, _pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        match event {
            ClusterEvent::NodeAdd(_) => Hint::Queue,
            ClusterEvent::NodeUpdate { .. }
            | ClusterEvent::NodeDelete(_)
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::PodGone(_)
            | ClusterEvent::Own { .. }
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}
