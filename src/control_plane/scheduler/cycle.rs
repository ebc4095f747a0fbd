//! The scheduler as a component: one scheduling cycle at a time, binding cycles beside it.

use super::cache::Cache;
use super::config::SchedulerConfig;
use super::executor::{Executor, Step};
use super::framework::{ClusterEvent, Nomination, Permit, View};
use super::gang::Gangs;
use super::plugins::registry::Points;
use super::plugins::volume_binding::PodVolumes;
use super::profile::{Profile, Turn};
use super::queue::{
    Backoff, Discipline, LEFTOVER_PERIOD, MAX_UNSCHEDULABLE, SchedulingQueue, Waiting,
};
use super::report::{Failure, note};
use super::ties;
use super::volume_binder::{self, VOLUME_TOKEN, VolumeWork};
use crate::api::kevent::{KEvent, Source, Text};
use crate::api::pod::{Condition, ConditionType, Truth};
use crate::api::request::{ApiError, Op, Outcome, Request, User};
use crate::api::resources::Resources;
use crate::api::versions::ObjRef;
use crate::api::{Kind, Pod};
use crate::client::events::Series;
use crate::client::limiter::RateLimiter;
use crate::engine::{Grid, SimTime, Sym};
use crate::event::{Address, Canary, Context, Event, SchedulerEvent, What};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The pod whose scheduling cycle is under way. What becomes of it is known from the start; it
/// takes effect when the cycle ends.
#[derive(Debug, Clone)]
pub(super) struct InHand {
    pub(super) object: ObjRef,
    /// The node, or why there is none.
    pub(super) placed: Result<Sym, Failure>,
    /// Something that may help has happened since.
    pub(super) moved: bool,
    /// The pod is gone, or somebody else has bound it.
    pub(super) dropped: bool,
    /// What the queue knew, once the pod is assumed.
    waiting: Option<Waiting>,
    /// What was assumed of its volumes.
    volumes: PodVolumes,
    /// The cycle lasts until its victims have been ended.
    pub(super) preempting: bool,
}

/// A request whose answer is waited for.
#[derive(Debug, Clone)]
pub(super) enum Pending {
    /// A binding.
    Bind(Box<Binding>),
    /// A request of a pod's preemption.
    Preempt(ObjRef, Step),
}

/// A binding that was posted.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    pub(super) object: ObjRef,
    pub(super) node: Sym,
    pub(super) waiting: Waiting,
}

/// A scheduler.
#[derive(Debug, Clone)]
pub struct Scheduler {
    pub(super) address: Address,
    pub(super) config: SchedulerConfig,
    pub(super) profiles: Vec<Profile>,
    pub(super) cache: Cache,
    pub(super) queue: SchedulingQueue,
    pub(super) in_hand: Option<InHand>,
    /// Rows (of any profile) whose verdicts depend on other pods' labels.
    pub(super) topological_rows: u32,
    /// Buffer of [`Scheduler::happened`].
    pub(super) moved: Vec<ObjRef>,
    pub(super) start: usize,
    cycle_armed: bool,
    flush_armed: Option<SimTime>,
    leftover_armed: bool,
    pub(super) requests: RateLimiter,
    events: RateLimiter,
    /// Pods whose volumes are being bound, by the token of their requests.
    pub(super) volume_work: BTreeMap<u32, VolumeWork>,
    pub(super) next_volume_token: u32,
    pending: Vec<Option<Pending>>,
    pub(super) executor: Executor,
    pub(super) gangs: Gangs,
    free_tokens: Vec<u32>,
    reasons: Reasons,
    series: Series,
}

/// Words it says often.
#[derive(Debug, Clone, Copy)]
struct Reasons {
    unschedulable: Sym,
    error: Sym,
    failed: Sym,
    scheduled: Sym,
}

impl Scheduler {
    /// A scheduler that knows nothing yet: everything comes by delivery.
    #[must_use]
    pub fn new(address: Address, mut config: SchedulerConfig) -> Self {
        if !config.version.dynamic_resources() {
            for profile in &mut config.profiles {
                profile.plugins.retain(|p| p.name != "DynamicResources");
            }
        }
        let rules = Backoff {
            initial: config.initial_backoff,
            max: config.max_backoff,
            windows: config.version.pop_from_backoff(),
        };
        let profiles: Vec<Profile> = config.profiles.iter().map(Profile::new).collect();
        let limiter = RateLimiter::new(config.qps, config.burst);
        let mut made = Self {
            address,
            profiles,
            cache: Cache::new(
                config.discipline == Discipline::DominantResourceFairness,
                config.gang.is_some(),
            ),
            queue: SchedulingQueue::new(rules).ordered(config.discipline, config.attempts),
            in_hand: None,
            topological_rows: 0,
            moved: Vec::new(),
            start: 0,
            cycle_armed: false,
            flush_armed: None,
            leftover_armed: false,
            requests: limiter.clone(),
            events: limiter,
            volume_work: BTreeMap::new(),
            next_volume_token: 0,
            pending: Vec::new(),
            executor: Executor::default(),
            gangs: Gangs::default(),
            free_tokens: Vec::new(),
            series: Series::default(),
            reasons: Reasons {
                unschedulable: Sym::new("Unschedulable"),
                error: Sym::new("SchedulerError"),
                failed: Sym::new("FailedScheduling"),
                scheduled: Sym::new("Scheduled"),
            },
            config,
        };
        made.note_topological_rows();
        made
    }

    /// Adds a plugin of the user's to a profile.
    pub fn add_plugin(&mut self, profile: usize, row: super::profile::ProfileRow) {
        self.profiles[profile].add(row);
        self.note_topological_rows();
    }

    fn note_topological_rows(&mut self) {
        let native = |name: &str| super::policies::find(name).is_some();
        self.topological_rows = 0;
        for profile in &self.profiles {
            for (i, row) in profile.rows.iter().enumerate() {
                let other_pods = ["PodTopologySpread", "InterPodAffinity"].contains(&row.name);
                if other_pods || !native(row.name) {
                    self.topological_rows |= 1 << i;
                }
            }
        }
    }

    /// What it believes about nodes and pods.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The pods that wait.
    #[must_use]
    pub fn queue(&self) -> &SchedulingQueue {
        &self.queue
    }

    /// Its profiles.
    #[must_use]
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    /// Handles an event.
    pub fn handle(&mut self, event: SchedulerEvent, cx: &mut Context<'_>) {
        match event {
            SchedulerEvent::Cycle => {
                self.cycle_armed = false;
                self.cycle(cx);
            }
            SchedulerEvent::Bind => self.end_cycle(cx),
            SchedulerEvent::FlushBackoff => {
                if self.flush_armed.is_some_and(|at| at <= cx.now()) {
                    self.flush_armed = None;
                }
                self.queue.flush_backoff(cx.now());
            }
            SchedulerEvent::PollVolumes(token) => self.poll_volumes(token, cx),
            SchedulerEvent::PermitTimeout(round) => self.gang_timed_out(round, cx),
            SchedulerEvent::FlushUnschedulable => {
                self.leftover_armed = false;
                let now = cx.now();
                let mut moved = std::mem::take(&mut self.moved);
                self.queue.collect(&mut moved, |w| now.since(w.since) > MAX_UNSCHEDULABLE);
                for object in &moved {
                    self.requeue(*object, cx);
                }
                self.moved = moved;
            }
        }
        self.arm(cx);
    }

    /// Arms what is due next: a cycle if a pod is ready, the flushes while something waits.
    pub(super) fn arm(&mut self, cx: &mut Context<'_>) {
        if !self.cycle_armed && self.in_hand.is_none() && self.queue.ready() {
            self.cycle_armed = true;
            cx.schedule(cx.now(), Event::Scheduler(SchedulerEvent::Cycle));
        }
        if let Some(at) = self.queue.next_flush().map(|at| at.max(cx.now()))
            && self.flush_armed.is_none_or(|armed| at < armed)
        {
            self.flush_armed = Some(at);
            cx.schedule(at, Event::Scheduler(SchedulerEvent::FlushBackoff));
        }
        if !self.leftover_armed && self.queue.any_unschedulable() {
            self.leftover_armed = true;
            let at = Grid::new(SimTime::ZERO, LEFTOVER_PERIOD).after(cx.now());
            cx.schedule(at, Event::Scheduler(SchedulerEvent::FlushUnschedulable));
        }
    }

    /// A scheduling cycle: the decision is taken on the cache as it is now.
    fn cycle(&mut self, cx: &mut Context<'_>) {
        if self.in_hand.is_some() {
            return;
        }
        let next = if self.queue.takes_turns() {
            self.queue.pop_fairly(|ns| self.cache.dominant_share(ns))
        } else {
            self.queue.pop()
        };
        let Some(object) = next else { return };
        let Some(waiting) = self.queue.get(object) else { return };
        let (pod, profile, attempt) = (Arc::clone(&waiting.pod), waiting.profile, waiting.attempts);
        let cause = waiting.cause;
        if pod.meta.terminating() {
            self.queue.remove(object);
            let text = format!("skip schedule deleting pod: {}", pod.meta.full_name());
            self.tell(&pod, true, self.reasons.failed, Text::Plain(Sym::new(&text)), cx);
            return;
        }
        let mut turn = Turn { start: &mut self.start, ties: self.config.ties };
        let draws = cx.draws();
        let draw = |n| ties::uniform(draws, &pod, attempt, n);
        let decision = self.profiles[profile].decide(&mut self.cache, &pod, &mut turn, draw);
        let mut volumes = PodVolumes::default();
        let placed = match decision.node {
            Ok(at) => self.assume((object, &pod), profile, at, &mut volumes, cx),
            Err(failure) => Err(failure),
        };
        // The cycle before may have armed this one: its cause is what brought the pod here.
        let what = What::Scheduled {
            pod: object,
            node: placed.as_ref().copied().unwrap_or_default(),
            evaluated: decision.evaluated,
            feasible: decision.feasible,
        };
        let hop = cx.hop(cause, what);
        let waiting = if placed.is_ok() { self.queue.remove(object) } else { None };
        self.in_hand = Some(InHand {
            object,
            placed,
            moved: false,
            dropped: false,
            waiting,
            volumes,
            preempting: false,
        });
        let latency = self.config.latency;
        let took = latency.base + latency.per_node.times(u64::from(decision.evaluated));
        cx.at_hop(hop, |cx| cx.after(took, Event::Scheduler(SchedulerEvent::Bind)));
    }

    /// Assume, Reserve, Permit.
    fn assume(
        &mut self,
        (object, pod): (ObjRef, &Arc<Pod>),
        profile: usize,
        at: usize,
        volumes: &mut PodVolumes,
        cx: &Context<'_>,
    ) -> Result<Sym, Failure> {
        let view = View { cache: &self.cache, pod };
        let profile = &self.profiles[profile];
        let reserved = profile.rows_at(Points::RESERVE).all(|(_, r)| r.plugin.reserve(view, at));
        let permitted = reserved
            && profile
                .rows_at(Points::PERMIT)
                .all(|(_, r)| r.plugin.permit(view, at) == Permit::Allow);
        if !permitted {
            unreserve(profile, pod);
            return Err(Failure::refused());
        }
        if profile.binds_volumes() {
            *volumes = volume_binder::reserve(&mut self.cache, pod, at);
        }
        let node = self.cache.at(at).name;
        let mut counted = Arc::clone(pod);
        if cx.strikes(Canary::Overcommit, 1) {
            Arc::make_mut(&mut Arc::make_mut(&mut counted).spec).requests = Resources::default();
        }
        let devices = profile.devices(View { cache: &self.cache, pod }, at);
        self.cache.add_pod_with(object, &counted, node, true, devices);
        if !self.cache.nominator.is_empty() {
            self.cache.nominator.remove(object);
        }
        Ok(node)
    }

    /// The end of a scheduling cycle: its binding cycle begins, or its failure is told.
    pub(super) fn end_cycle(&mut self, cx: &mut Context<'_>) {
        let Some(mut hand) = self.in_hand.take() else { return };
        if !hand.preempting && self.preempts_in_cycle(&hand, cx) {
            hand.preempting = true;
            self.in_hand = Some(hand);
            return;
        }
        if hand.dropped {
            volume_binder::unreserve(&mut self.cache.volumes, &hand.volumes);
            return;
        }
        match (hand.placed, hand.waiting) {
            (Ok(node), Some(waiting)) => {
                let on = (hand.object, node);
                if !self.waits_for_gang(on, &waiting, &hand.volumes, cx) {
                    self.bind_now(on, waiting, hand.volumes, cx);
                }
            }
            (Ok(_), None) => {}
            (Err(failure), _) => {
                self.fail(hand.object, &failure, hand.moved, cx);
                if cx.strikes(Canary::LostPod, 4) {
                    self.queue.remove(hand.object);
                }
            }
        }
    }

    /// The binding cycle: volumes first, if there are any.
    pub(super) fn bind_now(
        &mut self,
        (object, node): (ObjRef, Sym),
        waiting: Waiting,
        volumes: PodVolumes,
        cx: &mut Context<'_>,
    ) {
        if volumes.is_empty() {
            self.bind(object, node, waiting, cx);
        } else {
            self.bind_volumes((object, node), waiting, volumes, cx);
        }
    }

    fn bind(&mut self, object: ObjRef, node: Sym, waiting: Waiting, cx: &mut Context<'_>) {
        let profile = &self.profiles[waiting.profile];
        if !profile.rows_at(Points::PRE_BIND).all(|(_, r)| r.plugin.pre_bind(&waiting.pod)) {
            self.unbind(Binding { object, node, waiting }, "a plugin failed in PreBind", cx);
            return;
        }
        self.post_binding(object, node, waiting, cx);
    }

    /// Posts the binding.
    pub(super) fn post_binding(
        &mut self,
        object: ObjRef,
        node: Sym,
        waiting: Waiting,
        cx: &mut Context<'_>,
    ) {
        let meta = &waiting.pod.meta;
        let devices = self.cache.pod(object).map(|row| row.devices).unwrap_or_default();
        let op = Op::Bind { node, devices };
        let request = Request {
            target: Some(object),
            ..Context::request(User::Scheduler, Kind::Pod, meta.ns, meta.name, op)
        };
        let binding = Box::new(Binding { object, node, waiting });
        self.send(request, Pending::Bind(binding), cx);
    }

    /// Sends a request and remembers what its answer will be about.
    pub(super) fn send(&mut self, request: Request, about: Pending, cx: &mut Context<'_>) {
        let token = self.free_tokens.pop().unwrap_or_else(|| {
            self.pending.push(None);
            crate::engine::num::u32_of(self.pending.len() - 1)
        });
        self.pending[token as usize] = Some(about);
        let at = self.requests.reserve(cx.now());
        cx.submit(at, request, Some((self.address, token)));
    }

    /// The binding failed: the pod is forgotten and tried again after a backoff.
    pub(super) fn unbind(&mut self, binding: Binding, why: &str, cx: &mut Context<'_>) {
        let Binding { object, node, waiting } = binding;
        if self.cache.pod(object).is_none_or(|row| !row.assumed) {
            // Gone, or bound after all: the watch was faster than the answer.
            return;
        }
        unreserve(&self.profiles[waiting.profile], &waiting.pod);
        if let Some(row) = self.cache.remove_pod(object) {
            let gone = Pod { node, ..(*row.pod).clone() };
            self.happened(&ClusterEvent::PodGone(&gone), None, cx);
        }
        // Where it was expected it will not be (`handleBindingCycleError`).
        let nomination = Some(Nomination::default());
        let failure = Failure { nomination, ..Failure::error(why.to_owned()) };
        let pod = Arc::clone(&waiting.pod);
        self.queue.put_back(object, waiting, cx.now());
        self.report_failure(object, &pod, &failure, cx);
    }

    /// A plugin's `PreBind` failed: the pod is told, forgotten and tried again after a backoff.
    pub(super) fn give_up(
        &mut self,
        (object, node): (ObjRef, Sym),
        waiting: Waiting,
        why: &str,
        cx: &mut Context<'_>,
    ) {
        self.unbind(Binding { object, node, waiting }, why, cx);
    }

    /// The answer to a request.
    pub fn on_answer(&mut self, token: u32, outcome: &Outcome, cx: &mut Context<'_>) {
        if token & VOLUME_TOKEN != 0 {
            self.on_volume_answer(token & !VOLUME_TOKEN, outcome, cx);
            self.arm(cx);
            return;
        }
        let slot = self.pending.get_mut(token as usize);
        let Some(about) = slot.and_then(Option::take) else { return };
        self.free_tokens.push(token);
        match about {
            Pending::Bind(binding) => self.bound(*binding, outcome, cx),
            Pending::Preempt(preemptor, step) => self.preempted((preemptor, step), outcome, cx),
        }
        self.arm(cx);
    }

    /// The answer to a binding.
    fn bound(&mut self, binding: Binding, outcome: &Outcome, cx: &mut Context<'_>) {
        let pod = Arc::clone(&binding.waiting.pod);
        if let Err(error) = outcome {
            let why =
                format!("running Bind plugin \"DefaultBinder\": {}", bind_error(*error, &pod));
            self.unbind(binding, &why, cx);
            return;
        }
        for (_, row) in self.profiles[binding.waiting.profile].rows_at(Points::POST_BIND) {
            row.plugin.post_bind(&pod);
        }
        self.tell(&pod, false, self.reasons.scheduled, Text::Assigned(binding.node), cx);
    }

    /// No node: the pod waits, and its preemption begins if there is one.
    fn fail(&mut self, object: ObjRef, failure: &Failure, moved: bool, cx: &mut Context<'_>) {
        let Some(waiting) = self.queue.get(object) else { return };
        let pod = Arc::clone(&waiting.pod);
        let gave_up = self.queue.gave_up(object);
        if let Some(nomination) = &failure.nomination
            && !nomination.victims.is_empty()
            && !gave_up
            && self.config.version.asynchronous_preemption()
        {
            let preemptor = (object, Arc::clone(&pod));
            let _ = self.preempt(preemptor, (nomination.node, &nomination.victims), cx);
        }
        let moved = moved && !gave_up;
        let held = moved && self.holds(object);
        self.queue.reject(object, failure.rejectors, moved && !held, cx.now());
        if held {
            self.queue.hold(object);
        }
        self.report_failure(object, &pod, failure, cx);
    }

    /// Before 1.33 a cycle ends its victims itself, and is not over before: true if it has begun
    /// to.
    fn preempts_in_cycle(&mut self, hand: &InHand, cx: &mut Context<'_>) -> bool {
        let Err(failure) = &hand.placed else { return false };
        let Some(nomination) = failure.nomination.as_ref().filter(|n| !n.victims.is_empty()) else {
            return false;
        };
        let hopeless = hand.dropped || self.queue.gave_up(hand.object);
        if hopeless || self.config.version.asynchronous_preemption() {
            return false;
        }
        let Some(waiting) = self.queue.get(hand.object) else { return false };
        let preemptor = (hand.object, Arc::clone(&waiting.pod));
        self.preempt(preemptor, (nomination.node, &nomination.victims), cx)
    }

    /// True if a pod's own preemption keeps it out of the queue (`PreEnqueue` of
    /// `DefaultPreemption`).
    fn holds(&self, object: ObjRef) -> bool {
        let gates = |profile: usize| {
            let mut rows = self.profiles[profile].rows_at(Points::PRE_ENQUEUE);
            rows.any(|(_, row)| row.name == "DefaultPreemption")
        };
        self.config.version.asynchronous_preemption()
            && self.executor.holds(object, &self.cache)
            && self.queue.get(object).is_some_and(|w| gates(w.profile))
    }

    /// A waiting pod may be schedulable now.
    pub(super) fn requeue(&mut self, object: ObjRef, cx: &Context<'_>) {
        if self.queue.gave_up(object) {
            return;
        }
        if self.holds(object) {
            self.queue.hold(object);
        } else {
            self.queue.requeue(object, cx.now());
            self.queue.caused_by(object, cx.seq());
        }
    }

    /// An Event, and one PATCH of the condition and the nomination if either changed. The nominator
    /// knows at once what will be written.
    fn report_failure(
        &mut self,
        object: ObjRef,
        pod: &Arc<Pod>,
        failure: &Failure,
        cx: &mut Context<'_>,
    ) {
        let nominated = failure.nomination.as_ref().map(|n| n.node);
        if nominated.is_some_and(|node| !node.is_empty()) || !self.cache.nominator.is_empty() {
            let node = nominated.unwrap_or(pod.status.nominated);
            self.cache.nominator.set(object, pod, node);
        }
        let text = Text::Plain(Sym::new(&note(&failure.message)));
        self.tell(pod, true, self.reasons.failed, text, cx);
        let reasons = self.reasons;
        let condition = Condition {
            kind: ConditionType::PodScheduled,
            status: Truth::False,
            reason: if failure.error { reasons.error } else { reasons.unschedulable },
            message: Sym::new(&failure.message),
            transition: cx.stamp(),
        };
        let same = |old: Condition| {
            (old.status, old.reason, old.message)
                == (condition.status, condition.reason, condition.message)
        };
        let nominated = nominated.filter(|node| *node != pod.status.nominated);
        let known = pod.status.condition(ConditionType::PodScheduled).is_some_and(same);
        if known && nominated.is_none() {
            return;
        }
        let op = Op::PodCondition(condition, nominated);
        let (ns, name) = (pod.meta.ns, pod.meta.name);
        let request = Request {
            target: Some(object),
            ..Context::request(User::Scheduler, Kind::Pod, ns, name, op)
        };
        let at = self.requests.reserve(cx.now());
        cx.submit(at, request, None);
    }

    /// Posts an Event about a pod.
    pub(super) fn tell(
        &mut self,
        pod: &Pod,
        warning: bool,
        reason: Sym,
        text: Text,
        cx: &mut Context<'_>,
    ) {
        let meta = &pod.meta;
        let about = (Kind::Pod, meta.ns, meta.name, meta.uid);
        let event = KEvent::new(about, (warning, reason, text), Source::Scheduler, cx.stamp());
        // A pod is bound once: nothing is ever folded into that Event.
        let op = if reason == self.reasons.scheduled {
            Op::CreateEvent(Arc::new(event), 0)
        } else {
            let version = meta.resource_version;
            let Some(op) = self.series.correlate(&event, version, cx.now()) else { return };
            op
        };
        let request = Context::request(User::Scheduler, Kind::Event, meta.ns, meta.name, op);
        let at = self.events.reserve(cx.now());
        cx.submit(at, request, None);
    }
}

/// The API server's words about a binding it refused.
fn bind_error(error: ApiError, pod: &Pod) -> String {
    let name = pod.meta.name;
    match error {
        ApiError::NotFound => format!("pods \"{name}\" not found"),
        ApiError::AlreadyExists | ApiError::Conflict => {
            format!("Operation cannot be fulfilled on pods/binding \"{name}\"")
        }
        ApiError::Forbidden(why) | ApiError::ForbiddenNamed(_, why) => {
            format!("pods \"{name}\" is forbidden: {why}")
        }
        ApiError::Invalid(why) | ApiError::Internal(why) => why.to_string(),
        ApiError::Unauthorized => "Unauthorized".to_owned(),
        ApiError::TooManyRequests(..) => {
            "the server has received too many requests and has asked us to try again later"
                .to_owned()
        }
        ApiError::Lost => "context deadline exceeded".to_owned(),
        ApiError::Unreachable => "connect: connection refused".to_owned(),
    }
}

/// Unreserve, in reverse order.
fn unreserve(profile: &Profile, pod: &Pod) {
    let rows: Vec<_> = profile.rows_at(Points::RESERVE).collect();
    for (_, row) in rows.into_iter().rev() {
        row.plugin.unreserve(pod);
    }
}
