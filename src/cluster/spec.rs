//! What a run consists of, as plain data: the scenario file is turned into a [`Plan`] before
//! anything happens, so that all that can be wrong with it has been said by then.

use crate::api::labels::Selector;
use crate::api::node::NodeImage;
use crate::api::pod::{Behaviour, Taint};
use crate::api::request::{Propagation, User};
use crate::api::resources::Resources;
use crate::api::version::KubeVersion;
use crate::api::workload::PodTemplate;
use crate::api::{Kind, LabelSet, Name, Obj};
use crate::control_plane::apiserver::fairness::Crowd;
use crate::control_plane::scheduler::config::SchedulerConfig;
use crate::control_plane::scheduler::policies::cel::CelPolicy;
pub use crate::control_plane::scheduler::policies::named::Named;
pub use crate::control_plane::scheduler::queue::Discipline;
pub use crate::engine::Packets;
use crate::engine::{Dist, SimDuration, SimTime, Sym};
use std::sync::Arc;

/// A whole run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the scenario.
    pub name: String,
    /// Seed of all chance.
    pub seed: u64,
    /// When the run ends at the latest.
    pub until: SimTime,
    /// End as soon as every object of the workload has come to rest (all arrivals done and gone,
    /// all pods running or terminal, no fault pending), even before `until`.
    pub until_idle: bool,
    /// The cluster.
    pub cluster: ClusterSpec,
    /// What the user does and when, in order of time; rows are numbered as in the file.
    pub steps: Vec<Step>,
    /// Arrival processes and traces.
    pub arrivals: Vec<Arrival>,
    /// Faults.
    pub faults: Vec<Fault>,
    /// What faults wait for.
    pub awaits: Vec<Await>,
    /// Machines that fail again and again.
    pub outages: Vec<Outages>,
    /// Assertions over the outcome.
    pub expect: Vec<Expect>,
    /// Pods pinned to a node by a regular name pattern: `(prefix of the pod's name, nodes in
    /// order)`; the n-th created pod with the prefix is bound to the n-th node. For comparisons
    /// with recordings.
    pub pins: Vec<Pin>,
    /// Objects that came from files of the past: already running when the run starts.
    pub warm: Vec<Obj>,
    /// What pods use: the metrics server scrapes it, kubelets feel it.
    pub usage: Vec<crate::event::usage::Load>,
    /// Logs of pods, their agent and their store; none if the scenario tells of none.
    pub logging: Option<Arc<crate::event::logs::Logging>>,
    /// Requests to Services.
    pub traffic: Vec<crate::traffic::RowSpec>,
    /// Said in the report: what the files of recorded workloads hold, a line each. Details of the
    /// line before begin with two spaces.
    pub recorded: Vec<String>,
    /// Said in the report: accepted but not modelled, with counts.
    pub not_modelled: Vec<(String, u32)>,
}

/// A source of outages: each is a crash of one machine and its return.
#[derive(Debug, Clone, PartialEq)]
pub struct Outages {
    /// Name for the report.
    pub name: String,
    /// Nodes that may be struck, by index.
    pub nodes: Arc<[u32]>,
    /// No machine fails by chance after this.
    pub until: SimTime,
    /// When.
    pub how: How,
}

/// When machines fail.
#[derive(Debug, Clone, PartialEq)]
pub enum How {
    /// By a record, in order of begin.
    Record(Arc<[Recorded]>),
    /// By a record that tells how many are hit at a time; which ones is drawn.
    Shares(Arc<[Shared]>),
    /// By chance, each machine for itself or in groups.
    Renewal {
        /// From its return to its next failure.
        up: Dist,
        /// From a failure to its return.
        down: Dist,
        /// Groups that fail at once; none: each machine for itself.
        together: Option<Together>,
    },
}

/// Machines that fail in groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Together {
    /// Names of the groups, and their nodes by index.
    pub groups: Arc<[(Sym, Arc<[u32]>)]>,
    /// Share of a group that is struck, above 0 and at most 1.
    pub share: f64,
}

/// A recorded outage of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Its begin.
    pub from: SimTime,
    /// Its end; none for a machine that never came back.
    pub to: Option<SimTime>,
    /// The node, by index.
    pub node: u32,
}

/// A recorded outage of many machines.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shared {
    /// Its begin.
    pub from: SimTime,
    /// Its end.
    pub to: SimTime,
    /// Share of the machines, 0 to 1.
    pub share: f64,
}

/// Placement taken from a recording.
#[derive(Debug, Clone)]
pub struct Pin {
    /// What the pod's name begins with.
    pub prefix: String,
    /// Nodes in order of the pods' creation; the last one repeats.
    pub nodes: Vec<Sym>,
}

/// The cluster.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    /// Kubernetes version.
    pub version: KubeVersion,
    /// Unix time of the start of the run, seconds.
    pub epoch_s: u32,
    /// Every node, in order of registration.
    pub nodes: Vec<NodeSpec>,
    /// Client-side rate limits.
    pub limits: ClientLimits,
    /// Latencies.
    pub latency: Latencies,
    /// Scheduler.
    pub scheduler: SchedulerSpec,
    /// Overrides the version's `--node-monitor-grace-period`.
    pub monitor_grace: Option<SimDuration>,
    /// `--event-ttl` (1 h).
    pub event_ttl: SimDuration,
    /// Every lease renewal and node report is an event and a request; otherwise none is.
    pub explicit_heartbeats: bool,
    /// Pod addresses of the whole cluster, of which each node gets a range; none: nobody hands them
    /// out.
    pub pod_cidr: Option<crate::api::Cidr>,
    /// `--node-cidr-mask-size-ipv4`: bits of the prefix of a node's range.
    pub node_cidr_bits: u8,
    /// The network of pods; none: each pod has an address, and nothing of it costs anything.
    pub cni: Option<Arc<crate::node::CniConfig>>,
    /// `--service-cluster-ip-range`.
    pub service_cidr: crate::api::Cidr,
    /// Layers of images that the scenario describes.
    pub images: Vec<(Sym, Arc<[crate::node::Layer]>)>,
    /// Bandwidth of the registry for all nodes together; none: nodes do not feel each other.
    pub registry_bytes_per_s: Option<u64>,
    /// Storage drivers that the scenario describes.
    pub drivers: crate::event::Drivers,
    /// Distance of the metrics server's scrapes.
    pub metrics_resolution: SimDuration,
    /// kube-proxy on all nodes.
    pub proxy: crate::node::proxy::ProxyConfig,
    /// The cloud around the cluster, if there is one.
    pub cloud: Option<Arc<CloudPlan>>,
    /// The nodes that run the control plane; none for one of each component that runs nowhere.
    pub control_plane: Option<ControlPlane>,
}

/// A cloud, and what its new machines are made of.
#[derive(Debug, Clone)]
pub struct CloudPlan {
    /// The cloud.
    pub config: Arc<crate::control_plane::cloud::CloudConfig>,
    /// A node of each group or pool, without what depends on its name, zone and type.
    pub blueprints: Vec<NodeSpec>,
}

/// Which machine of the cloud a node runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineOf {
    /// Its group, by row.
    pub group: u16,
    /// Its type, by row.
    pub kind: u16,
    /// Of spare capacity.
    pub spot: bool,
}

/// A control plane on nodes: each of them runs etcd, API server, scheduler and controller manager
/// as static pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlane {
    /// Names of its nodes.
    pub nodes: Vec<Sym>,
    /// `--quota-backend-bytes` of etcd, if given.
    pub quota_bytes: Option<u64>,
    /// For tests: members of etcd that must have a write before it counts as committed. A planted
    /// bug unless it is a majority.
    pub needed: Option<usize>,
}

/// Which agent a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Agent {
    /// The modelled kubelet with runtime, PLEG, probes and image pulls.
    #[default]
    Kubelet,
    /// A minimal agent like KWOK's: one status patch to Running and Ready, one DELETE at the end.
    Fakelet,
}

/// A node.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Name.
    pub name: Sym,
    /// Labels, `kubernetes.io/hostname` and the zone among them.
    pub labels: LabelSet,
    /// Zone; empty for none.
    pub zone: Sym,
    /// Taints it registers with.
    pub taints: Vec<Taint>,
    /// Capacity.
    pub capacity: Arc<Resources>,
    /// Allocatable.
    pub allocatable: Arc<Resources>,
    /// Images there from the start.
    pub images: Arc<[NodeImage]>,
    /// Agent.
    pub agent: Agent,
    /// Time from power-on to registration.
    pub boot: Dist,
    /// When it joins the cluster; at zero it is there from the start.
    pub joins: SimTime,
    /// Configuration of its kubelet.
    pub kubelet: Arc<crate::node::KubeletConfig>,
    /// Container runtime.
    pub runtime: crate::node::RuntimeName,
    /// Static pods, under their own names, without the node's.
    pub statics: Arc<[Arc<crate::api::Pod>]>,
    /// The machine of the cloud that it runs on; none: of no cloud.
    pub machine: Option<MachineOf>,
}

/// Client-side rate limits: requests per second and burst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClientLimits {
    /// Of each controller (default 20/30).
    pub controllers: (f64, u32),
    /// Of the scheduler (default 50/100).
    pub scheduler: (f64, u32),
    /// Of each kubelet (default 50/100).
    pub kubelet: (f64, u32),
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { controllers: (20.0, 30), scheduler: (50.0, 100), kubelet: (50.0, 100) }
    }
}

/// Latencies of the model. Sources stand with the defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latencies {
    /// One way between a client and the API server.
    pub network: SimDuration,
    /// From commit to delivery of a watch event, on average; uniform from 0 to twice this.
    pub watch: SimDuration,
    /// Work of the API server on a request, before etcd.
    pub api: SimDuration,
    /// fsync of etcd's log.
    pub fsync: Dist,
    /// Round trip between etcd members (0 for one member).
    pub raft_rtt: SimDuration,
    /// One scheduling cycle.
    pub schedule: SimDuration,
    /// From a pod's arrival on a node to its volumes being mounted.
    pub mount: Dist,
    /// RunPodSandbox, CNI included.
    pub sandbox: Dist,
    /// CreateContainer and StartContainer.
    pub container: Dist,
    /// Registry bandwidth of a node, bytes per second.
    pub pull_bytes_per_s: u64,
    /// Size of an image that no one describes, bytes.
    pub image_bytes: u64,
}

impl Default for Latencies {
    /// Request latency and fsync as measured in the project's recordings of a quiet control plane
    /// (bind 6 to 14 ms, ADDED to bound 18 to 34 ms); sandbox and container from published CRI
    /// benchmarks; mount poll 300 ms from kubelet's volume manager; the watch's lag such that
    /// controllers run into their own writes about as often as in the recordings.
    fn default() -> Self {
        let ms = SimDuration::from_millis;
        Self {
            network: SimDuration::from_micros(300),
            watch: SimDuration::from_micros(200),
            api: ms(1),
            fsync: Dist::LogNormal { median: ms(2), sigma: 0.3 },
            raft_rtt: SimDuration::ZERO,
            schedule: SimDuration::from_micros(500),
            mount: Dist::Uniform(ms(200), ms(320)),
            sandbox: Dist::LogNormal { median: ms(250), sigma: 0.3 },
            container: Dist::LogNormal { median: ms(80), sigma: 0.3 },
            pull_bytes_per_s: 50_000_000,
            image_bytes: 100_000_000,
        }
    }
}

/// Scheduler: a configuration or a policy by name, and the tie rule.
#[derive(Debug, Clone, Default)]
pub struct SchedulerSpec {
    /// The policy.
    pub policy: Named,
    /// Tie rule.
    pub ties: Ties,
    /// `percentageOfNodesToScore`; 0 is adaptive.
    pub percentage: u32,
    /// Name shown in tables.
    pub label: String,
    /// A pod is tried so many times at most; none for kube-scheduler's own way, for ever.
    pub attempts: Option<u32>,
    /// Expressions of the scenario's own, beside the policy.
    pub expressions: Option<Expressions>,
    /// In which order waiting pods are tried.
    pub discipline: Discipline,
    /// Pods of one group start together, or give their nodes back after this time; none for each
    /// pod by itself.
    pub gang: Option<SimDuration>,
    /// Profiles, backoff and limits of a KubeSchedulerConfiguration; policy and percentage above
    /// then count no more.
    pub config: Option<Arc<SchedulerConfig>>,
}

/// A policy of expressions.
#[derive(Debug, Clone)]
pub struct Expressions {
    /// The expressions.
    pub policy: CelPolicy,
    /// No other scores count.
    pub alone: bool,
    /// Weight of the score.
    pub weight: i64,
}

impl SchedulerSpec {
    /// True if some profile takes pods with this `schedulerName`.
    #[must_use]
    pub fn serves(&self, name: Sym) -> bool {
        let profiles = self.config.as_ref().map(|c| &c.profiles);
        profiles.map_or_else(
            || name.as_str() == "default-scheduler",
            |list| list.iter().any(|p| p.scheduler_name == name),
        )
    }
}

/// Named tie rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ties {
    /// Seeded draw among the best (what 1.34 and before did, and 1.35 intends).
    #[default]
    Uniform,
    /// 1.35's heap order.
    Upstream,
    /// The first one looked at.
    First,
    /// The smallest name.
    Name,
    /// One shuffled node order per run.
    NodeOrderPerRun,
}

/// Something the user does.
#[derive(Debug, Clone)]
pub struct Step {
    /// When.
    pub at: SimTime,
    /// As whom.
    pub user: User,
    /// What.
    pub action: Action,
}

/// What the user does.
#[derive(Debug, Clone)]
pub enum Action {
    /// `kubectl apply` of an object.
    Apply(Obj),
    /// `kubectl create`: refused if the object is there.
    Create(Obj),
    /// `kubectl replace`: refused if the object is not there, or if it has changed since the
    /// resourceVersion that the manifest names.
    Replace(Obj),
    /// POST to `pods/eviction`, once.
    Evict {
        /// Namespace of the pod.
        ns: Sym,
        /// Name of the pod.
        name: Name,
        /// As of a deletion.
        nth: Option<u32>,
    },
    /// `kubectl delete`.
    Delete {
        /// Kind.
        kind: Kind,
        /// Namespace.
        ns: Sym,
        /// Name.
        name: Name,
        /// With a number the name is what names begin with, and the object that many after the
        /// oldest of them is meant: nobody knows generated names beforehand.
        nth: Option<u32>,
        /// `--grace-period`, if given.
        grace_s: Option<u32>,
        /// `--cascade`.
        propagation: Propagation,
    },
    /// `kubectl scale`.
    Scale {
        /// Kind.
        kind: Kind,
        /// Namespace.
        ns: Sym,
        /// Name.
        name: Name,
        /// Replicas.
        replicas: i32,
    },
    /// `kubectl set image`.
    SetImage {
        /// Kind.
        kind: Kind,
        /// Namespace.
        ns: Sym,
        /// Name.
        name: Name,
        /// Container; empty for all.
        container: Sym,
        /// New image.
        image: Sym,
    },
    /// `kubectl cordon` or `uncordon`.
    Cordon {
        /// Node.
        node: Sym,
        /// True for cordon.
        on: bool,
    },
    /// `kubectl taint`.
    Taint {
        /// Node.
        node: Sym,
        /// Taken away, by key and effect.
        remove: Arc<[Taint]>,
        /// Added.
        add: Arc<[Taint]>,
    },
    /// `kubectl drain`: cordon, then evict what no DaemonSet owns.
    Drain {
        /// Node.
        node: Sym,
    },
}

/// What an arrival process makes.
#[derive(Debug, Clone)]
pub enum Made {
    /// Bare pods of a template.
    Pod(Arc<PodTemplate>),
    /// Jobs with one pod of a template each.
    Job(Arc<PodTemplate>),
}

/// When objects arrive.
#[derive(Debug, Clone)]
pub enum Process {
    /// Exponential gaps with this mean.
    Poisson(SimDuration),
    /// Equal gaps.
    Every(SimDuration),
    /// As a trace says, in order of time.
    Rows(Arc<[Row]>),
}

/// A row of a trace.
#[derive(Debug, Clone)]
pub struct Row {
    /// Arrival.
    pub at: SimTime,
    /// Name; empty for one made from the process' name and the row's number.
    pub name: Name,
    /// The template of this row; none for the process' own.
    pub template: Option<Arc<PodTemplate>>,
    /// How long the pod lives: its user deletes it so long after `lifetime_from`.
    pub lifetime: Option<SimDuration>,
    /// How its work goes, where the template does not say.
    pub run: Option<Run>,
}

/// The work of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The containers end by themselves after this; none: as the template says.
    pub lasts: Option<SimDuration>,
    /// Pods of the Job at once, each of which has to complete; bare pods are one.
    pub pods: u32,
    /// `ttlSecondsAfterFinished` of the Job.
    pub ttl_s: Option<u32>,
}

/// A uniform choice among `steps` amounts: base + step × U{0..steps}.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// Smallest amount.
    pub base: i64,
    /// Distance of amounts.
    pub step: i64,
    /// Number of steps above the base.
    pub steps: u32,
}

/// From when a lifetime counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LifetimeFrom {
    /// From the moment its user sees it running.
    #[default]
    Running,
    /// From its creation.
    Creation,
}

/// An arrival process or a trace.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Name: the base of the objects' names.
    pub name: Sym,
    /// Namespace.
    pub ns: Sym,
    /// What is made.
    pub made: Made,
    /// When.
    pub process: Process,
    /// First instant.
    pub start: SimTime,
    /// No arrival after this instant.
    pub end: SimTime,
    /// At most so many.
    pub count: u32,
    /// CPU request of each, milli-cores; none keeps the template's.
    pub cpu_milli: Option<Amount>,
    /// Memory request of each, bytes.
    pub memory: Option<Amount>,
    /// The container ends by itself after this time (exit code of the template's behaviour).
    pub duration: Option<Dist>,
    /// The user deletes the object after this time.
    pub lifetime: Option<Dist>,
    /// From when the lifetime counts.
    pub lifetime_from: LifetimeFrom,
    /// The rows of a trace are shuffled and made more or fewer, anew for each seed.
    pub tuning: Option<Tuning>,
}

impl Arrival {
    /// The rows of a trace, by name and namespace, from the start of the run; lifetimes count from
    /// creation.
    #[must_use]
    pub fn of_rows((name, ns): (Sym, Sym), made: Made, rows: Vec<Row>) -> Self {
        Self {
            name,
            ns,
            made,
            process: Process::Rows(rows.into()),
            start: SimTime::ZERO,
            end: SimTime::MAX,
            count: u32::MAX,
            cpu_milli: None,
            memory: None,
            duration: None,
            lifetime: None,
            lifetime_from: LifetimeFrom::Creation,
            tuning: None,
        }
    }
}

/// How the rows of a trace are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// Gap between arrivals.
    pub gap: SimDuration,
    /// GPUs asked for by all of them, as a share of those of the cluster; none for as many as the
    /// trace has.
    pub load: Option<f64>,
}

/// Nodes a fault is about.
#[derive(Debug, Clone)]
pub enum Whom {
    /// By name.
    Names(Vec<Sym>),
    /// Every node of a zone.
    Zone(Sym),
    /// Nodes whose labels match; at most `count` of them, drawn.
    Selector(Selector, Option<u32>),
    /// So many nodes, drawn.
    Count(u32),
    /// A component of the control plane, no node.
    Component(Component),
    /// The image registry of this name; empty for all of them.
    Registry(Sym),
    /// The store of logs.
    LogStore,
    /// A static pod of the control plane, on some of its nodes.
    Process(StaticPod, Which),
    /// Every node of the control plane; of one that runs on no nodes, the control plane itself.
    ControlPlane,
    /// Every node.
    All,
    /// So many percent of these nodes, at least one, drawn.
    Share(Box<Self>, u32),
    /// Two sets of nodes between which something is wrong.
    Between(Box<[Self; 2]>),
}

/// Which of several like processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one that leads when the fault begins.
    Leader,
    /// Those on these nodes.
    On(Vec<Sym>),
}

/// A static pod of a control-plane node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StaticPod {
    /// etcd.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-scheduler.
    Scheduler,
    /// kube-controller-manager.
    ControllerManager,
}

impl StaticPod {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Etcd, Self::ApiServer, Self::Scheduler, Self::ControllerManager];

    /// Its name, which the name of its pod begins with.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::Scheduler => "kube-scheduler",
            Self::ControllerManager => "kube-controller-manager",
        }
    }

    /// The component that is elected among these processes, if one is.
    #[must_use]
    pub const fn component(self) -> Option<Component> {
        match self {
            Self::Etcd | Self::ApiServer => None,
            Self::Scheduler => Some(Component::Scheduler),
            Self::ControllerManager => Some(Component::ControllerManager),
        }
    }
}

/// A fault.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Name for the report; may be empty.
    pub name: String,
    /// What happens.
    pub what: FaultKind,
    /// Whom it strikes.
    pub whom: Whom,
    /// When; never for one that waits for something (see [`Plan::awaits`]).
    pub at: SimTime,
    /// For how long; none for the rest of the run.
    pub lasts: Option<SimDuration>,
}

/// A fault begins after something has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Await {
    /// Row of the fault.
    pub fault: u32,
    /// What has to happen.
    pub what: Awaited,
    /// How much later it begins.
    pub delay: SimDuration,
}

/// What a fault waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// Another fault begins or ends.
    Fault {
        /// Its row.
        row: u32,
        /// True if it is its end.
        ends: bool,
    },
    /// A workload has at least so many ready replicas.
    Ready {
        /// Kind.
        kind: Kind,
        /// Namespace.
        ns: Sym,
        /// Name.
        name: Name,
        /// Replicas.
        at_least: i32,
    },
    /// So many pods have been given a node.
    Bound(u64),
}

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FaultKind {
    /// The machine loses power: kubelet, runtime and containers are gone; it boots at the end.
    NodeCrash,
    /// The machine is told to shut down: where its kubelet may, it ends its pods first; it boots at
    /// the end.
    Shutdown,
    /// Only the kubelet stops: containers run on, nobody reports.
    KubeletStop,
    /// The process of a control-plane component ends; it starts cold at the end.
    Restart,
    /// The watches of a component (or of a node's kubelet) are cut; requests still pass.
    WatchLoss,
    /// An image registry does not answer.
    RegistryDown,
    /// The store of logs takes nothing.
    LogStoreDown,
    /// So many devices of an extended resource are unhealthy: pods that have them run on, the node
    /// offers fewer.
    DeviceFailure(Sym, u32),
    /// A process is told to end (SIGTERM) and does so in order.
    Terminate,
    /// A process stands still (SIGSTOP), and goes on at the end.
    Pause,
    /// The disk of an etcd member takes so many times as long.
    SlowDisk(u32),
    /// An etcd member ends and its disk is lost; another one starts in its place.
    LoseLog,
    /// Clients flood the API servers.
    Overload(Crowd),
    /// etcd is out of space (NOSPACE alarm), until somebody has made room and disarmed it.
    SpaceAlarm,
    /// Nodes lose power together, the control plane among them.
    Blackout(Restore),
    /// Nothing passes between two sets of nodes, or nothing from the first to the second.
    Partition {
        /// What the second set sends still arrives.
        one_way: bool,
    },
    /// A machine stands still, and goes on at the end as if nothing had been.
    Freeze,
    /// What passes between nodes and API servers is late, or lost and sent again.
    Network(Packets),
    /// All that a node does takes so many times as long.
    SlowNode(u32),
    /// Something that is no pod fills the disk of a node up to so many percent.
    DiskFull(u32),
    /// The provider takes machines back, and says so this long before.
    Interrupt(SimDuration),
    /// Machines are drained, started anew and taken back into service, so many at a time.
    Upgrade(u32),
}

/// What the store comes back from after a blackout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restore {
    /// The members' own logs: nothing that was acknowledged is lost.
    Log,
    /// A snapshot, so much older than the blackout: what was done since is lost.
    Snapshot(SimDuration),
}

/// A component of the control plane that watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// kube-scheduler.
    Scheduler,
    /// kube-controller-manager.
    ControllerManager,
}

impl Component {
    /// Name of its process.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "kube-scheduler",
            Self::ControllerManager => "kube-controller-manager",
        }
    }
}

/// An assertion over the outcome.
#[derive(Debug, Clone, PartialEq)]
pub enum Expect {
    /// At the end every workload has all its replicas available and no pod is pending.
    Converged,
    /// The workload never has fewer than `at_least` available replicas for longer than `except`.
    Available {
        /// `deployment/web` or `deployment/NS/web`.
        workload: String,
        /// Replicas.
        at_least: i32,
        /// Tolerated span (counted from its first full availability).
        except: SimDuration,
    },
    /// A workload (or each, if none is named) is down for at most so long, all in all: it has fewer
    /// ready replicas than it needs.
    Downtime {
        /// `deployment/web` or `deployment/NS/web`; none for every workload.
        workload: Option<String>,
        /// Replicas it needs; none for what its disruption budget says, else 1.
        need: Option<i32>,
        /// Tolerated time.
        at_most: SimDuration,
    },
    /// Replicas that a workload (or each) lacks, times how long it lacks them.
    ShortReplicas {
        /// As above.
        workload: Option<String>,
        /// Tolerated replica-time.
        at_most: SimDuration,
    },
    /// After each fault its stages come to their ends in time.
    Recovery(RecoveryBounds),
    /// So many requests of a row of traffic are answered, or fail.
    Requests(ExpectRequests),
    /// Pods wait for nodes no longer than this, all waits added.
    PendingTotal(SimDuration),
    /// Work of Jobs (and bare pods) that has to be done again is at most this.
    LostWork(SimDuration),
    /// At most so many pods are Pending at the end.
    PendingAtEnd(u32),
    /// At the end every claim is bound.
    ClaimsBound,
    /// At the end every Service with a selector has a ready endpoint.
    ServicesReady,
    /// At least so many pods were bound in the run.
    Bound(u64),
    /// At least so many pods of the workload (or of all, if empty) were evicted.
    Evicted {
        /// Least number.
        at_least: u64,
        /// Greatest number.
        at_most: u64,
    },
    /// The longest time a pod waited for a node is at most this.
    PendingAtMost(SimDuration),
    /// So many container restarts at least.
    Restarts(u64),
    /// So many requests were refused, of those that fit.
    Refused {
        /// Which.
        which: Box<Refusals>,
        /// Least number.
        at_least: u64,
        /// Greatest number.
        at_most: u64,
    },
    /// So many Kubernetes Events were written, new or repeated, of those that fit.
    Event {
        /// Which.
        which: Box<EventMatch>,
        /// Least number.
        at_least: u64,
        /// Greatest number.
        at_most: u64,
    },
    /// The machines of a node pool, or all, cost at most this, in millionths of the currency.
    Cost {
        /// Pool; none for all.
        pool: Option<String>,
        /// Greatest cost.
        at_most_micro: u64,
    },
    /// Logs are lost, or wait in the buffers of agents, up to these amounts.
    Logs(ExpectLogs),
    /// So many warnings of admission whose text holds this.
    Warned {
        /// Part of the text.
        message: String,
        /// Least number.
        at_least: u64,
    },
}

/// What is asserted of logs, bytes: what is not given, is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectLogs {
    /// Most that may be lost.
    pub lost: Option<u64>,
    /// Most that may wait in the buffer of one node.
    pub backlog: Option<u64>,
}

/// What is asserted of requests: what is not given, is not asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpectRequests {
    /// The row of traffic.
    pub traffic: Sym,
    /// Least share that is answered in time.
    pub answered: Option<f64>,
    /// 99 % of those answered are as fast.
    pub p99: Option<SimDuration>,
    /// Only failures of this cause count for the bounds below.
    pub cause: Option<crate::event::traffic::Cause>,
    /// At least so many fail.
    pub at_least: f64,
    /// At most so many fail.
    pub at_most: Option<f64>,
}

/// Spans from the begin of a fault that its stages may take; what is not given, is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecoveryBounds {
    /// Until the last struck node is noticed.
    pub detected: Option<SimDuration>,
    /// Until the last eviction.
    pub evicted: Option<SimDuration>,
    /// Until the last replacement has a node.
    pub rescheduled: Option<SimDuration>,
    /// Until every struck workload has all its replicas ready again.
    pub ready: Option<SimDuration>,
}

/// Which Kubernetes Events an assertion is about: all that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventMatch {
    /// Kind of the object.
    pub kind: Option<Kind>,
    /// Name of the object.
    pub name: Option<String>,
    /// Reason.
    pub reason: Option<Sym>,
    /// Part of the message.
    pub message: Option<String>,
}

/// Refused requests that fit: what is not given, fits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusals {
    /// User, as the report names it; `kubelet` are all kubelets.
    pub user: Option<String>,
    /// Verb with subresource: `create/eviction`.
    pub verb: Option<String>,
    /// Kind.
    pub kind: Option<Kind>,
    /// HTTP code.
    pub code: Option<u16>,
    /// Reason of the Status: `Forbidden`, `Conflict`.
    pub reason: Option<String>,
    /// Part of the message.
    pub message: Option<String>,
}

/// The template's behaviour with a duration in place of its own exit.
#[must_use]
pub fn with_exit(behaviour: &Behaviour, after: SimDuration) -> Behaviour {
    Behaviour { exit_after_ns: Some(after.0), ..behaviour.clone() }
}
