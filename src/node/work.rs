//! Containers that work: they read data, then compute at their share of the node's CPU. Shares
//! change only when somebody begins or ends; between two changes progress is linear, and the next
//! end is computed and armed, never polled. What runs without work counts with its request, or with
//! what the scenario says that it uses.
//!
//! The kernel divides CPU by `cpu.weight`, which follows requests (source: `kuberuntime_container_
//! linux.go`, `cm/helpers_linux.go` `MilliCPUToShares`; the rounding of runc's conversion to cgroup
//! v2, up to 3 %, is left out). Containers compete as if each were alone in its pod. What the
//! system reserves is its own: pods share the node's allocatable.

use super::NodeAgent;
use super::kubelet::exited;
use super::worker::Worker;
use crate::api::node::keys::ZONE;
use crate::api::versions::ObjRef;
use crate::api::work::{Distance, Source, Work};
use crate::api::{Kind, Name};
use crate::engine::digest::mix;
use crate::engine::{Purpose, SimDuration, SimTime, Sym, num};
use crate::event::usage::{Course, Load};
use crate::event::work::{CORE, Claim, Part, shares};
use crate::event::{Context, NodeEvent, What};
use smallvec::SmallVec;
use std::sync::Arc;

const CPU: Purpose = Purpose("cpu-seconds");
/// CPU shares of a container without a request (source: `MinShares`).
const LEAST_MILLI: i64 = 2;
const PER_MILLE: u64 = 1_000;
/// Nano-cores of a thousandth of a core.
const MILLI: u64 = CORE / 1_000;

/// The work of one run of a container.
#[derive(Debug, Clone)]
struct Task {
    id: u32,
    pod: ObjRef,
    container: u16,
    run: u16,
    work: Arc<Work>,
    /// What is left to read: how long, and over which distance; the last one first.
    reads: SmallVec<[(u64, Distance); 1]>,
    /// What is left to compute: core-nanoseconds times [`CORE`].
    left: u128,
    /// Up to when the two above are true.
    at: SimTime,
    rate: Rate,
    /// Nanoseconds by part.
    spent: [u64; Part::ALL.len()],
}

/// How fast a task computes, nano-cores.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    /// Alone on the node.
    alone: u64,
    /// Its share.
    share: u64,
    /// What its share gets done beside its neighbours.
    beside: u64,
    /// What of that a slow machine gets done.
    done: u64,
}

/// All work of a node; none while nothing works.
#[derive(Debug, Clone, Default)]
pub(super) struct Board {
    /// In order of their beginning.
    tasks: Vec<Task>,
    /// Counts what was armed: earlier ends are stale.
    armed: u32,
}

/// Nanoseconds for so many bytes.
fn transfer(bytes: u64, per_s: u64) -> u64 {
    let ns = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(per_s.max(1)));
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// `part` of `whole` as a share of a span, rounded down.
fn scaled(span: u64, part: u64, whole: u64) -> u64 {
    let scaled = u128::from(span) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(scaled).unwrap_or(span)
}

impl Task {
    fn computing(&self) -> bool {
        self.reads.is_empty()
    }

    fn done(&self) -> bool {
        self.computing() && self.left == 0
    }

    fn add(&mut self, part: Part, ns: u64) {
        self.spent[part.index()] += ns;
    }

    /// Takes in the time up to now, in which nothing has changed.
    fn settle(&mut self, now: SimTime) {
        let mut span = now.since(self.at).0;
        self.at = now;
        while let Some((left, distance)) = self.reads.last_mut().filter(|_| span > 0) {
            let (part, ns) = (Part::Read(*distance), span.min(*left));
            *left -= ns;
            if *left == 0 {
                self.reads.pop();
            }
            span -= ns;
            self.add(part, ns);
        }
        if span == 0 || !self.computing() || self.left == 0 {
            return;
        }
        self.left = self.left.saturating_sub(u128::from(span) * u128::from(self.rate.done));
        let Rate { alone, share, beside, done } = self.rate;
        // Each step away from being alone on a good machine takes its part of the span.
        let good = scaled(span, done, beside);
        let untroubled = scaled(good, beside, share);
        let ideal = scaled(untroubled, share, alone);
        self.add(Part::Held, span - good);
        self.add(Part::Slowed, good - untroubled);
        self.add(Part::Waited, untroubled - ideal);
        self.add(Part::Computed, ideal);
    }

    /// From its instant on, how long until its read ends or its work is done; none if it stands.
    fn next(&self) -> Option<u64> {
        if let Some((left, _)) = self.reads.last() {
            return Some(*left);
        }
        let rate = u128::from(self.rate.done);
        (self.left == 0 || rate > 0)
            .then(|| u64::try_from(self.left.div_ceil(rate.max(1))).unwrap_or(u64::MAX))
    }
}

/// How far a source is from a node.
fn distance(node: &NodeAgent, from: Source, cx: &Context<'_>) -> Distance {
    let zone = match from {
        Source::Zone(zone) => Some(zone),
        Source::Node(name) if name == node.setup.name => return Distance::Node,
        Source::Node(name) => {
            let versions = cx.versions();
            let found = versions.find(Kind::Node, Sym::EMPTY, Name::from(name));
            let object = found.and_then(|o| versions.current(Kind::Node, o)?.as_node().cloned());
            object.and_then(|n| n.meta.labels.get(Sym::new(ZONE)))
        }
    };
    match zone {
        Some(zone) if zone == node.setup.zone && !zone.is_empty() => Distance::Zone,
        Some(_) | None => Distance::Elsewhere,
    }
}

/// A container with work runs from now on.
pub(super) fn begin(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let own = worker.behaviour(i).work.clone().filter(|_| i >= worker.n_init());
    let Some(work) = own else { return changed(node, cx) };
    let run = worker.runs[i].run;
    // By the pod's name, as its other draws: never by the node.
    let entity = mix(worker.name.stable_hash(), i as u64);
    let (low, high) = work.cpu_ns;
    let mut draw = cx.draws().draw(entity, CPU, u64::from(run));
    let cpu = low + if high > low { draw.below(high - low + 1) } else { 0 };
    let reads = work.reads.iter().rev().map(|read| {
        let distance = distance(node, read.from, cx);
        (transfer(read.bytes, work.speeds.over(distance)), distance)
    });
    let task = Task {
        id,
        pod: worker.object,
        container: u16::try_from(i).unwrap_or(u16::MAX),
        run,
        reads: reads.filter(|(ns, _)| *ns > 0).collect(),
        left: u128::from(cpu) * u128::from(CORE),
        at: cx.now(),
        rate: Rate::default(),
        spent: [0; Part::ALL.len()],
        work,
    };
    let now = cx.now();
    let board = node.work.get_or_insert_default();
    board.settle(now);
    board.tasks.push(task);
    changed(node, cx);
}

impl Board {
    fn settle(&mut self, now: SimTime) {
        for task in &mut self.tasks {
            task.settle(now);
        }
    }
}

/// Somebody began to run on the node or ended there: shares are divided anew.
pub(super) fn changed(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let Some(mut board) = node.work.take() else { return };
    let now = cx.now();
    board.settle(now);
    let runs = |task: &Task| {
        let run = node.workers.get(task.id).and_then(|w| w.runs.get(usize::from(task.container)));
        run.is_some_and(|r| r.run == task.run && r.running())
    };
    let (kept, gone): (Vec<Task>, Vec<Task>) = board.tasks.into_iter().partition(runs);
    for task in &gone {
        tell(task, false, cx);
    }
    if kept.is_empty() {
        return;
    }
    board.tasks = kept;
    board.armed = board.armed.wrapping_add(1);
    divide(node, &mut board.tasks, cx);
    if let Some(next) = board.tasks.iter().filter_map(Task::next).min() {
        node.schedule(SimDuration(next), NodeEvent::Worked { armed: board.armed }, cx);
    }
    node.work = Some(board);
}

/// What was armed has come: whoever is done exits.
pub(super) fn worked(node: &mut NodeAgent, armed: u32, cx: &mut Context<'_>) {
    let Some(board) = node.work.as_mut().filter(|b| b.armed == armed) else { return };
    board.settle(cx.now());
    let (done, left): (Vec<Task>, Vec<Task>) =
        std::mem::take(&mut board.tasks).into_iter().partition(Task::done);
    board.tasks = left;
    for task in &done {
        tell(task, true, cx);
    }
    for task in done {
        exited(node, task.id, usize::from(task.container), task.run, cx);
    }
    changed(node, cx);
}

/// What a task's time was spent on.
fn tell(task: &Task, done: bool, cx: &mut Context<'_>) {
    let pod = task.pod;
    for part in Part::ALL {
        let ns = task.spent[part.index()];
        if ns > 0 || part == Part::Computed {
            cx.record(What::Worked { pod, part, ns, done });
        }
    }
}

/// The machine has lost power: what was done is lost.
pub(super) fn crash(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let Some(mut board) = node.work.take() else { return };
    board.settle(cx.now());
    for task in &board.tasks {
        tell(task, false, cx);
    }
}

/// The machine has stood still for so long: nothing was done meanwhile.
pub(super) fn slept(node: &mut NodeAgent, lost: SimDuration, cx: &mut Context<'_>) {
    if let Some(board) = &mut node.work {
        for task in &mut board.tasks {
            task.at = (task.at + lost).min(cx.now());
            task.add(Part::Held, lost.0);
        }
    }
    changed(node, cx);
}

/// Divides the node's CPU among all that run, and sets the rates of those that work. Whoever still
/// reads needs none.
fn divide(node: &NodeAgent, tasks: &mut [Task], cx: &Context<'_>) {
    let capacity = num::u64_of(node.setup.allocatable.cpu_milli.max(0)) * MILLI;
    let mut claims: Vec<Claim> = Vec::new();
    let mut of = Vec::new();
    for worker in node.workers.active() {
        let id = node.workers.find(worker.object);
        for i in (0..worker.runs.len()).filter(|&i| worker.runs[i].running()) {
            let ours = |t: &Task| {
                Some(t.id) == id && t.run == worker.runs[i].run && usize::from(t.container) == i
            };
            let task = tasks.iter().position(ours);
            let most = match task {
                Some(t) if tasks[t].computing() => tasks[t].work.parallelism_milli * MILLI,
                Some(_) => 0,
                None => usual(&node.setup.loads, worker, i, cx),
            };
            claims.push(claim(worker, i, most));
            of.push(task);
        }
    }
    let given = shares(capacity, &claims);
    let groups: Vec<Option<Sym>> = tasks.iter().map(group).collect();
    for ((task, claim), share) in of.into_iter().zip(&claims).zip(given) {
        let Some(task) = task.map(|t| &mut tasks[t]) else { continue };
        let others = match group(task) {
            Some(own) => groups.iter().filter(|g| **g == Some(own)).count() as u64 - 1,
            None => 0,
        };
        let slower = task.work.neighbours.map_or(0, |n| u64::from(n.slower_permille));
        let beside = scaled(share, PER_MILLE, PER_MILLE + slower * others);
        let alone = claim.most.min(capacity);
        task.rate = Rate { alone, share, beside, done: beside / u64::from(node.slow) };
    }
}

/// The group of a task that computes.
fn group(task: &Task) -> Option<Sym> {
    task.work.neighbours.filter(|_| task.computing()).map(|n| n.group)
}

/// The claim of a container that runs, at most so much.
fn claim(worker: &Worker, i: usize, most: u64) -> Claim {
    let container = worker.container(i);
    let weight = num::u64_of(container.requests.cpu_milli.max(LEAST_MILLI));
    let limit = num::u64_of(container.limits.cpu_milli.max(0)).saturating_mul(MILLI);
    Claim { weight, most: if limit > 0 { most.min(limit) } else { most } }
}

/// What a container without work uses, nano-cores: what the scenario says of each of its pods,
/// where that is a flat amount, else its request.
fn usual(loads: &[Load], worker: &Worker, i: usize, cx: &Context<'_>) -> u64 {
    let container = worker.container(i);
    let request = num::u64_of(container.requests.cpu_milli.max(0)).saturating_mul(MILLI);
    let said = |load: &&Load| {
        let here =
            load.container == container.name || load.container.is_empty() && i == worker.n_init();
        let flat = matches!(load.course, Course::Constant(_)) && !load.shared;
        here && flat && load.metric.as_str() == "cpu" && load.ns == worker.ns
    };
    let labels = || {
        let object = cx.versions().current(Kind::Pod, worker.object)?;
        Some(object.as_pod()?.meta.labels)
    };
    let own = loads
        .iter()
        .filter(said)
        .find(|load| load.pods.as_ref().is_some_and(|s| labels().is_some_and(|l| s.matches(l))));
    own.map_or(request, |load| {
        // Thousandths of a core.
        num::u64_of(load.course.piece(SimTime::ZERO, cx.now()).amount.max(0)).saturating_mul(MILLI)
    })
}
