//! API Priority and Fairness: who gets a seat, who waits in which queue, who is sent away.
//!
//! A request that finds a seat costs two array look-ups; queues are made when a level first needs
//! them. Deviations: a level borrows idle lendable seats at once (upstream moves seats every 10 s);
//! every request takes one seat, and queues of a level are served in turn, which is what fair
//! queuing comes to when all requests are of one width.
//! Source: `staging/src/k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap/default.go`,
//! `util/flowcontrol/fairqueuing/queueset`, `util/shufflesharding/dealer.go`.

use super::rbac::service_account;
use crate::api::Kind;
use crate::api::request::{Request, User};
use crate::engine::digest::mix;
use crate::engine::id::Id;
use crate::engine::{SimDuration, Sym, num};
use std::collections::VecDeque;

/// Seats of the server: max-requests-inflight 400 + max-mutating-requests-inflight 200.
const SEATS: u32 = 600;

/// A request waits at most a quarter of its timeout of 60 s.
pub(super) const LONGEST_WAIT: SimDuration = SimDuration::from_secs(15);

/// Requests that one queue holds.
const QUEUE_LENGTH: usize = 50;

/// A priority level, as upstream's bootstrap configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// `exempt`: it never waits.
    Exempt,
    /// `system`: kubelets' requests about pods.
    System,
    /// `node-high`: kubelets' requests about their nodes.
    NodeHigh,
    /// `leader-election`.
    LeaderElection,
    /// `workload-high`: controllers and scheduler.
    WorkloadHigh,
    /// `workload-low`: other service accounts.
    WorkloadLow,
    /// `global-default`: people.
    GlobalDefault,
}

impl Level {
    /// As upstream names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exempt => "exempt",
            Self::System => "system",
            Self::NodeHigh => "node-high",
            Self::LeaderElection => "leader-election",
            Self::WorkloadHigh => "workload-high",
            Self::WorkloadLow => "workload-low",
            Self::GlobalDefault => "global-default",
        }
    }
}

/// Clients that ask for more than a server can give: requests of theirs are always in service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    /// Their level.
    pub level: Level,
    /// Requests of theirs that each server would serve at a time. They get the seats of their level
    /// and those that others lend, but one: fair queuing gives other flows of the level their turn.
    pub requests: u32,
    /// All requests take so many times as long meanwhile, for the server is short of CPU.
    pub slow: u32,
}

const LEVELS: usize = 7;

/// Shares, share that may be lent in percent, queues, hand size. (`catch-all` has 5 shares more; no
/// request of the model gets so far.)
const ROWS: [(u32, u32, u64, usize); LEVELS] = [
    (0, 0, 0, 0),
    (30, 33, 64, 6),
    (40, 25, 64, 6),
    (10, 0, 16, 4),
    (40, 50, 128, 6),
    (100, 90, 128, 6),
    (20, 50, 128, 6),
];

/// Sum of all shares, `catch-all` included.
const SHARES: u32 = 245;

const fn nominal(level: usize) -> u32 {
    (SEATS * ROWS[level].0).div_ceil(SHARES)
}

const fn lendable(level: usize) -> u32 {
    (nominal(level) * ROWS[level].1 + 50) / 100
}

/// The flow schema's verdict on a request: its level and its flow.
pub(super) fn classify(request: &Request) -> (Level, u64) {
    let flow = |schema: u64, of: Sym| mix(schema, of.stable_hash());
    let ns = request.ns;
    let lease = request.kind == Kind::Lease;
    match request.user {
        User::Admin | User::ApiServer => (Level::Exempt, 0),
        User::Scheduler | User::Controller(_) if lease && ns.as_str() == "kube-system" => {
            (Level::LeaderElection, flow(100, ns))
        }
        User::Scheduler => (Level::WorkloadHigh, flow(800, ns)),
        User::Controller(_) => (Level::WorkloadHigh, flow(900, ns)),
        User::Kubelet(node) if lease || request.kind == Kind::Node => {
            (Level::NodeHigh, flow(400, node))
        }
        User::Kubelet(node) => (Level::System, flow(500, node)),
        User::Person { name, groups } => person(name, groups, ns),
    }
}

fn person(name: Sym, groups: Sym, ns: Sym) -> (Level, u64) {
    let flow = |schema: u64, of: Sym| mix(schema, of.stable_hash());
    if groups.as_str().split(',').any(|g| g == "system:masters") {
        return (Level::Exempt, 0);
    }
    match service_account(name.as_str()) {
        Some(("kube-system", _)) => (Level::WorkloadHigh, flow(900, ns)),
        Some(_) => (Level::WorkloadLow, flow(9000, name)),
        None => (Level::GlobalDefault, flow(9900, name)),
    }
}

/// The level alone.
pub(super) fn level(request: &Request) -> Level {
    match request.user {
        User::Admin | User::ApiServer => Level::Exempt,
        User::Kubelet(_) if matches!(request.kind, Kind::Node | Kind::Lease) => Level::NodeHigh,
        User::Kubelet(_) => Level::System,
        User::Scheduler | User::Controller(_) if request.kind != Kind::Lease => Level::WorkloadHigh,
        User::Scheduler | User::Controller(_) | User::Person { .. } => classify(request).0,
    }
}

/// What becomes of a request that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It takes a seat.
    Serve,
    /// It waits.
    Wait,
    /// It is sent away with 429.
    Reject,
}

/// Queues of a level.
#[derive(Debug, Clone, Default)]
struct Queues {
    /// Requests with the event of their arrival.
    list: Vec<VecDeque<(Id, u64)>>,
    waiting: usize,
    /// The queue served last.
    last: usize,
}

impl Queues {
    /// Chooses the shortest queue of the flow's hand.
    fn enqueue(&mut self, level: usize, flow: u64, request: (Id, u64)) -> bool {
        let (_, _, deck, hand) = ROWS[level];
        if self.list.is_empty() {
            self.list = vec![VecDeque::new(); num::index(deck)];
        }
        let best = deal(flow, deck, hand).into_iter().min_by_key(|&q| self.list[q].len());
        let Some(queue) = best.filter(|&q| self.list[q].len() < QUEUE_LENGTH) else { return false };
        self.list[queue].push_back(request);
        self.waiting += 1;
        true
    }

    /// The next request, taking the queues in turn.
    fn next(&mut self) -> Option<(Id, u64)> {
        if self.waiting == 0 {
            return None;
        }
        let n = self.list.len();
        let queue = (1..=n).map(|i| (self.last + i) % n).find(|&q| !self.list[q].is_empty())?;
        self.last = queue;
        self.waiting -= 1;
        self.list[queue].pop_front()
    }

    fn remove(&mut self, id: Id) -> bool {
        for queue in &mut self.list {
            if let Some(at) = queue.iter().position(|(i, _)| *i == id) {
                queue.remove(at);
                self.waiting -= 1;
                return true;
            }
        }
        false
    }
}

/// Deals a hand of distinct cards from a hash (source: `shufflesharding/dealer.go`).
fn deal(mut hash: u64, deck: u64, hand: usize) -> Vec<usize> {
    let mut rest = Vec::with_capacity(hand);
    for i in 0..hand as u64 {
        rest.push(num::index(hash % (deck - i)));
        hash /= deck - i;
    }
    (0..hand)
        .map(|i| (0..i).rev().fold(rest[i], |card, j| card + usize::from(card >= rest[j])))
        .collect()
}

/// Seats in use and requests that wait, by level.
#[derive(Debug, Clone, Default)]
pub(super) struct Fairness {
    in_use: [u32; LEVELS],
    /// Of those, seats of a crowd.
    crowd: [u32; LEVELS],
    queues: [Queues; LEVELS],
    /// Over all levels.
    pub(super) waiting: usize,
}

impl Fairness {
    /// Requests in service and waiting.
    pub(super) fn load(&self) -> usize {
        (self.in_use.iter().sum::<u32>() - self.crowd.iter().sum::<u32>()) as usize + self.waiting
    }

    /// Those who flood the server are these from now on.
    pub(super) fn flood<'c>(&mut self, crowds: impl Iterator<Item = &'c Crowd>) {
        let mut wanted = [0_u32; LEVELS];
        for crowd in crowds {
            let level = crowd.level as usize;
            wanted[level] = wanted[level].saturating_add(crowd.requests);
        }
        for (level, wanted) in wanted.into_iter().enumerate() {
            let others = (1..LEVELS).filter(|l| *l != level).map(lendable).sum::<u32>();
            let most = if level == Level::Exempt as usize {
                u32::MAX
            } else {
                nominal(level) + others - 1
            };
            let now = wanted.min(most);
            self.in_use[level] = self.in_use[level] - self.crowd[level] + now;
            self.crowd[level] = now;
        }
    }

    /// The server starts anew: the crowd is back at once.
    pub(super) fn emptied(&self) -> Self {
        Self { in_use: self.crowd, crowd: self.crowd, ..Self::default() }
    }

    /// A request arrives. Its flow is looked at only if there is no seat.
    pub(super) fn arrive(&mut self, request: &Request, id: Id, seq: u64) -> Verdict {
        let level = level(request) as usize;
        if self.queues[level].waiting == 0 && self.free(level) {
            self.in_use[level] += 1;
            return Verdict::Serve;
        }
        let (_, flow) = classify(request);
        if self.queues[level].enqueue(level, flow, (id, seq)) {
            self.waiting += 1;
            Verdict::Wait
        } else {
            Verdict::Reject
        }
    }

    /// A request gives its seat back (or never took it after all).
    pub(super) fn leave(&mut self, level: Level) {
        self.in_use[level as usize] -= 1;
    }

    /// The next request that may be served, which takes its seat.
    pub(super) fn next(&mut self) -> Option<(Id, u64)> {
        if self.waiting == 0 {
            return None;
        }
        let level = (0..LEVELS).find(|&l| self.queues[l].waiting > 0 && self.free(l))?;
        let next = self.queues[level].next()?;
        self.waiting -= 1;
        self.in_use[level] += 1;
        Some(next)
    }

    /// A request has waited too long; true if it was still waiting.
    pub(super) fn give_up(&mut self, level: Level, id: Id) -> bool {
        let waited = self.queues[level as usize].remove(id);
        self.waiting -= usize::from(waited);
        waited
    }

    /// Whether a level has a seat left, its own or one lent by idle levels.
    fn free(&self, level: usize) -> bool {
        if level == Level::Exempt as usize || self.in_use[level] < nominal(level) {
            return true;
        }
        // Levels lend what they neither use nor must keep; what is lent out already counts.
        let lent: u32 = (1..LEVELS).map(|l| self.in_use[l].saturating_sub(nominal(l))).sum();
        let idle: u32 = (1..LEVELS)
            .filter(|&l| l != level)
            .map(|l| lendable(l).min(nominal(l).saturating_sub(self.in_use[l])))
            .sum();
        lent < idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Name;
    use crate::api::request::Op;
    use crate::engine::id::Arena;

    fn request(user: User, kind: Kind) -> Request {
        let ns = Sym::new("shop");
        Request { user, kind, ns, name: Name::default(), target: None, op: Op::Evict }
    }

    fn person(name: &str, groups: &str) -> User {
        User::Person { name: name.into(), groups: groups.into() }
    }

    fn ids(n: usize) -> Vec<Id> {
        let mut arena = Arena::default();
        (0..n).map(|i| arena.insert(i)).collect()
    }

    #[test]
    fn seats_are_shared_out_as_upstream_does() {
        let seats: Vec<u32> = (0..LEVELS).map(nominal).collect();
        assert_eq!(seats, [0, 74, 98, 25, 98, 245, 49]);
    }

    #[test]
    fn flow_schemas_choose_the_level() {
        let of = |user, kind| {
            let request = request(user, kind);
            assert_eq!(level(&request), classify(&request).0);
            classify(&request).0
        };
        let node = User::Kubelet("n0".into());
        assert_eq!(of(User::Admin, Kind::Pod), Level::Exempt);
        assert_eq!(of(node, Kind::Node), Level::NodeHigh);
        assert_eq!(of(node, Kind::Pod), Level::System);
        assert_eq!(of(User::Scheduler, Kind::Pod), Level::WorkloadHigh);
        assert_eq!(of(User::Controller("x".into()), Kind::Pod), Level::WorkloadHigh);
        assert_eq!(of(person("alice", "dev"), Kind::Pod), Level::GlobalDefault);
        assert_eq!(of(person("root", "system:masters"), Kind::Pod), Level::Exempt);
        let ci = person("system:serviceaccount:shop:ci", "");
        assert_eq!(of(ci, Kind::Pod), Level::WorkloadLow);
    }

    #[test]
    fn hands_are_distinct_and_depend_on_the_flow_alone() {
        for flow in (0..2_000_u64).map(|i| mix(i, 7)) {
            let mut hand = deal(flow, 64, 6);
            assert_eq!(hand, deal(flow, 64, 6));
            hand.sort_unstable();
            hand.dedup();
            assert_eq!(hand.len(), 6);
            assert!(hand.iter().all(|q| *q < 64));
        }
    }

    /// Alice floods; her queues fill, others find theirs nearly empty.
    #[test]
    fn a_flood_fills_its_own_queues_only() {
        let ids = ids(2_000);
        let mut fairness = Fairness::default();
        let alice = &request(person("alice", ""), Kind::Pod);
        let bob = &request(person("bob", ""), Kind::Pod);
        let verdicts: Vec<Verdict> =
            ids[..1_500].iter().map(|id| fairness.arrive(alice, *id, 0)).collect();
        let count = |v| verdicts.iter().filter(|x| **x == v).count();
        // Her own 49 seats and what others lend, then six queues of fifty.
        let lent = (1..LEVELS).filter(|l| *l != Level::GlobalDefault as usize).map(lendable);
        assert_eq!(count(Verdict::Serve), 49 + lent.sum::<u32>() as usize);
        assert_eq!(count(Verdict::Wait), 6 * QUEUE_LENGTH);
        assert_eq!(fairness.arrive(bob, ids[1_500], 0), Verdict::Wait);
        // Bob is served before Alice's flood is through.
        let mut before = 0;
        loop {
            fairness.leave(Level::GlobalDefault);
            let (id, _) = fairness.next().unwrap();
            if id == ids[1_500] {
                break;
            }
            before += 1;
        }
        assert!(before < 7, "{before} requests of the flood went first");
    }

    #[test]
    fn a_crowd_leaves_other_levels_their_seats_and_its_own_a_turn() {
        let ids = ids(4);
        let (admin, scheduler, alice) = (
            &request(User::Admin, Kind::Pod),
            &request(User::Scheduler, Kind::Pod),
            &request(person("alice", ""), Kind::Pod),
        );
        let crowd = Crowd { level: Level::GlobalDefault, requests: 10_000, slow: 1 };
        let mut fairness = Fairness::default();
        fairness.flood([crowd].iter());
        assert_eq!(fairness.load(), 0, "the crowd is not counted");
        assert_eq!(fairness.arrive(admin, ids[0], 0), Verdict::Serve);
        assert_eq!(fairness.arrive(scheduler, ids[1], 0), Verdict::Serve);
        // What it borrowed at most is one seat less than there are; the scheduler has its own.
        assert_eq!(fairness.arrive(alice, ids[2], 0), Verdict::Serve);
        assert_eq!(fairness.arrive(alice, ids[3], 0), Verdict::Wait);
        fairness.leave(Level::GlobalDefault);
        assert_eq!(fairness.next().map(|next| next.0), Some(ids[3]));
        fairness = fairness.emptied();
        fairness.flood([].iter());
        assert_eq!((fairness.load(), fairness.in_use), (0, [0; LEVELS]));
    }

    #[test]
    fn the_exempt_never_wait_and_lent_seats_come_back() {
        let ids = ids(3_000);
        let mut fairness = Fairness::default();
        let admin = &request(User::Admin, Kind::Pod);
        assert!(ids.iter().all(|id| fairness.arrive(admin, *id, 0) == Verdict::Serve));
        let alice = &request(person("alice", ""), Kind::Pod);
        while fairness.arrive(alice, ids[0], 0) == Verdict::Serve {}
        // A level that has lent seats still has what it may not lend.
        let scheduler = &request(User::Scheduler, Kind::Pod);
        let served = (0..nominal(Level::WorkloadHigh as usize))
            .take_while(|_| fairness.arrive(scheduler, ids[1], 0) == Verdict::Serve);
        assert_eq!(served.count(), nominal(Level::WorkloadHigh as usize) as usize);
    }

    #[test]
    fn who_gives_up_waits_no_more() {
        let ids = ids(2);
        let mut fairness = Fairness::default();
        let alice = &request(person("alice", ""), Kind::Pod);
        while fairness.arrive(alice, ids[0], 0) == Verdict::Serve {}
        assert_eq!(fairness.arrive(alice, ids[1], 0), Verdict::Wait);
        assert_eq!(fairness.waiting, 2);
        assert!(fairness.give_up(level(alice), ids[1]));
        assert!(!fairness.give_up(level(alice), ids[1]));
        assert_eq!(fairness.waiting, 1);
    }
}
