//! Clients of API servers that come and go: whose watches are cut and taken up elsewhere, who
//! finds a dead connection when, and who sends again what has failed.
//!
//! A process that ends closes its connections, and its clients dial again after a reflector's
//! first back-off. A machine that loses power closes nothing: a kubelet finds out when its second
//! heartbeat in a row has run into its timeout of 10 s and it closes all connections (source:
//! kubelet `OnHeartbeatFailure`), 20 s to 30 s later; others when the ping that follows 30 s of
//! silence is not answered for 15 s (source: client-go, `HTTP2_READ_IDLE_TIMEOUT_SECONDS`).

use super::super::Cluster;
use super::super::spec::{Component, StaticPod};
use crate::api::Kind;
use crate::api::request::{ApiError, Op, User};
use crate::engine::id::Id;
use crate::engine::{Purpose, SimDuration, SimTime, Sym, num};
use crate::event::{Address, ControlEvent, Event, Role};

/// The kubelet's status manager looks for what is still to be told this often (source:
/// `status_manager.go` `syncPeriod`); the same patience is lent to the scenario's user.
const AGAIN: SimDuration = SimDuration::from_secs(10);
/// Times that a Kubernetes Event is posted (source: `tools/record/event.go` `maxTriesPerEvent`).
const EVENT_TRIES: u8 = 12;
/// Mail of a process that stands still longer than was known is looked at again so soon.
const RELOOK: SimDuration = SimDuration::from_millis(1);
/// What waits for etcd is given up after this (source: etcd `server/config/config.go`
/// `ReqTimeout`).
const ETCD_PATIENCE: SimDuration = SimDuration::from_secs(7);
/// Longest wait between two attempts to register (source: `kubelet_node_status.go`).
const REGISTER_MAX: SimDuration = SimDuration::from_secs(7);

impl Cluster {
    fn n_clients(&self) -> usize {
        self.nodes.len() + 2
    }

    /// Name and address of a client that comes through the load balancer.
    fn client(&self, client: usize) -> (Sym, Address) {
        match client.checked_sub(self.nodes.len()) {
            None => (self.nodes[client].name(), self.nodes[client].address()),
            Some(0) => (Sym::new("kubectl-watch"), Address::new(Role::User, 0)),
            Some(_) => (Sym::new("metrics-server"), Address::new(Role::MetricsServer, 0)),
        }
    }

    /// Everybody has a connection when the run begins.
    pub(super) fn start_clients(&mut self) {
        for client in 0..self.n_clients() {
            let (name, _) = self.client(client);
            // The balancer's choice is kept.
            let _floor = self.api.dial(name, &self.shared.context(0));
        }
    }

    /// The component whose leader runs on a host.
    fn leads_on(&self, host: usize) -> impl Iterator<Item = Component> + use<> {
        let races = self.control.as_ref().map(|c| [&c.races[0], &c.races[1]]);
        let on: Vec<Component> = races
            .into_iter()
            .flatten()
            .filter(|race| race.leader == Some(host))
            .map(|race| race.component)
            .collect();
        on.into_iter()
    }

    /// The server of a host is gone, with its machine or without.
    pub(super) fn lose_server(&mut self, host: usize, machine: bool, seq: u64) {
        let now = self.shared.now();
        let connected: Vec<usize> = (0..self.n_clients())
            .filter(|&client| self.api.connected(self.client(client).0, host))
            .collect();
        let found = if machine { now + SimDuration::from_secs(25) } else { now };
        self.api.server_stop(host, found, &mut self.shared.context(seq));
        for component in self.leads_on(host) {
            let address = self.life(component).address;
            self.api.watches.cut(address, now);
        }
        for client in connected {
            let (name, address) = self.client(client);
            self.api.watches.cut(address, now);
            if !machine {
                self.redial(num::u32_of(client), seq);
                continue;
            }
            let cx = &mut self.shared.context(seq);
            let jitter = cx.draw(name.stable_hash(), Purpose("dead-connection"), now.0);
            let found = if client < self.nodes.len() {
                now + SimDuration::from_secs(20) + SimDuration({ jitter }.below(10_000_000_000))
            } else {
                now + SimDuration::from_secs(43) + SimDuration({ jitter }.below(2_000_000_000))
            };
            self.api.half_open(name, found);
            let redial = ControlEvent::Redial { client: num::u32_of(client) };
            self.shared.context(seq).schedule(found, Event::Control(redial));
        }
    }

    /// The API server of a host is out of reach of the others, and without etcd it answers nothing.
    pub(in super::super) fn isolate(&mut self, host: usize, seq: u64) {
        let now = self.shared.now();
        self.api.member_stop(host, &mut self.shared.context(seq));
        if let Some(control) = &mut self.control {
            control.hosts[host].ready_armed = false;
        }
        for component in self.leads_on(host) {
            let address = self.life(component).address;
            self.api.watches.cut(address, now);
        }
        // Kubelets find out by their heartbeats.
        for client in self.nodes.len()..self.n_clients() {
            let (name, address) = self.client(client);
            if !self.api.connected(name, host) {
                continue;
            }
            self.api.watches.cut(address, now);
            let cx = &mut self.shared.context(seq);
            let jitter = cx.draw(name.stable_hash(), Purpose("dead-connection"), now.0);
            let found =
                now + SimDuration::from_secs(43) + SimDuration({ jitter }.below(2_000_000_000));
            self.api.half_open(name, found);
            let redial = ControlEvent::Redial { client: num::u32_of(client) };
            self.shared.context(seq).schedule(found, Event::Control(redial));
        }
        self.api.server_stop(host, now + ETCD_PATIENCE, &mut self.shared.context(seq));
    }

    /// A client opens another connection, if some server is ready; else it will when one is.
    pub(super) fn redial(&mut self, client: u32, seq: u64) {
        if self.links.holds(client) {
            // Its network has something to say about that.
            return self.review(client, seq);
        }
        self.dial_again(client, seq);
    }

    /// A client whose old connection is known to be dead opens another.
    pub(in super::super) fn dial_again(&mut self, client: u32, seq: u64) {
        let at = client as usize;
        let (name, address) = self.client(at);
        let cx = &mut self.shared.context(seq);
        let Some(floor) = self.api.dial(name, cx) else { return };
        let lists = self.control.as_mut().is_some_and(|c| c.relist.remove(&client));
        let there = self.nodes.get(at).is_some_and(|n| n.kubelet_up());
        if lists && there {
            // A list overtakes what is late.
            self.links.mail.remove(&client);
            let lag = self.plan.cluster.latency.watch;
            self.api.watches.close(address);
            self.api.watches.open_node(name, address, lag);
            self.list_node(client, seq);
        } else {
            self.api.watches.reopen(address, floor, cx);
        }
    }

    /// A server has become ready: whoever has none connects to it.
    pub(super) fn server_serves(&mut self, host: usize, seq: u64) {
        let floor = self.api.floor(host);
        for component in self.leads_on(host) {
            let address = self.life(component).address;
            self.api.watches.reopen(address, floor, &mut self.shared.context(seq));
        }
        for client in 0..self.n_clients() {
            self.redial(num::u32_of(client), seq);
        }
        self.register_waiting(seq);
        self.recheck(seq);
    }

    /// Kubelets that could not register try again: the first of their attempts that succeeds.
    pub(in super::super) fn register_waiting(&mut self, seq: u64) {
        let Some(control) = &mut self.control else { return };
        for node in std::mem::take(&mut control.waiting) {
            let agent = &self.nodes[node as usize];
            if !agent.machine_up() {
                continue;
            }
            let name = agent.name();
            let cx = &mut self.shared.context(seq);
            let now = cx.now().0;
            let wait = cx.draw(name.stable_hash(), Purpose("register"), now).below(REGISTER_MAX.0);
            agent.schedule_register(SimDuration(wait), cx);
        }
    }

    /// The client of a request learns that it has failed. Components hear of it as an answer;
    /// kubelets and people send it again.
    pub(super) fn unanswered(&mut self, id: Id, seq: u64) {
        let cx = &mut self.shared.context(seq);
        let Some(in_flight) = cx.in_flight(id) else { return };
        let (request, tries) = (&in_flight.request, in_flight.tries);
        let event = request.kind == Kind::Event;
        let again = match (request.user, &request.op) {
            // The next heartbeat says the same.
            (User::Kubelet(_), Op::Heartbeat(_)) => false,
            (User::Kubelet(_), Op::Apply(_)) if request.kind == Kind::Lease => false,
            (User::Kubelet(_), _) if event => tries < EVENT_TRIES,
            (User::Kubelet(_) | User::Admin | User::Person { .. }, _) => true,
            (User::Scheduler | User::Controller(_) | User::ApiServer, _) => false,
        };
        if !again {
            cx.take_request(id);
            return;
        }
        let entity = request.user.to_string();
        let entity = Sym::new(&entity).stable_hash();
        let jitter = cx.draw(entity, Purpose("again"), cx.now().0).below(AGAIN.0 / 10);
        cx.after(AGAIN + SimDuration(jitter), Event::Control(ControlEvent::Resend(id)));
    }

    /// A client sends again what has failed; a kubelet tells a pod's status as it is by now.
    pub(in super::super) fn resend(&mut self, id: Id, seq: u64) {
        let Some(failed) = self.shared.context(seq).take_request(id) else { return };
        let error = failed.outcome.and_then(Result::err).unwrap_or(ApiError::Lost);
        let mut request = failed.request;
        if let User::Kubelet(node) = request.user {
            let Some(&index) = self.by_name.get(&node) else { return };
            if !self.nodes[index as usize].kubelet_up() {
                return;
            }
            if let Op::NodeStatus(_) = request.op {
                // Of an earlier life, perhaps: the status loop tells what is so by now.
                self.nodes[index as usize].look_at_status(&mut self.shared.context(seq));
                return;
            }
            if let (Op::PodStatus(_), Some(object)) = (&request.op, request.target) {
                if self.mirrored(object, seq) {
                    return;
                }
                let cx = &mut self.shared.context(seq);
                self.nodes[index as usize].tell_again(object, cx);
                return;
            }
        }
        if let (User::Kubelet(node), Kind::Node, Op::Create { .. }) =
            (request.user, request.kind, &request.op)
            && let Some(&index) = self.by_name.get(&node)
        {
            // Its first status may have come before its Node: the status loop sees to that.
            self.nodes[index as usize].look_at_status(&mut self.shared.context(seq));
        }
        // What was created may be another row of the store by now.
        if error == ApiError::Lost {
            request.target = None;
        }
        let cx = &mut self.shared.context(seq);
        let now = cx.now();
        let again = cx.submit(now, request, failed.reply);
        if let Some(in_flight) = cx.in_flight_mut(again) {
            in_flight.tries = failed.tries.saturating_add(1);
        }
    }

    /// A kubelet registers, or waits for an API server.
    pub(in super::super) fn begin_register(&mut self, node: u32, seq: u64) {
        // A cut that has healed invites whoever had waited, and may meet one that boots by itself.
        if self.nodes[node as usize].kubelet_up() {
            return;
        }
        if self.links.busy() && self.waits_for_network(node) {
            return;
        }
        if self.kubelet_begins(node, seq) {
            self.register(node, seq);
            self.show_mirrors(node, seq);
        }
    }

    /// When mail is handed over that is for something that stands still; none for all other mail.
    pub(in super::super) fn deferred(&self, event: &Event) -> Option<SimTime> {
        let control = self.control.as_ref()?;
        let component = match event {
            Event::Scheduler(_) => Component::Scheduler,
            Event::Controller { .. } => Component::ControllerManager,
            Event::Answer { to, .. } if to.role == Role::Scheduler => Component::Scheduler,
            Event::Answer { to, .. } if to.role == Role::ControllerManager => {
                Component::ControllerManager
            }
            Event::Api(_)
            | Event::Watch { .. }
            | Event::Answer { .. }
            | Event::Node { .. }
            | Event::Scrape
            | Event::Registry(_)
            | Event::Outage(_)
            | Event::User(_)
            | Event::Fault { .. }
            | Event::Control(_)
            | Event::Proxy(_)
            | Event::Traffic(_)
            | Event::Trouble(_)
            | Event::Cloud(_)
            | Event::Autoscaler(_)
            | Event::LogStore => return None,
        };
        control.paused(component).then(|| self.resumes(component))
    }

    fn resumes(&self, component: Component) -> SimTime {
        let race = self.control.as_ref().map(|c| c.race(component));
        let at = race.map_or(SimTime::ZERO, |r| r.resumes);
        // Whatever holds it longer than was known: mail looks again, and does not turn on the spot.
        if at < self.shared.now() { self.shared.now() + RELOOK } else { at }
    }

    /// The leading process of a component stands still until an instant.
    pub(in super::super) fn pause(
        &mut self,
        host: usize,
        process: StaticPod,
        until: SimTime,
        seq: u64,
    ) {
        let now = self.shared.now();
        let Some(pod) = self.pod(host, process).filter(|p| p.up) else { return };
        let already = std::mem::replace(&mut pod.paused, true);
        let Some(component) = process.component() else { return };
        let Some(control) = &mut self.control else { return };
        let race = &mut control.races[usize::from(component == Component::ControllerManager)];
        if race.leader == Some(host) {
            race.resumes = if already { until.max(race.resumes) } else { until };
            let address = self.life(component).address;
            self.api.watches.cut(address, now);
        }
        self.recheck(seq);
    }

    /// The process goes on.
    pub(in super::super) fn resume(&mut self, host: usize, process: StaticPod, seq: u64) {
        let node = self.control.as_ref().map_or(0, |c| c.hosts[host].node);
        if self.links.frozen.contains_key(&node) {
            return;
        }
        let Some(pod) = self.pod(host, process).filter(|p| p.paused) else { return };
        pod.paused = false;
        let Some(component) = process.component() else { return };
        let leads = self.leads_on(host).any(|c| c == component);
        if leads && self.api.is_ready(host) {
            let address = self.life(component).address;
            self.api.watches.reopen(address, 0, &mut self.shared.context(seq));
        }
        self.resume_candidate(component, host, seq);
        self.recheck(seq);
    }
}
