//! How long a commit takes: the leader's log fsync, and the round trip to a follower.
//!
//! The draw belongs to the request: it is keyed by the object, the instant of the proposal and, for
//! several of one object at one instant, their order. So it does not depend on what else is being
//! committed: heartbeats that are spelled out leave everybody else's latency as it is.

use crate::engine::digest::mix;
use crate::engine::draw::{Draws, Purpose};
use crate::engine::{Dist, SimDuration, SimTime, Tabled};
use rustc_hash::FxHashMap;

/// Commit latency: `fsync` plus the raft round trip.
#[derive(Debug, Clone)]
pub struct CommitLatency {
    fsync: Tabled,
    raft_rtt: SimDuration,
    /// The present instant and the object of its first proposal.
    first: (SimTime, u64),
    /// Proposals of the present instant, counted by object, once there is more than one.
    counts: FxHashMap<u64, u64>,
}

impl CommitLatency {
    /// A latency of these parts.
    #[must_use]
    pub fn new(fsync: Dist, raft_rtt: SimDuration) -> Self {
        let counts = FxHashMap::default();
        let fsync = Tabled::new(fsync, Purpose("fsync"));
        Self { fsync, raft_rtt, first: (SimTime::MAX, 0), counts }
    }

    /// The latency of a proposal about an object (its stable hash) at an instant.
    pub fn of(&mut self, object: u64, at: SimTime, draws: &Draws) -> SimDuration {
        let ordinal = mix(at.0, self.ordinal(object, at));
        self.fsync.of(object, ordinal, draws) + self.raft_rtt
    }

    /// How many proposals about the object there have been at this instant. Most instants see one,
    /// which costs no map.
    fn ordinal(&mut self, object: u64, at: SimTime) -> u64 {
        if self.first.0 != at {
            self.first = (at, object);
            if !self.counts.is_empty() {
                self.counts.clear();
            }
            return 0;
        }
        let count = self.counts.entry(object).or_insert(u64::from(self.first.1 == object));
        let ordinal = *count;
        *count += 1;
        ordinal
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
