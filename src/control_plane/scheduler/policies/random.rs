//! `Random`: any node that fits, each as likely as the others; a share of a GPU on any device.

use crate::api::gpu::{Devices, GpuAsk};
use crate::control_plane::scheduler::framework::{CycleState, MAX_SCORE, Plugin, View};
use crate::control_plane::scheduler::ties::pod_hash;
use crate::engine::digest::mix;
use crate::engine::num;

/// The plugin; a choice is a pure function of the seed, the pod and the nodes that fit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Random {
    /// The run's seed.
    pub seed: u64,
}

const NODE: u64 = 0x6e6f_6465;
const DEVICE: u64 = 0x6465_7669_6365;

impl Random {
    fn bits(self, view: View<'_>, purpose: u64, of: u64) -> u64 {
        mix(mix(self.seed, purpose), mix(pod_hash(view.pod), of))
    }
}

impl Plugin for Random {
    fn score_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> i64 {
        let name = view.cache.at(at).name.stable_hash();
        // Half of the range, so that it is no negative number.
        (self.bits(view, NODE, name) >> 1).cast_signed()
    }

    /// 100 for the one, 0 for the others.
    fn normalize(&self, _view: View<'_>, _state: &CycleState, _nodes: &[u32], scores: &mut [i64]) {
        let best = scores.iter().copied().max().unwrap_or(0);
        for score in scores.iter_mut() {
            *score = if *score == best { MAX_SCORE } else { 0 };
        }
    }

    fn devices(&self, view: View<'_>, _state: &CycleState, at: usize) -> Option<Devices> {
        let ask = GpuAsk::of(&view.pod.spec.requests).filter(|ask| ask.shares())?;
        let row = view.cache.at(at);
        let left = row.gpus.as_deref()?.left();
        let fitting: Vec<usize> = (0..left.len()).filter(|i| left[*i] >= ask.milli).collect();
        let bits = self.bits(view, DEVICE, row.name.stable_hash());
        let pick = (u128::from(bits) * u128::from(fitting.len() as u64)) >> 64;
        let index = fitting.get(num::index(u64::try_from(pick).unwrap_or(0)))?;
        Some(Devices::one(*index))
    }
}
