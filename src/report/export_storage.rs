//! Storage objects back to documents.

use super::export::{base, selector, whole, with_spec};
use super::export_pod::{node_term, put};
use crate::api::Name;
use crate::api::storage::{
    CsiDriver, CsiNode, CsiStorageCapacity, DiskSource, PersistentVolume, PersistentVolumeClaim,
    StorageClass, VolumeAttachment,
};
use crate::engine::Sym;
use serde_json::{Map, Value, json};

type Object = Map<String, Value>;

/// An amount of bytes, in the largest binary unit that leaves it whole.
fn amount(bytes: i64) -> String {
    let units = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let (mut n, mut unit) = (bytes, 0);
    while n != 0 && n % 1024 == 0 && unit + 1 < units.len() {
        n /= 1024;
        unit += 1;
    }
    format!("{n}{}", units[unit])
}

fn text(sym: Sym) -> Option<&'static str> {
    (!sym.is_empty()).then(|| sym.as_str())
}

fn name(name: Name) -> Option<String> {
    (!name.is_empty()).then(|| name.to_string())
}

fn mode(block: bool) -> &'static str {
    if block { "Block" } else { "Filesystem" }
}

pub(super) fn volume(o: &PersistentVolume) -> Object {
    let (doc, mut spec) = with_spec(&o.doc);
    let made = doc.is_empty();
    if made {
        spec.insert("capacity".into(), json!({"storage": amount(o.capacity)}));
        spec.insert("accessModes".into(), o.modes.names().collect());
        spec.insert("persistentVolumeReclaimPolicy".into(), o.reclaim.as_str().into());
        spec.insert("volumeMode".into(), mode(o.block).into());
        put(&mut spec, "storageClassName", text(o.class));
        put(&mut spec, "volumeAttributesClassName", text(o.attributes));
        let terms = o.affinity.as_deref().map(|t| t.iter().map(node_term).collect::<Vec<_>>());
        put(
            &mut spec,
            "nodeAffinity",
            terms.map(|t| json!({"required": {"nodeSelectorTerms": t}})),
        );
        if let DiskSource::Csi(driver, handle) = o.source {
            spec.insert("csi".into(), json!({"driver": driver, "volumeHandle": handle}));
        }
    }
    spec.remove("claimRef");
    let claim = o.claim.map(|r| {
        let mut out = Object::new();
        out.insert("apiVersion".into(), "v1".into());
        out.insert("kind".into(), "PersistentVolumeClaim".into());
        out.insert("name".into(), r.name.to_string().into());
        out.insert("namespace".into(), r.ns.as_str().into());
        put(&mut out, "uid", (r.uid.0 != 0).then(|| r.uid.to_string()));
        out
    });
    put(&mut spec, "claimRef", claim);
    let mut status = Object::new();
    status.insert("phase".into(), o.phase.as_str().into());
    whole(doc, spec, status)
}

pub(super) fn claim(o: &PersistentVolumeClaim) -> Object {
    let (doc, mut spec) = with_spec(&o.doc);
    if doc.is_empty() {
        let requests = json!({"requests": {"storage": amount(o.request)}});
        spec.insert("resources".into(), requests);
        spec.insert("accessModes".into(), o.modes.names().collect());
        spec.insert("volumeMode".into(), mode(o.block).into());
        put(&mut spec, "selector", o.selector.as_ref().map(selector));
        put(&mut spec, "volumeAttributesClassName", text(o.attributes));
    }
    put(&mut spec, "storageClassName", o.class.map(|c| c.as_str()));
    put(&mut spec, "volumeName", name(o.volume));
    let mut status = Object::new();
    status.insert("phase".into(), o.phase.as_str().into());
    if o.status_capacity > 0 {
        status.insert("accessModes".into(), o.status_modes.names().collect());
        status.insert("capacity".into(), json!({"storage": amount(o.status_capacity)}));
    }
    whole(doc, spec, status)
}

pub(super) fn class(o: &StorageClass) -> Object {
    let mut doc = base(o.doc.as_ref());
    doc.insert("provisioner".into(), o.provisioner.as_str().into());
    doc.insert("reclaimPolicy".into(), o.reclaim.as_str().into());
    let binding = if o.waits { "WaitForFirstConsumer" } else { "Immediate" };
    doc.insert("volumeBindingMode".into(), binding.into());
    doc
}

pub(super) fn csi_node(o: &CsiNode) -> Object {
    let mut doc = base(o.doc.as_ref());
    if doc.is_empty() {
        let drivers = o.drivers.iter().map(|d| {
            let mut out = Object::new();
            out.insert("name".into(), d.name.as_str().into());
            out.insert("nodeID".into(), o.meta.name.to_string().into());
            out.insert("topologyKeys".into(), d.topology_keys.iter().map(|k| k.as_str()).collect());
            put(&mut out, "allocatable", d.count.map(|n| json!({"count": n})));
            Value::from(out)
        });
        doc.insert("spec".into(), json!({"drivers": drivers.collect::<Vec<_>>()}));
    }
    doc
}

pub(super) fn csi_driver(o: &CsiDriver) -> Object {
    base(o.doc.as_ref())
}

pub(super) fn attachment(o: &VolumeAttachment) -> Object {
    let (doc, mut spec) = with_spec(&o.doc);
    if doc.is_empty() {
        spec.insert("attacher".into(), o.attacher.as_str().into());
        spec.insert("nodeName".into(), o.node.as_str().into());
        let mut source = Object::new();
        put(&mut source, "persistentVolumeName", name(o.volume));
        spec.insert("source".into(), source.into());
    }
    let mut status = Object::new();
    status.insert("attached".into(), o.attached.into());
    whole(doc, spec, status)
}

pub(super) fn csi_capacity(o: &CsiStorageCapacity) -> Object {
    base(o.doc.as_ref())
}
