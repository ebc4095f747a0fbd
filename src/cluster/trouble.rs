//! What follows from a network that fails (`links` says what is wrong).
//!
//! A kubelet's next renewal of its Lease is the first thing that fails for certain: it runs into
//! its time-out of 10 s, and so does the next one; then the kubelet closes all its connections
//! (source: `pkg/kubelet` `heartbeatFailure`, `OnRepeatedHeartbeatFailure`; the client's time-out
//! is `NodeStatusUpdateFrequency`). So a cut of one direction becomes one of both after 20 s to
//! 30 s: until then, requests still arrive whose answers are lost, or changes still arrive while
//! requests are lost. Of renewals without an answer only the first one counts: the next ones ask
//! for an update of a revision that is gone (409).
//!
//! Members of etcd and API servers of hosts that the others do not reach are out: a leader of etcd
//! needs a majority that it reaches in both directions, and an API server without a member that
//! has a leader answers nothing. The load balancer stands on the client's side of every cut.

use super::Cluster;
use super::faults::victims;
use super::links::{Broken, CONTROL, Cut, Held, sent_again};
use super::outages::Part;
use super::spec::{Fault, FaultKind, StaticPod, Whom};
use crate::api::request::{Op, User};
use crate::api::versions::Change;
use crate::api::{Kind, Obj};
use crate::engine::id::Id;
use crate::engine::queue::Entry;
use crate::engine::{Packets, Purpose, SimDuration, SimTime, Sym, num};
use crate::event::lease::Beat;
use crate::event::{Address, ApiEvent, Event, Role, TroubleEvent, What};
use std::collections::{BTreeSet, VecDeque};

/// Two heartbeats in a row, of 10 s each.
const PATIENCE: SimDuration = SimDuration::from_secs(20);
/// A server takes a client for dead that is silent for so long: 30 s until the ping, 15 s for its
/// answer.
const SILENCE: SimDuration = SimDuration::from_secs(45);
/// The loops of a kubelet that has no connection try again within this time.
const TRIES: SimDuration = SimDuration::from_secs(10);
/// Events are given up after 12 attempts at 10 s.
const EVENTS_KEEP: SimDuration = SimDuration::from_secs(120);

/// Keys the draws of a cut's two sides, apart from those of faults with one set of victims.
const SIDES: u32 = 1 << 31;

/// Who is told of where a cut strikes no node.
pub const NETWORK: &str = "network";
/// What is told of a node that a cut strikes, and of one that it leaves.
pub(super) const CUT: &str = "network lost";
pub(super) const HEALED: &str = "network back";

impl Cluster {
    /// Holds or delays an event that is for something cut off, slow or frozen.
    pub(super) fn intercepts(&mut self, entry: &Entry<Event>) -> bool {
        if let Event::Api(ApiEvent::Arrive(id)) = entry.event {
            self.request_on_its_way(id, entry.seq)
        } else if let Event::Answer { to, token, request } = entry.event {
            to.role == Role::Kubelet && self.answer_on_its_way(to, token, request, entry.seq)
        } else if let Event::Node { node, event, .. } = entry.event {
            self.stands_still(node, event, entry)
        } else {
            false
        }
    }

    fn request_on_its_way(&mut self, id: Id, seq: u64) -> bool {
        let Some(in_flight) = self.shared.requests.get(id) else { return false };
        let User::Kubelet(name) = in_flight.request.user else { return false };
        let Some(&node) = self.by_name.get(&name) else { return false };
        let (now, event) = (self.shared.now(), Event::Api(ApiEvent::Arrive(id)));
        let was_late = self.comes_due(node, event);
        if let Some(broken) = self.links.broken.get_mut(&node).filter(|b| b.up || b.dead) {
            broken.held.push((now, Held::Request(id)));
            return true;
        }
        !was_late && self.delays(node, event, seq)
    }

    fn answer_on_its_way(&mut self, to: Address, token: u32, request: Id, seq: u64) -> bool {
        let (now, event) = (self.shared.now(), Event::Answer { to, token, request });
        let was_late = self.comes_due(to.index, event);
        let broken = self.links.broken.get_mut(&to.index);
        if let Some(broken) = broken.filter(|b| b.down || b.dead) {
            broken.held.push((now, Held::Answer { to, token, request }));
            return true;
        }
        !was_late && self.delays(to.index, event, seq)
    }

    /// True if a message was late, and is late no more.
    fn comes_due(&mut self, node: u32, event: Event) -> bool {
        let Some(list) = self.links.on_way.get_mut(&node) else { return false };
        let Some(at) = list.iter().position(|(.., late)| *late == event) else { return false };
        list.remove(at);
        if list.is_empty() {
            self.links.on_way.remove(&node);
            self.links.settle();
        }
        true
    }

    /// Lets something happen later, if the node's packets are late.
    fn delays(&mut self, node: u32, event: Event, seq: u64) -> bool {
        let mut at = self.shared.now() + self.lateness(node);
        // What is sent later on a connection does not come sooner.
        let answers = |event: &Event| matches!(event, Event::Answer { .. });
        let earlier = self.links.on_way.get(&node).into_iter().flatten();
        let same_way = earlier.filter(|(.., other)| answers(other) == answers(&event));
        if let Some(last) = same_way.map(|(_, at, _)| *at).max() {
            at = at.max(last + SimDuration(1));
        }
        if at == self.shared.now() {
            return false;
        }
        let number = self.shared.context(seq).schedule(at, event);
        self.links.on_way.entry(node).or_default().push((number, at, event));
        true
    }

    /// How late the next message of or to a node comes.
    fn lateness(&mut self, node: u32) -> SimDuration {
        let Some(all) = self.links.packets.get(&node) else { return SimDuration::ZERO };
        let sent = self.links.sent.entry(node).or_default();
        *sent += 1;
        let entity = self.nodes[node as usize].name().stable_hash();
        let mut late = SimDuration::ZERO;
        for (row, packets) in all {
            let ordinal = *sent << 8 | u64::from(*row & 0xff);
            let mut draw = self.shared.draws.draw(entity, Purpose("packets"), ordinal);
            late = SimDuration(late.0 + packets.late(&mut draw).0);
        }
        late
    }

    /// Keeps a change for a kubelet whose packets are late; false if it is to be handed over now.
    pub(super) fn posts(&mut self, to: Address, change: &Change, seq: u64) -> bool {
        let node = to.index;
        let late = self.lateness(node);
        let now = self.shared.now();
        let mail = self.links.mail.get_mut(&node);
        // What is sent later does not come sooner.
        let last = mail.as_ref().and_then(|m| m.back()).map_or(now, |(at, ..)| *at);
        if late == SimDuration::ZERO && mail.is_none() {
            return false;
        }
        let at = last.max(now + late);
        self.links.mail.entry(node).or_default().push_back((at, to, change.clone()));
        let event = Event::Trouble(TroubleEvent::Mail { node });
        self.shared.context(seq).schedule(at, event);
        true
    }

    fn mail(&mut self, node: u32, seq: u64) {
        let now = self.shared.now();
        // A cut that has begun meanwhile holds it, and a machine that stands still.
        if self.links.broken.get(&node).is_some_and(|b| b.down || b.dead) {
            return;
        }
        let Some(mail) = self.links.mail.get_mut(&node) else { return };
        if mail.front().is_none_or(|(at, ..)| *at > now) {
            return;
        }
        let due = mail.pop_front();
        if mail.is_empty() {
            self.links.mail.remove(&node);
            self.links.settle();
        }
        if let Some((_, to, change)) = due {
            self.tell_kubelet(to, &change, seq);
        }
    }

    /// An event about networks and machines that are taken away.
    pub(super) fn trouble(&mut self, event: TroubleEvent, seq: u64) {
        match event {
            TroubleEvent::GivesUp { node, number } => self.gives_up(node, number, seq),
            TroubleEvent::Through { node, number } => self.gets_through(node, number, seq),
            TroubleEvent::Mail { node } => self.mail(node, seq),
            TroubleEvent::Taken { fault, node } => self.taken(fault, node, seq),
            TroubleEvent::Upgrade { fault } => self.upgrade(fault, seq),
            TroubleEvent::Waits { fault } => self.waits(fault, seq),
        }
    }

    /// A fault of networks begins; gives the nodes that it strikes.
    pub(super) fn network_fails(&mut self, row: u32, fault: &Fault, seq: u64) -> Vec<u32> {
        let Whom::Between(sides) = &fault.whom else { return Vec::new() };
        let one_way = fault.what == FaultKind::Partition { one_way: true };
        let mut sides =
            [0, 1].map(|i| self.side(SIDES | row << 1 | i, fault, &sides[i as usize], seq));
        let [a, b] = &mut sides;
        // Nobody is cut off from itself.
        b.retain(|end| a.binary_search(end).is_err());
        let before: BTreeSet<u32> = self.links.broken.keys().copied().collect();
        self.links.cuts.push(Cut { row, sides, one_way });
        let hop = self
            .shared
            .context(seq)
            .hop(0, What::Fault { fault: row, node: Sym::new(NETWORK), step: CUT });
        self.survey(hop);
        let cut: Vec<u32> = self.links.broken.keys().copied().collect();
        let struck: Vec<u32> = cut.into_iter().filter(|node| !before.contains(node)).collect();
        for node in &struck {
            self.tell_fault(row, *node, CUT);
        }
        struck
    }

    /// The ends of a network on one side of a cut, in order.
    fn side(&mut self, key: u32, fault: &Fault, whom: &Whom, seq: u64) -> Vec<u32> {
        if let Whom::ControlPlane = whom {
            let hosts = self.control.iter().flat_map(|c| c.hosts.iter().map(|h| h.node));
            let mut hosts: Vec<u32> = hosts.collect();
            if self.control.is_none() {
                hosts.push(CONTROL);
            }
            hosts.sort_unstable();
            return hosts;
        }
        let one = Fault { whom: whom.clone(), ..fault.clone() };
        victims(key, &one, &self.nodes, &self.shared.context(seq))
    }

    /// It ends.
    pub(super) fn network_heals(&mut self, row: u32, struck: &[u32], seq: u64) {
        self.links.cuts.retain(|cut| cut.row != row);
        let hop = self
            .shared
            .context(seq)
            .hop(0, What::Fault { fault: row, node: Sym::new(NETWORK), step: HEALED });
        self.survey(hop);
        for node in struck {
            let held = self.links.broken.get(node).is_some_and(|b| b.up || b.down);
            self.tell_fault(row, *node, if held { super::HELD } else { HEALED });
        }
    }

    fn tell_fault(&mut self, row: u32, node: u32, step: &'static str) {
        let node = self.nodes[node as usize].name();
        self.shared.context(0).hop(0, What::Fault { fault: row, node, step });
    }

    /// What is cut, or who stands still, has changed: hosts first, then all that talk to them.
    pub(super) fn survey(&mut self, seq: u64) {
        self.links.settle();
        self.arrange_hosts(seq);
        let hosts: Vec<u32> =
            self.control.iter().flat_map(|c| c.hosts.iter().map(|h| h.node)).collect();
        let concerned = if hosts.is_empty() {
            self.links.concerned()
        } else {
            // A host that is out concerns everybody.
            (0..num::u32_of(self.nodes.len())).collect()
        };
        for &node in &concerned {
            if !hosts.is_empty() {
                let bars = hosts.iter().enumerate().fold(0_u16, |bars, (i, &host)| {
                    let out = self.links.blocked(node, host) || self.links.blocked(host, node);
                    bars | u16::from(out && host != node) << i
                });
                self.api.bar(self.nodes[node as usize].name(), bars);
            }
            self.review(node, seq);
        }
        self.register_waiting(seq);
        self.links.settle();
    }

    /// What does not pass between a kubelet and its API server: what it sends, what it is sent.
    fn barred(&self, node: u32) -> (bool, bool) {
        if self.links.frozen.contains_key(&node) {
            return (true, true);
        }
        let Some(control) = &self.control else {
            return (self.links.blocked(node, CONTROL), self.links.blocked(CONTROL, node));
        };
        let name = self.nodes[node as usize].name();
        let dead = self.links.broken.get(&node).is_some_and(|b| b.dead);
        if dead {
            let none = !self.api.reaches_any(name);
            return (none, none);
        }
        let Some(server) = self.api.server_of(name) else { return (false, false) };
        let host = control.hosts[server].node;
        let out = self.links.isolated.contains(&server);
        let cut = |from, to| from != to && self.links.blocked(from, to);
        (out || cut(node, host), out || cut(host, node))
    }

    /// Brings the connection of a kubelet in line with the network.
    pub(super) fn review(&mut self, node: u32, seq: u64) {
        if !self.nodes[node as usize].kubelet_up() {
            return self.invites(node, seq);
        }
        let (up, down) = self.barred(node);
        let now = self.shared.now();
        let frozen = self.links.frozen.contains_key(&node);
        let Some(broken) = self.links.broken.get_mut(&node) else {
            if up || down {
                self.breaks(node, (up, down), seq);
            }
            return;
        };
        let heals = !up && !down && (broken.up || broken.down);
        let fails_again = (up || down) && !(broken.up || broken.down);
        let more = down && !broken.down;
        let turns = (broken.up, broken.down) != (up, down);
        (broken.up, broken.down) = (up, down);
        if heals {
            broken.number += 1;
            let again = if broken.slept { now } else { sent_again(broken.since, now) };
            let late = again >= broken.found;
            let (number, found) = (broken.number, broken.found.max(now));
            let at = if broken.dead || now >= broken.found {
                let entity = self.nodes[node as usize].name().stable_hash();
                let cx = &self.shared.context(seq);
                now + SimDuration(cx.draw(entity, Purpose("through"), now.0).below(TRIES.0))
            } else if late {
                // TCP would wait longer than the kubelet does.
                found
            } else {
                again
            };
            if let Some(broken) = self.links.broken.get_mut(&node) {
                broken.dead |= late;
            }
            let event = Event::Trouble(TroubleEvent::Through { node, number });
            self.shared.context(seq).schedule(at, event);
        } else if fails_again {
            broken.number += 1;
        }
        if turns {
            self.links.turn();
        }
        if more {
            let address = self.nodes[node as usize].address();
            self.api.watches.cut(address, now);
        }
        if (up || down) && !heals && !frozen {
            self.arm_patience(node, seq);
        }
    }

    /// A connection breaks.
    fn breaks(&mut self, node: u32, (up, down): (bool, bool), seq: u64) {
        let now = self.shared.now();
        let agent = &self.nodes[node as usize];
        let (name, address) = (agent.name(), agent.address());
        let cx = &mut self.shared.context(seq);
        let next = cx.leases().next(Beat::Renewal, name, now, cx.draws()).unwrap_or(now);
        cx.leases_mut().stop(name, if up { now } else { next }, seq);
        let frozen = self.links.frozen.contains_key(&node);
        let found = if frozen { now + SILENCE } else { next + PATIENCE };
        let broken = Broken {
            up,
            down,
            since: now,
            found,
            dead: false,
            slept: frozen,
            number: 0,
            held: Vec::new(),
        };
        self.links.broken.insert(node, broken);
        self.links.turn();
        if down {
            self.api.watches.cut(address, now);
        }
        let cx = &mut self.shared.context(seq);
        cx.at_hop(seq, |cx| self.controllers.heartbeat_stopped(name, cx));
        if !frozen {
            self.arm_patience(node, seq);
        }
    }

    /// When a kubelet gives up is known, as long as nothing changes.
    fn arm_patience(&mut self, node: u32, seq: u64) {
        let now = self.shared.now();
        let Some(broken) = self.links.broken.get_mut(&node).filter(|b| !b.dead) else { return };
        broken.number += 1;
        let (number, found) = (broken.number, broken.found);
        let event = Event::Trouble(TroubleEvent::GivesUp { node, number });
        self.shared.context(seq).schedule(found.max(now), event);
    }

    /// The kubelet closes its connections. It may find another server.
    fn gives_up(&mut self, node: u32, number: u32, seq: u64) {
        let now = self.shared.now();
        let Some(broken) = self.links.broken.get_mut(&node).filter(|b| b.number == number) else {
            return;
        };
        broken.dead = true;
        // Both directions are gone from here on.
        (broken.up, broken.down) = (true, true);
        self.links.turn();
        let agent = &self.nodes[node as usize];
        let (name, address) = (agent.name(), agent.address());
        self.shared.context(seq).leases_mut().stop(name, now, seq);
        self.api.watches.cut(address, now);
        self.api.hang_up(name);
        self.review(node, seq);
    }

    /// A kubelet gets through: on the old connection, or on a new one.
    fn gets_through(&mut self, node: u32, number: u32, seq: u64) {
        let valid = |b: &&Broken| b.number == number && !b.up && !b.down;
        let Some(dead) = self.links.broken.get(&node).filter(valid).map(|b| b.dead) else { return };
        let (name, address) =
            (self.nodes[node as usize].name(), self.nodes[node as usize].address());
        if dead && self.control.is_some() && !self.api.reaches_any(name) {
            // Nobody serves by now: whoever does so first will be tried.
            if let Some(broken) = self.links.broken.get_mut(&node) {
                (broken.up, broken.down) = (true, true);
                self.links.turn();
            }
            return;
        }
        let held = self.links.broken.remove(&node).map_or_else(Vec::new, |b| b.held);
        self.links.turn();
        self.links.settle();
        self.hands_out(node, seq);
        let severed = self.away.holds(Part::Connection, node);
        if !dead && !severed {
            self.api.watches.resume(address, &mut self.shared.context(seq));
        } else if dead && self.control.is_some() {
            self.dial_again(node, seq);
        } else if dead && !severed {
            self.api.watches.restore(address, &mut self.shared.context(seq));
        }
        self.nodes[node as usize].back(&mut self.shared.context(seq));
        self.lag_leases(node, seq);
        if dead {
            self.say_again(node, held, seq);
        } else {
            for (_, what) in held {
                let event = match what {
                    Held::Request(id) => Event::Api(ApiEvent::Arrive(id)),
                    Held::Answer { to, token, request } => Event::Answer { to, token, request },
                };
                let now = self.shared.now();
                self.shared.context(seq).schedule(now, event);
            }
        }
    }

    /// What a kubelet has still to tell, once it has a new connection: statuses as they are now,
    /// and Events that are not too old.
    fn say_again(&mut self, node: u32, held: Vec<(SimTime, Held)>, seq: u64) {
        let now = self.shared.now();
        let mut told = Vec::new();
        for (since, what) in held {
            let id = match what {
                Held::Request(id) => id,
                Held::Answer { token, request, .. } => {
                    self.shared.context(seq).take_request(request);
                    self.nodes[node as usize].unanswered(token, &mut self.shared.context(seq));
                    continue;
                }
            };
            let Some(in_flight) = self.shared.requests.get(id) else { continue };
            let request = &in_flight.request;
            let fake = self.nodes[node as usize].is_fake();
            // Its node's status loop has been told to look.
            let void = if matches!(request.op, Op::Heartbeat(_) | Op::NodeStatus(_)) {
                true
            } else if matches!(request.op, Op::PodStatus(_)) && !fake {
                request.target.is_some_and(|object| {
                    let again = told.contains(&object);
                    told.push(object);
                    again
                })
            } else {
                request.kind == Kind::Lease
                    || request.kind == Kind::Event && now.since(since) > EVENTS_KEEP
            };
            if void {
                self.shared.context(seq).take_request(id);
            } else if fake {
                if let Some(f) = self.shared.context(seq).take_request(id) {
                    self.shared.context(seq).submit(now, f.request, f.reply);
                }
            } else {
                self.resend(id, seq);
            }
        }
    }

    /// A kubelet or its machine has ended: nothing waits for it any more.
    pub(super) fn forget_link(&mut self, node: u32, machine: bool) {
        let held = self.links.broken.remove(&node).map_or_else(Vec::new, |b| b.held);
        self.links.turn();
        for (_, what) in held {
            let (Held::Request(id) | Held::Answer { request: id, .. }) = what;
            self.shared.context(0).take_request(id);
        }
        // What is late on a connection that has ended never comes: it would overtake the next life.
        for (number, _, event) in self.links.on_way.remove(&node).unwrap_or_default() {
            let cx = &mut self.shared.context(0);
            cx.cancel(number);
            if let Event::Api(ApiEvent::Arrive(id)) | Event::Answer { request: id, .. } = event {
                cx.take_request(id);
            }
        }
        self.links.mail.remove(&node);
        if machine {
            self.links.waiting.remove(&node);
            self.links.shifts.remove(&node);
        }
        self.links.settle();
    }

    /// A kubelet that begins reaches no API server: it waits.
    pub(super) fn waits_for_network(&mut self, node: u32) -> bool {
        let cut = self.control.is_none()
            && (self.links.blocked(node, CONTROL) || self.links.blocked(CONTROL, node));
        if cut {
            self.links.waiting.insert(node);
        }
        cut
    }

    /// A kubelet that waits may register now.
    fn invites(&mut self, node: u32, seq: u64) {
        let (up, down) = (self.links.blocked(node, CONTROL), self.links.blocked(CONTROL, node));
        if up || down || !self.links.waiting.remove(&node) {
            return;
        }
        let agent = &self.nodes[node as usize];
        let cx = &mut self.shared.context(seq);
        let entity = agent.name().stable_hash();
        let wait = cx.draw(entity, Purpose("register"), cx.now().0).below(TRIES.0);
        if agent.machine_up() {
            agent.schedule_register(SimDuration(wait), cx);
        }
    }

    /// Which hosts of the control plane are out. The leader of etcd stays if it reaches a majority.
    pub(super) fn arrange_hosts(&mut self, seq: u64) {
        let Some(control) = &self.control else { return };
        if !self.links.busy() && self.links.isolated.is_empty() {
            return;
        }
        let hosts: Vec<u32> = control.hosts.iter().map(|h| h.node).collect();
        let runs = |i: usize| control.hosts[i].pods[StaticPod::Etcd as usize].up;
        let link = |i: usize, j: usize| {
            let still = self.links.frozen.contains_key(&hosts[i]);
            !still
                && (i == j
                    || !self.links.blocked(hosts[i], hosts[j])
                        && !self.links.blocked(hosts[j], hosts[i]))
        };
        let reach = |i: usize| (0..hosts.len()).filter(|&j| runs(j) && link(i, j)).count();
        let leader = self.api.etcd_leader(self.shared.now());
        let leader = leader.filter(|&l| reach(l) > hosts.len() / 2);
        let center = leader
            .or_else(|| (0..hosts.len()).filter(|&i| runs(i)).rev().max_by_key(|&i| reach(i)));
        let out: BTreeSet<usize> = match center {
            Some(center) => (0..hosts.len()).filter(|&j| !link(center, j)).collect(),
            None => (0..hosts.len()).filter(|&j| !link(j, j)).collect(),
        };
        if out == self.links.isolated {
            return;
        }
        let before = std::mem::replace(&mut self.links.isolated, out.clone());
        for &host in out.difference(&before) {
            self.isolate(host, seq);
        }
        for &host in before.difference(&out) {
            let up = self.pod(host, StaticPod::Etcd).is_some_and(|p| p.up);
            if up {
                self.api.member_start(host, &mut self.shared.context(seq));
            }
        }
        // What has been found out is acted upon once.
        self.api.take_changed();
        self.recheck(seq);
    }

    /// The packets of nodes become late.
    pub(super) fn packets_late(&mut self, row: u32, packets: Packets, struck: &[u32]) {
        for &node in struck {
            self.links.packets.entry(node).or_default().push((row, packets));
            let name = self.nodes[node as usize].name();
            let step = "packets are lost or late";
            let hop = self.shared.context(0).hop(0, What::Fault { fault: row, node: name, step });
            self.lag_leases(node, hop);
        }
        self.links.settle();
    }

    /// They are on time again.
    pub(super) fn packets_on_time(&mut self, row: u32, struck: &[u32], seq: u64) {
        for &node in struck {
            let mut held = false;
            if let Some(list) = self.links.packets.get_mut(&node) {
                list.retain(|(of, _)| *of != row);
                held = !list.is_empty();
            }
            let name = self.nodes[node as usize].name();
            let step = if held { super::HELD } else { "packets are on time again" };
            let cx = &mut self.shared.context(seq);
            let hop = cx.hop(0, What::Fault { fault: row, node: name, step });
            if held {
                self.lag_leases(node, hop);
            } else {
                self.links.packets.remove(&node);
                self.catches_up(node, hop);
                self.shared.context(hop).leases_mut().on_time(name);
                self.nodes[node as usize].look_at_status(&mut self.shared.context(hop));
            }
        }
        self.links.settle();
    }

    /// What is still on its way to or from a node arrives now.
    fn catches_up(&mut self, node: u32, seq: u64) {
        let now = self.shared.now();
        let list = self.links.on_way.remove(&node).unwrap_or_default();
        let mut soon = Vec::new();
        for (i, (number, _, event)) in list.into_iter().enumerate() {
            let (cx, at) = (&mut self.shared.context(seq), now + SimDuration(i as u64));
            cx.cancel(number);
            soon.push((cx.schedule(at, event), at, event));
        }
        if !soon.is_empty() {
            self.links.on_way.insert(node, soon);
        }
        self.hands_out(node, seq);
    }

    /// What lies in the mail of a node is handed over now.
    fn hands_out(&mut self, node: u32, seq: u64) {
        let now = self.shared.now();
        for late in self.links.mail.get_mut(&node).into_iter().flatten() {
            late.0 = now;
            let event = Event::Trouble(TroubleEvent::Mail { node });
            self.shared.context(seq).schedule(now, event);
        }
    }

    /// Nodes become slow.
    pub(super) fn slows_down(&mut self, row: u32, factor: u32, struck: &[u32], seq: u64) {
        for &node in struck {
            self.links.slow.entry(node).or_default().push((row, factor));
            self.set_pace(row, node, "machine loses its speed", seq);
        }
    }

    /// They are as fast as before.
    pub(super) fn speeds_up(&mut self, row: u32, struck: &[u32], seq: u64) {
        for &node in struck {
            let mut held = false;
            if let Some(list) = self.links.slow.get_mut(&node) {
                list.retain(|(of, _)| *of != row);
                held = !list.is_empty();
            }
            let step = if held { super::HELD } else { "machine is as fast as before" };
            self.set_pace(row, node, step, seq);
        }
    }

    fn set_pace(&mut self, row: u32, node: u32, step: &'static str, seq: u64) {
        let factors = self.links.slow.get(&node).into_iter().flatten().map(|(_, factor)| *factor);
        let factor = factors.fold(1_u32, u32::saturating_mul);
        let agent = &mut self.nodes[node as usize];
        let cx = &mut self.shared.context(seq);
        agent.slow_down(factor, cx);
        let name = agent.name();
        cx.hop(0, What::Fault { fault: row, node: name, step });
        cx.strikes_node(node);
    }

    /// The disks of nodes fill up.
    pub(super) fn disks_fill(&mut self, row: u32, percent: u32, struck: &[u32], seq: u64) {
        for &node in struck {
            let bytes = self.nodes[node as usize].to_fill(percent, self.shared.now());
            self.links.filled.entry(node).or_default().push((row, bytes));
            self.set_fill(row, node, "disk loses its room", seq);
        }
    }

    /// What filled them has gone.
    pub(super) fn disks_empty(&mut self, row: u32, struck: &[u32], seq: u64) {
        for &node in struck {
            let mut held = false;
            if let Some(list) = self.links.filled.get_mut(&node) {
                list.retain(|(of, _)| *of != row);
                held = !list.is_empty();
            }
            let step = if held { super::HELD } else { "disk has room again" };
            self.set_fill(row, node, step, seq);
        }
    }

    fn set_fill(&mut self, row: u32, node: u32, step: &'static str, seq: u64) {
        let bytes = self.links.filled.get(&node).into_iter().flatten().map(|(_, n)| *n).sum();
        let name = self.nodes[node as usize].name();
        let hop = self.shared.context(seq).hop(0, What::Fault { fault: row, node: name, step });
        self.nodes[node as usize].fill(bytes, &mut self.shared.context(hop));
    }

    /// Renewals of a node whose packets are late come late, too, and are watched.
    pub(super) fn lag_leases(&mut self, node: u32, seq: u64) {
        let Some(list) = self.links.packets.get(&node) else { return };
        let packets = list.iter().map(|(_, packets)| *packets).collect();
        let name = self.nodes[node as usize].name();
        let cx = &mut self.shared.context(seq);
        let now = cx.now();
        cx.leases_mut().late(name, now, packets, seq);
        cx.at_hop(seq, |cx| self.controllers.heartbeat_stopped(name, cx));
    }

    /// After an event while something is wrong: who hears of what has been committed.
    pub(super) fn afterwards(&mut self, seq: u64) {
        self.commits_heard(seq);
        self.put_right(seq);
    }

    /// After an event: a node that is shown as Unknown although its kubelet gets through is put
    /// right by the kubelet's status loop, which looks every 10 s.
    fn put_right(&mut self, seq: u64) {
        let mut wrong: VecDeque<u32> = VecDeque::new();
        for record in &self.shared.records {
            let What::Committed { kind: Kind::Node, log, user: User::Controller(_), .. } =
                record.what
            else {
                continue;
            };
            let change = self.shared.versions.change(Kind::Node, log);
            let Some(Obj::Node(node)) = change.map(|c| &c.value) else { continue };
            let ready = node.status.conditions.get(crate::api::pod::ConditionType::Ready);
            if ready.is_some_and(|c| c.status == crate::api::pod::Truth::Unknown) {
                wrong.extend(self.by_name.get(&node.meta.name.sym()));
            }
        }
        for node in wrong {
            if !self.links.holds(node) {
                self.nodes[node as usize].look_at_status(&mut self.shared.context(seq));
            }
        }
    }
}
