//! What goes wrong, as the scenario file writes it: faults, and outages that come again and again.

use super::value::{DistSpec, Span};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A fault; exactly one of `crash`, `shutdown`, `kubeletStop`, `kubeletCrash`, `restart`,
/// `terminate`, `pause`, `watchLoss`, `kubeletWatchLoss`, `deviceFailure`, `registryDown`, `logStoreDown`, `slowDisk`, `loseLog`,
/// `spaceAlarm`, `blackout`, `partition`, `freeze`, `network`, `slowNode`, `diskFull`, `interrupt` and
/// `upgrade` is given, and one of `at` and `after`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Name for the report.
    #[serde(default)]
    pub name: String,
    /// Machines lose power; they boot at the end.
    pub crash: Option<Whom>,
    /// Machines are told to shut down; kubelets with a `shutdownGracePeriod` end their pods first. They
    /// boot at the end.
    pub shutdown: Option<Whom>,
    /// Only the kubelet stops: containers run on, nobody reports.
    pub kubelet_stop: Option<Whom>,
    /// The kubelet crashes; systemd starts it again after `for`, 10s by default.
    pub kubelet_crash: Option<Whom>,
    /// The process of a component ends, and starts cold after `for` (by default at once, or as soon
    /// as the kubelet of its node has noticed).
    pub restart: Option<ComponentName>,
    /// The process is told to end (SIGTERM) and starts after `for`: a scheduler gives its Lease
    /// back. Needs `cluster.controlPlane`.
    pub terminate: Option<ComponentName>,
    /// The process of a scheduler or controller manager stands still for `for`. Needs
    /// `cluster.controlPlane`.
    pub pause: Option<ComponentName>,
    /// Writes to the disk of an etcd member take so many times as long. Needs
    /// `cluster.controlPlane`.
    #[schemars(range(min = 2))]
    pub slow_disk: Option<u32>,
    /// An etcd member ends and its disk is lost; after `for` another one starts in its place. Needs
    /// `cluster.controlPlane`.
    pub lose_log: Option<bool>,
    /// etcd is out of space until somebody has made room and disarmed the alarm, after `for`. Needs
    /// `cluster.controlPlane`.
    pub space_alarm: Option<bool>,
    /// Clients flood the API servers.
    pub overload: Option<Overload>,
    /// All nodes of the control plane (or of the cluster) lose power together. Needs
    /// `cluster.controlPlane`.
    pub blackout: Option<Blackout>,
    /// Which of several like processes: the name of a control-plane node, or `leader` (the default
    /// where there is one).
    pub on: Option<String>,
    /// The watches of a component are cut; it takes them up again after `for` (by default at once).
    pub watch_loss: Option<ComponentName>,
    /// The watches of these nodes' kubelets are cut.
    pub kubelet_watch_loss: Option<Whom>,
    /// Devices of an extended resource become unhealthy.
    pub device_failure: Option<DeviceFailure>,
    /// An image registry does not answer: its host, or `all`.
    pub registry_down: Option<String>,
    /// The store of logs takes nothing. Needs `logging`.
    pub log_store_down: Option<bool>,
    /// Nothing passes between two sets of nodes.
    pub partition: Option<Partition>,
    /// Machines stand still, and go on after `for` as if nothing had been.
    pub freeze: Option<Whom>,
    /// What passes between nodes and API servers is late, or lost and sent again.
    pub network: Option<Network>,
    /// All that nodes do (volumes, sandboxes, containers, pulls) takes longer.
    pub slow_node: Option<SlowNode>,
    /// Something that is no pod fills the disks of nodes.
    pub disk_full: Option<DiskFull>,
    /// The provider takes machines back, and says so before: their nodes are tainted, cordoned and
    /// drained at the notice, and off at its end.
    pub interrupt: Option<Interrupt>,
    /// Machines are drained, started anew and taken back into service, a few at a time; each is off
    /// for `for` (60s by default) and boots.
    pub upgrade: Option<Upgrade>,
    /// When.
    pub at: Option<Span>,
    /// After what, in place of `at`.
    pub after: Option<After>,
    /// For how long; for the rest of the run by default.
    #[serde(rename = "for")]
    pub lasts: Option<Span>,
}

/// Clients that ask for more than the API servers can give.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overload {
    /// Requests of theirs that each server would serve at a time: 600 seats are all it has.
    #[schemars(range(min = 1))]
    pub requests: u32,
    /// Their priority level; by default `global-default`, that of people.
    #[serde(default)]
    pub priority_level: PriorityLevel,
    /// All requests take so many times as long meanwhile, for the servers are short of CPU; 1 by
    /// default.
    #[schemars(range(min = 1))]
    pub slow: Option<u32>,
}

/// Priority levels that clients may flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PriorityLevel {
    /// Kubelets' requests about pods.
    System,
    /// Kubelets' requests about their nodes.
    NodeHigh,
    /// Elections.
    LeaderElection,
    /// Controllers and scheduler.
    WorkloadHigh,
    /// Other service accounts.
    WorkloadLow,
    /// People.
    #[default]
    GlobalDefault,
}

/// A network that is cut between two sets of nodes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Partition {
    /// The first set.
    pub between: Whom,
    /// The second set; by default the control plane.
    pub and: Option<Whom>,
    /// Only what the first set sends to the second is lost.
    pub one_way: Option<bool>,
}

/// A network that is slow or loses packets.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// The nodes.
    pub of: Whom,
    /// Added to each way.
    pub delay: Option<DistSpec>,
    /// Share of packets that is lost: sent again after 200 ms, 400 ms and so on.
    pub loss: Option<f64>,
}

/// Slow nodes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlowNode {
    /// The nodes.
    pub of: Whom,
    /// So many times as slow.
    #[schemars(range(min = 2))]
    pub factor: u32,
}

/// Full disks.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskFull {
    /// The nodes.
    pub of: Whom,
    /// How full the disk is when the fault begins.
    #[schemars(range(min = 1, max = 100))]
    pub percent: u32,
}

/// Machines that the provider takes back. Nodes of the control plane are left out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Interrupt {
    /// The nodes.
    pub of: Whom,
    /// Notice; 2m by default.
    pub notice: Option<Span>,
    /// A machine of the same kind and name gets power so long after the end of the notice, with an
    /// empty disk; by default none does.
    pub replace: Option<Span>,
}

/// Nodes that are upgraded one after the other.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upgrade {
    /// The nodes.
    pub of: Whom,
    /// Nodes under way at a time; 1 by default.
    pub max_unavailable: Option<u32>,
}

/// What a fault waits for; exactly one of `fault`, `ready` and `bound` is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct After {
    /// Another fault, by name: with `begins` or `ends`.
    pub fault: Option<String>,
    /// Its begin.
    pub begins: Option<bool>,
    /// Its end.
    pub ends: Option<bool>,
    /// A workload has `atLeast` ready replicas: `deployment/web`.
    pub ready: Option<String>,
    /// Replicas; 1 by default.
    pub at_least: Option<i32>,
    /// So many pods have been given a node.
    pub bound: Option<u64>,
    /// The fault begins so much later.
    pub delay: Option<Span>,
}

/// Devices that become unhealthy: pods that have them run on, their nodes offer fewer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceFailure {
    /// The resource: `nvidia.com/gpu`.
    pub resource: String,
    /// How many of each node; 1 by default.
    pub devices: Option<u32>,
    /// The nodes.
    pub on: Whom,
}

/// A component of the control plane.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentName {
    /// The scheduler.
    KubeScheduler,
    /// The controller manager.
    KubeControllerManager,
    /// An API server. Needs `cluster.controlPlane`.
    KubeApiserver,
    /// A member of etcd. Needs `cluster.controlPlane`.
    Etcd,
}

/// A loss of power.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Blackout {
    /// Whose; that of the whole cluster by default.
    #[serde(default)]
    pub of: BlackoutOf,
    /// What etcd comes back from; its members' logs by default.
    #[serde(default)]
    pub restore: RestoreFrom,
    /// How much older than the blackout the snapshot is.
    pub age: Option<Span>,
}

/// Who loses power.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum BlackoutOf {
    /// Every node.
    #[default]
    Cluster,
    /// The nodes of the control plane; the others run on.
    ControlPlane,
}

/// What etcd comes back from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RestoreFrom {
    /// The logs on the members' disks.
    #[default]
    Log,
    /// A snapshot.
    Snapshot,
}

/// Nodes that a fault strikes. `count` or `percent` alone draws among all nodes; with `zone` or
/// `selector`, among those.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Whom {
    /// One node by name.
    pub node: Option<String>,
    /// Nodes by name.
    pub nodes: Option<Vec<String>>,
    /// Every node of a zone.
    pub zone: Option<String>,
    /// Nodes with these labels.
    pub selector: Option<BTreeMap<String, String>>,
    /// So many, drawn.
    pub count: Option<u32>,
    /// So many percent, drawn; at least one.
    #[schemars(range(min = 1, max = 100))]
    pub percent: Option<u32>,
    /// Every node of the control plane. In a partition also a control plane that runs on no nodes.
    pub control_plane: Option<bool>,
}

/// Machines that fail again and again: by `record`, or by chance with `mtbf` and `repair` or as a
/// `preset` has them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outages {
    /// Name for the report.
    #[serde(default)]
    pub name: String,
    /// A record of real outages.
    pub record: Option<Record>,
    /// Time from a machine's return to its next failure.
    pub mtbf: Option<DistSpec>,
    /// Time from a failure to the machine's return; with a record, where that does not tell; with a
    /// preset, in place of its own.
    pub repair: Option<DistSpec>,
    /// Both, as fitted to a record of real failures.
    pub preset: Option<PresetName>,
    /// With `mtbf` or a preset: machines fail in groups, not each for itself.
    pub together: Option<Together>,
    /// The nodes that may fail; by default all.
    pub whom: Option<Whom>,
    /// With `mtbf`: no machine fails after this.
    pub until: Option<Span>,
}

/// Failures and repairs as they were somewhere: what `wavetank fit` says of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PresetName {
    /// Grid'5000, 2005 and 2006: a research grid, whose machines are also taken away to be
    /// maintained and rebuilt.
    Grid5000,
    /// Los Alamos, 1996 to 2005: machines of high-performance computing.
    Lanl,
    /// Google, 2011: machines removed from a cluster. It does not tell for how long: give
    /// `repair`.
    Google2011,
}

/// Groups of nodes that fail at once.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Together {
    /// The label whose value names the group: `topology.kubernetes.io/zone`. Nodes without it fail
    /// for themselves.
    pub by: String,
    /// Share of the group that is struck each time, drawn anew, at least one node; 1 by default.
    pub share: Option<f64>,
}

/// A record of real outages; exactly one file is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// An event trace of the Failure Trace Archive (Grid'5000 and others).
    pub fta: Option<String>,
    /// Failures of LANL, 1996 to 2005.
    pub lanl: Option<String>,
    /// REMOVE events of Google's trace of 2011.
    #[serde(rename = "google2011")]
    pub google_2011: Option<String>,
    /// Service outages as `OpenDC` keeps them.
    pub opendc: Option<String>,
    /// The second of the record's clock at which the run begins; by default its first outage.
    pub from: Option<u64>,
    /// Times are divided by this.
    pub speed_up: Option<f64>,
}
