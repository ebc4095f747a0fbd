//! Fragmentation: free CPU that the pods of the scenario cannot use.
//!
//! The measure is that of FGD (Weng et al., "Beware of Fragmentation", ATC 2023) for CPU: take a pod at
//! random of those that were created; of the free CPU of all Ready nodes, what share lies on nodes
//! on which it does not fit (CPU, memory, number of pods)? The mean of that share over the pods is
//! what is told: 0 if every pod fits wherever there is any room, 1 if none fits anywhere. Pods that
//! ask for no CPU do not count. The population is sixteen pods at equal ranks of all that were
//! created so far, chosen anew whenever their number has doubled; nodes are looked at when samples
//! of the run are taken, and only those that have changed.

use crate::engine::{SimTime, num};
use std::collections::BTreeMap;

/// Pods that stand for all.
const TYPICAL: u64 = 16;

/// Keeps the shares.
#[derive(Debug, Clone, Default)]
pub struct Fragments {
    /// Pods created, by CPU (milli-cores) and memory (bytes) that they ask for.
    population: BTreeMap<(i64, i64), u64>,
    created: u64,
    /// How many had been created when the typical ones were chosen.
    chosen_of: u64,
    typical: Vec<(i64, i64)>,
    /// Free CPU of each node, and for how many of the typical pods it is of no use.
    nodes: Vec<(i64, i64)>,
    free: i64,
    /// Free CPU times typical pods that cannot use it.
    stuck: i64,
    since: SimTime,
    free_time: u128,
    stuck_time: u128,
}

/// What a node has left.
#[derive(Debug, Clone, Copy, Default)]
pub struct Left {
    /// CPU, milli-cores.
    pub cpu: i64,
    /// Memory, bytes.
    pub memory: i64,
    /// Pods.
    pub pods: i64,
}

impl Fragments {
    /// A pod is created that asks for so much.
    pub fn created(&mut self, room: (i64, i64)) {
        if room.0 > 0 {
            *self.population.entry(room).or_default() += 1;
            self.created += 1;
        }
    }

    /// Time has come so far; true if the typical pods were chosen anew, so that every node must be
    /// looked at.
    pub fn advance(&mut self, now: SimTime) -> bool {
        let span = u128::from(now.since(self.since).0);
        self.since = now;
        if !self.typical.is_empty() {
            self.free_time += u128::from(num::u64_of(self.free)) * span;
            self.stuck_time += u128::from(num::u64_of(self.stuck)) * span;
        }
        let anew = self.created > 0 && self.created >= 2 * self.chosen_of;
        if anew {
            self.choose();
        }
        anew
    }

    fn choose(&mut self) {
        self.chosen_of = self.created;
        self.typical.clear();
        let mut below = 0;
        for (&room, &count) in &self.population {
            below += count;
            // Ranks (i + 1/2) / 16 of all pods, ordered by CPU and memory.
            let rank = |i: u64| (2 * i + 1) * self.created / (2 * TYPICAL);
            while (self.typical.len() as u64) < TYPICAL && rank(self.typical.len() as u64) < below {
                self.typical.push(room);
            }
        }
    }

    /// A node has so much left; nothing if it is not Ready.
    pub fn look(&mut self, node: usize, left: Left) {
        if self.nodes.len() <= node {
            self.nodes.resize(node + 1, (0, 0));
        }
        let free = left.cpu.max(0);
        let fits =
            |&(cpu, memory): &(i64, i64)| left.pods > 0 && cpu <= free && memory <= left.memory;
        let useless = self.typical.iter().filter(|pod| !fits(pod)).count();
        let old = std::mem::replace(&mut self.nodes[node], (free, num::i64_of(useless)));
        self.free += free - old.0;
        self.stuck += free * num::i64_of(useless) - old.0 * old.1;
    }

    /// Free CPU of Ready nodes now, and how much of it is of no use on average, milli-cores.
    #[must_use]
    pub fn now(&self) -> (i64, i64) {
        (self.free, self.stuck / num::i64_of(self.typical.len()).max(1))
    }

    /// The share over time, 0 to 1; none if no pod was created or no CPU was ever free.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let whole = num::float_wide(self.free_time) * num::float_u(TYPICAL);
        (self.free_time > 0).then(|| num::float_wide(self.stuck_time) / whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: i64 = 1 << 30;

    fn left(cpu: i64, memory: i64) -> Left {
        Left { cpu, memory, pods: 100 }
    }

    #[test]
    fn what_no_pod_can_use_is_a_fragment() {
        let mut fragments = Fragments::default();
        // Three of four pods ask for one core, the fourth for four.
        for cpu in [1_000, 1_000, 1_000, 4_000] {
            fragments.created((cpu, GIB));
        }
        fragments.created((0, 0));
        assert!(fragments.advance(SimTime::from_secs(1)));
        assert_eq!(fragments.typical.iter().filter(|pod| pod.0 == 4_000).count(), 4);
        fragments.look(0, left(6_000, 8 * GIB));
        fragments.look(1, left(2_000, 8 * GIB));
        // The wide pod, a quarter of all, cannot use two of the eight free cores.
        assert_eq!(fragments.now(), (8_000, 500));
        fragments.advance(SimTime::from_secs(11));
        assert!((fragments.share().unwrap() - 500.0 / 8_000.0).abs() < 1e-12);
        // Without memory the whole node is of no use; without room for a pod, too.
        fragments.look(1, left(2_000, 0));
        assert_eq!(fragments.now(), (8_000, 2_000));
        fragments.look(0, Left { pods: 0, ..left(6_000, 8 * GIB) });
        assert_eq!(fragments.now(), (8_000, 8_000));
        // A node that is gone has nothing free.
        fragments.look(0, Left::default());
        fragments.look(1, Left::default());
        assert_eq!(fragments.now(), (0, 0));
        assert!(!fragments.advance(SimTime::from_secs(12)));
    }

    #[test]
    fn sixteen_pods_stand_for_any_number() {
        for n in [1_u64, 2, 15, 16, 17, 1000] {
            let mut fragments = Fragments::default();
            for i in 0..n {
                fragments.created((num::float_u(i).to_bits().count_ones().into(), 1));
                fragments.created((1 + i64::try_from(i).unwrap(), 1));
            }
            fragments.advance(SimTime::from_secs(1));
            assert_eq!(fragments.typical.len(), 16, "of {n}");
        }
        assert_eq!(Fragments::default().share(), None);
    }
}
