//! From k8s-openapi types to the simulator's compact ones: storage.

use super::convert::{meta, quantity, selector, sym, uid};
use super::convert_pod::node_term;
use super::path::{At, Problems};
use crate::api::storage::{
    AccessModes, ClaimPhase, ClaimRef, CsiDriver, CsiNode, CsiNodeDriver, CsiStorageCapacity,
    DiskSource, PersistentVolume, PersistentVolumeClaim, ReclaimPolicy, StorageClass,
    VolumeAttachment, VolumePhase, keys,
};
use crate::api::{Meta, Name};
use crate::engine::Sym;
use k8s_openapi::api::{core::v1 as core, storage::v1 as storage};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

fn modes(list: Option<&Vec<String>>) -> AccessModes {
    AccessModes::of(list.into_iter().flatten().map(String::as_str))
}

fn bytes(list: Option<&BTreeMap<String, Text>>, at: &At<'_>, problems: &mut Problems) -> i64 {
    let text = list.and_then(|l| l.get("storage"));
    text.map_or(0, |t| quantity(t, &at.key("storage"), problems).value())
}

fn reclaim(policy: Option<&String>, default: ReclaimPolicy) -> ReclaimPolicy {
    match policy.map(String::as_str) {
        Some("Delete") => ReclaimPolicy::Delete,
        Some("Recycle") => ReclaimPolicy::Recycle,
        Some(_) => ReclaimPolicy::Retain,
        None => default,
    }
}

/// A `PersistentVolume`.
pub(crate) fn volume(
    v: &core::PersistentVolume,
    doc: &Value,
    problems: &mut Problems,
) -> PersistentVolume {
    let spec = v.spec.clone().unwrap_or_default();
    let at = At::ROOT.key("spec");
    let meta = meta(false, &v.metadata);
    let class = beta_class(&meta).unwrap_or_else(|| sym(spec.storage_class_name.as_ref()));
    let required = spec.node_affinity.as_ref().and_then(|a| a.required.as_ref());
    let phase = v.status.as_ref().and_then(|s| s.phase.as_deref());
    PersistentVolume {
        meta,
        capacity: bytes(spec.capacity.as_ref(), &at.key("capacity"), problems),
        modes: modes(spec.access_modes.as_ref()),
        block: spec.volume_mode.as_deref() == Some("Block"),
        class,
        attributes: sym(spec.volume_attributes_class_name.as_ref()),
        reclaim: reclaim(spec.persistent_volume_reclaim_policy.as_ref(), ReclaimPolicy::Retain),
        claim: spec.claim_ref.as_ref().map(|r| ClaimRef {
            ns: sym(r.namespace.as_ref()),
            name: Name::new(r.name.as_deref().unwrap_or_default()),
            uid: uid(r.uid.as_ref()),
        }),
        affinity: required.map(|r| r.node_selector_terms.iter().map(node_term).collect()),
        source: source(&spec),
        phase: match phase {
            Some("Available") => VolumePhase::Available,
            Some("Bound") => VolumePhase::Bound,
            Some("Released") => VolumePhase::Released,
            Some("Failed") => VolumePhase::Failed,
            _ => VolumePhase::Pending,
        },
        doc: Some(Arc::new(doc.clone())),
    }
}

fn beta_class(meta: &Meta) -> Option<Sym> {
    meta.annotation(keys::BETA_CLASS).map(Sym::new)
}

/// Where the data is; disks of in-tree plugins by what identifies them.
fn source(spec: &core::PersistentVolumeSpec) -> DiskSource {
    let in_tree = |plugin, disk: &str| DiskSource::InTree(plugin, Sym::new(disk));
    if let Some(csi) = &spec.csi {
        DiskSource::Csi(Sym::new(&csi.driver), Sym::new(&csi.volume_handle))
    } else if let Some(d) = &spec.aws_elastic_block_store {
        // `aws://ZONE/vol-ID` and `vol-ID` are the same disk.
        in_tree("kubernetes.io/aws-ebs", d.volume_id.rsplit('/').next().unwrap_or_default())
    } else if let Some(d) = &spec.gce_persistent_disk {
        in_tree("kubernetes.io/gce-pd", &d.pd_name)
    } else if let Some(d) = &spec.azure_disk {
        in_tree("kubernetes.io/azure-disk", &d.disk_uri)
    } else if let Some(d) = &spec.azure_file {
        in_tree("kubernetes.io/azure-file", &d.share_name)
    } else if let Some(d) = &spec.cinder {
        in_tree("kubernetes.io/cinder", &d.volume_id)
    } else if let Some(d) = &spec.vsphere_volume {
        in_tree("kubernetes.io/vsphere-volume", &d.volume_path)
    } else if let Some(d) = &spec.portworx_volume {
        in_tree("kubernetes.io/portworx-volume", &d.volume_id)
    } else {
        DiskSource::Other
    }
}

/// A claim's spec and metadata: also of `volumeClaimTemplates` and ephemeral volumes.
pub(crate) fn claim(
    c: &core::PersistentVolumeClaim,
    doc: &Value,
    problems: &mut Problems,
) -> PersistentVolumeClaim {
    let spec = c.spec.clone().unwrap_or_default();
    let at = At::ROOT.key("spec");
    let requests = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
    let status = c.status.clone().unwrap_or_default();
    let capacity = At::ROOT.key("status");
    PersistentVolumeClaim {
        meta: meta(true, &c.metadata),
        modes: modes(spec.access_modes.as_ref()),
        request: bytes(requests, &at.key("resources").key("requests"), problems),
        block: spec.volume_mode.as_deref() == Some("Block"),
        class: spec.storage_class_name.as_ref().map(|n| Sym::new(n)),
        attributes: sym(spec.volume_attributes_class_name.as_ref()),
        selector: spec.selector.as_ref().map(selector),
        volume: Name::new(spec.volume_name.as_deref().unwrap_or_default()),
        phase: match status.phase.as_deref() {
            Some("Bound") => ClaimPhase::Bound,
            Some("Lost") => ClaimPhase::Lost,
            _ => ClaimPhase::Pending,
        },
        status_modes: modes(status.access_modes.as_ref()),
        status_capacity: bytes(status.capacity.as_ref(), &capacity.key("capacity"), problems),
        doc: Some(Arc::new(doc.clone())),
    }
}

/// A `StorageClass`.
pub(crate) fn class(c: &storage::StorageClass, doc: &Value) -> StorageClass {
    let term = |t: &core::TopologySelectorTerm| {
        let pair = |e: &core::TopologySelectorLabelRequirement| {
            (Sym::new(&e.key), e.values.iter().map(|v| Sym::new(v)).collect())
        };
        t.match_label_expressions.iter().flatten().map(pair).collect()
    };
    StorageClass {
        meta: meta(false, &c.metadata),
        provisioner: Sym::new(&c.provisioner),
        reclaim: reclaim(c.reclaim_policy.as_ref(), ReclaimPolicy::Delete),
        waits: c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
        topologies: c.allowed_topologies.iter().flatten().map(term).collect(),
        doc: Some(Arc::new(doc.clone())),
    }
}

/// A `CSINode`.
pub(crate) fn csi_node(n: &storage::CSINode, doc: &Value) -> CsiNode {
    let driver = |d: &storage::CSINodeDriver| CsiNodeDriver {
        name: Sym::new(&d.name),
        topology_keys: d.topology_keys.iter().flatten().map(|k| Sym::new(k)).collect(),
        count: d.allocatable.as_ref().and_then(|a| a.count),
    };
    CsiNode {
        meta: meta(false, &n.metadata),
        drivers: n.spec.drivers.iter().map(driver).collect(),
        doc: Some(Arc::new(doc.clone())),
    }
}

/// A `CSIDriver`.
pub(crate) fn csi_driver(d: &storage::CSIDriver, doc: &Value) -> CsiDriver {
    CsiDriver {
        meta: meta(false, &d.metadata),
        attaches: d.spec.attach_required.unwrap_or(true),
        tracks_capacity: d.spec.storage_capacity.unwrap_or(false),
        doc: Some(Arc::new(doc.clone())),
    }
}

/// A `VolumeAttachment`.
pub(crate) fn attachment(a: &storage::VolumeAttachment, doc: &Value) -> VolumeAttachment {
    VolumeAttachment {
        meta: meta(false, &a.metadata),
        attacher: Sym::new(&a.spec.attacher),
        node: Sym::new(&a.spec.node_name),
        volume: Name::new(a.spec.source.persistent_volume_name.as_deref().unwrap_or_default()),
        attached: a.status.as_ref().is_some_and(|s| s.attached),
        doc: Some(Arc::new(doc.clone())),
    }
}

/// A `CSIStorageCapacity`.
pub(crate) fn csi_capacity(
    c: &storage::CSIStorageCapacity,
    doc: &Value,
    problems: &mut Problems,
) -> CsiStorageCapacity {
    let mut amount = |text: Option<&Text>, key: &str| {
        text.map(|t| quantity(t, &At::ROOT.key(key), problems).value())
    };
    CsiStorageCapacity {
        meta: meta(true, &c.metadata),
        class: Sym::new(&c.storage_class_name),
        topology: c.node_topology.as_ref().map(selector),
        capacity: amount(c.capacity.as_ref(), "capacity"),
        maximum: amount(c.maximum_volume_size.as_ref(), "maximumVolumeSize"),
        doc: Some(Arc::new(doc.clone())),
    }
}
