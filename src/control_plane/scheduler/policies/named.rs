//! Policies by name: each a profile.

use super::super::config::{Enabled, ProfileConfig, Search};
use super::super::plugins::fit;
use super::super::plugins::registry::Points;
use super::find;

/// A policy by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Named {
    /// kube-scheduler's default profile.
    #[default]
    KubeDefault,
    /// The same: `NodeResourcesFit` prefers empty nodes.
    LeastAllocated,
    /// The default profile, but `NodeResourcesFit` prefers full nodes.
    MostAllocated,
    /// The default profile, but `NodeResourcesFit` scores by a shape from 0 (empty) to 10 (full).
    RequestedToCapacity,
    /// `NodeResourcesBalancedAllocation` alone scores.
    Balanced,
    /// The first node that fits, in the scheduler's order of nodes.
    FirstFit,
    /// The next node that fits after the last one taken.
    RoundRobin,
    /// The node that is left with least.
    BestFit,
    /// The node that is left with most.
    WorstFit,
    /// Any node that fits.
    Random,
    /// The node whose free amounts are least like the pod's.
    DotProduct,
    /// GPUs in use first.
    GpuPacking,
    /// Pods with as many GPUs together.
    GpuClustering,
    /// Fragmentation gradient descent.
    Fgd,
    /// Least added to the bill.
    CostAware,
    /// Least used.
    LoadAware,
}

impl Named {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::KubeDefault,
        Self::LeastAllocated,
        Self::MostAllocated,
        Self::RequestedToCapacity,
        Self::Balanced,
        Self::FirstFit,
        Self::BestFit,
        Self::WorstFit,
        Self::Random,
        Self::RoundRobin,
        Self::DotProduct,
        Self::GpuPacking,
        Self::GpuClustering,
        Self::Fgd,
        Self::CostAware,
        Self::LoadAware,
    ];

    /// The policy of a name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|named| named.name() == name)
    }

    /// Its name in files and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KubeDefault => "kube-default",
            Self::LeastAllocated => "least-allocated",
            Self::MostAllocated => "most-allocated",
            Self::RequestedToCapacity => "requested-to-capacity",
            Self::Balanced => "balanced",
            Self::FirstFit => "first-fit",
            Self::RoundRobin => "round-robin",
            Self::BestFit => "best-fit",
            Self::WorstFit => "worst-fit",
            Self::Random => "random",
            Self::DotProduct => "dot-product",
            Self::GpuPacking => "gpu-packing",
            Self::GpuClustering => "gpu-clustering",
            Self::Fgd => "fgd",
            Self::CostAware => "cost-aware",
            Self::LoadAware => "load-aware",
        }
    }

    /// True if the default profile's plugins score.
    const fn keeps_scores(self) -> bool {
        matches!(
            self,
            Self::KubeDefault
                | Self::LeastAllocated
                | Self::MostAllocated
                | Self::RequestedToCapacity
        )
    }

    /// The plugin that scores alone; none if the default profile's do, or none does.
    const fn scorer(self) -> Option<&'static str> {
        Some(match self {
            Self::KubeDefault
            | Self::LeastAllocated
            | Self::MostAllocated
            | Self::RequestedToCapacity
            | Self::FirstFit
            | Self::RoundRobin => return None,
            Self::Balanced => "NodeResourcesBalancedAllocation",
            Self::BestFit => "BestFit",
            Self::WorstFit => "WorstFit",
            Self::Random => "Random",
            Self::DotProduct => "DotProduct",
            Self::GpuPacking => "GpuPacking",
            Self::GpuClustering => "GpuClustering",
            Self::Fgd => "FragmentationGradientDescent",
            Self::CostAware => "CostAware",
            Self::LoadAware => "LoadAware",
        })
    }

    /// The profile, without arguments of the policy.
    #[must_use]
    pub fn profile(self) -> ProfileConfig {
        let mut profile = ProfileConfig::default();
        let strategy = &mut profile.args.fit.strategy;
        if self == Self::MostAllocated {
            *strategy = fit::Strategy::MostAllocated;
        } else if self == Self::RequestedToCapacity {
            *strategy = fit::Strategy::RequestedToCapacityRatio(vec![(0, 0), (100, 10)]);
        }
        if !self.keeps_scores() {
            alone(&mut profile, self.scorer());
        }
        if self == Self::FirstFit {
            profile.search = Search::First;
        } else if self == Self::RoundRobin {
            profile.search = Search::Next;
        }
        profile
    }
}

/// Makes one plugin (or none) the only one that scores, over all nodes.
pub fn alone(profile: &mut ProfileConfig, scorer: Option<&str>) {
    const SCORES: Points = Points::PRE_SCORE.and(Points::SCORE);
    for plugin in &mut profile.plugins {
        plugin.points = plugin.points.without(SCORES);
    }
    profile.percentage = Some(100);
    let Some(row) = scorer.and_then(find) else { return };
    if let Some(there) = profile.plugins.iter_mut().find(|p| p.name == row.name) {
        there.points = there.points.and(SCORES);
        there.weight = 1;
    } else {
        profile.plugins.push(Enabled::of(row));
    }
}
