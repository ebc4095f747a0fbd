//! `VolumeZone` (source: `plg/volumezone/volume_zone.go`): zone and region labels of bound volumes
//! against those of the node.

use super::volume_restrictions::{claim_not_found, named_claims};
use crate::api::storage::PersistentVolume;
use crate::api::{Pod, node::keys};
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{
    ClusterEvent, Code, CycleState, Hint, Plugin, PreFilter, Reason, StorageEvent, Verdict, View,
};
use crate::engine::Sym;

/// The plugin, with the labels it looks at: in beta and final form.
#[derive(Debug, Clone, Copy)]
pub struct VolumeZone {
    labels: [(Sym, Sym); 4],
}

impl Default for VolumeZone {
    fn default() -> Self {
        let (zone, region) = (Sym::new(keys::ZONE), Sym::new(keys::REGION));
        let beta_zone = Sym::new("failure-domain.beta.kubernetes.io/zone");
        let beta_region = Sym::new("failure-domain.beta.kubernetes.io/region");
        Self { labels: [(beta_zone, zone), (beta_region, region), (zone, zone), (region, region)] }
    }
}

/// A label of a volume: its key, the key in final form, and the values allowed.
pub type ZoneTerm = (Sym, Sym, Vec<Sym>);

/// The zones of a label: several are joined by `__`; none if some zone is empty
/// (source: `LabelZonesToSet`).
fn zones(label: Sym) -> Option<Vec<Sym>> {
    label
        .as_str()
        .split("__")
        .map(|zone| Some(zone.trim()).filter(|z| !z.is_empty()).map(Sym::new))
        .collect()
}

impl VolumeZone {
    fn terms(&self, volume: &PersistentVolume) -> Vec<ZoneTerm> {
        let term =
            |(key, ga): &(Sym, Sym)| Some((*key, *ga, zones(volume.meta.labels.get(*key)?)?));
        self.labels.iter().filter_map(term).collect()
    }

    /// The labels that all the pod's volumes ask for.
    fn gather(&self, view: View<'_>) -> Result<Vec<ZoneTerm>, Reason> {
        let index = &view.cache.volumes;
        let mut terms = Vec::new();
        for name in named_claims(view.pod) {
            let claim = index.claim(view.pod.meta.ns, name).ok_or_else(|| claim_not_found(name))?;
            if !claim.volume.is_empty() {
                let volume = index.volume(claim.volume).ok_or_else(|| {
                    Reason::from(format!("persistentvolume \"{}\" not found", claim.volume))
                })?;
                terms.extend(self.terms(volume));
                continue;
            }
            let class = claim.class_name();
            if class.is_empty() {
                return Err("PersistentVolumeClaim had no pv name and storageClass name".into());
            }
            let found = index.class(class).ok_or_else(|| {
                Reason::from(format!("storageclass.storage.k8s.io \"{class}\" not found"))
            })?;
            if !found.waits {
                return Err("PersistentVolume had no name".into());
            }
        }
        Ok(terms)
    }
}

impl Plugin for VolumeZone {
    fn pre_filter(&self, view: View<'_>, state: &mut CycleState) -> PreFilter {
        if view.pod.spec.volumes.is_empty() {
            return PreFilter::Skip;
        }
        match self.gather(view) {
            Err(why) => PreFilter::Reject(Code::UnschedulableAndUnresolvable, vec![why]),
            Ok(terms) if terms.is_empty() => PreFilter::Skip,
            Ok(terms) => {
                state.volumes.zones = terms;
                PreFilter::Run
            }
        }
    }

    fn filter_node(&self, view: View<'_>, state: &CycleState, at: usize) -> Verdict {
        let labels = view.cache.node(at).meta.labels;
        if self.labels.iter().all(|(key, _)| labels.get(*key).is_none()) {
            // A cluster of a single zone may not label its nodes.
            return Verdict::PASS;
        }
        let meets = |(key, ga, values): &ZoneTerm| {
            labels.get(*key).or_else(|| labels.get(*ga)).is_some_and(|v| values.contains(&v))
        };
        if state.volumes.zones.iter().all(meets) {
            Verdict::PASS
        } else {
            Verdict::reject(Code::UnschedulableAndUnresolvable, 1)
        }
    }

    fn reason(&self, _view: View<'_>, _bit: u8) -> Reason {
        "node(s) had no available volume zone".into()
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        match event {
            ClusterEvent::NodeAdd(_) => Hint::Queue,
            ClusterEvent::NodeUpdate { old, new } if old.meta.labels != new.meta.labels => {
                Hint::Queue
            }
            ClusterEvent::Storage(StorageEvent::Class { old: None, new }) => Hint::of(new.waits),
            ClusterEvent::Storage(StorageEvent::Claim { new, .. }) => Hint::of(
                new.meta.ns == pod.meta.ns && named_claims(pod).any(|n| n == new.meta.name),
            ),
            ClusterEvent::Storage(StorageEvent::Volume { old, new }) => {
                Hint::of(old.is_none_or(|old| self.terms(old) != self.terms(new)))
            }
            ClusterEvent::NodeUpdate { .. }
            | ClusterEvent::NodeDelete(_)
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::PodGone(_)
            | ClusterEvent::Own { .. }
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}
