//! What a write says, as one number for the run's digest: "equal digests" means that every written
//! object was equal.
//!
//! What is written most (pods, nodes, Kubernetes Events, leases) is folded field by field: labels,
//! names and texts have stable hashes, and what is shared is folded once, when it is new. All other
//! kinds are folded as their debug text, which leaves nothing out.

use crate::api::kevent::{KEvent, Source, Text};
use crate::api::lease::Lease;
use crate::api::meta::Meta;
use crate::api::node::Node;
use crate::api::pod::{Conditions, Container, ContainerState, ContainerStatus, Pod, PodSpec};
use crate::api::resources::Resources;
use crate::api::{Name, Obj, Stamp};
use crate::engine::Sym;
use crate::engine::digest::mix;
use std::fmt::{self, Debug, Write as _};
use std::sync::Arc;

/// Folds words.
struct Fold(u64);

/// Text that is hashed instead of being kept, in words of eight bytes whatever pieces it comes in.
struct Printed {
    hash: u64,
    word: u64,
    len: u64,
}

impl fmt::Write for Printed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.word = self.word << 8 | u64::from(byte);
            self.len += 1;
            if self.len.is_multiple_of(8) {
                self.hash = mix(self.hash, self.word);
                self.word = 0;
            }
        }
        Ok(())
    }
}

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

    fn text(&mut self, text: Sym) {
        self.word(if text.is_empty() { 0 } else { text.stable_hash() });
    }

    fn name(&mut self, name: Name) {
        self.word(name.stable_hash());
    }

    /// Everything about a value, at the price of printing it.
    fn whole(&mut self, value: &impl Debug) {
        let mut printed = Printed { hash: self.0, word: 0, len: 0 };
        let done = write!(printed, "{value:?}");
        debug_assert!(done.is_ok(), "hashing cannot fail");
        self.0 = mix(mix(printed.hash, printed.word), printed.len);
    }

    fn conditions(&mut self, conditions: &Conditions) {
        for c in conditions.iter() {
            self.word(c.kind.stable_code());
            self.pair(c.status as u32, c.transition.0);
            self.text(c.reason);
            self.text(c.message);
        }
    }

    fn resources(&mut self, amounts: &Resources) {
        self.signed(amounts.cpu_milli);
        self.signed(amounts.memory);
        self.signed(amounts.ephemeral);
        self.signed(amounts.pods);
        for (name, amount) in &amounts.scalars {
            self.text(*name);
            self.signed(*amount);
        }
    }

    /// Life-cycle marks, and what is new of labels, annotations, owners and finalizers.
    fn meta(&mut self, meta: &Meta, before: Option<&Meta>) {
        let (at, grace) = meta.deletion.map_or((0, 0), |d| (d.at.0, d.grace_s));
        self.pair(at, grace);
        self.pair(meta.generation, meta.created.0);
        if before.is_none_or(|b| b.uid != meta.uid) {
            self.word(meta.uid.0);
        }
        if before.is_none_or(|b| b.labels != meta.labels) {
            self.word(meta.labels.stable_hash());
        }
        self.list(&meta.annotations, before.map(|b| &b.annotations));
        self.list(&meta.owners, before.map(|b| &b.owners));
        self.list(&meta.finalizers, before.map(|b| &b.finalizers));
    }

    /// A shared list, unless it is that of before.
    fn list<T: Debug>(&mut self, now: &Option<Arc<[T]>>, before: Option<&Option<Arc<[T]>>>) {
        let same = match (now, before) {
            (None, None | Some(None)) => true,
            (Some(now), Some(Some(before))) => Arc::ptr_eq(now, before),
            (Some(_), None | Some(None)) | (None, Some(Some(_))) => false,
        };
        if !same {
            self.whole(now);
        }
    }
}

/// The content of a written object, beside what it was before.
pub(super) fn content(value: &Obj, before: Option<&Obj>) -> u64 {
    let mut fold = Fold(value.kind().index() as u64);
    if let Obj::Event(o) = value {
        event(o, &mut fold);
        return fold.0;
    }
    let (meta, old) = (value.meta(), before.and_then(Obj::meta));
    if let Obj::Pod(o) = value {
        fold.meta(&o.meta, old);
        pod(o, before.and_then(Obj::as_pod), &mut fold);
    } else if let Obj::Node(o) = value {
        fold.meta(&o.meta, old);
        node(o, before.and_then(Obj::as_node), &mut fold);
    } else if let Obj::Lease(o) = value {
        fold.meta(&o.meta, old);
        lease(o, &mut fold);
    } else if let Some(meta) = meta.filter(|m| old.is_some_and(|b| same_spec(b, m))) {
        fold.meta(meta, old);
        status(value, &mut fold);
    } else {
        fold.whole(value);
    }
    fold.0
}

/// True if only the status can differ. Kinds without a generation say nothing of the kind.
fn same_spec(before: &Meta, now: &Meta) -> bool {
    now.generation > 0 && before.generation == now.generation && before.uid == now.uid
}

/// The part of a workload that its controller writes; all of it for other kinds.
fn status(value: &Obj, fold: &mut Fold) {
    if let Obj::Deployment(o) = value {
        fold.whole(&o.status);
    } else if let Obj::ReplicaSet(o) | Obj::ReplicationController(o) = value {
        fold.whole(&o.status);
    } else if let Obj::StatefulSet(o) = value {
        fold.whole(&o.status);
    } else if let Obj::DaemonSet(o) = value {
        fold.whole(&o.status);
    } else if let Obj::Job(o) = value {
        fold.whole(&o.status);
    } else {
        fold.whole(value);
    }
}

fn event(e: &KEvent, fold: &mut Fold) {
    fold.text(e.reason);
    fold.word(e.uid.0);
    fold.pair(e.first.0, e.last.0);
    fold.pair(u32::from(e.count), u32::from(e.warning()));
    match e.source() {
        Source::Scheduler => fold.word(1),
        Source::Kubelet(name) | Source::Controller(name) => fold.text(name),
    }
    match e.text() {
        Text::Plain(text)
        | Text::Assigned(text)
        | Text::ImagePresent(text)
        | Text::Pulling(text)
        | Text::Created(text)
        | Text::Started(text)
        | Text::Stopping(text) => fold.text(text),
        Text::Pulled(text, ms) => {
            fold.text(text);
            fold.pair(ms, 0);
        }
        Text::NoSandbox(why, n) => {
            fold.text(why);
            fold.pair(n, 0);
        }
        Text::CreatedPod(name) | Text::DeletedPod(name) => fold.name(name),
    }
}

fn lease(o: &Lease, fold: &mut Fold) {
    fold.text(o.holder);
    fold.word(o.renewed.0);
    fold.word(o.acquired.map_or(0, |at| at.0));
    fold.pair(o.transitions, o.duration_s);
}

fn pod(pod: &Pod, before: Option<&Arc<Pod>>, fold: &mut Fold) {
    let s = &pod.status;
    fold.text(pod.node);
    fold.text(s.nominated);
    fold.text(s.reason);
    fold.text(s.message);
    fold.pair(s.pod_ip, (s.phase as u32) << 8 | s.qos as u32);
    fold.pair(s.start.0, 0);
    fold.conditions(&s.conditions);
    s.init_containers.iter().chain(s.containers.iter()).for_each(|c| container_status(c, fold));
    if s.resized.is_some() {
        fold.whole(&s.resized);
    }
    if before.is_none_or(|b| !Arc::ptr_eq(&b.spec, &pod.spec)) {
        spec(&pod.spec, fold);
    }
}

fn container_status(c: &ContainerStatus, fold: &mut Fold) {
    fold.text(c.image);
    fold.pair(c.restarts, u32::from(c.ready) | u32::from(c.started) << 1);
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

/// A spec that says no more than what it runs and what it asks for is folded field by field: a
/// hundred thousand bare pods bring a hundred thousand of them.
fn spec(spec: &PodSpec, fold: &mut Fold) {
    if !plain(spec) {
        fold.whole(spec);
        return;
    }
    for c in &spec.containers {
        fold.text(c.name);
        fold.text(c.image);
        fold.resources(&c.requests);
        fold.resources(&c.limits);
    }
    fold.text(spec.scheduler_name);
    fold.text(spec.service_account);
    fold.pair(spec.priority.cast_unsigned(), spec.grace_s);
    fold.pair(spec.restart as u32, spec.preemption as u32);
    for t in &spec.tolerations {
        fold.text(t.key);
        fold.text(t.value);
        fold.signed(t.seconds.unwrap_or(-1));
        fold.pair(u32::from(t.exists), t.effect.map_or(0, |e| 1 + e as u32));
    }
    let b = &spec.behaviour;
    fold.word(b.exit_after_ns.unwrap_or(u64::MAX));
    fold.word(b.ready_after_ns);
    fold.word(b.stop_after_ns);
    fold.signed(b.exit_code.into());
}

/// True if a spec sets nothing but what [`spec`] folds field by field.
fn plain(spec: &PodSpec) -> bool {
    let simple = |c: &Container| {
        c.ports.is_empty()
            && c.startup.is_none()
            && c.liveness.is_none()
            && c.readiness.is_none()
            && c.post_start.is_none()
            && c.pre_stop.is_none()
            && !c.sidecar
    };
    spec.init_containers.is_empty()
        && spec.node_name.is_empty()
        && spec.node_selector.is_empty()
        && spec.affinity.is_none()
        && spec.spread.is_empty()
        && spec.gates.is_empty()
        && spec.volumes.is_empty()
        && spec.priority_class.is_empty()
        && !spec.host_network
        && spec.active_deadline_s.is_none()
        && spec.overhead == Resources::default()
        && spec.pod_level.is_none()
        && spec.readiness_gates.is_empty()
        && spec.hostname == (Sym::EMPTY, Sym::EMPTY)
        && spec.runtime_class.is_empty()
        && spec.behaviour.probing.is_none()
        && spec.behaviour.work.is_none()
        && spec.containers.iter().all(simple)
}

fn node(node: &Node, before: Option<&Arc<Node>>, fold: &mut Fold) {
    fold.word(u64::from(node.unschedulable));
    for taint in node.taints.iter() {
        fold.text(taint.key);
        fold.text(taint.value);
        fold.pair(taint.effect as u32, taint.added.0);
    }
    fold.text(node.pod_cidr);
    if !node.provider_id.is_empty() {
        fold.text(node.provider_id);
    }
    fold.word(node.status.heartbeat_ns);
    fold.resources(&node.status.capacity);
    fold.resources(&node.status.allocatable);
    fold.conditions(&node.status.conditions);
    if before.is_none_or(|b| !Arc::ptr_eq(&b.status.images, &node.status.images)) {
        fold.whole(&node.status.images);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;
    use crate::api::pod::{Condition, ConditionType, Truth};
    use crate::api::workload::{Deployment, Generic, PodTemplate};

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
            changed(|p| Arc::make_mut(&mut p.spec).affinity = Some(Arc::default())),
            changed(|p| Arc::make_mut(&mut p.spec).host_network = true),
            changed(|p| p.meta.set_annotation("k", "v")),
            changed(|p| p.meta.finalizers = Some(vec!["f".into()].into())),
        ];
        for (i, a) in seen.iter().enumerate() {
            assert!(!seen[..i].contains(a), "change {i} does not show");
        }
    }

    #[test]
    fn documents_and_templates_show() {
        let generic = |allowed: i32| {
            let doc = serde_json::json!({"status": {"disruptionsAllowed": allowed}});
            let object = Generic { meta: Meta::named("ns".into(), "b".into()), doc: Arc::new(doc) };
            Obj::Generic(Kind::PodDisruptionBudget, Arc::new(object))
        };
        let first = generic(1);
        assert_ne!(content(&first, Some(&first)), content(&generic(2), Some(&first)));
        let deployment = |image: &str, generation| {
            let container = Container { image: image.into(), ..Container::default() };
            let spec = PodSpec { containers: vec![container], ..PodSpec::default() };
            let template = PodTemplate { spec: Arc::new(spec), ..PodTemplate::default() };
            let meta = Meta { generation, ..Meta::named("ns".into(), "web".into()) };
            let template = Arc::new(template);
            Obj::Deployment(Arc::new(Deployment { meta, template, ..Deployment::default() }))
        };
        let first = deployment("a", 1);
        let [b, c] = ["b", "c"].map(|image| content(&deployment(image, 2), Some(&first)));
        assert_ne!(b, c);
    }
}
