//! A control plane that runs on nodes: etcd, API server, scheduler and controller manager as
//! static pods (behaviour reference §4.13), started again by their kubelet when they end, and gone
//! with their node.
//!
//! Of schedulers and controller managers only the leader does anything, so there is one struct of
//! each, which is made anew, cold, when another candidate takes over ([`elections`]). API servers
//! and etcd members are kept by the API server's folder; here it is decided when their processes
//! run, and what their clients do meanwhile ([`clients`]).

mod clients;
pub(super) mod elections;
pub(super) mod mirror;
mod storage;

use super::Cluster;
use super::spec::{Component, StaticPod};
use crate::control_plane::apiserver::Snapshot;
use crate::engine::{Purpose, SimDuration, SimTime, Sym, num};
use crate::event::{ControlEvent, Event, What};
use elections::Race;
use std::collections::{BTreeMap, BTreeSet};

/// From the start of an API server's container until it is ready: its caches fill, its hooks run
/// (unsourced).
const API_BOOT: SimDuration = SimDuration::from_secs(5);
/// From the start of any other container until its process does its work (unsourced).
const BOOT: SimDuration = SimDuration::from_millis(500);
/// The kubelet lists its containers this often.
const RELIST: SimDuration = SimDuration::from_secs(1);
/// Back-off of containers that end again and again: 10 s doubled up to 5 min, over again after
/// 10 min (behaviour reference §4.5).
const BACK_OFF: SimDuration = SimDuration::from_secs(10);
const BACK_OFF_MAX: SimDuration = SimDuration::from_secs(300);
const BACK_OFF_RESET: SimDuration = SimDuration::from_secs(600);

/// A static pod.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pod {
    pub(super) up: bool,
    /// Counts the lives of its process.
    pub(super) life: u32,
    /// Faults that keep it down.
    held: u32,
    /// It stands still.
    pub(super) paused: bool,
    /// Ends in a row.
    ends: u32,
    restarts: u32,
    /// Since when it is up, or down.
    since: SimTime,
    /// An event that will start it is pending.
    starting: bool,
}

/// A node of the control plane.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// Its index among all nodes.
    pub(super) node: u32,
    pub(super) name: Sym,
    pub(super) pods: [Pod; 4],
    /// Its API server will be ready at a known instant.
    ready_armed: bool,
}

/// The control plane's nodes and what runs there.
#[derive(Debug, Clone)]
pub(super) struct Control {
    pub(super) hosts: Vec<Host>,
    pub(super) races: [Race; 2],
    /// Kubelets that wait for an API server to register with.
    waiting: BTreeSet<u32>,
    /// Kubelets that must list when they are connected again.
    relist: BTreeSet<u32>,
    /// Snapshots by the fault they are taken for.
    snapshots: BTreeMap<u32, Snapshot>,
    /// Faults that hold the alarm up.
    alarms: u32,
}

impl Control {
    fn new(cluster: &Cluster) -> Option<Self> {
        let plan = &cluster.plan.cluster;
        let names = &plan.control_plane.as_ref()?.nodes;
        let pod = Pod {
            up: true,
            life: 0,
            held: 0,
            paused: false,
            ends: 0,
            restarts: 0,
            since: SimTime::ZERO,
            starting: false,
        };
        let host = |name: &Sym| {
            let node = *cluster.by_name.get(name)?;
            Some(Host { node, name: *name, pods: [pod; 4], ready_armed: false })
        };
        let hosts: Vec<Host> = names.iter().filter_map(host).collect();
        let races = [Component::Scheduler, Component::ControllerManager]
            .map(|component| Race::new(component, &hosts, &cluster.shared.draws));
        Some(Self {
            hosts,
            races,
            waiting: BTreeSet::new(),
            relist: BTreeSet::new(),
            snapshots: BTreeMap::new(),
            alarms: 0,
        })
    }

    /// The host of a node.
    pub(super) fn host_of(&self, node: u32) -> Option<usize> {
        self.hosts.iter().position(|h| h.node == node)
    }

    fn race(&self, component: Component) -> &Race {
        &self.races[usize::from(component == Component::ControllerManager)]
    }

    /// True if the component's leader stands still.
    pub(super) fn paused(&self, component: Component) -> bool {
        let process = elections::process(component);
        let leader = self.race(component).leader;
        leader.is_some_and(|host| self.hosts[host].pods[process as usize].paused)
    }
}

impl Cluster {
    /// The control plane takes its place on its nodes, if it has any.
    pub(super) fn start_control(&mut self) {
        self.control = Control::new(self).map(Box::new);
        let Some(control) = &self.control else { return };
        let hosts = control.hosts.len();
        self.start_races();
        for host in 0..hosts {
            for process in StaticPod::ALL {
                self.add_mirror(host, process);
            }
        }
        self.start_clients();
        let plan = std::sync::Arc::clone(&self.plan);
        for (row, fault) in plan.faults.iter().enumerate() {
            self.arm_snapshot(num::u32_of(row), fault);
        }
    }

    /// An event of the control plane.
    pub(super) fn control_event(&mut self, event: ControlEvent, seq: u64) {
        match event {
            ControlEvent::Start { host, process, life } => {
                self.container_starts(usize::from(host), process, life, seq);
            }
            ControlEvent::Ready { host, life } => self.server_ready(usize::from(host), life, seq),
            ControlEvent::Attempt { race, host, number } => {
                self.attempt(usize::from(race), usize::from(host), number, seq);
            }
            ControlEvent::Missed { race, host, number } => {
                self.missed(usize::from(race), usize::from(host), number, seq);
            }
            ControlEvent::Unanswered(id) => self.unanswered(id, seq),
            ControlEvent::Resend(id) => self.resend(id, seq),
            ControlEvent::Redial { client } => self.redial(client, seq),
            ControlEvent::Snapshot { fault } => self.take_snapshot(fault),
        }
    }

    pub(super) fn pod(&mut self, host: usize, process: StaticPod) -> Option<&mut Pod> {
        Some(&mut self.control.as_mut()?.hosts.get_mut(host)?.pods[process as usize])
    }

    /// True if the node's kubelet can start containers.
    fn kubelet_works(&self, host: usize) -> bool {
        let node = self.control.as_ref().map_or(0, |c| c.hosts[host].node);
        // A kubelet that waits for an API server starts static pods all the same.
        let waits = self.control.as_ref().is_some_and(|c| c.waiting.contains(&node));
        let agent = &self.nodes[node as usize];
        (agent.kubelet_up() || waits && agent.machine_up())
            && !self.links.frozen.contains_key(&node)
    }

    /// A process ends; `machine` says that its whole node has gone.
    pub(super) fn process_ends(
        &mut self,
        host: usize,
        process: StaticPod,
        machine: bool,
        seq: u64,
    ) {
        let now = self.shared.now();
        let Some(pod) = self.pod(host, process).filter(|p| p.up) else { return };
        pod.up = false;
        pod.paused = false;
        pod.life += 1;
        pod.starting = false;
        let lasted = now.since(pod.since);
        pod.ends = if lasted > BACK_OFF_RESET { 1 } else { pod.ends + 1 };
        pod.since = now;
        match process {
            StaticPod::Etcd => {
                self.api.member_stop(host, &mut self.shared.context(seq));
            }
            StaticPod::ApiServer => self.server_ends(host, machine, seq),
            StaticPod::Scheduler | StaticPod::ControllerManager => {
                self.candidate_ends(process, host, seq);
            }
        }
        if !machine {
            self.show_mirror(host, process, seq);
            self.start_later(host, process, seq);
        }
        self.recheck(seq);
    }

    /// The kubelet starts the container again, unless something keeps it down.
    pub(super) fn start_later(&mut self, host: usize, process: StaticPod, seq: u64) {
        if !self.kubelet_works(host) {
            return;
        }
        let name = self.control.as_ref().map_or(Sym::EMPTY, |c| c.hosts[host].name);
        let Some(pod) = self.pod(host, process).filter(|p| !p.up && p.held == 0 && !p.starting)
        else {
            return;
        };
        pod.starting = true;
        let (life, ends) = (pod.life, pod.ends);
        let cx = &mut self.shared.context(seq);
        let entity = crate::engine::digest::mix(name.stable_hash(), process as u64);
        let seen =
            SimDuration(cx.draw(entity, Purpose("static-pod"), u64::from(life)).below(RELIST.0));
        let waits = match ends {
            0 | 1 => SimDuration::ZERO,
            n => BACK_OFF.times(1 << u64::from((n - 2).min(5))).min(BACK_OFF_MAX),
        };
        let (host, process) = (byte(host), process as u8);
        let start = ControlEvent::Start { host, process, life };
        cx.after(seen + waits + BOOT, Event::Control(start));
    }

    fn container_starts(&mut self, host: usize, process: u8, life: u32, seq: u64) {
        let Some(process) = StaticPod::ALL.get(usize::from(process)).copied() else { return };
        let now = self.shared.now();
        let works = self.kubelet_works(host);
        let Some(pod) = self.pod(host, process).filter(|p| p.life == life && !p.up) else { return };
        pod.starting = false;
        if pod.held > 0 || !works {
            return;
        }
        pod.up = true;
        pod.since = now;
        pod.restarts += 1;
        let name = self.control.as_ref().map_or(Sym::EMPTY, |c| c.hosts[host].name);
        let cx = &mut self.shared.context(seq);
        let who = Sym::new(process.name());
        let hop = cx.record(What::Noticed { who, node: name, step: "its container starts" });
        match process {
            // One that nobody reaches takes part when it is reached.
            StaticPod::Etcd if self.links.isolated.contains(&host) => {}
            StaticPod::Etcd => self.api.member_start(host, &mut self.shared.context(hop)),
            StaticPod::ApiServer => {}
            StaticPod::Scheduler | StaticPod::ControllerManager => {
                self.candidate_begins(process, host, hop);
            }
        }
        self.show_mirror(host, process, hop);
        self.recheck(hop);
    }

    /// A fault keeps the process down from now on.
    pub(super) fn hold(&mut self, host: usize, process: StaticPod, seq: u64) {
        if let Some(pod) = self.pod(host, process) {
            pod.held += 1;
        }
        self.process_ends(host, process, false, seq);
    }

    /// A fault lets the process start again.
    pub(super) fn release(&mut self, host: usize, process: StaticPod, seq: u64) {
        if let Some(pod) = self.pod(host, process) {
            pod.held = pod.held.saturating_sub(1);
            pod.ends = 0;
        }
        self.start_later(host, process, seq);
    }

    /// A node of the control plane loses power, and all that runs on it.
    pub(super) fn machine_ends(&mut self, node: u32, seq: u64) {
        let Some(host) = self.control.as_ref().and_then(|c| c.host_of(node)) else { return };
        if let Some(control) = &mut self.control {
            control.waiting.remove(&node);
        }
        for process in StaticPod::ALL {
            self.process_ends(host, process, true, seq);
        }
    }

    /// A kubelet's process runs: it starts its static pods, and registers if it can. False if it
    /// has to wait for an API server.
    pub(super) fn kubelet_begins(&mut self, node: u32, seq: u64) -> bool {
        let name = self.nodes[node as usize].name();
        let Some(control) = &mut self.control else { return true };
        let host = control.host_of(node);
        control.waiting.insert(node);
        control.relist.remove(&node);
        let all = host.into_iter().flat_map(|host| StaticPod::ALL.map(|process| (host, process)));
        for (host, process) in all {
            if let Some(pod) = self.pod(host, process).filter(|p| !p.up) {
                pod.ends = 0;
            }
            self.start_later(host, process, seq);
        }
        self.api.hang_up(name);
        let connects = self.api.dial(name, &self.shared.context(seq)).is_some();
        if let Some(control) = self.control.as_mut().filter(|_| connects) {
            control.waiting.remove(&node);
        }
        connects
    }

    /// Something has changed about etcd or the servers: who waits for that goes on.
    pub(super) fn recheck(&mut self, seq: u64) {
        if self.links.busy() {
            self.arrange_hosts(seq);
        }
        let now = self.shared.now();
        let quorate = self.api.quorate(now);
        let Some(control) = &mut self.control else { return };
        for (i, host) in control.hosts.iter_mut().enumerate() {
            let pod = host.pods[StaticPod::ApiServer as usize];
            let out = self.links.isolated.contains(&i);
            if quorate && pod.up && !out && !host.ready_armed && !self.api.is_ready(i) {
                host.ready_armed = true;
                let ready = ControlEvent::Ready { host: byte(i), life: pod.life };
                self.shared.context(seq).after(API_BOOT, Event::Control(ready));
            }
        }
        for race in 0..2 {
            self.watch_race(race, seq);
        }
    }

    /// An API server has filled its caches, if etcd still answers.
    fn server_ready(&mut self, host: usize, life: u32, seq: u64) {
        let now = self.shared.now();
        let Some(control) = &mut self.control else { return };
        let at = &mut control.hosts[host];
        let pod = at.pods[StaticPod::ApiServer as usize];
        if !pod.up || pod.life != life {
            return;
        }
        at.ready_armed = false;
        let node = at.name;
        if !self.api.quorate(now) || self.links.isolated.contains(&host) {
            return;
        }
        self.api.server_ready(host, &self.shared.context(seq));
        let who = Sym::new(StaticPod::ApiServer.name());
        let step = "is ready";
        let hop = self.shared.context(seq).record(What::Noticed { who, node, step });
        self.server_serves(host, hop);
        self.show_mirror(host, StaticPod::ApiServer, hop);
    }

    /// The API server's process has ended.
    fn server_ends(&mut self, host: usize, machine: bool, seq: u64) {
        if let Some(control) = &mut self.control {
            control.hosts[host].ready_armed = false;
        }
        self.lose_server(host, machine, seq);
    }
}

/// Hosts and races are few.
pub(super) fn byte(n: usize) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}
