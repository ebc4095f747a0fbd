//! Timelines of a recorded Kubernetes 1.29 control plane against the same scenario in the model:
//! per object and writer the same writes in the same order, effects after their causes, and every
//! instant that the node monitor decides within its tick.

use crate::support::shared_dir;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use wavetank::api::kevent::Text;
use wavetank::api::node::Node;
use wavetank::api::pod::{ConditionType, Pod, Taint};
use wavetank::api::request::User;
use wavetank::api::versions::{Change, Versions};
use wavetank::api::{Kind, Obj};
use wavetank::cluster::spec::Plan;
use wavetank::engine::{SimTime, Sym};
use wavetank::event::{Record, What};
use wavetank::scenario::{LoadOptions, load_with};
use wavetank::session::{Observer, Recorder, Session};

/// The monitor looks every 5 s; its phase and that of the leases are chance.
const TICK: f64 = 5.0;
/// For what no grid decides: latencies only.
const PROMPT: f64 = 0.5;

/// One write of a run, recorded or simulated.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    at: f64,
    /// `n3`, or `APP@NODE#N` for the N-th pod of an app on a node: names differ between runs.
    object: String,
    actor: String,
    /// Verb and resource, as the audit log has them.
    verb: String,
    /// What changed.
    what: String,
}

/// Rows whose pods are still known by the number of their life.
#[derive(Debug, Default)]
struct Log {
    rows: Vec<Row>,
    /// App and node of each pod, in order of creation.
    lives: Vec<(String, String)>,
    /// The newest life of a pod's name.
    newest: BTreeMap<String, usize>,
}

impl Log {
    fn born(&mut self, name: &str, app: &str) {
        self.newest.insert(name.to_owned(), self.lives.len());
        self.lives.push((app.to_owned(), String::new()));
    }

    fn bound(&mut self, name: &str, node: &str) {
        node.clone_into(&mut self.lives[self.newest[name]].1);
    }

    /// The object of a row until [`Log::finish`]: a node's name, or `%LIFE`.
    fn object(&self, name: &str) -> String {
        self.newest.get(name).map_or_else(|| name.to_owned(), |life| format!("%{life}"))
    }

    /// The rows in order, with the pods named after app and node.
    fn finish(self) -> Vec<Row> {
        let mut seen: BTreeMap<&(String, String), u32> = BTreeMap::new();
        let mut names = Vec::new();
        for life in &self.lives {
            let n = seen.entry(life).or_default();
            *n += 1;
            names.push(format!("{}@{}#{n}", life.0, life.1));
        }
        let mut rows = self.rows;
        for row in &mut rows {
            let (prefix, rest) = row.object.split_at(row.object.find('%').map_or(0, |i| i + 1));
            if let (false, Ok(life)) = (prefix.is_empty(), rest.parse::<usize>()) {
                row.object = format!("{}{}", prefix.trim_end_matches('%'), names[life]);
            }
        }
        rows
    }
}

/// What an audit log says of one write.
struct Audit {
    at: f64,
    who: String,
    verb: String,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Successful writes by resource and name (by resource and writer for generated names).
fn audits(recording: &Value) -> BTreeMap<(String, String), VecDeque<Audit>> {
    let mut found: BTreeMap<(String, String), VecDeque<Audit>> = BTreeMap::new();
    for row in recording["writes"].as_array().unwrap() {
        let part = |i: usize| row[i].as_str().unwrap().to_owned();
        if row[5].as_u64().unwrap() >= 300 {
            continue;
        }
        let (who, resource, name) = (part(1), part(3), part(4));
        let kind = resource.split('/').next().unwrap().to_owned();
        let create = part(2) == "create" && resource == "pods";
        let key = if create { format!("new by {who}") } else { name };
        let verb = format!("{} {resource}", part(2));
        found.entry((kind, key)).or_default().push_back(Audit {
            at: row[0].as_f64().unwrap(),
            who,
            verb,
        });
    }
    found
}

/// Effects of a node's taints, as the recording lists them.
fn effects(event: &Value) -> Vec<String> {
    let taints = event["set"]["spec.taints"].as_array();
    taints.into_iter().flatten().map(|t| text(t, "effect").to_owned()).collect()
}

/// The change of a list of effects: `+NoSchedule`, `-NoExecute`.
fn taint_change(before: &[String], after: &[String]) -> String {
    let added = after.iter().filter(|e| !before.contains(e)).map(|e| format!("+{e}"));
    let removed = before.iter().filter(|e| !after.contains(e)).map(|e| format!("-{e}"));
    added.chain(removed).collect::<Vec<_>>().join(" ")
}

/// Heartbeats are no events of the model (they cost nothing while nobody looks): the recording has
/// one status patch of each idle node in 509 s. They are left out of the comparison, but none may
/// be seen where nothing must change.
const HEARTBEAT: &str = "heartbeat";

/// What a recorded event changed.
fn recorded_change(event: &Value, taints: &mut BTreeMap<String, Vec<String>>) -> String {
    let set = &event["set"];
    let condition = |c: &str| set[format!("status.conditions[{c}].status").as_str()].as_str();
    let dropped = event["del"].as_array().is_some_and(|d| d.iter().any(|p| p == "spec.taints"));
    if event["type"] == "ADDED" {
        "created".to_owned()
    } else if event["type"] == "DELETED" {
        "gone".to_owned()
    } else if let Some(node) = set["spec.nodeName"].as_str() {
        format!("bound to {node}")
    } else if let Some(grace) = set["metadata.deletionGracePeriodSeconds"].as_u64() {
        format!("deletion in {grace} s")
    } else if condition("DisruptionTarget").is_some() {
        "DisruptionTarget".to_owned()
    } else if let Some(ready) = condition("Ready") {
        format!("Ready={ready}")
    } else if dropped || set["spec.taints"].is_array() {
        let now = effects(event);
        let before = taints.insert(text(event, "name").to_owned(), now.clone());
        taint_change(&before.unwrap_or_default(), &now)
    } else {
        HEARTBEAT.to_owned()
    }
}

/// The Kubernetes Events of node failures, by the start of their message.
fn kevent_label(reason: &str, message: &str) -> Option<String> {
    let first = message.split(' ').next().unwrap_or_default();
    match reason {
        "NodeNotReady" => Some(reason.to_owned()),
        "TaintManagerEviction" => Some(format!("{reason}: {first}")),
        _other => None,
    }
}

fn recorded_kevent(event: &Value, log: &mut Log) {
    let set = &event["set"];
    if event["type"] != "ADDED" {
        return;
    }
    let label = kevent_label(text(set, "reason"), text(set, "message"));
    let Some(what) = label else { return };
    let object = format!("event of {}", log.object(text(set, "involvedObject.name")));
    let (at, actor) = (event["t"].as_f64().unwrap(), "kcm:node-controller".to_owned());
    log.rows.push(Row { at, object, actor, verb: "create events".to_owned(), what });
}

/// All writes to pods and nodes in the recording.
fn recorded(recording: &Value) -> Vec<Row> {
    let mut audits = audits(recording);
    let mut events: Vec<&Value> = recording["events"].as_array().unwrap().iter().collect();
    events.sort_by_key(|e| text(e, "rv").parse::<u64>().unwrap());
    let (mut log, mut taints) = (Log::default(), BTreeMap::new());
    for event in events.into_iter().filter(|e| e["type"] != "INIT") {
        let (kind, name) = (text(event, "kind"), text(event, "name"));
        if kind == "events" {
            recorded_kevent(event, &mut log);
        }
        if kind != "pods" && kind != "nodes" {
            continue;
        }
        let what = recorded_change(event, &mut taints);
        if what == "created" {
            log.born(name, text(&event["set"], "metadata.labels.app"));
        }
        if let Some(node) = what.strip_prefix("bound to ") {
            log.bound(name, node);
        }
        let object = log.object(name);
        let row = if what == "gone" {
            // The second half of the write that set the grace to 0.
            let last = log.rows.iter().rfind(|r| r.object == object).unwrap();
            Row { at: event["t"].as_f64().unwrap(), what, ..last.clone() }
        } else {
            let owner = text(&event["set"], "owner").split('/').next().unwrap_or_default();
            let key = match owner {
                "ReplicaSet" => "new by kcm:replicaset-controller",
                "DaemonSet" => "new by kcm:daemon-set-controller",
                "StatefulSet" => "new by kcm:statefulset-controller",
                _none => name,
            };
            let queue = audits.get_mut(&(kind.to_owned(), key.to_owned())).unwrap();
            let Audit { at, who, verb } = queue.pop_front().unwrap();
            Row { at, object, actor: who, verb, what }
        };
        log.rows.push(row);
    }
    log.finish()
}

/// Collects the writes of a simulated run.
#[derive(Debug, Default)]
struct Collector(Log);

fn node_change(before: &Node, node: &Node) -> String {
    let ready = |n: &Node| n.status.conditions.get(ConditionType::Ready).map(|c| c.status);
    if ready(before) != ready(node) {
        return format!("Ready={}", ready(node).unwrap().as_str());
    }
    let list = |taints: &[Taint]| -> Vec<String> {
        taints.iter().map(|t| format!("{:?}", t.effect)).collect()
    };
    let (was, is) = (list(&before.taints), list(&node.taints));
    if was == is { HEARTBEAT.to_owned() } else { taint_change(&was, &is) }
}

fn pod_change(change: &Change, before: Option<&Pod>, pod: &Pod) -> String {
    let Some(before) = before.filter(|_| !change.deleted) else {
        return if change.deleted { "gone" } else { "created" }.to_owned();
    };
    let ready = |p: &Pod| p.status.condition(ConditionType::Ready).map(|c| c.status);
    let disrupted = |p: &Pod| p.status.condition(ConditionType::DisruptionTarget).is_some();
    if before.node != pod.node {
        format!("bound to {}", pod.node)
    } else if before.meta.deletion != pod.meta.deletion {
        format!("deletion in {} s", pod.meta.deletion.unwrap().grace_s)
    } else if disrupted(pod) && !disrupted(before) {
        "DisruptionTarget".to_owned()
    } else if ready(before) != ready(pod) {
        format!("Ready={}", ready(pod).unwrap().as_str())
    } else {
        "something else".to_owned()
    }
}

/// Object, resource and change of a commit; none for kinds that are not compared here.
fn describe(change: &Change, log: &mut Log) -> Option<(String, &'static str, String)> {
    let (value, before) = (&change.value, change.before.as_ref());
    let name = value.key().1.to_string();
    if let Obj::Event(event) = value {
        let Text::Plain(message) = event.text() else { return None };
        let what = kevent_label(event.reason.as_str(), message.as_str())?;
        let about = log.object(&event.name.to_string());
        return Some((format!("event of {about}"), "events", what));
    }
    if let Some(node) = value.as_node() {
        let before = before.and_then(Obj::as_node)?;
        return Some((name, "nodes", node_change(before, node)));
    }
    let pod = value.as_pod()?;
    let what = pod_change(change, before.and_then(Obj::as_pod).map(|p| &**p), pod);
    if what == "created" {
        log.born(&name, pod.meta.labels.get("app".into()).unwrap_or_default().as_str());
    } else if what.starts_with("bound") {
        log.bound(&name, pod.node.as_str());
    }
    Some((log.object(&name), "pods", what))
}

impl Observer for Collector {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let What::Committed { kind, log: index, user, verb, .. } = record.what else { return };
        let log = &mut self.0;
        let change = versions.change(kind, index).unwrap();
        let Some((object, plural, what)) = describe(change, log) else { return };
        let kubelet = matches!(user, User::Kubelet(_));
        let actor = if kubelet { "fakelet".to_owned() } else { user.to_string() };
        let verb = format!("{} {plural}{}", verb.0, verb.1);
        log.rows.push(Row { at: record.time.secs_f64(), object, actor, verb, what });
    }
}

/// The scenario that does what the recording's driver did.
pub(crate) fn plan(seed: Option<u64>) -> Arc<Plan> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios/timelines/02a-nodefail/scenario.yaml");
    let mut plan = load_with(&path, &LoadOptions::default()).unwrap().plan;
    plan.seed = seed.unwrap_or(plan.seed);
    Arc::new(plan)
}

/// The writes of the scenario's run with a seed, and when node n3 renewed last before its failure.
fn simulated(seed: Option<u64>) -> (Vec<Row>, f64) {
    let plan = plan(seed);
    let mut start = Session::new(Arc::clone(&plan));
    let silent = SimTime::from_secs(20);
    while start.next_time().is_some_and(|t| t < silent) {
        start.step();
    }
    let shared = start.cluster().shared();
    let renewed = shared.leases.last_seen(Sym::new("n3"), silent, &shared.draws).unwrap();
    let mut collector = Collector::default();
    Session::new(plan).run(&mut [&mut collector], |_| {});
    (collector.0.finish(), renewed.secs_f64())
}

pub(crate) fn recording() -> Option<Value> {
    let path = shared_dir()?.join("timelines/02a_nodefail_fakelet_run1.json.gz");
    let mut json = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut json).unwrap();
    Some(serde_json::from_str(&json).unwrap())
}

/// Writes by object and writer.
fn by_writer(rows: &[Row]) -> BTreeMap<(&str, &str), Vec<String>> {
    let mut found: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for row in rows.iter().filter(|r| r.what != HEARTBEAT) {
        let line = format!("{}: {}", row.verb, row.what);
        found.entry((&row.object, &row.actor)).or_default().push(line);
    }
    found
}

/// Differences in the writes per object and writer, as text.
fn order_differences(want: &[Row], got: &[Row]) -> String {
    let (want, got) = (by_writer(want), by_writer(got));
    let keys: std::collections::BTreeSet<_> = want.keys().chain(got.keys()).collect();
    let mut text = String::new();
    for key in keys {
        if want.get(key) != got.get(key) {
            let (w, g) = (want.get(key), got.get(key));
            writeln!(text, "{key:?}\n  recorded  {w:?}\n  simulated {g:?}").unwrap();
        }
    }
    text
}

/// How far an instant may be from the recorded one.
fn tolerance(row: &Row) -> f64 {
    let monitor = (50.0..376.0).contains(&row.at) || (450.0..488.0).contains(&row.at);
    if monitor || row.what == "-NoExecute" || row.what.contains("Cancelling") {
        TICK
    } else {
        PROMPT
    }
}

/// Joins the rows of both runs and compares the instants. Gives a table and what is beyond
/// tolerance.
fn compare_instants(want: &[Row], got: &[Row]) -> (String, String) {
    let mut left: Vec<&Row> = got.iter().collect();
    let (mut table, mut wrong) = (String::new(), String::new());
    writeln!(table, "recorded  simulated    diff  within  write").unwrap();
    for row in want.iter().filter(|r| r.what != HEARTBEAT) {
        let same =
            |r: &&Row| (&r.object, &r.actor, &r.what) == (&row.object, &row.actor, &row.what);
        let line = format!("{} {} {} ({})", row.actor, row.verb, row.object, row.what);
        let Some(i) = left.iter().position(same) else {
            writeln!(wrong, "{:8.3}   missing  {line}", row.at).unwrap();
            continue;
        };
        let found = left.remove(i);
        let (diff, within) = (found.at - row.at, tolerance(row));
        let line = format!("{:8.3} {:10.3} {diff:+7.3} {within:7.1}  {line}", row.at, found.at);
        if diff.abs() > within {
            writeln!(wrong, "{line}").unwrap();
        }
        writeln!(table, "{line}").unwrap();
    }
    for row in left {
        writeln!(wrong, "   extra {:10.3}  {row:?}", row.at).unwrap();
    }
    (table, wrong)
}

/// When a write happened first.
fn at(rows: &[Row], object: &str, what: &str) -> f64 {
    let found = rows.iter().find(|r| r.object == object && r.what == what);
    found.unwrap_or_else(|| panic!("{object} has no {what}")).at
}

/// Cause, effect, and the least and greatest time between.
type Span = ((String, &'static str), (String, &'static str), f64, f64);

/// A node's failure and return, seen on the node.
fn failure(node: &str) -> Vec<Span> {
    let on = |what| (node.to_owned(), what);
    vec![
        (on("Ready=Unknown"), on("+NoSchedule"), 0.0, 0.1),
        (on("+NoSchedule"), on("+NoExecute"), 4.9, 5.3),
        // The node answers again: at once, and at the monitor's next look.
        (on("Ready=True"), on("-NoSchedule"), 0.0, 0.1),
        (on("Ready=True"), on("-NoExecute"), 0.0, 5.1),
    ]
}

/// Every pair of cause and effect, with the time that may lie between.
fn spans() -> Vec<Span> {
    let pod = |app: &str, node: &str, n: u32| format!("{app}@{node}#{n}");
    let mut spans = failure("n3");
    spans.extend(failure("n2"));
    let n3 = [("def300", 1), ("def300", 2), ("tol30", 1), ("tol30", 2), ("sts30", 1), ("ds", 1)];
    let n2 = [("def300", 1), ("def300", 2), ("tol30", 1), ("tol30", 2), ("tol30", 3)];
    let n2 = n2.into_iter().chain([("sts30", 1), ("ds", 1)]);
    let all = n3.into_iter().map(|p| ("n3", p)).chain(n2.map(|p| ("n2", p)));
    for (node, (app, n)) in all {
        let unready = (pod(app, node, n), "Ready=False");
        spans.push(((node.to_owned(), "Ready=Unknown"), unready, 0.0, 0.2));
    }
    for (app, n, seconds) in [
        ("tol30", 1, 30.0),
        ("tol30", 2, 30.0),
        ("sts30", 1, 30.0),
        ("def300", 1, 300.0),
        ("def300", 2, 300.0),
    ] {
        let on = |what| (pod(app, "n3", n), what);
        let tainted = ("n3".to_owned(), "+NoExecute");
        spans.push((tainted, on("DisruptionTarget"), seconds - 0.5, seconds + 0.5));
        spans.push((on("DisruptionTarget"), on("deletion in 30 s"), 0.0, 0.1));
        spans.push((("n3".to_owned(), "Ready=True"), on("deletion in 0 s"), 0.0, 0.1));
    }
    spans.push(((pod("sts30", "n3", 1), "gone"), (pod("sts30", "n3", 2), "created"), 0.0, 0.1));
    spans
}

/// The spans of a run: a table, and what lies beyond its bounds.
fn check_spans(rows: &[Row], whose: &str) -> (Vec<f64>, String) {
    let mut wrong = String::new();
    let mut lengths = Vec::new();
    for ((cause, first), (effect, then), low, high) in spans() {
        let length = at(rows, &effect, then) - at(rows, &cause, first);
        lengths.push(length);
        if length < low || length > high {
            let pair = format!("{cause} {first} to {effect} {then}");
            writeln!(wrong, "{whose}: {length:.3} s from {pair}, not in {low}..{high}").unwrap();
        }
    }
    // The k-th replacement follows the k-th deletion.
    for (app, replacements) in [("tol30", ["n2#3", "n4#3"]), ("def300", ["n5#3", "n4#3"])] {
        let mut deleted: Vec<f64> =
            (1..=2).map(|n| at(rows, &format!("{app}@n3#{n}"), "deletion in 30 s")).collect();
        deleted.sort_by(f64::total_cmp);
        for (gone, name) in deleted.into_iter().zip(replacements) {
            let length = at(rows, &format!("{app}@{name}"), "created") - gone;
            lengths.push(length);
            if !(0.0..1.0).contains(&length) {
                writeln!(wrong, "{whose}: {length:.3} s until {app}@{name}, not in 0..1").unwrap();
            }
        }
    }
    (lengths, wrong)
}

/// What must not happen in either run.
fn check_absences(rows: &[Row]) -> String {
    let mut wrong = String::new();
    for row in rows {
        let short = (395.5..433.1).contains(&row.at);
        let medium = row.at > 433.1 && row.what == "DisruptionTarget";
        let daemon = row.object.starts_with("ds@")
            && (row.what == "DisruptionTarget" || row.what.starts_with("deletion"));
        if short || medium || daemon {
            writeln!(wrong, "must not be: {row:?}").unwrap();
        }
    }
    // A fakelet reports each pod once: what was marked not ready stays so.
    for daemon in ["ds@n2#1", "ds@n3#1"] {
        let reports = rows.iter().filter(|r| r.object == daemon && r.what == "Ready=True");
        assert_eq!(reports.count(), 1, "{daemon}");
    }
    // The pod of the StatefulSet waits for its node.
    let created = at(rows, "sts30@n3#2", "created");
    let returned = at(rows, "n3", "Ready=True");
    if created < returned {
        writeln!(wrong, "sts30-4 is made again at {created}, its node is back at {returned}")
            .unwrap();
    }
    wrong
}

/// From the last renewal to Unknown: the grace period of 1.29, then the next tick (and latencies).
fn check_patience(rows: &[Row], renewed: f64, whose: &str) -> String {
    let patience = at(rows, "n3", "Ready=Unknown") - renewed;
    if (40.0..45.1).contains(&patience) {
        return String::new();
    }
    format!("{whose}: n3 is Unknown {patience:.3} s after its last renewal, not in 40..45.1\n")
}

/// The instants of one run, that of the scenario's own seed. Nothing else is drawn here that could
/// move them by more than the tick but the phase of n3's renewals (its last one is at 17.5 s in the
/// recording, at 13.0 s here); the next test looks at other seeds, from the last renewal on.
#[test]
#[expect(clippy::print_stdout, reason = "the comparison is worth reading: --nocapture")]
fn a_node_failure_is_as_recorded() {
    let Some(recording) = recording() else { return };
    let want = recorded(&recording);
    let (got, renewed) = simulated(None);
    let stopped = recording["marks"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|m| m["last_lease_renew_t"]["n3"].as_f64());
    let patience = check_patience(&want, stopped.unwrap(), "recorded")
        + &check_patience(&got, renewed, "simulated");
    let (table, late) = compare_instants(&want, &got);
    println!("{table}");
    let (recorded, odd) = check_spans(&want, "recorded");
    let (simulated, wrong) = check_spans(&got, "simulated");
    println!("recorded  simulated  least  most  from cause to effect");
    for (i, ((cause, first), (effect, then), low, high)) in spans().into_iter().enumerate() {
        let (r, s) = (recorded[i], simulated[i]);
        println!("{r:8.3} {s:10.3} {low:6.1} {high:5.1}  {cause} {first} → {effect} {then}");
    }
    let order = order_differences(&want, &got);
    let absent = check_absences(&want) + &check_absences(&got);
    let all = format!("{order}{late}{patience}{odd}{wrong}{absent}");
    assert!(all.is_empty(), "{all}");
}

/// Needs no recording for all but the order of writes.
#[test]
#[expect(clippy::print_stdout, reason = "the comparison is worth reading: --nocapture")]
fn no_seed_changes_the_order_of_a_node_failure() {
    let want = recording().map(|r| recorded(&r));
    let mut wrong = String::new();
    for seed in 1..=20 {
        let (got, renewed) = simulated(Some(seed));
        if let Some(want) = &want {
            wrong += &order_differences(want, &got);
        }
        wrong += &check_spans(&got, &format!("seed {seed}")).1;
        wrong += &check_absences(&got);
        let unknown = at(&got, "n3", "Ready=Unknown");
        println!("seed {seed}: last renewal {renewed:.3} s, Unknown {unknown:.3} s");
        wrong += &check_patience(&got, renewed, &format!("seed {seed}"));
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Both evictions, the replacement and the rebirth of the StatefulSet's pod have their causes
/// recorded.
#[test]
fn every_effect_of_a_silent_node_names_its_cause() {
    let mut session = Session::new(plan(None));
    session.trace(true);
    let mut recorder = Recorder::default();
    session.run(&mut [&mut recorder], |_| {});
    let late = |r: &&Record| r.time > SimTime::from_secs(50);
    let mut deletions = 0;
    let mut creations = 0;
    for record in recorder.records().iter().filter(late) {
        let What::Committed { kind: Kind::Pod, verb, .. } = record.what else { continue };
        let change = recorder.change(record.seq).unwrap();
        let deletion = verb == ("delete", "") && !change.deleted;
        if !deletion && !change.created() {
            continue;
        }
        deletions += u32::from(deletion);
        creations += u32::from(change.created());
        let chain = recorder.chain(record);
        let fault = chain.iter().find(|r| matches!(r.what, What::Fault { .. }));
        let name = change.value.key().1;
        assert!(fault.is_some(), "{name} at {:?}: {chain:#?}", record.time);
    }
    // Five pods are marked by the eviction and again, with no grace, by their node.
    assert_eq!((deletions, creations), (10, 5));
}
