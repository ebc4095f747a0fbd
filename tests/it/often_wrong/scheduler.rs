//! What the scheduler does that simulators most often get wrong.

use super::{attempts, bound, pod_of, scenario};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use wavetank::api::Kind;
use wavetank::api::pod::ConditionType;
use wavetank::cluster::spec::Plan;
use wavetank::control_plane::scheduler::evaluate::Evaluation;
use wavetank::control_plane::scheduler::framework::{CycleState, Plugin, View};
use wavetank::control_plane::scheduler::plugins::registry::Points;
use wavetank::control_plane::scheduler::profile::ProfileRow;
use wavetank::engine::SimTime;
use wavetank::session::Session;
use wavetank::session::explain::explain;

/// The last scheduling cycle of a pod, in full.
fn cycle(plan: &Arc<Plan>, pod: &str) -> Evaluation {
    let found = explain(plan, ("default", pod), SimTime::MAX, |_| {}).expect("the pod is there");
    found.cycle.expect("it was tried").rehearsal.evaluation
}

/// What a plugin's Score gave per node, and the same after normalisation and weight.
fn scores(of: &Evaluation, plugin: &str) -> (Vec<i64>, Vec<i64>) {
    let found = of.scores.iter().find(|s| s.plugin == plugin);
    let found = found.unwrap_or_else(|| panic!("{plugin} gave no score"));
    (found.raw.clone(), found.weighted.clone())
}

/// A pod with one container per list of requests.
fn pod(name: &str, requests: &[&str], spec: &str) -> String {
    let containers: Vec<String> = (0..)
        .zip(requests)
        .map(|(i, r)| format!("{{name: c{i}, image: 'c:1', resources: {{requests: {{{r}}}}}}}"))
        .collect();
    let containers = containers.join(", ");
    format!(
        "  - {{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {name}}}}}, \
         spec: {{{spec} containers: [{containers}]}}}}\n"
    )
}

/// A minute of nodes `NAME-0`… (name, count, CPU, memory) that keep nothing back for themselves.
fn cluster(more: &str, nodes: &[(&str, u32, &str, &str)], objects: &str) -> Arc<Plan> {
    let mut text = format!("until: 1m\n{more}\ncluster:\n  nodes:\n");
    for (name, count, cpu, memory) in nodes {
        text += &format!(
            "    - {{name: {name}, count: {count}, cpu: {cpu}, memory: {memory}, agent: fakelet}}\n"
        );
    }
    scenario(&format!("{text}objects:\n{objects}"))
}

#[test]
fn row_01_ties_without_extenders_are_not_random_in_1_35() {
    // Two nodes are equally good, and better than the first two.
    let nodes = [("small", 2, "2", "4Gi"), ("large", 2, "4", "8Gi")];
    let taken = |ties: &str| -> Vec<String> {
        let of = |seed: u32| {
            let head = format!("seed: {seed}\nscheduler: {{ties: {ties}}}");
            let pod = pod("p", &["cpu: 1, memory: 2Gi"], "");
            bound(&cluster(&head, &nodes, &pod))["p"].clone()
        };
        let mut all: Vec<String> = (0..20).map(of).collect();
        all.sort();
        all.dedup();
        all
    };
    assert_eq!(taken("upstream"), ["large-1"], "the heap's root, not the first of the best");
    assert_eq!(taken("uniform"), ["large-0", "large-1"], "what 1.34 did and 1.35 intends");
}

/// A plugin that counts how many nodes it was asked to score.
#[derive(Debug, Default)]
struct Asked(AtomicU32);

impl Plugin for Asked {
    fn score_node(&self, _view: View<'_>, _state: &CycleState, _at: usize) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed);
        0
    }
}

#[test]
fn row_02_one_feasible_node_is_taken_without_scores() {
    let asked = |selector: &str| {
        let pod = pod("p", &["cpu: 1"], selector);
        let mut session = Session::new(cluster("", &[("node", 2, "4", "8Gi")], &pod));
        let plugin = Arc::new(Asked::default());
        let row = Arc::clone(&plugin);
        session.add_plugin(
            0,
            ProfileRow { name: "Asked", plugin: row, points: Points::SCORE, weight: 1 },
        );
        session.run(&mut [], |_| {});
        let pods = session.cluster().shared().versions.iter(Kind::Pod);
        let bound = pods.filter_map(|(_, o)| o.as_pod()).filter(|p| !p.node.is_empty()).count();
        (bound, plugin.0.load(Ordering::Relaxed))
    };
    assert_eq!(asked("nodeSelector: {kubernetes.io/hostname: node-1},"), (1, 0));
    assert_eq!(asked(""), (1, 2), "where there is a choice, each is scored");
}

#[test]
fn row_03_requests_nobody_made_count_per_container_and_in_fit_scores_alone() {
    let nodes = [("node", 2, "1", "2000Mi")];
    let objects = pod("none", &["", ""], "") + &pod("some", &["cpu: 500m"], "");
    let plan = cluster("scheduler: {ties: name}", &nodes, &objects);
    let none = cycle(&plan, "none");
    // Two times 100m of 1 and 200Mi of 2000Mi: 80 and 80.
    assert_eq!(scores(&none, "NodeResourcesFit").0, [80, 80]);
    let balanced = "NodeResourcesBalancedAllocation";
    assert!(none.skipped_scores.contains(&balanced), "it asks for nothing");
    let some = cycle(&plan, "some");
    // node-0 has the first pod: 700m and 600Mi there, 500m and 200Mi on node-1.
    assert_eq!(scores(&some, "NodeResourcesFit").0, [(30 + 70) / 2, (50 + 90) / 2]);
    // Half of the CPU and no memory: 100 × (1 - 0.25), with or without the first pod.
    assert_eq!(scores(&some, balanced).0, [75, 75]);
    // No room for what nobody asked for is no reason to reject a pod.
    let tiny = [("node", 1, "100m", "100Mi")];
    assert_eq!(bound(&cluster("", &tiny, &pod("none", &["", ""], "")))["none"], "node-0");
}

#[test]
fn row_04_resource_scores_lose_their_fractions_twice() {
    let nodes = [("node", 2, "3", "3000Mi")];
    let plan = cluster("", &nodes, &pod("p", &["cpu: 1, memory: 2000Mi"], ""));
    // 66.67 and 33.33, of which the mean is 50: 66 and 33, and of these 49.5.
    assert_eq!(scores(&cycle(&plan, "p"), "NodeResourcesFit").0, [49, 49]);
}

#[test]
fn row_05_pods_of_services_and_sets_spread_without_being_asked() {
    let nodes = [("big", 1, "64", "256Gi"), ("small", 1, "4", "16Gi")];
    let on_big = |objects: &str| {
        let placed = bound(&cluster("", &nodes, objects));
        assert_eq!(placed.len(), 4, "{placed:?}");
        placed.values().filter(|node| *node == "big-0").count()
    };
    let bare: String = (0..4)
        .map(|i| {
            pod(&format!("p{i}"), &["cpu: 100m, memory: 400Mi"], "")
                .replace(&format!("app: p{i}"), "app: web")
        })
        .collect();
    assert_eq!(on_big(&bare), 4, "the node with the most room");
    let service = "  - {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}\n";
    assert_eq!(on_big(&format!("{service}{bare}")), 2);
    let set = "  - {apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web}, spec: {replicas: 4, selector: {matchLabels: {app: web}}, \
               template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: 'c:1', resources: {requests: {cpu: 100m, memory: 400Mi}}}]}}}}\n";
    assert_eq!(on_big(set), 2);
}

#[test]
fn row_06_a_required_affinity_weighs_one_and_equal_scores_normalise_to_none_or_all() {
    let nodes = [("node", 2, "4", "8Gi")];
    let friend = |name: &str, node: &str| {
        let term =
            "{labelSelector: {matchLabels: {app: web}}, topologyKey: kubernetes.io/hostname}";
        let affinity = format!(
            "nodeName: {node}, affinity: {{podAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: [{term}]}}}},"
        );
        pod(name, &["cpu: 1"], &affinity)
    };
    let web = pod("web", &["cpu: 1"], "");
    let plugin = "InterPodAffinity";
    let plan = cluster("", &nodes, &(friend("a", "node-1") + &web));
    assert_eq!(scores(&cycle(&plan, "web"), plugin), (vec![0, 1], vec![0, 200]));
    let both = friend("a", "node-0") + &friend("b", "node-1") + &web;
    let equal = cycle(&cluster("", &nodes, &both), "web");
    assert_eq!(scores(&equal, plugin), (vec![1, 1], vec![0, 0]), "all equal: nobody gets 100");
    assert_eq!(scores(&equal, "TaintToleration"), (vec![0, 0], vec![300, 300]), "here all do");
}

#[test]
fn row_09_heartbeats_do_not_bring_a_pod_back() {
    // Every renewal and report is a write of its own here.
    let run = |last: &str| {
        let pod = pod("p", &["cpu: 1"], "");
        scenario(&format!(
            "until: 250s\ncluster: {{heartbeats: explicit, nodes: [{{name: node, cpu: 4, memory: 8Gi}}]}}\n\
             workload:\n  - {{at: 1s, cordon: node}}\n  - {{at: 5s, apply: {}}}\n{last}",
            pod.trim().trim_start_matches("- ")
        ))
    };
    let at = attempts(&run(""), "p");
    assert_eq!(at.len(), 1, "nodes report every 10 s and renew every 10 s: {at:?}");
    let plan = run("  - {at: 200s, uncordon: node}\n");
    let at = attempts(&plan, "p");
    assert!(at.len() > 1 && at[1..].iter().all(|t| (200.0..202.0).contains(t)), "{at:?}");
    assert_eq!(bound(&plan)["p"], "node");
}

#[test]
fn row_10_reasons_sort_as_strings_and_come_from_one_plugin_per_node() {
    let plan = scenario(&format!(
        "until: 1m\ncluster:\n  nodes:\n    \
         - {{name: batch, count: 10, cpu: 1, memory: 64Gi}}\n    \
         - {{name: tiny, count: 3, cpu: 1, memory: 1Gi}}\n    \
         - {{name: tainted, count: 2, cpu: 1, memory: 1Gi, taints: ['a=b:NoSchedule']}}\n\
         objects:\n{}",
        pod("p", &["cpu: 2, memory: 2Gi"], "")
    ));
    let pod = pod_of(&plan, "p");
    let said = pod.status.condition(ConditionType::PodScheduled).unwrap().message.to_string();
    let want = "0/15 nodes are available: 13 Insufficient cpu, 2 node(s) had untolerated taint(s), \
                3 Insufficient memory. ";
    assert!(said.starts_with(want), "{said}");
}
