//! Which pods a Service (or whatever else selects pods) has: kept from deliveries.

use super::claims::SelectorIndex;
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, LabelSet, Obj, Selector};
use crate::client::{Cache, Key};
use crate::engine::Sym;
use crate::event::Context;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// Pods by what selects them.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    index: SelectorIndex,
    selectors: FxHashMap<Key, Selector>,
    pods: FxHashMap<Key, BTreeSet<(u32, u32)>>,
}

/// Keys that a pod has entered, left, or stays in.
pub(super) type Touched = SmallVec<[Key; 4]>;

impl Members {
    /// The selector of a key has come, changed or (none) gone. A new one is held against the pods
    /// of its namespace once.
    pub(super) fn set(
        &mut self,
        key: Key,
        selector: Option<Selector>,
        caches: &Cache,
        cx: &Context<'_>,
    ) -> bool {
        if self.selectors.get(&key) == selector.as_ref() {
            return false;
        }
        if let Some(old) = self.selectors.remove(&key) {
            self.index.remove(key, &old);
            self.pods.remove(&key);
        }
        let Some(selector) = selector else { return true };
        let pods = cx.versions().iter(Kind::Pod).filter_map(|(object, _)| {
            let pod = caches.get(cx.versions(), Kind::Pod, object)?.as_pod()?;
            let inside = pod.meta.ns == key.ns && selector.matches(pod.meta.labels);
            inside.then_some((object.slot, object.generation))
        });
        self.pods.insert(key, pods.collect());
        self.index.insert(key, &selector);
        self.selectors.insert(key, selector);
        true
    }

    /// True if nothing selects pods.
    pub(super) fn none(&self) -> bool {
        self.index.is_empty()
    }

    fn matching(&self, ns: Sym, labels: LabelSet) -> Touched {
        let mut keys = self.index.candidates(ns, labels);
        keys.retain(|key| self.selectors.get(key).is_some_and(|s| s.matches(labels)));
        keys
    }

    /// A pod has changed: the keys it is (or was) in.
    pub(super) fn on_pod(&mut self, change: &Change, before: Option<&Obj>) -> Touched {
        let Some(meta) = change.value.meta() else { return Touched::new() };
        let id = (change.object.slot, change.object.generation);
        let mut touched = self.matching(meta.ns, meta.labels);
        let old = before.and_then(Obj::meta).map(|m| m.labels);
        if old != Some(meta.labels) || change.deleted {
            for key in old.map(|labels| self.matching(meta.ns, labels)).unwrap_or_default() {
                if change.deleted || !touched.contains(&key) {
                    self.pods.entry(key).or_default().remove(&id);
                }
                if !touched.contains(&key) {
                    touched.push(key);
                }
            }
            if !change.deleted {
                for key in self.matching(meta.ns, meta.labels) {
                    self.pods.entry(key).or_default().insert(id);
                }
            }
        }
        touched
    }

    /// The pods of a key, in the order of their rows.
    pub(super) fn of(&self, key: Key) -> impl Iterator<Item = ObjRef> {
        let pods = self.pods.get(&key).into_iter().flatten();
        pods.map(|&(slot, generation)| ObjRef { slot, generation })
    }
}
