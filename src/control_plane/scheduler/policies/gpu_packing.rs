//! `GpuPacking` and `GpuClustering` as the FGD paper compares them (source: its simulator):
//! fill GPUs that are in use first, or keep pods of one kind together.

use crate::api::gpu::{GpuAsk, Gpus, MOST, WHOLE};
use crate::control_plane::scheduler::framework::{CycleState, Plugin, View};

/// Free GPUs of shared devices first, then of nodes in use, then of empty nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct GpuPacking;

/// Nodes with pods of the same kind first.
#[derive(Debug, Clone, Copy, Default)]
pub struct GpuClustering;

/// Devices of the largest node of the paper's cluster, thousandths.
const NODE: i64 = 8000;

fn packing(gpus: &Gpus, ask: GpuAsk) -> i64 {
    let left = gpus.left();
    let free = |g: &&u16| **g == WHOLE;
    let idle = left.iter().filter(free).count();
    if idle == left.len() {
        let idle = i64::try_from(idle).unwrap_or(0);
        return (33 - idle).max(idle);
    }
    let mut fitting: Vec<u16> = left.iter().copied().filter(|g| *g >= ask.milli).collect();
    fitting.sort_unstable();
    fitting.truncate(usize::from(ask.count));
    let opened = i64::try_from(fitting.iter().filter(free).count()).unwrap_or(0);
    if opened > 0 {
        return (50 - opened).max(33);
    }
    let left: i64 = fitting.iter().map(|g| 100 * i64::from(*g) / i64::from(WHOLE)).sum();
    (100 - left / 10).max(50)
}

impl Plugin for GpuPacking {
    fn score_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> i64 {
        let ask = GpuAsk::of(&view.pod.spec.requests);
        let gpus = view.cache.at(at).gpus.as_deref();
        ask.zip(gpus).map_or(0, |(ask, gpus)| packing(gpus, ask))
    }
}

fn clustering(gpus: &Gpus, ask: GpuAsk) -> i64 {
    let base = 25 * (NODE - i64::from(gpus.sum())).max(0) / NODE;
    let own = Gpus::class(ask);
    let there = |class: usize| gpus.pods(class) > 0;
    let others = (0..=MOST).any(|class| class != own && there(class));
    base + match (there(own), others) {
        (true, false) => 75,
        (true, true) => 50,
        (false, false) => 25,
        (false, true) => 0,
    }
}

impl Plugin for GpuClustering {
    fn score_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> i64 {
        let ask = GpuAsk::of(&view.pod.spec.requests);
        let gpus = view.cache.at(at).gpus.as_deref();
        ask.zip(gpus).map_or(0, |(ask, gpus)| clustering(gpus, ask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::gpu::Devices;

    fn part(milli: u16) -> GpuAsk {
        GpuAsk { count: 1, milli }
    }

    #[test]
    fn packing_prefers_devices_in_use_to_nodes_in_use_to_empty_nodes() {
        let mut gpus = Gpus::new(8);
        assert_eq!(packing(&gpus, part(500)), 25, "eight idle devices");
        assert_eq!(packing(&Gpus::new(1), part(500)), 32);
        gpus.take(part(400), Devices::one(0), true);
        // 600 thousandths of the opened device are left: 100 - 60 / 10.
        assert_eq!(packing(&gpus, part(500)), 94);
        assert_eq!(packing(&gpus, part(700)), 49, "one more device has to be opened");
        assert_eq!(packing(&gpus, GpuAsk { count: 4, milli: 1000 }), 46);
    }

    #[test]
    fn clustering_prefers_company_of_the_same_kind() {
        let mut gpus = Gpus::new(8);
        assert_eq!(clustering(&gpus, part(500)), 25);
        gpus.take(part(400), Devices::one(0), true);
        assert_eq!(clustering(&gpus, part(500)), 76);
        assert_eq!(clustering(&gpus, part(1000)), 1);
        gpus.take(part(1000), Devices::one(1), true);
        assert_eq!(clustering(&gpus, part(500)), 54);
    }
}
