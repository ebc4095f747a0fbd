//! Jobs: run pods to completion (source: `ctl/job/job_controller.go`, `ctl/ttlafterfinished`).
//! Plain jobs: indexed completion, pod failure policies and success policies are not modelled.

use super::support::{
    BURST, Expectations, Reporter, condition, create_pod, delete, error_text, next_batch, owned_by,
    owner_key, pod_of, pods_of, put_status, text,
};
use crate::api::kevent::Text;
use crate::api::pod::{Condition, ConditionType, ContainerState, Phase, Truth};
use crate::api::request::{ApiError, Op, Outcome, Propagation};
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::{Job, JobStatus};
use crate::api::{Kind, Name, Obj, Pod, Stamp, Uid};
use crate::client::{Cache, Call, Key, Next, Outbox, Reconcile};
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The finalizer by which a pod's end is counted exactly once.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Pod events within this span are looked at together (source: `syncJobBatchPeriod`).
const BATCH: SimDuration = SimDuration::from_secs(1);
const BACKOFF: SimDuration = SimDuration::from_secs(10);
const MAX_BACKOFF: SimDuration = SimDuration::from_secs(600);
/// Pods counted per status update at most (source: `MaxUncountedPods`).
const MAX_UNCOUNTED: usize = 500;

/// Failures since the last success.
#[derive(Debug, Clone, Default)]
struct Failures {
    n: u32,
    last: SimTime,
    /// Ended pods that are in here already but may be seen again, until they are counted.
    seen: Vec<Uid>,
}

impl Failures {
    /// When the next pod may be made. Source: `backoff_utils.go` `getRemainingTime`.
    fn until(&self) -> SimTime {
        let Some(n) = self.n.checked_sub(1) else { return SimTime::ZERO };
        self.last + BACKOFF.times(1 << n.min(10)).min(MAX_BACKOFF)
    }
}

/// The Job controller.
#[derive(Debug, Clone)]
pub struct JobController {
    reporter: Reporter,
    expected: Expectations,
    failures: FxHashMap<Uid, Failures>,
    /// Until when a look at each job is armed.
    batched: FxHashMap<Key, SimTime>,
    tracking: Sym,
}

impl Default for JobController {
    fn default() -> Self {
        Self {
            reporter: Reporter::new("job-controller", "job-controller"),
            expected: Expectations::default(),
            failures: FxHashMap::default(),
            batched: FxHashMap::default(),
            tracking: TRACKING.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Start,
    Deleting,
    Creating,
    /// The ended pods are being written down as not yet counted.
    Uncounted,
    /// Their finalizers are being removed.
    Finalizers,
    Last,
}

/// What a sync remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    step: Step,
    target: ObjRef,
    job: Option<Arc<Job>>,
    status: JobStatus,
    /// The condition that ends the job, to be set once all pods are counted.
    finish: Option<Condition>,
    /// Ended pods that carry the finalizer.
    ended: Vec<(Name, ObjRef, Uid)>,
    remaining: i32,
    batch: i32,
    /// When to look again.
    again: Option<SimTime>,
    failed: bool,
}

/// Pods of a job, sorted by what they mean to it.
#[derive(Debug, Clone, Default)]
struct Pods {
    active: Vec<(ObjRef, Arc<Pod>)>,
    succeeded: Vec<(ObjRef, Arc<Pod>)>,
    failed: Vec<(ObjRef, Arc<Pod>)>,
    terminating: i32,
    ready: i32,
}

fn finished(job: &Job) -> Option<Condition> {
    let holds = |kind| job.status.conditions.get(kind).filter(|c| c.status == Truth::True);
    holds(ConditionType::Complete).or_else(|| holds(ConditionType::Failed)).copied()
}

impl Reconcile for JobController {
    type State = State;

    fn name(&self) -> Sym {
        self.reporter.account
    }

    fn outbox(&mut self) -> Option<&mut Outbox> {
        Some(&mut self.reporter.outbox)
    }

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        _caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if change.value.kind() == Kind::Job {
            if let Some(meta) = change.value.meta().filter(|_| change.deleted) {
                self.failures.remove(&meta.uid);
            }
            let own = change.value.meta().map(|m| m.generation);
            let was = before.and_then(Obj::meta).map(|m| m.generation);
            // A change of the spec is looked at at once, the echo of a status after the batch.
            let after = if own == was && !change.deleted { BATCH } else { SimDuration::ZERO };
            self.wake(Key::of(&change.value), after, cx, wake);
            return;
        }
        let Some((key, _)) = owner_key(&change.value, Kind::Job) else { return };
        self.expected.observe(key, change, before);
        self.wake(key, BATCH, cx, wake);
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let refused = |a: &Outcome| matches!(a, Err(e) if *e != ApiError::NotFound);
        match state.step {
            Step::Start => self.start(key, state, caches, cx),
            Step::Deleting => {
                self.deleted(key, state, answers, cx);
                self.track(state, cx)
            }
            Step::Creating => self.created(key, state, answers, cx),
            Step::Uncounted | Step::Finalizers if answers.iter().any(refused) => Next::Retry,
            Step::Uncounted => self.remove_finalizers(state),
            Step::Finalizers => self.count(state, cx),
            Step::Last => {
                let failed = state.failed || answers.iter().any(refused);
                let again = state.again.map(|t| t.since(cx.now()));
                if failed { Next::Retry } else { again.map_or(Next::Done, Next::Requeue) }
            }
        }
    }
}

impl JobController {
    /// Wakes a key after a span unless an earlier look is armed.
    fn wake(
        &mut self,
        key: Key,
        after: SimDuration,
        cx: &Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let at = cx.now() + after;
        if after > SimDuration::ZERO {
            let armed = self.batched.get(&key).copied().unwrap_or_default();
            if armed > cx.now() && armed <= at {
                return;
            }
            self.batched.insert(key, at);
        }
        wake.push((key, after));
    }

    fn start(&mut self, key: Key, state: &mut State, caches: &Cache, cx: &mut Context<'_>) -> Next {
        if self.batched.get(&key).is_some_and(|at| *at <= cx.now()) {
            self.batched.remove(&key);
        }
        let found = caches.named(cx.versions(), Kind::Job, key.ns, key.name);
        let Some((target, Obj::Job(job))) = found else {
            self.expected.forget(key);
            return Next::Done;
        };
        let job = Arc::clone(job);
        state.target = target;
        state.job = Some(Arc::clone(&job));
        state.status = job.status.clone();
        let pods = self.sort(&job, caches, cx);
        if let Some(end) = finished(&job) {
            return self.after_finish(&job, end, state, &pods, cx);
        }
        if state.status.start.is_none() && !job.suspend {
            state.status.start = cx.stamp();
        }
        self.note_ended(&job, &pods, state, cx);
        state.status.active = num::i32_of(pods.active.len());
        state.status.ready = pods.ready;
        state.status.terminating = pods.terminating;
        self.decide(key, &job, &pods, state, cx)
    }

    /// Source: `getValidPodsWithFilter`, `isPodFailed`.
    fn sort(&self, job: &Job, caches: &Cache, cx: &Context<'_>) -> Pods {
        let mut pods = Pods::default();
        for (object, pod) in pods_of(job.meta.uid, caches, cx) {
            let tracked = pod.meta.has_finalizer(self.tracking.as_str());
            let gone = pod.meta.terminating();
            pods.terminating += i32::from(gone && !pod.terminal());
            if pod.active() {
                pods.ready += i32::from(pod.ready());
                pods.active.push((object, pod));
            } else if !tracked {
                continue;
            } else if pod.status.phase == Phase::Succeeded {
                pods.succeeded.push((object, pod));
            } else {
                pods.failed.push((object, pod));
            }
        }
        pods
    }

    /// Notes the pods that have ended since the last sync, and the back-off that follows.
    fn note_ended(&mut self, job: &Job, pods: &Pods, state: &mut State, cx: &Context<'_>) {
        let failures = self.failures.entry(job.meta.uid).or_default();
        let mut ends: Vec<(SimTime, bool)> = Vec::new();
        for (list, ok) in [(&pods.succeeded, true), (&pods.failed, false)] {
            for (object, pod) in list {
                if state.ended.len() >= MAX_UNCOUNTED {
                    break;
                }
                let uid = pod.meta.uid;
                state.ended.push((pod.meta.name, *object, uid));
                let status = &mut state.status;
                let noted =
                    if ok { &mut status.uncounted_succeeded } else { &mut status.uncounted_failed };
                if !noted.contains(&uid) {
                    noted.push(uid);
                }
                if !failures.seen.contains(&uid) {
                    ends.push((end_of(pod, cx), ok));
                }
            }
        }
        failures.seen = state.ended.iter().map(|e| e.2).collect();
        ends.sort();
        for (at, ok) in ends {
            failures.n = if ok { 0 } else { failures.n + 1 };
            failures.last = failures.last.max(at);
        }
    }

    fn decide(
        &mut self,
        key: Key,
        job: &Job,
        pods: &Pods,
        state: &mut State,
        cx: &mut Context<'_>,
    ) -> Next {
        let succeeded =
            state.status.succeeded + num::i32_of(state.status.uncounted_succeeded.len());
        let failed = state.status.failed + num::i32_of(state.status.uncounted_failed.len());
        if let Some(end) = self.failure(job, failed, pods, state, cx) {
            return self.fail(key, end, pods, state, cx);
        }
        let active = num::i32_of(pods.active.len());
        let enough = match job.completions {
            None => succeeded > 0 && active == 0,
            Some(n) => succeeded >= n && active == 0,
        };
        if enough {
            let kind = ConditionType::Complete;
            let two_step = cx.version().two_step_job_finish();
            let (reason, message) = if two_step {
                ("CompletionsReached", "Reached expected number of succeeded pods")
            } else {
                ("", "")
            };
            self.finish(condition(kind, Truth::True, reason, message, cx), state, cx);
            return self.track(state, cx);
        }
        self.suspend_or_resume(job, state, cx);
        self.manage(key, job, pods, state, cx)
    }

    /// Why the job has failed, if it has.
    fn failure(
        &self,
        job: &Job,
        failed: i32,
        pods: &Pods,
        state: &mut State,
        cx: &Context<'_>,
    ) -> Option<Condition> {
        let kind = ConditionType::Failed;
        if let Some(target) = job.status.conditions.get(ConditionType::FailureTarget) {
            return Some(Condition { kind, transition: cx.stamp(), ..*target });
        }
        let restarts: u32 = pods
            .active
            .iter()
            .flat_map(|(_, p)| p.status.containers.iter())
            .map(|c| c.restarts)
            .sum();
        let on_failure =
            job.template.spec.restart == crate::api::pod::RestartPolicy::OnFailure && restarts > 0;
        let limit = i64::from(job.backoff_limit);
        if i64::from(failed) > limit || on_failure && i64::from(restarts) >= limit {
            let message = "Job has reached the specified backoff limit";
            return Some(condition(kind, Truth::True, "BackoffLimitExceeded", message, cx));
        }
        let deadline = job.active_deadline_s.filter(|_| !job.suspend)?;
        let end = cx.time_of(state.status.start) + SimDuration::from_secs(u64::from(deadline));
        if end <= cx.now() {
            let message = "Job was active longer than specified deadline";
            return Some(condition(kind, Truth::True, "DeadlineExceeded", message, cx));
        }
        state.again = Some(state.again.map_or(end, |t| t.min(end)));
        None
    }

    /// Deletes what still runs, then ends the job.
    fn fail(
        &mut self,
        key: Key,
        end: Condition,
        pods: &Pods,
        state: &mut State,
        cx: &mut Context<'_>,
    ) -> Next {
        let two_step = cx.version().two_step_job_finish();
        if !two_step {
            // The pods deleted here count as failed at once.
            state.status.failed += num::i32_of(pods.active.len());
            state.status.ready = 0;
        }
        state.status.active = 0;
        self.finish(end, state, cx);
        if pods.active.is_empty() {
            return self.track(state, cx);
        }
        if two_step {
            // Final only after every pod has ended.
            state.finish = None;
        }
        self.delete_pods(key, &pods.active, state, cx)
    }

    fn delete_pods(
        &mut self,
        key: Key,
        pods: &[(ObjRef, Arc<Pod>)],
        state: &mut State,
        cx: &Context<'_>,
    ) -> Next {
        state.step = Step::Deleting;
        let uids = pods.iter().map(|(_, p)| p.meta.uid).collect();
        self.expected.expect_deletions(key, uids, cx.now());
        Next::Call(pods.iter().map(|(o, p)| delete(Kind::Pod, &p.meta, Some(*o))).collect())
    }

    fn deleted(&mut self, key: Key, state: &mut State, answers: &[Outcome], cx: &Context<'_>) {
        let Some(job) = state.job.clone() else { return };
        for answer in answers {
            match answer {
                Ok(success) => {
                    let text = Text::DeletedPod(success.value.key().1);
                    self.reporter.normal(Kind::Job, &job.meta, "SuccessfulDelete", text, cx);
                }
                Err(ApiError::NotFound) => {}
                Err(_) => {
                    self.expected.forget(key);
                    state.failed = true;
                }
            }
        }
    }

    /// Sets the condition that ends the job: in 1.35 the one before it first, while pods end.
    fn finish(&mut self, end: Condition, state: &mut State, cx: &Context<'_>) {
        if !cx.version().two_step_job_finish() {
            state.finish = Some(end);
            return;
        }
        let kind = if end.kind == ConditionType::Complete {
            ConditionType::SuccessCriteriaMet
        } else {
            ConditionType::FailureTarget
        };
        if state.status.conditions.get(kind).is_none() {
            state.status.conditions.set(Condition { kind, ..end });
        }
        if state.status.terminating == 0 {
            state.finish = Some(end);
        }
    }

    fn suspend_or_resume(&mut self, job: &Job, state: &mut State, cx: &Context<'_>) {
        let kind = ConditionType::Suspended;
        let was = state.status.conditions.get(kind).is_some_and(|c| c.status == Truth::True);
        if job.suspend == was || !job.suspend && state.status.conditions.get(kind).is_none() {
            return;
        }
        let (status, reason, message) = if job.suspend {
            (Truth::True, "JobSuspended", "Job suspended")
        } else {
            (Truth::False, "JobResumed", "Job resumed")
        };
        state.status.conditions.set(condition(kind, status, reason, message, cx));
        state.status.start = if job.suspend { Stamp::NONE } else { cx.stamp() };
        let event = if job.suspend { "Suspended" } else { "Resumed" };
        self.reporter.normal(Kind::Job, &job.meta, event, text(message), cx);
    }

    /// Makes or deletes pods. Source: `manageJob`.
    fn manage(
        &mut self,
        key: Key,
        job: &Job,
        pods: &Pods,
        state: &mut State,
        cx: &mut Context<'_>,
    ) -> Next {
        let succeeded =
            state.status.succeeded + num::i32_of(state.status.uncounted_succeeded.len());
        if job.meta.terminating() || !self.expected.satisfied(key, cx.now()) {
            return self.track(state, cx);
        }
        let active = num::i32_of(pods.active.len());
        let wanted = match job.completions {
            _ if job.suspend => 0,
            None if succeeded > 0 => active,
            None => job.parallelism,
            Some(n) => job.parallelism.min(n - succeeded).max(0),
        };
        if active > wanted {
            let n = num::index(u64::try_from(active - wanted).unwrap_or(0));
            let mut victims = pods.active.clone();
            // Those not ready first, of equal ones the newest.
            victims.sort_by_key(|(_, p)| (p.ready(), std::cmp::Reverse(p.meta.created)));
            victims.truncate(n);
            state.status.active = wanted;
            return self.delete_pods(key, &victims, state, cx);
        }
        let missing = (wanted - active).min(BURST);
        if missing <= 0 {
            return self.track(state, cx);
        }
        let until = self.failures.get(&job.meta.uid).map_or(SimTime::ZERO, Failures::until);
        if until > cx.now() {
            state.again = Some(state.again.map_or(until, |t| t.min(until)));
            return self.track(state, cx);
        }
        self.expected.expect_creations(key, missing, cx.now());
        state.remaining = missing;
        state.batch = 0;
        state.step = Step::Creating;
        self.create_batch(state)
    }

    fn create_batch(&self, state: &mut State) -> Next {
        let Some(job) = state.job.clone() else { return Next::Done };
        state.batch = next_batch(state.batch, state.remaining);
        let template = &job.template;
        let owners = owned_by(Kind::Job, &job.meta);
        let mut pod = pod_of(template, template.labels, job.meta.ns, job.meta.name, owners);
        pod.meta.finalizers = Some([self.tracking].into());
        Next::Call((0..state.batch).map(|_| create_pod(pod.clone(), true)).collect())
    }

    fn created(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(job) = state.job.clone() else { return Next::Done };
        for answer in answers {
            state.remaining -= 1;
            match answer {
                Ok(success) => {
                    state.status.active += 1;
                    let text = Text::CreatedPod(success.value.key().1);
                    self.reporter.normal(Kind::Job, &job.meta, "SuccessfulCreate", text, cx);
                }
                Err(error) => {
                    self.expected.created(key, 1);
                    state.failed = true;
                    let message = text(&format!("Error creating: {}", error_text(*error)));
                    self.reporter.warning(Kind::Job, &job.meta, "FailedCreate", message, cx);
                }
            }
        }
        if state.failed {
            self.expected.created(key, state.remaining);
            state.remaining = 0;
        }
        if state.remaining > 0 {
            return self.create_batch(state);
        }
        self.track(state, cx)
    }

    /// Writes down the ended pods, removes their finalizers, then counts them.
    /// Source: `trackJobStatusAndRemoveFinalizers`.
    fn track(&mut self, state: &mut State, cx: &mut Context<'_>) -> Next {
        if state.ended.is_empty() {
            return self.count(state, cx);
        }
        state.step = Step::Uncounted;
        self.put(state)
    }

    fn put(&self, state: &State) -> Next {
        let Some(job) = state.job.as_ref() else { return Next::Done };
        let mut object = Job::clone(job);
        object.status = state.status.clone();
        Next::Call(vec![put_status(Obj::Job(Arc::new(object)), state.target)])
    }

    fn remove_finalizers(&self, state: &mut State) -> Next {
        let Some(job) = state.job.as_ref() else { return Next::Done };
        let ns = job.meta.ns;
        state.step = Step::Finalizers;
        let op = Op::RemoveFinalizer(self.tracking);
        let call = |(name, object, _): &(Name, ObjRef, Uid)| Call {
            kind: Kind::Pod,
            ns,
            name: *name,
            target: Some(*object),
            op: op.clone(),
        };
        Next::Call(state.ended.iter().map(call).collect())
    }

    /// Moves what was written down into the counters, ends the job if it is time, and puts the
    /// status if it has changed.
    fn count(&mut self, state: &mut State, cx: &mut Context<'_>) -> Next {
        let Some(job) = state.job.clone() else { return Next::Done };
        let wrote = state.step == Step::Finalizers;
        let status = &mut state.status;
        status.succeeded += num::i32_of(std::mem::take(&mut status.uncounted_succeeded).len());
        status.failed += num::i32_of(std::mem::take(&mut status.uncounted_failed).len());
        if let Some(end) = state.finish.take() {
            status.conditions.set(end);
            if end.kind == ConditionType::Complete {
                status.completion = cx.stamp();
                let message = text("Job completed");
                self.reporter.normal(Kind::Job, &job.meta, "Completed", message, cx);
            } else {
                let (reason, message) = (end.reason.as_str(), Text::Plain(end.message));
                self.reporter.warning(Kind::Job, &job.meta, reason, message, cx);
            }
        }
        state.step = Step::Last;
        if *status == job.status && !wrote {
            let again = state.again.map(|t| t.since(cx.now()));
            return if state.failed {
                Next::Retry
            } else {
                again.map_or(Next::Done, Next::Requeue)
            };
        }
        if wrote {
            // The write before this one is ours: what it changed is no conflict.
            return self.put_again(state);
        }
        self.put(state)
    }

    /// Puts the status over our own write of this sync, whose revision the cache may not show yet.
    fn put_again(&self, state: &State) -> Next {
        let Some(job) = state.job.as_ref() else { return Next::Done };
        let mut object = Job::clone(job);
        object.status = state.status.clone();
        object.meta.resource_version = 0;
        Next::Call(vec![put_status(Obj::Job(Arc::new(object)), state.target)])
    }

    /// A finished job: loose ends, and its end by ttl.
    fn after_finish(
        &self,
        job: &Job,
        end: Condition,
        state: &mut State,
        pods: &Pods,
        cx: &Context<'_>,
    ) -> Next {
        let loose: Vec<(Name, ObjRef, Uid)> = pods
            .succeeded
            .iter()
            .chain(&pods.failed)
            .chain(&pods.active)
            .filter(|(_, p)| p.meta.has_finalizer(self.tracking.as_str()))
            .map(|(object, p)| (p.meta.name, *object, p.meta.uid))
            .collect();
        if !loose.is_empty() {
            state.ended = loose;
            let next = self.remove_finalizers(state);
            state.step = Step::Last;
            return next;
        }
        let Some(ttl) = job.ttl_s.filter(|_| !job.meta.terminating()) else { return Next::Done };
        let at = cx.time_of(end.transition) + SimDuration::from_secs(u64::from(ttl));
        if at > cx.now() {
            return Next::Requeue(at.since(cx.now()));
        }
        state.step = Step::Last;
        let propagation = Some(Propagation::Foreground);
        let op = Op::Delete { grace_s: None, propagation, uid: Some(job.meta.uid) };
        let (ns, name, target) = (job.meta.ns, job.meta.name, Some(state.target));
        Next::Call(vec![Call { kind: Kind::Job, ns, name, target, op }])
    }
}

/// When a pod ended: its last container's end, or now.
fn end_of(pod: &Pod, cx: &Context<'_>) -> SimTime {
    let ends = pod.status.containers.iter().filter_map(|c| match c.state {
        ContainerState::Terminated { finished, .. } => Some(finished),
        ContainerState::Waiting { .. } | ContainerState::Running { .. } => None,
    });
    ends.max().map_or(cx.now(), |stamp| cx.time_of(stamp))
}
