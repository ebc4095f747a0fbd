//! Which of equally good nodes is taken: a named choice.

use super::cache::Cache;
use crate::api::Pod;
use crate::engine::digest::mix;
use crate::engine::{Draws, Loop, Purpose, num, wide};

/// A tie rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TieRule {
    /// A seeded draw: what 1.34 and older did, and 1.35 intends.
    #[default]
    Uniform,
    /// What 1.35's heap does with the nodes in the order in which they were found.
    Upstream,
    /// The first one found.
    First,
    /// The smallest name.
    Name,
    /// The first one in a node order shuffled once per run.
    NodeOrderPerRun,
}

const TIE: Purpose = Purpose("scheduler-tie");
const ORDER: Purpose = Purpose("scheduler-node-order");

/// The rank of a node under [`TieRule::NodeOrderPerRun`].
#[must_use]
pub fn rank(draws: &Draws, node: &str) -> u64 {
    draws.draw(crate::engine::digest::hash_bytes(node.as_bytes()), ORDER, 0).bits()
}

/// A stable hash of a pod's name.
#[must_use]
pub fn pod_hash(pod: &Pod) -> u64 {
    mix(pod.meta.ns.stable_hash(), pod.meta.name.stable_hash())
}

impl TieRule {
    /// The index (into `nodes` and `totals`) of the node to take; `nodes` is not empty.
    #[must_use]
    pub fn pick(
        self,
        cache: &Cache,
        nodes: &[u32],
        totals: &[i64],
        draw: impl FnOnce(u64) -> u64,
    ) -> usize {
        if self == Self::Upstream {
            return heap_root(totals);
        }
        let (best, n) = best_and_count(totals);
        let mut tied = totals.iter().enumerate().filter(|(_, t)| **t == best).map(|(i, _)| i);
        let row = |i: usize| cache.at(nodes[i] as usize);
        let chosen = match self {
            Self::Upstream | Self::First => tied.next(),
            Self::Uniform => {
                let k = if n > 1 { draw(n as u64) } else { 0 };
                tied.nth(num::index(k))
            }
            Self::Name => tied.min_by(|a, b| row(*a).name.cmp_text(row(*b).name)),
            Self::NodeOrderPerRun => tied.min_by_key(|i| row(*i).rank),
        };
        chosen.expect("a feasible node has the best score")
    }
}

/// The largest total, and how many nodes have it.
fn best_and_count(totals: &[i64]) -> (i64, usize) {
    wide(Best(totals))
}

struct Best<'a>(&'a [i64]);

impl Loop for Best<'_> {
    type Output = (i64, usize);

    #[inline(always)]
    fn run(self) -> (i64, usize) {
        // Two loops without a branch each, which vectorise; one with a branch would not.
        let best = self.0.iter().copied().fold(i64::MIN, i64::max);
        (best, self.0.iter().filter(|total| **total == best).count())
    }
}

/// The draw of [`TieRule::Uniform`]: by the pod's name and the number of the attempt.
#[must_use]
pub fn uniform(draws: &Draws, pod: &Pod, attempt: u32, n: u64) -> u64 {
    draws.draw(pod_hash(pod), TIE, u64::from(attempt)).below(n)
}

/// The index that Go's `container/heap` leaves at the root after `Init` on a strict "greater"
/// order: sift down from the last parent to the first.
fn heap_root(totals: &[i64]) -> usize {
    let mut heap: Vec<usize> = (0..totals.len()).collect();
    let n = heap.len();
    for start in (0..n / 2).rev() {
        let mut i = start;
        loop {
            let mut child = 2 * i + 1;
            if child >= n {
                break;
            }
            if child + 1 < n && totals[heap[child + 1]] > totals[heap[child]] {
                child += 1;
            }
            if totals[heap[child]] <= totals[heap[i]] {
                break;
            }
            heap.swap(i, child);
            i = child;
        }
    }
    heap[0]
}
