//! The garbage collector: objects whose owners are all gone go too, those of which some are gone
//! lose the reference (source: `ctl/garbagecollector/garbagecollector.go`). It knows owners of the
//! kinds that the manager watches.

use super::support::{Reporter, reports};
use crate::api::request::{ApiError, Op, Outcome, Propagation};
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, Meta, Obj, Owner, Uid};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{SimDuration, Sym};
use crate::event::Context;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// A dependent seen before its owner waits this long for the owner's informer (upstream asks the
/// API server for the owner before it believes that it does not exist).
const SECOND_LOOK: SimDuration = SimDuration::from_millis(500);

/// The garbage collector.
#[derive(Debug, Clone)]
pub struct GarbageCollector {
    reporter: Reporter,
    watched: &'static [Kind],
}

impl GarbageCollector {
    /// A collector that knows the owners of these kinds.
    #[must_use]
    pub fn new(watched: &'static [Kind]) -> Self {
        let reporter = Reporter::new("generic-garbage-collector", "garbage-collector-controller");
        Self { reporter, watched }
    }

    fn owner_key(meta: &Meta, owner: &Owner) -> Key {
        let ns = if owner.kind.namespaced() { meta.ns } else { Sym::EMPTY };
        Key { kind: owner.kind, ns, name: owner.name }
    }

    /// The owner as the cache knows it; none if it does not exist.
    fn owner<'c>(
        meta: &Meta,
        owner: &Owner,
        caches: &Cache,
        cx: &'c Context<'_>,
    ) -> Option<&'c Meta> {
        let key = Self::owner_key(meta, owner);
        let (_, obj) = caches.named(cx.versions(), key.kind, key.ns, key.name)?;
        obj.meta().filter(|m| m.uid == owner.uid)
    }

    fn fate(&self, meta: &Meta, owner: &Owner, caches: &Cache, cx: &Context<'_>) -> Fate {
        if !self.watched.contains(&owner.kind) {
            return Fate::Solid;
        }
        match Self::owner(meta, owner, caches, cx) {
            None => Fate::Absent,
            Some(m) if m.terminating() && m.has_finalizer(FOREGROUND) => Fate::Waiting,
            Some(_) => Fate::Solid,
        }
    }
}

/// What an owner means to its dependent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Solid,
    Absent,
    /// Being deleted in the foreground: it waits for its dependents.
    Waiting,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Start,
    /// Dependents are being released; then the finalizer `orphan` goes.
    Releasing,
    Last,
}

/// What a sync remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    step: Step,
}

impl Reconcile for GarbageCollector {
    type State = State;

    reports!(20);

    /// It looks each object up before it deletes or releases it (`attemptToDeleteItem`), and is
    /// given twice the manager's limit for that (`startGarbageCollectorController`).
    fn reads(&self, op: &Op) -> u32 {
        u32::from(matches!(op, Op::Delete { .. } | Op::RemoveOwners(_)))
    }

    fn haste(&self) -> u64 {
        2
    }

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let Some(meta) = change.value.meta() else { return };
        if change.deleted {
            wake_dependents(meta.uid, caches, cx, wake);
            // An owner that is deleted in the foreground may have waited for this one.
            for owner in meta.owners.iter().flat_map(|o| o.iter()) {
                if Self::owner(meta, owner, caches, cx).is_some_and(Meta::terminating) {
                    wake.push((Self::owner_key(meta, owner), SimDuration::ZERO));
                }
            }
            return;
        }
        let was = before.and_then(Obj::meta);
        let doomed =
            meta.terminating() && meta.finalizers.is_some() && !was.is_some_and(Meta::terminating);
        if doomed && (meta.has_finalizer(FOREGROUND) || meta.has_finalizer(ORPHAN)) {
            wake.push((Key::of(&change.value), SimDuration::ZERO));
        }
        let Some(owners) = meta.owners.as_deref() else { return };
        let same = was.and_then(|w| w.owners.as_deref()).is_some_and(|o| o == owners);
        if !same && owners.iter().any(|o| self.fate(meta, o, caches, cx) != Fate::Solid) {
            wake.push((Key::of(&change.value), SECOND_LOOK));
        }
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let harmless = |e: &ApiError| matches!(e, ApiError::NotFound | ApiError::Conflict);
        let refused = |a: &Outcome| a.as_ref().is_err_and(|e| !harmless(e));
        if answers.iter().any(refused) {
            return Next::Retry;
        }
        let found = caches.named(cx.versions(), key.kind, key.ns, key.name);
        let Some((object, value)) = found else { return Next::Done };
        let value = value.clone();
        let Some(meta) = value.meta() else { return Next::Done };
        match state.step {
            Step::Start if meta.terminating() => {
                Self::as_owner((key, object), meta, state, caches, cx)
            }
            Step::Start => self.as_dependent((key, object), meta, state, caches, cx),
            Step::Releasing => {
                state.step = Step::Last;
                Next::Call(vec![call(key, object, Op::RemoveFinalizer(ORPHAN.into()))])
            }
            Step::Last => Next::Done,
        }
    }
}

impl GarbageCollector {
    /// Source: `attemptToDeleteItem`.
    fn as_dependent(
        &self,
        (key, object): (Key, ObjRef),
        meta: &Meta,
        state: &mut State,
        caches: &Cache,
        cx: &Context<'_>,
    ) -> Next {
        let Some(owners) = meta.owners.as_deref().filter(|o| !o.is_empty()) else {
            return Next::Done;
        };
        let fates: Vec<Fate> = owners.iter().map(|o| self.fate(meta, o, caches, cx)).collect();
        let gone = owners.iter().zip(&fates).filter(|(_, f)| **f != Fate::Solid);
        let uids: Vec<Uid> = gone.map(|(o, _)| o.uid).collect();
        state.step = Step::Last;
        if uids.is_empty() {
            return Next::Done;
        }
        if uids.len() < owners.len() {
            return Next::Call(vec![call(key, object, Op::RemoveOwners(uids.into()))]);
        }
        let waited_for =
            fates.contains(&Fate::Waiting) && caches.dependents(meta.uid).next().is_some();
        let propagation = if waited_for || meta.has_finalizer(FOREGROUND) {
            Propagation::Foreground
        } else if meta.has_finalizer(ORPHAN) {
            Propagation::Orphan
        } else {
            Propagation::Background
        };
        let op = Op::Delete { grace_s: None, propagation: Some(propagation), uid: Some(meta.uid) };
        Next::Call(vec![call(key, object, op)])
    }

    /// An object that is being deleted and waits for (or lets go of) its dependents.
    /// Source: `processDeletingDependentsItem`, `attemptToOrphanWorker`.
    fn as_owner(
        (key, object): (Key, ObjRef),
        meta: &Meta,
        state: &mut State,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let dependents: Vec<(Key, ObjRef, bool, bool)> = caches
            .dependents(meta.uid)
            .filter_map(|(kind, object)| {
                let value = caches.get(cx.versions(), kind, object)?;
                let own = value.meta()?;
                let mut owners = own.owners.iter().flat_map(|o| o.iter());
                let blocks = owners.any(|o| o.uid == meta.uid && o.block_owner_deletion);
                Some((Key::of(value), object, blocks, own.terminating()))
            })
            .collect();
        if meta.has_finalizer(ORPHAN) {
            let op = Op::RemoveOwners([meta.uid].into());
            let calls: Vec<Call> = dependents
                .iter()
                .map(|(key, object, ..)| call(*key, *object, op.clone()))
                .collect();
            if calls.is_empty() {
                state.step = Step::Last;
                return Next::Call(vec![call(key, object, Op::RemoveFinalizer(ORPHAN.into()))]);
            }
            state.step = Step::Releasing;
            return Next::Call(calls);
        }
        if !meta.has_finalizer(FOREGROUND) {
            return Next::Done;
        }
        state.step = Step::Last;
        if !dependents.iter().any(|(.., blocks, _)| *blocks) {
            return Next::Call(vec![call(key, object, Op::RemoveFinalizer(FOREGROUND.into()))]);
        }
        let open = dependents.iter().filter(|(.., terminating)| !terminating);
        let deletions = open.map(|(key, object, ..)| {
            let value = caches.get(cx.versions(), key.kind, *object);
            let own = value.and_then(Obj::meta).map(|m| m.uid);
            let deep = own.is_some_and(|uid| caches.dependents(uid).next().is_some());
            let how = if deep { Propagation::Foreground } else { Propagation::Background };
            call(*key, *object, Op::Delete { grace_s: None, propagation: Some(how), uid: own })
        });
        Next::Call(deletions.collect())
    }
}

fn call(key: Key, object: ObjRef, op: Op) -> Call {
    Call { kind: key.kind, ns: key.ns, name: key.name, target: Some(object), op }
}

fn wake_dependents(uid: Uid, caches: &Cache, cx: &Context<'_>, wake: &mut Vec<(Key, SimDuration)>) {
    for (kind, object) in caches.dependents(uid) {
        if let Some(value) = caches.get(cx.versions(), kind, object) {
            wake.push((Key::of(value), SimDuration::ZERO));
        }
    }
}
