//! Hooks of containers. `postStart` keeps the pod worker until it is done: nothing is reported or
//! started meanwhile, and if it fails, the container is killed. `preStop` runs within the grace.
//! Source: `kuberuntime_container.go` `startContainer`, `killContainer`.

use super::NodeAgent;
use super::ending::kill;
use super::kubelet::{KILLING, event, go_on, list, trace};
use super::worker::Worker;
use crate::api::kevent::Text;
use crate::api::pod::Hook;
use crate::engine::digest::mix;
use crate::engine::intern::Known;
use crate::engine::{Purpose, SimDuration};
use crate::event::{Context, NodeEvent};

pub(super) static FAILED_POST_START: Known = Known::new("FailedPostStartHook");
static HOOK_FAILED: Known = Known::new("PostStartHook failed");

/// A hook under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hooked {
    container: usize,
    /// A list has come by meanwhile.
    listed: bool,
}

/// How long a hook runs. Nobody says how long a command takes: a tenth to a half of a second unless
/// the scenario does.
fn span(
    worker: &Worker,
    i: usize,
    (hook, said, purpose): (Option<Hook>, Option<(u64, u64)>, Purpose),
    cx: &Context<'_>,
) -> SimDuration {
    match hook {
        None => SimDuration::ZERO,
        Some(Hook::Sleep(seconds)) => SimDuration::from_secs(u64::from(seconds)),
        Some(Hook::Run) => {
            let (least, most) = said.unwrap_or((100_000_000, 500_000_000));
            let entity = mix(worker.name.stable_hash(), i as u64);
            let run = u64::from(worker.runs[i].run);
            SimDuration(least + cx.draw(entity, purpose, run).below(most - least + 1))
        }
    }
}

/// How long the `preStop` hook of a container runs.
pub(super) fn pre_stop(worker: &Worker, i: usize, cx: &Context<'_>) -> SimDuration {
    let said = worker.behaviour(i).probing.as_deref().and_then(|p| p.pre_stop_ns);
    span(worker, i, (worker.container(i).pre_stop, said, Purpose("pre-stop")), cx)
}

/// A container has been started: true if its hook keeps the worker now.
pub(super) fn begin(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) -> bool {
    let Some(worker) = node.workers.get_mut(id) else { return false };
    let hook = worker.container(i).post_start;
    if hook.is_none() {
        return false;
    }
    let said = worker.behaviour(i).probing.as_deref().and_then(|p| p.post_start_ns);
    let span = span(worker, i, (hook, said, Purpose("post-start")), cx);
    worker.rare_mut().hooked = Some(Hooked { container: i, listed: false });
    let (run, container) = (worker.runs[i].run, u16::try_from(i).unwrap_or(u16::MAX));
    trace(node, id, "postStart hook", cx);
    node.schedule(span, NodeEvent::PostStarted { pod: id, container, run }, cx);
    true
}

/// True while a hook keeps the worker: the list is looked at when it is done.
pub(super) fn busy(worker: &mut Worker) -> bool {
    let Some(hooked) = worker.rare.as_deref_mut().and_then(|r| r.hooked.as_mut()) else {
        return false;
    };
    hooked.listed = true;
    true
}

/// The pod ends: nobody waits for the hook any more.
pub(super) fn give_up(worker: &mut Worker) {
    if let Some(rare) = worker.rare.as_deref_mut() {
        rare.hooked = None;
    }
}

/// The hook of this container under way, if it is.
fn under_way(node: &NodeAgent, id: u32, i: usize) -> Option<Hooked> {
    node.workers.get(id)?.rare()?.hooked.filter(|h| h.container == i)
}

/// The hook is done, or has failed.
pub(super) fn ended(
    node: &mut NodeAgent,
    id: u32,
    (i, number): (usize, u16),
    cx: &mut Context<'_>,
) {
    if under_way(node, id, i).is_none() {
        return;
    }
    let Some(worker) = node.workers.get(id) else { return };
    let run = &worker.runs[i];
    let fails = worker.behaviour(i).probing.as_deref().is_some_and(|p| p.post_start_fails);
    if run.run == number && run.running() && fails {
        let grace = SimDuration::from_secs(u64::from(worker.spec.grace_s));
        event(node, id, &FAILED_POST_START, Text::Plain(HOOK_FAILED.sym()), cx);
        event(node, id, &KILLING, Text::Plain(FAILED_POST_START.sym()), cx);
        trace(node, id, "the postStart hook has failed: the container is told to stop", cx);
        return kill(node, id, i, grace, cx);
    }
    release(node, id, i, cx);
}

/// A container has stopped: where its hook had failed, the worker goes on.
pub(super) fn killed(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) {
    if under_way(node, id, i).is_some() {
        release(node, id, i, cx);
    }
}

/// The worker goes on, with the list that has come by meanwhile.
fn release(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) {
    let Some(hooked) = under_way(node, id, i) else { return };
    if let Some(worker) = node.workers.get_mut(id) {
        give_up(worker);
    }
    go_on(node, id, i, cx);
    if hooked.listed {
        list(node, id, cx);
    }
}
