//! `DaemonSets`: a pod on each node that should have one (source: `ctl/daemon/`). Where a pod
//! should run, and which go in a rolling update, stands in `daemonplan`.

use super::claims::Claims;
use super::daemonboard::Boards;
use super::daemonplan::{View, node_of, tolerations};
use super::history::{self, Newest, Revision};
use super::support::{
    Expectations, Reporter, create_pod, delete, namespace_going, next_batch, owned_by, owner_key,
    pod_of, put_status, reports, resync_at, text, unnamed_text,
};
use crate::api::kevent::Text;
use crate::api::labels::{Op as LabelOp, Requirement};
use crate::api::node::Node;
use crate::api::pod::{NodeSelectorTerm, Phase};
use crate::api::request::{ApiError, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::{DaemonSet, DaemonSetStatus};
use crate::api::{Kind, Obj, Pod, PodSpec, Uid};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Creates and deletes per sync (source: `BurstReplicas` of `ctl/daemon`).
const BURST: usize = 250;
/// Back-off of failed pods (source: `NewDaemonSetsController`, 1 s to 15 min).
const BACKOFF: SimDuration = SimDuration::from_secs(1);
const MAX_BACKOFF: SimDuration = SimDuration::from_secs(900);
const FIELD: &str = "metadata.name";

/// The DaemonSet controller.
#[derive(Debug, Clone)]
pub struct DaemonSetController {
    reporter: Reporter,
    claims: Claims,
    expected: Expectations,
    label: Sym,
    boards: Boards,
    /// Per set and node: when a failed pod was last replaced, and how long the next one waits.
    failures: FxHashMap<(Uid, Sym), (SimTime, SimDuration)>,
}

impl Default for DaemonSetController {
    fn default() -> Self {
        Self {
            reporter: Reporter::new("daemon-set-controller", "daemonset-controller"),
            claims: Claims::new(Kind::DaemonSet, Kind::Pod),
            expected: Expectations::default(),
            label: history::HASH_LABEL.into(),
            boards: Boards::default(),
            failures: FxHashMap::default(),
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
    Creating,
    Deleting,
    /// Revisions beyond the limit are being deleted.
    Truncating,
    Status,
}

/// What a sync remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    step: Step,
    target: ObjRef,
    set: Option<Arc<DaemonSet>>,
    status: DaemonSetStatus,
    known: Vec<Revision>,
    /// Hash of the newest revision.
    hash: Sym,
    /// Nodes that need a pod; made from the front.
    missing: Vec<Sym>,
    /// Pods to delete once those are made.
    victims: Vec<(ObjRef, Arc<Pod>)>,
    batch: i32,
    failed: bool,
    /// When to look again: the next failed pod may be replaced, or a pod may have become available.
    again: Option<SimTime>,
}

impl State {
    fn end(&self, cx: &Context<'_>) -> Next {
        match self.again {
            _ if self.failed => Next::Retry,
            Some(at) => Next::Requeue(at.since(cx.now())),
            None => Next::Done,
        }
    }

    /// The set's status, from which follows when the next pod may become available.
    fn is_now(&mut self, status: DaemonSetStatus, min_ready_s: u32, cx: &Context<'_>) {
        self.status = status;
        if min_ready_s > 0 && self.status.ready != self.status.available {
            self.look_again(cx.now() + SimDuration::from_secs(u64::from(min_ready_s)));
        }
    }

    fn look_again(&mut self, at: SimTime) {
        self.again = Some(self.again.map_or(at, |t| t.min(at)));
    }
}

impl Reconcile for DaemonSetController {
    type State = State;

    reports!(2);

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if let Some(node) = change.value.as_node() {
            let was = before.and_then(Obj::as_node);
            let same = |b: &Arc<Node>| b.meta.labels == node.meta.labels && b.taints == node.taints;
            self.boards.on_node(change, before);
            if change.deleted || !was.is_some_and(same) {
                for object in caches.list(Kind::DaemonSet) {
                    let set = caches.get(cx.versions(), Kind::DaemonSet, *object);
                    wake.extend(set.map(|set| (Key::of(set), SimDuration::ZERO)));
                }
            }
        } else if change.value.kind() == Kind::DaemonSet {
            if let (true, Some(meta)) = (change.deleted, change.value.meta()) {
                self.boards.forget(meta.uid);
            }
            self.claims.on_owner(change, before, caches, cx);
            wake.push((Key::of(&change.value), SimDuration::ZERO));
        } else if change.value.kind() == Kind::Pod {
            self.claims.on_child(change, before, caches, cx, wake);
            self.boards.on_pod(change, before);
            if let Some((key, _)) = owner_key(&change.value, Kind::DaemonSet) {
                self.expected.observe(key, change, before);
                wake.push((key, SimDuration::ZERO));
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
            Step::Claiming if self.claims.settled(key, answers) => Next::Done,
            Step::Claiming => Next::Retry,
            Step::Revision => match answers.first() {
                Some(Ok(_)) => self.manage(key, state, caches, cx),
                Some(Err(_)) | None => Next::Retry,
            },
            Step::Creating => self.created(key, state, answers, cx),
            Step::Deleting => self.deleted(key, state, answers, cx),
            Step::Truncating => Self::put_status(state, cx),
            Step::Status => {
                let refused = |a: &Outcome| matches!(a, Err(e) if *e != ApiError::NotFound);
                state.failed |= answers.iter().any(refused);
                state.end(cx)
            }
        }
    }
}

impl DaemonSetController {
    fn start(&mut self, key: Key, state: &mut State, caches: &Cache, cx: &mut Context<'_>) -> Next {
        let found = caches.named(cx.versions(), Kind::DaemonSet, key.ns, key.name);
        let Some((target, Obj::DaemonSet(set))) = found else {
            self.expected.forget(key);
            return Next::Done;
        };
        let set = Arc::clone(set);
        state.target = target;
        state.set = Some(Arc::clone(&set));
        if set.meta.terminating() {
            return Next::Done;
        }
        let claims = self.claims.take(key, &set.meta, &set.selector, (caches, |_| true), cx);
        if !claims.is_empty() {
            state.step = Step::Claiming;
            return Next::Call(claims);
        }
        if self.claims.waits(key, cx.now()) {
            return Next::Done;
        }
        state.known = history::of(set.meta.uid, caches, cx);
        let owner = (Kind::DaemonSet, &set.meta);
        match history::newest(owner, &set.template, set.status.collisions, &state.known) {
            Newest::There(revision) => {
                state.hash = history::hash(&revision);
                self.manage(key, state, caches, cx)
            }
            Newest::Write(revision, call) => {
                state.hash = history::hash(&revision);
                state.step = Step::Revision;
                Next::Call(vec![call])
            }
        }
    }

    /// Source: `manage`, then `rollingUpdate` if there was nothing to manage.
    fn manage(
        &mut self,
        key: Key,
        state: &mut State,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(set) = state.set.clone() else { return Next::Done };
        let revision = (self.label, state.hash);
        if let Some(status) = self.boards.quiet(&set, revision, caches, cx)
            && i32::try_from(state.known.len()).is_ok_and(|n| n <= set.history_limit)
        {
            state.is_now(status, set.min_ready_s, cx);
            if !self.expected.satisfied(key, cx.now()) {
                state.look_again(resync_at(cx));
            }
            return Self::put_status(state, cx);
        }
        let view = View::new(&set, revision, caches, cx);
        state.is_now(view.status(cx), set.min_ready_s, cx);
        if !self.expected.satisfied(key, cx.now()) {
            state.look_again(resync_at(cx));
            return Self::put_status(state, cx);
        }
        let (mut missing, mut victims) = view.manage(cx);
        self.hold_failed(&set, &mut victims, state, cx);
        if missing.is_empty() && victims.is_empty() {
            if !set.on_delete {
                (missing, victims) = view.roll(cx);
            }
            if missing.is_empty() && victims.is_empty() {
                return self.truncate(state, &view, cx);
            }
        }
        missing.truncate(BURST);
        victims.truncate(BURST);
        let uids = victims.iter().map(|(_, pod)| pod.meta.uid).collect();
        self.expected.expect(key, num::i32_of(missing.len()), uids, cx.now());
        (state.missing, state.victims) = (missing, victims);
        self.create_next(key, state, cx)
    }

    /// Revisions that no pod has go, beyond the limit.
    fn truncate(&self, state: &mut State, view: &View<'_>, cx: &Context<'_>) -> Next {
        let Some(set) = state.set.as_ref() else { return Next::Done };
        if i32::try_from(state.known.len()).is_ok_and(|n| n <= set.history_limit) {
            return Self::put_status(state, cx);
        }
        let newest = state.hash;
        let calls = history::truncate(&state.known, set.history_limit, |r| {
            let hash = history::hash(r);
            hash == newest || view.uses(hash)
        });
        if calls.is_empty() {
            return Self::put_status(state, cx);
        }
        state.step = Step::Truncating;
        Next::Call(calls)
    }

    /// Failed pods are replaced after a back-off per node, lest a pod that its node refuses be made
    /// for ever. Source: `daemon_controller.go` `podsShouldBeOnNode`, `failedPodsBackoff`.
    fn hold_failed(
        &mut self,
        set: &DaemonSet,
        victims: &mut Vec<(ObjRef, Arc<Pod>)>,
        state: &mut State,
        cx: &Context<'_>,
    ) {
        let now = cx.now();
        victims.retain(|(_, pod)| {
            if pod.status.phase != Phase::Failed {
                return true;
            }
            let entry = self.failures.entry((set.meta.uid, node_of(pod)));
            let (last, delay) = entry.or_insert((now, SimDuration::ZERO));
            let due = *last + *delay;
            if due > now {
                state.look_again(due);
                return false;
            }
            let forgotten = now.since(*last) > MAX_BACKOFF.times(2);
            let next = if forgotten { BACKOFF } else { delay.times(2).max(BACKOFF) };
            (*last, *delay) = (now, next.min(MAX_BACKOFF));
            let (ns, name, node) = (pod.meta.ns, pod.meta.name, node_of(pod));
            let message =
                format!("Found failed daemon pod {ns}/{name} on node {node}, will try to kill it");
            let (kind, message) = (Kind::DaemonSet, text(&message));
            self.reporter.warning(kind, &set.meta, "FailedDaemonPod", message, cx);
            true
        });
    }

    /// Pods to make come first, in batches; then those to delete.
    fn create_next(&mut self, key: Key, state: &mut State, cx: &mut Context<'_>) -> Next {
        if state.missing.is_empty() {
            return self.delete_victims(key, state, cx);
        }
        state.step = Step::Creating;
        let Some(set) = state.set.clone() else { return Next::Done };
        state.batch = next_batch(state.batch, num::i32_of(state.missing.len()));
        let n = usize::try_from(state.batch).unwrap_or(1);
        let nodes = state.missing.iter().take(n);
        Next::Call(nodes.map(|node| self.pod(&set, *node, state.hash)).collect())
    }

    fn delete_victims(&mut self, key: Key, state: &mut State, cx: &mut Context<'_>) -> Next {
        if state.failed {
            for (_, pod) in &state.victims {
                self.expected.deleted(key, pod.meta.uid);
            }
            state.victims.clear();
        }
        if state.victims.is_empty() {
            return Self::put_status(state, cx);
        }
        state.step = Step::Deleting;
        let calls = state.victims.iter().map(|(o, p)| delete(Kind::Pod, &p.meta, Some(*o)));
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
        for (answer, (_, pod)) in answers.iter().zip(std::mem::take(&mut state.victims)) {
            if answer.is_ok() {
                let text = Text::DeletedPod(pod.meta.name);
                self.reporter.normal(Kind::DaemonSet, &set.meta, "SuccessfulDelete", text, cx);
            } else {
                self.expected.deleted(key, pod.meta.uid);
                state.failed |= !super::support::deleted(answer);
            }
        }
        Self::put_status(state, cx)
    }

    fn created(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(set) = state.set.clone() else { return Next::Done };
        let done = answers.len().min(state.missing.len());
        state.missing.drain(..done);
        for answer in answers {
            match answer {
                Ok(success) => {
                    let text = Text::CreatedPod(success.value.key().1);
                    self.reporter.normal(Kind::DaemonSet, &set.meta, "SuccessfulCreate", text, cx);
                }
                Err(error) if namespace_going(*error) => self.expected.created(key, 1),
                Err(error) => {
                    self.expected.created(key, 1);
                    state.failed = true;
                    let message =
                        text(&format!("Error creating: {}", unnamed_text(*error, set.meta.name)));
                    self.reporter.warning(Kind::DaemonSet, &set.meta, "FailedCreate", message, cx);
                }
            }
        }
        if state.failed {
            self.expected.created(key, num::i32_of(state.missing.len()));
            state.missing.clear();
        }
        self.create_next(key, state, cx)
    }

    fn put_status(state: &mut State, cx: &Context<'_>) -> Next {
        let Some(set) = state.set.as_ref() else { return Next::Done };
        state.step = Step::Status;
        if state.status == set.status {
            return state.end(cx);
        }
        let mut object = DaemonSet::clone(set);
        object.status = state.status.clone();
        Next::Call(vec![put_status(Obj::DaemonSet(Arc::new(object)), state.target)])
    }

    fn pod(&self, set: &DaemonSet, node: Sym, hash: Sym) -> Call {
        let labels = set.template.labels.with(self.label, hash);
        let owners = owned_by(Kind::DaemonSet, &set.meta);
        let mut pod = pod_of(&set.template, labels, set.meta.ns, set.meta.name, owners);
        let mut spec = PodSpec::clone(&set.template.spec);
        let mut affinity = spec.affinity.as_deref().cloned().unwrap_or_default();
        affinity.node_required = Some(vec![NodeSelectorTerm {
            expressions: Vec::new(),
            fields: vec![Requirement { key: FIELD.into(), op: LabelOp::In, values: vec![node] }],
        }]);
        spec.affinity = Some(Arc::new(affinity));
        spec.tolerations = tolerations(&spec);
        pod.spec = Arc::new(spec);
        create_pod(pod, true)
    }
}
