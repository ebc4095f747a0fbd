//! Admission: the plugins in upstream's order (behaviour reference §1.6), one small file each;
//! those of a few lines stand here: `NamespaceLifecycle`, `TaintNodesByCondition`, Priority and
//! `DefaultTolerationSeconds`.
//!
//! What a template becomes is remembered with the state of everything it was decided by, so a pod
//! of a known template passes without a look at any of it.

mod documents;
mod limitranger;
pub(super) mod noderestriction;
mod podsecurity;
pub(super) mod pvcresize;
mod quota;
mod runtimeclass;
pub(super) mod serviceaccount;
pub(super) mod storage;

use crate::api::node::keys;
use crate::api::pod::{Effect, PreemptionPolicy, Taint, Toleration};
use crate::api::request::{ApiError, Op, Request, User};
use crate::api::storage::PersistentVolumeClaim;
use crate::api::workload::PodTemplate;
use crate::api::{Kind, Name, Obj, PodSpec, Stamp};
use crate::engine::Sym;
use crate::event::{Context, What};
use limitranger::{Limits, joined};
use podsecurity::Levels;
use std::sync::Arc;

/// Priority of `system-node-critical` and `system-cluster-critical`, which every cluster has.
const SYSTEM_CLASSES: [(&str, i32); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// Templates whose admitted form is remembered: pods of one template then share their spec.
const MEMORY: usize = 256;

/// Kinds that decide about a pod's spec.
const DECIDE: [Kind; 5] = [
    Kind::PriorityClass,
    Kind::LimitRange,
    Kind::RuntimeClass,
    Kind::ServiceAccount,
    Kind::Namespace,
];

/// Namespace, the spec as given, as admitted, and what was said about it.
type Admitted = (Sym, Arc<PodSpec>, (Arc<PodSpec>, Said));

/// What is to be said about a spec that has been admitted.
#[derive(Debug, Clone, Copy)]
struct Said {
    /// Warning to whoever asks.
    warning: Option<Sym>,
    /// Note in the audit log.
    audit: Option<Sym>,
}

/// The admission chain.
#[derive(Debug, Clone, Default)]
pub(super) struct Admission {
    /// Specs admitted lately: namespace and spec as given, and as admitted. Equality is identity of
    /// the shared spec.
    admitted: Vec<Admitted>,
    next: usize,
    /// The state of the deciding kinds that the memory was filled under.
    decided_by: u64,
    /// The namespace that was found last, and the state of namespaces it was found in.
    namespace: (Sym, u64),
    quotas: quota::Quotas,
    /// What was refused last was refused for want of the account `default`.
    awaited: bool,
}

impl Admission {
    /// Mutating admission, and what can be refused before the object is known in the store.
    pub(super) fn mutate(
        &mut self,
        request: &mut Request,
        cx: &mut Context<'_>,
    ) -> Result<(), ApiError> {
        self.namespace_lifecycle(request, cx)?;
        let (user, kind, ns, name) = (request.user, request.kind, request.ns, request.name);
        let (Op::Create { object, .. } | Op::Apply(object)) = &mut request.op else {
            return Ok(());
        };
        if let User::Kubelet(node) = user {
            noderestriction::created(node, object)?;
        }
        if let Obj::Pod(pod) = object {
            let pod = Arc::make_mut(pod);
            let done = self.admit_spec(ns, &mut pod.spec, cx)?;
            pod.status.qos = pod.spec.qos();
            for (user, text) in [(user, done.warning), (User::ApiServer, done.audit)] {
                let Some(text) = text else { continue };
                cx.record(What::Warned { user, kind, ns, name, text });
            }
        } else if let Obj::Node(node) = object {
            taint_by_condition(Arc::make_mut(node), cx);
        } else if let Obj::PersistentVolume(volume) = object {
            storage::volume(Arc::make_mut(volume));
        } else if let Obj::PersistentVolumeClaim(claim) = object {
            let claim = Arc::make_mut(claim);
            storage::claim(claim, cx);
            check_claim(claim, cx)?;
        } else if let Some(template) = template(object) {
            let levels = levels(ns, cx);
            let warned = podsecurity::violations(levels.warn, &template.spec);
            let noted = podsecurity::violations(levels.audit, &template.spec);
            for (user, what) in [(user, warned), (User::ApiServer, noted)] {
                let Some(what) = what else { continue };
                let text = podsecurity::warning(&what);
                cx.record(What::Warned { user, kind, ns, name, text });
            }
        }
        Ok(())
    }

    /// Whether the request just refused only lacks the account `default`; asked once.
    pub(super) fn awaits_account(&mut self) -> bool {
        std::mem::take(&mut self.awaited)
    }

    /// Whether a quota is charged for what the request makes: that is a transaction of its own.
    pub(super) fn charges(&mut self, request: &Request, cx: &Context<'_>) -> bool {
        let makes = matches!(request.op, Op::Create { .. } | Op::Apply(_));
        makes && self.quotas.tracked(request.kind, request.ns, cx.versions())
    }

    /// `ResourceQuota`, which comes last: what has to be charged for an object that takes the place
    /// of another, or of none.
    pub(super) fn quota(
        &mut self,
        object: &Obj,
        before: Option<&Obj>,
        cx: &Context<'_>,
    ) -> Result<Vec<quota::Charge>, ApiError> {
        self.quotas.charge(object, before, cx.versions())
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
            Op::Create { .. } | Op::CreateEvent(..) | Op::PatchEvent(..) | Op::Apply(_)
        ) {
            self.namespace = (request.ns, state);
        }
        Ok(())
    }

    /// The spec as admitted, shared among pods of one template.
    fn admit_spec(
        &mut self,
        ns: Sym,
        spec: &mut Arc<PodSpec>,
        cx: &Context<'_>,
    ) -> Result<Said, ApiError> {
        let state = DECIDE.iter().map(|kind| cx.versions().log_end(*kind)).sum();
        if state != self.decided_by {
            self.decided_by = state;
            self.admitted.clear();
            self.next = 0;
        }
        // A spec that nobody else holds is of no template: remembering it would help no one.
        if let Some(own) = Arc::get_mut(spec) {
            return self.decide(ns, own, cx);
        }
        let known =
            self.admitted.iter().find(|(of, given, _)| *of == ns && Arc::ptr_eq(given, spec));
        if let Some((_, _, (done, said))) = known {
            *spec = Arc::clone(done);
            return Ok(*said);
        }
        let mut admitted = PodSpec::clone(spec);
        let said = self.decide(ns, &mut admitted, cx)?;
        let given = std::mem::replace(spec, Arc::new(admitted));
        let row = (ns, given, (Arc::clone(spec), said));
        if self.admitted.len() < MEMORY {
            self.admitted.push(row);
        } else {
            self.admitted[self.next] = row;
            self.next = (self.next + 1) % MEMORY;
        }
        Ok(said)
    }

    /// All plugins that look at a pod: those that change it, then those that judge it.
    fn decide(
        &mut self,
        ns: Sym,
        admitted: &mut PodSpec,
        cx: &Context<'_>,
    ) -> Result<Said, ApiError> {
        let limits = Limits::read(ns, cx.versions());
        if !limits.is_empty() {
            limits.fill_in(admitted);
        }
        if !serviceaccount::admit(admitted, ns, cx.versions()) {
            self.awaited = serviceaccount::is_default(admitted);
            return Err(serviceaccount::missing(admitted.service_account, ns));
        }
        priority(admitted, cx)?;
        default_tolerations(admitted);
        runtimeclass::admit(admitted, cx.versions())?;
        let broken = limits.check(admitted);
        if !broken.is_empty() {
            return Err(judged(Sym::new(&joined(&broken))));
        }
        let levels = levels(ns, cx);
        if let Some(what) = podsecurity::violations(levels.enforce, admitted) {
            return Err(judged(podsecurity::refusal(&what)));
        }
        let said = |level| {
            podsecurity::violations(level, admitted).map(|what| podsecurity::warning(&what))
        };
        let (warning, audit) = (said(levels.warn), said(levels.audit));
        Ok(Said { warning, audit })
    }
}

/// A refusal by a plugin that validates, after the object has got its name: the server fills it in.
fn judged(why: Sym) -> ApiError {
    ApiError::ForbiddenNamed(Name::default(), why)
}

/// What the labels of a namespace ask of its pods.
fn levels(ns: Sym, cx: &Context<'_>) -> Levels {
    cx.versions()
        .find(Kind::Namespace, Sym::EMPTY, ns.into())
        .and_then(|object| cx.versions().current(Kind::Namespace, object))
        .and_then(Obj::meta)
        .map_or_else(Levels::default, |meta| Levels::of(meta.labels))
}

/// The pod template of a workload.
fn template(object: &Obj) -> Option<&PodTemplate> {
    if let Obj::Deployment(o) = object {
        Some(&o.template)
    } else if let Obj::ReplicaSet(o) = object {
        Some(&o.template)
    } else if let Obj::StatefulSet(o) = object {
        Some(&o.template)
    } else if let Obj::DaemonSet(o) = object {
        Some(&o.template)
    } else if let Obj::Job(o) = object {
        Some(&o.template)
    } else if let Obj::ReplicationController(o) = object {
        Some(&o.template)
    } else if let Obj::CronJob(o) = object {
        Some(&o.template.template)
    } else {
        None
    }
}

/// `LimitRanger` for a claim.
fn check_claim(claim: &PersistentVolumeClaim, cx: &Context<'_>) -> Result<(), ApiError> {
    let broken = Limits::read(claim.meta.ns, cx.versions()).check_claim(claim.request);
    if broken.is_empty() { Ok(()) } else { Err(ApiError::Forbidden(Sym::new(&joined(&broken)))) }
}

/// `NamespaceLifecycle`: nothing is made in a namespace that is missing or terminating.
fn namespace_active(request: &Request, cx: &Context<'_>) -> Result<(), ApiError> {
    let creates = matches!(
        request.op,
        Op::Create { .. } | Op::CreateEvent(..) | Op::PatchEvent(..) | Op::Apply(_)
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
