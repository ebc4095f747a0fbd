//! Deployments: roll `ReplicaSets` (source: `ctl/deployment/`).

use super::claims::Claims;
use super::depstatus::{self, Progress};
use super::rollout::{Size, Wish};
use super::support::{Reporter, delete, owned_by, put, put_status, reports, template_hash, text};
use crate::api::pod::ConditionType;
use crate::api::request::{ApiError, Op, Outcome, Success};
use crate::api::version::KubeVersion;
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::{Deployment, PodTemplate, ReplicaSet, Strategy};
use crate::api::{Kind, Meta, Name, Obj, Selector};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{SimDuration, Sym};
use crate::event::Context;
use std::sync::Arc;

const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HASH_LABEL: &str = "pod-template-hash";

/// A ReplicaSet and its place.
type Set = (ObjRef, Arc<ReplicaSet>);

/// The Deployment controller.
#[derive(Debug, Clone)]
pub struct DeploymentController {
    reporter: Reporter,
    claims: Claims,
    progress: Progress,
    hash_label: Sym,
}

impl Default for DeploymentController {
    fn default() -> Self {
        Self {
            reporter: Reporter::new("deployment-controller", "deployment-controller"),
            claims: Claims::new(Kind::Deployment, Kind::ReplicaSet),
            progress: Progress::default(),
            hash_label: HASH_LABEL.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Start,
    /// `ReplicaSets` are being adopted or released.
    Claiming,
    /// A new ReplicaSet is being made.
    Creating,
    /// The revision of a ReplicaSet found again is being set.
    Renumbering,
    /// The revision of the Deployment is being set.
    Revision,
    /// Ready for one step of the strategy.
    Strategy,
    /// `ReplicaSets` are being scaled; the status follows.
    Scaling,
    /// Old `ReplicaSets` are being deleted; the status follows.
    Cleaning,
    Status,
}

/// What a sync remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    step: Step,
    target: ObjRef,
    deployment: Option<Arc<Deployment>>,
    new: Option<Set>,
    /// Oldest first.
    old: Vec<Set>,
    /// Size before and after, and name, of each ReplicaSet being scaled.
    scaling: Vec<(i32, i32, Name)>,
    /// The status is put without conditions about progress (scaling, paused, deleting).
    plain: bool,
    failed: bool,
}

impl State {
    fn all(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(&self.new)
    }

    /// Takes in what a write has made of a `ReplicaSet`.
    fn renew(&mut self, success: &Success) {
        if let Obj::ReplicaSet(rs) = &success.value {
            let slots = self.old.iter_mut().chain(self.new.as_mut());
            for slot in slots.filter(|s| s.0 == success.object) {
                slot.1 = Arc::clone(rs);
            }
        }
    }

    fn total(&self) -> i32 {
        self.all().map(|(_, rs)| rs.replicas).sum()
    }
}

impl Reconcile for DeploymentController {
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
        if kind == Kind::Deployment {
            if let Some(meta) = change.value.meta().filter(|_| change.deleted) {
                self.progress.forget(meta.uid);
            }
            self.claims.on_owner(change, before, caches, cx);
            wake.push((Key::of(&change.value), SimDuration::ZERO));
            return;
        }
        let owner = |obj: &Obj| super::support::owner_key(obj, Kind::Deployment).map(|o| o.0);
        if kind == Kind::ReplicaSet {
            self.claims.on_child(change, before, caches, cx, wake);
            let new = owner(&change.value);
            let old = before.and_then(owner).filter(|o| Some(*o) != new);
            wake.extend(old.into_iter().chain(new).map(|key| (key, SimDuration::ZERO)));
            return;
        }
        // A pod's end matters to a Recreate rollout that waits for it.
        if !change.deleted {
            return;
        }
        let Some((set, _)) = super::support::owner_key(&change.value, Kind::ReplicaSet) else {
            return;
        };
        let set = caches.named(cx.versions(), Kind::ReplicaSet, set.ns, set.name);
        let Some(key) = set.and_then(|(_, obj)| owner(obj)) else { return };
        let found = caches.named(cx.versions(), Kind::Deployment, key.ns, key.name);
        if matches!(found, Some((_, Obj::Deployment(d))) if d.strategy == Strategy::Recreate) {
            wake.push((key, SimDuration::ZERO));
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
        let refused = answers.iter().any(Result::is_err);
        match state.step {
            Step::Start => self.start(key, state, caches, cx),
            Step::Claiming if self.claims.settled(key, answers) => Next::Done,
            Step::Claiming => Next::Retry,
            Step::Creating => self.created(state, answers, caches, cx),
            Step::Renumbering | Step::Revision if refused => Next::Retry,
            Step::Renumbering => {
                if let Some(Ok(success)) = answers.first() {
                    state.renew(success);
                }
                self.set_revision(state, caches, cx)
            }
            Step::Revision | Step::Strategy => self.strategy(state, caches, cx),
            Step::Scaling => self.scaled(state, answers, cx),
            Step::Cleaning => self.put_status(state, cx),
            Step::Status if refused || state.failed => Next::Retry,
            Step::Status => Next::Done,
        }
    }
}

impl DeploymentController {
    fn start(&mut self, key: Key, state: &mut State, caches: &Cache, cx: &mut Context<'_>) -> Next {
        let found = caches.named(cx.versions(), Kind::Deployment, key.ns, key.name);
        let Some((target, Obj::Deployment(deployment))) = found else { return Next::Done };
        let deployment = Arc::clone(deployment);
        state.target = target;
        let (meta, selector) = (&deployment.meta, &deployment.selector);
        let claims = self.claims.take(key, meta, selector, (caches, |_| true), cx);
        if !claims.is_empty() {
            state.step = Step::Claiming;
            return Next::Call(claims);
        }
        if self.claims.waits(key, cx.now()) {
            return Next::Done;
        }
        let mut sets: Vec<Set> = caches
            .owned(deployment.meta.uid, Kind::ReplicaSet)
            .filter_map(|object| {
                let obj = caches.get(cx.versions(), Kind::ReplicaSet, object)?;
                let Obj::ReplicaSet(rs) = obj else { return None };
                Some((object, Arc::clone(rs)))
            })
            .collect();
        sets.sort_by(|a, b| {
            let (a, b) = (&a.1.meta, &b.1.meta);
            a.created.cmp(&b.created).then_with(|| a.name.cmp_text(b.name))
        });
        let same = |rs: &ReplicaSet| self.same_template(&rs.template, &deployment.template);
        if let Some(at) = sets.iter().position(|(_, rs)| same(rs)) {
            state.new = Some(sets.remove(at));
        }
        state.old = sets;
        state.deployment = Some(Arc::clone(&deployment));
        if deployment.meta.terminating() {
            state.plain = true;
            return self.put_status(state, cx);
        }
        let desired = |rs: &ReplicaSet| annotated(&rs.meta, DESIRED);
        let scaled = state.all().any(|(_, rs)| {
            rs.replicas > 0 && desired(rs).is_some_and(|n| n != deployment.replicas)
        });
        if deployment.paused || scaled {
            state.plain = true;
            return self.scale_all(state, cx);
        }
        let old_pods =
            deployment.strategy == Strategy::Recreate && state.old.iter().any(busy(caches, cx));
        if state.new.is_none()
            && (old_pods || deployment.strategy == Strategy::Recreate && shrinking(state))
        {
            // Recreate: nothing new before everything old has ended.
            return self.strategy(state, caches, cx);
        }
        self.revise(state).unwrap_or_else(|| self.set_revision(state, caches, cx))
    }

    fn same_template(&self, a: &PodTemplate, b: &PodTemplate) -> bool {
        let spec = Arc::ptr_eq(&a.spec, &b.spec) || a.spec == b.spec;
        spec && a.annotations == b.annotations
            && a.labels.without(self.hash_label) == b.labels.without(self.hash_label)
    }

    /// Makes the new ReplicaSet, or brings its annotations up to date.
    /// Source: `sync.go` `getNewReplicaSet`.
    fn revise(&self, state: &mut State) -> Option<Next> {
        let deployment = state.deployment.clone()?;
        let last = state.old.iter().filter_map(|(_, rs)| annotated(&rs.meta, REVISION)).max();
        let revision = last.unwrap_or(0) + 1;
        let wish = Wish::new(deployment.replicas, deployment.strategy);
        let Some((target, rs)) = &state.new else {
            state.step = Step::Creating;
            let object =
                Obj::ReplicaSet(Arc::new(self.new_set(&deployment, wish, revision, state)));
            let (ns, name) = object.key();
            let op = Op::Create { object, generate: false };
            return Some(Next::Call(vec![Call {
                kind: Kind::ReplicaSet,
                ns,
                name,
                target: None,
                op,
            }]));
        };
        let mut object = ReplicaSet::clone(rs);
        let changed = annotate(&mut object.meta, &deployment, wish, Some(revision));
        let slow = object.min_ready_s != deployment.min_ready_s;
        if !changed && !slow {
            return None;
        }
        object.min_ready_s = deployment.min_ready_s;
        state.step = Step::Renumbering;
        Some(Next::Call(vec![put(Obj::ReplicaSet(Arc::new(object)), *target)]))
    }

    fn new_set(&self, d: &Deployment, wish: Wish, revision: i32, state: &State) -> ReplicaSet {
        let hash = template_hash(&d.template, d.status.collisions);
        let labels = d.template.labels.with(self.hash_label, hash);
        let name = Name::new(&format!("{}-{hash}", d.meta.name));
        let requirement = Selector::of_labels([(self.hash_label, hash)]);
        let requirements = d.selector.requirements.iter().chain(requirement.requirements.iter());
        let mut rs = ReplicaSet {
            meta: Meta {
                labels,
                annotations: d.meta.annotations.clone(),
                owners: Some(owned_by(Kind::Deployment, &d.meta)),
                ..Meta::named(d.meta.ns, name)
            },
            replicas: wish.new_size(0, state.total()),
            min_ready_s: d.min_ready_s,
            selector: Selector::new(requirements.cloned().collect()),
            template: Arc::new(PodTemplate { labels, ..PodTemplate::clone(&d.template) }),
            ..ReplicaSet::default()
        };
        // The revision comes last: the Deployment's own annotation is that of the rollout before.
        annotate(&mut rs.meta, d, wish, None);
        rs.meta.set_annotation(REVISION, &revision.to_string());
        rs
    }

    fn created(
        &mut self,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(deployment) = state.deployment.clone() else { return Next::Done };
        match answers.first() {
            Some(Ok(success)) => {
                let Obj::ReplicaSet(rs) = &success.value else { return Next::Retry };
                state.new = Some((success.object, Arc::clone(rs)));
                if rs.replicas > 0 {
                    let from = if cx.version() >= KubeVersion::V1_35 { " from 0" } else { "" };
                    let name = rs.meta.name;
                    let message = format!("Scaled up replica set {name}{from} to {}", rs.replicas);
                    self.scaling_event(&deployment, &message, cx);
                }
                self.set_revision(state, caches, cx)
            }
            Some(Err(ApiError::AlreadyExists)) => self.collided(state, &deployment, caches, cx),
            Some(Err(error)) => {
                let hash = template_hash(&deployment.template, deployment.status.collisions);
                let name = Name::new(&format!("{}-{hash}", deployment.meta.name));
                let why = error.message(Kind::ReplicaSet, name);
                let message = format!("Failed to create new replica set: {why}");
                self.reporter.warning(
                    Kind::Deployment,
                    &deployment.meta,
                    "ReplicaSetCreateError",
                    text(&message),
                    cx,
                );
                Next::Retry
            }
            None => Next::Retry,
        }
    }

    /// The name is taken: by our own set that the cache does not show yet, or by a stranger.
    fn collided(
        &self,
        state: &mut State,
        deployment: &Arc<Deployment>,
        caches: &Cache,
        cx: &Context<'_>,
    ) -> Next {
        let hash = template_hash(&deployment.template, deployment.status.collisions);
        let name = Name::new(&format!("{}-{hash}", deployment.meta.name));
        let known = caches.named(cx.versions(), Kind::ReplicaSet, deployment.meta.ns, name);
        let Some((_, Obj::ReplicaSet(rs))) = known else { return Next::Retry };
        let own = rs.meta.controller().is_some_and(|o| o.uid == deployment.meta.uid);
        if own && self.same_template(&rs.template, &deployment.template) {
            return Next::Retry;
        }
        let mut object = Deployment::clone(deployment);
        object.status.collisions += 1;
        state.step = Step::Status;
        state.failed = true;
        Next::Call(vec![put_status(Obj::Deployment(Arc::new(object)), state.target)])
    }

    /// Brings the Deployment's own revision and first condition up to date, then goes on.
    fn set_revision(&mut self, state: &mut State, caches: &Cache, cx: &mut Context<'_>) -> Next {
        let (Some(deployment), Some((_, rs))) = (state.deployment.clone(), state.new.as_ref())
        else {
            return Next::Done;
        };
        let made = state.step == Step::Creating;
        let mut object = Deployment::clone(&deployment);
        let revision = rs.meta.annotation(REVISION).map(str::to_owned);
        let mut changed = false;
        if let Some(revision) = revision.filter(|_| state.step != Step::Renumbering)
            && object.meta.annotation(REVISION) != Some(&revision)
        {
            object.meta.set_annotation(REVISION, &revision);
            changed = true;
        }
        let fresh = object.status.conditions.get(ConditionType::Progressing).is_none();
        if made || fresh {
            let condition = depstatus::found(made, rs.meta.name, cx);
            changed |= depstatus::set(&mut object.status.conditions, condition);
            self.progress.note(deployment.meta.uid, cx.now());
        }
        if state.step == Step::Renumbering {
            // The next sync sees the ReplicaSet's new revision and copies it.
            return self.strategy(state, caches, cx);
        }
        if !changed {
            return self.strategy(state, caches, cx);
        }
        state.step = Step::Revision;
        Next::Call(vec![put_status(Obj::Deployment(Arc::new(object)), state.target)])
    }

    /// One step of the strategy: at most one ReplicaSet grows, or old ones shrink.
    fn strategy(&mut self, state: &mut State, caches: &Cache, cx: &mut Context<'_>) -> Next {
        let Some(deployment) = state.deployment.clone() else { return Next::Done };
        state.step = Step::Strategy;
        let wish = Wish::new(deployment.replicas, deployment.strategy);
        let plan =
            if wish.rolling { rolling(state, wish) } else { recreate(state, wish, caches, cx) };
        if !plan.is_empty() {
            return self.scale(state, &plan, wish, &deployment);
        }
        if depstatus::complete(
            &deployment,
            &depstatus::counts(&deployment, state.all(), state.new.as_ref()),
        ) && let Some(next) = clean_up(state, &deployment)
        {
            return next;
        }
        self.put_status(state, cx)
    }

    /// Source: `sync.go` `scale`.
    fn scale_all(&mut self, state: &mut State, cx: &mut Context<'_>) -> Next {
        let Some(deployment) = state.deployment.clone() else { return Next::Done };
        let wish = Wish::new(deployment.replicas, deployment.strategy);
        let plan = scale_plan(state, wish, &deployment);
        if plan.is_empty() {
            return self.put_status(state, cx);
        }
        self.scale(state, &plan, wish, &deployment)
    }

    /// Puts new sizes.
    fn scale(
        &mut self,
        state: &mut State,
        plan: &[(Set, i32)],
        wish: Wish,
        deployment: &Deployment,
    ) -> Next {
        let mut calls = Vec::new();
        for ((target, rs), size) in plan {
            let mut object = ReplicaSet::clone(rs);
            object.replicas = *size;
            annotate(&mut object.meta, deployment, wish, None);
            state.scaling.push((rs.replicas, *size, rs.meta.name));
            calls.push(put(Obj::ReplicaSet(Arc::new(object)), *target));
        }
        state.step = Step::Scaling;
        Next::Call(calls)
    }

    fn scaled(&mut self, state: &mut State, answers: &[Outcome], cx: &mut Context<'_>) -> Next {
        let Some(deployment) = state.deployment.clone() else { return Next::Done };
        for (answer, (before, after, name)) in
            answers.iter().zip(std::mem::take(&mut state.scaling))
        {
            let Ok(success) = answer else {
                state.failed = true;
                continue;
            };
            state.renew(success);
            if before != after {
                let way = if after > before { "up" } else { "down" };
                let sizes = if cx.version() >= KubeVersion::V1_35 {
                    format!("from {before} to {after}")
                } else {
                    format!("to {after} from {before}")
                };
                let message = format!("Scaled {way} replica set {name} {sizes}");
                self.scaling_event(&deployment, &message, cx);
            }
        }
        if state.failed {
            return Next::Retry;
        }
        self.put_status(state, cx)
    }

    fn scaling_event(&mut self, deployment: &Deployment, message: &str, cx: &Context<'_>) {
        let (kind, meta) = (Kind::Deployment, &deployment.meta);
        self.reporter.normal(kind, meta, "ScalingReplicaSet", text(message), cx);
    }

    fn put_status(&mut self, state: &mut State, cx: &mut Context<'_>) -> Next {
        let Some(deployment) = state.deployment.clone() else { return Next::Done };
        let mut status = depstatus::counts(&deployment, state.all(), state.new.as_ref());
        let wish = Wish::new(deployment.replicas, deployment.strategy);
        let available = depstatus::available(wish, status.available, cx);
        depstatus::set(&mut status.conditions, available);
        if state.plain {
            self.progress.pause(&deployment, &mut status, cx);
        } else {
            let new = state.new.as_ref().map(|(_, rs)| rs.as_ref());
            self.progress.judge(&deployment, new, &mut status, cx);
        }
        depstatus::mirror_failure(&mut status, state.new.as_ref(), &state.old);
        state.step = Step::Status;
        if status == deployment.status {
            return self
                .progress
                .recheck(&deployment, &status, cx)
                .map_or(Next::Done, Next::Requeue);
        }
        let mut object = Deployment::clone(&deployment);
        object.status = status;
        Next::Call(vec![put_status(Obj::Deployment(Arc::new(object)), state.target)])
    }
}

/// True for sets that still have a pod that has not ended (terminating ones count).
fn busy<'a>(caches: &'a Cache, cx: &'a Context<'_>) -> impl Fn(&Set) -> bool + 'a {
    |(_, rs)| {
        caches.owned(rs.meta.uid, Kind::Pod).any(|object| {
            let obj = caches.get(cx.versions(), Kind::Pod, object);
            obj.and_then(Obj::as_pod).is_some_and(|pod| !pod.terminal())
        })
    }
}

fn shrinking(state: &State) -> bool {
    state.old.iter().any(|(_, rs)| rs.replicas > 0)
}

fn size(set: &Set) -> Size {
    Size { spec: set.1.replicas, available: set.1.status.available }
}

fn rolling(state: &State, wish: Wish) -> Vec<(Set, i32)> {
    let Some(new) = &state.new else { return Vec::new() };
    let grown = wish.new_size(new.1.replicas, state.total());
    if grown != new.1.replicas {
        return vec![(new.clone(), grown)];
    }
    let active: Vec<&Set> = state.old.iter().filter(|(_, rs)| rs.replicas > 0).collect();
    if active.is_empty() {
        return Vec::new();
    }
    let old: Vec<Size> = active.iter().map(|s| size(s)).collect();
    let sizes = wish.old_sizes(&old, size(new));
    let pairs = active.into_iter().zip(sizes).filter(|(set, n)| set.1.replicas != *n);
    pairs.map(|(set, n)| (set.clone(), n)).collect()
}

fn recreate(state: &State, wish: Wish, caches: &Cache, cx: &Context<'_>) -> Vec<(Set, i32)> {
    if shrinking(state) {
        let old = state.old.iter().filter(|(_, rs)| rs.replicas > 0);
        return old.map(|set| (set.clone(), 0)).collect();
    }
    if state.old.iter().any(busy(caches, cx)) {
        return Vec::new();
    }
    let new = state.new.iter().filter(|(_, rs)| rs.replicas != wish.replicas);
    new.map(|set| (set.clone(), wish.replicas)).collect()
}

/// Sizes after `spec.replicas` has changed. A set whose size stays gets its annotations renewed.
fn scale_plan(state: &State, wish: Wish, deployment: &Deployment) -> Vec<(Set, i32)> {
    let mut active: Vec<Set> = state.all().filter(|(_, rs)| rs.replicas > 0).cloned().collect();
    let stale = |set: &Set, n: i32| {
        let desired = annotated(&set.1.meta, DESIRED);
        set.1.replicas != n || desired.is_some_and(|d| d != wish.replicas)
    };
    if active.len() <= 1 {
        let latest =
            active.pop().or_else(|| state.new.clone()).or_else(|| state.old.last().cloned());
        let set = latest.filter(|set| set.1.replicas != wish.replicas || stale(set, wish.replicas));
        return set.map(|set| (set, wish.replicas)).into_iter().collect();
    }
    let saturated = state.new.as_ref().is_some_and(|(_, rs)| {
        rs.replicas == wish.replicas
            && annotated(&rs.meta, DESIRED) == Some(wish.replicas)
            && rs.status.available == wish.replicas
    });
    if saturated {
        let old = state.old.iter().filter(|(_, rs)| rs.replicas > 0);
        return old.map(|set| (set.clone(), 0)).collect();
    }
    if !wish.rolling {
        return Vec::new();
    }
    let total: i32 = active.iter().map(|(_, rs)| rs.replicas).sum();
    let growing = wish.max_total() > total && wish.replicas > 0;
    // Largest first; of equal ones the newer first when adding, the older first when removing.
    if growing {
        active.reverse();
    }
    active.sort_by_key(|(_, rs)| std::cmp::Reverse(rs.replicas));
    let max = |rs: &ReplicaSet| annotated(&rs.meta, MAX).unwrap_or(deployment.status.replicas);
    let shares: Vec<(i32, i32)> = active.iter().map(|(_, rs)| (rs.replicas, max(rs))).collect();
    let sizes = wish.proportional(&shares);
    active.into_iter().zip(sizes).filter(|(set, n)| stale(set, *n)).collect()
}

/// Deletes old `ReplicaSets` beyond the history limit, oldest revision first.
fn clean_up(state: &mut State, deployment: &Deployment) -> Option<Next> {
    let alive: Vec<&Set> = state.old.iter().filter(|(_, rs)| !rs.meta.terminating()).collect();
    let keep = usize::try_from(deployment.history_limit).ok()?;
    let excess = alive.len().checked_sub(keep).filter(|n| *n > 0)?;
    let mut oldest = alive;
    oldest.sort_by_key(|(_, rs)| annotated(&rs.meta, REVISION));
    let idle = |rs: &ReplicaSet| {
        rs.status.replicas == 0
            && rs.replicas == 0
            && rs.meta.generation <= rs.status.observed_generation
    };
    let gone = oldest.into_iter().take(excess).filter(|(_, rs)| idle(rs));
    let calls: Vec<Call> =
        gone.map(|(object, rs)| delete(Kind::ReplicaSet, &rs.meta, Some(*object))).collect();
    if calls.is_empty() {
        return None;
    }
    state.step = Step::Cleaning;
    Some(Next::Call(calls))
}

fn annotated(meta: &Meta, key: &str) -> Option<i32> {
    meta.annotation(key)?.parse().ok()
}

/// Brings the annotations of a ReplicaSet up to date; says whether any changed.
fn annotate(meta: &mut Meta, d: &Deployment, wish: Wish, revision: Option<i32>) -> bool {
    let mut changed = false;
    let mut set = |meta: &mut Meta, key: &str, value: String| {
        if meta.annotation(key) != Some(&value) {
            meta.set_annotation(key, &value);
            changed = true;
        }
    };
    set(meta, DESIRED, d.replicas.to_string());
    set(meta, MAX, wish.max_total().to_string());
    if let Some(revision) = revision {
        let old = annotated(meta, REVISION);
        // A set that is rolled back to gets the next revision; its old one goes into its history.
        if old.is_none_or(|old| old < revision) {
            if let Some(old) = old {
                let history = meta.annotation(HISTORY).map(|h| format!("{h},{old}"));
                set(meta, HISTORY, history.unwrap_or_else(|| old.to_string()));
            }
            set(meta, REVISION, revision.to_string());
        }
    }
    changed
}
