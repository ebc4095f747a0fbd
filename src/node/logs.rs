//! Logs of the containers of a node: written to files that the kubelet rotates, read by the agent
//! of the node into a buffer on the node's disk, and shipped from there. Between two changes (a
//! container or the agent starts or ends, the store fails, the buffer is full) all of it flows at
//! steady rates, so only changes are events, and their number does not grow with the rate.
//!
//! The agent reads as fast as containers write. While none runs, what is rotated away is lost:
//! agents follow the file in use, and give a rotated one up after seconds (Fluent Bit's and
//! Fluentd's `rotate_wait`, 5 s). When the buffer is full, the oldest chunks are thrown away
//! (Fluent Bit's `storage.total_limit_size`, Fluentd's `drop_oldest_chunk`). The files count as
//! what their pods use (`event::usage::Course::Log`); the buffer lies in a `hostPath`, so it
//! counts for the node but for no pod, and outlives the agent.

use super::NodeAgent;
use super::config::{KubeletConfig, Signal};
use super::pressure::{all_used, room};
use super::worker::Worker;
use crate::api::{Pod, Uid};
use crate::engine::{SimDuration, SimTime, Sym};
use crate::event::logs::{BYTE, Logging, Nanobytes, Rotation, Tally};
use crate::event::usage::{Course, Load, Part, first_above};
use crate::event::{Context, Event, NodeEvent, What};
use smallvec::SmallVec;

/// The log of one run of a container.
#[derive(Debug, Clone, Copy)]
struct Tail {
    pod: Uid,
    /// Row in the node's list of loads.
    load: u16,
    run: u16,
    rotation: Rotation,
    since: SimTime,
    /// When the container ended.
    end: SimTime,
    /// All that was written before this has been read, or is lost.
    read: SimTime,
}

impl Tail {
    fn same(&self, other: &Self) -> bool {
        (self.pod, self.load, self.run) == (other.pod, other.load, other.run)
    }

    /// What it writes from one instant to another.
    fn written(&self, from: SimTime, to: SimTime) -> Nanobytes {
        u128::from(self.rotation.bytes_per_s) * u128::from(to.since(from).0)
    }

    /// What nobody has read by an instant: what of it was rotated away by then, and what is left.
    fn unread(&self, at: SimTime) -> (Nanobytes, Nanobytes) {
        let at = at.min(self.end);
        let turned = self.rotation.last(self.since, at).max(self.read);
        (self.written(self.read, turned), self.written(turned, at))
    }
}

/// Logs of a node.
#[derive(Debug, Clone)]
pub(super) struct Logs {
    /// Until when all is reckoned.
    at: SimTime,
    tails: Vec<Tail>,
    /// Pods of the agent.
    agents: SmallVec<[Uid; 1]>,
    /// One of them runs.
    reads: bool,
    /// What containers write, and what the agent may ship, bytes per second.
    rates: (u64, u64),
    /// Largest size of the buffer.
    limit: Nanobytes,
    /// No room is left on the disk: the buffer cannot grow.
    blocked: bool,
    /// How the buffer goes on from `at`, for the eviction manager.
    level: Course,
    /// When it is full or empty.
    armed: Option<(SimTime, u64)>,
    /// The node would not be short of disk without logs.
    tips: bool,
    tally: Tally,
}

/// Takes note of a pod that was just admitted, if it is one of the agent's or writes logs.
pub(super) fn meter(node: &mut NodeAgent, pod: &Pod, writes: bool) {
    let Some(logging) = node.setup.logging.as_deref() else { return };
    let agent = logging.agent.as_ref();
    let ships = agent.is_some_and(|a| a.ns == pod.meta.ns && a.pods.matches(pod.meta.labels));
    if !ships && !writes {
        return;
    }
    let limit = agent.and_then(|a| a.buffer).map_or(u128::MAX, |b| u128::from(b) * BYTE);
    let logs = node.logs.get_or_insert_with(|| {
        Box::new(Logs {
            at: SimTime::ZERO,
            tails: Vec::new(),
            agents: SmallVec::new(),
            reads: false,
            rates: (0, 0),
            limit,
            blocked: false,
            level: Course::Constant(0),
            armed: None,
            tips: false,
            tally: Tally::default(),
        })
    });
    if ships {
        logs.agents.push(pod.meta.uid);
    }
    node.metered = true;
}

/// What pods of a scenario's sources use of the disk of a node with this kubelet.
#[must_use]
pub fn loads(logging: &Logging, kubelet: &KubeletConfig) -> Vec<Load> {
    let of = |source: &crate::event::logs::Source| Load {
        ns: source.ns,
        pods: Some(source.pods.clone()),
        container: source.container,
        metric: Sym::new("ephemeral-storage"),
        shared: false,
        course: Course::Log(Rotation::new(
            source.bytes_per_s,
            kubelet.log_files,
            kubelet.log_interval,
            logging.gzip,
        )),
    };
    logging.sources.iter().map(of).collect()
}

impl Logs {
    /// Reckons what has flowed up to now.
    fn advance(&mut self, now: SimTime) {
        let span = u128::from(now.since(self.at).0);
        let (writes, ships) = self.rates;
        let written = u128::from(writes) * span;
        self.tally.written += written;
        if self.reads {
            self.take_in(written, u128::from(ships) * span, now);
            self.tails.iter_mut().for_each(|t| t.read = now.min(t.end));
        } else {
            for tail in &mut self.tails {
                let (turned, _) = tail.unread(now);
                self.tally.rotated += turned;
                tail.read = tail.rotation.last(tail.since, now.min(tail.end)).max(tail.read);
            }
        }
        self.at = now;
    }

    /// The agent reads so much and may ship so much: what is left is buffered, and what has no
    /// room is thrown away.
    fn take_in(&mut self, read: Nanobytes, may_ship: Nanobytes, now: SimTime) {
        let tally = &mut self.tally;
        let have = tally.buffered + read;
        let shipped = have.min(may_ship);
        let left = have - shipped;
        let room = if self.blocked { self.limit.min(tally.buffered) } else { self.limit };
        let over = left.saturating_sub(room);
        *(if self.blocked { &mut tally.no_room } else { &mut tally.overflowed }) += over;
        tally.shipped += shipped;
        tally.buffered = left - over;
        if tally.buffered > tally.peak.0 {
            tally.peak = (tally.buffered, now);
        }
    }

    /// Holds the logs against the containers of the node.
    fn look_at<'w>(&mut self, pods: impl Iterator<Item = &'w Worker>, loads: &[Load]) {
        let mut there: Vec<Tail> = Vec::new();
        let (mut writes, mut reads) = (0_u64, false);
        let mut agents = SmallVec::new();
        for worker in pods {
            there.extend(tails(worker, loads));
            if self.agents.contains(&worker.uid) {
                agents.push(worker.uid);
                reads |= worker.runs.iter().skip(worker.n_init()).any(super::runtime::Run::running);
            }
        }
        for tail in &mut there {
            if let Some(known) = self.tails.iter().find(|t| t.same(tail)) {
                tail.read = known.read;
            }
            let runs = tail.end == SimTime::MAX;
            writes += if runs { tail.rotation.bytes_per_s } else { 0 };
        }
        for tail in &self.tails {
            if !there.iter().any(|t| t.same(tail)) {
                self.tally.gone += tail.unread(self.at).1;
            }
        }
        (self.tails, self.agents, self.reads) = (there, agents, reads);
        self.rates.0 = writes;
    }

    /// Bytes per second by which the buffer grows while it has room.
    fn net(&self) -> i128 {
        if self.reads { i128::from(self.rates.0) - i128::from(self.rates.1) } else { 0 }
    }

    /// When the buffer is full or empty.
    fn turns(&self) -> Option<SimTime> {
        let (net, buffered) = (self.net(), self.tally.buffered);
        let way = if net > 0 { self.limit.saturating_sub(buffered) } else { buffered };
        if net == 0 || way == 0 || (net > 0 && (self.blocked || self.limit == u128::MAX)) {
            return None;
        }
        let span = way.div_ceil(net.unsigned_abs());
        u64::try_from(span).ok().map(|span| self.at + SimDuration(span))
    }

    /// How the buffer goes on.
    fn course(&self) -> Course {
        /// Billionths of a byte in a thousandth of one.
        const MILLI: u128 = BYTE / 1000;
        let milli = |n: u128| i64::try_from(n / MILLI).unwrap_or(i64::MAX);
        let (net, start) = (self.net(), milli(self.tally.buffered));
        let slope = net.saturating_mul(60_000).clamp(-i128::from(i64::MAX), i128::from(i64::MAX));
        let end = if net > 0 { milli(self.limit) } else { 0 };
        if net == 0 || end == start || (net > 0 && self.blocked) {
            return Course::Constant(start);
        }
        Course::Fill { start, per_minute: i64::try_from(slope).unwrap_or(0), end }
    }
}

/// The logs of a pod's containers.
fn tails<'w>(worker: &'w Worker, loads: &'w [Load]) -> impl Iterator<Item = Tail> + 'w {
    let uses = worker.rare().map_or(&[][..], |r| r.uses.as_slice());
    uses.iter().filter_map(move |u| {
        let Course::Log(rotation) = u.course(loads)? else { return None };
        let run = worker.runs.get(usize::from(u.container))?;
        let (since, end) = run.spell()?;
        Some(Tail {
            pod: worker.uid,
            load: u.load,
            run: run.run,
            rotation: *rotation,
            since,
            end: end.unwrap_or(SimTime::MAX),
            read: since,
        })
    })
}

/// The buffer, as something that uses the node's disk.
pub(super) fn buffer(node: &NodeAgent) -> Option<Part<'_>> {
    let logs = node.logs.as_deref()?;
    Some(Part { course: &logs.level, since: logs.at, frozen: None })
}

/// Something about the containers, the agent, the store or the disk has changed.
pub(super) fn changed(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let Some(mut logs) = node.logs.take() else { return };
    let (now, read) = (cx.now(), logs.reads);
    logs.advance(now);
    logs.look_at(node.workers.active(), &node.setup.loads);
    let blocked = full(node, &logs, now);
    if blocked != std::mem::replace(&mut logs.blocked, blocked) && blocked {
        say(node, "no room is left for the buffer of the log agent", cx);
    }
    if logs.reads != read {
        cx.log_agent(logs.reads);
    }
    logs.rates.1 = if logs.reads { cx.log_store().share() } else { 0 };
    if logs.reads && !read {
        // It goes on where the last one has stopped, as far as that is still there.
        let left = logs.tails.iter().map(|t| t.unread(now).1).sum();
        logs.tails.iter_mut().for_each(|t| t.read = now.min(t.end));
        logs.take_in(left, 0, now);
    }
    logs.level = logs.course();
    node.logs = Some(logs);
    arm(node, cx);
}

/// True if what is on the disk leaves no room.
fn full(node: &NodeAgent, logs: &Logs, now: SimTime) -> bool {
    let used = all_used(node, Signal::NodeFs, now);
    let buffered = i64::try_from(logs.tally.buffered / BYTE).unwrap_or(i64::MAX);
    room(node, Signal::NodeFs).is_some_and(|room| used.saturating_add(buffered) >= room)
}

/// Arms the instant at which the buffer is full or empty, or the disk is full.
fn arm(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let now = cx.now();
    let Some(logs) = node.logs.as_deref() else { return };
    let grows = logs.net() > 0 && !logs.blocked && logs.tally.buffered < logs.limit;
    let end = room(node, Signal::NodeFs).filter(|_| grows).and_then(|room| {
        let parts = super::memory::all_parts(node, Signal::NodeFs);
        first_above(&parts, room.saturating_mul(1000) - 1, now)
    });
    let next = [logs.turns(), end].into_iter().flatten().min();
    let next = next.map(|at| at.max(SimTime(now.0 + 1)));
    let armed = logs.armed;
    if armed.map(|a| a.0) == next {
        return;
    }
    if let Some((_, seq)) = armed {
        cx.cancel(seq);
    }
    let (index, incarnation) = (node.index, node.incarnation);
    let event = NodeEvent::LogBuffer;
    let next =
        next.map(|at| (at, cx.schedule(at, Event::Node { node: index, incarnation, event })));
    if let Some(logs) = node.logs.as_deref_mut() {
        logs.armed = next;
    }
}

/// The buffer is full or empty, or the disk is full.
pub(super) fn turned(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let now = cx.now();
    let Some(logs) = node.logs.as_deref_mut() else { return };
    if logs.armed.is_none_or(|(at, _)| at != now) {
        return;
    }
    logs.armed = None;
    super::pressure::changed(node, cx);
    let Some(logs) = node.logs.as_deref() else { return };
    if logs.tally.buffered == 0 {
        say(node, "the buffer of the log agent is empty", cx);
    } else if logs.tally.buffered >= logs.limit {
        say(node, "the buffer of the log agent is full", cx);
    }
}

fn say(node: &NodeAgent, step: &'static str, cx: &mut Context<'_>) {
    let node = node.setup.name;
    cx.trace(|| What::Node { node, step, pod: crate::api::versions::ObjRef::default() });
}

/// What was armed for an instant that the machine has slept through comes later.
pub(super) fn overslept(node: &mut NodeAgent, was: SimTime, later: (SimTime, u64)) {
    let armed = node.logs.as_deref_mut().map(|l| &mut l.armed);
    if let Some(armed) = armed.filter(|a| a.is_some_and(|(at, _)| at == was)) {
        *armed = Some(later);
    }
}

/// The machine loses power: its containers and their logs are gone, the buffer stays on its disk.
pub(super) fn crash(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let Some(logs) = node.logs.as_deref_mut() else { return };
    logs.advance(cx.now());
    if logs.reads {
        cx.log_agent(false);
    }
    logs.look_at([].into_iter(), &[]);
    (logs.rates, logs.tips) = ((0, 0), false);
    logs.level = logs.course();
    if let Some((_, seq)) = logs.armed.take() {
        cx.cancel(seq);
    }
}

/// The eviction manager has looked: whether the node is short of disk, and has just become so.
/// `lacking` is how much is missing at most to what it should have left.
pub(super) fn pressed(node: &mut NodeAgent, lacking: Option<i64>, turns: bool, now: SimTime) {
    let Some(logs) = node.logs.as_deref() else { return };
    let loads = &node.setup.loads;
    let tails = node.workers.active().flat_map(|w| tails(w, loads));
    let files = tails.map(|t| t.rotation.piece(t.since, now.min(t.end)).amount);
    let on_disk = files.sum::<i64>().saturating_add(buffer(node).map_or(0, |b| b.at(now))) / 1000;
    let tips = lacking.is_some_and(|lacking| on_disk >= lacking);
    let first = logs.tally.pressed.or((tips && turns).then_some(now));
    if let Some(logs) = node.logs.as_deref_mut() {
        (logs.tips, logs.tally.pressed) = (tips, first);
    }
}

/// A pod was evicted because the node is short of disk.
pub(super) fn evicted(node: &mut NodeAgent) {
    if let Some(logs) = node.logs.as_deref_mut().filter(|l| l.tips) {
        logs.tally.evicted += 1;
    }
}

impl NodeAgent {
    /// The store of logs fails or answers again, or has more or fewer agents.
    pub fn log_store(&mut self, cx: &mut Context<'_>) {
        if self.logs.as_deref().is_some_and(|l| l.reads) {
            super::pressure::changed(self, cx);
        }
    }

    /// What has become of its logs by an instant; none if it never had any.
    #[must_use]
    pub fn log_tally(&self, now: SimTime) -> Option<Tally> {
        let mut logs = Logs::clone(self.logs.as_deref()?);
        logs.advance(now);
        let mut tally = logs.tally;
        tally.unread = logs.tails.iter().map(|t| t.unread(now).1).sum();
        if self.retired && !self.machine_up() {
            tally.gone += std::mem::take(&mut tally.buffered);
        }
        Some(tally)
    }
}
