//! The scheduler's decisions against those of kube-scheduler v1.35.4.

use super::golden_objects as objects;
use super::support::shared_dir;
use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use wavetank::api::versions::ObjRef;
use wavetank::api::{Kind, Name, Pod};
use wavetank::control_plane::scheduler::cache::Cache;
use wavetank::control_plane::scheduler::config::{ProfileConfig, SchedulerConfig};
use wavetank::control_plane::scheduler::evaluate::{Evaluation, evaluate};
use wavetank::control_plane::scheduler::plugins::registry::{NOT_MODELLED, PLUGINS};
use wavetank::control_plane::scheduler::profile::{Profile, Turn};
use wavetank::control_plane::scheduler::ties::TieRule;
use wavetank::engine::Sym;

fn object(slot: usize) -> ObjRef {
    ObjRef { slot: u32::try_from(slot).unwrap(), generation: 0 }
}

/// The cache after all objects of a case.
fn cache_of(case: &Value) -> Cache {
    let mut cache = Cache::default();
    for (i, value) in objects::list(case, "objects").iter().enumerate() {
        let meta = objects::meta(value);
        match value["kind"].as_str().unwrap() {
            "Node" => cache.set_node(&Arc::new(objects::node(value)), 0),
            "Namespace" => cache.set_namespace(meta.name.sym(), Some(meta.labels)),
            "Service" => cache.set_service(meta.ns, meta.name, objects::workload_selector(value)),
            kind @ ("ReplicationController" | "ReplicaSet" | "StatefulSet") => {
                let group = if kind == "ReplicationController" { "" } else { "apps" };
                let kind = Kind::find(group, kind).unwrap();
                cache.set_owner(kind, meta.ns, meta.name, objects::workload_selector(value));
            }
            "Pod" => {
                let pod = Arc::new(objects::pod(value));
                if !pod.node.is_empty() {
                    cache.add_pod(object(i), &pod, pod.node, false);
                }
            }
            _ => cache.volumes.apply(&objects::storage(value), false),
        }
    }
    cache.settle();
    cache
}

fn profile_of(case: &Value) -> Profile {
    let config = case.get("config").filter(|c| !c.is_null());
    let parsed = config.map(|c| SchedulerConfig::from_json(c).expect("the config is modelled"));
    let profile = parsed.map_or_else(ProfileConfig::default, |mut c| c.profiles.remove(0));
    Profile::new(&profile)
}

/// Why a case asks for something that is not modelled.
fn excluded(case: &Value) -> Option<&'static str> {
    let nominated = objects::list(case, "objects").iter().any(|o| {
        o["kind"] == "Pod"
            && o["spec"]["nodeName"].is_null()
            && !o["status"]["nominatedNodeName"].is_null()
    });
    nominated.then_some("other pods are nominated")
}

fn names(list: &[Sym]) -> Vec<&str> {
    let mut names: Vec<&str> = list.iter().map(|s| s.as_str()).collect();
    names.sort_unstable();
    names
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Differences found in one case, by plugin (or by part of the answer).
#[derive(Default)]
struct Diff(BTreeMap<&'static str, String>);

impl Diff {
    #[expect(clippy::needless_pass_by_value, reason = "callers make the values on the spot")]
    fn check<T: PartialEq + std::fmt::Debug>(&mut self, what: &'static str, got: T, want: T) {
        if got != want {
            let text = self.0.entry(what).or_default();
            writeln!(text, "{what}: got {got:?}, want {want:?}").unwrap();
        }
    }
}

fn plugin(name: &str) -> &'static str {
    PLUGINS.iter().find(|p| p.name == name).map_or("unknown plugin", |p| p.name)
}

fn compare_filters(diff: &mut Diff, got: &Evaluation, want: &Value) {
    let verdicts = want["filter"].as_object().unwrap();
    let rejected: BTreeMap<&str, _> = got.rejected.iter().map(|(n, r)| (n.as_str(), r)).collect();
    for (node, want) in verdicts {
        let who = plugin(want["plugin"].as_str().unwrap());
        let Some(got) = rejected.get(node.as_str()) else {
            diff.check(who, format!("{node} passes"), format!("{want}"));
            continue;
        };
        // The golden file sorts the tail of scalar resources.
        let mut reasons: Vec<&str> = got.reasons.iter().map(|r| &**r).collect();
        let native = |r: &&&str| {
            ["Too many pods", "Insufficient cpu", "Insufficient memory"].contains(*r)
                || **r == "Insufficient ephemeral-storage"
        };
        let n = reasons.iter().filter(native).count();
        if got.plugin == "NodeResourcesFit" {
            reasons[n..].sort_unstable();
        }
        let got = (got.plugin, got.code.as_str(), reasons);
        diff.check(who, got, (who, want["code"].as_str().unwrap(), strings(&want["reasons"])));
    }
    for (node, got) in rejected {
        if !verdicts.contains_key(node) {
            diff.check(got.plugin, format!("{node} {got:?}"), "passes".to_owned());
        }
    }
    let want_absent = strings(&want["absentNodes"]["reasons"]).join(", ");
    let absent = got.absent.as_ref().map(|(r, _)| r.to_string()).unwrap_or_default();
    diff.check("NodeAffinity", absent, want_absent);
    let mut skipped = got.skipped_filters.clone();
    skipped.sort_unstable();
    let modelled = |s: &&str| !NOT_MODELLED.contains(s);
    let want_skipped: Vec<&str> =
        strings(&want["skippedFilterPlugins"]).into_iter().filter(modelled).collect();
    diff.check("skipped filters", skipped, want_skipped);
    diff.check("feasible", names(&got.feasible), strings(&want["feasible"]));
    diff.check("rejectors", got.rejectors.clone(), strings(&want["unschedulablePlugins"]));
    let fit_error = want["fitErrorBeforePostFilter"].as_str().unwrap_or_default();
    diff.check("fitError", got.fit_error.as_str(), fit_error);
}

/// What `VolumeBinding` would bind where, and the message of a cycle that `PreFilter` ended.
fn compare_volumes(diff: &mut Diff, got: &Evaluation, want: &Value) {
    let full = |ns: Sym, name: Name| format!("{ns}/{name}");
    let mine: BTreeMap<&str, Value> = got
        .volumes
        .iter()
        .map(|(node, volumes)| {
            let bindings: BTreeMap<String, String> = volumes
                .bindings
                .iter()
                .map(|(c, v)| (full(c.meta.ns, c.meta.name), v.meta.name.to_string()))
                .collect();
            let mut provision: Vec<String> =
                volumes.provisions.iter().map(|c| full(c.meta.ns, c.meta.name)).collect();
            provision.sort_unstable();
            let mut out = serde_json::Map::new();
            if !bindings.is_empty() {
                out.insert("staticBindings".into(), serde_json::json!(bindings));
            }
            if !provision.is_empty() {
                out.insert("provision".into(), serde_json::json!(provision));
            }
            (node.as_str(), out.into())
        })
        .collect();
    let theirs: BTreeMap<&str, Value> = want["volumes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(node, volumes)| {
            let mut volumes = volumes.clone();
            if let Some(list) = volumes.get_mut("provision").and_then(Value::as_array_mut) {
                list.sort_by_key(ToString::to_string);
            }
            (node.as_str(), volumes)
        })
        .collect();
    diff.check("VolumeBinding", mine, theirs);
    if got.pre_filter.is_some() {
        let message = format!("{} {}", got.fit_error, got.post_filter);
        diff.check("DynamicResources", message.as_str(), want["fitError"].as_str().unwrap());
    }
}

fn compare_scores(diff: &mut Diff, got: &Evaluation, want: &Value) {
    let scores = &want["scores"];
    if scores.is_null() {
        return;
    }
    let modelled = |s: &&str| !NOT_MODELLED.contains(s);
    let mut skipped = got.skipped_scores.clone();
    skipped.sort_unstable();
    let want_skipped: BTreeSet<&str> =
        strings(&scores["skipped"]).into_iter().filter(modelled).collect();
    diff.check("skipped scores", skipped, want_skipped.into_iter().collect());
    for table in ["raw", "weighted"] {
        for (name, per_node) in scores[table].as_object().unwrap() {
            if !modelled(&name.as_str()) {
                let zero = per_node.as_object().unwrap().values().all(|v| v == 0);
                diff.check("not modelled, yet scores", zero, true);
                continue;
            }
            let Some(mine) = got.scores.iter().find(|s| s.plugin == name) else {
                diff.check(plugin(name), "no score", "scores");
                continue;
            };
            let list = if table == "raw" { &mine.raw } else { &mine.weighted };
            let mine: BTreeMap<&str, i64> =
                got.feasible.iter().map(|n| n.as_str()).zip(list.iter().copied()).collect();
            diff.check(plugin(name), mine, numbers(per_node));
        }
    }
    for mine in &got.scores {
        diff.check(mine.plugin, scores["raw"].get(mine.plugin).is_some(), true);
    }
    let totals: BTreeMap<&str, i64> =
        got.feasible.iter().map(|n| n.as_str()).zip(got.totals.iter().copied()).collect();
    diff.check("total", totals, numbers(&scores["total"]));
    diff.check("best", names(&got.best), strings(&want["best"]));
    let pick = got.pick.unwrap_or_default();
    diff.check("pick", pick.as_str(), want["schedulerPick"].as_str().unwrap_or_default());
}

fn numbers(value: &Value) -> BTreeMap<&str, i64> {
    value.as_object().unwrap().iter().map(|(k, v)| (k.as_str(), v.as_i64().unwrap())).collect()
}

/// The fast path (columns, remembered verdicts) must take the same node for the same reasons.
fn compare_fast(diff: &mut Diff, case: &Value, got: &Evaluation, pod: &Pod) {
    let mut profile = profile_of(case);
    profile.percentage = Some(100);
    let mut cache = cache_of(case);
    let mut start = 0;
    let mut turn = Turn { start: &mut start, ties: TieRule::Upstream };
    let fast = profile.decide(&mut cache, pod, &mut turn, |_| 0);
    match fast.node {
        Ok(at) => diff.check("fast path", Some(cache.at(at).name), got.pick),
        Err(failure) => {
            let message = format!("{} {}", got.fit_error, got.post_filter);
            let message = message.trim_end().chars().take(1024).collect::<String>();
            diff.check("fast path", failure.message, message);
        }
    }
}

fn compare(case: &Value) -> Diff {
    let want = &case["result"];
    let pod = objects::pod(&case["pod"]);
    let got = evaluate(&cache_of(case), &profile_of(case), &pod, TieRule::Upstream, |_| 0);
    let mut diff = Diff::default();
    let gate = &want["preEnqueue"];
    let held = got.pre_enqueue.as_ref().map(|(p, r)| (*p, r.to_string()));
    let want_held = (!gate.is_null())
        .then(|| (plugin(gate["plugin"].as_str().unwrap()), strings(&gate["reasons"]).join(", ")));
    diff.check("SchedulingGates", held, want_held);
    if !gate.is_null() {
        return diff;
    }
    let want_pre = &want["preFilter"];
    let pre = got.pre_filter.as_ref().map(|r| (r.plugin, r.code.as_str(), r.reasons.join(", ")));
    let want_pre = (!want_pre.is_null()).then(|| {
        let text = |key: &str| want_pre[key].as_str().unwrap();
        (plugin(text("plugin")), text("code"), strings(&want_pre["reasons"]).join(", "))
    });
    diff.check("PreFilter", pre, want_pre);
    compare_filters(&mut diff, &got, want);
    compare_volumes(&mut diff, &got, want);
    compare_scores(&mut diff, &got, want);
    compare_fast(&mut diff, case, &got, &pod);
    diff
}

/// The plugins that had a say in a case.
fn involved(case: &Value) -> BTreeSet<&'static str> {
    let want = &case["result"];
    let gate = want["preEnqueue"]["plugin"].as_str();
    let filters = want["filter"].as_object().into_iter().flatten();
    let filters = filters.filter_map(|(_, v)| v["plugin"].as_str());
    let scores = want["scores"]["raw"].as_object().into_iter().flatten().map(|(k, _)| k.as_str());
    let pre = want["preFilter"]["plugin"].as_str();
    gate.into_iter().chain(filters).chain(scores).chain(pre).map(plugin).collect()
}

#[derive(Default)]
struct Table {
    compared: BTreeMap<&'static str, usize>,
    agreed: BTreeMap<&'static str, usize>,
    left_out: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
    cases: usize,
}

impl Table {
    fn add(&mut self, case: &Value, diff: &Diff) {
        self.cases += 1;
        for who in involved(case) {
            *self.compared.entry(who).or_default() += 1;
            *self.agreed.entry(who).or_default() += usize::from(!diff.0.contains_key(who));
        }
        if !diff.0.is_empty() {
            let all: String = diff.0.values().map(String::as_str).collect();
            self.wrong.push(format!("{}\n{all}", case["id"]));
        }
    }

    #[expect(clippy::print_stdout, reason = "the table is the point of the test")]
    fn print(&self, file: &str) {
        println!("{file}: {} cases compared, {} differ", self.cases, self.wrong.len());
        println!("{:34} {:>9} {:>9}", "plugin", "compared", "agreed");
        for row in PLUGINS {
            let n = self.compared.get(row.name).copied().unwrap_or(0);
            let agreed = self.agreed.get(row.name).copied().unwrap_or(0);
            let note = if NOT_MODELLED.contains(&row.name) { "  not modelled" } else { "" };
            println!("{:34} {n:>9} {agreed:>9}{note}", row.name);
        }
        for (why, n) in &self.left_out {
            println!("left out: {n:>5}  {why}");
        }
    }
}

fn lines(path: &Path) -> impl Iterator<Item = Value> {
    let file = std::fs::File::open(path).unwrap();
    BufReader::new(GzDecoder::new(file))
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

fn check_file(path: &Path) {
    let mut table = Table::default();
    for case in lines(path) {
        if let Some(why) = excluded(&case) {
            *table.left_out.entry(why).or_default() += 1;
            continue;
        }
        let diff = compare(&case);
        table.add(&case, &diff);
    }
    table.print(&path.display().to_string());
    let shown: Vec<&str> = table.wrong.iter().take(10).map(String::as_str).collect();
    assert!(shown.is_empty(), "{} cases differ:\n{}", table.wrong.len(), shown.join("\n"));
}

#[test]
fn a_subset_of_decisions_equals_those_of_kube_scheduler() {
    check_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/subset.jsonl.gz"));
}

#[test]
fn single_decisions_equal_those_of_kube_scheduler() {
    let Some(shared) = shared_dir() else { return };
    check_file(&shared.join("golden/public.jsonl.gz"));
}

/// Many pods one after another: each is bound to the smallest name of the best nodes.
fn check_sequence(case: &Value, table: &mut Table) {
    let mut cache = cache_of(case);
    let profile = profile_of(case);
    let mut diff = Diff::default();
    let pending: BTreeMap<String, Arc<Pod>> = objects::list(case, "pending")
        .iter()
        .map(|p| Arc::new(objects::pod(p)))
        .map(|p| (p.meta.full_name(), p))
        .collect();
    for (i, step) in objects::list(&case["result"], "steps").iter().enumerate() {
        let mut pod = (*pending[step["pod"].as_str().unwrap()]).clone();
        let got = evaluate(&cache, &profile, &pod, TieRule::Name, |_| 0);
        diff.check("gated", got.pre_enqueue.is_some(), step["gated"] == true);
        if got.pre_enqueue.is_some() {
            continue;
        }
        let node = got.pick.unwrap_or_default();
        diff.check("node", node.as_str(), step["node"].as_str().unwrap_or_default());
        let feasible = step["feasible"].as_u64().unwrap_or(0);
        diff.check("feasible", got.feasible.len() as u64, feasible);
        diff.check("best", names(&got.best), strings(&step["best"]));
        if let Some(total) = step["total"].as_i64() {
            diff.check("total", got.totals.iter().copied().max(), Some(total));
        }
        let fit_error = step["fitError"].as_str().unwrap_or_default();
        diff.check("fitError", got.fit_error.as_str(), fit_error);
        if !diff.0.is_empty() {
            break;
        }
        if !node.is_empty() {
            pod.node = node;
            cache.add_pod(object(1_000_000 + i), &Arc::new(pod), node, true);
        }
    }
    table.add(case, &diff);
}

#[test]
fn sequences_equal_those_of_kube_scheduler() {
    let Some(shared) = shared_dir() else { return };
    let mut table = Table::default();
    for case in lines(&shared.join("golden/sequences_public.jsonl.gz")) {
        let preempts = (case["mode"] == "preempt").then_some("mode preempt");
        match excluded(&case).or(preempts) {
            Some(why) => *table.left_out.entry(why).or_default() += 1,
            None => check_sequence(&case, &mut table),
        }
    }
    table.print("sequences");
    let shown: Vec<&str> = table.wrong.iter().take(5).map(String::as_str).collect();
    assert!(shown.is_empty(), "{} sequences differ:\n{}", table.wrong.len(), shown.join("\n"));
}
