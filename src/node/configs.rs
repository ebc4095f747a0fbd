//! ConfigMaps and Secrets at the node. The environment of a container is made when it is created,
//! from what is there then: a missing one holds the container (`CreateContainerConfigError`), a
//! later change never reaches it. A volume gets new content with the pod's next sync by its own
//! clock, since the kubelet watches what its pods have mounted; a file mounted by `subPath` never
//! does. Sources: `kubelet_pods.go` `makeEnvironmentVariables`, `configmap_manager.go`,
//! `pod_workers.go`.

use super::NodeAgent;
use super::kubelet::{event, trace};
use super::mounts::Changed;
use super::worker::Worker;
use super::{mounts, pulls};
use crate::api::kevent::Text;
use crate::api::pod::{ConfigUse, VolumeSource};
use crate::api::request::Op;
use crate::api::storage::{PersistentVolumeClaim, unique_name};
use crate::api::versions::Change;
use crate::api::{Kind, Name, Obj};
use crate::engine::Sym;
use crate::engine::intern::Known;
use crate::event::{Context, NodeEvent};
use serde_json::Value;
use std::sync::Arc;

static GROWN: Known = Known::new("FileSystemResizeSuccessful");

/// True if the object has the key.
pub(super) fn has_key(object: &Obj, key: &str) -> bool {
    let Obj::Generic(_, held) = object else { return false };
    let fields = ["data", "binaryData", "stringData"];
    fields.iter().any(|field| held.doc.get(field).and_then(|d| d.get(key)).is_some())
}

/// What is missing of one thing that an environment names, as the message says it.
fn missing(of: ConfigUse, ns: Sym, cx: &Context<'_>) -> Option<String> {
    let kind = if of.secret { Kind::Secret } else { Kind::ConfigMap };
    let versions = cx.versions();
    let object = versions.find(kind, ns, of.name.into());
    let found = object.and_then(|o| versions.current(kind, o));
    let why = match found {
        None => format!("{} \"{}\" not found", kind.name().to_lowercase(), of.name),
        Some(found) if !of.key.is_empty() && !has_key(found, of.key.as_str()) => {
            format!("couldn't find key {} in {} {ns}/{}", of.key, kind.name(), of.name)
        }
        Some(_) => return None,
    };
    (!of.optional).then_some(why)
}

/// A container is about to be created: true if something that its environment is made from is
/// missing, and it is held.
pub(super) fn lacks(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) -> bool {
    let Some(worker) = node.workers.get(id) else { return false };
    let uses = &worker.container(i).config;
    if uses.is_empty() {
        return false;
    }
    let ns = worker.ns;
    let Some(why) = uses.iter().find_map(|of| missing(*of, ns, cx)) else {
        pulls::content(node, id, i);
        return false;
    };
    let text = Text::Plain(Sym::new(&format!("Error: {why}")));
    trace(node, id, "what the environment is made from is missing", cx);
    pulls::unconfigured(node, id, i, cx);
    event(node, id, &pulls::FAILED, text, cx);
    true
}

/// True if some container sees the volume as a whole, and not only a file of it.
fn seen(worker: &Worker, volume: u16) -> bool {
    let name = worker.spec.volumes[usize::from(volume)].name;
    let Some(doc) = worker.spec.doc.as_deref() else { return true };
    let lists = ["containers", "initContainers"].into_iter().filter_map(|l| doc.get(l)?.as_array());
    let mounts = lists.flatten().filter_map(|c| c.get("volumeMounts")?.as_array()).flatten();
    let whole = |m: &Value| m.get("subPath").is_none() && m.get("subPathExpr").is_none();
    let ours = |m: &&Value| m.get("name").and_then(Value::as_str) == Some(name.as_str());
    mounts.filter(ours).any(whole)
}

/// A ConfigMap or Secret that the kubelet watches has changed. A volume keeps what it has when its
/// object is deleted.
pub(super) fn on_change(node: &mut NodeAgent, change: &Change, cx: &mut Context<'_>) {
    let (kind, (ns, name)) = (change.value.kind(), change.value.key());
    if change.deleted {
        return;
    }
    let changed = if let Obj::PersistentVolume(volume) = &change.value {
        let Some((driver, handle)) = volume.source.disk() else { return };
        Changed::Disk(unique_name(driver, handle))
    } else {
        Changed::Config(kind, name.sym())
    };
    for id in node.workers.ids() {
        if node.workers.get(id).is_none_or(|w| w.ns != ns && !ns.is_empty()) {
            continue;
        }
        for (volume, wait) in mounts::outdated(node, id, changed, cx) {
            node.schedule(wait, NodeEvent::Refreshed { pod: id, volume }, cx);
        }
    }
}

/// A sync has brought the new content.
pub(super) fn refreshed(node: &mut NodeAgent, id: u32, volume: u16, cx: &mut Context<'_>) {
    let up = node.kubelet_up;
    let (news, disk) = mounts::refreshed(node, id, volume);
    if !news || !up {
        return;
    }
    if disk {
        return grow(node, id, volume, cx);
    }
    if node.workers.get(id).is_some_and(|w| seen(w, volume)) {
        trace(node, id, "its containers see the new content of a volume", cx);
    }
}

/// A disk is mounted, or a sync looks at one that has become larger: its file system grows, and the
/// claim is told (source: `operation_generator.go` `nodeExpandVolume`). From then on the kubelet
/// hears of its size.
pub(super) fn grow(node: &mut NodeAgent, id: u32, volume: u16, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let of = &worker.spec.volumes[usize::from(volume)];
    let ns = worker.ns;
    let name = if let VolumeSource::Claim(name, _) = of.source {
        name.into()
    } else if matches!(of.source, VolumeSource::Ephemeral(_)) {
        Name::new(&format!("{}-{}", worker.name, of.name))
    } else {
        return;
    };
    let versions = cx.versions();
    let find = |kind, ns, name| {
        let object = versions.find(kind, ns, name)?;
        Some((object, versions.current(kind, object)?))
    };
    let Some((object, Obj::PersistentVolumeClaim(claim))) =
        find(Kind::PersistentVolumeClaim, ns, name)
    else {
        return;
    };
    let disk = find(Kind::PersistentVolume, Sym::EMPTY, claim.volume);
    let Some((_, Obj::PersistentVolume(disk))) = disk else { return };
    let (called, size) = (disk.meta.name, disk.capacity);
    let grows = size > claim.status_capacity && claim.request > claim.status_capacity;
    let grown = PersistentVolumeClaim { status_capacity: size, ..(**claim).clone() };
    mounts::heed(node, (Kind::PersistentVolume, Sym::EMPTY, called));
    if !grows {
        return;
    }
    let text = format!("MountVolume.NodeExpandVolume succeeded for volume \"{called}\"");
    trace(node, id, "the file system of a disk grows", cx);
    event(node, id, &GROWN, Text::Plain(Sym::new(&text)), cx);
    let op = Op::UpdateStatus(Obj::PersistentVolumeClaim(Arc::new(grown)));
    node.submit(Kind::PersistentVolumeClaim, ns, name, Some(object), op, None, cx);
}
