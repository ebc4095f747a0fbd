//! Which pods go first when there are too many (source: `controller_utils.go`
//! `ActivePodsWithRanks.Less`).

use super::support::ready_since;
use crate::api::Pod;
use crate::api::pod::Phase;
use crate::api::versions::ObjRef;
use crate::engine::SimTime;
use crate::event::Context;
use std::cmp::Ordering;
use std::sync::Arc;

/// A pod that may go, with all that decides its turn.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) object: ObjRef,
    pub(super) pod: Arc<Pod>,
    /// Active pods of the same controller on its node.
    rank: i32,
    cost: i32,
    ready: Option<SimTime>,
    ready_age: i64,
    created_age: i64,
    restarts: u32,
}

impl Candidate {
    pub(super) fn new(object: ObjRef, pod: Arc<Pod>, rank: i32, cx: &Context<'_>) -> Self {
        let cost = pod.meta.annotation("controller.kubernetes.io/pod-deletion-cost");
        let ready = ready_since(&pod, cx);
        let restarts = pod.status.containers.iter().map(|c| c.restarts).max().unwrap_or(0);
        Self {
            object,
            rank,
            cost: cost.and_then(|c| c.parse().ok()).unwrap_or(0),
            ready,
            ready_age: ready.map_or(-1, |t| bucket(t, cx.now())),
            created_age: bucket(cx.time_of(pod.meta.created), cx.now()),
            restarts,
            pod,
        }
    }
}

/// The age in nanoseconds as a power of two; -1 for none.
fn bucket(since: SimTime, now: SimTime) -> i64 {
    now.since(since).0.checked_ilog2().map_or(-1, i64::from)
}

fn phase(phase: Phase) -> u8 {
    match phase {
        Phase::Pending => 0,
        Phase::Unknown => 1,
        Phase::Running | Phase::Succeeded | Phase::Failed => 2,
    }
}

/// First = deleted first.
pub(super) fn order(a: &Candidate, b: &Candidate) -> Ordering {
    let uid = || a.pod.meta.uid.cmp(&b.pod.meta.uid);
    let by_state = (!a.pod.node.is_empty())
        .cmp(&!b.pod.node.is_empty())
        .then_with(|| phase(a.pod.status.phase).cmp(&phase(b.pod.status.phase)))
        .then_with(|| a.ready.is_some().cmp(&b.ready.is_some()))
        .then_with(|| a.cost.cmp(&b.cost))
        .then_with(|| b.rank.cmp(&a.rank));
    if by_state != Ordering::Equal {
        return by_state;
    }
    if a.ready.is_some() {
        // Upstream goes on to restarts and age where both became ready at the same instant, and to
        // the identity where only the power of two is the same. That is no order (a < b < c < a
        // occurs); here the identity decides in both cases.
        return a.ready_age.cmp(&b.ready_age).then_with(uid);
    }
    if a.restarts != b.restarts {
        return b.restarts.cmp(&a.restarts);
    }
    // Equal creation times: upstream leaves the order open; the identity settles it.
    a.created_age.cmp(&b.created_age).then_with(uid)
}
