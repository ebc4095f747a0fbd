//! Disruption budgets: how many pods of a set may be evicted now
//! (source: `ctl/disruption/disruption.go`).

use super::claims::{SelectorIndex, replicas_of};
use super::support::{Reporter, put_status, reports, text};
use crate::api::pdb::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use crate::api::request::Outcome;
use crate::api::versions::Change;
use crate::api::workload::{Generic, IntOrPercent};
use crate::api::{Kind, LabelSet, Name, Obj, Pod, Stamp, Uid};
use crate::client::{Cache, Key, Next, Reconcile};
use crate::engine::{SimDuration, Sym};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An evicted pod that has not gone by then is counted again (source: `DeletionTimeout`).
const DELETION_TIMEOUT_S: u32 = 120;

/// Pods of a budget, counted from deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tally {
    pods: i32,
    healthy: i32,
    unmanaged: i32,
    /// Pods per controller: kind and name beside its identity.
    owners: BTreeMap<Uid, (Kind, Name, i32)>,
}

impl Tally {
    fn count(&mut self, pod: &Pod, by: i32) {
        self.pods += by;
        if healthy(pod) {
            self.healthy += by;
        }
        let Some(owner) = pod.meta.controller() else {
            self.unmanaged += by;
            return;
        };
        let entry = self.owners.entry(owner.uid).or_insert((owner.kind, owner.name, 0));
        entry.2 += by;
        if entry.2 == 0 {
            self.owners.remove(&owner.uid);
        }
    }
}

fn healthy(pod: &Pod) -> bool {
    pod.ready() && !pod.meta.terminating()
}

/// A budget as read, and its pods.
#[derive(Debug, Clone)]
struct Row {
    budget: Arc<PodDisruptionBudget>,
    tally: Tally,
}

/// The disruption controller.
#[derive(Debug, Clone)]
pub struct DisruptionController {
    reporter: Reporter,
    index: SelectorIndex,
    rows: FxHashMap<Key, Row>,
}

impl Default for DisruptionController {
    fn default() -> Self {
        Self {
            reporter: Reporter::new("disruption-controller", "controllermanager"),
            index: SelectorIndex::default(),
            rows: FxHashMap::default(),
        }
    }
}

/// What a sync remembers: when to look again, once the status has been written.
#[derive(Debug, Clone, Default)]
pub struct State {
    written: bool,
    again: Option<SimDuration>,
}

impl Reconcile for DisruptionController {
    type State = State;

    reports!(1);

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if let Obj::Generic(Kind::PodDisruptionBudget, object) = &change.value {
            let key = Key::of(&change.value);
            self.on_budget(key, object, change.deleted, caches, cx);
            wake.push((key, SimDuration::ZERO));
            return;
        }
        let Some(pod) = change.value.as_pod() else { return };
        let was = before.and_then(Obj::as_pod);
        let now = Some(pod).filter(|_| !change.deleted);
        let labels = |p: Option<&Arc<Pod>>| p.map(|p| p.meta.labels);
        for key in self.touched(pod.meta.ns, [labels(was), labels(now)]) {
            let Some(row) = self.rows.get_mut(&key) else { continue };
            for (pod, by) in [(was, -1), (now, 1)] {
                if let Some(pod) = pod.filter(|p| row.budget.matches(p.meta.labels)) {
                    row.tally.count(pod, by);
                }
            }
            wake.push((key, SimDuration::ZERO));
        }
    }

    fn ignores(&self, _pod: &Pod) -> bool {
        self.rows.is_empty()
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        if state.written {
            return match (answers.iter().any(Result::is_err), state.again) {
                (true, _) => Next::Retry,
                (false, Some(again)) => Next::Requeue(again),
                (false, None) => Next::Done,
            };
        }
        let kind = Kind::PodDisruptionBudget;
        let found = caches.named(cx.versions(), kind, key.ns, key.name);
        let Some((target, Obj::Generic(_, object))) = found else { return Next::Done };
        let object = Arc::clone(object);
        let Some(row) = self.rows.get(&key).cloned() else { return Next::Done };
        let budget = row.budget;
        let tally = row.tally;
        if tally.pods == 0 {
            let message = text("No matching pods found");
            self.reporter.normal(kind, &budget.meta, "NoPods", message, cx);
        }
        let wanted = self.wanted(&budget, &tally, caches, cx);
        let disrupted = still_disrupted(&budget, caches, cx);
        let mut healthy = tally.healthy;
        for (name, _) in &disrupted {
            healthy -= i32::from(counted(&budget, *name, caches, cx));
        }
        let next = disrupted.iter().map(|(_, at)| at.0 + DELETION_TIMEOUT_S).min();
        state.again = next.map(|t| cx.time_of(Stamp(t + 1)).since(cx.now()));
        let status = status(&budget, wanted, healthy, disrupted, cx);
        state.written = true;
        if status == budget.status {
            return state.again.map_or(Next::Done, Next::Requeue);
        }
        let mut new = Generic::clone(&object);
        if let Some(doc) = Arc::make_mut(&mut new.doc).as_object_mut() {
            doc.insert("status".to_owned(), status.to_value());
        }
        Next::Call(vec![put_status(Obj::Generic(kind, Arc::new(new)), target)])
    }
}

impl DisruptionController {
    fn on_budget(
        &mut self,
        key: Key,
        object: &Generic,
        deleted: bool,
        caches: &Cache,
        cx: &Context<'_>,
    ) {
        let old = self.rows.get(&key).map(|row| Arc::clone(&row.budget));
        let new = (!deleted).then(|| Arc::new(PodDisruptionBudget::of(object)));
        let selector =
            |b: &Option<Arc<PodDisruptionBudget>>| b.as_ref().and_then(|b| b.selector.clone());
        let (before, after) = (selector(&old), selector(&new));
        if let Some(selector) = before.as_ref().filter(|_| before != after) {
            self.index.remove(key, selector);
        }
        let Some(budget) = new else {
            self.rows.remove(&key);
            return;
        };
        if let Some(row) = self.rows.get_mut(&key).filter(|_| before == after) {
            row.budget = budget;
            return;
        }
        // A new selector is held against the pods once; from here on, they are counted.
        let mut tally = Tally::default();
        for (object, _) in cx.versions().iter(Kind::Pod) {
            let pod = caches.get(cx.versions(), Kind::Pod, object).and_then(Obj::as_pod);
            let inside = |p: &&Arc<Pod>| p.meta.ns == key.ns && budget.matches(p.meta.labels);
            if let Some(pod) = pod.filter(inside) {
                tally.count(pod, 1);
            }
        }
        if let Some(selector) = &after {
            self.index.insert(key, selector);
        }
        self.rows.insert(key, Row { budget, tally });
    }

    fn touched(&self, ns: Sym, labels: [Option<LabelSet>; 2]) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::new();
        for labels in labels.into_iter().flatten() {
            for key in self.index.candidates(ns, labels) {
                let inside = self.rows.get(&key).is_some_and(|r| r.budget.matches(labels));
                if inside && !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        keys
    }

    /// Expected and desired pods; none if the owners' scale cannot be told.
    /// Source: `getExpectedPodCount`.
    fn wanted(
        &mut self,
        budget: &PodDisruptionBudget,
        tally: &Tally,
        caches: &Cache,
        cx: &Context<'_>,
    ) -> Option<(i32, i32)> {
        if let (None, Some(IntOrPercent::Int(n))) = (budget.max_unavailable, budget.min_available) {
            return Some((tally.pods, n));
        }
        if budget.max_unavailable.is_none() && budget.min_available.is_none() {
            return Some((0, 0));
        }
        let kind = Kind::PodDisruptionBudget;
        if tally.unmanaged > 0 {
            let message = text(
                "Pods selected by this PodDisruptionBudget were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior.",
            );
            self.reporter.warning(kind, &budget.meta, "UnmanagedPods", message, cx);
        }
        let mut scales: BTreeMap<Uid, i32> = BTreeMap::new();
        for (uid, (owner, name, _)) in &tally.owners {
            let Some((uid, scale)) = scale((*owner, budget.meta.ns, *name, *uid), caches, cx)
            else {
                let message = format!(
                    "Failed to calculate the number of expected pods: {owner} {name} has no scale"
                );
                let reason = "CalculateExpectedPodCountFailed";
                self.reporter.warning(kind, &budget.meta, reason, text(&message), cx);
                return None;
            };
            scales.insert(uid, scale);
        }
        let expected: i32 = scales.values().sum();
        Some(match (budget.max_unavailable, budget.min_available) {
            (Some(max), _) => (expected, (expected - max.of(expected, true)).max(0)),
            (None, Some(min)) => (expected, min.of(expected, true)),
            (None, None) => (0, 0),
        })
    }
}

/// The controller that decides on the number of pods, and that number: a Deployment rather than its
/// ReplicaSet. Source: the `finders`.
fn scale(
    (kind, ns, name, uid): (Kind, Sym, Name, Uid),
    caches: &Cache,
    cx: &Context<'_>,
) -> Option<(Uid, i32)> {
    let (_, obj) = caches.named(cx.versions(), kind, ns, name)?;
    let meta = obj.meta().filter(|m| m.uid == uid)?;
    let above = meta.controller().filter(|o| o.kind == Kind::Deployment);
    let Some(owner) = above.filter(|_| kind == Kind::ReplicaSet) else {
        return Some((uid, replicas_of(obj)?));
    };
    let (_, above) = caches.named(cx.versions(), Kind::Deployment, ns, owner.name)?;
    let same = above.meta().is_some_and(|m| m.uid == owner.uid);
    Some((owner.uid, replicas_of(above).filter(|_| same)?))
}

fn pod_named<'c>(
    budget: &PodDisruptionBudget,
    name: Name,
    caches: &Cache,
    cx: &'c Context<'_>,
) -> Option<&'c Arc<Pod>> {
    let (_, obj) = caches.named(cx.versions(), Kind::Pod, budget.meta.ns, name)?;
    obj.as_pod().filter(|pod| budget.matches(pod.meta.labels))
}

/// Whether an evicted pod is in the tally of healthy ones: there it must not count.
fn counted(budget: &PodDisruptionBudget, name: Name, caches: &Cache, cx: &Context<'_>) -> bool {
    pod_named(budget, name, caches, cx).is_some_and(|pod| healthy(pod))
}

/// Evicted pods that have not been seen to go, and may still. Source: `buildDisruptedPodMap`.
fn still_disrupted(
    budget: &PodDisruptionBudget,
    caches: &Cache,
    cx: &Context<'_>,
) -> Vec<(Name, Stamp)> {
    let now = cx.stamp();
    let all = budget.status.disrupted.iter().filter(|(name, at)| {
        let there = pod_named(budget, *name, caches, cx).is_some_and(|p| !p.meta.terminating());
        there && at.0 + DELETION_TIMEOUT_S >= now.0
    });
    all.copied().collect()
}

/// Source: `updatePdbStatus`; without a count nothing may be disrupted (`failSafe`).
fn status(
    budget: &PodDisruptionBudget,
    wanted: Option<(i32, i32)>,
    healthy: i32,
    disrupted: Vec<(Name, Stamp)>,
    cx: &Context<'_>,
) -> PodDisruptionBudgetStatus {
    let old = &budget.status;
    let mut new = PodDisruptionBudgetStatus { disruptions_allowed: 0, ..old.clone() };
    if let Some((expected, desired)) = wanted {
        let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
        new = PodDisruptionBudgetStatus {
            disruptions_allowed: allowed,
            current_healthy: healthy,
            desired_healthy: desired,
            expected_pods: expected,
            disrupted,
            ..new
        };
    }
    new.observed_generation = budget.meta.generation;
    let reason = match wanted {
        None => "SyncFailed",
        Some(_) if new.disruptions_allowed > 0 => "SufficientPods",
        Some(_) => "InsufficientPods",
    };
    let holds = |reason: &str| reason == "SufficientPods";
    let since = old.condition.filter(|(r, _)| holds(r.as_str()) == holds(reason));
    new.condition = Some((Sym::new(reason), since.map_or(cx.stamp(), |(_, at)| at)));
    new
}
