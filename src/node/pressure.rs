//! The eviction manager: when memory, disk or processes run short, the kubelet reclaims what it can
//! without harm, then ends pods, one at a time. Its loop looks every 10 s; a look at which nothing
//! can be seen is not armed. Sources: behaviour reference §4.11; `pkg/kubelet/eviction`
//! `eviction_manager.go` (`synchronize`, `localStorageEviction`), `helpers.go`.

use super::admission::critical;
use super::config::{Signal, Threshold};
use super::ending::{End, over, terminate};
use super::kubelet::event;
use super::memory::{all_parts, node_ref, parts, runs_out, used, used_by, whole};
use super::worker::Worker;
use super::{NodeAgent, images, logs};
use crate::api::kevent::Text;
use crate::api::pod::{ConditionType, Truth};
use crate::api::quantity::Quantity;
use crate::engine::intern::Known;
use crate::engine::{Grid, Purpose, SimDuration, SimTime, Sym};
use crate::event::usage::first_above;
use crate::event::{Context, NodeEvent};
use smallvec::SmallVec;
use std::fmt::Write as _;

pub(super) static EVICTED: Known = Known::new("Evicted");
static BY_KUBELET: Known = Known::new("TerminationByKubelet");
static NOT_FREED: Known = Known::new("FreeDiskSpaceFailed");
static THRESHOLD_MET: Known = Known::new("EvictionThresholdMet");

/// `monitoringInterval`.
const LOOK: SimDuration = SimDuration::from_secs(10);
/// Before the next look the evicted pod must be gone, which is asked so often, and so long
/// (source: `eviction_manager.go` `podCleanupTimeout`, `podCleanupPollFreq`).
const CLEANED_POLL: SimDuration = SimDuration::from_millis(1_250);
const CLEANED_MAX: SimDuration = SimDuration::from_secs(30);
/// `immediateEvictionGracePeriodSeconds`.
const AT_ONCE: SimDuration = SimDuration::from_secs(1);

/// A condition of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    Memory,
    Disk,
    Pids,
}

impl Short {
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::Disk, Self::Pids];

    const fn of(signal: Signal) -> Self {
        match signal {
            Signal::Memory => Self::Memory,
            Signal::NodeFs | Signal::ImageFs => Self::Disk,
            Signal::Pid => Self::Pids,
        }
    }

    /// Its condition of the node (source: `nodestatus/setters.go`).
    pub(super) const fn row(self, is: bool) -> (ConditionType, Truth, &'static str, &'static str) {
        let (kind, fine, short) = match self {
            Self::Memory => (
                ConditionType::MemoryPressure,
                ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ),
            Self::Disk => (
                ConditionType::DiskPressure,
                ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ),
            Self::Pids => (
                ConditionType::PidPressure,
                ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ),
        };
        let (truth, said) = if is { (Truth::True, short) } else { (Truth::False, fine) };
        (kind, truth, said.0, said.1)
    }
}

/// What the eviction manager remembers.
#[derive(Debug, Clone)]
pub(super) struct Pressure {
    /// Its last look, from which the next ones count.
    base: SimTime,
    /// The next look, and its number in the queue.
    armed: Option<(SimTime, u64)>,
    /// When the node runs out of memory altogether.
    pub(super) empty: Option<(SimTime, u64)>,
    /// When unused images are thrown away next.
    pub(super) gc: Option<(SimTime, u64)>,
    /// Since when each threshold is met.
    met: SmallVec<[Option<SimTime>; 3]>,
    /// When a threshold of each condition was last seen met.
    seen: [Option<SimTime>; 3],
    /// The node's conditions.
    pub(super) conditions: [bool; 3],
    /// Those that were reported.
    told: [bool; 3],
    /// A pod that was evicted last and has to go first, and since when.
    cleaning: Option<(u32, SimTime)>,
}

impl NodeAgent {
    /// True while this is short.
    pub(super) fn short_of(&self, what: Short) -> bool {
        self.pressure.as_ref().is_some_and(|p| p.conditions[what as usize])
    }
}

/// What the node has of a resource, less what it uses itself, in whole units; none if it is not
/// known.
pub(super) fn room(node: &NodeAgent, signal: Signal) -> Option<i64> {
    let (config, capacity) = (&node.setup.kubelet, &node.setup.capacity);
    let own_images = config.image_fs > 0;
    match signal {
        Signal::Memory => Some(capacity.memory - config.system.memory),
        Signal::ImageFs if own_images => Some(config.image_fs - node.images.bytes()),
        Signal::NodeFs | Signal::ImageFs => (capacity.ephemeral > 0).then(|| {
            let images = if own_images { 0 } else { node.images.bytes() };
            capacity.ephemeral - config.system.ephemeral - images - node.filled
        }),
        Signal::Pid => Some(config.pids),
    }
}

/// What shares are shares of.
fn capacity(node: &NodeAgent, signal: Signal) -> i64 {
    let config = &node.setup.kubelet;
    match signal {
        Signal::Memory => node.setup.capacity.memory,
        Signal::ImageFs if config.image_fs > 0 => config.image_fs,
        Signal::NodeFs | Signal::ImageFs => node.setup.capacity.ephemeral,
        Signal::Pid => config.pids,
    }
}

/// Whose use counts against a signal.
fn counted(node: &NodeAgent, signal: Signal) -> Option<Signal> {
    match signal {
        Signal::ImageFs if node.setup.kubelet.image_fs > 0 => None,
        Signal::NodeFs | Signal::ImageFs => Some(Signal::NodeFs),
        Signal::Memory | Signal::Pid => Some(signal),
    }
}

/// What is used now, in whole units.
pub(super) fn all_used(node: &NodeAgent, of: Signal, now: SimTime) -> i64 {
    whole(all_parts(node, of).iter().map(|part| part.at(now)).sum())
}

/// What is available now, in whole units.
fn available(node: &NodeAgent, signal: Signal, now: SimTime) -> Option<i64> {
    let room = room(node, signal)?;
    Some(room - counted(node, signal).map_or(0, |of| all_used(node, of, now)))
}

/// A look that the machine has slept through comes later.
pub(super) fn overslept(
    node: &mut NodeAgent,
    event: NodeEvent,
    was: SimTime,
    later: (SimTime, u64),
) {
    let Some(state) = node.pressure.as_deref_mut() else { return };
    let armed = if event == NodeEvent::Pressure {
        &mut state.armed
    } else if event == NodeEvent::NoMemoryLeft {
        &mut state.empty
    } else if event == NodeEvent::ImageGc {
        &mut state.gc
    } else {
        return;
    };
    if armed.is_some_and(|(at, _)| at == was) {
        *armed = Some(later);
    }
}

/// What is missing until the disk of pods is full to so many percent.
pub(super) fn to_fill(node: &NodeAgent, percent: u32, now: SimTime) -> i64 {
    let whole = capacity(node, Signal::NodeFs);
    let left = available(node, Signal::NodeFs, now).filter(|_| whole > 0);
    left.map_or(0, |left| (left - whole / 100 * i64::from(100 - percent.min(100))).max(0))
}

/// Usage on the node has changed: the next look, and the end of all memory, are reckoned anew.
pub(super) fn changed(node: &mut NodeAgent, cx: &mut Context<'_>) {
    if node.metered {
        logs::changed(node, cx);
        rearm(node, cx);
    }
}

/// Images have come: where the size of the disk is known, that may be too much.
pub(super) fn disk_changed(node: &mut NodeAgent, cx: &mut Context<'_>) {
    if capacity(node, Signal::ImageFs) > 0 {
        logs::changed(node, cx);
        rearm(node, cx);
    }
}

/// Arms the next look at which something can be seen.
pub(super) fn rearm(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let (look, empty) = (next_look(node, cx), runs_out(node, cx.now()));
    let gc = next_gc(node, cx);
    let (index, incarnation) = (node.index, node.incarnation);
    let state = state(node, cx);
    let both = [
        (&mut state.armed, look, NodeEvent::Pressure),
        (&mut state.empty, empty, NodeEvent::NoMemoryLeft),
        (&mut state.gc, gc, NodeEvent::ImageGc),
    ];
    for (armed, at, event) in both {
        if armed.map(|a| a.0) == at {
            continue;
        }
        if let Some((_, seq)) = armed.take() {
            cx.cancel(seq);
        }
        if let Some(at) = at {
            let seq =
                cx.schedule(at, crate::event::Event::Node { node: index, incarnation, event });
            *armed = Some((at, seq));
        }
    }
}

fn state<'n>(node: &'n mut NodeAgent, cx: &Context<'_>) -> &'n mut Pressure {
    let entity = node.setup.name.stable_hash();
    let n = node.setup.kubelet.thresholds.len();
    node.pressure.get_or_insert_with(|| {
        Box::new(Pressure {
            base: Grid::drawn(cx.draws(), entity, Purpose("eviction loop"), LOOK).phase,
            armed: None,
            empty: None,
            gc: None,
            met: smallvec::smallvec![None; n],
            seen: [None; 3],
            conditions: [false; 3],
            told: [false; 3],
            cleaning: None,
        })
    })
}

/// The next look at which something can be seen.
fn next_look(node: &mut NodeAgent, cx: &Context<'_>) -> Option<SimTime> {
    let now = cx.now();
    let state = state(node, cx);
    if let Some((at, _)) = state.armed.filter(|_| state.cleaning.is_some()) {
        return Some(at);
    }
    let grid = Grid::new(state.base, LOOK);
    if state.met.iter().any(Option::is_some) {
        return Some(grid.after(now));
    }
    let transition = node.setup.kubelet.transition;
    let state = node.pressure.as_deref()?;
    let over = (0..3).filter(|&i| state.conditions[i]).filter_map(|i| state.seen[i]);
    let over = over.map(|seen| grid.at_or_after(seen + transition));
    let met = node.setup.kubelet.thresholds.iter().filter_map(|t| crossing(node, t, now));
    let limits = over_limit(node, now);
    let looks = met.chain(limits).map(|at| grid.at_or_after(at.max(SimTime(now.0 + 1))));
    over.chain(looks).min()
}

/// The tick at which unused images are thrown away next.
fn next_gc(node: &NodeAgent, cx: &Context<'_>) -> Option<SimTime> {
    let (now, whole) = (cx.now(), capacity(node, Signal::ImageFs));
    let room = room(node, Signal::ImageFs)?;
    let spare = images::spare(&node.setup.kubelet, whole);
    let parts = counted(node, Signal::ImageFs).map(|of| all_parts(node, of)).unwrap_or_default();
    let full = first_above(&parts, (room - spare).saturating_mul(1000) - 1, now)?;
    Some(images::gc_loop(node, cx).at_or_after(full.max(SimTime(now.0 + 1))))
}

/// Unused images are thrown away if the disk is full enough.
pub(super) fn gc(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let now = cx.now();
    let due = node.pressure.as_deref_mut().is_some_and(|p| p.gc.is_some_and(|(at, _)| at == now));
    if !due {
        return;
    }
    state(node, cx).gc = None;
    if !node.kubelet_up {
        return;
    }
    let whole = capacity(node, Signal::ImageFs);
    let left = available(node, Signal::ImageFs, now).unwrap_or(whole);
    if let Some(wanted) = images::excess(&node.setup.kubelet, whole, left) {
        let freed = images::collect(node, wanted, cx);
        if freed < wanted {
            let text = format!(
                "Failed to garbage collect required amount of images. Attempted to free {wanted} \
                 bytes, but only found {freed} bytes eligible to free."
            );
            node.tell_of_node(true, NOT_FREED.sym(), Sym::new(&text), cx);
        }
    }
    rearm(node, cx);
}

/// When a threshold is met for the first time.
fn crossing(node: &NodeAgent, threshold: &Threshold, from: SimTime) -> Option<SimTime> {
    let signal = threshold.signal;
    let level = room(node, signal)? - threshold.level.of(capacity(node, signal));
    let parts = counted(node, signal).map(|of| all_parts(node, of)).unwrap_or_default();
    first_above(&parts, level.saturating_mul(1000), from)
}

/// When the first pod passes its limit of local storage.
fn over_limit(node: &NodeAgent, from: SimTime) -> Option<SimTime> {
    let pods = node.workers.active().filter(|w| !over(w));
    pods.filter_map(|worker| {
        let limit = storage_limit(worker)?;
        let parts: Vec<_> = parts(&node.setup.loads, worker, Signal::NodeFs, None).collect();
        first_above(&parts, limit.saturating_mul(1000), from)
    })
    .min()
}

/// The limit of local storage of a pod's containers together; none if they have none.
fn storage_limit(worker: &Worker) -> Option<i64> {
    worker.rare().filter(|r| !r.uses.is_empty())?;
    let limit = worker.spec.sum(|c| c.limits.clone()).ephemeral;
    (limit > 0).then_some(limit)
}

/// The loop looks.
pub(super) fn look(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let now = cx.now();
    let up = node.kubelet_up;
    let state = state(node, cx);
    if state.armed.is_none_or(|(at, _)| at != now) {
        return;
    }
    state.armed = None;
    if !up {
        return;
    }
    if let Some((pod, since)) = state.cleaning
        && now.since(since) < CLEANED_MAX
        && node.workers.get(pod).is_some_and(Worker::holds)
    {
        return arm_at(node, now + CLEANED_POLL, cx);
    }
    let state = self::state(node, cx);
    (state.cleaning, state.base) = (None, now);
    let met = thresholds_met(node, now);
    observe(node, &met, cx);
    if !evict_over_limit(node, cx) {
        reclaim(node, &met, cx);
    }
    rearm(node, cx);
}

fn arm_at(node: &mut NodeAgent, at: SimTime, cx: &mut Context<'_>) {
    let (index, incarnation) = (node.index, node.incarnation);
    let event = NodeEvent::Pressure;
    let seq = cx.schedule(at, crate::event::Event::Node { node: index, incarnation, event });
    state(node, cx).armed = Some((at, seq));
}

/// Which thresholds are met.
fn thresholds_met(node: &NodeAgent, now: SimTime) -> SmallVec<[bool; 3]> {
    let rows = 0..node.setup.kubelet.thresholds.len();
    rows.map(|row| lacking(node, row, now).is_some()).collect()
}

/// How much is missing until a threshold is not met; none if it is not. One that was met stays so
/// until its minimum has been reclaimed, too.
fn lacking(node: &NodeAgent, row: usize, now: SimTime) -> Option<i64> {
    let t = &node.setup.kubelet.thresholds[row];
    let whole = capacity(node, t.signal);
    let held = node.pressure.as_ref().is_some_and(|p| p.met[row].is_some());
    let more = if held { t.reclaim.of(whole) } else { 0 };
    let wanted = t.level.of(whole) + more;
    available(node, t.signal, now).filter(|left| *left < wanted).map(|left| wanted - left)
}

/// How much of the disk that pods use is missing until no threshold is met; none if none is.
fn lacking_disk(node: &NodeAgent, now: SimTime) -> Option<i64> {
    let rows = node.setup.kubelet.thresholds.iter().enumerate();
    let disk = rows.filter(|(_, t)| counted(node, t.signal) == Some(Signal::NodeFs));
    disk.filter_map(|(row, _)| lacking(node, row, now)).max()
}

/// Remembers since when thresholds are met, and turns the node's conditions: on at once, off when
/// nothing was seen for the transition period.
fn observe(node: &mut NodeAgent, met: &[bool], cx: &mut Context<'_>) {
    let now = cx.now();
    let setup = std::sync::Arc::clone(&node.setup);
    let disk = lacking_disk(node, now);
    let state = state(node, cx);
    for ((since, is), threshold) in state.met.iter_mut().zip(met).zip(&setup.kubelet.thresholds) {
        *since = if *is { since.or(Some(now)) } else { None };
        if *is {
            state.seen[Short::of(threshold.signal) as usize] = Some(now);
        }
    }
    let is = state.seen.map(|seen| seen.is_some_and(|s| now.since(s) < setup.kubelet.transition));
    let was = std::mem::replace(&mut state.conditions, is);
    if is != was {
        node.arm_status(cx);
    }
    let disk_turns = is[Short::Disk as usize] && !was[Short::Disk as usize];
    logs::pressed(node, disk, disk_turns, now);
}

/// Pods above their own limits of local storage are evicted, all of them.
fn evict_over_limit(node: &mut NodeAgent, cx: &mut Context<'_>) -> bool {
    let now = cx.now();
    let mut any = false;
    for id in node.workers.ids() {
        let Some(worker) = node.workers.get(id).filter(|w| w.holds() && !over(w)) else { continue };
        let Some(limit) = storage_limit(worker) else { continue };
        if used(&node.setup.loads, worker, Signal::NodeFs, now) <= limit.saturating_mul(1000) {
            continue;
        }
        let limit = Quantity::from_bytes(limit);
        let message = format!(
            "Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
        );
        any |= evict(node, id, &message, AT_ONCE, cx);
    }
    any
}

/// Acts upon the most pressing threshold that is met for long enough.
fn reclaim(node: &mut NodeAgent, met: &[bool], cx: &mut Context<'_>) {
    let now = cx.now();
    let setup = std::sync::Arc::clone(&node.setup);
    let since = node.pressure.as_ref().map(|p| p.met.clone()).unwrap_or_default();
    let due = |row: &usize| {
        let long = setup.kubelet.thresholds[*row].grace.unwrap_or(SimDuration::ZERO);
        met[*row] && since[*row].is_some_and(|s| now.since(s) >= long)
    };
    let rows = (0..met.len()).filter(due);
    // Memory first; of two thresholds of one signal the hard one.
    let rank = |row: &usize| {
        let t = &setup.kubelet.thresholds[*row];
        (t.signal, t.grace.is_some())
    };
    let Some(row) = rows.min_by_key(rank) else { return };
    let threshold = setup.kubelet.thresholds[row];
    let resource = threshold.signal.resource();
    let text = Sym::new(&format!("Attempting to reclaim {resource}"));
    node.tell_of_node(true, THRESHOLD_MET.sym(), text, cx);
    if Short::of(threshold.signal) == Short::Disk {
        images::collect(node, i64::MAX, cx);
        if !thresholds_met(node, now)[row] {
            return;
        }
    }
    for id in ranked(node, threshold.signal, now) {
        let Some(worker) = node.workers.get(id) else { continue };
        let grace = if threshold.grace.is_some() {
            let own = worker.spec.grace_s.min(setup.kubelet.max_pod_grace_s);
            SimDuration::from_secs(u64::from(own))
        } else {
            AT_ONCE
        };
        let message = message(node, worker, &threshold, now);
        if evict(node, id, &message, grace, cx) {
            if Short::of(threshold.signal) == Short::Disk {
                logs::evicted(node);
            }
            return;
        }
    }
}

/// Pods in the order in which they are evicted: those above their request first, then by priority,
/// then by what they use beyond their request (source: `helpers.go` `rankMemoryPressure`,
/// `rankDiskPressureFunc`, `rankPIDPressure`).
fn ranked(node: &NodeAgent, signal: Signal, now: SimTime) -> Vec<u32> {
    let of = if signal == Signal::ImageFs { Signal::NodeFs } else { signal };
    let mut all: Vec<(bool, i32, i64, u32)> = Vec::new();
    for id in node.workers.ids() {
        let Some(worker) = node.workers.get(id).filter(|w| w.holds() && !over(w)) else { continue };
        let used = whole(used(&node.setup.loads, worker, of, now));
        let request = request(worker, of);
        let beyond = if of == Signal::Pid { used } else { used - request };
        let within = of == Signal::Pid || used <= request;
        all.push((within, worker.spec.priority, -beyond, id));
    }
    // A stable sort: equal pods stay in order of their arrival.
    all.sort_by_key(|&(within, priority, beyond, _)| (within, priority, beyond));
    all.into_iter().map(|(_, _, _, id)| id).collect()
}

fn request(worker: &Worker, of: Signal) -> i64 {
    match of {
        Signal::Memory => worker.spec.requests.memory,
        Signal::NodeFs | Signal::ImageFs => worker.spec.requests.ephemeral,
        Signal::Pid => 0,
    }
}

/// What an evicted pod is told (source: `helpers.go` `evictionMessage`).
fn message(node: &NodeAgent, worker: &Worker, threshold: &Threshold, now: SimTime) -> String {
    let signal = threshold.signal;
    let resource = signal.resource();
    let amount = |n: i64| match signal {
        Signal::Pid => Quantity::from_value(n),
        Signal::Memory | Signal::NodeFs | Signal::ImageFs => Quantity::from_bytes(n),
    };
    let level = amount(threshold.level.of(capacity(node, signal)));
    let left = amount(available(node, signal, now).unwrap_or_default());
    let mut text = format!(
        "The node was low on resource: {resource}. Threshold quantity: {level}, available: {left}. "
    );
    let of = if signal == Signal::ImageFs { Signal::NodeFs } else { signal };
    for i in worker.n_init()..worker.runs.len() {
        let container = worker.container(i);
        let asked = match of {
            Signal::Memory => container.requests.memory,
            Signal::NodeFs | Signal::ImageFs => container.requests.ephemeral,
            Signal::Pid => continue,
        };
        let used = used_by(&node.setup.loads, worker, i, of, now);
        if used > asked {
            let (name, used, asked) = (container.name, amount(used), amount(asked));
            let more = format!(
                "Container {name} was using {used}, request is {asked}, has larger consumption of \
                 {resource}. "
            );
            let written = text.write_str(&more);
            debug_assert!(written.is_ok(), "a string takes everything");
        }
    }
    text
}

/// Ends a pod, unless it is critical.
fn evict(
    node: &mut NodeAgent,
    id: u32,
    message: &str,
    grace: SimDuration,
    cx: &mut Context<'_>,
) -> bool {
    if node.workers.get(id).is_none_or(|w| critical(&w.spec)) {
        return false;
    }
    let message = Sym::new(message);
    event(node, id, &EVICTED, Text::Plain(message), cx);
    let target = Some((BY_KUBELET.sym(), message));
    terminate(node, id, End { reason: EVICTED.sym(), message, target }, grace, cx);
    let now = cx.now();
    state(node, cx).cleaning = Some((id, now));
    arm_at(node, now + CLEANED_POLL, cx);
    true
}

/// The kubelet starts anew: it knows of no pressure, and looks.
pub(super) fn forget(node: &mut NodeAgent, cx: &mut Context<'_>) {
    if let Some(state) = node.pressure.take() {
        for (_, seq) in [state.armed, state.empty, state.gc].into_iter().flatten() {
            cx.cancel(seq);
        }
        rearm(node, cx);
    }
}

/// Words for the conditions that have turned since they were last reported (source:
/// `nodestatus/setters.go`).
pub(super) fn turned(node: &mut NodeAgent) -> SmallVec<[&'static str; 3]> {
    let Some(state) = node.pressure.as_deref_mut() else { return SmallVec::new() };
    let words = [
        ("NodeHasSufficientMemory", "NodeHasInsufficientMemory"),
        ("NodeHasNoDiskPressure", "NodeHasDiskPressure"),
        ("NodeHasSufficientPID", "NodeHasInsufficientPID"),
    ];
    let (was, is) = (std::mem::replace(&mut state.told, state.conditions), state.conditions);
    let new = (0..3).filter(|&i| was[i] != is[i]);
    new.map(|i| if is[i] { words[i].1 } else { words[i].0 }).collect()
}

impl NodeAgent {
    /// An Event about the node.
    pub(super) fn tell_of_node(
        &mut self,
        warning: bool,
        reason: Sym,
        text: Sym,
        cx: &mut Context<'_>,
    ) {
        let about = node_ref(self);
        self.say(about, (warning, reason, text), cx);
    }
}
