//! `VolumeRestrictions` (source: `plg/volumerestrictions/volume_restrictions.go`): disks that only
//! one pod of a node may use, and claims that only one pod of the cluster may use.

use crate::api::pod::VolumeSource;
use crate::api::storage::AccessModes;
use crate::api::{Name, Pod};
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{
    ClusterEvent, Code, CycleState, Hint, Moved, Plugin, PreFilter, Reason, StorageEvent, Verdict,
    View,
};
use crate::engine::Sym;

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct VolumeRestrictions;

/// What it has worked out about the pod in hand.
#[derive(Debug, Clone, Default)]
pub struct RestrictionState {
    /// The pod uses disks that cannot be shared.
    disks: bool,
    /// Its `ReadWriteOncePod` claims.
    once: Vec<Name>,
    /// How many of them are in use.
    conflicts: i32,
}

const DISK: u16 = 1;
const ONCE_POD: u16 = 1 << 1;

/// True for disks that are looked at per node.
fn restricted(source: &VolumeSource) -> bool {
    matches!(
        source,
        VolumeSource::GcePd(..)
            | VolumeSource::AwsEbs(..)
            | VolumeSource::Iscsi(..)
            | VolumeSource::Rbd(..)
    )
}

/// True if two pods of one node cannot use both. Read-only use is shared, but for EBS.
fn conflict(mine: &VolumeSource, theirs: &VolumeSource) -> bool {
    match (mine, theirs) {
        (VolumeSource::GcePd(a, ro), VolumeSource::GcePd(b, theirs_ro))
        | (VolumeSource::Iscsi(a, ro), VolumeSource::Iscsi(b, theirs_ro)) => {
            a == b && !(*ro && *theirs_ro)
        }
        (VolumeSource::AwsEbs(a, _), VolumeSource::AwsEbs(b, _)) => a == b,
        (VolumeSource::Rbd(m, pool, image, ro), VolumeSource::Rbd(n, p, i, theirs_ro)) => {
            (pool, image) == (p, i) && overlap(*m, *n) && !(*ro && *theirs_ro)
        }
        _different => false,
    }
}

/// True if two lists of monitors, joined by commas, share one.
fn overlap(a: Sym, b: Sym) -> bool {
    a.as_str().split(',').any(|mine| b.as_str().split(',').any(|theirs| mine == theirs))
}

fn pods_conflict(a: &Pod, theirs: &crate::api::PodSpec) -> bool {
    a.spec.volumes.iter().any(|v| theirs.volumes.iter().any(|t| conflict(&v.source, &t.source)))
}

/// The claims a pod names (those of ephemeral volumes are its own).
pub(super) fn named_claims(pod: &Pod) -> impl Iterator<Item = Name> {
    pod.spec.volumes.iter().filter_map(|v| {
        if let VolumeSource::Claim(name, _) = v.source { Some(name.into()) } else { None }
    })
}

/// What a lister says of a missing claim.
pub(super) fn claim_not_found(name: Name) -> Reason {
    format!("persistentvolumeclaim \"{name}\" not found").into()
}

impl Plugin for VolumeRestrictions {
    fn pre_filter(&self, view: View<'_>, state: &mut CycleState) -> PreFilter {
        let (pod, index) = (view.pod, &view.cache.volumes);
        if pod.spec.volumes.is_empty() {
            return PreFilter::Skip;
        }
        let mut once: Vec<Name> = Vec::new();
        for name in named_claims(pod) {
            let Some(claim) = index.claim(pod.meta.ns, name) else {
                let code = Code::UnschedulableAndUnresolvable;
                return PreFilter::Reject(code, vec![claim_not_found(name)]);
            };
            if claim.modes.has(AccessModes::ONCE_POD) && !once.contains(&name) {
                once.push(name);
            }
        }
        let taken = once.iter().filter(|name| index.in_use(pod.meta.ns, **name)).count();
        let mine = &mut state.volumes.restrictions;
        mine.conflicts = i32::try_from(taken).unwrap_or(i32::MAX);
        mine.once = once;
        mine.disks = pod.spec.volumes.iter().any(|v| restricted(&v.source));
        if mine.disks || mine.conflicts > 0 { PreFilter::Run } else { PreFilter::Skip }
    }

    /// Upstream counts by name of the claim, whatever the namespace of the pod that moves.
    fn pod_moved(&self, _view: View<'_>, state: &mut CycleState, moved: Moved<'_>) {
        let mine = &mut state.volumes.restrictions;
        let n = named_claims(moved.pod).filter(|name| mine.once.contains(name)).count();
        let n = i32::try_from(n).unwrap_or(i32::MAX);
        mine.conflicts += if moved.added { n } else { -n };
    }

    fn filter_node(&self, view: View<'_>, state: &CycleState, at: usize) -> Verdict {
        let mine = &state.volumes.restrictions;
        let users = || view.cache.volumes.users(view.cache.index_at(at));
        if mine.disks && users().iter().any(|u| pods_conflict(view.pod, &u.spec)) {
            Verdict::reject(Code::Unschedulable, DISK)
        } else if mine.conflicts > 0 {
            Verdict::reject(Code::Unschedulable, ONCE_POD)
        } else {
            Verdict::PASS
        }
    }

    fn reason(&self, _view: View<'_>, bit: u8) -> Reason {
        if bit == 0 {
            "node(s) had no available disk".into()
        } else {
            "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode \
             already in-use by another pod"
                .into()
        }
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        match event {
            ClusterEvent::NodeAdd(_) => Hint::Queue,
            ClusterEvent::PodGone(gone) => Hint::of(
                gone.meta.ns == pod.meta.ns
                    && (pods_conflict(pod, &gone.spec)
                        || named_claims(gone).any(|n| named_claims(pod).any(|m| m == n))),
            ),
            ClusterEvent::Storage(StorageEvent::Claim { old: None, new }) => Hint::of(
                new.meta.ns == pod.meta.ns && named_claims(pod).any(|n| n == new.meta.name),
            ),
            ClusterEvent::NodeUpdate { .. }
            | ClusterEvent::NodeDelete(_)
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::Own { .. }
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}
