//! Unspelled heartbeats. A healthy kubelet renews its Lease about every 10 s; as long as nothing
//! depends on a single renewal, none is an event: the instant of the last one is a pure function of
//! the kubelet's name, its start and now. (`heartbeats: explicit` arms each of them instead.)
//!
//! A kubelet renews when it starts, then after `first`, then every 10.2 s with a jitter uniform in
//! ±0.2 s: it waits 10 s plus up to 4 % (mean 10.2 s, recorded mean 10.24 s). The controller sees a
//! renewal one request and one watch later.

use crate::engine::draw::{Draws, Purpose};
use crate::engine::{SimDuration, SimTime, Sym};
use rustc_hash::FxHashMap;

/// Mean distance of renewals.
pub const PERIOD: SimDuration = SimDuration::from_millis(10_200);
const JITTER: SimDuration = SimDuration::from_millis(400);
/// From a renewal leaving the kubelet to its sight by a watching controller.
const VISIBLE_AFTER: SimDuration = SimDuration::from_millis(6);

#[derive(Debug, Clone, Copy)]
struct Stream {
    started: SimTime,
    /// From the start to the second renewal.
    first: SimDuration,
    stopped: Option<SimTime>,
    /// The record of what stopped it: the evidence of the controller that misses the renewals.
    stopped_by: u64,
}

/// The renewals of all kubelets.
#[derive(Debug, Clone, Default)]
pub struct Leases {
    streams: FxHashMap<Sym, Stream>,
}

impl Leases {
    /// A kubelet starts: its first renewal happens now, the next one after `first`.
    pub fn start(&mut self, node: Sym, now: SimTime, first: SimDuration) {
        self.streams.insert(node, Stream { started: now, first, stopped: None, stopped_by: 0 });
    }

    /// A kubelet stops, because of the record `cause`.
    pub fn stop(&mut self, node: Sym, now: SimTime, cause: u64) {
        if let Some(stream) = self.streams.get_mut(&node).filter(|s| s.stopped.is_none()) {
            stream.stopped = Some(now);
            stream.stopped_by = cause;
        }
    }

    /// The record that stopped the renewals of a node; none while they go on.
    #[must_use]
    pub fn stopped_by(&self, node: Sym) -> Option<u64> {
        self.streams.get(&node).filter(|s| s.stopped.is_some()).map(|s| s.stopped_by)
    }

    /// True while the kubelet renews.
    #[must_use]
    pub fn renewing(&self, node: Sym) -> bool {
        self.streams.get(&node).is_some_and(|s| s.stopped.is_none())
    }

    /// The last renewal that a watching controller has seen by `now`; none if there was none.
    #[must_use]
    pub fn last_seen(&self, node: Sym, now: SimTime, draws: &Draws) -> Option<SimTime> {
        let stream = self.streams.get(&node)?;
        let horizon = stream.stopped.map_or(now - VISIBLE_AFTER, |s| s.min(now - VISIBLE_AFTER));
        if horizon < stream.started {
            return Some(stream.started).filter(|s| *s <= now);
        }
        let mut k = (horizon.since(stream.started).0 + JITTER.0) / PERIOD.0 + 1;
        loop {
            let at = renewal(stream, node, k, draws);
            if at <= horizon || k == 0 {
                return Some(at);
            }
            k -= 1;
        }
    }
}

/// Renewal number `k`; number 0 is the start itself.
fn renewal(stream: &Stream, node: Sym, k: u64, draws: &Draws) -> SimTime {
    if k == 0 {
        return stream.started;
    }
    let jitter = draws.draw(node.stable_hash(), Purpose("lease"), k).below(JITTER.0);
    let regular = stream.started.0 + stream.first.0 + (k - 1) * PERIOD.0;
    SimTime((regular + jitter).saturating_sub(JITTER.0 / 2).max(stream.started.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_stop_with_the_kubelet() {
        let draws = Draws::new(1);
        let node = Sym::new("n1");
        let mut leases = Leases::default();
        leases.start(node, SimTime::from_secs(5), SimDuration::from_secs(3));
        let mut last = SimTime::ZERO;
        for s in 6..300 {
            let now = SimTime::from_secs(s);
            let seen = leases.last_seen(node, now, &draws).unwrap();
            assert!(
                seen >= last && seen <= now && now.since(seen) < SimDuration::from_millis(10_700)
            );
            last = seen;
        }
        leases.stop(node, SimTime::from_secs(300), 7);
        let seen = leases.last_seen(node, SimTime::from_secs(900), &draws).unwrap();
        assert!(SimTime::from_secs(300).since(seen) < SimDuration::from_millis(10_700));
        assert_eq!(leases.stopped_by(node), Some(7));
    }
}
