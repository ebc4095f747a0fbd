//! `GpuShare`: a pod's GPUs must be had on the devices of the node, not only in sum.
//!
//! Every profile of a cluster whose nodes have `alibabacloud.com/gpu-count` runs it: what a device
//! cannot give, no scheduler can.

use crate::api::Pod;
use crate::api::gpu::GpuAsk;
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{
    ClusterEvent, Code, CycleState, Hint, Plugin, PreFilter, Reason, Verdict, View,
};

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct GpuShare;

const NO_DEVICE: u16 = 1;
const NO_GPU: u16 = 1 << 1;

impl Plugin for GpuShare {
    fn pre_filter(&self, view: View<'_>, _state: &mut CycleState) -> PreFilter {
        if GpuAsk::of(&view.pod.spec.requests).is_some() { PreFilter::Run } else { PreFilter::Skip }
    }

    fn filter_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> Verdict {
        let Some(ask) = GpuAsk::of(&view.pod.spec.requests) else { return Verdict::PASS };
        match &view.cache.at(at).gpus {
            Some(gpus) if gpus.fits(ask) => Verdict::PASS,
            Some(gpus) if gpus.left().len() >= usize::from(ask.count) => {
                Verdict::reject(Code::Unschedulable, NO_DEVICE)
            }
            Some(_) | None => Verdict::reject(Code::UnschedulableAndUnresolvable, NO_GPU),
        }
    }

    fn reason(&self, _view: View<'_>, bit: u8) -> Reason {
        match bit {
            0 => "node(s) had no GPU with enough left for the pod".into(),
            _ => "node(s) had too few GPUs".into(),
        }
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        let asks = GpuAsk::of(&pod.spec.requests).is_some();
        match event {
            ClusterEvent::PodGone(gone) => {
                let held = GpuAsk::of(&gone.spec.requests).is_some() && !gone.node.is_empty();
                Hint::of(asks && (held || !gone.status.nominated.is_empty()))
            }
            ClusterEvent::NodeAdd(_) => Hint::of(asks),
            ClusterEvent::NodeUpdate { old, new } => {
                Hint::of(asks && old.status.allocatable != new.status.allocatable)
            }
            ClusterEvent::NodeDelete(_)
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::Own { .. }
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}
