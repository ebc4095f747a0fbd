//! What a scheduler is made of: profiles, plugin arguments, latency, limits.

use super::plugins::balanced::Balanced;
use super::plugins::default_preemption::DefaultPreemption;
use super::plugins::fit::Fit;
use super::plugins::interpod::InterPodAffinity;
use super::plugins::node_affinity::NodeAffinity;
use super::plugins::registry::{PLUGINS, PluginRow, Points};
use super::plugins::spread::Spread;
use super::policies::PolicyArgs;
use super::queue::Discipline;
use super::ties::TieRule;
use crate::api::version::KubeVersion;
use crate::engine::{SimDuration, Sym};

/// Arguments of all plugins of a profile.
#[derive(Debug, Clone, Default)]
pub struct PluginArgs {
    /// `NodeResourcesFitArgs`.
    pub fit: Fit,
    /// `NodeResourcesBalancedAllocationArgs`.
    pub balanced: Balanced,
    /// `NodeAffinityArgs`.
    pub node_affinity: NodeAffinity,
    /// `PodTopologySpreadArgs`.
    pub spread: Spread,
    /// `InterPodAffinityArgs`.
    pub interpod: InterPodAffinity,
    /// `DefaultPreemptionArgs`.
    pub preemption: DefaultPreemption,
    /// Arguments of Wavetank's own plugins.
    pub policy: PolicyArgs,
    /// `VolumeBindingArgs.bindTimeoutSeconds`.
    pub volume_bind_timeout: BindTimeout,
}

/// How long a binding cycle waits for its volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindTimeout(pub SimDuration);

impl Default for BindTimeout {
    fn default() -> Self {
        Self(SimDuration::from_secs(600))
    }
}

/// A plugin in a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enabled {
    /// Name in the registry.
    pub name: &'static str,
    /// Where it is called.
    pub points: Points,
    /// Weight of its scores.
    pub weight: i64,
}

impl Enabled {
    /// A plugin of the table as it stands there.
    #[must_use]
    pub const fn of(row: &PluginRow) -> Self {
        Self { name: row.name, points: row.points, weight: row.weight }
    }
}

/// Which nodes a cycle looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Search {
    /// From where the last cycle has stopped, until enough fit: kube-scheduler's way.
    #[default]
    Enough,
    /// From the first node, until one fits.
    First,
    /// From behind the last node looked at, until one fits.
    Next,
}

/// A profile.
#[derive(Debug, Clone)]
pub struct ProfileConfig {
    /// Pods with this `schedulerName` use it.
    pub scheduler_name: Sym,
    /// `percentageOfNodesToScore`; 0 or none is adaptive.
    pub percentage: Option<u32>,
    /// Which nodes it looks at.
    pub search: Search,
    /// Its plugins, in the order in which they are called.
    pub plugins: Vec<Enabled>,
    /// Extension points at which the order is another one.
    pub order: Vec<(Points, Vec<&'static str>)>,
    /// Their arguments.
    pub args: PluginArgs,
}

impl Default for ProfileConfig {
    fn default() -> Self {
        Self {
            scheduler_name: Sym::new("default-scheduler"),
            percentage: None,
            search: Search::default(),
            plugins: PLUGINS.iter().map(Enabled::of).collect(),
            order: Vec::new(),
            args: PluginArgs::default(),
        }
    }
}

/// How long a scheduling cycle takes: a constant and a part per node looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CycleLatency {
    /// Per cycle.
    pub base: SimDuration,
    /// Per node evaluated.
    pub per_node: SimDuration,
}

impl Default for CycleLatency {
    fn default() -> Self {
        Self { base: SimDuration::from_micros(300), per_node: SimDuration::ZERO }
    }
}

/// Everything about a scheduler.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    /// Whose rules it follows.
    pub version: KubeVersion,
    /// Its profiles, at least one.
    pub profiles: Vec<ProfileConfig>,
    /// Which of equally good nodes is taken.
    pub ties: TieRule,
    /// How long a cycle takes.
    pub latency: CycleLatency,
    /// In which order waiting pods are tried.
    pub discipline: Discipline,
    /// How long the first pods of a group hold their nodes while they wait for the others; none if
    /// pods are bound each by itself.
    pub gang: Option<SimDuration>,
    /// A pod is tried so many times at most; none for kube-scheduler's own way, for ever.
    pub attempts: Option<u32>,
    /// `podInitialBackoffSeconds`.
    pub initial_backoff: SimDuration,
    /// `podMaxBackoffSeconds`.
    pub max_backoff: SimDuration,
    /// `clientConnection.qps`.
    pub qps: f64,
    /// `clientConnection.burst`.
    pub burst: u32,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            version: KubeVersion::default(),
            profiles: vec![ProfileConfig::default()],
            ties: TieRule::default(),
            latency: CycleLatency::default(),
            discipline: Discipline::default(),
            gang: None,
            attempts: None,
            initial_backoff: SimDuration::from_secs(1),
            max_backoff: SimDuration::from_secs(10),
            qps: 50.0,
            burst: 100,
        }
    }
}
