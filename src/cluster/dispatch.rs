//! The wiring: who gets which event. One exhaustive match; nothing else connects components.

use super::Cluster;
use super::faults::victims;
use super::spec::{Component, FaultKind, Whom};
use crate::api::Kind;
use crate::api::versions::Change;
use crate::engine::digest::mix;
use crate::engine::id::Id;
use crate::engine::queue::Entry;
use crate::engine::{SimTime, Sym};
use crate::event::{Address, Event, NodeEvent, Role, What};
use std::hash::{Hash, Hasher};

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

impl Cluster {
    /// Handles the next event; gives it, or none if nothing is pending.
    pub fn step(&mut self) -> Option<Entry<Event>> {
        let entry = self.shared.pop()?;
        self.events += 1;
        let mut fold = Fold(entry.time.0);
        entry.event.hash(&mut fold);
        self.shared.digest.word(fold.finish());
        if self.shared.tracing {
            let Entry { seq, cause, time, event } = entry;
            let what = What::Event(event);
            self.shared.records.push(crate::event::Record { seq, time, cause, what });
        }
        self.dispatch(&entry);
        Some(entry)
    }

    fn dispatch(&mut self, entry: &Entry<Event>) {
        let cx = &mut self.shared.context(entry.seq);
        match entry.event {
            Event::Api(event) => self.api.handle(event, cx),
            Event::Scheduler(event) => {
                if self.lives.scheduler.hears(entry.seq) {
                    self.scheduler.handle(event, cx);
                }
            }
            Event::Controller { controller, event } => {
                if self.lives.controllers.hears(entry.seq) {
                    self.controllers.handle(controller, event, cx);
                }
            }
            Event::Registry(event) => self.registry.handle(event, cx),
            Event::Scrape => self.metrics.scrape(cx),
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
                    if event == NodeEvent::Register {
                        self.register(node, entry.seq);
                    } else if event == NodeEvent::PowerOff {
                        self.power_off(node, entry.seq);
                    } else {
                        self.nodes[node as usize].handle(event, cx);
                    }
                }
            }
            Event::Fault { fault, end } => self.fault(fault, end, entry.seq),
        }
    }

    /// One change to one client.
    pub(super) fn hand_over(&mut self, client: Address, change: &Change, hop: u64) {
        let before = change.before.as_ref();
        let cx = &mut self.shared.context(hop);
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
                let node = &mut self.nodes[client.index as usize];
                if node.address() == client && node.kubelet_up() {
                    node.on_pod(change, cx);
                }
            }
            Role::User => self.driver.on_pod(change, before, cx),
            Role::MetricsServer => self.metrics.on_pod(change),
            Role::ApiServer => {}
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
                }
            }
            Role::User => self.driver.on_answer(token, &outcome, cx),
            Role::ApiServer | Role::MetricsServer => {}
        }
    }

    /// A kubelet starts: it lists its pods, then watches from there on.
    fn register(&mut self, index: u32, seq: u64) {
        let lag = self.plan.cluster.latency.watch;
        let agent = &mut self.nodes[index as usize];
        let cx = &mut self.shared.context(seq);
        agent.register(cx);
        let (name, address) = (agent.name(), agent.address());
        self.api.watches.open_node(name, address, lag);
        let mut pods: Vec<_> = cx
            .versions()
            .iter(Kind::Pod)
            .filter(|(_, obj)| obj.as_pod().is_some_and(|p| p.node == name))
            .map(|(object, obj)| (obj.key(), object))
            .collect();
        pods.sort_by(|a, b| a.0.0.cmp_text(b.0.0).then(a.0.1.cmp_text(b.0.1)));
        let cx = &mut self.shared.context(seq);
        let agent = &mut self.nodes[index as usize];
        agent.forget_others(&pods.iter().map(|(_, object)| *object).collect());
        for (_, object) in pods {
            if let Some(change) = cx.versions().listed(Kind::Pod, object) {
                agent.on_pod(&change, cx);
            }
        }
    }

    /// A fault begins or ends.
    fn fault(&mut self, row: u32, end: bool, seq: u64) {
        let plan = std::sync::Arc::clone(&self.plan);
        let fault = &plan.faults[row as usize];
        if end {
            self.faults_open -= 1;
            if let Whom::Component(component) = fault.whom {
                self.heal_component(row, fault.what, component, seq);
            } else if let Whom::Registry(host) = fault.whom {
                self.switch_registry(row, host, true, seq);
            }
            for node in std::mem::take(&mut self.struck[row as usize]) {
                self.heal(row, fault.what, node, seq);
            }
            return;
        }
        let cx = &mut self.shared.context(seq);
        let zone = |i: u32| plan.cluster.nodes[i as usize].zone;
        let struck = victims(row, fault, &self.nodes, zone, cx);
        match fault.lasts {
            Some(span) => {
                cx.after(span, Event::Fault { fault: row, end: true });
            }
            None => self.faults_open -= 1,
        }
        if let Whom::Component(component) = fault.whom {
            self.strike_component(row, fault.what, component);
        } else if let Whom::Registry(host) = fault.whom {
            self.switch_registry(row, host, false, seq);
        }
        for &node in &struck {
            self.strike(row, fault.what, node, seq);
        }
        self.struck[row as usize] = struck;
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

    fn strike_component(&mut self, row: u32, what: FaultKind, component: Component) {
        let cx = &mut self.shared.context(0);
        let (node, restarts) = (Sym::new(component.name()), what == FaultKind::Restart);
        let step = if restarts { "process stops" } else { "connection lost" };
        let hop = cx.hop(0, What::Fault { fault: row, node, step });
        if restarts {
            self.stop_component(component);
        } else {
            self.connect_component(component, false, hop);
        }
    }

    fn heal_component(&mut self, row: u32, what: FaultKind, component: Component, seq: u64) {
        let cx = &mut self.shared.context(seq);
        let (node, restarts) = (Sym::new(component.name()), what == FaultKind::Restart);
        let step = if restarts { "process starts" } else { "network back" };
        let hop = cx.hop(0, What::Fault { fault: row, node, step });
        if restarts {
            self.restart_component(component, hop);
        } else {
            self.connect_component(component, true, hop);
        }
    }

    fn strike(&mut self, row: u32, what: FaultKind, index: u32, seq: u64) {
        let cx = &mut self.shared.context(seq);
        let agent = &mut self.nodes[index as usize];
        if !agent.kubelet_up() {
            return;
        }
        let (node, address) = (agent.name(), agent.address());
        let step = match what {
            FaultKind::NodeCrash => "machine crashes",
            FaultKind::Shutdown => "machine is told to shut down",
            FaultKind::KubeletStop | FaultKind::Restart => "kubelet stops",
            FaultKind::WatchLoss => "kubelet's connection lost",
            FaultKind::DeviceFailure(..) => "devices fail",
            FaultKind::RegistryDown => return,
        };
        // The plan says so: a first cause.
        let hop = cx.hop(0, What::Fault { fault: row, node, step });
        match what {
            FaultKind::NodeCrash => agent.crash(hop, cx),
            FaultKind::Shutdown => return cx.at_hop(hop, |cx| agent.shut_down(cx)),
            FaultKind::KubeletStop | FaultKind::Restart => agent.stop_kubelet(hop, cx),
            FaultKind::WatchLoss => return self.connect(address, false, hop),
            FaultKind::DeviceFailure(resource, n) => {
                return cx.at_hop(hop, |cx| agent.devices(resource, -i64::from(n), cx));
            }
            FaultKind::RegistryDown => return,
        }
        self.api.watches.close(address);
        cx.at_hop(hop, |cx| self.controllers.heartbeat_stopped(node, cx));
    }

    /// A machine that was told to shut down is off.
    fn power_off(&mut self, index: u32, seq: u64) {
        let cx = &mut self.shared.context(seq);
        let agent = &mut self.nodes[index as usize];
        let (node, address) = (agent.name(), agent.address());
        let hop = cx.record(What::Noticed { who: node, node, step: "machine is off" });
        agent.crash(hop, cx);
        self.api.watches.close(address);
        cx.at_hop(hop, |cx| self.controllers.heartbeat_stopped(node, cx));
    }

    fn heal(&mut self, row: u32, what: FaultKind, index: u32, seq: u64) {
        let cx = &mut self.shared.context(seq);
        let agent = &mut self.nodes[index as usize];
        let (node, address) = (agent.name(), agent.address());
        let step = match what {
            FaultKind::NodeCrash | FaultKind::Shutdown => "machine gets power",
            FaultKind::KubeletStop | FaultKind::Restart => "kubelet starts again",
            FaultKind::WatchLoss => "kubelet's network back",
            FaultKind::DeviceFailure(..) => "devices are well again",
            FaultKind::RegistryDown => return,
        };
        let hop = cx.hop(0, What::Fault { fault: row, node, step });
        cx.at_hop(hop, |cx| match what {
            FaultKind::NodeCrash | FaultKind::Shutdown => agent.power_on(cx),
            FaultKind::KubeletStop | FaultKind::Restart => agent.start_kubelet(cx),
            FaultKind::DeviceFailure(resource, n) => agent.devices(resource, i64::from(n), cx),
            FaultKind::WatchLoss | FaultKind::RegistryDown => {}
        });
        if what == FaultKind::WatchLoss {
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
