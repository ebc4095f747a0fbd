//! `01_deployment_kubelet` and `01b_podlife_kubelet`: rollouts, and the lives of bare pods.

use super::{Case, Did, Timeline, instants, order, table};
use std::collections::BTreeMap;
use std::ops::Range;

#[test]
fn bare_pods_live_as_recorded() {
    let Some(case) = Case::load("01b", "01b_podlife_kubelet", "01b-podlife") else { return };
    let wrong = table::check(&case) + &order::check(&case) + &instants::check(&case);
    for (whose, run) in case.all() {
        for name in ["plain", "probe2s", "slowstop", "overgrace"] {
            let revisions = run.of("pods").filter(|c| c.name == name).count();
            // One more where the readiness probe passes after the container runs; one less where
            // the pod is told to stop by a kill.
            let want = if name == "probe2s" { 10 } else { 9 };
            assert_eq!(revisions, want, "{whose}: {name}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What each `ReplicaSet` is told to have, in order: number of the set in order of creation, and
/// replicas.
fn steps(run: &Timeline, within: &Range<f64>) -> Vec<(f64, usize, i64)> {
    let mut sets: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for change in run.of("replicasets").filter(|c| c.did != Did::Deleted) {
        if change.did == Did::Added {
            sets.push(&change.name);
        }
        let number = sets.iter().position(|s| *s == change.name).unwrap();
        if let Some(replicas) = change.number("spec.replicas")
            && within.contains(&change.at)
        {
            found.push((change.at, number, replicas));
        }
    }
    found
}

/// When the first pod becomes ready after an instant.
fn first_ready(run: &Timeline, after: f64) -> f64 {
    let ready = |c: &&super::Change| {
        c.at > after && c.get("status.conditions[Ready].status") == Some("True")
    };
    run.of("pods").find(ready).map_or(f64::MAX, |c| c.at)
}

/// The most pods asked for at one time within a span, and what each set has at its end.
fn extremes(run: &Timeline, within: &Range<f64>) -> (i64, BTreeMap<usize, i64>) {
    let mut now = BTreeMap::new();
    let mut most = 0;
    for (at, set, replicas) in steps(run, &(0.0..within.end)) {
        now.insert(set, replicas);
        if at >= within.start {
            most = most.max(now.values().sum());
        }
    }
    (most, now)
}

#[test]
fn a_deployment_rolls_as_recorded() {
    let Some(case) = Case::load("01", "01_deployment_kubelet", "01-deployment") else { return };
    let wrong = table::check(&case) + &order::check(&case) + &instants::check(&case);
    // Create, scale, roll, roll back while scaling down.
    for within in [2.0..10.2, 10.2..16.89, 16.89..31.54, 31.54..42.9] {
        let early = |run: &Timeline| -> Vec<(usize, i64)> {
            let ready = first_ready(run, within.start);
            let all = steps(run, &(within.start..within.end.min(ready)));
            all.into_iter().map(|(_, set, replicas)| (set, replicas)).collect()
        };
        let want = (early(&case.recorded), extremes(&case.recorded, &within));
        assert!(!want.0.is_empty(), "{within:?}");
        for (whose, run) in case.all() {
            assert_eq!((early(run), extremes(run, &within)), want, "{whose}, {within:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Creations begin with one pod and double while they succeed: seen as the instants of the
/// requests, which leave together. (Recorded: 1, 2, 4, 3 too, but one after the other on two
/// processors.)
#[test]
fn creations_start_slowly() {
    let run = super::simulated::run("01-deployment", 1);
    let creates =
        run.writes.iter().filter(|w| w.verb == "create" && w.resource == "pods" && w.at < 3.0);
    let mut batches: Vec<(f64, usize)> = Vec::new();
    for write in creates {
        match batches.last_mut().filter(|b| write.at - b.0 < 0.001) {
            Some(batch) => batch.1 += 1,
            None => batches.push((write.at, 1)),
        }
    }
    let sizes: Vec<usize> = batches.into_iter().map(|b| b.1).collect();
    assert_eq!(sizes, [1, 2, 4, 3]);
}
