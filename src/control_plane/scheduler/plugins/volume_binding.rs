//! `VolumeBinding` (source: `plg/volumebinding/{volume_binding,binder}.go`): bound volumes must
//! reach the node; claims that wait for their first consumer are matched with volumes there, or
//! checked for being provisioned there. What Reserve and `PreBind` do is in
//! [`volume_binder`](crate::control_plane::scheduler::volume_binder).

use super::volume_restrictions::claim_not_found;
use crate::api::node::Node;
use crate::api::storage::{
    ClaimPhase, CsiStorageCapacity, PersistentVolume, PersistentVolumeClaim, StorageClass,
    find_matching, keys,
};
use crate::api::{LabelSet, Name, Pod};
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{
    ClusterEvent, Code, CycleState, Hint, Plugin, PreFilter, Reason, StorageEvent, Verdict, View,
};
use crate::control_plane::scheduler::volumes::{VolumeIndex, claim_of};
use std::sync::Arc;

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct VolumeBinding;

const AFFINITY: u16 = 1;
const NO_MATCH: u16 = 1 << 1;
const NO_SPACE: u16 = 1 << 2;
const NO_VOLUME: u16 = 1 << 3;

/// A claim that would have to be provisioned.
#[derive(Debug, Clone)]
struct Provision {
    claim: Arc<PersistentVolumeClaim>,
    class: Arc<StorageClass>,
    /// Where there is room, if the driver keeps track of it.
    room: Option<Vec<Arc<CsiStorageCapacity>>>,
}

impl Provision {
    fn of(index: &VolumeIndex, claim: &Arc<PersistentVolumeClaim>) -> Option<Self> {
        let class = Arc::clone(index.class(claim.class_name())?);
        let tracked = index.driver(class.provisioner).is_some_and(|d| d.tracks_capacity);
        let room = tracked.then(|| {
            let all = index.capacities(class.meta.name.sym()).iter();
            all.filter(|c| c.limit().is_some_and(|l| l >= claim.request)).cloned().collect()
        });
        Some(Self { claim: Arc::clone(claim), class, room })
    }

    /// The reason why it cannot be provisioned for a node; 0 if it can.
    fn obstacle(&self, labels: LabelSet) -> u16 {
        let provisioner = self.class.provisioner.as_str();
        if provisioner.is_empty() || provisioner == keys::NO_PROVISIONER {
            return NO_MATCH;
        }
        if !self.class.allows(labels) {
            return NO_MATCH;
        }
        let within = |c: &Arc<CsiStorageCapacity>| {
            c.topology.as_ref().is_some_and(|selector| selector.matches(labels))
        };
        match &self.room {
            Some(room) if !room.iter().any(within) => NO_SPACE,
            Some(_) | None => 0,
        }
    }
}

/// A claim to be matched with a volume that exists.
#[derive(Debug, Clone)]
struct Match {
    claim: Arc<PersistentVolumeClaim>,
    candidates: Vec<Arc<PersistentVolume>>,
    /// If nothing matches.
    otherwise: Option<Provision>,
}

/// The pod's claims, sorted by what is to be done about them.
#[derive(Debug, Clone, Default)]
pub struct PodClaims {
    /// Volumes of bound claims; none if the volume does not exist.
    bound: Vec<Option<Arc<PersistentVolume>>>,
    /// Unbound claims, by size.
    unbound: Vec<Match>,
    /// Unbound claims for which a node has been chosen before.
    selected: Vec<Provision>,
}

/// The volumes of a pod on a node: what binding it there takes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodVolumes {
    /// Claims and the volumes they get.
    pub bindings: Vec<(Arc<PersistentVolumeClaim>, Arc<PersistentVolume>)>,
    /// Claims to be provisioned.
    pub provisions: Vec<Arc<PersistentVolumeClaim>>,
}

impl PodVolumes {
    /// True if there is nothing to bind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty() && self.provisions.is_empty()
    }
}

/// Source: `IsDelayBindingMode`.
fn waits(index: &VolumeIndex, claim: &PersistentVolumeClaim) -> bool {
    let class = claim.class_name();
    !class.is_empty() && index.class(class).is_some_and(|c| c.waits)
}

/// The claim of a volume if it may be used at all (source: `podHasPVCs`).
fn usable(
    index: &VolumeIndex,
    pod: &Pod,
    name: Name,
    ephemeral: bool,
) -> Result<Arc<PersistentVolumeClaim>, Reason> {
    let Some(claim) = index.claim(pod.meta.ns, name) else {
        return Err(if ephemeral {
            let what =
                "waiting for ephemeral volume controller to create the persistentvolumeclaim";
            format!("{what} \"{name}\"").into()
        } else {
            claim_not_found(name)
        });
    };
    if claim.phase == ClaimPhase::Lost {
        let what = "bound to non-existent persistentvolume";
        return Err(format!("persistentvolumeclaim \"{name}\" {what} \"{}\"", claim.volume).into());
    }
    if claim.meta.terminating() {
        return Err(format!("persistentvolumeclaim \"{name}\" is being deleted").into());
    }
    if ephemeral && claim.meta.controller().is_none_or(|o| o.uid != pod.meta.uid) {
        let (claim, pod) = (claim.meta.full_name(), pod.meta.full_name());
        return Err(format!("PVC {claim} was not created for pod {pod} (pod is not owner)").into());
    }
    Ok(Arc::clone(index.latest_claim(pod.meta.ns, name).unwrap_or(claim)))
}

impl PodClaims {
    /// Sorts a pod's claims; none if it has no claim.
    ///
    /// # Errors
    /// Why no node will do.
    pub fn gather(index: &VolumeIndex, pod: &Pod) -> Result<Option<Self>, Reason> {
        let mut claims = Vec::new();
        for volume in &pod.spec.volumes {
            if let Some((name, ephemeral)) = claim_of(pod.meta.name, volume) {
                claims.push(usable(index, pod, name, ephemeral)?);
            }
        }
        if claims.is_empty() {
            return Ok(None);
        }
        let mut all = Self::default();
        let mut waiting = Vec::new();
        for claim in claims {
            if claim.fully_bound() {
                all.bound.push(index.latest_volume(claim.volume).cloned());
            } else if waits(index, &claim) && claim.volume.is_empty() {
                waiting.push(claim);
            } else {
                return Err("pod has unbound immediate PersistentVolumeClaims".into());
            }
        }
        // The smallest claims choose first, so that large volumes are left for large claims.
        waiting.sort_by_key(|claim| claim.request);
        for claim in waiting {
            let otherwise = Provision::of(index, &claim);
            match otherwise {
                Some(provision) if claim.selected_node().is_some() => all.selected.push(provision),
                otherwise => {
                    let candidates = index.candidates(&claim).cloned().collect();
                    all.unbound.push(Match { claim, candidates, otherwise });
                }
            }
        }
        Ok(Some(all))
    }

    /// What binding the claims on a node takes, or the reasons against the node
    /// (source: `FindPodVolumes`).
    ///
    /// # Errors
    /// A mask of reasons.
    pub fn find(&self, node: &Node) -> Result<PodVolumes, u16> {
        let labels = node.meta.labels;
        // The first bound volume that is in the way counts, and the first unbound one.
        let against = self.bound.iter().find_map(|volume| match volume {
            None => Some(NO_VOLUME),
            Some(volume) => (!volume.reaches(labels)).then_some(AFFINITY),
        });
        match (against, self.bind_unbound(node)) {
            (None, found) => found,
            (Some(against), Ok(_)) => Err(against),
            (Some(against), Err(more)) => Err(against | more),
        }
    }

    fn bind_unbound(&self, node: &Node) -> Result<PodVolumes, u16> {
        let labels = node.meta.labels;
        let mut out = PodVolumes::default();
        let mut provisions: Vec<&Provision> = Vec::new();
        for provision in &self.selected {
            if provision.claim.selected_node() != Some(node.meta.name.sym().as_str()) {
                return Err(NO_MATCH);
            }
            provisions.push(provision);
        }
        for unbound in &self.unbound {
            let chosen = |v: &Arc<PersistentVolume>| {
                out.bindings.iter().any(|(_, b)| b.meta.name == v.meta.name)
            };
            let left = unbound.candidates.iter().filter(|v| !chosen(v));
            match (find_matching(&unbound.claim, left, Some(labels), true), &unbound.otherwise) {
                (Some(volume), _) => {
                    out.bindings.push((Arc::clone(&unbound.claim), Arc::clone(volume)));
                }
                (None, Some(provision)) => provisions.push(provision),
                (None, None) => return Err(NO_MATCH),
            }
        }
        for provision in provisions {
            match provision.obstacle(labels) {
                0 => out.provisions.push(Arc::clone(&provision.claim)),
                reason => return Err(reason),
            }
        }
        Ok(out)
    }
}

/// What binding a pod on a node takes: what Reserve asks for once the node is chosen.
#[must_use]
pub fn pod_volumes(cache: &Cache, pod: &Pod, at: usize) -> PodVolumes {
    let claims = PodClaims::gather(&cache.volumes, pod).ok().flatten();
    claims.and_then(|claims| claims.find(cache.node(at)).ok()).unwrap_or_default()
}

impl Plugin for VolumeBinding {
    fn pre_filter(&self, view: View<'_>, state: &mut CycleState) -> PreFilter {
        if view.pod.spec.volumes.is_empty() {
            return PreFilter::Skip;
        }
        match PodClaims::gather(&view.cache.volumes, view.pod) {
            Err(why) => PreFilter::Reject(Code::UnschedulableAndUnresolvable, vec![why]),
            Ok(None) => PreFilter::Skip,
            Ok(Some(claims)) => {
                state.volumes.claims = claims;
                PreFilter::Run
            }
        }
    }

    fn filter_node(&self, view: View<'_>, state: &CycleState, at: usize) -> Verdict {
        match state.volumes.claims.find(view.cache.node(at)) {
            Ok(_) => Verdict::PASS,
            Err(reasons) => Verdict::reject(Code::UnschedulableAndUnresolvable, reasons),
        }
    }

    fn reason(&self, _view: View<'_>, bit: u8) -> Reason {
        match 1 << bit {
            AFFINITY => "node(s) didn't match PersistentVolume's node affinity".into(),
            NO_MATCH => "node(s) didn't find available persistent volumes to bind".into(),
            NO_SPACE => "node(s) did not have enough free storage".into(),
            _ => "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)".into(),
        }
    }

    fn pre_score(&self, _view: View<'_>, _state: &mut CycleState, _nodes: &[u32]) -> bool {
        // Scores need the feature StorageCapacityScoring, which is off by default.
        false
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        match event {
            ClusterEvent::NodeAdd(_) => Hint::Queue,
            ClusterEvent::NodeUpdate { old, new } if old.meta.labels != new.meta.labels => {
                Hint::Queue
            }
            ClusterEvent::Storage(event) => hint_of_storage(pod, event),
            ClusterEvent::NodeUpdate { .. }
            | ClusterEvent::NodeDelete(_)
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::PodGone(_)
            | ClusterEvent::Own { .. }
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}

fn hint_of_storage(pod: &Pod, event: &StorageEvent<'_>) -> Hint {
    match event {
        StorageEvent::Volume { .. } => Hint::Queue,
        StorageEvent::Claim { new, .. } => {
            let mine = |v| claim_of(pod.meta.name, v).map(|(name, _)| name);
            let named = pod.spec.volumes.iter().any(|v| mine(v) == Some(new.meta.name));
            Hint::of(new.meta.ns == pod.meta.ns && named)
        }
        StorageEvent::Class { old, new } => {
            Hint::of(old.is_none_or(|old| old.topologies != new.topologies))
        }
        StorageEvent::CsiNode { old, new } => Hint::of(old.is_none_or(|old| {
            let migrated = keys::MIGRATED_PLUGINS;
            old.meta.annotation(migrated) != new.meta.annotation(migrated)
        })),
        StorageEvent::CsiDriver { old, new } => {
            use crate::api::pod::VolumeSource::Csi;
            let inline = |v: &crate::api::pod::Volume| v.source == Csi(new.meta.name.sym());
            let freed = old.tracks_capacity && !new.tracks_capacity;
            Hint::of(freed && pod.spec.volumes.iter().any(inline))
        }
        StorageEvent::Capacity { old, new } => {
            let grown = |old: &Arc<CsiStorageCapacity>| {
                new.limit().is_some_and(|limit| old.limit().is_none_or(|before| limit > before))
            };
            Hint::of(old.is_none_or(grown))
        }
        StorageEvent::AttachmentGone => Hint::Unregistered,
    }
}
