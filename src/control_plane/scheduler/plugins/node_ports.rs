//! `NodePorts`: host ports are not shared.

use crate::api::Pod;
use crate::api::placement::{host_ports, ports_conflict as conflict};
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{
    ClusterEvent, Code, CycleState, Hint, Plugin, PreFilter, Reason, Verdict, View,
};

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodePorts;

impl Plugin for NodePorts {
    fn pre_filter(&self, view: View<'_>, _state: &mut CycleState) -> PreFilter {
        if host_ports(&view.pod.spec).next().is_some() { PreFilter::Run } else { PreFilter::Skip }
    }

    fn filter_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> Verdict {
        let used = &view.cache.at(at).ports;
        if host_ports(&view.pod.spec).any(|mine| used.iter().any(|theirs| conflict(mine, *theirs)))
        {
            Verdict::reject(Code::Unschedulable, 1)
        } else {
            Verdict::PASS
        }
    }

    fn reason(&self, _view: View<'_>, _bit: u8) -> Reason {
        "node(s) didn't have free ports for the requested pod ports".into()
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        match event {
            ClusterEvent::NodeAdd(_) => Hint::Queue,
            ClusterEvent::PodGone(gone) => {
                let clash = |mine| host_ports(&gone.spec).any(|theirs| conflict(mine, theirs));
                let there = !gone.node.is_empty() || !gone.status.nominated.is_empty();
                Hint::of(there && host_ports(&pod.spec).any(clash))
            }
            ClusterEvent::NodeUpdate { .. }
            | ClusterEvent::NodeDelete(_)
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::Own { .. }
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}
