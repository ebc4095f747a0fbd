//! Assembly: what a run consists of ([`spec`]), the owner of all components ([`Cluster`], whose
//! clone is a snapshot), the wiring on one page (`dispatch`), the scenario's user.

mod awaits;
mod cloud;
mod control;
mod dispatch;
mod faults;
mod inject;
pub mod invariants;
mod links;
mod lives;
mod outages;
mod policy;
pub use policy::{shares_gpus, typical_pods};
mod requests;
pub mod spec;
mod standstill;
mod trouble;
mod tuning;
mod user;
mod waves;

pub use dispatch::HELD;
pub use trouble::NETWORK;

use crate::addons::metrics_server::MetricsServer;
use crate::api::node::keys;
use crate::api::pod::{Effect, Taint};
use crate::api::workload::Namespace;
use crate::api::{Cidr, Kind, Meta, Name, Obj, Stamp};
use crate::control_plane::apiserver::{self, ApiServer, CommitLatency};
use crate::control_plane::controllers::{ControllerManager, ManagerConfig};
use crate::control_plane::scheduler::Scheduler;
use crate::control_plane::scheduler::profile::ProfileRow;
use crate::control_plane::scheduler::timed::{Clock, Tally};
use crate::engine::digest::Digest;
use crate::engine::{Purpose, SimTime, Sym, Tabled, num};
use crate::event::lease::{Beat, PERIOD};
use crate::event::logs::{Logging, Tally as LogTally};
use crate::event::usage::Load;
use crate::event::{Address, Event, Record, Role, Shared};
use crate::node::{
    Catalog, KubeletConfig, NodeAgent, NodeLatencies, Registry, RuntimeName, Setup, log_loads,
};
use rustc_hash::FxHashMap;
use spec::{Agent, ClusterSpec, Component, NodeSpec, Plan};
use std::sync::Arc;
use user::Driver;

/// Namespaces every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// A whole cluster and its pending events. A clone is a snapshot.
#[derive(Debug, Clone)]
pub struct Cluster {
    plan: Arc<Plan>,
    shared: Shared,
    api: ApiServer,
    scheduler: Scheduler,
    controllers: ControllerManager,
    nodes: Vec<NodeAgent>,
    by_name: FxHashMap<Sym, u32>,
    driver: Driver,
    metrics: MetricsServer,
    registry: Registry,
    /// Victims of the faults under way.
    struck: Vec<Vec<u32>>,
    /// What overlapping faults keep away.
    away: outages::Away,
    /// What is wrong with networks and clocks.
    links: Box<links::Links>,
    lives: lives::Lives,
    /// Requests to Services, and the proxies that they go through.
    requests: Option<Box<requests::Requests>>,
    /// The nodes of the control plane, if it runs on nodes.
    control: Option<Box<control::Control>>,
    /// The cloud around it, if there is one.
    cloud: Option<Box<cloud::Clouds>>,
    faults_open: usize,
    events: u64,
}

/// Numbers for `--profile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Events handled.
    pub events: u64,
    /// Requests that reached the API server.
    pub requests: u64,
    /// Requests answered with an error.
    pub refused: u64,
    /// Revisions of the store.
    pub revisions: u64,
    /// Bytes in etcd at the end.
    pub etcd_bytes: u64,
    /// Most requests in service or waiting at one time.
    pub peak_in_flight: usize,
    /// Revisions of pods.
    pub pod_revisions: u64,
    /// Kubernetes Events created.
    pub events_created: u64,
}

impl Cluster {
    /// The cluster of a plan at the start of its run.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        let spec = &plan.cluster;
        let mut shared = Shared::new(plan.seed, spec.version, spec.epoch_s, spec.latency.network);
        shared.drivers = spec.drivers.clone();
        let loads: Arc<[Load]> = plan.usage.clone().into();
        let catalog = Arc::new(Catalog {
            described: spec.images.iter().cloned().collect(),
            default_bytes: i64::try_from(spec.latency.image_bytes).unwrap_or(i64::MAX),
        });
        let latencies = RUNTIMES.map(|runtime| Arc::new(latencies(spec, runtime)));
        let logging = plan.logging.clone();
        if let Some(logging) = logging.as_deref() {
            shared.log_store.bytes_per_s = logging.store_bytes_per_s;
            shared.log_store.agent_bytes_per_s =
                logging.agent.as_ref().map_or(0, |agent| agent.bytes_per_s);
        }
        let world = World { latencies, loads: Arc::clone(&loads), logging, catalog };
        let nodes: Vec<NodeAgent> = spec
            .nodes
            .iter()
            .enumerate()
            .map(|(i, node)| {
                let setup = Arc::new(setup(node, &world, spec));
                NodeAgent::new(setup, num::u32_of(i), &shared.draws)
            })
            .collect();
        let by_name = nodes.iter().enumerate().map(|(i, n)| (n.name(), num::u32_of(i))).collect();
        let mut cluster = Self {
            api: ApiServer::new(api_config(&plan), &shared.draws),
            scheduler: policy::scheduler(&plan, Address::new(Role::Scheduler, 0)),
            controllers: ControllerManager::new(
                Address::new(Role::ControllerManager, 0),
                manager_config(&plan),
                &shared.draws,
            ),
            driver: Driver::new(&plan),
            metrics: MetricsServer::new(&loads, spec.metrics_resolution, &shared.draws),
            registry: Registry::new(spec.registry_bytes_per_s, spec.latency.pull_bytes_per_s),
            struck: vec![Vec::new(); plan.faults.len()],
            away: outages::Away::default(),
            links: Box::default(),
            lives: lives::Lives::default(),
            requests: requests::Requests::of(&plan),
            control: None,
            cloud: cloud::Clouds::new(&plan, &world),
            faults_open: plan.faults.len(),
            nodes,
            by_name,
            shared,
            plan,
            events: 0,
        };
        cluster.start();
        cluster
    }

    /// Everything that is there at time zero: watches, namespaces, nodes, the first steps.
    fn start(&mut self) {
        let plan = Arc::clone(&self.plan);
        // Nothing is there yet: both list an empty store.
        self.start_component(Component::Scheduler, 0);
        self.start_component(Component::ControllerManager, 0);
        self.open_watches();
        let cx = &mut self.shared.context(0);
        for name in NAMESPACES {
            let mut meta = Meta::named(Sym::EMPTY, Name::new(name));
            meta.created = cx.stamp();
            meta.uid = crate::api::Uid(Sym::new(name).stable_hash());
            let namespace = Namespace { meta, ..Namespace::default() };
            let accounts = [Kind::ServiceAccount, Kind::ConfigMap];
            let accounts = accounts.map(|kind| standing(kind, Sym::new(name), cx));
            let always = [Obj::Namespace(Arc::new(namespace))].into_iter().chain(accounts);
            // A dump brings its own.
            let brought =
                |o: &Obj| plan.warm.iter().any(|w| (w.kind(), w.key()) == (o.kind(), o.key()));
            for object in always.filter(|object| !brought(object)) {
                preload(&mut self.api, object, cx);
            }
        }
        self.start_nodes(&plan);
        let cx = &mut self.shared.context(0);
        for object in &plan.warm {
            preload(&mut self.api, object.clone(), cx);
        }
        for node in &mut self.nodes {
            if node.kubelet_up() {
                node.start_statics(cx);
            }
        }
        self.start_control();
        let cx = &mut self.shared.context(0);
        self.api.start(cx);
        self.metrics.start(cx);
        self.driver.start(cx);
        let known = plan.faults.iter().enumerate().filter(|(_, f)| f.at < SimTime::MAX);
        for (i, fault) in known {
            cx.schedule(fault.at, Event::Fault { fault: num::u32_of(i), end: false });
        }
        self.start_requests();
        self.start_awaits();
        self.start_outages();
        self.start_cloud();
    }

    /// Watches of those who have nothing to list.
    fn open_watches(&mut self) {
        let lag = self.plan.cluster.latency.watch;
        self.watch_requests();
        let cx = &mut self.shared.context(0);
        if self.metrics.watches_pods() {
            self.api.watch(Kind::Pod, Address::new(Role::MetricsServer, 0), lag, cx);
        }
        if self.driver.watches_pods() {
            self.api.watch(Kind::Pod, Address::new(Role::User, 0), lag, cx);
        }
    }

    /// The nodes that are there from the start, and when the others join.
    fn start_nodes(&mut self, plan: &Plan) {
        let lag = plan.cluster.latency.watch;
        let mut given = ranges(&plan.cluster);
        let cx = &mut self.shared.context(0);
        for node in &mut self.nodes {
            let joins = plan.cluster.nodes[node.index()].joins;
            if joins > cx.now() {
                node.join_at(joins, cx);
                continue;
            }
            preload(&mut self.api, standing_node(node, given.next(), cx), cx);
            if let Some(mut object) = node.csi_node(cx) {
                if let Some(meta) = object.meta_mut() {
                    let hash = crate::engine::digest::mix(
                        node.name().stable_hash(),
                        Kind::CSINode.index() as u64,
                    );
                    (meta.created, meta.uid) = (cx.stamp(), crate::api::Uid(hash));
                }
                let brought = |o: &Obj| (o.kind(), o.key()) == (Kind::CSINode, object.key());
                if !plan.warm.iter().any(brought) {
                    preload(&mut self.api, object, cx);
                }
            }
            self.api.watches.open_node(node.name(), node.address(), lag);
            node.heed_node();
            for of in node.take_heeds() {
                self.api.watches.heed(of, node.address(), lag);
            }
            let entity = node.name().stable_hash();
            let first = cx.draw(entity, Purpose("lease-phase"), 0).below(PERIOD.0);
            let now = cx.now();
            let reports = plan.cluster.nodes[node.index()].agent == Agent::Kubelet;
            let first = crate::engine::SimDuration(first);
            cx.leases_mut().start(node.name(), now, first, reports);
            if plan.cluster.explicit_heartbeats {
                preload(&mut self.api, Obj::Lease(Arc::new(node.lease(now))), cx);
                node.arm_beat(Beat::Renewal, cx);
                node.arm_beat(Beat::Report, cx);
            }
        }
    }

    /// The plan it runs.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The scheduler.
    #[must_use]
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Adds a plugin of the user's to a profile, before the run begins.
    pub fn add_plugin(&mut self, profile: usize, row: ProfileRow) {
        self.scheduler.add_plugin(profile, row);
    }

    /// Times the scheduler's plugins from now on.
    pub fn time_plugins(&mut self, clock: &Arc<dyn Clock>) -> Vec<Arc<Tally>> {
        self.scheduler.time_plugins(clock)
    }

    /// The shared state: time, versions, digest.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Turns the recording of every hop on or off. It never changes what happens.
    pub fn trace(&mut self, on: bool) {
        self.shared.tracing = on;
    }

    /// The digest so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.shared.digest
    }

    /// When the next event happens.
    pub fn next_time(&mut self) -> Option<SimTime> {
        self.shared.queue.next_time()
    }

    /// Records since they were last taken.
    pub fn take_records(&mut self, into: &mut Vec<Record>) {
        into.clear();
        std::mem::swap(into, &mut self.shared.records);
    }

    /// What has become of the logs of each node that has had any, by an instant that is not past.
    pub fn log_tallies(&self, now: SimTime) -> impl Iterator<Item = (Sym, LogTally)> + '_ {
        self.nodes.iter().filter_map(move |n| Some((n.name(), n.log_tally(now)?)))
    }

    /// Numbers for `--profile`.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let counts = self.api.counts();
        Profile {
            events: self.events,
            requests: counts.requests,
            refused: counts.refused,
            revisions: self.shared.versions.rev(),
            etcd_bytes: self.api.etcd_bytes(),
            peak_in_flight: counts.peak_in_flight,
            pod_revisions: counts.pod_revisions,
            events_created: counts.events_created,
        }
    }

    /// True if nothing is left to come of the workload: all steps, arrivals and faults are done,
    /// and no pod waits or runs towards an end.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        // Outages go on to the end.
        self.faults_open == 0
            && self.plan.outages.is_empty()
            && self.driver.done()
            && self.shared.versions.iter(Kind::Pod).all(|(_, obj)| settled(obj))
    }

    /// The run ends at this instant.
    pub fn finish(&mut self, at: SimTime) {
        self.shared.advance(at);
    }
}

/// A pod that stays as it is unless somebody acts.
fn settled(obj: &Obj) -> bool {
    obj.as_pod().is_some_and(|p| {
        let stays = p.ready() && !p.spec.restless();
        p.meta.deletion.is_none() && (p.terminal() || stays)
    })
}

/// What a namespace of an old cluster has.
fn standing(kind: Kind, ns: Sym, cx: &crate::event::Context<'_>) -> Obj {
    let mut object = crate::control_plane::controllers::serviceaccount::standing(kind, ns);
    if let Some(meta) = object.meta_mut() {
        meta.created = cx.stamp();
        let hash = crate::engine::digest::mix(ns.stable_hash(), kind.index() as u64);
        meta.uid = crate::api::Uid(hash);
    }
    object
}

/// The ranges of pod addresses that nodes of an old cluster have, in their order.
fn ranges(spec: &ClusterSpec) -> impl Iterator<Item = Cidr> {
    let whole = spec.pod_cidr.filter(|_| spec.cni.is_some());
    let bits = spec.node_cidr_bits;
    let n = whole.map_or(0, |cidr| cidr.parts(bits));
    (0..n).filter_map(move |i| whole?.part(bits, i))
}

/// The Node of a machine that is there from the start.
fn standing_node(node: &mut NodeAgent, range: Option<Cidr>, cx: &crate::event::Context<'_>) -> Obj {
    if let Some(range) = range {
        node.begin_with(range);
    }
    let mut object = crate::node::first_object(node, cx);
    if let Some(meta) = object.meta_mut() {
        meta.created = cx.stamp();
        meta.uid = crate::api::Uid(node.name().stable_hash());
    }
    if let Obj::Node(it) = &mut object
        && !node.network_ready()
    {
        // It has registered before, and was found not to be ready.
        let (key, effect) = (keys::NOT_READY.into(), Effect::NoSchedule);
        let taint = Taint { key, value: Sym::EMPTY, effect, added: Stamp::NONE };
        let it = Arc::make_mut(it);
        it.taints = it.taints.iter().copied().chain([taint]).collect();
    }
    object
}

/// Puts an object into the store before the run; two of one name were refused when the plan was
/// made.
fn preload(api: &mut ApiServer, object: Obj, cx: &mut crate::event::Context<'_>) {
    let outcome = api.preload(object, cx);
    debug_assert!(outcome.is_ok(), "an object of the start was refused: {outcome:?}");
}

/// What all nodes share.
#[derive(Debug, Clone)]
struct World {
    /// By runtime.
    latencies: [Arc<NodeLatencies>; 3],
    loads: Arc<[Load]>,
    logging: Option<Arc<Logging>>,
    catalog: Arc<Catalog>,
}

impl World {
    /// What pods use on a node with this kubelet: what they log depends on how it rotates.
    fn loads_on(&self, kubelet: &KubeletConfig) -> Arc<[Load]> {
        let Some(logging) = self.logging.as_deref() else { return Arc::clone(&self.loads) };
        let logs = log_loads(logging, kubelet);
        self.loads.iter().cloned().chain(logs).collect()
    }
}

const RUNTIMES: [RuntimeName; 3] =
    [RuntimeName::Containerd, RuntimeName::CriO, RuntimeName::Docker];

fn latencies(spec: &ClusterSpec, runtime: RuntimeName) -> NodeLatencies {
    let latency = &spec.latency;
    let (sandbox, container) = match runtime.percent() {
        100 => (latency.sandbox, latency.container),
        percent => (latency.sandbox.stretched(percent), latency.container.stretched(percent)),
    };
    NodeLatencies {
        mount: Tabled::new(latency.mount, Purpose("mount")),
        sandbox: Tabled::new(sandbox, Purpose("sandbox")),
        network: spec.cni.as_ref().map(|cni| Tabled::new(cni.setup, Purpose("cni add"))),
        container: Tabled::new(container, Purpose("container")),
        pull_bytes_per_s: latency.pull_bytes_per_s,
    }
}

fn setup(node: &NodeSpec, world: &World, spec: &ClusterSpec) -> Setup {
    Setup {
        name: node.name,
        zone: node.zone,
        provider_id: cloud::provider_id(node, spec),
        labels: node.labels,
        taints: node.taints.clone().into(),
        capacity: Arc::clone(&node.capacity),
        allocatable: Arc::clone(&node.allocatable),
        images: Arc::clone(&node.images),
        fake: node.agent == Agent::Fakelet,
        explicit: spec.explicit_heartbeats,
        boot: node.boot,
        limits: spec.limits.kubelet,
        latencies: Arc::clone(&world.latencies[node.runtime as usize]),
        kubelet: Arc::clone(&node.kubelet),
        statics: Arc::clone(&node.statics),
        loads: world.loads_on(&node.kubelet),
        logging: world.logging.clone(),
        catalog: Arc::clone(&world.catalog),
        shared_registry: spec.registry_bytes_per_s.is_some(),
        cni: spec.cni.clone(),
    }
}

fn api_config(plan: &Plan) -> apiserver::Config {
    let latency = &plan.cluster.latency;
    apiserver::Config {
        work: latency.api,
        event_ttl: plan.cluster.event_ttl,
        commit: CommitLatency::new(latency.fsync, latency.raft_rtt),
        pins: plan.pins.iter().map(|p| (p.prefix.clone(), p.nodes.clone())).collect(),
        service_cidr: plan.cluster.service_cidr,
        members: plan.cluster.control_plane.as_ref().map(|control| members(plan, control)),
    }
}

fn members(plan: &Plan, control: &spec::ControlPlane) -> apiserver::Members {
    apiserver::Members {
        names: control.nodes.clone(),
        fsync: plan.cluster.latency.fsync,
        rtt: plan.cluster.latency.raft_rtt,
        quota_bytes: control.quota_bytes,
        needed: control.needed,
    }
}

fn manager_config(plan: &Plan) -> ManagerConfig {
    let (qps, burst) = plan.cluster.limits.controllers;
    ManagerConfig {
        qps,
        burst,
        version: plan.cluster.version,
        monitor_grace: plan.cluster.monitor_grace,
        pod_cidr: plan.cluster.pod_cidr,
        node_cidr_bits: plan.cluster.node_cidr_bits,
    }
}
