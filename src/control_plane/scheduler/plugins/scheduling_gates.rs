//! `SchedulingGates`: a pod with gates does not enter the queue.

use crate::api::Pod;
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{ClusterEvent, Hint, Plugin, Reason};

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct SchedulingGates;

impl Plugin for SchedulingGates {
    fn pre_enqueue(&self, pod: &Pod) -> Option<Reason> {
        if pod.spec.gates.is_empty() {
            return None;
        }
        let names: Vec<&str> = pod.spec.gates.iter().map(|g| g.as_str()).collect();
        Some(format!("waiting for scheduling gates: [{}]", names.join(" ")).into())
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        match event {
            ClusterEvent::Own { .. } => Hint::of(pod.spec.gates.is_empty()),
            ClusterEvent::NodeAdd(_)
            | ClusterEvent::NodeUpdate { .. }
            | ClusterEvent::NodeDelete(_)
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::PodGone(_)
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}
