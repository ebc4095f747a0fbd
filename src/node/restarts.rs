//! Containers that have ended are started again: at once the first time, then after a back-off.
//! While it lasts the pod worker wakes on a clock of its own, so a restart comes later than the
//! back-off ends. Sources: `kuberuntime_manager.go` `doBackOff`, `pod_workers.go` `completeWork`,
//! `reason_cache.go`; `timelines/01b`.

use super::NodeAgent;
use super::configs;
use super::ending::{over, sync_loop};
use super::hooks;
use super::kubelet::{advance, event, report, run_container, start_span, trace};
use super::pulls::{self, Ensured};
use super::runtime::RunState;
use super::worker::Worker;
use crate::api::Name;
use crate::api::kevent::Text;
use crate::engine::intern::Known;
use crate::engine::{Purpose, SimDuration, SimTime, Sym};
use crate::event::{Context, NodeEvent};
use smallvec::SmallVec;

pub(super) static BACK_OFF: Known = Known::new("BackOff");

/// A sync that failed comes again after this in 1.29 (source: `kubelet.go` `backOffPeriod`).
const FAILED_SYNC: SimDuration = SimDuration::from_secs(10);
/// At the latest it comes again after this (source: `--sync-frequency`).
const RESYNC: SimDuration = SimDuration::from_secs(60);

/// The container has ended and is to be started again.
fn to_restart(worker: &Worker, i: usize) -> bool {
    let RunState::Exited(_, _, exit) = worker.runs[i].state() else { return false };
    let code = exit.code();
    worker.runs[i].restarts(worker.spec.restart, worker.container(i), code, i < worker.n_init())
}

/// What earlier syncs said of back-offs is shown by the next status; true if that is news.
pub(super) fn show(worker: &mut Worker) -> bool {
    let mut news = false;
    for run in worker.runs.iter_mut() {
        let waits = run.due().is_some() && matches!(run.state(), RunState::Exited(..));
        news |= waits && !run.waiting;
        run.waiting |= waits;
    }
    news
}

/// The sync after a list: containers that it has found ended are started again, or begin to wait.
pub(super) fn ended(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let now = cx.now();
    let Some(worker) = node.workers.get_mut(id).filter(|w| !over(w)) else { return };
    let mut init_done = false;
    let mut news = false;
    for i in 0..worker.runs.len() {
        let RunState::Exited(_, finished, exit) = worker.runs[i].state() else { continue };
        if worker.runs[i].due().is_some() || worker.runs[i].starting {
            continue;
        }
        if to_restart(worker, i) {
            let due = worker.runs[i].next_start(finished, now);
            worker.runs[i].set_due(Some(due));
            news = true;
        } else {
            init_done |= exit.code() == 0 && i < worker.n_init() && worker.starting(i);
        }
    }
    if init_done {
        advance(node, id, cx);
    }
    if news {
        try_again(node, id, cx);
    }
}

/// The pod worker wakes by its own clock.
pub(super) fn wake(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let now = cx.now();
    let up = node.kubelet_up;
    // A later sync has set the clock anew.
    let due = |w: &&mut Worker| up && !over(w) && w.rare().is_some_and(|r| r.wake == Some(now));
    let Some(worker) = node.workers.get_mut(id).filter(due) else { return };
    // Both are shown, whichever is news.
    if show(worker) | pulls::show(worker) {
        report(node, id, None, cx);
    }
    try_again(node, id, cx);
    pulls::again(node, id, cx);
}

/// Starts what may start; the rest is told of, and the worker wakes again.
fn try_again(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let now = cx.now();
    let Some(worker) = node.workers.get(id) else { return };
    let waiting = |i: &usize| worker.runs[*i].due().is_some() && to_restart(worker, *i);
    let waiting: SmallVec<[usize; 2]> = (0..worker.runs.len()).filter(waiting).collect();
    let mut next: Option<SimTime> = None;
    for i in waiting {
        let Some(worker) = node.workers.get_mut(id) else { return };
        let (name, due) = (worker.name, worker.runs[i].due().unwrap_or(now));
        if due <= now {
            start(node, id, i, cx);
        } else {
            event(node, id, &BACK_OFF, Text::Plain(back_off_text(name)), cx);
            next = Some(next.map_or(due, |n| n.min(due)));
        }
    }
    let Some(due) = next else { return };
    let grid = sync_loop(node, cx);
    if let Some(worker) = node.workers.get_mut(id) {
        let wake = grid.after(now + patience(worker.name, due, cx));
        worker.rare_mut().wake = Some(wake);
        node.schedule(wake.since(now), NodeEvent::Sync { pod: id }, cx);
    }
}

/// A sync has failed, for want of an image or an address: the worker wakes again after a while, if
/// it does not wake before.
pub(super) fn failed_sync(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    wake_after(node, id, FAILED_SYNC, cx);
}

/// The worker wakes after this, and up to half as much more, if it does not wake before.
pub(super) fn wake_after(node: &mut NodeAgent, id: u32, period: SimDuration, cx: &mut Context<'_>) {
    let (now, grid) = (cx.now(), sync_loop(node, cx));
    let Some(worker) = node.workers.get_mut(id) else { return };
    let span = jittered(period, worker.name, cx);
    let wake = grid.after(now + span);
    if worker.rare().and_then(|r| r.wake).is_some_and(|old| old > now && old <= wake) {
        return;
    }
    worker.rare_mut().wake = Some(wake);
    node.schedule(wake.since(now), NodeEvent::Sync { pod: id }, cx);
}

/// A restart: its image first.
fn start(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    worker.runs[i].set_due(None);
    worker.runs[i].starting = true;
    match pulls::ensure(node, id, i, cx) {
        Ensured::There => create(node, id, i, cx),
        Ensured::Asked => {}
        Ensured::Refused => pulls::gone_without(node, id, i, cx),
    }
}

/// The image is there; creating and starting take their time.
pub(super) fn create(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    let run = worker.runs[i].run;
    worker.runs[i].starting = true;
    if configs::lacks(node, id, i, cx) {
        return;
    }
    trace(node, id, "CreateContainer, StartContainer", cx);
    let span = start_span(node, id, i, cx);
    let container = u16::try_from(i).unwrap_or(u16::MAX);
    node.schedule(span, NodeEvent::ContainerRestarted { pod: id, container, run }, cx);
}

/// The runtime has started the container again.
pub(super) fn restarted(
    node: &mut NodeAgent,
    id: u32,
    (i, number): (usize, u16),
    cx: &mut Context<'_>,
) {
    let Some(worker) = node.workers.get_mut(id).filter(|w| !over(w)) else { return };
    let Some(run) = worker.runs.get_mut(i).filter(|r| r.run == number) else { return };
    // Its first start may have waited for its image.
    run.restarts += u32::from(run.run > 0);
    run_container(node, id, i, cx);
    hooks::begin(node, id, i, cx);
}

/// When a worker with a container in back-off wakes again: 1.29 knows nothing of the back-off, 1.35
/// aims at its end; both are late by up to half.
fn patience(name: Name, due: SimTime, cx: &Context<'_>) -> SimDuration {
    let left = due.since(cx.now()).min(RESYNC);
    let span = if cx.version().wakes_at_back_off() { left } else { FAILED_SYNC };
    jittered(span, name, cx)
}

/// Workers do not wake together (source: `pod_workers.go` `workerBackOffPeriodJitterFactor`).
fn jittered(span: SimDuration, name: Name, cx: &Context<'_>) -> SimDuration {
    let mut draw = cx.draw(name.stable_hash(), Purpose("worker-wake"), cx.now().0);
    span + SimDuration(draw.below(span.0 / 2 + 1))
}

fn back_off_text(pod: Name) -> Sym {
    Sym::new(&format!("Back-off restarting failed container in pod {pod}"))
}
