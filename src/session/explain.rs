//! Why a pod is where it is: the run is played up to the moment asked about, then replayed up to
//! the pod's last scheduling cycle, and that cycle is evaluated in full. Runs record nothing for
//! it.

use super::Session;
use crate::api::versions::ObjRef;
use crate::api::{Kind, Name, Pod};
use crate::cluster::spec::Plan;
use crate::control_plane::scheduler::explain::{Rehearsal, Whereabouts};
use crate::engine::{SimTime, Sym};
use crate::event::{Record, What};
use std::sync::Arc;

/// What became of a pod, and why.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Namespace.
    pub ns: String,
    /// Name.
    pub name: String,
    /// The moment asked about: no later than the end of the run.
    pub at: SimTime,
    /// The pod then; none if it was gone.
    pub pod: Option<Arc<Pod>>,
    /// Where it waited then, unless it had a node.
    pub waits: Option<Whereabouts>,
    /// Its last scheduling cycle up to then.
    pub cycle: Option<Cycle>,
    /// If it was never tried: what a cycle would have made of it.
    pub would: Option<Rehearsal>,
}

/// A scheduling cycle that took place.
#[derive(Debug, Clone)]
pub struct Cycle {
    /// The how many-th of the run.
    pub number: u64,
    /// When.
    pub time: SimTime,
    /// Number of the record.
    pub seq: u64,
    /// The node taken; empty if there was none.
    pub node: Sym,
    /// All about it.
    pub rehearsal: Rehearsal,
}

/// A cycle as the first pass finds it.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Events before the one that held it.
    steps: u64,
    number: u64,
    object: ObjRef,
    record: (SimTime, u64, Sym),
}

/// Follows a pod through a run.
#[derive(Debug)]
struct Search {
    key: (Sym, Name),
    object: Option<ObjRef>,
    cycles: u64,
    last: Option<Mark>,
}

impl Search {
    /// Looks at the records of one event.
    fn look(&mut self, session: &Session, records: &[Record]) {
        let versions = &session.cluster().shared().versions;
        for record in records {
            if let What::Committed { kind: Kind::Pod, log, .. } = record.what {
                let change = versions.change(Kind::Pod, log).filter(|c| c.value.key() == self.key);
                self.object = change.map(|c| c.object).or(self.object);
            }
            if let What::Scheduled { pod, node, .. } = record.what {
                self.cycles += 1;
                if Some(pod) == self.object {
                    self.last = Some(Mark {
                        steps: session.steps() - 1,
                        number: self.cycles,
                        object: pod,
                        record: (record.time, record.seq, node),
                    });
                }
            }
        }
    }
}

/// Explains a pod of a plan at a moment (or at the end, if that is earlier). `prepare` may add
/// plugins to the runs. None if no such pod was ever there by then.
#[must_use]
pub fn explain(
    plan: &Arc<Plan>,
    (ns, name): (&str, &str),
    until: SimTime,
    prepare: impl Fn(&mut Session),
) -> Option<Explanation> {
    let start = || {
        let mut session = Session::new(Arc::clone(plan));
        prepare(&mut session);
        session
    };
    let mut session = start();
    let key = (Sym::new(ns), Name::from(Sym::new(name)));
    let object = session.cluster().shared().versions.find(Kind::Pod, key.0, key.1);
    let mut search = Search { key, object, cycles: 0, last: None };
    while session.next_time().is_some_and(|t| t <= until) && session.step().is_some() {
        search.look(&session, session.records());
    }
    let object = search.object?;
    let shared = session.cluster().shared();
    let scheduler = session.cluster().scheduler();
    let pod = shared.versions.current(Kind::Pod, object).and_then(|o| o.as_pod()).cloned();
    let waiting = pod.as_ref().filter(|p| p.node.is_empty() && !p.terminal());
    let waits = waiting.map(|p| scheduler.whereabouts(object, p, session.now()));
    let last = search.last.filter(|mark| mark.object == object);
    let would = match last {
        None => scheduler.rehearse(object, &shared.draws),
        Some(_) => None,
    };
    let cycle = last.and_then(|mark| replay(start(), mark));
    let at = until.min(session.now());
    Some(Explanation { ns: ns.to_owned(), name: name.to_owned(), at, pod, waits, cycle, would })
}

/// Plays up to a cycle and evaluates it.
fn replay(mut session: Session, mark: Mark) -> Option<Cycle> {
    while session.steps() < mark.steps && session.step().is_some() {}
    let cluster = session.cluster();
    let rehearsal = cluster.scheduler().rehearse(mark.object, &cluster.shared().draws)?;
    let (time, seq, node) = mark.record;
    // A node that Reserve or Permit gave up is no node.
    assert!(
        node.is_empty() || rehearsal.evaluation.pick == Some(node),
        "explain: seed {}, record {seq} at {time}: the cycle took {node}, its rehearsal takes {:?}",
        cluster.plan().seed,
        rehearsal.evaluation.pick,
    );
    Some(Cycle { number: mark.number, time, seq, node, rehearsal })
}
