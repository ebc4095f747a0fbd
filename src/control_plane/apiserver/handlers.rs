//! What each request does to the store: from the object as it is now to the write that follows.

use super::admission::noderestriction;
use super::{ApiServer, Plan, delete, patch, update};
use crate::api::autoscaling::{MetricQuery, PodMetricsList};
use crate::api::kevent::KEvent;
use crate::api::meta::Uid;
use crate::api::pod::{Condition, ConditionType, Phase, Pod, Truth};
use crate::api::request::{ApiError, Op, Request, Success, User};
use crate::api::versions::ObjRef;
use crate::api::workload::Generic;
use crate::api::{Kind, Meta, Name, Obj};
use crate::control_plane::etcd::{Compare, Write};
use crate::engine::digest::mix;
use crate::engine::{Purpose, Sym};
use crate::event::{Canary, Context};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tries at a free generated name (source: `generic/registry/store.go`).
const NAME_TRIES: u64 = 8;

/// Kinds without `metadata.generation` (their strategies do not set it).
const UNCOUNTED: [Kind; 20] = [
    Kind::Node,
    Kind::Namespace,
    Kind::ConfigMap,
    Kind::Secret,
    Kind::Service,
    Kind::Endpoints,
    Kind::ServiceAccount,
    Kind::PersistentVolume,
    Kind::PersistentVolumeClaim,
    Kind::LimitRange,
    Kind::ResourceQuota,
    Kind::Role,
    Kind::RoleBinding,
    Kind::ClusterRole,
    Kind::ClusterRoleBinding,
    Kind::StorageClass,
    Kind::CSINode,
    Kind::VolumeAttachment,
    Kind::ControllerRevision,
    Kind::Lease,
];

/// How many names have been generated from each base: the ordinal of the next draw. Names are keyed
/// by owner and ordinal, so policies compared on one seed see the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct NameOrdinals {
    of: FxHashMap<(Sym, Sym), u64>,
}

/// A write of this or another object that comes before a request's last one.
pub(super) type Before = (Compare, Write, Kind);

/// Validation that does not need the store; files are validated in full where they are read.
pub(super) fn validate(request: &Request) -> Result<(), ApiError> {
    let invalid = |text: &str| Err(ApiError::Invalid(Sym::new(text)));
    if matches!(request.op, Op::Scale(n) if n < 0) {
        return invalid("spec.replicas: Invalid value: must be greater than or equal to 0");
    }
    if let Op::Create { object: Obj::Pod(pod), .. } = &request.op
        && pod.spec.containers.is_empty()
    {
        return invalid("spec.containers: Required value");
    }
    Ok(())
}

impl ApiServer {
    /// Decides what to write.
    pub(super) fn plan(
        &mut self,
        request: Request,
        cx: &mut Context<'_>,
    ) -> Result<Plan, ApiError> {
        let Request { user, kind, ns, name, target, op } = request;
        let (object, generate) = match op {
            Op::CreateEvent(event, key) => return Ok(Plan::Say(None, event, key)),
            Op::Create { object, .. } if object.meta().is_some_and(|m| m.resource_version != 0) => {
                let text = "resourceVersion should not be set on objects to be created";
                return Err(ApiError::Internal(Sym::new(text)));
            }
            Op::PatchEvent(event, key) => return Ok(self.fold_event(event, key, cx)),
            Op::Create { object, generate } => (object, generate),
            // Its objects are gone by now.
            Op::DeleteCollection => {
                let value = left_over(kind, ns, cx);
                return Ok(Plan::Unchanged(Success { object: ObjRef::default(), value }));
            }
            Op::Metrics(query) => return metrics(ns, &query, cx),
            Op::Get => {
                let (object, value) = current(kind, ns, name, target, cx)?;
                return Ok(Plan::Unchanged(Success { object, value: value.clone() }));
            }
            Op::Apply(object) => match current(kind, ns, name, None, cx) {
                Err(_absent) => (object, false),
                Ok((found, old)) => {
                    let mut new = patch::apply(old, object);
                    update::validate(old, &new, cx)?;
                    self.address(&mut new, Some(old), cx)?;
                    return Ok(changed(found, old, new));
                }
            },
            about @ (Op::Update(_)
            | Op::UpdateStatus(_)
            | Op::PodStatus(_)
            | Op::PodCondition(..)
            | Op::Nominate(_)
            | Op::NodeStatus(_)
            | Op::Heartbeat(_)
            | Op::NodeTaints { .. }
            | Op::Cordon(_)
            | Op::Scale(_)
            | Op::SetImage(..)
            | Op::Bind { .. }
            | Op::Evict
            | Op::Delete { .. }
            | Op::RemoveFinalizer(_)
            | Op::RemoveOwners(_)
            | Op::AddOwner { .. }
            | Op::PutScale(_)
            | Op::Finalize
            | Op::VolumesAttached(_)
            | Op::PodCidr(_)) => {
                let (found, old) = current(kind, ns, name, target, cx)?;
                if let User::Kubelet(node) = user {
                    noderestriction::existing(node, &about, old)?;
                }
                if matches!(about, Op::Evict) {
                    let old = old.clone();
                    return self.evict(found, &old, cx);
                }
                let about = self.addressed(about, old, cx)?;
                return existing(about, found, old, cx);
            }
        };
        let mut object = self.new_object(object, generate, cx)?;
        if current(kind, ns, name, None, cx).is_err() {
            self.address(&mut object, None, cx)?;
        }
        Ok(Plan::Put(None, Compare::Absent, object))
    }

    /// The Event with a higher count, or a new one if it has expired.
    fn fold_event(&self, event: Arc<KEvent>, key: u32, cx: &Context<'_>) -> Plan {
        let object = self.events.get(&(event.uid, key)).copied();
        let old = object.and_then(|o| cx.versions().current(Kind::Event, o));
        let Some(Obj::Event(old)) = old else {
            return Plan::Say(None, event, key);
        };
        let mut event = *event;
        event.first = old.first;
        Plan::Say(object, Arc::new(event), key)
    }

    /// A new object with name, identity and creation time.
    fn new_object(
        &mut self,
        mut object: Obj,
        generate: bool,
        cx: &Context<'_>,
    ) -> Result<Obj, ApiError> {
        let kind = object.kind();
        let (stamp, version) = (cx.stamp(), cx.version());
        let generated = if generate { Some(self.free_name(&object, cx)?) } else { None };
        let Some(meta) = object.meta_mut() else { return Ok(object) };
        if let Some(name) = generated {
            meta.name = name;
        }
        let key = mix(meta.ns.stable_hash(), meta.name.stable_hash());
        let id = mix(mix(key, kind.index() as u64), mix(cx.now().0, cx.draws().seed()));
        meta.uid = Uid(id.max(1));
        meta.created = stamp;
        let counted = !UNCOUNTED.contains(&kind);
        meta.generation = u32::from(counted && (kind != Kind::Pod || version.pod_generation()));
        meta.deletion = None;
        if let Obj::Generic(of, generic) = &mut object
            && *of != Kind::Custom
            && generic.doc.get("status").is_some()
            && let Some(doc) = Arc::make_mut(&mut Arc::make_mut(generic).doc).as_object_mut()
        {
            // A status is written through its subresource alone.
            doc.remove("status");
        }
        if let Obj::Job(job) = &mut object {
            Arc::make_mut(job).generate_selector();
        }
        if let Obj::Pod(pod) = &mut object {
            born(Arc::make_mut(pod), stamp);
            if !self.config.pins.is_empty() {
                self.pin(Arc::make_mut(pod));
            }
        }
        Ok(object)
    }

    /// Holds a pod to the node a recording gave it, as a node selector on the host name would.
    fn pin(&mut self, pod: &mut Pod) {
        let name = pod.meta.name.to_string();
        for ((prefix, nodes), placed) in self.config.pins.iter().zip(&mut self.pinned) {
            if name.starts_with(prefix.as_str()) {
                if let Some(&node) = nodes.get((*placed).min(nodes.len().saturating_sub(1))) {
                    let key = Sym::new(crate::api::node::keys::HOSTNAME);
                    Arc::make_mut(&mut pod.spec).node_selector.push((key, node));
                }
                *placed += 1;
                return;
            }
        }
    }

    /// `generateName`: five letters, tried again if taken.
    pub(super) fn free_name(&mut self, object: &Obj, cx: &Context<'_>) -> Result<Name, ApiError> {
        let (ns, base) = object.key();
        let base = base.sym();
        let ordinal = self.names.of.entry((ns, base)).or_default();
        for _ in 0..NAME_TRIES {
            let code = cx
                .draw(mix(ns.stable_hash(), base.stable_hash()), Purpose("generateName"), *ordinal)
                .below(u64::from(crate::api::name::N_SUFFIXES));
            *ordinal += 1;
            let name = Name::suffixed(base, u32::try_from(code).unwrap_or_default());
            if cx.versions().find(object.kind(), ns, name).is_none() {
                return Ok(name);
            }
        }
        Err(ApiError::AlreadyExists)
    }
}

/// What is left of a collection after its deletion, as the list that is the answer: how many
/// objects, the longest grace among them, and the finalizers that hold them.
pub(in crate::control_plane) fn left_over(kind: Kind, ns: Sym, cx: &Context<'_>) -> Obj {
    let (mut n, mut grace) = (0_u64, 0);
    let mut finalizers: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, obj) in cx.versions().iter(kind).filter(|(_, obj)| obj.key().0 == ns) {
        n += 1;
        let Some(meta) = obj.meta() else { continue };
        grace = grace.max(meta.deletion.map_or(0, |d| d.grace_s));
        for finalizer in meta.finalizers.iter().flat_map(|f| f.iter()) {
            *finalizers.entry(finalizer.as_str()).or_default() += 1;
        }
    }
    let doc = serde_json::json!({
        "remainingItemCount": n, "gracePeriodSeconds": grace, "finalizers": finalizers,
    });
    Obj::Generic(kind, Arc::new(Generic { meta: Meta::default(), doc: Arc::new(doc) }))
}

/// Metrics are the answer of the server behind the API: what it has scraped of the pods.
fn metrics(ns: Sym, query: &MetricQuery, cx: &Context<'_>) -> Result<Plan, ApiError> {
    let Some(pods) = cx.usage().query(ns, query) else {
        let text = "the server is currently unable to handle the request";
        return Err(ApiError::Internal(Sym::new(text)));
    };
    let meta = Meta { ns, ..Meta::default() };
    let value = Obj::PodMetrics(Arc::new(PodMetricsList { meta, pods }));
    Ok(Plan::Unchanged(Success { object: ObjRef::default(), value }))
}

/// Status of a pod at creation. A gated pod says so from the start.
fn born(pod: &mut Pod, stamp: crate::api::Stamp) {
    if pod.node.is_empty() {
        pod.node = pod.spec.node_name;
    }
    pod.status.phase = Phase::Pending;
    if !pod.spec.gates.is_empty() {
        pod.status.conditions.set(Condition {
            kind: ConditionType::PodScheduled,
            status: Truth::False,
            reason: Sym::new("SchedulingGated"),
            message: Sym::new("Scheduling is blocked due to non-empty scheduling gates"),
            transition: stamp,
        });
    }
}

/// The object as it is now. The client's handle is a short cut to the name's row: if it is stale,
/// the name decides.
fn current<'v>(
    kind: Kind,
    ns: Sym,
    name: Name,
    target: Option<ObjRef>,
    cx: &'v Context<'_>,
) -> Result<(ObjRef, &'v Obj), ApiError> {
    let versions = cx.versions();
    let direct = target.and_then(|object| Some((object, versions.current(kind, object)?)));
    direct
        .or_else(|| {
            let object = versions.find(kind, ns, name)?;
            Some((object, versions.current(kind, object)?))
        })
        .ok_or(ApiError::NotFound)
}

/// A write of changed content, or none if nothing changes (a no-op update makes no revision).
pub(super) fn changed(object: ObjRef, old: &Obj, new: Obj) -> Plan {
    if *old == new {
        Plan::Unchanged(Success { object, value: new })
    } else {
        Plan::Put(Some(object), Compare::Nothing, new)
    }
}

/// Requests about an object that exists.
fn existing(op: Op, object: ObjRef, old: &Obj, cx: &Context<'_>) -> Result<Plan, ApiError> {
    let new = match op {
        Op::Update(new) => return put(object, old, new, cx),
        Op::UpdateStatus(new) => {
            fresh(old, &new, cx)?;
            patch::update_status(old, &new)
        }
        Op::Delete { grace_s, propagation, uid } => {
            return delete::delete(object, old, (grace_s, propagation, uid), cx);
        }
        Op::RemoveFinalizer(finalizer) => {
            return Ok(delete::without_finalizer(object, old, finalizer));
        }
        Op::Bind { node, devices } => patch::bind(old, (node, devices), cx)?,
        Op::PodStatus(status) => patch::pod_status(old, *status),
        Op::PodCondition(condition, nominated) => patch::pod_condition(old, condition, nominated),
        Op::Nominate(node) => patch::nominate(old, node),
        Op::NodeStatus(status) => patch::node_status(old, *status),
        Op::Heartbeat(at) => patch::heartbeat(old, at),
        Op::NodeTaints { remove, add } => patch::node_taints(old, &remove, &add),
        Op::Cordon(on) => patch::cordon(old, on),
        Op::Scale(replicas) | Op::PutScale(replicas) => patch::scale(old, replicas)?,
        Op::SetImage(container, image) => patch::set_image(old, container, image)?,
        Op::RemoveOwners(uids) => patch::remove_owners(old, &uids),
        Op::AddOwner { owner, uid, finalizer } => patch::add_owner(old, owner, uid, finalizer)?,
        Op::Finalize => return delete::finalize(object, old),
        Op::PodCidr(cidr) => patch::pod_cidr(old, cidr),
        Op::VolumesAttached(volumes) => patch::volumes_attached(old, volumes),
        // Handled before the object is looked up.
        Op::Create { .. }
        | Op::CreateEvent(..)
        | Op::PatchEvent(..)
        | Op::Apply(_)
        | Op::Evict
        | Op::DeleteCollection
        | Op::Get
        | Op::Metrics(_) => {
            return Err(ApiError::AlreadyExists);
        }
    };
    Ok(changed(object, old, new))
}

/// Optimistic concurrency: a resource version, if given, must be the present one.
pub(super) fn fresh(old: &Obj, new: &Obj, cx: &Context<'_>) -> Result<(), ApiError> {
    let (Some(old), Some(new)) = (old.meta(), new.meta()) else { return Ok(()) };
    let stale = new.resource_version != 0 && new.resource_version != old.resource_version;
    let other = new.uid != Uid::default() && new.uid != old.uid;
    let stale = stale && cx.planted() != Some(Canary::BlindUpdate);
    if stale || other { Err(ApiError::Conflict) } else { Ok(()) }
}

/// PUT of the whole object: its status is not taken, its finalizers may let it go.
fn put(object: ObjRef, old: &Obj, new: Obj, cx: &Context<'_>) -> Result<Plan, ApiError> {
    update::versioned(&new)?;
    fresh(old, &new, cx)?;
    let new = patch::replace(old, new);
    update::validate(old, &new, cx)?;
    let gone = new.meta().is_some_and(|m| {
        m.deletion.is_some_and(|d| d.grace_s == 0)
            && m.finalizers.as_deref().is_none_or(<[Sym]>::is_empty)
    });
    if gone { Ok(Plan::Delete(old.kind(), object)) } else { Ok(changed(object, old, new)) }
}
