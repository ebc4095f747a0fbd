//! kube-controller-manager: its controllers share one set of caches; each has its own queue,
//! workers and client limit. One file per controller, its sync written as upstream's reads.

#[cfg(test)]
mod attach_tests;
mod attachrules;
mod attachstate;
mod claims;
mod daemonboard;
mod daemonplan;
mod depstatus;
mod history;
#[cfg(test)]
mod hpa_tests;
mod hpareplicas;
mod hpascale;
mod jobplan;
mod members;
#[cfg(test)]
mod quota_tests;
mod ranking;
mod rollout;
#[cfg(test)]
mod rules_tests;
mod schedule;
mod setclaims;
mod slicepacking;
mod support;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;
mod topologyhints;
#[cfg(test)]
mod volume_tests;
mod zones;

pub mod attachdetach;
pub mod attacher;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod endpointslice;
pub mod ephemeralvolume;
pub mod gc;
pub mod hpa;
pub mod job;
pub mod namespace;
pub mod nodeipam;
pub mod nodelifecycle;
pub mod persistentvolume;
pub mod podgc;
pub mod provisioner;
pub mod replicaset;
pub mod resizer;
pub mod resourcequota;
pub mod serviceaccount;
pub mod statefulset;
pub mod tainteviction;
pub mod ttlafterfinished;
pub mod volumeprotection;

pub(in crate::control_plane) use daemonplan::{
    tolerations as daemon_tolerations, verdict as daemon_verdict,
};
pub(in crate::control_plane) use support::{Reporter, reports};

use crate::api::request::Outcome;
use crate::api::version::KubeVersion;
use crate::api::versions::Change;
use crate::api::{Cidr, Kind, Obj, Pod};
use crate::client::{Cache, RateLimiter, Runner};
use crate::engine::{Draws, SimDuration, SimTime, Sym};
use crate::event::{Address, Canary, Context, ControllerEvent};
use std::sync::Arc;

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
    /// `--cluster-cidr` with `--allocate-node-cidrs`; none: nobody hands out pod addresses.
    pub pod_cidr: Option<Cidr>,
    /// `--node-cidr-mask-size-ipv4`.
    pub node_cidr_bits: u8,
}

impl ManagerConfig {
    /// What nodes get their ranges of pod addresses from, and the bits of each.
    fn ranges(self) -> Option<(Cidr, u8)> {
        Some((self.pod_cidr?, self.node_cidr_bits))
    }

    /// The defaults of a version.
    #[must_use]
    pub fn new(version: KubeVersion) -> Self {
        let (qps, burst, node_cidr_bits) = (20.0, 30, nodeipam::NODE_BITS);
        Self { qps, burst, version, monitor_grace: None, pod_cidr: None, node_cidr_bits }
    }
}

/// What a controller is made from.
struct Setup<'a> {
    row: u8,
    config: ManagerConfig,
    draws: &'a Draws,
}

/// A delivered change of a pod, as the manager hands it round.
#[expect(clippy::struct_excessive_bools, reason = "questions that controllers ask of a change")]
#[derive(Debug, Clone, Copy)]
struct PodNews {
    /// Kinds of its controller before and after.
    owners: [Option<Kind>; 2],
    /// It has no controller, and is new or has other labels than before.
    free: bool,
    deleted: bool,
    held: bool,
    /// It has owners that do not control it.
    shared: bool,
    /// It has got a node, has ended, or is to go without ever having had a node.
    astray: bool,
}

impl PodNews {
    fn new(change: &Change, before: Option<&Obj>) -> Self {
        let owner = |obj: &Obj| obj.meta().and_then(|m| m.controller()).map(|o| o.kind);
        let owners = [before.and_then(owner), owner(&change.value)];
        let labels = |obj: &Obj| obj.meta().map(|m| m.labels);
        let same =
            before.is_some_and(|b| owners[0].is_none() && labels(b) == labels(&change.value));
        let owners_of = |obj: &Obj| obj.meta().is_some_and(|m| m.owners.is_some());
        let shared =
            owners.contains(&None) && (owners_of(&change.value) || before.is_some_and(owners_of));
        let held = change.value.meta().is_some_and(|m| m.finalizers.is_some());
        let free = owners[1].is_none() && !same && !change.deleted;
        let (now, was) = (change.value.as_pod(), before.and_then(Obj::as_pod));
        let unbound = |pod: Option<&Arc<Pod>>| pod.is_none_or(|p| p.node.is_empty());
        let bound = !unbound(now) && unbound(was);
        let ended = now.into_iter().chain(was).any(|p| p.terminal());
        let astray = bound || ended || unbound(now) && now.is_some_and(|p| p.meta.terminating());
        Self { owners, free, deleted: change.deleted, held, shared, astray }
    }

    /// It is, or was, a pod of this kind's, or may become one.
    fn of(&self, kind: Kind) -> bool {
        self.free || self.owners.contains(&Some(kind))
    }

    fn owned(&self) -> bool {
        self.owners.iter().any(Option::is_some)
    }
}

/// The table of controllers: row, what it is, its type, how it is made, the kinds whose changes it
/// hears of beside pods, and which changes of pods.
macro_rules! controllers {
    ($($(#[$doc:meta])* $row:ident $field:ident: $type:ty = $make:expr, [$($kind:ident)*],
       $pods:expr;)*) => {
        /// A controller: its row in the manager, and the index in the address of its answers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ControllerId {
            $($(#[$doc])* $row,)*
        }

        impl ControllerId {
            /// All, in row order.
            pub const ALL: &[Self] = &[$(Self::$row),*];
            /// How many there are.
            pub const N: usize = Self::ALL.len();

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

        /// A kube-controller-manager.
        #[derive(Debug, Clone)]
        pub struct ControllerManager {
            caches: Cache,
            enabled: [bool; ControllerId::N],
            $($field: Runner<$type>,)*
        }

        impl ControllerManager {
            /// A manager with cold caches.
            #[must_use]
            pub fn new(address: Address, config: ManagerConfig, draws: &Draws) -> Self {
                let limit = || RateLimiter::new(config.qps, config.burst);
                Self {
                    caches: Cache::default(),
                    enabled: [true; ControllerId::N],
                    $($field: {
                        let row = ControllerId::$row.row();
                        let make: fn(Setup<'_>) -> $type = $make;
                        Runner::new(make(Setup { row, config, draws }), row, address, limit())
                    },)*
                }
            }

            /// Requests that controllers leave at the start.
            fn post_all(&mut self, cx: &mut Context<'_>) {
                $(self.$field.post(cx);)*
            }

            fn on_object(&mut self, change: &Change, before: Option<&Obj>, cx: &mut Context<'_>) {
                let kind = change.value.kind();
                let (caches, on) = (&self.caches, &self.enabled);
                $({
                    const HEARD: &[Kind] = &[$(Kind::$kind),*];
                    if on[usize::from(ControllerId::$row.row())]
                        && (HEARD.is_empty() || HEARD.contains(&kind))
                    {
                        self.$field.on_change(change, before, caches, cx);
                    }
                })*
            }

            fn on_pod(&mut self, change: &Change, before: Option<&Obj>, cx: &mut Context<'_>) {
                let Some(pod) = change.value.as_pod() else { return };
                let news = PodNews::new(change, before);
                let (caches, on) = (&self.caches, &self.enabled);
                $({
                    let hears: fn(&PodNews) -> bool = $pods;
                    let ignores = || self.$field.ignores(pod);
                    if on[usize::from(ControllerId::$row.row())] && hears(&news) && !ignores() {
                        self.$field.on_change(change, before, caches, cx);
                    }
                })*
            }

            /// An event of a controller.
            pub fn handle(&mut self, controller: u8, event: ControllerEvent, cx: &mut Context<'_>) {
                let Some(id) = ControllerId::of(controller) else { return };
                match id {
                    $(ControllerId::$row => self.$field.handle(event, &self.caches, cx),)*
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
                match id {
                    $(ControllerId::$row => {
                        self.$field.on_answer(token, outcome, &self.caches, cx);
                    })*
                }
            }
        }
    };
}

// An empty list of kinds means all of them.
controllers! {
    /// Deployments.
    Deployment deployment: deployment::DeploymentController = |_s| Default::default(),
        [Deployment ReplicaSet], |p| p.deleted && p.owners.contains(&Some(Kind::ReplicaSet));
    /// `ReplicaSets`.
    ReplicaSet replicaset: replicaset::ReplicaSetController
        = |_s| replicaset::ReplicaSetController::new(Kind::ReplicaSet),
        [ReplicaSet], |p| p.of(Kind::ReplicaSet);
    /// `ReplicationControllers`.
    ReplicationController rc: replicaset::ReplicaSetController
        = |_s| replicaset::ReplicaSetController::new(Kind::ReplicationController),
        [ReplicationController], |p| p.of(Kind::ReplicationController);
    /// Jobs.
    Job job: job::JobController = |_s| Default::default(), [Job], |p| p.of(Kind::Job);
    /// `StatefulSets`.
    StatefulSet statefulset: statefulset::StatefulSetController = |_s| Default::default(),
        [StatefulSet ControllerRevision], |p| p.of(Kind::StatefulSet);
    /// `DaemonSets`.
    DaemonSet daemonset: daemonset::DaemonSetController = |_s| Default::default(),
        [DaemonSet Node ControllerRevision], |p| p.of(Kind::DaemonSet);
    /// Node health, conditions and taints.
    NodeLifecycle nodelifecycle: nodelifecycle::NodeLifecycle = |s| {
        let grace = s.config.monitor_grace.unwrap_or(s.config.version.node_monitor_grace());
        nodelifecycle::NodeLifecycle::new(s.row, grace, s.draws)
    }, [Node], |_p| false;
    /// Pods on nodes with `NoExecute` taints.
    TaintEviction tainteviction: tainteviction::TaintEviction = |_s| Default::default(),
        [Node], |_p| true;
    /// Dependents of absent owners.
    GarbageCollector gc: gc::GarbageCollector = |_s| gc::GarbageCollector::new(KINDS),
        [], |p| p.owned() || p.held || p.shared || p.deleted;
    /// Ended, unbound and lost pods.
    PodGc podgc: podgc::PodGc = |s| podgc::PodGc::new(s.row, s.draws), [Node], |p| p.astray;
    /// Claims and volumes.
    PersistentVolume persistentvolume: persistentvolume::VolumeBinder
        = |s| persistentvolume::VolumeBinder::new(s.row),
        [StorageClass PersistentVolume PersistentVolumeClaim], |_p| false;
    /// Volumes of CSI drivers; in reality a process of its own.
    Provisioner provisioner: provisioner::Provisioner = |_s| Default::default(),
        [StorageClass PersistentVolume PersistentVolumeClaim VolumeAttachment], |_p| false;
    /// Finalizers of claims.
    ClaimProtection claimprotection: volumeprotection::VolumeProtection
        = |_s| volumeprotection::VolumeProtection::claims(), [PersistentVolumeClaim], |_p| true;
    /// Finalizers of volumes.
    VolumeProtection volumeprotection: volumeprotection::VolumeProtection
        = |_s| volumeprotection::VolumeProtection::volumes(), [PersistentVolume], |_p| false;
    /// `CronJobs`.
    CronJob cronjob: cronjob::CronJobController = |_s| Default::default(), [CronJob Job],
        |_p| false;
    /// Jobs that have ended.
    Ttl ttl: ttlafterfinished::TtlAfterFinished = |_s| Default::default(), [Job], |_p| false;
    /// Namespaces that are being deleted.
    Namespace namespace: namespace::NamespaceController = |_s| Default::default(), [Namespace],
        |_p| false;
    /// The service account `default` of each namespace.
    ServiceAccount accounts: serviceaccount::PerNamespace
        = |_s| serviceaccount::PerNamespace::accounts(), [Namespace ServiceAccount], |_p| false;
    /// The root certificate in each namespace.
    RootCa rootca: serviceaccount::PerNamespace
        = |_s| serviceaccount::PerNamespace::root_ca(), [Namespace ConfigMap], |_p| false;
    /// Disruption budgets.
    Disruption disruption: disruption::DisruptionController = |_s| Default::default(),
        [PodDisruptionBudget], |_p| true;
    /// Addresses of Services.
    EndpointSlice slices: endpointslice::EndpointSliceController = |_s| Default::default(),
        [Service EndpointSlice Node], |_p| true;
    /// Addresses of Services, in the old form.
    Endpoints endpoints: endpoints::EndpointsController = |_s| Default::default(),
        [Service Endpoints], |_p| true;
    /// Autoscalers.
    Hpa hpa: hpa::HpaController = |_s| Default::default(), [HorizontalPodAutoscaler], |_p| true;
    /// Pod addresses of nodes.
    NodeIpam nodeipam: nodeipam::NodeIpam = |s| nodeipam::NodeIpam::new(s.config.ranges()),
        [Node], |_p| false;
    /// Usage of resource quotas.
    ResourceQuota quotas: resourcequota::ResourceQuotaController
        = |s| resourcequota::ResourceQuotaController::new(s.row), [], |_p| true;
    /// Claims of ephemeral volumes.
    EphemeralVolume ephemeralvolume: ephemeralvolume::EphemeralVolumes = |_s| Default::default(),
        [PersistentVolumeClaim], |_p| true;
    /// Volumes of nodes.
    AttachDetach attachdetach: attachdetach::AttachDetach
        = |s| attachdetach::AttachDetach::new(s.row, s.draws),
        [Node PersistentVolume PersistentVolumeClaim VolumeAttachment], |_p| true;
    /// Disks of CSI drivers; in reality a process of its own.
    Attacher attacher: attacher::Attacher = |_s| Default::default(), [VolumeAttachment],
        |_p| false;
    /// Claims that ask for more; likewise.
    Resizer resizer: resizer::Resizer = |_s| Default::default(), [PersistentVolumeClaim],
        |_p| false;
}

/// The kinds a manager watches, owners before what they own.
const KINDS: &[Kind] = &[
    Kind::Node,
    Kind::Namespace,
    Kind::ServiceAccount,
    Kind::ConfigMap,
    Kind::Service,
    Kind::PodDisruptionBudget,
    Kind::HorizontalPodAutoscaler,
    Kind::CronJob,
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::ReplicationController,
    Kind::Job,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::ControllerRevision,
    Kind::StorageClass,
    Kind::CSINode,
    Kind::PersistentVolume,
    Kind::PersistentVolumeClaim,
    Kind::EndpointSlice,
    Kind::Endpoints,
    // Counted by quotas.
    Kind::ResourceQuota,
    Kind::LimitRange,
    Kind::Secret,
    Kind::Ingress,
    Kind::NetworkPolicy,
    Kind::Role,
    Kind::RoleBinding,
    Kind::PodTemplate,
    Kind::ResourceClaim,
    Kind::ResourceClaimTemplate,
    Kind::CSIStorageCapacity,
    Kind::Gateway,
    Kind::HTTPRoute,
    Kind::GRPCRoute,
    Kind::BackendTLSPolicy,
    Kind::ReferenceGrant,
    Kind::Pod,
    Kind::CSIDriver,
    Kind::VolumeAttachment,
];

impl ControllerManager {
    /// The kinds it watches: one shared informer each.
    #[must_use]
    pub fn kinds() -> &'static [Kind] {
        KINDS
    }

    /// A kind has been listed as of a revision.
    pub fn listed(&mut self, kind: Kind, rev: u64) {
        self.caches.reached(kind, rev);
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
        self.post_all(cx);
    }

    /// It begins at this instant: it has seen no heartbeat of before.
    pub fn began(&mut self, now: SimTime) {
        self.nodelifecycle.inner.began(now);
    }

    /// The renewals of a node's lease have stopped: arms the monitor tick at which that can first
    /// be seen.
    pub fn heartbeat_stopped(&mut self, node: Sym, cx: &mut Context<'_>) {
        if self.enabled[usize::from(ControllerId::NodeLifecycle.row())] {
            self.nodelifecycle.inner.heartbeat_stopped(node, cx);
        }
    }

    /// A delivered change; `before` is the content before it.
    pub fn on_change(&mut self, change: &Change, before: Option<&Obj>, cx: &mut Context<'_>) {
        if cx.strikes(Canary::StaleCache, 30) {
            self.caches.reached(change.value.kind(), change.rev);
        } else {
            self.caches.apply(change, before);
        }
        if change.value.kind() == Kind::Pod {
            self.on_pod(change, before, cx);
        } else {
            self.on_object(change, before, cx);
        }
    }
}
