//! The pod status that a kubelet reports. Sources: `kubelet_pods.go` `getPhase`,
//! `status/generate.go`.

use super::ending::End;
use super::runtime::{Exit, RunState};
use super::worker::{Stage, Worker};
use crate::api::Stamp;
use crate::api::pod::{
    Condition, ConditionType, ContainerState, ContainerStatus, Phase, PodStatus, Truth,
};
use crate::engine::intern::Known;
use crate::engine::{SimTime, Sym};
use crate::event::Context;
use std::ops::Range;
use std::sync::Arc;

static COMPLETED: Known = Known::new("Completed");
static OOM_KILLED: Known = Known::new("OOMKilled");
/// What ends a container of which nothing is known (`status_manager.go` `TerminatePod`).
static UNKNOWN: Known = Known::new("ContainerStatusUnknown");
static ERROR: Known = Known::new("Error");
static INITIALIZING: Known = Known::new("PodInitializing");
static CREATING: Known = Known::new("ContainerCreating");
static CRASH_LOOP: Known = Known::new("CrashLoopBackOff");
static POD_COMPLETED: Known = Known::new("PodCompleted");
static POD_FAILED: Known = Known::new("PodFailed");
static NOT_READY: Known = Known::new("ContainersNotReady");
static NOT_INITIALIZED: Known = Known::new("ContainersNotInitialized");

/// The status of a pod as it is now.
pub(super) fn of(worker: &Worker, cx: &Context<'_>) -> PodStatus {
    let stamp = |t: SimTime| cx.stamp_of(t);
    let n_init = worker.n_init();
    // An empty list is a shared one; most pods have no init containers.
    let list = |range: Range<usize>| -> Arc<[ContainerStatus]> {
        if range.is_empty() {
            return Arc::default();
        }
        range.map(|i| container_status(worker, i, &stamp)).collect()
    };
    let phase = phase(worker);
    let shows_ip = !matches!(worker.stage, Stage::Mounting | Stage::Sandbox | Stage::Finished)
        && (worker.stage != Stage::Stopping || worker.runs.iter().any(|r| r.running()));
    let mut status = PodStatus {
        phase,
        start: worker.start,
        pod_ip: if shows_ip { worker.ip } else { 0 },
        init_containers: list(0..n_init),
        containers: list(n_init..worker.runs.len()),
        ..PodStatus::default()
    };
    conditions(worker, phase, &mut status, cx.stamp());
    if let Some(end) = worker.rare().and_then(|r| r.end) {
        ended(end, &mut status, cx.stamp());
    }
    status
}

fn container_status(
    worker: &Worker,
    i: usize,
    stamp: &impl Fn(SimTime) -> Stamp,
) -> ContainerStatus {
    let run = &worker.runs[i];
    let container = worker.container(i);
    let terminated = |(started, finished, exit): (SimTime, SimTime, Exit)| {
        let exit_code = exit.code();
        let reason = match exit {
            Exit::Code(0) => COMPLETED.sym(),
            Exit::Code(_) => ERROR.sym(),
            Exit::OutOfMemory => OOM_KILLED.sym(),
        };
        ContainerState::Terminated {
            exit_code,
            reason,
            started: stamp(started),
            finished: stamp(finished),
        }
    };
    let unknown = ContainerState::Terminated {
        exit_code: 137,
        reason: UNKNOWN.sym(),
        started: Stamp::NONE,
        finished: Stamp::NONE,
    };
    let wants = super::pulls::shown(worker, i);
    let waiting = |reason: &Known| ContainerState::Waiting { reason: reason.sym() };
    // Its pod got as far as its app containers: what never started ends as if it had failed.
    let lost = worker.stage == Stage::Stopped && i >= worker.n_init() && initialized(worker);
    let (state, last) = match run.state() {
        RunState::Created if lost => (unknown, run.last()),
        RunState::Created | RunState::Exited(..) if !wants.is_empty() => {
            let ended = match run.state() {
                RunState::Exited(s, f, exit) => Some((s, f, exit)),
                RunState::Created | RunState::Running(_) => run.last(),
            };
            (ContainerState::Waiting { reason: wants }, ended)
        }
        RunState::Created if i >= worker.n_init() && worker.n_init() > 0 => {
            (waiting(&INITIALIZING), run.last())
        }
        RunState::Created => (waiting(&CREATING), run.last()),
        RunState::Running(since) => (ContainerState::Running { started: stamp(since) }, run.last()),
        RunState::Exited(s, f, code) if run.waiting => (waiting(&CRASH_LOOP), Some((s, f, code))),
        RunState::Exited(s, f, code) => (terminated((s, f, code)), run.last()),
    };
    ContainerStatus {
        name: container.name,
        image: container.image,
        state,
        last: last.map(terminated),
        restarts: run.restarts,
        ready: run.ready && run.running(),
        started: run.started && run.running(),
    }
}

/// What is told of a pod that the kubelet ends: the condition at once, the reason with the phase.
fn ended(end: End, status: &mut PodStatus, transition: Stamp) {
    if status.phase == Phase::Failed {
        (status.reason, status.message) = (end.reason, end.message);
    }
    if let Some((reason, message)) = end.target {
        let kind = ConditionType::DisruptionTarget;
        let condition = Condition { kind, status: Truth::True, reason, message, transition };
        status.conditions.set(condition);
    }
}

/// Whether the init containers are done.
fn initialized(worker: &Worker) -> bool {
    worker.runs[..worker.n_init()].iter().enumerate().all(|(i, r)| {
        matches!(r.state(), RunState::Exited(_, _, Exit::Code(0)))
            || worker.container(i).sidecar && r.started
    })
}

/// Whether an app container has never been started.
fn unstarted(worker: &Worker) -> bool {
    let apps = &worker.runs[worker.n_init()..];
    apps.iter().any(|r| r.state() == RunState::Created && r.last().is_none() && r.run == 0)
}

/// The phase that is told: a pod that has ended by itself goes on running until it is stopped.
pub(super) fn phase(worker: &Worker) -> Phase {
    let outcome = outcome(worker);
    let told =
        matches!(worker.stage, Stage::Stopping | Stage::Stopped | Stage::Finished | Stage::Ended);
    if told || !matches!(outcome, Phase::Succeeded | Phase::Failed) {
        return outcome;
    }
    let ran = worker.runs[worker.n_init()..].iter().any(|r| r.run > 0);
    if ran { Phase::Running } else { Phase::Pending }
}

/// The phase by upstream's table (behaviour reference §4.7).
pub(super) fn outcome(worker: &Worker) -> Phase {
    if worker.rare().is_some_and(|r| r.end.is_some()) {
        return Phase::Failed;
    }
    let n_init = worker.n_init();
    let stopping = matches!(worker.stage, Stage::Stopping | Stage::Stopped);
    let (init, apps) = worker.runs.split_at(n_init);
    let policy = worker.spec.restart;
    for (i, run) in init.iter().enumerate() {
        let container = worker.container(i);
        if let RunState::Exited(_, _, exit) = run.state()
            && exit.code() != 0
            && !container.sidecar
            && !run.restarts(policy, container, exit.code(), true)
        {
            return Phase::Failed;
        }
    }
    let code = |state: RunState| {
        if let RunState::Exited(_, _, exit) = state { Some(exit.code()) } else { None }
    };
    let ended = apps.iter().all(|r| code(r.state()).is_some());
    let fine = apps.iter().all(|r| code(r.state()) == Some(0));
    if stopping {
        if apps.iter().any(super::runtime::Run::running) {
            return Phase::Running;
        }
        // What never started is waited for until the pod has been stopped.
        if unstarted(worker) && worker.stage == Stage::Stopping {
            return Phase::Pending;
        }
        return if fine { Phase::Succeeded } else { Phase::Failed };
    }
    if unstarted(worker) {
        return Phase::Pending;
    }
    let restartable = apps.iter().enumerate().any(|(i, r)| {
        code(r.state()).is_some_and(|c| r.restarts(policy, worker.container(n_init + i), c, false))
    });
    if !ended || restartable {
        Phase::Running
    } else if fine {
        Phase::Succeeded
    } else {
        Phase::Failed
    }
}

/// Whether condition Ready of a pod that is up is True.
pub(super) fn ready(worker: &Worker) -> bool {
    let up = |i: usize| worker.runs[i].ready && worker.runs[i].running();
    (worker.n_init()..worker.runs.len()).all(up) && worker.spec.readiness_gates.is_empty()
}

fn conditions(worker: &Worker, phase: Phase, status: &mut PodStatus, stamp: Stamp) {
    let n_init = worker.n_init();
    let stopping = matches!(worker.stage, Stage::Stopping | Stage::Stopped);
    let started = worker.runs.iter().any(|r| r.run > 0 || r.state() != RunState::Created);
    let sandbox = !matches!(worker.stage, Stage::Mounting | Stage::Sandbox)
        && (started || !stopping)
        && !matches!(phase, Phase::Succeeded | Phase::Failed);
    // The conditions know the outcome before the phase does, but not that a pod ended for want of a
    // container that never started.
    let phase = if unstarted(worker) && stopping { Phase::Pending } else { outcome(worker) };
    let terminal = matches!(phase, Phase::Succeeded | Phase::Failed);
    let initialized = initialized(worker);
    let up = |i: usize| worker.runs[i].ready && worker.runs[i].running();
    let ready = (n_init..worker.runs.len()).all(up) && initialized && !terminal;
    let (reason, message) = if ready {
        (Sym::EMPTY, Sym::EMPTY)
    } else if phase == Phase::Succeeded {
        (POD_COMPLETED.sym(), Sym::EMPTY)
    } else if phase == Phase::Failed {
        (POD_FAILED.sym(), Sym::EMPTY)
    } else {
        let unready = (n_init..worker.runs.len()).filter(|&i| !up(i));
        let names: Vec<&str> = unready.map(|i| worker.container(i).name.as_str()).collect();
        let text = format!("containers with unready status: [{}]", names.join(" "));
        (NOT_READY.sym(), Sym::new(&text))
    };
    let truth = |b: bool| if b { Truth::True } else { Truth::False };
    let init_reason = match phase {
        Phase::Succeeded => POD_COMPLETED.sym(),
        Phase::Pending if !initialized => NOT_INITIALIZED.sym(),
        Phase::Pending | Phase::Running | Phase::Failed | Phase::Unknown => Sym::EMPTY,
    };
    let gated = worker.spec.readiness_gates.is_empty();
    let rows = [
        (ConditionType::PodReadyToStartContainers, sandbox, Sym::EMPTY, Sym::EMPTY),
        (ConditionType::Initialized, initialized || terminal, init_reason, Sym::EMPTY),
        (ConditionType::Ready, ready && gated, reason, message),
        (ConditionType::ContainersReady, ready, reason, message),
    ];
    for (kind, is, reason, message) in rows {
        status.conditions.set(Condition {
            kind,
            status: truth(is),
            reason,
            message,
            transition: stamp,
        });
    }
}
