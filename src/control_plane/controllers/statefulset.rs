//! `StatefulSets`: pods with ordinals, made, scaled and rolled in order
//! (source: `ctl/statefulset/stateful_set_control.go`). Volume claims are not made.

use super::support::{
    Reporter, available, create_pod, delete, error_text, owned_by, owner_key, pod_of, pods_of,
    put_status, template_hash, text,
};
use crate::api::request::{ApiError, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::{PodTemplate, StatefulSet, StatefulSetStatus};
use crate::api::{Kind, Name, Obj, Pod, PodSpec, Uid};
use crate::client::{Cache, Call, Key, Next, Outbox, Reconcile};
use crate::engine::{SimDuration, Sym, num};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

const REVISION_LABEL: &str = "controller-revision-hash";

/// A revision of a template, by its name.
type Revision = (Sym, Arc<PodTemplate>);

/// The StatefulSet controller.
#[derive(Debug, Clone)]
pub struct StatefulSetController {
    reporter: Reporter,
    /// Revisions of each set, oldest first (upstream keeps them as `ControllerRevisions`).
    revisions: FxHashMap<Uid, Vec<Revision>>,
    label: Sym,
}

impl Default for StatefulSetController {
    fn default() -> Self {
        Self {
            reporter: Reporter::new("statefulset-controller", "statefulset-controller"),
            revisions: FxHashMap::default(),
            label: REVISION_LABEL.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Start,
    Acting,
    Status,
}

/// What a sync remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    step: Step,
    target: ObjRef,
    set: Option<Arc<StatefulSet>>,
    status: StatefulSetStatus,
    /// How many of the calls make pods; the rest delete some.
    creating: usize,
    failed: bool,
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

impl View<'_> {
    fn range(&self) -> std::ops::Range<i32> {
        self.set.ordinals_start..self.set.ordinals_start + self.set.replicas.max(0)
    }

    fn revision(&self, pod: &Pod) -> Option<Sym> {
        pod.meta.labels.get(self.label)
    }

    fn healthy(&self, pod: &Pod, cx: &Context<'_>) -> bool {
        pod.active() && pod.ready() && available(pod, self.set.min_ready_s, cx)
    }

    fn status(&self, cx: &Context<'_>) -> StatefulSetStatus {
        let count = |f: &dyn Fn(&Pod) -> bool| {
            num::i32_of(self.pods.values().filter(|(_, pod)| f(pod)).count())
        };
        let live = |pod: &Pod| !pod.meta.terminating();
        let mut status = StatefulSetStatus {
            observed_generation: self.set.meta.generation,
            replicas: count(&|_| true),
            ready: count(&|p| p.ready()),
            available: count(&|p| p.ready() && available(p, self.set.min_ready_s, cx)),
            current: count(&|p| live(p) && self.revision(p) == Some(self.current)),
            updated: count(&|p| live(p) && self.revision(p) == Some(self.update)),
            current_revision: self.current,
            update_revision: self.update,
        };
        let want = self.set.replicas;
        let done = [status.updated, status.ready, status.replicas].iter().all(|n| *n == want);
        if done && self.set.partition <= self.set.ordinals_start {
            status.current = status.updated;
            status.current_revision = self.update;
        }
        status
    }

    /// What to do now: ordinals to make, and pods to delete.
    fn plan(&self, cx: &Context<'_>) -> (Vec<i32>, Vec<i32>) {
        let monotonic = !self.set.parallel;
        let mut create = Vec::new();
        let mut remove = Vec::new();
        for ordinal in self.range() {
            let wait = match self.pods.get(&ordinal) {
                None => {
                    create.push(ordinal);
                    true
                }
                Some((_, pod)) if pod.terminal() => {
                    if !pod.meta.terminating() {
                        remove.push(ordinal);
                    }
                    true
                }
                Some((_, pod)) => !self.healthy(pod, cx),
            };
            if wait && monotonic {
                return (create, remove);
            }
        }
        let range = self.range();
        let condemned = self.pods.iter().rev().filter(|(n, _)| !range.contains(n));
        for (ordinal, (_, pod)) in condemned {
            let gone = pod.meta.terminating();
            if !gone {
                remove.push(*ordinal);
            }
            if monotonic {
                return (create, remove);
            }
        }
        if create.is_empty() && remove.is_empty() {
            remove.extend(self.roll(cx));
        }
        (create, remove)
    }

    /// The pod to replace next: from the highest ordinal down to the partition, one at a time.
    fn roll(&self, cx: &Context<'_>) -> Option<i32> {
        if self.set.on_delete {
            return None;
        }
        let low = self.set.ordinals_start + self.set.partition.max(0);
        for ordinal in self.range().rev().take_while(|n| *n >= low) {
            let (_, pod) = self.pods.get(&ordinal)?;
            if pod.meta.terminating() {
                return None;
            }
            if self.revision(pod) != Some(self.update) {
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

    fn name(&self) -> Sym {
        self.reporter.account
    }

    fn outbox(&mut self) -> Option<&mut Outbox> {
        Some(&mut self.reporter.outbox)
    }

    fn on_change(
        &mut self,
        change: &Change,
        _before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if change.value.kind() == Kind::StatefulSet {
            if let Some(meta) = change.value.meta().filter(|_| change.deleted) {
                self.revisions.remove(&meta.uid);
            }
            wake.push((Key::of(&change.value), SimDuration::ZERO));
            return;
        }
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
        match state.step {
            Step::Start => self.start(key, state, caches, cx),
            Step::Acting => {
                self.acted(state, answers, cx);
                Self::put_status(state)
            }
            Step::Status => {
                let refused = |a: &Outcome| matches!(a, Err(e) if *e != ApiError::NotFound);
                let failed = state.failed || answers.iter().any(refused);
                if failed { Next::Retry } else { Next::Done }
            }
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
        let update = self.revise(&set);
        let current = set.status.current_revision;
        let pods = pods_of(set.meta.uid, caches, cx);
        let numbered = pods.into_iter().filter_map(|(object, pod)| {
            let ordinal = i32::try_from(pod.meta.name.number()?).ok()?;
            Some((ordinal, (object, pod)))
        });
        let view = View {
            set: &set,
            pods: numbered.collect(),
            update,
            current: if current.is_empty() { update } else { current },
            label: self.label,
        };
        state.status = view.status(cx);
        if set.meta.terminating() {
            return Self::put_status(state);
        }
        let (create, remove) = view.plan(cx);
        state.creating = create.len();
        let mut calls: Vec<Call> = create.iter().map(|n| self.pod(&view, *n)).collect();
        let victims = remove.iter().filter_map(|n| view.pods.get(n));
        calls.extend(victims.map(|(object, pod)| delete(Kind::Pod, &pod.meta, Some(*object))));
        if calls.is_empty() {
            return Self::put_status(state);
        }
        state.step = Step::Acting;
        Next::Call(calls)
    }

    /// The name of the template's revision, which is kept.
    fn revise(&mut self, set: &StatefulSet) -> Sym {
        let known = self.revisions.entry(set.meta.uid).or_default();
        if let Some((name, _)) = known.iter().find(|(_, t)| **t == *set.template) {
            return *name;
        }
        let hash = template_hash(&set.template, 0);
        let name = Sym::new(&format!("{}-{hash}", set.meta.name));
        known.push((name, Arc::clone(&set.template)));
        name
    }

    fn pod(&self, view: &View<'_>, ordinal: i32) -> Call {
        let set = view.set;
        let old = ordinal < set.ordinals_start + set.partition.max(0);
        let revision = if old { view.current } else { view.update };
        let known = self.revisions.get(&set.meta.uid).into_iter().flatten();
        let template = known
            .filter(|(name, _)| *name == revision)
            .map(|(_, t)| t)
            .next()
            .unwrap_or(&set.template);
        let name =
            Name::numbered(set.meta.name.sym(), num::u32_of(usize::try_from(ordinal).unwrap_or(0)));
        let labels = template
            .labels
            .with(self.label, revision)
            .with("statefulset.kubernetes.io/pod-name".into(), name.sym())
            .with("apps.kubernetes.io/pod-index".into(), Sym::new(&ordinal.to_string()));
        let owners = owned_by(Kind::StatefulSet, &set.meta);
        let mut pod = pod_of(template, labels, set.meta.ns, name, owners);
        pod.spec = Arc::new(PodSpec {
            hostname: (name.sym(), set.service),
            ..PodSpec::clone(&template.spec)
        });
        create_pod(pod, false)
    }

    fn acted(&mut self, state: &mut State, answers: &[Outcome], cx: &Context<'_>) {
        let Some(set) = state.set.clone() else { return };
        let owner = set.meta.name;
        for (i, answer) in answers.iter().enumerate() {
            let creating = i < state.creating;
            match answer {
                Ok(success) => {
                    let pod = success.value.key().1;
                    let verb = if creating { "create" } else { "delete" };
                    let reason = if creating { "SuccessfulCreate" } else { "SuccessfulDelete" };
                    let message = format!("{verb} Pod {pod} in StatefulSet {owner} successful");
                    self.reporter.normal(Kind::StatefulSet, &set.meta, reason, text(&message), cx);
                    if creating {
                        state.status.replicas += 1;
                    }
                }
                // Our own pod that the cache does not show yet: its delivery wakes us.
                Err(ApiError::AlreadyExists | ApiError::NotFound) => {}
                Err(error) => {
                    state.failed = true;
                    let reason = if creating { "FailedCreate" } else { "FailedDelete" };
                    let message = text(&error_text(*error));
                    self.reporter.warning(Kind::StatefulSet, &set.meta, reason, message, cx);
                }
            }
        }
    }

    fn put_status(state: &mut State) -> Next {
        let Some(set) = state.set.as_ref() else { return Next::Done };
        state.step = Step::Status;
        if state.status == set.status {
            return if state.failed { Next::Retry } else { Next::Done };
        }
        let mut object = StatefulSet::clone(set);
        object.status = state.status.clone();
        Next::Call(vec![put_status(Obj::StatefulSet(Arc::new(object)), state.target)])
    }
}
