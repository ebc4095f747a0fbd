//! What a scenario says of the cloud around its cluster, as it is written. Flags of the cluster
//! autoscaler and fields of a `NodePool` have their own names.

use super::file::{Document, Limit};
use super::value::{DistSpec, Level, Quantity, Span, Taint};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The cloud around the cluster: what machines cost, how long they take, when there are none.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloudSection {
    /// Whose latencies and notices are the default ones; `AWS` by default.
    #[serde(default)]
    pub provider: ProviderName,
    /// `topology.kubernetes.io/region` of its nodes.
    pub region: Option<String>,
    /// Zones in which machines can be launched one by one; by default those of the node pools.
    #[serde(default)]
    pub zones: Vec<String>,
    /// The catalogue.
    #[serde(default)]
    pub machine_types: Vec<MachineTypeEntry>,
    /// What the account may have at most.
    #[serde(default)]
    pub quotas: Quotas,
    /// When which machines are not to be had.
    #[serde(default)]
    pub stock_outs: Vec<StockOutEntry>,
    /// How long things take; what is not given keeps the provider's default.
    #[serde(default)]
    pub latencies: CloudLatencyEntries,
    /// How long a spot machine lasts until the provider takes it back; for good by default.
    pub spot_life: Option<DistSpec>,
    /// Share of calls that the provider fails, 0 to 1; none by default.
    #[schemars(range(min = 0, max = 1))]
    pub failures: Option<f64>,
    /// Calls that the provider takes; 20 per second and 100 at once by default.
    pub limit: Option<Limit>,
    /// Pods' traffic goes by the cloud's network, with a route per node
    /// (`--configure-cloud-routes`); needs `cluster.podCIDR`. False by default.
    #[serde(default)]
    pub routes: bool,
    /// Node groups replace machines that have lost their power; true by default.
    pub repairs: Option<bool>,
    /// Who adds and takes away nodes.
    pub autoscaler: Option<AutoscalerEntry>,
}

/// A provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ProviderName {
    /// Amazon Web Services.
    #[default]
    #[serde(rename = "AWS")]
    Aws,
    /// Google Cloud.
    #[serde(rename = "GCP")]
    Gcp,
    /// Microsoft Azure.
    Azure,
}

/// A machine type.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineTypeEntry {
    /// Name: `m5.large`.
    pub name: String,
    /// CPU.
    pub cpu: Quantity,
    /// Memory.
    pub memory: Quantity,
    /// Ephemeral storage; none by default.
    pub ephemeral_storage: Option<Quantity>,
    /// Most pods on a node; 110 by default.
    pub pods: Option<u32>,
    /// Extended resources.
    #[serde(default)]
    pub resources: BTreeMap<String, Quantity>,
    /// Price on demand per hour, in any one currency.
    #[schemars(range(min = 0))]
    pub price: f64,
    /// Price of spare capacity per hour; without it there is none.
    #[schemars(range(min = 0))]
    pub spot_price: Option<f64>,
}

/// What an account may have at most.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quotas {
    /// CPU of machines on demand.
    pub cpu: Option<Quantity>,
    /// CPU of spot machines.
    pub spot_cpu: Option<Quantity>,
    /// Machines.
    pub machines: Option<u32>,
}

/// Machines that are not to be had for a while.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StockOutEntry {
    /// Of this type; by default of any.
    pub machine_type: Option<String>,
    /// In this zone; by default in any.
    pub zone: Option<String>,
    /// Only spot machines (`true`), or only those on demand (`false`); by default both.
    pub spot: Option<bool>,
    /// From when.
    pub at: Span,
    /// For how long; by default for the rest of the run.
    #[serde(rename = "for")]
    pub lasts: Option<Span>,
}

/// How long things take in a cloud.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloudLatencyEntries {
    /// Work on one call.
    pub request: Option<DistSpec>,
    /// From the grant of a node group's machine to the registration of its node.
    pub boot: Option<DistSpec>,
    /// The same of a machine that Karpenter launches.
    pub direct_boot: Option<DistSpec>,
    /// From the order to end a machine to its end.
    pub terminate: Option<DistSpec>,
    /// From the order of a load balancer to its address.
    pub load_balancer: Option<DistSpec>,
    /// From the loss of a machine to its replacement by the node group.
    pub health_check: Option<DistSpec>,
    /// Notice before a spot machine is taken.
    pub spot_notice: Option<Span>,
}

/// Bounds within which the cluster autoscaler may move a pool.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscale {
    /// Least number of nodes.
    pub min: u32,
    /// Greatest number of nodes.
    pub max: u32,
    /// Rank for `expander: priority`; the higher one is preferred. 0 by default.
    #[serde(default)]
    pub priority: i32,
}

/// Which autoscaler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AutoscalerKind {
    /// The cluster autoscaler: it moves the pools that have `autoscale`.
    ClusterAutoscaler,
    /// Karpenter: it launches machines for its `NodePools`.
    Karpenter,
}

/// The autoscaler of nodes, and its flags under their own names. What is not given keeps upstream's
/// default.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AutoscalerEntry {
    /// Which.
    pub kind: AutoscalerKind,
    /// Of the cluster autoscaler: `random`, `most-pods`, `least-waste`, `least-nodes`, `price`,
    /// `priority`; several with commas.
    pub expander: Option<String>,
    /// 10s by default.
    pub scan_interval: Option<Span>,
    /// 0s by default.
    pub new_pod_scale_up_delay: Option<Span>,
    /// 15m by default.
    pub max_node_provision_time: Option<Span>,
    /// 1000 by default.
    pub max_nodes_per_scaleup: Option<u32>,
    /// 0 (no limit) by default.
    pub max_nodes_total: Option<u32>,
    /// false by default.
    pub balance_similar_node_groups: Option<bool>,
    /// true by default.
    pub scale_down_enabled: Option<bool>,
    /// 0.5 by default.
    #[schemars(range(min = 0, max = 1))]
    pub scale_down_utilization_threshold: Option<f64>,
    /// 10m by default.
    pub scale_down_unneeded_time: Option<Span>,
    /// 20m by default.
    pub scale_down_unready_time: Option<Span>,
    /// 10m by default.
    pub scale_down_delay_after_add: Option<Span>,
    /// 0s by default.
    pub scale_down_delay_after_delete: Option<Span>,
    /// 3m by default.
    pub scale_down_delay_after_failure: Option<Span>,
    /// 10 by default.
    pub max_scale_down_parallelism: Option<u32>,
    /// 1 by default.
    pub max_drain_parallelism: Option<u32>,
    /// 600 by default.
    pub max_graceful_termination_sec: Option<u32>,
    /// 2m by default.
    pub max_pod_eviction_time: Option<Span>,
    /// 5s by default.
    pub node_delete_delay_after_taint: Option<Span>,
    /// 5m by default.
    pub unremovable_node_recheck_timeout: Option<Span>,
    /// 5m by default.
    pub initial_node_group_backoff_duration: Option<Span>,
    /// 30m by default.
    pub max_node_group_backoff_duration: Option<Span>,
    /// 3h by default.
    pub node_group_backoff_reset_timeout: Option<Span>,
    /// 3 by default.
    pub ok_total_unready_count: Option<u32>,
    /// 45 by default.
    pub max_total_unready_percentage: Option<u32>,
    /// true by default.
    pub skip_nodes_with_local_storage: Option<bool>,
    /// true by default.
    pub skip_nodes_with_system_pods: Option<bool>,
    /// false by default.
    pub ignore_daemonsets_utilization: Option<bool>,
    /// Of Karpenter: `BATCH_IDLE_DURATION`, 1s by default.
    pub batch_idle_duration: Option<Span>,
    /// Of Karpenter: `BATCH_MAX_DURATION`, 10s by default.
    pub batch_max_duration: Option<Span>,
    /// Of Karpenter: its `NodePools`, as their manifests have them.
    #[serde(default)]
    pub node_pools: Vec<NodePoolEntry>,
}

/// A `NodePool` of `karpenter.sh/v1`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodePoolEntry {
    /// `karpenter.sh/v1`, if given.
    pub api_version: Option<String>,
    /// `NodePool`, if given.
    pub kind: Option<String>,
    /// Its name.
    pub metadata: NodePoolMetadata,
    /// What it is to be.
    #[serde(default)]
    pub spec: NodePoolSpec,
}

/// Metadata of a `NodePool`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodePoolMetadata {
    /// Name.
    pub name: String,
}

/// Spec of a `NodePool`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodePoolSpec {
    /// What its nodes are.
    #[serde(default)]
    pub template: NodeClaimTemplate,
    /// `cpu` and `memory` of all its machines together.
    #[serde(default)]
    pub limits: BTreeMap<String, Quantity>,
    /// What may be disrupted, and when.
    #[serde(default)]
    pub disruption: Disruption,
    /// The heavier pool is tried first; 0 by default.
    #[serde(default)]
    pub weight: i32,
}

/// Template of a pool's nodes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeClaimTemplate {
    /// Labels of the nodes.
    #[serde(default)]
    pub metadata: NodeClaimMetadata,
    /// Spec.
    #[serde(default)]
    pub spec: NodeClaimSpec,
}

/// Labels of a pool's nodes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeClaimMetadata {
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Spec of a pool's nodes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeClaimSpec {
    /// Which machines may be launched: by `node.kubernetes.io/instance-type`,
    /// `topology.kubernetes.io/zone`, `karpenter.sh/capacity-type`.
    #[serde(default)]
    pub requirements: Vec<RequirementEntry>,
    /// Taints of the nodes.
    #[serde(default)]
    pub taints: Vec<Taint>,
    /// Nodes end after this time; `Never` or a span, 720h by default.
    pub expire_after: Option<String>,
    /// Says how the provider makes machines; not read.
    pub node_class_ref: Option<Document>,
}

/// A requirement.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequirementEntry {
    /// Label.
    pub key: String,
    /// `In` or `NotIn`.
    pub operator: String,
    /// Values.
    #[serde(default)]
    pub values: Vec<String>,
}

/// What may be disrupted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Disruption {
    /// `WhenEmptyOrUnderutilized` by default.
    pub consolidation_policy: Option<ConsolidationName>,
    /// `Never` or a span; 0s by default.
    pub consolidate_after: Option<String>,
    /// How many nodes at a time; `nodes: 10%` by default.
    pub budgets: Option<Vec<BudgetEntry>>,
}

/// A consolidation policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ConsolidationName {
    /// Nodes on which nothing runs.
    WhenEmpty,
    /// Nodes whose pods have room elsewhere, too.
    WhenEmptyOrUnderutilized,
}

/// A disruption budget of a pool.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BudgetEntry {
    /// A number or a share: `5`, `10%`.
    pub nodes: Level,
}

/// What the machines may cost.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectCost {
    /// At most so much, in the currency of the prices.
    #[schemars(range(min = 0))]
    pub at_most: f64,
    /// Of this node pool; by default of all.
    pub pool: Option<String>,
}
