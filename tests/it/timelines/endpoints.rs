//! `07_endpointslice_kubelet`.

use super::recorded::read;
use super::{Case, Change, Timeline, instants, order, table};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const RECORDING: &str = "07_endpointslice_kubelet";

/// What slices said of each pod, one after the other: `r` ready, `s` serving, `t` terminating.
type Flags = BTreeMap<String, Vec<String>>;

fn push(flags: &mut Flags, pod: &str, now: &str) {
    let all = flags.entry(pod.to_owned()).or_default();
    if all.last().is_none_or(|last| last != now) {
        all.push(now.to_owned());
    }
}

fn recorded(recording: &Value) -> Flags {
    let mut events: Vec<&Value> = recording["events"].as_array().unwrap().iter().collect();
    events.retain(|e| e["kind"] == "endpointslices");
    events.sort_by_key(|e| e["rv"].as_str().unwrap().parse::<u64>().unwrap());
    let mut flags = Flags::new();
    for (pod, now) in
        events.iter().filter_map(|e| e["set"]["endpoints_changed"].as_object()).flatten()
    {
        push(&mut flags, pod, now.as_str().unwrap());
    }
    flags
}

fn endpoints(change: &Change) -> Option<Vec<Value>> {
    serde_json::from_str(change.get("endpoints")?).ok()
}

fn simulated(run: &Timeline) -> Flags {
    let mut flags = Flags::new();
    for change in run.of("endpointslices") {
        for endpoint in endpoints(change).into_iter().flatten() {
            let pod = endpoint["targetRef"]["name"].as_str().unwrap_or_default();
            let is = |c: &str| endpoint["conditions"][c] == true;
            let all = [("ready", "r"), ("serving", "s"), ("terminating", "t")];
            let now: String = all.into_iter().filter(|(c, _)| is(c)).map(|(_, f)| f).collect();
            push(&mut flags, pod, if now.is_empty() { "-" } else { &now });
        }
    }
    flags
}

#[test]
fn slices_follow_their_pods_as_recorded() {
    let Some(case) = Case::load("07", RECORDING, "07-endpointslice") else { return };
    let wrong = table::check(&case) + &order::check(&case) + &instants::check(&case);
    // From nothing to the first flags, and on. A slice that is written late skips some.
    let turns = |flags: Flags| -> BTreeSet<(String, String)> {
        let all = flags.into_values().map(|mut all| {
            all.insert(0, String::new());
            all
        });
        all.flat_map(|a| a.windows(2).map(|p| (p[0].clone(), p[1].clone())).collect::<Vec<_>>())
            .collect()
    };
    let want = turns(recorded(&read(RECORDING).unwrap()));
    let skips = |from: &str, to: &str| {
        want.iter().any(|(a, b)| a == from && want.contains(&(b.clone(), to.to_owned())))
    };
    let got: BTreeSet<_> = case.runs.iter().flat_map(|run| turns(simulated(run))).collect();
    let missing: Vec<_> = want.difference(&got).filter(|(a, b)| !skips(a, b)).collect();
    let extra: Vec<_> = got.difference(&want).filter(|(a, b)| !skips(a, b)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, extra {extra:?}");
    assert!(wrong.is_empty(), "{wrong}");
}
