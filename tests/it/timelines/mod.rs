//! Timelines of a recorded Kubernetes 1.29 control plane against the same scenario in the model.
//!
//! `recorded` reads a recording, `simulated` watches a run; both give [`Timeline`]s. `table` counts
//! writes per (actor, verb, resource, code) and holds the differences against an explicit list
//! (`exceptions`); `order` compares the writes to each object. A file per recording does the rest.

mod daemonset;
mod endpoints;
mod exceptions;
mod gc;
mod hpa;
mod instant_rows;
mod instants;
mod jobs;
mod nodefail;
mod order;
mod recorded;
mod refusals;
mod rollout;
mod simulated;
mod statefulset;
mod status;
mod table;
mod throughput;
mod zones;

use std::collections::BTreeMap;

/// Row keys of the table: actor (kubelets in one), verb, resource with subresource, HTTP code.
type Key = (String, String, String, u16);

/// A write request, as an audit log has it.
#[derive(Debug, Clone, PartialEq)]
struct Write {
    /// When the API server received it.
    at: f64,
    /// `kubelet:n3`, `kcm:replicaset-controller`.
    actor: String,
    verb: String,
    /// Plural, with the subresource: `pods/status`.
    resource: String,
    /// Empty for generated names in a recording.
    name: String,
    code: u16,
}

impl Write {
    fn key(&self) -> Key {
        // Kubelets in one; the namespace controller is no node.
        let kubelet = self.actor.starts_with("kubelet:");
        let actor = if kubelet { "kubelet" } else { &self.actor };
        (actor.to_owned(), self.verb.clone(), self.resource.clone(), self.code)
    }
}

/// What a revision did to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Did {
    Added,
    Modified,
    Deleted,
}

/// A revision of an object: the fields that changed, flattened (`status.conditions[Ready].status`).
#[derive(Debug, Clone, PartialEq)]
struct Change {
    at: f64,
    /// Plural.
    kind: String,
    ns: String,
    name: String,
    did: Did,
    /// New values; of an added object all of them.
    set: BTreeMap<String, String>,
    /// Fields that are gone.
    del: Vec<String>,
    /// The write that made it, if known.
    write: Option<usize>,
}

impl Change {
    fn get(&self, path: &str) -> Option<&str> {
        self.set.get(path).map(String::as_str)
    }

    fn number(&self, path: &str) -> Option<i64> {
        self.get(path)?.parse().ok()
    }
}

/// All writes of a run, and what they did.
#[derive(Debug, Clone, Default)]
struct Timeline {
    /// Time of day at which it begins, in seconds.
    start: f64,
    writes: Vec<Write>,
    /// In order of revision within each kind.
    changes: Vec<Change>,
}

impl Timeline {
    /// Changes of one kind, in order.
    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Change> + 'a {
        self.changes.iter().filter(move |c| c.kind == kind)
    }

    /// Who wrote a change; empty if that is not known.
    fn actor(&self, change: &Change) -> &str {
        change.write.map_or("", |w| &self.writes[w].actor)
    }

    fn counts(&self) -> BTreeMap<Key, usize> {
        let mut counts = BTreeMap::new();
        for write in &self.writes {
            *counts.entry(write.key()).or_default() += 1;
        }
        counts
    }
}

/// A recording and the runs of its scenario.
#[derive(Debug)]
struct Case {
    /// `01b`.
    id: &'static str,
    recorded: Timeline,
    /// One per seed, the scenario's own first.
    runs: Vec<Timeline>,
}

/// Seeds that show which differences are chance.
const SEEDS: u64 = 10;

impl Case {
    /// Reads a recording and runs its scenario; none without the shared data.
    fn load(id: &'static str, recording: &str, scenario: &str) -> Option<Self> {
        let recorded = recorded::timeline(&recorded::read(recording)?);
        let runs = (1..=SEEDS).map(|seed| simulated::run(scenario, seed)).collect();
        Some(Self { id, recorded, runs })
    }

    /// The recorded timeline and those of the runs, with names.
    fn all(&self) -> impl Iterator<Item = (String, &Timeline)> {
        let runs = self.runs.iter().zip(1..).map(|(run, seed)| (format!("seed {seed}"), run));
        std::iter::once(("recorded".to_owned(), &self.recorded)).chain(runs)
    }
}
