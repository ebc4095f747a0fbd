//! The end of a pod: by deletion, by its own containers, or because the kubelet ends it. App
//! containers stop at once, sidecars after them, the last one first; each has its hook, its SIGTERM
//! and what is left of the pod's grace. Sources: behaviour reference §4.8;
//! `kuberuntime_container.go` `killContainersWithSyncResult`, `kuberuntime_termination_order.go`;
//! `status_manager.go` `mergePodStatus`.

use super::kubelet::{FINAL_PATCH, KILLING, event, report, trace};
use super::runtime::{Exit, Run, RunState};
use super::worker::{Stage, Worker};
use super::{NodeAgent, critical, hooks, mounts, pressure, shutdown, status, work};
use crate::api::kevent::Text;
use crate::api::pod::Phase;
use crate::engine::intern::Known;
use crate::engine::{Grid, Purpose, SimDuration, SimTime, Sym};
use crate::event::{Context, NodeEvent};
use smallvec::SmallVec;

static DEADLINE_EXCEEDED: Known = Known::new("DeadlineExceeded");
static TOO_LONG: Known =
    Known::new("Pod was active on the node longer than the specified deadline");

/// A container that is told to stop has at least so long.
const LEAST: SimDuration = SimDuration::from_secs(2);

/// Why the kubelet ends a pod: what its status says once it has stopped.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) reason: Sym,
    pub(super) message: Sym,
    /// Reason and message of its condition `DisruptionTarget`, if it gets one.
    pub(super) target: Option<(Sym, Sym)>,
}

/// True for a pod that ends or has ended.
pub(super) fn over(worker: &Worker) -> bool {
    matches!(
        worker.stage,
        Stage::Stopping | Stage::Stopped | Stage::Ending | Stage::Finished | Stage::Ended
    )
}

/// A pod whose containers have ended by themselves: that is told at once, but its phase only a list
/// later, when the pod has been stopped, and its address another list later, when it has been
/// cleaned up (source: `kubelet.go` `SyncTerminatingPod`, `SyncTerminatedPod`; recorded in
/// `timelines/04`). Sidecars that still run are told to stop first.
pub(super) fn if_terminal(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id).filter(|w| !over(w)) else { return };
    if matches!(status::outcome(worker), Phase::Succeeded | Phase::Failed) {
        let grace = SimDuration::from_secs(u64::from(worker.spec.grace_s));
        begin(node, id, grace, cx);
    }
}

/// The kubelet ends a pod. Its conditions say so at once, its phase when nothing runs any more.
pub(super) fn terminate(
    node: &mut NodeAgent,
    id: u32,
    end: End,
    grace: SimDuration,
    cx: &mut Context<'_>,
) {
    let Some(worker) = node.workers.get_mut(id).filter(|w| !over(w)) else { return };
    worker.rare_mut().end = Some(end);
    for run in worker.runs.iter_mut() {
        run.waiting = false;
        run.set_due(None);
    }
    trace(node, id, "the kubelet ends the pod", cx);
    begin(node, id, grace, cx);
    report(node, id, None, cx);
}

/// The end begins: what still runs is told to stop.
fn begin(node: &mut NodeAgent, id: u32, grace: SimDuration, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    worker.stage = Stage::Ending;
    if !stop_containers(node, id, grace, cx) {
        look_again(node, id, cx);
    }
}

/// The next list acts upon the pod.
fn look_again(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    if let Some(worker) = node.workers.get_mut(id) {
        worker.dirty = true;
        node.arm_relist(cx);
    }
}

/// The next step to the end. A pod that is to go stays until its end has been told.
pub(super) fn finish(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    if worker.runs.iter().any(Run::running) {
        return report(node, id, None, cx);
    }
    if worker.stage == Stage::Ending {
        worker.dirty = true;
        node.workers.enter(id, Stage::Finished);
        report(node, id, None, cx);
        node.arm_relist(cx);
        mounts::release(node, id, cx);
        critical::freed(node, cx);
        if node.shutdown.is_some() {
            shutdown::pod_gone(node, cx);
        }
        return;
    }
    worker.stage = Stage::Ended;
    if worker.deadline() == SimTime::MAX {
        report(node, id, None, cx);
    } else {
        worker.stage = Stage::Stopped;
        worker.final_patch = true;
        report(node, id, Some(id | FINAL_PATCH), cx);
    }
}

/// The pod is to go: its containers are told to stop.
pub(super) fn stop(node: &mut NodeAgent, id: u32, grace_s: u32, cx: &mut Context<'_>) {
    let now = cx.now();
    let Some(worker) = node.workers.get_mut(id) else { return };
    let grace = SimDuration::from_secs(u64::from(grace_s.max(1)));
    let deadline = now + grace;
    match worker.stage {
        Stage::Stopped => return,
        Stage::Stopping if deadline >= worker.deadline() => return,
        Stage::Ending | Stage::Finished => {
            worker.set_deadline(deadline);
            return;
        }
        // It was to go before it had ended, and the kubelet hears of it only now.
        Stage::Ended if grace_s > 0 => {
            worker.set_deadline(deadline);
            worker.stage = Stage::Stopped;
            worker.final_patch = true;
            return report(node, id, Some(id | FINAL_PATCH), cx);
        }
        // The API server lets an ended pod go by itself.
        Stage::Ended => return,
        Stage::Stopping | Stage::Mounting | Stage::Sandbox | Stage::Starting(_) | Stage::Up => {}
    }
    if worker.runs.iter().any(|r| r.waiting) {
        // Nothing is waited for any more: that is told before the end is.
        for run in worker.runs.iter_mut() {
            run.waiting = false;
            run.set_due(None);
        }
        report(node, id, None, cx);
    }
    let Some(worker) = node.workers.get_mut(id) else { return };
    worker.stage = Stage::Stopping;
    worker.set_deadline(deadline);
    if !stop_containers(node, id, grace, cx) {
        all_stopped(node, id, cx);
    }
}

/// Every container that runs is told to stop; false if none does.
fn stop_containers(
    node: &mut NodeAgent,
    id: u32,
    grace: SimDuration,
    cx: &mut Context<'_>,
) -> bool {
    let now = cx.now();
    let Some(worker) = node.workers.get_mut(id) else { return false };
    hooks::give_up(worker);
    let running: SmallVec<[usize; 2]> =
        (0..worker.runs.len()).filter(|&i| worker.runs[i].running()).collect();
    let sidecars = running.iter().any(|&i| worker.sidecar(i));
    if sidecars {
        worker.rare_mut().stopping = Some((now, grace));
    }
    for &i in &running {
        let Some(worker) = node.workers.get(id) else { return false };
        let name = worker.container(i).name;
        event(node, id, &KILLING, Text::Stopping(name), cx);
        let Some(worker) = node.workers.get(id) else { return false };
        if worker.sidecar(i) {
            // It waits for its turn no longer than the grace lasts.
            let (at, killed) = turn(worker, i, (now, grace), now + grace, cx);
            schedule_stop(node, id, i, at, killed, cx);
        } else {
            kill(node, id, i, grace, cx);
        }
    }
    if sidecars {
        next_sidecar(node, id, cx);
    }
    !running.is_empty()
}

/// The container is told to stop: its hook runs within the grace, then SIGTERM; what is left of
/// the grace (two seconds at least) it has to end by itself. Source: `kuberuntime_container.go`
/// `killContainer`.
pub(super) fn kill(
    node: &mut NodeAgent,
    id: u32,
    i: usize,
    grace: SimDuration,
    cx: &mut Context<'_>,
) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    let hook = hooks::pre_stop(worker, i, cx).min(grace);
    let left = (grace - hook).max(LEAST);
    let needs = SimDuration(worker.behaviour(i).stop_after_ns);
    let at = cx.now() + hook + needs.min(left);
    if cx.traffic().on && i >= worker.n_init() {
        let told = cx.now() + hook;
        let quits = &mut worker.rare_mut().quits;
        *quits = Some(quits.map_or(told, |t| t.min(told)));
        cx.touch(worker.uid);
    }
    schedule_stop(node, id, i, at, needs >= left, cx);
}

fn schedule_stop(
    node: &NodeAgent,
    id: u32,
    i: usize,
    at: SimTime,
    killed: bool,
    cx: &mut Context<'_>,
) {
    let Some(worker) = node.workers.get(id) else { return };
    let (run, container) = (worker.runs[i].run, u16::try_from(i).unwrap_or(u16::MAX));
    let stopped = NodeEvent::ContainerStopped { pod: id, container, run, killed };
    node.schedule(at.since(cx.now()), stopped, cx);
}

/// When a sidecar has stopped whose turn comes at this instant, and whether it is killed. Its hook
/// runs from the begin; whole seconds that it waited are taken off its grace.
fn turn(
    worker: &Worker,
    i: usize,
    (begun, grace): (SimTime, SimDuration),
    at: SimTime,
    cx: &Context<'_>,
) -> (SimTime, bool) {
    let hook = hooks::pre_stop(worker, i, cx).min(grace);
    let free = begun + hook;
    let waited = SimDuration::from_secs(at.since(free).as_secs());
    let left = (grace - hook - waited).max(LEAST);
    let needs = SimDuration(worker.behaviour(i).stop_after_ns);
    (at.max(free) + needs.min(left), needs >= left)
}

/// The last sidecar that runs has its turn, once no other container runs.
fn next_sidecar(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let Some(from) = worker.rare().and_then(|r| r.stopping) else { return };
    let running = |i: &usize| worker.runs[*i].running();
    let Some(last) = (0..worker.runs.len()).rev().find(running) else { return };
    if worker.sidecar(last) {
        let (at, killed) = turn(worker, last, from, cx.now(), cx);
        schedule_stop(node, id, last, at.max(cx.now()), killed, cx);
    }
}

/// A container has stopped after it was told to: by itself in time, or killed at its deadline.
pub(super) fn stopped(
    node: &mut NodeAgent,
    id: u32,
    (i, number): (usize, u16),
    killed: bool,
    cx: &mut Context<'_>,
) {
    let now = cx.now();
    let Some(worker) = node.workers.get_mut(id) else { return };
    let Some(run) = worker.runs.get_mut(i).filter(|r| r.run == number) else { return };
    let RunState::Running(since) = run.state() else { return };
    run.set_state(RunState::Exited(since, now, Exit::Code(if killed { 137 } else { 0 })));
    run.ready = false;
    let failed = run.unhealthy;
    worker.dirty = true;
    cx.touch(worker.uid);
    hooks::killed(node, id, i, cx);
    if failed && node.workers.get(id).is_some_and(|w| !over(w)) {
        trace(node, id, "container stopped by a failed probe", cx);
    }
    one_less(node, id, cx);
}

/// A container less runs: where the pod is to end, the next step is taken.
pub(super) fn one_less(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    let still = worker.runs.iter().any(Run::running);
    let stage = worker.stage;
    pressure::changed(node, cx);
    work::changed(node, cx);
    match (stage, still) {
        (Stage::Stopping, false) => all_stopped(node, id, cx),
        (Stage::Ending, false) => look_again(node, id, cx),
        (Stage::Stopping | Stage::Ending, true) => next_sidecar(node, id, cx),
        (
            Stage::Mounting
            | Stage::Sandbox
            | Stage::Starting(_)
            | Stage::Up
            | Stage::Stopped
            | Stage::Finished
            | Stage::Ended,
            _,
        ) => node.arm_relist(cx),
    }
}

/// Every container has stopped: reported at once, and once more at the next list, before the
/// DELETE.
fn all_stopped(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    // Of a pod that never got to run there is nothing new to tell until its end.
    let ran = |w: &Worker| w.runs.iter().any(|r| r.run > 0 || r.state() != RunState::Created);
    if node.workers.get(id).is_some_and(ran) {
        report(node, id, None, cx);
    }
    node.workers.enter(id, Stage::Stopped);
    if let Some(worker) = node.workers.get_mut(id) {
        worker.dirty = true;
        worker.cause = cx.seq();
    }
    node.arm_relist(cx);
    mounts::release(node, id, cx);
    critical::freed(node, cx);
    if node.shutdown.is_some() {
        shutdown::pod_gone(node, cx);
    }
}

/// Arms the deadline of a pod that has one. The kubelet looks each second (source:
/// `active_deadline.go`, `kubelet.go` `syncLoop`).
pub(super) fn arm_deadline(node: &NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let Some(seconds) = worker.spec.active_deadline_s else { return };
    let from = cx.time_of(worker.start);
    let at = from + SimDuration::from_secs(u64::from(seconds));
    let tick = sync_loop(node, cx).at_or_after(at.max(cx.now()));
    node.schedule(tick.since(cx.now()), NodeEvent::Deadline { pod: id }, cx);
}

/// The kubelet's loop that looks for pods that are due (source: `kubelet.go` `syncLoop`).
pub(super) fn sync_loop(node: &NodeAgent, cx: &Context<'_>) -> Grid {
    const PERIOD: SimDuration = SimDuration::from_secs(1);
    Grid::drawn(cx.draws(), node.setup.name.stable_hash(), Purpose("sync-loop"), PERIOD)
}

/// A pod has been active for as long as it may.
pub(super) fn deadline_passed(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id).filter(|w| !over(w)) else { return };
    if !node.kubelet_up {
        // Whoever comes back looks with its first turn.
        return node.schedule(SimDuration::from_secs(1), NodeEvent::Deadline { pod: id }, cx);
    }
    let grace = SimDuration::from_secs(u64::from(worker.spec.grace_s));
    let end = End { reason: DEADLINE_EXCEEDED.sym(), message: TOO_LONG.sym(), target: None };
    event(node, id, &DEADLINE_EXCEEDED, Text::Plain(TOO_LONG.sym()), cx);
    terminate(node, id, end, grace, cx);
}
