//! `DaemonSets`: a pod on each node that should have one (source: `ctl/daemon/`). Rolling updates
//! without surge.

use super::support::{
    Expectations, Reporter, available, create_pod, delete, error_text, next_batch, owned_by,
    owner_key, pod_of, pods_of, put_status, template_hash, text,
};
use crate::api::kevent::Text;
use crate::api::labels::{Op as LabelOp, Requirement};
use crate::api::node::{Node, keys};
use crate::api::pod::{Affinity, Effect, NodeSelectorTerm, Phase, Toleration};
use crate::api::request::{ApiError, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::{DaemonSet, DaemonSetStatus, IntOrPercent};
use crate::api::{Kind, Name, Obj, Pod, PodSpec, Uid};
use crate::client::{Cache, Call, Key, Next, Outbox, Reconcile};
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
    expected: Expectations,
    label: Sym,
    /// Per set and node: when a failed pod was last replaced, and how long the next one waits.
    failures: FxHashMap<(Uid, Sym), (SimTime, SimDuration)>,
}

impl Default for DaemonSetController {
    fn default() -> Self {
        Self {
            reporter: Reporter::new("daemon-set-controller", "daemonset-controller"),
            expected: Expectations::default(),
            label: "controller-revision-hash".into(),
            failures: FxHashMap::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Start,
    Deleting,
    Creating,
    Status,
}

/// What a sync remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    step: Step,
    target: ObjRef,
    set: Option<Arc<DaemonSet>>,
    status: DaemonSetStatus,
    /// Nodes that need a pod; made from the front.
    missing: Vec<Sym>,
    victims: Vec<(Uid, Name)>,
    batch: i32,
    failed: bool,
    /// When the next failed pod may be replaced.
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
}

/// A node with the set's pods on it.
struct Place {
    node: Sym,
    runs: bool,
    stays: bool,
    /// Oldest first.
    pods: Vec<(ObjRef, Arc<Pod>)>,
}

impl Reconcile for DaemonSetController {
    type State = State;

    fn name(&self) -> Sym {
        self.reporter.account
    }

    fn workers(&self) -> usize {
        2
    }

    fn outbox(&mut self) -> Option<&mut Outbox> {
        Some(&mut self.reporter.outbox)
    }

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
            if change.deleted || !was.is_some_and(same) {
                for object in caches.list(Kind::DaemonSet) {
                    let set = caches.get(cx.versions(), Kind::DaemonSet, *object);
                    wake.extend(set.map(|set| (Key::of(set), SimDuration::ZERO)));
                }
            }
        } else if change.value.kind() == Kind::DaemonSet {
            wake.push((Key::of(&change.value), SimDuration::ZERO));
        } else if let Some((key, _)) = owner_key(&change.value, Kind::DaemonSet) {
            self.expected.observe(key, change, before);
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
        match state.step {
            Step::Start => self.start(key, state, caches, cx),
            Step::Deleting => self.deleted(key, state, answers, cx),
            Step::Creating => self.created(key, state, answers, cx),
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
        let hash = template_hash(&set.template, 0);
        let places = places(&set, caches, cx);
        state.status = self.status(&set, &places, hash, cx);
        if !self.expected.satisfied(key, cx.now()) {
            return Self::put_status(state, cx);
        }
        let (missing, mut victims) = manage(&places);
        self.hold_failed(&set, &mut victims, state, cx);
        if missing.is_empty() && victims.is_empty() && !set.on_delete {
            victims = self.roll(&set, &places, hash, cx);
        }
        state.missing = missing;
        state.missing.truncate(BURST);
        victims.truncate(BURST);
        self.delete_first(key, state, &victims, cx)
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
                state.again = Some(state.again.map_or(due, |t| t.min(due)));
                return false;
            }
            let forgotten = now.since(*last) > MAX_BACKOFF.times(2);
            let next = if forgotten { BACKOFF } else { delay.times(2).max(BACKOFF) };
            (*last, *delay) = (now, next.min(MAX_BACKOFF));
            true
        });
    }

    fn status(
        &self,
        set: &DaemonSet,
        places: &[Place],
        hash: Sym,
        cx: &Context<'_>,
    ) -> DaemonSetStatus {
        let mut status =
            DaemonSetStatus { observed_generation: set.meta.generation, ..Default::default() };
        for place in places {
            let pod = place.pods.first().map(|(_, pod)| pod);
            if !place.runs {
                status.misscheduled += i32::from(pod.is_some());
                continue;
            }
            status.desired += 1;
            let Some(pod) = pod else { continue };
            status.current += 1;
            status.ready += i32::from(pod.ready());
            status.available += i32::from(available(pod, set.min_ready_s, cx));
            status.updated += i32::from(pod.meta.labels.get(self.label) == Some(hash));
        }
        status.unavailable = status.desired - status.available;
        status
    }

    /// Old pods to delete now. Source: `rollingUpdate`.
    fn roll(
        &self,
        set: &DaemonSet,
        places: &[Place],
        hash: Sym,
        cx: &Context<'_>,
    ) -> Vec<(ObjRef, Arc<Pod>)> {
        let desired = num::i32_of(places.iter().filter(|p| p.runs).count());
        let limit = set.max_unavailable.unwrap_or(IntOrPercent::Int(1)).of(desired, true).max(1);
        let mut unavailable = 0;
        let mut broken = Vec::new();
        let mut candidates = Vec::new();
        for place in places.iter().filter(|p| p.runs) {
            let Some((object, pod)) = place.pods.first() else {
                unavailable += 1;
                continue;
            };
            let good = available(pod, set.min_ready_s, cx) && !pod.meta.terminating();
            unavailable += i32::from(!good);
            let old = pod.meta.labels.get(self.label) != Some(hash);
            if old && !pod.meta.terminating() {
                let list = if good { &mut candidates } else { &mut broken };
                list.push((*object, Arc::clone(pod)));
            }
        }
        let budget = usize::try_from(limit - unavailable).unwrap_or(0);
        broken.extend(candidates.into_iter().take(budget));
        broken
    }

    fn delete_first(
        &mut self,
        key: Key,
        state: &mut State,
        victims: &[(ObjRef, Arc<Pod>)],
        cx: &mut Context<'_>,
    ) -> Next {
        if victims.is_empty() {
            return self.create_next(key, state, cx);
        }
        state.step = Step::Deleting;
        state.victims = victims.iter().map(|(_, p)| (p.meta.uid, p.meta.name)).collect();
        let uids = state.victims.iter().map(|v| v.0).collect();
        self.expected.expect_deletions(key, uids, cx.now());
        Next::Call(victims.iter().map(|(o, p)| delete(Kind::Pod, &p.meta, Some(*o))).collect())
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
                self.reporter.normal(Kind::DaemonSet, &set.meta, "SuccessfulDelete", text, cx);
            } else {
                self.expected.deleted(key, uid);
                state.failed |= !super::support::deleted(answer);
            }
        }
        // Creations wait for the deletions to be seen: their delivery wakes the set.
        state.missing.clear();
        Self::put_status(state, cx)
    }

    fn create_next(&mut self, key: Key, state: &mut State, cx: &Context<'_>) -> Next {
        if state.missing.is_empty() {
            return Self::put_status(state, cx);
        }
        if state.step != Step::Creating {
            state.step = Step::Creating;
            self.expected.expect_creations(key, num::i32_of(state.missing.len()), cx.now());
        }
        let Some(set) = state.set.clone() else { return Next::Done };
        state.batch = next_batch(state.batch, num::i32_of(state.missing.len()));
        let hash = template_hash(&set.template, 0);
        let n = usize::try_from(state.batch).unwrap_or(1);
        let calls = state.missing.iter().take(n).map(|node| self.pod(&set, *node, hash));
        Next::Call(calls.collect())
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
                Err(error) => {
                    self.expected.created(key, 1);
                    state.failed = true;
                    let message = text(&format!("Error creating: {}", error_text(*error)));
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

/// Pods to make (by node) and to delete. Source: `podsShouldBeOnNode`.
fn manage(places: &[Place]) -> (Vec<Sym>, Vec<(ObjRef, Arc<Pod>)>) {
    let mut missing = Vec::new();
    let mut victims = Vec::new();
    for place in places {
        let live = place.pods.iter().filter(|(_, p)| !p.meta.terminating());
        if !place.stays {
            victims.extend(live.cloned());
            continue;
        }
        // A pod that has ended makes room at once; one that is about to end, when it has.
        let ended = |p: &Pod| matches!(p.status.phase, Phase::Failed | Phase::Succeeded);
        let (over, good): (Vec<_>, Vec<_>) = live.cloned().partition(|(_, p)| ended(p));
        victims.extend(over);
        victims.extend(good.iter().skip(1).cloned());
        // A failed pod that is held back keeps its node, too: it is deleted before another is made.
        let leaving = place.pods.iter().any(|(_, p)| p.meta.terminating() && !ended(p))
            || place.pods.iter().any(|(_, p)| !p.meta.terminating() && ended(p));
        if place.runs && good.is_empty() && !leaving {
            missing.push(place.node);
        }
    }
    (missing, victims)
}

/// The node of a daemon pod: the one it is bound to, or made for.
fn node_of(pod: &Pod) -> Sym {
    if !pod.node.is_empty() {
        return pod.node;
    }
    let terms = pod.spec.affinity.as_ref().and_then(|a| a.node_required.as_ref());
    let field = terms.and_then(|t| t.first()).and_then(|t| t.fields.first());
    field.and_then(|f| f.values.first()).copied().unwrap_or_default()
}

fn places(set: &DaemonSet, caches: &Cache, cx: &Context<'_>) -> Vec<Place> {
    let mut by_node: FxHashMap<Sym, Vec<(ObjRef, Arc<Pod>)>> = FxHashMap::default();
    for (object, pod) in pods_of(set.meta.uid, caches, cx) {
        by_node.entry(node_of(&pod)).or_default().push((object, pod));
    }
    let tolerations = tolerations(&set.template.spec);
    let nodes = caches.list(Kind::Node).iter();
    nodes
        .filter_map(|object| {
            let node = caches.get(cx.versions(), Kind::Node, *object)?.as_node()?;
            let name = node.meta.name.sym();
            let (runs, stays) = verdict(&set.template.spec, &tolerations, node);
            let mut pods = by_node.remove(&name).unwrap_or_default();
            pods.sort_by_key(|(_, p)| (p.meta.terminating(), p.meta.created, p.meta.uid));
            Some(Place { node: name, runs, stays, pods })
        })
        .collect()
}

/// Should a pod run on the node, and may one that is there stay? Source: `NodeShouldRunDaemonPod`.
fn verdict(spec: &PodSpec, tolerations: &[Toleration], node: &Node) -> (bool, bool) {
    let name = node.meta.name.sym();
    let named = spec.node_name.is_empty() || spec.node_name == name;
    let labels = node.meta.labels;
    let selected = spec.node_selector.iter().all(|(key, value)| labels.get(*key) == Some(*value));
    let required = spec.affinity.as_deref().and_then(|a: &Affinity| a.node_required.as_ref());
    let term = |t: &NodeSelectorTerm| {
        let some = !t.expressions.is_empty() || !t.fields.is_empty();
        some && t.expressions.iter().all(|r| r.matches_value(labels.get(r.key)))
            && t.fields.iter().all(|r| r.matches_value(Some(name)))
    };
    if !named || !selected || !required.is_none_or(|terms| terms.iter().any(term)) {
        return (false, false);
    }
    let untolerated = |effect: Effect| {
        let taints = node.taints.iter().filter(|t| t.effect == effect);
        taints.filter(|t| !tolerations.iter().any(|own| own.tolerates(t))).count() > 0
    };
    let stays = !untolerated(Effect::NoExecute);
    (stays && !untolerated(Effect::NoSchedule), stays)
}

/// The template's tolerations and those every daemon pod gets.
/// Source: `AddOrUpdateDaemonPodTolerations`.
fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut all = spec.tolerations.clone();
    let mut add = |key: &str, effect| {
        let toleration = Toleration {
            key: key.into(),
            exists: true,
            effect: Some(effect),
            ..Toleration::default()
        };
        all.retain(|t| t.key != toleration.key || t.effect != toleration.effect);
        all.push(toleration);
    };
    add(keys::NOT_READY, Effect::NoExecute);
    add(keys::UNREACHABLE, Effect::NoExecute);
    add(keys::DISK_PRESSURE, Effect::NoSchedule);
    add(keys::MEMORY_PRESSURE, Effect::NoSchedule);
    add(keys::PID_PRESSURE, Effect::NoSchedule);
    add(keys::UNSCHEDULABLE, Effect::NoSchedule);
    if spec.host_network {
        add(keys::NETWORK_UNAVAILABLE, Effect::NoSchedule);
    }
    all
}
