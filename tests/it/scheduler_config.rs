//! `KubeSchedulerConfiguration` files, from the scenario to the decisions.

use super::support::shared_dir;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wavetank::api::Kind;
use wavetank::api::pod::ConditionType;
use wavetank::cluster::spec::Plan;
use wavetank::control_plane::scheduler::timed::Clock;
use wavetank::report::metrics::Metrics;
use wavetank::report::summary::Summary;
use wavetank::report::text::render;
use wavetank::scenario::{InputErrors, LoadOptions, Loaded, load_with};
use wavetank::session::Session;

const BASE: &str = "apiVersion: wavetank.dev/v1
kind: Scenario
until: 1m
cluster: {nodes: [{name: node, count: 3, cpu: 4, memory: 16Gi}]}
";

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scheduler_config").join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Loads the base scenario with more text and one `--set`.
fn loaded(name: &str, more: &str, set: Option<(&str, &str)>) -> Result<Loaded, InputErrors> {
    let path = scratch(name).join("scenario.yaml");
    fs::write(&path, format!("{BASE}{more}")).unwrap();
    let overrides = set.map(|(p, v)| (p.to_owned(), v.to_owned())).into_iter().collect();
    let shared = shared_dir().unwrap_or_default();
    load_with(&path, &LoadOptions { overrides, shared })
}

/// Every upstream file the project has, with what becomes of it.
#[test]
fn the_eleven_files_load_or_are_refused_by_name() {
    let Some(shared) = shared_dir() else { return };
    let root = shared.join("data/scheduler-configs");
    let mut files: Vec<PathBuf> = super::support::files_below(&root);
    files.retain(|f| f.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert_eq!(files.len(), 11);
    let mut said = String::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let written = format!("${{shared}}/data/scheduler-configs/{name}");
        let here = file.display().to_string();
        match loaded("eleven", "", Some(("scheduler.config", &written))) {
            Ok(_) => writeln!(said, "{name}: loads").unwrap(),
            Err(errors) => {
                for error in errors {
                    writeln!(said, "{}", error.to_string().replace(&here, &name)).unwrap();
                }
            }
        }
    }
    insta::assert_snapshot!(said);
}

/// The node of every pod after a run of the base scenario with two pods that differ in scheduler.
fn nodes(plan: Plan) -> Vec<(String, String)> {
    let mut session = Session::new(Arc::new(plan));
    session.run(&mut [], |_| {});
    let versions = &session.cluster().shared().versions;
    let pods = versions.iter(Kind::Pod).filter_map(|(_, o)| o.as_pod());
    let mut all: Vec<_> = pods.map(|p| (p.meta.name.to_string(), p.node.to_string())).collect();
    all.sort();
    all
}

const PODS: &str = "objects:
  - {apiVersion: v1, kind: Pod, metadata: {name: first}, spec: {containers: [{name: c, image: 'c:1', resources: {requests: {cpu: '1'}}}]}}
workload:
  - {at: 20s, apply: {apiVersion: v1, kind: Pod, metadata: {name: packed}, spec: {schedulerName: packer, containers: [{name: c, image: 'c:1', resources: {requests: {cpu: '1'}}}]}}}
  - {at: 30s, apply: {apiVersion: v1, kind: Pod, metadata: {name: alien}, spec: {schedulerName: nobody, containers: [{name: c, image: 'c:1'}]}}}
";

const PACKER: &str = "apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: default-scheduler
- schedulerName: packer
  plugins:
    score:
      disabled: [{name: '*'}]
      enabled: [{name: NodeResourcesFit}]
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated}}
";

#[test]
fn pods_choose_their_profile_and_others_stay() {
    let dir = scratch("profiles");
    fs::write(dir.join("packer.yaml"), PACKER).unwrap();
    let file = loaded("profiles", PODS, Some(("scheduler.config", "packer.yaml"))).unwrap();
    assert_eq!(file.inputs.len(), 2, "the configuration is an input of the run");
    let got = nodes(file.plan.clone());
    let node = |name: &str| &got.iter().find(|(n, _)| n == name).unwrap().1;
    assert_eq!(node("packed"), node("first"));
    assert_eq!(node("alien"), "");
    // The same inline.
    let inline: String = PACKER.lines().map(|l| format!("    {l}\n")).collect();
    let inline = format!("{PODS}scheduler:\n  config:\n{inline}");
    assert_eq!(nodes(loaded("inline", &inline, None).unwrap().plan), got);
    // The report says who was not served.
    let plan = file.plan;
    let mut metrics = Metrics::new(&plan, None);
    let mut session = Session::new(Arc::new(plan));
    session.run(&mut [&mut metrics], |_| {});
    let page = render(&Summary::new(&metrics, &session.digest()), 100);
    let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("no profile of the scheduler serves schedulerName \"nobody\""), "{page}");
}

#[test]
fn a_mistake_in_the_file_has_its_line() {
    let dir = scratch("mistake");
    let text = PACKER.replace("{type: MostAllocated}", "{type: MostAlocated}");
    fs::write(dir.join("bad.yaml"), text).unwrap();
    let errors = loaded("mistake", "scheduler: {config: bad.yaml}\n", None).unwrap_err();
    let said = errors[0].to_string().replace(&format!("{}/", dir.display()), "");
    assert_eq!(
        said,
        "bad.yaml:12: profiles[1].pluginConfig[0].args.scoringStrategy.type: Unsupported value: \"MostAlocated\": supported values: \"LeastAllocated\", \"MostAllocated\", \"RequestedToCapacityRatio\"\n  hint: did you mean \"MostAllocated\"?"
    );
    let inline = "scheduler:
  config:
    apiVersion: kubescheduler.config.k8s.io/v1
    kind: KubeSchedulerConfiguration
    profile: []
";
    let errors = loaded("mistake-inline", inline, None).unwrap_err();
    assert!(errors[0].to_string().ends_with(
        "scenario.yaml:9: scheduler.config.profile: unknown field\n  hint: did you mean \"profiles\"?"
    ), "{}", errors[0]);
}

/// The order of Filter decides which plugin a node's rejection is told of, in the fast path, too.
#[test]
fn the_order_of_filters_is_the_configurations() {
    let config = |points: &str| {
        format!(
            "scheduler:
  config:
    apiVersion: kubescheduler.config.k8s.io/v1
    kind: KubeSchedulerConfiguration
    profiles: [{{plugins: {{{points}}}}}]
objects:
  - apiVersion: v1
    kind: Pod
    metadata: {{name: big}}
    spec: {{nodeSelector: {{a: b}}, containers: [{{name: c, image: 'c:1', resources: {{requests: {{cpu: '9'}}}}}}]}}
"
        )
    };
    let said = |name: &str, points: &str| {
        let mut session = Session::new(Arc::new(loaded(name, &config(points), None).unwrap().plan));
        session.run(&mut [], |_| {});
        let versions = &session.cluster().shared().versions;
        let pod = versions.iter(Kind::Pod).find_map(|(_, o)| o.as_pod()).unwrap();
        pod.status.condition(ConditionType::PodScheduled).unwrap().message.to_string()
    };
    let affinity = said("order-default", "");
    assert!(affinity.contains("3 node(s) didn't match Pod's node affinity/selector"), "{affinity}");
    let fit = said("order-fit", "filter: {enabled: [{name: NodeResourcesFit}]}");
    assert!(fit.contains("3 Insufficient cpu"), "{fit}");
}

/// Timing plugins changes no event.
#[test]
fn timed_plugins_decide_alike() {
    #[derive(Debug, Default)]
    struct Count(AtomicU64);
    impl Clock for Count {
        fn nanos(&self) -> u64 {
            self.0.fetch_add(1, Ordering::Relaxed)
        }
    }
    let plan = super::support::plan("zone-outage");
    let mut plain = Session::new(Arc::clone(&plan));
    plain.run(&mut [], |_| {});
    let mut timed = Session::new(plan);
    let clock: Arc<dyn Clock> = Arc::new(Count::default());
    let tallies = timed.time_plugins(&clock);
    timed.run(&mut [], |_| {});
    assert_eq!(timed.digest(), plain.digest());
    let spent: Vec<_> = tallies.iter().flat_map(|t| t.spent()).collect();
    let fit = spent.iter().find(|s| (s.plugin, s.point) == ("NodeResourcesFit", "filter")).unwrap();
    assert!(fit.calls > 0 && fit.nanos >= fit.calls);
}

#[test]
fn compare_takes_the_file_of_a_configuration() {
    let dir = scratch("compare");
    fs::write(
        dir.join("scenario.yaml"),
        format!("{BASE}scheduler: {{policy: least-allocated}}\n{PODS}"),
    )
    .unwrap();
    fs::write(dir.join("packer.yaml"), PACKER).unwrap();
    // From within the folder: a long path would be broken in the head of the table.
    let mut command = super::support::wavetank(&[
        "compare",
        "--quiet",
        "--seeds=1,2",
        "--policy=most-allocated",
        "--policy=packer.yaml",
        "scenario.yaml",
    ]);
    let done = super::support::ran(command.current_dir(&dir));
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    assert!(done.out.contains("packer.yaml"), "{}", done.out);
}
