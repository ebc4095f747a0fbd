//! What the scheduler knows about storage: claims, volumes, classes, CSI drivers and which pods use
//! which volumes. Kept from deliveries. Claims and volumes also have an *assumed* form (source:
//! `sched/util/assumecache`): what the scheduler is about to write, until something newer is
//! delivered.

use crate::api::pod::VolumeSource;
use crate::api::storage::{
    CsiDriver, CsiNode, CsiStorageCapacity, PersistentVolume, PersistentVolumeClaim, StorageClass,
    VolumeAttachment,
};
use crate::api::{Name, Obj, Pod, PodSpec, Uid};
use crate::engine::Sym;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// An object as delivered, and as assumed.
#[derive(Debug, Clone)]
struct Row<T> {
    api: Arc<T>,
    assumed: Option<Arc<T>>,
}

impl<T> Row<T> {
    fn latest(&self) -> &Arc<T> {
        self.assumed.as_ref().unwrap_or(&self.api)
    }
}

/// A pod on a node that uses volumes which others may want, too.
#[derive(Debug, Clone)]
pub struct VolumeUser {
    /// Its namespace.
    pub ns: Sym,
    /// Its name.
    pub name: Name,
    /// Its identity.
    pub uid: Uid,
    /// Its spec.
    pub spec: Arc<PodSpec>,
}

/// A `VolumeAttachment`, as far as volumes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub name: Name,
    /// Node.
    pub node: Name,
    /// Driver.
    pub attacher: Sym,
    /// Volume.
    pub volume: Name,
}

/// Claims and volumes by name, and what else storage needs.
#[derive(Debug, Clone, Default)]
pub struct VolumeIndex {
    claims: FxHashMap<(Sym, Name), Row<PersistentVolumeClaim>>,
    volumes: FxHashMap<Name, Row<PersistentVolume>>,
    /// Volumes that refer to no claim, by class, ordered by name.
    free: FxHashMap<Sym, Vec<Name>>,
    /// Volumes that refer to a claim, by that claim.
    referring: FxHashMap<(Sym, Name), Vec<Name>>,
    classes: FxHashMap<Name, Arc<StorageClass>>,
    csi_nodes: FxHashMap<Name, Arc<CsiNode>>,
    drivers: FxHashMap<Name, Arc<CsiDriver>>,
    capacities: FxHashMap<Sym, Vec<Arc<CsiStorageCapacity>>>,
    attachments: Vec<Attachment>,
    /// Pods with volumes by node index.
    users: FxHashMap<u32, Vec<VolumeUser>>,
    /// How many times pods on nodes name a claim.
    used: FxHashMap<(Sym, Name), u32>,
}

/// The name of the claim behind a volume of a pod, and whether it is an ephemeral one.
#[must_use]
pub fn claim_of(pod: Name, volume: &crate::api::pod::Volume) -> Option<(Name, bool)> {
    if let VolumeSource::Claim(name, _) = volume.source {
        Some((name.into(), false))
    } else if matches!(volume.source, VolumeSource::Ephemeral(_)) {
        Some((Name::new(&format!("{pod}-{}", volume.name)), true))
    } else {
        None
    }
}

/// Volumes that plugins look at on pods of a node.
fn counts(source: &VolumeSource) -> bool {
    match source {
        VolumeSource::Claim(..)
        | VolumeSource::Ephemeral(_)
        | VolumeSource::GcePd(..)
        | VolumeSource::AwsEbs(..)
        | VolumeSource::Iscsi(..)
        | VolumeSource::Rbd(..) => true,
        VolumeSource::ConfigMap(..)
        | VolumeSource::Secret(..)
        | VolumeSource::Csi(_)
        | VolumeSource::Other => false,
    }
}

/// A `VolumeAttachment` of a volume that has an object.
fn attachment(of: &VolumeAttachment) -> Option<Attachment> {
    (!of.volume.is_empty()).then(|| Attachment {
        name: of.meta.name,
        node: of.node.into(),
        attacher: of.attacher,
        volume: of.volume,
    })
}

impl VolumeIndex {
    // ----- reading -----

    /// A claim as delivered.
    #[must_use]
    pub fn claim(&self, ns: Sym, name: Name) -> Option<&Arc<PersistentVolumeClaim>> {
        self.claims.get(&(ns, name)).map(|row| &row.api)
    }

    /// A claim as assumed.
    #[must_use]
    pub fn latest_claim(&self, ns: Sym, name: Name) -> Option<&Arc<PersistentVolumeClaim>> {
        self.claims.get(&(ns, name)).map(Row::latest)
    }

    /// A volume as delivered.
    #[must_use]
    pub fn volume(&self, name: Name) -> Option<&Arc<PersistentVolume>> {
        self.volumes.get(&name).map(|row| &row.api)
    }

    /// A volume as assumed.
    #[must_use]
    pub fn latest_volume(&self, name: Name) -> Option<&Arc<PersistentVolume>> {
        self.volumes.get(&name).map(Row::latest)
    }

    /// Volumes of a class that a claim might get: those that refer to it, then those that refer to
    /// no claim, by name.
    pub fn candidates(
        &self,
        claim: &PersistentVolumeClaim,
    ) -> impl Iterator<Item = &Arc<PersistentVolume>> {
        let class = claim.class_name();
        let own = self.referring.get(&(claim.meta.ns, claim.meta.name));
        let free = self.free.get(&class);
        own.into_iter()
            .chain(free)
            .flatten()
            .filter_map(|name| self.latest_volume(*name))
            .filter(move |volume| volume.class == class)
    }

    /// A class.
    #[must_use]
    pub fn class(&self, name: Sym) -> Option<&Arc<StorageClass>> {
        self.classes.get(&Name::from(name))
    }

    /// The drivers on a node.
    #[must_use]
    pub fn csi_node(&self, node: Name) -> Option<&Arc<CsiNode>> {
        self.csi_nodes.get(&node)
    }

    /// A CSI driver.
    #[must_use]
    pub fn driver(&self, name: Sym) -> Option<&Arc<CsiDriver>> {
        self.drivers.get(&Name::from(name))
    }

    /// What is known about room for volumes of a class.
    #[must_use]
    pub fn capacities(&self, class: Sym) -> &[Arc<CsiStorageCapacity>] {
        self.capacities.get(&class).map_or(&[], Vec::as_slice)
    }

    /// CSI volumes attached to a node.
    pub fn attached(&self, node: Name) -> impl Iterator<Item = &Attachment> {
        self.attachments.iter().filter(move |a| a.node == node)
    }

    /// The pods with volumes on a node, by its index.
    #[must_use]
    pub fn users(&self, node: u32) -> &[VolumeUser] {
        self.users.get(&node).map_or(&[], Vec::as_slice)
    }

    /// True if some pod on some node uses the claim.
    #[must_use]
    pub fn in_use(&self, ns: Sym, claim: Name) -> bool {
        self.used.contains_key(&(ns, claim))
    }

    // ----- deliveries -----

    /// Takes in an object of a storage kind; others are ignored.
    pub fn apply(&mut self, value: &Obj, deleted: bool) {
        if let Obj::PersistentVolume(volume) = value {
            self.set_volume(volume, deleted);
        } else if let Obj::PersistentVolumeClaim(claim) = value {
            let key = (claim.meta.ns, claim.meta.name);
            if deleted {
                self.claims.remove(&key);
            } else {
                self.claims.insert(key, Row { api: Arc::clone(claim), assumed: None });
            }
        } else if let Obj::StorageClass(o) = value {
            put(&mut self.classes, o.meta.name, o, deleted);
        } else if let Obj::CSINode(o) = value {
            put(&mut self.csi_nodes, o.meta.name, o, deleted);
        } else if let Obj::CSIDriver(o) = value {
            put(&mut self.drivers, o.meta.name, o, deleted);
        } else if let Obj::CSIStorageCapacity(o) = value {
            self.set_capacity(o, deleted);
        } else if let Obj::VolumeAttachment(o) = value {
            self.attachments.retain(|a| a.name != o.meta.name);
            if !deleted {
                self.attachments.extend(attachment(o));
            }
        }
    }

    fn set_capacity(&mut self, capacity: &Arc<CsiStorageCapacity>, deleted: bool) {
        let list = self.capacities.entry(capacity.class).or_default();
        let key = |c: &CsiStorageCapacity| (c.meta.ns, c.meta.name);
        list.retain(|c| key(c) != key(capacity));
        if !deleted {
            list.push(Arc::clone(capacity));
        }
    }

    fn set_volume(&mut self, volume: &Arc<PersistentVolume>, deleted: bool) {
        let name = volume.meta.name;
        if let Some(old) = self.volumes.remove(&name) {
            self.list(&Arc::clone(old.latest()), false);
        }
        if !deleted {
            self.volumes.insert(name, Row { api: Arc::clone(volume), assumed: None });
            self.list(volume, true);
        }
    }

    /// Keeps the lists of candidates.
    fn list(&mut self, volume: &PersistentVolume, add: bool) {
        let list = match volume.claim {
            Some(r) => self.referring.entry((r.ns, r.name)).or_default(),
            None => self.free.entry(volume.class).or_default(),
        };
        let name = volume.meta.name;
        match (list.binary_search_by(|other| other.cmp_text(name)), add) {
            (Err(at), true) => list.insert(at, name),
            (Ok(at), false) => {
                list.remove(at);
            }
            (Ok(_), true) | (Err(_), false) => {}
        }
        if let Some(r) = volume.claim
            && self.referring.get(&(r.ns, r.name)).is_some_and(Vec::is_empty)
        {
            self.referring.remove(&(r.ns, r.name));
        }
    }

    // ----- assuming -----

    /// The scheduler is about to write this volume.
    pub fn assume_volume(&mut self, volume: &Arc<PersistentVolume>) {
        let Some(row) = self.volumes.get_mut(&volume.meta.name) else { return };
        let old = Arc::clone(row.latest());
        row.assumed = Some(Arc::clone(volume));
        self.list(&old, false);
        self.list(volume, true);
    }

    /// The scheduler is about to write this claim.
    pub fn assume_claim(&mut self, claim: &Arc<PersistentVolumeClaim>) {
        if let Some(row) = self.claims.get_mut(&(claim.meta.ns, claim.meta.name)) {
            row.assumed = Some(Arc::clone(claim));
        }
    }

    /// Back to the volume as delivered.
    pub fn restore_volume(&mut self, name: Name) {
        let Some(row) = self.volumes.get_mut(&name) else { return };
        let Some(assumed) = row.assumed.take() else { return };
        let api = Arc::clone(&row.api);
        self.list(&assumed, false);
        self.list(&api, true);
    }

    /// Back to the claim as delivered.
    pub fn restore_claim(&mut self, ns: Sym, name: Name) {
        if let Some(row) = self.claims.get_mut(&(ns, name)) {
            row.assumed = None;
        }
    }

    // ----- pods -----

    /// A pod was put on a node or taken off it.
    pub fn count(&mut self, node: u32, pod: &Pod, add: bool) {
        if !pod.spec.volumes.iter().any(|v| counts(&v.source)) {
            return;
        }
        let (ns, name) = (pod.meta.ns, pod.meta.name);
        for volume in &pod.spec.volumes {
            if let VolumeSource::Claim(claim, _) = volume.source {
                let n = self.used.entry((ns, claim.into())).or_default();
                *n = if add { *n + 1 } else { *n - 1 };
                if *n == 0 {
                    self.used.remove(&(ns, claim.into()));
                }
            }
        }
        let users = self.users.entry(node).or_default();
        if add {
            let spec = Arc::clone(&pod.spec);
            users.push(VolumeUser { ns, name, uid: pod.meta.uid, spec });
        } else if let Some(at) = users.iter().position(|u| (u.ns, u.name) == (ns, name)) {
            users.swap_remove(at);
        }
        if users.is_empty() {
            self.users.remove(&node);
        }
    }
}

fn put<T>(map: &mut FxHashMap<Name, Arc<T>>, name: Name, value: &Arc<T>, deleted: bool) {
    if deleted {
        map.remove(&name);
    } else {
        map.insert(name, Arc::clone(value));
    }
}
