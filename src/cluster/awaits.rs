//! Faults that wait for something: another fault, a workload that is ready, pods that are bound.
//! What has been committed is looked at event by event, and only while a fault waits.

use super::Cluster;
use super::spec::{Await, Awaited};
use crate::api::{Kind, Name, Obj};
use crate::engine::Sym;
use crate::event::{Event, TroubleEvent, What};

/// Kinds that count ready replicas.
const COUNTING: [Kind; 5] =
    [Kind::Deployment, Kind::ReplicaSet, Kind::StatefulSet, Kind::DaemonSet, Kind::Job];

impl Cluster {
    /// Faults that wait are known from the start.
    pub(super) fn start_awaits(&mut self) {
        self.links.awaits = self.plan.awaits.clone();
        if self.links.awaits.is_empty() {
            return;
        }
        self.links.settle();
        // What is there already counts.
        let pods = self.shared.versions.iter(Kind::Pod).filter_map(|(_, obj)| obj.as_pod());
        self.links.bound = pods.filter(|p| !p.node.is_empty()).count() as u64;
        let so_far = self.links.bound;
        self.come_true(|what| matches!(what, Awaited::Bound(n) if *n <= so_far), 0);
        let mut ready = Vec::new();
        for kind in COUNTING {
            let all = self.shared.versions.iter(kind).map(|(_, obj)| obj);
            ready.extend(all.filter_map(|obj| Some((kind, obj.key(), ready_of(obj)?))));
        }
        for (kind, (ns, name), n) in ready {
            self.is_ready((kind, ns, name), n, 0);
        }
    }

    /// A fault has begun or ended: whoever waits for that begins after its delay.
    pub(super) fn fault_heard(&mut self, row: u32, ends: bool, seq: u64) {
        if !self.links.awaits.is_empty() {
            self.come_true(|what| *what == Awaited::Fault { row, ends }, seq);
        }
    }

    /// After an event: what has been committed may be what a fault waits for.
    pub(super) fn commits_heard(&mut self, seq: u64) {
        if self.links.awaits.is_empty() {
            return;
        }
        let mut bound = 0;
        let mut ready = Vec::new();
        for record in &self.shared.records {
            let What::Committed { kind, log, .. } = record.what else { continue };
            let Some(change) = self.shared.versions.change(kind, log) else { continue };
            if kind == Kind::Pod {
                let node = |obj: &Obj| obj.as_pod().is_some_and(|p| !p.node.is_empty());
                bound +=
                    u64::from(node(&change.value) && !change.before.as_ref().is_some_and(node));
            } else if let Some(n) = ready_of(&change.value) {
                let (ns, name) = change.value.key();
                ready.push((kind, ns, name, n));
            }
        }
        self.links.bound += bound;
        let so_far = self.links.bound;
        if bound > 0 {
            self.come_true(|what| matches!(what, Awaited::Bound(n) if *n <= so_far), seq);
        }
        for (kind, ns, name, n) in ready {
            self.is_ready((kind, ns, name), n, seq);
        }
    }

    /// A workload has so many ready replicas.
    fn is_ready(&mut self, (kind, ns, name): (Kind, Sym, Name), n: i32, seq: u64) {
        let fits = |what: &Awaited| match *what {
            Awaited::Ready { kind: k, ns: of, name: called, at_least } => {
                (k, of, called) == (kind, ns, name) && n >= at_least
            }
            Awaited::Fault { .. } | Awaited::Bound(_) => false,
        };
        self.come_true(fits, seq);
    }

    fn come_true(&mut self, fits: impl Fn(&Awaited) -> bool, seq: u64) {
        let all = std::mem::take(&mut self.links.awaits);
        let (come, left): (Vec<Await>, Vec<Await>) = all.into_iter().partition(|a| fits(&a.what));
        self.links.awaits = left;
        for Await { fault, delay, .. } in come {
            let begin = Event::Trouble(TroubleEvent::Waits { fault });
            self.shared.context(seq).after(delay, begin);
        }
        self.links.settle();
    }

    /// What a fault has waited for has happened.
    pub(super) fn waits(&mut self, fault: u32, seq: u64) {
        let now = self.shared.now();
        self.shared.context(seq).schedule(now, Event::Fault { fault, end: false });
    }
}

/// Ready replicas of an object that counts them.
fn ready_of(obj: &Obj) -> Option<i32> {
    if let Obj::Deployment(d) = obj {
        Some(d.status.ready)
    } else if let Obj::ReplicaSet(r) = obj {
        Some(r.status.ready)
    } else if let Obj::StatefulSet(s) = obj {
        Some(s.status.ready)
    } else if let Obj::DaemonSet(d) = obj {
        Some(d.status.ready)
    } else if let Obj::Job(j) = obj {
        Some(j.status.ready)
    } else {
        None
    }
}
