//! Watches that break and components that start anew: nothing is missed, nothing is told twice.

use super::support::plan;
use rustc_hash::FxHashMap;
use std::sync::Arc;
use wavetank::api::versions::{ObjRef, Versions};
use wavetank::api::{Kind, Obj};
use wavetank::cluster::spec::{Component, Fault, FaultKind, Plan, Whom};
use wavetank::engine::{SimDuration, SimTime};
use wavetank::event::{Address, Record, Role, What};
use wavetank::session::{Observer, Session};

/// Follows what each client is told of each object: every telling starts where the last one ended.
#[derive(Default)]
struct Told {
    known: FxHashMap<(Role, u32, u16, Kind, ObjRef), u64>,
    /// Clients that were told to list anew.
    gone: u32,
    listed: u32,
}

fn rev(object: &Obj) -> u64 {
    object.meta().map_or(0, |m| m.resource_version)
}

impl Observer for Told {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let (to, kind, object, known, now) = if let What::Delivered { to, kind, log } = record.what
        {
            let change = versions.change(kind, log).unwrap();
            let now = if change.deleted { 0 } else { change.rev };
            (to, kind, change.object, change.before.as_ref().map_or(0, rev), now)
        } else if let What::Listed { to, kind, object, known, rev } = record.what {
            self.listed += 1;
            (to, kind, object, known, rev)
        } else {
            if let What::Noticed { step, .. } = record.what {
                self.gone += u32::from(step.contains("410 Gone"));
            }
            return;
        };
        let had = self.known.insert(key(to, kind, object), now).unwrap_or_default();
        // A kubelet takes up its node's pods when they are bound, or by a list of its own.
        assert!(had == known || to.role == Role::Kubelet && had == 0, "{record:?}: knew {had}");
    }
}

fn key(to: Address, kind: Kind, object: ObjRef) -> (Role, u32, u16, Kind, ObjRef) {
    (to.role, to.index, to.incarnation, kind, object)
}

/// The zone outage, with one more fault.
fn with_fault(what: FaultKind, whom: Whom, at_s: u64, lasts_s: u64) -> Arc<Plan> {
    let mut plan = Plan::clone(&plan("zone-outage"));
    super::support::without_control_plane(&mut plan);
    plan.faults.push(Fault {
        name: String::new(),
        what,
        whom,
        at: SimTime::from_secs(at_s),
        lasts: Some(SimDuration::from_secs(lasts_s)),
    });
    Arc::new(plan)
}

/// Runs to the end; every client must have been told the store as it is.
fn ends_up_whole(plan: &Arc<Plan>) -> Told {
    let mut told = Told::default();
    let mut session = Session::new(Arc::clone(plan));
    session.trace(true);
    session.run(&mut [&mut told], |_| {});
    let versions = &session.cluster().shared().versions;
    for role in [Role::Scheduler, Role::ControllerManager] {
        let ours = told.known.iter().filter(|((r, ..), _)| *r == role);
        let life = ours.map(|((_, _, life, ..), _)| *life).max().unwrap();
        for kind in [Kind::Pod, Kind::Node, Kind::ReplicaSet, Kind::StatefulSet] {
            for (object, value) in versions.iter(kind) {
                let to = Address { role, incarnation: life, index: 0 };
                let known = told.known.get(&key(to, kind, object)).copied();
                assert_eq!(known, Some(rev(value)), "{role:?} {:?}", value.key());
            }
        }
    }
    for (_, pod) in versions.iter(Kind::Pod) {
        assert!(pod.as_pod().unwrap().ready(), "{:?} is not ready", pod.key());
    }
    told
}

const BOTH: [Component; 2] = [Component::Scheduler, Component::ControllerManager];

#[test]
fn a_short_loss_goes_on_where_it_stopped() {
    for component in BOTH {
        let plan = with_fault(FaultKind::WatchLoss, Whom::Component(component), 600, 90);
        let told = ends_up_whole(&plan);
        assert_eq!((told.gone, told.listed), (0, 0), "{component:?}");
    }
}

#[test]
fn a_watch_behind_a_compaction_lists_what_it_missed() {
    for component in BOTH {
        // Zone b goes dark and comes back unseen.
        let plan = with_fault(FaultKind::WatchLoss, Whom::Component(component), 590, 1500);
        let told = ends_up_whole(&plan);
        assert!(told.gone >= 2 && told.listed > 30, "{component:?}: {}", told.listed);
    }
}

#[test]
fn kubelets_without_watches_catch_up() {
    let whom = Whom::Zone("zone-a".into());
    let told = ends_up_whole(&with_fault(FaultKind::WatchLoss, whom, 590, 1300));
    assert!(told.gone > 0, "no kubelet had to list");
}

#[test]
fn a_restarted_component_starts_from_the_list() {
    for component in BOTH {
        for (at, down) in [(601, 0), (650, 30), (590, 600)] {
            let plan = with_fault(FaultKind::Restart, Whom::Component(component), at, down);
            let told = ends_up_whole(&plan);
            assert!(told.listed > 100, "{component:?} listed {} objects", told.listed);
        }
    }
}
