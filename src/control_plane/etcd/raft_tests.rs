//! Schedules of crashes drawn at random, watched by an independent witness: it keeps a disk per
//! member, a list of what was acknowledged, and knows nothing of terms, votes or plans.

use super::*;
use crate::engine::Dist;
use std::collections::BTreeSet;

fn ms(n: u64) -> SimDuration {
    SimDuration::from_millis(n)
}

fn id(n: u32) -> Id {
    Id { index: n, generation: 0 }
}

/// What the witness knows.
#[derive(Default)]
struct Witness {
    disks: Vec<BTreeSet<u32>>,
    up: Vec<bool>,
    acknowledged: BTreeSet<u32>,
    /// What was acknowledged before a majority had it, and what a leader lacked.
    early: Vec<String>,
    lost: Vec<String>,
}

impl Witness {
    fn new(n: usize) -> Self {
        Self { disks: vec![BTreeSet::new(); n], up: vec![true; n], ..Self::default() }
    }

    /// Looks at the disks of running members: what is there by now stays, for all the witness
    /// knows, until the disk is lost.
    fn look(&mut self, quorum: &Quorum, now: SimTime) {
        for (m, disk) in self.disks.iter_mut().enumerate().filter(|(m, _)| self.up[*m]) {
            let written = quorum.entries.iter().filter(|e| e.disks[m] <= now);
            disk.extend(written.filter_map(|e| e.request.map(|r| r.index)));
        }
        // A member that has come back, or begins with nothing, gets from the leader's own disk what
        // is settled.
        let Some(leader) = quorum.leader(now) else { return };
        let open: BTreeSet<u32> =
            quorum.entries.iter().filter_map(|e| e.request.map(|r| r.index)).collect();
        let settled: Vec<u32> = self.disks[leader].difference(&open).copied().collect();
        for (m, disk) in self.disks.iter_mut().enumerate().filter(|(m, _)| self.up[*m]) {
            if quorum.members[m].behind <= now {
                disk.extend(&settled);
            }
        }
    }

    fn acknowledge(&mut self, request: u32, now: SimTime) {
        let copies = self.disks.iter().filter(|disk| disk.contains(&request)).count();
        if copies * 2 <= self.disks.len() {
            self.early.push(format!("{request} at {now} with {copies} copies"));
        }
        self.acknowledged.insert(request);
    }

    fn elected(&mut self, leader: usize, now: SimTime) {
        let missing: Vec<&u32> = self.acknowledged.difference(&self.disks[leader]).collect();
        if !missing.is_empty() {
            self.lost.push(format!("member {leader} leads at {now} without {missing:?}"));
        }
    }
}

/// One schedule: proposals all the time, members that crash, come back, lose their logs while the
/// others are whole, and slow down.
struct Storm {
    quorum: Quorum,
    draws: Draws,
    witness: Witness,
    now: SimTime,
    ballot: Option<(SimTime, usize)>,
    proposed: u32,
    done: BTreeSet<u32>,
    draw: u64,
}

impl Storm {
    fn new(seed: u64, members: usize, needed: Option<usize>) -> Self {
        let draws = Draws::new(seed);
        let names: Vec<u64> = (1..=members as u64).collect();
        let fsync = Tabled::new(Dist::LogNormal { median: ms(2), sigma: 0.5 }, Purpose("fsync"));
        let mut quorum = Quorum::new(&names, fsync, ms(1), &draws);
        if let Some(needed) = needed {
            quorum = quorum.needing(needed);
        }
        Self {
            quorum,
            draws,
            witness: Witness::new(members),
            now: SimTime::ZERO,
            ballot: None,
            proposed: 0,
            done: BTreeSet::new(),
            draw: 0,
        }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.draw += 1;
        self.draws.draw(7, Purpose("storm"), self.draw).below(n)
    }

    fn vote(&mut self) {
        self.ballot = self.quorum.election(self.now, &self.draws);
    }

    /// Lets everything happen that is due by then, in order of time.
    fn run_to(&mut self, until: SimTime) {
        loop {
            let commit = (self.quorum.fates().iter())
                .filter_map(|f| f.commit.map(|at| (at.max(self.now), f.request)))
                .min_by_key(|(at, r)| (*at, r.index));
            let vote = self.ballot.filter(|b| commit.is_none_or(|(at, _)| b.0 < at));
            if let Some((at, winner)) = vote.filter(|b| b.0 <= until) {
                self.now = at.max(self.now);
                self.witness.look(&self.quorum, self.now);
                self.witness.elected(winner, self.now);
                self.quorum.elect(winner, 1_000_000, self.now, &self.draws);
                self.vote();
                continue;
            }
            let Some((at, request)) = commit.filter(|(at, _)| *at <= until) else { break };
            self.now = at;
            self.witness.look(&self.quorum, at);
            assert!(self.done.insert(request.index), "{} was done twice", request.index);
            self.witness.acknowledge(request.index, at);
            self.quorum.settle(request, at);
        }
        self.now = until;
        self.witness.look(&self.quorum, until);
    }

    fn propose(&mut self) {
        let request = id(self.proposed);
        self.proposed += 1;
        let about = u64::from(self.proposed) % 17;
        let at = self.now + SimDuration(self.below(1_000_000));
        self.quorum.propose(request, about, at, &self.draws);
    }

    fn stop(&mut self, member: usize) {
        self.quorum.stop(member, self.now, &self.draws);
        self.witness.up[member] = false;
    }

    fn start(&mut self, member: usize) {
        self.quorum.start(member, 1_000_000, self.now, &self.draws);
        self.witness.up[member] = true;
    }

    fn strike(&mut self) {
        let n = self.witness.up.len();
        let member = usize::try_from(self.below(n as u64)).unwrap();
        let all_up = self.witness.up.iter().all(|up| *up);
        match self.below(8) {
            0..3 if self.witness.up[member] => self.stop(member),
            0..6 if !self.witness.up[member] => self.start(member),
            // While all others are whole, a disk may be lost.
            6 if all_up && self.quorum.calm(self.now) && self.quorum.leader(self.now).is_some() => {
                self.stop(member);
                self.quorum.wipe(member);
                self.witness.disks[member].clear();
                self.start(member);
            }
            7 => {
                let factor = 1 + u32::try_from(self.below(40)).unwrap();
                self.quorum.slow(member, factor, self.now, &self.draws);
            }
            _nothing => {}
        }
        self.vote();
    }

    /// Faults, then rest; in the end everything runs and somebody leads.
    fn rage(&mut self, steps: u32) {
        for _ in 0..steps {
            let gap = match self.below(4) {
                0 => self.below(2_000_000_000),
                1 => self.below(50_000_000),
                _soon => self.below(3_000_000),
            };
            self.run_to(self.now + SimDuration(gap));
            for _ in 0..self.below(4) {
                self.propose();
            }
            if self.below(3) == 0 {
                // Within the milliseconds in which proposals are on their way.
                let soon = SimDuration(self.below(4_000_000));
                self.run_to(self.now + soon);
                self.strike();
            }
        }
        for member in 0..self.witness.up.len() {
            self.quorum.slow(member, 1, self.now, &self.draws);
            self.start(member);
        }
        self.vote();
        self.run_to(self.now + SimDuration::from_secs(30));
    }
}

/// One seed: what the witness has to say against it.
fn storm(seed: u64, needed: Option<usize>) -> (Storm, Vec<String>) {
    let members = if seed.is_multiple_of(3) { 5 } else { 3 };
    let mut storm = Storm::new(seed, members, needed);
    storm.rage(40);
    let mut complaints = storm.witness.lost.clone();
    complaints.extend(storm.witness.early.clone());
    (storm, complaints)
}

fn sound(seeds: std::ops::Range<u64>) {
    let mut acknowledged = 0;
    for seed in seeds {
        let (storm, complaints) = storm(seed, None);
        assert!(complaints.is_empty(), "seed {seed}: {complaints:?}");
        assert_eq!(storm.quorum.forgotten(), 0, "seed {seed}");
        let leader = storm.quorum.leader(storm.now).unwrap_or_else(|| panic!("seed {seed}"));
        let there = &storm.witness.disks[leader];
        let missing: Vec<&u32> = storm.witness.acknowledged.difference(there).collect();
        assert!(missing.is_empty(), "seed {seed}: {missing:?} were acknowledged and are gone");
        let open = storm.quorum.fates();
        assert!(open.is_empty(), "seed {seed}: still open after everything runs: {open:?}");
        acknowledged += storm.witness.acknowledged.len();
    }
    assert!(acknowledged > 0);
}

#[test]
fn nothing_acknowledged_is_lost_in_a_thousand_crash_schedules() {
    sound(0..1_000);
}

/// All of them, by hand: `cargo test --lib crash_schedules -- --ignored`.
#[test]
#[ignore = "takes ten seconds; a share of them runs always"]
fn nothing_acknowledged_is_lost_in_ten_thousand_crash_schedules() {
    sound(0..10_000);
}

#[test]
fn the_witness_catches_an_acknowledgement_before_the_quorum() {
    let seeds = 0..200;
    let (mut early, mut lost, mut noticed) = (0, 0, 0);
    for seed in seeds {
        let (storm, _) = storm(seed, Some(1));
        early += u32::from(!storm.witness.early.is_empty());
        lost += u32::from(!storm.witness.lost.is_empty());
        noticed += u32::from(storm.quorum.forgotten() > 0);
    }
    assert!(early > 190, "{early} of 200 schedules acknowledged too early");
    assert!(lost > 0, "{lost} of 200 schedules lost what they had acknowledged");
    assert!(noticed > 0, "the log itself never noticed what it had forgotten");
}

#[test]
fn a_leader_is_followed_within_two_seconds() {
    for seed in 0..200 {
        let mut storm = Storm::new(seed, 3, None);
        storm.run_to(SimTime::from_secs(10));
        let first = storm.quorum.leader(storm.now).unwrap();
        storm.stop(first);
        storm.vote();
        storm.propose();
        let (at, winner) = storm.ballot.unwrap();
        let waited = at.since(storm.now);
        assert!(winner != first);
        assert!(waited >= ms(900) && waited <= ms(2_050), "seed {seed}: {waited:?}");
        storm.run_to(SimTime::from_secs(20));
        assert_eq!(storm.done.len(), 1, "a proposal waits for the next leader");
    }
}

#[test]
fn a_minority_takes_nothing_in_and_goes_on_where_it_was() {
    let mut storm = Storm::new(5, 3, None);
    storm.run_to(SimTime::from_secs(10));
    let leader = storm.quorum.leader(storm.now).unwrap();
    let others: Vec<usize> = (0..3).filter(|m| *m != leader).collect();
    storm.stop(others[0]);
    assert!(storm.quorum.writable(storm.now));
    storm.propose();
    storm.run_to(SimTime::from_secs(11));
    assert_eq!(storm.done.len(), 1);
    storm.stop(others[1]);
    storm.vote();
    assert!(!storm.quorum.writable(storm.now) && storm.ballot.is_none());
    storm.propose();
    storm.run_to(SimTime::from_secs(60));
    assert_eq!(storm.done.len(), 1, "nothing commits without a majority");
    assert_eq!(storm.quorum.leader(storm.now), None, "the leader has stepped down");
    storm.start(others[0]);
    storm.vote();
    storm.run_to(SimTime::from_secs(64));
    assert!(storm.quorum.writable(storm.now));
    assert_eq!(storm.done.len(), 2, "what the old leader had in its log is committed");
}

#[test]
fn one_slow_follower_slows_nobody_and_a_slow_leader_all() {
    let mut storm = Storm::new(9, 3, None);
    let leader = storm.quorum.leader(storm.now).unwrap();
    let mean = |storm: &mut Storm| {
        let mut total = 0;
        for n in 0..200 {
            let at = storm.now + ms(50);
            storm.run_to(at);
            let commit = storm.quorum.propose(id(10_000 + n), 1, at, &storm.draws);
            total += commit.unwrap().since(at).0;
            storm.run_to(at + ms(40));
            storm.done.clear();
        }
        total / 200 / 1_000
    };
    let usual = mean(&mut storm);
    assert!((2_000..5_000).contains(&usual), "{usual} us");
    storm.quorum.slow((leader + 1) % 3, 10, storm.now, &storm.draws);
    let slower = mean(&mut storm);
    assert!(slower < usual * 2, "{slower} us beside {usual} us");
    storm.quorum.slow((leader + 1) % 3, 1, storm.now, &storm.draws);
    storm.quorum.slow(leader, 10, storm.now, &storm.draws);
    let slow = mean(&mut storm);
    assert!(slow > usual * 5, "{slow} us beside {usual} us");
}
