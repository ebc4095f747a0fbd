//! Static pods: what lies in a node's manifest directory runs, whatever the API server says. For
//! each of them the kubelet makes a mirror pod in the API, under the pod's name with the node's
//! behind it; deleting the mirror stops nothing, it is made again. Sources: behaviour reference
//! §4.13; `pkg/kubelet/pod/mirror_client.go`, `config/common.go` `applyDefaults`.

use super::NodeAgent;
use super::kubelet::{admit, report};
use crate::api::meta::Owner;
use crate::api::pod::{Effect, Pod, PodStatus, Toleration};
use crate::api::request::Op;
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, Meta, Name, Obj, Uid};
use crate::engine::Sym;
use crate::engine::digest::mix;
use crate::event::Context;
use std::sync::Arc;

const MIRROR: &str = "kubernetes.io/config.mirror";
const SOURCE: &str = "kubernetes.io/config.source";
const HASH: &str = "kubernetes.io/config.hash";
/// Slot of pods that no object stands for.
const NOWHERE: u32 = u32::MAX;

/// True while no object in the API stands for this pod.
pub(super) fn unmirrored(object: ObjRef) -> bool {
    object.slot == NOWHERE
}

fn nowhere(row: usize) -> ObjRef {
    ObjRef { slot: NOWHERE, generation: u32::try_from(row).unwrap_or(u32::MAX) }
}

/// The pod as its node knows it.
fn of(node: &NodeAgent, row: usize) -> Option<Pod> {
    let from = node.setup.statics.get(row)?;
    let name = Name::new(&format!("{}-{}", from.meta.name, node.setup.name));
    let uid = mix(mix(from.meta.ns.stable_hash(), name.stable_hash()), 0x57A7);
    let mut meta = Meta { name, uid: Uid(uid), ..from.meta.clone() };
    meta.set_annotation(SOURCE, "file");
    meta.set_annotation(HASH, &format!("{uid:016x}"));
    let mut spec = (*from.spec).clone();
    // A static pod tolerates whatever would end it.
    spec.tolerations.push(Toleration {
        exists: true,
        effect: Some(Effect::NoExecute),
        ..Toleration::default()
    });
    spec.node_name = node.setup.name;
    let status = PodStatus { qos: spec.qos(), ..PodStatus::default() };
    Some(Pod { meta, spec: Arc::new(spec), node: node.setup.name, status })
}

/// The row of a static pod by the name of its mirror.
fn row_of(node: &NodeAgent, ns: Sym, name: Name) -> Option<usize> {
    let text = name.to_string();
    let base = text.strip_suffix(node.setup.name.as_str())?.strip_suffix('-')?;
    node.setup.statics.iter().position(|p| p.meta.ns == ns && p.meta.name.to_string() == base)
}

/// The worker of a static pod by its name.
fn worker(node: &NodeAgent, ns: Sym, name: Name) -> Option<u32> {
    let all = node.workers.ids();
    all.into_iter().find(|&id| node.workers.get(id).is_some_and(|w| (w.ns, w.name) == (ns, name)))
}

/// The kubelet starts: what lies in its directory runs, unless it does already.
pub(super) fn start(node: &mut NodeAgent, cx: &mut Context<'_>) {
    for row in 0..node.setup.statics.len() {
        let Some(pod) = of(node, row) else { continue };
        if worker(node, pod.meta.ns, pod.meta.name).is_some() {
            continue;
        }
        let pod = Arc::new(pod);
        admit(node, nowhere(row), &pod, cx);
        // A mirror of an earlier life is listed right after this.
        if cx.versions().find(Kind::Pod, pod.meta.ns, pod.meta.name).is_none() {
            mirror(node, &pod, cx);
        }
    }
}

/// Makes the mirror. If there is one already, the watch has shown it or will.
fn mirror(node: &mut NodeAgent, pod: &Pod, cx: &mut Context<'_>) {
    let mut mirror = pod.clone();
    let (ns, name) = (mirror.meta.ns, mirror.meta.name);
    let hash = mirror.meta.annotation(HASH).unwrap_or_default().to_owned();
    mirror.meta.set_annotation(MIRROR, &hash);
    let own = Name::new(node.setup.name.as_str());
    let versions = cx.versions();
    let object = versions.find(Kind::Node, Sym::EMPTY, own);
    let uid = object.and_then(|o| versions.current(Kind::Node, o)?.meta().map(|m| m.uid));
    mirror.meta.owners = uid.map(|uid| {
        let (kind, name) = (Kind::Node, own);
        Arc::from([Owner { kind, name, uid, controller: true, block_owner_deletion: false }])
    });
    mirror.meta.uid = Uid(0);
    let op = Op::Create { object: Obj::Pod(Arc::new(mirror)), generate: false };
    node.submit(Kind::Pod, ns, name, None, op, None, cx);
}

/// A pod of this node has changed in the API; true if it is a mirror, and looked after here.
pub(super) fn on_pod(
    node: &mut NodeAgent,
    change: &Change,
    pod: &Arc<Pod>,
    cx: &mut Context<'_>,
) -> bool {
    if node.setup.statics.is_empty() || pod.meta.annotation(MIRROR).is_none() {
        return false;
    }
    let (ns, name) = (pod.meta.ns, pod.meta.name);
    let (row, id) = (row_of(node, ns, name), worker(node, ns, name));
    let (Some(row), Some(id)) = (row, id) else {
        if !change.deleted {
            take_away(node, change.object, pod, cx);
        }
        return true;
    };
    let shown = node.workers.get(id).is_some_and(|w| w.object == change.object);
    if change.deleted {
        if shown {
            node.workers.rename(id, nowhere(row));
        }
        if let Some(own) = of(node, row) {
            mirror(node, &own, cx);
        }
    } else if pod.meta.deletion.is_some() {
        let before = change.before.as_ref().and_then(Obj::as_pod);
        if before.is_none_or(|b| b.meta.deletion.is_none()) {
            take_away(node, change.object, pod, cx);
        }
    } else if !shown {
        node.workers.rename(id, change.object);
        report(node, id, None, cx);
    }
    true
}

/// A mirror goes without ado: nothing runs behind it.
fn take_away(node: &mut NodeAgent, object: ObjRef, pod: &Pod, cx: &mut Context<'_>) {
    let op = Op::Delete { grace_s: Some(0), propagation: None, uid: Some(pod.meta.uid) };
    node.submit(Kind::Pod, pod.meta.ns, pod.meta.name, Some(object), op, None, cx);
}

/// True for the worker of a static pod.
pub(super) fn is_static(node: &NodeAgent, id: u32) -> bool {
    let Some(worker) = node.workers.get(id) else { return false };
    !node.setup.statics.is_empty() && row_of(node, worker.ns, worker.name).is_some()
}
