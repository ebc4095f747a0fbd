//! The table of plugins, in the order in which kube-scheduler's default profile runs them
//! (source: `sched/apis/config/v1/default_plugins.go`).

use super::dynamic_resources::DynamicResources;
use super::image_locality::ImageLocality;
use super::node_name::NodeName;
use super::node_ports::NodePorts;
use super::node_unschedulable::NodeUnschedulable;
use super::node_volume_limits::NodeVolumeLimits;
use super::scheduling_gates::SchedulingGates;
use super::taint_toleration::TaintToleration;
use super::volume_binding::VolumeBinding;
use super::volume_restrictions::VolumeRestrictions;
use super::volume_zone::VolumeZone;
use crate::control_plane::scheduler::config::PluginArgs;
use crate::control_plane::scheduler::framework::Plugin;
use std::sync::Arc;

/// Extension points as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Points(pub u16);

impl Points {
    /// None.
    pub const NONE: Self = Self(0);
    /// `PreEnqueue`.
    pub const PRE_ENQUEUE: Self = Self(1);
    /// `QueueSort`.
    pub const QUEUE_SORT: Self = Self(1 << 1);
    /// `PreFilter`.
    pub const PRE_FILTER: Self = Self(1 << 2);
    /// Filter.
    pub const FILTER: Self = Self(1 << 3);
    /// `PostFilter`.
    pub const POST_FILTER: Self = Self(1 << 4);
    /// `PreScore`.
    pub const PRE_SCORE: Self = Self(1 << 5);
    /// Score and `NormalizeScore`.
    pub const SCORE: Self = Self(1 << 6);
    /// Reserve.
    pub const RESERVE: Self = Self(1 << 7);
    /// Permit.
    pub const PERMIT: Self = Self(1 << 8);
    /// `PreBind`.
    pub const PRE_BIND: Self = Self(1 << 9);
    /// Bind.
    pub const BIND: Self = Self(1 << 10);
    /// `PostBind`.
    pub const POST_BIND: Self = Self(1 << 11);

    /// Names of the extension points as in a KubeSchedulerConfiguration.
    pub const NAMES: [(&'static str, Self); 12] = [
        ("preEnqueue", Self::PRE_ENQUEUE),
        ("queueSort", Self::QUEUE_SORT),
        ("preFilter", Self::PRE_FILTER),
        ("filter", Self::FILTER),
        ("postFilter", Self::POST_FILTER),
        ("preScore", Self::PRE_SCORE),
        ("score", Self::SCORE),
        ("reserve", Self::RESERVE),
        ("permit", Self::PERMIT),
        ("preBind", Self::PRE_BIND),
        ("bind", Self::BIND),
        ("postBind", Self::POST_BIND),
    ];

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without another.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True if every point of `other` is in the set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A plugin's constructor.
pub type Make = fn(&PluginArgs) -> Arc<dyn Plugin>;

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct PluginRow {
    /// Name, as in a KubeSchedulerConfiguration.
    pub name: &'static str,
    /// Makes the plugin; none if it is not modelled (it then never objects and scores 0) or has
    /// nothing to do here (queue order and binding are the scheduler's own).
    pub make: Option<Make>,
    /// Where it is called.
    pub points: Points,
    /// Weight of its scores in the default profile.
    pub weight: i64,
    /// What its verdicts and scores were compared with; empty if with nothing.
    pub verified_by: &'static str,
}

const GOLDEN: &str = "golden/public.jsonl.gz (kube-scheduler v1.35.4)";
const QUEUE_TESTS: &str = "unit tests of the queue";

const FILTERS: Points = Points::PRE_FILTER.and(Points::FILTER);
const SCORES: Points = Points::PRE_SCORE.and(Points::SCORE);
const BOTH: Points = FILTERS.and(SCORES);
const BINDS: Points = Points::RESERVE.and(Points::PRE_BIND);
const DYNAMIC: Points = Points::PRE_ENQUEUE.and(Points::POST_FILTER).and(BOTH).and(BINDS);

macro_rules! row {
    ($name:literal, $make:expr, $points:expr, $weight:literal, $verified:expr) => {
        PluginRow {
            name: $name,
            make: $make,
            points: $points,
            weight: $weight,
            verified_by: $verified,
        }
    };
}

/// Every plugin of the default profile.
pub const PLUGINS: &[PluginRow] = &[
    row!("SchedulingGates", Some(|_| Arc::new(SchedulingGates)), Points::PRE_ENQUEUE, 0, GOLDEN),
    row!("PrioritySort", None, Points::QUEUE_SORT, 0, QUEUE_TESTS),
    row!(
        "NodeUnschedulable",
        Some(|_| Arc::new(NodeUnschedulable::default())),
        Points::FILTER,
        0,
        GOLDEN
    ),
    row!("NodeName", Some(|_| Arc::new(NodeName)), Points::FILTER, 0, GOLDEN),
    row!(
        "TaintToleration",
        Some(|_| Arc::new(TaintToleration)),
        Points::FILTER.and(SCORES),
        3,
        GOLDEN
    ),
    row!("NodeAffinity", Some(|args| Arc::new(args.node_affinity.clone())), BOTH, 2, GOLDEN),
    row!("NodePorts", Some(|_| Arc::new(NodePorts)), FILTERS, 0, GOLDEN),
    row!("NodeResourcesFit", Some(|args| Arc::new(args.fit.clone())), BOTH, 1, GOLDEN),
    row!("VolumeRestrictions", Some(|_| Arc::new(VolumeRestrictions)), FILTERS, 0, GOLDEN),
    row!("NodeVolumeLimits", Some(|_| Arc::new(NodeVolumeLimits)), FILTERS, 0, GOLDEN),
    row!(
        "VolumeBinding",
        Some(|_| Arc::new(VolumeBinding)),
        BOTH.and(Points::RESERVE).and(Points::PRE_BIND),
        1,
        GOLDEN
    ),
    row!("VolumeZone", Some(|_| Arc::new(VolumeZone::default())), FILTERS, 0, GOLDEN),
    row!("PodTopologySpread", Some(|args| Arc::new(args.spread.clone())), BOTH, 2, GOLDEN),
    row!("InterPodAffinity", Some(|args| Arc::new(args.interpod)), BOTH, 2, GOLDEN),
    row!(
        "DynamicResources",
        Some(|_| Arc::new(DynamicResources)),
        DYNAMIC,
        2,
        "golden/public.jsonl.gz, for pods without claims"
    ),
    row!(
        "DefaultPreemption",
        Some(|args| Arc::new(args.preemption)),
        Points::PRE_ENQUEUE.and(Points::POST_FILTER),
        0,
        "golden/public.jsonl.gz and sequences_public.jsonl.gz (kube-scheduler v1.35.4)"
    ),
    row!(
        "NodeResourcesBalancedAllocation",
        Some(|args| Arc::new(args.balanced.clone())),
        SCORES,
        1,
        GOLDEN
    ),
    row!("ImageLocality", Some(|_| Arc::new(ImageLocality)), Points::SCORE, 1, GOLDEN),
    row!("DefaultBinder", None, Points::BIND, 0, QUEUE_TESTS),
];

/// Plugins that are named in a default profile but not modelled, for the report.
pub const NOT_MODELLED: &[&str] = &[];
