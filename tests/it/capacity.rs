//! `capacity`: small clusters whose answer can be counted by hand, and random ones whose answer a
//! run of the scheduler gives as well.

use super::support::{Ran, plan_of, ran, scratch, wavetank};
use std::fs;
use std::path::{Path, PathBuf};
use wavetank::api::Kind;
use wavetank::engine::{Draws, Purpose};
use wavetank::session::Session;

fn asked(arguments: &[&str]) -> Ran {
    let mut all = vec!["capacity"];
    all.extend(arguments);
    ran(&mut wavetank(&all))
}

fn json(file: &Path, arguments: &[&str]) -> serde_json::Value {
    let file = file.display().to_string();
    let mut all = vec![file.as_str(), "--format", "json", "--quiet"];
    all.extend(arguments);
    let done = asked(&all);
    assert!(matches!(done.code, Some(0 | 1)), "{}{}", done.out, done.err);
    serde_json::from_str(&done.out).unwrap()
}

/// Four nodes in two zones with 4 cores and 8 GiB each, of which pods may use 3.9 cores (the
/// kubelet keeps nothing here but 100 MiB for eviction): `pair` has two pods of one core, spread
/// over the zones.
const SMALL: &str = r#"
apiVersion: wavetank.dev/v1
kind: Scenario
metadata: {name: small}
until: 10m
cluster:
  nodes:
    - {name: node, count: 4, zones: [a, b], cpu: 4, memory: 8Gi, boot: 30s}
scheduler: {ties: first}
objects:
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
              whenUnsatisfiable: DoNotSchedule
              labelSelector: {matchLabels: {app: pair}}
          containers: [{name: c, image: "pair:1", resources: {requests: {cpu: "1"}}}]
"#;

fn written(place: &str, name: &str, text: &str) -> PathBuf {
    let file = scratch(place).join(name);
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn pods_that_fit_can_be_counted_by_hand() {
    let file = written("capacity-hand", "small.yaml", SMALL);
    let answer = json(&file, &["--pod", "cpu=1500m", "--pod", "memory=5Gi", "--from-workload"]);
    let shapes = answer["shapes"].as_array().unwrap();
    // 4 cores empty twice, 3 left beside one of the pair twice: two of 1.5 cores each.
    assert_eq!(shapes[0]["fits"], 8, "{answer:#}");
    assert_eq!(shapes[0]["limits"][0]["resource"], "cpu");
    assert_eq!(shapes[0]["limits"][0]["nodes"], 4);
    // 1 core on each of the empty nodes.
    assert_eq!(shapes[0]["limits"][0]["stranded"], 2_000);
    assert_eq!(shapes[0]["why_no_more"], "0/4 nodes are available: 4 Insufficient cpu.");
    // 7.9 GiB per node: one of 5 GiB each.
    assert_eq!(shapes[1]["fits"], 4);
    // 14 cores, as many in each zone.
    assert_eq!(shapes[2]["shape"], "deployment/pair");
    assert_eq!(shapes[2]["fits"], 14);
    assert_eq!(shapes[2]["by_zone"], serde_json::json!({"a": 7, "b": 7}));
}

#[test]
fn what_a_loss_leaves_can_be_counted_by_hand() {
    let file = written("capacity-lose", "small.yaml", SMALL);
    let answer = json(&file, &["--pod", "cpu=2", "--lose", "2", "--lose", "zone"]);
    let losses = answer["losses"].as_array().unwrap();
    let names: Vec<&str> = losses.iter().map(|l| l["loss"].as_str().unwrap()).collect();
    assert_eq!(names, ["1 node", "2 nodes", "2 nodes", "zone a", "zone b"]);
    // Now 1 + 1 + 2 + 2. Without a node with a pod of the pair, that pod goes to the empty node of
    // its zone: 1 + 1 + 2; without an empty node it is the same.
    assert_eq!(answer["shapes"][0]["fits"], 6);
    assert_eq!(losses[0]["fits"]["cpu=2"], 4, "{answer:#}");
    // A zone lost stays a domain of the spread: with none there, a second one here would be skew 2.
    for zone in &losses[3..] {
        assert_eq!(zone["evicted"], 1, "{answer:#}");
        assert_eq!(zone["without_a_place"], serde_json::json!({"deployment/pair": 1}));
        assert_eq!(zone["fits"]["cpu=2"], 3);
    }
    // Two nodes of one zone are worse than any other two.
    assert_eq!(losses[1]["without_a_place"], serde_json::json!({"deployment/pair": 1}));
    assert_eq!(losses[1]["fits"]["cpu=2"], 3);
}

#[test]
fn required_headroom_decides_the_exit_code() {
    let file = written("capacity-require", "small.yaml", SMALL).display().to_string();
    for (least, code) in [("6", 0), ("7", 1)] {
        let done = asked(&[&file, "--pod", "cpu=2", "--require", least]);
        assert_eq!(done.code, Some(code), "{}{}", done.out, done.err);
        let word = if code == 0 { "PASS" } else { "FAIL" };
        assert!(done.out.contains(&format!("{word}  at least {least} more")), "{}", done.out);
    }
    let done = asked(&[&file, "--pod", "cpu=2", "--require", "3", "--lose", "1"]);
    assert_eq!(done.code, Some(0), "{}", done.out);
    let done = asked(&[&file, "--pod", "cpu=2", "--require", "3", "--lose", "zone"]);
    assert_eq!(done.code, Some(1), "a pod has no place then: {}", done.out);
}

/// Pods of 3 cores leave a core of each node unused, which a sum does not see.
#[test]
fn the_nodes_a_workload_needs_are_found_and_so_is_what_fragmentation_costs() {
    let place = scratch("capacity-needed");
    let file = place.join("small.yaml");
    fs::write(&file, SMALL).unwrap();
    let pods = place.join("pods.yaml");
    let text = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: wide}
spec:
  parallelism: 9
  completions: 9
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "c:1", resources: {requests: {cpu: "3"}}}]
"#;
    fs::write(&pods, text).unwrap();
    let pods = pods.display().to_string();
    let answer = json(&file, &["--pods", &pods, "--nodes-for", "node"]);
    let need = &answer["nodes_needed"][0];
    assert_eq!(need["needed"], 9, "{answer:#}");
    // 27 cores on nodes of 4.
    assert_eq!(need["by_sums"], 7);
    assert_eq!(need["bound_by"], "cpu");
    assert!(need["with_one_fewer"].as_str().unwrap().contains("8 Insufficient cpu"), "{need:#}");
    // The scenario's own two pods want a zone each: with one node the second one cannot stay.
    let own = json(&file, &["--nodes-for", "each"]);
    assert_eq!(own["nodes_needed"][0]["by_sums"], 1, "{own:#}");
    assert_eq!(own["nodes_needed"][0]["needed"], 1, "one zone alone is no skew: {own:#}");
    // What no node helps against is said.
    let odd = text.replace("restartPolicy", "nodeSelector: {disk: gold}\n      restartPolicy");
    fs::write(&pods, odd).unwrap();
    let answer = json(&file, &["--pods", &pods, "--nodes-for", "node"]);
    assert_eq!(answer["nodes_needed"][0]["needed"], serde_json::Value::Null, "{answer:#}");
}

#[test]
fn wrong_questions_are_refused_with_a_way_out() {
    let file = written("capacity-wrong", "small.yaml", SMALL).display().to_string();
    let cases: [(&[&str], &str); 7] = [
        (&["--pod", "cpu"], "no `=` in \"cpu\""),
        (&["--pod", "cpus=2"], "\"cpus\" is no resource of a pod"),
        (&["--pod", "cpu=x"], "--pod cpu=x: "),
        (&["--lose", "zonk"], "is neither `zone` nor 1 to 100 nodes"),
        (&["--at", "soon"], "--at soon: "),
        (&["--nodes-for", "nodes"], "there is no such pool"),
        (&["--most", "0"], "nothing would be counted"),
    ];
    for (flags, words) in cases {
        let out = Path::new(&file).with_file_name("out").display().to_string();
        let mut all = vec![file.as_str(), "--out", &out];
        all.extend(flags);
        let done = asked(&all);
        assert_eq!(done.code, Some(2), "{flags:?}: {}{}", done.out, done.err);
        assert!(done.err.contains(words) && done.err.contains("hint:"), "{flags:?}: {}", done.err);
        assert!(!Path::new(&out).exists(), "{flags:?} left something behind");
    }
}

#[test]
fn files_are_the_same_with_one_thread_and_two() {
    let place = scratch("capacity-files");
    let file = place.join("small.yaml");
    fs::write(&file, SMALL).unwrap();
    let file = file.display().to_string();
    let mut answers = Vec::new();
    for jobs in ["1", "2"] {
        let out = place.join(jobs);
        let name = out.display().to_string();
        let flags = ["--pod", "cpu=1", "--lose", "2", "--lose", "zone", "--nodes-for", "each"];
        let mut all = vec![file.as_str(), "--quiet", "--jobs", jobs, "--out", &name];
        all.extend(flags);
        let done = asked(&all);
        assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
        let files = ["fits.csv", "losses.csv", "needed.csv", "capacity.json", "capacity.svg"];
        assert!(fs::read(out.join("capacity.png")).unwrap().starts_with(b"\x89PNG"));
        answers.push(files.map(|name| fs::read(out.join(name)).unwrap()));
    }
    assert!(answers[0] == answers[1], "the number of threads changed the answer");
    let losses = String::from_utf8(answers[0][1].clone()).unwrap();
    assert_eq!(losses.lines().count(), 1 + 5, "{losses}");
    let fits = String::from_utf8(answers[0][0].clone()).unwrap();
    let head = "shape,requests,fits,capped,zone_a,zone_b,pool_node,limit,nodes_short,why_no_more";
    assert_eq!(fits.lines().next(), Some(head));
}

/// A scenario of its own for each number: pools of nodes that differ, pods that are there already,
/// and a shape with a node selector, a toleration or a spread, or none of these.
fn random(number: u64, more: u32) -> String {
    let draws = Draws::new(77);
    let mut draw = draws.draw(number, Purpose("capacity-test"), 0);
    let mut below = |n: u64| draw.below(n);
    let mut text = String::from(
        "apiVersion: wavetank.dev/v1\nkind: Scenario\nmetadata: {name: random}\nuntil: 30m\n\
         cluster:\n  nodes:\n",
    );
    for pool in 0..1 + below(3) {
        let (count, cpu, gib) = (1 + below(4), 1 + below(6), 2 + below(12));
        let taint = if below(4) == 0 { ", taints: [\"only=some:NoSchedule\"]" } else { "" };
        let tier = if below(2) == 0 { ", labels: {tier: gold}" } else { "" };
        text += &format!(
            "    - {{name: pool{pool}, count: {count}, zones: [a, b, c], cpu: {cpu}, memory: \
             {gib}Gi, boot: 5s{taint}{tier}}}\n"
        );
    }
    text += "objects:\n";
    let rules = match below(4) {
        0 => "nodeSelector: {tier: gold}",
        1 => "tolerations: [{key: only, operator: Exists}]",
        2 => {
            "topologySpreadConstraints: [{maxSkew: 2, topologyKey: topology.kubernetes.io/zone, \
             whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: more}}}]"
        }
        _ => "terminationGracePeriodSeconds: 30",
    };
    for (name, rules, replicas, cpu, mib) in [
        ("there", "hostNetwork: false", below(5), 100 + 100 * below(10), 64 + 64 * below(20)),
        ("more", rules, u64::from(more), 200 + 100 * below(8), 128 + 128 * below(16)),
    ] {
        text += &format!(
            "  - apiVersion: apps/v1\n    kind: Deployment\n    metadata: {{name: {name}}}\n    \
             spec:\n      replicas: {replicas}\n      selector: {{matchLabels: {{app: {name}}}}}\n      \
             template:\n        metadata: {{labels: {{app: {name}}}}}\n        spec:\n          \
             {rules}\n          containers: [{{name: c, image: 'c:1', resources: {{requests: \
             {{cpu: {cpu}m, memory: {mib}Mi}}}}}}]\n"
        );
    }
    text + "scheduler: {ties: first}\n"
}

/// How many pods of `more` a run brings to nodes.
fn bound(file: &Path) -> u64 {
    let mut session = Session::new(plan_of(file, &[]).unwrap());
    while session.step().is_some() {}
    let versions = &session.cluster().shared().versions;
    let mut count = 0;
    for (_, object) in versions.iter(Kind::Pod) {
        let pod = object.as_pod().unwrap();
        let ours = pod.meta.name.to_string().starts_with("more-");
        count += u64::from(ours && !pod.node.is_empty());
    }
    count
}

#[test]
fn as_many_fit_as_a_run_of_the_scheduler_places() {
    let place = scratch("capacity-random");
    let mut some = 0;
    for number in 0..12 {
        let file = place.join(format!("{number}.yaml"));
        // With one there, the rest of what fits is one fewer than a run places of many.
        fs::write(&file, random(number, 1)).unwrap();
        let answer = json(&file, &["--from-workload"]);
        let shapes = answer["shapes"].as_array().unwrap();
        let fits = shapes.iter().find(|s| s["shape"] == "deployment/more");
        let fits = fits.map_or(0, |s| s["fits"].as_u64().unwrap());
        let one = bound(&file);
        fs::write(&file, random(number, 150)).unwrap();
        let many = bound(&file);
        assert!(many < 150, "{number}: the cluster is too large for this test");
        assert_eq!(one + fits, many, "{number}: {answer:#}");
        some += u64::from(fits > 1);
    }
    assert!(some >= 6, "hardly any of these clusters has room: {some}");
}
