//! What a write says, as one number for the run's digest: "equal digests" means that every written
//! object was equal. Labels, names and texts have stable hashes; a pod's spec, which never changes,
//! is folded once, when the pod is made or its spec is replaced; the original document is not walked
//! (what of it matters stands in the typed form).

use crate::api::meta::Meta;
use crate::api::node::Node;
use crate::api::pod::{Conditions, Container, ContainerState, ContainerStatus, Pod, PodSpec};
use crate::api::resources::Resources;
use crate::api::{Obj, Stamp};
use crate::engine::digest::{hash_bytes, mix};
use crate::engine::{Sym, num};
use std::sync::Arc;

/// Folds words.
struct Fold(u64);

impl Fold {
    fn word(&mut self, word: u64) {
        self.0 = mix(self.0, word);
    }

    fn pair(&mut self, a: u32, b: u32) {
        self.word(u64::from(a) << 32 | u64::from(b));
    }

    fn signed(&mut self, n: i64) {
        self.word(n.cast_unsigned());
    }

    fn counts(&mut self, counts: &[i32]) {
        for two in counts.chunks(2) {
            let second = two.get(1).copied().unwrap_or_default();
            self.pair(two[0].cast_unsigned(), second.cast_unsigned());
        }
    }

    fn text(&mut self, text: Sym) {
        self.word(if text.is_empty() { 0 } else { text.stable_hash() });
    }

    fn conditions(&mut self, conditions: &Conditions) {
        for c in &conditions.0 {
            self.word(hash_bytes(c.kind.as_str().as_bytes()));
            self.pair(c.status as u32, c.transition.0);
            self.text(c.reason);
            self.text(c.message);
        }
    }

    fn resources(&mut self, amounts: &Resources) {
        self.signed(amounts.cpu_milli);
        self.signed(amounts.memory);
        for (name, amount) in &amounts.scalars {
            self.text(*name);
            self.signed(*amount);
        }
    }

    /// Life-cycle marks and labels.
    fn meta(&mut self, meta: &Meta, before: Option<&Meta>) {
        let marks = meta.deletion.map_or(0, |d| d.at.0 ^ d.grace_s.rotate_left(16));
        let finalizers = meta.finalizers.as_deref().map_or(0, <[Sym]>::len);
        self.pair(marks, meta.generation << 8 | num::u32_of(finalizers));
        if before.is_none_or(|b| b.labels != meta.labels) {
            self.word(meta.labels.stable_hash());
        }
        if before.is_none() {
            self.word(meta.uid.0);
            self.word(meta.controller().map_or(0, |o| o.uid.0));
        }
    }
}

/// The content of a written object, beside what it was before.
pub(super) fn content(value: &Obj, before: Option<&Obj>) -> u64 {
    let mut fold = Fold(value.kind().index() as u64);
    if let Some(meta) = value.meta() {
        fold.meta(meta, before.and_then(Obj::meta));
    }
    match value {
        Obj::Pod(o) => pod(o, before.and_then(Obj::as_pod), &mut fold),
        Obj::Node(o) => node(o, &mut fold),
        Obj::Event(e) => {
            fold.text(e.reason);
            fold.word(e.uid.0);
            fold.pair(e.first.0, e.last.0);
            fold.pair(u32::from(e.count), u32::from(e.warning));
        }
        Obj::Deployment(o) => {
            let s = &o.status;
            fold.counts(&[o.replicas, s.replicas, s.updated, s.ready, s.available, s.unavailable]);
            fold.pair(s.observed_generation, s.collisions);
            fold.conditions(&s.conditions);
        }
        Obj::ReplicaSet(o) => {
            let s = &o.status;
            fold.counts(&[o.replicas, s.replicas, s.fully_labeled, s.ready, s.available]);
            fold.pair(s.observed_generation, 0);
            fold.conditions(&s.conditions);
        }
        Obj::StatefulSet(o) => {
            let s = &o.status;
            fold.counts(&[o.replicas, s.replicas, s.ready, s.available, s.current, s.updated]);
            fold.pair(s.observed_generation, 0);
            fold.text(s.current_revision);
            fold.text(s.update_revision);
        }
        Obj::DaemonSet(o) => {
            let s = &o.status;
            fold.counts(&[s.desired, s.current, s.misscheduled, s.ready, s.available, s.updated]);
            fold.pair(s.observed_generation, s.unavailable.cast_unsigned());
        }
        Obj::Job(o) => {
            let s = &o.status;
            fold.counts(&[o.parallelism, s.active, s.ready, s.terminating, s.succeeded, s.failed]);
            fold.pair(s.start.0, s.completion.0);
            s.uncounted_succeeded.iter().chain(&s.uncounted_failed).for_each(|u| fold.word(u.0));
            fold.conditions(&s.conditions);
        }
        Obj::Namespace(o) => fold.word(u64::from(o.terminating)),
        Obj::PriorityClass(o) => fold.counts(&[o.value]),
        Obj::Lease(o) => {
            fold.text(o.holder);
            fold.word(o.renewed.0);
            fold.word(o.acquired.map_or(0, |at| at.0));
            fold.pair(o.transitions, o.duration_s);
        }
        // Nothing in the model changes them: metadata is all.
        Obj::Generic(..) => {}
    }
    fold.0
}

fn pod(pod: &Pod, before: Option<&Arc<Pod>>, fold: &mut Fold) {
    let s = &pod.status;
    fold.text(pod.node);
    fold.text(s.nominated);
    fold.text(s.reason);
    fold.pair(s.pod_ip, (s.phase as u32) << 8 | s.qos as u32);
    fold.pair(s.start.0, 0);
    fold.conditions(&s.conditions);
    s.init_containers.iter().chain(s.containers.iter()).for_each(|c| container_status(c, fold));
    if before.is_none_or(|b| !Arc::ptr_eq(&b.spec, &pod.spec)) {
        spec(&pod.spec, fold);
    }
}

fn container_status(c: &ContainerStatus, fold: &mut Fold) {
    let flags = u32::from(c.ready) | u32::from(c.started) << 1;
    fold.pair(c.restarts, flags);
    state(&c.state, fold);
    if let Some(last) = &c.last {
        state(last, fold);
    }
}

fn state(state: &ContainerState, fold: &mut Fold) {
    let ends = |s: &Stamp, f: &Stamp| (s.0, f.0);
    match state {
        ContainerState::Waiting { reason } => fold.text(*reason),
        ContainerState::Running { started } => fold.pair(1, started.0),
        ContainerState::Terminated { exit_code, reason, started, finished } => {
            let (started, finished) = ends(started, finished);
            fold.pair(started, finished);
            fold.pair(2, exit_code.cast_unsigned());
            fold.text(*reason);
        }
    }
}

fn spec(spec: &PodSpec, fold: &mut Fold) {
    let mut container = |c: &Container| {
        fold.text(c.name);
        fold.text(c.image);
        fold.resources(&c.requests);
        fold.resources(&c.limits);
    };
    spec.init_containers.iter().chain(&spec.containers).for_each(&mut container);
    fold.text(spec.scheduler_name);
    fold.counts(&[spec.priority, spec.grace_s.cast_signed()]);
    for (key, value) in &spec.node_selector {
        fold.text(*key);
        fold.text(*value);
    }
    for t in &spec.tolerations {
        fold.text(t.key);
        fold.text(t.value);
        fold.signed(t.seconds.unwrap_or(-1));
    }
    spec.gates.iter().for_each(|gate| fold.text(*gate));
    let b = &spec.behaviour;
    fold.word(b.exit_after_ns.unwrap_or(u64::MAX));
    fold.word(b.ready_after_ns);
    fold.word(b.stop_after_ns ^ u64::from(b.exit_code.cast_unsigned()) << 40);
}

fn node(node: &Node, fold: &mut Fold) {
    fold.word(u64::from(node.unschedulable));
    for taint in node.taints.iter() {
        fold.text(taint.key);
        fold.text(taint.value);
        fold.word(taint.effect as u64);
    }
    fold.word(node.status.heartbeat_ns);
    fold.resources(&node.status.allocatable);
    fold.conditions(&node.status.conditions);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Name;
    use crate::api::pod::{Condition, ConditionType, Truth};

    fn changed(change: impl Fn(&mut Pod)) -> u64 {
        let before = Pod {
            meta: Meta::named("ns".into(), Name::new("a")),
            spec: Arc::new(PodSpec {
                containers: vec![Container::default()],
                ..PodSpec::default()
            }),
            ..Pod::default()
        };
        let mut after = before.clone();
        change(&mut after);
        content(&Obj::Pod(Arc::new(after)), Some(&Obj::Pod(Arc::new(before))))
    }

    #[test]
    fn each_field_that_changes_shows() {
        let condition = |message: &str| Condition {
            kind: ConditionType::Ready,
            status: Truth::False,
            reason: "ContainersNotReady".into(),
            message: message.into(),
            transition: Stamp(7),
        };
        let seen = [
            changed(|_| {}),
            changed(|p| p.node = "n1".into()),
            changed(|p| p.status.pod_ip = 7),
            changed(|p| assert!(p.status.conditions.set(condition("a")))),
            changed(|p| assert!(p.status.conditions.set(condition("b")))),
            changed(|p| p.meta.labels = p.meta.labels.with("k".into(), "v".into())),
            changed(|p| p.meta.generation = 2),
            changed(|p| Arc::make_mut(&mut p.spec).containers[0].image = "other".into()),
            changed(|p| Arc::make_mut(&mut p.spec).containers[0].requests.cpu_milli = 5),
        ];
        for (i, a) in seen.iter().enumerate() {
            assert!(!seen[..i].contains(a), "change {i} does not show");
        }
    }
}
