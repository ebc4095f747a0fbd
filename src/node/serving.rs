//! Whether the program of a pod can be reached, which no API object says: it listens from some time
//! after its start until it is told to stop.

use super::worker::Worker;
use super::{Machine, NodeAgent, runtime::RunState};
use crate::api::Uid;
use crate::engine::{SimDuration, SimTime, num};

/// What answers at the address of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answers {
    /// The program does.
    Program,
    /// Nobody listens: the connection is refused.
    Refuses,
    /// There is no such address.
    Nobody,
}

/// How a pod serves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Serving {
    /// What answers at its address.
    pub answers: Answers,
    /// When that changes by itself.
    pub until: Option<SimTime>,
    /// Cores it may use: its limit, or all that its node has.
    pub cores: f64,
    /// All it does takes so many times as long.
    pub slow: u32,
    /// What it has after it was told to stop, for what it has begun.
    pub drains: SimDuration,
    /// It was told to stop.
    pub told: bool,
}

impl NodeAgent {
    /// How the pod with this identity serves, now.
    #[must_use]
    pub fn serving(&self, pod: Uid, now: SimTime) -> Serving {
        let cores = num::float(self.setup.allocatable.cpu_milli) / 1000.0;
        let serving = Serving {
            answers: Answers::Nobody,
            until: None,
            cores,
            slow: self.slow,
            drains: SimDuration::ZERO,
            told: false,
        };
        if self.machine == Machine::Down {
            return serving;
        }
        // Of a minimal agent's pods only the API knows.
        if self.setup.fake {
            return Serving { answers: Answers::Program, ..serving };
        }
        let Some(worker) = self.workers.with_uid(pod) else { return serving };
        let (answers, until) = listens(worker, now);
        let drains = app(worker).map(|i| worker.behaviour(i).stop_after_ns).min().unwrap_or(0);
        let limit = limit(worker).map_or(cores, |milli| num::float(milli) / 1000.0);
        let (cores, drains) = (limit.min(cores), SimDuration(drains));
        let told = worker.rare().and_then(|r| r.quits).is_some_and(|at| at <= now);
        Serving { answers, until, cores, drains, told, ..serving }
    }
}

/// Its app containers.
fn app(worker: &Worker) -> impl Iterator<Item = usize> {
    worker.n_init()..worker.runs.len()
}

/// What its app containers may use together; none if one of them has no limit.
fn limit(worker: &Worker) -> Option<i64> {
    let limits = worker.spec.containers.iter().map(|c| c.limits.cpu_milli);
    limits.map(|milli| (milli > 0).then_some(milli)).sum()
}

/// What answers, and until when that holds of itself: all app containers run, each has come up, and
/// none has been told to stop.
fn listens(worker: &Worker, now: SimTime) -> (Answers, Option<SimTime>) {
    if worker.ip == 0 || !worker.holds() {
        return (Answers::Nobody, None);
    }
    let told = worker.rare().and_then(|r| r.quits);
    if told.is_some_and(|at| at <= now) {
        return (Answers::Refuses, None);
    }
    let mut up = SimTime::ZERO;
    for i in app(worker) {
        let RunState::Running(since) = worker.runs[i].state() else {
            return (Answers::Refuses, None);
        };
        let after = worker.behaviour(i).probing.as_deref().and_then(|p| p.listens_after_ns);
        up = up.max(since + SimDuration(after.unwrap_or(0)));
    }
    if up > now { (Answers::Refuses, Some(up)) } else { (Answers::Program, told) }
}
