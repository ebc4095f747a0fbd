//! Everything that can happen, on one page: [`Event`], the [`record::Record`]s that observers see,
//! and the [`context::Context`], which is all a component may do.

pub mod canary;
pub mod cloud;
pub mod context;
pub mod drivers;
pub mod lease;
pub mod logs;
pub mod record;
pub mod traffic;
pub mod usage;
pub mod work;

pub use canary::Canary;
pub use cloud::{AutoscalerEvent, CloudEvent};
pub use context::{Context, Shared};
pub use drivers::{Driver, Drivers};
pub use record::{Record, What};

use crate::engine::id::Id;

/// A kind of component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// The scenario's user: workload driver and kubectl in one.
    User,
    /// An API server.
    ApiServer,
    /// A scheduler.
    Scheduler,
    /// A kube-controller-manager.
    ControllerManager,
    /// The kubelet (or fakelet) of a node.
    Kubelet,
    /// The metrics server.
    MetricsServer,
    /// A process that stands for election: a scheduler or a controller manager on its node.
    Candidate,
    /// The kube-proxies of all nodes, which read one stream.
    Proxies,
    /// Clients in the cluster, as far as traffic has to know which pods they are.
    Clients,
    /// A cloud-controller-manager.
    CloudManager,
    /// The autoscaler of nodes.
    Autoscaler,
}

impl Role {
    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "kubectl",
            Self::ApiServer => "kube-apiserver",
            Self::Scheduler => "kube-scheduler",
            Self::ControllerManager => "kube-controller-manager",
            Self::Kubelet => "kubelet",
            Self::MetricsServer => "metrics-server",
            Self::Candidate => "candidate",
            Self::Proxies => "kube-proxy",
            Self::Clients => "clients",
            Self::CloudManager => "cloud-controller-manager",
            Self::Autoscaler => "autoscaler",
        }
    }
}

/// A component: its kind, its number and which of its lives. Mail to a life that has ended is
/// dropped by `dispatch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// Kind of component.
    pub role: Role,
    /// Which of its lives.
    pub incarnation: u16,
    /// Which one (for kubelets: the node's index).
    pub index: u32,
}

impl Address {
    /// The first life of a component.
    #[must_use]
    pub const fn new(role: Role, index: u32) -> Self {
        Self { role, incarnation: 0, index }
    }
}

/// What may happen. Small and `Copy`: payloads sit in arenas and are freed by the event that
/// answers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// To an API server.
    Api(ApiEvent),
    /// A watch has something to deliver to its client.
    Watch {
        /// Number of the watch.
        watch: u32,
    },
    /// The answer to a request reaches the client; the request holds the outcome.
    Answer {
        /// Who asked.
        to: Address,
        /// What the client needs to find its place again.
        token: u32,
        /// The request.
        request: Id,
    },
    /// To a scheduler.
    Scheduler(SchedulerEvent),
    /// To a controller of a controller manager.
    Controller {
        /// Which controller, by its row in the controller table.
        controller: u8,
        /// What for.
        event: ControllerEvent,
    },
    /// To a node: machine, runtime or kubelet.
    Node {
        /// Which node.
        node: u32,
        /// The life of the node that it is meant for.
        incarnation: u16,
        /// What for.
        event: NodeEvent,
    },
    /// To the image registry.
    Registry(RegistryEvent),
    /// The metrics server looks at what pods use.
    Scrape,
    /// Machines fail by a record, or by chance.
    Outage(OutageEvent),
    /// The scenario's user does something.
    User(UserEvent),
    /// A fault begins or ends.
    Fault {
        /// Row in the plan's list of faults.
        fault: u32,
        /// True when it ends.
        end: bool,
    },
    /// Something about the processes of the control plane.
    Control(ControlEvent),
    /// Something about what is cut, late or taken away.
    Trouble(TroubleEvent),
    /// To the cloud, or from it.
    Cloud(CloudEvent),
    /// To the autoscaler of nodes.
    Autoscaler(AutoscalerEvent),
    /// To the kube-proxy of a node.
    Proxy(ProxyEvent),
    /// Something that changes what requests come to.
    Traffic(TrafficEvent),
    /// What an agent may ship to the store of logs has changed: all of them hear of it.
    LogStore,
}

/// Events of a kube-proxy. A number that is not the last one given is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyEvent {
    /// It begins to write rules.
    Sync {
        /// The node.
        node: u32,
        /// Number of the sync.
        number: u32,
    },
    /// Its rules are in force.
    Synced {
        /// The node.
        node: u32,
        /// Number of the sync.
        number: u32,
    },
}

/// Events of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrafficEvent {
    /// The rate of a row changes.
    Rate {
        /// The row.
        row: u32,
    },
    /// A program begins to listen, or ceases to.
    Listens {
        /// Identity of its pod.
        pod: crate::api::Uid,
    },
    /// The checks of a load balancer come to another verdict of a node.
    Checked {
        /// The row of traffic that it belongs to.
        row: u32,
        /// The node.
        node: u32,
        /// Number of the verdict.
        number: u32,
    },
}

/// Events about networks that fail and machines that are taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TroubleEvent {
    /// A kubelet closes its connections: its heartbeats have run into their time-outs.
    GivesUp {
        /// The node.
        node: u32,
        /// Which of its troubles.
        number: u32,
    },
    /// A kubelet gets through again.
    Through {
        /// The node.
        node: u32,
        /// Which of its troubles.
        number: u32,
    },
    /// A change that was late reaches a kubelet.
    Mail {
        /// The node.
        node: u32,
    },
    /// The provider takes a machine.
    Taken {
        /// Row in the plan's list of faults.
        fault: u32,
        /// The node.
        node: u32,
    },
    /// Whoever upgrades nodes looks how far they are.
    Upgrade {
        /// Row in the plan's list of faults.
        fault: u32,
    },
    /// A fault that waits for something looks whether it has come.
    Waits {
        /// Row in the plan's list of faults.
        fault: u32,
    },
}

/// Events about outages. `source` is the row of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutageEvent {
    /// The next outage of a record begins.
    Next {
        /// Of which source.
        source: u32,
        /// Its number.
        number: u32,
    },
    /// A machine fails.
    Fails {
        /// Of which source.
        source: u32,
        /// The node.
        node: u32,
        /// How often it has failed before.
        number: u32,
    },
    /// A machine comes back.
    Back {
        /// Of which source.
        source: u32,
        /// The node.
        node: u32,
        /// How often it had failed before.
        number: u32,
    },
}

/// Events of an API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiEvent {
    /// A request arrives over the network.
    Arrive(Id),
    /// A request has waited for a seat as long as it may.
    GiveUp(Id),
    /// Admission looks again for an account that was missing.
    Admit(Id),
    /// etcd has committed (or refused) the request's transaction.
    Commit(Id),
    /// The periodic compaction of etcd, driven by the API server.
    Compact,
    /// Kubernetes Events (and other objects under an etcd lease) expire.
    Expire,
    /// etcd has not answered in time.
    Timeout(Id),
    /// Members of etcd have voted; the number says in which ballot.
    Elect(u32),
}

/// Events about the processes of a control plane that runs on nodes. `host` counts its nodes,
/// `race` the elections, `process` the static pods of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlEvent {
    /// A kubelet has started the container of a static pod.
    Start {
        /// Where.
        host: u8,
        /// Which.
        process: u8,
        /// The life of the process that ended before.
        life: u32,
    },
    /// An API server passes its readiness check.
    Ready {
        /// Where.
        host: u8,
        /// Its life.
        life: u32,
    },
    /// A candidate tries to take, or to renew, its Lease.
    Attempt {
        /// Which election.
        race: u8,
        /// Where the candidate runs.
        host: u8,
        /// Number of the attempt: one that has been called off is ignored.
        number: u32,
    },
    /// A candidate's request has not been answered in its time.
    Missed {
        /// Which election.
        race: u8,
        /// Where the candidate runs.
        host: u8,
        /// Number of the attempt.
        number: u32,
    },
    /// A client learns that its request has failed, and may send it again.
    Unanswered(Id),
    /// A client sends again what has failed.
    Resend(Id),
    /// A client finds that its connection is dead, and opens another.
    Redial {
        /// Which client: nodes first, in their order.
        client: u32,
    },
    /// A snapshot of etcd is taken, for a fault to come.
    Snapshot {
        /// Row in the plan's list of faults.
        fault: u32,
    },
}

/// Events of a scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchedulerEvent {
    /// Take the next pod from activeQ.
    Cycle,
    /// The scheduling cycle of the pod in hand ends; its binding cycle begins.
    Bind,
    /// Pods whose backoff has ended move to activeQ.
    FlushBackoff,
    /// Pods that have waited for five minutes are tried again.
    FlushUnschedulable,
    /// A pod in `PreBind` looks whether its volumes are bound.
    PollVolumes(u32),
    /// Pods that hold nodes until enough of their group have one give them back.
    PermitTimeout(u32),
}

/// Events of a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControllerEvent {
    /// A worker takes the next key.
    Work,
    /// A key that was to be looked at later is due; the number finds it.
    Due(u32),
    /// A periodic tick of the controller.
    Tick,
}

/// The probes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ProbeKind {
    /// Has it come up?
    Startup,
    /// Must it be restarted?
    Liveness,
    /// May it be sent traffic?
    Readiness,
}

/// Events of a node. `pod` is the slot of the pod worker in the kubelet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeEvent {
    /// The machine has booted and the kubelet registers.
    Register,
    /// The time of a group of pods is over in a shutdown.
    ShutdownPart {
        /// True for critical pods.
        critical: bool,
    },
    /// The machine that was told to shut down is off.
    PowerOff,
    /// The kubelet's next status report is due.
    ReportStatus,
    /// Lease renewal (only under `heartbeats: explicit`).
    RenewLease,
    /// Volumes are mounted and the network is ready: the runtime is asked for the sandbox.
    Mounted {
        /// Pod worker.
        pod: u32,
    },
    /// The sandbox is there, the pod has an address.
    SandboxReady {
        /// Pod worker.
        pod: u32,
    },
    /// The pull of a container's image is over.
    ImageReady {
        /// Pod worker.
        pod: u32,
        /// Container.
        container: u16,
    },
    /// The runtime has created and started the next container.
    ContainerStarted {
        /// Pod worker.
        pod: u32,
    },
    /// A container ends by itself.
    ContainerExited {
        /// Pod worker.
        pod: u32,
        /// Container, counted over init and app containers; its run must still be `run`.
        container: u16,
        /// Number of the run.
        run: u16,
    },
    /// A container has stopped after it was told to.
    ContainerStopped {
        /// Pod worker.
        pod: u32,
        /// Container.
        container: u16,
        /// Number of the run.
        run: u16,
        /// True if it did not stop by itself in its time.
        killed: bool,
    },
    /// A `postStart` hook is done.
    PostStarted {
        /// Pod worker.
        pod: u32,
        /// Container.
        container: u16,
        /// Number of the run.
        run: u16,
    },
    /// A pod has been active for as long as it may.
    Deadline {
        /// Pod worker.
        pod: u32,
    },
    /// A container has more memory than it may.
    OutOfMemory {
        /// Pod worker.
        pod: u32,
        /// Container.
        container: u16,
        /// Number of the run.
        run: u16,
    },
    /// The node has no memory left.
    NoMemoryLeft,
    /// The eviction manager looks at what is left.
    Pressure,
    /// Unused images are thrown away.
    ImageGc,
    /// The kubelet reports its node because something about it has changed.
    TellStatus,
    /// The pod lifecycle event generator lists the runtime's containers.
    Relist,
    /// The status manager holds what the API server says of a pod against what it has told.
    Reconcile {
        /// Pod worker.
        pod: u32,
    },
    /// A container is probed, and that can be seen.
    Probe {
        /// Which of its probes.
        which: ProbeKind,
        /// Pod worker.
        pod: u32,
        /// Container.
        container: u16,
        /// Number of the run.
        run: u16,
        /// Beside the ticks: a sync has found it not ready.
        extra: bool,
    },
    /// The runtime has started a container again.
    ContainerRestarted {
        /// Pod worker.
        pod: u32,
        /// Container.
        container: u16,
        /// Number of the run that has ended.
        run: u16,
    },
    /// The pod worker wakes (restart back-off ended, sync again).
    Sync {
        /// Pod worker.
        pod: u32,
    },
    /// A volume of a pod: its turn has come, or it has been mounted.
    Volume {
        /// Pod worker.
        pod: u32,
        /// Which of its volumes.
        volume: u16,
        /// It has been mounted.
        mounted: bool,
    },
    /// A sync of a pod brings the new content of a ConfigMap or Secret into its volume.
    Refreshed {
        /// Pod worker.
        pod: u32,
        /// Which of its volumes.
        volume: u16,
    },
    /// A pod has waited for its volumes for as long as a sync does, or tries again.
    VolumesLate {
        /// Pod worker.
        pod: u32,
    },
    /// A disk that no pod wants any more has been unmounted.
    Unmounted {
        /// Which disk of the node.
        disk: u32,
    },
    /// The buffer of the log agent is full or empty, or the disk that it lies on is full.
    LogBuffer,
    /// The kubelet looks whether pods have a network by now.
    LookAtNetwork,
    /// Some work on the node is done, or a read of it is.
    Worked {
        /// What was armed last is due; anything else is stale.
        armed: u32,
    },
}

/// Events of the image registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegistryEvent {
    /// A node transfers an image.
    Pull {
        /// Which node, and which of its lives.
        node: u32,
        /// Its life.
        incarnation: u16,
        /// Pod worker that waits for it.
        pod: u32,
        /// Container.
        container: u16,
        /// How much.
        kib: u32,
    },
    /// A transfer is given up.
    Cancel {
        /// Node.
        node: u32,
        /// Pod worker.
        pod: u32,
        /// Container.
        container: u16,
    },
    /// A transfer is done.
    Done,
}

/// Events of the scenario's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UserEvent {
    /// The timed step number so much of the plan.
    Step(u32),
    /// The next pod (or job) of an arrival process.
    Arrive(u32),
    /// An object made by an arrival process has reached the end of its life.
    Expire {
        /// Arrival process.
        arrival: u32,
        /// Number of the object in it.
        ordinal: u32,
    },
    /// `kubectl drain` asks again for an eviction that a disruption budget refused.
    Evict(u32),
    /// Whoever drains a node asks again for the cordon that was refused.
    Cordon(u32),
}

const _: () = assert!(size_of::<Event>() <= 32, "events are small: payloads belong in arenas");
