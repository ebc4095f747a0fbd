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
use wavetank::api::pdb::PodDisruptionBudget;
use wavetank::api::versions::ObjRef;
use wavetank::api::{Kind, Meta, Name, Pod, Stamp};
use wavetank::control_plane::scheduler::cache::Cache;
use wavetank::control_plane::scheduler::config::ProfileConfig;
use wavetank::control_plane::scheduler::evaluate::{Evaluation, evaluate};
use wavetank::control_plane::scheduler::framework::Nomination;
use wavetank::control_plane::scheduler::plugins::registry::{NOT_MODELLED, PLUGINS};
use wavetank::control_plane::scheduler::profile::{Profile, Turn};
use wavetank::control_plane::scheduler::ties::TieRule;
use wavetank::engine::Sym;
use wavetank::scenario::scheduler_config_from_json;

fn object(slot: usize) -> ObjRef {
    ObjRef { slot: u32::try_from(slot).unwrap(), generation: 0 }
}

/// The cache after all objects of a case.
///
/// The nominated pods of the golden cases are in none of the queues of the scheduler that was
/// asked, and of such pods it knows nothing but the name (source: `nominatedPodToInfo`): no
/// priority, no labels, no requests. In a simulated cluster they are in a queue, and count in full.
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
                } else {
                    let known = Pod { meta: Meta::named(meta.ns, meta.name), ..Pod::default() };
                    cache.nominator.set(object(i), &Arc::new(known), pod.status.nominated);
                }
            }
            "PodDisruptionBudget" => {
                let budget = PodDisruptionBudget::read(&meta, value);
                cache.set_budget(meta.ns, meta.name, Some(budget));
            }
            _ => cache.volumes.apply(&objects::storage(value), false),
        }
    }
    cache.settle();
    cache
}

fn profile_of(case: &Value) -> Profile {
    let config = case.get("config").filter(|c| !c.is_null());
    let parsed = config.map(|c| scheduler_config_from_json(c).expect("the config is modelled"));
    let profile = parsed.map_or_else(ProfileConfig::default, |mut c| c.profiles.remove(0));
    Profile::new(&profile)
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

/// What `VolumeBinding` would bind where.
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

/// The FitError with `PostFilter`'s part.
fn whole_fit_error(got: &Evaluation) -> String {
    let said = got.post_filter.as_ref().map(|p| p.said.message.as_str()).unwrap_or_default();
    if said.is_empty() { got.fit_error.clone() } else { format!("{} {said}", got.fit_error) }
}

const PREEMPTION: &str = "DefaultPreemption";

fn compare_post_filter(diff: &mut Diff, got: &Evaluation, cache: &Cache, want: &Value) {
    let fit_error = want["fitError"].as_str().unwrap_or_default();
    diff.check("fitError", whole_fit_error(got), fit_error.to_owned());
    let want = &want["postFilter"];
    let Some(got) = got.post_filter.as_ref().filter(|_| !want.is_null()) else {
        diff.check(PREEMPTION, got.post_filter.is_some(), !want.is_null());
        return;
    };
    diff.check(PREEMPTION, true, want["ran"].as_bool().unwrap());
    diff.check(PREEMPTION, got.said.code, want["code"].as_str().unwrap());
    diff.check(PREEMPTION, got.said.message.as_str(), want["message"].as_str().unwrap());
    diff.check(PREEMPTION, got.eligible, want["eligible"].as_bool().unwrap());
    let mut candidates: Vec<_> = got
        .candidates
        .iter()
        .map(|c| (c.node.as_str(), c.victims.clone(), u64::from(c.violations)))
        .collect();
    candidates.sort_unstable();
    let want_candidates: Vec<_> = objects::list(want, "candidates")
        .iter()
        .map(|c| {
            let victims = strings(&c["victims"]).into_iter().map(str::to_owned).collect();
            (c["node"].as_str().unwrap(), victims, c["pdbViolations"].as_u64().unwrap())
        })
        .collect();
    diff.check(PREEMPTION, candidates, want_candidates);
    let failed: BTreeMap<&str, (&str, &str, Vec<String>)> = got
        .failed
        .iter()
        .map(|(node, r)| {
            let reasons = r.reasons.iter().map(ToString::to_string).collect();
            (node.as_str(), (r.plugin, r.code.as_str(), reasons))
        })
        .collect();
    let want_failed = want["nonCandidates"].as_object().unwrap().iter().map(|(node, r)| {
        let reasons = strings(&r["reasons"]).into_iter().map(str::to_owned).collect();
        let plugin = r["plugin"].as_str().unwrap_or_default();
        (node.as_str(), (plugin, r["code"].as_str().unwrap(), reasons))
    });
    diff.check(PREEMPTION, failed, want_failed.collect());
    diff.check(PREEMPTION, names(&got.best), strings(&want["bestNodes"]));
    diff.check(PREEMPTION, got.best.len() > 1, want["tie"].as_bool().unwrap());
    let nomination = got.said.nomination.as_ref();
    let node = nomination.map(|n| n.node.as_str());
    diff.check(PREEMPTION, node, want["nominated"].as_str());
    let victims: Vec<String> = nomination.map(|n| victims(cache, &n.victims)).unwrap_or_default();
    diff.check(
        PREEMPTION,
        victims,
        strings(&want["victims"]).into_iter().map(str::to_owned).collect(),
    );
}

fn victims(cache: &Cache, victims: &[ObjRef]) -> Vec<String> {
    let name = |v: &ObjRef| cache.pod(*v).map(|row| row.pod.meta.full_name());
    victims.iter().filter_map(name).collect()
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
            diff.check("fast path", failure.message, whole_fit_error(got));
            let said = got.post_filter.as_ref().and_then(|p| p.said.nomination.clone());
            diff.check("fast path", failure.nomination, said);
        }
    }
}

fn compare(case: &Value) -> Diff {
    let want = &case["result"];
    let pod = objects::pod(&case["pod"]);
    let cache = cache_of(case);
    let got = evaluate(&cache, &profile_of(case), &pod, TieRule::Upstream, |_| 0);
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
    compare_post_filter(&mut diff, &got, &cache, want);
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
    let preempts = (!want["postFilter"].is_null()).then_some(PREEMPTION);
    gate.into_iter().chain(filters).chain(scores).chain(pre).chain(preempts).map(plugin).collect()
}

#[derive(Default)]
struct Table {
    compared: BTreeMap<&'static str, usize>,
    agreed: BTreeMap<&'static str, usize>,
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
    let mut promised: BTreeMap<String, Sym> = BTreeMap::new();
    let mut objects_of: BTreeMap<String, ObjRef> = BTreeMap::new();
    let pending: BTreeMap<String, Arc<Pod>> = objects::list(case, "pending")
        .iter()
        .map(|p| Arc::new(objects::pod(p)))
        .map(|p| (p.meta.full_name(), p))
        .collect();
    for (i, step) in objects::list(&case["result"], "steps").iter().enumerate() {
        let mut pod = (*pending[step["pod"].as_str().unwrap()]).clone();
        pod.status.nominated = promised.get(&pod.meta.full_name()).copied().unwrap_or_default();
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
        let preempts = case["mode"] == "preempt";
        let said = if preempts { whole_fit_error(&got) } else { got.fit_error.clone() };
        diff.check("fitError", said.as_str(), fit_error);
        let id = *objects_of.entry(pod.meta.full_name()).or_insert(object(1_000_000 + i));
        let nomination = got.post_filter.filter(|_| preempts).and_then(|p| p.said.nomination);
        if let Some(nomination) = nomination {
            let Nomination { node, victims: gone } = nomination;
            diff.check(PREEMPTION, node.as_str(), step["nominated"].as_str().unwrap_or_default());
            diff.check(
                PREEMPTION,
                victims(&cache, &gone),
                strings(&step["victims"]).into_iter().map(str::to_owned).collect(),
            );
            for victim in gone {
                cache.remove_pod(victim);
            }
            promised.insert(pod.meta.full_name(), node);
            pod.status.nominated = node;
            cache.nominator.set(id, &Arc::new(pod.clone()), node);
        }
        if !diff.0.is_empty() {
            break;
        }
        if !node.is_empty() {
            pod.node = node;
            pod.status.start = Stamp(1_700_000_000 + u32::try_from(i).unwrap());
            cache.nominator.remove(id);
            cache.add_pod(id, &Arc::new(pod), node, true);
        }
    }
    table.add(case, &diff);
}

#[test]
fn sequences_equal_those_of_kube_scheduler() {
    let Some(shared) = shared_dir() else { return };
    let mut table = Table::default();
    for case in lines(&shared.join("golden/sequences_public.jsonl.gz")) {
        check_sequence(&case, &mut table);
    }
    table.print("sequences");
    let shown: Vec<&str> = table.wrong.iter().take(5).map(String::as_str).collect();
    assert!(shown.is_empty(), "{} sequences differ:\n{}", table.wrong.len(), shown.join("\n"));
}
