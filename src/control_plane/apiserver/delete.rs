//! Deletion: preconditions, a pod's grace, the garbage collector's finalizers
//! (behaviour reference §1.2).

use super::{Plan, handlers};
use crate::api::meta::{Deletion, Uid};
use crate::api::pod::Pod;
use crate::api::request::{ApiError, Propagation, Success};
use crate::api::versions::ObjRef;
use crate::api::{Kind, Obj, Stamp};
use crate::engine::Sym;
use crate::event::Context;
use std::sync::Arc;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Options of a deletion: grace, propagation, identity expected.
pub(super) type Options = (Option<u32>, Option<Propagation>, Option<Uid>);

/// DELETE.
pub(super) fn delete(
    object: ObjRef,
    old: &Obj,
    (grace_s, propagation, uid): Options,
    cx: &Context<'_>,
) -> Result<Plan, ApiError> {
    if uid.is_some_and(|uid| old.meta().is_none_or(|m| m.uid != uid)) {
        return Err(ApiError::Conflict);
    }
    if let Obj::Pod(pod) = old {
        return Ok(delete_pod(object, pod, grace_s, cx));
    }
    let Obj::Namespace(ns) = old else { return Ok(delete_plain(object, old, propagation, cx)) };
    // A namespace only becomes Terminating; emptying it is its controller's work.
    if matches!(ns.meta.name.to_string().as_str(), "default" | "kube-system" | "kube-public") {
        return Err(ApiError::Forbidden(Sym::new("this namespace may not be deleted")));
    }
    let mut new = crate::api::workload::Namespace::clone(ns);
    new.terminating = true;
    new.meta.deletion = Some(Deletion { at: cx.stamp(), grace_s: 0 });
    Ok(handlers::changed(object, old, Obj::Namespace(Arc::new(new))))
}

/// A kind without grace: gone at once unless finalizers hold it.
fn delete_plain(
    object: ObjRef,
    old: &Obj,
    propagation: Option<Propagation>,
    cx: &Context<'_>,
) -> Plan {
    let mut new = old.clone();
    let Some(meta) = new.meta_mut() else { return Plan::Delete(old.kind(), object) };
    let held = meta.finalizers.as_deref().unwrap_or_default();
    // Without a word on propagation, batch/v1 Jobs leave their pods alone; all others do not.
    let propagation = propagation.unwrap_or_else(|| {
        if meta.has_finalizer(ORPHAN) || old.kind() == Kind::Job {
            Propagation::Orphan
        } else if meta.has_finalizer(FOREGROUND) {
            Propagation::Foreground
        } else {
            Propagation::Background
        }
    });
    let own = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(Sym::new(FOREGROUND)),
        Propagation::Orphan => Some(Sym::new(ORPHAN)),
    };
    let others = held.iter().copied().filter(|f| !matches!(f.as_str(), FOREGROUND | ORPHAN));
    let finalizers: Arc<[Sym]> = others.chain(own).collect();
    if finalizers.is_empty() {
        return Plan::Delete(old.kind(), object);
    }
    meta.finalizers = Some(finalizers);
    mark(meta, cx.stamp(), 0);
    handlers::changed(object, old, new)
}

/// A pod: its grace runs unless it is forced, was never bound, or has ended.
pub(super) fn delete_pod(
    object: ObjRef,
    pod: &Arc<Pod>,
    grace_s: Option<u32>,
    cx: &Context<'_>,
) -> Plan {
    let mut grace = grace_s.unwrap_or(pod.spec.grace_s);
    let unchanged = || Plan::Unchanged(Success { object, value: Obj::Pod(Arc::clone(pod)) });
    if let Some(before) = pod.meta.deletion {
        // A later deletion can only shorten the grace, and only if it names one: even a pod that
        // has ended by now goes on waiting for its kubelet (`rest.BeforeDelete`).
        if grace_s.is_none() || grace >= before.grace_s && before.grace_s > 0 {
            return unchanged();
        }
    } else if pod.node.is_empty() || pod.terminal() {
        grace = 0;
    }
    let mut new = Pod::clone(pod);
    let asked = pod.meta.deletion.map(|d| Stamp(d.at.0 - d.grace_s));
    let from = if grace == 0 { asked.unwrap_or(cx.stamp()) } else { cx.stamp() };
    mark(&mut new.meta, from, grace);
    let held = new.meta.finalizers.as_deref().is_some_and(|f| !f.is_empty());
    if grace == 0 && !held {
        Plan::PutThenDelete(object, Obj::Pod(Arc::new(new)))
    } else if pod.meta.deletion == new.meta.deletion {
        unchanged()
    } else {
        Plan::Put(
            Some(object),
            crate::control_plane::etcd::Compare::Nothing,
            Obj::Pod(Arc::new(new)),
        )
    }
}

/// Sets the deletion mark.
fn mark(meta: &mut crate::api::Meta, from: Stamp, grace_s: u32) {
    if meta.deletion.is_none() && meta.generation > 0 {
        meta.generation += 1;
    }
    let at = meta.deletion.filter(|d| d.grace_s == 0).map_or(Stamp(from.0 + grace_s), |d| d.at);
    meta.deletion = Some(Deletion { at, grace_s });
}

/// PUT to `/finalize`: an emptied namespace goes, unless finalizers of its metadata hold it.
pub(super) fn finalize(object: ObjRef, old: &Obj) -> Result<Plan, ApiError> {
    let Obj::Namespace(ns) = old else { return Err(ApiError::NotFound) };
    let held = ns.meta.finalizers.as_deref().is_some_and(|f| !f.is_empty());
    if ns.meta.deletion.is_some() && !held {
        return Ok(Plan::Delete(Kind::Namespace, object));
    }
    let mut new = crate::api::workload::Namespace::clone(ns);
    new.finalized = true;
    Ok(handlers::changed(object, old, Obj::Namespace(Arc::new(new))))
}

/// Takes a finalizer away; the last one lets a deleted object go.
pub(super) fn without_finalizer(object: ObjRef, old: &Obj, finalizer: Sym) -> Plan {
    let mut new = old.clone();
    let Some(meta) = new.meta_mut() else { return Plan::Delete(old.kind(), object) };
    let left: Arc<[Sym]> = meta
        .finalizers
        .as_deref()
        .unwrap_or_default()
        .iter()
        .copied()
        .filter(|f| *f != finalizer)
        .collect();
    let emptied = !matches!(old, Obj::Namespace(ns) if !ns.finalized);
    let gone = left.is_empty() && emptied && meta.deletion.is_some_and(|d| d.grace_s == 0);
    meta.finalizers = (!left.is_empty()).then_some(left);
    if gone { Plan::Delete(old.kind(), object) } else { handlers::changed(object, old, new) }
}
