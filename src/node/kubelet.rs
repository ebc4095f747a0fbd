//! The kubelet's sync of a pod, as a state machine over the runtime's answers.
//!
//! Start: volumes mounted → `RunPodSandbox` (CNI within) → per container in order: image, create
//! and start → PLEG sees it at its next 1 s list → status patch. Deletion: SIGTERM, grace, SIGKILL
//! → status patch → PLEG → last status patch → DELETE with grace 0. Sources: behaviour reference
//! §4.2–4.8.

use super::runtime::{Run, RunState};
use super::worker::{Stage, Worker};
use super::{NodeAgent, probes, restarts, status};
use crate::api::kevent::{KEvent, Source, Text};
use crate::api::pod::{Phase, Pod, PreStop, PullPolicy};
use crate::api::request::{Op, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, Name, Stamp};
use crate::engine::digest::mix;
use crate::engine::intern::Known;
use crate::engine::{Purpose, SimDuration, SimTime, Sym, num};
use crate::event::{Context, NodeEvent, What};
use smallvec::SmallVec;
use std::sync::Arc;

static PULLED: Known = Known::new("Pulled");
static PULLING: Known = Known::new("Pulling");
static CREATED: Known = Known::new("Created");
static STARTED: Known = Known::new("Started");
pub(super) static KILLING: Known = Known::new("Killing");

/// Token of the answer to a pod's last status patch.
const FINAL_PATCH: u32 = 1 << 31;

/// A pod of this node was added, changed or removed.
pub(super) fn on_pod(node: &mut NodeAgent, change: &Change, pod: &Arc<Pod>, cx: &mut Context<'_>) {
    let known = node.workers.find(change.object);
    if change.deleted {
        // A pod force-deleted from the store: its containers are killed without ado.
        if let Some(id) = known {
            node.workers.remove(id);
        }
        return;
    }
    match (known, pod.meta.deletion) {
        (None, None) if !pod.terminal() => admit(node, change.object, pod, cx),
        (None, Some(_)) if !pod.terminal() => {
            // Deleted while the kubelet was away: nothing runs, only the end is to be told.
            admit(node, change.object, pod, cx);
            if let Some(id) = node.workers.find(change.object) {
                stop(node, id, 0, cx);
            }
        }
        (None, Some(_)) => {
            delete_object(node, (change.object, pod.meta.ns, pod.meta.name, pod.meta.uid), cx);
        }
        (None, None) => {}
        (Some(id), Some(deletion)) => stop(node, id, deletion.grace_s, cx),
        (Some(_), None) => {}
    }
}

/// Takes a pod in: first status, volumes.
fn admit(node: &mut NodeAgent, object: ObjRef, pod: &Arc<Pod>, cx: &mut Context<'_>) {
    let restarted = !pod.status.start.is_none();
    let n = pod.spec.init_containers.len() + pod.spec.containers.len();
    let mut runs: SmallVec<[Run; 1]> = smallvec::smallvec![Run::default(); n];
    if restarted {
        // The machine was away: every container starts again in a new sandbox.
        for (run, old) in runs
            .iter_mut()
            .zip(pod.status.init_containers.iter().chain(pod.status.containers.iter()))
        {
            run.restarts = old.restarts + u32::from(old.started);
            run.run = u16::from(old.started);
        }
    }
    let worker = Worker {
        object,
        ns: pod.meta.ns,
        name: pod.meta.name,
        uid: pod.meta.uid,
        spec: Arc::clone(&pod.spec),
        stage: Stage::Mounting,
        runs,
        ip: 0,
        start: if restarted { pod.status.start } else { cx.stamp() },
        dirty: false,
        cause: cx.seq(),
        deadline: SimTime::MAX,
        wake: SimTime::MAX,
        probing: SimTime::ZERO,
        final_patch: false,
    };
    let entity = worker.name.stable_hash();
    let id = node.workers.insert(worker);
    trace(node, id, "kubelet admits the pod", cx);
    report(node, id, None, cx);
    let mount = node.setup.latencies.mount.of(entity, 0, cx.draws());
    node.schedule(mount, NodeEvent::Mounted { pod: id }, cx);
}

/// An event of this node.
pub(super) fn handle(node: &mut NodeAgent, event: NodeEvent, cx: &mut Context<'_>) {
    match event {
        NodeEvent::Register | NodeEvent::ReportStatus | NodeEvent::RenewLease => {}
        NodeEvent::Mounted { pod } => mounted(node, pod, cx),
        NodeEvent::SandboxReady { pod } => sandbox_ready(node, pod, cx),
        NodeEvent::ImageReady { pod } => image_ready(node, pod, cx),
        NodeEvent::ContainerStarted { pod } => container_started(node, pod, cx),
        NodeEvent::ContainerExited { pod, container, run } => {
            exited(node, pod, container as usize, run, cx);
        }
        NodeEvent::ContainerStopped { pod, container, run, killed } => {
            stopped(node, pod, (container as usize, run), killed, cx);
        }
        NodeEvent::Relist => relist(node, cx),
        NodeEvent::Probe { which, pod, container, run, extra } => {
            probes::probed(node, pod, (container as usize, run), (which, extra), cx);
        }
        NodeEvent::Sync { pod } => restarts::wake(node, pod, cx),
        NodeEvent::ContainerRestarted { pod, container, run } => {
            restarts::restarted(node, pod, (container as usize, run), cx);
        }
    }
}

fn mounted(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = stage_is(node, id, Stage::Mounting) else { return };
    worker.stage = Stage::Sandbox;
    worker.probing = cx.now();
    let entity = worker.name.stable_hash();
    trace(node, id, "volumes mounted, RunPodSandbox", cx);
    let span = node.setup.latencies.sandbox.of(entity, 0, cx.draws());
    node.schedule(span, NodeEvent::SandboxReady { pod: id }, cx);
}

fn sandbox_ready(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let ip = node.next_ip;
    let Some(worker) = stage_is(node, id, Stage::Sandbox) else { return };
    worker.ip = ip;
    worker.stage = Stage::Starting(0);
    // 253 addresses of the node's /24, in turn.
    node.next_ip = ip & !0xff | (((ip & 0xff) - 2 + 1) % 253 + 2);
    trace(node, id, "sandbox and network ready (CNI)", cx);
    next_container(node, id, cx);
}

/// Goes on with the container whose turn it is: its image first.
fn next_container(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let Stage::Starting(i) = worker.stage else { return };
    if usize::from(i) >= worker.runs.len() {
        if let Some(worker) = node.workers.get_mut(id) {
            worker.stage = Stage::Up;
        }
        return;
    }
    let container = worker.container(usize::from(i));
    let (image, pull) = (container.image, container.pull);
    if node.images.has(image) || pull == PullPolicy::Never {
        event(node, id, &PULLED, Text::ImagePresent(image), cx);
        create(node, id, cx);
        return;
    }
    event(node, id, &PULLING, Text::Pulling(image), cx);
    let at = node.images.pull(cx.now(), pull_time(node));
    node.schedule(at.since(cx.now()), NodeEvent::ImageReady { pod: id }, cx);
}

/// How long the pull of an image nobody describes takes at the node's bandwidth.
fn pull_time(node: &NodeAgent) -> SimDuration {
    let latencies = &node.setup.latencies;
    let bytes = num::float_u(latencies.image_bytes);
    SimDuration::from_secs_f64(bytes / num::float_u(latencies.pull_bytes_per_s.max(1)))
}

fn image_ready(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let Stage::Starting(i) = worker.stage else { return };
    let image = worker.container(usize::from(i)).image;
    node.images.add(image);
    let ms = u32::try_from(pull_time(node).as_millis()).unwrap_or(u32::MAX);
    event(node, id, &PULLED, Text::Pulled(image, ms), cx);
    create(node, id, cx);
}

/// How long `CreateContainer` and `StartContainer` take.
pub(super) fn start_span(node: &NodeAgent, id: u32, i: usize, cx: &Context<'_>) -> SimDuration {
    let Some(worker) = node.workers.get(id) else { return SimDuration::ZERO };
    let entity = mix(worker.name.stable_hash(), i as u64);
    let ordinal = u64::from(worker.runs[i].run);
    node.setup.latencies.container.of(entity, ordinal, cx.draws())
}

/// `CreateContainer` and `StartContainer`.
fn create(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let Stage::Starting(i) = worker.stage else { return };
    let span = start_span(node, id, usize::from(i), cx);
    trace(node, id, "CreateContainer, StartContainer", cx);
    node.schedule(span, NodeEvent::ContainerStarted { pod: id }, cx);
}

fn container_started(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let Stage::Starting(i) = worker.stage else { return };
    let i = usize::from(i);
    run_container(node, id, i, cx);
    let Some(worker) = node.workers.get_mut(id) else { return };
    // A plain init container must end before the next one starts.
    let waits = i < worker.n_init() && !worker.container(i).sidecar;
    if !waits {
        advance(node, id, cx);
    }
}

/// The next container's turn.
pub(super) fn advance(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    if let Stage::Starting(i) = worker.stage {
        worker.stage = Stage::Starting(i + 1);
        next_container(node, id, cx);
    }
}

/// A container runs from now on: its own end and its probes are known.
pub(super) fn run_container(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) {
    let now = cx.now();
    let Some(worker) = node.workers.get_mut(id) else { return };
    let init = i < worker.n_init();
    let (name, sidecar) = (worker.container(i).name, worker.container(i).sidecar);
    let exits = worker.spec.behaviour.exit_after_ns;
    let run = &mut worker.runs[i];
    if let RunState::Exited(s, f, code) = run.state {
        run.last = Some((s, f, code));
    }
    run.state = RunState::Running(now);
    run.waiting = false;
    run.starting = false;
    run.due = None;
    run.run += 1;
    run.started = false;
    run.ready = false;
    run.seen = false;
    run.unhealthy = false;
    run.streaks = [0; 3];
    let number = run.run;
    worker.dirty = true;
    event(node, id, &CREATED, Text::Created(name), cx);
    event(node, id, &STARTED, Text::Started(name), cx);
    trace(node, id, "container runs", cx);
    let index = u16::try_from(i).unwrap_or(u16::MAX);
    // A plain init container of a modelled pod does its work in no time unless told otherwise.
    let ends = if init && !sidecar { Some(0) } else { exits };
    if let Some(after) = ends {
        let gone = NodeEvent::ContainerExited { pod: id, container: index, run: number };
        node.schedule(SimDuration(after), gone, cx);
    }
    probes::begin(node, id, i);
    node.arm_relist(cx);
}

/// A container ends by itself.
fn exited(node: &mut NodeAgent, id: u32, i: usize, run: u16, cx: &mut Context<'_>) {
    let now = cx.now();
    let Some(worker) = node.workers.get_mut(id) else { return };
    let init = i < worker.n_init();
    let code = if init { 0 } else { worker.spec.behaviour.exit_code };
    let Some(state) = worker.runs.get_mut(i).filter(|r| r.run == run) else { return };
    let RunState::Running(since) = state.state else { return };
    state.state = RunState::Exited(since, now, code);
    state.ready = false;
    worker.dirty = true;
    trace(node, id, "container exits", cx);
    node.arm_relist(cx);
}

/// PLEG: what has changed since the last list is acted upon and reported.
fn relist(node: &mut NodeAgent, cx: &mut Context<'_>) {
    node.relist_armed = false;
    if !node.kubelet_up {
        return;
    }
    for id in node.workers.dirty() {
        let Some(worker) = node.workers.get_mut(id) else { continue };
        worker.dirty = false;
        // One list serves all pods of the node: each report has its own pod's step as its cause.
        let cause = worker.cause;
        cx.at_hop(cause, |cx| list(node, id, cx));
    }
}

/// What the list shows of one pod.
fn list(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    if worker.stage == Stage::Stopped {
        worker.final_patch = true;
        report(node, id, Some(id | FINAL_PATCH), cx);
        return;
    }
    if matches!(worker.stage, Stage::Ending | Stage::Finished) {
        return finish(node, id, cx);
    }
    restarts::show(worker);
    report(node, id, None, cx);
    probes::seen(node, id, cx);
    restarts::ended(node, id, cx);
    end_if_terminal(node, id, cx);
}

/// A pod whose containers have ended by themselves: that is told at once, but its phase only a list
/// later, when the pod has been stopped, and its address another list later, when it has been
/// cleaned up (source: `kubelet.go` `SyncTerminatingPod`, `SyncTerminatedPod`; recorded in
/// `timelines/04`).
fn end_if_terminal(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    let over = matches!(status::outcome(worker), Phase::Succeeded | Phase::Failed);
    if over && !matches!(worker.stage, Stage::Stopping | Stage::Stopped | Stage::Ended) {
        worker.stage = Stage::Ending;
        worker.dirty = true;
        node.arm_relist(cx);
    }
}

/// The next step to the end. A pod that is to go stays until its end has been told.
fn finish(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    if worker.stage == Stage::Ending {
        worker.stage = Stage::Finished;
        worker.dirty = true;
        report(node, id, None, cx);
        node.arm_relist(cx);
        return;
    }
    worker.stage = Stage::Ended;
    if worker.deadline == SimTime::MAX {
        report(node, id, None, cx);
    } else {
        worker.stage = Stage::Stopped;
        report(node, id, Some(id | FINAL_PATCH), cx);
    }
}

/// The pod is to go: its containers are told to stop.
fn stop(node: &mut NodeAgent, id: u32, grace_s: u32, cx: &mut Context<'_>) {
    let now = cx.now();
    let Some(worker) = node.workers.get_mut(id) else { return };
    let deadline = now + SimDuration::from_secs(u64::from(grace_s.max(1)));
    match worker.stage {
        Stage::Stopped => return,
        Stage::Stopping if deadline >= worker.deadline => return,
        Stage::Ending | Stage::Finished => {
            worker.deadline = deadline;
            return;
        }
        // The API server lets an ended pod go by itself.
        Stage::Ended => return,
        Stage::Stopping | Stage::Mounting | Stage::Sandbox | Stage::Starting(_) | Stage::Up => {}
    }
    if worker.runs.iter().any(|r| r.waiting) {
        // Nothing is waited for any more: that is told before the end is.
        for run in &mut worker.runs {
            (run.waiting, run.due) = (false, None);
        }
        report(node, id, None, cx);
    }
    let Some(worker) = node.workers.get_mut(id) else { return };
    worker.stage = Stage::Stopping;
    worker.deadline = deadline;
    let running: SmallVec<[usize; 2]> =
        (0..worker.runs.len()).filter(|&i| worker.runs[i].running()).collect();
    for &i in &running {
        let Some(worker) = node.workers.get(id) else { return };
        let name = worker.container(i).name;
        event(node, id, &KILLING, Text::Stopping(name), cx);
        kill(node, id, i, deadline.since(now), cx);
    }
    if running.is_empty() {
        all_stopped(node, id, cx);
    }
}

/// The container is told to stop: its hook runs within the grace, then SIGTERM; what is left of
/// the grace (two seconds at least) it has to end by itself. Source: `kuberuntime_container.go`
/// `killContainer`.
pub(super) fn kill(node: &NodeAgent, id: u32, i: usize, grace: SimDuration, cx: &mut Context<'_>) {
    const LEAST: SimDuration = SimDuration::from_secs(2);
    let Some(worker) = node.workers.get(id) else { return };
    let hook = pre_stop(worker, i, cx).min(grace);
    let left = SimDuration(grace.0 - hook.0).max(LEAST);
    let needs = SimDuration(worker.spec.behaviour.stop_after_ns);
    let (run, container) = (worker.runs[i].run, u16::try_from(i).unwrap_or(u16::MAX));
    let killed = needs >= left;
    let stopped = NodeEvent::ContainerStopped { pod: id, container, run, killed };
    node.schedule(hook + needs.min(left), stopped, cx);
}

/// How long the `preStop` hook of a container runs. Nobody says how long a command takes: a tenth
/// to a half of a second unless the scenario does.
fn pre_stop(worker: &Worker, i: usize, cx: &Context<'_>) -> SimDuration {
    let probing = worker.spec.behaviour.probing.as_deref();
    match worker.container(i).pre_stop {
        None => SimDuration::ZERO,
        Some(PreStop::Sleep(seconds)) => SimDuration::from_secs(u64::from(seconds)),
        Some(PreStop::Hook) => {
            let default = (100_000_000, 500_000_000);
            let (least, most) = probing.and_then(|p| p.pre_stop_ns).unwrap_or(default);
            let entity = mix(worker.name.stable_hash(), i as u64);
            let run = u64::from(worker.runs[i].run);
            SimDuration(least + cx.draw(entity, Purpose("pre-stop"), run).below(most - least + 1))
        }
    }
}

/// A container has stopped after it was told to: by itself in time, or killed at its deadline.
fn stopped(
    node: &mut NodeAgent,
    id: u32,
    (i, number): (usize, u16),
    killed: bool,
    cx: &mut Context<'_>,
) {
    let now = cx.now();
    let Some(worker) = node.workers.get_mut(id) else { return };
    let ends = worker.stage == Stage::Stopping;
    let Some(run) = worker.runs.get_mut(i).filter(|r| r.run == number) else { return };
    if !ends && !run.unhealthy {
        return;
    }
    if let RunState::Running(since) = run.state {
        run.state = RunState::Exited(since, now, if killed { 137 } else { 0 });
        run.ready = false;
        worker.dirty = true;
    }
    if !ends {
        trace(node, id, "container stopped by a failed probe", cx);
        node.arm_relist(cx);
    } else if !worker.runs.iter().any(Run::running) {
        all_stopped(node, id, cx);
    }
}

/// Every container has stopped: reported at once, and once more at the next list, before the
/// DELETE.
fn all_stopped(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    report(node, id, None, cx);
    if let Some(worker) = node.workers.get_mut(id) {
        worker.stage = Stage::Stopped;
        worker.dirty = true;
        worker.cause = cx.seq();
    }
    node.arm_relist(cx);
}

/// The answer to the last status patch: now the pod may go.
pub(super) fn on_answer(
    node: &mut NodeAgent,
    token: u32,
    _outcome: &Outcome,
    cx: &mut Context<'_>,
) {
    if token & FINAL_PATCH != 0 {
        delete_pod(node, token & !FINAL_PATCH, cx);
    }
}

/// DELETE with grace 0 and the pod's identity as precondition.
fn delete_pod(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let about = (worker.object, worker.ns, worker.name, worker.uid);
    delete_object(node, about, cx);
}

fn delete_object(
    node: &mut NodeAgent,
    (object, ns, name, uid): (ObjRef, Sym, Name, crate::api::Uid),
    cx: &mut Context<'_>,
) {
    let op = Op::Delete { grace_s: Some(0), propagation: None, uid: Some(uid) };
    node.submit(Kind::Pod, ns, name, Some(object), op, None, cx);
}

/// Patches the pod's status.
pub(super) fn report(node: &mut NodeAgent, id: u32, token: Option<u32>, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let (object, ns, name) = (worker.object, worker.ns, worker.name);
    let status = Box::new(status::of(worker, cx));
    node.submit(Kind::Pod, ns, name, Some(object), Op::PodStatus(status), token, cx);
}

/// Tells a pod's status as it is by now (source: `status_manager.go` `syncBatch`).
pub(super) fn tell_again(node: &mut NodeAgent, object: ObjRef, cx: &mut Context<'_>) {
    let Some(id) = node.workers.find(object) else { return };
    let last = node.workers.get(id).is_some_and(|w| w.final_patch);
    report(node, id, last.then_some(id | FINAL_PATCH), cx);
}

/// A Kubernetes Event about the pod.
pub(super) fn event(
    node: &mut NodeAgent,
    id: u32,
    reason: &'static Known,
    text: Text,
    cx: &mut Context<'_>,
) {
    let Some(worker) = node.workers.get(id) else { return };
    let stamp: Stamp = cx.stamp();
    let event = KEvent {
        ns: worker.ns,
        kind: Kind::Pod,
        warning: [restarts::BACK_OFF.sym(), probes::UNHEALTHY.sym()].contains(&reason.sym()),
        count: 1,
        name: worker.name,
        uid: worker.uid,
        reason: reason.sym(),
        text,
        source: Source::Kubelet(node.setup.name),
        first: stamp,
        last: stamp,
        key: 0,
    };
    let (ns, name) = (worker.ns, worker.name);
    let op = if worker.repeats() {
        let correlator = node.correlator.get_or_insert_default();
        let Some(op) = correlator.correlate(&event, cx.now()) else { return };
        op
    } else {
        Op::CreateEvent(Arc::new(event))
    };
    node.submit(Kind::Event, ns, name, None, op, None, cx);
}

/// Records a step on a pod, which becomes the cause of the pod's next report.
pub(super) fn trace(node: &mut NodeAgent, id: u32, step: &'static str, cx: &mut Context<'_>) {
    let (name, pod) = (node.setup.name, node.workers.get(id).map(|w| w.object));
    let hop = cx.trace(|| What::Node { node: name, step, pod: pod.unwrap_or_default() });
    if let Some(worker) = node.workers.get_mut(id) {
        worker.cause = hop;
    }
}

/// The worker, if it is at this stage.
fn stage_is(node: &mut NodeAgent, id: u32, stage: Stage) -> Option<&mut Worker> {
    node.workers.get_mut(id).filter(|w| w.stage == stage)
}

/// The kubelet has restarted on a machine that stayed up: everything is looked at again.
pub(super) fn resume(node: &mut NodeAgent, cx: &mut Context<'_>) {
    for id in node.workers.ids() {
        if let Some(worker) = node.workers.get_mut(id) {
            worker.dirty = true;
            worker.cause = cx.seq();
        }
    }
    node.arm_relist(cx);
}
