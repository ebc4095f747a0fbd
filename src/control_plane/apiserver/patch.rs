//! Changes of an object, as functions from the old content to the new.

use crate::api::gpu::{self, Devices};
use crate::api::meta::{Meta, Owner, Uid};
use crate::api::node::{Node, NodeStatus, keys};
use crate::api::pod::{Condition, ConditionType, Pod, PodStatus, Taint, Truth};
use crate::api::request::ApiError;
use crate::api::workload::{Generic, PodTemplate};
use crate::api::{Kind, Obj, PodSpec};
use crate::engine::intern::Known;
use crate::engine::{SimTime, Sym};
use crate::event::Context;
use std::sync::Arc;

/// What an update may not change: identity, creation, deletion mark, resource version.
fn keep_identity(old: &Meta, new: &mut Meta) {
    new.uid = old.uid;
    new.created = old.created;
    new.deletion = old.deletion;
    new.generation = old.generation;
    new.resource_version = old.resource_version;
}

/// PUT: the new content with the old identity and status; the generation counts spec changes.
pub(super) fn replace(old: &Obj, mut new: Obj) -> Obj {
    if let (Some(before), Some(meta)) = (old.meta(), new.meta_mut()) {
        keep_identity(before, meta);
    }
    super::addresses::keep(old, &mut new);
    let mut new = status_of(&new, old);
    super::addresses::forget_balancer(&mut new);
    let raised = spec_differs(old, &new);
    if let Some(meta) = new.meta_mut().filter(|m| raised && m.generation > 0) {
        meta.generation += 1;
    }
    new
}

/// `kubectl apply`: as PUT, but finalizers and owners stay.
pub(super) fn apply(old: &Obj, mut new: Obj) -> Obj {
    if let (Some(before), Some(meta)) = (old.meta(), new.meta_mut()) {
        meta.finalizers.clone_from(&before.finalizers);
        meta.owners.clone_from(&before.owners);
    }
    super::admission::storage::keep_binding(old, &mut new);
    if let (Obj::Pod(before), Obj::Pod(pod)) = (old, &mut new) {
        Arc::make_mut(pod).node = before.node;
    }
    replace(old, new)
}

/// PUT to `/status`: the status, and for a Deployment its annotations, which its controller writes
/// together with it (recorded: the revision annotation).
pub(super) fn update_status(old: &Obj, new: &Obj) -> Obj {
    let mut out = status_of(old, new);
    if let (Obj::Deployment(o), Obj::Deployment(n)) = (&mut out, new) {
        Arc::make_mut(o).meta.annotations.clone_from(&n.meta.annotations);
    }
    out
}

/// The first object with the status of the second.
pub(in crate::control_plane) fn status_of(of: &Obj, from: &Obj) -> Obj {
    let mut out = of.clone();
    macro_rules! copy {
        ($($kind:ident)*) => {
            match (&mut out, from) {
                $((Obj::$kind(o), Obj::$kind(f)) => {
                    Arc::make_mut(o).status.clone_from(&f.status);
                })*
                (Obj::Namespace(o), Obj::Namespace(f)) => {
                    let o = Arc::make_mut(o);
                    o.terminating = f.terminating;
                    o.conditions.clone_from(&f.conditions);
                }
                (Obj::Generic(_, o), Obj::Generic(_, f))
                    if o.doc.get("status") != f.doc.get("status") =>
                {
                    document_status(Arc::make_mut(o), f);
                }
                (Obj::VolumeAttachment(o), Obj::VolumeAttachment(f)) => {
                    Arc::make_mut(o).attached = f.attached;
                }
                (Obj::PersistentVolume(o), Obj::PersistentVolume(f)) => {
                    Arc::make_mut(o).phase = f.phase;
                }
                (Obj::PersistentVolumeClaim(o), Obj::PersistentVolumeClaim(f)) => {
                    let o = Arc::make_mut(o);
                    (o.phase, o.status_modes, o.status_capacity) =
                        (f.phase, f.status_modes, f.status_capacity);
                }
                // Other kinds have no status in the model.
                _other => {}
            }
        };
    }
    copy!(Pod Node Deployment ReplicaSet ReplicationController StatefulSet DaemonSet Job CronJob
        HorizontalPodAutoscaler);
    out
}

/// The status of a document, of the kinds that are kept as documents.
fn document_status(of: &mut Generic, from: &Generic) {
    let status = from.doc.get("status").cloned();
    let Some(map) = Arc::make_mut(&mut of.doc).as_object_mut() else { return };
    match status {
        Some(status) => map.insert("status".to_owned(), status),
        None => map.remove("status"),
    };
}

/// Whether the spec differs (for a Deployment also its annotations: they raise its generation too).
fn spec_differs(old: &Obj, new: &Obj) -> bool {
    // Metadata and status aside, the rest is the spec.
    let mut bare = status_of(new, old);
    let annotations = matches!(new, Obj::Deployment(_));
    let (Some(before), Some(meta)) = (old.meta(), bare.meta_mut()) else { return false };
    let differs = annotations && meta.annotations != before.annotations;
    if let (Obj::Generic(_, a), Obj::Generic(_, b)) = (old, new) {
        // The document repeats the metadata.
        let fields = |g: &Generic| {
            let all = g.doc.as_object().into_iter().flatten();
            let own = all.filter(|(k, _)| !matches!(k.as_str(), "metadata" | "status"));
            own.map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>()
        };
        return fields(a) != fields(b);
    }
    *meta = before.clone();
    differs || bare != *old
}

/// The pod of an object, for writing.
fn pod_mut(obj: &mut Obj) -> Option<&mut Pod> {
    if let Obj::Pod(pod) = obj { Some(Arc::make_mut(pod)) } else { None }
}

/// The node of an object, for writing.
fn node_mut(obj: &mut Obj) -> Option<&mut Node> {
    if let Obj::Node(node) = obj { Some(Arc::make_mut(node)) } else { None }
}

/// `pods/binding`: refused if the pod is being deleted, bound or gated. Source: behaviour
/// reference §1.3.
pub(super) fn bind(
    old: &Obj,
    (node, devices): (Sym, Devices),
    cx: &Context<'_>,
) -> Result<Obj, ApiError> {
    let Obj::Pod(old) = old else { return Err(ApiError::NotFound) };
    let mut pod = Pod::clone(old);
    if pod.meta.deletion.is_some() || !pod.node.is_empty() || !pod.spec.gates.is_empty() {
        return Err(ApiError::Conflict);
    }
    pod.node = node;
    if !devices.is_empty() {
        pod.meta.set_annotation(gpu::INDEX, &devices.text());
    }
    pod.status.conditions.set(Condition {
        kind: ConditionType::PodScheduled,
        status: Truth::True,
        reason: Sym::EMPTY,
        message: Sym::EMPTY,
        transition: cx.stamp(),
    });
    if cx.version().pod_generation() {
        pod.status.nominated = Sym::EMPTY;
    }
    if cx.version().topology_labels_at_bind() {
        copy_topology(&mut pod, node, cx);
    }
    Ok(Obj::Pod(Arc::new(pod)))
}

static ZONE: Known = Known::new(keys::ZONE);
static REGION: Known = Known::new(keys::REGION);

/// `PodTopologyLabels`: the node's zone and region become labels of the pod.
fn copy_topology(pod: &mut Pod, node: Sym, cx: &Context<'_>) {
    let versions = cx.versions();
    let Some(object) = versions.find(Kind::Node, Sym::EMPTY, node.into()) else { return };
    let Some(Obj::Node(node)) = versions.current(Kind::Node, object) else { return };
    for key in [ZONE.sym(), REGION.sym()] {
        if let Some(value) = node.meta.labels.get(key) {
            pod.meta.labels = pod.meta.labels.with(key, value);
        }
    }
}

/// The kubelet's patch: conditions that others own stay as they are.
pub(super) fn pod_status(old: &Obj, status: PodStatus) -> Obj {
    let Obj::Pod(old) = old else { return old.clone() };
    let before = &old.status;
    let mut pod =
        Pod { meta: old.meta.clone(), spec: Arc::clone(&old.spec), node: old.node, status };
    // Terminal phases are final.
    if matches!(before.phase, crate::api::pod::Phase::Succeeded | crate::api::pod::Phase::Failed) {
        pod.status.phase = before.phase;
    }
    pod.status.qos = before.qos;
    pod.status.nominated = before.nominated;
    pod.status.resized.clone_from(&before.resized);
    let reported = std::mem::replace(&mut pod.status.conditions, before.conditions.clone());
    for condition in reported.iter() {
        pod.status.conditions.set(condition);
    }
    Obj::Pod(Arc::new(pod))
}

/// One condition, and the nominated node if given.
pub(super) fn pod_condition(old: &Obj, condition: Condition, nominated: Option<Sym>) -> Obj {
    let mut new = old.clone();
    if let Some(pod) = pod_mut(&mut new) {
        pod.status.conditions.set(condition);
        if let Some(node) = nominated {
            pod.status.nominated = node;
        }
    }
    new
}

/// `nominatedNodeName`.
pub(super) fn nominate(old: &Obj, node: Sym) -> Obj {
    let mut new = old.clone();
    if let Some(pod) = pod_mut(&mut new) {
        pod.status.nominated = node;
    }
    new
}

/// The node's status as a whole.
pub(super) fn node_status(old: &Obj, status: NodeStatus) -> Obj {
    let mut new = old.clone();
    if let Some(node) = node_mut(&mut new) {
        let before = std::mem::replace(&mut node.status, status);
        let reported = std::mem::take(&mut node.status.conditions);
        node.status.conditions = before.conditions;
        // The attach-detach controller's.
        node.status.volumes_attached = before.volumes_attached;
        for condition in reported.iter() {
            node.status.conditions.set(condition);
        }
    }
    new
}

/// `volumesAttached`, as the attach-detach controller has it.
pub(in crate::control_plane) fn volumes_attached(old: &Obj, volumes: Arc<[Sym]>) -> Obj {
    let mut new = old.clone();
    if let Some(node) = node_mut(&mut new) {
        node.status.volumes_attached = volumes;
    }
    new
}

/// The times of the last heartbeat, and nothing else.
pub(super) fn heartbeat(old: &Obj, at: SimTime) -> Obj {
    let mut new = old.clone();
    if let Some(node) = node_mut(&mut new) {
        node.status.heartbeat_ns = at.0;
    }
    new
}

/// Taints taken away, then added.
pub(super) fn node_taints(old: &Obj, remove: &[Taint], add: &[Taint]) -> Obj {
    let mut new = old.clone();
    if let Some(node) = node_mut(&mut new) {
        let same = |a: &Taint, b: &Taint| a.key == b.key && a.effect == b.effect;
        let mut taints: Vec<Taint> = node
            .taints
            .iter()
            .copied()
            .filter(|taint| !remove.iter().any(|r| same(r, taint)))
            .collect();
        for taint in add {
            if !taints.iter().any(|t| same(t, taint)) {
                taints.push(*taint);
            }
        }
        node.taints = taints.into();
    }
    new
}

/// `kubectl cordon`.
pub(super) fn cordon(old: &Obj, on: bool) -> Obj {
    let mut new = old.clone();
    if let Some(node) = node_mut(&mut new) {
        node.unschedulable = on;
    }
    new
}

/// `/scale`.
pub(in crate::control_plane) fn scale(old: &Obj, replicas: i32) -> Result<Obj, ApiError> {
    let mut new = old.clone();
    let of = if let Obj::Deployment(o) = &mut new {
        &mut Arc::make_mut(o).replicas
    } else if let Obj::ReplicaSet(o) | Obj::ReplicationController(o) = &mut new {
        &mut Arc::make_mut(o).replicas
    } else if let Obj::StatefulSet(o) = &mut new {
        &mut Arc::make_mut(o).replicas
    } else {
        return Err(ApiError::NotFound);
    };
    *of = replicas;
    Ok(replace(old, new))
}

/// `kubectl set image` on a template.
pub(super) fn set_image(old: &Obj, container: Sym, image: Sym) -> Result<Obj, ApiError> {
    let mut new = old.clone();
    let template = if let Obj::Deployment(o) = &mut new {
        &mut Arc::make_mut(o).template
    } else if let Obj::ReplicaSet(o) | Obj::ReplicationController(o) = &mut new {
        &mut Arc::make_mut(o).template
    } else if let Obj::StatefulSet(o) = &mut new {
        &mut Arc::make_mut(o).template
    } else if let Obj::DaemonSet(o) = &mut new {
        &mut Arc::make_mut(o).template
    } else {
        return Err(ApiError::NotFound);
    };
    let mut changed = PodTemplate::clone(template);
    let mut spec = PodSpec::clone(&changed.spec);
    let mut found = false;
    for c in &mut spec.containers {
        if container.is_empty() || c.name == container {
            c.image = image;
            found = true;
        }
    }
    if !found {
        let text = format!("unable to find container named \"{container}\"");
        return Err(ApiError::Invalid(Sym::new(&text)));
    }
    if let Some(doc) = &mut spec.doc {
        image_in_document(Arc::make_mut(doc), container, image);
    }
    changed.spec = Arc::new(spec);
    *template = Arc::new(changed);
    Ok(replace(old, new))
}

/// The same change in the original document.
fn image_in_document(doc: &mut serde_json::Value, container: Sym, image: Sym) {
    let Some(list) = doc.get_mut("containers").and_then(|c| c.as_array_mut()) else { return };
    for entry in list {
        let named = entry.get("name").and_then(|n| n.as_str()) == Some(container.as_str());
        if container.is_empty() || named {
            entry["image"] = serde_json::Value::from(image.as_str());
        }
    }
}

/// `spec.podCIDR`, which is set once.
pub(in crate::control_plane) fn pod_cidr(old: &Obj, cidr: Sym) -> Obj {
    let mut new = old.clone();
    if let Some(node) = node_mut(&mut new).filter(|n| n.pod_cidr.is_empty()) {
        node.pod_cidr = cidr;
    }
    new
}

/// One more owner. An object has one controller at most.
pub(in crate::control_plane) fn add_owner(
    old: &Obj,
    owner: Owner,
    uid: Uid,
    finalizer: Option<Sym>,
) -> Result<Obj, ApiError> {
    let mut new = old.clone();
    let meta = new.meta_mut().ok_or(ApiError::NotFound)?;
    if meta.uid != uid {
        return Err(ApiError::Conflict);
    }
    let others = meta.owners.as_deref().unwrap_or_default();
    if others.iter().any(|o| o.uid == owner.uid) {
        return Ok(new);
    }
    if owner.controller && others.iter().any(|o| o.controller) {
        let text = "metadata.ownerReferences: Only one reference can have Controller set to true";
        return Err(ApiError::Invalid(Sym::new(text)));
    }
    meta.owners = Some(others.iter().copied().chain([owner]).collect());
    if let Some(finalizer) = finalizer.filter(|f| !meta.has_finalizer(f.as_str())) {
        let held = meta.finalizers.as_deref().unwrap_or_default();
        meta.finalizers = Some(held.iter().copied().chain([finalizer]).collect());
    }
    Ok(new)
}

/// Owner references without these identities.
pub(in crate::control_plane) fn remove_owners(old: &Obj, uids: &[Uid]) -> Obj {
    let mut new = old.clone();
    if let Some(meta) = new.meta_mut() {
        let left: Vec<_> = meta
            .owners
            .as_deref()
            .unwrap_or_default()
            .iter()
            .copied()
            .filter(|o| !uids.contains(&o.uid))
            .collect();
        meta.owners = (!left.is_empty()).then(|| left.into());
    }
    new
}
