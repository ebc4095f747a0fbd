//! Machines that are taken with notice, upgrades of nodes, faults that wait, shares of nodes, disks
//! that fill up.

use super::partitions::{Story, WEB, between, holds, play};
use super::support::{plan, root, snapshot};
use wavetank::report::metrics::Metrics;
use wavetank::report::summary::Summary;
use wavetank::report::text::render;
use wavetank::session::Session;

const POOLS: &str = "cluster: {nodes: [{name: node, count: 6, cpu: 4, memory: 16Gi, zones: [a, b], \
                     boot: {uniform: [20s, 40s]}}]}";
const BUDGET: &str = "
  - apiVersion: policy/v1
    kind: PodDisruptionBudget
    metadata: {name: web}
    spec: {minAvailable: 7, selector: {matchLabels: {app: web}}}
";

/// How many pods are ready, at its lowest after an instant.
fn lowest(story: &Story, from: f64) -> i64 {
    let (mut now, mut low) = (0, i64::MAX);
    for (at, who, what) in &story.0 {
        now += i64::from(what == "ready" && who.starts_with("web-"));
        now -= i64::from(what == "to go" && who.starts_with("web-"));
        if *at >= from {
            low = low.min(now);
        }
    }
    low
}

#[test]
fn a_taken_machine_is_empty_before_it_goes_and_is_replaced() {
    let rest = format!(
        "until: 12m\nfaults: [{{interrupt: {{of: {{nodes: [node-1, node-4]}}, \
         notice: 2m, replace: 3m}}, at: 5m}}]{WEB}{BUDGET}"
    );
    let (story, _) = play(POOLS, &rest);
    for node in ["node-1", "node-4"] {
        between(story.first(node, "gets notice"), 300.0, 300.0);
        between(story.first(node, "patch by user"), 300.0, 300.1);
        between(story.first(node, "machine crashes"), 420.0, 420.0);
        // The provider's controller looks every 5 s once the node is not ready.
        between(story.first(node, "delete by user"), 460.0, 482.0);
        between(story.first(node, "machine gets power"), 600.0, 600.0);
        // 20 s to 40 s of booting, 0.3 s until the runtime has been looked at.
        between(*story.at(node, "True").last().unwrap(), 620.0, 641.0);
    }
    let left: Vec<(f64, &str)> = story.lines("gone");
    assert!(left.iter().all(|(at, _)| *at < 420.0), "{left:?}");
    assert!(lowest(&story, 300.0) >= 7, "the budget holds");
    holds(POOLS, &rest);
}

#[test]
fn an_upgrade_goes_node_by_node_and_asks_the_budget() {
    let rest = format!(
        "until: {{at: 2h, idle: true}}\nfaults: [{{upgrade: {{of: {{percent: 100}}, maxUnavailable: 2}}, \
         at: 5m, for: 90s}}]{WEB}{BUDGET}"
    );
    let (story, session) = play(POOLS, &rest);
    let (mut away, mut most) = (0, 0);
    for (_, who, what) in &story.0 {
        away += i32::from(what == "is drained" && who.starts_with("node"));
        most = most.max(away);
        away -= i32::from(what == "machine gets power");
    }
    assert_eq!(story.lines("machine crashes").len(), 6);
    assert_eq!(story.lines("machine gets power").len(), 6);
    assert!(most <= 3, "two at a time, and one that boots: {most}");
    assert!(lowest(&story, 300.0) >= 7, "the budget holds");
    for node in 0..6 {
        let node = format!("node-{node}");
        let off = story.first(&node, "machine gets power") - story.first(&node, "machine crashes");
        between(off, 90.0, 91.1);
    }
    // The run ends by itself, when the last node is back.
    between(session.now().secs_f64(), 500.0, 3000.0);
    holds(POOLS, &rest);
}

#[test]
fn an_upgrade_waits_for_the_pods_it_found_not_for_those_that_come_back() {
    // Its replacement tolerates the cordon, and is meant for this very node.
    let stubborn = "
objects:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: stubborn}
    spec:
      replicas: 1
      selector: {matchLabels: {app: stubborn}}
      template:
        metadata: {labels: {app: stubborn}}
        spec:
          nodeSelector: {kubernetes.io/hostname: node-2}
          tolerations: [{key: node.kubernetes.io/unschedulable, operator: Exists}]
          containers: [{name: main, image: 'main:1'}]
";
    let rest = format!(
        "until: {{at: 2h, idle: true}}\nfaults: [{{upgrade: {{of: {{node: node-2}}}}, at: 5m, for: 90s}}]{stubborn}"
    );
    let (story, session) = play(POOLS, &rest);
    between(story.first("node-2", "machine crashes"), 300.0, 340.0);
    between(session.now().secs_f64(), 400.0, 1200.0);
}

#[test]
fn an_interruption_that_strikes_nobody_is_over_at_once() {
    let cluster =
        "cluster: {controlPlane: {nodes: 3}, nodes: [{name: node, count: 2, cpu: 4, memory: 8Gi}]}";
    let rest = format!(
        "until: {{at: 2h, idle: true}}\nfaults:\n  - {{name: nobody, interrupt: {{of: {{node: control-plane-0}}}}, at: 5m}}\n  - \
         {{crash: {{node: node-0}}, after: {{fault: nobody, ends: true, delay: 10s}}, for: 1m}}{WEB}"
    );
    let (story, session) = play(cluster, &rest);
    between(story.first("node-0", "machine crashes"), 310.0, 310.0);
    between(session.now().secs_f64(), 370.0, 1800.0);
}

#[test]
fn a_fault_waits_for_another_one_or_for_a_workload() {
    let rest = format!(
        "until: {{at: 40m, idle: true}}\nfaults:\n\
         \x20 - {{name: first, crash: {{node: node-0}}, after: {{ready: deployment/web, atLeast: 8, delay: 10s}}, for: 2m}}\n\
         \x20 - {{name: second, crash: {{node: node-1}}, after: {{fault: first, begins: true, delay: 30s}}, for: 2m}}\n\
         \x20 - {{name: third, kubeletStop: {{node: node-2}}, after: {{fault: second, ends: true}}, for: 1m}}\n\
         \x20 - {{name: fourth, crash: {{node: node-3}}, after: {{bound: 8, delay: 1s}}, for: 1m}}{WEB}"
    );
    let (story, _) = play(POOLS, &rest);
    let ready = story.lines("ready");
    let all = ready.iter().map(|l| l.0).collect::<Vec<f64>>();
    let first = story.first("node-0", "machine crashes");
    // The status of the Deployment follows the eighth pod.
    let eighth = all.iter().copied().filter(|t| *t < first).fold(0.0, f64::max);
    between(first, eighth + 10.0, eighth + 12.0);
    between(story.first("node-1", "machine crashes") - first, 30.0, 30.0);
    between(story.first("node-2", "kubelet stops") - first, 150.0, 150.0);
    between(story.first("node-3", "machine crashes"), 1.0, first);
    holds(POOLS, &rest);
}

#[test]
fn a_share_of_nodes_is_drawn() {
    let struck = |seed: u32, whom: &str| {
        let cluster = POOLS.replace("count: 6", "count: 10");
        let rest = format!("until: 2m\nfaults: [{{crash: {whom}, at: 1m}}]\n");
        let (story, _) = play(&cluster, &rest.replace("until", &format!("# {seed}\nuntil")));
        story.lines("machine crashes").into_iter().map(|l| l.1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(struck(1, "{percent: 30}").len(), 3);
    assert_eq!(struck(1, "{percent: 1}").len(), 1, "at least one");
    assert_eq!(struck(1, "{percent: 100}").len(), 10);
    let odd = struck(1, "{zone: b, percent: 60}");
    assert_eq!(odd.len(), 3);
    assert!(odd.iter().all(|n| n.ends_with(['1', '3', '5', '7', '9'])), "{odd:?}");
}

#[test]
fn a_disk_that_fills_up_makes_room_by_eviction() {
    let cluster =
        "cluster: {nodes: [{name: node, count: 3, cpu: 4, memory: 16Gi, ephemeralStorage: 100Gi}]}";
    let rest = |percent: u32| {
        format!(
            "until: 20m\nfaults: [{{diskFull: {{of: {{node: node-1}}, percent: {percent}}}, at: 5m, for: 5m}}]{WEB}"
        )
    };
    let (story, _) = play(cluster, &rest(84));
    assert!(story.lines("Failed").is_empty(), "85 % is the threshold of imagefs");
    let (story, _) = play(cluster, &rest(97));
    let failed = story.lines("Failed");
    assert!(!failed.is_empty());
    failed.iter().for_each(|(at, _)| between(*at, 300.0, 640.0));
    between(story.first("node-1", "disk has room again"), 600.0, 600.0);
}

#[test]
fn the_scenarios_meet_their_expectations() {
    for name in [
        "partition",
        "spot-wave",
        "rolling-node-upgrade",
        "spark-etl-node-crash",
        "statefulset-on-a-dead-node",
        "statefulset-disk-on-a-dead-node",
        "zonal-disks",
        "notready-storm",
        "log-store-down",
        "address-exhaustion",
        "api-overload",
    ] {
        let plan = plan(name);
        let mut metrics = Metrics::new(&plan, None);
        let mut session = Session::new(plan);
        session.run(&mut [&mut metrics], |_| {});
        let summary = Summary::new(&metrics, &session.digest());
        assert!(summary.passed(), "{name} does not meet its expectations");
        let file = root().join("scenarios").join(name).join("expected.summary");
        snapshot(&file, &render(&summary, 100));
    }
}
