//! How long a commit takes: the leader's log fsync, and the round trip to a follower.
//!
//! The draw belongs to the request: it is keyed by the object, the instant of the proposal and, for
//! several of one object at one instant, their order. So it does not depend on what else is being
//! committed: heartbeats that are spelled out leave everybody else's latency as it is.

use crate::engine::digest::mix;
use crate::engine::draw::{Draws, Purpose};
use crate::engine::{Dist, SimDuration, SimTime, num};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Values of the distribution that draws choose from: a choice costs three multiplications, where
/// the distribution itself costs logarithms. 4096 draws give its quantiles to about 1 %.
const TABLE: u64 = 4096;

/// The table, and the key of the choices from it.
#[derive(Debug, Clone)]
struct Table {
    values: Arc<[SimDuration]>,
    key: u64,
}

/// Commit latency: `fsync` plus the raft round trip.
#[derive(Debug, Clone)]
pub struct CommitLatency {
    fsync: Dist,
    raft_rtt: SimDuration,
    table: Option<Table>,
    /// Proposals of the present instant, counted by object.
    instant: SimTime,
    counts: FxHashMap<u64, u64>,
}

impl CommitLatency {
    /// A latency of these parts.
    #[must_use]
    pub fn new(fsync: Dist, raft_rtt: SimDuration) -> Self {
        let counts = FxHashMap::default();
        Self { fsync, raft_rtt, table: None, instant: SimTime::ZERO, counts }
    }

    /// The latency of a proposal about an object (its stable hash) at an instant.
    pub fn of(&mut self, object: u64, at: SimTime, draws: &Draws) -> SimDuration {
        if let Dist::Constant(d) = self.fsync {
            return d + self.raft_rtt;
        }
        if self.instant != at {
            self.instant = at;
            self.counts.clear();
        }
        let count = self.counts.entry(object).or_default();
        let ordinal = *count;
        *count += 1;
        let fsync = self.fsync;
        let table = self.table.get_or_insert_with(|| Table {
            values: (0..TABLE)
                .map(|i| fsync.sample(&mut draws.draw(0, Purpose("fsync-table"), i)))
                .collect(),
            key: draws.draw(0, Purpose("fsync"), 0).bits(),
        });
        let choice = mix(mix(table.key, object), mix(at.0, ordinal));
        table.values[num::index(choice % TABLE)] + self.raft_rtt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_belongs_to_its_request() {
        let draws = Draws::new(1);
        let fsync = Dist::Exponential(SimDuration::from_millis(2));
        let new = || CommitLatency::new(fsync, SimDuration::from_millis(1));
        let (mut alone, mut beside) = (new(), new());
        let mut total = SimDuration::ZERO;
        let mut equal = 0;
        for i in 0..20_000 {
            let at = SimTime(i / 2 * 1_000);
            let other = beside.of(99, at, &draws);
            let ours = alone.of(7, at, &draws);
            assert_eq!(ours, beside.of(7, at, &draws));
            equal += u32::from(ours == other);
            total = total + ours;
        }
        // Two draws from a table of 4096 are the same one time in 4096.
        assert!((1..20).contains(&equal), "{equal} latencies of two objects are equal");
        let mean = total.secs_f64() / 20_000.0;
        assert!((mean - 0.003).abs() < 0.000_06, "mean {mean}");
    }
}
