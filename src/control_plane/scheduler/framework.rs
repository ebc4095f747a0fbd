//! The scheduling framework: what a plugin is, and the small values it deals in.
//!
//! A plugin is stateless and shared; what it learns about the pod in hand goes into [`CycleState`].
//! Filter and Score are called per batch of nodes. A node is named by its *position*: its index in
//! the nodeTree order of the current cycle.

use super::cache::Cache;
use super::plugins::fit::FitState;
use super::plugins::interpod::{AffinityFilter, AffinityScore};
use super::plugins::node_volume_limits::Attachable;
use super::plugins::spread::{SpreadFilter, SpreadScore};
use super::plugins::volume_binding::PodClaims;
use super::plugins::volume_restrictions::RestrictionState;
use super::plugins::volume_zone::ZoneTerm;
use super::policies::cel::CelState;
use super::policies::fgd::FgdState;
use super::policies::fits::Largest;
use super::policies::load::LoadState;
use super::preemption::Stuck;
use crate::api::Pod;
use crate::api::gpu::Devices;
use crate::api::node::Node;
use crate::api::storage::{
    CsiDriver, CsiNode, CsiStorageCapacity, PersistentVolume, PersistentVolumeClaim, StorageClass,
};
use crate::api::versions::ObjRef;
use crate::engine::Sym;
use std::borrow::Cow;
use std::sync::Arc;

/// Highest score after normalisation.
pub const MAX_SCORE: i64 = 100;

/// Text of a reason.
pub type Reason = Cow<'static, str>;

/// Why a pod cannot go somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// It might, if pods were preempted.
    Unschedulable,
    /// Preemption would not help.
    UnschedulableAndUnresolvable,
}

impl Code {
    /// As kube-scheduler prints it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::UnschedulableAndUnresolvable => "UnschedulableAndUnresolvable",
        }
    }
}

/// A plugin's verdict on a node in four bytes: passed, or which plugin (by its row in the profile)
/// rejected it, how, and a mask of reasons that [`Plugin::reason`] turns into text when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Verdict(u32);

impl Verdict {
    /// The node passed.
    pub const PASS: Self = Self(0);

    const UNRESOLVABLE: u32 = 1 << 8;

    /// A rejection with these reasons (bit 0 to 15 of the mask, at least one).
    #[must_use]
    pub fn reject(code: Code, reasons: u16) -> Self {
        debug_assert!(reasons != 0, "a rejection has a reason");
        let flag = if code == Code::UnschedulableAndUnresolvable { Self::UNRESOLVABLE } else { 0 };
        Self(u32::from(reasons) << 16 | flag)
    }

    /// Signed by the plugin in this row of the profile.
    #[must_use]
    pub fn by(self, row: u8) -> Self {
        if self.passed() { self } else { Self(self.0 & !0xff | u32::from(row)) }
    }

    /// True if the node passed.
    #[must_use]
    pub fn passed(self) -> bool {
        self.0 == 0
    }

    /// Row of the plugin that rejected.
    #[must_use]
    pub fn row(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// How it rejected.
    #[must_use]
    pub fn code(self) -> Code {
        if self.0 & Self::UNRESOLVABLE == 0 {
            Code::Unschedulable
        } else {
            Code::UnschedulableAndUnresolvable
        }
    }

    /// The bits set in the mask of reasons, lowest first.
    pub fn reasons(self) -> impl Iterator<Item = u8> {
        (0_u8..16).filter(move |bit| self.0 >> 16 >> bit & 1 == 1)
    }
}

/// What a plugin may read.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Nodes and the pods on them.
    pub cache: &'a Cache,
    /// The pod in hand.
    pub pod: &'a Pod,
}

/// What `PreFilter` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreFilter {
    /// Filter is to be called.
    Run,
    /// There is nothing to filter for this pod.
    Skip,
    /// Only these positions (ascending) can pass; Filter is to be called for them.
    Narrow(Vec<u32>),
    /// The pod cannot be scheduled at all.
    Reject(Code, Vec<Reason>),
}

/// A pod that is taken to be on a node, or not to be there any more, while preemption or nominated
/// pods are weighed up.
#[derive(Debug, Clone, Copy)]
pub struct Moved<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Position of the node.
    pub at: usize,
    /// True if it is there now.
    pub added: bool,
}

/// What `PostFilter` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostFilter {
    /// The pod may hope for a node: the cycle ends with a nomination.
    Success(Nomination),
    /// Nothing could be done; later plugins are asked.
    Unschedulable {
        /// Why.
        reason: Reason,
        /// The pod's own nomination is void.
        clear: bool,
    },
    /// Something went wrong; later plugins are not asked.
    Error(Reason),
}

/// A node for a pod, once its victims are gone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nomination {
    /// The node.
    pub node: Sym,
    /// Pods to be preempted, the most important one first.
    pub victims: Vec<ObjRef>,
}

/// What the plugins have worked out about the pod in hand. Kept between cycles for its buffers.
#[derive(Debug, Clone, Default)]
pub struct CycleState {
    /// `NodeResourcesFit` and `BalancedAllocation`.
    pub fit: FitState,
    /// `PodTopologySpread`, hard constraints.
    pub spread_filter: SpreadFilter,
    /// `PodTopologySpread`, soft constraints.
    pub spread_score: SpreadScore,
    /// `InterPodAffinity`, required terms.
    pub affinity_filter: AffinityFilter,
    /// `InterPodAffinity`, preferred terms.
    pub affinity_score: AffinityScore,
    /// `FragmentationGradientDescent`.
    pub fgd: FgdState,
    /// `Cel`.
    pub cel: CelState,
    /// `LoadAware`.
    pub load: LoadState,
    /// `BestFit`, `WorstFit`, `DotProduct`.
    pub largest: Largest,
    /// `DynamicResources` has looked at the pod's claims in this cycle.
    pub claims_read: bool,
    /// The volume plugins.
    pub volumes: VolumeState,
}

/// What the volume plugins have worked out about the pod in hand.
#[derive(Debug, Clone, Default)]
pub struct VolumeState {
    /// `VolumeRestrictions`.
    pub restrictions: RestrictionState,
    /// `NodeVolumeLimits`: volumes to attach.
    pub attach: Vec<Attachable>,
    /// `VolumeBinding`.
    pub claims: PodClaims,
    /// `VolumeZone`: labels to meet.
    pub zones: Vec<ZoneTerm>,
}

/// A run of consecutive positions to filter. Entries that an earlier plugin rejected are not PASS.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Position of the first node.
    pub first: usize,
    /// A verdict per node.
    pub verdicts: &'a mut [Verdict],
    /// Row of the plugin that is called.
    pub row: u8,
}

impl Batch<'_> {
    /// Judges entry `i`, unless an earlier plugin has rejected it.
    pub fn judge(&mut self, i: usize, verdict: Verdict) {
        if self.verdicts[i].passed() {
            self.verdicts[i] = verdict.by(self.row);
        }
    }
}

/// Something that happened and might make a waiting pod schedulable.
#[derive(Debug, Clone, Copy)]
pub enum ClusterEvent<'a> {
    /// A node appeared.
    NodeAdd(&'a Node),
    /// A node changed.
    NodeUpdate {
        /// Before.
        old: &'a Node,
        /// After.
        new: &'a Node,
    },
    /// A node is gone.
    NodeDelete(&'a Node),
    /// A pod was bound, or changed on its node.
    AssignedPod {
        /// As it was before; none if it is new there.
        old: Option<&'a Pod>,
        /// The pod.
        pod: &'a Pod,
    },
    /// A pod on a node is gone or has ended, or a pod lost the node it was promised.
    PodGone(&'a Pod),
    /// The waiting pod itself changed.
    Own {
        /// Before.
        old: &'a Pod,
    },
    /// A storage object appeared or changed, or an attachment is gone.
    Storage(StorageEvent<'a>),
    /// A namespace, service or owner changed.
    Other,
}

/// A change of a storage object; without `old` it is new.
#[derive(Debug, Clone, Copy)]
pub enum StorageEvent<'a> {
    /// A volume.
    Volume {
        /// Before.
        old: Option<&'a Arc<PersistentVolume>>,
        /// After.
        new: &'a Arc<PersistentVolume>,
    },
    /// A claim.
    Claim {
        /// Before.
        old: Option<&'a Arc<PersistentVolumeClaim>>,
        /// After.
        new: &'a Arc<PersistentVolumeClaim>,
    },
    /// A class.
    Class {
        /// Before.
        old: Option<&'a Arc<StorageClass>>,
        /// After.
        new: &'a Arc<StorageClass>,
    },
    /// The drivers of a node.
    CsiNode {
        /// Before.
        old: Option<&'a Arc<CsiNode>>,
        /// After.
        new: &'a Arc<CsiNode>,
    },
    /// A driver that was there before.
    CsiDriver {
        /// Before.
        old: &'a Arc<CsiDriver>,
        /// After.
        new: &'a Arc<CsiDriver>,
    },
    /// Room for volumes.
    Capacity {
        /// Before.
        old: Option<&'a Arc<CsiStorageCapacity>>,
        /// After.
        new: &'a Arc<CsiStorageCapacity>,
    },
    /// A `VolumeAttachment` was deleted.
    AttachmentGone,
}

/// What a plugin says about a [`ClusterEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// The plugin has not registered for such events.
    Unregistered,
    /// Registered, but the event does not help.
    Skip,
    /// The pod may be schedulable now.
    Queue,
}

impl Hint {
    /// Queue if it helps, else skip.
    #[must_use]
    pub fn of(helps: bool) -> Self {
        if helps { Self::Queue } else { Self::Skip }
    }
}

/// What Permit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Go on.
    Allow,
    /// Give the node up.
    Reject,
}

/// A plugin. Every extension point has a default, so that a plugin only spells what it does.
pub trait Plugin: std::fmt::Debug + Send + Sync {
    /// `PreEnqueue`: a reason to keep the pod out of the queue.
    fn pre_enqueue(&self, _pod: &Pod) -> Option<Reason> {
        None
    }

    /// Before `PreFilter`: asks the cache for the counts and domains it will read.
    fn prepare(&self, _cache: &mut Cache, _pod: &Pod, _state: &mut CycleState) {}

    /// `PreFilter`.
    fn pre_filter(&self, _view: View<'_>, _state: &mut CycleState) -> PreFilter {
        PreFilter::Run
    }

    /// True if the verdict depends on the pod's template and the node object alone, so that it may
    /// be remembered per (template, node).
    fn is_static(&self) -> bool {
        false
    }

    /// Filter for one node, plainly.
    fn filter_node(&self, _view: View<'_>, _state: &CycleState, _at: usize) -> Verdict {
        Verdict::PASS
    }

    /// Filter for a batch.
    fn filter(&self, view: View<'_>, state: &CycleState, batch: &mut Batch<'_>) {
        for i in 0..batch.verdicts.len() {
            if batch.verdicts[i].passed() {
                let verdict = self.filter_node(view, state, batch.first + i);
                batch.judge(i, verdict);
            }
        }
    }

    /// `PreFilter`'s `AddPod` and `RemovePod`: what was worked out for the pod in hand is to follow
    /// a pod that is taken to be on one node or not. The cache has followed already.
    fn pod_moved(&self, _view: View<'_>, _state: &mut CycleState, _moved: Moved<'_>) {}

    /// `PostFilter`: no node fits.
    fn post_filter(&self, _stuck: &mut Stuck<'_>) -> PostFilter {
        PostFilter::Unschedulable { reason: Cow::Borrowed(""), clear: false }
    }

    /// Text of a reason of this plugin's verdicts.
    fn reason(&self, _view: View<'_>, _bit: u8) -> Reason {
        Cow::Borrowed("rejected")
    }

    /// `PreScore`: false to skip the plugin for this pod.
    fn pre_score(&self, _view: View<'_>, _state: &mut CycleState, _nodes: &[u32]) -> bool {
        true
    }

    /// Score of one node, plainly.
    fn score_node(&self, _view: View<'_>, _state: &CycleState, _at: usize) -> i64 {
        0
    }

    /// Scores of nodes.
    fn score(&self, view: View<'_>, state: &CycleState, nodes: &[u32], out: &mut [i64]) {
        for (score, &at) in out.iter_mut().zip(nodes) {
            *score = self.score_node(view, state, at as usize);
        }
    }

    /// `NormalizeScore`, in place.
    fn normalize(&self, _view: View<'_>, _state: &CycleState, _nodes: &[u32], _scores: &mut [i64]) {
    }

    /// The score after normalisation if it is the same for every node; saves the work per node.
    fn constant_score(&self, _view: View<'_>, _state: &CycleState) -> Option<i64> {
        None
    }

    /// The GPUs that the pod in hand is to get on a node, if the plugin has a say in it. The last
    /// plugin that has one is heard; without any it is `Gpus::best_fit`.
    fn devices(&self, _view: View<'_>, _state: &CycleState, _at: usize) -> Option<Devices> {
        None
    }

    /// Reserve: false gives the node up.
    fn reserve(&self, _view: View<'_>, _at: usize) -> bool {
        true
    }

    /// Unreserve.
    fn unreserve(&self, _pod: &Pod) {}

    /// Permit.
    fn permit(&self, _view: View<'_>, _at: usize) -> Permit {
        Permit::Allow
    }

    /// `PreBind`: false gives the node up.
    fn pre_bind(&self, _pod: &Pod) -> bool {
        true
    }

    /// Bind: true if the plugin wants the binding to be posted.
    fn bind(&self, _pod: &Pod) -> bool {
        false
    }

    /// `PostBind`.
    fn post_bind(&self, _pod: &Pod) {}

    /// Whether an event may make a pod schedulable that this plugin had rejected.
    fn hint(&self, _pod: &Pod, _event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        Hint::Unregistered
    }
}

/// `DefaultNormalizeScore` (source: `plg/helper/normalize_score.go`).
pub fn default_normalize(scores: &mut [i64], reverse: bool) {
    let max = scores.iter().copied().max().unwrap_or(0);
    for score in scores.iter_mut() {
        let scaled = if max == 0 { 0 } else { MAX_SCORE * *score / max };
        *score = if reverse { MAX_SCORE - scaled } else { scaled };
    }
}
