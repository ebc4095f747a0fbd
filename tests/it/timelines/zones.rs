//! `02c_zones_fakelet`.

use super::{Case, Timeline, instants, order, table};
use std::ops::Range;

/// When nodes with these numbers get the `NoExecute` taint of an unreachable node, in order.
fn evicted(run: &Timeline, nodes: Range<u32>, within: &Range<f64>) -> Vec<f64> {
    let mut all: Vec<f64> = nodes
        .filter_map(|n| {
            let name = format!("n{n}");
            let tainted = |c: &&super::Change| {
                c.name == name
                    && within.contains(&c.at)
                    && c.get("spec.taints").is_some_and(|t| t.contains("NoExecute"))
            };
            run.of("nodes").find(tainted).map(|c| c.at)
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all
}

/// One node of a zone in ten seconds, the first one at the second look after its patience (40 s
/// from a renewal up to 10 s before, to be noticed within 5 s).
fn one_by_one(all: &[f64], stopped: f64, whose: &str) {
    let first = all[0] - stopped;
    assert!((34.0..55.1).contains(&first), "{whose}: the first after {first}");
    for pair in all.windows(2) {
        let gap = pair[1] - pair[0];
        assert!((9.9..10.3).contains(&gap), "{whose}: {all:?}");
    }
}

#[test]
fn zones_are_evicted_as_recorded() {
    let Some(case) = Case::load("02c", "02c_zones_fakelet", "02c-zones") else { return };
    let wrong = table::check(&case) + &order::check(&case) + &instants::check(&case);
    for (whose, run) in case.all() {
        // Four of ten: one after the other.
        let four = evicted(run, 1..11, &(15.0..111.0));
        assert_eq!(four.len(), 4, "{whose}: {four:?}");
        one_by_one(&four, 15.17, &whose);
        // Three of five in a zone of a small cluster: none. Where one is Unknown a look before the
        // others, its zone still counts as well: then it is tainted.
        let three = evicted(run, 1..16, &(131.7..207.3));
        assert!(three.len() <= usize::from(whose != "recorded"), "{whose}: {three:?}");
        // All five while the other zone is well: one after the other again.
        let five = evicted(run, 11..16, &(207.3..313.2));
        assert_eq!(five.len() + three.len(), 5, "{whose}: {five:?}");
        one_by_one(&five, 207.334, &whose);
        // Pods go as their toleration of 5 s says.
        let marked = run
            .of("pods")
            .filter(|c| c.at < 111.0 && c.set.contains_key("metadata.deletionTimestamp"));
        for gone in marked.map(|c| c.at) {
            let after = |t: &f64| (4.9..5.5).contains(&(gone - t));
            let graces = four.iter().any(|t| after(t) || gone - t > 5.0 && gone - t < 6.0);
            assert!(graces || gone > 111.0, "{whose}: {gone}, {four:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
