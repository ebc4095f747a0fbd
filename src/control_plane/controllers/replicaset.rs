//! `ReplicaSets`: keep so many pods of a template (source: `ctl/replicaset/replica_set.go`).

use super::claims::Claims;
use super::ranking::{self, Candidate};
use super::support::{
    BURST, Expectations, Reporter, available, condition, create_pod, delete, deleted,
    namespace_going, next_available, next_batch, owned_by, owner_key, pod_of, pods_of, put_status,
    reports, resync_at, text, unnamed_text,
};
use crate::api::kevent::Text;
use crate::api::pod::{ConditionType, Truth};
use crate::api::request::{ApiError, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::{ReplicaSet, ReplicaSetStatus};
use crate::api::{Kind, LabelSet, Name, Obj, Owner, Uid};
use crate::client::{Cache, Key, Next, Reconcile};
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::Context;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use std::sync::Arc;

/// Pods of one ReplicaSet, counted from deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tally {
    active: i32,
    ready: i32,
    /// To go, and not ended.
    terminating: i32,
    /// Active pods by their labels: nearly always one set.
    by_labels: SmallVec<[(LabelSet, i32); 1]>,
}

impl Tally {
    fn count(&mut self, obj: Option<&Obj>, by: i32) {
        let Some(pod) = obj.and_then(Obj::as_pod) else { return };
        self.terminating += if pod.meta.terminating() && !pod.terminal() { by } else { 0 };
        if !pod.active() {
            return;
        }
        self.active += by;
        self.ready += if pod.ready() { by } else { 0 };
        let labels = pod.meta.labels;
        if let Some(entry) = self.by_labels.iter_mut().find(|(l, _)| *l == labels) {
            entry.1 += by;
        } else {
            self.by_labels.push((labels, by));
        }
        self.by_labels.retain(|(_, n)| *n != 0);
    }

    fn fully_labeled(&self, template: LabelSet) -> i32 {
        let whole = |labels: LabelSet| {
            labels == template
                || template.pairs().iter().all(|(key, value)| labels.get(*key) == Some(*value))
        };
        self.by_labels.iter().filter(|(labels, _)| whole(*labels)).map(|(_, n)| n).sum()
    }
}

/// The controller of `ReplicaSets`, and of `ReplicationControllers`, which are the same thing under
/// another name (source: `ctl/replication`, adapters around this one).
#[derive(Debug, Clone)]
pub struct ReplicaSetController {
    kind: Kind,
    reporter: Reporter,
    claims: Claims,
    expected: Expectations,
    tallies: FxHashMap<Uid, Tally>,
    /// Owner references, shared by all pods of a ReplicaSet.
    owners: FxHashMap<Uid, Arc<[Owner]>>,
}

impl ReplicaSetController {
    /// The controller of one of the two kinds.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let name = if kind == Kind::ReplicaSet {
            "replicaset-controller"
        } else {
            "replication-controller"
        };
        Self {
            kind,
            reporter: Reporter::new(name, name),
            claims: Claims::new(kind, Kind::Pod),
            expected: Expectations::default(),
            tallies: FxHashMap::default(),
            owners: FxHashMap::default(),
        }
    }
}

/// The object as what both kinds are.
fn set_of(obj: &Obj) -> Option<&Arc<ReplicaSet>> {
    if let Obj::ReplicaSet(set) | Obj::ReplicationController(set) = obj { Some(set) } else { None }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Start,
    Claiming,
    Creating,
    Deleting,
    Status,
}

/// What a sync remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    step: Step,
    target: ObjRef,
    set: Option<Arc<ReplicaSet>>,
    /// The status as of the start of the sync, but for the failure condition.
    status: ReplicaSetStatus,
    /// When the next pod becomes available.
    again: Option<SimTime>,
    remaining: i32,
    batch: i32,
    victims: Vec<(Uid, Name)>,
    failure: Option<(&'static str, ApiError)>,
}

impl Reconcile for ReplicaSetController {
    type State = State;

    reports!();

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if change.value.kind() == Kind::Pod {
            self.on_pod(change, before, caches, cx, wake);
            return;
        }
        if change.deleted
            && let Some(meta) = change.value.meta()
        {
            self.owners.remove(&meta.uid);
        }
        self.claims.on_owner(change, before, caches, cx);
        wake.push((Key::of(&change.value), SimDuration::ZERO));
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        match state.step {
            Step::Start => self.start(key, state, caches, cx),
            // The pods that changed hands wake the key when they are seen.
            Step::Claiming if self.claims.settled(key, answers) => Next::Done,
            Step::Claiming => Next::Retry,
            Step::Creating => self.created(key, state, answers, cx),
            Step::Deleting => self.deleted(key, state, answers, cx),
            Step::Status => Self::finished(state, answers, cx),
        }
    }
}

impl ReplicaSetController {
    fn on_pod(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        self.claims.on_child(change, before, caches, cx, wake);
        let old = before.and_then(|b| owner_key(b, self.kind));
        let new = owner_key(&change.value, self.kind);
        if let Some((key, uid)) = old.filter(|o| Some(*o) != new) {
            self.count(uid, before, None);
            wake.push((key, SimDuration::ZERO));
        }
        let Some((key, uid)) = new else { return };
        let was = if old == new { before } else { None };
        let now = if change.deleted { None } else { Some(&change.value) };
        self.count(uid, was, now);
        self.expected.observe(key, change, was);
        wake.push((key, SimDuration::ZERO));
        let ready = |obj: Option<&Obj>| obj.and_then(Obj::as_pod).is_some_and(|p| p.ready());
        if ready(now) && !ready(was) {
            let set = caches.named(cx.versions(), self.kind, key.ns, key.name);
            if let Some(set) = set.and_then(|(_, obj)| set_of(obj))
                && set.min_ready_s > 0
            {
                let after = SimDuration::from_secs(u64::from(set.min_ready_s) + 1);
                wake.push((key, after));
            }
        }
    }

    fn count(&mut self, uid: Uid, was: Option<&Obj>, now: Option<&Obj>) {
        let tally = self.tallies.entry(uid).or_default();
        tally.count(was, -1);
        tally.count(now, 1);
        if tally.active == 0 && tally.terminating == 0 && tally.by_labels.is_empty() {
            self.tallies.remove(&uid);
        }
    }

    fn start(&mut self, key: Key, state: &mut State, caches: &Cache, cx: &mut Context<'_>) -> Next {
        let found = caches.named(cx.versions(), self.kind, key.ns, key.name);
        let found = found.and_then(|(target, obj)| Some((target, Arc::clone(set_of(obj)?))));
        let Some((target, set)) = found else {
            self.expected.forget(key);
            return Next::Done;
        };
        let claims = self.claims.take(key, &set.meta, &set.selector, (caches, |_| true), cx);
        if !claims.is_empty() {
            state.step = Step::Claiming;
            return Next::Call(claims);
        }
        state.target = target;
        let uid = set.meta.uid;
        let tally = self.tallies.get(&uid).cloned().unwrap_or_default();
        #[cfg(test)]
        assert_eq!(
            (tally.active, tally.ready),
            recount(uid, caches, cx),
            "tally of {}",
            set.meta.full_name()
        );
        let of = (&*set, self.kind == Kind::ReplicaSet);
        (state.status, state.again) = status_of(of, &tally, caches, cx);
        let seen = self.expected.satisfied(key, cx.now());
        if !seen {
            let resync = resync_at(cx);
            state.again = Some(state.again.map_or(resync, |at| at.min(resync)));
        }
        let act = set.meta.deletion.is_none() && seen && !self.claims.waits(key, cx.now());
        state.set = Some(Arc::clone(&set));
        let surplus = tally.active - set.replicas;
        if act && surplus < 0 {
            state.step = Step::Creating;
            state.remaining = (-surplus).min(BURST);
            state.batch = 0;
            self.expected.expect_creations(key, state.remaining, cx.now());
            return self.create_batch(state);
        }
        if act && surplus > 0 {
            return self.delete_surplus(key, state, surplus.min(BURST), caches, cx);
        }
        self.put_status(state, cx)
    }

    fn create_batch(&mut self, state: &mut State) -> Next {
        let Some(set) = state.set.as_ref() else { return Next::Done };
        state.batch = next_batch(state.batch, state.remaining);
        let owners =
            self.owners.entry(set.meta.uid).or_insert_with(|| owned_by(self.kind, &set.meta));
        let template = &set.template;
        let pod = pod_of(template, template.labels, set.meta.ns, set.meta.name, Arc::clone(owners));
        Next::Call((0..state.batch).map(|_| create_pod(pod.clone(), true)).collect())
    }

    fn created(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(set) = state.set.clone() else { return Next::Done };
        for answer in answers {
            state.remaining -= 1;
            match answer {
                Ok(success) => {
                    let text = Text::CreatedPod(success.value.key().1);
                    self.reporter.normal(self.kind, &set.meta, "SuccessfulCreate", text, cx);
                }
                Err(error) if namespace_going(*error) => self.expected.created(key, 1),
                Err(error) => {
                    self.expected.created(key, 1);
                    state.failure = Some(("FailedCreate", *error));
                    let message =
                        text(&format!("Error creating: {}", unnamed_text(*error, set.meta.name)));
                    self.reporter.warning(self.kind, &set.meta, "FailedCreate", message, cx);
                }
            }
        }
        if state.failure.is_some() {
            // The pods of the batches that are skipped will never be seen.
            self.expected.created(key, state.remaining);
            state.remaining = 0;
        }
        if state.remaining > 0 {
            return self.create_batch(state);
        }
        self.put_status(state, cx)
    }

    fn delete_surplus(
        &mut self,
        key: Key,
        state: &mut State,
        n: i32,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(set) = state.set.as_ref() else { return Next::Done };
        let pods = pods_of(set.meta.uid, caches, cx);
        let active = pods.into_iter().filter(|(_, pod)| pod.active());
        let related = related_pods(set, caches, cx);
        let mut candidates: Vec<Candidate> = active
            .map(|(object, pod)| {
                let rank = related.get(&pod.node).copied().unwrap_or(0);
                Candidate::new(object, pod, rank, cx)
            })
            .collect();
        let n = num::index(u64::try_from(n).unwrap_or(0)).min(candidates.len());
        if n < candidates.len() {
            candidates.sort_by(ranking::order);
        }
        candidates.truncate(n);
        state.victims = candidates.iter().map(|c| (c.pod.meta.uid, c.pod.meta.name)).collect();
        state.step = Step::Deleting;
        let uids = state.victims.iter().map(|v| v.0).collect();
        self.expected.expect_deletions(key, uids, cx.now());
        let calls = candidates.iter().map(|c| delete(Kind::Pod, &c.pod.meta, Some(c.object)));
        Next::Call(calls.collect())
    }

    fn deleted(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(set) = state.set.clone() else { return Next::Done };
        for (answer, (uid, name)) in answers.iter().zip(std::mem::take(&mut state.victims)) {
            if answer.is_ok() {
                let text = Text::DeletedPod(name);
                self.reporter.normal(self.kind, &set.meta, "SuccessfulDelete", text, cx);
            }
            if let Err(error) = answer {
                self.expected.deleted(key, uid);
                if !deleted(answer) {
                    state.failure = Some(("FailedDelete", *error));
                    let message =
                        text(&format!("Error deleting: {}", error.message(Kind::Pod, name)));
                    self.reporter.warning(self.kind, &set.meta, "FailedDelete", message, cx);
                }
            }
        }
        self.put_status(state, cx)
    }

    /// Puts the status if it differs from what the cache has.
    fn put_status(&self, state: &mut State, cx: &Context<'_>) -> Next {
        let Some(set) = state.set.clone() else { return Next::Done };
        let failing = set.status.conditions.get(ConditionType::ReplicaFailure).is_some();
        match state.failure {
            Some((reason, error)) if !failing => {
                let kind = ConditionType::ReplicaFailure;
                let message = unnamed_text(error, set.meta.name);
                let condition = condition(kind, Truth::True, reason, &message, cx);
                state.status.conditions.set(condition);
            }
            None if failing => state.status.conditions.remove(ConditionType::ReplicaFailure),
            Some(_) | None => {}
        }
        state.step = Step::Status;
        if state.status == set.status {
            return Self::finished(state, &[], cx);
        }
        let mut object = ReplicaSet::clone(&set);
        object.status = state.status.clone();
        let object = Arc::new(object);
        let object = if self.kind == Kind::ReplicaSet {
            Obj::ReplicaSet(object)
        } else {
            Obj::ReplicationController(object)
        };
        Next::Call(vec![put_status(object, state.target)])
    }

    fn finished(state: &State, answers: &[Outcome], cx: &Context<'_>) -> Next {
        let refused = answers.iter().any(|a| matches!(a, Err(e) if *e != ApiError::NotFound));
        if state.failure.is_some() || refused {
            return Next::Retry;
        }
        state.again.map_or(Next::Done, |at| Next::Requeue(at.since(cx.now())))
    }
}

fn status_of(
    (set, replica_set): (&ReplicaSet, bool),
    tally: &Tally,
    caches: &Cache,
    cx: &Context<'_>,
) -> (ReplicaSetStatus, Option<SimTime>) {
    let (mut ready_enough, mut again) = (tally.ready, None);
    if set.min_ready_s > 0 {
        let pods = pods_of(set.meta.uid, caches, cx);
        let active = || pods.iter().map(|(_, pod)| &**pod).filter(|pod| pod.active());
        let there = active().filter(|pod| available(pod, set.min_ready_s, cx));
        ready_enough = num::i32_of(there.count());
        again = next_available(active(), set.min_ready_s, cx);
    }
    // Of ReplicationControllers only the part that both have is written.
    let counts = cx.version().terminating_replicas() && replica_set;
    let status = ReplicaSetStatus {
        observed_generation: set.meta.generation,
        replicas: tally.active,
        fully_labeled: tally.fully_labeled(set.template.labels),
        ready: tally.ready,
        available: ready_enough,
        terminating: counts.then_some(tally.terminating),
        conditions: set.status.conditions.clone(),
    };
    (status, again)
}

/// Active pods per node over all `ReplicaSets` with the same controller (a Deployment's).
fn related_pods(set: &ReplicaSet, caches: &Cache, cx: &Context<'_>) -> FxHashMap<Sym, i32> {
    let mut sets: Vec<Uid> = vec![set.meta.uid];
    if let Some(owner) = set.meta.controller() {
        let others = caches.owned(owner.uid, Kind::ReplicaSet).filter_map(|object| {
            caches.get(cx.versions(), Kind::ReplicaSet, object)?.meta().map(|m| m.uid)
        });
        let seen: FxHashSet<Uid> = sets.iter().copied().collect();
        sets.extend(others.filter(|uid| !seen.contains(uid)));
    }
    let mut per_node = FxHashMap::default();
    for uid in sets {
        for object in caches.owned(uid, Kind::Pod) {
            let obj = caches.get(cx.versions(), Kind::Pod, object);
            if let Some(pod) = obj.and_then(Obj::as_pod).filter(|p| p.active()) {
                *per_node.entry(pod.node).or_insert(0) += 1;
            }
        }
    }
    per_node
}

#[cfg(test)]
fn recount(uid: Uid, caches: &Cache, cx: &Context<'_>) -> (i32, i32) {
    let mut tally = Tally::default();
    for object in caches.owned(uid, Kind::Pod) {
        tally.count(caches.get(cx.versions(), Kind::Pod, object), 1);
    }
    (tally.active, tally.ready)
}
