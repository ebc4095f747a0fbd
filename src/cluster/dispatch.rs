//! The wiring: who gets which event. One exhaustive match; nothing else connects components.

use super::Cluster;
use super::control::mirror::is_mirror;
use super::faults::{Blow, ails, blow, victims};
use super::links::Links;
use super::outages::Part;
use super::spec::{Component, Fault, FaultKind, Whom};
use crate::api::Kind;
use crate::api::versions::Change;
use crate::control_plane::apiserver::fairness::Crowd;
use crate::control_plane::cloud::manager::FIRST_ROW;
use crate::engine::digest::mix;
use crate::engine::id::Id;
use crate::engine::queue::Entry;
use crate::engine::{SimTime, Sym};
use crate::event::{Address, AutoscalerEvent, Canary, Event, NodeEvent, Role, What};
use std::hash::{Hash, Hasher};
use std::sync::atomic::AtomicU64;

/// A hasher that gives the same number everywhere: events are folded into the digest through it.
#[derive(Debug, Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0, crate::engine::digest::hash_bytes(bytes));
    }
    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }
    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = mix(self.0, n);
    }
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
    fn write_isize(&mut self, n: isize) {
        self.write_u64(n.unsigned_abs() as u64);
    }
}

/// A fault is over, but what it struck stays away for another one.
pub const HELD: &str = "fault over, another one lasts";

/// What [`Canary::Unstable`] lets a run depend on.
static BEFORE: AtomicU64 = AtomicU64::new(0);

/// The bug that loses deliveries to a kind of component.
const fn lost(role: Role) -> Option<Canary> {
    match role {
        Role::Scheduler => Some(Canary::LostSchedulerEvent),
        Role::ControllerManager => Some(Canary::LostControllerEvent),
        Role::Kubelet => Some(Canary::LostKubeletEvent),
        Role::User
        | Role::ApiServer
        | Role::MetricsServer
        | Role::Candidate
        | Role::Proxies
        | Role::Clients
        | Role::CloudManager
        | Role::Autoscaler => None,
    }
}

impl Cluster {
    /// Handles the next event; gives it, or none if nothing is pending.
    pub fn step(&mut self) -> Option<Entry<Event>> {
        let entry = self.pop()?;
        self.carry_out(&entry);
        Some(entry)
    }

    /// Takes the next event, which must then be carried out.
    pub fn pop(&mut self) -> Option<Entry<Event>> {
        self.shared.pop()
    }

    /// Handles an event.
    pub fn carry_out(&mut self, entry: &Entry<Event>) {
        self.events += 1;
        let mut fold = Fold(entry.time.0);
        entry.event.hash(&mut fold);
        self.shared.digest.word(fold.finish());
        if self.shared.tracing {
            let Entry { seq, cause, time, event } = *entry;
            let what = What::Event(event);
            self.shared.records.push(crate::event::Record { seq, time, cause, what });
        }
        if self.shared.planted == Some(Canary::Unstable) {
            self.shared.digest.word(BEFORE.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
        self.dispatch(entry);
        if self.links.busy() {
            self.afterwards(entry.seq);
        }
        if self.shared.traffic.on {
            self.settle_requests(entry.seq);
        }
    }

    /// How a storm is: events at one instant in another order, a bug planted.
    pub fn weather(&mut self, shuffle: bool, planted: Option<Canary>) {
        self.shared.shuffle = shuffle.then(|| mix(self.plan.seed, 0x0057_0238));
        self.shared.planted = planted;
    }

    fn dispatch(&mut self, entry: &Entry<Event>) {
        if self.links.busy() && self.intercepts(entry) {
            return;
        }
        if let Some(until) = self.deferred(&entry.event) {
            // What was meant for an earlier life is not kept for the present one.
            let (scheduler, controllers) = (&self.lives.scheduler, &self.lives.controllers);
            let late = matches!(entry.event, Event::Scheduler(_)) && !scheduler.hears(entry.seq)
                || matches!(entry.event, Event::Controller { .. }) && !controllers.hears(entry.seq);
            if !late {
                self.shared.context(entry.seq).schedule(until, entry.event);
            }
            return;
        }
        let cx = &mut self.shared.context(entry.seq);
        match entry.event {
            Event::Api(event) => {
                self.api.handle(event, cx);
                if self.api.take_changed() {
                    self.recheck(entry.seq);
                }
            }
            Event::Scheduler(event) => {
                if self.lives.scheduler.hears(entry.seq) {
                    self.scheduler.handle(event, cx);
                }
            }
            Event::Controller { controller, event } if controller >= FIRST_ROW => {
                if let Some(clouds) = &mut self.cloud {
                    clouds.manager.handle(controller, event, cx);
                }
            }
            Event::Controller { controller, event } => {
                if self.lives.controllers.hears(entry.seq) {
                    self.controllers.handle(controller, event, cx);
                }
            }
            Event::Registry(event) => self.registry.handle(event, cx),
            Event::Scrape => {
                self.tally_requests(entry.seq);
                self.metrics.scrape(&mut self.shared.context(entry.seq));
            }
            Event::Outage(event) => self.outage(event, entry.seq),
            Event::User(event) => self.driver.handle(event, cx),
            Event::Watch { watch } => {
                let riders = self.api.watches.take_riders(watch);
                let mut copy = None;
                self.deliver(watch, entry.seq, &mut copy);
                for rider in riders {
                    self.deliver(rider, entry.seq, &mut copy);
                }
            }
            Event::Answer { to, token, request } => self.answer(to, token, request, entry.seq),
            Event::Node { node, incarnation, event } => {
                if self.nodes[node as usize].lives(incarnation) {
                    self.node_event(node, event, entry.seq);
                }
            }
            Event::Fault { fault, end } => self.fault(fault, end, entry.seq),
            Event::Control(event) => self.control_event(event, entry.seq),
            Event::Trouble(event) => self.trouble(event, entry.seq),
            Event::Proxy(event) => self.proxy_event(event, entry.seq),
            Event::Traffic(event) => self.traffic_event(event, entry.seq),
            Event::Cloud(event) => self.cloud_event(event, entry.seq),
            Event::Autoscaler(event) => self.autoscaler_event(event, entry.seq),
            Event::LogStore => self.log_store(entry.seq),
        }
    }

    /// An event of a node that lives.
    fn node_event(&mut self, node: u32, event: NodeEvent, seq: u64) {
        if event == NodeEvent::Register {
            self.begin_register(node, seq);
        } else if event == NodeEvent::PowerOff {
            self.power_off(node, seq);
        } else {
            self.nodes[node as usize].handle(event, &mut self.shared.context(seq));
            self.heed(node);
        }
    }

    /// An event of the autoscaler of nodes.
    fn autoscaler_event(&mut self, event: AutoscalerEvent, seq: u64) {
        if let Some(it) = self.cloud.as_mut().and_then(|c| c.autoscaler.as_mut()) {
            it.handle(event, &mut self.shared.context(seq));
        }
    }

    /// One change to one client.
    pub(super) fn hand_over(&mut self, client: Address, change: &Change, hop: u64) {
        let before = change.before.as_ref();
        let cx = &mut self.shared.context(hop);
        if lost(client.role).is_some_and(|canary| cx.strikes(canary, 40)) {
            return;
        }
        match client.role {
            Role::Scheduler => {
                let kind = change.value.kind();
                if kind == Kind::Pod {
                    self.scheduler.on_pod(change, before, cx);
                } else if kind == Kind::Node {
                    self.scheduler.on_node(change, before, cx);
                } else {
                    self.scheduler.on_other(kind, change, before, cx);
                }
            }
            Role::ControllerManager => self.controllers.on_change(change, before, cx),
            Role::Kubelet => {
                if !(self.links.busy() && self.posts(client, change, hop)) {
                    self.tell_kubelet(client, change, hop);
                }
            }
            Role::User => self.driver.on_pod(change, before, cx),
            Role::MetricsServer => self.metrics.on_pod(change),
            Role::Proxies | Role::Clients => self.tell_requests(client.role, change, hop),
            Role::CloudManager => {
                if let Some(clouds) = &mut self.cloud {
                    clouds.manager.on_change(change, before, cx);
                }
            }
            Role::Autoscaler => {
                if let Some(it) = self.cloud.as_mut().and_then(|c| c.autoscaler.as_mut()) {
                    it.on_change(change, cx);
                }
            }
            Role::ApiServer | Role::Candidate => {}
        }
    }

    /// A change reaches a kubelet, if that life of it still lasts.
    pub(super) fn tell_kubelet(&mut self, client: Address, change: &Change, hop: u64) {
        let node = &mut self.nodes[client.index as usize];
        if node.address() != client || !node.kubelet_up() {
            return;
        }
        if self.hides(change) {
            self.reconcile_mirror(change, hop);
        } else {
            let cx = &mut self.shared.context(hop);
            let node = &mut self.nodes[client.index as usize];
            if change.value.kind() == Kind::Pod {
                node.on_pod(change, cx);
            } else {
                node.on_config(change, cx);
            }
        }
    }

    /// The answer to a request reaches whoever sent it, if that life still lasts.
    fn answer(&mut self, to: Address, token: u32, request: Id, seq: u64) {
        let cx = &mut self.shared.context(seq);
        let Some(outcome) = cx.take_request(request).and_then(|r| r.outcome) else { return };
        match to.role {
            Role::Scheduler => {
                if self.lives.scheduler.awaits(to) {
                    self.scheduler.on_answer(token, &outcome, cx);
                }
            }
            Role::ControllerManager if !self.lives.controllers.awaits(to) => {}
            Role::ControllerManager => {
                let controller = u8::try_from(to.index).unwrap_or(u8::MAX);
                self.controllers.on_answer(controller, token, outcome, cx);
            }
            Role::Kubelet => {
                let node = &mut self.nodes[to.index as usize];
                if node.address() == to && node.kubelet_up() {
                    node.on_answer(token, &outcome, cx);
                    self.heed(to.index);
                }
            }
            Role::User => self.driver.on_answer(token, &outcome, cx),
            Role::Candidate => self.candidate_answer(to, token, &outcome, seq),
            Role::ApiServer | Role::MetricsServer | Role::Proxies | Role::Clients => {}
            Role::CloudManager => {
                if let Some(clouds) = &mut self.cloud {
                    clouds.manager.on_answer(to.index, token, outcome, cx);
                }
            }
            Role::Autoscaler => {
                if let Some(it) = self.cloud.as_mut().and_then(|c| c.autoscaler.as_mut()) {
                    it.on_answer(token, &outcome, cx);
                }
            }
        }
    }

    /// A kubelet knows its static pods from files, whatever the API shows of them.
    fn hides(&self, change: &Change) -> bool {
        self.control.is_some() && change.value.as_pod().is_some_and(|p| is_mirror(p))
    }

    /// A kubelet starts: it lists its pods, then watches from there on.
    pub(super) fn register(&mut self, index: u32, seq: u64) {
        let lag = self.plan.cluster.latency.watch;
        let agent = &mut self.nodes[index as usize];
        let cx = &mut self.shared.context(seq);
        agent.register(cx);
        cx.strikes_node(index);
        let (name, address) = (agent.name(), agent.address());
        self.api.watches.open_node(name, address, lag);
        self.list_node(index, seq);
        self.heed(index);
    }

    /// A kubelet watches what its pods have mounted.
    fn heed(&mut self, index: u32) {
        let lag = self.plan.cluster.latency.watch;
        let node = &mut self.nodes[index as usize];
        let address = node.address();
        for of in node.take_heeds() {
            self.api.watches.heed(of, address, lag);
        }
    }

    /// A kubelet lists the pods of its node: what it runs besides is to go.
    pub(super) fn list_node(&mut self, index: u32, seq: u64) {
        let name = self.nodes[index as usize].name();
        let hosted = self.control.is_some();
        let cx = &mut self.shared.context(seq);
        let mut pods: Vec<_> = cx
            .versions()
            .pods_on(name)
            .filter(|(_, pod)| !(hosted && is_mirror(pod)))
            .map(|(object, pod)| ((pod.meta.ns, pod.meta.name), object))
            .collect();
        pods.sort_by(|a, b| a.0.0.cmp_text(b.0.0).then(a.0.1.cmp_text(b.0.1)));
        let cx = &mut self.shared.context(seq);
        let agent = &mut self.nodes[index as usize];
        agent.forget_others(&pods.iter().map(|(_, object)| *object).collect(), cx);
        for (_, object) in pods {
            let known = agent.knows(object);
            if let Some(change) = cx.versions().listed(Kind::Pod, object) {
                agent.on_pod(&change, cx);
            }
            if known && hosted {
                agent.tell_again(object, cx);
            }
        }
    }

    /// A fault begins or ends.
    fn fault(&mut self, row: u32, end: bool, seq: u64) {
        let plan = std::sync::Arc::clone(&self.plan);
        let fault = &plan.faults[row as usize];
        self.fault_heard(row, end, seq);
        if end {
            self.faults_open -= 1;
            self.fault_ends(row, fault, seq);
            return;
        }
        let cx = &mut self.shared.context(seq);
        let mut struck = victims(row, fault, &self.nodes, cx);
        let until = fault.lasts.map_or(SimTime::MAX, |span| cx.now() + span);
        match fault.lasts {
            _ if Links::ends_itself(fault) => {}
            Some(span) => {
                cx.after(span, Event::Fault { fault: row, end: true });
            }
            None => self.faults_open -= 1,
        }
        if fault.what == FaultKind::SpaceAlarm {
            self.space_alarm(row, true);
        } else if let FaultKind::Overload(crowd) = fault.what {
            self.flood(row, Some(crowd), seq);
        } else if let Whom::Process(process, which) = &fault.whom {
            struck = self.struck_hosts(*process, which);
            for &host in &struck {
                self.strike_process(row, (fault.what, *process), host, until);
            }
        } else if let Whom::Component(component) = fault.whom {
            self.strike_component(row, fault.what, component);
        } else if let Whom::Registry(host) = fault.whom {
            self.switch_registry(row, host, false, seq);
        } else if fault.what == FaultKind::LogStoreDown {
            self.switch_log_store(row, false, seq);
        } else if let FaultKind::DeviceFailure(resource, n) = fault.what {
            self.switch_devices(row, (resource, -i64::from(n)), &struck, seq);
        } else if ails(fault.what) {
            self.struck[row as usize].clone_from(&struck);
            struck = self.ails(row, fault, struck, seq);
        } else {
            struck.extend(self.blacked_out(&fault.whom));
            for &node in &struck {
                self.strike(row, fault.what, node, seq);
            }
        }
        self.struck[row as usize] = struck;
    }

    /// Clients flood the API servers, or no longer do.
    fn flood(&mut self, row: u32, crowd: Option<Crowd>, seq: u64) {
        let step =
            if crowd.is_some() { "seats lost to a flood of requests" } else { "flood is over" };
        let node = Sym::new("kube-apiserver");
        let cx = &mut self.shared.context(seq);
        let hop = cx.hop(0, What::Fault { fault: row, node, step });
        cx.at_hop(hop, |cx| self.api.flood(row, crowd, cx));
    }

    /// A registry stops to answer, or answers again; empty text for all of them.
    fn switch_registry(&mut self, row: u32, host: Sym, up: bool, seq: u64) {
        let cx = &mut self.shared.context(seq);
        let step = if up { "registry answers again" } else { "registry stops to answer" };
        let node = if host.is_empty() { Sym::new("registry") } else { host };
        let hop = cx.hop(0, What::Fault { fault: row, node, step });
        for agent in &mut self.nodes {
            cx.at_hop(hop, |cx| agent.registry(host, up, cx));
        }
    }

    /// The store of logs fails, or one of the faults that keep it away is over.
    fn switch_log_store(&mut self, row: u32, up: bool, seq: u64) {
        let store = &mut self.shared.log_store;
        let was = store.down;
        store.down = if up { was.saturating_sub(1) } else { was + 1 };
        let step = match (up, self.shared.log_store.down) {
            (false, _) => "log store fails",
            (true, 0) => "log store takes logs again",
            (true, _) => HELD,
        };
        let cx = &mut self.shared.context(seq);
        let node = Sym::new("log store");
        let hop = cx.hop(0, What::Fault { fault: row, node, step });
        self.log_store(hop);
    }

    /// What each agent may ship has changed.
    fn log_store(&mut self, seq: u64) {
        for agent in &mut self.nodes {
            agent.log_store(&mut self.shared.context(seq));
        }
    }

    /// Devices of nodes become well again, or unhealthy (a negative number).
    fn switch_devices(&mut self, row: u32, (what, more): (Sym, i64), nodes: &[u32], seq: u64) {
        let step = if more < 0 { "devices fail" } else { "devices are well again" };
        for &index in nodes {
            let cx = &mut self.shared.context(seq);
            let agent = &mut self.nodes[index as usize];
            let hop = cx.hop(0, What::Fault { fault: row, node: agent.name(), step });
            cx.at_hop(hop, |cx| agent.devices(what, more, cx));
        }
    }

    fn fault_ends(&mut self, row: u32, fault: &Fault, seq: u64) {
        let struck = std::mem::take(&mut self.struck[row as usize]);
        if fault.what == FaultKind::SpaceAlarm {
            self.space_alarm(row, false);
        } else if matches!(fault.what, FaultKind::Overload(_)) {
            self.flood(row, None, seq);
        } else if let Whom::Process(process, _) = fault.whom {
            for host in struck {
                self.heal_process(row, (fault.what, process), host, seq);
            }
        } else if let Whom::Registry(host) = fault.whom {
            self.switch_registry(row, host, true, seq);
        } else if fault.what == FaultKind::LogStoreDown {
            self.switch_log_store(row, true, seq);
        } else if let FaultKind::DeviceFailure(resource, n) = fault.what {
            self.switch_devices(row, (resource, i64::from(n)), &struck, seq);
        } else if let Whom::Component(component) = fault.whom {
            self.heal_component(row, fault.what, component, seq);
        } else if ails(fault.what) {
            self.recovers(row, fault, &struck, seq);
        } else {
            if matches!(fault.what, FaultKind::Blackout(_)) {
                self.restore_store(row, seq);
            }
            for node in struck {
                self.heal(row, fault.what, node, seq);
            }
        }
    }

    /// A fault of networks, clocks or disks begins, or whoever runs the cluster begins something;
    /// gives the nodes that it strikes.
    fn ails(&mut self, row: u32, fault: &Fault, mut struck: Vec<u32>, seq: u64) -> Vec<u32> {
        let until = fault.lasts.map_or(SimTime::MAX, |span| self.shared.now() + span);
        if matches!(fault.what, FaultKind::Partition { .. }) {
            return self.network_fails(row, fault, seq);
        } else if fault.what == FaultKind::Freeze {
            self.freeze(row, &struck, until, seq);
        } else if let FaultKind::Network(packets) = fault.what {
            self.packets_late(row, packets, &struck);
        } else if let FaultKind::SlowNode(factor) = fault.what {
            self.slows_down(row, factor, &struck, seq);
        } else if let FaultKind::DiskFull(percent) = fault.what {
            self.disks_fill(row, percent, &struck, seq);
        } else if let FaultKind::Interrupt(notice) = fault.what {
            // Nobody runs a control plane on machines that may be taken.
            struck.retain(|&node| self.control.as_ref().is_none_or(|c| c.host_of(node).is_none()));
            self.struck[row as usize].clone_from(&struck);
            self.gives_notice(row, notice, &struck, seq);
            if struck.is_empty() && Links::ends_itself(fault) {
                self.faults_open -= 1;
                self.fault_heard(row, true, seq);
            }
        } else {
            self.upgrade_begins(row, &struck, seq);
        }
        struck
    }

    /// It ends.
    fn recovers(&mut self, row: u32, fault: &Fault, struck: &[u32], seq: u64) {
        if matches!(fault.what, FaultKind::Partition { .. }) {
            self.network_heals(row, struck, seq);
        } else if fault.what == FaultKind::Freeze {
            self.thaw(row, struck, seq);
        } else if matches!(fault.what, FaultKind::Network(_)) {
            self.packets_on_time(row, struck, seq);
        } else if matches!(fault.what, FaultKind::SlowNode(_)) {
            self.speeds_up(row, struck, seq);
        } else if matches!(fault.what, FaultKind::DiskFull(_)) {
            self.disks_empty(row, struck, seq);
        } else if matches!(fault.what, FaultKind::Interrupt(_)) {
            self.replaced(row, struck, seq);
        }
    }

    fn strike_component(&mut self, row: u32, what: FaultKind, component: Component) {
        let cx = &mut self.shared.context(0);
        let (node, restarts) = (Sym::new(component.name()), what == FaultKind::Restart);
        let step = if restarts { "process stops" } else { "connection lost" };
        let hop = cx.hop(0, What::Fault { fault: row, node, step });
        let part = if restarts { Part::Process } else { Part::Link };
        if !self.away.goes(part, component as u32) {
            return;
        }
        if restarts {
            self.stop_component(component);
        } else {
            self.connect_component(component, false, hop);
        }
    }

    fn heal_component(&mut self, row: u32, what: FaultKind, component: Component, seq: u64) {
        let cx = &mut self.shared.context(seq);
        let (node, restarts) = (Sym::new(component.name()), what == FaultKind::Restart);
        let part = if restarts { Part::Process } else { Part::Link };
        let last = self.away.comes(part, component as u32);
        let step = match (last, restarts) {
            (false, _) => HELD,
            (true, true) => "process starts",
            (true, false) => "network back",
        };
        let hop = cx.hop(0, What::Fault { fault: row, node, step });
        if !last {
            return;
        }
        if restarts {
            self.restart_component(component, hop);
        } else {
            self.connect_component(component, true, hop);
        }
    }

    pub(super) fn strike(&mut self, row: u32, what: FaultKind, index: u32, seq: u64) {
        let hits = blow(what);
        self.away.goes(hits.part(), index);
        let cx = &mut self.shared.context(seq);
        let agent = &mut self.nodes[index as usize];
        // A kubelet that is stopped, boots or waits for an API server is lost with its machine all
        // the same.
        let machine = matches!(hits, Blow::Machine | Blow::Orderly);
        let there = if machine { agent.machine_up() } else { agent.kubelet_up() };
        if !there {
            return;
        }
        let (node, address) = (agent.name(), agent.address());
        let step = match hits {
            Blow::Machine => "machine crashes",
            Blow::Orderly => "machine is told to shut down",
            Blow::Kubelet => "kubelet stops",
            Blow::Connection => "kubelet's connection lost",
        };
        // The plan says so: a first cause.
        let hop = cx.hop(0, What::Fault { fault: row, node, step });
        match hits {
            Blow::Machine => agent.crash(hop, cx),
            Blow::Orderly => return cx.at_hop(hop, |cx| agent.shut_down(cx)),
            Blow::Kubelet => agent.stop_kubelet(hop, cx),
            Blow::Connection => return self.connect(address, false, hop),
        }
        self.api.watches.close(address);
        cx.at_hop(hop, |cx| self.controllers.heartbeat_stopped(node, cx));
        self.forget_link(index, hits == Blow::Machine);
        if hits == Blow::Machine {
            self.machine_ends(index, hop);
            self.cloud_hears(node, false, hop);
        }
    }

    /// A machine that was told to shut down is off.
    fn power_off(&mut self, index: u32, seq: u64) {
        let node = self.nodes[index as usize].name();
        let what = What::Noticed { who: node, node, step: "machine is off" };
        let hop = self.shared.context(seq).record(what);
        self.goes_down(index, hop);
        // Who told it to go down may have wanted it back before it was off.
        if !self.away.holds(Part::Machine, index) {
            self.nodes[index as usize].power_on(&mut self.shared.context(hop));
        }
    }

    /// A machine has no power any more, and all that knows of it by its connection notices.
    pub(super) fn goes_down(&mut self, index: u32, hop: u64) {
        let cx = &mut self.shared.context(hop);
        let agent = &mut self.nodes[index as usize];
        if !agent.machine_up() {
            return;
        }
        let (node, address) = (agent.name(), agent.address());
        agent.crash(hop, cx);
        self.api.watches.close(address);
        cx.at_hop(hop, |cx| self.controllers.heartbeat_stopped(node, cx));
        self.forget_link(index, true);
        self.machine_ends(index, hop);
    }

    pub(super) fn heal(&mut self, row: u32, what: FaultKind, index: u32, seq: u64) {
        let hits = blow(what);
        let last = self.away.comes(hits.part(), index);
        let cx = &mut self.shared.context(seq);
        let agent = &mut self.nodes[index as usize];
        let (node, address) = (agent.name(), agent.address());
        if !last {
            cx.hop(0, What::Fault { fault: row, node, step: HELD });
            return;
        }
        let step = match hits {
            Blow::Machine | Blow::Orderly => "machine gets power",
            Blow::Kubelet => "kubelet starts again",
            Blow::Connection => "kubelet's network back",
        };
        let hop = cx.hop(0, What::Fault { fault: row, node, step });
        cx.at_hop(hop, |cx| match hits {
            Blow::Machine | Blow::Orderly => agent.power_on(cx),
            Blow::Kubelet => agent.start_kubelet(cx),
            Blow::Connection => {}
        });
        if matches!(hits, Blow::Machine | Blow::Orderly) {
            self.cloud_hears(node, true, hop);
        }
        // A cut network has its own say in that.
        let cut = self.links.broken.get(&index).is_some_and(|b| b.down || b.dead);
        if hits == Blow::Connection && !cut {
            self.connect(address, true, hop);
        }
    }

    /// The node of a name.
    #[must_use]
    pub fn node(&self, name: Sym) -> Option<&crate::node::NodeAgent> {
        self.by_name.get(&name).map(|&i| &self.nodes[i as usize])
    }

    /// Runs until an instant, without observers: for tests and searches.
    pub fn run_until(&mut self, until: SimTime) {
        while self.next_time().is_some_and(|t| t <= until) {
            self.step();
            self.shared.records.clear();
        }
        self.shared.advance(until);
    }
}
