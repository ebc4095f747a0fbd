//! `06_pdb_quota_preempt_kubelet` and `06b_quota_retry_fakelet`: what is refused, and what gives
//! way.

use super::{Case, Change, Timeline, Write, instants, order, table};

/// The pods that a quota kept the `ReplicaSet` controller from making, and those it made.
fn creates(run: &Timeline, code: u16) -> Vec<f64> {
    let actor = "kcm:replicaset-controller";
    let is = |w: &&Write| w.actor == actor && w.resource == "pods" && w.code == code;
    run.writes.iter().filter(|w| w.verb == "create").filter(is).map(|w| w.at).collect()
}

/// Tries come after 5 ms, 10 ms, 20 ms …; compared from 160 ms on, before which the status of the
/// pods that were made brings tries of its own.
#[test]
fn a_quota_holds_pods_up_as_recorded() {
    let Some(case) = Case::load("06b", "06b_quota_retry_fakelet", "06b-quota-retry") else {
        return;
    };
    let wrong = table::check(&case) + &order::check(&case) + &instants::check(&case);
    for (whose, run) in case.all() {
        let (refused, made) = (creates(run, 403), creates(run, 201));
        assert_eq!((refused.len(), made.len()), (14, 5), "{whose}: {refused:?}");
        // The fourth pod waits for the retry after the quota was raised, and the fifth comes with
        // it.
        let mut tries: Vec<f64> = refused[6..].to_vec();
        tries.push(made[3]);
        let want = [0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48];
        for (pair, want) in tries.windows(2).zip(want) {
            let gap = pair[1] - pair[0];
            assert!((want..want + 0.03).contains(&gap), "{whose}: {gap}, {want}: {tries:?}");
        }
        assert!(made[4] - made[3] < 0.1, "{whose}: {made:?}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// When something was done to a pod whose name begins so.
fn when(run: &Timeline, name: &str, what: impl Fn(&Change) -> bool) -> Vec<f64> {
    let found = run.of("pods").filter(|c| c.name.starts_with(name) && what(c));
    found.map(|c| c.at).collect()
}

#[test]
fn refusals_and_preemption_are_as_recorded() {
    let Some(case) = Case::load("06", "06_pdb_quota_preempt_kubelet", "06-refusals") else {
        return;
    };
    let wrong = table::check(&case) + &order::check(&case) + &instants::check(&case);
    for (whose, run) in case.all() {
        budget(run, &whose);
        quota(run, &whose);
        preemption(run, &whose);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The first eviction is granted, the next ones refused until the replacement is ready.
fn budget(run: &Timeline, whose: &str) {
    let all = run.writes.iter().filter(|w| w.resource == "pods/eviction");
    let codes: Vec<u16> = all.clone().map(|w| w.code).collect();
    assert_eq!(codes, [201, 429, 429, 429, 429, 429, 429, 201], "{whose}");
    let asked = [7.011, 7.039, 7.065, 7.084, 8.092, 9.1, 10.107, 11.117];
    for (write, asked) in all.zip(asked) {
        assert!((asked..asked + 0.01).contains(&write.at), "{whose}: {asked}, {write:?}");
    }
}

/// Three pods are let in, and bare ones as far as the quota and the limit go. Pods that get ready
/// bring tries of their own: after 15 failures within seconds the next one is due in 82 s, so that
/// none falls between the raise of the quota at 35 s and the end.
fn quota(run: &Timeline, whose: &str) {
    let until = |all: Vec<f64>| -> Vec<f64> {
        all.into_iter().filter(|t| (19.9..56.5).contains(t)).collect()
    };
    let (refused, made) = (until(creates(run, 403)), until(creates(run, 201)));
    assert_eq!(made.len(), 3, "{whose}: {made:?}");
    assert!(refused.len() >= 14 && refused.iter().all(|t| *t < 35.018), "{whose}: {refused:?}");
    let bare = run.writes.iter().filter(|w| w.actor == "user" && w.code == 403);
    let names: Vec<&str> = bare.map(|w| w.name.as_str()).collect();
    assert_eq!(names, ["over1", "toobig"], "{whose}");
}

/// Each victim is told why and then marked, then the preemptor is nominated, in one cycle; it is bound
/// at the next look at back-offs once the victims have stopped, which takes them 3 s.
fn preemption(run: &Timeline, whose: &str) {
    let created = 67.135;
    let early = |all: Vec<f64>| -> Vec<f64> {
        all.into_iter().filter(|t| (created..created + 1.0).contains(t)).collect()
    };
    let told = early(when(run, "filler-", |c| {
        c.get("status.conditions[DisruptionTarget].status") == Some("True")
    }));
    let marked = early(when(run, "filler-", |c| c.set.contains_key("metadata.deletionTimestamp")));
    let stopped = when(run, "filler-", |c| {
        c.get("status.phase") == Some("Succeeded") && c.at < created + 6.0
    });
    let nominated = when(run, "vip", |c| c.get("status.nominatedNodeName") == Some("n1"));
    let bound = when(run, "vip", |c| c.get("spec.nodeName") == Some("n1"));
    assert_eq!((told.len(), marked.len(), stopped.len()), (2, 2, 2), "{whose}");
    assert_eq!((nominated.len(), bound.len()), (1, 1), "{whose}");
    for (told, marked) in told.iter().zip(&marked) {
        assert!(created <= *told && told <= marked, "{whose}: {told}, {marked}");
    }
    let (nominated, bound, stopped) = (nominated[0], bound[0], stopped[1]);
    assert!((0.0..0.1).contains(&(nominated - created)), "{whose}: {nominated}");
    assert!(marked.iter().all(|m| *m <= nominated), "{whose}: {marked:?}, {nominated}");
    assert!((2.9..3.6).contains(&(stopped - marked[1])), "{whose}: {stopped}, {marked:?}");
    assert!((0.0..1.1).contains(&(bound - stopped)), "{whose}: {stopped}, {bound}");
    // Those that replace the victims find no place.
    let late = when(run, "filler-", |c| c.set.contains_key("spec.nodeName"));
    assert!(late.iter().all(|t| *t < 62.0 || *t > 77.0), "{whose}: {late:?}");
}
