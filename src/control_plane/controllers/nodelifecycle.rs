//! Node lifecycle: notices missing heartbeats, marks nodes Unknown, taints them
//! (source: `ctl/nodelifecycle/node_lifecycle_controller.go`).
//!
//! Heartbeats are no events (see `event/lease`), so the monitor's 5 s grid is armed only where a
//! tick could see something: at the end of a grace period, and while a node is not yet as it should
//! be. Writes are repeated by the next tick until the cache shows them.

use super::support::{Reporter, condition, reports, text};
use super::zones::Zones;
use crate::api::node::{Node, keys};
use crate::api::pod::{ConditionType, Effect, Taint, Truth};
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::versions::Change;
use crate::api::{Kind, Name, Obj, Pod};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{Draws, Grid, Purpose, SimDuration, SimTime, Sym};
use crate::event::{Context, ControllerEvent, Event, What};
use std::sync::Arc;

const PERIOD: SimDuration = SimDuration::from_secs(5);
const STARTUP_GRACE: SimDuration = SimDuration::from_secs(60);
/// Distance of the passes that put `NoExecute` taints (source: `scheduler.NodeEvictionPeriod`).
const PASS: SimDuration = SimDuration::from_millis(100);
const UNKNOWN_REASON: &str = "NodeStatusUnknown";

/// A node that a tick has to look at.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    node: Sym,
    /// The record that all writes about it follow from; 0 until something was noticed.
    evidence: u64,
}

/// The node lifecycle controller.
#[derive(Debug, Clone)]
pub struct NodeLifecycle {
    reporter: Reporter,
    row: u8,
    grid: Grid,
    passes: Grid,
    grace: SimDuration,
    suspects: Vec<Suspect>,
    zones: Zones,
    /// When the next monitor tick and the next taint pass happen, if armed.
    monitor_at: Option<SimTime>,
    pass_at: Option<SimTime>,
    /// Probe times were reset then (all zones had been down).
    probes_reset: SimTime,
    managed: [(ConditionType, Truth, Sym); 6],
    unschedulable: Sym,
}

impl NodeLifecycle {
    /// A controller in this row, with the grace period for heartbeats.
    #[must_use]
    pub fn new(row: u8, grace: SimDuration, draws: &Draws) -> Self {
        let entity = Sym::new("node-lifecycle-controller").stable_hash();
        let grid = Grid::drawn(draws, entity, Purpose("node monitor"), PERIOD);
        Self {
            reporter: Reporter::new("node-controller", "node-controller"),
            row,
            grid,
            passes: Grid::drawn(draws, entity, Purpose("taint pass"), PASS),
            grace,
            suspects: Vec::new(),
            zones: Zones::default(),
            monitor_at: None,
            pass_at: None,
            probes_reset: SimTime::ZERO,
            managed: [
                (ConditionType::Ready, Truth::False, keys::NOT_READY.into()),
                (ConditionType::Ready, Truth::Unknown, keys::UNREACHABLE.into()),
                (ConditionType::MemoryPressure, Truth::True, keys::MEMORY_PRESSURE.into()),
                (ConditionType::DiskPressure, Truth::True, keys::DISK_PRESSURE.into()),
                (ConditionType::PidPressure, Truth::True, keys::PID_PRESSURE.into()),
                (ConditionType::NetworkUnavailable, Truth::True, keys::NETWORK_UNAVAILABLE.into()),
            ],
            unschedulable: keys::UNSCHEDULABLE.into(),
        }
    }

    /// A controller that starts late gives every node a whole grace period from there.
    pub fn began(&mut self, now: SimTime) {
        self.probes_reset = now;
    }

    /// The renewals of a node have stopped: arms the tick at which that can first be seen.
    pub fn heartbeat_stopped(&mut self, node: Sym, cx: &mut Context<'_>) {
        self.suspect(node);
        let last = cx.leases().last_seen(node, cx.now(), cx.draws()).unwrap_or(cx.now());
        self.arm_monitor((last + self.grace).max(cx.now()), cx);
    }

    fn suspect(&mut self, node: Sym) {
        if !self.suspects.iter().any(|s| s.node == node) {
            self.suspects.push(Suspect { node, evidence: 0 });
        }
    }

    /// Arms the first monitor tick after an instant.
    fn arm_monitor(&mut self, t: SimTime, cx: &mut Context<'_>) {
        let at = self.grid.after(t);
        if self.monitor_at.is_none_or(|armed| at < armed) {
            self.monitor_at = Some(at);
            self.tick_at(at, cx);
        }
    }

    fn arm_pass(&mut self, t: SimTime, cx: &mut Context<'_>) {
        let at = self.passes.at_or_after(t);
        if self.pass_at.is_none_or(|armed| at < armed) {
            self.pass_at = Some(at);
            self.tick_at(at, cx);
        }
    }

    fn tick_at(&self, at: SimTime, cx: &mut Context<'_>) {
        let event = ControllerEvent::Tick;
        cx.schedule(at, Event::Controller { controller: self.row, event });
    }

    fn taint(&self, key: Sym, effect: Effect, cx: &Context<'_>) -> Taint {
        Taint { key, value: Sym::EMPTY, effect, added: cx.stamp() }
    }

    /// Key of the taint that this state of Ready asks for.
    fn ready_key(&self, ready: Truth) -> Option<Sym> {
        match ready {
            Truth::True => None,
            Truth::False => Some(self.managed[0].2),
            Truth::Unknown => Some(self.managed[1].2),
        }
    }

    /// The `NoSchedule` taints that conditions and spec ask for.
    /// Source: `doNoScheduleTaintingPass`.
    fn wanted(&self, node: &Node) -> Vec<Sym> {
        let holds =
            |kind, status| node.status.conditions.get(kind).is_some_and(|c| c.status == status);
        let by_condition = self.managed.iter().filter(|(kind, status, _)| holds(*kind, *status));
        let mut wanted: Vec<Sym> = by_condition.map(|m| m.2).collect();
        if node.unschedulable {
            wanted.push(self.unschedulable);
        }
        wanted
    }

    fn on_node(&mut self, change: &Change, before: Option<&Obj>, cx: &mut Context<'_>) {
        let Some(node) = change.value.as_node() else { return };
        let name = node.meta.name.sym();
        if change.deleted {
            self.zones.remove(name);
            self.suspects.retain(|s| s.node != name);
            return;
        }
        let ready = ready(node);
        let zone = node.meta.labels.get(keys::ZONE.into()).unwrap_or_default();
        self.zones.put(name, zone, ready == Truth::True);
        let was = before.and_then(Obj::as_node).map(|n| self::ready(n));
        // A taint may be seen only after the node was seen to be back.
        let stale = ready == Truth::True && node.taints.iter().any(|t| self.own_no_execute(t));
        let settled = was == Some(ready) && !stale && !self.untainted(node);
        if settled && self.suspects.iter().all(|s| s.node != name) {
            return;
        }
        let silent = !cx.leases().renewing(name);
        if ready != Truth::True || silent || stale {
            self.suspect(name);
        }
        if !settled || silent {
            self.arm_monitor(cx.now(), cx);
        }
    }

    /// A ready node was seen to become Unknown: its pods follow. Upstream's monitor does so once
    /// its own update has been answered, which is the same moment.
    fn on_silence(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) {
        let was_ready = before.and_then(Obj::as_node).is_some_and(|n| ready(n) == Truth::True);
        let Some(node) = change.value.as_node().filter(|_| was_ready && !change.deleted) else {
            return;
        };
        if ready(node) == Truth::Unknown {
            let name = node.meta.name.sym();
            let suspect = self.suspects.iter().find(|s| s.node == name);
            let hop = suspect.map_or(0, |s| s.evidence);
            let hop = if hop == 0 { cx.seq() } else { hop };
            cx.at_hop(hop, |cx| self.mark_pods(name, true, caches, cx));
        }
    }

    fn own_no_execute(&self, taint: &Taint) -> bool {
        let own = taint.key == self.managed[0].2 || taint.key == self.managed[1].2;
        own && taint.effect == Effect::NoExecute
    }

    /// A node that is not ready and does not have the taint for it. With its taint it rests: a
    /// machine that is away for days is looked at again when something is heard of it.
    fn untainted(&self, node: &Node) -> bool {
        self.ready_key(ready(node)).is_some_and(|key| {
            !node.taints.iter().any(|t| t.key == key && t.effect == Effect::NoExecute)
        })
    }

    /// The monitor's look at all suspects. Source: `monitorNodeHealth`.
    fn monitor(&mut self, caches: &Cache, cx: &mut Context<'_>) {
        let mut again: Option<SimTime> = None;
        let mut kept = Vec::new();
        let mut silent = Vec::new();
        for suspect in std::mem::take(&mut self.suspects) {
            let found = caches.named(cx.versions(), Kind::Node, Sym::EMPTY, suspect.node.into());
            let Some(node) = found.and_then(|(_, obj)| obj.as_node()).cloned() else { continue };
            let (suspect, next) = self.examine(suspect, &node, caches, &mut silent, cx);
            if let Some(next) = next {
                again = Some(again.map_or(next, |a| a.min(next)));
            }
            if next.is_some() || self.untainted(&node) {
                kept.push(suspect);
            }
        }
        self.suspects = kept;
        self.disruption(&silent, caches, cx);
        if let Some(at) = again {
            self.arm_monitor(at, cx);
        }
    }

    /// One node: gives when to look again, if a later tick could see something new.
    fn examine(
        &mut self,
        mut suspect: Suspect,
        node: &Arc<Node>,
        caches: &Cache,
        silent: &mut Vec<Sym>,
        cx: &mut Context<'_>,
    ) -> (Suspect, Option<SimTime>) {
        let now = cx.now();
        let observed = ready(node);
        let due = self.last_probe(node, cx) + self.grace_of(node);
        let expired = now > due && observed != Truth::Unknown;
        let mut next =
            (observed == Truth::True && !cx.leases().renewing(suspect.node)).then_some(due);
        if expired {
            let cause = cx.leases().stopped_by(suspect.node).unwrap_or(cx.seq());
            let what = What::Noticed {
                who: Sym::new("node-lifecycle-controller"),
                node: suspect.node,
                step: "lease not renewed for the grace period",
            };
            suspect.evidence = cx.hop(cause, what);
            silent.push(suspect.node);
            cx.at_hop(suspect.evidence, |cx| self.mark_unknown(node, cx));
            next = Some(now);
        }
        if suspect.evidence == 0 {
            suspect.evidence = cx.seq();
        }
        let wrote = cx.at_hop(suspect.evidence, |cx| {
            // Pods that the first round (once the node was seen Unknown) has missed.
            let pods = observed != Truth::True && self.mark_pods(suspect.node, false, caches, cx);
            // The taint goes by what was observed before this pass.
            self.no_execute(node, observed, cx) || pods
        });
        (suspect, if wrote { Some(now) } else { next })
    }

    fn grace_of(&self, node: &Node) -> SimDuration {
        let reported = node.status.conditions.get(ConditionType::Ready).is_some();
        if reported { self.grace } else { STARTUP_GRACE }
    }

    /// The last sign of life that the controller has seen.
    fn last_probe(&self, node: &Node, cx: &Context<'_>) -> SimTime {
        let lease = cx.leases().last_seen(node.meta.name.sym(), cx.now(), cx.draws());
        let made = cx.time_of(node.meta.created);
        let report = cx.leases().last_report(node.meta.name.sym(), cx.now(), cx.draws());
        let status =
            SimTime(node.status.heartbeat_ns).min(cx.now()).max(report.unwrap_or_default());
        lease.unwrap_or_default().max(status).max(made).max(self.probes_reset)
    }

    fn mark_unknown(&mut self, node: &Node, cx: &mut Context<'_>) {
        let mut status = node.status.clone();
        let known = |kind| node.status.conditions.get(kind).is_some();
        for kind in [
            ConditionType::Ready,
            ConditionType::MemoryPressure,
            ConditionType::DiskPressure,
            ConditionType::PidPressure,
        ] {
            let (reason, message) = if known(kind) {
                (UNKNOWN_REASON, "Kubelet stopped posting node status.")
            } else {
                ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
            };
            status.conditions.set(condition(kind, Truth::Unknown, reason, message, cx));
        }
        let changed = Node { status, ..node.clone() };
        let op = Op::UpdateStatus(Obj::Node(Arc::new(changed)));
        self.reporter.send(Kind::Node, Sym::EMPTY, node.meta.name, op, cx);
        let message = text(&format!("Node {} status is now: NodeNotReady", node.meta.name));
        self.reporter.normal(Kind::Node, &node.meta, "NodeNotReady", message, cx);
    }

    /// Pods of a node that is not ready are not ready either. Says whether any still was.
    fn mark_pods(&mut self, node: Sym, first: bool, caches: &Cache, cx: &Context<'_>) -> bool {
        let mut any = false;
        for object in caches.on_node(node) {
            let obj = caches.get(cx.versions(), Kind::Pod, *object);
            let Some(pod) = obj.and_then(Obj::as_pod).filter(|p| p.ready()) else { continue };
            any = true;
            let mut condition = condition(ConditionType::Ready, Truth::False, "", "", cx);
            if let Some(old) = pod.status.condition(ConditionType::Ready) {
                (condition.reason, condition.message) = (old.reason, old.message);
            }
            let mut changed = Pod::clone(pod);
            changed.status.conditions.set(condition);
            let op = Op::UpdateStatus(Obj::Pod(Arc::new(changed)));
            self.reporter.send(Kind::Pod, pod.meta.ns, pod.meta.name, op, cx);
            if first {
                let message = text("Node is not ready");
                self.reporter.warning(Kind::Pod, &pod.meta, "NodeNotReady", message, cx);
            }
        }
        any
    }

    /// Brings the `NoExecute` taint in line, or queues the node for it. Says whether anything is
    /// still to be done. Source: `processTaintBaseEviction`.
    fn no_execute(&mut self, node: &Node, observed: Truth, cx: &mut Context<'_>) -> bool {
        let name = node.meta.name.sym();
        let wanted = self.ready_key(observed);
        let own: Vec<Taint> =
            node.taints.iter().filter(|t| self.own_no_execute(t)).copied().collect();
        let wrong: Vec<Taint> = own.iter().filter(|t| Some(t.key) != wanted).copied().collect();
        let Some(key) = wanted else {
            self.zones.dequeue(name);
            return self.patch_taints(node, &wrong, &[], cx);
        };
        if !wrong.is_empty() {
            let add = [self.taint(key, Effect::NoExecute, cx)];
            return self.patch_taints(node, &wrong, &add, cx);
        }
        if own.is_empty() && self.zones.enqueue(name) {
            self.arm_pass(cx.now(), cx);
        }
        false
    }

    fn patch_taints(
        &mut self,
        node: &Node,
        remove: &[Taint],
        add: &[Taint],
        cx: &Context<'_>,
    ) -> bool {
        if remove.is_empty() && add.is_empty() {
            return false;
        }
        let op = Op::NodeTaints { remove: remove.into(), add: add.into() };
        self.reporter.send(Kind::Node, Sym::EMPTY, node.meta.name, op, cx);
        true
    }

    /// Source: `handleDisruption`.
    fn disruption(&mut self, silent: &[Sym], caches: &Cache, cx: &mut Context<'_>) {
        let was_all = self.zones.all_down;
        let changed = self.zones.judge(silent, cx.now());
        if self.zones.all_down && !was_all {
            for object in caches.list(Kind::Node) {
                let obj = caches.get(cx.versions(), Kind::Node, *object);
                let Some(node) = obj.and_then(Obj::as_node).cloned() else { continue };
                let own: Vec<Taint> =
                    node.taints.iter().filter(|t| self.own_no_execute(t)).copied().collect();
                self.zones.dequeue(node.meta.name.sym());
                self.patch_taints(&node, &own, &[], cx);
            }
        }
        if was_all && !self.zones.all_down {
            self.probes_reset = cx.now();
            // Whoever is still silent gets a whole grace period from here.
            self.arm_monitor(cx.now(), cx);
        }
        if changed && let Some(at) = self.zones.next_turn(cx.now()) {
            self.arm_pass(at, cx);
        }
    }

    /// Puts `NoExecute` taints, as the rate of each zone allows. Source: `doNoExecuteTaintingPass`.
    fn pass(&mut self, caches: &Cache, cx: &mut Context<'_>) {
        for name in self.zones.take(cx.now()) {
            let found = caches.named(cx.versions(), Kind::Node, Sym::EMPTY, name.into());
            let Some(node) = found.and_then(|(_, obj)| obj.as_node()).cloned() else { continue };
            let Some(key) = self.ready_key(ready(&node)) else { continue };
            let evidence = self.suspects.iter().find(|s| s.node == name).map_or(0, |s| s.evidence);
            let hop = if evidence == 0 { cx.seq() } else { evidence };
            let add = [self.taint(key, Effect::NoExecute, cx)];
            cx.at_hop(hop, |cx| self.patch_taints(&node, &[], &add, cx));
            // A patch that gets lost is found missing by the monitor, which queues the node again.
            self.arm_monitor(cx.now() + PERIOD, cx);
        }
        if let Some(at) = self.zones.next_turn(cx.now()) {
            self.arm_pass(at.max(cx.now() + PASS), cx);
        }
    }
}

/// Status of condition Ready; Unknown if there is none.
fn ready(node: &Node) -> Truth {
    node.status.conditions.get(ConditionType::Ready).map_or(Truth::Unknown, |c| c.status)
}

/// What a sync remembers: whether the patch is on its way.
#[derive(Debug, Clone, Copy, Default)]
pub struct State {
    patched: bool,
}

impl Reconcile for NodeLifecycle {
    type State = State;

    reports!(8);

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        self.on_node(change, before, cx);
        self.on_silence(change, before, caches, cx);
        if let Some(node) = change.value.as_node().filter(|_| !change.deleted) {
            let wanted = self.wanted(node);
            if self.no_schedule_patch(node, &wanted, cx).is_some() {
                wake.push((Key::of(&change.value), SimDuration::ZERO));
            }
        }
    }

    fn on_tick(
        &mut self,
        caches: &Cache,
        cx: &mut Context<'_>,
        _wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let now = cx.now();
        if self.monitor_at.take_if(|at| *at <= now).is_some() {
            self.monitor(caches, cx);
        }
        if self.pass_at.take_if(|at| *at <= now).is_some() {
            self.pass(caches, cx);
        }
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        if state.patched {
            let failed = matches!(answers.first(), Some(Err(e)) if *e != ApiError::NotFound);
            return if failed { Next::Retry } else { Next::Done };
        }
        let found = caches.named(cx.versions(), Kind::Node, Sym::EMPTY, key.name);
        let Some((object, Obj::Node(node))) = found else { return Next::Done };
        let wanted = self.wanted(node);
        let Some(op) = self.no_schedule_patch(node, &wanted, cx) else { return Next::Done };
        state.patched = true;
        let name: Name = key.name;
        Next::Call(vec![Call { kind: Kind::Node, ns: Sym::EMPTY, name, target: Some(object), op }])
    }
}

impl NodeLifecycle {
    fn no_schedule_patch(&self, node: &Node, wanted: &[Sym], cx: &Context<'_>) -> Option<Op> {
        let own = |key: Sym| key == self.unschedulable || self.managed.iter().any(|m| m.2 == key);
        let have = |t: &&Taint| t.effect == Effect::NoSchedule && own(t.key);
        let there: Vec<Sym> = node.taints.iter().filter(have).map(|t| t.key).collect();
        let remove: Vec<Taint> =
            node.taints.iter().filter(have).filter(|t| !wanted.contains(&t.key)).copied().collect();
        let missing = wanted.iter().filter(|key| !there.contains(key));
        let add: Vec<Taint> = missing.map(|key| self.taint(*key, Effect::NoSchedule, cx)).collect();
        let any = !remove.is_empty() || !add.is_empty();
        any.then(|| Op::NodeTaints { remove: remove.into(), add: add.into() })
    }
}
