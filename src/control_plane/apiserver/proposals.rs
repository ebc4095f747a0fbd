//! The way to etcd and back: when a request's transaction commits, as long as all is well, and
//! what changes about that when members of etcd come and go.

use super::ApiServer;
use super::servers::Pending;
use crate::control_plane::etcd::raft::{ELECTION, Fate};
use crate::engine::id::Id;
use crate::engine::{SimDuration, SimTime, Sym};
use crate::event::{ApiEvent, Context, Event, What};

/// How long etcd lets a proposal wait: 5 s and two election timeouts (source: etcd
/// `server/config/config.go` `ReqTimeout`).
const PATIENCE: SimDuration = SimDuration::from_secs(5 + 2 * ELECTION.as_secs());

impl ApiServer {
    /// Hands a request's transaction to etcd at `at`.
    pub(super) fn propose(
        &mut self,
        id: Id,
        about: (u64, bool),
        at: SimTime,
        cx: &mut Context<'_>,
    ) {
        let Some(hosted) = &mut self.hosted else {
            let at = self.etcd.propose(about, at, cx);
            cx.schedule(at, Event::Api(ApiEvent::Commit(id)));
            return;
        };
        let commit = hosted.quorum.propose(id, about.0, at, cx.draws());
        let term = hosted.quorum.term();
        let deadline = at + PATIENCE;
        hosted.pending.insert(id, Pending { commit: None, timeout: None, deadline, term });
        self.expect_commit(Fate { request: id, commit }, cx);
    }

    /// When a quota's charge has been committed.
    pub(super) fn charged(&mut self, object: u64, at: SimTime, cx: &Context<'_>) -> SimTime {
        match &self.hosted {
            Some(hosted) => hosted.quorum.passing(object, at, cx.draws()),
            None => self.etcd.propose((object, false), at, cx),
        }
    }

    /// A request's transaction is carried out now.
    pub(super) fn settle(&mut self, id: Id, cx: &mut Context<'_>) {
        let Some(hosted) = &mut self.hosted else { return };
        if let Some(event) = hosted.pending.remove(&id).and_then(|p| p.timeout) {
            cx.cancel(event);
        }
        hosted.quorum.settle(id, cx.now());
    }

    /// Arms what is to come of a proposal, as it is known now.
    fn expect_commit(&mut self, fate: Fate, cx: &mut Context<'_>) {
        let Fate { request, commit } = fate;
        let pending = self.hosted.as_mut().and_then(|h| h.pending.get_mut(&request));
        let Some(pending) = pending else { return };
        let commit = commit.map(|at| at.max(cx.now()));
        if pending.commit.map(|(at, _)| at) != commit {
            if let Some((_, event)) = pending.commit {
                cx.cancel(event);
            }
            pending.commit =
                commit.map(|at| (at, cx.schedule(at, Event::Api(ApiEvent::Commit(request)))));
        }
        let late = commit.is_none_or(|at| at > pending.deadline);
        if late && pending.timeout.is_none() && pending.deadline != SimTime::MAX {
            let at = pending.deadline.max(cx.now());
            pending.timeout = Some(cx.schedule(at, Event::Api(ApiEvent::Timeout(request))));
        }
    }

    /// Something has happened to a member: what is open is planned anew, and a vote may come.
    fn replan(&mut self, before: &[Fate], cx: &mut Context<'_>) {
        let Some(hosted) = &mut self.hosted else { return };
        let now = cx.now();
        let after = hosted.quorum.fates();
        hosted.changed = true;
        hosted.ballot.0 += 1;
        if let Some((at, winner)) = hosted.quorum.election(now, cx.draws()) {
            hosted.ballot.1 = winner;
            let ballot = hosted.ballot.0;
            cx.schedule(at.max(now), Event::Api(ApiEvent::Elect(ballot)));
        }
        for fate in &after {
            self.expect_commit(*fate, cx);
        }
        for gone in before.iter().filter(|b| after.iter().all(|a| a.request != b.request)) {
            self.expect_commit(Fate { request: gone.request, commit: None }, cx);
            let hosted = self.hosted.as_mut();
            let waits = cx.in_flight(gone.request).is_some_and(|f| f.reply.is_some());
            if !waits
                && let Some(hosted) = hosted
                && hosted.pending.get(&gone.request).is_some_and(|p| p.deadline == SimTime::MAX)
            {
                hosted.pending.remove(&gone.request);
                cx.take_request(gone.request);
            }
        }
    }

    /// A member has been elected.
    pub(super) fn elected(&mut self, ballot: u32, cx: &mut Context<'_>) {
        let bytes = self.etcd.bytes();
        let Some(hosted) = self.hosted.as_mut().filter(|h| h.ballot.0 == ballot) else { return };
        let winner = hosted.ballot.1;
        let before = hosted.quorum.fates();
        hosted.quorum.elect(winner, bytes, cx.now(), cx.draws());
        let forgotten = hosted.quorum.forgotten();
        assert!(
            forgotten == 0 || self.config.members.as_ref().is_some_and(|m| m.needed.is_some()),
            "etcd lost {forgotten} committed writes: seed {} seq {} at {:?}",
            cx.draws().seed(),
            cx.seq(),
            cx.now()
        );
        let node = hosted.names[winner];
        let step = "elected leader of etcd";
        let hop = cx.record(What::Noticed { who: Sym::new("etcd"), node, step });
        cx.at_hop(hop, |cx| {
            self.replan(&before, cx);
            self.etcd.promote(self.config.event_ttl, cx.now());
            if let Some(at) = self.etcd.next_expiry().filter(|_| !self.expiry_armed) {
                self.expiry_armed = true;
                cx.schedule(at.max(cx.now()), Event::Api(ApiEvent::Expire));
            }
        });
    }

    /// An etcd member stops.
    pub fn member_stop(&mut self, member: usize, cx: &mut Context<'_>) {
        let Some(hosted) = &mut self.hosted else { return };
        let before = hosted.quorum.fates();
        hosted.quorum.stop(member, cx.now(), cx.draws());
        self.replan(&before, cx);
    }

    /// An etcd member starts with what is on its disk.
    pub fn member_start(&mut self, member: usize, cx: &mut Context<'_>) {
        let bytes = self.etcd.bytes();
        let Some(hosted) = &mut self.hosted else { return };
        let before = hosted.quorum.fates();
        hosted.quorum.start(member, bytes, cx.now(), cx.draws());
        self.replan(&before, cx);
    }

    /// A stopped member's disk is lost.
    pub fn member_wipe(&mut self, member: usize, cx: &mut Context<'_>) {
        let Some(hosted) = &mut self.hosted else { return };
        let before = hosted.quorum.fates();
        hosted.quorum.wipe(member);
        self.replan(&before, cx);
    }

    /// A member's disk takes so many times as long.
    pub fn member_slow(&mut self, member: usize, factor: u32, cx: &mut Context<'_>) {
        let Some(hosted) = &mut self.hosted else { return };
        let before = hosted.quorum.fates();
        hosted.quorum.slow(member, factor, cx.now(), cx.draws());
        self.replan(&before, cx);
    }

    /// The NOSPACE alarm is raised, or disarmed.
    pub fn space_alarm(&mut self, on: bool) {
        self.etcd.force_alarm(on);
        if let Some(hosted) = &mut self.hosted {
            hosted.changed = true;
        }
    }

    /// True while etcd is out of space.
    #[must_use]
    pub fn out_of_space(&self) -> bool {
        self.etcd.alarm()
    }

    /// True if writes commit.
    #[must_use]
    pub fn writable(&self, now: SimTime) -> bool {
        self.hosted.as_ref().is_none_or(|h| h.quorum.writable(now) && h.ready_somewhere())
    }

    /// True if etcd has a leader and a majority.
    #[must_use]
    pub fn quorate(&self, now: SimTime) -> bool {
        self.hosted.as_ref().is_none_or(|h| h.quorum.writable(now))
    }

    /// True if no member of etcd is slow or without a vote while it runs.
    #[must_use]
    pub fn calm(&self, now: SimTime) -> bool {
        self.hosted.as_ref().is_none_or(|h| h.quorum.writable(now) && h.quorum.calm(now))
            && !self.etcd.alarm()
    }

    /// The member that leads etcd.
    #[must_use]
    pub fn etcd_leader(&self, now: SimTime) -> Option<usize> {
        self.hosted.as_ref().and_then(|h| h.quorum.leader(now))
    }

    /// True, once, if something has changed about etcd's members.
    pub fn take_changed(&mut self) -> bool {
        self.hosted.as_mut().is_some_and(|h| std::mem::take(&mut h.changed))
    }
}
