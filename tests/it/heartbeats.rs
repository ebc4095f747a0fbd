//! Heartbeats spelled out give the timeline of heartbeats that are not.

use super::support::plan;
use std::sync::Arc;
use wavetank::api::versions::Versions;
use wavetank::api::{Kind, Obj};
use wavetank::cluster::spec::{Fault, FaultKind, Plan, Whom};
use wavetank::engine::{SimDuration, SimTime};
use wavetank::event::lease::Beat;
use wavetank::event::{Record, What};
use wavetank::report::export::to_value;
use wavetank::session::{Observer, Session};

/// Every write but the heartbeats themselves: instant, writer, object with all its fields.
#[derive(Default)]
struct Writes {
    lines: Vec<String>,
    heartbeats: u32,
}

impl Observer for Writes {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let What::Committed { kind, log, user, verb, .. } = record.what else { return };
        let change = versions.change(kind, log).unwrap();
        let only_beats = match (&change.before, &change.value) {
            (Some(Obj::Node(old)), Obj::Node(new)) => {
                old.status.heartbeat_ns != new.status.heartbeat_ns
                    && old.status.conditions == new.status.conditions
            }
            _other => kind == Kind::Lease,
        };
        if only_beats && record.time.0 > 0 {
            self.heartbeats += 1;
        }
        if only_beats {
            return;
        }
        let mut document = to_value(&change.value, 0);
        strip(&mut document);
        let (time, deleted) = (record.time.0, change.deleted);
        self.lines.push(format!("{time} {user} {verb:?} deleted={deleted} {document}"));
    }
}

/// Takes away what heartbeats count up.
fn strip(value: &mut serde_json::Value) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|key, _| !["resourceVersion", "lastHeartbeatTime"].contains(&key.as_str()));
        map.values_mut().for_each(strip);
    } else if let Some(list) = value.as_array_mut() {
        list.iter_mut().for_each(strip);
    }
}

/// The zone outage, then kubelets that stop on machines that stay up.
fn outage(explicit: bool, seed: u64) -> Arc<Plan> {
    let mut plan = Plan::clone(&plan("zone-outage"));
    super::support::without_control_plane(&mut plan);
    plan.seed = seed;
    plan.cluster.explicit_heartbeats = explicit;
    plan.faults.push(Fault {
        name: String::new(),
        what: FaultKind::KubeletStop,
        whom: Whom::Names(vec!["worker-0".into(), "worker-2".into()]),
        at: SimTime::from_secs(1500),
        lasts: Some(SimDuration::from_secs(200)),
    });
    Arc::new(plan)
}

fn writes(plan: &Arc<Plan>) -> Writes {
    let mut writes = Writes::default();
    Session::new(Arc::clone(plan)).run(&mut [&mut writes], |_| {});
    writes
}

#[test]
fn spelled_out_or_not_the_rest_is_the_same() {
    for seed in 1..=3 {
        let lazy = writes(&outage(false, seed));
        let explicit = writes(&outage(true, seed));
        assert_eq!(lazy.heartbeats, 0);
        // 30 nodes, 40 min, one every 10 s, less those of the dark zone.
        assert!((5_500..7_200).contains(&explicit.heartbeats), "{}", explicit.heartbeats);
        assert!(lazy.lines.iter().any(|l| l.contains("NodeStatusUnknown")));
        for (n, (a, b)) in lazy.lines.iter().zip(&explicit.lines).enumerate() {
            assert_eq!(a, b, "seed {seed}, write {n}");
        }
        assert_eq!(lazy.lines.len(), explicit.lines.len(), "seed {seed}");
    }
}

#[test]
fn what_is_not_spelled_out_can_be_asked() {
    let mut lazy = Session::new(outage(false, 1));
    let mut explicit = Session::new(outage(true, 1));
    let mut compared = 0;
    for s in (10..2400).step_by(7) {
        let now = SimTime::from_secs(s);
        for session in [&mut lazy, &mut explicit] {
            while session.next_time().is_some_and(|t| t <= now) {
                session.step();
            }
        }
        let (asked, shown) = (lazy.cluster().shared(), explicit.cluster().shared());
        for (object, lease) in shown.versions.iter(Kind::Lease) {
            let lease = lease.as_lease().unwrap();
            let node = lease.holder;
            let object =
                shown.versions.find(Kind::Node, "".into(), lease.meta.name).unwrap_or(object);
            let node_object =
                shown.versions.current(Kind::Node, object).unwrap().as_node().unwrap();
            let report = SimTime(node_object.status.heartbeat_ns);
            for (beat, at) in [(Beat::Renewal, lease.renewed), (Beat::Report, report)] {
                let last = asked.leases.last(beat, node, now, &asked.draws).unwrap();
                // One that is on its way just now is not shown yet.
                if now.since(last) > SimDuration::from_millis(50) {
                    assert_eq!(at, last, "{node} at {now:?}: {beat:?}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 15_000, "{compared}");
}
