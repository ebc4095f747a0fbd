//! A critical pod that does not fit: the kubelet ends others of its node until it does (source:
//! `pkg/kubelet/preemption/preemption.go` `CriticalPodAdmissionHandler`). Static pods are admitted
//! whatever else there is, and make no room.

use super::NodeAgent;
use super::admission::{Need, critical, missing};
use super::ending::{End, over, terminate};
use super::kubelet::{check_in, event};
use super::worker::Worker;
use crate::api::kevent::Text;
use crate::api::pod::{Pod, Qos};
use crate::api::resources::Resources;
use crate::api::versions::ObjRef;
use crate::engine::intern::Known;
use crate::engine::{SimDuration, num};
use crate::event::Context;
use std::sync::Arc;

pub(super) static PREEMPTING: Known = Known::new("Preempting");
static BY_KUBELET: Known = Known::new("TerminationByKubelet");
static MESSAGE: Known = Known::new("Preempted in order to admit critical pod");

/// A critical pod that waits for room.
#[derive(Debug, Clone)]
pub(super) struct Urgent {
    pub(super) object: ObjRef,
    pod: Arc<Pod>,
    /// Workers that end for it.
    victims: Vec<u32>,
}

/// What is still missing, and of how much.
type Missing = Vec<(Need, i64)>;

/// Ends other pods so that a critical one fits; false if not even that would do.
pub(super) fn make_room(
    node: &mut NodeAgent,
    object: ObjRef,
    pod: &Arc<Pod>,
    cx: &mut Context<'_>,
) -> bool {
    let Some(victims) = victims(node, &missing(node, pod)) else { return false };
    for &id in &victims {
        let Some(worker) = node.workers.get(id) else { continue };
        let grace = SimDuration::from_secs(u64::from(worker.spec.grace_s));
        event(node, id, &PREEMPTING, Text::Plain(MESSAGE.sym()), cx);
        let target = Some((BY_KUBELET.sym(), MESSAGE.sym()));
        let end = End { reason: PREEMPTING.sym(), message: MESSAGE.sym(), target };
        terminate(node, id, end, grace, cx);
    }
    node.urgent.push(Urgent { object, pod: Arc::clone(pod), victims });
    // None of them may have run yet.
    freed(node, cx);
    true
}

/// A pod has let go of what it held: critical ones whose victims are all gone are looked at again.
pub(super) fn freed(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let gone = |node: &NodeAgent, id: u32| node.workers.get(id).is_none_or(|w| !w.holds());
    while let Some(at) = node.urgent.iter().position(|u| u.victims.iter().all(|&id| gone(node, id)))
    {
        let urgent = node.urgent.remove(at);
        check_in(node, urgent.object, &urgent.pod, cx);
    }
}

/// Pods to end: as few of those that ask for guarantees as possible, then of the burstable ones,
/// then of the others. None if all together are not enough.
fn victims(node: &NodeAgent, missing: &[(Need, i64)]) -> Option<Vec<u32>> {
    let mut by_qos: [Vec<u32>; 3] = Default::default();
    for id in node.workers.ids() {
        let Some(worker) = node.workers.get(id).filter(|w| may_end(w)) else { continue };
        let row = match worker.spec.qos() {
            Qos::BestEffort => 0,
            Qos::Burstable => 1,
            Qos::Guaranteed => 2,
        };
        by_qos[row].push(id);
    }
    let [best_effort, burstable, guaranteed] = &by_qos;
    let less = |ids: &[&[u32]]| subtract(node, missing, ids.concat().as_slice());
    let high = nearest(node, guaranteed, less(&[best_effort, burstable]))?;
    let middle = nearest(node, burstable, less(&[best_effort, &high]))?;
    let low = nearest(node, best_effort, less(&[&middle, &high]))?;
    Some([low, middle, high].concat())
}

/// Critical pods are spared, as are those that end anyway.
fn may_end(worker: &Worker) -> bool {
    worker.holds() && !over(worker) && !critical(&worker.spec)
}

fn request(need: Need, of: &Resources) -> i64 {
    match need {
        Need::Pods => 1,
        Need::Cpu => of.cpu_milli,
        Need::Memory => of.memory,
        Need::Ephemeral => of.ephemeral,
        Need::Scalar(name) => of.scalar(name),
    }
}

fn subtract(node: &NodeAgent, missing: &[(Need, i64)], ids: &[u32]) -> Missing {
    let freed = |need: Need| {
        let workers = ids.iter().filter_map(|id| node.workers.get(*id));
        workers.map(|w| request(need, &w.spec.requests)).sum::<i64>()
    };
    let left = missing.iter().map(|&(need, amount)| (need, amount - freed(need)));
    left.filter(|(_, amount)| *amount > 0).collect()
}

/// Pods one after the other, each the one that leaves the least to be found. Source:
/// `getPodsToPreemptByDistance`.
fn nearest(node: &NodeAgent, candidates: &[u32], mut missing: Missing) -> Option<Vec<u32>> {
    let mut left = candidates.to_vec();
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        let mut best: Option<(usize, f64, &Resources)> = None;
        for (i, id) in left.iter().enumerate() {
            let Some(worker) = node.workers.get(*id) else { continue };
            let asks = &worker.spec.requests;
            let far = distance(&missing, asks);
            let better = best.is_none_or(|(_, least, other)| {
                far.total_cmp(&least)
                    .then_with(|| asks.memory.cmp(&other.memory))
                    .then_with(|| asks.cpu_milli.cmp(&other.cpu_milli))
                    .is_le()
            });
            if better {
                best = Some((i, far, asks));
            }
        }
        let id = left.remove(best?.0);
        missing = subtract(node, &missing, &[id]);
        chosen.push(id);
    }
    Some(chosen)
}

/// How much of each need a pod would leave open: the squares of the shares, added.
fn distance(missing: &[(Need, i64)], asks: &Resources) -> f64 {
    let open = |&(need, amount): &(Need, i64)| {
        let rest = amount - request(need, asks);
        if rest > 0 { num::float(rest) / num::float(amount) } else { 0.0 }
    };
    missing.iter().map(open).map(|share| share * share).sum()
}
