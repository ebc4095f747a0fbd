//! Pulling images: what a container's pull policy asks for, one pull after another or several at
//! once, and the back-off of those that fail. Sources: behaviour reference §4.4;
//! `pkg/kubelet/images/image_manager.go`, `kuberuntime_container.go` `startContainer`.

use super::NodeAgent;
use super::ending::over;
use super::kubelet::{advance, create, event, trace};
use super::registry::{host, kib};
use super::restarts;
use super::runtime::RunState;
use super::worker::Worker;
use crate::api::kevent::Text;
use crate::api::pod::PullPolicy;
use crate::engine::digest::mix;
use crate::engine::intern::Known;
use crate::engine::{Purpose, SimDuration, SimTime, Sym, num};
use crate::event::{Context, Event, NodeEvent, RegistryEvent};
use smallvec::SmallVec;
use std::collections::VecDeque;

static PULLED: Known = Known::new("Pulled");
static PULLING: Known = Known::new("Pulling");
static BACK_OFF: Known = Known::new("BackOff");
pub(super) static FAILED: Known = Known::new("Failed");
pub(super) static NEVER: Known = Known::new("ErrImageNeverPull");
static ERROR: Known = Known::new("ErrImagePull");
static BACKING_OFF: Known = Known::new("ImagePullBackOff");
static CONFIG_ERROR: Known = Known::new("CreateContainerConfigError");

/// First back-off of a pull that failed, and the longest one (source: behaviour reference §4.1).
const FIRST: SimDuration = SimDuration::from_secs(10);
const LONGEST: SimDuration = SimDuration::from_secs(300);
/// How long a registry takes to say that an image is as it was, or that it does not answer: nobody
/// has measured it for us.
const ASKED: (u64, u64) = (100_000_000, 500_000_000);

/// A container that waits for its image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanting {
    container: u16,
    /// What its status says, once a sync has come by.
    reason: Sym,
    pub(super) shown: Sym,
    /// The last failure, and how long nothing is tried after it.
    failed: SimTime,
    back_off: SimDuration,
    /// It is being pulled.
    under_way: bool,
}

/// A pull.
#[derive(Debug, Clone, Copy)]
struct Pull {
    pod: u32,
    container: u16,
    image: Sym,
    /// What asked for it.
    cause: u64,
    /// When it was begun; none while it waits for its turn.
    began: Option<SimTime>,
    /// When it ends, where the registry has no say in that.
    ends: Option<SimTime>,
    /// It fails: nobody answers.
    fails: bool,
}

/// The pulls of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulls {
    waiting: VecDeque<Pull>,
    active: Vec<Pull>,
    /// Registries that do not answer; empty text for all of them.
    down: Vec<Sym>,
}

impl Pulls {
    /// The machine has lost power.
    pub(super) fn reset(&mut self) {
        *self = Self { down: std::mem::take(&mut self.down), ..Self::default() };
    }

    fn answers(&self, image: Sym) -> bool {
        let host = host(image.as_str());
        !self.down.iter().any(|d| d.is_empty() || d.as_str() == host)
    }
}

/// What became of the wish for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ensured {
    /// It is there.
    There,
    /// It will come, or not: that is told later.
    Asked,
    /// Not now.
    Refused,
}

/// A container needs its image.
pub(super) fn ensure(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) -> Ensured {
    let Some(worker) = node.workers.get(id) else { return Ensured::Refused };
    let (image, policy) = (worker.container(i).image, worker.container(i).pull);
    let there = node.images.has(image);
    if there && policy != PullPolicy::Always {
        node.images.touch(image, cx.now());
        event(node, id, &PULLED, Text::ImagePresent(image), cx);
        return Ensured::There;
    }
    if policy == PullPolicy::Never {
        let text = format!("Container image \"{image}\" is not present with pull policy of Never");
        refused(node, id, i, &NEVER, cx);
        event(node, id, &NEVER, Text::Plain(Sym::new(&text)), cx);
        told(node, id, &NEVER, cx);
        return Ensured::Refused;
    }
    let waits = wanting(worker, i).is_some_and(|w| cx.now() < w.failed + w.back_off);
    if waits {
        refused(node, id, i, &BACKING_OFF, cx);
        let text = format!("Back-off pulling image \"{image}\"");
        event(node, id, &BACK_OFF, Text::Plain(Sym::new(&text)), cx);
        told(node, id, &BACKING_OFF, cx);
        return Ensured::Refused;
    }
    event(node, id, &PULLING, Text::Pulling(image), cx);
    if let Some(wanting) = wanting_mut(node, id, i) {
        wanting.under_way = true;
    }
    let container = u16::try_from(i).unwrap_or(u16::MAX);
    let (began, ends, cause) = (None, None, cx.seq());
    let pull = Pull { pod: id, container, image, cause, began, ends, fails: false };
    node.pulls.waiting.push_back(pull);
    start_next(node, cx);
    Ensured::Asked
}

/// `Error: ErrImagePull` and its like.
fn told(node: &mut NodeAgent, id: u32, why: &Known, cx: &mut Context<'_>) {
    let text = format!("Error: {}", why.sym());
    event(node, id, &FAILED, Text::Plain(Sym::new(&text)), cx);
}

fn wanting(worker: &Worker, i: usize) -> Option<&Wanting> {
    worker.rare()?.wanting.iter().find(|w| usize::from(w.container) == i)
}

fn wanting_mut(node: &mut NodeAgent, id: u32, i: usize) -> Option<&mut Wanting> {
    let list = &mut node.workers.get_mut(id)?.rare.as_deref_mut()?.wanting;
    list.iter_mut().find(|w| usize::from(w.container) == i)
}

/// Why a container waits for its image, as its status says; empty if it does not.
pub(super) fn shown(worker: &Worker, i: usize) -> Sym {
    wanting(worker, i).map(|w| w.shown).unwrap_or_default()
}

/// What earlier syncs said of images is shown by the next status; true if that is news.
pub(super) fn show(worker: &mut Worker) -> bool {
    let mut news = false;
    if let Some(rare) = worker.rare.as_deref_mut() {
        for wanting in &mut rare.wanting {
            news |= std::mem::replace(&mut wanting.shown, wanting.reason) != wanting.reason;
        }
    }
    news
}

/// The container does not get its image now.
fn refused(node: &mut NodeAgent, id: u32, i: usize, why: &Known, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    if wanting(worker, i).is_none() {
        let container = u16::try_from(i).unwrap_or(u16::MAX);
        let fresh = Wanting {
            container,
            reason: Sym::EMPTY,
            shown: Sym::EMPTY,
            failed: cx.now(),
            back_off: SimDuration::ZERO,
            under_way: false,
        };
        worker.rare_mut().wanting.push(fresh);
    }
    if let Some(wanting) = wanting_mut(node, id, i) {
        (wanting.reason, wanting.under_way) = (why.sym(), false);
    }
}

/// The image is there, but not what the environment is made from: the next sync tries again.
pub(super) fn unconfigured(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) {
    refused(node, id, i, &CONFIG_ERROR, cx);
    let now = cx.now();
    if let Some(wanting) = wanting_mut(node, id, i) {
        (wanting.failed, wanting.back_off) = (now, FIRST);
    }
    gone_without(node, id, i, cx);
}

/// The container waits for nothing any more.
pub(super) fn content(node: &mut NodeAgent, id: u32, i: usize) {
    let rare = node.workers.get_mut(id).and_then(|w| w.rare.as_deref_mut());
    if let Some(rare) = rare.filter(|r| !r.wanting.is_empty()) {
        rare.wanting.retain(|w| usize::from(w.container) != i);
    }
}

/// Begins the pulls that may begin.
fn start_next(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let most = usize::try_from(node.setup.kubelet.parallel_pulls).unwrap_or(usize::MAX);
    while node.pulls.active.len() < most {
        let Some(mut pull) = node.pulls.waiting.pop_front() else { return };
        if node.workers.get(pull.pod).is_none_or(over) {
            continue;
        }
        pull.began = Some(cx.now());
        pull.fails = !node.pulls.answers(pull.image);
        pull.ends = cx.at_hop(pull.cause, |cx| begin(node, pull, cx));
        node.pulls.active.push(pull);
    }
}

/// A pull begins: the registry is asked, then what is missing is transferred. Gives the instant at
/// which it is over, where that is known.
fn begin(node: &mut NodeAgent, pull: Pull, cx: &mut Context<'_>) -> Option<SimTime> {
    let missing = node.images.missing(&node.setup.catalog.layers(pull.image));
    let (pod, container) = (pull.pod, pull.container);
    let span = if pull.fails || missing == 0 {
        let entity = node.workers.get(pod).map_or(0, |w| w.name.stable_hash());
        let mut draw = cx.draw(mix(entity, cx.now().0), Purpose("registry"), u64::from(container));
        SimDuration(ASKED.0 + draw.below(ASKED.1 - ASKED.0))
    } else if node.shares_bandwidth() {
        let (node, incarnation, kib) = (node.index, node.incarnation, kib(missing));
        let event = RegistryEvent::Pull { node, incarnation, pod, container, kib };
        cx.schedule(cx.now(), Event::Registry(event));
        return None;
    } else {
        let bytes = num::float_u(num::u64_of(missing));
        let per_second = num::float_u(node.setup.latencies.pull_bytes_per_s.max(1));
        SimDuration::from_secs_f64(bytes / per_second).times(u64::from(node.slow))
    };
    node.schedule(span, NodeEvent::ImageReady { pod, container }, cx);
    Some(cx.now() + span)
}

impl NodeAgent {
    /// True if transfers of this node share a bandwidth with each other or with those of others.
    fn shares_bandwidth(&self) -> bool {
        self.setup.shared_registry || self.setup.kubelet.parallel_pulls > 1
    }
}

/// A pull whose end the machine has slept through ends later.
pub(super) fn overslept(
    node: &mut NodeAgent,
    (pod, container): (u32, u16),
    was: SimTime,
    at: SimTime,
) {
    let this = |p: &&mut Pull| (p.pod, p.container) == (pod, container) && p.ends == Some(was);
    if let Some(pull) = node.pulls.active.iter_mut().find(this) {
        pull.ends = Some(at);
    }
}

/// A pull is over: the image is there, or nobody has answered.
pub(super) fn over_with(node: &mut NodeAgent, pod: u32, container: u16, cx: &mut Context<'_>) {
    let now = cx.now();
    let this = |p: &Pull| {
        (p.pod, p.container) == (pod, container) && p.ends.is_none_or(|ends| ends == now)
    };
    let Some(at) = node.pulls.active.iter().position(this) else { return };
    let pull = node.pulls.active.remove(at);
    if pull.fails {
        failed(node, pull, cx);
    } else {
        done(node, pull, cx);
    }
    start_next(node, cx);
}

fn done(node: &mut NodeAgent, pull: Pull, cx: &mut Context<'_>) {
    let now = cx.now();
    let layers = node.setup.catalog.layers(pull.image);
    node.images.add(pull.image, layers, now);
    super::pressure::disk_changed(node, cx);
    let i = usize::from(pull.container);
    let Some(worker) = node.workers.get_mut(pull.pod).filter(|w| !over(w)) else { return };
    if let Some(rare) = worker.rare.as_deref_mut() {
        rare.wanting.retain(|w| usize::from(w.container) != i);
    }
    let ms = now.since(pull.began.unwrap_or(now)).as_millis();
    let text = Text::Pulled(pull.image, u32::try_from(ms).unwrap_or(u32::MAX));
    event(node, pull.pod, &PULLED, text, cx);
    node.images.touch(pull.image, now);
    if node.workers.get(pull.pod).is_some_and(|w| w.starting(i)) {
        create(node, pull.pod, cx);
    } else {
        restarts::create(node, pull.pod, i, cx);
    }
}

/// Nobody has answered: the back-off begins, or doubles; app containers do not wait for each other.
fn failed(node: &mut NodeAgent, pull: Pull, cx: &mut Context<'_>) {
    let (now, id, i) = (cx.now(), pull.pod, usize::from(pull.container));
    if node.workers.get(id).is_none_or(over) {
        return;
    }
    refused(node, id, i, &ERROR, cx);
    if let Some(wanting) = wanting_mut(node, id, i) {
        let expired = now.since(wanting.failed) > LONGEST.times(2);
        wanting.back_off = match wanting.back_off {
            SimDuration::ZERO => FIRST,
            _ if expired => FIRST,
            longer => longer.times(2).min(LONGEST),
        };
        wanting.failed = now;
    }
    let (image, host) = (pull.image, host(pull.image.as_str()));
    let text = format!(
        "Failed to pull image \"{image}\": failed to pull and unpack image \"{image}\": failed to \
         resolve reference \"{image}\": failed to do request: Head \"https://{host}/v2/\": dial tcp: \
         connect: connection refused"
    );
    event(node, id, &FAILED, Text::Plain(Sym::new(&text)), cx);
    told(node, id, &ERROR, cx);
    trace(node, id, "the image cannot be pulled", cx);
    gone_without(node, id, i, cx);
}

/// A container goes without its image: the next app container is tried, and the next list shows it.
pub(super) fn gone_without(node: &mut NodeAgent, id: u32, i: usize, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    worker.dirty = true;
    worker.runs[i].starting = false;
    if i >= worker.n_init() && worker.starting(i) {
        advance(node, id, cx);
    }
    node.arm_relist(cx);
}

/// A sync: containers that never started for want of their image are tried again.
pub(super) fn again(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id).filter(|w| !over(w)) else { return };
    let Some(rare) = worker.rare().filter(|r| !r.wanting.is_empty()) else { return };
    let mut list: SmallVec<[usize; 2]> = SmallVec::new();
    let mut waits = false;
    let config = CONFIG_ERROR.sym();
    for wanting in rare.wanting.iter().filter(|w| !w.under_way) {
        let i = usize::from(wanting.container);
        if wanting.reason == config && cx.now() < wanting.failed + wanting.back_off {
            waits = true;
            continue;
        }
        if worker.runs[i].state() == RunState::Created && !worker.runs[i].starting {
            list.push(i);
        }
    }
    for i in list {
        match ensure(node, id, i, cx) {
            Ensured::There => {
                if node.workers.get(id).is_some_and(|w| w.starting(i)) {
                    create(node, id, cx);
                } else {
                    restarts::create(node, id, i, cx);
                }
            }
            Ensured::Asked => {}
            Ensured::Refused => waits = true,
        }
    }
    if waits {
        restarts::failed_sync(node, id, cx);
    }
}

/// A registry stops to answer, or answers again; empty text for all of them.
pub(super) fn registry(node: &mut NodeAgent, host: Sym, up: bool, cx: &mut Context<'_>) {
    if up {
        if let Some(at) = node.pulls.down.iter().position(|d| *d == host) {
            node.pulls.down.remove(at);
        }
        return;
    }
    node.pulls.down.push(host);
    let active = std::mem::take(&mut node.pulls.active);
    let (lost, kept): (Vec<Pull>, Vec<Pull>) =
        active.into_iter().partition(|p| !p.fails && !node.pulls.answers(p.image));
    node.pulls.active = kept;
    for pull in lost {
        cancel(node, pull, cx);
        failed(node, pull, cx);
    }
    start_next(node, cx);
}

fn cancel(node: &NodeAgent, pull: Pull, cx: &mut Context<'_>) {
    if pull.ends.is_none() {
        let (pod, container) = (pull.pod, pull.container);
        let cancel = RegistryEvent::Cancel { node: node.index, pod, container };
        cx.schedule(cx.now(), Event::Registry(cancel));
    }
}

/// The machine loses power: nothing is transferred any more.
pub(super) fn crash(node: &mut NodeAgent, cx: &mut Context<'_>) {
    for pull in std::mem::take(&mut node.pulls.active) {
        cancel(node, pull, cx);
    }
    node.pulls.reset();
}
