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

/// A kind of pod: CPU, milli-cores, and GPUs.
type Kind = (i64, Option<GpuAsk>);

/// Kinds that are remembered: beyond them all are forgotten, so that drawn requests cost no memory.
const MOST_KINDS: usize = 1024;

/// What is remembered between cycles: nodes change one at a time, so nearly every score is as it
/// was when the last pod of its kind came.
#[derive(Debug, Clone, Default)]
pub struct FgdState {
    /// By node index.
    kinds: FxHashMap<Kind, Vec<Known>>,
    /// Fragmentation of each node (by index) as it is, with the version it was worked out of.
    before: Vec<(u64, f64)>,
}

impl FgdState {
    /// What is known of nodes for the pod in hand.
    fn of(&self, view: View<'_>) -> &[Known] {
        self.kinds.get(&kind(view)).map(Vec::as_slice).unwrap_or_default()
    }
}

fn kind(view: View<'_>) -> Kind {
    let requests = &view.pod.spec.requests;
    (requests.cpu_milli, GpuAsk::of(requests))
}

impl Fgd {
    /// Score and device of a node for a pod.
    fn judge(&self, row: &NodeRow, before: f64, cpu: i64, ask: Option<GpuAsk>) -> (i16, u8) {
        let Some(gpus) = row.gpus.as_deref() else { return (score(0.0), NO_DEVICE) };
        let model = model_of(row);
        let free = left(row).0 - cpu;
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

/// Free CPU and what is left of each device.
fn left(row: &NodeRow) -> (i64, &[u16]) {
    let gpus = row.gpus.as_ref().map_or(&[][..], |gpus| gpus.left());
    (row.alloc.cpu_milli - row.used.cpu_milli, gpus)
}

impl Plugin for Fgd {
    fn pre_score(&self, view: View<'_>, state: &mut CycleState, nodes: &[u32]) -> bool {
        let FgdState { kinds, before } = &mut state.fgd;
        let (cpu, ask) = kind(view);
        if kinds.len() > MOST_KINDS {
            kinds.clear();
        }
        let known = kinds.entry((cpu, ask)).or_default();
        for &at in nodes {
            let (row, index) =
                (view.cache.at(at as usize), view.cache.index_at(at as usize) as usize);
            if known.len() <= index {
                known.resize(index + 1, Known::default());
            }
            if known[index].version == row.version {
                continue;
            }
            if before.len() <= index {
                before.resize(index + 1, (0, 0.0));
            }
            if before[index].0 != row.version {
                let (free, gpus) = left(row);
                before[index] = (row.version, self.measure.of(model_of(row), free, gpus));
            }
            let (score, device) = self.judge(row, before[index].1, cpu, ask);
            known[index] = Known { version: row.version, score, device };
        }
        true
    }

    fn score_node(&self, view: View<'_>, state: &CycleState, at: usize) -> i64 {
        i64::from(state.fgd.of(view)[view.cache.index_at(at) as usize].score)
    }

    fn score(&self, view: View<'_>, state: &CycleState, nodes: &[u32], out: &mut [i64]) {
        let known = state.fgd.of(view);
        for (score, &at) in out.iter_mut().zip(nodes) {
            *score = i64::from(known[view.cache.index_at(at as usize) as usize].score);
        }
    }

    fn devices(&self, view: View<'_>, state: &CycleState, at: usize) -> Option<Devices> {
        let (cpu, ask) = kind(view);
        let ask = ask.filter(|ask| ask.shares())?;
        let row = view.cache.at(at);
        let known = state.fgd.of(view).get(view.cache.index_at(at) as usize);
        let device = match known.filter(|known| known.version == row.version) {
            Some(known) => known.device,
            // A cycle that found one node alone has scored none.
            None => {
                let (free, gpus) = left(row);
                let before = self.measure.of(model_of(row), free, gpus);
                self.judge(row, before, cpu, Some(ask)).1
            }
        };
        (device != NO_DEVICE).then(|| Devices::one(usize::from(device)))
    }
}
