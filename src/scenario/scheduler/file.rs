//! `KubeSchedulerConfiguration` as it is written (source:
//! `staging/src/k8s.io/kube-scheduler/config/v1`).

use crate::control_plane::scheduler::plugins::registry::Points;
use k8s_openapi::api::core::v1 as core;
use serde::Deserialize;
use serde_json::Value;

/// A KubeSchedulerConfiguration.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Configuration {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) parallelism: Option<i32>,
    pub(super) leader_election: Option<LeaderElection>,
    pub(super) client_connection: Option<ClientConnection>,
    pub(super) enable_profiling: Option<bool>,
    pub(super) enable_contention_profiling: Option<bool>,
    pub(super) percentage_of_nodes_to_score: Option<i32>,
    pub(super) pod_initial_backoff_seconds: Option<i64>,
    pub(super) pod_max_backoff_seconds: Option<i64>,
    pub(super) profiles: Vec<Profile>,
    pub(super) extenders: Vec<Value>,
    pub(super) delay_cache_until_active: Option<bool>,
}

/// `leaderElection`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LeaderElection {
    pub(super) leader_elect: Option<bool>,
    pub(super) lease_duration: Option<String>,
    pub(super) renew_deadline: Option<String>,
    pub(super) retry_period: Option<String>,
    pub(super) resource_lock: Option<String>,
    pub(super) resource_name: Option<String>,
    pub(super) resource_namespace: Option<String>,
}

/// `clientConnection`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ClientConnection {
    pub(super) kubeconfig: Option<String>,
    pub(super) accept_content_types: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) qps: Option<f64>,
    pub(super) burst: Option<i32>,
}

/// A profile.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Profile {
    pub(super) scheduler_name: Option<String>,
    pub(super) percentage_of_nodes_to_score: Option<i32>,
    pub(super) plugins: Option<Plugins>,
    pub(super) plugin_config: Vec<PluginConfig>,
}

/// `plugins`: a set per extension point.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Plugins {
    pre_enqueue: PluginSet,
    queue_sort: PluginSet,
    pre_filter: PluginSet,
    filter: PluginSet,
    post_filter: PluginSet,
    pre_score: PluginSet,
    score: PluginSet,
    reserve: PluginSet,
    permit: PluginSet,
    pre_bind: PluginSet,
    bind: PluginSet,
    post_bind: PluginSet,
    pub(super) multi_point: PluginSet,
}

impl Plugins {
    /// True if a plugin is enabled somewhere.
    pub(super) fn enables(&self, name: &str) -> bool {
        let sets = self.sets();
        let mut all = sets.iter().map(|(_, _, set)| *set).chain([&self.multi_point]);
        all.any(|set| set.enabled.iter().any(|p| p.name == name))
    }

    /// The set of every extension point, with the name of its field.
    pub(super) fn sets(&self) -> [(&'static str, Points, &PluginSet); Points::NAMES.len()] {
        let sets = [
            &self.pre_enqueue,
            &self.queue_sort,
            &self.pre_filter,
            &self.filter,
            &self.post_filter,
            &self.pre_score,
            &self.score,
            &self.reserve,
            &self.permit,
            &self.pre_bind,
            &self.bind,
            &self.post_bind,
        ];
        let mut at = 0;
        sets.map(|set| {
            let (name, point) = Points::NAMES[at];
            at += 1;
            (name, point, set)
        })
    }
}

/// What is enabled and disabled at an extension point.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PluginSet {
    pub(super) enabled: Vec<PluginRef>,
    pub(super) disabled: Vec<PluginRef>,
}

impl PluginSet {
    /// True if this name, or every name, is disabled.
    pub(super) fn disables(&self, name: &str) -> bool {
        self.disabled.iter().any(|p| p.name == name || p.name == "*")
    }
}

/// A plugin, with its weight where it scores.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PluginRef {
    pub(super) name: String,
    pub(super) weight: Option<i32>,
}

/// Arguments of a plugin.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PluginConfig {
    pub(super) name: String,
    pub(super) args: Option<Value>,
}

macro_rules! args {
    ($($doc:literal $name:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            #[doc = $doc]
            #[derive(Debug, Default, Deserialize)]
            #[serde(rename_all = "camelCase", default)]
            pub(super) struct $name {
                pub(super) api_version: Option<String>,
                pub(super) kind: Option<String>,
                $(pub(super) $field: $type,)*
            }

            impl Args for $name {
                fn header(&self) -> (Option<&str>, Option<&str>) {
                    (self.api_version.as_deref(), self.kind.as_deref())
                }
            }
        )*
    };
}

/// Arguments of any plugin.
pub(super) trait Args {
    /// `apiVersion` and `kind`.
    fn header(&self) -> (Option<&str>, Option<&str>);
}

args! {
    "`NodeResourcesFitArgs`."
    FitArgs {
        ignored_resources: Vec<String>,
        ignored_resource_groups: Vec<String>,
        scoring_strategy: Option<ScoringStrategy>,
    }
    "`NodeResourcesBalancedAllocationArgs`."
    BalancedArgs { resources: Vec<ResourceSpec>, }
    "`NodeAffinityArgs`."
    NodeAffinityArgs { added_affinity: Option<core::NodeAffinity>, }
    "`PodTopologySpreadArgs`."
    SpreadArgs {
        default_constraints: Vec<core::TopologySpreadConstraint>,
        defaulting_type: Option<String>,
    }
    "`InterPodAffinityArgs`."
    InterPodArgs {
        hard_pod_affinity_weight: Option<i32>,
        ignore_preferred_terms_of_existing_pods: bool,
    }
    "`DefaultPreemptionArgs`."
    PreemptionArgs {
        min_candidate_nodes_percentage: Option<i32>,
        min_candidate_nodes_absolute: Option<i32>,
    }
    "`VolumeBindingArgs`."
    VolumeBindingArgs { bind_timeout_seconds: Option<i64>, shape: Option<Value>, }
    "`DynamicResourcesArgs`."
    DynamicResourcesArgs { filter_timeout: Option<String>, binding_timeout: Option<String>, }
}

/// `scoringStrategy`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScoringStrategy {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) resources: Vec<ResourceSpec>,
    pub(super) requested_to_capacity_ratio: Option<Ratio>,
}

/// A resource and its weight.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ResourceSpec {
    pub(super) name: String,
    pub(super) weight: Option<i64>,
}

impl ResourceSpec {
    /// The weight; left out (or 0) it is 1.
    pub(super) fn weight(&self) -> i64 {
        self.weight.filter(|w| *w != 0).unwrap_or(1)
    }
}

/// `requestedToCapacityRatio`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Ratio {
    pub(super) shape: Vec<ShapePoint>,
}

/// A point of a shape.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ShapePoint {
    pub(super) utilization: i32,
    pub(super) score: i32,
}
