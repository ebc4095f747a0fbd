//! `NodeResourcesBalancedAllocation` (source: `plg/noderesources/balanced_allocation.go`).

use super::fit::{Amount, CHUNK, Lanes, floor_small, gather, small_to_int};
use crate::control_plane::scheduler::framework::{CycleState, Plugin, View};
use crate::engine::{Loop, num, wide};

/// `NodeResourcesBalancedAllocationArgs`, and the plugin made of them.
#[derive(Debug, Clone)]
pub struct Balanced {
    /// The resources that are to be used evenly.
    pub resources: Vec<Amount>,
}

impl Default for Balanced {
    fn default() -> Self {
        Self { resources: vec![Amount::Cpu, Amount::Memory] }
    }
}

/// `min(requested / capacity, 1)`.
fn fraction(requested: f64, capacity: f64) -> f64 {
    let f = requested / capacity;
    if f > 1.0 { 1.0 } else { f }
}

fn deviation(fractions: &[f64]) -> f64 {
    match fractions {
        [a, b] => ((a - b) / 2.0).abs(),
        [_, _, _, ..] => {
            let n = num::float_u(fractions.len() as u64);
            let mean = fractions.iter().sum::<f64>() / n;
            let squares: f64 = fractions.iter().map(|f| (f - mean) * (f - mean)).sum();
            num::sqrt(squares / n)
        }
        _ => 0.0,
    }
}

impl Plugin for Balanced {
    fn pre_score(&self, view: View<'_>, _state: &mut CycleState, _nodes: &[u32]) -> bool {
        self.resources.iter().any(|r| r.of(&view.pod.spec.requests) != 0)
    }

    fn score_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> i64 {
        let row = view.cache.at(at);
        let mut fractions: smallvec::SmallVec<[f64; 4]> = smallvec::SmallVec::new();
        for resource in &self.resources {
            let asked = resource.of(&view.pod.spec.requests);
            let capacity = resource.of(&row.alloc);
            if capacity == 0 || asked == 0 && resource.scalar() {
                continue;
            }
            let requested = resource.of(&row.used) + asked;
            fractions.push(fraction(num::float(requested), num::float(capacity)));
        }
        num::trunc((1.0 - deviation(&fractions)) * 100.0)
    }

    fn score(&self, view: View<'_>, state: &CycleState, nodes: &[u32], out: &mut [i64]) {
        let columns = view.cache.columns();
        if columns.irregular > 0 || self.resources != [Amount::Cpu, Amount::Memory] {
            for (score, &at) in out.iter_mut().zip(nodes) {
                *score = self.score_node(view, state, at as usize);
            }
            return;
        }
        let cpu = num::float(view.pod.spec.requests.cpu_milli);
        let mem = num::float(view.pod.spec.requests.memory);
        let mut lanes = Lanes::default();
        for (nodes, out) in nodes.chunks(CHUNK).zip(out.chunks_mut(CHUNK)) {
            let [a, b, c, d] = gather(
                &mut lanes,
                nodes,
                [&columns.used_cpu, &columns.alloc_cpu, &columns.used_mem, &columns.alloc_mem],
            );
            wide(Evenness { columns: [a, b, c, d], asked: (cpu, mem), out });
        }
    }
}

/// Scores of a chunk: requested and allocatable cpu, requested and allocatable memory.
struct Evenness<'a> {
    columns: [&'a [f64]; 4],
    asked: (f64, f64),
    out: &'a mut [i64],
}

impl Loop for Evenness<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { columns: [a, b, c, d], asked: (cpu, mem), out } = self;
        for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            let deviation = ((fraction(a + cpu, *b) - fraction(c + mem, *d)) * 0.5).abs();
            *out = small_to_int(floor_small((1.0 - deviation) * 100.0));
        }
    }
}
