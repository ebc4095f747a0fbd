//! TTL after finished: jobs that have ended are deleted after a while
//! (source: `ctl/ttlafterfinished/ttlafterfinished_controller.go`).

use super::jobplan::finished;
use super::support::{Reporter, reports};
use crate::api::request::{ApiError, Op, Outcome, Propagation};
use crate::api::versions::Change;
use crate::api::workload::Job;
use crate::api::{Kind, Obj};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{SimDuration, SimTime};
use crate::event::Context;

/// The controller.
#[derive(Debug, Clone)]
pub struct TtlAfterFinished {
    reporter: Reporter,
}

impl Default for TtlAfterFinished {
    fn default() -> Self {
        let name = "ttl-after-finished-controller";
        Self { reporter: Reporter::new(name, name) }
    }
}

/// When the job is to go; none if it has not ended, or may stay.
fn expiry(job: &Job, cx: &Context<'_>) -> Option<SimTime> {
    let ttl = job.ttl_s.filter(|_| !job.meta.terminating())?;
    let end = finished(job)?;
    Some(cx.time_of(end.transition) + SimDuration::from_secs(u64::from(ttl)))
}

impl Reconcile for TtlAfterFinished {
    /// True once the deletion has been asked for.
    type State = bool;

    reports!();

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        _caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let at = |obj: &Obj| if let Obj::Job(job) = obj { expiry(job, cx) } else { None };
        let Some(due) = at(&change.value).filter(|_| !change.deleted) else { return };
        if before.and_then(at) != Some(due) {
            wake.push((Key::of(&change.value), due.since(cx.now())));
        }
    }

    fn sync(
        &mut self,
        key: Key,
        asked: &mut bool,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        if *asked {
            let gone = |a: &Outcome| matches!(a, Ok(_) | Err(ApiError::NotFound));
            return if answers.iter().all(gone) { Next::Done } else { Next::Retry };
        }
        let found = caches.named(cx.versions(), Kind::Job, key.ns, key.name);
        let Some((target, Obj::Job(job))) = found else { return Next::Done };
        let Some(due) = expiry(job, cx) else { return Next::Done };
        if due > cx.now() {
            return Next::Requeue(due.since(cx.now()));
        }
        *asked = true;
        let propagation = Some(Propagation::Foreground);
        let op = Op::Delete { grace_s: None, propagation, uid: Some(job.meta.uid) };
        let (ns, name) = (key.ns, key.name);
        Next::Call(vec![Call { kind: Kind::Job, ns, name, target: Some(target), op }])
    }
}
