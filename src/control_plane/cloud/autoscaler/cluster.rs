//! The cluster autoscaler: every scan it asks the cloud for its groups, sees to machines that do
//! not come, grows a group for pods that fit nowhere, and takes away nodes that are not needed
//! (source: behaviour reference §5.1, read from `CA:FAQ.md`; the order of a scan is that of
//! `CA:core/static_autoscaler.go` `RunOnce`).
//!
//! A scan that could find nothing new does not happen: one is armed, at the next tick of
//! `--scan-interval`, when something has been delivered that it looks at, and for the instant at
//! which one of its own delays ends.

use super::super::config::CloudConfig;
use super::config::ClusterFlags;
use super::drain::{Drained, Drains};
use super::scaledown::ScaleDown;
use super::simulation::{Mirror, News, Profiles, ready};
use super::{EVENT, rearm, reply};
use crate::api::node::{Node, keys};
use crate::api::request::{Op, Outcome, Request, User};
use crate::api::versions::Change;
use crate::api::workload::Generic;
use crate::api::{Kind, Meta, Name, Obj, Pod, Stamp};
use crate::client::{Broadcaster, RateLimiter};
use crate::control_plane::scheduler::config::SchedulerConfig;
use crate::engine::{Grid, Purpose, SimDuration, SimTime, Sym, num};
use crate::event::cloud::{CloudAnswer, CloudCall, CloudOp, Customer, Listing, Machine, Phase};
use crate::event::{AutoscalerEvent, Context, What};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name of its service account, and of the source of its events.
pub(super) const NAME: &str = "cluster-autoscaler";
/// The taint of a node that is taken away.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";
/// Requests per second to the API server (source: `--kube-client-qps`, `--kube-client-burst`).
const LIMIT: (f64, u32) = (5.0, 10);
/// A node that is not ready may still become so for so long after it was made (source:
/// `CA:clusterstate/clusterstate.go` `MaxNodeStartupTime`).
const STARTUP: SimDuration = SimDuration::from_secs(15 * 60);
/// The ConfigMap of its status.
const STATUS: &str = "cluster-autoscaler-status";

/// A group that failed is left alone for a while.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backoff {
    /// Until then.
    pub(super) until: SimTime,
    span: SimDuration,
    last: SimTime,
    /// It has been grown since the last failure, and machines have been seen on their way.
    pub(super) asked: bool,
    growing: bool,
}

/// The cluster autoscaler.
#[derive(Debug, Clone)]
pub struct ClusterAutoscaler {
    pub(super) config: Arc<CloudConfig>,
    pub(super) flags: ClusterFlags,
    pub(super) profiles: Profiles,
    pub(super) mirror: Mirror,
    pub(super) limiter: RateLimiter,
    grid: Option<Grid>,
    armed: Option<(SimTime, u64)>,
    asked: bool,
    pub(super) listing: Listing,
    pub(super) backoffs: Vec<Backoff>,
    /// Machines without a Node, and since when each has been seen so.
    unregistered: BTreeMap<&'static str, SimTime>,
    events: Broadcaster,
    /// When it has last grown a group, and how often it has.
    pub(super) last_grown: Option<SimTime>,
    pub(super) grown: u64,
    pub(super) down: ScaleDown,
    pub(super) drains: Drains,
    /// What it has last said about a pod that no group helps.
    pub(super) said: BTreeMap<super::simulation::Place, Sym>,
    status: Sym,
}

impl ClusterAutoscaler {
    pub(super) fn new(
        config: &Arc<CloudConfig>,
        flags: &ClusterFlags,
        scheduler: &SchedulerConfig,
    ) -> Self {
        let patience = (flags.max_pod_eviction_time, flags.max_graceful_termination);
        Self {
            config: Arc::clone(config),
            flags: flags.clone(),
            profiles: Profiles::new(scheduler),
            mirror: Mirror::default(),
            limiter: RateLimiter::new(LIMIT.0, LIMIT.1),
            grid: None,
            armed: None,
            asked: false,
            listing: Listing::default(),
            backoffs: vec![Backoff::default(); config.groups.len()],
            unregistered: BTreeMap::new(),
            events: Broadcaster::default(),
            last_grown: None,
            grown: 0,
            down: ScaleDown::default(),
            drains: Drains::new(
                (NAME.into(), TO_BE_DELETED.into()),
                (Some(patience.0), Some(patience.1)),
                flags.node_delete_delay_after_taint,
            ),
            said: BTreeMap::new(),
            status: Sym::EMPTY,
        }
    }

    pub(super) fn on_change(&mut self, change: &Change, cx: &mut Context<'_>) {
        if self.mirror.apply(change, cx) != News::None {
            self.down.hear();
            self.arm(cx.now(), cx);
        }
    }

    /// A scan at the first tick that is not before an instant.
    fn arm(&mut self, at: SimTime, cx: &mut Context<'_>) {
        let period = self.flags.scan_interval;
        let grid = *self
            .grid
            .get_or_insert_with(|| Grid::drawn(cx.draws(), 0, Purpose("autoscaler-scan"), period));
        let at = grid.after(SimTime(at.max(cx.now()).0.saturating_sub(1)));
        let at = if at <= cx.now() { grid.after(cx.now()) } else { at };
        rearm(&mut self.armed, at, cx);
    }

    pub(super) fn handle(&mut self, event: AutoscalerEvent, cx: &mut Context<'_>) {
        match event {
            AutoscalerEvent::Scan => {
                self.armed = None;
                // A scan that lasts longer than the interval delays the next one.
                if !std::mem::replace(&mut self.asked, true) {
                    self.ask(CloudOp::List, cx);
                }
            }
            AutoscalerEvent::Drain(number) => self.look_at_drain(number, cx),
            AutoscalerEvent::Batch(_) => {}
        }
    }

    /// Sends a message to the cloud. What becomes of it shows in the next listing.
    #[expect(clippy::unused_self, reason = "as a client would")]
    pub(super) fn ask(&mut self, op: CloudOp, cx: &mut Context<'_>) {
        let token = u32::from(matches!(op, CloudOp::List));
        cx.ask_cloud(CloudCall { from: Customer::Autoscaler, token, op, answer: None });
    }

    pub(super) fn on_cloud(&mut self, token: u32, answer: CloudAnswer, cx: &mut Context<'_>) {
        self.asked &= token != 1;
        match answer {
            CloudAnswer::List(listing) => {
                self.listing = listing;
                self.scan(cx);
            }
            // Whatever was asked for is found missing by the next scan.
            CloudAnswer::Failed(_) | CloudAnswer::Done => self.arm(cx.now(), cx),
            CloudAnswer::Machine(_) | CloudAnswer::Address(_) => {}
        }
    }

    pub(super) fn on_answer(&mut self, token: u32, outcome: &Outcome, cx: &mut Context<'_>) {
        if token == EVENT {
            return self.events.answered(&mut self.limiter, reply(EVENT), cx);
        }
        self.drains.on_answer(token, outcome, cx);
    }

    /// The Node of a machine, if it serves.
    pub(super) fn node_of(&self, machine: &Machine) -> Option<Arc<Node>> {
        let node = self.mirror.cache.node_named(machine.name)?;
        let known = !node.taints.iter().any(|t| t.key.as_str() == keys::UNINITIALIZED);
        (ready(&node) && known).then_some(node)
    }

    /// True if a machine has a Node, whatever its state.
    pub(super) fn registered(&self, machine: &Machine) -> bool {
        self.mirror.cache.node_named(machine.name).is_some()
    }

    /// True if a machine is still to become a node that serves; one that has broken since is not
    /// (source: `GetUpcomingNodes`).
    pub(super) fn upcoming(&self, machine: &Machine, (now, stamp): (SimTime, Stamp)) -> bool {
        let Some(node) = self.mirror.cache.node_named(machine.name) else {
            let since = self.unregistered.get(machine.name.as_str());
            return since
                .is_none_or(|&since| now.since(since) <= self.flags.max_node_provision_time);
        };
        self.node_of(machine).is_none() && young(&node, stamp)
    }

    /// Machines of groups that it may change, but for those that end.
    pub(super) fn own(&self) -> impl Iterator<Item = &Machine> {
        let bounded = |m: &&Machine| self.config.group(m.group).bounds.is_some();
        self.listing.machines.iter().filter(|m| m.phase == Phase::Running).filter(bounded)
    }

    fn scan(&mut self, cx: &mut Context<'_>) {
        self.mirror.cache.settle();
        self.note_unregistered(cx.now());
        self.see_growth(cx);
        self.give_up_missing(cx);
        let mut next = self.give_up_unregistered(cx);
        if self.healthy(cx.stamp()) {
            let grew = self.scale_up(cx);
            next = next.into_iter().chain(self.scale_down(grew, cx)).min();
        }
        next = next.into_iter().chain(self.matters_to_pods(cx)).chain(self.down.recheck()).min();
        self.tell_status(cx);
        if let Some(at) = next {
            self.arm(at.max(cx.now() + SimDuration(1)), cx);
        }
    }

    /// When something ends that keeps pods waiting: a back-off, the time that they are given
    /// before they count, that of a node to become ready.
    fn matters_to_pods(&self, cx: &Context<'_>) -> Option<SimTime> {
        let (now, pending) = (cx.now(), &self.mirror.pending);
        if pending.is_empty() {
            return None;
        }
        let backoffs = self.backoffs.iter().map(|b| b.until);
        let counted = pending.values().map(|p| p.since + self.flags.new_pod_scale_up_delay);
        let starting = self.own().filter(|m| self.node_of(m).is_none());
        let nodes = starting.filter_map(|m| self.mirror.cache.node_named(m.name));
        let started = nodes.map(|node| cx.time_of(node.meta.created) + STARTUP);
        backoffs.chain(counted).chain(started).filter(|at| *at > now).min()
    }

    /// Does nothing while too many nodes are not ready; those that have just come do not count
    /// (source: `IsClusterHealthy`).
    fn healthy(&self, now: Stamp) -> bool {
        let all = self.mirror.cache.order().len().max(1);
        let broken = |node: &Node| !ready(node) && !young(node, now);
        let unready = (0..self.mirror.cache.order().len())
            .filter(|&at| broken(self.mirror.cache.node(at)))
            .count();
        unready <= self.flags.ok_total_unready_count as usize
            || 100 * unready <= self.flags.max_total_unready_percentage as usize * all
    }

    /// Machines without a Node are given time from when they are first seen so (source:
    /// `getNotRegisteredNodes`).
    fn note_unregistered(&mut self, now: SimTime) {
        let mut before = std::mem::take(&mut self.unregistered);
        let waits = self.own().filter(|m| !self.registered(m)).map(|m| m.name.as_str());
        self.unregistered = waits.map(|m| (m, before.remove(m).unwrap_or(now))).collect();
    }

    /// A group all of whose new machines have come may fail afresh (source: `RemoveBackoff`).
    fn see_growth(&mut self, cx: &Context<'_>) {
        let (now, n) = ((cx.now(), cx.stamp()), self.config.groups.len());
        let mut there = vec![0_u32; n];
        for machine in self.own().filter(|m| !self.upcoming(m, now)) {
            there[usize::from(machine.group)] += 1;
        }
        for (i, state) in self.listing.groups.iter().take(n).enumerate() {
            let backoff = &mut self.backoffs[i];
            if state.desired > there[i] {
                backoff.growing = backoff.asked;
            } else if backoff.growing {
                *backoff = Backoff::default();
            }
        }
    }

    /// Machines that the cloud does not have: the group is left alone for a while, and is to wait
    /// for them no longer (source: `deleteCreatedNodesWithErrors`).
    fn give_up_missing(&mut self, cx: &mut Context<'_>) {
        let groups = Arc::clone(&self.listing.groups);
        for (i, state) in groups.iter().enumerate() {
            let group = u16::try_from(i).unwrap_or(u16::MAX);
            let Some((n, error)) = state.missing else { continue };
            if self.config.group(group).bounds.is_none() {
                continue;
            }
            // What is still missing of a failure that is known is no other one.
            if self.backoffs[i].until <= cx.now() {
                self.back_off(group, error.text(), cx);
            }
            self.ask(CloudOp::Shrink { group, by: u16::try_from(n).unwrap_or(u16::MAX) }, cx);
        }
    }

    /// Machines that have not registered in time are ended; says when the next one is due.
    fn give_up_unregistered(&mut self, cx: &mut Context<'_>) -> Option<SimTime> {
        let (now, patience) = (cx.now(), self.flags.max_node_provision_time);
        let since = |m: &Machine| self.unregistered.get(m.name.as_str()).copied();
        let late = |m: &&Machine| since(m).is_some_and(|since| now.since(since) > patience);
        let late: Vec<Machine> = self.own().filter(late).copied().collect();
        let mut groups: Vec<u16> = Vec::new();
        for machine in late {
            let who = Sym::new(NAME);
            let step = "machine has not registered in time";
            let hop = cx.record(What::Noticed { who, node: machine.name, step });
            cx.at_hop(hop, |cx| {
                // Machines that fail together are one failure of their group.
                if !groups.contains(&machine.group) {
                    groups.push(machine.group);
                    self.back_off(machine.group, "timed out", cx);
                }
                self.ask(CloudOp::Terminate { machine: machine.name }, cx);
            });
        }
        let due = self.unregistered.values().map(|since| *since + patience + SimDuration(1));
        due.filter(|at| *at > now).min()
    }

    /// Leaves a group alone: 5 min at first, twice as long if it fails again once that is over,
    /// 30 min at most, and 5 min again after three quiet hours (source:
    /// `CA:utils/backoff/exponential_backoff.go`).
    fn back_off(&mut self, group: u16, why: &str, cx: &mut Context<'_>) {
        let (flags, now) = (&self.flags, cx.now());
        let backoff = &mut self.backoffs[usize::from(group)];
        let fresh = backoff.span == SimDuration::ZERO
            || backoff.until >= now
            || now.since(backoff.last) > flags.node_group_backoff_reset_timeout;
        backoff.span = if fresh {
            flags.initial_node_group_backoff_duration
        } else {
            backoff.span.times(2).min(flags.max_node_group_backoff_duration)
        };
        let span = backoff.span;
        *backoff = Backoff { until: now + span, span, last: now, ..Backoff::default() };
        let name = self.config.group(group).name;
        let text = format!("Failed adding nodes to group {name} due to {why}; backed off {span}");
        let meta = Meta::named(Sym::new("kube-system"), STATUS.into());
        self.say((Kind::ConfigMap, &meta), (true, "FailedToScaleUpGroup"), &text, cx);
    }

    /// A Kubernetes Event.
    pub(super) fn say(
        &mut self,
        about: (Kind, &Meta),
        (warning, reason): (bool, &str),
        words: &str,
        cx: &mut Context<'_>,
    ) {
        self.events.push(cx.seq(), event(NAME, about, (warning, reason), words, cx));
        self.events.post(&mut self.limiter, reply(EVENT), cx);
    }

    /// An Event about a pod.
    pub(super) fn say_of_pod(
        &mut self,
        pod: &Pod,
        reason: &str,
        words: &str,
        cx: &mut Context<'_>,
    ) {
        self.say((Kind::Pod, &pod.meta), (false, reason), words, cx);
    }

    fn look_at_drain(&mut self, number: u32, cx: &mut Context<'_>) {
        let cache = &self.mirror.cache;
        let there = |object| cache.pod(object).is_some();
        let looked = self.drains.look(number, &mut self.limiter, there, cx);
        match looked {
            Some((node, Drained::Done)) => {
                self.ask(CloudOp::Terminate { machine: node }, cx);
                self.down.deleted(node, cx.now());
                self.arm(cx.now(), cx);
            }
            Some((node, Drained::Failed)) => self.drain_failed(node, cx),
            Some((_, Drained::Working)) | None => {}
        }
    }

    /// Its status, as `kubectl -n kube-system get configmap cluster-autoscaler-status` shows it: it
    /// is written when it says something else than before.
    fn tell_status(&mut self, cx: &mut Context<'_>) {
        let mut lines = String::from("clusterWide:\n");
        let all = self.mirror.cache.order().len();
        let serve = self.own().filter(|m| self.node_of(m).is_some()).count();
        lines.push_str(&format!("  nodes: {all}\n  scaleDownCandidates: {}\n", self.down.count()));
        lines.push_str(&format!("  ready: {serve}\nnodeGroups:\n"));
        for (i, group) in self.config.groups.iter().enumerate() {
            let Some((min, max)) = group.bounds else { continue };
            let state = self.listing.groups.get(i).copied().unwrap_or_default();
            let backs = if self.backoffs[i].until > cx.now() { "Backoff" } else { "Healthy" };
            lines.push_str(&format!(
                "- name: {}\n  target: {}\n  minSize: {min}\n  maxSize: {max}\n  scaleUp: {backs}\n",
                group.name, state.desired
            ));
        }
        let status = Sym::new(&lines);
        if std::mem::replace(&mut self.status, status) == status {
            return;
        }
        let doc = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"status": lines}});
        let meta = Meta::named(Sym::new("kube-system"), STATUS.into());
        let (ns, name) = (meta.ns, meta.name);
        let object = Obj::Generic(Kind::ConfigMap, Arc::new(Generic { meta, doc: Arc::new(doc) }));
        let user = User::Controller(NAME.into());
        let request = Context::request(user, Kind::ConfigMap, ns, name, Op::Apply(object));
        let at = self.limiter.reserve(cx.now());
        cx.submit(at, request, None);
    }

    /// Room of a group: how many machines it may have more.
    pub(super) fn room(&self, group: u16) -> u32 {
        let Some((_, max)) = self.config.group(group).bounds else { return 0 };
        let state = self.listing.groups.get(usize::from(group)).copied().unwrap_or_default();
        let total = self.flags.max_nodes_total;
        let room = max.saturating_sub(state.desired);
        if total == 0 {
            return room;
        }
        room.min(total.saturating_sub(num::u32_of(self.mirror.cache.order().len())))
    }
}

/// True of a node that was made so lately that it may still be starting.
fn young(node: &Node, now: Stamp) -> bool {
    SimDuration::from_secs(now.secs_since(node.meta.created)) < STARTUP
}

/// A request for a Kubernetes Event.
pub(super) fn event(
    component: &str,
    (kind, meta): (Kind, &Meta),
    (warning, reason): (bool, &str),
    words: &str,
    cx: &Context<'_>,
) -> Request {
    use crate::api::kevent::{KEvent, Source, Text};
    let ns = if meta.ns.is_empty() { Sym::new("default") } else { meta.ns };
    let about = (kind, ns, meta.name, meta.uid);
    let source = Source::Controller(component.into());
    let said = (warning, reason.into(), Text::Plain(Sym::new(words)));
    let event = KEvent::new(about, said, source, cx.stamp());
    let op = Op::CreateEvent(Arc::new(event), 0);
    let name: Name = meta.name;
    Context::request(User::Controller(component.into()), Kind::Event, ns, name, op)
}

#[cfg(test)]
mod tests {
    use super::super::super::config::{CloudLatencies, Provider, Quota};
    use super::*;
    use crate::event::cloud::Offer;

    fn autoscaler() -> ClusterAutoscaler {
        let config = CloudConfig {
            provider: Provider::Aws,
            region: Sym::EMPTY,
            types: Vec::new(),
            groups: Vec::new(),
            quota: Quota::default(),
            stock_outs: Vec::new(),
            latency: CloudLatencies::of(Provider::Aws),
            spot_life: None,
            failures: 0.0,
            limit: (0.0, 0),
            routes: false,
            repairs: false,
            manager_limit: (0.0, 0),
            autoscaler: None,
        };
        let flags = ClusterFlags::default();
        ClusterAutoscaler::new(&Arc::new(config), &flags, &SchedulerConfig::default())
    }

    /// A node that is not ready.
    fn add(it: &mut ClusterAutoscaler, name: &str, created: u32) {
        let mut node = Node::default();
        node.meta.name = Name::new(name);
        node.meta.created = Stamp(created);
        it.mirror.cache.set_node(&Arc::new(node), 0);
        it.mirror.cache.settle();
    }

    #[test]
    fn nodes_that_have_just_come_are_not_taken_for_broken_ones() {
        let mut it = autoscaler();
        (0..10).for_each(|i| add(&mut it, &format!("pool-{i}"), 1000));
        assert!(it.healthy(Stamp(1899)));
        assert!(!it.healthy(Stamp(1900)));
    }

    #[test]
    fn a_machine_is_upcoming_until_its_time_is_over() {
        let mut it = autoscaler();
        let offer = Offer { kind: 0, zone: Sym::EMPTY, spot: false };
        let machine = |name: &str| {
            let (name, phase, since) = (name.into(), Phase::Running, SimTime::ZERO);
            Machine { name, group: 0, offer, phase, since, notice: false }
        };
        let at = |s: u32| (SimTime::from_secs(u64::from(s)), Stamp(s));
        // Not registered: from when it was first seen so.
        assert!(it.upcoming(&machine("pool-0"), at(5000)));
        it.unregistered.insert("pool-0", SimTime::from_secs(5000));
        assert!(it.upcoming(&machine("pool-0"), at(5900)));
        assert!(!it.upcoming(&machine("pool-0"), at(5901)));
        // Not ready: from when its Node was made.
        add(&mut it, "pool-1", 5000);
        assert!(it.upcoming(&machine("pool-1"), at(5899)));
        assert!(!it.upcoming(&machine("pool-1"), at(5900)));
    }
}
