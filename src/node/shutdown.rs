//! Graceful node shutdown: a node that is told to go down, and whose kubelet may delay that, ends
//! its pods first: all others, then the critical ones, each group within its part of the time.
//! Source: behaviour reference §4.12; `pkg/kubelet/nodeshutdown/nodeshutdown_manager_linux.go`.

use super::NodeAgent;
use super::admission::critical;
use super::ending::{End, over, terminate};
use crate::api::versions::ObjRef;
use crate::engine::intern::Known;
use crate::engine::{SimDuration, Sym};
use crate::event::{Context, NodeEvent, What};

static TERMINATED: Known = Known::new("Terminated");
static BY_KUBELET: Known = Known::new("TerminationByKubelet");
static MESSAGE: Known = Known::new("Pod was terminated in response to imminent node shutdown.");

/// From the last pod's end to the machine being off: systemd stops what is left.
const LAST: SimDuration = SimDuration::from_secs(1);

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shutdown {
    /// Pods that are not critical end.
    Others,
    /// Critical pods end.
    Critical,
    /// Nothing is waited for any more.
    Last,
}

/// The machine is told to go down.
pub(super) fn begin(node: &mut NodeAgent, cx: &mut Context<'_>) {
    if node.shutdown.is_some() {
        return;
    }
    let (whole, critical) = node.setup.kubelet.shutdown;
    let name = node.setup.name;
    cx.trace(|| What::Node {
        node: name,
        step: "the node is told to shut down",
        pod: ObjRef::default(),
    });
    if whole == SimDuration::ZERO || !node.kubelet_up {
        return last(node, cx);
    }
    // Nobody is to send it new pods: that is told at once.
    node.shutdown = Some(Shutdown::Others);
    node.status_armed = true;
    node.tell_status(cx);
    group(node, whole - critical, cx);
}

/// Tells the pods of the present group to end.
fn group(node: &mut NodeAgent, period: SimDuration, cx: &mut Context<'_>) {
    let Some(stage) = node.shutdown else { return };
    for id in node.workers.ids() {
        let mine = |w: &&super::worker::Worker| member(stage, &w.spec) && !over(w);
        let Some(worker) = node.workers.get(id).filter(mine) else { continue };
        let own = SimDuration::from_secs(u64::from(worker.spec.grace_s));
        let target = Some((BY_KUBELET.sym(), MESSAGE.sym()));
        let end = End { reason: TERMINATED.sym(), message: MESSAGE.sym(), target };
        terminate(node, id, end, own.min(period), cx);
    }
    if gone(node, stage) {
        next(node, cx);
    } else {
        node.schedule(
            period,
            NodeEvent::ShutdownPart { critical: stage == Shutdown::Critical },
            cx,
        );
    }
}

fn member(stage: Shutdown, spec: &crate::api::PodSpec) -> bool {
    match stage {
        Shutdown::Others => !critical(spec),
        Shutdown::Critical | Shutdown::Last => true,
    }
}

/// True if no pod of the group is left.
fn gone(node: &NodeAgent, stage: Shutdown) -> bool {
    !node.workers.active().any(|w| member(stage, &w.spec))
}

/// The time of a group is over.
pub(super) fn part_over(node: &mut NodeAgent, critical: bool, cx: &mut Context<'_>) {
    let stage = if critical { Shutdown::Critical } else { Shutdown::Others };
    if node.shutdown == Some(stage) {
        next(node, cx);
    }
}

/// A pod has ended: the last one of its group makes way for the next group.
pub(super) fn pod_gone(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let Some(stage) = node.shutdown.filter(|s| *s != Shutdown::Last) else { return };
    if gone(node, stage) {
        next(node, cx);
    }
}

fn next(node: &mut NodeAgent, cx: &mut Context<'_>) {
    match node.shutdown {
        Some(Shutdown::Others) => {
            node.shutdown = Some(Shutdown::Critical);
            group(node, node.setup.kubelet.shutdown.1, cx);
        }
        Some(Shutdown::Critical) => last(node, cx),
        Some(Shutdown::Last) | None => {}
    }
}

fn last(node: &mut NodeAgent, cx: &mut Context<'_>) {
    node.shutdown = Some(Shutdown::Last);
    node.schedule(LAST, NodeEvent::PowerOff, cx);
}

/// Why a node that goes down takes no pod.
pub(super) fn refusal(node: &NodeAgent) -> Option<(Sym, &'static str)> {
    node.shutdown?;
    Some((Sym::new("NodeShutdown"), "Pod was rejected as the node is shutting down."))
}
