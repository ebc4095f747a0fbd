//! The scenario file as it is written. Every type here is both the reader and, by its doc comments,
//! the JSON schema that editors complete from.

pub use super::breakage::{
    After, Blackout, BlackoutOf, ComponentName, DeviceFailure, DiskFull, Fault, Interrupt, Network,
    Outages, Overload, Partition, PriorityLevel, Record, RestoreFrom, SlowNode, Upgrade, Whom,
};
pub use super::breakage::{PresetName, Together};
pub use super::traces::file::Trace;
use super::value::{DistSpec, Quantity, Rate, Share, Span, Taint};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Any Kubernetes object or part of one; its own reader checks it.
pub type Document = serde_json::Map<String, serde_json::Value>;

/// A Wavetank scenario: a cluster, what is applied to it, what goes wrong, and what is expected.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScenarioFile {
    /// `wavetank.dev/v1`.
    pub api_version: String,
    /// `Scenario`.
    pub kind: String,
    /// Name of the scenario.
    #[serde(default)]
    pub metadata: Metadata,
    /// Seed of all chance.
    #[serde(default)]
    pub seed: u64,
    /// When the run ends: a span, `idle`, or both.
    pub until: Until,
    /// The cluster.
    pub cluster: Cluster,
    /// The cloud around the cluster.
    pub cloud: Option<super::cloud::CloudSection>,
    /// Files of Kubernetes objects, relative to this file; `${shared}/…` lies in the shared data
    /// directory.
    #[serde(default)]
    pub manifests: Vec<ManifestFile>,
    /// Kubernetes objects, inline.
    #[serde(default)]
    pub objects: Vec<Document>,
    /// How the programs of workloads behave, in place of annotations of their pods.
    #[serde(default)]
    pub programs: Vec<Program>,
    /// Namespaces to make, besides those declared as objects and the four that always exist.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// The scheduler.
    #[serde(default)]
    pub scheduler: Scheduler,
    /// What the user does, and when.
    #[serde(default)]
    pub workload: Vec<Step>,
    /// Streams of pods or jobs.
    #[serde(default)]
    pub arrivals: Vec<Arrival>,
    /// Recorded workloads.
    #[serde(default)]
    pub traces: Vec<Trace>,
    /// Policies of the scenario's own, by name: `scheduler.policy` may name them.
    #[serde(default)]
    pub policies: BTreeMap<String, super::policies::PolicySection>,
    /// What pods use, as a metrics server scrapes it for autoscalers.
    #[serde(default)]
    pub usage: Vec<super::usage::Usage>,
    /// Logs of pods, the agent that ships them, and where to.
    pub logging: Option<super::logging::LoggingSection>,
    /// Requests to Services.
    #[serde(default)]
    pub traffic: Vec<super::traffic::Traffic>,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Machines that fail again and again, by a record of real ones or by chance.
    #[serde(default)]
    pub outages: Vec<Outages>,
    /// Assertions over the outcome: they decide the exit code of `run`.
    #[serde(default)]
    pub expect: Vec<Expect>,
    /// Placement taken from a recording instead of the scheduler's choice.
    #[serde(default)]
    pub pin: Vec<Pin>,
}

/// A file of Kubernetes objects.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ManifestFile {
    /// Path, relative to the scenario.
    Path(String),
    /// A file and labels.
    Labelled(LabelledFile),
}

/// A file whose objects get labels, as `commonLabels` of a kustomization gives them: on the object,
/// its selector and its template.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelledFile {
    /// Path, relative to the scenario.
    pub file: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// How the programs of a workload behave.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Program {
    /// `job/migrate` or `job/NAMESPACE/migrate`; any object with a pod template, or a pod.
    pub workload: String,
    /// What annotations `wavetank.dev/…` of its pods would say: `{exit-after: 30s}`, with
    /// `.CONTAINER` behind the word of that container alone.
    pub behaviour: BTreeMap<String, String>,
}

/// What the scenario is called.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Name; by default that of the scenario's directory.
    #[serde(default)]
    pub name: String,
}

/// When a run ends.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Until {
    /// A span, or the word `idle`: as soon as everything has come to rest (at most 7 days).
    Word(UntilWord),
    /// Both.
    Both(UntilBoth),
}

/// A span of time or `idle`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct UntilWord(#[schemars(with = "UntilText")] pub Span);

/// A span of time, or the word `idle`.
#[derive(Debug, Clone)]
pub struct UntilText;

impl JsonSchema for UntilText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "UntilText".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A span of time (`40m`), or the word `idle`.",
            "type": ["string", "number"], "format": "until"
        })
    }
}

/// End at a time at the latest, and earlier if everything has come to rest.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UntilBoth {
    /// At the latest.
    pub at: Span,
    /// End earlier, as soon as everything has come to rest.
    #[serde(default)]
    pub idle: bool,
}

/// The cluster.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// `1.35` (the default) or `1.29`.
    pub kubernetes_version: Option<VersionText>,
    /// Time of day at the start of the run, RFC 3339; 2026-01-01T00:00:00Z by default.
    pub epoch: Option<String>,
    /// Node pools.
    #[serde(default)]
    pub nodes: Vec<Pool>,
    /// A node list of the Alibaba openb trace (CSV): its nodes are added to those of the pools.
    pub nodes_from: Option<NodesFrom>,
    /// Nodes that run the control plane; without them, one of each of its components runs nowhere
    /// and fails only if a fault says so.
    pub control_plane: Option<ControlPlane>,
    /// Client-side rate limits.
    #[serde(default)]
    pub limits: Limits,
    /// Latencies of the model.
    #[serde(default)]
    pub latencies: Latencies,
    /// `lazy` arms only heartbeats that could be noticed; `explicit` arms every lease renewal and
    /// node report.
    #[serde(default)]
    pub heartbeats: Heartbeats,
    /// Overrides `--node-monitor-grace-period` of the version.
    pub node_monitor_grace_period: Option<Span>,
    /// `--event-ttl`; 1h by default.
    #[serde(rename = "eventTTL")]
    pub event_ttl: Option<Span>,
    /// The network of pods: a plugin by name, or with what differs from what is known of it.
    /// Without it each pod has an address, and the network costs nothing.
    pub cni: Option<super::cni::Cni>,
    /// Addresses of pods, of which each node gets a range (`--cluster-cidr` with `--allocate-node-cidrs`): `10.244.0.0/16`.
    #[serde(rename = "podCIDR")]
    pub pod_cidr: Option<String>,
    /// Bits of the prefix of a node's range (`--node-cidr-mask-size-ipv4`); 24 by default.
    #[serde(rename = "nodeCIDRMaskSize")]
    #[schemars(range(min = 8, max = 30))]
    pub node_cidr_mask_size: Option<u8>,
    /// Addresses of Services (`--service-cluster-ip-range`); `10.96.0.0/12` by default.
    #[serde(rename = "serviceCIDR")]
    pub service_cidr: Option<String>,
    /// Images with their sizes or layers; any other is as large as `latencies.imageBytes` says.
    #[serde(default)]
    pub images: Vec<super::images::Described>,
    /// The image registry.
    #[serde(default)]
    pub registry: super::images::Registry,
    /// Storage drivers, where they differ from what is known of their name.
    #[serde(default)]
    pub storage: Vec<super::drivers::DriverSpec>,
    /// `--metric-resolution` of the metrics server; 15s by default.
    pub metrics_resolution: Option<Span>,
    /// kube-proxy on all nodes: it acts where there is traffic.
    #[serde(default)]
    pub proxy: super::traffic::Proxy,
}

/// A Kubernetes version.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct VersionText(#[schemars(with = "VersionSchema")] pub Span);

/// `1.35` or `1.29`.
#[derive(Debug, Clone)]
pub struct VersionSchema;

impl JsonSchema for VersionSchema {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Version".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A Kubernetes version: `1.35` or `1.29`.",
            "type": ["string", "number"], "format": "version"
        })
    }
}

/// How heartbeats are simulated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Heartbeats {
    /// Only those that could be noticed.
    #[default]
    Lazy,
    /// Every one.
    Explicit,
}

/// Which agent runs on a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AgentName {
    /// The modelled kubelet.
    #[default]
    Kubelet,
    /// A minimal agent like KWOK's: pods run at once and end at once.
    Fakelet,
}

/// A pool of equal nodes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    /// The node's name, or with `count` what the names begin with (`NAME-0`, `NAME-1`, …); `{}` in
    /// it stands for the number.
    pub name: String,
    /// Number of nodes; without it there is one, called exactly `name`.
    pub count: Option<u32>,
    /// Zone of all nodes.
    pub zone: Option<String>,
    /// Zones in turn.
    pub zones: Option<Vec<String>>,
    /// CPU capacity; with `machineType` that of the type.
    pub cpu: Option<Quantity>,
    /// Memory capacity; with `machineType` that of the type.
    pub memory: Option<Quantity>,
    /// Ephemeral storage; none by default.
    pub ephemeral_storage: Option<Quantity>,
    /// Most pods on the node; 110 by default.
    pub pods: Option<u32>,
    /// Extended resources: `nvidia.com/gpu: 8`.
    #[serde(default)]
    pub resources: BTreeMap<String, Quantity>,
    /// `kubernetes.io/os`; `linux` by default.
    pub os: Option<String>,
    /// `kubernetes.io/arch`; `amd64` by default.
    pub arch: Option<String>,
    /// Container runtime; `containerd` by default.
    #[serde(default)]
    pub runtime: RuntimeChoice,
    /// Labels besides hostname, zone, os and arch.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints the nodes register with.
    #[serde(default)]
    pub taints: Vec<Taint>,
    /// Agent; `kubelet` by default.
    #[serde(default)]
    pub agent: AgentName,
    /// Time from power-on to registration; none by default.
    pub boot: Option<DistSpec>,
    /// When the nodes join the cluster; they are there from the start by default.
    pub joins: Option<Span>,
    /// What pods may use, where it differs from the default: capacity for a fakelet, 100Mi of
    /// memory less for a kubelet.
    #[serde(default)]
    pub allocatable: Allocatable,
    /// Images there from the start.
    #[serde(default)]
    pub images: Vec<Image>,
    /// Configuration of the kubelets.
    #[serde(default)]
    pub kubelet: super::kubelet::Kubelet,
    /// Static pods: files of Pod manifests, relative to this one.
    #[serde(default)]
    pub static_pods: Vec<String>,
    /// Type of the machines, one of `cloud.machineTypes`: the pool is a node group of the cloud.
    pub machine_type: Option<String>,
    /// Machines of spare capacity, at the spot price; false by default.
    #[serde(default)]
    pub spot: bool,
    /// The cluster autoscaler may change the number of nodes.
    pub autoscale: Option<super::cloud::Autoscale>,
}

/// A container runtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeChoice {
    /// containerd: `latencies` describes it.
    #[default]
    Containerd,
    /// CRI-O: as containerd.
    CriO,
    /// Docker behind its shim: sandboxes and containers take 1.9 times as long.
    Docker,
}

/// A control plane that runs on nodes of its own: each runs etcd, kube-apiserver, kube-scheduler
/// and kube-controller-manager as static pods, and has the taint
/// `node-role.kubernetes.io/control-plane:NoSchedule`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlPlane {
    /// How many; 3 or 5 for one that outlives the loss of a node.
    #[schemars(range(min = 1, max = 9))]
    pub nodes: u32,
    /// What their names begin with; `control-plane` by default.
    pub name: Option<String>,
    /// CPU of each; 4 by default.
    pub cpu: Option<Quantity>,
    /// Memory of each; 16Gi by default.
    pub memory: Option<Quantity>,
    /// Their zones, in turn.
    pub zones: Option<Vec<String>>,
    /// Time from power-on to the start of the kubelet.
    pub boot: Option<DistSpec>,
    /// `--quota-backend-bytes` of etcd; 2Gi by default.
    pub etcd_quota: Option<Quantity>,
}

/// Allocatable amounts that differ from the default.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allocatable {
    /// CPU.
    pub cpu: Option<Quantity>,
    /// Memory.
    pub memory: Option<Quantity>,
    /// Ephemeral storage.
    pub ephemeral_storage: Option<Quantity>,
    /// Most pods on the node.
    pub pods: Option<u32>,
    /// Extended resources.
    #[serde(default)]
    pub resources: BTreeMap<String, Quantity>,
}

/// An image on a node: its name, or name and size.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Image {
    /// Name; the size is that of `latencies.imageBytes`.
    Name(String),
    /// Name and size.
    Sized(SizedImage),
}

/// An image with its size.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SizedImage {
    /// Image reference.
    pub name: String,
    /// Size.
    pub size: Quantity,
}

/// Nodes read from a trace.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodesFrom {
    /// Path of an openb node list (`sn,cpu_milli,memory_mib,gpu,model`).
    pub openb: String,
    /// Agent of these nodes; `kubelet` by default.
    #[serde(default)]
    pub agent: AgentName,
}

/// Client-side rate limits.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Of each controller; 20 and 30 by default.
    pub controllers: Option<Limit>,
    /// Of the scheduler; 50 and 100 by default.
    pub scheduler: Option<Limit>,
    /// Of each kubelet; 50 and 100 by default.
    pub kubelet: Option<Limit>,
}

/// A rate limit.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limit {
    /// Requests per second.
    pub qps: f64,
    /// Requests at once.
    #[schemars(range(min = 1))]
    pub burst: u32,
}

/// Latencies of the model; what is not given keeps its default.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Latencies {
    /// One way between a client and the API server.
    pub network: Option<Span>,
    /// From commit to delivery of a watch event, on average.
    pub watch: Option<Span>,
    /// Work of the API server on a request, before etcd.
    pub api: Option<Span>,
    /// fsync of etcd's log.
    pub fsync: Option<DistSpec>,
    /// Round trip between etcd members.
    pub raft_rtt: Option<Span>,
    /// One scheduling cycle.
    pub schedule: Option<Span>,
    /// From a pod's arrival on a node to its volumes being mounted.
    pub mount: Option<DistSpec>,
    /// Making a pod's sandbox; its network included, unless `cni` is given.
    pub sandbox: Option<DistSpec>,
    /// Creating and starting a container.
    pub container: Option<DistSpec>,
    /// Registry bandwidth of a node, bytes per second.
    pub pull_bytes_per_second: Option<Quantity>,
    /// Size of an image that no one describes.
    pub image_bytes: Option<Quantity>,
}

/// The scheduler.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scheduler {
    /// A policy by name: kube-default (the default), least-allocated, most-allocated,
    /// requested-to-capacity, balanced, first-fit, best-fit, worst-fit, random, round-robin,
    /// dot-product, gpu-packing, gpu-clustering, fgd, cost-aware, load-aware, or one of `policies`.
    pub policy: Option<String>,
    /// A pod is tried so many times at most, and left pending then; for ever by default, as
    /// kube-scheduler does.
    #[schemars(range(min = 1))]
    pub attempts: Option<u32>,
    /// A KubeSchedulerConfiguration in place of a policy: a file's path, or the object itself.
    pub config: Option<SchedulerConfigRef>,
    /// In which order waiting pods are tried; `priority` by default.
    #[serde(default)]
    pub queue: QueueName,
    /// Pods of one group start together or not at all.
    pub gang: Option<Gang>,
    /// What decides among equal nodes; `uniform` by default.
    #[serde(default)]
    pub ties: TieRule,
    /// Share of the nodes to look at; 0 (the default) adapts it to their number. That of `config`
    /// goes before it.
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub percentage_of_nodes_to_score: u32,
}

/// A KubeSchedulerConfiguration: a path or the object.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SchedulerConfigRef {
    /// Path of a file, relative to this one.
    File(String),
    /// The object itself.
    Inline(Document),
}

/// In which order waiting pods are tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueueName {
    /// By priority, then by how long they wait: kube-scheduler's way.
    #[default]
    Priority,
    /// In the order in which they came, whatever their priority.
    Fifo,
    /// By priority, then the shortest first (by the duration that the scenario gives them).
    ShortestFirst,
    /// The pods of the namespace with the smallest dominant share first.
    DominantResourceFairness,
}

/// Gang scheduling: pods with label `scheduling.x-k8s.io/pod-group` are bound once as many of the
/// group as their annotation `scheduling.x-k8s.io/min-member` says have a node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gang {
    /// How long the first ones hold their nodes while they wait for the others; 60s by default.
    pub timeout: Option<Span>,
}

/// What decides among equal nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TieRule {
    /// A seeded draw.
    #[default]
    Uniform,
    /// The heap order of kube-scheduler 1.35.
    Upstream,
    /// The first one looked at.
    First,
    /// The smallest name.
    Name,
    /// One shuffled order of nodes per run.
    NodeOrderPerRun,
}

/// Something the user does; exactly one action is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// When.
    pub at: Span,
    /// `kubectl apply`: a file, or an object inline.
    pub apply: Option<Applied>,
    /// `kubectl delete`: `deployment/web`, `pod/NAMESPACE/NAME`, `node/NAME`; `pod/NAMESPACE/web-*` is
    /// the oldest one whose name begins so.
    pub delete: Option<String>,
    /// `--grace-period` of `delete`.
    pub grace_period_seconds: Option<u32>,
    /// `--cascade` of `delete`; `background` by default.
    pub cascade: Option<Cascade>,
    /// With `delete` or `evict` of `pod/NAMESPACE/web-*`: the object so many after the oldest one whose name
    /// begins so; 0 by default.
    pub nth: Option<u32>,
    /// `kubectl scale`.
    pub scale: Option<Scale>,
    /// `kubectl set image`.
    pub set_image: Option<SetImage>,
    /// `kubectl taint`.
    pub taint: Option<TaintStep>,
    /// `kubectl cordon`: a node.
    pub cordon: Option<String>,
    /// `kubectl uncordon`: a node.
    pub uncordon: Option<String>,
    /// `kubectl drain`: a node. Evictions that a disruption budget refuses are tried again every 5 s.
    pub drain: Option<String>,
    /// `kubectl create`: refused if the object is there.
    pub create: Option<Document>,
    /// `kubectl replace`: refused if the object is not there, or has changed since the resourceVersion it names.
    pub replace: Option<Document>,
    /// One request to the eviction API: `pod/NAMESPACE/NAME`, or `pod/NAMESPACE/web-*` (see `nth`).
    pub evict: Option<String>,
    /// Who acts: a user name, or a service account as `system:serviceaccount:NAMESPACE:NAME`; an administrator by default.
    #[serde(rename = "as")]
    pub user: Option<String>,
    /// Groups of that user.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// What becomes of the objects that the deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Cascade {
    /// They are deleted after it.
    Background,
    /// They are deleted before it.
    Foreground,
    /// They stay.
    Orphan,
}

/// `kubectl taint`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaintStep {
    /// The node.
    pub node: String,
    /// Taints to add.
    #[serde(default)]
    pub add: Vec<Taint>,
    /// Taints to take away: those with the same key and effect.
    #[serde(default)]
    pub remove: Vec<Taint>,
}

/// A file, or an object inline.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Applied {
    /// Path, relative to the scenario.
    Path(String),
    /// A Kubernetes object.
    Object(Document),
}

/// `kubectl scale`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    /// `deployment/web` or `deployment/NAMESPACE/web`.
    pub target: String,
    /// Replicas.
    #[schemars(range(min = 0))]
    pub replicas: i32,
}

/// `kubectl set image`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetImage {
    /// `deployment/web` or `deployment/NAMESPACE/web`.
    pub target: String,
    /// Container; all of them by default.
    #[serde(default)]
    pub container: String,
    /// New image.
    pub image: String,
}

/// A stream of pods or of jobs with one pod each.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arrival {
    /// What the objects' names begin with.
    pub name: String,
    /// Namespace; `default` by default.
    pub namespace: Option<String>,
    /// Bare pods like this.
    pub pod: Option<PodShort>,
    /// Jobs with one pod like this.
    pub job: Option<PodShort>,
    /// Equal gaps.
    pub every: Option<Span>,
    /// Exponential gaps at this mean rate.
    pub poisson: Option<Rate>,
    /// First instant; 0s by default.
    pub start: Option<Span>,
    /// No arrival after this instant.
    pub end: Option<Span>,
    /// At most so many.
    pub count: Option<u32>,
    /// The containers end by themselves after this time.
    pub duration: Option<DistSpec>,
    /// The user deletes the object after this time.
    pub lifetime: Option<DistSpec>,
    /// From when the lifetime counts; `running` by default.
    #[serde(default)]
    pub lifetime_from: LifetimeStart,
    /// Requests drawn for each.
    #[serde(default)]
    pub requests: DrawnRequests,
}

/// From when a lifetime counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LifetimeStart {
    /// From the moment its user sees it running.
    #[default]
    Running,
    /// From its creation.
    Creation,
}

/// Requests drawn for each pod.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrawnRequests {
    /// CPU.
    pub cpu: Option<DrawnAmount>,
    /// Memory.
    pub memory: Option<DrawnAmount>,
}

/// `base + step × U{0..steps}`: each of the `steps + 1` amounts is equally likely.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrawnAmount {
    /// Smallest amount.
    pub base: Quantity,
    /// Distance of amounts.
    pub step: Quantity,
    /// Number of steps above the base.
    pub steps: u32,
}

/// A pod in a few words, or a full template.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodShort {
    /// CPU request.
    pub cpu: Option<Quantity>,
    /// Memory request.
    pub memory: Option<Quantity>,
    /// Requests and limits of extended resources: `nvidia.com/gpu: 1`.
    #[serde(default)]
    pub resources: BTreeMap<String, Quantity>,
    /// Image; `registry.k8s.io/pause:3.10` by default.
    pub image: Option<String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Priority class by name.
    pub priority_class_name: Option<String>,
    /// Priority, if no class is named.
    pub priority: Option<i32>,
    /// Node labels the pod needs.
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    /// Taints it tolerates, each written like the taint.
    #[serde(default)]
    pub tolerations: Vec<Taint>,
    /// `Always`, `OnFailure` or `Never`; `Never` where pods end by themselves.
    pub restart_policy: Option<RestartName>,
    /// Exit code of containers that end by themselves.
    #[serde(default)]
    pub exit_code: i32,
    /// Time from start to readiness.
    pub ready_after: Option<Span>,
    /// Time to stop after SIGTERM.
    pub stop_after: Option<Span>,
    /// `terminationGracePeriodSeconds`; 30 by default.
    pub grace_period_seconds: Option<u32>,
    /// A full pod template (`metadata`, `spec`) in place of everything else here.
    pub template: Option<Document>,
}

/// `restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum RestartName {
    /// Restart whatever the exit code.
    Always,
    /// Restart after a failure.
    OnFailure,
    /// Never restart.
    Never,
}

/// The Alibaba openb trace.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Openb {
    /// Node list (CSV); none if the cluster has its own nodes.
    pub nodes: Option<String>,
    /// Pod list (CSV, may be gzipped).
    pub pods: String,
    /// Agent of the trace's nodes; `kubelet` by default.
    #[serde(default)]
    pub agent: AgentName,
    /// Namespace of the pods; `default` by default.
    pub namespace: Option<String>,
    /// Gap between pods of lists without times; 1s by default.
    pub gap: Option<Span>,
    /// Divide all times by this.
    pub speed_up: Option<f64>,
    /// Only the first so many pods.
    pub limit: Option<u32>,
    /// In which order pods arrive; `trace` by default.
    #[serde(default)]
    pub order: TraceOrder,
    /// Draw pods again, or leave some out, until the GPUs that all of them ask for come to this
    /// share of the cluster's: `130%`. Shuffles, too.
    pub gpu_load: Option<Share>,
}

/// In which order the pods of a trace arrive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TraceOrder {
    /// When the trace says.
    #[default]
    Trace,
    /// Shuffled, anew for each seed, with equal gaps; they stay for ever.
    Shuffled,
}

/// An assertion over the outcome; exactly one field is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// At the end every workload has all its replicas available and no pod is pending.
    pub converged: Option<bool>,
    /// A workload never has fewer available replicas for longer than a span.
    pub available: Option<ExpectAvailable>,
    /// A workload is down (fewer ready replicas than it needs) for at most so long, all in all.
    pub downtime: Option<ExpectDowntime>,
    /// Replicas that a workload lacks, times how long it lacks them.
    pub short_replicas: Option<ExpectShort>,
    /// How soon after each fault its consequences are noticed and made good.
    pub recovery: Option<ExpectRecovery>,
    /// Requests of a row of traffic.
    pub requests: Option<super::traffic::ExpectRequests>,
    /// Logs that are lost, or wait in the buffers of agents.
    pub logs: Option<super::logging::ExpectLogsSection>,
    /// The machines of the cloud cost at most so much.
    pub cost: Option<super::cloud::ExpectCost>,
    /// Pods wait for nodes for at most so long, all waits added.
    pub pending_total: Option<Span>,
    /// Work of Jobs done for nothing is at most this.
    pub lost_work: Option<Span>,
    /// At most so many pods are pending at the end.
    pub pending_at_end: Option<u32>,
    /// At the end every claim is bound.
    pub claims_bound: Option<bool>,
    /// At the end every Service with a selector has a ready endpoint.
    pub services_ready: Option<bool>,
    /// At least so many pods were bound.
    pub bound: Option<u64>,
    /// So many pods were evicted.
    pub evicted: Option<ExpectEvicted>,
    /// No pod waited longer for a node.
    pub pending_at_most: Option<Span>,
    /// At least so many container restarts.
    pub restarts: Option<u64>,
    /// Requests that the API server refused.
    pub refused: Option<ExpectRefused>,
    /// Warnings of admission.
    pub warned: Option<ExpectWarned>,
    /// Kubernetes Events.
    pub event: Option<ExpectEvent>,
}

/// Kubernetes Events, new or repeated: those that fit all that is given are counted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectEvent {
    /// Reason: `FailedCreate`, `BackOff`.
    pub reason: Option<String>,
    /// Kind of the object they are about: `pod`, `replicaset`.
    pub kind: Option<String>,
    /// Name of that object.
    pub name: Option<String>,
    /// Part of the message: `exceeded quota`.
    pub message: Option<String>,
    /// At least; 1 by default.
    pub at_least: Option<u64>,
    /// At most; no bound by default.
    pub at_most: Option<u64>,
}

/// Refused requests: those that fit all that is given are counted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectRefused {
    /// Who asked: `user`, a name given with `as`, `scheduler`, `kcm:replicaset-controller`, `kubelet`.
    pub user: Option<String>,
    /// Verb, with its subresource if there is one: `create`, `create/eviction`, `update/status`.
    pub verb: Option<String>,
    /// Kind: `pod`, `deployment`.
    pub kind: Option<String>,
    /// HTTP code: 403, 409, 422, 429.
    pub code: Option<u16>,
    /// Reason of the answer: `Forbidden`, `Conflict`, `AlreadyExists`, `Invalid`, `TooManyRequests`.
    pub reason: Option<String>,
    /// Part of the message: `exceeded quota`.
    pub message: Option<String>,
    /// At least; 1 by default.
    pub at_least: Option<u64>,
    /// At most; no bound by default.
    pub at_most: Option<u64>,
}

/// Warnings that admission gave with its answers.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectWarned {
    /// Part of the text: `would violate PodSecurity`.
    #[serde(default)]
    pub message: String,
    /// At least; 1 by default.
    pub at_least: Option<u64>,
}

/// Availability of a workload.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectAvailable {
    /// `deployment/web` or `deployment/NAMESPACE/web`.
    pub workload: String,
    /// Replicas.
    #[schemars(range(min = 0))]
    pub at_least: i32,
    /// Tolerated span below it, counted from its first full availability; none by default.
    pub except: Option<Span>,
}

/// Downtime of a workload: with fewer ready replicas than its disruption budget asks for, else
/// with none.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectDowntime {
    /// `deployment/web` or `deployment/NAMESPACE/web`; by default each.
    pub workload: Option<String>,
    /// Replicas that it needs, in place of what its budget says.
    #[schemars(range(min = 0))]
    pub min_available: Option<i32>,
    /// Tolerated time, counted from its first full availability.
    pub at_most: Span,
}

/// Replicas short.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectShort {
    /// `deployment/web` or `deployment/NAMESPACE/web`; by default each.
    pub workload: Option<String>,
    /// Tolerated replica-time: `10m` is one replica for ten minutes, or two for five.
    pub at_most: Span,
}

/// Spans from the begin of a fault.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectRecovery {
    /// Until the last struck node is noticed.
    pub detected: Option<Span>,
    /// Until the last eviction.
    pub evicted: Option<Span>,
    /// Until the last replacement has a node.
    pub rescheduled: Option<Span>,
    /// Until every struck workload has all its replicas ready again.
    pub ready: Option<Span>,
}

/// Number of evicted pods.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectEvicted {
    /// At least; 0 by default.
    #[serde(default)]
    pub at_least: u64,
    /// At most; no bound by default.
    pub at_most: Option<u64>,
}

/// Placement taken from a recording.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pin {
    /// What the pods' names begin with.
    pub prefix: String,
    /// Nodes in order of the pods' creation; the last one repeats.
    pub nodes: Vec<String>,
}
