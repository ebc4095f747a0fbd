//! Policies that Wavetank brings beside kube-scheduler's own plugins: each is a plugin by name, so
//! that a KubeSchedulerConfiguration may enable and weigh it, and a named policy is a profile.

pub mod cel;
pub mod cost;
pub mod fgd;
pub mod fits;
pub mod fragmentation;
pub mod gpu_packing;
pub mod gpu_share;
pub mod load;
pub mod named;
pub mod random;

use super::config::PluginArgs;
use super::framework::Plugin;
use super::plugins::registry::{PluginRow, Points};
use std::sync::Arc;

const FILTERS: Points = Points::PRE_FILTER.and(Points::FILTER);
const SCORES: Points = Points::PRE_SCORE.and(Points::SCORE);
const PAPER: &str = "published results of the FGD paper (USENIX ATC'23): results/fgd";
const UNIT: &str = "unit tests";

/// What the policies read beside the cluster.
#[derive(Debug, Clone, Default)]
pub struct PolicyArgs {
    /// `Random`.
    pub random: random::Random,
    /// `FragmentationGradientDescent`.
    pub fgd: fgd::Fgd,
    /// `Cel`; none if the policy has no expressions.
    pub cel: Option<cel::CelPolicy>,
    /// `CostAware`.
    pub cost: cost::CostAware,
    /// `LoadAware`.
    pub load: load::LoadAware,
}

type Make = fn(&PluginArgs) -> Arc<dyn Plugin>;

const fn row(
    name: &'static str,
    make: Make,
    points: Points,
    verified_by: &'static str,
) -> PluginRow {
    PluginRow { name, make: Some(make), points, weight: 1, verified_by }
}

/// The plugins that no default profile has.
pub const POLICIES: &[PluginRow] = &[
    row("GpuShare", |_| Arc::new(gpu_share::GpuShare), FILTERS, PAPER),
    row("Random", |args| Arc::new(args.policy.random), SCORES, PAPER),
    row("BestFit", |_| Arc::new(fits::Fits(fits::FitRule::Best)), SCORES, PAPER),
    row("WorstFit", |_| Arc::new(fits::Fits(fits::FitRule::Worst)), SCORES, UNIT),
    row("DotProduct", |_| Arc::new(fits::Fits(fits::FitRule::Dot)), SCORES, PAPER),
    row("GpuPacking", |_| Arc::new(gpu_packing::GpuPacking), SCORES, PAPER),
    row("GpuClustering", |_| Arc::new(gpu_packing::GpuClustering), SCORES, PAPER),
    row("FragmentationGradientDescent", |args| Arc::new(args.policy.fgd.clone()), SCORES, PAPER),
    row(
        "Cel",
        |args| Arc::new(cel::Cel(args.policy.cel.clone().unwrap_or_default())),
        FILTERS.and(SCORES),
        UNIT,
    ),
    row("CostAware", |args| Arc::new(args.policy.cost.clone()), SCORES, UNIT),
    row("LoadAware", |args| Arc::new(args.policy.load.clone()), SCORES, UNIT),
];

/// The row of a plugin of any kind.
#[must_use]
pub fn find(name: &str) -> Option<&'static PluginRow> {
    super::plugins::registry::PLUGINS.iter().chain(POLICIES).find(|row| row.name == name)
}
