//! The order of writes to each pod: per actor what it wrote, one after the other, and across actors
//! only what one write causes the other to do. Names differ between runs, so pods are classed by
//! their owner; each order that was recorded must be one that the model gives, and each one that it
//! gives must have been recorded, or be listed.

use super::exceptions::{ORDERS, is_chance};
use super::{Case, Change, Did, Timeline};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// By class of pods and actor: the orders of writes, each with how many pods had it.
type Orders = BTreeMap<(String, String), BTreeMap<String, usize>>;

/// `web` of `ReplicaSet/web-5b454bcc8`; a name where there is no owner.
fn class(change: &Change) -> String {
    let Some(owner) = change.get("owner") else { return change.name.clone() };
    let (kind, name) = owner.split_once('/').unwrap_or_default();
    let base = name.rsplit_once('-').map_or(name, |(base, _)| base);
    if kind == "ReplicaSet" { base.to_owned() } else { name.to_owned() }
}

/// What a revision of a pod did, in a few words.
fn label(change: &Change) -> String {
    let set = |path: &str| change.get(path).map(str::to_owned);
    match change.did {
        Did::Added => return "created".to_owned(),
        Did::Deleted => return "gone".to_owned(),
        Did::Modified => {}
    }
    if change.get("spec.nodeName").is_some() {
        return "bound".to_owned();
    }
    if let Some(grace) = set("metadata.deletionGracePeriodSeconds") {
        return if grace == "0" { "deleted for good" } else { "to be deleted" }.to_owned();
    }
    let mut parts: Vec<String> = set("status.phase").into_iter().collect();
    for condition in ["PodScheduled", "DisruptionTarget", "Ready"] {
        let status = set(&format!("status.conditions[{condition}].status"));
        parts.extend(status.map(|s| format!("{condition}={s}")));
    }
    for (path, value) in &change.set {
        let Some(rest) = path.strip_prefix("status.containerStatuses[") else { continue };
        let Some((_, field)) = rest.split_once("].") else { continue };
        match field {
            "state.waiting.reason" => parts.push(format!("waits: {value}")),
            "state.running.startedAt" => parts.push("runs".to_owned()),
            "state.terminated.exitCode" => parts.push(format!("ended {value}")),
            "restartCount" if value != "0" => parts.push(format!("restarts {value}")),
            _other => {}
        }
    }
    if parts.is_empty() { "other".to_owned() } else { parts.join(" ") }
}

/// The rows of each pod: actor and label.
fn lives(timeline: &Timeline) -> Vec<(String, Vec<(String, String)>)> {
    let mut all: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut newest: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for change in timeline.of("pods") {
        let key = (change.ns.as_str(), change.name.as_str());
        if change.did == Did::Added {
            newest.insert(key, all.len());
            all.push((class(change), Vec::new()));
        }
        let Some(&life) = newest.get(&key) else { continue };
        let actor = timeline.actor(change);
        let actor = if actor.starts_with("kubelet:") { "kubelet" } else { actor };
        all[life].1.push((actor.to_owned(), label(change)));
    }
    all
}

fn orders(timeline: &Timeline) -> Orders {
    let mut found = Orders::new();
    for (class, rows) in lives(timeline) {
        let mut by_actor: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (actor, label) in rows {
            by_actor.entry(actor).or_default().push(label);
        }
        for (actor, labels) in by_actor {
            let order = labels.join(" → ");
            *found.entry((class.clone(), actor)).or_default().entry(order).or_default() += 1;
        }
    }
    found
}

/// Each of these comes after the one before, whoever writes it.
const CAUSES: [(&str, &str); 4] = [
    ("created", "bound"),
    ("bound", "waits: ContainerCreating"),
    ("to be deleted", "deleted for good"),
    ("deleted for good", "gone"),
];

/// Effects that come before their causes.
fn out_of_order(timeline: &Timeline) -> String {
    let mut wrong = String::new();
    for (class, rows) in lives(timeline) {
        let at = |what: &str| rows.iter().position(|(_, label)| label.contains(what));
        for (cause, effect) in CAUSES {
            if let (Some(first), Some(then)) = (at(cause), at(effect))
                && first > then
            {
                writeln!(wrong, "a pod of {class}: {effect} before {cause}: {rows:?}").unwrap();
            }
        }
    }
    wrong
}

/// Compares the orders of writes to pods; differences must be listed, and only those.
#[expect(clippy::print_stdout, reason = "the comparison is worth reading: --nocapture")]
pub(super) fn check(case: &Case) -> String {
    let want = orders(&case.recorded);
    let mut got = Orders::new();
    for (key, order, n) in case.runs.iter().flat_map(|run| {
        orders(run).into_iter().flat_map(|(key, found)| {
            found.into_iter().map(move |(order, n)| (key.clone(), order, n)).collect::<Vec<_>>()
        })
    }) {
        *got.entry(key).or_default().entry(order).or_default() += n;
    }
    let mut wrong: String = case.all().map(|(_, run)| out_of_order(run)).collect();
    let mut used = BTreeSet::new();
    let keys: BTreeSet<_> = want.keys().chain(got.keys()).collect();
    for key in keys {
        let none = BTreeMap::new();
        let (w, g) = (want.get(key).unwrap_or(&none), got.get(key).unwrap_or(&none));
        for order in w.keys().chain(g.keys()).collect::<BTreeSet<_>>() {
            let of = |found: &BTreeMap<String, usize>| found.get(order).copied().unwrap_or(0);
            let (class, actor) = key;
            let line = format!("{:4} {:5}  {class} by {actor}: {order}", of(w), of(g));
            println!("{line}");
            let differs = of(w) == 0 || of(g) == 0;
            let listed = ORDERS.iter().position(|e| {
                let side = if of(g) == 0 {
                    super::exceptions::Side::Recorded
                } else {
                    super::exceptions::Side::Simulated
                };
                e.recording == case.id && e.side == side && e.matches(class, actor, order)
            });
            match (differs, listed) {
                (true, Some(at)) => {
                    used.insert(at);
                }
                (true, None) => writeln!(wrong, "{line}").unwrap(),
                (false, _) => {}
            }
        }
    }
    for (at, e) in ORDERS.iter().enumerate() {
        if e.recording == case.id && !used.contains(&at) && !is_chance(e.reason) {
            writeln!(wrong, "{}: no longer differs: {e:?}", case.id).unwrap();
        }
    }
    wrong
}
