//! One row of traffic: its clients by node, grouped by what the rules of their nodes say; the
//! endpoints, in classes that fare alike; and the rates that follow.

use super::balancer::Checks;
use super::choice::{At, choose, is_local};
use super::station::{Outcome, Station};
use super::{Clients, OUTSIDE, RowSpec, World};
use crate::api::Uid;
use crate::api::service::Service;
use crate::engine::digest::mix;
use crate::engine::{Grid, Purpose, SimTime, Sym, num};
use crate::event::traffic::{CAUSES, Cause, Flow, Latencies};
use crate::event::{Context, Event, TrafficEvent, What};
use crate::node::proxy::{Proxies, View};
use crate::node::{Answers, Serving};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What distinguishes groups of clients: the version of the Service's endpoints that their nodes
/// have (none: no rules), and the node or zone that matters to the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    version: Option<u64>,
    near: Near,
    /// Something is cut: what reaches whom is a matter of each node.
    node: Option<u32>,
}

/// What of a node matters to the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Near {
    /// Nothing.
    All,
    /// Its zone, by the stable hash of its name.
    Zone(u64),
    /// The node itself.
    Node(u32),
}

/// Clients for whom the rules choose among the same endpoints.
#[derive(Debug, Clone)]
struct Group {
    clients: u64,
    /// A node of them.
    node: u32,
    /// The endpoints, by their place; none if the node has no rules for the Service.
    targets: Option<Vec<u32>>,
    /// With no endpoint, packets are dropped, and not rejected.
    drops: bool,
}

/// An endpoint.
#[derive(Debug, Clone)]
struct End {
    uid: Uid,
    node: u32,
    serving: Serving,
    class: Option<u32>,
    /// The instant at which its program is looked at anyway.
    armed: Option<SimTime>,
}

/// Endpoints that fare alike.
#[derive(Debug, Clone)]
struct Class {
    /// The groups that send to them, and those of which a cut keeps them away.
    groups: [SmallVec<[u32; 4]>; 2],
    serving: Serving,
    count: u32,
    outcome: Option<Arc<Outcome>>,
    /// Core-seconds of each of them since they were written down.
    spent: f64,
}

/// A node's place behind a load balancer.
#[derive(Debug, Clone, Copy)]
struct Behind {
    /// The load balancer sends to it.
    inside: bool,
    /// It passes the checks.
    healthy: bool,
    /// The verdict to come, if one is.
    number: u32,
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) spec: RowSpec,
    pub(super) rate: f64,
    /// Requests sent per second.
    pub(super) offered: f64,
    /// Clients whose programs run.
    pub(super) counted: FxHashSet<Uid>,
    station: Station,
    service: u32,
    /// Clients by node, and the group that they are in; none until they are placed.
    sources: BTreeMap<u32, (u64, Option<Key>)>,
    /// Nodes whose clients have no group.
    unplaced: BTreeSet<u32>,
    groups: BTreeMap<Key, Group>,
    ends: BTreeMap<u32, End>,
    by_uid: FxHashMap<Uid, u32>,
    next_end: u32,
    classes: Vec<Class>,
    /// Groups or endpoints have changed: classes must be made anew.
    stale: bool,
    /// Something is cut.
    cut: bool,
    behind: BTreeMap<u32, Behind>,
    /// The nodes that the load balancer has been told; all, if nobody tells it.
    listed: Option<BTreeSet<u32>>,
    cache: FxHashMap<(u64, u64, u32), Arc<Outcome>>,
    /// Up to when classes have been charged.
    charged: SimTime,
    /// What a request to a pod of another node takes longer, seconds.
    between: f64,
}

/// Name and zone of a node; of a sender outside, none.
fn place(node: u32, world: &impl World) -> (Sym, Sym) {
    if node == OUTSIDE { (Sym::EMPTY, Sym::EMPTY) } else { world.place(node) }
}

impl Row {
    pub(super) fn new(spec: &RowSpec, service: u32, between: f64) -> Self {
        Self {
            station: Station::new(&spec.request),
            spec: spec.clone(),
            rate: 0.0,
            offered: 0.0,
            counted: FxHashSet::default(),
            service,
            sources: BTreeMap::new(),
            unplaced: BTreeSet::new(),
            groups: BTreeMap::new(),
            ends: BTreeMap::new(),
            by_uid: FxHashMap::default(),
            next_end: 0,
            classes: Vec::new(),
            stale: true,
            cut: false,
            behind: BTreeMap::new(),
            listed: None,
            cache: FxHashMap::default(),
            charged: SimTime::ZERO,
            between,
        }
    }

    /// More clients send from a node.
    pub(super) fn enter(&mut self, node: u32, more: u64) {
        let (clients, key) = self.sources.entry(node).or_default();
        *clients += more;
        match key.and_then(|key| self.groups.get_mut(&key)) {
            Some(group) => group.clients += more,
            None => {
                self.unplaced.insert(node);
            }
        }
    }

    /// Fewer do.
    pub(super) fn exit(&mut self, node: u32, fewer: u64) {
        let Some((clients, key)) = self.sources.get_mut(&node) else { return };
        *clients -= fewer;
        let (empty, key) = (*clients == 0, *key);
        if let Some(key) = key {
            self.shrink(key, fewer);
        }
        if empty {
            self.sources.remove(&node);
        }
    }

    fn shrink(&mut self, key: Key, fewer: u64) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        group.clients -= fewer;
        if group.clients == 0 {
            self.groups.remove(&key);
            self.stale = true;
        }
    }

    /// The rules of a node have changed: true if clients of this row are there.
    pub(super) fn moved(&mut self, node: u32, proxies: &Proxies) -> bool {
        let Some(&(clients, old)) = self.sources.get(&node) else { return false };
        let version = self.view(node, proxies).map(|v| v.at);
        if old.is_some_and(|key| key.version == version) {
            return false;
        }
        if let Some(old) = old {
            self.shrink(old, clients);
        }
        if let Some(source) = self.sources.get_mut(&node) {
            source.1 = None;
            self.unplaced.insert(node);
        }
        true
    }

    /// The endpoints have changed for all who know them themselves.
    pub(super) fn all_moved(&mut self, proxies: &Proxies) -> bool {
        if !self.spec.direct {
            return false;
        }
        let nodes: Vec<u32> = self.sources.keys().copied().collect();
        let moved = nodes.into_iter().map(|node| self.moved(node, proxies));
        moved.fold(false, |any, one| any | one)
    }

    /// The endpoints as those who send from a node have them.
    fn view<'p>(&self, node: u32, proxies: &'p Proxies) -> Option<&'p Arc<View>> {
        if self.spec.direct {
            proxies.latest(self.service)
        } else {
            proxies.view(node, self.service)
        }
    }

    /// Something else is cut, or nothing is any more.
    pub(super) fn apart(&mut self, cut: bool) {
        self.cut = cut;
        self.stale = true;
        self.groups.clear();
        self.sources.values_mut().for_each(|source| source.1 = None);
        self.unplaced = self.sources.keys().copied().collect();
    }

    /// Puts clients that have no group into theirs.
    fn place(&mut self, world: &impl World, proxies: &Proxies) {
        while let Some(node) = self.unplaced.pop_first() {
            let Some(&(clients, None)) = self.sources.get(&node) else { continue };
            let view = self.view(node, proxies).cloned();
            let key = self.key(node, view.as_deref(), world);
            if let Some(group) = self.groups.get_mut(&key) {
                group.clients += clients;
            } else {
                let group = self.group(node, clients, view.as_deref(), world);
                self.groups.insert(key, group);
                self.stale = true;
            }
            if let Some(source) = self.sources.get_mut(&node) {
                source.1 = Some(key);
            }
        }
    }

    fn outside(&self) -> bool {
        matches!(self.spec.from, Clients::Outside(_))
    }

    fn key(&self, node: u32, view: Option<&View>, world: &impl World) -> Key {
        let ruled = view.filter(|_| !self.spec.direct);
        let near = ruled.map_or(Near::All, |view| {
            let local = view.service.as_ref().is_some_and(|s| is_local(s, self.outside()));
            if local || view.endpoints.iter().any(|e| !e.hint_node.is_empty()) {
                Near::Node(node)
            } else if view.endpoints.iter().any(|e| !e.hint_zone.is_empty()) {
                Near::Zone(place(node, world).1.stable_hash())
            } else {
                Near::All
            }
        });
        Key { version: view.map(|v| v.at), near, node: self.cut.then_some(node) }
    }

    fn group(&mut self, node: u32, clients: u64, view: Option<&View>, world: &impl World) -> Group {
        let (name, zone) = place(node, world);
        let at = At { node: name, zone, outside: self.outside() };
        let view = view.and_then(|v| Some((v.service.clone()?, &v.endpoints)));
        let Some((service, endpoints)) = view else {
            return Group { clients, node, targets: None, drops: true };
        };
        // Policies and hints are for the rules of nodes.
        let plain = self.spec.direct.then(|| Arc::new(Service::default()));
        let service = plain.unwrap_or(service);
        let chosen = choose(&service, endpoints, at);
        let targets = chosen.into_iter().map(|i| {
            let endpoint = &endpoints[i];
            self.end(endpoint.uid, world.node(endpoint.node).unwrap_or(u32::MAX))
        });
        let targets = Some(targets.collect());
        Group { clients, node, targets, drops: is_local(&service, self.outside()) }
    }

    /// The place of an endpoint.
    fn end(&mut self, uid: Uid, node: u32) -> u32 {
        if let Some(&place) = self.by_uid.get(&uid) {
            return place;
        }
        let place = self.next_end;
        self.next_end += 1;
        let serving = Serving {
            answers: Answers::Nobody,
            until: None,
            cores: 0.0,
            slow: 1,
            drains: crate::engine::SimDuration::ZERO,
            told: false,
        };
        self.by_uid.insert(uid, place);
        self.ends.insert(place, End { uid, node, serving, class: None, armed: None });
        place
    }

    /// A pod is looked at: true if it serves otherwise than before.
    pub(super) fn look(
        &mut self,
        row: u32,
        pod: Uid,
        world: &impl World,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(place) = self.by_uid.get(&pod).copied() else { return false };
        self.look_at(row, place, world, cx)
    }

    /// All endpoints of a node are looked at.
    pub(super) fn look_at_node(
        &mut self,
        row: u32,
        node: u32,
        world: &impl World,
        cx: &mut Context<'_>,
    ) -> bool {
        let here = self.ends.iter().filter(|(_, e)| e.node == node).map(|(place, _)| *place);
        let here: Vec<u32> = here.collect();
        let mut changed = false;
        for place in here {
            changed |= self.look_at(row, place, world, cx);
        }
        changed
    }

    fn look_at(&mut self, row: u32, place: u32, world: &impl World, cx: &mut Context<'_>) -> bool {
        let now = cx.now();
        let Some(end) = self.ends.get(&place) else { return false };
        let (uid, node) = (end.uid, end.node);
        let mut serving = end.serving;
        serving.answers = Answers::Nobody;
        serving.until = None;
        if node != u32::MAX && world.stands(node) {
            serving = world.serving(node, uid, now);
        }
        let old = end.serving;
        if old.answers == Answers::Program && serving.answers != Answers::Program {
            self.lose(row, place, serving, cx);
        }
        let Some(end) = self.ends.get_mut(&place) else { return false };
        let changed = (old.answers, old.slow) != (serving.answers, serving.slow)
            || old.cores.to_bits() != serving.cores.to_bits();
        end.serving = Serving { until: None, ..serving };
        if let Some(at) = serving.until.filter(|at| end.armed != Some(*at)) {
            end.armed = Some(at);
            let event = TrafficEvent::Listens { pod: uid };
            cx.schedule(at.max(now), Event::Traffic(event));
        }
        self.stale |= changed;
        changed
    }

    /// A program ceases to answer: requests that it has begun are lost, but for those that it ends
    /// in the time that it takes to stop.
    fn lose(&mut self, row: u32, place: u32, now: Serving, cx: &mut Context<'_>) {
        let class = self.ends.get(&place).and_then(|e| e.class);
        let Some(class) = class.and_then(|i| self.classes.get(i as usize)) else { return };
        let Some(outcome) = class.outcome.as_deref() else { return };
        let mut late = (*outcome.latency).clone();
        let all = late.total();
        let graceful = now.answers == Answers::Refuses && now.told;
        let lost = if graceful && all > 0.0 { late.cut(now.drains.secs_f64()) / all } else { 1.0 };
        let count = outcome.inside * lost;
        if count <= 0.0 {
            return;
        }
        let cause = if now.answers == Answers::Nobody { Cause::Unreachable } else { Cause::Reset };
        cx.fold(count.to_bits());
        cx.record(What::Lost { row, cause, count });
    }

    /// Brings groups, endpoints and classes up to date; gives the pods that are endpoints from now
    /// on, and those that are no more.
    pub(super) fn rebuild(
        &mut self,
        row: u32,
        (world, proxies): (&impl World, &Proxies),
        cx: &mut Context<'_>,
    ) -> (Vec<Uid>, Vec<Uid>) {
        let before = self.next_end;
        self.place(world, proxies);
        self.charge(cx.now());
        if !self.stale {
            return (Vec::new(), Vec::new());
        }
        let fresh: Vec<u32> = (before..self.next_end).collect();
        for &place in &fresh {
            self.look_at(row, place, world, cx);
        }
        let known = fresh.iter().filter_map(|place| self.ends.get(place)).map(|e| e.uid).collect();
        self.fold(cx);
        let gone = self.classify(world);
        self.stale = false;
        (known, gone)
    }

    /// Makes the classes anew; gives the pods that nobody is sent to any more.
    fn classify(&mut self, world: &impl World) -> Vec<Uid> {
        let mut members: BTreeMap<u32, SmallVec<[u32; 4]>> = BTreeMap::new();
        for (i, group) in self.groups.values().enumerate() {
            for &place in group.targets.iter().flatten() {
                members.entry(place).or_default().push(num::u32_of(i));
            }
        }
        let unused = self.ends.keys().filter(|place| !members.contains_key(place)).copied();
        let mut gone = Vec::new();
        for place in unused.collect::<Vec<u32>>() {
            if let Some(end) = self.ends.remove(&place) {
                self.by_uid.remove(&end.uid);
                gone.push(end.uid);
            }
        }
        let nodes: Vec<u32> = self.groups.values().map(|g| g.node).collect();
        type Fate = ([SmallVec<[u32; 4]>; 2], Answers, u64, u32);
        let mut by_fate: BTreeMap<Fate, u32> = BTreeMap::new();
        self.classes.clear();
        for (place, groups) in members {
            let Some(end) = self.ends.get_mut(&place) else { continue };
            let apart = |g: &u32| self.cut && world.blocked(nodes[*g as usize], end.node);
            let (blocked, open): (SmallVec<[u32; 4]>, _) = groups.into_iter().partition(apart);
            let serving = end.serving;
            let groups = [open, blocked];
            let fate = (groups.clone(), serving.answers, serving.cores.to_bits(), serving.slow);
            let next = num::u32_of(by_fate.len());
            let class = *by_fate.entry(fate).or_insert(next);
            if class == next {
                self.classes.push(Class { groups, serving, count: 0, outcome: None, spent: 0.0 });
            }
            self.classes[class as usize].count += 1;
            end.class = Some(class);
        }
        gone
    }

    /// Charges pods for what they have served up to an instant.
    fn charge(&mut self, now: SimTime) {
        let span = now.since(self.charged).secs_f64();
        self.charged = now;
        for class in &mut self.classes {
            class.spent += class.outcome.as_ref().map_or(0.0, |o| o.cores) * span;
        }
    }

    /// Writes down what pods have spent.
    pub(super) fn fold(&mut self, cx: &mut Context<'_>) {
        self.charge(cx.now());
        for end in self.ends.values() {
            let Some(class) = end.class.and_then(|i| self.classes.get(i as usize)) else {
                continue;
            };
            if class.spent > 0.0 {
                *cx.traffic_mut().spent.entry(end.uid).or_default() += class.spent;
            }
        }
        self.classes.iter_mut().for_each(|class| class.spent = 0.0);
    }

    /// The rates that follow; `extra` seconds pass until requests reach a pod, and some fail
    /// before.
    pub(super) fn evaluate(
        &mut self,
        (extra, before): (f64, [f64; CAUSES]),
        cx: &mut Context<'_>,
    ) -> Flow {
        self.charge(cx.now());
        let clients: u64 = self.groups.values().map(|g| g.clients).sum();
        let mut flow = Flow::default();
        if self.rate <= 0.0 || clients == 0 && self.spec.through.is_none() {
            self.classes.iter_mut().for_each(|class| class.outcome = None);
            return flow;
        }
        flow.offered = self.rate;
        flow.failing = before.map(|share| share * self.rate);
        let resolved = (self.rate - flow.failing.iter().sum::<f64>()).max(0.0);
        if clients == 0 {
            // They came to a controller of which nobody is left.
            flow.failing[Cause::Unreachable as usize] += resolved;
        }
        // What each group sends to one of its endpoints.
        let mut each = Vec::with_capacity(self.groups.len());
        for group in self.groups.values() {
            let rate = resolved * num::float_u(group.clients) / num::float_u(clients.max(1));
            let n = group.targets.as_ref().map_or(0, Vec::len);
            if n == 0 {
                let cause = if group.drops { Cause::Unreachable } else { Cause::NoEndpoints };
                flow.failing[cause as usize] += rate;
            }
            each.push(rate / num::float(num::i64_of(n)).max(1.0));
        }
        let near = self.near(&each);
        let mut latency = Latencies::default();
        for i in 0..self.classes.len() {
            let class = &self.classes[i];
            let [open, blocked] = [0, 1]
                .map(|side| class.groups[side].iter().map(|g| each[*g as usize]).sum::<f64>());
            let (count, serving) = (f64::from(class.count), class.serving);
            flow.failing[Cause::Unreachable as usize] += count * blocked;
            let outcome = match serving.answers {
                Answers::Program => {
                    let far =
                        near.get(i).map_or(0.0, |near| 1.0 - near / (count * open).max(1e-12));
                    Some(self.mixed(open, serving, (extra, far)))
                }
                Answers::Refuses => {
                    flow.failing[Cause::Refused as usize] += count * open;
                    None
                }
                Answers::Nobody => {
                    flow.failing[Cause::Unreachable as usize] += count * open;
                    None
                }
            };
            if let Some(outcome) = &outcome {
                flow.failing[Cause::Overloaded as usize] += count * open * outcome.refused;
                flow.failing[Cause::TimedOut as usize] += count * open * outcome.late;
                latency.add_all(&outcome.latency, count * open);
            }
            self.classes[i].outcome = outcome;
        }
        flow.latency = Arc::new(latency);
        flow
    }

    /// What each class is sent from its own nodes, per second; nothing where that makes no
    /// difference. Clients come and go without a change of classes, so this is counted each time:
    /// one look per endpoint and group, in scenarios with a network between nodes alone.
    fn near(&self, each: &[f64]) -> Vec<f64> {
        if self.between <= 0.0 {
            return Vec::new();
        }
        let numbers: BTreeMap<Key, u32> = self.groups.keys().copied().zip(0..).collect();
        let clients: Vec<u64> = self.groups.values().map(|g| g.clients).collect();
        let mut near = vec![0.0; self.classes.len()];
        for end in self.ends.values() {
            let here = self.sources.get(&end.node).and_then(|(n, key)| Some((*n, (*key)?)));
            let Some((n, group)) = here.and_then(|(n, key)| Some((n, *numbers.get(&key)?))) else {
                continue;
            };
            let Some(place) = end.class.map(|c| c as usize) else { continue };
            if self.classes.get(place).is_some_and(|c| c.groups[0].contains(&group)) {
                let group = group as usize;
                let share = num::float_u(n) / num::float_u(clients[group].max(1));
                near[place] += each[group] * share;
            }
        }
        near
    }

    /// The outcome for requests of which a share comes from other nodes than the pod's.
    fn mixed(&mut self, rate: f64, serving: Serving, (extra, far): (f64, f64)) -> Arc<Outcome> {
        let far = far.clamp(0.0, 1.0);
        if self.between <= 0.0 || self.spec.from == Clients::Direct {
            return self.outcome(rate, serving, extra);
        }
        let ends = [(extra, 1.0 - far), (extra + self.between, far)];
        let mut parts: SmallVec<[(Arc<Outcome>, f64); 2]> = SmallVec::new();
        for (extra, share) in ends.into_iter().filter(|(_, share)| *share > 1e-9) {
            parts.push((self.outcome(rate, serving, extra), share));
        }
        if let [(only, _)] = parts.as_slice() {
            return Arc::clone(only);
        }
        let mut latency = Latencies::default();
        let mut late = 0.0;
        for (outcome, share) in &parts {
            latency.add_all(&outcome.latency, *share);
            late += outcome.late * share;
        }
        let (first, _) = &parts[0];
        Arc::new(Outcome { late, latency: Arc::new(latency), ..(**first).clone() })
    }

    fn outcome(&mut self, rate: f64, serving: Serving, extra: f64) -> Arc<Outcome> {
        /// Results that are kept.
        const KEPT: usize = 512;
        let key = (rate.to_bits(), mix(serving.cores.to_bits(), extra.to_bits()), serving.slow);
        if let Some(known) = self.cache.get(&key) {
            return Arc::clone(known);
        }
        if self.cache.len() >= KEPT {
            self.cache.clear();
        }
        let outcome = self.station.outcome(rate, serving.cores, serving.slow, extra);
        let outcome = Arc::new(outcome);
        self.cache.insert(key, Arc::clone(&outcome));
        outcome
    }

    /// A node is behind the load balancer.
    pub(super) fn stands_behind(&mut self, node: u32) {
        let behind = Behind { inside: true, healthy: true, number: 0 };
        self.behind.insert(node, behind);
        self.enter(node, 1);
    }

    /// Whether a node passes the checks: it stands, and if only endpoints of its own may be sent to
    /// (`externalTrafficPolicy: Local`), its proxy says that it has a ready one.
    /// Source: `proxy/healthcheck/service_health.go`.
    fn passes(&self, node: u32, world: &impl World, proxies: &Proxies) -> bool {
        let local = |view: &View| {
            view.service.as_ref().is_none_or(|s| !s.external_local) || {
                let name = world.place(node).0;
                view.endpoints.iter().any(|e| e.ready && e.node == name)
            }
        };
        world.stands(node) && self.view(node, proxies).is_none_or(|view| local(view))
    }

    /// Something has happened to a node that the load balancer's checks may see.
    pub(super) fn check(
        &mut self,
        row: u32,
        node: u32,
        (checks, world, proxies): (Checks, &impl World, &Proxies),
        cx: &mut Context<'_>,
    ) {
        let passes = self.passes(node, world, proxies);
        // A machine that has come later passes the checks first.
        let new = Behind { inside: false, healthy: false, number: 0 };
        let behind = self.behind.entry(node).or_insert(new);
        if behind.healthy == passes {
            return;
        }
        behind.healthy = passes;
        // A load balancer of local endpoints came with its Service, and began without any.
        if behind.number == 0 && behind.inside && world.stands(node) {
            (behind.number, behind.inside) = (1, false);
            self.exit(node, 1);
            return;
        }
        self.judge(row, node, checks, cx);
    }

    /// The verdict of a node changes after so many checks.
    fn judge(&mut self, row: u32, node: u32, checks: Checks, cx: &mut Context<'_>) {
        let listed = self.listed.as_ref().is_none_or(|nodes| nodes.contains(&node));
        let Some(behind) = self.behind.get_mut(&node) else { return };
        behind.number += 1;
        if behind.inside == (behind.healthy && listed) {
            return;
        }
        let entity = mix(self.spec.name.stable_hash(), u64::from(node));
        let grid = Grid::drawn(cx.draws(), entity, Purpose("load balancer"), checks.every);
        let needed = if behind.healthy { checks.healthy } else { checks.unhealthy };
        let at = grid.after(cx.now()) + checks.every.times(u64::from(needed.max(1) - 1));
        let number = behind.number;
        cx.schedule(at, Event::Traffic(TrafficEvent::Checked { row, node, number }));
    }

    /// The load balancer has come to another verdict of a node.
    pub(super) fn checked(&mut self, node: u32, number: u32) -> bool {
        let Some(behind) = self.behind.get_mut(&node).filter(|b| b.number == number) else {
            return false;
        };
        behind.inside = !behind.inside;
        if behind.inside {
            self.enter(node, 1);
        } else {
            self.exit(node, 1);
        }
        true
    }

    /// The load balancer is told its nodes: no connection more comes to one that is not among them,
    /// and one that is new passes the checks first. True if it sends to others at once.
    pub(super) fn told(
        &mut self,
        row: u32,
        nodes: &BTreeSet<u32>,
        checks: Checks,
        cx: &mut Context<'_>,
    ) -> bool {
        let before = self.listed.replace(nodes.clone());
        let was = |node: &u32| before.as_ref().is_none_or(|before| before.contains(node));
        let turned = |node: &u32| was(node) != nodes.contains(node);
        let turned: Vec<u32> = self.behind.keys().copied().filter(turned).collect();
        let mut others = false;
        for node in turned {
            if nodes.contains(&node) {
                self.judge(row, node, checks, cx);
            } else if let Some(behind) = self.behind.get_mut(&node) {
                behind.number += 1;
                if std::mem::take(&mut behind.inside) {
                    self.exit(node, 1);
                    others = true;
                }
            }
        }
        others
    }
}
