//! Reads a recording: audit log and watch events.

use super::{Change, Did, Timeline, Write};
use crate::support::shared_dir;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
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

/// Writes and changes. What stood at the start is left out.
pub(super) fn timeline(recording: &Value) -> Timeline {
    let mut events: Vec<&Value> = recording["events"].as_array().unwrap().iter().collect();
    events.retain(|e| e["type"] != "INIT");
    events.sort_by_key(|e| text(e, "rv").parse::<u64>().unwrap());
    let mut found =
        Timeline { writes: writes(recording), changes: events.into_iter().map(change).collect() };
    join(&mut found);
    found
}

/// Finds the write behind each change: the audit log has neither revisions nor namespaces, and no
/// name where one was generated, so both are joined in their order per kind and object, each change
/// to the first write that can have made it.
fn join(timeline: &mut Timeline) {
    let mut queues: BTreeMap<(String, String), VecDeque<usize>> = BTreeMap::new();
    for (i, write) in timeline.writes.iter().enumerate().filter(|(_, w)| w.code < 300) {
        let kind = write.resource.split('/').next().unwrap_or_default().to_owned();
        queues.entry((kind, write.name.clone())).or_default().push_back(i);
    }
    let mut last: BTreeMap<(String, String), usize> = BTreeMap::new();
    for change in &mut timeline.changes {
        let object = (change.kind.clone(), change.name.clone());
        // The second half of the write that set a pod's grace to 0 has no row of its own.
        if change.did == Did::Deleted && last.contains_key(&object) {
            change.write = last.remove(&object);
            continue;
        }
        let mut fitting = |key: &(String, String)| {
            let queue = queues.get_mut(key)?;
            let at = queue.iter().position(|&w| fits(&timeline.writes[w], change))?;
            queue.remove(at)
        };
        let generated = (change.kind.clone(), String::new());
        let write = fitting(&object)
            .or_else(|| (change.did == Did::Added).then(|| fitting(&generated)).flatten());
        change.write = write;
        if let Some(write) = write {
            last.insert(object, write);
        }
    }
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
        Did::Modified if change.kind == "pods" && change.set.keys().any(status) => sub == "status",
        Did::Modified => write.verb != "create" && write.verb != "delete",
    }
}
