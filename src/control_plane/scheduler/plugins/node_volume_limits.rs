//! `NodeVolumeLimits` (source: `plg/nodevolumelimits/csi.go`): how many volumes of a CSI driver a
//! node can attach.

use super::volume_restrictions::named_claims;
use crate::api::pod::{Volume, VolumeSource};
use crate::api::storage::{CsiNode, DiskSource, MIGRATED, PersistentVolumeClaim};
use crate::api::{Name, Pod, PodSpec};
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{
    ClusterEvent, Code, CycleState, Hint, Plugin, PreFilter, Reason, StorageEvent, Verdict, View,
};
use crate::control_plane::scheduler::volumes::{VolumeIndex, claim_of};
use crate::engine::Sym;

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeVolumeLimits;

/// What makes a volume the same as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handle {
    /// The driver's (or the in-tree plugin's) word for it.
    Disk(Sym),
    /// A claim that has no volume yet.
    Claim(Sym, Name),
}

/// A volume that a driver would have to attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachable {
    driver: Sym,
    handle: Handle,
    /// The in-tree plugin it belongs to unless the node has migrated it.
    plugin: Option<&'static str>,
}

impl Attachable {
    /// An in-tree volume counts only where its plugin is handed to CSI.
    fn counts_on(&self, node: &CsiNode) -> bool {
        self.plugin.is_none_or(|plugin| node.migrates(plugin))
    }
}

/// True if the API server's in-tree translation knows the volume.
fn migratable(source: &VolumeSource) -> bool {
    matches!(source, VolumeSource::AwsEbs(..) | VolumeSource::GcePd(..))
}

/// True if the volume may have to be attached.
fn attaches(volume: &Volume) -> bool {
    matches!(volume.source, VolumeSource::Claim(..) | VolumeSource::Ephemeral(_))
        || migratable(&volume.source)
}

fn in_tree(plugin: &str, handle: Handle) -> Option<Attachable> {
    let (plugin, driver) = MIGRATED.iter().find(|(p, _)| *p == plugin)?;
    Some(Attachable { driver: Sym::new(driver), handle, plugin: Some(plugin) })
}

/// The volume behind a claim: of a claim without volume, what its class would provision.
fn behind(index: &VolumeIndex, claim: &PersistentVolumeClaim) -> Option<Attachable> {
    if let Some(volume) = index.volume(claim.volume).filter(|_| !claim.volume.is_empty()) {
        return match volume.source {
            DiskSource::Csi(driver, handle) => {
                Some(Attachable { driver, handle: Handle::Disk(handle), plugin: None })
            }
            DiskSource::InTree(plugin, disk) => in_tree(plugin, Handle::Disk(disk)),
            DiskSource::Other => None,
        };
    }
    let class = claim.class_name();
    let provisioner = index.class(class).filter(|_| !class.is_empty())?.provisioner;
    let handle = Handle::Claim(claim.meta.ns, claim.meta.name);
    in_tree(provisioner.as_str(), handle).or(Some(Attachable {
        driver: provisioner,
        handle,
        plugin: None,
    }))
}

/// The distinct attachable volumes of a pod; claims that do not exist are passed over.
fn attachables(index: &VolumeIndex, ns: Sym, pod: Name, spec: &PodSpec, out: &mut Vec<Attachable>) {
    for volume in &spec.volumes {
        let found = match (&volume.source, claim_of(pod, volume)) {
            (_, Some((name, _))) => index.claim(ns, name).and_then(|c| behind(index, c)),
            (VolumeSource::AwsEbs(id, _), _) => {
                let id = id.as_str().rsplit('/').next().unwrap_or_default();
                in_tree("kubernetes.io/aws-ebs", Handle::Disk(Sym::new(id)))
            }
            (VolumeSource::GcePd(name, _), _) => {
                in_tree("kubernetes.io/gce-pd", Handle::Disk(*name))
            }
            _no_disk => None,
        };
        if let Some(volume) = found.filter(|v| !out.contains(v)) {
            out.push(volume);
        }
    }
}

/// What is attached to the node already: by its pods, and by attachments that no pod explains.
fn attached(cache: &Cache, at: usize, csi: &CsiNode) -> Vec<Attachable> {
    let index = &cache.volumes;
    let mut all = Vec::new();
    for user in index.users(cache.index_at(at)) {
        attachables(index, user.ns, user.name, &user.spec, &mut all);
    }
    all.retain(|v| v.counts_on(csi));
    for attachment in index.attached(csi.meta.name) {
        if let Some(volume) = index.volume(attachment.volume)
            && let DiskSource::Csi(_, handle) = volume.source
        {
            let handle = Handle::Disk(handle);
            let same = |v: &Attachable| (v.driver, v.handle) == (attachment.attacher, handle);
            if !all.iter().any(same) {
                all.push(Attachable { driver: attachment.attacher, handle, plugin: None });
            }
        }
    }
    all
}

/// True if some driver would have to attach more than it can.
fn exceeds(new: &[Attachable], old: &[Attachable], csi: &CsiNode) -> bool {
    let same = |a: &Attachable, b: &Attachable| (a.driver, a.handle) == (b.driver, b.handle);
    let fresh = |v: &&Attachable| v.counts_on(csi) && !old.iter().any(|o| same(o, v));
    new.iter().filter(fresh).any(|one| {
        let of_driver = |v: &&Attachable| v.driver == one.driver;
        let count = new.iter().filter(fresh).filter(of_driver).count()
            + old.iter().filter(of_driver).count();
        csi.limit(one.driver)
            .is_some_and(|limit| count > usize::try_from(limit).unwrap_or_default())
    })
}

impl Plugin for NodeVolumeLimits {
    fn pre_filter(&self, view: View<'_>, state: &mut CycleState) -> PreFilter {
        let pod = view.pod;
        if !pod.spec.volumes.iter().any(attaches) {
            return PreFilter::Skip;
        }
        let new = &mut state.volumes.attach;
        new.clear();
        attachables(&view.cache.volumes, pod.meta.ns, pod.meta.name, &pod.spec, new);
        PreFilter::Run
    }

    fn filter_node(&self, view: View<'_>, state: &CycleState, at: usize) -> Verdict {
        let new = &state.volumes.attach;
        let node = view.cache.node(at).meta.name;
        let Some(csi) = view.cache.volumes.csi_node(node) else { return Verdict::PASS };
        if !new.iter().any(|v| v.counts_on(csi) && csi.limit(v.driver).is_some()) {
            return Verdict::PASS;
        }
        if exceeds(new, &attached(view.cache, at, csi), csi) {
            Verdict::reject(Code::Unschedulable, 1)
        } else {
            Verdict::PASS
        }
    }

    fn reason(&self, _view: View<'_>, _bit: u8) -> Reason {
        "node(s) exceed max volume count".into()
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        match event {
            ClusterEvent::PodGone(gone) => Hint::of(gone.spec.volumes.iter().any(attaches)),
            ClusterEvent::Storage(StorageEvent::CsiNode { old: None, .. }) => Hint::Queue,
            ClusterEvent::Storage(StorageEvent::CsiNode { old: Some(old), new }) => {
                let raised = |driver: Sym| match (old.limit(driver), new.limit(driver)) {
                    (Some(before), after) => after.is_none_or(|after| after > before),
                    (None, _) => false,
                };
                Hint::of(old.drivers.iter().any(|d| raised(d.name)))
            }
            ClusterEvent::Storage(StorageEvent::Claim { old: None, new }) => {
                let mine = |v: &Volume| claim_of(pod.meta.name, v).map(|(name, _)| name);
                Hint::of(
                    new.meta.ns == pod.meta.ns
                        && pod.spec.volumes.iter().any(|v| mine(v) == Some(new.meta.name)),
                )
            }
            ClusterEvent::Storage(StorageEvent::AttachmentGone) => {
                Hint::of(named_claims(pod).next().is_some())
            }
            ClusterEvent::NodeAdd(_)
            | ClusterEvent::NodeUpdate { .. }
            | ClusterEvent::NodeDelete(_)
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::Own { .. }
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}
