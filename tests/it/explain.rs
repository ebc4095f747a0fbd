//! `wavetank explain`: a pod's last scheduling cycle, in full.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wavetank::cluster::spec::Plan;
use wavetank::engine::SimTime;
use wavetank::event::What;
use wavetank::report::explain::{annotations, json, render};
use wavetank::scenario::load;
use wavetank::session::explain::{Explanation, explain};
use wavetank::session::{Observer, Session};

const FEW: &str = "apiVersion: wavetank.dev/v1
kind: Scenario
until: 2m
scheduler: {ties: first}
cluster:
  nodes:
    - {name: node, count: 3, cpu: 4, memory: 16Gi, zones: [a, b]}
    - {name: batch, count: 2, cpu: 64, memory: 64Gi, taints: ['dedicated=batch:NoSchedule']}
objects:
  - apiVersion: v1
    kind: Pod
    metadata: {name: big}
    spec: {containers: [{name: c, image: 'c:1', resources: {requests: {cpu: '6'}}}]}
  - apiVersion: v1
    kind: Pod
    metadata: {name: small}
    spec: {containers: [{name: c, image: 'c:1', resources: {requests: {cpu: '1', memory: 1Gi}}}]}
  - apiVersion: v1
    kind: Pod
    metadata: {name: alien}
    spec: {schedulerName: other, containers: [{name: c, image: 'c:1'}]}
  - apiVersion: v1
    kind: Pod
    metadata: {name: gated}
    spec: {schedulingGates: [{name: example.com/wait}], containers: [{name: c, image: 'c:1'}]}
";

fn plan(name: &str, text: &str) -> Arc<Plan> {
    let dir: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("explain").join(name);
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("scenario.yaml");
    fs::write(&path, text).unwrap();
    Arc::new(load(&path, &[]).unwrap_or_else(|e| panic!("{e:?}")).plan)
}

fn ask(plan: &Arc<Plan>, pod: &str) -> Explanation {
    explain(plan, ("default", pod), SimTime::MAX, |_| {}).expect("the pod was there")
}

#[test]
fn a_placed_pod_is_explained() {
    insta::assert_snapshot!(render(&ask(&plan("few", FEW), "small")));
}

#[test]
fn a_pending_pod_is_explained() {
    insta::assert_snapshot!(render(&ask(&plan("few", FEW), "big")));
}

#[test]
fn pods_without_a_cycle_are_explained() {
    let plan = plan("few", FEW);
    let alien = render(&ask(&plan, "alien"));
    assert!(alien.contains("no profile of the scheduler serves \"other\""), "{alien}");
    let gated = render(&ask(&plan, "gated"));
    assert!(gated.contains("SchedulingGates holds it back"), "{gated}");
    assert!(gated.contains("queue: gated by PreEnqueue"), "{gated}");
    assert!(explain(&plan, ("default", "nobody"), SimTime::MAX, |_| {}).is_none());
}

#[test]
fn the_moment_asked_about_counts() {
    let plan = plan("few", FEW);
    let early = explain(&plan, ("default", "small"), SimTime(1), |_| {});
    assert!(early.is_none_or(|e| e.cycle.is_none()));
    let first = explain(&plan, ("default", "big"), SimTime::from_secs(30), |_| {}).unwrap();
    assert!(first.cycle.unwrap().time <= SimTime::from_secs(30));
}

#[test]
fn annotations_are_those_of_the_simulator() {
    let all = annotations(&ask(&plan("few", FEW), "small"));
    let get = |key: &str| {
        let text = all[format!("kube-scheduler-simulator.sigs.k8s.io/{key}")].as_str().unwrap();
        serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|_| text.into())
    };
    assert_eq!(get("selected-node"), "node-0");
    assert_eq!(get("filter-result")["node-1"]["NodeResourcesFit"], "passed");
    let taint = "node(s) had untolerated taint(s)";
    assert_eq!(get("filter-result")["batch-0"]["TaintToleration"], taint);
    assert!(get("filter-result")["batch-0"]["NodeResourcesFit"].is_null());
    assert_eq!(get("finalscore-result")["node-0"]["TaintToleration"], "300");
    assert_eq!(get("prefilter-result-status")["NodeResourcesFit"], "success");
    assert_eq!(get("bind-result"), serde_json::json!({}));
}

#[test]
fn preemption_is_explained() {
    let text = "apiVersion: wavetank.dev/v1
kind: Scenario
until: 1m
cluster: {nodes: [{name: node, count: 2, cpu: 4, memory: 16Gi}]}
objects:
  - {apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: high}, value: 1000}
  - {apiVersion: v1, kind: Pod, metadata: {name: low-0}, spec: {containers: [{name: c, image: 'c:1', resources: {requests: {cpu: '3'}}}]}}
  - {apiVersion: v1, kind: Pod, metadata: {name: low-1}, spec: {containers: [{name: c, image: 'c:1', resources: {requests: {cpu: '3'}}}]}}
workload:
  - {at: 30s, apply: {apiVersion: v1, kind: Pod, metadata: {name: vip}, spec: {priorityClassName: high, containers: [{name: c, image: 'c:1', resources: {requests: {cpu: '2'}}}]}}}
";
    // Between the attempt that preempts and the one that takes the node.
    let then = SimTime(30_012_000_000);
    let found = explain(&plan("preemption", text), ("default", "vip"), then, |_| {}).unwrap();
    let page = render(&found);
    assert!(page.contains("PostFilter: Success"), "{page}");
    assert!(page.contains("nodes that would do if pods were preempted: 2"), "{page}");
    let part = &json(&found)["cycle"]["post_filter"];
    let nominated = part["nominated"].as_str().unwrap();
    assert!(page.contains(&format!("{nominated} is nominated")), "{page}");
    let key = "kube-scheduler-simulator.sigs.k8s.io/postfilter-result";
    let said = annotations(&found)[key].as_str().unwrap().to_owned();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said[nominated]["DefaultPreemption"], "preemption victim");
}

/// Every decision of a run.
#[derive(Default)]
struct Decisions(Vec<(String, String)>);

impl Observer for Decisions {
    fn on(
        &mut self,
        record: &wavetank::event::Record,
        versions: &wavetank::api::versions::Versions,
    ) {
        if let What::Scheduled { pod, node, .. } = record.what {
            let object = versions.current(wavetank::api::Kind::Pod, pod).unwrap();
            self.0.push((object.key().1.to_string(), node.to_string()));
        }
    }
}

/// With sampling (more than 100 nodes), ties and soft spreading, the explained pick is the run's.
#[test]
fn the_explained_pick_is_the_pick_of_the_run() {
    for ties in ["uniform", "upstream", "name"] {
        let text = format!(
            "apiVersion: wavetank.dev/v1
kind: Scenario
until: 2m
scheduler: {{ties: {ties}}}
cluster: {{nodes: [{{name: node, count: 230, cpu: 2, memory: 4Gi, zones: [a, b, c]}}]}}
objects:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {{name: web}}
    spec:
      replicas: 60
      selector: {{matchLabels: {{app: web}}}}
      template:
        metadata: {{labels: {{app: web}}}}
        spec:
          containers: [{{name: c, image: 'c:1', resources: {{requests: {{cpu: 700m}}}}}}]
          topologySpreadConstraints:
            - maxSkew: 1
              topologyKey: topology.kubernetes.io/zone
              whenUnsatisfiable: ScheduleAnyway
              labelSelector: {{matchLabels: {{app: web}}}}
"
        );
        let plan = plan(ties, &text);
        let mut decisions = Decisions::default();
        Session::new(Arc::clone(&plan)).run(&mut [&mut decisions], |_| {});
        assert!(decisions.0.len() >= 60);
        for (pod, node) in decisions.0.iter().step_by(17) {
            let found = ask(&plan, pod);
            let cycle = found.cycle.as_ref().unwrap();
            assert_eq!(
                (cycle.node.as_str(), found.pod.as_ref().unwrap().node.as_str()),
                (&**node, &**node)
            );
            assert_eq!(cycle.rehearsal.evaluation.pick, Some(cycle.node));
            assert!(cycle.rehearsal.evaluation.unseen > 0, "the sample is no sample");
            assert_eq!(json(&found)["cycle"]["pick"], **node);
        }
    }
}
