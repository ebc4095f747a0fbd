//! `FragmentationGradientDescent`: the node whose GPUs the pod fragments least (source: Weng et
//! al., USENIX ATC'23).

use super::fragmentation::{Fragmentation, model_key};
use crate::api::gpu::{Devices, GpuAsk, Gpus, WHOLE};
use crate::control_plane::scheduler::cache::NodeRow;
use crate::control_plane::scheduler::framework::{CycleState, Plugin, View};
use crate::engine::num;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The plugin.
#[derive(Debug, Clone, Default)]
pub struct Fgd {
    /// What it measures by.
    pub measure: Arc<Fragmentation>,
}

/// A score of a node for a kind of pod, and the device that gives it ([`NO_DEVICE`]: best fit).
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    version: u64,
    score: i16,
    device: u8,
}

const NO_DEVICE: u8 = u8::MAX;

/// What is remembered between cycles: nodes change one at a time, so nearly every score is as it
/// was when the last pod of its kind came.
#[derive(Debug, Clone, Default)]
pub struct FgdState {
    kinds: FxHashMap<(i64, Option<GpuAsk>), Vec<Known>>,
    /// Fragmentation of each node (by index) as it is, with the version it was worked out of.
    before: Vec<(u64, f64)>,
    /// Scores and devices of the cycle's nodes, by position.
    scores: Vec<(i16, u8)>,
}

impl Fgd {
    /// Score and device of a node for a pod.
    fn judge(&self, row: &NodeRow, before: f64, cpu: i64, ask: Option<GpuAsk>) -> (i16, u8) {
        let Some(gpus) = row.gpus.as_deref() else { return (score(0.0), NO_DEVICE) };
        let model = model_of(row);
        let free = row.alloc.cpu_milli - row.used.cpu_milli - cpu;
        let after = |left: &[u16]| score(before - self.measure.of(model, free, left));
        match ask {
            None => (after(gpus.left()), NO_DEVICE),
            Some(ask) if ask.shares() => best_device(gpus, ask, after),
            Some(ask) => {
                let mut left = gpus.left().to_vec();
                let whole = left.iter_mut().filter(|g| **g == WHOLE).take(usize::from(ask.count));
                whole.for_each(|g| *g -= ask.milli);
                (after(&left), NO_DEVICE)
            }
        }
    }
}

/// The best score that one of the devices gives, the first of equal ones.
fn best_device(gpus: &Gpus, ask: GpuAsk, after: impl Fn(&[u16]) -> i16) -> (i16, u8) {
    let mut left = [0_u16; crate::api::gpu::MOST];
    let n = gpus.left().len();
    left[..n].copy_from_slice(gpus.left());
    let mut best = (i16::MIN, NO_DEVICE);
    for i in 0..n {
        // Devices with as much left give the same score.
        let has = left[i];
        if has < ask.milli || gpus.left()[..i].contains(&has) {
            continue;
        }
        left[i] = has - ask.milli;
        let found = after(&left[..n]);
        left[i] = has;
        if found > best.0 {
            best = (found, u8::try_from(i).unwrap_or(NO_DEVICE));
        }
    }
    best
}

fn model_of(row: &NodeRow) -> crate::engine::Sym {
    row.node.as_deref().and_then(|node| node.meta.labels.get(model_key())).unwrap_or_default()
}

/// `100 * sigmoid(gain / 1000)`, truncated; gain in thousandths of a GPU.
fn score(gain: f64) -> i16 {
    let value = num::trunc(100.0 / (1.0 + num::exp(-gain / 1000.0)));
    i16::try_from(value).unwrap_or_default()
}

impl Plugin for Fgd {
    fn pre_score(&self, view: View<'_>, state: &mut CycleState, nodes: &[u32]) -> bool {
        let memory = &mut state.fgd;
        let requests = &view.pod.spec.requests;
        let (cpu, ask) = (requests.cpu_milli, GpuAsk::of(requests));
        memory.scores.resize(view.cache.len(), (0, NO_DEVICE));
        let known = memory.kinds.entry((cpu, ask)).or_default();
        for &at in nodes {
            let at = at as usize;
            let (row, index) = (view.cache.at(at), view.cache.index_at(at) as usize);
            if known.len() <= index {
                known.resize(index + 1, Known::default());
            }
            if known[index].version != row.version {
                if memory.before.len() <= index {
                    memory.before.resize(index + 1, (0, 0.0));
                }
                if memory.before[index].0 != row.version {
                    let left = row.gpus.as_ref().map_or(&[][..], |g| g.left());
                    let free = row.alloc.cpu_milli - row.used.cpu_milli;
                    memory.before[index] =
                        (row.version, self.measure.of(model_of(row), free, left));
                }
                let (score, device) = self.judge(row, memory.before[index].1, cpu, ask);
                known[index] = Known { version: row.version, score, device };
            }
            memory.scores[at] = (known[index].score, known[index].device);
        }
        true
    }

    fn score_node(&self, _view: View<'_>, state: &CycleState, at: usize) -> i64 {
        i64::from(state.fgd.scores[at].0)
    }

    fn score(&self, _view: View<'_>, state: &CycleState, nodes: &[u32], out: &mut [i64]) {
        for (score, &at) in out.iter_mut().zip(nodes) {
            *score = i64::from(state.fgd.scores[at as usize].0);
        }
    }

    fn devices(&self, view: View<'_>, state: &CycleState, at: usize) -> Option<Devices> {
        let ask = GpuAsk::of(&view.pod.spec.requests).filter(|ask| ask.shares())?;
        let gpus = view.cache.at(at).gpus.as_deref()?;
        // A cycle that found one node alone has scored none.
        let index = view.cache.index_at(at) as usize;
        let known = state.fgd.kinds.get(&(view.pod.spec.requests.cpu_milli, Some(ask)));
        let fresh = known
            .and_then(|list| list.get(index))
            .filter(|known| known.version == view.cache.at(at).version);
        let device = match fresh {
            Some(known) => known.device,
            None => {
                let row = view.cache.at(at);
                let free = row.alloc.cpu_milli - row.used.cpu_milli;
                let before = self.measure.of(model_of(row), free, gpus.left());
                self.judge(row, before, view.pod.spec.requests.cpu_milli, Some(ask)).1
            }
        };
        (device != NO_DEVICE).then(|| Devices::one(usize::from(device)))
    }
}
