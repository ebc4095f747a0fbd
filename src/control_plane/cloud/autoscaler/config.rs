//! Flags of the autoscalers, under their own names, with upstream's defaults
//! (source: behaviour reference §5.1 and §5.2, read from `CA:FAQ.md` and
//! `karp:pkg/operator/options/options.go`).

use crate::engine::{SimDuration, Sym};

/// Who adds and takes away nodes.
#[derive(Debug, Clone, PartialEq)]
pub enum AutoscalerConfig {
    /// The cluster autoscaler.
    Cluster(Box<ClusterFlags>),
    /// Karpenter.
    Karpenter(Box<KarpenterOptions>),
}

/// How the cluster autoscaler chooses among groups that would help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expander {
    /// Any.
    Random,
    /// The one that helps most pods.
    MostPods,
    /// The one that leaves least CPU idle, then least memory.
    LeastWaste,
    /// The one that needs fewest nodes.
    LeastNodes,
    /// The one that costs least for the pods it helps.
    Price,
    /// The one of the highest rank.
    Priority,
}

/// Flags of the cluster autoscaler.
#[expect(clippy::struct_excessive_bools, reason = "flags of upstream's")]
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterFlags {
    /// `--scan-interval`.
    pub scan_interval: SimDuration,
    /// `--expander`: a chain, the first that leaves one group decides.
    pub expanders: Vec<Expander>,
    /// `--new-pod-scale-up-delay`.
    pub new_pod_scale_up_delay: SimDuration,
    /// `--max-node-provision-time`.
    pub max_node_provision_time: SimDuration,
    /// `--max-nodes-per-scaleup`.
    pub max_nodes_per_scaleup: u32,
    /// `--max-nodes-total`; 0 for no limit.
    pub max_nodes_total: u32,
    /// `--balance-similar-node-groups`.
    pub balance_similar_node_groups: bool,
    /// `--scale-down-enabled`.
    pub scale_down_enabled: bool,
    /// `--scale-down-utilization-threshold`, per cent.
    pub scale_down_utilization_percent: u32,
    /// `--scale-down-unneeded-time`.
    pub scale_down_unneeded_time: SimDuration,
    /// `--scale-down-unready-time`.
    pub scale_down_unready_time: SimDuration,
    /// `--scale-down-delay-after-add`.
    pub scale_down_delay_after_add: SimDuration,
    /// `--scale-down-delay-after-delete`.
    pub scale_down_delay_after_delete: SimDuration,
    /// `--scale-down-delay-after-failure`.
    pub scale_down_delay_after_failure: SimDuration,
    /// `--max-scale-down-parallelism`.
    pub max_scale_down_parallelism: u32,
    /// `--max-drain-parallelism`.
    pub max_drain_parallelism: u32,
    /// `--max-graceful-termination-sec`.
    pub max_graceful_termination: SimDuration,
    /// `--max-pod-eviction-time`.
    pub max_pod_eviction_time: SimDuration,
    /// `--node-delete-delay-after-taint`.
    pub node_delete_delay_after_taint: SimDuration,
    /// `--unremovable-node-recheck-timeout`.
    pub unremovable_node_recheck_timeout: SimDuration,
    /// `--initial-node-group-backoff-duration`.
    pub initial_node_group_backoff_duration: SimDuration,
    /// `--max-node-group-backoff-duration`.
    pub max_node_group_backoff_duration: SimDuration,
    /// `--node-group-backoff-reset-timeout`.
    pub node_group_backoff_reset_timeout: SimDuration,
    /// `--ok-total-unready-count`.
    pub ok_total_unready_count: u32,
    /// `--max-total-unready-percentage`.
    pub max_total_unready_percentage: u32,
    /// `--skip-nodes-with-local-storage`.
    pub skip_nodes_with_local_storage: bool,
    /// `--skip-nodes-with-system-pods`.
    pub skip_nodes_with_system_pods: bool,
    /// `--skip-nodes-with-custom-controller-pods`.
    pub skip_nodes_with_custom_controller_pods: bool,
    /// `--ignore-daemonsets-utilization`.
    pub ignore_daemonsets_utilization: bool,
}

impl Default for ClusterFlags {
    fn default() -> Self {
        let (s, m) = (SimDuration::from_secs, |n: u64| SimDuration::from_secs(60 * n));
        Self {
            scan_interval: s(10),
            expanders: vec![Expander::LeastWaste],
            new_pod_scale_up_delay: SimDuration::ZERO,
            max_node_provision_time: m(15),
            max_nodes_per_scaleup: 1000,
            max_nodes_total: 0,
            balance_similar_node_groups: false,
            scale_down_enabled: true,
            scale_down_utilization_percent: 50,
            scale_down_unneeded_time: m(10),
            scale_down_unready_time: m(20),
            scale_down_delay_after_add: m(10),
            scale_down_delay_after_delete: SimDuration::ZERO,
            scale_down_delay_after_failure: m(3),
            max_scale_down_parallelism: 10,
            max_drain_parallelism: 1,
            max_graceful_termination: s(600),
            max_pod_eviction_time: m(2),
            node_delete_delay_after_taint: s(5),
            unremovable_node_recheck_timeout: m(5),
            initial_node_group_backoff_duration: m(5),
            max_node_group_backoff_duration: m(30),
            node_group_backoff_reset_timeout: m(180),
            ok_total_unready_count: 3,
            max_total_unready_percentage: 45,
            skip_nodes_with_local_storage: true,
            skip_nodes_with_system_pods: true,
            skip_nodes_with_custom_controller_pods: true,
            ignore_daemonsets_utilization: false,
        }
    }
}

/// `spec.disruption.consolidationPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consolidation {
    /// Only nodes on which nothing runs.
    WhenEmpty,
    /// Nodes whose pods have room elsewhere, or on something cheaper, too.
    #[default]
    WhenEmptyOrUnderutilized,
}

/// How many nodes of a pool may be disrupted at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// So many.
    Nodes(u32),
    /// So many per cent of the pool, rounded up.
    Percent(u32),
}

/// A `NodePool`.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePool {
    /// Its row among the cloud's groups.
    pub group: u16,
    /// Machine types that its requirements allow, by row.
    pub kinds: Vec<u16>,
    /// Zones that they allow.
    pub zones: Vec<Sym>,
    /// Whether they allow spot machines, and machines on demand.
    pub capacity: (bool, bool),
    /// `spec.limits`: CPU in milli-cores and memory in bytes.
    pub limits: (Option<i64>, Option<i64>),
    /// `spec.weight`: the heavier pool is tried first.
    pub weight: i32,
    /// `spec.disruption.consolidationPolicy`.
    pub policy: Consolidation,
    /// `spec.disruption.consolidateAfter`; none: never.
    pub consolidate_after: Option<SimDuration>,
    /// `spec.disruption.budgets`.
    pub budgets: Vec<Budget>,
    /// `spec.template.spec.expireAfter`; none: never.
    pub expire_after: Option<SimDuration>,
}

/// Options of Karpenter.
#[derive(Debug, Clone, PartialEq)]
pub struct KarpenterOptions {
    /// `BATCH_IDLE_DURATION`.
    pub batch_idle: SimDuration,
    /// `BATCH_MAX_DURATION`.
    pub batch_max: SimDuration,
    /// Its pools.
    pub pools: Vec<NodePool>,
}
