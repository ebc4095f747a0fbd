//! What containers use, and the kernel's answer when it is too much: a container above its memory
//! limit is killed, and so is the one with the highest score on a node that has nothing left.
//! Crossings are computed and armed, never polled. Sources: behaviour reference §4.10;
//! `pkg/kubelet/qos/policy.go`; `oom_watcher_linux.go`.

use super::NodeAgent;
use super::config::Signal;
use super::ending::one_less;
use super::kubelet::trace;
use super::runtime::{Exit, RunState};
use super::worker::Worker;
use crate::api::pod::{Pod, Qos};
use crate::api::{Kind, Name};
use crate::engine::intern::Known;
use crate::engine::{SimTime, Sym, num};
use crate::event::usage::{Course, Load, Part, first_above};
use crate::event::{Context, NodeEvent};
use smallvec::SmallVec;

static SYSTEM_OOM: Known = Known::new("SystemOOM");

/// Something that a container uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use {
    /// Row in the plan's list of loads.
    pub(super) load: u16,
    pub(super) container: u16,
    pub(super) of: Signal,
}

impl Use {
    /// How it goes.
    pub(super) fn course(self, loads: &[Load]) -> Option<&Course> {
        loads.get(usize::from(self.load)).map(|load| &load.course)
    }
}

/// What a load is for a kubelet, if anything.
fn felt(load: &Load) -> Option<Signal> {
    if load.unfelt() || load.pods.is_none() {
        return None;
    }
    match load.metric.as_str() {
        "memory" => Some(Signal::Memory),
        "ephemeral-storage" => Some(Signal::NodeFs),
        "pids" => Some(Signal::Pid),
        _ => None,
    }
}

/// Notes what the scenario says of a pod that was just admitted.
pub(super) fn meter(node: &mut NodeAgent, id: u32, pod: &Pod) {
    if node.setup.loads.is_empty() && node.setup.logging.is_none() {
        return;
    }
    let n = pod.spec.init_containers.len();
    let mut uses: SmallVec<[Use; 2]> = SmallVec::new();
    for (row, load) in node.setup.loads.iter().enumerate() {
        let Some(of) = felt(load).filter(|_| load.ns == pod.meta.ns) else { continue };
        if !load.pods.as_ref().is_some_and(|s| s.matches(pod.meta.labels)) {
            continue;
        }
        let all = n + pod.spec.containers.len();
        let named = (0..all).find(|&i| pod.spec.container(i).name == load.container);
        let container = named.unwrap_or(n);
        let short = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        uses.push(Use { load: short(row), container: short(container), of });
    }
    let writes = |u: &Use| matches!(u.course(&node.setup.loads), Some(Course::Log(_)));
    let writes = uses.iter().any(writes);
    super::logs::meter(node, pod, writes);
    if !uses.is_empty()
        && let Some(worker) = node.workers.get_mut(id)
    {
        worker.rare_mut().uses = uses;
        node.metered = true;
    }
}

/// The parts of a pod, or of one of its containers.
pub(super) fn parts<'n>(
    loads: &'n [Load],
    worker: &'n Worker,
    of: Signal,
    container: Option<usize>,
) -> impl Iterator<Item = Part<'n>> + 'n {
    let uses = worker.rare().map_or(&[][..], |r| r.uses.as_slice());
    uses.iter().filter_map(move |u| {
        let i = usize::from(u.container);
        if u.of != of || container.is_some_and(|c| c != i) {
            return None;
        }
        let course = u.course(loads)?;
        match worker.runs.get(i)?.state() {
            RunState::Running(since) => Some(Part { course, since, frozen: None }),
            // What was written stays until the pod is cleaned up.
            RunState::Exited(since, end, _) if of == Signal::NodeFs => {
                Some(Part { course, since, frozen: Some(end) })
            }
            RunState::Exited(..) | RunState::Created => None,
        }
    })
}

/// The parts of all pods of a node, and on its disk the buffer of the log agent.
pub(super) fn all_parts(node: &NodeAgent, of: Signal) -> Vec<Part<'_>> {
    let loads = &node.setup.loads;
    let buffer = super::logs::buffer(node).filter(|_| of == Signal::NodeFs);
    node.workers.active().flat_map(|w| parts(loads, w, of, None)).chain(buffer).collect()
}

/// What a pod uses, thousandths.
pub(super) fn used(loads: &[Load], worker: &Worker, of: Signal, at: SimTime) -> i64 {
    parts(loads, worker, of, None).map(|p| p.at(at)).sum()
}

/// What a container uses, in whole units.
pub(super) fn used_by(loads: &[Load], worker: &Worker, i: usize, of: Signal, at: SimTime) -> i64 {
    parts(loads, worker, of, Some(i)).map(|p| p.at(at)).sum::<i64>() / 1000
}

/// A container has started: arms the instant at which it passes its limit, if it ever does.
pub(super) fn arm(node: &NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let limit = worker.container(i).limits.memory;
    if limit <= 0 {
        return;
    }
    let mine: SmallVec<[Part<'_>; 2]> =
        parts(&node.setup.loads, worker, Signal::Memory, Some(i)).collect();
    let level = limit.saturating_mul(1000);
    if let Some(at) = first_above(&mine, level, cx.now()) {
        let (run, container) = (worker.runs[i].run, u16::try_from(i).unwrap_or(u16::MAX));
        let passed = NodeEvent::OutOfMemory { pod: id, container, run };
        node.schedule(at.since(cx.now()), passed, cx);
    }
}

/// A container passes its limit.
pub(super) fn exceeded(
    node: &mut NodeAgent,
    id: u32,
    (i, number): (usize, u16),
    cx: &mut Context<'_>,
) {
    let Some(worker) = node.workers.get(id) else { return };
    if worker.runs.get(i).is_some_and(|r| r.run == number) {
        kill(node, id, i, cx);
    }
}

/// The kernel kills a container.
fn kill(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) {
    let now = cx.now();
    let Some(worker) = node.workers.get_mut(id) else { return };
    let RunState::Running(since) = worker.runs[i].state() else { return };
    let run = &mut worker.runs[i];
    run.set_state(RunState::Exited(since, now, Exit::OutOfMemory));
    run.ready = false;
    worker.dirty = true;
    trace(node, id, "out of memory: a container is killed", cx);
    one_less(node, id, cx);
}

/// The instant from which on the node has no memory left.
pub(super) fn runs_out(node: &NodeAgent, from: SimTime) -> Option<SimTime> {
    let left = node.setup.capacity.memory - node.setup.kubelet.system.memory;
    first_above(&all_parts(node, Signal::Memory), left.saturating_mul(1000), from)
}

/// Adjustment of the kernel's score for a pod's container (source: `qos/policy.go`).
fn adjustment(worker: &Worker, i: usize, capacity: i64) -> i64 {
    if super::admission::critical(&worker.spec) {
        return -997;
    }
    match worker.spec.qos() {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let request = i128::from(worker.container(i).requests.memory);
            let share = 1000 * request / i128::from(capacity.max(1));
            i64::try_from(1000 - share).unwrap_or(0).clamp(3, 999)
        }
    }
}

/// The node has no memory left: the kernel kills the container with the highest score.
pub(super) fn none_left(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let now = cx.now();
    if let Some(state) = node.pressure.as_deref_mut() {
        state.empty = None;
    }
    if runs_out(node, now) != Some(now) {
        return super::pressure::changed(node, cx);
    }
    let capacity = node.setup.capacity.memory;
    let mut worst: Option<(i64, u32, usize)> = None;
    for id in node.workers.ids() {
        let Some(worker) = node.workers.get(id) else { continue };
        for i in (0..worker.runs.len()).filter(|&i| worker.runs[i].running()) {
            let used = used_by(&node.setup.loads, worker, i, Signal::Memory, now);
            let share = i128::from(used) * 1000 / i128::from(capacity.max(1));
            let score = i64::try_from(share).unwrap_or(0) + adjustment(worker, i, capacity);
            if used > 0 && worst.is_none_or(|w| score > w.0) {
                worst = Some((score, id, i));
            }
        }
    }
    let Some((_, id, i)) = worst else { return };
    let victim = node.workers.get(id).map(|w| w.container(i).name).unwrap_or_default();
    let text = format!("System OOM encountered, victim process: {victim}, pid: {}", 1000 + id);
    node.tell_of_node(true, SYSTEM_OOM.sym(), Sym::new(&text), cx);
    kill(node, id, i, cx);
}

/// The node as the object of an Event (source: `kubelet.go` `nodeRef`).
pub(super) fn node_ref(node: &NodeAgent) -> (Kind, Sym, Name, crate::api::Uid) {
    let name = node.setup.name;
    (Kind::Node, Sym::new("default"), Name::new(name.as_str()), crate::api::Uid(name.stable_hash()))
}

/// Bytes of thousandths, and a number of workers that a test can count.
#[must_use]
pub(super) fn whole(milli: i64) -> i64 {
    num::u64_of(milli.max(0)).div_ceil(1000).try_into().unwrap_or(i64::MAX)
}
