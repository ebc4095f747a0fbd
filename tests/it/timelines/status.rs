//! The numbers that workloads report during the recorded node failure, whenever things have
//! settled.

use super::nodefail::{plan, recording};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use wavetank::api::Obj;
use wavetank::engine::SimTime;
use wavetank::session::Session;

/// Instants at which nothing is under way in either run: all is well; n3 is silent, tol30 gone from
/// it, def300 gone from it, n3 back, n2 back from its short silence, n2 silent again, n2 back.
const QUIET: [u64; 8] = [20, 75, 200, 370, 385, 430, 483, 500];

/// Numbers of a status by workload; those that are 0 or say nothing here are left out.
type Statuses = BTreeMap<String, BTreeMap<String, i64>>;

/// `deployments/web`; for `ReplicaSets` without the hash, which is not upstream's.
fn key(plural: &str, name: &str) -> String {
    let base =
        if plural == "replicasets" { name.rsplit_once('-').map_or(name, |p| p.0) } else { name };
    format!("{plural}/{base}")
}

fn recorded(recording: &Value, until: f64) -> Statuses {
    let mut found = Statuses::new();
    for event in recording["events"].as_array().unwrap() {
        let kind = event["kind"].as_str().unwrap();
        let workload = ["deployments", "replicasets", "statefulsets", "daemonsets"].contains(&kind);
        if !workload || event["t"].as_f64().unwrap() > until {
            continue;
        }
        let numbers = found.entry(key(kind, event["name"].as_str().unwrap())).or_default();
        for (path, value) in event["set"].as_object().into_iter().flatten() {
            if let (Some(field), Some(n)) = (path.strip_prefix("status."), value.as_i64()) {
                numbers.insert(field.to_owned(), n);
            }
        }
        for path in event["del"].as_array().into_iter().flatten() {
            numbers.remove(path.as_str().unwrap().trim_start_matches("status."));
        }
        numbers.retain(|field, n| *n != 0 && field != "observedGeneration");
    }
    found
}

fn numbers<const N: usize>(rows: [(&str, i32); N]) -> BTreeMap<String, i64> {
    let some = rows.into_iter().filter(|r| r.1 != 0);
    some.map(|(field, n)| (field.to_owned(), i64::from(n))).collect()
}

fn status(obj: &Obj) -> Option<(&'static str, BTreeMap<String, i64>)> {
    if let Obj::Deployment(d) = obj {
        let s = &d.status;
        let rows = [
            ("replicas", s.replicas),
            ("updatedReplicas", s.updated),
            ("readyReplicas", s.ready),
            ("availableReplicas", s.available),
            ("unavailableReplicas", s.unavailable),
        ];
        return Some(("deployments", numbers(rows)));
    }
    if let Obj::ReplicaSet(r) = obj {
        let s = &r.status;
        let rows = [
            ("replicas", s.replicas),
            ("fullyLabeledReplicas", s.fully_labeled),
            ("readyReplicas", s.ready),
            ("availableReplicas", s.available),
        ];
        return Some(("replicasets", numbers(rows)));
    }
    if let Obj::StatefulSet(set) = obj {
        let s = &set.status;
        let rows = [
            ("replicas", s.replicas),
            ("readyReplicas", s.ready),
            ("availableReplicas", s.available),
            ("currentReplicas", s.current),
            ("updatedReplicas", s.updated),
        ];
        return Some(("statefulsets", numbers(rows)));
    }
    let Obj::DaemonSet(d) = obj else { return None };
    let s = &d.status;
    let rows = [
        ("desiredNumberScheduled", s.desired),
        ("currentNumberScheduled", s.current),
        ("numberMisscheduled", s.misscheduled),
        ("numberReady", s.ready),
        ("numberAvailable", s.available),
        ("updatedNumberScheduled", s.updated),
        ("numberUnavailable", s.unavailable),
    ];
    Some(("daemonsets", numbers(rows)))
}

fn simulated(session: &Session) -> Statuses {
    use wavetank::api::Kind;
    let versions = &session.cluster().shared().versions;
    let kinds = [Kind::Deployment, Kind::ReplicaSet, Kind::StatefulSet, Kind::DaemonSet];
    let all = kinds.into_iter().flat_map(|kind| versions.iter(kind));
    all.filter_map(|(_, obj)| {
        let (plural, numbers) = status(obj)?;
        Some((key(plural, &obj.key().1.to_string()), numbers))
    })
    .collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the comparison is worth reading: --nocapture")]
fn workloads_report_as_recorded() {
    let Some(recording) = recording() else { return };
    let mut session = Session::new(plan(None));
    let mut wrong = String::new();
    for second in QUIET {
        while session.next_time().is_some_and(|t| t <= SimTime::from_secs(second)) {
            session.step();
        }
        let want = recorded(&recording, f64::from(u32::try_from(second).unwrap()));
        let got = simulated(&session);
        for (workload, want) in &want {
            let got = &got[workload];
            let line = format!("{second:4} s {workload}: recorded {want:?}");
            println!("{line}");
            if want != got {
                writeln!(wrong, "{line}\n  simulated {got:?}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
