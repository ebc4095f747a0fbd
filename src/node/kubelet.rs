//! The kubelet's sync of a pod, as a state machine over the runtime's answers.
//!
//! Start: volumes mounted → `RunPodSandbox` (CNI within) → per container in order: image, create
//! and start → PLEG sees it at its next 1 s list → status patch. Deletion: SIGTERM, grace, SIGKILL
//! → status patch → PLEG → last status patch → DELETE with grace 0. Sources: behaviour reference
//! §4.2–4.8.

use super::pulls::Ensured;
use super::runs::Runs;
use super::runtime::{Exit, RunState};
use super::worker::{Stage, Worker};
use super::{
    NodeAgent, admission, cni, configs, critical, ending, hooks, logs, memory, mounts, pressure,
    probes, pulls, restarts, shutdown, statics, status, work,
};
use crate::api::Pod;
use crate::api::kevent::{KEvent, Source, Text};
use crate::api::request::{Op, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, Name};
use crate::engine::digest::mix;
use crate::engine::intern::Known;
use crate::engine::{Grid, Purpose, SimDuration, Sym};
use crate::event::{Context, NodeEvent, What};
use std::sync::Arc;

static CREATED: Known = Known::new("Created");
static STARTED: Known = Known::new("Started");
pub(super) static KILLING: Known = Known::new("Killing");

/// Reasons of type Warning.
static WARNINGS: [&Known; 9] = [
    &cni::FAILED_SANDBOX,
    &cni::NETWORK_NOT_READY,
    &restarts::BACK_OFF,
    &probes::UNHEALTHY,
    &hooks::FAILED_POST_START,
    &pressure::EVICTED,
    &mounts::FAILED_MOUNT,
    &pulls::FAILED,
    &pulls::NEVER,
];

/// Token of the answer to a pod's last status patch.
pub(super) const FINAL_PATCH: u32 = 1 << 31;
/// Token of the answer to the first status of a Node that the kubelet has made.
pub(super) const FIRST_STATUS: u32 = FINAL_PATCH - 1;

/// A pod of this node was added, changed or removed.
pub(super) fn on_pod(node: &mut NodeAgent, change: &Change, pod: &Arc<Pod>, cx: &mut Context<'_>) {
    if statics::on_pod(node, change, pod, cx) {
        return;
    }
    let known = node.workers.find(change.object);
    if change.deleted {
        // A pod force-deleted from the store: its containers are killed without ado.
        if let Some(id) = known {
            mounts::release(node, id, cx);
            node.workers.remove(id);
            work::changed(node, cx);
            cx.touch(pod.meta.uid);
            pressure::changed(node, cx);
            critical::freed(node, cx);
        }
        node.refused.retain(|o| *o != change.object);
        node.urgent.retain(|u| u.object != change.object);
        return;
    }
    if pod.meta.deletion.is_some() {
        node.urgent.retain(|u| u.object != change.object);
    }
    match (known, pod.meta.deletion) {
        (None, None) if !pod.terminal() => check_in(node, change.object, pod, cx),
        (None, Some(_)) if !pod.terminal() => {
            // Deleted while the kubelet was away: nothing runs, only the end is to be told.
            admit(node, change.object, pod, cx);
            if let Some(id) = node.workers.find(change.object) {
                ending::stop(node, id, 0, cx);
            }
        }
        (None, Some(_)) => {
            delete_object(node, (change.object, pod.meta.ns, pod.meta.name, pod.meta.uid), cx);
        }
        (None, None) => {}
        (Some(id), Some(deletion)) => ending::stop(node, id, deletion.grace_s, cx),
        (Some(id), None) => notice(node, id, pod, cx),
    }
}

/// Somebody else has written a status that is not the kubelet's (a node controller that was late,
/// say): it is put right with the status manager's next look (source: `status_manager.go`
/// `syncBatch` every 10 s, `needsReconcile`).
fn notice(node: &mut NodeAgent, id: u32, pod: &Pod, cx: &mut Context<'_>) {
    const LOOKS: SimDuration = SimDuration::from_secs(10);
    let entity = node.setup.name.stable_hash();
    let Some(worker) = node.workers.get_mut(id) else { return };
    let differs = worker.stage == Stage::Up && status::ready(worker) != pod.ready();
    if differs {
        let armed = std::mem::replace(&mut worker.rare_mut().differs, true);
        if !armed {
            let grid = Grid::drawn(cx.draws(), entity, Purpose("status-sync"), LOOKS);
            let wait = grid.after(cx.now()).since(cx.now());
            node.schedule(wait, NodeEvent::Reconcile { pod: id }, cx);
        }
    } else if let Some(rare) = &mut worker.rare {
        rare.differs = false;
    }
}

fn reconcile(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let up = node.kubelet_up;
    let Some(worker) = node.workers.get_mut(id) else { return };
    // What is about to be told anyway needs no second telling.
    let quiet = up && worker.stage == Stage::Up && !worker.dirty;
    let Some(rare) = &mut worker.rare else { return };
    if std::mem::take(&mut rare.differs) && quiet {
        report(node, id, None, cx);
    }
}

/// Takes a pod in, or refuses it; whom it has refused, it does not look at again.
pub(super) fn check_in(node: &mut NodeAgent, object: ObjRef, pod: &Arc<Pod>, cx: &mut Context<'_>) {
    if node.refused.contains(&object) || node.urgent.iter().any(|u| u.object == object) {
        return;
    }
    match admission::refuses(node, pod, cx) {
        Some(refusal) => {
            if admission::wants_room(node, pod, cx) && critical::make_room(node, object, pod, cx) {
                return;
            }
            node.refused.push(object);
            admission::refuse(node, object, pod, &refusal, cx);
        }
        None => admit(node, object, pod, cx),
    }
}

/// Takes a pod in: first status, volumes.
pub(super) fn admit(node: &mut NodeAgent, object: ObjRef, pod: &Arc<Pod>, cx: &mut Context<'_>) {
    let restarted = !pod.status.start.is_none();
    let n = pod.spec.init_containers.len() + pod.spec.containers.len();
    let mut runs = Runs::new(n);
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
        final_patch: false,
        rare: None,
    };
    let id = node.workers.insert(worker);
    memory::meter(node, id, pod);
    cni::admitted(node, id, pod);
    trace(node, id, "kubelet admits the pod", cx);
    report(node, id, None, cx);
    ending::arm_deadline(node, id, cx);
    if !cni::lacks_network(node, id, cx) {
        volumes(node, id, cx);
    }
    mounts::begin(node, id, cx);
}

/// The pod waits for its volumes.
pub(super) fn volumes(node: &NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let entity = worker.name.stable_hash();
    let mount = node.setup.latencies.mount.of(entity, 0, cx.draws());
    let mount = mount.times(u64::from(node.slow));
    node.schedule(mount, NodeEvent::Mounted { pod: id }, cx);
}

/// An event of this node.
pub(super) fn handle(node: &mut NodeAgent, event: NodeEvent, cx: &mut Context<'_>) {
    match event {
        // The first and the last are the cluster's business.
        NodeEvent::Register
        | NodeEvent::ReportStatus
        | NodeEvent::RenewLease
        | NodeEvent::PowerOff => {}
        NodeEvent::ShutdownPart { critical } => shutdown::part_over(node, critical, cx),
        NodeEvent::Mounted { pod } => mounted(node, pod, cx),
        NodeEvent::Volume { pod, volume, mounted: false } => mounts::attempt(node, pod, volume, cx),
        NodeEvent::Volume { pod, volume, mounted: true } => mounts::done(node, pod, volume, cx),
        NodeEvent::Refreshed { pod, volume } => configs::refreshed(node, pod, volume, cx),
        NodeEvent::VolumesLate { pod } => mounts::late(node, pod, cx),
        NodeEvent::Unmounted { disk } => mounts::unmounted(node, disk, cx),
        NodeEvent::SandboxReady { pod } => sandbox_ready(node, pod, cx),
        NodeEvent::ImageReady { pod, container } => pulls::over_with(node, pod, container, cx),
        NodeEvent::ContainerStarted { pod } => container_started(node, pod, cx),
        NodeEvent::ContainerExited { pod, container, run } => {
            exited(node, pod, container as usize, run, cx);
        }
        NodeEvent::ContainerStopped { pod, container, run, killed } => {
            ending::stopped(node, pod, (container as usize, run), killed, cx);
        }
        NodeEvent::PostStarted { pod, container, run } => {
            hooks::ended(node, pod, (container as usize, run), cx);
        }
        NodeEvent::Deadline { pod } => ending::deadline_passed(node, pod, cx),
        NodeEvent::OutOfMemory { pod, container, run } => {
            memory::exceeded(node, pod, (container as usize, run), cx);
        }
        NodeEvent::Worked { armed } => work::worked(node, armed, cx),
        NodeEvent::NoMemoryLeft => memory::none_left(node, cx),
        NodeEvent::Pressure => pressure::look(node, cx),
        NodeEvent::ImageGc => pressure::gc(node, cx),
        NodeEvent::LogBuffer => logs::turned(node, cx),
        NodeEvent::TellStatus => node.tell_status(cx),
        NodeEvent::Relist => relist(node, cx),
        NodeEvent::Reconcile { pod } => reconcile(node, pod, cx),
        NodeEvent::Probe { which, pod, container, run, extra } => {
            probes::probed(node, pod, (container as usize, run), (which, extra), cx);
        }
        NodeEvent::Sync { pod } => {
            if !cni::wake(node, pod, cx) {
                restarts::wake(node, pod, cx);
            }
        }
        NodeEvent::LookAtNetwork => cni::look(node, cx),
        NodeEvent::ContainerRestarted { pod, container, run } => {
            restarts::restarted(node, pod, (container as usize, run), cx);
        }
    }
}

pub(super) fn mounted(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = stage_is(node, id, Stage::Mounting) else { return };
    if mounts::wanting(worker) || cni::held(worker) != cni::Held::No {
        return;
    }
    worker.stage = Stage::Sandbox;
    worker.probes_from(cx.now());
    trace(node, id, "volumes mounted, RunPodSandbox", cx);
    run_sandbox(node, id, cx);
}

/// `RunPodSandbox`, with `CNI ADD` for a pod that has a network of its own.
pub(super) fn run_sandbox(node: &NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let entity = worker.name.stable_hash();
    let attempt = worker.rare().map_or(0, |r| u64::from(r.sandboxes));
    let latencies = &node.setup.latencies;
    let mut span = latencies.sandbox.of(entity, attempt, cx.draws());
    if let Some(network) = latencies.network.as_ref().filter(|_| !worker.spec.host_network) {
        span = span + network.of(entity, attempt, cx.draws());
    }
    let span = span.times(u64::from(node.slow));
    node.schedule(span, NodeEvent::SandboxReady { pod: id }, cx);
}

fn sandbox_ready(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    if stage_is(node, id, Stage::Sandbox).is_none() {
        return;
    }
    let Some(ip) = cni::add(node, id) else { return cni::exhausted(node, id, cx) };
    let Some(worker) = stage_is(node, id, Stage::Sandbox) else { return };
    worker.ip = ip;
    worker.stage = Stage::Starting(0);
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
        return cni::came_up(node, id, cx);
    }
    let i = usize::from(i);
    match pulls::ensure(node, id, i, cx) {
        Ensured::There => create(node, id, cx),
        Ensured::Asked => {}
        Ensured::Refused => pulls::gone_without(node, id, i, cx),
    }
}

/// How long `CreateContainer` and `StartContainer` take.
pub(super) fn start_span(node: &NodeAgent, id: u32, i: usize, cx: &Context<'_>) -> SimDuration {
    let Some(worker) = node.workers.get(id) else { return SimDuration::ZERO };
    let entity = mix(worker.name.stable_hash(), i as u64);
    let ordinal = u64::from(worker.runs[i].run);
    let span = node.setup.latencies.container.of(entity, ordinal, cx.draws());
    span.times(u64::from(node.slow))
}

/// `CreateContainer` and `StartContainer`.
pub(super) fn create(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let Stage::Starting(i) = worker.stage else { return };
    if configs::lacks(node, id, usize::from(i), cx) {
        return;
    }
    let span = start_span(node, id, usize::from(i), cx);
    trace(node, id, "CreateContainer, StartContainer", cx);
    node.schedule(span, NodeEvent::ContainerStarted { pod: id }, cx);
}

fn container_started(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let Stage::Starting(i) = worker.stage else { return };
    let i = usize::from(i);
    run_container(node, id, i, cx);
    if !hooks::begin(node, id, i, cx) {
        go_on(node, id, i, cx);
    }
}

/// A container has been started: the next one's turn, unless this one is an init container, which
/// must end, or a sidecar, which must be seen to run and pass its startup probe.
pub(super) fn go_on(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    if i >= worker.n_init() && worker.starting(i) {
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
    let name = worker.container(i).name;
    let ends = worker.spec.exit_of(i);
    let run = &mut worker.runs[i];
    if let RunState::Exited(s, f, code) = run.state() {
        run.set_last((s, f, code));
    }
    run.set_state(RunState::Running(now));
    run.waiting = false;
    run.starting = false;
    run.set_due(None);
    run.run += 1;
    run.started = false;
    run.ready = false;
    run.seen = false;
    run.unhealthy = false;
    run.set_streaks([0; 3]);
    let number = run.run;
    worker.dirty = true;
    if let Some(rare) = &mut worker.rare {
        rare.quits = None;
    }
    event(node, id, &CREATED, Text::Created(name), cx);
    event(node, id, &STARTED, Text::Started(name), cx);
    trace(node, id, "container runs", cx);
    let index = u16::try_from(i).unwrap_or(u16::MAX);
    if let Some((after, _)) = ends {
        let gone = NodeEvent::ContainerExited { pod: id, container: index, run: number };
        node.schedule(SimDuration(after), gone, cx);
    }
    probes::begin(node, id, i);
    node.arm_relist(cx);
    work::begin(node, id, i, cx);
    if node.metered {
        memory::arm(node, id, i, cx);
        pressure::changed(node, cx);
    }
}

/// A container ends by itself.
pub(super) fn exited(node: &mut NodeAgent, id: u32, i: usize, run: u16, cx: &mut Context<'_>) {
    let now = cx.now();
    let Some(worker) = node.workers.get_mut(id) else { return };
    let code = worker.spec.exit_code_of(i);
    let Some(state) = worker.runs.get_mut(i).filter(|r| r.run == run) else { return };
    let RunState::Running(since) = state.state() else { return };
    state.set_state(RunState::Exited(since, now, Exit::Code(code)));
    state.ready = false;
    worker.dirty = true;
    trace(node, id, "container exits", cx);
    ending::one_less(node, id, cx);
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
pub(super) fn list(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    if worker.stage == Stage::Stopped {
        worker.final_patch = true;
        report(node, id, Some(id | FINAL_PATCH), cx);
        return;
    }
    if matches!(worker.stage, Stage::Ending | Stage::Finished) {
        return ending::finish(node, id, cx);
    }
    if hooks::busy(worker) {
        return;
    }
    restarts::show(worker);
    pulls::show(worker);
    report(node, id, None, cx);
    probes::seen(node, id, cx);
    restarts::ended(node, id, cx);
    pulls::again(node, id, cx);
    ending::if_terminal(node, id, cx);
}

/// The answer to the last status patch: now the pod may go.
pub(super) fn on_answer(node: &mut NodeAgent, token: u32, outcome: &Outcome, cx: &mut Context<'_>) {
    if token == FIRST_STATUS {
        if outcome.is_err() {
            node.look_at_status(cx);
        }
        return;
    }
    if mounts::asked(token) {
        return mounts::answered(node, token, Some(outcome), cx);
    }
    if token & FINAL_PATCH != 0 {
        delete_pod(node, token & !FINAL_PATCH, cx);
    }
}

/// The answer to a last status patch was lost: it is sent again.
pub(super) fn unanswered(node: &mut NodeAgent, token: u32, cx: &mut Context<'_>) {
    if mounts::asked(token) {
        return mounts::answered(node, token, None, cx);
    }
    if token & FINAL_PATCH != 0 {
        report(node, token & !FINAL_PATCH, Some(token), cx);
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
    if statics::unmirrored(object) {
        return;
    }
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
    let warning = WARNINGS.iter().any(|w| std::ptr::eq(*w, reason));
    let about = (Kind::Pod, worker.ns, worker.name, worker.uid);
    let source = Source::Kubelet(node.setup.name);
    let event = KEvent::new(about, (warning, reason.sym(), text), source, cx.stamp());
    let (ns, name) = (worker.ns, worker.name);
    let op = if worker.repeats() {
        let correlator = node.correlator.get_or_insert_default();
        let Some(op) = correlator.correlate(&event, cx.now()) else { return };
        op
    } else {
        Op::CreateEvent(Arc::new(event), 0)
    };
    node.submit(Kind::Event, ns, name, None, op, None, cx);
}

/// Records a step on a pod, which becomes the cause of the pod's next report.
pub(super) fn trace(node: &mut NodeAgent, id: u32, step: &'static str, cx: &mut Context<'_>) {
    let (name, pod) = (node.setup.name, node.workers.get(id).map(|w| w.object));
    let hop = cx.trace(|| What::Node { node: name, step, pod: pod.unwrap_or_default() });
    if let Some(worker) = node.workers.get_mut(id) {
        worker.cause = hop;
        cx.touch(worker.uid);
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
    mounts::resume(node, cx);
    cni::resume(node, cx);
    statics::start(node, cx);
    pressure::forget(node, cx);
    logs::changed(node, cx);
    node.arm_relist(cx);
}
