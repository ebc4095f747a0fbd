//! Pods: an immutable spec shared by every pod of a template, and a small status by value.

pub use super::conditions::{Condition, ConditionType, Conditions, Truth};
use super::labels::{Requirement, Selector};
use super::meta::{Meta, Stamp};
use super::resources::{DEFAULT_MEMORY, DEFAULT_MILLI_CPU, Named, Resources};
use crate::engine::Sym;
use std::sync::Arc;

/// A pod.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pod {
    /// Metadata.
    pub meta: Meta,
    /// The part that does not change after creation (but for images and tolerations, which get a
    /// new spec).
    pub spec: Arc<PodSpec>,
    /// `spec.nodeName`; empty until bound.
    pub node: Sym,
    /// Status.
    pub status: PodStatus,
}

impl Pod {
    /// True if the phase is Succeeded or Failed.
    #[must_use]
    pub fn terminal(&self) -> bool {
        matches!(self.status.phase, Phase::Succeeded | Phase::Failed)
    }

    /// True if condition Ready is True.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.status.condition(ConditionType::Ready).is_some_and(|c| c.status == Truth::True)
    }

    /// Neither terminal nor being deleted: what a ReplicaSet counts.
    #[must_use]
    pub fn active(&self) -> bool {
        !self.terminal() && self.meta.deletion.is_none()
    }
}

/// `spec.restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RestartPolicy {
    /// Restart whatever the exit code.
    #[default]
    Always,
    /// Restart on a non-zero exit code.
    OnFailure,
    /// Never restart.
    Never,
}

/// `spec.preemptionPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PreemptionPolicy {
    /// May preempt pods of lower priority.
    #[default]
    PreemptLowerPriority,
    /// Never preempts.
    Never,
}

/// `imagePullPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PullPolicy {
    /// Ask the registry each time.
    Always,
    /// Pull only if the node lacks the image.
    #[default]
    IfNotPresent,
    /// Never pull.
    Never,
}

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A container port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Port {
    /// Name; may be empty.
    pub name: Sym,
    /// Port inside the pod.
    pub container_port: u16,
    /// Port on the node; 0 for none.
    pub host_port: u16,
    /// Address on the node; empty or `0.0.0.0` for all.
    pub host_ip: Sym,
    /// Protocol.
    pub protocol: Protocol,
}

/// A probe's schedule. What it finds is the container's modelled behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Probe {
    /// `initialDelaySeconds`.
    pub initial_delay_s: u32,
    /// `periodSeconds`, at least 1.
    pub period_s: u32,
    /// `timeoutSeconds`.
    pub timeout_s: u32,
    /// `successThreshold`.
    pub success_threshold: u32,
    /// `failureThreshold`.
    pub failure_threshold: u32,
    /// `terminationGracePeriodSeconds` of the probe, if given.
    pub grace_s: Option<u32>,
}

/// A `postStart` or `preStop` hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    /// `sleep`, seconds.
    Sleep(u32),
    /// `exec` or `httpGet`: takes as long as the scenario says.
    Run,
}

/// A ConfigMap or Secret that the environment of a container names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConfigUse {
    /// True for a Secret.
    pub secret: bool,
    /// Its name.
    pub name: Sym,
    /// Which of its keys; empty for all that there are.
    pub key: Sym,
    /// It may be missing.
    pub optional: bool,
}

/// A container (app, init or sidecar).
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Container {
    /// Name.
    pub name: Sym,
    /// Image reference as written.
    pub image: Sym,
    /// Requests, after defaulting from limits.
    pub requests: Resources,
    /// Which of cpu and memory the requests name.
    pub requests_named: Named,
    /// Limits.
    pub limits: Resources,
    /// Which of cpu and memory the limits name.
    pub limits_named: Named,
    /// Ports.
    pub ports: Vec<Port>,
    /// Pull policy.
    pub pull: PullPolicy,
    /// An init container with `restartPolicy: Always` is a sidecar.
    pub sidecar: bool,
    /// Startup probe.
    pub startup: Option<Probe>,
    /// Liveness probe.
    pub liveness: Option<Probe>,
    /// Readiness probe.
    pub readiness: Option<Probe>,
    /// `lifecycle.postStart`.
    pub post_start: Option<Hook>,
    /// `lifecycle.preStop`.
    pub pre_stop: Option<Hook>,
    /// What its environment is made from; the document says so, too.
    pub config: Vec<ConfigUse>,
}

/// Effect of a taint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// New pods are kept away.
    NoSchedule,
    /// New pods are kept away if possible.
    PreferNoSchedule,
    /// Running pods are evicted, too.
    NoExecute,
}

/// A taint on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Taint {
    /// Key.
    pub key: Sym,
    /// Value; may be empty.
    pub value: Sym,
    /// Effect.
    pub effect: Effect,
    /// `timeAdded` (NoExecute).
    pub added: Stamp,
}

/// A toleration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Toleration {
    /// Key; empty with `Exists` tolerates every key.
    pub key: Sym,
    /// True for operator `Exists`; false for `Equal`.
    pub exists: bool,
    /// Value for `Equal`.
    pub value: Sym,
    /// Effect; none for all.
    pub effect: Option<Effect>,
    /// `tolerationSeconds` (NoExecute); none for ever. Negative counts as 0.
    pub seconds: Option<i64>,
}

impl Toleration {
    /// Source: `staging/src/k8s.io/api/core/v1/toleration.go` `ToleratesTaint`.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        if self.effect.is_some_and(|e| e != taint.effect) {
            return false;
        }
        if !self.key.is_empty() && self.key != taint.key {
            return false;
        }
        if self.exists { true } else { self.value == taint.value && !self.key.is_empty() }
    }
}

/// A term of a node selector: expressions over labels and fields, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct NodeSelectorTerm {
    /// Requirements on node labels.
    pub expressions: Vec<Requirement>,
    /// Requirements on node fields (only `metadata.name`).
    pub fields: Vec<Requirement>,
}

/// A weighted node selector term.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PreferredNodeTerm {
    /// 1 to 100.
    pub weight: i64,
    /// The term.
    pub term: NodeSelectorTerm,
}

/// A term of pod (anti-)affinity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodAffinityTerm {
    /// Pods it is about; none matches no pod.
    pub selector: Option<Selector>,
    /// Namespaces named.
    pub namespaces: Vec<Sym>,
    /// Namespaces chosen by their labels; an empty selector chooses all.
    pub namespace_selector: Option<Selector>,
    /// Node label that makes the domain.
    pub topology_key: Sym,
}

/// A weighted pod (anti-)affinity term.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PreferredPodTerm {
    /// 1 to 100.
    pub weight: i64,
    /// The term.
    pub term: PodAffinityTerm,
}

/// Everything under `spec.affinity`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Affinity {
    /// Required node affinity: one of the terms must match. `None` if not given.
    pub node_required: Option<Vec<NodeSelectorTerm>>,
    /// Preferred node affinity.
    pub node_preferred: Vec<PreferredNodeTerm>,
    /// Required pod affinity.
    pub pod_required: Vec<PodAffinityTerm>,
    /// Preferred pod affinity.
    pub pod_preferred: Vec<PreferredPodTerm>,
    /// Required pod anti-affinity.
    pub anti_required: Vec<PodAffinityTerm>,
    /// Preferred pod anti-affinity.
    pub anti_preferred: Vec<PreferredPodTerm>,
}

/// A topology spread constraint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpreadConstraint {
    /// Allowed imbalance.
    pub max_skew: i32,
    /// Node label that makes the domain.
    pub topology_key: Sym,
    /// True for `DoNotSchedule`.
    pub hard: bool,
    /// Pods counted; none selects nothing.
    pub selector: Option<Selector>,
    /// `minDomains`, if given.
    pub min_domains: Option<i32>,
    /// `nodeAffinityPolicy: Honor` (the default).
    pub honor_affinity: bool,
    /// `nodeTaintsPolicy: Honor` (default is Ignore).
    pub honor_taints: bool,
    /// `matchLabelKeys`.
    pub match_label_keys: Vec<Sym>,
}

/// The source of a volume, as far as scheduling and the node care.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum VolumeSource {
    /// A claim by name, and whether the pod mounts it read-only.
    Claim(Sym, bool),
    /// An ephemeral claim made from a template: the claim is called `POD-VOLUME`.
    Ephemeral(Arc<super::storage::ClaimTemplate>),
    /// GCE persistent disk (name, read-only).
    GcePd(Sym, bool),
    /// AWS EBS volume id.
    AwsEbs(Sym, bool),
    /// ISCSI IQN.
    Iscsi(Sym, bool),
    /// Ceph RBD (monitors joined by commas, pool, image, read-only).
    Rbd(Sym, Sym, Sym, bool),
    /// A ConfigMap by name; true if optional.
    ConfigMap(Sym, bool),
    /// A Secret by name; true if optional.
    Secret(Sym, bool),
    /// Inline CSI volume with its driver.
    Csi(Sym),
    /// Anything else: nothing waits for it.
    Other,
}

/// A volume of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Volume {
    /// Name.
    pub name: Sym,
    /// Source.
    pub source: VolumeSource,
}

/// How a pod's containers behave in the model: given by annotations or the scenario, since a
/// manifest does not say how long its program runs.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Behaviour {
    /// Time from container start to its own exit, nanoseconds; none runs for ever.
    pub exit_after_ns: Option<u64>,
    /// Exit code of that exit.
    pub exit_code: i32,
    /// Time from container start until it could pass a readiness probe, nanoseconds.
    pub ready_after_ns: u64,
    /// Time a container needs to stop after SIGTERM, nanoseconds (killed at the end of its grace).
    pub stop_after_ns: u64,
    /// What its probes and hooks find, where that is not the plain case.
    pub probing: Option<Arc<Probing>>,
    /// What it has to do before it exits, in place of a time.
    pub work: Option<Arc<super::work::Work>>,
}

/// What the probes and hooks of a pod's containers find.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Probing {
    /// Time from container start until a startup probe can pass; by default as for readiness.
    pub startup_after_ns: Option<u64>,
    /// When liveness probes fail.
    pub liveness: Option<Failing>,
    /// When readiness probes fail, once they could pass.
    pub readiness: Option<Failing>,
    /// How long `preStop` hooks run that are no plain sleep: at least, at most.
    pub pre_stop_ns: Option<(u64, u64)>,
    /// How long `postStart` hooks run that are no plain sleep: at least, at most.
    pub post_start_ns: Option<(u64, u64)>,
    /// True if `postStart` hooks fail.
    pub post_start_fails: bool,
    /// Time from container start until the program listens, nanoseconds; probes fail until then.
    pub listens_after_ns: Option<u64>,
    /// Containers that behave otherwise than their pod, by name.
    pub containers: Vec<(Sym, Behaviour)>,
}

/// When something fails: from an instant on, for a while or for good, once or again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Failing {
    /// True if `from_ns` counts from the start of the run, false if from that of the container.
    pub absolute: bool,
    /// First failure.
    pub from_ns: u64,
    /// For how long; none for good.
    pub lasts_ns: Option<u64>,
    /// Again after this much from one begin to the next; none for once.
    pub every_ns: Option<u64>,
}

impl Failing {
    /// True if it fails at this time.
    #[must_use]
    pub fn at(&self, t: u64) -> bool {
        let Some(since) = t.checked_sub(self.from_ns) else { return false };
        let since = self.every_ns.map_or(since, |every| since % every.max(1));
        self.lasts_ns.is_none_or(|lasts| since < lasts)
    }

    /// The first time at or after `t` at which it fails.
    #[must_use]
    pub fn next(&self, t: u64) -> Option<u64> {
        if t <= self.from_ns || self.at(t) {
            return Some(t.max(self.from_ns));
        }
        let every = self.every_ns?.max(1);
        Some(self.from_ns + (t - self.from_ns).div_ceil(every) * every)
    }
}

/// The part of a pod that its template gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodSpec {
    /// App containers, in order.
    pub containers: Vec<Container>,
    /// Init containers and sidecars, in order.
    pub init_containers: Vec<Container>,
    /// `nodeName` of the manifest (a bound or static pod).
    pub node_name: Sym,
    /// `nodeSelector`, as requirements that all must hold.
    pub node_selector: Vec<(Sym, Sym)>,
    /// Affinity, if any.
    pub affinity: Option<Arc<Affinity>>,
    /// Tolerations, defaults added by admission.
    pub tolerations: Vec<Toleration>,
    /// Topology spread constraints.
    pub spread: Vec<SpreadConstraint>,
    /// Scheduling gates that remain.
    pub gates: Vec<Sym>,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// `priorityClassName`.
    pub priority_class: Sym,
    /// Priority, resolved by admission.
    pub priority: i32,
    /// Preemption policy.
    pub preemption: PreemptionPolicy,
    /// Which scheduler; `default-scheduler` if not given.
    pub scheduler_name: Sym,
    /// Restart policy.
    pub restart: RestartPolicy,
    /// `terminationGracePeriodSeconds`.
    pub grace_s: u32,
    /// `hostNetwork`.
    pub host_network: bool,
    /// `activeDeadlineSeconds`.
    pub active_deadline_s: Option<u32>,
    /// `overhead`.
    pub overhead: Resources,
    /// Pod-level `resources.requests`, and which of cpu and memory they name.
    pub pod_level: Option<(Resources, Named)>,
    /// `readinessGates` condition types.
    pub readiness_gates: Vec<Sym>,
    /// `hostname` and `subdomain`.
    pub hostname: (Sym, Sym),
    /// `serviceAccountName`.
    pub service_account: Sym,
    /// `runtimeClassName`.
    pub runtime_class: Sym,
    /// Modelled behaviour of the containers.
    pub behaviour: Behaviour,
    /// Sum for Filter and BalancedAllocation: filled by [`PodSpec::sum_requests`].
    pub requests: Resources,
    /// CPU (milli) and memory (bytes) for Fit scoring, with per-container defaults.
    pub nonzero: (i64, i64),
    /// The original `spec` document, shared; none for pods made without a manifest.
    pub doc: Option<Arc<serde_json::Value>>,
}

impl PodSpec {
    /// Fills `requests` and `nonzero` from containers, sidecars, init containers, pod-level
    /// resources and overhead. Source: component-helpers `resource/helpers.go`, scheduler
    /// `util/pod_resources.go`; worked example in the behaviour reference §12.
    pub fn sum_requests(&mut self) {
        self.requests = self.sum(|c| c.requests.clone());
        if let Some((pod_level, named)) = &self.pod_level {
            if named.cpu {
                self.requests.cpu_milli = pod_level.cpu_milli;
            }
            if named.memory {
                self.requests.memory = pod_level.memory;
            }
            for &(name, amount) in &pod_level.scalars {
                self.requests.set_scalar(name, amount);
            }
        }
        let scored = self.sum(scoring_requests);
        self.nonzero =
            (scored.cpu_milli + self.overhead.cpu_milli, scored.memory + self.overhead.memory);
        let overhead = self.overhead.clone();
        self.requests.add(&overhead);
    }

    /// Sum over app containers and sidecars, or the largest need of an init container.
    #[must_use]
    pub fn sum(&self, of: impl Fn(&Container) -> Resources) -> Resources {
        let mut total = Resources::default();
        for container in &self.containers {
            total.add(&of(container));
        }
        let mut sidecars = Resources::default();
        let mut peak = Resources::default();
        for container in &self.init_containers {
            let own = of(container);
            let mut here = sidecars.clone();
            here.add(&own);
            if container.sidecar {
                total.add(&own);
                sidecars = here.clone();
            }
            peak.max(&here);
        }
        total.max(&peak);
        total
    }
}

/// A container's requests with the scheduler's scoring defaults.
fn scoring_requests(container: &Container) -> Resources {
    let mut requests = container.requests.clone();
    if !container.requests_named.cpu {
        requests.cpu_milli = DEFAULT_MILLI_CPU;
    }
    if !container.requests_named.memory {
        requests.memory = DEFAULT_MEMORY;
    }
    requests
}

/// `status.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub enum Phase {
    /// Not all containers have started.
    #[default]
    Pending,
    /// Running.
    Running,
    /// All containers ended with exit code 0 and none is restarted.
    Succeeded,
    /// All containers ended, some with an error, and none is restarted.
    Failed,
    /// Not set by modern components; found in old dumps.
    Unknown,
}

impl Phase {
    /// As the API prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }
}

/// Quality of service class (source: `apis/core/v1/helper/qos/qos.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Qos {
    /// No cpu or memory requests or limits anywhere.
    #[default]
    BestEffort,
    /// Neither of the others.
    Burstable,
    /// Every container has cpu and memory limits equal to its requests.
    Guaranteed,
}

/// State of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContainerState {
    /// Not running yet, or between runs.
    Waiting {
        /// `ContainerCreating`, `CrashLoopBackOff`, `ImagePullBackOff`…
        reason: Sym,
    },
    /// Running.
    Running {
        /// Since when.
        started: Stamp,
    },
    /// Ended.
    Terminated {
        /// Exit code; 137 killed, 143 ended by SIGTERM.
        exit_code: i32,
        /// `Completed`, `Error`, `OOMKilled`…
        reason: Sym,
        /// When it started.
        started: Stamp,
        /// When it ended.
        finished: Stamp,
    },
}

/// Status of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContainerStatus {
    /// Name.
    pub name: Sym,
    /// Image.
    pub image: Sym,
    /// Current state.
    pub state: ContainerState,
    /// The run before, if it ended.
    pub last: Option<ContainerState>,
    /// Number of restarts.
    pub restarts: u32,
    /// Passes its readiness probe.
    pub ready: bool,
    /// Passed its startup probe.
    pub started: bool,
}

/// Pod status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodStatus {
    /// Phase.
    pub phase: Phase,
    /// QoS class, fixed at creation.
    pub qos: Qos,
    /// Conditions.
    pub conditions: Conditions,
    /// Reason of a Failed pod (`Evicted`, `OutOfcpu`); may be empty.
    pub reason: Sym,
    /// Message of a Failed pod.
    pub message: Sym,
    /// IPv4 address; 0 for none.
    pub pod_ip: u32,
    /// When the kubelet accepted the pod.
    pub start: Stamp,
    /// `nominatedNodeName`.
    pub nominated: Sym,
    /// App containers.
    pub containers: Arc<[ContainerStatus]>,
    /// Init containers.
    pub init_containers: Arc<[ContainerStatus]>,
    /// In-place resize and other facts of imported objects that only requests arithmetic reads: the
    /// requests in force per container (`allocatedResources` and `resources` of the status).
    pub resized: Option<Arc<Resized>>,
}

/// What an in-place resize left in the status.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Resized {
    /// Per container: name, allocated resources, actual requests.
    pub containers: Vec<(Sym, Option<Resources>, Option<Resources>)>,
    /// The resize asked for is infeasible, so the spec does not count.
    pub infeasible: bool,
}

impl PodStatus {
    /// The condition of a type.
    #[must_use]
    pub fn condition(&self, kind: ConditionType) -> Option<Condition> {
        self.conditions.get(kind)
    }
}
