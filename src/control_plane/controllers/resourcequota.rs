//! Resource quotas: counts what is there and writes it into the status; what has gone is given back
//! (source: `ctl/resourcequota/resource_quota_controller.go`, `resource_quota_monitor.go`).
//!
//! Usage is kept from deliveries, so that a sync costs what a quota limits, not what a namespace
//! holds. New objects are charged by admission: they wake nobody here.

use super::support::{Reporter, put_status, reports};
use crate::api::amounts::Amounts;
use crate::api::kind::KINDS;
use crate::api::quantity::Quantity;
use crate::api::quota::{ResourceQuota, compute_usage, counts, counts_until};
use crate::api::request::{ApiError, Outcome};
use crate::api::versions::Change;
use crate::api::workload::Generic;
use crate::api::{Kind, Name, Obj, Pod, Stamp};
use crate::client::{Cache, Key, Next, Reconcile};
use crate::engine::grid::Grid;
use crate::engine::{SimDuration, SimTime, Sym};
use crate::event::{Context, ControllerEvent, Event};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// `--resource-quota-sync-period`.
const RESYNC: SimDuration = SimDuration::from_secs(300);

/// A quota as read, and what is used of it.
#[derive(Debug, Clone, Default)]
struct Row {
    name: Name,
    quota: ResourceQuota,
    used: Amounts,
    /// Pods that are going, by the instant from which they count no longer.
    leaving: BTreeSet<(Stamp, String)>,
}

impl Row {
    /// Counts an object in, or out.
    fn count(&mut self, object: &Obj, into: bool) {
        for (name, amount) in self.quota.usage(object) {
            let sum = self.used.entry(name).or_default();
            *sum = if into { sum.plus(amount) } else { sum.minus(amount) };
        }
        let Some(pod) = object.as_pod().filter(|_| self.quota.matches(object)) else { return };
        let Some(until) = counts_until(pod) else { return };
        let entry = (until, pod.meta.name.to_string());
        if into {
            self.leaving.insert(entry);
        } else {
            self.leaving.remove(&entry);
        }
    }
}

/// The controller.
#[derive(Debug, Clone)]
pub struct ResourceQuotaController {
    reporter: Reporter,
    row: u8,
    armed: bool,
    /// Quotas of each namespace, in order of delivery.
    rows: FxHashMap<Sym, Vec<Row>>,
}

impl ResourceQuotaController {
    /// A controller in this row of the manager.
    #[must_use]
    pub fn new(row: u8) -> Self {
        let name = "resourcequota-controller";
        Self { reporter: Reporter::new(name, name), row, armed: false, rows: FxHashMap::default() }
    }

    fn find(&mut self, ns: Sym, name: Name) -> Option<&mut Row> {
        self.rows.get_mut(&ns)?.iter_mut().find(|row| row.name == name)
    }

    /// True if what it limits is new.
    fn on_quota(&mut self, object: &Generic, caches: &Cache, cx: &Context<'_>) -> bool {
        let (ns, name) = (object.meta.ns, object.meta.name);
        let quota = ResourceQuota::of(object);
        if let Some(row) = self.find(ns, name).filter(|row| row.quota.same_spec(&quota)) {
            row.quota = quota;
            return false;
        }
        // A new limit is held against what is there once; from here on, changes are counted.
        let mut row = Row { name, quota, ..Row::default() };
        let tracked: Vec<Kind> =
            KINDS.iter().map(|info| info.kind).filter(|kind| row.quota.tracks(*kind)).collect();
        for kind in tracked {
            for (object, _) in cx.versions().iter(kind) {
                let known = caches.get(cx.versions(), kind, object);
                if let Some(known) = known.filter(|o| o.key().0 == ns) {
                    row.count(known, true);
                }
            }
        }
        let rows = self.rows.entry(ns).or_default();
        rows.retain(|r| r.name != name);
        rows.push(row);
        true
    }

    fn forget(&mut self, (ns, name): (Sym, Name)) {
        let Some(rows) = self.rows.get_mut(&ns) else { return };
        rows.retain(|row| row.name != name);
        if rows.is_empty() {
            self.rows.remove(&ns);
        }
    }

    fn arm(&mut self, cx: &mut Context<'_>) {
        if !self.armed && !self.rows.is_empty() {
            self.armed = true;
            let event = Event::Controller { controller: self.row, event: ControllerEvent::Tick };
            cx.schedule(Grid::new(SimTime(0), RESYNC).after(cx.now()), event);
        }
    }
}

/// Whether a change gives something back. Source: `notifyUpdate` of the evaluators.
fn gives_back(before: &Obj, now: &Obj) -> bool {
    match (before, now) {
        (Obj::Pod(before), Obj::Pod(now)) => !before.terminal() && now.terminal(),
        (Obj::PersistentVolumeClaim(before), Obj::PersistentVolumeClaim(now)) => {
            before.request != now.request
        }
        (Obj::Generic(Kind::Service, before), Obj::Generic(Kind::Service, now)) => {
            before.doc.get("spec") != now.doc.get("spec")
        }
        _other => false,
    }
}

/// What stuck pods use: gone long since, if their nodes were there to say so.
fn stuck(row: &Row, ns: Sym, caches: &Cache, cx: &Context<'_>) -> Amounts {
    let mut sum = Amounts::new();
    let now = cx.stamp();
    for (_, name) in row.leaving.iter().take_while(|(until, _)| *until < now) {
        let found = caches.named(cx.versions(), Kind::Pod, ns, Name::new(name));
        let Some(pod) = found.and_then(|(_, o)| o.as_pod()) else { continue };
        for (name, amount) in compute_usage(pod) {
            let entry = sum.entry(name).or_default();
            *entry = entry.plus(amount);
        }
    }
    sum
}

impl Reconcile for ResourceQuotaController {
    /// True once the status has been put.
    type State = bool;

    reports!();

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let kind = change.value.kind();
        if self.rows.is_empty() && kind != Kind::ResourceQuota || !counts(kind) {
            return;
        }
        // A quota may count quotas, itself among them.
        let (ns, _) = change.value.key();
        let ended = change.deleted || before.is_some_and(|b| gives_back(b, &change.value));
        for row in self.rows.get_mut(&ns).into_iter().flatten() {
            if !row.quota.tracks(kind) {
                continue;
            }
            if let Some(before) = before {
                row.count(before, false);
            }
            if !change.deleted {
                row.count(&change.value, true);
            }
            if ended {
                let key = Key { kind: Kind::ResourceQuota, ns, name: row.name };
                wake.push((key, SimDuration::ZERO));
            }
        }
        let Obj::Generic(Kind::ResourceQuota, object) = &change.value else { return };
        if change.deleted {
            self.forget(change.value.key());
        } else if self.on_quota(object, caches, cx) {
            wake.push((Key::of(&change.value), SimDuration::ZERO));
        }
        self.arm(cx);
    }

    fn ignores(&self, _pod: &Pod) -> bool {
        self.rows.is_empty()
    }

    fn sync(
        &mut self,
        key: Key,
        put: &mut bool,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        if *put {
            // Admission may have charged the quota meanwhile.
            let fine = |a: &Outcome| matches!(a, Ok(_) | Err(ApiError::NotFound));
            return if answers.iter().all(fine) { Next::Done } else { Next::Retry };
        }
        let found = caches.named(cx.versions(), Kind::ResourceQuota, key.ns, key.name);
        let Some((target, Obj::Generic(kind, object))) = found else { return Next::Done };
        let Some(row) = self.find(key.ns, key.name) else { return Next::Done };
        let stuck = stuck(row, key.ns, caches, cx);
        let none = Quantity::default();
        let of = |all: &Amounts, name: &str| all.get(name).copied().unwrap_or(none);
        let names = row.quota.hard.keys();
        let used: Amounts =
            names.map(|n| (n.clone(), of(&row.used, n).minus(of(&stuck, n)))).collect();
        if row.quota.status_hard.as_ref() == Some(&row.quota.hard) && row.quota.used == used {
            return Next::Done;
        }
        *put = true;
        let mut new = Generic::clone(object);
        Arc::make_mut(&mut new.doc)["status"] = row.quota.status(&used);
        Next::Call(vec![put_status(Obj::Generic(*kind, Arc::new(new)), target)])
    }

    /// The full resync. Only a quota whose status is off, or that counts pods which have been
    /// going for too long, would be written.
    fn on_tick(
        &mut self,
        _caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        self.armed = false;
        let mut all: Vec<(Sym, &Row)> =
            self.rows.iter().flat_map(|(ns, rows)| rows.iter().map(|row| (*ns, row))).collect();
        all.sort_by(|a, b| a.0.cmp_text(b.0).then(a.1.name.cmp_text(b.1.name)));
        for (ns, row) in all {
            let off = row.quota.used.iter().any(|(name, used)| row.used.get(name) != Some(used));
            if off || !row.leaving.is_empty() {
                let key = Key { kind: Kind::ResourceQuota, ns, name: row.name };
                wake.push((key, SimDuration::ZERO));
            }
        }
        self.arm(cx);
    }
}
