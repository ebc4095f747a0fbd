//! `05_daemonset_kubelet`.

use super::{Case, Did, Timeline, instants, order, table};
use std::collections::BTreeMap;

/// Lives of the pods on each node: created, told to go, containers stopped, gone.
type Life = [f64; 4];

fn lives(run: &Timeline) -> BTreeMap<String, Vec<Life>> {
    let mut open: BTreeMap<&str, (String, Life)> = BTreeMap::new();
    let mut all: BTreeMap<String, Vec<Life>> = BTreeMap::new();
    for change in run.of("pods") {
        let name = change.name.as_str();
        if change.did == Did::Added {
            let life = [change.at, f64::MAX, f64::MAX, f64::MAX];
            open.insert(name, (String::new(), life));
            continue;
        }
        let Some((node, life)) = open.get_mut(name) else { continue };
        if let Some(bound) = change.get("spec.nodeName") {
            bound.clone_into(node);
        } else if change.did == Did::Deleted {
            life[3] = change.at;
            let (node, life) = open.remove(name).unwrap();
            all.entry(node).or_default().push(life);
        } else if change.set.contains_key("metadata.deletionTimestamp") {
            life[1] = life[1].min(change.at);
        } else if change.get("status.phase").is_some_and(|p| p == "Succeeded" || p == "Failed") {
            life[2] = change.at;
        }
    }
    for (node, life) in open.into_values() {
        all.entry(node).or_default().push(life);
    }
    for lives in all.values_mut() {
        lives.sort_by(|a, b| a[0].total_cmp(&b[0]));
    }
    all
}

#[test]
fn a_daemon_set_follows_its_nodes_as_recorded() {
    let Some(case) = Case::load("05", "05_daemonset_kubelet", "05-daemonset") else { return };
    let wrong = table::check(&case) + &order::check(&case) + &instants::check(&case);
    let count = |run: &Timeline| -> BTreeMap<String, usize> {
        lives(run).into_iter().map(|(node, lives)| (node, lives.len())).collect()
    };
    // Which of the oldest pods the user deletes is chance; all else is fixed.
    let total = |run: &Timeline| count(run).values().sum::<usize>();
    for (whose, run) in case.all() {
        assert_eq!(total(run), total(&case.recorded), "{whose}");
        let lives = lives(run);
        // The taint takes n2's pod away, its end brings a new one.
        let n2 = &lives["n2"];
        assert!((23.5..23.6).contains(&n2[0][1]), "{whose}: {n2:?}");
        assert!((35.5..35.6).contains(&n2[1][0]), "{whose}: {n2:?}");
        // The new node gets its pod as soon as it is there.
        assert!((10.1..10.8).contains(&lives["n6"][0][0]), "{whose}: {:?}", lives["n6"]);
        rolls(&lives, &whose);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// One node at a time; the replacement comes once the old pod's containers have stopped, before it
/// is gone.
fn rolls(lives: &BTreeMap<String, Vec<Life>>, whose: &str) {
    let mut rolled: Vec<(f64, Life)> = Vec::new();
    for pods in lives.values() {
        for pair in pods.windows(2).filter(|p| (51.0..73.0).contains(&p[0][1])) {
            rolled.push((pair[0][1], [pair[0][1], pair[0][2], pair[1][0], pair[0][3]]));
        }
    }
    assert_eq!(rolled.len(), 6, "{whose}");
    rolled.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (_, [told, stopped, made, gone]) in &rolled {
        assert!(told < stopped && stopped < made && made < gone, "{whose}: {rolled:?}");
    }
    for pair in rolled.windows(2) {
        assert!(pair[1].0 > pair[0].1[2] + 1.0, "{whose}: two at a time: {rolled:?}");
    }
}
