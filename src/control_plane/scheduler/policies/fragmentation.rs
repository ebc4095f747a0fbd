//! Fragmentation of GPUs (source: Weng et al., "Beware of Fragmentation", USENIX ATC'23, and their
//! simulator's code): how much of what is free on a node the typical pods of a workload cannot use.

use crate::api::gpu::{GpuAsk, MODEL};
use crate::api::labels::Op;
use crate::api::pod::PodSpec;
use crate::engine::intern::Known;
use crate::engine::{Sym, num};
use std::cmp::Reverse;

static MODEL_SYM: Known = Known::new(MODEL);

/// The label that names the model of a node's GPUs.
#[must_use]
pub fn model_key() -> Sym {
    MODEL_SYM.sym()
}

/// A kind of pod, as far as GPUs go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shape {
    /// CPU request, milli-cores.
    pub cpu: i64,
    /// GPUs; none for a pod without.
    pub ask: Option<GpuAsk>,
    /// Models that it may run on; empty for any.
    pub models: Vec<Sym>,
}

impl Shape {
    /// The shape of pods with this spec.
    #[must_use]
    pub fn of(spec: &PodSpec) -> Self {
        let affinity = spec.affinity.as_deref();
        let terms = affinity.and_then(|a| a.node_required.as_deref()).unwrap_or_default();
        let models = match terms {
            [only] => {
                let of_model = |r: &&crate::api::labels::Requirement| {
                    r.key == model_key() && matches!(r.op, Op::In)
                };
                let found = only.expressions.iter().find(of_model);
                found.map(|r| r.values.clone()).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        Self { cpu: spec.requests.cpu_milli, ask: GpuAsk::of(&spec.requests), models }
    }

    fn spec_text(&self) -> String {
        let names: Vec<&str> = self.models.iter().map(|m| m.as_str()).collect();
        names.join("|")
    }
}

/// Typical pods stand for this share of a workload, at least.
const TYPICAL: f64 = 0.95;

/// The most frequent shapes, which together are 95 % of the pods, with their shares among
/// themselves. `counts` may name a shape more than once.
#[must_use]
pub fn typical(counts: impl IntoIterator<Item = (Shape, u64)>) -> Vec<(Shape, f64)> {
    let mut sums: rustc_hash::FxHashMap<Shape, u64> = rustc_hash::FxHashMap::default();
    for (shape, n) in counts {
        *sums.entry(shape).or_default() += n;
    }
    #[expect(clippy::iter_over_hash_type, reason = "the list is sorted by all that it holds")]
    let mut list: Vec<(Shape, u64)> = {
        let mut list = Vec::with_capacity(sums.len());
        for (shape, n) in sums {
            list.push((shape, n));
        }
        list
    };
    let gpus = |s: &Shape| s.ask.map_or((0, 0), |a| (a.milli, a.count));
    list.sort_by_cached_key(|(shape, n)| {
        let unnamed = shape.models.is_empty();
        (Reverse((*n, shape.cpu, gpus(shape))), unnamed, shape.spec_text())
    });
    let all: u64 = list.iter().map(|(_, n)| n).sum();
    let mut sum = 0;
    let enough = TYPICAL * num::float_u(all);
    let mut kept = 0;
    for (_, n) in &list {
        if num::float_u(sum) >= enough {
            break;
        }
        sum += n;
        kept += 1;
    }
    list.truncate(kept);
    let share = |n: u64| num::float_u(n) / num::float_u(sum);
    list.into_iter().map(|(shape, n)| (shape, share(n))).collect()
}

/// A typical pod, ready to be asked.
#[derive(Debug, Clone)]
struct Kind {
    share: f64,
    cpu: i64,
    count: u16,
    /// Which of the levels its GPUs need.
    level: usize,
    models: Vec<Sym>,
}

/// The measure for a set of typical pods.
#[derive(Debug, Clone, Default)]
pub struct Fragmentation {
    /// Share of typical pods without GPUs: to them every free GPU is lost.
    no_gpu: f64,
    kinds: Vec<Kind>,
    /// The amounts per device that are asked for, thousandths, each once.
    levels: Vec<u16>,
}

/// Most distinct amounts that are told apart without memory of their own.
const LEVELS: usize = 64;

impl Fragmentation {
    /// For these typical pods with their shares.
    #[must_use]
    pub fn new(typical: &[(Shape, f64)]) -> Self {
        // Whole devices have the first level.
        let mut made = Self { levels: vec![crate::api::gpu::WHOLE], ..Self::default() };
        for (shape, share) in typical {
            let Some(ask) = shape.ask else {
                made.no_gpu += share;
                continue;
            };
            let known = made.levels.iter().position(|l| *l == ask.milli);
            // Beyond that the rarest amounts count as whole devices.
            let full = known.is_none() && made.levels.len() == LEVELS;
            let level = if full { 0 } else { known.unwrap_or(made.levels.len()) };
            if known.is_none() && !full {
                made.levels.push(ask.milli);
            }
            let (cpu, count, models) = (shape.cpu, ask.count, shape.models.clone());
            made.kinds.push(Kind { share: *share, cpu, count, level, models });
        }
        made
    }

    /// True if there is nothing to measure by.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// What of the free GPUs of a node the typical pods cannot use on average, thousandths of a
    /// GPU: `left` of each device, `cpu` milli-cores free.
    #[must_use]
    pub fn of(&self, model: Sym, cpu: i64, left: &[u16]) -> f64 {
        let free = num::float_u(left.iter().map(|g| u64::from(*g)).sum());
        let mut enough = [0_u16; LEVELS];
        let mut below = [0_u32; LEVELS];
        for (i, level) in self.levels.iter().enumerate() {
            for &gpu in left {
                if gpu >= *level {
                    enough[i] += 1;
                } else {
                    below[i] += u32::from(gpu);
                }
            }
        }
        let mut sum = self.no_gpu * free;
        for kind in &self.kinds {
            let allowed = kind.models.is_empty() || kind.models.contains(&model);
            let runs = allowed && enough[kind.level] >= kind.count && cpu >= kind.cpu;
            let lost = if runs { f64::from(below[kind.level]) } else { free };
            sum += kind.share * lost;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(cpu: i64, gpu: Option<(u16, u16)>) -> Shape {
        let ask = gpu.map(|(count, milli)| GpuAsk { count, milli });
        Shape { cpu, ask, models: Vec::new() }
    }

    #[test]
    fn typical_pods_are_the_most_frequent_ones() {
        let counts = [
            (shape(1000, Some((1, 500))), 60),
            (shape(2000, None), 30),
            (shape(4000, Some((8, 1000))), 6),
            (shape(8000, Some((1, 100))), 4),
        ];
        let found = typical(counts);
        assert_eq!(found.len(), 3, "96 of 100 are enough");
        assert!((found[0].1 - 60.0 / 96.0).abs() < 1e-12);
        assert_eq!(found[1].0, shape(2000, None));
    }

    #[test]
    fn what_typical_pods_cannot_use_is_lost() {
        let typical = [(shape(1000, Some((1, 500))), 0.5), (shape(1000, None), 0.5)];
        let measure = Fragmentation::new(&typical);
        let any = Sym::EMPTY;
        // Without CPU all is lost; with it 300 of 1300 to the one, all to the other.
        assert!((measure.of(any, 500, &[300, 1000]) - 1300.0).abs() < 1e-9);
        let expected = 0.5 * 300.0 + 0.5 * 1300.0;
        assert!((measure.of(any, 1000, &[300, 1000]) - expected).abs() < 1e-9);
    }

    #[test]
    fn a_model_that_is_not_named_cannot_be_used() {
        let named = Shape { models: vec!["T4".into()], ..shape(1000, Some((1, 500))) };
        let measure = Fragmentation::new(&[(named, 1.0)]);
        assert!((measure.of("T4".into(), 1000, &[1000])).abs() < 1e-9);
        assert!((measure.of("P100".into(), 1000, &[1000]) - 1000.0).abs() < 1e-9);
    }
}
