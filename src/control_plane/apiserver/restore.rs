//! Snapshots of etcd. A snapshot holds every object; a store that is restored from one has those
//! objects and no others, and everything done since is lost.
//!
//! Revisions go on from where they were (`etcdutl snapshot restore --bump-revision
//! --mark-compacted`, as etcd's manual asks of those who run Kubernetes), so every watch must list
//! anew. An object that has changed since gets its old content under a new resourceVersion.

use super::{ApiServer, Compare, Write};
use crate::api::kind::N_KINDS;
use crate::api::meta::Uid;
use crate::api::request::User;
use crate::api::versions::{ObjRef, Versions};
use crate::api::{Kind, Name, Obj};
use crate::engine::Sym;
use crate::event::Context;
use std::collections::BTreeMap;

/// All objects at an instant.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    objects: Vec<(ObjRef, Obj)>,
}

/// What a restore has undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Undone {
    /// Objects made since the snapshot.
    pub gone: u32,
    /// Objects that have their old content again.
    pub reverted: u32,
    /// Objects deleted since that are back.
    pub back: u32,
}

fn kinds() -> impl Iterator<Item = Kind> {
    (0..N_KINDS).map(Kind::from_index)
}

impl Snapshot {
    /// A snapshot of the store as it is.
    #[must_use]
    pub fn take(versions: &Versions) -> Self {
        let all = kinds().flat_map(|kind| versions.iter(kind).map(|(o, v)| (o, v.clone())));
        Self { objects: all.collect() }
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// True if it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

type Step = (usize, Sym, Name, Uid, Write);

impl ApiServer {
    /// The store comes back from a snapshot. Every server is down, and so is every member.
    pub fn restore(&mut self, from: &Snapshot, cx: &mut Context<'_>) -> Undone {
        if let Some(hosted) = &mut self.hosted {
            let dropped = hosted.quorum.restore(cx.now());
            for id in dropped {
                let pending = hosted.pending.remove(&id);
                let commit = pending.and_then(|p| p.commit).map(|(_, event)| event);
                for event in commit.into_iter().chain(pending.and_then(|p| p.timeout)) {
                    cx.cancel(event);
                }
                cx.take_request(id);
            }
        }
        let mut undone = Undone::default();
        let steps = differences(from, cx.versions(), &mut undone);
        for (_, _, _, _, write) in steps {
            let kind = match &write {
                Write::Put(_, value) => value.kind(),
                Write::Delete(kind, _) => *kind,
            };
            let who = (User::ApiServer, ("restore", ""));
            let done = self.write(Compare::Nothing, write, kind, who, cx);
            debug_assert!(done.is_ok(), "a snapshot could not be restored: {done:?}");
        }
        self.events.clear();
        undone
    }
}

/// What must be written to get back to a snapshot: deletions first, then what is to be there, each
/// in the order of kinds and names.
fn differences(from: &Snapshot, versions: &Versions, undone: &mut Undone) -> Vec<Step> {
    let mut then: BTreeMap<(usize, ObjKey), &Obj> = BTreeMap::new();
    for (object, value) in &from.objects {
        then.insert((value.kind().index(), ObjKey(*object)), value);
    }
    let mut deletions: Vec<Step> = Vec::new();
    let mut puts: Vec<Step> = Vec::new();
    for kind in kinds() {
        for (object, value) in versions.iter(kind) {
            let step = |write| step(value, write);
            match then.remove(&(kind.index(), ObjKey(object))) {
                None => {
                    undone.gone += 1;
                    deletions.push(step(Write::Delete(kind, object)));
                }
                Some(old) if differs(old, value) => {
                    undone.reverted += 1;
                    puts.push(step(Write::Put(Some(object), old.clone())));
                }
                Some(_) => {}
            }
        }
    }
    for value in then.into_values() {
        undone.back += 1;
        puts.push(step(value, Write::Put(None, value.clone())));
    }
    let order = |a: &Step, b: &Step| {
        a.0.cmp(&b.0).then(a.1.cmp_text(b.1)).then(a.2.cmp_text(b.2)).then(a.3.0.cmp(&b.3.0))
    };
    deletions.sort_by(order);
    puts.sort_by(order);
    deletions.extend(puts);
    deletions
}

fn step(value: &Obj, write: Write) -> Step {
    let (ns, name) = value.key();
    (value.kind().index(), ns, name, value.meta().map_or(Uid(0), |m| m.uid), write)
}

/// True if an object has been written since.
fn differs(old: &Obj, new: &Obj) -> bool {
    if let (Obj::Event(old), Obj::Event(new)) = (old, new) {
        return old != new;
    }
    let revision = |o: &Obj| o.meta().map_or(0, |m| m.resource_version);
    revision(old) != revision(new)
}

/// A handle with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ObjKey(ObjRef);

impl Ord for ObjKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.slot, self.0.generation).cmp(&(other.0.slot, other.0.generation))
    }
}

impl PartialOrd for ObjKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
