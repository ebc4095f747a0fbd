//! Raft among etcd's members: who leads, who has which proposal on disk, and when a proposal is
//! committed.
//!
//! A proposal goes to the leader, which writes it to its log and sends it to the others; it is
//! committed as soon as the leader and a majority, the leader included, have it on disk (behaviour
//! reference §1.15). Those instants are known when the proposal is made, so a healthy quorum costs
//! a few additions per write and nothing in between: neither heartbeats nor acknowledgements are
//! events. What happens to a member (it goes, comes back, loses its log, its disk slows down)
//! changes what is still open, and the caller is told the new instants.
//!
//! Timing (source: etcd-docs `tuning`, raft `raft.go`): heartbeats every 100 ms; a follower that
//! has not heard of a leader for 1 s to 2 s campaigns (drawn anew each time), first with a
//! pre-vote; a leader that reaches no majority steps down after one to two election timeouts
//! (`CheckQuorum`). Votes go to logs that are no shorter than the voter's. A new leader commits
//! what it has with the first entry of its term; what it does not have is gone, and nobody was
//! told that it was done.
//!
//! A member without its log is replaced by a new one, as etcd's manual has it: it has no vote until
//! the leader's snapshot has reached it. Two candidates never split the votes here.

use crate::engine::digest::mix;
use crate::engine::draw::{Draws, Purpose};
use crate::engine::id::Id;
use crate::engine::{SimDuration, SimTime, Tabled};
use smallvec::{SmallVec, smallvec};
use std::collections::VecDeque;

/// `--election-timeout`; each wait is drawn between this and twice this.
pub const ELECTION: SimDuration = SimDuration::from_secs(1);
/// `--heartbeat-interval`.
const HEARTBEAT: SimDuration = SimDuration::from_millis(100);
/// What a byte of the leader's snapshot takes to a member without a log: 50 MB/s (unsourced).
const COPY_NS_PER_BYTE: u64 = 20;
/// Never.
const NEVER: SimTime = SimTime::MAX;

/// A member.
#[derive(Debug, Clone)]
struct Member {
    /// Stable hash of its name: the key of its draws.
    entity: u64,
    up: bool,
    /// From when it has a vote: never, for one without a log that nobody has brought up to date.
    votes: SimTime,
    /// Until when it lacks part of what the leader has.
    behind: SimTime,
    /// Its last position in the log, as far as that is not seen from the entries.
    last: u64,
    /// Its disk is busy with what came before until then.
    flushed: SimTime,
    /// Its next campaign, if it hears of no leader.
    campaign: SimTime,
    /// How much slower its disk is than usual.
    slow: u32,
    /// Campaigns so far: they number the draws.
    campaigns: u64,
}

/// A proposal, or the first entry of a term (which has no request).
#[derive(Debug, Clone)]
struct Entry {
    request: Option<Id>,
    /// Stable hash of the object it is about.
    about: u64,
    /// Position in the log; none while it waits for a leader.
    position: Option<u64>,
    /// When each member has it on disk.
    disks: SmallVec<[SimTime; 5]>,
    commit: SimTime,
    applied: bool,
}

/// What is known about a proposal by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// The request.
    pub request: Id,
    /// When it will be committed; none if nobody can say.
    pub commit: Option<SimTime>,
}

/// The members of an etcd cluster and their logs.
#[derive(Debug, Clone)]
pub struct Quorum {
    members: Vec<Member>,
    fsync: Tabled,
    /// Round trip between members.
    rtt: SimDuration,
    term: u64,
    leader: Option<usize>,
    /// When the leader steps down for want of a majority.
    until: SimTime,
    entries: VecDeque<Entry>,
    next: u64,
    /// Every running member has at least this.
    base: u64,
    /// No proposal commits before one made earlier.
    last_commit: SimTime,
    /// Members that must have a proposal before it counts as committed. A majority; tests plant
    /// other numbers.
    needed: usize,
    /// Proposals that were committed and that a later leader did not have: never, if all is well.
    forgotten: u64,
}

impl Quorum {
    /// Members of these names (as stable hashes); the first leader is drawn.
    #[must_use]
    pub fn new(names: &[u64], fsync: Tabled, rtt: SimDuration, draws: &Draws) -> Self {
        let members: Vec<Member> = names
            .iter()
            .map(|&entity| Member {
                entity,
                up: true,
                votes: SimTime::ZERO,
                behind: SimTime::ZERO,
                last: 0,
                flushed: SimTime::ZERO,
                campaign: NEVER,
                slow: 1,
                campaigns: 0,
            })
            .collect();
        let n = members.len() as u64;
        let first = draws.draw(0, Purpose("etcd-leader"), 0).below(n.max(1));
        Self {
            needed: members.len() / 2 + 1,
            members,
            fsync,
            rtt,
            term: 1,
            leader: Some(crate::engine::num::index(first)),
            until: NEVER,
            entries: VecDeque::new(),
            next: 1,
            base: 0,
            last_commit: SimTime::ZERO,
            forgotten: 0,
        }
    }

    /// Lets proposals count as committed once so many members have them: a planted bug, unless it
    /// is a majority.
    #[must_use]
    pub fn needing(mut self, members: usize) -> Self {
        self.needed = members;
        self
    }

    /// How many of the members a majority is.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// The leader at an instant.
    #[must_use]
    pub fn leader(&self, at: SimTime) -> Option<usize> {
        self.leader.filter(|_| at < self.until)
    }

    /// The number of leaders there have been.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// True if writes commit: there is a leader, and a majority runs.
    #[must_use]
    pub fn writable(&self, at: SimTime) -> bool {
        self.leader(at).is_some() && self.voters(at) >= self.majority()
    }

    /// True if every member that runs has what the leader has, a vote, and its usual disk.
    #[must_use]
    pub fn calm(&self, at: SimTime) -> bool {
        self.members.iter().all(|m| !m.up || m.slow == 1 && m.behind <= at && m.votes <= at)
    }

    /// Proposals that were committed and then missing at a leader: a bug if there are any.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// True if the member runs.
    #[must_use]
    pub fn is_up(&self, member: usize) -> bool {
        self.members[member].up
    }

    fn voters(&self, at: SimTime) -> usize {
        self.members.iter().filter(|m| m.up && m.votes <= at).count()
    }

    /// A proposal; when it commits as things stand.
    pub fn propose(
        &mut self,
        request: Id,
        about: u64,
        at: SimTime,
        draws: &Draws,
    ) -> Option<SimTime> {
        let disks = smallvec![NEVER; self.members.len()];
        let entry = Entry {
            request: Some(request),
            about,
            position: None,
            disks,
            commit: NEVER,
            applied: false,
        };
        self.entries.push_back(entry);
        let last = self.entries.len() - 1;
        if self.leader(at).is_some() {
            self.send(last, at, draws);
        }
        known(self.entries[last].commit)
    }

    /// How long a write takes that nobody waits for by name (the charge of a quota).
    pub fn passing(&self, object: u64, at: SimTime, draws: &Draws) -> SimTime {
        let leader = self.leader.unwrap_or(0);
        at + self.disk(leader, object, at, draws) + self.rtt
    }

    /// A member's fsync for a proposal.
    fn disk(&self, member: usize, object: u64, at: SimTime, draws: &Draws) -> SimDuration {
        let Member { entity, slow, .. } = self.members[member];
        self.fsync.of(mix(entity, object), at.0, draws).times(u64::from(slow))
    }

    /// The leader takes an entry in and sends it to the others.
    fn send(&mut self, i: usize, at: SimTime, draws: &Draws) {
        let Some(leader) = self.leader else { return };
        let object = self.entries[i].about;
        for m in 0..self.members.len() {
            if !self.members[m].up {
                continue;
            }
            let reaches = if m == leader { at } else { at + SimDuration(self.rtt.0 / 2) };
            let from = reaches.max(self.members[m].behind);
            if from == NEVER {
                continue;
            }
            let done = (from + self.disk(m, object, at, draws)).max(self.members[m].flushed);
            self.entries[i].disks[m] = done;
            // A log is written in order.
            self.members[m].flushed = done;
        }
        self.entries[i].position = Some(self.next);
        self.next += 1;
        self.plan(i, at);
    }

    /// When an entry commits: the leader has it, and has heard of enough others that do.
    fn plan(&mut self, i: usize, now: SimTime) {
        let Some(leader) = self.leader else { return };
        let half = SimDuration(self.rtt.0 / 2);
        let entry = &self.entries[i];
        let own = entry.disks[leader];
        let mut others: SmallVec<[SimTime; 5]> = (entry.disks.iter().enumerate())
            .filter(|(m, at)| *m != leader && **at != NEVER)
            .map(|(_, at)| *at + half)
            .collect();
        others.sort_unstable();
        let acknowledged = match self.needed.checked_sub(2) {
            None => SimTime::ZERO,
            Some(nth) => others.get(nth).copied().unwrap_or(NEVER),
        };
        let commit = own.max(acknowledged).max(self.last_commit).max(now);
        self.entries[i].commit = commit;
        if commit != NEVER {
            self.last_commit = commit;
        }
    }

    /// The request's transaction has been carried out, or will never be.
    pub fn settle(&mut self, request: Id, now: SimTime) {
        if let Some(i) = self.open(request) {
            self.entries[i].applied = true;
        }
        // What is done and on the disk of every running member need not be kept apart.
        while let Some(front) = self.entries.front().filter(|e| e.applied && e.commit <= now) {
            if (self.members.iter().zip(&front.disks)).any(|(m, at)| m.up && *at > now) {
                return;
            }
            self.base = self.base.max(front.position.unwrap_or(0));
            self.entries.pop_front();
        }
    }

    /// The client has been told that it took too long. Gives true if the proposal may still be
    /// committed, and is from now on known as `orphan`.
    pub fn abandon(&mut self, request: Id, orphan: Id) -> bool {
        let Some(i) = self.open(request) else { return false };
        if self.entries[i].position.is_none() {
            self.entries.remove(i);
            return false;
        }
        self.entries[i].request = Some(orphan);
        true
    }

    /// The open proposal of a request: it may have had others before.
    fn open(&self, request: Id) -> Option<usize> {
        self.entries.iter().position(|e| e.request == Some(request) && !e.applied)
    }

    /// The member stops: what has not reached its disk never will.
    pub fn stop(&mut self, member: usize, now: SimTime, draws: &Draws) {
        if !self.members[member].up {
            return;
        }
        self.step_down_if_due(now, draws);
        let last = self.level(member, now);
        self.members[member].up = false;
        self.members[member].last = last;
        self.members[member].campaign = NEVER;
        for entry in &mut self.entries {
            if entry.disks[member] > now {
                entry.disks[member] = NEVER;
            }
        }
        if self.leader == Some(member) {
            self.lose_leader(now, draws);
        } else if self.leader.is_some() && self.until == NEVER && self.voters(now) < self.majority()
        {
            let entity = self.members[member].entity;
            let jitter = draws.draw(entity, Purpose("check-quorum"), self.term).below(ELECTION.0);
            self.until = now + ELECTION + SimDuration(jitter);
        }
        self.plan_all(now);
    }

    /// The member's disk is lost: whoever starts in its place begins with nothing.
    pub fn wipe(&mut self, member: usize) {
        debug_assert!(!self.members[member].up, "a running member does not lose its log");
        self.members[member].last = 0;
        self.members[member].votes = NEVER;
        self.members[member].behind = NEVER;
        for entry in &mut self.entries {
            entry.disks[member] = NEVER;
        }
    }

    /// The member starts with what is on its disk. `bytes` is the size of the store.
    pub fn start(&mut self, member: usize, bytes: u64, now: SimTime, draws: &Draws) {
        if self.members[member].up {
            return;
        }
        self.step_down_if_due(now, draws);
        self.members[member].up = true;
        self.members[member].flushed = now;
        self.members[member].campaign = NEVER;
        // It has what it had, whatever the others have by now.
        self.members[member].behind = NEVER;
        if self.leader.is_some() {
            self.catch_up(member, bytes, now, draws);
            if self.voters(now) >= self.majority() {
                self.until = NEVER;
            }
        } else {
            self.arm(member, now, draws);
        }
        self.plan_all(now);
    }

    /// The leader sends a member what it lacks: entries, or its snapshot if there is no log.
    fn catch_up(&mut self, member: usize, bytes: u64, now: SimTime, draws: &Draws) {
        let blank = self.members[member].votes == NEVER;
        let copy = SimDuration(if blank { bytes * COPY_NS_PER_BYTE } else { 0 });
        let done = now + self.rtt + self.rtt + copy + self.disk(member, self.term, now, draws);
        let last = self.level(member, now);
        let it = &mut self.members[member];
        it.last = last;
        it.behind = done;
        it.flushed = it.flushed.max(done);
        if it.votes > now {
            it.votes = done;
        }
        for entry in self.entries.iter_mut().filter(|e| e.position.is_some()) {
            if entry.disks[member] > now {
                entry.disks[member] = done;
            }
        }
    }

    /// The member's disk takes so many times as long; 1 is as usual. A leader that is slower than
    /// the others' patience loses them.
    pub fn slow(&mut self, member: usize, factor: u32, now: SimTime, draws: &Draws) {
        self.members[member].slow = factor.max(1);
        let blocked = self.disk(member, 0, now, draws) >= ELECTION;
        if blocked && self.leader == Some(member) && self.voters(now) > self.majority() {
            self.lose_leader(now, draws);
            self.plan_all(now);
        }
    }

    fn step_down_if_due(&mut self, now: SimTime, draws: &Draws) {
        if self.leader.is_some() && now >= self.until {
            let at = self.until;
            self.lose_leader(at, draws);
        }
    }

    /// Nobody leads from now on: each member that runs waits for its patience to end.
    fn lose_leader(&mut self, now: SimTime, draws: &Draws) {
        self.leader = None;
        self.until = NEVER;
        for m in 0..self.members.len() {
            let it = &mut self.members[m];
            if !it.up {
                continue;
            }
            if it.votes > now {
                it.votes = NEVER;
            }
            if it.behind > now {
                // What was on its way to it is cut short.
                it.behind = NEVER;
                let late = self.entries.iter_mut().filter(|e| e.disks[m] > now);
                late.for_each(|e| e.disks[m] = NEVER);
            }
            self.arm(m, now, draws);
        }
        for entry in self.entries.iter_mut().filter(|e| !e.applied) {
            entry.commit = NEVER;
        }
    }

    /// The patience of a member begins: it last heard of a leader within one heartbeat.
    fn arm(&mut self, member: usize, now: SimTime, draws: &Draws) {
        let it = &mut self.members[member];
        let mut draw = draws.draw(it.entity, Purpose("election-timeout"), it.campaigns);
        it.campaigns += 1;
        let patience = ELECTION.0 + draw.below(ELECTION.0);
        it.campaign = now + SimDuration(patience.saturating_sub(draw.below(HEARTBEAT.0)));
    }

    /// The last position in the log that the member has on disk.
    fn level(&self, member: usize, now: SimTime) -> u64 {
        let it = &self.members[member];
        if !it.up || it.behind > now {
            return it.last;
        }
        let seen =
            (self.entries.iter().rev()).find(|e| e.disks[member] <= now).and_then(|e| e.position);
        seen.unwrap_or(0).max(self.base).max(it.last)
    }

    /// Who will lead, and from when; none if there is a leader, or no majority to elect one.
    pub fn election(&mut self, now: SimTime, draws: &Draws) -> Option<(SimTime, usize)> {
        self.step_down_if_due(now, draws);
        if self.leader.is_some() || self.voters(now) < self.majority() {
            return None;
        }
        for m in 0..self.members.len() {
            while self.members[m].up && self.members[m].campaign < now {
                // Those in vain passed unseen.
                let resumes = now.max(self.members[m].campaign) - ELECTION;
                self.arm(m, resumes.max(self.members[m].campaign), draws);
            }
        }
        let voters: Vec<usize> = (0..self.members.len())
            .filter(|&m| self.members[m].up && self.members[m].votes <= now)
            .collect();
        let chosen = |&m: &usize| {
            let at = self.members[m].campaign.max(now);
            let own = self.level(m, at);
            let votes = voters.iter().filter(|&&v| self.level(v, at) <= own).count();
            let quick = self.disk(m, 0, at, draws) < ELECTION;
            (votes >= self.majority() && quick).then_some((at, m))
        };
        let (at, winner) = voters.iter().filter_map(chosen).min()?;
        let votes = self.rtt + self.rtt + self.disk(winner, self.term, at, draws);
        Some((at + votes, winner))
    }

    /// A member has been elected.
    pub fn elect(&mut self, winner: usize, bytes: u64, now: SimTime, draws: &Draws) {
        self.term += 1;
        self.leader = Some(winner);
        self.until = NEVER;
        // What the new leader does not have is gone.
        let mut forgotten = 0;
        self.entries.retain(|e| {
            let has = e.disks[winner] <= now;
            forgotten += u64::from(e.applied && !has && e.request.is_some());
            has || e.position.is_none()
        });
        self.forgotten += forgotten + u64::from(self.level(winner, now) < self.base);
        for m in 0..self.members.len() {
            self.members[m].campaign = NEVER;
            if self.members[m].up && m != winner {
                self.catch_up(m, bytes, now, draws);
            }
        }
        self.members[winner].behind = SimTime::ZERO;
        self.members[winner].last = self.members[winner].last.max(self.base);
        self.last_commit = now;
        let disks = smallvec![NEVER; self.members.len()];
        let (about, commit) = (self.term, NEVER);
        let first = Entry { request: None, about, position: None, disks, commit, applied: true };
        let waiting = self.entries.iter().position(|e| e.position.is_none());
        let at = waiting.unwrap_or(self.entries.len());
        self.entries.insert(at, first);
        self.send(at, now, draws);
        for i in at + 1..self.entries.len() {
            self.send(i, now, draws);
        }
        self.plan_all(now);
    }

    /// Plans everything that is open anew. What a new leader has of older terms commits no sooner
    /// than its own first entry.
    fn plan_all(&mut self, now: SimTime) {
        self.last_commit = now;
        if self.leader.is_none() {
            return;
        }
        let first = self.entries.iter().rposition(|e| e.request.is_none() && e.commit > now);
        if let Some(first) = first {
            self.plan(first, now);
            self.last_commit = self.entries[first].commit;
        }
        for i in 0..self.entries.len() {
            if !self.entries[i].applied && self.entries[i].position.is_some() {
                self.plan(i, now);
            }
        }
    }

    /// What is known about every proposal that is open, in their order.
    #[must_use]
    pub fn fates(&self) -> Vec<Fate> {
        let open = self.entries.iter().filter(|e| !e.applied);
        open.filter_map(|e| e.request.map(|request| Fate { request, commit: known(e.commit) }))
            .collect()
    }

    /// Drops everything that is open: the store comes back from a snapshot, with every member up
    /// to date. Gives the requests that were dropped.
    pub fn restore(&mut self, now: SimTime) -> Vec<Id> {
        let open = self.fates().into_iter().map(|f| f.request).collect();
        self.entries.clear();
        self.base = self.next;
        for m in &mut self.members {
            (m.last, m.votes, m.behind, m.flushed) = (self.next, SimTime::ZERO, NEVER, now);
        }
        self.next += 1;
        open
    }
}

fn known(at: SimTime) -> Option<SimTime> {
    (at != NEVER).then_some(at)
}

#[cfg(test)]
#[path = "raft_tests.rs"]
mod tests;
