//! What goes wrong, as the scenario file writes it: faults, and outages that come again and again.

use super::value::{DistSpec, Span};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A fault; exactly one of `crash`, `shutdown`, `kubeletStop`, `kubeletCrash`, `restart`,
/// `terminate`, `pause`, `watchLoss`, `kubeletWatchLoss`, `deviceFailure`, `registryDown`, `slowDisk`, `loseLog`,
/// `spaceAlarm` and `blackout` is given.
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
    /// When.
    pub at: Span,
    /// For how long; for the rest of the run by default.
    #[serde(rename = "for")]
    pub lasts: Option<Span>,
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

/// Nodes that a fault strikes. `count` alone draws among all nodes; with `zone` or `selector`,
/// among those.
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
