//! Mirror pods: what the API shows of static pods. Their kubelet runs the containers whatever the
//! API says, and tells their status like any other pod's.

use super::super::Cluster;
use super::super::spec::StaticPod;
use super::Pod as State;
use crate::api::meta::{Owner, Uid};
use crate::api::pod::{
    Condition, ConditionType, Container, ContainerState, ContainerStatus, Phase, PodStatus,
    RestartPolicy, Toleration, Truth,
};
use crate::api::request::{Op, Request, User};
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, LabelSet, Meta, Name, Obj, Pod, PodSpec};
use crate::engine::digest::mix;
use crate::engine::{SimTime, Sym};
use crate::event::Context;
use std::sync::Arc;

/// `system-node-critical`.
const CRITICAL: i32 = 2_000_001_000;

/// Milli-CPU and MiB that kubeadm's manifests request (source: kubeadm
/// `phases/controlplane/manifests.go`, `phases/etcd/local.go`).
const fn requests(process: StaticPod) -> (i64, i64) {
    match process {
        StaticPod::Etcd => (100, 100),
        StaticPod::ApiServer => (250, 0),
        StaticPod::Scheduler => (100, 0),
        StaticPod::ControllerManager => (200, 0),
    }
}

fn namespace() -> Sym {
    Sym::new("kube-system")
}

fn name(process: StaticPod, node: Sym) -> Name {
    Name::new(&format!("{}-{node}", process.name()))
}

/// True for the mirror of a static pod: a node owns it.
pub(in super::super) fn is_mirror(pod: &Pod) -> bool {
    pod.meta.controller().is_some_and(|owner| owner.kind == Kind::Node)
}

fn object(process: StaticPod, node: Sym, state: &State, cx: &Context<'_>) -> Pod {
    let label = |key: &str, value: &str| (Sym::new(key), Sym::new(value));
    let labels =
        LabelSet::new([label("component", process.name()), label("tier", "control-plane")]);
    let owner = Owner {
        kind: Kind::Node,
        name: Name::new(node.as_str()),
        uid: Uid(node.stable_hash()),
        controller: true,
        block_owner_deletion: false,
    };
    let hash = format!("{:016x}", mix(node.stable_hash(), Sym::new(process.name()).stable_hash()));
    let annotations: Vec<(Sym, Arc<str>)> = vec![
        (Sym::new("kubernetes.io/config.hash"), hash.as_str().into()),
        (Sym::new("kubernetes.io/config.mirror"), hash.as_str().into()),
        (Sym::new("kubernetes.io/config.source"), "file".into()),
    ];
    let (cpu, memory) = requests(process);
    let mut container = Container {
        name: Sym::new(process.name()),
        image: Sym::new(&format!("registry.k8s.io/{}", process.name())),
        ..Container::default()
    };
    container.requests.cpu_milli = cpu;
    container.requests.memory = memory << 20;
    (container.requests_named.cpu, container.requests_named.memory) = (true, memory > 0);
    let everything = Toleration { exists: true, effect: Some(NO_EXECUTE), ..Toleration::default() };
    let mut spec = PodSpec {
        containers: vec![container],
        node_name: node,
        tolerations: vec![everything],
        priority_class: Sym::new("system-node-critical"),
        priority: CRITICAL,
        restart: RestartPolicy::Always,
        host_network: true,
        grace_s: 30,
        scheduler_name: Sym::new("default-scheduler"),
        ..PodSpec::default()
    };
    spec.sum_requests();
    Pod {
        meta: Meta {
            labels,
            annotations: Some(annotations.into()),
            owners: Some(Arc::from([owner])),
            uid: Uid(mix(node.stable_hash(), process as u64)),
            created: cx.stamp(),
            ..Meta::named(namespace(), name(process, node))
        },
        node,
        spec: Arc::new(spec),
        status: status(process, state, cx),
    }
}

const NO_EXECUTE: crate::api::pod::Effect = crate::api::pod::Effect::NoExecute;

fn status(process: StaticPod, state: &State, cx: &Context<'_>) -> PodStatus {
    let stamp = |t: SimTime| cx.stamp_of(t);
    let now = if state.up {
        ContainerState::Running { started: stamp(state.since) }
    } else {
        ContainerState::Terminated {
            exit_code: 1,
            reason: Sym::new("Error"),
            started: stamp(state.since),
            finished: stamp(state.since),
        }
    };
    let container = ContainerStatus {
        name: Sym::new(process.name()),
        image: Sym::new(&format!("registry.k8s.io/{}", process.name())),
        state: now,
        last: None,
        restarts: state.restarts,
        ready: state.up,
        started: state.up,
    };
    let mut status = PodStatus {
        phase: Phase::Running,
        start: stamp(SimTime::ZERO),
        containers: Arc::from([container]),
        ..PodStatus::default()
    };
    let ready = if state.up { Truth::True } else { Truth::False };
    let rows = [
        (ConditionType::Initialized, Truth::True),
        (ConditionType::Ready, ready),
        (ConditionType::ContainersReady, ready),
        (ConditionType::PodScheduled, Truth::True),
    ];
    for (kind, truth) in rows {
        let (reason, message) = (Sym::EMPTY, Sym::EMPTY);
        let transition = if kind == ConditionType::Ready || kind == ConditionType::ContainersReady {
            stamp(state.since)
        } else {
            stamp(SimTime::ZERO)
        };
        status.conditions.set(Condition { kind, status: truth, reason, message, transition });
    }
    status
}

impl Cluster {
    /// A static pod is there when the run begins.
    pub(super) fn add_mirror(&mut self, host: usize, process: StaticPod) {
        let Some(control) = &self.control else { return };
        let (node, state) = (control.hosts[host].name, control.hosts[host].pods[process as usize]);
        let cx = &mut self.shared.context(0);
        let pod = object(process, node, &state, cx);
        super::super::preload(&mut self.api, Obj::Pod(Arc::new(pod)), cx);
    }

    /// Its kubelet tells how a static pod is.
    pub(super) fn show_mirror(&mut self, host: usize, process: StaticPod, seq: u64) {
        let Some(control) = &self.control else { return };
        let (at, state) = (&control.hosts[host], control.hosts[host].pods[process as usize]);
        let (node, index) = (at.name, at.node);
        if !self.nodes[index as usize].kubelet_up() {
            return;
        }
        let cx = &mut self.shared.context(seq);
        let (ns, name) = (namespace(), name(process, node));
        let target = cx.versions().find(Kind::Pod, ns, name);
        let op = Op::PodStatus(Box::new(status(process, &state, cx)));
        let request = Request { user: User::Kubelet(node), kind: Kind::Pod, ns, name, target, op };
        cx.submit(cx.now(), request, None);
    }

    /// A kubelet of a control-plane node is back: it tells how its static pods are.
    pub(super) fn show_mirrors(&mut self, node: u32, seq: u64) {
        let Some(host) = self.control.as_ref().and_then(|c| c.host_of(node)) else { return };
        for process in StaticPod::ALL {
            self.show_mirror(host, process, seq);
        }
    }

    /// Where the process of a mirror pod runs, and which one it is.
    fn process_of(&self, pod: &Pod) -> Option<(usize, StaticPod)> {
        let (node, control) = (pod.node, self.control.as_ref()?);
        let host = control.hosts.iter().position(|h| h.name == node)?;
        let process = StaticPod::ALL.into_iter().find(|p| name(*p, node) == pod.meta.name)?;
        Some((host, process))
    }

    /// True if the pod is a mirror, whose status is then told anew.
    pub(super) fn mirrored(&mut self, object: ObjRef, seq: u64) -> bool {
        let pod = self.shared.versions.current(Kind::Pod, object).and_then(Obj::as_pod);
        let Some(pod) = pod.filter(|p| is_mirror(p)) else { return false };
        if let Some((host, process)) = self.process_of(pod) {
            self.show_mirror(host, process, seq);
        }
        true
    }

    /// Somebody else has written a mirror pod's status: its kubelet puts it right (source:
    /// `status_manager.go` `needsReconcile`).
    pub(in super::super) fn reconcile_mirror(&mut self, change: &Change, seq: u64) {
        let Some(pod) = change.value.as_pod().filter(|_| !change.deleted) else { return };
        let Some((host, process)) = self.process_of(pod) else { return };
        let up = self.pod(host, process).is_some_and(|state| state.up);
        if pod.ready() != up {
            self.show_mirror(host, process, seq);
        }
    }
}
