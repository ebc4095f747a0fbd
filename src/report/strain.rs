//! What a run puts on those who wait: pods without a node, by why, and work of Jobs that is lost
//! and has to be done again. Kept only where somebody asks for it.

use crate::api::pod::{ConditionType, ContainerState, Phase};
use crate::api::versions::{ObjRef, Versions};
use crate::api::{Kind, Obj, Pod};
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::{Record, What};
use std::collections::BTreeMap;

type Key = (u32, u32);

/// A pod of a Job that runs.
#[derive(Debug, Clone, Copy)]
struct Work {
    /// Since when, nanoseconds of the run; negative if it ran before.
    since: i64,
    node: Sym,
    restarts: u32,
}

/// A pod without a node.
#[derive(Debug, Clone, Copy)]
struct Wait {
    since: SimTime,
    /// The scheduler's last word.
    why: Sym,
}

/// Watches who waits and whose work is lost.
#[derive(Debug, Clone, Default)]
pub struct Strain {
    /// Time that pods waited for a node, by the reason that most nodes gave; waits that did not
    /// end included.
    pub waited: BTreeMap<String, SimDuration>,
    /// Time that containers of Jobs ran for nothing: they failed, were deleted, or began anew.
    pub lost: SimDuration,
    waiting: BTreeMap<Key, Wait>,
    working: BTreeMap<Key, Work>,
    /// When a machine crashed last: what ran on it did no work from then on.
    crashed: BTreeMap<u32, (Sym, SimTime)>,
}

const fn key(object: ObjRef) -> Key {
    (object.slot, object.generation)
}

fn nanos(at: SimTime) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

impl Strain {
    /// Joins a run under way, whose clock began at `epoch_s`.
    pub fn join(&mut self, now: SimTime, epoch_s: u32, versions: &Versions) {
        for (object, value) in versions.iter(Kind::Pod) {
            let Obj::Pod(pod) = value else { continue };
            self.pod(now, object, pod);
            if let Some(work) = self.working.get_mut(&key(object)) {
                let began = |c: &crate::api::pod::ContainerStatus| match c.state {
                    ContainerState::Running { started } if !started.is_none() => Some(started.0),
                    ContainerState::Running { .. }
                    | ContainerState::Waiting { .. }
                    | ContainerState::Terminated { .. } => None,
                };
                let first = pod.status.containers.iter().filter_map(began).min();
                let first = first.map(|s| (i64::from(s) - i64::from(epoch_s)) * 1_000_000_000);
                work.since = first.unwrap_or(work.since).min(work.since);
            }
        }
    }

    /// A record of the run.
    pub fn on(&mut self, record: &Record, versions: &Versions) {
        let now = record.time;
        if let What::Committed { kind: Kind::Pod, log, object, .. } = record.what {
            let Some(change) = versions.change(Kind::Pod, log) else { return };
            let Obj::Pod(pod) = &change.value else { return };
            if change.deleted {
                self.placed(now, object);
                self.over(now, object, pod.status.phase != Phase::Succeeded);
            } else {
                self.pod(now, object, pod);
            }
        } else if let What::Fault { node, step: "machine crashes", .. } = record.what {
            let row = num::u32_of(self.crashed.len());
            self.crashed.insert(row, (node, now));
        }
    }

    /// The run ends: waits that did not end count up to now.
    pub fn end(&mut self, now: SimTime) {
        for (_, wait) in std::mem::take(&mut self.waiting) {
            self.add(wait, now);
        }
    }

    /// All that pods waited for a node.
    #[must_use]
    pub fn total(&self) -> SimDuration {
        self.waited.values().fold(SimDuration::ZERO, |sum, span| sum + *span)
    }

    fn pod(&mut self, now: SimTime, object: ObjRef, pod: &Pod) {
        let waits = pod.node.is_empty() && !pod.terminal() && pod.meta.deletion.is_none();
        if waits {
            let said = pod.status.condition(ConditionType::PodScheduled);
            let why = said.map_or(Sym::EMPTY, |c| c.message);
            let new = Wait { since: now, why };
            if let Some(old) = self.waiting.insert(key(object), new) {
                self.add(old, now);
            }
        } else {
            self.placed(now, object);
        }
        let of_job = pod.meta.controller().is_some_and(|o| o.kind == Kind::Job);
        if !of_job {
            return;
        }
        match pod.status.phase {
            Phase::Running => self.runs(now, object, pod),
            Phase::Failed => self.over(now, object, true),
            Phase::Succeeded => self.over(now, object, false),
            Phase::Pending | Phase::Unknown => {}
        }
    }

    fn placed(&mut self, now: SimTime, object: ObjRef) {
        if let Some(wait) = self.waiting.remove(&key(object)) {
            self.add(wait, now);
        }
    }

    fn add(&mut self, wait: Wait, now: SimTime) {
        let span = now.since(wait.since);
        if span > SimDuration::ZERO {
            let sum = self.waited.entry(main_reason(wait.why.as_str())).or_default();
            *sum = *sum + span;
        }
    }

    /// A pod of a Job runs: its first report, or one that tells of a restart.
    fn runs(&mut self, now: SimTime, object: ObjRef, pod: &Pod) {
        let restarts = pod.status.containers.iter().map(|c| c.restarts).sum();
        let new = Work { since: nanos(now), node: pod.node, restarts };
        let Some(old) = self.working.get(&key(object)).copied() else {
            self.working.insert(key(object), new);
            return;
        };
        if restarts > old.restarts {
            self.over(now, object, true);
            self.working.insert(key(object), new);
        }
    }

    /// A pod of a Job runs no more.
    fn over(&mut self, now: SimTime, object: ObjRef, lost: bool) {
        let Some(work) = self.working.remove(&key(object)).filter(|_| lost) else { return };
        let crash = self.crashed.values().filter(|(node, _)| *node == work.node);
        let crash = crash.map(|(_, at)| nanos(*at)).find(|at| *at >= work.since);
        let until = crash.unwrap_or(i64::MAX).min(nanos(now));
        self.lost = self.lost + SimDuration(num::u64_of(until.saturating_sub(work.since)));
    }
}

/// The reason that most nodes gave, without the numbers, which differ from pod to pod:
/// `0/30 nodes are available: 20 Insufficient cpu, 10 node(s) were unschedulable.` is
/// `Insufficient cpu`.
fn main_reason(message: &str) -> String {
    let Some((_, list)) = message.split_once("nodes are available: ") else {
        let other = if message.is_empty() { "not looked at yet" } else { message };
        return other.to_owned();
    };
    let list = list.split(". ").next().unwrap_or_default().trim_end_matches('.');
    let mut most: (u32, &str) = (0, list);
    for part in list.split(", ") {
        let Some((number, text)) = part.split_once(' ') else { continue };
        let number: u32 = number.parse().unwrap_or(0);
        if number > most.0 {
            most = (number, text);
        }
    }
    most.1.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_reason_has_no_numbers() {
        let text = "0/30 nodes are available: 10 Insufficient cpu, 20 node(s) had untolerated \
                    taint(s). preemption: 0/30 nodes are available: 30 No preemption victims found.";
        assert_eq!(main_reason(text), "node(s) had untolerated taint(s)");
        assert_eq!(main_reason(""), "not looked at yet");
        assert_eq!(
            main_reason("0/3 nodes are available: 3 Insufficient memory."),
            "Insufficient memory"
        );
    }
}
