//! Watches a simulated run and writes down what an audit log and a watch would have shown.

use super::recorded::plain;
use super::{Change, Did, Timeline, Write};
use rustc_hash::FxHashMap;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use wavetank::api::request::User;
use wavetank::api::versions::{self, Versions};
use wavetank::api::{Kind, Obj};
use wavetank::cluster::spec::Agent;
use wavetank::event::{ApiEvent, Event, Record, What};
use wavetank::report::export::to_value;
use wavetank::scenario::{LoadOptions, load_with};
use wavetank::session::{Observer, Session};

/// What is done before this is set-up (the namespace), which was done before the recording began.
const SET_UP: f64 = 1.0;

/// Runs `scenarios/timelines/NAME` with a seed.
pub(super) fn run(name: &str, seed: u64) -> Timeline {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("scenarios/timelines/{name}/scenario.yaml"));
    let loaded = load_with(&path, &LoadOptions::default()).unwrap_or_else(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", all.join("\n"));
    });
    let mut plan = loaded.plan;
    plan.seed = seed;
    // A recording made with fakelets names all of them by their one client.
    let fake = plan.cluster.nodes.iter().any(|n| n.agent == Agent::Fakelet);
    let mut collector = Collector { fake, ..Collector::default() };
    collector.timeline.start = f64::from(plan.cluster.epoch_s % 86_400);
    let mut session = Session::new(Arc::new(plan));
    session.trace(true);
    session.run(&mut [&mut collector], |_| {});
    collector.timeline
}

/// Requests as they were sent, and the row of the table that each step of theirs belongs to.
#[derive(Debug, Default)]
struct Collector {
    timeline: Timeline,
    fake: bool,
    submitted: FxHashMap<u64, Write>,
    rows: FxHashMap<u64, usize>,
}

impl Observer for Collector {
    fn on(&mut self, record: &Record, versions: &Versions) {
        match record.what {
            What::Submitted { user, verb, kind, name, .. } => {
                let fake = self.fake && matches!(user, User::Kubelet(_));
                let write = Write {
                    at: 0.0,
                    actor: if fake { "fakelet".to_owned() } else { user.to_string() },
                    verb: verb.0.to_owned(),
                    resource: format!("{}{}", kind.plural(), verb.1),
                    name: name.to_string(),
                    code: if verb.0 == "create" { 201 } else { 200 },
                };
                let reads = verb.0 == "list" || kind == Kind::Lease;
                if !reads && record.time.secs_f64() >= SET_UP {
                    self.submitted.insert(record.seq, write);
                }
            }
            What::Event(Event::Api(ApiEvent::Arrive(_))) => {
                if let Some(write) = self.submitted.remove(&record.cause) {
                    self.rows.insert(record.seq, self.timeline.writes.len());
                    self.timeline.writes.push(Write { at: record.time.secs_f64(), ..write });
                }
            }
            What::Stage(_) | What::Event(Event::Api(ApiEvent::Commit(_))) => {
                if let Some(&row) = self.rows.get(&record.cause) {
                    self.rows.insert(record.seq, row);
                }
            }
            What::Refused { error, .. } => {
                if let Some(&row) = self.rows.get(&record.cause) {
                    self.timeline.writes[row].code = error.code();
                }
            }
            What::Committed { kind, log, user, verb, .. } => {
                let change = versions.change(kind, log).unwrap();
                let row = if matches!(user, User::ApiServer) && verb == ("update", "/status") {
                    Some(self.own_write(record.time.secs_f64(), kind, change))
                } else {
                    self.rows.get(&record.cause).copied()
                };
                self.committed(record.time.secs_f64(), row, change);
            }
            What::Event(_)
            | What::Delivered { .. }
            | What::Listed { .. }
            | What::Sync { .. }
            | What::Scheduled { .. }
            | What::Node { .. }
            | What::Fault { .. }
            | What::Noticed { .. }
            | What::Flow { .. }
            | What::Lost { .. }
            | What::Worked { .. }
            | What::Machine { .. }
            | What::Scenario { .. }
            | What::Warned { .. } => {}
        }
    }
}

impl Collector {
    /// What the API server asks of itself has a row of its own: budgets and quotas are charged
    /// within the request that needs them.
    fn own_write(&mut self, at: f64, kind: Kind, change: &versions::Change) -> usize {
        self.timeline.writes.push(Write {
            at,
            actor: "apiserver".to_owned(),
            verb: "update".to_owned(),
            resource: format!("{}/status", kind.plural()),
            name: change.value.key().1.to_string(),
            code: 200,
        });
        self.timeline.writes.len() - 1
    }

    fn committed(&mut self, at: f64, row: Option<usize>, change: &versions::Change) {
        let (ns, name) = change.value.key();
        if let Some(write) = row.map(|row| &mut self.timeline.writes[row]) {
            // `kubectl apply` of an object that is not there is a POST.
            if change.created() && write.verb == "patch" {
                "create".clone_into(&mut write.verb);
                write.code = 201;
            }
        } else if at < SET_UP {
            return;
        }
        if change.value.kind() == Kind::Lease {
            return;
        }
        let before = change.before.as_ref().map(flat).unwrap_or_default();
        let after = flat(&change.value);
        let did = match (change.deleted, change.created()) {
            (true, _) => Did::Deleted,
            (false, true) => Did::Added,
            (false, false) => Did::Modified,
        };
        let differs = |(path, value): &(&String, &String)| before.get(*path) != Some(*value);
        self.timeline.changes.push(Change {
            at,
            kind: change.value.kind().plural().to_owned(),
            ns: ns.to_string(),
            name: name.to_string(),
            did,
            set: after.iter().filter(differs).map(|(p, v)| (p.clone(), v.clone())).collect(),
            del: before.keys().filter(|path| !after.contains_key(*path)).cloned().collect(),
            write: row,
        });
    }
}

/// An object's fields as recordings name them.
fn flat(obj: &Obj) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let value = to_value(obj, 0);
    for (field, below) in value.as_object().into_iter().flatten() {
        flatten(field, below, &mut found);
    }
    if let Some(owner) = obj.meta().and_then(|m| m.controller()) {
        found.insert("owner".to_owned(), format!("{}/{}", owner.kind.name(), owner.name));
    }
    found
}

fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, below) in map {
                flatten(&format!("{path}.{key}"), below, into);
            }
        }
        Value::Array(list) if list.iter().any(|v| key_of(v).is_some()) => {
            for below in list {
                flatten(&format!("{path}[{}]", key_of(below).unwrap_or_default()), below, into);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            into.insert(path.to_owned(), plain(value));
        }
    }
}

/// What tells the elements of a list apart: the type of a condition, the name of a container.
fn key_of(value: &Value) -> Option<&str> {
    value.get("type").or_else(|| value.get("name"))?.as_str()
}
