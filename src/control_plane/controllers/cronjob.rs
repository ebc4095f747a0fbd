//! `CronJobs`: jobs on a schedule (source: `ctl/cronjob/{cronjob_controllerv2,utils}.go`).

use super::jobplan::finished;
use super::schedule::{Schedule, zone};
use super::support::{Reporter, namespace_going, owned_by, owner_key, put_status, reports, text};
use crate::api::cronjob::{Concurrency, CronJob, CronJobStatus};
use crate::api::pod::ConditionType;
use crate::api::request::{ApiError, Op, Outcome, Propagation};
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::{Job, JobStatus};
use crate::api::{Kind, Meta, Name, Obj, Stamp};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{SimDuration, SimTime};
use crate::event::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::Arc;

/// A key comes back this long after its schedule, so that the clock has surely passed it
/// (source: `nextScheduleDelta`).
const DELTA: SimDuration = SimDuration::from_millis(100);
/// More missed runs than this are worth a warning.
const MANY_MISSED: i64 = 100;
const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// The CronJob controller.
#[derive(Debug, Clone)]
pub struct CronJobController {
    reporter: Reporter,
}

impl Default for CronJobController {
    fn default() -> Self {
        Self { reporter: Reporter::new("cronjob-controller", "cronjob-controller") }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Start,
    /// Finished jobs beyond the history limits are being deleted.
    Cleaning,
    /// Jobs that run are being replaced.
    Replacing,
    Creating,
    Status,
}

/// What a sync remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    step: Step,
    target: ObjRef,
    cron: Option<Arc<CronJob>>,
    jobs: Vec<(ObjRef, Arc<Job>)>,
    status: CronJobStatus,
    /// The run to start, unix seconds.
    due: i64,
    again: Option<SimTime>,
    failed: bool,
}

impl State {
    fn end(&self, cx: &Context<'_>) -> Next {
        match self.again {
            _ if self.failed => Next::Retry,
            Some(at) => Next::Requeue(at.since(cx.now())),
            None => Next::Done,
        }
    }
}

/// Which run is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Runs {
    /// The latest run that has not been started; none if none is due.
    due: Option<i64>,
    missed: i64,
}

/// Source: `mostRecentScheduleTime`.
fn runs(cron: &CronJob, schedule: &Schedule, zone: &TimeZone, now: i64) -> Runs {
    let last = cron.status.last_schedule;
    let from = if last.is_none() { cron.meta.created } else { last };
    let deadline = cron.starting_deadline_s.map(|s| now - i64::from(s));
    let from = i64::from(from.0).max(deadline.unwrap_or(i64::MIN));
    let none = Runs { due: None, missed: 0 };
    let Some(first) = schedule.next(from, zone).filter(|t| *t <= now) else { return none };
    let second = schedule.next(first, zone);
    let Some(second) = second.filter(|t| *t <= now) else {
        return Runs { due: Some(first), missed: 1 };
    };
    // Far back, the way is cut short by the distance of the first two runs.
    let gap = (second - first).max(1);
    let missed = (now - first) / gap + 1;
    let mut due = first;
    let mut t = first + (missed - 2).max(0) * gap - 1;
    while let Some(next) = schedule.next(t, zone).filter(|n| *n <= now) {
        (due, t) = (next, next);
    }
    Runs { due: Some(due), missed }
}

impl Reconcile for CronJobController {
    type State = State;

    reports!();

    fn on_change(
        &mut self,
        change: &Change,
        _before: Option<&Obj>,
        _caches: &Cache,
        _cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if change.value.kind() == Kind::CronJob {
            wake.push((Key::of(&change.value), SimDuration::ZERO));
        } else if let Some((key, _)) = owner_key(&change.value, Kind::CronJob) {
            wake.push((key, SimDuration::ZERO));
        }
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let refused = |a: &Outcome| a.as_ref().is_err_and(|e| *e != ApiError::NotFound);
        match state.step {
            Step::Start => self.start(key, state, caches, cx),
            Step::Cleaning => {
                self.deleted(state, answers, cx);
                self.decide(state, cx)
            }
            Step::Replacing if answers.iter().any(refused) => Next::Retry,
            Step::Replacing => {
                self.deleted(state, answers, cx);
                Self::create(state)
            }
            Step::Creating => self.created(state, answers, cx),
            Step::Status => {
                state.failed |= answers.iter().any(refused);
                state.end(cx)
            }
        }
    }
}

impl CronJobController {
    fn start(&mut self, key: Key, state: &mut State, caches: &Cache, cx: &mut Context<'_>) -> Next {
        let found = caches.named(cx.versions(), Kind::CronJob, key.ns, key.name);
        let Some((target, Obj::CronJob(cron))) = found else { return Next::Done };
        let cron = Arc::clone(cron);
        state.target = target;
        state.status = cron.status.clone();
        state.jobs = caches
            .owned(cron.meta.uid, Kind::Job)
            .filter_map(|object| {
                let found = caches.get(cx.versions(), Kind::Job, object)?;
                if let Obj::Job(job) = found { Some((object, Arc::clone(job))) } else { None }
            })
            .collect();
        state.cron = Some(Arc::clone(&cron));
        let old = surplus(&cron, &state.jobs);
        if old.is_empty() {
            return self.decide(state, cx);
        }
        state.step = Step::Cleaning;
        Next::Call(old)
    }

    fn deleted(&mut self, state: &mut State, answers: &[Outcome], cx: &Context<'_>) {
        let Some(cron) = state.cron.clone() else { return };
        for success in answers.iter().flatten() {
            let name = success.value.key().1;
            state.status.active.retain(|(active, _)| *active != name);
            state.jobs.retain(|(_, job)| job.meta.name != name);
            let message = text(&format!("Deleted job {name}"));
            self.reporter.normal(Kind::CronJob, &cron.meta, "SuccessfulDelete", message, cx);
        }
    }

    /// Brings the list of active jobs up to date, then starts the run that is due.
    /// Source: `syncCronJob`.
    fn decide(&mut self, state: &mut State, cx: &mut Context<'_>) -> Next {
        let Some(cron) = state.cron.clone() else { return Next::Done };
        self.review(&cron, state, cx);
        if cron.meta.terminating() || cron.suspend {
            return Self::put_status(state, cx);
        }
        let (schedule, zone) =
            match (Schedule::parse(cron.schedule.as_str()), zone(cron.time_zone.as_str())) {
                (Ok(schedule), Ok(zone)) => (schedule, zone),
                (Err(why), _) => {
                    return self.unusable(&cron, "UnparseableSchedule", &why, state, cx);
                }
                (_, Err(why)) => return self.unusable(&cron, "UnknownTimeZone", &why, state, cx),
            };
        let now = i64::from(cx.stamp().0);
        let runs = runs(&cron, &schedule, &zone, now);
        let after = schedule.next(now.max(runs.due.unwrap_or(now)), &zone);
        let after = after.and_then(|t| u32::try_from(t).ok());
        state.again = after.map(|t| cx.time_of(Stamp(t)) + DELTA);
        if runs.missed > MANY_MISSED {
            let n = runs.missed;
            let message = format!(
                "too many missed start times: {n}. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            );
            self.warn(&cron, "TooManyMissedTimes", &message, cx);
        }
        let Some(due) = runs.due else { return Self::put_status(state, cx) };
        state.due = due;
        let late = cron.starting_deadline_s.is_some_and(|s| due + i64::from(s) < now);
        if late {
            let at = Timestamp::from_second(due).unwrap_or_default();
            self.warn(
                &cron,
                "MissSchedule",
                &format!("Missed scheduled time to start a job: {at}"),
                cx,
            );
            return Self::put_status(state, cx);
        }
        let name = job_name(&cron, due);
        let started = state.status.active.iter().any(|(active, _)| *active == name);
        if started || i64::from(state.status.last_schedule.0) == due {
            return Self::put_status(state, cx);
        }
        self.launch(&cron, state, cx)
    }

    fn launch(&mut self, cron: &CronJob, state: &mut State, cx: &Context<'_>) -> Next {
        match cron.concurrency {
            Concurrency::Forbid if !state.status.active.is_empty() => {
                let message = text(
                    "Not starting job because prior execution is running and concurrency policy is Forbid",
                );
                self.reporter.normal(Kind::CronJob, &cron.meta, "JobAlreadyActive", message, cx);
                Self::put_status(state, cx)
            }
            Concurrency::Replace if !state.status.active.is_empty() => {
                let active = |name: Name| state.status.active.iter().any(|(a, _)| *a == name);
                let running = state.jobs.iter().filter(|(_, job)| active(job.meta.name));
                let calls: Vec<Call> = running.map(|(o, job)| delete(job, *o)).collect();
                if calls.is_empty() {
                    return Self::create(state);
                }
                state.step = Step::Replacing;
                Next::Call(calls)
            }
            Concurrency::Allow | Concurrency::Forbid | Concurrency::Replace => Self::create(state),
        }
    }

    /// Jobs that have ended leave the list of active ones; those that are gone, too.
    fn review(&mut self, cron: &CronJob, state: &mut State, cx: &Context<'_>) {
        let (kind, meta) = (Kind::CronJob, &cron.meta);
        for (_, job) in &state.jobs {
            let listed = state.status.active.iter().any(|(_, uid)| *uid == job.meta.uid);
            let end = finished(job);
            let name = job.meta.name;
            match end {
                None if !listed => {
                    let message =
                        format!("Saw a job that the controller did not create or forgot: {name}");
                    self.reporter.warning(kind, meta, "UnexpectedJob", text(&message), cx);
                }
                Some(end) if listed => {
                    state.status.active.retain(|(_, uid)| *uid != job.meta.uid);
                    let how = end.kind.as_str();
                    let message = format!("Saw completed job: {name}, condition: {how}");
                    self.reporter.normal(kind, meta, "SawCompletedJob", text(&message), cx);
                }
                Some(_) | None => {}
            }
            // Of a job that was listed the success is written down by the next sync.
            let complete = !listed && end.is_some_and(|c| c.kind == ConditionType::Complete);
            if complete && job.status.completion > state.status.last_successful {
                state.status.last_successful = job.status.completion;
            }
        }
        let known = |uid| state.jobs.iter().any(|(_, job)| job.meta.uid == uid);
        let gone: Vec<Name> =
            state.status.active.iter().filter(|(_, uid)| !known(*uid)).map(|(n, _)| *n).collect();
        for name in gone {
            let message = text(&format!("Active job went missing: {name}"));
            self.reporter.normal(kind, meta, "MissingJob", message, cx);
            state.status.active.retain(|(active, _)| *active != name);
        }
    }

    fn warn(&mut self, cron: &CronJob, reason: &str, message: &str, cx: &Context<'_>) {
        self.reporter.warning(Kind::CronJob, &cron.meta, reason, text(message), cx);
    }

    /// A schedule that cannot be read: nothing happens until it is changed.
    fn unusable(
        &mut self,
        cron: &CronJob,
        reason: &str,
        why: &str,
        state: &mut State,
        cx: &Context<'_>,
    ) -> Next {
        self.warn(
            cron,
            reason,
            &format!("unparseable schedule: {:?} : {why}", cron.schedule.as_str()),
            cx,
        );
        Self::put_status(state, cx)
    }

    fn create(state: &mut State) -> Next {
        let Some(cron) = state.cron.as_ref() else { return Next::Done };
        let job = job(cron, state.due);
        state.step = Step::Creating;
        let (ns, name) = (job.meta.ns, job.meta.name);
        let op = Op::Create { object: Obj::Job(Arc::new(job)), generate: false };
        Next::Call(vec![Call { kind: Kind::Job, ns, name, target: None, op }])
    }

    fn created(&mut self, state: &mut State, answers: &[Outcome], cx: &mut Context<'_>) -> Next {
        let Some(cron) = state.cron.clone() else { return Next::Done };
        match answers.first() {
            Some(Ok(success)) => {
                let Some(meta) = success.value.meta() else { return Next::Retry };
                let message = text(&format!("Created job {}", meta.name));
                self.reporter.normal(Kind::CronJob, &cron.meta, "SuccessfulCreate", message, cx);
                state.status.active.push((meta.name, meta.uid));
            }
            // Our own job that the cache does not show yet.
            Some(Err(ApiError::AlreadyExists)) => {}
            Some(Err(error)) if namespace_going(*error) => return Next::Done,
            Some(Err(error)) => {
                let name = job(&cron, state.due).meta.name;
                let message = format!("Error creating job: {}", error.message(Kind::Job, name));
                self.warn(&cron, "FailedCreate", &message, cx);
                return Next::Retry;
            }
            None => return Next::Retry,
        }
        state.status.last_schedule = Stamp(u32::try_from(state.due).unwrap_or(0));
        Self::put_status(state, cx)
    }

    fn put_status(state: &mut State, cx: &Context<'_>) -> Next {
        let Some(cron) = state.cron.as_ref() else { return Next::Done };
        state.step = Step::Status;
        if state.status == cron.status {
            return state.end(cx);
        }
        let mut object = CronJob::clone(cron);
        object.status = state.status.clone();
        Next::Call(vec![put_status(Obj::CronJob(Arc::new(object)), state.target)])
    }
}

fn job_name(cron: &CronJob, due: i64) -> Name {
    Name::new(&format!("{}-{}", cron.meta.name, due.div_euclid(60)))
}

/// The job of a run.
fn job(cron: &CronJob, due: i64) -> Job {
    let template = &cron.template;
    let mut meta = Meta {
        labels: template.meta.labels,
        annotations: template.meta.annotations.clone(),
        owners: Some(owned_by(Kind::CronJob, &cron.meta)),
        ..Meta::named(cron.meta.ns, job_name(cron, due))
    };
    let zone = zone(cron.time_zone.as_str()).unwrap_or(TimeZone::UTC);
    let at = Timestamp::from_second(due).unwrap_or_default().to_zoned(zone);
    let stamp = if cron.time_zone.is_empty() {
        at.timestamp().to_string()
    } else {
        at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    };
    meta.set_annotation(SCHEDULED_AT, &stamp);
    Job { meta, status: JobStatus::default(), doc: None, ..Job::clone(template) }
}

/// Jobs are deleted with their pods.
fn delete(job: &Job, object: ObjRef) -> Call {
    let op = Op::Delete { grace_s: None, propagation: Some(Propagation::Background), uid: None };
    Call { kind: Kind::Job, ns: job.meta.ns, name: job.meta.name, target: Some(object), op }
}

/// Finished jobs beyond the history limits, oldest first. Source: `cleanupFinishedJobs`.
fn surplus(cron: &CronJob, jobs: &[(ObjRef, Arc<Job>)]) -> Vec<Call> {
    let mut calls = Vec::new();
    for (kind, limit) in [
        (ConditionType::Complete, cron.successful_limit),
        (ConditionType::Failed, cron.failed_limit),
    ] {
        let ended = jobs.iter().filter(|(_, job)| finished(job).is_some_and(|c| c.kind == kind));
        let mut ended: Vec<_> = ended.filter(|(_, job)| !job.meta.terminating()).collect();
        let excess = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        ended.sort_by(|a, b| {
            let start = |job: &Job| job.status.start;
            start(&a.1).cmp(&start(&b.1)).then_with(|| a.1.meta.name.cmp_text(b.1.meta.name))
        });
        calls.extend(ended.into_iter().take(excess).map(|(object, job)| delete(job, *object)));
    }
    calls
}
