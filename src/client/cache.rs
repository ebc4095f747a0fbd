//! The shared caches of a process: for each kind the revision its informer has reached, and indices
//! kept from deliveries. Content is read from the shared table at that revision, so the cache lags
//! as a real one does and holds no copy.

use crate::api::kind::{Kind, N_KINDS};
use crate::api::versions::{Change, ObjRef, Versions};
use crate::api::{LabelSet, Name, Obj, Uid};
use crate::engine::Sym;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Objects without a controller, by their labels.
type Orphans = FxHashMap<LabelSet, BTreeSet<(u32, u32)>>;

/// Caches of one process (kube-controller-manager shares one set among its controllers).
#[derive(Debug, Clone)]
pub struct Cache {
    revs: Vec<u64>,
    /// Objects by the identity of their controller, in order of delivery.
    owned: FxHashMap<Uid, Vec<(Kind, ObjRef)>>,
    /// Objects by the identity of their other owners, which are rare.
    shared: FxHashMap<Uid, Vec<(Kind, ObjRef)>>,
    /// Pods by node, in order of delivery.
    on_node: FxHashMap<Sym, Vec<ObjRef>>,
    /// Pods and `ReplicaSets` that no controller owns, by namespace and labels (slot, generation).
    orphans: FxHashMap<(Kind, Sym), Orphans>,
    /// Live objects per kind in order of delivery, for kinds that do not churn ([`is_listed`]).
    listed: Vec<Vec<ObjRef>>,
}

/// True for kinds whose live objects are kept as a list: those that somebody lists.
const fn is_listed(kind: Kind) -> bool {
    matches!(kind, Kind::Node | Kind::DaemonSet | Kind::StorageClass)
}

/// True if a change leaves owners, node and labels alone, so that no index moves: most changes of
/// pods are such.
fn stays(before: &Obj, now: &Obj) -> bool {
    let (Some(a), Some(b)) = (before.meta(), now.meta()) else { return false };
    let owners = match (&a.owners, &b.owners) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, Some(_)) | (Some(_), None) => false,
    };
    let node = |obj: &Obj| obj.as_pod().map(|p| p.node);
    owners && a.labels == b.labels && node(before) == node(now)
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            revs: vec![0; N_KINDS],
            owned: FxHashMap::default(),
            shared: FxHashMap::default(),
            on_node: FxHashMap::default(),
            orphans: FxHashMap::default(),
            listed: vec![Vec::new(); N_KINDS],
        }
    }
}

impl Cache {
    /// Takes in a delivered change; `before` is the content before it.
    pub fn apply(&mut self, change: &Change, before: Option<&Obj>) {
        let kind = change.value.kind();
        // A cold start lists in key order: the revisions of a list go up and down.
        let rev = &mut self.revs[kind.index()];
        *rev = change.rev.max(*rev);
        if change.deleted {
            if is_listed(kind) {
                self.listed[kind.index()].retain(|o| *o != change.object);
            }
        } else if before.is_none() && is_listed(kind) {
            self.listed[kind.index()].push(change.object);
        }
        if before.is_some_and(|before| !change.deleted && stays(before, &change.value)) {
            return;
        }
        self.reindex(kind, change, before);
        self.share(kind, change, before);
        if matches!(kind, Kind::Pod | Kind::ReplicaSet) {
            self.note_orphan(kind, change, before);
        }
    }

    /// Keeps the index of what nobody owns.
    fn note_orphan(&mut self, kind: Kind, change: &Change, before: Option<&Obj>) {
        let place = |obj: &Obj| {
            let meta = obj.meta().filter(|m| m.controller().is_none())?;
            Some((meta.ns, meta.labels))
        };
        let new = if change.deleted { None } else { place(&change.value) };
        let old = before.and_then(place);
        if old == new {
            return;
        }
        let id = (change.object.slot, change.object.generation);
        if let Some((ns, labels)) = old
            && let Some(sets) = self.orphans.get_mut(&(kind, ns))
            && let Some(set) = sets.get_mut(&labels)
        {
            set.remove(&id);
            if set.is_empty() {
                sets.remove(&labels);
            }
        }
        if let Some((ns, labels)) = new {
            self.orphans.entry((kind, ns)).or_default().entry(labels).or_default().insert(id);
        }
    }

    /// Pods or `ReplicaSets` of a namespace that no controller owns and whose labels are these, in
    /// the order of their rows.
    pub fn orphans(&self, kind: Kind, ns: Sym, matches: impl Fn(LabelSet) -> bool) -> Vec<ObjRef> {
        let mut found: Vec<(u32, u32)> = Vec::new();
        if let Some(sets) = self.orphans.get(&(kind, ns)) {
            // The order of the sets does not show: what is found is sorted.
            #[expect(clippy::iter_over_hash_type, reason = "sorted below")]
            for (labels, set) in sets {
                if matches(*labels) {
                    found.extend(set);
                }
            }
        }
        found.sort_unstable();
        found.into_iter().map(|(slot, generation)| ObjRef { slot, generation }).collect()
    }

    /// Moves the object between owner and node lists if those have changed.
    fn reindex(&mut self, kind: Kind, change: &Change, before: Option<&Obj>) {
        let owner_of = |obj: &Obj| obj.meta().and_then(|m| m.controller()).map(|o| o.uid);
        let node_of = |obj: &Obj| obj.as_pod().map(|p| p.node).filter(|n| !n.is_empty());
        let old = before.map(|b| (owner_of(b), node_of(b))).unwrap_or_default();
        let new = if change.deleted {
            (None, None)
        } else {
            (owner_of(&change.value), node_of(&change.value))
        };
        if old.0 != new.0 {
            if let Some(list) = old.0.and_then(|uid| self.owned.get_mut(&uid))
                && let Some(at) = list.iter().position(|o| *o == (kind, change.object))
            {
                list.remove(at);
            }
            if let Some(uid) = old.0.filter(|uid| self.owned.get(uid).is_some_and(Vec::is_empty)) {
                self.owned.remove(&uid);
            }
            if let Some(uid) = new.0 {
                self.owned.entry(uid).or_default().push((kind, change.object));
            }
        }
        if old.1 != new.1 {
            if let Some(list) = old.1.and_then(|node| self.on_node.get_mut(&node))
                && let Some(at) = list.iter().position(|o| *o == change.object)
            {
                list.remove(at);
            }
            if let Some(node) = new.1 {
                self.on_node.entry(node).or_default().push(change.object);
            }
        }
    }

    /// Keeps the index of owners that are no controllers.
    fn share(&mut self, kind: Kind, change: &Change, before: Option<&Obj>) {
        let others = |obj: &Obj| -> Vec<Uid> {
            let owners = obj.meta().and_then(|m| m.owners.as_deref()).unwrap_or_default();
            owners.iter().filter(|o| !o.controller).map(|o| o.uid).collect()
        };
        let old = before.map(others).unwrap_or_default();
        let new = if change.deleted { Vec::new() } else { others(&change.value) };
        if old == new {
            return;
        }
        let entry = (kind, change.object);
        for uid in old {
            if let Some(list) = self.shared.get_mut(&uid) {
                list.retain(|o| *o != entry);
                if list.is_empty() {
                    self.shared.remove(&uid);
                }
            }
        }
        for uid in new {
            self.shared.entry(uid).or_default().push(entry);
        }
    }

    /// The revision the informer of a kind has reached.
    #[must_use]
    pub fn rev(&self, kind: Kind) -> u64 {
        self.revs[kind.index()]
    }

    /// Everything up to this revision has been told: what a list was read at.
    pub fn reached(&mut self, kind: Kind, rev: u64) {
        let at = &mut self.revs[kind.index()];
        *at = rev.max(*at);
    }

    /// The object of a name, as this cache knows it.
    #[must_use]
    pub fn find(&self, versions: &Versions, kind: Kind, ns: Sym, name: Name) -> Option<ObjRef> {
        versions.find_at(kind, ns, name, self.rev(kind))
    }

    /// The content of an object as this cache knows it.
    #[must_use]
    pub fn get<'v>(&self, versions: &'v Versions, kind: Kind, object: ObjRef) -> Option<&'v Obj> {
        versions.at(kind, object, self.rev(kind))
    }

    /// The content of a named object as this cache knows it.
    #[must_use]
    pub fn named<'v>(
        &self,
        versions: &'v Versions,
        kind: Kind,
        ns: Sym,
        name: Name,
    ) -> Option<(ObjRef, &'v Obj)> {
        let object = self.find(versions, kind, ns, name)?;
        self.get(versions, kind, object).map(|value| (object, value))
    }

    /// Objects of a kind controlled by this identity, in order of delivery.
    pub fn owned(&self, uid: Uid, kind: Kind) -> impl Iterator<Item = ObjRef> {
        self.owned.get(&uid).into_iter().flatten().filter(move |(k, _)| *k == kind).map(|(_, o)| *o)
    }

    /// Objects of any kind that this identity owns: first those that it controls, each in order of
    /// delivery.
    pub fn dependents(&self, uid: Uid) -> impl Iterator<Item = (Kind, ObjRef)> {
        let others = self.shared.get(&uid);
        self.owned.get(&uid).into_iter().chain(others).flatten().copied()
    }

    /// Pods bound to a node, in order of delivery.
    #[must_use]
    pub fn on_node(&self, node: Sym) -> &[ObjRef] {
        self.on_node.get(&node).map_or(&[], Vec::as_slice)
    }

    /// Live objects of a kind in order of delivery; empty for kinds that nobody lists.
    #[must_use]
    pub fn list(&self, kind: Kind) -> &[ObjRef] {
        &self.listed[kind.index()]
    }
}
