//! What a DaemonSet's sync would find, kept from change to change: a cluster of a thousand nodes
//! turns some node every few seconds, and nearly every time only the numbers of the status change.
//! Whatever is more than that (a pod to make, to delete or to replace) is for the full
//! [`View`] to work out.

use super::daemonplan::{View, ended, node_of, tolerations, verdict};
use super::support::available;
use crate::api::pod::Toleration;
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::{DaemonSet, DaemonSetStatus};
use crate::api::{Kind, Obj, Pod, Uid};
use crate::client::Cache;
use crate::engine::{Sym, num};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Numbers of a status that add up over nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    desired: i32,
    misscheduled: i32,
    current: i32,
    ready: i32,
    available: i32,
    updated: i32,
}

impl Tally {
    fn add(&mut self, other: Self, sign: i32) {
        self.desired += sign * other.desired;
        self.misscheduled += sign * other.misscheduled;
        self.current += sign * other.current;
        self.ready += sign * other.ready;
        self.available += sign * other.available;
        self.updated += sign * other.updated;
    }
}

/// A node as one set sees it.
#[derive(Debug, Clone)]
struct Seat {
    node: ObjRef,
    tally: Tally,
    /// There is something to make, to delete or to replace.
    busy: bool,
    stale: bool,
}

/// The nodes as one set sees them.
#[derive(Debug, Clone)]
struct Board {
    /// Generation of the set and hash of its newest revision: with another one all is void.
    of: (u32, Sym),
    tolerations: Vec<Toleration>,
    seats: Vec<Seat>,
    index: FxHashMap<Sym, u32>,
    stale: Vec<u32>,
    /// Seats whose pod is ready and not yet available.
    ripening: BTreeSet<u32>,
    sum: Tally,
    busy: usize,
    /// Pods without a node.
    unbound: usize,
}

/// The boards of all sets.
#[derive(Debug, Clone, Default)]
pub(super) struct Boards {
    by_set: FxHashMap<Uid, Board>,
}

impl Boards {
    /// The set is gone.
    pub(super) fn forget(&mut self, set: Uid) {
        self.by_set.remove(&set);
    }

    /// A node has been written.
    pub(super) fn on_node(&mut self, change: &Change, before: Option<&Obj>) {
        if change.deleted || before.is_none() {
            self.by_set.clear();
            return;
        }
        let node = change.value.key().1.sym();
        #[expect(clippy::iter_over_hash_type, reason = "each board is by itself")]
        for board in self.by_set.values_mut() {
            board.touch(node);
        }
    }

    /// A pod has been written.
    pub(super) fn on_pod(&mut self, change: &Change, before: Option<&Obj>) {
        let now = (!change.deleted).then_some(&change.value);
        for (obj, sign) in [(before, -1), (now, 1)] {
            let Some(pod) = obj.and_then(Obj::as_pod) else { continue };
            let owner = pod.meta.controller().filter(|o| o.kind == Kind::DaemonSet);
            let board = owner.and_then(|o| self.by_set.get_mut(&o.uid));
            let Some(board) = board else { continue };
            if pod.node.is_empty() {
                board.unbound = board.unbound.saturating_add_signed(sign);
            }
            board.touch(node_of(pod));
        }
    }

    /// The status of a set with which nothing is to be done; none if something may be.
    pub(super) fn quiet(
        &mut self,
        set: &DaemonSet,
        (label, hash): (Sym, Sym),
        caches: &Cache,
        cx: &Context<'_>,
    ) -> Option<DaemonSetStatus> {
        let of = (set.meta.generation, hash);
        if self.by_set.get(&set.meta.uid).is_none_or(|board| board.of != of) {
            self.by_set.insert(set.meta.uid, Board::new(set, hash, caches, cx));
        }
        let board = self.by_set.get_mut(&set.meta.uid)?;
        board.refresh(set, (label, hash), caches, cx);
        if board.busy > 0 || board.unbound > 0 {
            return None;
        }
        let status = board.status(set);
        debug_assert_eq!(
            status,
            View::new(set, (label, hash), caches, cx).status(cx),
            "kept and counted anew"
        );
        Some(status)
    }
}

impl Board {
    fn new(set: &DaemonSet, hash: Sym, caches: &Cache, cx: &Context<'_>) -> Self {
        let mut board = Self {
            of: (set.meta.generation, hash),
            tolerations: tolerations(&set.template.spec),
            seats: Vec::new(),
            index: FxHashMap::default(),
            stale: Vec::new(),
            ripening: BTreeSet::new(),
            sum: Tally::default(),
            busy: 0,
            unbound: 0,
        };
        for &object in caches.list(Kind::Node) {
            let Some(node) = caches.get(cx.versions(), Kind::Node, object) else { continue };
            let seat = num::u32_of(board.seats.len());
            board.index.insert(node.key().1.sym(), seat);
            board.seats.push(Seat {
                node: object,
                tally: Tally::default(),
                busy: false,
                stale: true,
            });
            board.stale.push(seat);
        }
        let unbound = caches.owned(set.meta.uid, Kind::Pod).filter(|&object| {
            let pod = caches.get(cx.versions(), Kind::Pod, object).and_then(Obj::as_pod);
            pod.is_some_and(|pod| pod.node.is_empty())
        });
        board.unbound = unbound.count();
        board
    }

    fn touch(&mut self, node: Sym) {
        let Some(&seat) = self.index.get(&node) else { return };
        if !std::mem::replace(&mut self.seats[seat as usize].stale, true) {
            self.stale.push(seat);
        }
    }

    fn refresh(&mut self, set: &DaemonSet, revision: (Sym, Sym), caches: &Cache, cx: &Context<'_>) {
        let ripening = std::mem::take(&mut self.ripening);
        for seat in std::mem::take(&mut self.stale).into_iter().chain(ripening) {
            let (tally, busy, ripens) = self.look(seat, set, revision, caches, cx);
            let here = &mut self.seats[seat as usize];
            here.stale = false;
            let (old, was_busy) = (here.tally, here.busy);
            (here.tally, here.busy) = (tally, busy);
            self.sum.add(old, -1);
            self.sum.add(tally, 1);
            self.busy = self.busy + usize::from(busy) - usize::from(was_busy);
            if ripens {
                self.ripening.insert(seat);
            }
        }
    }

    /// What is found on a node: its part of the status, whether there is something to do, and
    /// whether time alone changes this.
    fn look(
        &self,
        seat: u32,
        set: &DaemonSet,
        (label, hash): (Sym, Sym),
        caches: &Cache,
        cx: &Context<'_>,
    ) -> (Tally, bool, bool) {
        let object = self.seats[seat as usize].node;
        let node = caches.get(cx.versions(), Kind::Node, object).and_then(Obj::as_node);
        let Some(node) = node else { return (Tally::default(), true, false) };
        let (runs, stays) = verdict(&set.template.spec, &self.tolerations, node);
        let pods = caches.on_node(node.meta.name.sym()).iter();
        let pods = pods.filter_map(|object| {
            caches.get(cx.versions(), Kind::Pod, *object).and_then(Obj::as_pod)
        });
        let mine = |p: &&Arc<Pod>| p.meta.controller().is_some_and(|o| o.uid == set.meta.uid);
        let mut pods = pods.filter(mine).filter(|p| !(p.meta.terminating() && ended(p)));
        let desired = i32::from(runs);
        let pod = match (pods.next(), pods.next()) {
            (Some(pod), None) => pod,
            // None: fine where none is wanted. Several: one is too many, sooner or later.
            (first, _) => {
                let tally = Tally { desired, ..Tally::default() };
                return (tally, runs || first.is_some(), false);
            }
        };
        let new = pod.meta.labels.get(label) == Some(hash);
        let live = !pod.meta.terminating();
        let busy = live && (!stays || ended(pod) || !new);
        if !runs {
            return (Tally { misscheduled: 1, ..Tally::default() }, busy, false);
        }
        let (ready, available) = (pod.ready(), available(pod, set.min_ready_s, cx));
        let tally = Tally {
            desired,
            misscheduled: 0,
            current: 1,
            ready: i32::from(ready),
            available: i32::from(available),
            updated: i32::from(new),
        };
        (tally, busy, ready && !available)
    }

    fn status(&self, set: &DaemonSet) -> DaemonSetStatus {
        DaemonSetStatus {
            observed_generation: set.meta.generation,
            collisions: set.status.collisions,
            desired: self.sum.desired,
            misscheduled: self.sum.misscheduled,
            current: self.sum.current,
            ready: self.sum.ready,
            available: self.sum.available,
            updated: self.sum.updated,
            unavailable: self.sum.desired - self.sum.available,
        }
    }
}
