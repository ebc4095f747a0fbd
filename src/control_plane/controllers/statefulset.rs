//! `StatefulSets`: pods with ordinals and claims, made, scaled and rolled in order
//! (source: `ctl/statefulset/stateful_set_control.go`).

use super::claims::Claims;
use super::history::{self, Newest, Revision};
use super::setclaims;
use super::support::{
    Reporter, available, create_pod, delete, namespace_going, next_available, next_batch, owned_by,
    owner_key, pod_of, pods_of, put_status, reports, text,
};
use crate::api::kevent::Text;
use crate::api::request::{ApiError, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::{ControllerRevision, StatefulSet, StatefulSetStatus};
use crate::api::{Kind, Meta, Name, Obj, Pod, PodSpec};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::Context;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The StatefulSet controller.
#[derive(Debug, Clone)]
pub struct StatefulSetController {
    reporter: Reporter,
    claims: Claims,
    label: Sym,
}

impl Default for StatefulSetController {
    fn default() -> Self {
        Self {
            reporter: Reporter::new("statefulset-controller", "statefulset-controller"),
            claims: Claims::new(Kind::StatefulSet, Kind::Pod),
            label: history::HASH_LABEL.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Start,
    Claiming,
    /// The newest revision is being written.
    Revision,
    /// The owners of claims are being set.
    ClaimOwners,
    /// Claims of the pods to be made are being made.
    VolumeClaims,
    Acting,
    Status,
    /// Revisions beyond the limit are being deleted.
    Truncating,
}

/// What to do with one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Create(i32),
    Delete(i32),
}

/// An action with the revision of its pod, ready to be sent.
#[derive(Debug, Clone)]
struct Task {
    action: Action,
    revision: Sym,
    call: Call,
}

/// What a sync remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    step: Step,
    target: ObjRef,
    set: Option<Arc<StatefulSet>>,
    status: StatefulSetStatus,
    known: Vec<Revision>,
    update: Option<Arc<ControllerRevision>>,
    current: Option<Arc<ControllerRevision>>,
    /// Still to be done, in order.
    todo: Vec<Task>,
    /// Those under way.
    batch: Vec<Task>,
    failed: bool,
    /// When the next pod becomes available.
    again: Option<SimTime>,
}

impl State {
    fn rest(&self, cx: &Context<'_>) -> Next {
        self.again.map_or(Next::Done, |at| Next::Requeue(at.since(cx.now())))
    }
}

/// The pods of a set and what they should be.
struct View<'a> {
    set: &'a StatefulSet,
    /// By ordinal.
    pods: BTreeMap<i32, (ObjRef, Arc<Pod>)>,
    update: Sym,
    current: Sym,
    label: Sym,
}

/// A pod's ordinal in a set, if its name has one.
fn ordinal_of(set: &Meta, name: Name) -> Option<i32> {
    let (base, _) = name.base();
    (base == set.name.sym()).then(|| i32::try_from(name.number()?).ok())?
}

impl View<'_> {
    fn range(&self) -> std::ops::Range<i32> {
        self.set.ordinals_start..self.set.ordinals_start + self.set.replicas.max(0)
    }

    fn revision(&self, pod: &Pod) -> Option<Sym> {
        pod.meta.labels.get(self.label)
    }

    fn running_and_available(&self, pod: &Pod, cx: &Context<'_>) -> bool {
        !pod.terminal() && pod.ready() && available(pod, self.set.min_ready_s, cx)
    }

    fn healthy(&self, pod: &Pod, cx: &Context<'_>) -> bool {
        !pod.meta.terminating() && self.running_and_available(pod, cx)
    }

    fn status(&self, cx: &Context<'_>) -> StatefulSetStatus {
        let count = |f: &dyn Fn(&Pod) -> bool| {
            num::i32_of(self.pods.values().filter(|(_, pod)| f(pod)).count())
        };
        let live = |pod: &Pod| !pod.meta.terminating();
        StatefulSetStatus {
            observed_generation: self.set.meta.generation,
            replicas: count(&|_| true),
            ready: count(&|p| p.ready()),
            available: count(&|p| p.ready() && available(p, self.set.min_ready_s, cx)),
            current: count(&|p| live(p) && self.revision(p) == Some(self.current)),
            updated: count(&|p| live(p) && self.revision(p) == Some(self.update)),
            current_revision: self.current,
            update_revision: self.update,
            collisions: self.set.status.collisions,
        }
    }

    /// What to do now: pods in range first, then those condemned, then the roll.
    fn plan(&self, cx: &Context<'_>) -> Vec<Action> {
        let monotonic = !self.set.parallel;
        let mut todo = Vec::new();
        for ordinal in self.range() {
            let wait = match self.pods.get(&ordinal) {
                None => {
                    todo.push(Action::Create(ordinal));
                    true
                }
                Some((_, pod)) if pod.terminal() => {
                    if !pod.meta.terminating() {
                        todo.push(Action::Delete(ordinal));
                    }
                    true
                }
                Some((_, pod)) => !self.healthy(pod, cx),
            };
            if wait && monotonic {
                return todo;
            }
        }
        let range = self.range();
        let unhealthy = self.first_unhealthy(cx);
        let condemned = self.pods.iter().rev().filter(|(n, _)| !range.contains(n));
        for (ordinal, (_, pod)) in condemned {
            let leaving = pod.meta.terminating();
            let held = !self.running_and_available(pod, cx) && unhealthy != Some(*ordinal);
            if !leaving && (!monotonic || !held) {
                todo.push(Action::Delete(*ordinal));
            }
            if monotonic {
                return todo;
            }
        }
        if todo.is_empty() {
            todo.extend(self.roll(cx).map(Action::Delete));
        }
        todo
    }

    /// The unhealthy pod of the lowest ordinal: one of those in range counts before all others.
    fn first_unhealthy(&self, cx: &Context<'_>) -> Option<i32> {
        let range = self.range();
        let sick = |(_, (_, pod)): &(&i32, &(ObjRef, Arc<Pod>))| !self.healthy(pod, cx);
        let within = self.pods.iter().filter(|(n, _)| range.contains(n)).find(sick);
        let beyond = || self.pods.iter().filter(|(n, _)| !range.contains(n)).find(sick);
        within.or_else(beyond).map(|(n, _)| *n)
    }

    /// The pod to replace next: from the highest ordinal down to the partition, one at a time,
    /// in parallel sets too (gate `MaxUnavailableStatefulSet` is off).
    fn roll(&self, cx: &Context<'_>) -> Option<i32> {
        if self.set.on_delete {
            return None;
        }
        let low = self.set.ordinals_start + self.set.partition.max(0);
        for ordinal in self.range().rev().take_while(|n| *n >= low) {
            let (_, pod) = self.pods.get(&ordinal)?;
            if self.revision(pod) != Some(self.update) && !pod.meta.terminating() {
                return Some(ordinal);
            }
            if !self.healthy(pod, cx) {
                return None;
            }
        }
        None
    }
}

impl Reconcile for StatefulSetController {
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
        let kind = change.value.kind();
        if kind == Kind::ControllerRevision {
            return;
        }
        if kind == Kind::StatefulSet {
            self.claims.on_owner(change, before, caches, cx);
            wake.push((Key::of(&change.value), SimDuration::ZERO));
            return;
        }
        self.claims.on_child(change, before, caches, cx, wake);
        let Some((key, _)) = owner_key(&change.value, Kind::StatefulSet) else { return };
        wake.push((key, SimDuration::ZERO));
        let found = caches.named(cx.versions(), Kind::StatefulSet, key.ns, key.name);
        if let Some((_, Obj::StatefulSet(set))) = found {
            let ready = change.value.as_pod().is_some_and(|p| p.ready());
            if set.min_ready_s > 0 && ready {
                wake.push((key, SimDuration::from_secs(u64::from(set.min_ready_s) + 1)));
            }
        }
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let refused = |a: &Outcome| matches!(a, Err(e) if *e != ApiError::NotFound);
        match state.step {
            Step::Start => self.start(key, state, caches, cx),
            Step::Claiming if self.claims.settled(key, answers) => Next::Done,
            Step::Claiming => Next::Retry,
            Step::Revision => {
                Self::revised(state, answers).unwrap_or_else(|| self.decide(state, caches, cx))
            }
            Step::ClaimOwners => {
                state.failed |= answers.iter().any(refused);
                self.next_batch(state, caches, cx)
            }
            Step::VolumeClaims => self.claimed(state, answers, caches, cx),
            Step::Acting => {
                self.acted(state, answers, cx);
                self.next_batch(state, caches, cx)
            }
            Step::Status if state.failed || answers.iter().any(refused) => Next::Retry,
            Step::Status => Self::truncate(state, caches, cx),
            Step::Truncating => state.rest(cx),
        }
    }
}

impl StatefulSetController {
    fn start(&mut self, key: Key, state: &mut State, caches: &Cache, cx: &mut Context<'_>) -> Next {
        let found = caches.named(cx.versions(), Kind::StatefulSet, key.ns, key.name);
        let Some((target, Obj::StatefulSet(set))) = found else { return Next::Done };
        let set = Arc::clone(set);
        state.target = target;
        state.set = Some(Arc::clone(&set));
        let member = |pod: &Meta| ordinal_of(&set.meta, pod.name).is_some();
        let claims = self.claims.take(key, &set.meta, &set.selector, (caches, member), cx);
        if !claims.is_empty() {
            state.step = Step::Claiming;
            return Next::Call(claims);
        }
        if self.claims.waits(key, cx.now()) {
            return Next::Done;
        }
        state.known = history::of(set.meta.uid, caches, cx);
        let owner = (Kind::StatefulSet, &set.meta);
        match history::newest(owner, &set.template, set.status.collisions, &state.known) {
            Newest::There(revision) => {
                state.update = Some(revision);
                self.decide(state, caches, cx)
            }
            Newest::Write(revision, call) => {
                state.update = Some(revision);
                state.step = Step::Revision;
                Next::Call(vec![call])
            }
        }
    }

    /// The revision has been written, or its name is taken by another template.
    fn revised(state: &mut State, answers: &[Outcome]) -> Option<Next> {
        match answers.first()? {
            Ok(success) => {
                if let Obj::ControllerRevision(revision) = &success.value {
                    state.known.push((success.object, Arc::clone(revision)));
                }
                None
            }
            Err(_) => Some(Next::Retry),
        }
    }

    fn view<'a>(&self, state: &'a State, caches: &Cache, cx: &Context<'_>) -> Option<View<'a>> {
        let set = state.set.as_deref()?;
        let pods = pods_of(set.meta.uid, caches, cx);
        let numbered = pods.into_iter().filter_map(|(object, pod)| {
            Some((ordinal_of(&set.meta, pod.meta.name)?, (object, pod)))
        });
        let name = |r: &Option<Arc<ControllerRevision>>| {
            r.as_ref().map(|r| r.meta.name.sym()).unwrap_or_default()
        };
        Some(View {
            set,
            pods: numbered.collect(),
            update: name(&state.update),
            current: name(&state.current),
            label: self.label,
        })
    }

    /// Source: `updateStatefulSet`.
    fn decide(&mut self, state: &mut State, caches: &Cache, cx: &mut Context<'_>) -> Next {
        let Some(set) = state.set.clone() else { return Next::Done };
        let named = set.status.current_revision;
        let current = state.known.iter().find(|(_, r)| r.meta.name.sym() == named);
        state.current = current.map(|(_, r)| Arc::clone(r)).or_else(|| state.update.clone());
        let Some(view) = self.view(state, caches, cx) else { return Next::Done };
        let status = view.status(cx);
        let pods = view.pods.values().map(|(_, pod)| &**pod);
        let again = next_available(pods, set.min_ready_s, cx);
        let (mut todo, mut moved) = (Vec::new(), Vec::new());
        if !set.meta.terminating() {
            let actions = view.plan(cx);
            todo = actions.into_iter().filter_map(|a| self.task(a, &view, state)).collect();
            let pods = view.pods.iter().map(|(n, (_, pod))| (*n, pod.as_ref()));
            moved = setclaims::owners(&set, pods, caches, cx);
        }
        (state.status, state.todo, state.again) = (status, todo, again);
        if moved.is_empty() {
            return self.next_batch(state, caches, cx);
        }
        state.step = Step::ClaimOwners;
        Next::Call(moved)
    }

    fn task(&self, action: Action, view: &View<'_>, state: &State) -> Option<Task> {
        match action {
            Action::Create(ordinal) => {
                let set = view.set;
                let old = !set.on_delete
                    && ordinal < set.ordinals_start.saturating_add(set.partition.max(0));
                let revision = if old { state.current.as_ref() } else { state.update.as_ref() };
                let revision = revision?;
                let name = revision.meta.name.sym();
                Some(Task { action, revision: name, call: self.pod(set, revision, ordinal) })
            }
            Action::Delete(ordinal) => {
                let (object, pod) = view.pods.get(&ordinal)?;
                let revision = view.revision(pod).unwrap_or_default();
                Some(Task { action, revision, call: delete(Kind::Pod, &pod.meta, Some(*object)) })
            }
        }
    }

    fn pod(&self, set: &StatefulSet, revision: &ControllerRevision, ordinal: i32) -> Call {
        let template = &revision.template;
        let number = num::u32_of(usize::try_from(ordinal).unwrap_or(0));
        let name = Name::numbered(set.meta.name.sym(), number);
        let labels = template
            .labels
            .with(self.label, revision.meta.name.sym())
            .with("statefulset.kubernetes.io/pod-name".into(), name.sym())
            .with("apps.kubernetes.io/pod-index".into(), Sym::new(&ordinal.to_string()));
        let owners = owned_by(Kind::StatefulSet, &set.meta);
        let mut pod = pod_of(template, labels, set.meta.ns, name, owners);
        pod.spec = Arc::new(PodSpec {
            hostname: (name.sym(), set.service),
            volumes: setclaims::volumes(set, ordinal, &template.spec.volumes),
            ..PodSpec::clone(&template.spec)
        });
        create_pod(pod, false)
    }

    /// The next batch: claims before the pods that need them. Batches start slowly, as upstream's
    /// do; an ordered set has one action at a time anyway.
    fn next_batch(&mut self, state: &mut State, caches: &Cache, cx: &mut Context<'_>) -> Next {
        let Some(set) = state.set.clone() else { return Next::Done };
        if state.failed || state.todo.is_empty() {
            return Self::put_status(state, caches, cx);
        }
        let n = next_batch(num::i32_of(state.batch.len()), num::i32_of(state.todo.len()));
        state.batch = state.todo.drain(..num::index(u64::try_from(n).unwrap_or(0))).collect();
        let mut missing = Vec::new();
        for task in &state.batch {
            let Action::Create(ordinal) = task.action else { continue };
            match setclaims::missing(&set, ordinal, caches, cx) {
                Ok(claims) => missing.extend(claims),
                Err(stale) => {
                    let message = text(&format!("pvc {stale} is being deleted"));
                    self.failed(state, &set, message, cx);
                    return Self::put_status(state, caches, cx);
                }
            }
        }
        if missing.is_empty() {
            return Self::act(state);
        }
        state.step = Step::VolumeClaims;
        Next::Call(missing)
    }

    fn failed(&mut self, state: &mut State, set: &StatefulSet, message: Text, cx: &Context<'_>) {
        state.failed = true;
        self.reporter.warning(Kind::StatefulSet, &set.meta, "FailedCreate", message, cx);
    }

    /// Claims have been made: their pods follow.
    fn claimed(
        &mut self,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(set) = state.set.clone() else { return Next::Done };
        for answer in answers {
            match answer {
                Ok(success) => {
                    let (claim, owner) = (success.value.key().1, set.meta.name);
                    let message =
                        text(&format!("create Claim {claim} in StatefulSet {owner} success"));
                    let reason = "SuccessfulCreate";
                    self.reporter.normal(Kind::StatefulSet, &set.meta, reason, message, cx);
                }
                // Our own claim that the cache does not show yet.
                Err(ApiError::AlreadyExists) => {}
                Err(error) => {
                    let owner = set.meta.name;
                    let why = error.message(Kind::PersistentVolumeClaim, Name::default());
                    let message =
                        text(&format!("create Claim in StatefulSet {owner} failed error: {why}"));
                    self.failed(state, &set, message, cx);
                }
            }
        }
        if state.failed { Self::put_status(state, caches, cx) } else { Self::act(state) }
    }

    fn act(state: &mut State) -> Next {
        state.step = Step::Acting;
        Next::Call(state.batch.iter().map(|task| task.call.clone()).collect())
    }

    fn acted(&mut self, state: &mut State, answers: &[Outcome], cx: &Context<'_>) {
        let Some(set) = state.set.clone() else { return };
        let owner = set.meta.name;
        for (answer, task) in answers.iter().zip(state.batch.clone()) {
            let creating = matches!(task.action, Action::Create(_));
            match answer {
                Ok(success) => {
                    let pod = success.value.key().1;
                    let verb = if creating { "create" } else { "delete" };
                    let reason = if creating { "SuccessfulCreate" } else { "SuccessfulDelete" };
                    let message =
                        text(&format!("{verb} Pod {pod} in StatefulSet {owner} successful"));
                    self.reporter.normal(Kind::StatefulSet, &set.meta, reason, message, cx);
                    state.status.rolled(&task, &set);
                }
                // Our own pod that the cache does not show yet: its delivery wakes us.
                Err(ApiError::AlreadyExists | ApiError::NotFound) => {}
                Err(error) if namespace_going(*error) => {}
                Err(error) if creating => {
                    let (pod, why) = (task.call.name, error.message(Kind::Pod, task.call.name));
                    let message =
                        format!("create Pod {pod} in StatefulSet {owner} failed error: {why}");
                    self.failed(state, &set, text(&message), cx);
                }
                Err(error) => {
                    state.failed = true;
                    let (pod, why) = (task.call.name, error.message(Kind::Pod, task.call.name));
                    let message =
                        format!("delete Pod {pod} in StatefulSet {owner} failed error: {why}");
                    self.reporter.warning(
                        Kind::StatefulSet,
                        &set.meta,
                        "FailedDelete",
                        text(&message),
                        cx,
                    );
                }
            }
        }
    }

    fn put_status(state: &mut State, caches: &Cache, cx: &Context<'_>) -> Next {
        if let Some(call) = Self::new_status(state) {
            return Next::Call(vec![call]);
        }
        if state.failed { Next::Retry } else { Self::truncate(state, caches, cx) }
    }

    fn new_status(state: &mut State) -> Option<Call> {
        let set = state.set.as_ref()?;
        let status = &mut state.status;
        let want = set.replicas;
        let done = [status.updated, status.ready, status.replicas].iter().all(|n| *n == want);
        if done && !set.on_delete && !set.meta.terminating() {
            status.current = status.updated;
            status.current_revision = status.update_revision;
        }
        state.step = Step::Status;
        if *status == set.status {
            return None;
        }
        let mut object = StatefulSet::clone(set);
        object.status = state.status.clone();
        Some(put_status(Obj::StatefulSet(Arc::new(object)), state.target))
    }

    /// Revisions that no pod has and that are neither current nor newest go, beyond the limit.
    fn truncate(state: &mut State, caches: &Cache, cx: &Context<'_>) -> Next {
        let Some(set) = state.set.as_ref() else { return Next::Done };
        let limit = set.history_limit;
        if i32::try_from(state.known.len()).is_ok_and(|n| n <= limit) {
            return state.rest(cx);
        }
        let label = history::HASH_LABEL.into();
        let pods = pods_of(set.meta.uid, caches, cx);
        let mut used: Vec<Sym> =
            pods.iter().filter_map(|(_, pod)| pod.meta.labels.get(label)).collect();
        used.extend([state.status.current_revision, state.status.update_revision]);
        let calls = history::truncate(&state.known, limit, |r| used.contains(&r.meta.name.sym()));
        state.step = Step::Truncating;
        if calls.is_empty() { state.rest(cx) } else { Next::Call(calls) }
    }
}

impl StatefulSetStatus {
    /// A status counts the pods that a sync has found. What it makes is counted by the next one;
    /// only a pod that is deleted to be rolled is taken from those of the current revision at once
    /// (source: `stateful_set_control.go` `updateStatefulSet`; recorded in `timelines/03`).
    fn rolled(&mut self, task: &Task, set: &StatefulSet) {
        let Action::Delete(ordinal) = task.action else { return };
        let end = set.ordinals_start.saturating_add(set.replicas);
        let kept = (set.ordinals_start..end).contains(&ordinal);
        self.current -= i32::from(kept && task.revision == self.current_revision);
    }
}
