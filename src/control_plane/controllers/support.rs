//! What the workload controllers share: expectations, Kubernetes Events, pods made from a template.

use crate::api::kevent::{KEvent, Source, Text};
use crate::api::pod::{Condition, ConditionType, Truth};
use crate::api::request::{ApiError, Op, Outcome, Request, User};
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::PodTemplate;
use crate::api::{Kind, LabelSet, Meta, Name, Obj, Owner, Pod, Uid};
use crate::client::{Cache, Call, Key, Outbox};
use crate::engine::{Grid, Purpose, SimDuration, SimTime, Sym};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// How long a controller waits to see its own writes before it acts regardless
/// (source: `controller_utils.go` `ExpectationsTimeout`).
const EXPECTATIONS_TIMEOUT: SimDuration = SimDuration::from_secs(300);

/// Creates or deletes of one sync at most (source: `BurstReplicas`, `MaxPodCreateDeletePerSync`).
pub(super) const BURST: i32 = 500;

#[derive(Debug, Clone, Default)]
struct Expected {
    creations: i32,
    deletions: Vec<Uid>,
    since: SimTime,
}

/// When the shared informers next hand every object over again, changed or not: each process draws
/// its period between 12 and 24 hours (source: `controllermanager.go` `ResyncPeriod`). Only who
/// waits for something that may never come (a creation that came and went unseen) is woken by it.
pub(super) fn resync_at(cx: &Context<'_>) -> SimTime {
    let least = SimDuration::from_secs(12 * 3600);
    let unit = cx.draw(0, Purpose("informer-resync"), 0).unit();
    let period = least + least.scale(unit);
    Grid::new(SimTime::ZERO + period, period).after(cx.now())
}

/// Writes of a controller that its cache has not shown yet, per key: until they are seen, acting
/// again would do them twice.
#[derive(Debug, Clone, Default)]
pub(super) struct Expectations {
    by_key: FxHashMap<Key, Expected>,
}

impl Expectations {
    /// True if everything expected has been seen, or has taken too long.
    pub(super) fn satisfied(&self, key: Key, now: SimTime) -> bool {
        self.by_key.get(&key).is_none_or(|e| {
            e.creations <= 0 && e.deletions.is_empty() || now.since(e.since) > EXPECTATIONS_TIMEOUT
        })
    }

    /// So many creations are about to be asked for.
    pub(super) fn expect_creations(&mut self, key: Key, n: i32, now: SimTime) {
        self.expect(key, n, Vec::new(), now);
    }

    /// The deletion of these is about to be asked for.
    pub(super) fn expect_deletions(&mut self, key: Key, uids: Vec<Uid>, now: SimTime) {
        self.expect(key, 0, uids, now);
    }

    /// Both are about to be asked for.
    pub(super) fn expect(&mut self, key: Key, creations: i32, deletions: Vec<Uid>, now: SimTime) {
        self.by_key.insert(key, Expected { creations, deletions, since: now });
    }

    /// Creations were seen, or will never be (refused, or skipped after a refusal).
    pub(super) fn created(&mut self, key: Key, n: i32) {
        if let Some(e) = self.by_key.get_mut(&key) {
            e.creations -= n;
        }
    }

    /// A deletion was seen, or refused.
    pub(super) fn deleted(&mut self, key: Key, uid: Uid) {
        if let Some(e) = self.by_key.get_mut(&key) {
            e.deletions.retain(|u| *u != uid);
        }
    }

    /// The object is gone.
    pub(super) fn forget(&mut self, key: Key) {
        self.by_key.remove(&key);
    }

    /// What a pod's delivery fulfils.
    pub(super) fn observe(&mut self, key: Key, change: &Change, before: Option<&Obj>) {
        let Some(pod) = change.value.as_pod() else { return };
        if before.is_none() && !change.deleted {
            self.created(key, 1);
        }
        if change.deleted || pod.meta.terminating() {
            self.deleted(key, pod.meta.uid);
        }
    }
}

/// A controller's client for things it does not wait for, and its Kubernetes Events.
#[derive(Debug, Clone)]
pub(in crate::control_plane) struct Reporter {
    /// Name of the service account.
    pub(super) account: Sym,
    /// Name in the source of events.
    component: Sym,
    /// Requests to send.
    pub(super) outbox: Outbox,
}

impl Reporter {
    pub(in crate::control_plane) fn new(account: &str, component: &str) -> Self {
        Self { account: account.into(), component: component.into(), outbox: Outbox::default() }
    }

    /// Name of the service account.
    pub(in crate::control_plane) fn account(&self) -> Sym {
        self.account
    }

    /// Requests to send.
    pub(in crate::control_plane) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Reports an event of type Normal, in plain words.
    pub(in crate::control_plane) fn say(
        &mut self,
        kind: Kind,
        meta: &Meta,
        reason: &str,
        words: &str,
        cx: &Context<'_>,
    ) {
        self.report((kind, false), meta, reason, text(words), cx);
    }

    /// Reports an event of type Warning, in plain words.
    pub(in crate::control_plane) fn warn(
        &mut self,
        kind: Kind,
        meta: &Meta,
        reason: &str,
        words: &str,
        cx: &Context<'_>,
    ) {
        self.report((kind, true), meta, reason, text(words), cx);
    }

    /// Reports an event of type Normal.
    pub(super) fn normal(
        &mut self,
        kind: Kind,
        meta: &Meta,
        reason: &str,
        text: Text,
        cx: &Context<'_>,
    ) {
        self.report((kind, false), meta, reason, text, cx);
    }

    /// Reports an event of type Warning.
    pub(super) fn warning(
        &mut self,
        kind: Kind,
        meta: &Meta,
        reason: &str,
        text: Text,
        cx: &Context<'_>,
    ) {
        self.report((kind, true), meta, reason, text, cx);
    }

    fn report(
        &mut self,
        (kind, warning): (Kind, bool),
        meta: &Meta,
        reason: &str,
        text: Text,
        cx: &Context<'_>,
    ) {
        let ns = if meta.ns.is_empty() { Sym::new("default") } else { meta.ns };
        let about = (kind, ns, meta.name, meta.uid);
        let source = Source::Controller(self.component);
        let event = KEvent::new(about, (warning, reason.into(), text), source, cx.stamp());
        self.send(Kind::Event, ns, meta.name, Op::CreateEvent(Arc::new(event), 0), cx);
    }

    /// Sends a request without waiting for its answer.
    pub(in crate::control_plane) fn send(
        &mut self,
        kind: Kind,
        ns: Sym,
        name: Name,
        op: Op,
        cx: &Context<'_>,
    ) {
        let user = User::Controller(self.account);
        self.outbox.push(Request { user, kind, ns, name, target: None, op }, cx);
    }
}

/// What every controller with a `reporter` says of itself: its name, where it leaves requests that
/// it does not wait for, and how many workers it has (5 unless given).
macro_rules! reports {
    ($($workers:literal)?) => {
        fn name(&self) -> $crate::engine::Sym {
            self.reporter.account()
        }

        fn outbox(&mut self) -> Option<&mut $crate::client::Outbox> {
            Some(self.reporter.outbox())
        }

        $(fn workers(&self) -> usize {
            $workers
        })?
    };
}
pub(crate) use reports;

/// The owner reference a controller puts into what it makes.
pub(super) fn owned_by(kind: Kind, meta: &Meta) -> Arc<[Owner]> {
    [Owner { kind, name: meta.name, uid: meta.uid, controller: true, block_owner_deletion: true }]
        .into()
}

/// A pod of a template: it shares spec, labels and owners with its siblings.
pub(super) fn pod_of(
    template: &PodTemplate,
    labels: LabelSet,
    ns: Sym,
    name: Name,
    owners: Arc<[Owner]>,
) -> Pod {
    Pod {
        meta: Meta {
            labels,
            annotations: template.annotations.clone(),
            owners: Some(owners),
            ..Meta::named(ns, name)
        },
        spec: Arc::clone(&template.spec),
        node: template.spec.node_name,
        ..Pod::default()
    }
}

/// A call that makes a pod.
pub(super) fn create_pod(pod: Pod, generate: bool) -> Call {
    let (ns, name) = (pod.meta.ns, pod.meta.name);
    let op = Op::Create { object: Obj::Pod(Arc::new(pod)), generate };
    Call { kind: Kind::Pod, ns, name, target: None, op }
}

/// A call that deletes an object as its kind does by default.
pub(super) fn delete(kind: Kind, meta: &Meta, target: Option<ObjRef>) -> Call {
    let op = Op::Delete { grace_s: None, propagation: None, uid: None };
    Call { kind, ns: meta.ns, name: meta.name, target, op }
}

/// A call that puts the status of an object.
pub(super) fn put_status(object: Obj, target: ObjRef) -> Call {
    let (ns, name) = object.key();
    Call { kind: object.kind(), ns, name, target: Some(target), op: Op::UpdateStatus(object) }
}

/// A call that puts a whole object.
pub(super) fn put(object: Obj, target: ObjRef) -> Call {
    let (ns, name) = object.key();
    Call { kind: object.kind(), ns, name, target: Some(target), op: Op::Update(object) }
}

/// True if the deletion worked or the object is gone anyway.
pub(super) fn deleted(outcome: &Outcome) -> bool {
    matches!(outcome, Ok(_) | Err(ApiError::NotFound))
}

/// The key of a pod's controller if that is of this kind.
pub(super) fn owner_key(obj: &Obj, kind: Kind) -> Option<(Key, Uid)> {
    let meta = obj.meta()?;
    let owner = meta.controller().filter(|o| o.kind == kind)?;
    Some((Key { kind, ns: meta.ns, name: owner.name }, owner.uid))
}

/// Pods of an owner, as the cache knows them, in order of delivery.
pub(super) fn pods_of(uid: Uid, caches: &Cache, cx: &Context<'_>) -> Vec<(ObjRef, Arc<Pod>)> {
    caches
        .owned(uid, Kind::Pod)
        .filter_map(|object| {
            let pod = caches.get(cx.versions(), Kind::Pod, object)?.as_pod()?;
            Some((object, Arc::clone(pod)))
        })
        .collect()
}

/// When the pod became ready; none if it is not.
pub(super) fn ready_since(pod: &Pod, cx: &Context<'_>) -> Option<SimTime> {
    let condition = pod.status.condition(ConditionType::Ready)?;
    (condition.status == Truth::True).then(|| cx.time_of(condition.transition))
}

/// Ready for at least `min_ready_s` (source: `podutil.IsPodAvailable`).
pub(super) fn available(pod: &Pod, min_ready_s: u32, cx: &Context<'_>) -> bool {
    if min_ready_s == 0 {
        return pod.ready();
    }
    let need = SimDuration::from_secs(u64::from(min_ready_s));
    ready_since(pod, cx).is_some_and(|since| since + need < cx.now())
}

/// When the next of these pods becomes available, if one is ready but has not been so for long
/// enough (source: `controller_utils.go` `FindMinNextPodAvailabilityCheck`).
pub(super) fn next_available<'a>(
    pods: impl Iterator<Item = &'a Pod>,
    min_ready_s: u32,
    cx: &Context<'_>,
) -> Option<SimTime> {
    if min_ready_s == 0 {
        return None;
    }
    let need = SimDuration::from_secs(u64::from(min_ready_s)) + SimDuration(1);
    let at = pods.filter_map(|pod| Some(ready_since(pod, cx)? + need));
    at.filter(|at| *at > cx.now()).min()
}

/// A condition that changed now.
pub(super) fn condition(
    kind: ConditionType,
    status: Truth,
    reason: &str,
    message: &str,
    cx: &Context<'_>,
) -> Condition {
    Condition {
        kind,
        status,
        reason: reason.into(),
        message: message.into(),
        transition: cx.stamp(),
    }
}

/// A text that was put together.
pub(super) fn text(message: &str) -> Text {
    Text::Plain(Sym::new(message))
}

/// An error about a pod whose name the server makes up from this base, as it reads in an event:
/// what is refused before that names the base (source: `apiserver/pkg/admission/errors.go`).
pub(super) fn unnamed_text(error: ApiError, base: Name) -> String {
    if let ApiError::Forbidden(why) = error {
        return format!("pods \"{base}-\" is forbidden: {why}");
    }
    error.message(Kind::Pod, base)
}

/// The namespace is going away: nothing more is to be done in it, and nothing to be reported
/// (source: `NamespaceTerminatingCause`).
pub(super) fn namespace_going(error: ApiError) -> bool {
    matches!(error, ApiError::Forbidden(why) if why.as_str().contains("it is being terminated"))
}

/// Sizes of slow-start batches: 1, 2, 4, … of what remains.
/// Source: `replica_set.go` `slowStartBatch`.
pub(super) fn next_batch(last: i32, remaining: i32) -> i32 {
    (last * 2).clamp(1, remaining.max(1)).min(remaining)
}

/// The stable hash of a template in the alphabet of names, as pod-template-hash has it. The value
/// is not upstream's (which hashes a dump of Go structs): equal templates give equal hashes.
pub(super) fn template_hash(template: &PodTemplate, collisions: u32) -> Sym {
    let dump = format!("{:?} {:?} {:?}", template.labels, template.annotations, template.spec);
    let hash = crate::engine::digest::mix(
        crate::engine::digest::hash_bytes(dump.as_bytes()),
        u64::from(collisions),
    );
    let digits = (hash % 9_000_000_000 + 1_000_000_000).to_string();
    let letters: String = digits
        .bytes()
        .map(|d| char::from(crate::api::name::SUFFIX_ALPHABET[usize::from(d % 27)]))
        .collect();
    Sym::new(&letters)
}
