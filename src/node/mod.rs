//! Nodes. Machine, runtime and kubelet are three states: a crash takes all, a stopped kubelet
//! leaves its containers running, and a restart of one is not a restart of the others.
//!
//! The kubelet (`kubelet`) brings pods up through the runtime (`runtime`) in CRI's call order
//! and reports their status (`status`); the `fakelet` is a minimal agent like KWOK's.

mod admission;
pub mod cni;
mod config;
mod configs;
mod critical;
mod ending;
mod fakelet;
mod hooks;
mod images;
mod kubelet;
mod logs;
mod memory;
mod mounts;
mod overslept;
mod pressure;
mod probes;
pub mod proxy;
mod pulls;
pub mod registry;
mod restarts;
mod runs;
mod runtime;
mod serving;
mod shutdown;
mod statics;
mod status;
mod work;
mod worker;

use crate::api::kevent::{KEvent, Source, Text};
use crate::api::node::keys::{CONTROLLER_ATTACHES, ZONE};
use crate::api::node::{Node, NodeImage, NodeStatus};
use crate::api::pod::{Condition, ConditionType, Taint, Truth};
use crate::api::request::{Op, Outcome, Request, User};
use crate::api::resources::Resources;
use crate::api::storage::{CsiNode, CsiNodeDriver};
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, LabelSet, Lease, Meta, Name, Obj, Pod, PodSpec, Uid};
use crate::client::{Correlator, RateLimiter};
use crate::engine::{Dist, Grid, Purpose, SimDuration, SimTime, Sym, Tabled};
use crate::event::lease::Beat;
use crate::event::logs::Logging;
use crate::event::usage::Load;
use crate::event::{Address, Canary, Context, Driver, Event, NodeEvent, Role, What};
pub use cni::CniConfig;
pub use config::{KubeletConfig, Level, RuntimeName, Signal, Threshold};
use images::Images;
pub use images::Layer;
use logs::Logs;
pub use logs::loads as log_loads;
use mounts::Disks;
use pressure::{Pressure, Short};
use pulls::Pulls;
pub use registry::{Catalog, Registry};
use rustc_hash::FxHashSet;
pub use serving::{Answers, Serving};
use shutdown::Shutdown;
use std::sync::Arc;
use worker::Workers;

/// PLEG lists the runtime's containers this often (source: behaviour reference §4.1).
const RELIST: SimDuration = SimDuration::from_secs(1);

/// Latencies of node and runtime; see the cluster's spec for their sources.
#[derive(Debug, Clone)]
pub struct NodeLatencies {
    /// From a pod's arrival to its volumes being mounted.
    pub mount: Tabled,
    /// `RunPodSandbox`; without `network`, CNI included.
    pub sandbox: Tabled,
    /// `CNI ADD`, where the scenario describes the network.
    pub network: Option<Tabled>,
    /// `CreateContainer` and `StartContainer`.
    pub container: Tabled,
    /// Registry bandwidth, bytes per second.
    pub pull_bytes_per_s: u64,
}

/// What a node is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Name.
    pub name: Sym,
    /// Zone; may be empty.
    pub zone: Sym,
    /// `spec.providerID`, if it is known from the start.
    pub provider_id: Sym,
    /// Labels.
    pub labels: LabelSet,
    /// Taints it registers with.
    pub taints: Arc<[Taint]>,
    /// Capacity.
    pub capacity: Arc<Resources>,
    /// Allocatable.
    pub allocatable: Arc<Resources>,
    /// Images it has.
    pub images: Arc<[NodeImage]>,
    /// True for a fakelet.
    pub fake: bool,
    /// True if heartbeats are spelled out.
    pub explicit: bool,
    /// Power-on to registration.
    pub boot: Dist,
    /// Client limit of its kubelet.
    pub limits: (f64, u32),
    /// Latencies.
    pub latencies: Arc<NodeLatencies>,
    /// Configuration of its kubelet.
    pub kubelet: Arc<KubeletConfig>,
    /// What pods use.
    pub loads: Arc<[Load]>,
    /// Logs of pods, if the scenario tells of any.
    pub logging: Option<Arc<Logging>>,
    /// What lies in its manifest directory: pods under their own names, without the node's.
    pub statics: Arc<[Arc<Pod>]>,
    /// What is known of images.
    pub catalog: Arc<Catalog>,
    /// True if the registry's bandwidth is shared by all nodes.
    pub shared_registry: bool,
    /// The network of its pods, if the scenario describes one.
    pub cni: Option<Arc<CniConfig>>,
}

/// State of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Machine {
    Up,
    Down,
}

/// A node.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a machine")]
#[derive(Debug, Clone)]
pub struct NodeAgent {
    setup: Arc<Setup>,
    index: u32,
    machine: Machine,
    /// Counts the machine's lives.
    incarnation: u16,
    kubelet_up: bool,
    /// Counts the kubelet's lives: watches belong to one of them.
    kubelet_life: u16,
    boots: u32,
    /// It has power, and its kubelet will register.
    booting: bool,
    /// It joins the cluster later.
    absent: bool,
    /// The machine is gone for good, or about to be.
    retired: bool,
    limiter: RateLimiter,
    workers: Workers,
    images: Images,
    pulls: Pulls,
    relist: Grid,
    relist_armed: bool,
    /// The next address; the last one given, of a network that the scenario describes.
    next_ip: u32,
    /// That network.
    network: Option<Box<cni::Network>>,
    /// True once a pod came of which the scenario says what it uses.
    metered: bool,
    /// The eviction manager, once there is something for it to see.
    pressure: Option<Box<Pressure>>,
    /// Logs of its containers, once there are any.
    logs: Option<Box<Logs>>,
    /// What its containers have to do, while some work.
    work: Option<Box<work::Board>>,
    /// A report of what has changed about the node is on its way.
    status_armed: bool,
    /// The node goes down.
    shutdown: Option<Shutdown>,
    /// All it does takes so many times as long.
    slow: u32,
    /// Bytes of its disk that something else than pods and images takes.
    filled: i64,
    /// Disks that its pods want or have.
    disks: Option<Box<Disks>>,
    /// Devices that are unhealthy.
    unhealthy: Option<Box<Resources>>,
    /// Pods that it has refused and that are not gone yet.
    refused: Vec<ObjRef>,
    /// Critical pods that wait until others have gone.
    urgent: Vec<critical::Urgent>,
    /// Events of pods that may say the same thing twice.
    correlator: Option<Box<Correlator>>,
}

impl NodeAgent {
    /// A node that is up, with its kubelet running.
    #[must_use]
    pub fn new(setup: Arc<Setup>, index: u32, draws: &crate::engine::Draws) -> Self {
        let relist = Grid::drawn(draws, setup.name.stable_hash(), Purpose("pleg"), RELIST);
        let limiter = RateLimiter::new(setup.limits.0, setup.limits.1);
        let images = Images::new(&setup.images, &setup.catalog);
        let cni = setup.cni.as_ref().filter(|_| !setup.fake);
        let network = cni.map(|config| Box::new(cni::Network::new(config, index)));
        Self {
            setup,
            index,
            machine: Machine::Up,
            incarnation: 0,
            kubelet_up: true,
            kubelet_life: 0,
            boots: 0,
            booting: false,
            absent: false,
            retired: false,
            limiter,
            workers: Workers::default(),
            images,
            pulls: Pulls::default(),
            relist,
            relist_armed: false,
            next_ip: 10 << 24 | (index & 0xffff) << 8 | 2,
            network,
            metered: false,
            pressure: None,
            logs: None,
            work: None,
            status_armed: false,
            shutdown: None,
            slow: 1,
            filled: 0,
            disks: None,
            unhealthy: None,
            refused: Vec::new(),
            urgent: Vec::new(),
            correlator: None,
        }
    }

    /// A machine without power, whose node nobody knows yet.
    #[must_use]
    pub fn unborn(setup: Arc<Setup>, index: u32, draws: &crate::engine::Draws) -> Self {
        let made = Self::new(setup, index, draws);
        Self { machine: Machine::Down, kubelet_up: false, ..made }
    }

    /// The machine gets no power any more once it is off.
    pub fn retire(&mut self) {
        self.retired = true;
    }

    /// True once the machine is gone for good, or about to be.
    #[must_use]
    pub fn retired(&self) -> bool {
        self.retired
    }

    /// Its zone; may be empty.
    #[must_use]
    pub fn zone(&self) -> Sym {
        self.setup.zone
    }

    /// What it offers when all is well.
    #[must_use]
    pub fn offer(&self) -> &Resources {
        &self.setup.allocatable
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> Sym {
        self.setup.name
    }

    /// Its row in the cluster's list.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index as usize
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> LabelSet {
        self.setup.labels
    }

    /// Where its watch and answers go.
    #[must_use]
    pub fn address(&self) -> Address {
        Address { role: Role::Kubelet, incarnation: self.kubelet_life, index: self.index }
    }

    /// True if mail for this life of the machine still finds it.
    #[must_use]
    pub fn lives(&self, incarnation: u16) -> bool {
        self.machine == Machine::Up && self.incarnation == incarnation
    }

    /// True while the kubelet runs.
    #[must_use]
    pub fn kubelet_up(&self) -> bool {
        self.machine == Machine::Up && self.kubelet_up
    }

    /// True while the machine is up and has booted.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.machine == Machine::Up && !self.booting && !self.absent
    }

    /// True while the machine has power.
    #[must_use]
    pub fn machine_up(&self) -> bool {
        self.machine == Machine::Up
    }

    /// The Node object of a node that is ready.
    #[must_use]
    pub fn object(&self, stamp: crate::api::Stamp, at: SimTime) -> Node {
        let mut meta = Meta::named(Sym::EMPTY, Name::new(self.setup.name.as_str()));
        meta.labels = self.setup.labels;
        if !self.setup.fake {
            // A fakelet mounts nothing, so nothing is attached to its node.
            meta.set_annotation(CONTROLLER_ATTACHES, "true");
        }
        Node {
            meta,
            taints: Arc::clone(&self.setup.taints),
            provider_id: self.setup.provider_id,
            pod_cidr: cni::pod_cidr(self),
            status: self.status(stamp, at),
            ..Node::default()
        }
    }

    /// What the kubelet reports of the node.
    fn status(&self, stamp: crate::api::Stamp, at: SimTime) -> NodeStatus {
        let mut status = NodeStatus {
            capacity: Arc::clone(&self.setup.capacity),
            allocatable: self.allocatable(),
            heartbeat_ns: at.0,
            images: self.images.reported(),
            volumes_in_use: mounts::in_use(self),
            ..NodeStatus::default()
        };
        let ready = match self.shutdown {
            None if !cni::ready(self) => (Truth::False, "KubeletNotReady", cni::NOT_READY),
            None => (Truth::True, "KubeletReady", "kubelet is posting ready status"),
            Some(_) => (Truth::False, "KubeletNotReady", "node is shutting down"),
        };
        let ready = (ConditionType::Ready, ready.0, ready.1, ready.2);
        let rows = Short::ALL.map(|what| what.row(self.short_of(what)));
        for (kind, truth, reason, message) in rows.into_iter().chain([ready]) {
            let (reason, message) = (Sym::new(reason), Sym::new(message));
            status.conditions.set(Condition {
                kind,
                status: truth,
                reason,
                message,
                transition: stamp,
            });
        }
        status
    }

    /// Something about the node has changed: it is reported at the next turn of the status loop
    /// (source: `--node-status-update-frequency`).
    fn arm_status(&mut self, cx: &mut Context<'_>) {
        const LOOP: SimDuration = SimDuration::from_secs(10);
        if std::mem::replace(&mut self.status_armed, true) {
            return;
        }
        let entity = self.setup.name.stable_hash();
        let grid = Grid::drawn(cx.draws(), entity, Purpose("node status loop"), LOOP);
        self.schedule(grid.after(cx.now()).since(cx.now()), NodeEvent::TellStatus, cx);
    }

    /// The node is reported, and what has turned about it is told.
    fn tell_status(&mut self, cx: &mut Context<'_>) {
        if !self.kubelet_up || !std::mem::take(&mut self.status_armed) {
            return;
        }
        let (name, now) = (Name::new(self.setup.name.as_str()), cx.now());
        if cx.versions().find(Kind::Node, Sym::EMPTY, name).is_none() {
            // The loop asks for its Node first, and finds none yet.
            return self.arm_status(cx);
        }
        for word in pressure::turned(self) {
            let text = Sym::new(&format!("Node {name} status is now: {word}"));
            self.tell_of_node(false, Sym::new(word), text, cx);
        }
        let status = Box::new(self.status(cx.stamp(), now));
        mounts::told(self);
        self.submit(Kind::Node, Sym::EMPTY, name, None, Op::NodeStatus(status), None, cx);
    }

    /// The machine loses power: kubelet, runtime and containers are gone at once.
    pub fn crash(&mut self, cause: u64, cx: &mut Context<'_>) {
        if self.machine == Machine::Down {
            return;
        }
        self.machine = Machine::Down;
        self.incarnation += 1;
        logs::crash(self, cx);
        work::crash(self, cx);
        self.workers = Workers::default();
        self.disks = None;
        self.pressure = None;
        self.metered = self.logs.is_some();
        self.shutdown = None;
        cni::crash(self);
        pulls::crash(self, cx);
        cx.strikes_node(self.index);
        self.stop_kubelet(cause, cx);
    }

    /// The machine is told to shut down; where the kubelet may, it ends its pods first.
    pub fn shut_down(&mut self, cx: &mut Context<'_>) {
        if self.machine == Machine::Up {
            shutdown::begin(self, cx);
        }
    }

    /// Only the kubelet stops: containers run on, nobody reports.
    pub fn stop_kubelet(&mut self, cause: u64, cx: &mut Context<'_>) {
        self.kubelet_up = false;
        self.kubelet_life += 1;
        self.relist_armed = false;
        self.refused.clear();
        self.urgent.clear();
        self.status_armed = false;
        self.correlator = None;
        let (node, now) = (self.setup.name, cx.now());
        cx.leases_mut().stop(node, now, cause);
    }

    /// The machine gets power again: it registers after its boot time.
    pub fn power_on(&mut self, cx: &mut Context<'_>) {
        if self.machine == Machine::Up || self.retired {
            return;
        }
        self.machine = Machine::Up;
        self.boots += 1;
        self.booting = true;
        let entity = self.setup.name.stable_hash();
        let boot =
            self.setup.boot.sample(&mut cx.draw(entity, Purpose("boot"), u64::from(self.boots)));
        self.schedule(boot, NodeEvent::Register, cx);
    }

    /// The kubelet starts again on a machine that stayed up.
    pub fn start_kubelet(&mut self, cx: &mut Context<'_>) {
        if self.machine == Machine::Up && !self.kubelet_up && !self.booting {
            self.schedule(SimDuration::ZERO, NodeEvent::Register, cx);
        }
    }

    /// The kubelet runs, and tries to register after a span: it could not reach an API server.
    pub fn schedule_register(&self, after: SimDuration, cx: &mut Context<'_>) {
        self.schedule(after, NodeEvent::Register, cx);
    }

    /// A pod's status could not be told: it is told again, as it is now.
    pub fn tell_again(&mut self, object: ObjRef, cx: &mut Context<'_>) {
        kubelet::tell_again(self, object, cx);
    }

    /// The node joins the cluster later: until then its kubelet has not been started.
    pub fn join_at(&mut self, at: SimTime, cx: &mut Context<'_>) {
        (self.kubelet_up, self.absent) = (false, true);
        self.schedule(at.since(cx.now()), NodeEvent::Register, cx);
    }

    /// Schedules an event for this life of the machine.
    fn schedule(&self, after: SimDuration, event: NodeEvent, cx: &mut Context<'_>) {
        let (node, incarnation) = (self.index, self.incarnation);
        cx.after(after, Event::Node { node, incarnation, event });
    }

    /// The kubelet starts: it renews its lease, reports the node and takes up its pods. The caller
    /// opens its watch and hands it the pods listed for the node.
    pub fn register(&mut self, cx: &mut Context<'_>) {
        (self.booting, self.absent) = (false, false);
        self.kubelet_up = true;
        let (node, now) = (self.setup.name, cx.now());
        let reports = !self.setup.fake;
        cx.leases_mut().start(node, now, crate::event::lease::PERIOD, reports);
        let name = Name::new(node.as_str());
        cni::start(self, shown_cidr(name, cx), cx);
        self.heed_node();
        // A fakelet looks first, and reports only a node that is not ready.
        if cx.versions().find(Kind::Node, Sym::EMPTY, name).is_none() {
            self.create_node(name, cx);
        } else if !(self.setup.fake && shown_ready(name, cx)) {
            let status = Box::new(self.status(cx.stamp(), now));
            mounts::told(self);
            self.submit(Kind::Node, Sym::EMPTY, name, None, Op::NodeStatus(status), None, cx);
        }
        if let Some(object) = self.csi_node(cx) {
            self.submit(Kind::CSINode, Sym::EMPTY, name, None, Op::Apply(object), None, cx);
        }
        if self.setup.explicit {
            self.beat(Beat::Renewal, cx);
            self.arm_beat(Beat::Report, cx);
        }
        cx.trace(|| What::Node { node, step: "kubelet starts", pod: ObjRef::default() });
        kubelet::resume(self, cx);
    }

    /// What the drivers say of themselves on this node: those that the scenario gives a limit
    /// (source: `pkg/volume/csi/nodeinfomanager`). Their topology is the zone.
    #[must_use]
    pub fn csi_node(&self, cx: &Context<'_>) -> Option<Obj> {
        let zone = Sym::new(ZONE);
        let topology_keys: Vec<Sym> =
            self.setup.labels.get(zone).map(|_| zone).into_iter().collect();
        let driver = |d: &Driver| CsiNodeDriver {
            name: d.name,
            topology_keys: topology_keys.clone(),
            count: d.limit,
        };
        let drivers: Vec<CsiNodeDriver> = cx.drivers().limited().map(driver).collect();
        let meta = Meta::named(Sym::EMPTY, Name::new(self.setup.name.as_str()));
        let none = drivers.is_empty() || self.setup.fake;
        (!none).then(|| Obj::CSINode(Arc::new(CsiNode { meta, drivers, doc: None })))
    }

    /// Registers a node that nobody knows: not ready at first, ready once the runtime is up
    /// (source: `kubelet_node_status.go`; recorded in `timelines/05`: 0.3 s later).
    fn create_node(&mut self, name: Name, cx: &mut Context<'_>) {
        const FIRST_STATUS: SimDuration = SimDuration::from_millis(300);
        let (now, user) = (cx.now(), User::Kubelet(self.setup.name));
        let mut object = self.object(cx.stamp(), now);
        object.status.conditions.set(Condition {
            kind: ConditionType::Ready,
            status: Truth::False,
            reason: Sym::new("KubeletNotReady"),
            message: Sym::new("container runtime status check may not have completed yet"),
            transition: cx.stamp(),
        });
        let op = Op::Create { object: Obj::Node(Arc::new(object)), generate: false };
        cx.submit(now, Context::request(user, Kind::Node, Sym::EMPTY, name, op), None);
        let then = now + FIRST_STATUS;
        let op = Op::NodeStatus(Box::new(self.status(cx.stamp_of(then), then)));
        // Where the store takes its time, the Node may not be there yet.
        let reply = Some((self.address(), kubelet::FIRST_STATUS));
        cx.submit(then, Context::request(user, Kind::Node, Sym::EMPTY, name, op), reply);
    }

    /// The kubelet gets through to an API server again: it renews its Lease, and looks how its node
    /// is shown.
    pub fn back(&mut self, cx: &mut Context<'_>) {
        if !self.kubelet_up() {
            return;
        }
        let (node, now) = (self.setup.name, cx.now());
        let reports = !self.setup.fake;
        cx.leases_mut().start(node, now, crate::event::lease::PERIOD, reports);
        if self.setup.explicit {
            self.beat(Beat::Renewal, cx);
            self.arm_beat(Beat::Report, cx);
        }
        self.look_at_status(cx);
    }

    /// Its status loop will find that the store shows the node otherwise than it is.
    pub fn look_at_status(&mut self, cx: &mut Context<'_>) {
        if self.kubelet_up() {
            self.arm_status(cx);
        }
    }

    /// A request with this token was never answered.
    pub fn unanswered(&mut self, token: u32, cx: &mut Context<'_>) {
        kubelet::unanswered(self, token, cx);
    }

    /// True for a minimal agent.
    #[must_use]
    pub fn is_fake(&self) -> bool {
        self.setup.fake
    }

    /// Arms the next heartbeat of a kind, if they are spelled out.
    pub fn arm_beat(&self, beat: Beat, cx: &mut Context<'_>) {
        let next = cx.leases().next(beat, self.setup.name, cx.now(), cx.draws());
        let Some(at) = next.filter(|_| self.setup.explicit) else { return };
        let (node, incarnation) = (self.index, self.incarnation);
        let event = match beat {
            Beat::Renewal => NodeEvent::RenewLease,
            Beat::Report => NodeEvent::ReportStatus,
        };
        cx.schedule(at, Event::Node { node, incarnation, event });
    }

    /// A heartbeat, spelled out. Its client has no rate limit (source: `cmd/kubelet/app/server.go`
    /// `heartbeatClientConfig`).
    fn beat(&self, beat: Beat, cx: &mut Context<'_>) {
        let (node, now) = (self.setup.name, cx.now());
        // One that an earlier life of the kubelet had armed is not among those of this one.
        if cx.leases().last(beat, node, now, cx.draws()) != Some(now) {
            return;
        }
        let name = Name::new(node.as_str());
        let (kind, ns, op) = match beat {
            Beat::Renewal => {
                let lease = self.lease(now);
                (Kind::Lease, lease.meta.ns, Op::Apply(Obj::Lease(Arc::new(lease))))
            }
            Beat::Report => (Kind::Node, Sym::EMPTY, Op::Heartbeat(now)),
        };
        let request = Request { user: User::Kubelet(node), kind, ns, name, target: None, op };
        cx.submit(now, request, None);
        self.arm_beat(beat, cx);
    }

    /// The node's Lease, renewed now.
    #[must_use]
    pub fn lease(&self, now: SimTime) -> Lease {
        let name = self.setup.name;
        Lease {
            meta: Meta::named(Sym::new("kube-node-lease"), Name::new(name.as_str())),
            holder: name,
            duration_s: 40,
            renewed: now,
            ..Lease::default()
        }
    }

    /// So many devices of an extended resource become well again, or unhealthy (a negative number):
    /// the node offers fewer, pods that have them run on (source: `devicemanager/manager.go`
    /// `GetCapacity`).
    pub fn devices(&mut self, resource: Sym, more: i64, cx: &mut Context<'_>) {
        let unhealthy = self.unhealthy.get_or_insert_default();
        unhealthy.set_scalar(resource, (unhealthy.scalar(resource) - more).max(0));
        self.arm_status(cx);
    }

    /// What it offers: unhealthy devices are not part of it.
    fn allocatable(&self) -> Arc<Resources> {
        let Some(unhealthy) = &self.unhealthy else { return Arc::clone(&self.setup.allocatable) };
        let mut left = (*self.setup.allocatable).clone();
        for &(name, n) in &unhealthy.scalars {
            left.set_scalar(name, (left.scalar(name) - n).max(0));
        }
        Arc::new(left)
    }

    /// What lies in its manifest directory starts, on a node that is there from the start.
    pub fn start_statics(&mut self, cx: &mut Context<'_>) {
        if !self.setup.fake && !self.setup.statics.is_empty() {
            statics::start(self, cx);
        }
    }

    /// A registry stops to answer, or answers again; empty text for all of them.
    pub fn registry(&mut self, host: Sym, up: bool, cx: &mut Context<'_>) {
        pulls::registry(self, host, up, cx);
    }

    /// A pod of this node has changed (or is listed at the kubelet's start, with no `before`).
    pub fn on_pod(&mut self, change: &Change, cx: &mut Context<'_>) {
        let Some(pod) = change.value.as_pod() else { return };
        if pod.meta.terminating() && cx.strikes(Canary::Zombie, 5) {
            return;
        }
        if self.setup.fake {
            fakelet::on_pod(self, change, pod, cx);
        } else {
            kubelet::on_pod(self, change, pod, cx);
        }
    }

    /// At the kubelet's start: pods that are not listed were removed while it was away. Their
    /// containers are killed (source: `kubelet_pods.go` `HandlePodCleanups`).
    pub fn forget_others(&mut self, listed: &FxHashSet<ObjRef>, cx: &mut Context<'_>) {
        for id in self.workers.ids() {
            let gone = self.workers.get(id).is_some_and(|w| !listed.contains(&w.object));
            if gone && !statics::is_static(self, id) {
                mounts::release(self, id, cx);
                self.workers.remove(id);
            }
        }
    }

    /// True while it has the disk mounted, by the name that its status has for it: for invariants.
    #[must_use]
    pub fn has_mounted(&self, disk: Sym) -> bool {
        mounts::has_mounted(self, disk)
    }

    /// `spec.podCIDR` that it has from the start.
    pub fn begin_with(&mut self, range: crate::api::Cidr) {
        cni::begin_with(self, range);
    }

    /// True unless pods have no network on it.
    #[must_use]
    pub fn network_ready(&self) -> bool {
        cni::ready(self)
    }

    /// Its kubelet watches its Node for the range of its pods, if it has none yet.
    pub fn heed_node(&mut self) {
        if cni::wants_range(self) {
            mounts::heed(self, (Kind::Node, Sym::EMPTY, Name::new(self.setup.name.as_str())));
        }
    }

    /// ConfigMaps and Secrets that its pods have mounted since it was asked last: it watches them.
    pub fn take_heeds(&mut self) -> Vec<(Kind, Sym, Name)> {
        self.disks.as_deref_mut().map(mounts::take_heeds).unwrap_or_default()
    }

    /// A ConfigMap or Secret that it watches has changed, or its own Node.
    pub fn on_config(&mut self, change: &Change, cx: &mut Context<'_>) {
        if let Some(node) = change.value.as_node() {
            return cni::on_node(self, node.pod_cidr, cx);
        }
        configs::on_change(self, change, cx);
    }

    /// An event of this node (the caller has checked that the machine lives).
    pub fn handle(&mut self, event: NodeEvent, cx: &mut Context<'_>) {
        if event == NodeEvent::RenewLease {
            self.beat(Beat::Renewal, cx);
        } else if event == NodeEvent::ReportStatus {
            self.beat(Beat::Report, cx);
        } else {
            kubelet::handle(self, event, cx);
        }
    }

    /// The answer to a request of the kubelet.
    pub fn on_answer(&mut self, token: u32, outcome: &Outcome, cx: &mut Context<'_>) {
        kubelet::on_answer(self, token, outcome, cx);
    }

    /// Makes sure that the next PLEG tick happens.
    fn arm_relist(&mut self, cx: &mut Context<'_>) {
        if !self.relist_armed {
            self.relist_armed = true;
            let at = self.relist.after(cx.now());
            let (node, incarnation) = (self.index, self.incarnation);
            cx.schedule(at, Event::Node { node, incarnation, event: NodeEvent::Relist });
        }
    }

    /// Sends a request of this kubelet; with a token, the answer comes back to it.
    #[expect(clippy::too_many_arguments, reason = "a request has that many parts")]
    fn submit(
        &mut self,
        kind: Kind,
        ns: Sym,
        name: Name,
        target: Option<ObjRef>,
        op: Op,
        token: Option<u32>,
        cx: &mut Context<'_>,
    ) {
        let at = self.limiter.reserve(cx.now());
        let request = Request { user: User::Kubelet(self.setup.name), kind, ns, name, target, op };
        let reply = token.map(|token| (self.address(), token));
        cx.submit(at, request, reply);
    }

    /// An Event about a pod or the node itself: whether it is a warning, reason, text.
    fn say(
        &mut self,
        (kind, ns, name, uid): (Kind, Sym, Name, Uid),
        (warning, reason, text): (bool, Sym, Sym),
        cx: &mut Context<'_>,
    ) {
        let source = Source::Kubelet(self.setup.name);
        let said = (warning, reason, Text::Plain(text));
        let event = KEvent::new((kind, ns, name, uid), said, source, cx.stamp());
        let op = Op::CreateEvent(Arc::new(event), 0);
        self.submit(Kind::Event, ns, name, None, op, None, cx);
    }

    /// The pods it runs or starts, for invariants: object and whether its containers hold
    /// resources.
    pub fn pods(&self) -> impl Iterator<Item = ObjRef> + '_ {
        self.workers.objects()
    }

    /// What it has let in and not ended, for invariants.
    pub fn admitted(&self) -> impl Iterator<Item = &PodSpec> + '_ {
        self.workers.holding()
    }

    /// The object of a pod known to be gone from the store at the kubelet's start is dropped.
    #[must_use]
    pub fn knows(&self, object: ObjRef) -> bool {
        self.workers.find(object).is_some()
    }
}

/// The range of pod addresses that the store has for the node.
fn shown_cidr(name: Name, cx: &Context<'_>) -> Option<Sym> {
    let versions = cx.versions();
    let object = versions.find(Kind::Node, Sym::EMPTY, name)?;
    Some(versions.current(Kind::Node, object)?.as_node()?.pod_cidr)
}

/// True if the store has the node as ready.
fn shown_ready(name: Name, cx: &Context<'_>) -> bool {
    let versions = cx.versions();
    let object = versions.find(Kind::Node, Sym::EMPTY, name);
    let node = object.and_then(|o| versions.current(Kind::Node, o)?.as_node());
    let ready = node.and_then(|n| n.status.conditions.get(ConditionType::Ready));
    ready.is_some_and(|c| c.status == Truth::True)
}

/// The node's first report, for clusters that exist when the run starts.
#[must_use]
pub fn first_object(agent: &NodeAgent, cx: &Context<'_>) -> Obj {
    Obj::Node(Arc::new(agent.object(cx.stamp(), cx.now())))
}
