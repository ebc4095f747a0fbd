//! The minimal node agent of huge clusters and of the recordings made with one: one status patch
//! from Pending to Running and Ready, one DELETE once the pod is marked. No runtime, no Kubernetes
//! Events. What the control plane has marked not ready while the node was silent stays so:
//! recordings made with such an agent show it, and KWOK's stages, too, leave a pod alone that has
//! been brought up once.

use super::{NodeAgent, cni};
use crate::api::pod::{
    Condition, ConditionType, ContainerState, ContainerStatus, Phase, Pod, PodStatus, Truth,
};
use crate::api::request::Op;
use crate::api::versions::Change;
use crate::api::{Kind, Obj};
use crate::engine::Sym;
use crate::event::Context;
use std::sync::Arc;

/// A pod of this node was added, changed or removed.
pub(super) fn on_pod(node: &mut NodeAgent, change: &Change, pod: &Arc<Pod>, cx: &mut Context<'_>) {
    if change.deleted {
        return;
    }
    let (ns, name, uid) = (pod.meta.ns, pod.meta.name, pod.meta.uid);
    let marked = |old: &Obj| old.as_pod().is_some_and(|p| p.meta.deletion.is_some());
    if change.before.as_ref().is_some_and(marked) {
        // Its own deletion comes back before the pod is gone.
        return;
    }
    if pod.meta.deletion.is_some() {
        let op = Op::Delete { grace_s: Some(0), propagation: None, uid: Some(uid) };
        node.submit(Kind::Pod, ns, name, Some(change.object), op, None, cx);
    } else if pod.status.phase == Phase::Pending {
        let status = Box::new(running(node, pod, cx));
        node.submit(Kind::Pod, ns, name, Some(change.object), Op::PodStatus(status), None, cx);
    }
}

fn running(node: &mut NodeAgent, pod: &Pod, cx: &Context<'_>) -> PodStatus {
    let stamp = cx.stamp();
    let ip = cni::next_of_24(node);
    let containers = pod.spec.containers.iter().map(|c| ContainerStatus {
        name: c.name,
        image: c.image,
        state: ContainerState::Running { started: stamp },
        last: None,
        restarts: 0,
        ready: true,
        started: true,
    });
    let mut status = PodStatus {
        phase: Phase::Running,
        start: stamp,
        pod_ip: if pod.status.pod_ip == 0 { ip } else { pod.status.pod_ip },
        containers: containers.collect(),
        ..PodStatus::default()
    };
    for kind in [ConditionType::Initialized, ConditionType::Ready, ConditionType::ContainersReady] {
        let (reason, message) = (Sym::EMPTY, Sym::EMPTY);
        status.conditions.set(Condition {
            kind,
            status: Truth::True,
            reason,
            message,
            transition: stamp,
        });
    }
    status
}
