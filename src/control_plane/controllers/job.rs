//! Jobs: run pods to completion (source: `ctl/job/job_controller.go`). The rules by which pods are
//! counted stand in `jobplan`.

use super::claims::Claims;
use super::jobplan::{self, Pods};
use super::support::{
    BURST, Expectations, Reporter, condition, create_pod, delete, namespace_going, next_batch,
    owned_by, owner_key, pod_of, put_status, reports, resync_at, text, unnamed_text,
};
use crate::api::kevent::Text;
use crate::api::pod::{Condition, ConditionType, Truth};
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::{Job, JobStatus};
use crate::api::{Kind, Name, Obj, Pod, Stamp, Uid};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The finalizer by which a pod's end is counted exactly once.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Pod events within this span are looked at together (source: `syncJobBatchPeriod`).
const BATCH: SimDuration = SimDuration::from_secs(1);
/// Pods counted per status update at most (source: `MaxUncountedPods`).
const MAX_UNCOUNTED: usize = 500;

/// Failures since the last success.
#[derive(Debug, Clone, Default)]
struct Failures {
    n: u32,
    last: SimTime,
    /// Ended pods that are in here already but may be seen again, until they are counted.
    seen: Vec<Uid>,
    /// Of a job with a limit per index: failures of each index, and the end of the last one.
    by_index: BTreeMap<i32, (u32, SimTime)>,
}

impl Failures {
    /// When the next pod may be made. Source: `backoff_utils.go` `getRemainingTime`.
    fn until(&self) -> SimTime {
        self.last + jobplan::backoff(self.n)
    }
}

/// The end of a pod: when, whether it succeeded, its index and how often that has failed by now.
type End = (SimTime, bool, Option<(i32, i32)>);

/// The Job controller.
#[derive(Debug, Clone)]
pub struct JobController {
    reporter: Reporter,
    claims: Claims,
    expected: Expectations,
    failures: FxHashMap<Uid, Failures>,
    /// Jobs that are gone, by name, whose pods have not been let go of.
    gone: FxHashMap<Key, Uid>,
    tracking: Sym,
}

impl Default for JobController {
    fn default() -> Self {
        Self {
            reporter: Reporter::new("job-controller", "job-controller"),
            claims: Claims::holding(Kind::Job, Kind::Pod, TRACKING),
            expected: Expectations::default(),
            failures: FxHashMap::default(),
            gone: FxHashMap::default(),
            tracking: TRACKING.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Start,
    Claiming,
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
    /// What this sync has written of the status last.
    written: Option<JobStatus>,
    /// Why a rule of the failure policy ends the job.
    fails: Option<String>,
    /// Pods still to be made, of an indexed job by index.
    remaining: i32,
    indexes: Vec<i32>,
    batch: i32,
    /// When to look again.
    again: Option<SimTime>,
    failed: bool,
}

fn finished(job: &Job) -> bool {
    jobplan::finished(job).is_some()
}

impl Reconcile for JobController {
    type State = State;

    reports!();

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if change.value.kind() == Kind::Job {
            if let Some(meta) = change.value.meta().filter(|_| change.deleted) {
                self.failures.remove(&meta.uid);
                self.gone.insert(Key::of(&change.value), meta.uid);
            }
            self.claims.on_owner(change, before, caches, cx);
            let own = change.value.meta().map(|m| m.generation);
            let was = before.and_then(Obj::meta).map(|m| m.generation);
            // A change of the spec is looked at at once, the echo of a status after the batch.
            let after = if own == was && !change.deleted { BATCH } else { SimDuration::ZERO };
            wake.push((Key::of(&change.value), after));
            return;
        }
        self.claims.on_child(change, before, caches, cx, wake);
        let Some((key, _)) = owner_key(&change.value, Kind::Job) else { return };
        self.expected.observe(key, change, before);
        self.note_orphan(key, change, caches, cx);
        wake.push((key, BATCH));
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
            Step::Claiming if self.claims.settled(key, answers) => Next::Done,
            Step::Claiming => Next::Retry,
            Step::Deleting => {
                self.deleted(key, state, answers, cx);
                self.track(key, state, cx)
            }
            Step::Creating => self.created(key, state, answers, cx),
            Step::Uncounted | Step::Finalizers if answers.iter().any(refused) => Next::Retry,
            Step::Uncounted => {
                state.written = Some(state.status.clone());
                self.remove_finalizers(key.ns, state)
            }
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
    /// A pod may outlive its job, whose controller must let go of it all the same.
    fn note_orphan(&mut self, key: Key, change: &Change, caches: &Cache, cx: &Context<'_>) {
        let Some(meta) = change.value.meta().filter(|_| !change.deleted) else { return };
        let Some(owner) = meta.controller() else { return };
        let found = caches.named(cx.versions(), Kind::Job, key.ns, key.name);
        let lives = found.and_then(|(_, o)| o.meta()).is_some_and(|m| m.uid == owner.uid);
        if !lives && meta.has_finalizer(self.tracking.as_str()) {
            self.gone.insert(key, owner.uid);
        }
    }

    /// Pods of a job that is gone keep no finalizer (source: `job_controller.go` `syncOrphanPod`).
    fn let_go(
        &mut self,
        key: Key,
        state: &mut State,
        caches: &Cache,
        cx: &Context<'_>,
    ) -> Option<Next> {
        let uid = self.gone.remove(&key)?;
        let pods = caches.owned(uid, Kind::Pod).filter_map(|object| {
            let pod = caches.get(cx.versions(), Kind::Pod, object)?.as_pod()?;
            let held = pod.meta.has_finalizer(self.tracking.as_str());
            held.then_some((pod.meta.name, object, pod.meta.uid))
        });
        state.ended = pods.collect();
        if state.ended.is_empty() {
            return None;
        }
        // A job of the same name is looked at once this is done.
        state.again = Some(cx.now());
        let next = self.remove_finalizers(key.ns, state);
        state.step = Step::Last;
        Some(next)
    }

    fn start(&mut self, key: Key, state: &mut State, caches: &Cache, cx: &mut Context<'_>) -> Next {
        if let Some(next) = self.let_go(key, state, caches, cx) {
            return next;
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
        let claims = self.claims.take(key, &job.meta, &job.selector, (caches, |_| true), cx);
        if !claims.is_empty() {
            state.step = Step::Claiming;
            return Next::Call(claims);
        }
        if self.claims.waits(key, cx.now()) {
            return Next::Done;
        }
        let pods = Pods::of(&job, self.tracking.as_str(), caches, cx);
        if finished(&job) {
            return self.after_finish(&job, state, &pods);
        }
        if state.status.start.is_none() && !job.suspend {
            state.status.start = cx.stamp();
        }
        self.note_ended(&job, &pods, state, cx);
        state.status.active = num::i32_of(pods.active.len());
        state.status.ready = pods.ready;
        state.status.terminating = num::i32_of(pods.leaving.len());
        self.decide(key, &job, &pods, state, cx)
    }

    /// Notes the pods that have ended since the last sync, and the back-off that follows.
    /// Source: the first half of `trackJobStatusAndRemoveFinalizers`.
    fn note_ended(&mut self, job: &Job, pods: &Pods, state: &mut State, cx: &Context<'_>) {
        let failures = self.failures.entry(job.meta.uid).or_default();
        let mut ends: Vec<End> = Vec::new();
        let all = pods.succeeded.iter().map(|p| (p, true));
        for ((object, pod), ok) in all.chain(pods.failed.iter().map(|p| (p, false))) {
            if state.ended.len() >= MAX_UNCOUNTED {
                break;
            }
            let uid = pod.meta.uid;
            state.ended.push((pod.meta.name, *object, uid));
            let index = jobplan::index_of(job, pod);
            note_one(job, pod, (ok, index), state);
            if !failures.seen.contains(&uid) {
                let counted = index.map(|i| (i, jobplan::index_failures(pod) + 1));
                ends.push((jobplan::end_of(pod, cx), ok, counted));
            }
        }
        failures.seen = state.ended.iter().map(|e| e.2).collect();
        ends.sort();
        for (at, ok, index) in ends {
            failures.n = if ok { 0 } else { failures.n + 1 };
            failures.last = failures.last.max(at);
            if let Some((index, n)) = index.filter(|_| !ok && job.backoff_per_index.is_some()) {
                let n = u32::try_from(n).unwrap_or(0);
                failures.by_index.insert(index, (n, at));
            }
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
        let succeeded = succeeded(job, &state.status);
        let failed = state.status.failed + num::i32_of(state.status.uncounted_failed.len());
        let criteria = job.status.conditions.get(ConditionType::SuccessCriteriaMet);
        if let Some(end) = criteria.or_else(|| policy_success(job, state, cx)) {
            let end = Condition { kind: ConditionType::Complete, transition: cx.stamp(), ..end };
            return self.succeed(key, end, pods, state, cx);
        }
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
            return self.track(key, state, cx);
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
            return Some(Condition { kind, transition: cx.stamp(), ..target });
        }
        if let Some(message) = &state.fails {
            return Some(condition(kind, Truth::True, "PodFailurePolicy", message, cx));
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
        if let Some((reason, message)) = failed_indexes(job, &state.status) {
            return Some(condition(kind, Truth::True, reason, message, cx));
        }
        let deadline = job.active_deadline_s.filter(|_| !job.suspend)?;
        let end = cx.time_of(state.status.start) + SimDuration::from_secs(u64::from(deadline));
        if end <= cx.now() {
            let message = "Job was active longer than specified deadline";
            return Some(condition(kind, Truth::True, "DeadlineExceeded", message, cx));
        }
        state.look_again(end);
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
            // The pods deleted here count as failed at once, and lose their finalizers.
            for (object, pod) in &pods.active {
                let uid = pod.meta.uid;
                state.ended.push((pod.meta.name, *object, uid));
                if !state.status.uncounted_failed.contains(&uid) {
                    state.status.uncounted_failed.push(uid);
                }
            }
            state.status.ready = 0;
        }
        state.status.active = 0;
        self.finish(end, state, cx);
        if pods.active.is_empty() {
            return self.track(key, state, cx);
        }
        if two_step {
            // Final only after every pod has ended.
            state.finish = None;
        }
        self.delete_pods(key, &pods.active, state, cx)
    }

    /// The success criteria are met before all pods have ended: the others are deleted.
    fn succeed(
        &mut self,
        key: Key,
        end: Condition,
        pods: &Pods,
        state: &mut State,
        cx: &mut Context<'_>,
    ) -> Next {
        state.status.active = 0;
        self.finish(end, state, cx);
        if pods.active.is_empty() {
            return self.track(key, state, cx);
        }
        state.finish = None;
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
        let succeeded = succeeded(job, &state.status);
        let seen = self.expected.satisfied(key, cx.now());
        if !seen {
            state.look_again(resync_at(cx));
        }
        if job.meta.terminating() || !seen {
            return self.track(key, state, cx);
        }
        let active = num::i32_of(pods.active.len());
        let wanted = match job.completions {
            _ if job.suspend => 0,
            None if succeeded > 0 => active,
            None => job.parallelism,
            Some(n) => job.parallelism.min(n - succeeded).max(0),
        };
        let victims = surplus(job, pods, active - wanted, state);
        if !victims.is_empty() {
            state.status.active -= num::i32_of(victims.len());
            return self.delete_pods(key, &victims, state, cx);
        }
        let leaving = if jobplan::only_ended(job) { num::i32_of(pods.leaving.len()) } else { 0 };
        let missing = (wanted - active - leaving).min(BURST);
        if missing <= 0 {
            return self.track(key, state, cx);
        }
        self.create(key, job, (pods, missing), state, cx)
    }

    /// Makes so many pods, as far as the back-off allows.
    fn create(
        &mut self,
        key: Key,
        job: &Job,
        (pods, missing): (&Pods, i32),
        state: &mut State,
        cx: &mut Context<'_>,
    ) -> Next {
        let failures = self.failures.entry(job.meta.uid).or_default();
        let now = cx.now();
        let until = if job.backoff_per_index.is_some() { SimTime::ZERO } else { failures.until() };
        if until > now {
            state.look_again(until);
            return self.track(key, state, cx);
        }
        state.remaining = missing;
        if job.indexed {
            let ended = (&state.status.completed_indexes, &state.status.failed_indexes);
            // Indexes in back-off keep their places: higher ones wait for them (recorded in
            // `timelines/04`).
            let places = num::index(u64::try_from(missing).unwrap_or(0));
            let mut indexes = jobplan::pending(job, pods, ended, places);
            let mut next = None;
            indexes.retain(|i| {
                let held = failures.by_index.get(i);
                let due = held.map_or(SimTime::ZERO, |(n, at)| *at + jobplan::backoff(*n));
                if due > now {
                    next = Some(next.map_or(due, |t: SimTime| t.min(due)));
                }
                due <= now
            });
            if let Some(next) = next {
                state.look_again(next);
            }
            state.remaining = num::i32_of(indexes.len());
            state.indexes = indexes;
        }
        if state.remaining == 0 {
            return self.track(key, state, cx);
        }
        self.expected.expect_creations(key, state.remaining, now);
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
        let n = num::index(u64::try_from(state.batch).unwrap_or(0));
        if !job.indexed {
            return Next::Call((0..n).map(|_| create_pod(pod.clone(), true)).collect());
        }
        let indexes = state.indexes.drain(..n.min(state.indexes.len()));
        let calls = indexes.map(|index| create_pod(self.indexed(&job, pod.clone(), index), true));
        Next::Call(calls.collect())
    }

    /// The pod of an index.
    fn indexed(&self, job: &Job, mut pod: Pod, index: i32) -> Pod {
        let name = Sym::new(&format!("{}-{index}", job.meta.name));
        let number = index.to_string();
        pod.meta.name = Name::new(name.as_str());
        pod.meta.labels = pod.meta.labels.with(jobplan::INDEX.into(), Sym::new(&number));
        pod.meta.set_annotation(jobplan::INDEX, &number);
        if job.backoff_per_index.is_some() {
            let failures = self.failures.get(&job.meta.uid);
            let n = failures.and_then(|f| f.by_index.get(&index)).map_or(0, |(n, _)| *n);
            pod.meta.set_annotation(jobplan::INDEX_FAILURES, &n.to_string());
        }
        let spec = Arc::make_mut(&mut pod.spec);
        spec.hostname.0 = name;
        pod
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
                Err(error) if namespace_going(*error) => self.expected.created(key, 1),
                Err(error) => {
                    self.expected.created(key, 1);
                    state.failed = true;
                    let message =
                        text(&format!("Error creating: {}", unnamed_text(*error, job.meta.name)));
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
        self.track(key, state, cx)
    }

    /// Writes down the ended pods, removes their finalizers, then counts them.
    /// Source: `trackJobStatusAndRemoveFinalizers`.
    fn track(&mut self, key: Key, state: &mut State, cx: &mut Context<'_>) -> Next {
        if state.ended.is_empty() {
            return self.count(state, cx);
        }
        state.step = Step::Uncounted;
        if state.job.as_ref().is_some_and(|job| job.status == state.status) {
            // They were written down before; only the finalizers are left to go.
            return self.remove_finalizers(key.ns, state);
        }
        self.put(state)
    }

    fn put(&self, state: &State) -> Next {
        let Some(job) = state.job.as_ref() else { return Next::Done };
        let mut object = Job::clone(job);
        object.status = state.status.clone();
        Next::Call(vec![put_status(Obj::Job(Arc::new(object)), state.target)])
    }

    fn remove_finalizers(&self, ns: Sym, state: &mut State) -> Next {
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
        let before = state.written.take();
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
        if *status == *before.as_ref().unwrap_or(&job.status) {
            let again = state.again.map(|t| t.since(cx.now()));
            return if state.failed {
                Next::Retry
            } else {
                again.map_or(Next::Done, Next::Requeue)
            };
        }
        if before.is_some() {
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

    /// A finished job: loose ends.
    fn after_finish(&self, job: &Job, state: &mut State, pods: &Pods) -> Next {
        let loose: Vec<(Name, ObjRef, Uid)> = pods
            .succeeded
            .iter()
            .chain(&pods.failed)
            .chain(&pods.active)
            .chain(&pods.leaving)
            .filter(|(_, p)| p.meta.has_finalizer(self.tracking.as_str()))
            .map(|(object, p)| (p.meta.name, *object, p.meta.uid))
            .collect();
        if !loose.is_empty() {
            state.ended = loose;
            let next = self.remove_finalizers(job.meta.ns, state);
            state.step = Step::Last;
            return next;
        }
        Next::Done
    }
}

impl State {
    fn look_again(&mut self, at: SimTime) {
        self.again = Some(self.again.map_or(at, |t| t.min(at)));
    }
}

/// Notes one ended pod in the status: an index is enough to count a success once, everything else
/// is written down by identity.
fn note_one(job: &Job, pod: &Pod, (ok, index): (bool, Option<i32>), state: &mut State) {
    let uid = pod.meta.uid;
    let status = &mut state.status;
    if ok && job.indexed {
        if let Some(index) = index {
            status.completed_indexes.insert(index);
            status.succeeded = status.completed_indexes.len();
        }
        return;
    }
    if ok {
        if !status.uncounted_succeeded.contains(&uid) {
            status.uncounted_succeeded.push(uid);
        }
        return;
    }
    let verdict = jobplan::judge(job, pod);
    if let Some(index) = index.filter(|_| verdict.fails_index) {
        status.failed_indexes.insert(index);
    }
    if verdict.counts && !status.uncounted_failed.contains(&uid) {
        status.uncounted_failed.push(uid);
    }
    if let Some(why) = verdict.fails_job {
        state.fails.get_or_insert(why);
    }
}

/// Pods that have succeeded, counted or not.
fn succeeded(job: &Job, status: &JobStatus) -> i32 {
    if job.indexed {
        return status.completed_indexes.len();
    }
    status.succeeded + num::i32_of(status.uncounted_succeeded.len())
}

/// The condition that a rule of the success policy brings about.
fn policy_success(job: &Job, state: &State, cx: &Context<'_>) -> Option<Condition> {
    let rule = jobplan::success(job, &state.status.completed_indexes)?;
    let message = format!("Matched rules at index {rule}");
    let kind = ConditionType::SuccessCriteriaMet;
    Some(condition(kind, Truth::True, "SuccessPolicy", &message, cx))
}

/// Why failed indexes end the job, if they do.
fn failed_indexes(job: &Job, status: &JobStatus) -> Option<(&'static str, &'static str)> {
    job.backoff_per_index?;
    let failed = status.failed_indexes.len();
    if job.max_failed_indexes.is_some_and(|max| failed > max) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(("MaxFailedIndexesExceeded", message));
    }
    let ended = failed + status.completed_indexes.len();
    (failed > 0 && ended >= job.completions.unwrap_or(0))
        .then_some(("FailedIndexes", "Job has failed indexes"))
}

/// Active pods to delete: of an indexed job those whose index needs none, then those that are too
/// many, not ready ones first, of equal ones the newest.
fn surplus(job: &Job, pods: &Pods, excess: i32, state: &State) -> Vec<(ObjRef, Arc<Pod>)> {
    let ended = (&state.status.completed_indexes, &state.status.failed_indexes);
    let first =
        if job.indexed { jobplan::superfluous(job, &pods.active, ended) } else { Vec::new() };
    let excess = num::index(u64::try_from(excess).unwrap_or(0)).max(first.len());
    let mut victims = pods.active.clone();
    victims.sort_by_key(|(_, p)| {
        (!first.contains(&p.meta.uid), p.ready(), std::cmp::Reverse(p.meta.created))
    });
    victims.truncate(excess);
    victims
}
