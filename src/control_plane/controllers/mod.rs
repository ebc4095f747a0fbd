//! kube-controller-manager: its controllers share one set of caches; each has its own queue,
//! workers and client limit. One file per controller, its sync written as upstream's reads.

mod depstatus;
mod ranking;
mod rollout;
mod support;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;
mod zones;

pub mod daemonset;
pub mod deployment;
pub mod gc;
pub mod job;
pub mod nodelifecycle;
pub mod podgc;
pub mod replicaset;
pub mod statefulset;
pub mod tainteviction;

use crate::api::request::Outcome;
use crate::api::version::KubeVersion;
use crate::api::versions::Change;
use crate::api::{Kind, Obj};
use crate::client::{Cache, RateLimiter, Runner};
use crate::engine::{Draws, SimDuration, SimTime, Sym};
use crate::event::{Address, Context, ControllerEvent};

/// A controller: its row in the manager, and the index in the address of its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ControllerId {
    /// Deployments.
    Deployment = 0,
    /// `ReplicaSets`.
    ReplicaSet,
    /// Jobs.
    Job,
    /// `StatefulSets`.
    StatefulSet,
    /// `DaemonSets`.
    DaemonSet,
    /// Node health, conditions and taints.
    NodeLifecycle,
    /// Pods on nodes with `NoExecute` taints.
    TaintEviction,
    /// Dependents of absent owners.
    GarbageCollector,
    /// Ended, unbound and lost pods.
    PodGc,
}

impl ControllerId {
    /// How many there are.
    pub const N: usize = 9;

    /// All, in row order.
    pub const ALL: [Self; Self::N] = [
        Self::Deployment,
        Self::ReplicaSet,
        Self::Job,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::NodeLifecycle,
        Self::TaintEviction,
        Self::GarbageCollector,
        Self::PodGc,
    ];

    /// The row.
    #[must_use]
    pub const fn row(self) -> u8 {
        self as u8
    }

    /// The controller of a row.
    #[must_use]
    pub fn of(row: u8) -> Option<Self> {
        Self::ALL.get(usize::from(row)).copied()
    }
}

/// Flags of the manager.
#[derive(Debug, Clone, Copy)]
pub struct ManagerConfig {
    /// `--kube-api-qps`, of each controller's own client; 0 for no limit.
    pub qps: f64,
    /// `--kube-api-burst`.
    pub burst: u32,
    /// Kubernetes version: its defaults.
    pub version: KubeVersion,
    /// `--node-monitor-grace-period`; none for the version's default.
    pub monitor_grace: Option<SimDuration>,
}

impl ManagerConfig {
    /// The defaults of a version.
    #[must_use]
    pub fn new(version: KubeVersion) -> Self {
        Self { qps: 20.0, burst: 30, version, monitor_grace: None }
    }
}

/// A kube-controller-manager.
#[derive(Debug, Clone)]
pub struct ControllerManager {
    caches: Cache,
    enabled: [bool; ControllerId::N],
    deployment: Runner<deployment::DeploymentController>,
    replicaset: Runner<replicaset::ReplicaSetController>,
    job: Runner<job::JobController>,
    statefulset: Runner<statefulset::StatefulSetController>,
    daemonset: Runner<daemonset::DaemonSetController>,
    nodelifecycle: Runner<nodelifecycle::NodeLifecycle>,
    tainteviction: Runner<tainteviction::TaintEviction>,
    gc: Runner<gc::GarbageCollector>,
    podgc: Runner<podgc::PodGc>,
}

/// The kinds a manager watches, owners before what they own.
const KINDS: &[Kind] = &[
    Kind::Node,
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::Job,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::Pod,
];

impl ControllerManager {
    /// A manager with cold caches.
    #[must_use]
    pub fn new(address: Address, config: ManagerConfig, draws: &Draws) -> Self {
        use ControllerId as Id;
        let limit = || RateLimiter::new(config.qps, config.burst);
        let grace = config.monitor_grace.unwrap_or(config.version.node_monitor_grace());
        let lifecycle = nodelifecycle::NodeLifecycle::new(Id::NodeLifecycle.row(), grace, draws);
        let collector = gc::GarbageCollector::new(KINDS);
        let podgc = podgc::PodGc::new(Id::PodGc.row(), draws);
        Self {
            caches: Cache::default(),
            enabled: [true; ControllerId::N],
            deployment: Runner::new(Default::default(), Id::Deployment.row(), address, limit()),
            replicaset: Runner::new(Default::default(), Id::ReplicaSet.row(), address, limit()),
            job: Runner::new(Default::default(), Id::Job.row(), address, limit()),
            statefulset: Runner::new(Default::default(), Id::StatefulSet.row(), address, limit()),
            daemonset: Runner::new(Default::default(), Id::DaemonSet.row(), address, limit()),
            nodelifecycle: Runner::new(lifecycle, Id::NodeLifecycle.row(), address, limit()),
            tainteviction: Runner::new(
                Default::default(),
                Id::TaintEviction.row(),
                address,
                limit(),
            ),
            gc: Runner::new(collector, Id::GarbageCollector.row(), address, limit()),
            podgc: Runner::new(podgc, Id::PodGc.row(), address, limit()),
        }
    }

    /// The kinds it watches: one shared informer each.
    #[must_use]
    pub fn kinds() -> &'static [Kind] {
        KINDS
    }

    /// The shared caches.
    #[must_use]
    pub fn caches(&self) -> &Cache {
        &self.caches
    }

    /// Takes a controller out (`--controllers=*,-NAME`): call it before the manager starts.
    pub fn disable(&mut self, id: ControllerId) {
        self.enabled[usize::from(id.row())] = false;
    }

    /// The manager starts. Nothing is armed yet: the grids arm themselves from deliveries.
    pub fn start(&mut self, cx: &mut Context<'_>) {
        self.nodelifecycle.post(cx);
    }

    /// It begins at this instant: it has seen no heartbeat of before.
    pub fn began(&mut self, now: SimTime) {
        self.nodelifecycle.inner.began(now);
    }

    /// The renewals of a node's lease have stopped: arms the monitor tick at which that can first
    /// be seen.
    pub fn heartbeat_stopped(&mut self, node: Sym, cx: &mut Context<'_>) {
        if self.on(ControllerId::NodeLifecycle) {
            self.nodelifecycle.inner.heartbeat_stopped(node, cx);
        }
    }

    fn on(&self, id: ControllerId) -> bool {
        self.enabled[usize::from(id.row())]
    }

    /// A delivered change; `before` is the content before it.
    pub fn on_change(&mut self, change: &Change, before: Option<&Obj>, cx: &mut Context<'_>) {
        self.caches.apply(change, before);
        let kind = change.value.kind();
        if kind == Kind::Pod {
            self.on_pod(change, before, cx);
            return;
        }
        let caches = &self.caches;
        let on = self.enabled;
        let is = |id: ControllerId| on[usize::from(id.row())];
        if is(ControllerId::Deployment) && matches!(kind, Kind::Deployment | Kind::ReplicaSet) {
            self.deployment.on_change(change, before, caches, cx);
        }
        if is(ControllerId::ReplicaSet) && kind == Kind::ReplicaSet {
            self.replicaset.on_change(change, before, caches, cx);
        }
        if is(ControllerId::Job) && kind == Kind::Job {
            self.job.on_change(change, before, caches, cx);
        }
        if is(ControllerId::StatefulSet) && kind == Kind::StatefulSet {
            self.statefulset.on_change(change, before, caches, cx);
        }
        if is(ControllerId::DaemonSet) && matches!(kind, Kind::DaemonSet | Kind::Node) {
            self.daemonset.on_change(change, before, caches, cx);
        }
        if kind == Kind::Node {
            if is(ControllerId::NodeLifecycle) {
                self.nodelifecycle.on_change(change, before, caches, cx);
            }
            if is(ControllerId::TaintEviction) {
                self.tainteviction.on_change(change, before, caches, cx);
            }
            if is(ControllerId::PodGc) {
                self.podgc.on_change(change, before, caches, cx);
            }
        }
        if is(ControllerId::GarbageCollector) {
            self.gc.on_change(change, before, caches, cx);
        }
    }

    /// A pod's change. A pod that nobody owns passes by the workload controllers.
    fn on_pod(&mut self, change: &Change, before: Option<&Obj>, cx: &mut Context<'_>) {
        let owner = |obj: &Obj| obj.meta().and_then(|m| m.controller()).map(|o| o.kind);
        let new = owner(&change.value);
        let old = before.and_then(owner).filter(|kind| Some(*kind) != new);
        for kind in old.into_iter().chain(new) {
            let caches = &self.caches;
            if kind == Kind::ReplicaSet && self.enabled[1] {
                self.replicaset.on_change(change, before, caches, cx);
            }
            if kind == Kind::ReplicaSet && self.enabled[0] && change.deleted {
                self.deployment.on_change(change, before, caches, cx);
            }
            if kind == Kind::Job && self.enabled[2] {
                self.job.on_change(change, before, caches, cx);
            }
            if kind == Kind::StatefulSet && self.enabled[3] {
                self.statefulset.on_change(change, before, caches, cx);
            }
            if kind == Kind::DaemonSet && self.enabled[4] {
                self.daemonset.on_change(change, before, caches, cx);
            }
        }
        let caches = &self.caches;
        if self.enabled[6] {
            self.tainteviction.on_change(change, before, caches, cx);
        }
        let terminating = change.value.meta().is_some_and(|m| m.finalizers.is_some());
        if self.enabled[7] && (new.is_some() || old.is_some() || terminating) {
            self.gc.on_change(change, before, caches, cx);
        }
        if self.enabled[8] {
            self.podgc.on_change(change, before, caches, cx);
        }
    }

    /// An event of a controller.
    pub fn handle(&mut self, controller: u8, event: ControllerEvent, cx: &mut Context<'_>) {
        let Some(id) = ControllerId::of(controller) else { return };
        let caches = &self.caches;
        match id {
            ControllerId::Deployment => self.deployment.handle(event, caches, cx),
            ControllerId::ReplicaSet => self.replicaset.handle(event, caches, cx),
            ControllerId::Job => self.job.handle(event, caches, cx),
            ControllerId::StatefulSet => self.statefulset.handle(event, caches, cx),
            ControllerId::DaemonSet => self.daemonset.handle(event, caches, cx),
            ControllerId::NodeLifecycle => self.nodelifecycle.handle(event, caches, cx),
            ControllerId::TaintEviction => self.tainteviction.handle(event, caches, cx),
            ControllerId::GarbageCollector => self.gc.handle(event, caches, cx),
            ControllerId::PodGc => self.podgc.handle(event, caches, cx),
        }
    }

    /// The answer to a request; the index of the reply's address is the controller's row.
    pub fn on_answer(
        &mut self,
        controller: u8,
        token: u32,
        outcome: Outcome,
        cx: &mut Context<'_>,
    ) {
        let Some(id) = ControllerId::of(controller) else { return };
        let caches = &self.caches;
        match id {
            ControllerId::Deployment => self.deployment.on_answer(token, outcome, caches, cx),
            ControllerId::ReplicaSet => self.replicaset.on_answer(token, outcome, caches, cx),
            ControllerId::Job => self.job.on_answer(token, outcome, caches, cx),
            ControllerId::StatefulSet => self.statefulset.on_answer(token, outcome, caches, cx),
            ControllerId::DaemonSet => self.daemonset.on_answer(token, outcome, caches, cx),
            ControllerId::NodeLifecycle => {
                self.nodelifecycle.on_answer(token, outcome, caches, cx);
            }
            ControllerId::TaintEviction => {
                self.tainteviction.on_answer(token, outcome, caches, cx);
            }
            ControllerId::GarbageCollector => self.gc.on_answer(token, outcome, caches, cx),
            ControllerId::PodGc => self.podgc.on_answer(token, outcome, caches, cx),
        }
    }
}
