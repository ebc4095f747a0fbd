//! `06b_quota_retry_fakelet`: what is refused.

use super::{Case, Timeline, Write, order, table};

/// The pods that a quota kept the `ReplicaSet` controller from making, and those it made.
fn creates(run: &Timeline, code: u16) -> Vec<f64> {
    let actor = "kcm:replicaset-controller";
    let is = |w: &&Write| w.actor == actor && w.resource == "pods" && w.code == code;
    run.writes.iter().filter(|w| w.verb == "create").filter(is).map(|w| w.at).collect()
}

/// Tries come after 5 ms, 10 ms, 20 ms …; compared from 160 ms on, before which the status of the pods
/// that were made brings tries of its own.
#[test]
fn a_quota_holds_pods_up_as_recorded() {
    let Some(case) = Case::load("06b", "06b_quota_retry_fakelet", "06b-quota-retry") else {
        return;
    };
    let wrong = table::check(&case) + &order::check(&case);
    for (whose, run) in case.all() {
        let (refused, made) = (creates(run, 403), creates(run, 201));
        assert_eq!((refused.len(), made.len()), (14, 5), "{whose}: {refused:?}");
        // The fourth pod waits for the retry after the quota was raised, and the fifth comes with it.
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
