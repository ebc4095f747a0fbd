//! Storage: volumes, claims, classes, and what CSI drivers say about themselves.

use super::Name;
use super::labels::{LabelSet, Selector};
use super::meta::{Meta, Uid};
use super::pod::NodeSelectorTerm;
use crate::engine::Sym;
use std::sync::Arc;

/// Well-known annotations, finalizers and names
/// (source: component-helpers `storage/volume/pv_helpers.go`, `pkg/volume/util/finalizer.go`).
pub mod keys {
    /// On a claim: binding is complete; the volume may have gone since.
    pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
    /// On both: the controller has set the reference, not the user.
    pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
    /// On a claim: the node the scheduler has chosen.
    pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
    /// On a claim: who is to provision it.
    pub const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
    /// The same, as older provisioners read it.
    pub const BETA_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
    /// On a volume: who has provisioned it.
    pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
    /// On claims and volumes: the class, before there was a field.
    pub const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
    /// On a class: it is the default.
    pub const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
    /// The same, in beta.
    pub const BETA_DEFAULT_CLASS: &str = "storageclass.beta.kubernetes.io/is-default-class";
    /// On a `CSINode`: in-tree plugins that its kubelet hands to CSI.
    pub const MIGRATED_PLUGINS: &str = "storage.alpha.kubernetes.io/migrated-plugins";
    /// Finalizer of claims.
    pub const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
    /// Finalizer of volumes.
    pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
    /// A class with this provisioner only groups volumes made by hand.
    pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
}

/// A set of access modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AccessModes(pub u8);

impl AccessModes {
    /// `ReadWriteOncePod`.
    pub const ONCE_POD: Self = Self(1 << 3);

    /// The modes with their names, in the order in which they print.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("ReadWriteOnce", Self(1)),
        ("ReadOnlyMany", Self(1 << 1)),
        ("ReadWriteMany", Self(1 << 2)),
        ("ReadWriteOncePod", Self::ONCE_POD),
    ];

    /// The set of these names; unknown ones are left out.
    #[must_use]
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let bit = |name: &str| Self::NAMES.iter().find(|(n, _)| *n == name).map_or(0, |(_, m)| m.0);
        Self(names.into_iter().fold(0, |set, name| set | bit(name)))
    }

    /// True if every mode of `other` is in this set.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(_, m)| self.has(*m)).map(|(name, _)| *name)
    }
}

/// What becomes of a volume whose claim is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReclaimPolicy {
    /// It stays Released for ever.
    #[default]
    Retain,
    /// It is deleted.
    Delete,
    /// Deprecated: scrubbed and offered again. Not modelled: it stays Released.
    Recycle,
}

impl ReclaimPolicy {
    /// As the API prints it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
            Self::Recycle => "Recycle",
        }
    }
}

/// Phase of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VolumePhase {
    /// Not looked at yet.
    #[default]
    Pending,
    /// Free.
    Available,
    /// Bound to a claim.
    Bound,
    /// Its claim is gone.
    Released,
    /// Could not be recycled or deleted.
    Failed,
}

impl VolumePhase {
    /// As the API prints it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Available => "Available",
            Self::Bound => "Bound",
            Self::Released => "Released",
            Self::Failed => "Failed",
        }
    }
}

/// Phase of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClaimPhase {
    /// Not bound.
    #[default]
    Pending,
    /// Bound to a volume.
    Bound,
    /// Its volume is gone.
    Lost,
}

impl ClaimPhase {
    /// As the API prints it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Bound => "Bound",
            Self::Lost => "Lost",
        }
    }
}

/// Where a volume's data is, as far as scheduling and attaching care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DiskSource {
    /// A CSI driver and its handle of the volume.
    Csi(Sym, Sym),
    /// A volume of an in-tree plugin that has a CSI successor: the plugin and the disk.
    InTree(&'static str, Sym),
    /// Anything else (local, hostPath, NFS, …): nothing counts it.
    #[default]
    Other,
}

/// Drivers of shared file systems: their volumes are mounted over the network, never attached
/// (source: `attachRequired: false` of the `CSIDriver` that each is deployed with).
const NEVER_ATTACHED: [&str; 2] = ["file.csi.azure.com", "pxd.portworx.com"];

impl DiskSource {
    /// The driver that attaches it and the driver's handle of it; none for what is mounted without
    /// being attached. Whether the driver wants it stands in its `CSIDriver`.
    #[must_use]
    pub fn disk(self) -> Option<(Sym, Sym)> {
        match self {
            Self::Csi(driver, handle) => Some((driver, handle)),
            Self::InTree(plugin, disk) => {
                let (_, driver) = MIGRATED.iter().find(|(p, _)| *p == plugin)?;
                (!NEVER_ATTACHED.contains(driver)).then(|| (Sym::new(driver), disk))
            }
            Self::Other => None,
        }
    }
}

/// What a volume is called in the status of nodes (source: `pkg/volume/util/util.go`
/// `GetUniqueVolumeName`).
#[must_use]
pub fn unique_name(driver: Sym, handle: Sym) -> Sym {
    Sym::new(&format!("kubernetes.io/csi/{driver}^{handle}"))
}

/// In-tree plugins and the CSI drivers that took them over
/// (source: `csi-translation-lib/plugins`).
pub const MIGRATED: &[(&str, &str)] = &[
    ("kubernetes.io/aws-ebs", "ebs.csi.aws.com"),
    ("kubernetes.io/gce-pd", "pd.csi.storage.gke.io"),
    ("kubernetes.io/azure-disk", "disk.csi.azure.com"),
    ("kubernetes.io/azure-file", "file.csi.azure.com"),
    ("kubernetes.io/cinder", "cinder.csi.openstack.org"),
    ("kubernetes.io/vsphere-volume", "csi.vsphere.vmware.com"),
    ("kubernetes.io/portworx-volume", "pxd.portworx.com"),
];

/// A reference from a volume to its claim. Without identity the user wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimRef {
    /// Namespace.
    pub ns: Sym,
    /// Name.
    pub name: Name,
    /// Identity, once bound.
    pub uid: Uid,
}

/// A `PersistentVolume`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PersistentVolume {
    /// Metadata.
    pub meta: Meta,
    /// `capacity.storage` in bytes.
    pub capacity: i64,
    /// `accessModes`.
    pub modes: AccessModes,
    /// `volumeMode: Block`.
    pub block: bool,
    /// `storageClassName`; empty for none.
    pub class: Sym,
    /// `volumeAttributesClassName`; empty for none.
    pub attributes: Sym,
    /// `persistentVolumeReclaimPolicy`.
    pub reclaim: ReclaimPolicy,
    /// `claimRef`.
    pub claim: Option<ClaimRef>,
    /// `nodeAffinity.required`: one of the terms must hold. None if not given.
    pub affinity: Option<Arc<[NodeSelectorTerm]>>,
    /// Where the data is.
    pub source: DiskSource,
    /// `status.phase`.
    pub phase: VolumePhase,
    /// The original document, if it came from a file.
    pub doc: Option<Arc<serde_json::Value>>,
}

impl PersistentVolume {
    /// True if it refers to this very claim (source: `IsVolumeBoundToClaim`).
    #[must_use]
    pub fn refers_to(&self, claim: &PersistentVolumeClaim) -> bool {
        self.claim.is_some_and(|r| {
            (r.ns, r.name) == (claim.meta.ns, claim.meta.name)
                && (r.uid == Uid::default() || r.uid == claim.meta.uid)
        })
    }

    /// True if nodes with these labels can reach it (source: `CheckNodeAffinity`, which knows no
    /// name of the node).
    #[must_use]
    pub fn reaches(&self, labels: LabelSet) -> bool {
        self.affinity.as_deref().is_none_or(|terms| {
            terms.iter().any(|t| {
                !(t.expressions.is_empty() && t.fields.is_empty())
                    && t.expressions.iter().all(|r| r.matches_value(labels.get(r.key)))
                    && t.fields.iter().all(|r| r.matches_value(Some(Sym::EMPTY)))
            })
        })
    }
}

/// A `PersistentVolumeClaim`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PersistentVolumeClaim {
    /// Metadata.
    pub meta: Meta,
    /// `accessModes`.
    pub modes: AccessModes,
    /// `resources.requests.storage` in bytes.
    pub request: i64,
    /// `volumeMode: Block`.
    pub block: bool,
    /// `storageClassName`; none if not given (the default class then applies), empty for
    /// volumes without a class.
    pub class: Option<Sym>,
    /// `volumeAttributesClassName`; empty for none.
    pub attributes: Sym,
    /// `selector`.
    pub selector: Option<Selector>,
    /// `volumeName`; empty until bound.
    pub volume: Name,
    /// `status.phase`.
    pub phase: ClaimPhase,
    /// `status.accessModes`, of the volume it is bound to.
    pub status_modes: AccessModes,
    /// `status.capacity.storage` in bytes, of the volume it is bound to.
    pub status_capacity: i64,
    /// The original document, if it came from a file.
    pub doc: Option<Arc<serde_json::Value>>,
}

/// What the claim of an ephemeral volume is made from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClaimTemplate(pub PersistentVolumeClaim);

// Nothing in a claim is unequal to itself.
impl Eq for ClaimTemplate {}

impl std::hash::Hash for ClaimTemplate {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.0.request, self.0.class, self.0.meta.labels).hash(state);
    }
}

impl PersistentVolumeClaim {
    /// The class in force (source: `GetPersistentVolumeClaimClass`).
    #[must_use]
    pub fn class_name(&self) -> Sym {
        self.meta
            .annotation(keys::BETA_CLASS)
            .map_or_else(|| self.class.unwrap_or_default(), Sym::new)
    }

    /// True if it names its volume and binding is complete.
    #[must_use]
    pub fn fully_bound(&self) -> bool {
        !self.volume.is_empty() && self.meta.annotation(keys::BIND_COMPLETED).is_some()
    }

    /// The node the scheduler has chosen.
    #[must_use]
    pub fn selected_node(&self) -> Option<&str> {
        self.meta.annotation(keys::SELECTED_NODE)
    }
}

/// A term of `allowedTopologies`: each label must have one of its values.
pub type TopologyTerm = Vec<(Sym, Vec<Sym>)>;

/// A `StorageClass`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StorageClass {
    /// Metadata.
    pub meta: Meta,
    /// `provisioner`.
    pub provisioner: Sym,
    /// `reclaimPolicy`.
    pub reclaim: ReclaimPolicy,
    /// `volumeBindingMode: WaitForFirstConsumer`.
    pub waits: bool,
    /// `allowedTopologies`.
    pub topologies: Vec<TopologyTerm>,
    /// The original document, if it came from a file.
    pub doc: Option<Arc<serde_json::Value>>,
}

impl StorageClass {
    /// True if claims that name no class get this one.
    #[must_use]
    pub fn is_default(&self) -> bool {
        let yes = |key: &str| self.meta.annotation(key) == Some("true");
        yes(keys::DEFAULT_CLASS) || yes(keys::BETA_DEFAULT_CLASS)
    }

    /// True if volumes may be made for nodes with these labels
    /// (source: `MatchTopologySelectorTerms`: an empty term is met by none).
    #[must_use]
    pub fn allows(&self, labels: LabelSet) -> bool {
        let meets = |term: &TopologyTerm| {
            !term.is_empty()
                && term.iter().all(|(key, values)| {
                    labels.get(*key).is_some_and(|value| values.contains(&value))
                })
        };
        self.topologies.is_empty() || self.topologies.iter().any(meets)
    }
}

/// Of several default classes the newest counts, then the smallest name
/// (source: `pkg/volume/util/storageclass.go` `GetDefaultClass`).
#[must_use]
pub fn default_class<'a>(
    classes: impl Iterator<Item = &'a Arc<StorageClass>>,
) -> Option<&'a Arc<StorageClass>> {
    classes.filter(|c| c.is_default()).min_by(|a, b| {
        let newest = b.meta.created.cmp(&a.meta.created);
        newest.then_with(|| a.meta.name.cmp_text(b.meta.name))
    })
}

/// A driver on a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CsiNodeDriver {
    /// Name of the driver.
    pub name: Sym,
    /// Node labels that make its topology.
    pub topology_keys: Vec<Sym>,
    /// `allocatable.count`: volumes it can attach; none for no limit.
    pub count: Option<i32>,
}

/// A `CSINode`: the drivers on the node of that name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CsiNode {
    /// Metadata.
    pub meta: Meta,
    /// Drivers.
    pub drivers: Vec<CsiNodeDriver>,
    /// The original document, if it came from a file.
    pub doc: Option<Arc<serde_json::Value>>,
}

impl CsiNode {
    /// The limit of a driver.
    #[must_use]
    pub fn limit(&self, driver: Sym) -> Option<i32> {
        self.drivers.iter().find(|d| d.name == driver).and_then(|d| d.count)
    }

    /// True if volumes of an in-tree plugin are handed to CSI on this node.
    #[must_use]
    pub fn migrates(&self, plugin: &str) -> bool {
        let list = self.meta.annotation(keys::MIGRATED_PLUGINS).unwrap_or_default();
        list.split(',').any(|p| p == plugin)
    }
}

/// A `CSIDriver`.
#[derive(Debug, Clone, PartialEq)]
pub struct CsiDriver {
    /// Metadata.
    pub meta: Meta,
    /// `attachRequired`: its volumes are attached to a node before they are mounted there.
    pub attaches: bool,
    /// `storageCapacity`: claims are placed only where it reports room.
    pub tracks_capacity: bool,
    /// The original document, if it came from a file.
    pub doc: Option<Arc<serde_json::Value>>,
}

impl Default for CsiDriver {
    fn default() -> Self {
        Self { meta: Meta::default(), attaches: true, tracks_capacity: false, doc: None }
    }
}

/// A `VolumeAttachment`: the wish that a driver attach a volume to a node, and whether it has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VolumeAttachment {
    /// Metadata.
    pub meta: Meta,
    /// `spec.attacher`: the driver.
    pub attacher: Sym,
    /// `spec.nodeName`.
    pub node: Sym,
    /// `spec.source.persistentVolumeName`; empty for a volume written into a pod.
    pub volume: Name,
    /// `status.attached`.
    pub attached: bool,
    /// The original document, if it came from a file.
    pub doc: Option<Arc<serde_json::Value>>,
}

/// A `CSIStorageCapacity`: room for volumes of a class in a segment of the topology.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CsiStorageCapacity {
    /// Metadata.
    pub meta: Meta,
    /// `storageClassName`.
    pub class: Sym,
    /// `nodeTopology`; none is reached from no node.
    pub topology: Option<Selector>,
    /// `capacity` in bytes.
    pub capacity: Option<i64>,
    /// `maximumVolumeSize` in bytes.
    pub maximum: Option<i64>,
    /// The original document, if it came from a file.
    pub doc: Option<Arc<serde_json::Value>>,
}

impl CsiStorageCapacity {
    /// The largest volume it has room for; the maximum size is the more precise word.
    #[must_use]
    pub fn limit(&self) -> Option<i64> {
        self.maximum.or(self.capacity)
    }
}

/// What a claim asks of a volume, short of the node: size, volume mode, attributes, not being
/// deleted. Source: `FindMatchingVolume`.
fn suits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    volume.capacity >= claim.request
        && volume.block == claim.block
        && volume.attributes == claim.attributes
        && !volume.meta.terminating()
}

/// The volume to bind to a claim: the one that was made for it, else the smallest available one
/// that fits. For the scheduler with the labels of a node; for the controller without, where
/// `waits` says that only volumes made for the claim are to be found. Of equal volumes the first is
/// taken. Source: component-helpers `storage/volume/pv_helpers.go` `FindMatchingVolume`.
pub fn find_matching<'a>(
    claim: &PersistentVolumeClaim,
    volumes: impl Iterator<Item = &'a Arc<PersistentVolume>>,
    node: Option<LabelSet>,
    waits: bool,
) -> Option<&'a Arc<PersistentVolume>> {
    let class = claim.class_name();
    let mut smallest: Option<&Arc<PersistentVolume>> = None;
    for volume in volumes {
        let own = volume.refers_to(claim);
        if volume.claim.is_some() && !own || !suits(volume, claim) {
            continue;
        }
        let reached = node.is_none_or(|labels| volume.reaches(labels));
        if own {
            return reached.then_some(volume);
        }
        let free = (node.is_some() || !waits)
            && volume.phase == VolumePhase::Available
            && claim.selector.as_ref().is_none_or(|s| s.matches(volume.meta.labels))
            && volume.class == class
            && reached
            && (node.is_none() || volume.modes.has(claim.modes));
        if free && smallest.is_none_or(|s| volume.capacity < s.capacity) {
            smallest = Some(volume);
        }
    }
    smallest
}

/// The volume bound to the claim, and whether that changes it
/// (source: `pv_helpers.go` `GetBindVolumeToClaim`).
#[must_use]
pub fn bind_volume_to_claim(
    volume: &PersistentVolume,
    claim: &PersistentVolumeClaim,
) -> (PersistentVolume, bool) {
    let mut bound = volume.clone();
    let wanted = ClaimRef { ns: claim.meta.ns, name: claim.meta.name, uid: claim.meta.uid };
    let mut dirty = bound.claim != Some(wanted);
    bound.claim = Some(wanted);
    let by_user = volume.refers_to(claim);
    if !by_user && bound.meta.annotation(keys::BOUND_BY_CONTROLLER).is_none() {
        bound.meta.set_annotation(keys::BOUND_BY_CONTROLLER, "yes");
        dirty = true;
    }
    (bound, dirty)
}
