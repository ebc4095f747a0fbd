//! Reads a recording: audit log and watch events.

use super::{Change, Did, Timeline, Write};
use crate::support::shared_dir;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read as _;

/// A file of `timelines/`, without `.json.gz`; none without the shared data.
pub(super) fn read(name: &str) -> Option<Value> {
    let path = shared_dir()?.join(format!("timelines/{name}.json.gz"));
    let mut json = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut json).unwrap();
    Some(serde_json::from_str(&json).unwrap())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A field's value as text: strings without quotes.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn writes(recording: &Value) -> Vec<Write> {
    let rows = recording["writes"].as_array().unwrap().iter();
    let write = |row: &Value| {
        let part = |i: usize| row[i].as_str().unwrap().to_owned();
        Write {
            at: row[0].as_f64().unwrap(),
            actor: part(1),
            verb: part(2),
            resource: part(3),
            name: part(4),
            code: u16::try_from(row[5].as_u64().unwrap()).unwrap(),
        }
    };
    rows.map(write).collect()
}

fn change(event: &Value) -> Change {
    let set = event["set"].as_object().into_iter().flatten();
    let del = event["del"].as_array().into_iter().flatten();
    Change {
        at: event["t"].as_f64().unwrap(),
        kind: text(event, "kind").to_owned(),
        ns: text(event, "ns").to_owned(),
        name: text(event, "name").to_owned(),
        did: match text(event, "type") {
            "ADDED" => Did::Added,
            "DELETED" => Did::Deleted,
            _modified => Did::Modified,
        },
        set: set.map(|(path, value)| (path.clone(), plain(value))).collect(),
        del: del.map(plain).collect(),
        write: None,
    }
}

/// The time of day of a text such as `2026-11-20T22:06:07.5Z`, in seconds.
pub(super) fn clock(text: &str) -> f64 {
    let (_, time) = text.trim_end_matches('Z').split_once('T').unwrap_or_default();
    time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse().unwrap_or(f64::NAN))
}

/// Writes and changes. What stood at the start is left out.
pub(super) fn timeline(recording: &Value) -> Timeline {
    let mut events: Vec<&Value> = recording["events"].as_array().unwrap().iter().collect();
    events.retain(|e| e["type"] != "INIT");
    events.sort_by_key(|e| text(e, "rv").parse::<u64>().unwrap());
    let mut found = Timeline {
        start: clock(text(recording, "start")),
        writes: writes(recording),
        changes: events.into_iter().map(change).collect(),
    };
    let rows = recording["writes"].as_array().into_iter().flatten();
    let latencies: Vec<f64> = rows.map(|row| row[6].as_f64().unwrap_or(0.0) / 1000.0).collect();
    join(&mut found, &latencies);
    found
}

/// A write that ended so long before its change was seen did not make it (a no-op, say), if there
/// is another one that can have.
const STALE: f64 = 0.1;
/// How exact the two logs' clocks are.
const EARLY: f64 = 0.02;

/// Finds the write behind each change: the audit log has neither revisions nor namespaces, and no
/// name where one was generated or a collection deleted, so both are joined in their order per kind
/// and object, each change to the first write that can have made it.
fn join(timeline: &mut Timeline, latencies: &[f64]) {
    let mut queues: BTreeMap<(String, String), VecDeque<usize>> = BTreeMap::new();
    for (i, write) in timeline.writes.iter().enumerate().filter(|(_, w)| w.code < 300) {
        let kind = write.resource.split('/').next().unwrap_or_default().to_owned();
        queues.entry((kind, write.name.clone())).or_default().push_back(i);
    }
    let mut last: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut going: BTreeSet<String> = BTreeSet::new();
    for change in &mut timeline.changes {
        let object = (change.kind.clone(), change.name.clone());
        let of = |write: &usize| &timeline.writes[*write];
        // An eviction writes the condition before it marks the pod: one row for both.
        if change.get("status.conditions[DisruptionTarget].reason") == Some("EvictionByEvictionAPI")
        {
            let own = queues.get(&object).into_iter().flatten();
            change.write = own.copied().find(|w| of(w).resource == "pods/eviction");
            continue;
        }
        // The second half of the write that set a pod's grace to 0 has no row of its own.
        if change.did == Did::Deleted && change.kind == "pods" && last.contains_key(&object) {
            change.write = last.remove(&object);
            going.remove(&change.name);
            continue;
        }
        let mut fitting = |key: &(String, String)| {
            let queue = queues.get_mut(key)?;
            let again = going.contains(&change.name) && change.kind == "pods";
            let fit = |w: &usize| {
                // What was asked for after it was seen did not make it either.
                of(w).at <= change.at + EARLY
                    && fits(of(w), change)
                    && !(again && repeats(of(w), change))
            };
            let fresh = |w: &usize| of(w).at + latencies[*w] + STALE >= change.at;
            let at = queue.iter().position(|w| fit(w) && fresh(w));
            queue.remove(at.or_else(|| queue.iter().position(fit))?)
        };
        let unnamed = (change.kind.clone(), String::new());
        let write = fitting(&object)
            .or_else(|| (change.did == Did::Added).then(|| fitting(&unnamed)).flatten())
            .or_else(|| {
                // One row for all of a collection.
                let all = queues.get(&unnamed)?.iter().rev();
                let swept = |w: &usize| of(w).verb == "deletecollection" && of(w).at <= change.at;
                all.copied().find(swept).filter(|_| goes(change))
            });
        change.write = write;
        if goes(change) && change.did == Did::Modified {
            going.insert(change.name.clone());
        } else if change.did != Did::Modified {
            // A name may live again.
            going.remove(&change.name);
        }
        if let Some(write) = write {
            last.insert(object, write);
        }
    }
}

/// Whether a write only asks once more for a deletion that is under way, which changes nothing: a
/// controller names no grace, and only a shorter one counts.
fn repeats(write: &Write, change: &Change) -> bool {
    let controller = write.actor.starts_with("kcm:") && write.actor != "kcm:pod-garbage-collector";
    change.set.contains_key("metadata.deletionGracePeriodSeconds") && controller
}

/// Whether a change is a deletion or its mark.
fn goes(change: &Change) -> bool {
    change.did == Did::Deleted || change.set.contains_key("metadata.deletionTimestamp")
}

/// Whether the write can have made the change.
fn fits(write: &Write, change: &Change) -> bool {
    let owner = change.get("owner").and_then(|o| o.split('/').next()).unwrap_or_default();
    let maker = match owner {
        "ReplicaSet" => "kcm:replicaset-controller",
        "DaemonSet" => "kcm:daemon-set-controller",
        "StatefulSet" => "kcm:statefulset-controller",
        "Job" => "kcm:job-controller",
        _other => "",
    };
    let sub = write.resource.split_once('/').map_or("", |(_, sub)| sub);
    let has = |path: &str| change.set.contains_key(path);
    let status = |path: &String| path.starts_with("status");
    match change.did {
        Did::Added => {
            write.verb == "create" && sub.is_empty() && (maker.is_empty() || maker == write.actor)
        }
        Did::Deleted => write.verb == "delete" || write.verb == "patch",
        Did::Modified if has("metadata.deletionTimestamp") => {
            write.verb == "delete" || sub == "eviction"
        }
        Did::Modified if has("spec.nodeName") => sub == "binding",
        Did::Modified if change.kind == "nodes" => {
            sub == if change.set.keys().any(status) { "status" } else { "" }
        }
        Did::Modified if change.kind == "pods" && change.set.keys().any(status) => sub == "status",
        Did::Modified => write.verb != "create" && write.verb != "delete",
    }
}
