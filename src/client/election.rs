//! Leader election as client-go does it (source: `tools/leaderelection/leaderelection.go`): a Lease
//! that its holder renews every 2 s; who finds it not renewed for 15 s takes it; a holder that
//! cannot renew for 10 s gives up.
//!
//! [`Elector`] decides, attempt by attempt; its caller reads and writes the Lease. While nothing
//! happens nobody needs to be armed: [`Elector::renewed_by`] says when a holder has renewed last,
//! and [`Elector::takeover`] at which of its attempts a candidate will succeed once the renewals
//! have stopped.

use crate::api::{Lease, Meta, Name};
use crate::engine::{Draws, Purpose, SimDuration, SimTime, Sym, num};

/// Who stands for election, and how patiently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Election {
    /// Name of the Lease in `kube-system`.
    pub name: Sym,
    /// Identity of the candidate.
    pub identity: Sym,
    /// A lease not renewed for so long may be taken.
    pub lease: SimDuration,
    /// A holder that could not renew for so long gives up.
    pub deadline: SimDuration,
    /// Distance of attempts.
    pub retry: SimDuration,
}

impl Election {
    /// A candidate with the defaults: 15 s, 10 s, 2 s
    /// (source: `component-base/config/v1alpha1/defaults.go`).
    #[must_use]
    pub const fn new(name: Sym, identity: Sym) -> Self {
        let (lease, deadline) = (SimDuration::from_secs(15), SimDuration::from_secs(10));
        Self { name, identity, lease, deadline, retry: SimDuration::from_secs(2) }
    }
}

/// What an attempt does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Read the Lease and go on with [`Elector::read`].
    Read,
    /// Create it and go on with [`Elector::wrote`].
    Create(Lease),
    /// Update it, with its resource version as the precondition, and go on with
    /// [`Elector::wrote`].
    Update(Lease),
    /// The attempt is over: the next one is at this instant.
    Wait(SimTime),
    /// The lease was held and could not be renewed in time: the process ends.
    Lost,
}

/// A candidate.
#[derive(Debug, Clone)]
pub struct Elector {
    election: Election,
    /// The Lease as it was seen last, and when it was first seen so.
    observed: Option<(Lease, SimTime)>,
    /// Since when it has led; none while it does not.
    since: Option<SimTime>,
    /// The last success of a holder.
    renewed: SimTime,
    /// Attempts so far: they number the draws of the jitter.
    attempts: u64,
    /// True while the holder tries without having read.
    fast: bool,
}

impl Elector {
    /// A candidate that knows nothing yet.
    #[must_use]
    pub fn new(election: Election) -> Self {
        let (observed, since, renewed) = (None, None, SimTime::ZERO);
        Self { election, observed, since, renewed, attempts: 0, fast: false }
    }

    /// The holder of a lease that was taken before the run began.
    #[must_use]
    pub fn leading(election: Election, lease: Lease, now: SimTime) -> Self {
        let observed = Some((lease, now));
        Self { observed, since: Some(now), renewed: now, ..Self::new(election) }
    }

    /// Its attempts have not been spelled out for a while: it has seen this record at this instant,
    /// and if it is the holder, has written it then.
    pub fn recall(&mut self, lease: &Lease, at: SimTime) {
        self.observed = Some((lease.clone(), at));
        if self.leads() {
            self.renewed = at;
        }
    }

    /// Its attempts have not been spelled out for a while, and it has yet to see the last record.
    pub fn forget(&mut self) {
        self.observed = None;
    }

    /// When a candidate that waits has tried last, and when it tries next, if nobody has looked for
    /// a while. An instant falls into a long pause more often than into a short one: the pause that
    /// spans it has a density that grows with its length, so its square is uniform.
    pub fn between(&mut self, now: SimTime, draws: &Draws) -> (SimTime, SimTime) {
        self.attempts += 1;
        let mut draw =
            draws.draw(self.election.identity.stable_hash(), Purpose("between"), self.attempts);
        let (least, most) = (self.election.retry.secs_f64(), self.longest_pause().secs_f64());
        let square = least * least + draw.unit() * (most * most - least * least);
        let pause = SimDuration::from_secs_f64(num::sqrt(square));
        let passed = SimDuration(draw.below(pause.0));
        (now - passed, now - passed + pause)
    }

    /// An attempt whose request was not answered.
    pub fn missed(&mut self, now: SimTime, draws: &Draws) -> Step {
        self.fast = false;
        self.failed(now, draws)
    }

    /// True while it holds the lease.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.since.is_some()
    }

    /// An attempt begins. A holder first tries with the record it knows.
    pub fn attempt(&mut self, now: SimTime) -> Step {
        match &self.observed {
            Some((lease, at)) if self.leads() && self.valid(lease, *at, now) => {
                self.fast = true;
                Step::Update(self.record(Some(lease), now))
            }
            _other => Step::Read,
        }
    }

    /// What was read: none if there is no such Lease.
    pub fn read(&mut self, found: Option<&Lease>, now: SimTime, draws: &Draws) -> Step {
        let Some(found) = found else { return Step::Create(self.record(None, now)) };
        if self.observed.as_ref().is_none_or(|(seen, _)| seen != found) {
            self.observed = Some((found.clone(), now));
        }
        let at = self.observed.as_ref().map_or(now, |o| o.1);
        let ours = found.holder == self.election.identity;
        if !ours && !found.holder.is_empty() && self.valid(found, at, now) {
            return self.failed(now, draws);
        }
        Step::Update(self.record(Some(found), now))
    }

    /// The answer to a write: the Lease as it is stored now, or none if it was refused or lost.
    pub fn wrote(&mut self, stored: Option<&Lease>, now: SimTime, draws: &Draws) -> Step {
        let fast = std::mem::take(&mut self.fast);
        match stored {
            Some(lease) => {
                self.observed = Some((lease.clone(), now));
                self.since = self.since.or(Some(now));
                self.renewed = now;
                self.attempts += 1;
                Step::Wait(now + self.election.retry)
            }
            // Somebody else has written: look at what is there.
            None if fast => Step::Read,
            None => self.failed(now, draws),
        }
    }

    /// The lease as a holder gives it back, so that nobody has to wait; none if it holds none.
    #[must_use]
    pub fn release(&self, now: SimTime) -> Option<Lease> {
        let (lease, _) = self.observed.as_ref().filter(|_| self.leads())?;
        let (holder, acquired) = (Sym::EMPTY, Some(now));
        Some(Lease { holder, duration_s: 1, renewed: now, acquired, ..lease.clone() })
    }

    /// The record as it was seen last.
    #[must_use]
    pub fn record_seen(&self) -> Option<&Lease> {
        self.observed.as_ref().map(|(lease, _)| lease)
    }

    /// When a holder that led at `now` has renewed last, if nothing came between.
    #[must_use]
    pub fn renewed_by(&self, now: SimTime) -> Option<SimTime> {
        let retry = self.election.retry.0;
        let passed = now.since(self.since?).0.saturating_sub(self.renewed.since(self.since?).0);
        Some(self.renewed + SimDuration(passed / retry * retry))
    }

    /// The attempt at which a candidate whose next one is at `next` takes a lease that was renewed
    /// at `renewed` for the last time: the first one to see that renewal starts its patience.
    #[must_use]
    pub fn takeover(&self, next: SimTime, renewed: SimTime, draws: &Draws) -> SimTime {
        let mut at = next;
        let mut n = self.attempts + 1;
        let mut seen: Option<SimTime> = None;
        loop {
            if at >= renewed {
                let since = *seen.get_or_insert(at);
                if at.since(since) >= self.election.lease {
                    return at;
                }
            }
            at += self.pause(n, draws);
            n += 1;
        }
    }

    fn valid(&self, lease: &Lease, observed: SimTime, now: SimTime) -> bool {
        observed + SimDuration::from_secs(u64::from(lease.duration_s)) > now
    }

    /// The attempt has failed.
    fn failed(&mut self, now: SimTime, draws: &Draws) -> Step {
        self.attempts += 1;
        if !self.leads() {
            return Step::Wait(now + self.pause(self.attempts, draws));
        }
        if now.since(self.renewed) >= self.election.deadline {
            self.since = None;
            return Step::Lost;
        }
        Step::Wait(now + self.election.retry)
    }

    /// A candidate waits for the retry period and up to 1.2 times as much again, from the end of an
    /// attempt (`JitterFactor`, and `JitterUntil` with `sliding`).
    fn pause(&self, n: u64, draws: &Draws) -> SimDuration {
        let spread = self.longest_pause() - self.election.retry;
        let jitter = draws.draw(self.election.identity.stable_hash(), Purpose("election"), n);
        self.election.retry + SimDuration({ jitter }.below(spread.0))
    }

    fn longest_pause(&self) -> SimDuration {
        SimDuration(self.election.retry.0 / 5 * 11)
    }

    /// The record that this candidate writes over another.
    fn record(&self, old: Option<&Lease>, now: SimTime) -> Lease {
        let ours = old.filter(|l| l.holder == self.election.identity);
        let meta = Meta::named(Sym::new("kube-system"), Name::new(self.election.name.as_str()));
        Lease {
            meta: old.map_or(meta, |l| l.meta.clone()),
            holder: self.election.identity,
            duration_s: u32::try_from(self.election.lease.as_secs()).unwrap_or(u32::MAX),
            acquired: ours.map_or(Some(now), |l| l.acquired),
            renewed: now,
            transitions: old.map_or(0, |l| l.transitions + u32::from(ours.is_none())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store with one Lease, and candidates whose requests take no time.
    struct Fixture {
        lease: Option<Lease>,
        draws: Draws,
        writable: bool,
    }

    impl Fixture {
        fn new() -> Self {
            Self { lease: None, draws: Draws::new(1), writable: true }
        }

        /// One attempt; gives the next instant, or none if the lease was lost.
        fn attempt(&mut self, elector: &mut Elector, now: SimTime) -> Option<SimTime> {
            let mut step = elector.attempt(now);
            loop {
                step = match step {
                    Step::Read => elector.read(self.lease.as_ref(), now, &self.draws),
                    Step::Create(mut lease) | Step::Update(mut lease) => {
                        let stored = self.lease.as_ref().map_or(0, |l| l.meta.resource_version);
                        let fits = self.writable && lease.meta.resource_version == stored;
                        lease.meta.resource_version += 1;
                        let written = fits.then(|| self.lease.insert(lease).clone());
                        elector.wrote(written.as_ref(), now, &self.draws)
                    }
                    Step::Wait(at) => return Some(at),
                    Step::Lost => return None,
                };
            }
        }

        fn holder(&self) -> &'static str {
            self.lease.as_ref().map_or("", |l| l.holder.as_str())
        }
    }

    fn candidate(name: &str) -> Elector {
        Elector::new(Election::new("kube-scheduler".into(), name.into()))
    }

    fn s(secs: u64) -> SimTime {
        SimTime::from_secs(secs)
    }

    #[test]
    fn the_first_one_leads_and_renews() {
        let mut fixture = Fixture::new();
        let mut a = candidate("a");
        let mut at = s(0);
        for k in 0..20 {
            assert_eq!(at, s(2 * k));
            at = fixture.attempt(&mut a, at).unwrap();
            let lease = fixture.lease.as_ref().unwrap();
            assert_eq!((lease.acquired, lease.transitions), (Some(s(0)), 0));
            assert_eq!(lease.renewed, s(2 * k));
        }
        assert_eq!(a.renewed_by(s(39)), Some(s(38)));
        assert_eq!(a.renewed_by(s(1001)), Some(s(1000)));
    }

    #[test]
    fn another_takes_over_after_fifteen_seconds_when_it_was_foretold() {
        let mut fixture = Fixture::new();
        let (mut a, mut b) = (candidate("a"), candidate("b"));
        let mut next = [s(0), s(1)];
        // Both try until a stops after 30 s.
        while next[0] <= s(30) {
            if next[0] <= next[1] {
                next[0] = fixture.attempt(&mut a, next[0]).unwrap();
            } else {
                next[1] = fixture.attempt(&mut b, next[1]).unwrap();
            }
        }
        assert_eq!((fixture.holder(), b.leads()), ("a", false));
        let foretold = b.takeover(next[1], s(30), &fixture.draws);
        while !b.leads() {
            let at = next[1];
            next[1] = fixture.attempt(&mut b, at).unwrap();
            assert_eq!(b.leads(), at == foretold, "at {at:?}, foretold {foretold:?}");
        }
        assert_eq!((fixture.holder(), fixture.lease.as_ref().unwrap().transitions), ("b", 1));
        // Patience starts at the attempt that sees the last renewal, at most 4.4 s after it.
        assert!((45..=54).contains(&(foretold.0 / 1_000_000_000)), "{foretold:?}");
        assert_eq!(fixture.attempt(&mut a, foretold), None, "a finds that it no longer leads");
    }

    #[test]
    fn an_instant_falls_into_long_pauses_more_often() {
        let draws = Draws::new(2);
        let mut a = candidate("a");
        let now = s(100);
        let n = 40_000;
        let (mut ahead, mut shortest, mut longest) = (0.0, f64::MAX, 0.0_f64);
        for _ in 0..n {
            let (before, next) = a.between(now, &draws);
            assert!(before <= now && now < next);
            let pause = next.since(before).secs_f64();
            (shortest, longest) = (shortest.min(pause), longest.max(pause));
            ahead += next.since(now).secs_f64();
        }
        // Renewal theory: E[pause²] / 2 E[pause] of pauses uniform from 2 to 4.4 s.
        let wanted = (3.2 * 3.2 + 2.4 * 2.4 / 12.0) / (2.0 * 3.2);
        assert!((ahead / f64::from(n) - wanted).abs() < 0.02, "{}", ahead / f64::from(n));
        assert!(shortest >= 2.0 && longest <= 4.4, "{shortest} to {longest}");
    }

    #[test]
    fn a_holder_that_cannot_renew_gives_up_after_ten_seconds() {
        let mut fixture = Fixture::new();
        let mut a = candidate("a");
        let mut at = fixture.attempt(&mut a, s(0)).unwrap();
        fixture.writable = false;
        let mut tries = Vec::new();
        while let Some(next) = fixture.attempt(&mut a, at) {
            tries.push(at);
            at = next;
        }
        assert_eq!((tries, at), (vec![s(2), s(4), s(6), s(8)], s(10)));
        assert!(!a.leads());
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let mut fixture = Fixture::new();
        let (mut a, mut b) = (candidate("a"), candidate("b"));
        fixture.attempt(&mut a, s(0)).unwrap();
        fixture.attempt(&mut b, s(1)).unwrap();
        fixture.lease = a.release(s(3));
        fixture.attempt(&mut b, s(4)).unwrap();
        assert!(b.leads());
        assert_eq!(fixture.holder(), "b");
    }
}
