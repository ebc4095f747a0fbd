//! The order of writes to each pod and node: per actor what it wrote, one after the other, and
//! across actors only what one write causes the other to do. Names differ between runs, so pods are
//! classed by their owner; each order that was recorded must be one that the model gives, and each
//! one that it gives must have been recorded, or be listed.

use super::exceptions::{ORDERS, Order, Side, is_chance};
use super::{Case, Change, Did, Timeline};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Orders of writes, each with how many objects had it.
type Found = BTreeMap<String, usize>;

/// By class of objects and actor.
type Orders = BTreeMap<(String, String), Found>;

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

/// What a revision of a node did; nothing if it only says that the node lives.
fn node_label(change: &Change) -> Option<String> {
    if change.did != Did::Modified {
        return Some(if change.did == Did::Added { "created" } else { "gone" }.to_owned());
    }
    if let Some(status) = change.get("status.conditions[Ready].status") {
        return Some(format!("Ready={status}"));
    }
    if change.del.iter().any(|path| path == "spec.taints") {
        return Some("no taints".to_owned());
    }
    let taints = change.get("spec.taints")?;
    let there = |effect: &&str| taints.contains(*effect);
    let effects: Vec<&str> = ["NoSchedule", "NoExecute"].into_iter().filter(there).collect();
    Some(format!("taints {}", effects.join(" ")))
}

/// The rows of each node by its name.
fn nodes(timeline: &Timeline) -> Vec<(String, Vec<(String, String)>)> {
    let mut all: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    for change in timeline.of("nodes") {
        // Those that stand from the start are made before the recording begins.
        let Some(label) = node_label(change).filter(|_| change.at > 1.5) else { continue };
        let actor = timeline.actor(change);
        let actor = if actor.starts_with("kubelet:") { "kubelet" } else { actor };
        all.entry(&change.name).or_default().push((actor.to_owned(), label));
    }
    all.into_iter().map(|(name, rows)| (name.to_owned(), rows)).collect()
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

const ARROW: &str = " → ";

fn orders(timeline: &Timeline) -> Orders {
    let mut found = Orders::new();
    for (class, rows) in lives(timeline).into_iter().chain(nodes(timeline)) {
        let mut by_actor: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (actor, label) in rows {
            by_actor.entry(actor).or_default().push(label);
        }
        for (actor, labels) in by_actor {
            let order = labels.join(ARROW);
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

/// Most exceptions that one order may need.
const MOST_EDITS: usize = 3;

/// The orders that an exception makes of one, wherever its writes stand in it.
fn exchanged(labels: &[String], edit: &Order) -> Vec<Vec<String>> {
    let n = edit.these.len();
    let is = |w: &[String]| w.iter().map(String::as_str).eq(edit.these.iter().copied());
    let places = labels.windows(n).enumerate().filter(|(_, w)| is(w));
    places
        .map(|(from, _)| {
            let mut new = labels.to_vec();
            new.splice(from..from + n, edit.those.iter().map(|s| (*s).to_owned()));
            new
        })
        .collect()
}

/// The exceptions, by number, that turn an order into one of the other side's; none if none do.
fn explained(order: &str, edits: &[(usize, &Order)], other: &Found) -> Option<BTreeSet<usize>> {
    // Nothing at all is what the other side has if its actor wrote nothing.
    let there =
        |new: &[String]| new.is_empty() && other.is_empty() || other.contains_key(&new.join(ARROW));
    let mut tried: Vec<(Vec<String>, BTreeSet<usize>)> =
        vec![(order.split(ARROW).map(str::to_owned).collect(), BTreeSet::new())];
    for _ in 0..MOST_EDITS {
        let mut next = Vec::new();
        for (labels, used) in &tried {
            for (number, edit) in edits {
                let used: BTreeSet<usize> = used.iter().copied().chain([*number]).collect();
                next.extend(exchanged(labels, edit).into_iter().map(|new| (new, used.clone())));
            }
        }
        if let Some((_, used)) = next.iter().find(|(new, _)| there(new)) {
            return Some(used.clone());
        }
        tried = next;
    }
    None
}

/// The orders of all runs together.
fn simulated(case: &Case) -> Orders {
    let mut got = Orders::new();
    for run in &case.runs {
        for (key, found) in orders(run) {
            let all = got.entry(key).or_default();
            for (order, n) in found {
                *all.entry(order).or_default() += n;
            }
        }
    }
    got
}

/// Compares the orders of writes to pods and nodes. One that only one side shows must become one of
/// the other side's by exchanges that are listed, and only needed ones are.
#[expect(clippy::print_stdout, reason = "the comparison is worth reading: --nocapture")]
pub(super) fn check(case: &Case) -> String {
    let (want, got) = (orders(&case.recorded), simulated(case));
    let mut wrong: String = case.all().map(|(_, run)| out_of_order(run)).collect();
    let mut used = BTreeSet::new();
    let none = Found::new();
    for key in want.keys().chain(got.keys()).collect::<BTreeSet<_>>() {
        let (class, actor) = key;
        let (w, g) = (want.get(key).unwrap_or(&none), got.get(key).unwrap_or(&none));
        for order in w.keys().chain(g.keys()).collect::<BTreeSet<_>>() {
            let of = |found: &Found| found.get(order).copied().unwrap_or(0);
            let line = format!("{:4} {:5}  {class} by {actor}: {order}", of(w), of(g));
            println!("{line}");
            let (side, other) = match (of(w), of(g)) {
                (_, 0) => (Side::Recorded, g),
                (0, _) => (Side::Simulated, w),
                _both => continue,
            };
            let edits: Vec<(usize, &Order)> = ORDERS
                .iter()
                .enumerate()
                .filter(|(_, e)| e.recording == case.id && e.side == side)
                .filter(|(_, e)| e.who == (class.as_str(), actor.as_str()))
                .collect();
            match explained(order, &edits, other) {
                Some(numbers) => used.extend(numbers),
                None => writeln!(wrong, "{line}").unwrap(),
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
