//! Adoption and release: a controller takes objects that match its selector and have no
//! controller, and lets go of its own that match no more
//! (source: `ctl/controller_ref_manager.go`). Only objects whose ownership may have changed are
//! looked at: those delivered so, and at the creation of an owner the orphans of its namespace.

use crate::api::request::{ApiError, Op, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, LabelSet, Meta, Obj, Owner, Selector};
use crate::client::{Cache, Call, Key};
use crate::engine::{SimDuration, SimTime, Sym};
use crate::event::Context;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// How long an adoption that the cache does not show holds up its owner.
const TIMEOUT: SimDuration = SimDuration::from_secs(300);

/// Owners by the labels that their selectors ask for.
#[derive(Debug, Clone, Default)]
pub(super) struct SelectorIndex {
    by_pair: FxHashMap<(Sym, Sym, Sym), Vec<Key>>,
    /// Owners whose selectors ask for no single value, by namespace.
    rest: FxHashMap<Sym, Vec<Key>>,
}

impl SelectorIndex {
    fn list(&mut self, ns: Sym, selector: &Selector) -> &mut Vec<Key> {
        match selector.pair() {
            Some((key, value)) => self.by_pair.entry((ns, key, value)).or_default(),
            None => self.rest.entry(ns).or_default(),
        }
    }

    pub(super) fn insert(&mut self, key: Key, selector: &Selector) {
        let list = self.list(key.ns, selector);
        if !list.contains(&key) {
            list.push(key);
        }
    }

    pub(super) fn remove(&mut self, key: Key, selector: &Selector) {
        let list = self.list(key.ns, selector);
        list.retain(|k| *k != key);
        if list.is_empty() {
            match selector.pair() {
                Some((k, v)) => self.by_pair.remove(&(key.ns, k, v)),
                None => self.rest.remove(&key.ns),
            };
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_pair.is_empty() && self.rest.is_empty()
    }

    /// Owners that may select these labels: the selector itself is still to be asked.
    pub(super) fn candidates(&self, ns: Sym, labels: LabelSet) -> SmallVec<[Key; 4]> {
        let mut found = SmallVec::new();
        if self.is_empty() {
            return found;
        }
        for (key, value) in labels.pairs() {
            found.extend(self.by_pair.get(&(ns, *key, *value)).into_iter().flatten().copied());
        }
        found.extend(self.rest.get(&ns).into_iter().flatten().copied());
        found
    }
}

/// The selector of a workload.
pub(super) fn selector_of(obj: &Obj) -> Option<&Selector> {
    if let Obj::ReplicaSet(o) | Obj::ReplicationController(o) = obj {
        return Some(&o.selector);
    }
    if let Obj::Deployment(o) = obj {
        return Some(&o.selector);
    }
    if let Obj::StatefulSet(o) = obj {
        return Some(&o.selector);
    }
    if let Obj::DaemonSet(o) = obj {
        return Some(&o.selector);
    }
    if let Obj::Job(o) = obj {
        return Some(&o.selector);
    }
    None
}

/// `spec.replicas` of what has a `/scale`.
pub(super) fn replicas_of(obj: &Obj) -> Option<i32> {
    if let Obj::Deployment(o) = obj {
        return Some(o.replicas);
    }
    if let Obj::ReplicaSet(o) | Obj::ReplicationController(o) = obj {
        return Some(o.replicas);
    }
    if let Obj::StatefulSet(o) = obj { Some(o.replicas) } else { None }
}

/// What a controller of one kind has yet to adopt or release.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    kind: Kind,
    child: Kind,
    index: SelectorIndex,
    pending: FxHashMap<Key, Vec<ObjRef>>,
    /// Adoptions that the cache does not show yet, and since when.
    awaited: FxHashMap<Key, (usize, SimTime)>,
    /// A finalizer that comes with ownership.
    finalizer: Option<Sym>,
}

impl Claims {
    pub(super) fn new(kind: Kind, child: Kind) -> Self {
        Self {
            kind,
            child,
            index: SelectorIndex::default(),
            pending: FxHashMap::default(),
            awaited: FxHashMap::default(),
            finalizer: None,
        }
    }

    /// As [`Claims::new`]; what is adopted gets a finalizer, too.
    pub(super) fn holding(kind: Kind, child: Kind, finalizer: &str) -> Self {
        Self { finalizer: Some(Sym::new(finalizer)), ..Self::new(kind, child) }
    }

    /// An owner has come, gone or changed.
    pub(super) fn on_owner(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &Context<'_>,
    ) {
        let Some(selector) = selector_of(&change.value).filter(|s| !s.is_empty()) else { return };
        let key = Key::of(&change.value);
        if change.deleted {
            self.index.remove(key, selector);
            self.pending.remove(&key);
            self.awaited.remove(&key);
            return;
        }
        if before.is_some() {
            return;
        }
        self.index.insert(key, selector);
        for object in caches.orphans(self.child, key.ns, |labels| selector.matches(labels)) {
            let found = caches.get(cx.versions(), self.child, object);
            if found.and_then(Obj::meta).is_some_and(|m| !m.terminating()) {
                self.pending.entry(key).or_default().push(object);
            }
        }
    }

    /// A possible child has changed: wakes the owners that may adopt or must release it.
    pub(super) fn on_child(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let Some(meta) = change.value.meta() else { return };
        let was = before.and_then(Obj::meta);
        if let Some(owner) = meta.controller() {
            if owner.kind != self.kind {
                return;
            }
            let key = Key { kind: self.kind, ns: meta.ns, name: owner.name };
            if was.is_some_and(|w| w.controller().is_none()) {
                self.seen(key);
            }
            if was.is_some_and(|w| w.labels != meta.labels) && !change.deleted {
                let found = caches.named(cx.versions(), key.kind, key.ns, key.name);
                let selector = found.and_then(|(_, obj)| selector_of(obj));
                if selector.is_some_and(|s| !s.matches(meta.labels)) {
                    self.pending.entry(key).or_default().push(change.object);
                    wake.push((key, SimDuration::ZERO));
                }
            }
            return;
        }
        if change.deleted || meta.terminating() {
            return;
        }
        for key in self.index.candidates(meta.ns, meta.labels) {
            let found = caches.named(cx.versions(), key.kind, key.ns, key.name);
            let selector = found.and_then(|(_, obj)| selector_of(obj));
            if selector.is_some_and(|s| s.matches(meta.labels)) {
                self.pending.entry(key).or_default().push(change.object);
                wake.push((key, SimDuration::ZERO));
            }
        }
    }

    fn seen(&mut self, key: Key) {
        if let Some(awaited) = self.awaited.get_mut(&key) {
            awaited.0 = awaited.0.saturating_sub(1);
            if awaited.0 == 0 {
                self.awaited.remove(&key);
            }
        }
    }

    /// True while an adoption has not been seen: counting now would be wrong.
    pub(super) fn waits(&self, key: Key, now: SimTime) -> bool {
        self.awaited.get(&key).is_some_and(|(_, since)| now.since(*since) < TIMEOUT)
    }

    /// The adoptions and releases to ask for now, of children that the owner accepts. What becomes
    /// of them goes to [`Claims::settled`].
    pub(super) fn take(
        &mut self,
        key: Key,
        owner: &Meta,
        selector: &Selector,
        (caches, accept): (&Cache, impl Fn(&Meta) -> bool),
        cx: &Context<'_>,
    ) -> Vec<Call> {
        let Some(pending) = self.pending.remove(&key) else { return Vec::new() };
        let mut calls = Vec::new();
        let mut adoptions = 0;
        for object in pending {
            let found = caches.get(cx.versions(), self.child, object);
            let Some(child) = found.and_then(Obj::meta) else { continue };
            let matches = selector.matches(child.labels);
            let op = match child.controller() {
                Some(held) if held.uid == owner.uid && !matches => {
                    Op::RemoveOwners([owner.uid].into())
                }
                None if matches
                    && !child.terminating()
                    && !owner.terminating()
                    && accept(child) =>
                {
                    adoptions += 1;
                    let owner = Owner {
                        kind: self.kind,
                        name: owner.name,
                        uid: owner.uid,
                        controller: true,
                        block_owner_deletion: true,
                    };
                    Op::AddOwner { owner, uid: child.uid, finalizer: self.finalizer }
                }
                Some(_) | None => continue,
            };
            let (ns, name) = (child.ns, child.name);
            calls.push(Call { kind: self.child, ns, name, target: Some(object), op });
        }
        if adoptions > 0 {
            self.awaited.insert(key, (adoptions, cx.now()));
        }
        calls
    }

    /// The answers to what [`Claims::take`] gave; false if some are to be tried again.
    pub(super) fn settled(&mut self, key: Key, answers: &[Outcome]) -> bool {
        let mut fine = true;
        for error in answers.iter().filter_map(|a| a.as_ref().err()) {
            // Whichever of them it was, nothing more will be seen of it.
            self.seen(key);
            fine &= matches!(error, ApiError::NotFound | ApiError::Conflict | ApiError::Invalid(_));
        }
        fine
    }
}
