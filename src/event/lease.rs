//! Unspelled heartbeats. A healthy kubelet renews its Lease about every 10 s and reports its node
//! about every 5 min; as long as nothing depends on a single one, none is an event: the instant of
//! the last one is a pure function of the kubelet's name, its start and now.
//! (`heartbeats: explicit` arms each of them instead, at the same instants.)
//!
//! A kubelet renews when it starts, then after `first`, then every 10.2 s with a jitter uniform in
//! ±0.2 s: it waits 10 s plus up to 4 % (mean 10.2 s, recorded mean 10.24 s). It reports its node
//! when it starts, then after 5 min ± 50 %, then at the first turn of its 10 s loop that is 5 min
//! later. The controller sees a heartbeat one request and one watch later. Sources: behaviour
//! reference §3.19, §4.1.

use crate::engine::draw::{Draws, Purpose};
use crate::engine::{Packets, SimDuration, SimTime, Sym};
use rustc_hash::FxHashMap;

/// Mean distance of renewals.
pub const PERIOD: SimDuration = SimDuration::from_millis(10_200);
/// From a heartbeat leaving the kubelet to its sight by a watching controller.
const VISIBLE_AFTER: SimDuration = SimDuration::from_millis(6);

/// One of the two things that a kubelet repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The renewal of its Lease.
    Renewal,
    /// The report of its node's status, unchanged.
    Report,
}

impl Beat {
    const fn period(self) -> SimDuration {
        match self {
            Self::Renewal => PERIOD,
            Self::Report => SimDuration::from_millis(305_200),
        }
    }

    /// Width of the jitter around the regular instant.
    const fn jitter(self) -> SimDuration {
        match self {
            Self::Renewal => SimDuration::from_millis(400),
            Self::Report => SimDuration::from_millis(10_400),
        }
    }

    const fn purpose(self) -> Purpose {
        match self {
            Self::Renewal => Purpose("lease"),
            Self::Report => Purpose("node report"),
        }
    }
}

#[derive(Debug, Clone)]
struct Stream {
    started: SimTime,
    /// From the start to the second renewal.
    first: SimDuration,
    /// True if the node is reported, too.
    reports: bool,
    stopped: Option<SimTime>,
    /// The record of what stopped it: the evidence of the controller that misses the renewals.
    stopped_by: u64,
    /// Since when renewals come late, and by what, added.
    late: Option<Box<(SimTime, Vec<Packets>)>>,
}

/// Beats that are looked at before the last one is given up for lost.
const LATE_BEATS: u64 = 64;

/// The heartbeats of all kubelets.
#[derive(Debug, Clone, Default)]
pub struct Leases {
    streams: FxHashMap<Sym, Stream>,
}

impl Leases {
    /// A kubelet starts: its first renewal happens now, the next one after `first`.
    pub fn start(&mut self, node: Sym, now: SimTime, first: SimDuration, reports: bool) {
        let stream =
            Stream { started: now, first, reports, stopped: None, stopped_by: 0, late: None };
        self.streams.insert(node, stream);
    }

    /// A kubelet stops, because of the record `cause`.
    pub fn stop(&mut self, node: Sym, now: SimTime, cause: u64) {
        if let Some(stream) = self.streams.get_mut(&node).filter(|s| s.stopped.is_none()) {
            stream.stopped = Some(now);
            stream.stopped_by = cause;
        }
    }

    /// From now on the renewals of a node come late, because of the record `cause`.
    pub fn late(&mut self, node: Sym, now: SimTime, packets: Vec<Packets>, cause: u64) {
        if let Some(stream) = self.streams.get_mut(&node) {
            stream.late = Some(Box::new((now, packets)));
            if stream.stopped.is_none() {
                stream.stopped_by = cause;
            }
        }
    }

    /// From now on they are on time.
    pub fn on_time(&mut self, node: Sym) {
        if let Some(stream) = self.streams.get_mut(&node) {
            stream.late = None;
        }
    }

    /// The record that stopped the renewals of a node, or delays them; none while they go on.
    #[must_use]
    pub fn stopped_by(&self, node: Sym) -> Option<u64> {
        let troubled = |s: &&Stream| s.stopped.is_some() || s.late.is_some();
        self.streams.get(&node).filter(troubled).map(|s| s.stopped_by)
    }

    /// True while the kubelet renews, and nothing delays it.
    #[must_use]
    pub fn renewing(&self, node: Sym) -> bool {
        self.streams.get(&node).is_some_and(|s| s.stopped.is_none() && s.late.is_none())
    }

    /// The last renewal that a watching controller has seen by `now`; none if there was none.
    #[must_use]
    pub fn last_seen(&self, node: Sym, now: SimTime, draws: &Draws) -> Option<SimTime> {
        let horizon = now - VISIBLE_AFTER;
        let seen = match self.streams.get(&node).and_then(|s| Some((s, s.late.as_deref()?))) {
            Some((stream, late)) => arrived(stream, late, node, horizon, draws),
            None => self.last(Beat::Renewal, node, horizon, draws),
        };
        seen.or_else(|| self.streams.get(&node).map(|s| s.started).filter(|s| *s <= now))
    }

    /// The last report of the node that a watching controller has seen by `now`.
    #[must_use]
    pub fn last_report(&self, node: Sym, now: SimTime, draws: &Draws) -> Option<SimTime> {
        self.last(Beat::Report, node, now - VISIBLE_AFTER, draws)
    }

    /// The last beat at or before `horizon`.
    #[must_use]
    pub fn last(&self, beat: Beat, node: Sym, horizon: SimTime, draws: &Draws) -> Option<SimTime> {
        let stream = self.streams.get(&node).filter(|s| beat == Beat::Renewal || s.reports)?;
        let horizon = stream.stopped.map_or(horizon, |s| s.min(horizon));
        if horizon < stream.started {
            return None;
        }
        let mut k = (horizon.since(stream.started).0 + beat.jitter().0) / beat.period().0 + 1;
        loop {
            let at = instant(stream, beat, node, k, draws);
            if at <= horizon || k == 0 {
                return Some(at);
            }
            k -= 1;
        }
    }

    /// The first beat after `now` of a kubelet that runs.
    #[must_use]
    pub fn next(&self, beat: Beat, node: Sym, now: SimTime, draws: &Draws) -> Option<SimTime> {
        let stream = self.streams.get(&node).filter(|s| beat == Beat::Renewal || s.reports)?;
        let passed = now.since(stream.started).0 / beat.period().0;
        stream.stopped.is_none().then(|| {
            let mut from = passed.saturating_sub(2)..;
            from.find_map(|k| Some(instant(stream, beat, node, k, draws)).filter(|at| *at > now))
        })?
    }
}

/// When the newest renewal that has arrived by `horizon` did so. They are sent one after the other.
fn arrived(
    stream: &Stream,
    (since, all): &(SimTime, Vec<Packets>),
    node: Sym,
    horizon: SimTime,
    draws: &Draws,
) -> Option<SimTime> {
    let beat = Beat::Renewal;
    let sent_by = stream.stopped.map_or(horizon, |s| s.min(horizon));
    if sent_by < stream.started {
        return None;
    }
    let newest = (sent_by.since(stream.started).0 + beat.jitter().0) / beat.period().0 + 1;
    let oldest = newest.saturating_sub(LATE_BEATS);
    (oldest..=newest).rev().find_map(|k| {
        let sent = instant(stream, beat, node, k, draws);
        let mut arrives = sent;
        if sent >= *since {
            for (i, packets) in all.iter().enumerate() {
                let ordinal = k << 8 | i as u64;
                let mut draw = draws.draw(node.stable_hash(), Purpose("late lease"), ordinal);
                arrives += packets.late(&mut draw);
            }
        }
        (sent <= sent_by && arrives <= horizon).then_some(arrives)
    })
}

/// Beat number `k`; number 0 is the start itself.
fn instant(stream: &Stream, beat: Beat, node: Sym, k: u64, draws: &Draws) -> SimTime {
    if k == 0 {
        return stream.started;
    }
    let draw = |k| draws.draw(node.stable_hash(), beat.purpose(), k);
    let first = match beat {
        Beat::Renewal => stream.first,
        Beat::Report => SimDuration(
            SimDuration::from_secs(150).0 + draw(0).below(SimDuration::from_secs(300).0),
        ),
    };
    let jitter = draw(k).below(beat.jitter().0);
    let regular = stream.started.0 + first.0 + (k - 1) * beat.period().0;
    SimTime((regular + jitter).saturating_sub(beat.jitter().0 / 2).max(stream.started.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_beat_is_the_last_one_until_the_next() {
        let draws = Draws::new(1);
        let node = Sym::new("n1");
        let mut leases = Leases::default();
        leases.start(node, SimTime::from_secs(5), SimDuration::from_secs(3), true);
        for beat in [Beat::Renewal, Beat::Report] {
            let mut at = SimTime::from_secs(5);
            for _ in 0..50 {
                assert_eq!(leases.last(beat, node, at, &draws), Some(at), "{beat:?}");
                let next = leases.next(beat, node, at, &draws).unwrap();
                assert!(next > at);
                let before = SimTime(next.0 - 1);
                assert_eq!(leases.last(beat, node, before, &draws), Some(at), "{beat:?}");
                at = next;
            }
        }
    }

    #[test]
    fn renewals_stop_with_the_kubelet() {
        let draws = Draws::new(1);
        let node = Sym::new("n1");
        let mut leases = Leases::default();
        leases.start(node, SimTime::from_secs(5), SimDuration::from_secs(3), true);
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

    #[test]
    fn delays_of_several_networks_add_up() {
        let node = Sym::new("n");
        let draws = Draws::new(7);
        let delayed = |seconds: &[u64]| {
            let mut leases = Leases::default();
            leases.start(node, SimTime::ZERO, PERIOD, false);
            let by = |s: &u64| Packets {
                delay: crate::engine::Dist::Constant(SimDuration::from_secs(*s)),
                loss: 0.0,
            };
            leases.late(node, SimTime::ZERO, seconds.iter().map(by).collect(), 1);
            leases.last_seen(node, SimTime::from_secs(600), &draws).unwrap()
        };
        // The newest renewal that has arrived was sent so much earlier.
        let sent =
            |seconds: &[u64]| delayed(seconds) - SimDuration::from_secs(seconds.iter().sum());
        assert!(sent(&[50, 30]) <= SimTime::from_secs(520), "{:?}", sent(&[50, 30]));
        assert!(sent(&[50]) > SimTime::from_secs(530));
        assert_eq!(delayed(&[50, 30]), delayed(&[30, 50]));
    }
}
