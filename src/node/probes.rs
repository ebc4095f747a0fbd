//! Probes: startup gates the others, liveness restarts, readiness turns traffic on and off. What
//! they find follows from the scenario, so a probe that passes is no event: only ticks that fail,
//! or that speak against the present verdict, are armed. Source: behaviour reference §4.5.

use super::NodeAgent;
use super::ending::kill;
use super::kubelet::{KILLING, advance, event, report, trace};
use super::runtime::RunState;
use super::worker::{Stage, Worker};
use crate::api::kevent::Text;
use crate::api::pod::{Failing, Probe};
use crate::engine::intern::Known;
use crate::engine::{SimDuration, SimTime, Sym};
use crate::event::{Context, NodeEvent, ProbeKind};

pub(super) static UNHEALTHY: Known = Known::new("Unhealthy");

/// A probe without a period of its own (a readiness delay given by annotation alone).
const BARE_PROBE: Probe = Probe {
    initial_delay_s: 0,
    period_s: 1,
    timeout_s: 1,
    success_threshold: 1,
    failure_threshold: 1,
    grace_s: None,
};

/// How many failing spells between two ticks are looked through for the next tick that fails.
const LOOK_AHEAD: u32 = 10_000;

/// A container and its probe.
struct Probed<'w> {
    worker: &'w Worker,
    i: usize,
    which: ProbeKind,
    probe: Probe,
    /// False for a readiness that the scenario gives without a probe.
    real: bool,
    since: SimTime,
}

impl<'w> Probed<'w> {
    /// The probe of a running container; none if it has none.
    fn of(worker: &'w Worker, i: usize, which: ProbeKind) -> Option<Self> {
        let container = worker.container(i);
        let own = match which {
            ProbeKind::Startup => container.startup,
            ProbeKind::Liveness => container.liveness,
            ProbeKind::Readiness => container.readiness,
        };
        let behaviour = worker.behaviour(i);
        let fails = behaviour.probing.as_deref().is_some_and(|p| p.readiness.is_some());
        let delayed = behaviour.ready_after_ns > 0 && container.startup.is_none();
        let bare = which == ProbeKind::Readiness && (delayed || fails);
        let probe = own.or(bare.then_some(BARE_PROBE))?;
        let RunState::Running(since) = worker.runs.get(i)?.state() else { return None };
        Some(Self { worker, i, which, probe, real: own.is_some(), since })
    }

    /// When the scenario lets it fail.
    fn failing(&self) -> Option<Failing> {
        let probing = self.worker.behaviour(self.i).probing.as_deref()?;
        match self.which {
            ProbeKind::Startup => None,
            ProbeKind::Liveness => probing.liveness,
            ProbeKind::Readiness => probing.readiness,
        }
    }

    /// The time that a failure counts by.
    fn clock(&self, failing: Failing, at: SimTime) -> u64 {
        if failing.absolute { at.0 } else { at.since(self.since).0 }
    }

    /// From when on it can pass.
    fn up_at(&self) -> SimTime {
        let behaviour = self.worker.behaviour(self.i);
        let probing = behaviour.probing.as_deref();
        let startup = probing.and_then(|p| p.startup_after_ns);
        let listens = probing.and_then(|p| p.listens_after_ns).unwrap_or(0);
        let up = match self.which {
            ProbeKind::Startup => startup.unwrap_or(behaviour.ready_after_ns),
            ProbeKind::Liveness => 0,
            ProbeKind::Readiness => behaviour.ready_after_ns,
        };
        self.since + SimDuration(up.max(listens))
    }

    /// What it finds at an instant.
    fn passes(&self, at: SimTime) -> bool {
        at >= self.up_at() && !self.failing().is_some_and(|f| f.at(self.clock(f, at)))
    }

    /// True if the container has what this probe asks for.
    fn verdict(&self) -> bool {
        let run = &self.worker.runs[self.i];
        match self.which {
            ProbeKind::Startup => run.started,
            ProbeKind::Liveness => !run.unhealthy,
            ProbeKind::Readiness => run.ready,
        }
    }

    /// The first tick at or after an instant.
    fn tick(&self, at: SimTime) -> SimTime {
        let delay = SimDuration::from_secs(u64::from(self.probe.initial_delay_s));
        let from = self.worker.probing();
        let period = u64::from(self.probe.period_s.max(1)) * 1_000_000_000;
        let earliest = at.max(self.since + delay);
        from + SimDuration(earliest.since(from).0.div_ceil(period).max(1) * period)
    }

    /// The first tick at or after an instant at which something can be seen; none if it passes for
    /// ever.
    fn next(&self, at: SimTime) -> Option<SimTime> {
        let tick = self.tick(at);
        if !self.verdict() {
            // A failure shows as an Event; where there is no probe, nothing shows it.
            let quiet = !self.real && self.failing().is_none();
            return Some(if quiet { self.tick(at.max(self.up_at())) } else { tick });
        }
        let failing = self.failing()?;
        let mut tick = tick;
        for _ in 0..LOOK_AHEAD {
            if !self.passes(tick) {
                return Some(tick);
            }
            let clock = self.clock(failing, tick);
            let wait = failing.next(clock)? - clock;
            tick = self.tick(tick + SimDuration(wait.max(1)));
        }
        None
    }
}

/// A container has started: without probes it counts as started and ready.
pub(super) fn begin(node: &mut NodeAgent, id: u32, i: usize) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    let plain_init = i < worker.n_init() && !worker.container(i).sidecar;
    let started = plain_init || worker.container(i).startup.is_none();
    let asked = Probed::of(worker, i, ProbeKind::Readiness).is_some();
    worker.runs[i].started = started;
    worker.runs[i].ready = plain_init || started && !asked;
}

/// A sync after a list. Containers that it sees running for the first time are probed from now on:
/// until then the kubelet does not know their identity.
pub(super) fn seen(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    for i in 0..worker.runs.len() {
        let Some(worker) = node.workers.get_mut(id) else { return };
        let run = &mut worker.runs[i];
        if run.seen || !run.running() {
            continue;
        }
        run.seen = true;
        if !run.started {
            arm(node, id, i, ProbeKind::Startup, cx.now(), cx);
        } else if i >= worker.n_init() || worker.container(i).sidecar {
            started(node, id, i, cx);
        }
    }
}

/// The container counts as started: from now on it is asked whether it lives and is ready.
fn started(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    worker.runs[i].started = true;
    if Probed::of(worker, i, ProbeKind::Readiness).is_none() {
        worker.runs[i].ready = true;
    }
    arm(node, id, i, ProbeKind::Readiness, cx.now(), cx);
    ask(node, id, i, cx);
    arm(node, id, i, ProbeKind::Liveness, cx.now(), cx);
    // A sidecar that has come up lets the next container start (source:
    // `kuberuntime_container.go` `computeInitContainerActions`).
    if node.workers.get(id).is_some_and(|w| w.sidecar(i) && w.starting(i)) {
        advance(node, id, cx);
    }
}

/// A sync that finds a container not ready has it probed at once, beside the ticks. A start makes
/// two syncs, of the sandbox and of the container; the second one waits for the next list (source:
/// `prober_manager.go` `UpdatePodStatus`, `pod_workers.go`; recorded in `timelines/01b`).
fn ask(node: &NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) {
    let which = ProbeKind::Readiness;
    let Some(probed) = node.workers.get(id).and_then(|w| Probed::of(w, i, which)) else { return };
    if !probed.real || probed.verdict() {
        return;
    }
    let begins = probed.since + SimDuration::from_secs(u64::from(probed.probe.initial_delay_s));
    let run = probed.worker.runs[i].run;
    let container = u16::try_from(i).unwrap_or(u16::MAX);
    for after in [SimDuration::ZERO, super::RELIST] {
        if cx.now() + after >= begins {
            let extra = NodeEvent::Probe { which, pod: id, container, run, extra: true };
            node.schedule(after, extra, cx);
        }
    }
}

/// Arms the next tick of a probe, from an instant on, that can be seen.
fn arm(node: &NodeAgent, id: u32, i: usize, which: ProbeKind, from: SimTime, cx: &mut Context<'_>) {
    let Some(probed) = node.workers.get(id).and_then(|w| Probed::of(w, i, which)) else { return };
    let Some(at) = probed.next(from) else { return };
    let run = probed.worker.runs[i].run;
    let container = u16::try_from(i).unwrap_or(u16::MAX);
    let tick = NodeEvent::Probe { which, pod: id, container, run, extra: false };
    node.schedule(at.since(cx.now()), tick, cx);
}

/// A tick of a probe.
pub(super) fn probed(
    node: &mut NodeAgent,
    id: u32,
    (i, number): (usize, u16),
    (which, extra): (ProbeKind, bool),
    cx: &mut Context<'_>,
) {
    let now = cx.now();
    let Some(worker) = node.workers.get(id) else { return };
    let Some(run) = worker.runs.get(i).filter(|r| r.run == number && !r.unhealthy) else { return };
    let mut streaks = run.streaks();
    let ends = !matches!(worker.stage, Stage::Starting(_) | Stage::Up);
    // Of a pod that ends only the readiness is still asked for.
    if ends && which != ProbeKind::Readiness {
        return;
    }
    let Some(probed) = Probed::of(worker, i, which) else { return };
    if extra && (probed.verdict() || !node.kubelet_up) {
        return;
    }
    if !node.kubelet_up {
        // Nobody probes; whoever comes back goes on with the ticks.
        return arm_later(node, id, i, which, cx);
    }
    let (passes, verdict, probe, real) =
        (probed.passes(now), probed.verdict(), probed.probe, probed.real);
    let streak = &mut streaks[which as usize];
    let against = passes != verdict || which == ProbeKind::Startup;
    *streak = if against { streak.saturating_add(1) } else { 0 };
    let threshold = if passes { probe.success_threshold } else { probe.failure_threshold };
    let turns = against && u32::from(*streak) >= threshold.max(1);
    if turns {
        *streak = 0;
    }
    if let Some(worker) = node.workers.get_mut(id) {
        worker.runs[i].set_streaks(streaks);
    }
    if !passes && real {
        event(node, id, &UNHEALTHY, Text::Plain(failed_text(which)), cx);
    }
    match (which, passes) {
        (ProbeKind::Readiness, _) if turns => turn(node, id, i, passes, cx),
        (ProbeKind::Startup, true) if turns => {
            started(node, id, i, cx);
            trace(node, id, "startup probe passes", cx);
            tell(node, id, cx);
            return;
        }
        (ProbeKind::Startup | ProbeKind::Liveness, false) if turns => {
            return restart(node, id, i, (which, probe), cx);
        }
        (ProbeKind::Startup | ProbeKind::Liveness | ProbeKind::Readiness, _) => {}
    }
    if !extra {
        arm(node, id, i, which, now + SimDuration(1), cx);
    }
}

/// The next tick of a probe, whatever it will find.
fn arm_later(node: &NodeAgent, id: u32, i: usize, which: ProbeKind, cx: &mut Context<'_>) {
    let Some(probed) = node.workers.get(id).and_then(|w| Probed::of(w, i, which)) else { return };
    let at = probed.tick(cx.now() + SimDuration(1));
    let run = probed.worker.runs[i].run;
    let container = u16::try_from(i).unwrap_or(u16::MAX);
    let tick = NodeEvent::Probe { which, pod: id, container, run, extra: false };
    node.schedule(at.since(cx.now()), tick, cx);
}

/// The container becomes ready or unready: reported at once, not at the next list.
fn turn(node: &mut NodeAgent, id: u32, i: usize, ready: bool, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    worker.runs[i].ready = ready;
    let step = if ready { "readiness probe passes" } else { "readiness probe fails" };
    trace(node, id, step, cx);
    tell(node, id, cx);
}

fn tell(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    if node.workers.get(id).is_some_and(|w| !w.dirty) {
        report(node, id, None, cx);
    }
}

/// The container is killed, with the grace of its probe or its pod, to be started again.
fn restart(
    node: &mut NodeAgent,
    id: u32,
    i: usize,
    (which, probe): (ProbeKind, Probe),
    cx: &mut Context<'_>,
) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    worker.runs[i].unhealthy = true;
    let grace_s = probe.grace_s.unwrap_or(worker.spec.grace_s);
    let name = worker.container(i).name;
    let word = if which == ProbeKind::Startup { "startup" } else { "liveness" };
    let text = Sym::new(&format!("Container {name} failed {word} probe, will be restarted"));
    event(node, id, &KILLING, Text::Plain(text), cx);
    trace(node, id, "a probe failed: the container is told to stop", cx);
    kill(node, id, i, SimDuration::from_secs(u64::from(grace_s)), cx);
}

fn failed_text(which: ProbeKind) -> Sym {
    Sym::new(match which {
        ProbeKind::Startup => "Startup probe failed: ",
        ProbeKind::Liveness => "Liveness probe failed: ",
        ProbeKind::Readiness => "Readiness probe failed: ",
    })
}
