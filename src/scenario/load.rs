//! The front door: a scenario file to a plan, or everything that is wrong with it.

use super::error::{InputError, InputErrors};
use super::file::ScenarioFile;
use super::files::Files;
use super::report::{MAX_TEXT, Report, read_bytes, unpack};
use super::schema::Checker;
use super::{plan, set, source};
use crate::cluster::spec::Plan;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Files read for a run: path as written in the scenario, and content.
pub type Inputs = Vec<(PathBuf, Vec<u8>)>;

/// A scenario that can be run.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The plan.
    pub plan: Plan,
    /// Every file read, as the scenario names it; the scenario itself comes first.
    pub inputs: Inputs,
    /// Things worth saying that do not stop the run.
    pub warnings: Vec<InputError>,
}

/// How to read a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// `--set path=value`, in order.
    pub overrides: Vec<(String, String)>,
    /// What `${shared}` at the start of a path stands for.
    pub shared: PathBuf,
}

impl Default for LoadOptions {
    /// No overrides; shared data beside the current directory.
    fn default() -> Self {
        Self { overrides: Vec::new(), shared: PathBuf::from("../shared") }
    }
}

/// Reads a scenario, with values replaced.
///
/// # Errors
/// All that is wrong with the scenario and the files it names.
pub fn load(path: &Path, overrides: &[(String, String)]) -> Result<Loaded, InputErrors> {
    load_with(path, &LoadOptions { overrides: overrides.to_vec(), ..LoadOptions::default() })
}

/// Reads a scenario.
///
/// # Errors
/// All that is wrong with the scenario and the files it names.
pub fn load_with(path: &Path, options: &LoadOptions) -> Result<Loaded, InputErrors> {
    let label = path.display().to_string();
    let bytes = read_bytes(path, MAX_TEXT).map_err(|error| vec![error])?;
    let unpacked = unpack(&label, bytes.clone(), MAX_TEXT).map_err(|error| vec![error])?;
    let text = source::decode(&label, unpacked)?;
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    let mut loaded = parse(&label, text, dir, options)?;
    if loaded.plan.name.is_empty() {
        let mut report = Report::default();
        loaded.plan.name = plan::name("", path, &mut report);
    }
    let name = path.file_name().map_or_else(|| PathBuf::from("scenario.yaml"), PathBuf::from);
    loaded.inputs.insert(0, (name, bytes));
    Ok(loaded)
}

/// Reads a scenario from text; its files are looked for in `dir`. The name stays empty if the text
/// gives none.
///
/// # Errors
/// All that is wrong with the scenario and the files it names.
pub fn parse(
    label: &str,
    text: String,
    dir: &Path,
    options: &LoadOptions,
) -> Result<Loaded, InputErrors> {
    let (mut value, first_line) = document(label, &text)?;
    let mut report = Report::new(label, text, first_line);
    set::apply(&mut value, &options.overrides, &mut report);
    for mistake in Checker::default().check(&value) {
        report.error(&mistake.place, mistake.problem, mistake.hint);
    }
    if report.failed() {
        return Err(report.finish().0);
    }
    let file: ScenarioFile = serde_path_to_error::deserialize(&value).map_err(|err| {
        // The check above speaks better; this catches what it lets through.
        let at = super::place::Place::parse(&err.path().to_string()).unwrap_or_default();
        let mut report = std::mem::take(&mut report);
        report.error(&at, err.inner(), "");
        report.finish().0
    })?;
    let mut files = Files::new(dir, &options.shared);
    let mut plan = plan::build(&file, &mut files, &mut report);
    if !plan.name.is_empty() {
        plan.name = plan::name(&plan.name, Path::new(label), &mut report);
    }
    let failed = report.failed();
    let (errors, warnings) = report.finish();
    if failed { Err(errors) } else { Ok(Loaded { plan, inputs: files.inputs, warnings }) }
}

/// The one document of a scenario, and the line on which it begins.
fn document(label: &str, text: &str) -> Result<(Value, usize), InputErrors> {
    one_document(
        label,
        text,
        "a scenario begins with apiVersion: wavetank.dev/v1 and kind: Scenario",
    )
}

/// The one document of a text, and the line on which it begins; `hint` says how one begins.
pub(crate) fn one_document(
    label: &str,
    text: &str,
    hint: &str,
) -> Result<(Value, usize), InputErrors> {
    let (documents, errors) = source::documents(label, text);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut documents = documents.into_iter();
    let Some(first) = documents.next() else {
        return Err(vec![InputError::new(label, "is empty").at(1).hint(hint)]);
    };
    if let Some(second) = documents.next() {
        return Err(vec![
            InputError::new(label, "holds more than one document").at(second.first_line).hint(
                "Kubernetes objects go into a file of their own under manifests:, or into objects:",
            ),
        ]);
    }
    if !first.value.is_object() {
        let found = super::schema::quoted(&first.value);
        let what = if hint.contains("sweep") { "sweep" } else { "scenario" };
        return Err(vec![
            InputError::new(label, format!("is no {what}: expected a map, found {found}"))
                .at(first.first_line)
                .hint(hint),
        ]);
    }
    Ok((first.value, first.first_line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::spec::{Action, Made, Process, Whom};
    use crate::engine::{SimDuration, SimTime};
    use proptest::prelude::*;

    const WHOLE: &str = r#"
apiVersion: wavetank.dev/v1
kind: Scenario
metadata: {name: whole}
seed: 7
until: {at: 40m, idle: true}
cluster:
  kubernetesVersion: 1.29
  epoch: 2026-03-01T12:00:00Z
  nodes:
    - name: node
      count: 4
      zones: [zone-a, zone-b]
      cpu: 4
      memory: 16Gi
      pods: 50
      resources: {nvidia.com/gpu: 2}
      labels: {example.com/tier: gold}
      taints: ["dedicated=batch:NoSchedule"]
      boot: {lognormal: {median: 20s, sigma: 0.3}}
      images: ["nginx:1", {name: "big:1", size: 2Gi}]
    - {name: kwok, cpu: 8, memory: 8Gi, agent: fakelet}
  limits: {scheduler: {qps: 5000, burst: 10000}}
  latencies: {api: 2ms, fsync: {uniform: [1ms, 3ms]}, imageBytes: 50M}
  heartbeats: lazy
  nodeMonitorGracePeriod: 45s
  eventTTL: 30m
namespaces: [batch]
objects:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      replicas: 2
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec: {containers: [{name: web, image: "nginx:1"}]}
  - apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {selector: {app: web}, ports: [{port: 80}]}
scheduler: {policy: most-allocated, ties: first, percentageOfNodesToScore: 50}
workload:
  - {at: 5m, scale: {target: deployment/web, replicas: 5}}
  - {at: 1m, cordon: node-3}
  - {at: 6m, delete: pod/default/web-abc, gracePeriodSeconds: 0}
arrivals:
  - name: job
    namespace: batch
    job: {cpu: 500m, memory: 1Gi, exitCode: 3}
    poisson: 600/h
    start: 1m
    end: 30m
    count: 100
    duration: {weibull: {scale: 1m, shape: 1.5}}
    requests: {cpu: {base: 500m, step: 100m, steps: 75}}
faults:
  - {name: dark, crash: {zone: zone-b}, at: 10m, for: 5m}
  - {kubeletStop: {selector: {example.com/tier: gold}, count: 2}, at: 20m}
expect:
  - converged: true
  - available: {workload: deployment/web, atLeast: 1, except: 1m}
pin:
  - {prefix: web-, nodes: [node-0, node-1]}
"#;

    fn read(text: &str) -> Result<Loaded, InputErrors> {
        parse("s.yaml", text.to_owned(), Path::new("nowhere"), &LoadOptions::default())
    }

    #[test]
    fn every_section_reaches_the_plan() {
        let plan = read(WHOLE).unwrap().plan;
        assert_eq!((plan.seed, plan.until, plan.until_idle), (7, SimTime::from_secs(2_400), true));
        let nodes = &plan.cluster.nodes;
        let zones: Vec<&str> = nodes.iter().map(|n| n.zone.as_str()).collect();
        assert_eq!(zones, ["zone-a", "zone-b", "zone-a", "zone-b", ""]);
        assert_eq!(nodes[4].name.as_str(), "kwok");
        assert_eq!(nodes[0].capacity.memory - nodes[0].allocatable.memory, 100 << 20);
        assert_eq!(nodes[4].capacity, nodes[4].allocatable);
        assert_eq!(nodes[0].images[1].size, 2 << 30);
        assert_eq!(plan.cluster.epoch_s, 1_772_366_400);
        let times: Vec<u64> = plan.steps.iter().map(|s| s.at.0 / 1_000_000_000).collect();
        assert_eq!(times, [0, 0, 0, 60, 300, 360]);
        assert!(
            matches!(&plan.steps[0].action, Action::Apply(o) if o.kind().name() == "Namespace")
        );
        assert!(plan.not_modelled.is_empty(), "{:?}", plan.not_modelled);
    }

    #[test]
    fn arrivals_and_faults_reach_the_plan() {
        let plan = read(WHOLE).unwrap().plan;
        let jobs = &plan.arrivals[0];
        assert!(matches!(jobs.process, Process::Poisson(gap) if gap == SimDuration::from_secs(6)));
        assert!(matches!(&jobs.made, Made::Job(t) if t.spec.behaviour.exit_code == 3));
        assert!(matches!(&plan.faults[1].whom, Whom::Selector(_, Some(2))));
    }

    #[test]
    fn a_mistake_has_its_line() {
        let errors = read(&WHOLE.replace("zone: zone-b", "zone: zone-x")).unwrap_err();
        let line = 1 + WHOLE.lines().position(|l| l.contains("name: dark")).unwrap();
        assert_eq!(
            errors[0].to_string(),
            format!(
                "s.yaml:{line}: faults[0].crash.zone: no node is in zone \"zone-x\"\n  hint: did you mean zone-a?"
            )
        );
    }

    const SMALL: &str = "
apiVersion: wavetank.dev/v1
kind: Scenario
until: idle
cluster: {nodes: [{name: node, count: 2, cpu: 4, memory: 16Gi}]}
";

    #[test]
    fn objects_of_the_past_are_warm_and_their_nodes_join() {
        let text = format!(
            "{SMALL}objects:
- apiVersion: v1
  kind: Node
  metadata: {{name: old, creationTimestamp: '2025-01-01T00:00:00Z'}}
  spec:
    unschedulable: true
    taints: [{{key: node.kubernetes.io/unschedulable, effect: NoSchedule}}]
  status:
    capacity: {{cpu: '2', memory: 4Gi, pods: '110'}}
    allocatable: {{cpu: '2', memory: 4Gi, pods: '110'}}
- apiVersion: v1
  kind: Pod
  metadata: {{name: p, namespace: shop, creationTimestamp: '2025-01-01T00:00:00Z'}}
  spec: {{nodeName: old, containers: [{{name: c, image: 'c:1'}}]}}
  status: {{phase: Running}}
- apiVersion: batch/v1
  kind: Job
  metadata: {{generateName: pi-}}
  spec: {{template: {{spec: {{restartPolicy: Never, containers: [{{name: c, image: 'c:1'}}]}}}}}}
"
        );
        let plan = read(&text).unwrap().plan;
        assert_eq!((plan.until, plan.until_idle), (SimTime::from_secs(7 * 86_400), true));
        assert_eq!(plan.warm.len(), 1);
        let old = &plan.cluster.nodes[2];
        assert_eq!((old.name.as_str(), old.taints.len()), ("old", 0));
        assert_eq!(old.capacity.cpu_milli, 2_000);
        let applied = |i: usize| {
            let action = &plan.steps[i].action;
            if let Action::Apply(obj) = action {
                format!("{}/{}", obj.kind(), obj.key().1)
            } else {
                format!("{action:?}")
            }
        };
        assert_eq!(applied(0), "Namespace/shop");
        assert!(applied(1).starts_with("Job/pi-") && applied(1).len() == 12, "{}", applied(1));
        assert_eq!(applied(2), "Cordon { node: \"old\", on: true }");
    }

    #[test]
    fn missing_shared_data_is_said_with_a_way_out() {
        let text = format!("{SMALL}manifests: ['${{shared}}/a.yaml']\n");
        let options = LoadOptions { shared: "nowhere".into(), ..LoadOptions::default() };
        let errors = parse("s.yaml", text, Path::new(""), &options).unwrap_err();
        assert_eq!(
            errors[0].to_string(),
            "s.yaml:6: manifests[0]: nowhere: the shared data directory is not there\n  hint: name it with --shared DIR"
        );
    }

    /// Something to put in place of a piece of the text.
    fn scrap() -> impl Strategy<Value = String> {
        let words = [
            "",
            "-1",
            "0",
            "~",
            "[",
            "{",
            "}",
            "]",
            ": ",
            "- ",
            "\n",
            "\t",
            "&a ",
            "*a",
            "!x ",
            "<<: ",
            ".nan",
            ".inf",
            "1e999",
            "99999999999999999999",
            "0x10",
            "''",
            "\"",
            "idle",
            "s",
            "Gi",
            "node-0",
            "zone-b",
            "default",
            "{}",
            "[[]]",
            "a/b/c",
            "\u{0}",
            "é",
            "|",
            ">",
            "#",
            "---\n",
        ];
        prop_oneof![
            4 => prop::sample::select(words.to_vec()).prop_map(str::to_owned),
            1 => "[ -~]{0,12}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]
        #[test]
        fn mutated_scenarios_never_panic(
            edits in prop::collection::vec((0.0..1.0_f64, 0_usize..12, scrap()), 1..6)
        ) {
            let mut chars: Vec<char> = WHOLE.chars().collect();
            for (place, len, text) in edits {
                let len_all = crate::engine::num::float_u(chars.len() as u64);
                let at = crate::engine::num::index(crate::engine::num::trunc_u(place * len_all));
                let end = (at + len).min(chars.len());
                chars.splice(at..end, text.chars());
            }
            if let Err(errors) = read(&chars.into_iter().collect::<String>()) {
                prop_assert!(!errors.is_empty());
            }
        }

        #[test]
        fn lines_in_any_order_never_panic(keep in prop::collection::vec(0_usize..64, 0..64)) {
            let lines: Vec<&str> = WHOLE.lines().collect();
            let text: Vec<&str> = keep.iter().map(|&i| lines[i % lines.len()]).collect();
            if let Err(errors) = read(&text.join("\n")) {
                prop_assert!(!errors.is_empty());
            }
        }
    }
}
