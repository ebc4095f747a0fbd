//! The one shared table of object versions. etcd writes it; a watch cache, an informer or a
//! member is only a position in it (a revision, or an index into a kind's log), so nobody keeps a
//! copy. A superseded version lives as long as a cursor has yet to pass it, and for the watch
//! cache's window after that ([`Versions::trim`]).
//!
//! Invariant (tidy checks it): only `control_plane/etcd` calls [`Versions::put`],
//! [`Versions::delete`], [`Versions::compact`] and [`Versions::trim`].

use super::kind::{Kind, N_KINDS};
use super::name::Name;
use super::object::Obj;
use super::on_node::OnNode;
use super::pod::Pod;
use crate::engine::table::Table;
use crate::engine::{SimTime, Sym, num};
use hashbrown::HashTable;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::collections::VecDeque;
use std::hash::BuildHasher;

/// One incarnation of an object: a same-named successor has another `ObjRef`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ObjRef {
    /// Row in the kind's table.
    pub slot: u32,
    /// How often the row had been reused.
    pub generation: u32,
}

/// One committed change of an object.
#[derive(Debug, Clone)]
pub struct Change {
    /// The store's revision of the change.
    pub rev: u64,
    /// The event (its seq) that committed it: the evidence of whoever acts on the change.
    pub seq: u64,
    /// When it was committed.
    pub time: SimTime,
    /// Which object.
    pub object: ObjRef,
    /// True if the object was deleted; `value` is then its last content.
    pub deleted: bool,
    /// 1 + log index of the version before; 0 for a creation.
    prev: u64,
    /// The content before the change; none for a creation. It outlives the compaction of the
    /// version it was, so that a handler always sees old and new.
    pub before: Option<Obj>,
    /// The content after the change.
    pub value: Obj,
}

impl Change {
    /// True if the change made the object.
    #[must_use]
    pub fn created(&self) -> bool {
        self.before.is_none()
    }
}

/// A revision in six bytes: rows are many.
#[derive(Debug, Clone, Copy, Default)]
struct Rev([u16; 3]);

impl Rev {
    fn new(rev: u64) -> Self {
        assert!(rev < 1 << 48, "fewer than 281 trillion revisions");
        let b = rev.to_le_bytes();
        Self([0, 2, 4].map(|i| u16::from_le_bytes([b[i], b[i + 1]])))
    }

    fn get(self) -> u64 {
        self.0.iter().rev().fold(0, |rev, part| rev << 16 | u64::from(*part))
    }
}

/// 1 + log index of a version that is still in the log, or nothing: the lower bits alone, for a log
/// is shorter than 2³¹ entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Head(u32);

impl Head {
    const NONE: Self = Self(0);
    const MASK: u64 = (1 << 31) - 1;

    fn new(link: u64) -> Self {
        Self(num::u32_of(num::index((link & Self::MASK) << 1 | 1)))
    }

    /// The link, given the index of the log's first entry; 0 for none.
    fn link(self, base: u64) -> u64 {
        if self == Self::NONE {
            return 0;
        }
        base + (u64::from(self.0 >> 1).wrapping_sub(base) & Self::MASK)
    }
}

/// A row of a kind's table.
#[derive(Debug, Clone, Default)]
struct Slot {
    value: Option<Obj>,
    generation: u32,
    /// Versions since creation (etcd's per-key `version`).
    version: u32,
    /// Where the newest version stands in the log.
    head: Head,
    create_rev: Rev,
    mod_rev: Rev,
}

const _: () = assert!(size_of::<Slot>() == 40, "there are five rows and more for each pod");

/// All objects of one kind: the current ones and the log of changes.
#[derive(Debug, Clone, Default)]
struct KindTable {
    slots: Table<Slot>,
    free: Vec<u32>,
    /// Rows by the hash of their names; a deleted one stays until its last version is freed, for
    /// clients that have not heard of it yet. Events are not found by name.
    by_name: HashTable<u32>,
    log: VecDeque<Change>,
    /// Log index of the first entry still there.
    base: u64,
    live: usize,
    compacted_rev: u64,
    /// Newest revision freed before its compaction.
    trimmed_rev: u64,
}

/// Revisions of one object, as etcd counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRevisions {
    /// Revision of the creation.
    pub create: u64,
    /// Revision of the last change.
    pub modified: u64,
    /// Changes since creation, 1-based.
    pub version: u32,
}

/// The table of all kinds.
#[derive(Debug, Clone)]
pub struct Versions {
    kinds: Vec<KindTable>,
    on_node: OnNode,
    rev: u64,
}

impl Default for Versions {
    fn default() -> Self {
        Self { kinds: vec![KindTable::default(); N_KINDS], on_node: OnNode::default(), rev: 1 }
    }
}

impl Versions {
    /// The store's revision; starts at 1, as etcd's.
    #[must_use]
    pub fn rev(&self) -> u64 {
        self.rev
    }

    /// The current object of a name. Kubernetes Events cannot be found by name.
    #[must_use]
    pub fn find(&self, kind: Kind, ns: Sym, name: Name) -> Option<ObjRef> {
        let table = &self.kinds[kind.index()];
        let is = |slot: &u32| table.live_name(*slot) == Some((ns, name));
        let slot = *table.by_name.find(hash_of(ns, name), is)?;
        Some(ObjRef { slot, generation: table.slots[slot as usize].generation })
    }

    /// The object that had a name at a revision, as far as its versions are still there.
    #[must_use]
    pub fn find_at(&self, kind: Kind, ns: Sym, name: Name, rev: u64) -> Option<ObjRef> {
        let table = &self.kinds[kind.index()];
        let named = table.by_name.iter_hash(hash_of(ns, name)).filter_map(|&slot| {
            let generation = table.slots[slot as usize].generation;
            let object = ObjRef { slot, generation };
            let then = self.at(kind, object, rev)?;
            (then.key() == (ns, name)).then_some(object)
        });
        // Two of one name never lived at one time, so the order of the table does not show.
        named.into_iter().next()
    }

    /// The newest content of an object; none once deleted.
    #[must_use]
    pub fn current(&self, kind: Kind, object: ObjRef) -> Option<&Obj> {
        let slot = self.slot(kind, object)?;
        slot.value.as_ref()
    }

    /// The content as of a revision; none if it did not exist then, or if that version has been
    /// compacted.
    #[must_use]
    pub fn at(&self, kind: Kind, object: ObjRef, rev: u64) -> Option<&Obj> {
        let slot = self.slot(kind, object)?;
        if slot.mod_rev.get() <= rev {
            return slot.value.as_ref();
        }
        let table = &self.kinds[kind.index()];
        let mut link = slot.head.link(table.base);
        while link > table.base {
            let change = &table.log[num::index(link - 1 - table.base)];
            if change.rev <= rev {
                return (!change.deleted).then_some(&change.value);
            }
            if change.prev <= table.base {
                // The version before is compacted, but its content lives on beside its successor: a
                // cursor between the two must not see the object vanish.
                return change.before.as_ref();
            }
            link = change.prev;
        }
        None
    }

    /// etcd's revisions of a live object.
    #[must_use]
    pub fn revisions(&self, kind: Kind, object: ObjRef) -> Option<KeyRevisions> {
        let slot = self.slot(kind, object)?;
        slot.value.as_ref()?;
        Some(KeyRevisions {
            create: slot.create_rev.get(),
            modified: slot.mod_rev.get(),
            version: slot.version,
        })
    }

    fn slot(&self, kind: Kind, object: ObjRef) -> Option<&Slot> {
        self.kinds[kind.index()]
            .slots
            .get(object.slot as usize)
            .filter(|s| s.generation == object.generation)
    }

    /// Number of live objects of a kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.kinds[kind.index()].live
    }

    /// Live objects of a kind, in row order (not by name: sort at the edge where order is shown).
    pub fn iter(&self, kind: Kind) -> impl Iterator<Item = (ObjRef, &Obj)> {
        self.kinds[kind.index()].slots.iter().enumerate().filter_map(|(i, slot)| {
            let object = ObjRef { slot: num::u32_of(i), generation: slot.generation };
            slot.value.as_ref().map(|value| (object, value))
        })
    }

    /// Live pods that are bound to a node, in no order.
    pub fn pods_on(&self, node: Sym) -> impl Iterator<Item = (ObjRef, &Pod)> {
        let slots = &self.kinds[Kind::Pod.index()].slots;
        self.on_node.of(node).iter().filter_map(|&row| {
            let slot = &slots[row as usize];
            let object = ObjRef { slot: row, generation: slot.generation };
            Some((object, &**slot.value.as_ref()?.as_pod()?))
        })
    }

    /// A live object as a client that lists it now sees it: a change without a predecessor.
    #[must_use]
    pub fn listed(&self, kind: Kind, object: ObjRef) -> Option<Change> {
        let slot = self.slot(kind, object)?;
        let value = slot.value.clone()?;
        let (rev, time) = (slot.mod_rev.get(), SimTime::ZERO);
        Some(Change { rev, seq: 0, time, object, deleted: false, prev: 0, before: None, value })
    }

    /// The index one past the newest log entry of a kind.
    #[must_use]
    pub fn log_end(&self, kind: Kind) -> u64 {
        let table = &self.kinds[kind.index()];
        table.base + table.log.len() as u64
    }

    /// A log entry; none if it has been compacted or does not exist yet.
    #[must_use]
    pub fn change(&self, kind: Kind, index: u64) -> Option<&Change> {
        let table = &self.kinds[kind.index()];
        table.log.get(num::index(index.checked_sub(table.base)?))
    }

    /// Log index of the first entry still there: a cursor below it has missed changes.
    #[must_use]
    pub fn log_start(&self, kind: Kind) -> u64 {
        self.kinds[kind.index()].base
    }

    /// The revision up to which history is gone.
    #[must_use]
    pub fn compacted_rev(&self, kind: Kind) -> u64 {
        self.kinds[kind.index()].compacted_rev
    }

    /// The oldest revision at which all objects of a kind can still be read.
    #[must_use]
    pub fn readable_from(&self, kind: Kind) -> u64 {
        let table = &self.kinds[kind.index()];
        table.compacted_rev.max(table.trimmed_rev)
    }

    /// Commits a new content (of a new object if `object` is none). Gives the object and revision.
    pub fn put(
        &mut self,
        object: Option<ObjRef>,
        value: Obj,
        time: SimTime,
        seq: u64,
    ) -> (ObjRef, u64) {
        let kind = value.kind();
        self.rev += 1;
        let rev = self.rev;
        let table = &mut self.kinds[kind.index()];
        let object = object.unwrap_or_else(|| table.make_slot(kind, &value, rev));
        let value = stamped(value, rev);
        let link = table.base + table.log.len() as u64 + 1;
        let slot = &mut table.slots[object.slot as usize];
        assert_eq!(slot.generation, object.generation, "write to a dead object");
        let prev = slot.head.link(table.base);
        slot.head = Head::new(link);
        slot.mod_rev = Rev::new(rev);
        slot.version += 1;
        let before = slot.value.replace(value.clone());
        if let Obj::Pod(pod) = &value {
            let was = before.as_ref().and_then(Obj::as_pod).map_or(Sym::EMPTY, |p| p.node);
            self.on_node.moves(object.slot, was, pod.node);
        }
        let change = Change { rev, seq, time, object, deleted: false, prev, before, value };
        table.log.push_back(change);
        (object, rev)
    }

    /// Commits a deletion; gives the revision. The object must be live.
    pub fn delete(&mut self, kind: Kind, object: ObjRef, time: SimTime, seq: u64) -> u64 {
        self.rev += 1;
        let rev = self.rev;
        let table = &mut self.kinds[kind.index()];
        let link = table.base + table.log.len() as u64 + 1;
        let slot = &mut table.slots[object.slot as usize];
        assert_eq!(slot.generation, object.generation, "deletion of a dead object");
        let value = slot.value.clone().expect("deletion of an object that is gone");
        let prev = slot.head.link(table.base);
        if let Obj::Pod(pod) = &value {
            self.on_node.moves(object.slot, pod.node, Sym::EMPTY);
        }
        let before = Some(value.clone());
        slot.head = Head::new(link);
        slot.mod_rev = Rev::new(rev);
        table.live -= 1;
        slot.value = None;
        let value = stamped(value, rev);
        let change = Change { rev, seq, time, object, deleted: true, prev, before, value };
        table.log.push_back(change);
        rev
    }

    /// Forgets versions superseded at or before a revision, in every kind: nobody can ask for them
    /// any more. `held` is the log index (by kind) of the slowest cursor: what a client has not
    /// passed yet stays readable to it, for its cache is nothing but that position.
    pub fn compact(&mut self, rev: u64, held: &[u64]) {
        for (kind, table) in self.kinds.iter_mut().enumerate() {
            table.compacted_rev = table.compacted_rev.max(rev);
            let held = held.get(kind).copied().unwrap_or(u64::MAX);
            while table.base < held && table.log.front().is_some_and(|c| c.rev <= rev) {
                table.drop_front();
            }
        }
    }

    /// Frees what was superseded before an instant and has been passed by every cursor. Compaction
    /// would do so minutes later; until then it could only be read by asking for an old revision,
    /// which nobody inside the cluster does once the watch cache's window has passed. Memory freed
    /// early is memory still in the processor's cache.
    pub fn trim(&mut self, before: SimTime, held: &[u64]) {
        for (kind, table) in self.kinds.iter_mut().enumerate() {
            let held = held.get(kind).copied().unwrap_or(u64::MAX);
            while table.base < held
                && let Some(change) = table.log.front().filter(|c| c.time < before)
            {
                table.trimmed_rev = change.rev;
                table.drop_front();
            }
        }
    }

    /// What a client that knows the state before the given log entries finds changed when it lists
    /// now: per object its present state beside what the client knew (a deletion carries what it
    /// knew last), in order of revision. What came and went unseen is left out.
    #[must_use]
    pub fn missed(&self, kind: Kind, entries: impl Iterator<Item = u64>) -> Vec<Change> {
        let mut at: FxHashMap<ObjRef, usize> = FxHashMap::default();
        let mut merged: Vec<Change> = Vec::new();
        for change in entries.filter_map(|i| self.change(kind, i)) {
            match at.get(&change.object) {
                Some(&i) => {
                    let before = merged[i].before.take();
                    merged[i] = Change { before, ..change.clone() };
                }
                None => {
                    at.insert(change.object, merged.len());
                    merged.push(change.clone());
                }
            }
        }
        merged.retain(|c| !(c.deleted && c.before.is_none()));
        merged.sort_by_key(|c| c.rev);
        merged
    }

    /// All live objects of a kind as a client that starts cold lists them, in key order.
    #[must_use]
    pub fn list(&self, kind: Kind) -> Vec<Change> {
        let listed = self.iter(kind).filter_map(|(object, _)| self.listed(kind, object));
        let mut all: Vec<Change> = listed.collect();
        all.sort_by(|a, b| {
            let (a, b) = (a.value.key(), b.value.key());
            a.0.cmp_text(b.0).then(a.1.cmp_text(b.1))
        });
        all
    }
}

/// The hash of a name, for tables that keep rows by it.
fn hash_of(ns: Sym, name: Name) -> u64 {
    FxBuildHasher.hash_one((ns, name))
}

/// The object with its `resourceVersion` set.
fn stamped(mut value: Obj, rev: u64) -> Obj {
    if let Some(meta) = value.meta_mut() {
        meta.resource_version = rev;
    }
    value
}

impl KindTable {
    fn make_slot(&mut self, kind: Kind, value: &Obj, rev: u64) -> ObjRef {
        let index =
            self.free.pop().unwrap_or_else(|| num::u32_of(self.slots.push(Slot::default())));
        let slot = &mut self.slots[index as usize];
        slot.create_rev = Rev::new(rev);
        slot.version = 0;
        slot.head = Head::NONE;
        let object = ObjRef { slot: index, generation: slot.generation };
        self.live += 1;
        if kind != Kind::Event {
            let (ns, name) = value.key();
            let is = |slot: &u32| self.live_name(*slot) == Some((ns, name));
            let twin = self.by_name.find(hash_of(ns, name), is);
            assert!(twin.is_none(), "two live objects of one name: {:?}", value.key());
            let mut by_name = std::mem::take(&mut self.by_name);
            let hash = |&slot: &u32| self.name_of(slot).map_or(0, |(ns, name)| hash_of(ns, name));
            by_name.insert_unique(hash_of(ns, name), index, hash);
            self.by_name = by_name;
        }
        object
    }

    /// A row is free: its name leads nowhere.
    fn forget_name(&mut self, change: &Change) {
        let (ns, name) = change.value.key();
        let is = |slot: &u32| *slot == change.object.slot;
        if change.value.kind() != Kind::Event
            && let Ok(entry) = self.by_name.find_entry(hash_of(ns, name), is)
        {
            entry.remove();
        }
    }

    /// Namespace and name of a live row.
    fn live_name(&self, slot: u32) -> Option<(Sym, Name)> {
        self.slots[slot as usize].value.as_ref().map(Obj::key)
    }

    /// Namespace and name of a row, be it live or deleted and still in the log.
    fn name_of(&self, slot: u32) -> Option<(Sym, Name)> {
        self.live_name(slot).or_else(|| {
            let link = self.slots[slot as usize].head.link(self.base);
            let change = self.log.get(num::index(link.checked_sub(self.base + 1)?))?;
            Some(change.value.key())
        })
    }

    fn drop_front(&mut self) {
        let Some(change) = self.log.pop_front() else { return };
        self.base += 1;
        let slot = &mut self.slots[change.object.slot as usize];
        if slot.generation == change.object.generation && slot.head == Head::new(self.base) {
            slot.head = Head::NONE;
            if change.deleted {
                slot.generation += 1;
                self.free.push(change.object.slot);
                self.forget_name(&change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Meta, Pod};
    use std::sync::Arc;

    fn pod(name: &str) -> Obj {
        Obj::Pod(Arc::new(Pod { meta: Meta::named("ns".into(), name.into()), ..Pod::default() }))
    }

    #[test]
    fn a_list_shows_what_differs_from_what_is_known() {
        let mut versions = Versions::default();
        let put = |v: &mut Versions, o, name| v.put(o, pod(name), SimTime(0), 1).0;
        let kept = put(&mut versions, None, "kept");
        let gone = put(&mut versions, None, "gone");
        let known = versions.log_end(Kind::Pod);
        put(&mut versions, Some(kept), "kept");
        let brief = put(&mut versions, None, "brief");
        versions.delete(Kind::Pod, brief, SimTime(0), 1);
        versions.delete(Kind::Pod, gone, SimTime(0), 1);
        put(&mut versions, Some(kept), "kept");
        let again = put(&mut versions, None, "gone");
        let missed = versions.missed(Kind::Pod, known..versions.log_end(Kind::Pod));
        let rv = |o: &Option<Obj>| o.as_ref().and_then(Obj::meta).map(|m| m.resource_version);
        let seen: Vec<_> = missed.iter().map(|c| (c.object, rv(&c.before), c.deleted)).collect();
        let told = [(gone, Some(3), true), (kept, Some(2), false), (again, None, false)];
        assert_eq!(seen, told);
    }

    #[test]
    fn what_every_cursor_has_passed_is_freed() {
        let mut versions = Versions::default();
        let (a, r1) = versions.put(None, pod("a"), SimTime(0), 1);
        versions.put(Some(a), pod("a"), SimTime(1), 2);
        versions.put(Some(a), pod("a"), SimTime(2), 3);
        let mut held = [0; N_KINDS];
        held[Kind::Pod.index()] = 1;
        versions.trim(SimTime(2), &held);
        assert_eq!((versions.log_start(Kind::Pod), versions.readable_from(Kind::Pod)), (1, r1));
        assert!(versions.at(Kind::Pod, a, r1).is_some(), "the cursor at 1 knows this content");
        versions.trim(SimTime(2), &[]);
        assert_eq!((versions.log_start(Kind::Pod), versions.compacted_rev(Kind::Pod)), (2, 0));
        assert!(versions.current(Kind::Pod, a).is_some());
    }

    #[test]
    fn old_revisions_can_be_read_until_compacted() {
        let mut versions = Versions::default();
        let (a, r1) = versions.put(None, pod("a"), SimTime(0), 1);
        let (_, r2) = versions.put(Some(a), pod("a"), SimTime(1), 2);
        assert_eq!((r1, r2), (2, 3));
        let rv =
            |rev| versions.at(Kind::Pod, a, rev).and_then(|o| o.meta()).map(|m| m.resource_version);
        assert_eq!((rv(1), rv(2), rv(3)), (None, Some(2), Some(3)));
        let r3 = versions.delete(Kind::Pod, a, SimTime(2), 3);
        assert!(versions.current(Kind::Pod, a).is_none());
        assert!(versions.at(Kind::Pod, a, r2).is_some());
        versions.compact(r2, &[0; N_KINDS]);
        assert!(versions.change(Kind::Pod, 0).is_some(), "a cursor holds the log");
        versions.compact(r2, &[]);
        assert!(versions.at(Kind::Pod, a, r2).is_some(), "a cursor before the deletion sees it");
        assert!(versions.at(Kind::Pod, a, r3).is_none());
        versions.compact(r3, &[]);
        let (b, _) = versions.put(None, pod("b"), SimTime(3), 4);
        assert_eq!((b.slot, b.generation), (a.slot, a.generation + 1));
    }
}
