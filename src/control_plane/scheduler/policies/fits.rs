//! `BestFit`, `WorstFit` and `DotProduct`: how full a node would be, over CPU and GPUs where the
//! cluster has GPUs that pods share, else over CPU and memory. Amounts are taken relative to the
//! largest node (source for the GPU forms: the FGD paper's simulator).

use crate::api::gpu::{self, GpuAsk, WHOLE};
use crate::control_plane::scheduler::framework::{CycleState, MAX_SCORE, Plugin, View};
use crate::control_plane::scheduler::plugins::fit::Amount;
use crate::engine::num;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FitRule {
    /// The node that is left with least.
    Best,
    /// The node that is left with most.
    Worst,
    /// The node whose free amounts are least like the pod's.
    Dot,
}

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct Fits(pub FitRule);

/// The largest amounts that a node has: CPU in milli-cores, and GPUs in thousandths or memory.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Largest {
    cpu: f64,
    other: f64,
}

fn largest(view: View<'_>) -> Largest {
    let columns = view.cache.columns();
    let other = if view.cache.has_gpus() {
        columns.largest(Amount::Scalar(gpu::count())) * f64::from(WHOLE)
    } else {
        columns.largest(Amount::Memory)
    };
    Largest { cpu: columns.largest(Amount::Cpu).max(1.0), other: other.max(1.0) }
}

/// Free on a node, and asked for, of CPU and of the other resource.
fn amounts(view: View<'_>, at: usize) -> ((f64, f64), (f64, f64)) {
    let row = view.cache.at(at);
    let asked = &view.pod.spec.requests;
    let cpu = num::float(row.alloc.cpu_milli - row.used.cpu_milli);
    let pod_cpu = num::float(asked.cpu_milli);
    if view.cache.has_gpus() {
        let free = f64::from(row.gpus.as_ref().map_or(0, |gpus| gpus.sum()));
        let pod = f64::from(GpuAsk::of(asked).map_or(0, GpuAsk::total));
        return ((cpu, free), (pod_cpu, pod));
    }
    let free = num::float(row.alloc.memory - row.used.memory);
    ((cpu, free), (pod_cpu, num::float(asked.memory)))
}

impl Plugin for Fits {
    fn pre_score(&self, view: View<'_>, state: &mut CycleState, _nodes: &[u32]) -> bool {
        state.largest = largest(view);
        true
    }

    fn score_node(&self, view: View<'_>, state: &CycleState, at: usize) -> i64 {
        let most = state.largest;
        let ((cpu, other), (pod_cpu, pod_other)) = amounts(view, at);
        let left = (cpu - pod_cpu) / most.cpu + (other - pod_other) / most.other;
        let dot = cpu / most.cpu * pod_cpu / most.cpu + other / most.other * pod_other / most.other;
        num::trunc(match self.0 {
            FitRule::Best => 100.0 * (1.0 - 0.5 * left),
            FitRule::Worst => 100.0 * 0.5 * left,
            FitRule::Dot => 100.0 * (1.0 - 0.5 * dot),
        })
    }

    fn normalize(&self, _view: View<'_>, _state: &CycleState, _nodes: &[u32], scores: &mut [i64]) {
        if self.0 != FitRule::Dot {
            stretch(scores);
        }
    }
}

/// Spreads scores over 0 to 100 in integers; equal ones become 0.
pub fn stretch(scores: &mut [i64]) {
    let least = scores.iter().copied().min().unwrap_or(0);
    let most = scores.iter().copied().max().unwrap_or(0);
    for score in scores.iter_mut() {
        *score = if most == least { 0 } else { (*score - least) * MAX_SCORE / (most - least) };
    }
}
