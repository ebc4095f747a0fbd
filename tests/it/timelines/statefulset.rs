//! `03_statefulset_kubelet`.

use super::{Case, Did, Timeline, instants, order, table};

/// Pods as they come and go: `+s-orderedready-0`, `-s-orderedready-0`.
fn comings(run: &Timeline, name: &str) -> Vec<String> {
    let pods = run.of("pods").filter(|c| c.name.starts_with(name));
    pods.filter_map(|c| match c.did {
        Did::Added => Some(format!("+{}", c.name)),
        Did::Deleted => Some(format!("-{}", c.name)),
        Did::Modified => None,
    })
    .collect()
}

#[test]
fn stateful_sets_change_as_recorded() {
    let Some(case) = Case::load("03", "03_statefulset_kubelet", "03-statefulset") else { return };
    let wrong = table::check(&case) + &order::check(&case) + &instants::check(&case);
    for (whose, run) in case.all() {
        // The last pods go together, in any order.
        let ordered = |run: &Timeline| {
            let mut all = comings(run, "s-orderedready");
            let end = all.len() - 2;
            all[end..].sort();
            all
        };
        assert_eq!(ordered(run), ordered(&case.recorded), "{whose}");
        // A parallel set makes and deletes together; it rolls one by one.
        let parallel = |run: &Timeline| {
            let mut all = comings(run, "s-parallel");
            all[..3].sort();
            let rolled = all.len() - 8;
            all[9..rolled].sort();
            all[rolled..].sort();
            all
        };
        assert_eq!(parallel(run), parallel(&case.recorded), "{whose}");
        gaps(run, &whose);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The next pod of an ordered set follows at once when the one before is ready.
fn gaps(run: &Timeline, whose: &str) {
    for (before, next) in [("0", "1"), ("1", "2")] {
        let (before, next) = (format!("s-orderedready-{before}"), format!("s-orderedready-{next}"));
        let ready = |c: &&super::Change| {
            c.name == before && c.get("status.conditions[Ready].status") == Some("True")
        };
        let ready = run.of("pods").find(ready).unwrap().at;
        let made = run.of("pods").find(|c| c.name == next && c.did == Did::Added).unwrap().at;
        assert!((0.0..0.2).contains(&(made - ready)), "{whose}: {next} {made}, {before} {ready}");
    }
}
