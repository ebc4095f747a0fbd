//! Admission, as far as wave 1 has it: `NamespaceLifecycle`, `TaintNodesByCondition`, Priority and
//! `DefaultTolerationSeconds`, `DefaultStorageClass` and
//! `StorageObjectInUseProtection`, in upstream's order (behaviour reference §1.6).

use super::storage_admission;
use crate::api::node::keys;
use crate::api::pod::{Effect, PreemptionPolicy, Qos, Taint, Toleration};
use crate::api::request::{ApiError, Op, Request};
use crate::api::resources::Resources;
use crate::api::{Kind, Obj, PodSpec, Stamp};
use crate::engine::Sym;
use crate::event::Context;
use std::sync::Arc;

/// Priority of `system-node-critical` and `system-cluster-critical`, which every cluster has.
const SYSTEM_CLASSES: [(&str, i32); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// Templates whose admitted form is remembered: pods of one template then share their spec.
const MEMORY: usize = 256;

/// The admission chain.
#[derive(Debug, Clone, Default)]
pub(super) struct Admission {
    /// Specs admitted lately: as given, and as admitted. Equality is identity of the shared spec.
    admitted: Vec<(Arc<PodSpec>, Arc<PodSpec>)>,
    next: usize,
    /// The revision of `PriorityClasses` that the memory was filled under.
    classes_rev: u64,
    /// The namespace that was found last, and the state of namespaces it was found in.
    namespace: (Sym, u64),
}

impl Admission {
    /// Mutating admission.
    pub(super) fn mutate(
        &mut self,
        request: &mut Request,
        cx: &Context<'_>,
    ) -> Result<(), ApiError> {
        self.namespace_lifecycle(request, cx)?;
        match &mut request.op {
            Op::Create { object, .. } | Op::Apply(object) => {
                if let Obj::PersistentVolume(o) = object {
                    storage_admission::volume(Arc::make_mut(o));
                } else if let Obj::PersistentVolumeClaim(o) = object {
                    storage_admission::claim(Arc::make_mut(o), cx);
                } else if let Obj::Node(node) = object {
                    taint_by_condition(Arc::make_mut(node), cx);
                } else if let Obj::Pod(pod) = object {
                    let pod = Arc::make_mut(pod);
                    self.admit_spec(&mut pod.spec, cx)?;
                    pod.status.qos = qos(&pod.spec);
                }
            }
            Op::CreateEvent(_)
            | Op::PatchEvent(_)
            | Op::Update(_)
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
            | Op::Bind(_)
            | Op::Evict
            | Op::Delete { .. }
            | Op::RemoveFinalizer(_)
            | Op::RemoveOwners(_)
            | Op::AddOwner { .. }
            | Op::PutScale(_)
            | Op::Finalize
            | Op::DeleteCollection
            | Op::PodCidr(_)
            | Op::Metrics(_) => {}
        }
        Ok(())
    }

    /// Validating admission: nothing of it is modelled in wave 1.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "a stage of the pipeline")]
    pub(super) fn validate(&self, _request: &Request, _cx: &Context<'_>) -> Result<(), ApiError> {
        Ok(())
    }

    /// `NamespaceLifecycle`; most requests are about the namespace of the one before.
    fn namespace_lifecycle(&mut self, request: &Request, cx: &Context<'_>) -> Result<(), ApiError> {
        let state = cx.versions().log_end(Kind::Namespace);
        if self.namespace == (request.ns, state) {
            return Ok(());
        }
        namespace_active(request, cx)?;
        if matches!(
            request.op,
            Op::Create { .. } | Op::CreateEvent(_) | Op::PatchEvent(_) | Op::Apply(_)
        ) {
            self.namespace = (request.ns, state);
        }
        Ok(())
    }

    /// The spec after Priority and `DefaultTolerationSeconds`, shared among pods of one template.
    fn admit_spec(&mut self, spec: &mut Arc<PodSpec>, cx: &Context<'_>) -> Result<(), ApiError> {
        let classes = cx.versions().log_end(Kind::PriorityClass);
        if classes != self.classes_rev {
            self.classes_rev = classes;
            self.admitted.clear();
            self.next = 0;
        }
        // A spec that nobody else holds is of no template: remembering it would help no one.
        if let Some(own) = Arc::get_mut(spec) {
            priority(own, cx)?;
            default_tolerations(own);
            return Ok(());
        }
        if let Some((_, done)) = self.admitted.iter().find(|(given, _)| Arc::ptr_eq(given, spec)) {
            *spec = Arc::clone(done);
            return Ok(());
        }
        let mut admitted = PodSpec::clone(spec);
        priority(&mut admitted, cx)?;
        default_tolerations(&mut admitted);
        let pair = (std::mem::replace(spec, Arc::new(admitted)), Arc::clone(spec));
        if self.admitted.len() < MEMORY {
            self.admitted.push(pair);
        } else {
            self.admitted[self.next] = pair;
            self.next = (self.next + 1) % MEMORY;
        }
        Ok(())
    }
}

/// `NamespaceLifecycle`: nothing is made in a namespace that is missing or terminating.
fn namespace_active(request: &Request, cx: &Context<'_>) -> Result<(), ApiError> {
    let creates = matches!(
        request.op,
        Op::Create { .. } | Op::CreateEvent(_) | Op::PatchEvent(_) | Op::Apply(_)
    );
    if !creates || request.ns.is_empty() {
        return Ok(());
    }
    let found = cx
        .versions()
        .find(Kind::Namespace, Sym::EMPTY, request.ns.into())
        .and_then(|object| cx.versions().current(Kind::Namespace, object));
    match found {
        None => Err(ApiError::NotFound),
        Some(Obj::Namespace(ns)) if ns.terminating => Err(ApiError::Forbidden(Sym::new(&format!(
            "unable to create new content in namespace {} because it is being terminated",
            request.ns
        )))),
        Some(_) => Ok(()),
    }
}

/// `TaintNodesByCondition`: a new node takes no pods until it is known to be ready.
fn taint_by_condition(node: &mut crate::api::node::Node, cx: &Context<'_>) {
    let key = Sym::new(keys::NOT_READY);
    let there = node.taints.iter().any(|t| t.key == key && t.effect == Effect::NoSchedule);
    if !there {
        let taint =
            Taint { key, value: Sym::EMPTY, effect: Effect::NoSchedule, added: Stamp::NONE };
        node.taints = node.taints.iter().copied().chain([taint]).collect();
    }
    node.meta.created = cx.stamp();
}

/// Priority: class to number.
fn priority(spec: &mut PodSpec, cx: &Context<'_>) -> Result<(), ApiError> {
    if spec.priority_class.is_empty() {
        let default = cx.versions().iter(Kind::PriorityClass).find_map(|(_, obj)| {
            let Obj::PriorityClass(class) = obj else { return None };
            class.global_default.then(|| Arc::clone(class))
        });
        if let Some(class) = default {
            spec.priority = class.value;
            spec.priority_class = class.meta.name.sym();
        }
        return Ok(());
    }
    let name = spec.priority_class;
    if let Some((_, value)) = SYSTEM_CLASSES.iter().find(|(n, _)| *n == name.as_str()) {
        spec.priority = *value;
        return Ok(());
    }
    let class = cx
        .versions()
        .find(Kind::PriorityClass, Sym::EMPTY, name.into())
        .and_then(|object| cx.versions().current(Kind::PriorityClass, object));
    let Some(Obj::PriorityClass(class)) = class else {
        let text = format!("no PriorityClass with name {name} was found");
        return Err(ApiError::Forbidden(Sym::new(&text)));
    };
    spec.priority = class.value;
    if class.never_preempts {
        spec.preemption = PreemptionPolicy::Never;
    }
    Ok(())
}

/// `DefaultTolerationSeconds`: 300 s on a node that is not ready or unreachable.
fn default_tolerations(spec: &mut PodSpec) {
    for key in [keys::NOT_READY, keys::UNREACHABLE] {
        let key = Sym::new(key);
        let covered = spec.tolerations.iter().any(|t| {
            (t.key == key || t.key.is_empty())
                && t.effect.is_none_or(|effect| effect == Effect::NoExecute)
        });
        if !covered {
            spec.tolerations.push(Toleration {
                key,
                exists: true,
                value: Sym::EMPTY,
                effect: Some(Effect::NoExecute),
                seconds: Some(300),
            });
        }
    }
}

/// QoS class. Source: `apis/core/v1/helper/qos/qos.go`.
fn qos(spec: &PodSpec) -> Qos {
    let any = |r: &Resources| r.cpu_milli > 0 || r.memory > 0;
    let mut all = spec.containers.iter().chain(&spec.init_containers).peekable();
    if all.clone().all(|c| !any(&c.requests) && !any(&c.limits)) {
        return Qos::BestEffort;
    }
    let guaranteed = all.peek().is_some()
        && all.all(|c| {
            c.limits.cpu_milli > 0
                && c.limits.memory > 0
                && c.limits.cpu_milli == c.requests.cpu_milli
                && c.limits.memory == c.requests.memory
        });
    if guaranteed { Qos::Guaranteed } else { Qos::Burstable }
}
