//! One branch: from the snapshot through the loss to rest.

use super::damage::{Damage, Seen};
use super::losses::Loss;
use crate::api::pod::{ConditionType, Truth};
use crate::api::{Kind, Obj};
use crate::cluster::spec::Plan;
use crate::engine::{Dist, Draws, Purpose, SimDuration, SimTime};
use crate::report::downtime::Need;
use crate::report::expect::Verdict;
use crate::report::metrics::Metrics;
use crate::report::pods::State;
use crate::report::strain::Strain;
use crate::session::{Observer, Session};
use std::sync::Arc;

/// How often (in virtual time) it is looked whether the cluster is at rest; twice in a row counts.
const LOOK: SimDuration = SimDuration::from_secs(10);
/// Shortest warm-up: heartbeats and first syncs are in step by then.
const SETTLE: SimDuration = SimDuration::from_secs(60);

/// What a what-if is asked for.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Seeds.
    pub seeds: Vec<u64>,
    /// The warm-up ends when the cluster is at rest, but no later than this.
    pub warm_up: SimDuration,
    /// The instant of the loss is drawn uniformly from so long after the warm-up.
    pub within: SimDuration,
    /// From the loss to its repair.
    pub repair: Dist,
    /// A branch that does not come to rest ends so long after the repair.
    pub horizon: SimDuration,
    /// What a workload needs that no disruption budget selects.
    pub need: Need,
}

/// Where the branches of a seed begin.
pub(super) struct Start {
    session: Session,
    /// What the branches' observers need of the plan.
    slim: Plan,
    at: SimTime,
    repair: SimDuration,
    rested: bool,
    /// The branch in which nothing is lost.
    calm: Seen,
}

/// What a seed drew.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Instant of the loss.
    pub at: SimTime,
    /// From the loss to its repair.
    pub repair: SimDuration,
    /// The cluster was at rest when the warm-up ended.
    pub rested: bool,
    /// What the assertions come to if nothing is lost.
    pub verdicts: Vec<Verdict>,
}

impl Start {
    pub(super) fn facts(&self) -> Facts {
        let verdicts = self.calm.verdicts(None);
        Facts { at: self.at, repair: self.repair, rested: self.rested, verdicts }
    }
}

/// Plays the warm-up and takes the snapshot.
pub(super) fn start(plan: &Arc<Plan>, seed: u64, setting: &Setting) -> Start {
    let mut own = Plan::clone(plan);
    own.seed = seed;
    let mut session = Session::new(Arc::new(own));
    let rested = warm_up(&mut session, SimTime::ZERO + setting.warm_up);
    let draws = Draws::new(seed);
    let share = draws.draw(0, Purpose("whatif-instant"), 0).unit();
    let at = session.now() + setting.within.scale(share);
    let repair = setting.repair.sample(&mut draws.draw(0, Purpose("whatif-repair"), 0));
    // A repair that takes no time at all would be no loss.
    let repair = repair.max(SimDuration::from_secs(1));
    while session.next_time().is_some_and(|t| t < at) {
        session.step();
    }
    let slim = slim(plan, seed);
    let calm = play(session.clone(), &slim, None, (at, at + repair + setting.horizon));
    Start { session, slim, at, repair, rested, calm }
}

/// The plan without the objects, which observers do not need.
fn slim(plan: &Plan, seed: u64) -> Plan {
    Plan {
        seed,
        name: plan.name.clone(),
        cluster: plan.cluster.clone(),
        expect: plan.expect.clone(),
        usage: Vec::new(),
        logging: None,
        traffic: Vec::new(),
        recorded: Vec::new(),
        not_modelled: Vec::new(),
        steps: Vec::new(),
        arrivals: Vec::new(),
        faults: Vec::new(),
        awaits: Vec::new(),
        outages: Vec::new(),
        pins: Vec::new(),
        warm: Vec::new(),
        until: plan.until,
        until_idle: false,
    }
}

/// Runs until the cluster is at rest, at most until an instant; says whether it is.
pub(in crate::sweep) fn warm_up(session: &mut Session, latest: SimTime) -> bool {
    let mut look = SimTime::ZERO + SETTLE;
    let mut calm = 0;
    while session.next_time().is_some_and(|t| t <= latest.max(look)) {
        if session.next_time().is_some_and(|t| t >= look) {
            look += LOOK;
            calm = if session.cluster().at_rest() && !works(session) { calm + 1 } else { 0 };
            if calm >= 2 {
                return true;
            }
            continue;
        }
        session.step();
    }
    session.cluster().at_rest()
}

/// Loses something in a branch and measures what follows.
pub(super) fn lose(start: &Start, loss: &Loss, setting: &Setting) -> Damage {
    let end = start.at + start.repair + setting.horizon;
    let faulty = (loss, start.repair);
    let seen = play(start.session.clone(), &start.slim, Some(faulty), (start.at, end));
    Damage::new(&seen, &start.calm, start.at, setting.need)
}

/// Plays a branch from an instant to rest, or to the latest end.
fn play(
    mut session: Session,
    slim: &Plan,
    lost: Option<(&Loss, SimDuration)>,
    (at, latest): (SimTime, SimTime),
) -> Seen {
    let mut plan = slim.clone();
    plan.faults = lost.map(|(loss, repair)| loss.faults(at, repair)).unwrap_or_default();
    let mut metrics = Metrics::new(&plan, None);
    metrics.strain = Some(Box::<Strain>::default());
    metrics.join(session.now(), &session.cluster().shared().versions);
    let ready = metrics.nodes.ready;
    for fault in plan.faults {
        session.inject(fault);
    }
    let mut look = at + lost.map_or(SimDuration::ZERO, |(_, repair)| repair);
    let (mut calm, mut rested) = (0, false);
    while let Some(next) = session.next_time().filter(|t| *t <= latest) {
        if next >= look {
            look = next + LOOK;
            calm = if rests(&session, &metrics, ready) { calm + 1 } else { 0 };
            rested = calm >= 2;
            if rested {
                break;
            }
        }
        session.step();
        let versions = &session.cluster().shared().versions;
        for record in session.records() {
            metrics.on(record, versions);
        }
    }
    // A cluster at rest stays as it is: what is missing then is missing up to the horizon.
    let idle = session.next_time().is_none();
    metrics.end(latest, &session.cluster().shared().versions);
    Seen { rested: rested || idle, metrics }
}

/// True if nothing more is to come of the loss: all nodes are back, all workloads full, all pods
/// settled, all Jobs done.
fn rests(session: &Session, metrics: &Metrics, nodes: u32) -> bool {
    let states = &metrics.gauges.states;
    let moving = [State::Waiting, State::Starting, State::NotReady, State::Terminating];
    metrics.nodes.ready >= nodes
        && metrics.nodes.rows.iter().all(|n| !n.down)
        && moving.iter().all(|state| states[state.index()] == 0)
        && metrics.workloads.rows.iter().all(|w| !w.serves() || w.available >= w.desired)
        && !works(session)
        && session.cluster().at_rest()
}

/// True if some Job is not done yet.
fn works(session: &Session) -> bool {
    let versions = &session.cluster().shared().versions;
    versions.iter(Kind::Job).any(|(_, obj)| {
        let Obj::Job(job) = obj else { return false };
        let is = |kind| job.status.conditions.get(kind).is_some_and(|c| c.status == Truth::True);
        !job.suspend && !is(ConditionType::Complete) && !is(ConditionType::Failed)
    })
}
