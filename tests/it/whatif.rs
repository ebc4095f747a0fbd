//! `whatif`: what is lost, what it does, and that the answer is the same however it is computed.

use super::support::{Ran, ran, scenario, scratch, wavetank};
use std::fs;
use std::path::{Path, PathBuf};
use wavetank::sweep::whatif::unsourced;

fn wave(arguments: &[&str]) -> Ran {
    ran(&mut wavetank(arguments))
}

/// Four nodes in two zones. `lonely` has one replica, held to `node-2`; `pair` has two, spread over
/// the zones, and a budget that wants both.
const SMALL: &str = r#"
apiVersion: wavetank.dev/v1
kind: Scenario
metadata: {name: small}
until: 40m
cluster:
  nodes:
    - {name: node, count: 4, zones: [a, b], cpu: 4, memory: 8Gi, boot: 30s}
objects:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: lonely}
    spec:
      replicas: 1
      selector: {matchLabels: {app: lonely}}
      template:
        metadata: {labels: {app: lonely}}
        spec:
          nodeSelector: {kubernetes.io/hostname: node-2}
          containers: [{name: c, image: "lonely:1", resources: {requests: {cpu: 500m}}}]
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: pair}
    spec:
      replicas: 2
      selector: {matchLabels: {app: pair}}
      template:
        metadata: {labels: {app: pair}}
        spec:
          topologySpreadConstraints:
            - maxSkew: 1
              topologyKey: topology.kubernetes.io/zone
              whenUnsatisfiable: ScheduleAnyway
              labelSelector: {matchLabels: {app: pair}}
          containers: [{name: c, image: "pair:1", resources: {requests: {cpu: 500m}}}]
  - apiVersion: policy/v1
    kind: PodDisruptionBudget
    metadata: {name: pair}
    spec: {minAvailable: 2, selector: {matchLabels: {app: pair}}}
faults:
  - {crash: {zone: a}, at: 10m, for: 5m}
expect:
  - downtime: {workload: deployment/pair, atMost: 30m}
  - evicted: {atLeast: 1000}
"#;

fn small(place: &Path, extra: &str) -> PathBuf {
    let file = place.join("small.yaml");
    fs::write(&file, format!("{SMALL}{extra}")).unwrap();
    file
}

/// The answer as data.
fn asked(file: &Path, arguments: &[&str]) -> (serde_json::Value, Ran) {
    let file = file.display().to_string();
    let mut all = vec!["whatif", &file, "--no-out", "--quiet", "--format", "json"];
    all.extend(arguments);
    let done = wave(&all);
    let value = serde_json::from_str(&done.out).unwrap_or_default();
    (value, done)
}

fn row<'a>(answer: &'a serde_json::Value, loss: &str) -> &'a serde_json::Value {
    let rows = answer["losses"].as_array().unwrap();
    rows.iter().find(|r| r["loss"] == loss).unwrap_or_else(|| panic!("{loss} is not in {answer:#}"))
}

fn down(row: &serde_json::Value, workload: &str) -> f64 {
    let all = row["workloads"].as_array().unwrap();
    let one = all.iter().find(|w| w["workload"] == workload).unwrap();
    one["down_min"]["mean"].as_f64().unwrap()
}

#[test]
fn the_node_of_a_single_replica_is_a_single_point_of_failure() {
    let file = small(&scratch("whatif-single"), "");
    let (answer, done) = asked(&file, &["--seeds", "4", "--repair", "20m"]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    let rows = answer["losses"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|r| r["loss"].as_str().unwrap()).collect();
    assert_eq!(rows.len(), 8, "two zones, four nodes, two components: {names:?}");
    // node-2 is in zone a, with one of the pair: the zone is worse, and its worst node comes next.
    assert_eq!(names[0], "zone a");
    let nodes: Vec<&&str> = names.iter().filter(|n| n.starts_with("node ")).collect();
    assert_eq!(*nodes[0], "node node-2", "{names:?}");
    // Nothing else can run it: it is down from the loss until the node is repaired and has booted.
    let lonely = down(row(&answer, "node node-2"), "deployment/lonely");
    assert!((20.4..22.0).contains(&lonely), "{lonely}");
    for other in ["node node-1", "node node-3", "zone b", "component kube-scheduler"] {
        assert!(down(row(&answer, other), "deployment/lonely").abs() < 1e-9, "{other}");
    }
    // The pair moves: noticed within 50 s, evicted 300 s later, down by its budget until then.
    let pair = down(row(&answer, "zone b"), "deployment/pair");
    assert!((5.5..7.0).contains(&pair), "{pair}");
    let zone = row(&answer, "zone b");
    let stage = |name: &str| zone["stages"][name]["mean"].as_f64().unwrap();
    assert!((40.0..56.0).contains(&stage("detected_s")), "{zone:#}");
    assert!(stage("detected_s") + 300.0 <= stage("evicted_s"), "{zone:#}");
    assert!(stage("evicted_s") < stage("rescheduled_s"), "{zone:#}");
    assert!(stage("rescheduled_s") < stage("ready_s"), "{zone:#}");
    // A component that is away for a while does nobody harm by itself.
    let component = row(&answer, "component kube-scheduler");
    assert!(component["down_min"]["mean"].as_f64().unwrap().abs() < 1e-9);
}

#[test]
fn one_thread_gives_the_same_numbers_as_two() {
    let place = scratch("whatif-jobs");
    let file = small(&place, "").display().to_string();
    let mut answers = Vec::new();
    for jobs in ["1", "2"] {
        let out = place.join(jobs).display().to_string();
        let flags = ["--seeds", "3", "--pairs", "zone", "--sensitivity", "2", "--quiet"];
        let mut all = vec!["whatif", &file, "--jobs", jobs, "--out", &out];
        all.extend(flags);
        let done = wave(&all);
        assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
        let read = |name: &str| fs::read(place.join(jobs).join(name)).unwrap();
        let files = ["losses.csv", "workloads.csv", "samples.csv", "whatif.json", "whatif.svg"];
        assert!(read("whatif.png").starts_with(b"\x89PNG"));
        answers.push(files.map(read));
    }
    assert!(answers[0] == answers[1], "the number of threads changed the answer");
    let losses = String::from_utf8(answers[0][0].clone()).unwrap();
    assert!(losses.contains("zone a + zone b"), "{losses}");
    assert_eq!(losses.lines().count(), 1 + 9);
    // Every seed draws one instant and one repair time for all losses.
    let samples = String::from_utf8(answers[0][2].clone()).unwrap();
    let mut drawn: Vec<Vec<&str>> =
        samples.lines().skip(1).map(|l| l.split(',').skip(1).take(3).collect()).collect();
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 3, "{samples}");
}

#[test]
fn a_failed_expectation_fails_its_test_case() {
    let place = scratch("whatif-junit");
    let file = small(&place, "  - downtime: {workload: deployment/lonely, atMost: 5m}\n");
    let report = place.join("junit.xml");
    let junit = report.display().to_string();
    let (answer, done) = asked(&file, &["--seeds", "2", "--repair", "20m", "--junit", &junit]);
    assert_eq!(done.code, Some(1), "{}", done.err);
    // Of the lines that count what the scenario's own fault does, none is judged.
    assert_eq!(answer["expectations"], 2);
    assert_eq!(row(&answer, "zone b")["failed"], serde_json::json!([]));
    let failed = &row(&answer, "node node-2")["failed"][0];
    assert_eq!(failed["expected"], "deployment/lonely down for at most 5m00s");
    assert_eq!(failed["seeds"], 2);
    let text = fs::read_to_string(report).unwrap();
    assert!(text.contains("tests=\"9\" failures=\"2\""), "{text}");
    for fine in ["zone b", "nothing lost"] {
        let case = format!("<testcase classname=\"small\" name=\"{fine}\"/>");
        assert!(text.contains(&case), "{text}");
    }
    let case = "<testcase classname=\"small\" name=\"node node-2\">\n      \
                <failure type=\"expectation\" message=\"deployment/lonely down for at most 5m00s\">";
    assert!(text.contains(case), "{text}");
}

#[test]
fn what_fails_with_nothing_lost_is_not_for_a_loss_to_answer() {
    let more = "  - available: {workload: deployment/lonely, atLeast: 2}\n";
    let file = small(&scratch("whatif-anyway"), more);
    let report = file.with_extension("xml");
    let junit = report.display().to_string();
    let flags = ["--seeds", "2", "--each", "node", "--junit", &junit, "--sensitivity", "0"];
    let (answer, done) = asked(&file, &flags);
    assert_eq!(done.code, Some(1), "{}", done.err);
    for row in answer["losses"].as_array().unwrap() {
        assert_eq!(row["failed"], serde_json::json!([]), "{row:#}");
    }
    let text = fs::read_to_string(report).unwrap();
    assert!(text.contains("tests=\"5\" failures=\"1\""), "{text}");
    assert!(text.contains("name=\"nothing lost\">\n      <failure"), "{text}");
}

#[test]
fn the_expectations_of_a_run_speak_of_downtime() {
    let place = scratch("whatif-expect");
    let lines = "  - downtime: {workload: deployment/lonely, atMost: 5m}\n  \
                 - downtime: {workload: deployment/pair, atMost: 5m30s, minAvailable: 1}\n  \
                 - shortReplicas: {workload: deployment/pair, atMost: 1m}\n  \
                 - recovery: {detected: 1m, ready: 7m}\n  \
                 - pendingTotal: 1s\n  \
                 - lostWork: 0s\n";
    let file = small(&place, lines).display().to_string();
    let done = wave(&["run", "--no-out", "--quiet", "--format", "json", &file]);
    let text = wave(&["run", "--no-out", &file]).out;
    assert_eq!(done.code, Some(1), "{text}");
    for line in [
        "FAIL  deployment/lonely down for at most 5m00s: deployment/lonely 5m",
        "PASS  deployment/pair down (fewer than 1 ready) for at most 5m30s: 0",
        "FAIL  deployment/pair short of replicas for at most 1m00s of one replica: deployment/pair 5m",
        "PASS  after each fault noticed in 1m00s, ready in 7m00s: Zone a lost: noticed",
        "PASS  at most 0s of Jobs' work lost: 0",
    ] {
        let flat = text.replace("\n    ", " ");
        assert!(flat.contains(line), "{line}\n{text}");
    }
}

#[test]
fn a_bare_pod_is_lost_for_good() {
    let pod = "  - apiVersion: v1\n    kind: Pod\n    metadata: {name: bare}\n    spec: {nodeSelector: \
               {kubernetes.io/hostname: node-0}, containers: [{name: c, image: \"c:1\"}]}\n";
    let place = scratch("whatif-bare");
    let file = place.join("small.yaml");
    fs::write(&file, SMALL.replace("faults:\n", &format!("{pod}faults:\n"))).unwrap();
    let flags = ["--seeds", "2", "--each", "node", "--repair", "20m", "--horizon", "30m"];
    let (answer, done) = asked(&file, &flags);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    // Nobody makes it anew: it is missing up to the horizon.
    assert_eq!(answer["losses"][0]["loss"], "node node-0");
    assert!((down(&answer["losses"][0], "pod/bare") - 50.0).abs() < 1e-6, "{answer:#}");
    assert_eq!(answer["losses"][0]["workloads"][0]["seeds_down_at_end"], 2);
    assert!(down(row(&answer, "node node-1"), "pod/bare").abs() < 1e-9);
}

/// What `kubectl get nodes,pods,… -A -o yaml` prints, cut to what matters.
fn dump() -> String {
    let mut items = String::from(
        "- apiVersion: v1\n  kind: Namespace\n  metadata: {name: default, uid: ns1, resourceVersion: \
         '3', creationTimestamp: '2026-02-01T00:00:00Z'}\n- apiVersion: v1\n  kind: \
         ServiceAccount\n  metadata: {name: default, namespace: default, uid: sa1, \
         resourceVersion: '4', creationTimestamp: '2026-02-01T00:00:00Z'}\n",
    );
    for node in ["n1", "n2"] {
        items.push_str(&format!(
            "- apiVersion: v1\n  kind: Node\n  metadata: {{name: {node}, uid: {node}, \
             resourceVersion: '5', creationTimestamp: '2026-03-01T00:00:00Z', labels: \
             {{kubernetes.io/hostname: {node}, topology.kubernetes.io/zone: z-{node}}}}}\n  \
             status: {{capacity: {{cpu: '4', memory: 8Gi, pods: '110'}}, allocatable: {{cpu: '4', \
             memory: 8Gi, pods: '110'}}}}\n"
        ));
    }
    let template = "{metadata: {labels: {app: api, pod-template-hash: 5f7}}, spec: {containers: \
                    [{name: c, image: 'api:1', resources: {requests: {cpu: 500m}}}]}}";
    items.push_str(&format!(
        "- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {{name: api, namespace: prod, uid: d1, \
         resourceVersion: '6', generation: 1, creationTimestamp: '2026-03-01T00:00:00Z', annotations: \
         {{deployment.kubernetes.io/revision: '1'}}}}\n  spec: {{replicas: 1, selector: {{matchLabels: \
         {{app: api}}}}, template: {}}}\n  status: {{observedGeneration: 1, replicas: 1, \
         updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1}}\n",
        template.replace(", pod-template-hash: 5f7", "")
    ));
    items.push_str(&format!(
        "- apiVersion: apps/v1\n  kind: ReplicaSet\n  metadata: {{name: api-5f7, namespace: prod, uid: \
         r1, resourceVersion: '7', generation: 1, creationTimestamp: '2026-03-01T00:00:00Z', labels: \
         {{app: api, pod-template-hash: 5f7}}, annotations: {{deployment.kubernetes.io/revision: '1'}}, \
         ownerReferences: [{{apiVersion: apps/v1, kind: Deployment, name: api, uid: d1, controller: \
         true, blockOwnerDeletion: true}}]}}\n  spec: {{replicas: 1, selector: {{matchLabels: {{app: \
         api, pod-template-hash: 5f7}}}}, template: {template}}}\n  status: {{observedGeneration: 1, \
         replicas: 1, readyReplicas: 1, availableReplicas: 1, fullyLabeledReplicas: 1}}\n"
    ));
    items.push_str(
        "- apiVersion: v1\n  kind: Pod\n  metadata: {name: api-5f7-abcde, namespace: prod, uid: p1, \
         resourceVersion: '8', creationTimestamp: '2026-03-01T00:00:00Z', labels: {app: api, \
         pod-template-hash: 5f7}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: \
         api-5f7, uid: r1, controller: true, blockOwnerDeletion: true}]}\n  spec: {nodeName: n1, \
         containers: [{name: c, image: 'api:1', resources: {requests: {cpu: 500m}}}], tolerations: \
         [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, \
         tolerationSeconds: 60}, {key: node.kubernetes.io/not-ready, operator: Exists, effect: \
         NoExecute, tolerationSeconds: 60}]}\n  status: {phase: Running, startTime: \
         '2026-03-01T00:00:01Z', conditions: [{type: Ready, status: 'True', lastTransitionTime: \
         '2026-03-01T00:00:05Z'}, {type: PodScheduled, status: 'True', lastTransitionTime: \
         '2026-03-01T00:00:00Z'}], containerStatuses: [{name: c, image: 'api:1', imageID: x, ready: \
         true, started: true, restartCount: 0, state: {running: {startedAt: \
         '2026-03-01T00:00:04Z'}}}]}\n",
    );
    format!("apiVersion: v1\nkind: List\nitems:\n{items}")
}

#[test]
fn a_dump_alone_is_enough() {
    let place = scratch("whatif-dump");
    let file = place.join("prod.yaml");
    fs::write(&file, dump()).unwrap();
    let (answer, done) = asked(&file, &["--seeds", "2", "--each", "node", "--repair", "1h"]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    assert_eq!(answer["scenario"], "prod");
    assert_eq!(answer["losses"][0]["loss"], "node n1");
    assert_eq!(answer["seeds"][0]["at_rest"], true);
    // The pod is where the dump says, and moves once it is evicted: after about 40 s + 60 s.
    let api = down(row(&answer, "node n1"), "deployment/prod/api");
    assert!((1.6..2.3).contains(&api), "{api}");
    assert!(down(row(&answer, "node n2"), "deployment/prod/api").abs() < 1e-9);
}

/// Half a second more than what it takes is exceeded if the pull of an image takes twice its two
/// seconds: the replacement runs where nobody has run it yet.
#[test]
fn a_latency_that_would_flip_a_verdict_is_named() {
    let place = scratch("whatif-flips");
    let flags = ["--seeds", "1", "--lose", "zone=a", "--repair", "20m", "--sensitivity"];
    let all = |n| -> Vec<&str> { flags.into_iter().chain([n]).collect() };
    let (answer, done) = asked(&small(&place, ""), &all("0"));
    assert_eq!(done.code, Some(0), "{}", done.err);
    let secs = 60.0 * down(row(&answer, "zone a"), "deployment/pair");
    let line = format!("  - downtime: {{workload: deployment/pair, atMost: {:.3}s}}\n", secs + 0.5);
    let (answer, done) = asked(&small(&place, &line), &all("1"));
    assert_eq!(done.code, Some(0), "{}", done.err);
    let flips = row(&answer, "zone a")["flips_with"].as_array().unwrap();
    assert!(flips.iter().any(|f| f == "image"), "{secs}: {flips:?}");
    assert!(flips.iter().all(|f| f != "round trip"), "nobody makes one here: {flips:?}");
    assert_eq!(answer["sensitivity_seeds"], 1);
}

#[test]
fn nodes_of_a_control_plane_that_runs_nowhere_are_told() {
    let place = scratch("whatif-bodiless");
    let file = place.join("prod.yaml");
    let role = "{node-role.kubernetes.io/control-plane: '', kubernetes.io/hostname: n1,";
    fs::write(&file, dump().replace("{kubernetes.io/hostname: n1,", role)).unwrap();
    let file = file.display().to_string();
    let done =
        wave(&["whatif", &file, "--no-out", "--quiet", "--seeds", "2", "--sensitivity", "0"]);
    let told = "the control plane runs on no node here";
    assert!(done.out.contains(told), "{}{}", done.out, done.err);
    let done =
        wave(&["whatif", &file, "--no-out", "--quiet", "--seeds", "2", "--each", "component"]);
    assert!(!done.out.contains(told), "{}{}", done.out, done.err);
}

#[test]
fn bad_questions_are_told_with_a_way_out() {
    let place = scratch("whatif-bad");
    let file = small(&place, "").display().to_string();
    let pods = place.join("pods.yaml");
    let nothing = "apiVersion: v1\nkind: Namespace\nmetadata: {name: x, resourceVersion: '1'}\n";
    fs::write(&pods, nothing).unwrap();
    let pods = pods.display().to_string();
    let cases: [(&[&str], &str, &str); 9] = [
        (&["--lose", "zone=c", &file], "there is no zone \"c\"", "did you mean a?"),
        (&["--lose", "node=nod-1", &file], "there is no node \"nod-1\"", "did you mean node-1?"),
        (&["--lose", "zone", &file], "no `=` in it", "write --lose zone=b"),
        (&["--lose", "rack=a", &file], "the cluster has no rack", "possible here: zone, node"),
        (&["--each", "nodes", &file], "no such kind", "did you mean node?"),
        (&["--each", "control-plane", &file], "the cluster has none of it", "it has: zone, node"),
        (&["--repair", "soon", &file], "\"soon\"", "write a span, or one of"),
        (&["--min-ready", "many", &file], "neither a number", "write 2 or 50%"),
        (&[&pods], "has no node", "dump nodes as well"),
    ];
    for (arguments, problem, hint) in cases {
        let mut all = vec!["whatif", "--no-out", "--quiet"];
        all.extend(arguments);
        let done = wave(&all);
        assert_eq!(done.code, Some(2), "{arguments:?}: {}{}", done.out, done.err);
        assert!(
            done.err.contains(problem) && done.err.contains(hint),
            "{arguments:?}: {}",
            done.err
        );
        assert_eq!(done.out, "");
    }
}

#[test]
fn a_zone_outage_ranks_everything_that_can_be_lost() {
    let (answer, done) = asked(&scenario("zone-outage"), &["--seeds", "2"]);
    let rows = answer["losses"].as_array().unwrap();
    let of = |kind: &str| rows.iter().filter(|r| r["kind"] == kind).count();
    let kinds = ["zone", "control-plane", "node", "component", "etcd", "kube-apiserver"];
    assert_eq!(kinds.map(of), [3, 3, 30, 2, 3, 3], "{}", done.err);
    assert_eq!(rows.len(), 44);
    let first: Vec<&str> = rows[..3].iter().map(|r| r["kind"].as_str().unwrap()).collect();
    assert_eq!(first, ["zone"; 3]);
    // One node in three, process in three or leader of the control plane: nobody else goes down.
    for row in rows.iter().filter(|r| r["kind"] != "zone" && r["kind"] != "node") {
        assert!(row["down_min"]["mean"].as_f64().unwrap().abs() < 1e-9, "{row:#}");
    }
    for row in rows {
        let name = row["loss"].as_str().unwrap();
        let hit = row["workloads"].as_array().unwrap();
        assert_eq!(hit.len(), 5, "{name}: static pods are no workloads");
        for w in hit {
            let low = w["down_min"]["interval_95"][0].as_f64().unwrap();
            assert!(low >= 0.0, "{name}: a downtime below zero: {w:#}");
        }
    }
}

/// Two of three etcd members: what needs the control plane waits, and what runs, runs on.
#[test]
fn members_can_be_lost_in_pairs() {
    let flags = ["--seeds", "2", "--lose", "etcd=cp-0+etcd=cp-1", "--sensitivity", "0"];
    let with_node = ["--lose", "etcd=cp-0+etcd=cp-1+node=worker-3"];
    let all: Vec<&str> = flags.into_iter().chain(with_node).collect();
    let (answer, done) = asked(&scenario("zone-outage"), &all);
    let alone = row(&answer, "etcd cp-0 + etcd cp-1");
    assert_eq!(alone["kind"], "etcd+etcd", "{}", done.err);
    assert!(alone["short_replica_min"]["mean"].as_f64().unwrap().abs() < 1e-9, "{alone:#}");
    let both = row(&answer, "etcd cp-0 + etcd cp-1 + node worker-3");
    // Nobody notices the node while nothing can be written: it is back before its pods move.
    assert!(both["short_replica_min"]["mean"].as_f64().unwrap() > 10.0, "{both:#}");
    assert!(both["evicted"]["mean"].as_f64().unwrap().abs() < 1e-9, "{both:#}");
}

#[test]
fn every_latency_without_a_source_is_looked_at() {
    let text = fs::read_to_string(super::support::root().join("ACCURACY.md")).unwrap();
    let rows = text.lines().filter(|l| l.ends_with("| unsourced |"));
    let names: Vec<&str> = rows.map(|l| l.trim_start_matches("| ")).collect();
    assert_eq!(names.len(), unsourced().len(), "{names:?}");
    for (row, name) in names.iter().zip(unsourced()) {
        assert!(row.starts_with(name), "{row}: {name}");
    }
}
