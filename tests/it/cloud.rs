//! The cloud around a cluster: its controllers (behaviour reference §3.21), the cluster autoscaler
//! (§5.1), Karpenter (§5.2), spot machines (§5.4), what it all costs, and what a scenario may not say
//! of it.

use super::partitions::holds;
use super::support::{plan_with, root, snapshot};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use wavetank::api::Obj;
use wavetank::api::node::{Node, keys};
use wavetank::api::pod::{ConditionType, Truth};
use wavetank::api::versions::Versions;
use wavetank::cluster::Cluster;
use wavetank::event::{AutoscalerEvent, Event, Record, What};
use wavetank::report::metrics::Metrics;
use wavetank::report::summary::Summary;
use wavetank::report::text::render;
use wavetank::scenario::{LoadOptions, load::parse};
use wavetank::session::{Observer, Session};

/// Machine types and a pool of two to six of them.
const GROUP: &str = "
cluster:
  nodes: [{name: pool, machineType: small, zones: [a, b], autoscale: {min: 2, max: 6}}]
";
const TYPES: &str = "
  machineTypes:
    - {name: small, cpu: 2, memory: 8Gi, price: 0.1, spotPrice: 0.04}
    - {name: large, cpu: 8, memory: 32Gi, price: 0.4, spotPrice: 0.2}
  latencies: {boot: 2m, directBoot: 45s, terminate: 30s, request: 200ms, loadBalancer: 90s}
";

fn pods(name: &str, n: u32, cpu: &str) -> String {
    format!(
        "
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {{name: {name}}}
    spec:
      replicas: {n}
      selector: {{matchLabels: {{app: {name}}}}}
      template:
        metadata: {{labels: {{app: {name}}}}}
        spec:
          containers: [{{name: main, image: nginx, resources: {{requests: {{cpu: {cpu}}}}}}}]
"
    )
}

/// What happened: Kubernetes Events, machines, and nodes as they were written.
#[derive(Default)]
struct Diary {
    /// Second, reason, object, message.
    events: Vec<(f64, String, String, String)>,
    /// Second, node, type, spot, begins.
    machines: Vec<(f64, String, String, bool, bool)>,
    nodes: Vec<(f64, Arc<Node>, bool)>,
    noticed: Vec<(f64, String, &'static str)>,
}

impl Observer for Diary {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let at = record.time.secs_f64();
        if let What::Machine { node, kind, spot, on, .. } = record.what {
            self.machines.push((at, node.to_string(), kind.to_string(), spot, on));
        } else if let What::Noticed { node, step, .. } = record.what {
            self.noticed.push((at, node.to_string(), step));
        } else if let What::Committed { kind, log, .. } = record.what {
            let Some(change) = versions.change(kind, log) else { return };
            if let Obj::Event(event) = &change.value {
                let (reason, message) = (event.reason.to_string(), event.message());
                self.events.push((at, reason, event.name.to_string(), message));
            } else if let Obj::Node(node) = &change.value {
                self.nodes.push((at, Arc::clone(node), change.deleted));
            }
        }
    }
}

impl Diary {
    fn said(&self, reason: &str) -> Vec<(f64, &str, &str)> {
        let of = self.events.iter().filter(|e| e.1 == reason);
        of.map(|e| (e.0, e.2.as_str(), e.3.as_str())).collect()
    }

    fn first(&self, reason: &str) -> f64 {
        self.said(reason).first().unwrap_or_else(|| panic!("{reason} never: {:#?}", self.events)).0
    }

    /// Machines that were granted after the start.
    fn granted(&self) -> Vec<(f64, &str, &str, bool)> {
        let new = self.machines.iter().filter(|m| m.4 && m.0 > 0.0);
        new.map(|m| (m.0, m.1.as_str(), m.2.as_str(), m.3)).collect()
    }

    fn ended(&self) -> Vec<(f64, &str)> {
        self.machines.iter().filter(|m| !m.4).map(|m| (m.0, m.1.as_str())).collect()
    }

    fn of_node(&self, name: &str) -> Vec<(f64, &Node, bool)> {
        let of = self.nodes.iter().filter(|(_, n, _)| n.meta.name.to_string() == name);
        of.map(|(at, node, deleted)| (*at, &**node, *deleted)).collect()
    }
}

fn load(text: &str) -> wavetank::cluster::spec::Plan {
    let loaded = parse("t.yaml", text.to_owned(), Path::new("."), &LoadOptions::default());
    loaded.unwrap_or_else(|errors| panic!("{errors:#?}\n{text}")).plan
}

fn text(rest: &str) -> String {
    format!("apiVersion: wavetank.dev/v1\nkind: Scenario\nmetadata: {{name: t}}\nseed: 5\n{rest}")
}

fn play(rest: &str) -> (Diary, Summary) {
    let plan = Arc::new(load(&text(rest)));
    let (mut diary, mut metrics) = (Diary::default(), Metrics::new(&plan, None));
    let mut session = Session::new(plan);
    session.run(&mut [&mut diary, &mut metrics], |_| {});
    let summary = Summary::new(&metrics, &session.digest());
    (diary, summary)
}

/// A cluster with the cluster autoscaler, more flags of it, and objects.
fn scaled(until: &str, flags: &str, cloud: &str, objects: &str) -> (Diary, Summary) {
    play(&format!(
        "until: {until}{GROUP}cloud:{TYPES}{cloud}
  autoscaler: {{kind: cluster-autoscaler{flags}}}
objects:{objects}"
    ))
}

fn tainted(node: &Node, key: &str) -> bool {
    node.taints.iter().any(|t| t.key.as_str() == key)
}

// ----- §3.21 -----

#[test]
fn cloud_node_initialises_a_node_that_registers() {
    let (diary, _) = scaled("20m", "", "  region: eu\n", &pods("web", 9, "600m"));
    let (granted, name, ..) = diary.granted()[0];
    let story = diary.of_node(name);
    let (registered, first, _) = story[0];
    assert!((registered - granted - 120.0).abs() < 1.0, "two minutes of booting: {registered}");
    assert!(tainted(first, keys::UNINITIALIZED) && first.provider_id.is_empty());
    let done = story.iter().find(|(_, n, _)| !tainted(n, keys::UNINITIALIZED)).unwrap();
    // One call of 200 ms, and a write.
    assert!(done.0 - registered < 1.0, "{} after {registered}", done.0);
    let label = |key: &str| done.1.meta.labels.get(key.into()).map(|v| v.to_string());
    assert_eq!(label(keys::INSTANCE_TYPE).as_deref(), Some("small"));
    assert_eq!(label(keys::REGION).as_deref(), Some("eu"));
    let zone = label(keys::ZONE).unwrap();
    assert_eq!(done.1.provider_id.to_string(), format!("aws:///{zone}/{name}"));
    assert_eq!(diary.said("Synced").iter().filter(|s| s.1 == name).count(), 1);
    // Nothing was bound to it before.
    let bound = diary.said("Scheduled").iter().filter(|s| s.2.ends_with(name)).count();
    assert!(bound > 0);
}

#[test]
fn cloud_node_lifecycle_deletes_the_node_of_a_machine_that_is_gone() {
    let faults = "faults: [{interrupt: {of: {nodes: [pool-1]}, notice: 1m}, at: 5m}]\n";
    let (diary, _) = play(&format!("until: 20m{GROUP}cloud:{TYPES}{faults}"));
    // Taken after a minute, unknown after the grace period of 50 s, asked about within 5 s.
    let at = diary.first("DeletingNode");
    assert!((405.0..=425.0).contains(&at), "{at}");
    assert!(diary.of_node("pool-1").last().unwrap().2, "deleted");
    // The group gives another machine at once, under another name.
    let (granted, name, ..) = diary.granted()[0];
    assert!((granted - 360.0).abs() < 1.0 && name == "pool-2", "{granted} {name}");
}

#[test]
fn cloud_node_lifecycle_taints_the_node_of_a_machine_that_ends() {
    let pool = GROUP.replace("zones", "kubelet: {shutdownGracePeriod: 20s}, zones");
    let late = "workload: [{at: 10m, scale: {target: deployment/web, replicas: 1}}]\n";
    let (diary, _) = play(&format!(
        "until: 40m{pool}cloud:{TYPES}  autoscaler: {{kind: cluster-autoscaler}}\nobjects:{}{late}",
        pods("web", 9, "600m")
    ));
    let (ended, name) = diary.ended()[0];
    let story = diary.of_node(name);
    let taint = story.iter().find(|(_, n, _)| tainted(n, keys::SHUT_DOWN));
    let at = taint.unwrap_or_else(|| panic!("{name} ended at {ended}: {story:#?}")).0;
    assert!(at - ended < 7.0, "asked about within 5 s: {at} after {ended}");
    let gone = story.last().unwrap();
    assert!(gone.2 && gone.0 - ended < 40.0, "deleted once the machine is gone: {}", gone.0);
}

#[test]
fn service_lb_has_an_address_after_the_clouds_time_and_follows_the_nodes() {
    let service = "
  - apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}
";
    let late = "workload: [{at: 15m, delete: service/web}]\n";
    let objects = format!("{}{service}{late}", pods("web", 9, "600m"));
    let (diary, _) = scaled("20m", "", "", &objects);
    assert!(diary.first("EnsuringLoadBalancer") < 1.0);
    let ready = diary.first("EnsuredLoadBalancer");
    assert!((90.0..91.0).contains(&ready), "{ready}");
    let nodes = diary.granted().len();
    assert_eq!(diary.said("UpdatedLoadBalancer").len(), nodes, "once for each node that came");
    let (gone, dropped) = (diary.first("DeletingLoadBalancer"), diary.first("DeletedLoadBalancer"));
    assert!(gone >= 900.0 && dropped - gone < 1.0);
}

#[test]
fn route_makes_the_network_of_a_new_node_available_at_its_next_look() {
    let group = GROUP.replace("cluster:", "cluster:\n  podCIDR: 10.244.0.0/16");
    let (diary, _) = play(&format!(
        "until: 20m{group}cloud:{TYPES}  routes: true\n  autoscaler: {{kind: cluster-autoscaler}}\n\
         objects:{}",
        pods("web", 9, "600m")
    ));
    let name = diary.granted()[0].1;
    let story = diary.of_node(name);
    let network =
        |n: &Node| n.status.conditions.get(ConditionType::NetworkUnavailable).map(|c| c.status);
    let none = story.iter().find(|(_, n, _)| network(n) == Some(Truth::True)).unwrap().0;
    let some = story.iter().find(|(_, n, _)| network(n) == Some(Truth::False)).unwrap().0;
    assert!(some > none && some - none < 11.0, "every 10 s: {none} to {some}");
    let bound = diary.said("Scheduled").into_iter().filter(|s| s.2.ends_with(name));
    assert!(bound.into_iter().all(|s| s.0 > some), "nothing is bound to it before");
}

#[test]
fn a_node_that_registers_again_at_once_has_the_route_it_had() {
    let group = GROUP.replace("cluster:", "cluster:\n  podCIDR: 10.244.0.0/16");
    let rest = "workload: [{at: 302s, delete: node/pool-1}]
faults: [{kubeletCrash: {node: pool-1}, at: 303s, for: 1s}]
";
    let (diary, _) = play(&format!("until: 10m{group}cloud:{TYPES}  routes: true\n{rest}"));
    let story = diary.of_node("pool-1");
    let gone = story.iter().find(|s| s.2).unwrap().0;
    let again = story.iter().find(|s| s.0 > gone).unwrap_or_else(|| panic!("{story:#?}")).0;
    assert!(again < 310.0, "before the next look: {again}");
    let network = story.last().unwrap().1.status.conditions.get(ConditionType::NetworkUnavailable);
    assert_eq!(network.map(|c| c.status), Some(Truth::False));
}

#[test]
fn a_group_replaces_a_machine_that_has_died() {
    let faults = "faults: [{crash: {node: pool-0}, at: 5m}]\n";
    let cloud = TYPES.replace("request: 200ms", "request: 200ms, healthCheck: 4m");
    let (diary, _) = play(&format!("until: 30m{GROUP}cloud:{cloud}{faults}"));
    let (granted, name, ..) = diary.granted()[0];
    assert!((granted - 540.0).abs() < 1.0 && name == "pool-2", "{granted} {name}");
    assert_eq!(diary.ended(), [(540.0, "pool-0")]);
}

// ----- §5.1 -----

#[test]
fn scale_up_follows_within_a_scan_and_counts_nodes_on_their_way() {
    let (diary, summary) = scaled("20m", "", "", &pods("web", 9, "600m"));
    let first = diary.first("TriggeredScaleUp");
    assert!(first < 11.0, "scan interval and a call: {first}");
    // Two nodes hold three pods each, three more pods need one node, and no other scan asks again.
    assert_eq!(diary.granted().len(), 1, "{:?}", diary.granted());
    assert!(diary.said("TriggeredScaleUp")[0].2.contains("[{pool 2->3 (max: 6)}]"));
    assert_eq!(summary.pods.unscheduled_at_end, 0);
}

#[test]
fn scale_up_stops_at_max_and_says_why() {
    let (diary, summary) = scaled("20m", "", "", &pods("web", 30, "600m"));
    assert_eq!(diary.granted().len(), 4);
    assert!(summary.pods.unscheduled_at_end > 0);
    let said = diary.said("NotTriggerScaleUp");
    assert!(
        said.iter().any(|s| s.2 == "pod didn't trigger scale-up: 1 max node group size reached")
    );
    let (diary, _) = scaled("5m", "", "", &pods("web", 1, "3"));
    let said = diary.said("NotTriggerScaleUp");
    assert_eq!(said[0].2, "pod didn't trigger scale-up: 1 Insufficient cpu");
}

#[test]
fn a_group_without_capacity_is_backed_off_for_five_minutes_then_ten() {
    let out = "  stockOuts: [{at: 0s}]\n";
    let (diary, _) = scaled("30m", "", out, &pods("web", 9, "600m"));
    let failed: Vec<f64> = diary.said("FailedToScaleUpGroup").iter().map(|said| said.0).collect();
    assert!(failed.len() >= 3, "{failed:?}");
    let (first, second) = (failed[1] - failed[0], failed[2] - failed[1]);
    // A scan to grow again, and another one to see that it was in vain.
    assert!((300.0..=325.0).contains(&first), "{failed:?}");
    assert!((600.0..=625.0).contains(&second), "{failed:?}");
    assert!(diary.granted().is_empty());
}

#[test]
fn a_machine_that_does_not_register_is_ended_after_fifteen_minutes() {
    let slow = TYPES.replace("boot: 2m", "boot: 2h");
    let (diary, _) = play(&format!(
        "until: 20m{GROUP}cloud:{slow}  autoscaler: {{kind: cluster-autoscaler}}\nobjects:{}",
        pods("web", 9, "600m")
    ));
    let (granted, name, ..) = diary.granted()[0];
    let (ended, gone) = diary.ended()[0];
    assert_eq!(gone, name);
    // First seen by the scan after the grant, and ended by the first one after its time.
    assert!((900.0..=921.0).contains(&(ended - granted)), "{granted} {ended}");
    assert!(diary.said("FailedToScaleUpGroup")[0].2.contains("timed out"));
}

#[test]
fn machines_that_fail_together_back_their_group_off_once() {
    let slow = TYPES.replace("boot: 2m", "boot: 2h");
    let (diary, _) = play(&format!(
        "until: 20m{GROUP}cloud:{slow}  autoscaler: {{kind: cluster-autoscaler}}\nobjects:{}",
        pods("web", 15, "600m")
    ));
    assert_eq!(diary.ended().len(), 3);
    let failed = diary.said("FailedToScaleUpGroup");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].2.ends_with("backed off 5m00s"), "{failed:?}");
}

#[test]
fn a_group_that_has_grown_since_fails_afresh() {
    let out = "  stockOuts: [{at: 0s, for: 8m}, {at: 20m}]\n";
    let late = "workload: [{at: 30m, scale: {target: deployment/web, replicas: 15}}]\n";
    let objects = format!("{}{late}", pods("web", 9, "600m"));
    let (diary, _) = scaled("50m", "", out, &objects);
    let failed = diary.said("FailedToScaleUpGroup");
    // Twice, then a machine comes, and the next failure is a first one again.
    let spans: Vec<&str> = failed.iter().filter_map(|f| f.2.rsplit(' ').next()).collect();
    assert_eq!(spans[..3], ["5m00s", "10m00s", "5m00s"], "{failed:?}");
}

#[test]
fn pods_that_have_to_wait_before_they_count_are_looked_at_when_that_is_over() {
    let flags = ", new-pod-scale-up-delay: 3m";
    let (diary, _) = scaled("20m", flags, "", &pods("web", 9, "600m"));
    let first = diary.first("TriggeredScaleUp");
    assert!((180.0..=195.0).contains(&first), "{first}");
}

#[test]
fn a_node_that_has_broken_is_replaced_and_not_waited_for() {
    // Nobody else repairs it, and what it has room for does not fit elsewhere.
    let cloud = format!("{TYPES}  repairs: false\n");
    let faults = "faults: [{crash: {node: pool-0}, at: 20m}]\n";
    let (diary, summary) = play(&format!(
        "until: 45m{GROUP}cloud:{cloud}  autoscaler: {{kind: cluster-autoscaler}}\nobjects:{}{faults}",
        pods("web", 6, "600m")
    ));
    // Unknown after 50 s, its pods go after five minutes.
    let granted = diary.granted();
    assert!(granted.iter().any(|g| (1500.0..1620.0).contains(&g.0)), "{granted:?}");
    assert_eq!(summary.pods.unscheduled_at_end, 0);
}

#[test]
fn a_node_that_could_not_go_is_tried_again_when_a_budget_allows_it() {
    let group = GROUP.replace("autoscale: {min: 2", "count: 2, autoscale: {min: 1");
    let budget = |least: u32| {
        format!(
            "apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {{name: web}}, \
             spec: {{minAvailable: {least}, selector: {{matchLabels: {{app: web}}}}}}"
        )
    };
    // One pod on each node, and a budget that lets neither go until it is changed.
    let late = format!("workload: [{{at: 4m, apply: {{{}}}}}]\n", budget(1));
    let (diary, summary) = play(&format!(
        "until: 60m{group}cloud:{TYPES}  autoscaler: {{kind: cluster-autoscaler}}\nobjects:{}  - {{{}}}\n{late}",
        pods("web", 2, "600m"),
        budget(2)
    ));
    let ended = diary.ended();
    // Believed for five minutes from the first scans on, then not needed for ten.
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert!((900.0..960.0).contains(&ended[0].0), "{ended:?}");
    assert_eq!(summary.pods.ready_at_end, 2);
}

#[test]
fn what_the_autoscaler_says_does_not_hold_up_what_it_does() {
    let late = "workload: [{at: 8m, scale: {target: deployment/web, replicas: 0}}]\n";
    let objects = format!("{}{}{late}", pods("web", 15, "600m"), pods("tiny", 200, "5m"));
    let (diary, _) = scaled("30m", "", "", &objects);
    let said = diary.said("ScaleDown").into_iter().filter(|s| s.2.starts_with("marked"));
    let marked: Vec<(f64, &str)> = said.map(|s| (s.0, s.1)).collect();
    let evicted = diary.said("ScaleDown").len() - marked.len();
    assert!(evicted > 30, "{evicted}");
    for (at, node) in marked {
        let key = "ToBeDeletedByClusterAutoscaler";
        let taint = diary.of_node(node).iter().find(|(_, n, _)| tainted(n, key)).unwrap().0;
        assert!(taint - at < 1.0, "{node}: said at {at}, tainted at {taint}");
    }
}

/// Pools of both types, each with its own bounds.
fn two_pools(flags: &str, objects: &str) -> Diary {
    let pools = "
cluster:
  nodes:
    - {name: base, count: 1, cpu: 1, memory: 2Gi}
    - {name: small, machineType: small, count: 0, autoscale: {min: 0, max: 9, priority: 5}}
    - {name: large, machineType: large, count: 0, autoscale: {min: 0, max: 9, priority: 9}}
";
    play(&format!(
        "until: 15m{pools}cloud:{TYPES}  autoscaler: {{kind: cluster-autoscaler{flags}}}\nobjects:{objects}"
    ))
    .0
}

#[test]
fn expanders_choose_by_waste_number_price_and_rank() {
    let kinds = |flags: &str, objects: &str| {
        let diary = two_pools(flags, objects);
        diary.granted().iter().map(|g| g.2.to_owned()).collect::<Vec<_>>()
    };
    // One pod of 1.5 cores: a small machine is left with less.
    let one = pods("web", 1, "1500m");
    assert_eq!(kinds("", &one), ["small"]);
    assert_eq!(kinds(", expander: price", &one), ["small"]);
    assert_eq!(kinds(", expander: priority", &one), ["large"]);
    // Four of them: as many small machines, or one large one.
    let four = pods("web", 4, "1500m");
    assert_eq!(kinds(", expander: least-nodes", &four), ["large"]);
    assert_eq!(kinds(", expander: 'most-pods,least-nodes'", &four), ["large"]);
    assert_eq!(kinds(", expander: price", &four), ["small"; 4]);
}

#[test]
fn scale_down_waits_ten_minutes_after_the_last_node_was_added_and_drains() {
    let late = "workload: [{at: 8m, scale: {target: deployment/web, replicas: 2}}]\n";
    let objects = format!("{}{late}", pods("web", 15, "600m"));
    let (diary, summary) = scaled("50m", "", "", &objects);
    assert_eq!(diary.granted().len(), 3);
    let first = diary.ended()[0].0;
    // Unneeded since about 8 min, for 10 min; the tick, 5 s after the taint, and the call.
    assert!((1080.0..=1110.0).contains(&first), "{first}");
    assert_eq!(diary.ended().len(), 3, "down to the minimum of two");
    let marked = diary.said("ScaleDown").into_iter().find(|s| s.2.starts_with("marked"));
    assert!(marked.is_some());
    assert_eq!(summary.pods.unscheduled_at_end, 0);
    assert_eq!(summary.pods.ready_at_end, 2);
}

#[test]
fn scale_down_leaves_nodes_alone_whose_pods_may_not_be_moved() {
    // A pod of its own, without a controller, on each of the nodes that came.
    let bare = |i: u32| {
        format!(
            "
  - apiVersion: v1
    kind: Pod
    metadata: {{name: bare-{i}}}
    spec: {{containers: [{{name: main, image: nginx, resources: {{requests: {{cpu: 600m}}}}}}]}}
"
        )
    };
    let objects: String = (0..9).map(bare).collect();
    let (diary, _) = scaled("40m", "", "", &objects);
    assert_eq!(diary.granted().len(), 1);
    assert!(diary.ended().is_empty(), "{:?}", diary.ended());
}

#[test]
fn a_cluster_in_which_nothing_changes_is_not_scanned() {
    let rest = format!(
        "until: 10h{GROUP}cloud:{TYPES}  autoscaler: {{kind: cluster-autoscaler}}\nobjects:{}",
        pods("web", 4, "900m")
    );
    let mut cluster = Cluster::new(Arc::new(load(&text(&rest))));
    let mut scans: Vec<f64> = Vec::new();
    while let Some(entry) = cluster.step() {
        if entry.time.secs_f64() > 36_000.0 {
            break;
        }
        if entry.event == Event::Autoscaler(AutoscalerEvent::Scan) {
            scans.push(entry.time.secs_f64());
        }
    }
    let late = scans.iter().filter(|at| **at > 1800.0).count();
    assert!(!scans.is_empty() && late < 10, "{late} scans after half an hour of {}", scans.len());
}

// ----- §5.2 -----

/// A cluster with Karpenter.
fn karpenter(until: &str, pool: &str, cloud: &str, objects: &str) -> (Diary, Summary) {
    play(&format!(
        "until: {until}
cluster:
  nodes: [{{name: base, count: 1, cpu: 1, memory: 2Gi, zone: a}}]
cloud:{TYPES}{cloud}
  autoscaler:
    kind: karpenter
    node-pools: [{{metadata: {{name: burst}}, spec: {{{pool}}}}}]
objects:{objects}"
    ))
}

const SPOT: &str = "template: {spec: {requirements: \
                    [{key: karpenter.sh/capacity-type, operator: In, values: [spot, on-demand]}]}}";

#[test]
fn karpenter_waits_for_a_batch_and_launches_the_cheapest_type_that_holds_it() {
    let (diary, summary) = karpenter("10m", "", "", &pods("web", 4, "1500m"));
    let granted = diary.granted();
    // All four on one machine: a large one costs as much as four small ones, and holds all.
    assert_eq!(granted.iter().map(|g| g.2).collect::<Vec<_>>(), ["large"]);
    assert!((1.0..=3.0).contains(&granted[0].0), "a second of silence, a call: {granted:?}");
    assert!(!granted[0].3, "on demand unless the pool says otherwise");
    assert_eq!(diary.said("Nominated").len(), 4);
    assert_eq!(summary.pods.ready_at_end, 4);
    let (diary, _) = karpenter("10m", "", "", &pods("web", 1, "1500m"));
    assert_eq!(diary.granted()[0].2, "small");
}

#[test]
fn karpenter_falls_back_to_machines_on_demand() {
    let (diary, _) = karpenter("10m", SPOT, "", &pods("web", 1, "1500m"));
    assert!(diary.granted()[0].3, "spot is cheaper");
    let out = "  stockOuts: [{spot: true, at: 0s}]\n";
    let (diary, _) = karpenter("10m", SPOT, out, &pods("web", 1, "1500m"));
    let granted = diary.granted();
    assert_eq!((granted.len(), granted[0].3), (1, false), "{granted:?}");
}

/// A Deployment whose pods select by a label.
fn picky(name: &str, n: u32, cpu: &str, key: &str, value: &str) -> String {
    let selector =
        format!("spec:\n          nodeSelector: {{{key}: {value}}}\n          containers");
    pods(name, n, cpu).replace("spec:\n          containers", &selector)
}

#[test]
fn karpenter_tries_another_zone_when_one_has_none_left() {
    let out = "  zones: [a, b]\n  stockOuts: [{zone: a, at: 0s, for: 2h}]\n";
    let (diary, summary) = karpenter("10m", "", out, &pods("web", 1, "1500m"));
    let granted = diary.granted();
    assert!(granted.len() == 1 && granted[0].0 < 15.0, "{granted:?}");
    let (_, node, _) = *diary.of_node(granted[0].1).last().unwrap();
    assert_eq!(node.meta.labels.get(keys::ZONE.into()).unwrap().as_str(), "b");
    assert_eq!(summary.pods.ready_at_end, 1);
    // Where there is one zone only, it is asked again once it may have some.
    let out = "  stockOuts: [{at: 0s, for: 5m}]\n";
    let (diary, _) = karpenter("10m", "", out, &pods("web", 1, "1500m"));
    let at = diary.granted()[0].0;
    assert!((300.0..370.0).contains(&at), "every three minutes: {at}");
}

#[test]
fn karpenter_looks_again_at_a_pod_whose_machine_has_never_come() {
    let slow = TYPES.replace("directBoot: 45s", "directBoot: 2h");
    let rest = |pool: &str| {
        format!(
            "until: 40m
cluster:
  nodes: [{{name: base, count: 1, cpu: 1, memory: 2Gi, zone: a}}]
cloud:{slow}
  autoscaler:
    kind: karpenter
    node-pools: [{{metadata: {{name: burst}}, spec: {{{pool}}}}}]
objects:{}",
            pods("web", 1, "1500m")
        )
    };
    // The limit holds one machine: the next one comes once the first one counts no longer.
    for pool in ["", "limits: {cpu: 2}"] {
        let (diary, _) = play(&rest(pool));
        let granted: Vec<f64> = diary.granted().iter().map(|g| g.0).collect();
        assert!(granted.len() >= 2, "{granted:?}");
        assert!((900.0..=930.0).contains(&(granted[1] - granted[0])), "{granted:?}");
    }
}

#[test]
fn karpenter_does_not_look_for_ever_at_a_pod_that_nothing_helps() {
    let rest = format!(
        "until: 10h
cluster: {{nodes: [{{name: base, count: 1, cpu: 1, memory: 2Gi}}]}}
cloud:{TYPES}
  autoscaler: {{kind: karpenter, node-pools: [{{metadata: {{name: burst}}}}]}}
objects:{}{}",
        pods("web", 1, "900m"),
        pods("huge", 1, "100")
    );
    let mut cluster = Cluster::new(Arc::new(load(&text(&rest))));
    let (mut batches, mut scans) = (0, 0);
    while let Some(entry) = cluster.step() {
        if entry.time.secs_f64() > 36_000.0 {
            break;
        }
        batches += u32::from(matches!(entry.event, Event::Autoscaler(AutoscalerEvent::Batch(_))));
        scans += u32::from(entry.event == Event::Autoscaler(AutoscalerEvent::Scan));
    }
    assert!((1..10).contains(&batches) && scans < 10, "{batches} batches, {scans} scans");
}

#[test]
fn karpenter_gives_pods_the_capacity_type_that_they_select() {
    let key = "karpenter.sh/capacity-type";
    let (diary, summary) = karpenter("10m", SPOT, "", &picky("web", 1, "1500m", key, "on-demand"));
    let granted = diary.granted();
    assert_eq!((granted.len(), granted[0].3), (1, false), "{granted:?}");
    assert_eq!(summary.pods.ready_at_end, 1);
    // One that wants a spot machine gets no other one, also beside pods that take any.
    let out = "  stockOuts: [{spot: true, at: 0s, for: 4m}]\n";
    let objects = format!("{}{}", picky("web", 1, "1500m", key, "spot"), pods("any", 1, "1500m"));
    let (diary, summary) = karpenter("12m", SPOT, out, &objects);
    let spot: Vec<bool> = diary.granted().iter().map(|g| g.3).collect();
    assert_eq!(spot, [false, true], "{:?}", diary.granted());
    assert_eq!(summary.pods.ready_at_end, 2);
}

#[test]
fn karpenter_takes_away_empty_nodes_while_pods_wait() {
    let pool = "limits: {cpu: 8}, disruption: {consolidateAfter: 1m, budgets: [{nodes: '100%'}]}";
    let key = "node.kubernetes.io/instance-type";
    let late = "workload: [{at: 10m, scale: {target: deployment/web, replicas: 0}}]\n";
    let objects = format!(
        "{}{}{late}",
        picky("web", 1, "7", key, "large"),
        picky("small", 1, "1500m", key, "small")
    );
    let (diary, summary) = karpenter("30m", pool, "", &objects);
    let granted = diary.granted();
    let kinds: Vec<&str> = granted.iter().map(|g| g.2).collect();
    assert_eq!(kinds, ["large", "small"], "{granted:?}");
    assert!((660.0..800.0).contains(&granted[1].0), "{granted:?}");
    assert_eq!(diary.ended().len(), 1, "{:?}", diary.ended());
    assert_eq!(summary.pods.ready_at_end, 1);
}

#[test]
fn karpenter_consolidates_beside_a_pod_that_fits_nowhere() {
    let calm = "disruption: {consolidateAfter: 2m, budgets: [{nodes: '100%'}]}";
    let late = "workload: [{at: 10m, scale: {target: deployment/web, replicas: 1}}]\n";
    let objects = format!("{}{}{late}", pods("huge", 1, "100"), pods("web", 4, "1500m"));
    let (diary, summary) = karpenter("30m", calm, "", &objects);
    let kinds: Vec<&str> = diary.granted().iter().map(|g| g.2).collect();
    assert_eq!(kinds, ["large", "small"]);
    assert_eq!((diary.ended().len(), summary.pods.ready_at_end), (1, 1));
}

#[test]
fn karpenter_ends_a_machine_although_the_cloud_fails() {
    let calm = "disruption: {consolidateAfter: 1m, budgets: [{nodes: '100%'}]}";
    let key = "node.kubernetes.io/instance-type";
    let late = "workload: [{at: 10m, scale: {target: deployment/web, replicas: 0}}]\n";
    let objects = format!("{}{late}", picky("web", 6, "1500m", key, "small"));
    let (diary, _) = karpenter("40m", calm, "  failures: 0.6\n", &objects);
    let (granted, ended) = (diary.granted(), diary.ended());
    assert!(granted.len() >= 6, "{granted:?}");
    assert_eq!(ended.len(), granted.len(), "{granted:?} {ended:?}");
}

#[test]
fn karpenter_replaces_a_machine_that_is_taken_from_it() {
    // Before it has registered, and while it serves; both times without a word before.
    for (at, by) in [("20s", 180.0), ("6m", 720.0)] {
        let (diary, summary) = play(&format!(
            "until: 20m
cluster:
  nodes: [{{name: base, count: 2, cpu: 1, memory: 2Gi, zones: [a, b]}}]
cloud:{TYPES}
  zones: [b]
  autoscaler:
    kind: karpenter
    node-pools: [{{metadata: {{name: burst}}, spec: {{limits: {{cpu: 2}}}}}}]
objects:{}faults: [{{interrupt: {{of: {{zone: b}}, notice: 0s}}, at: {at}}}]
",
            pods("web", 1, "1500m")
        ));
        let granted = diary.granted();
        assert_eq!(granted.len(), 2, "{at}: {granted:?}");
        assert!(granted[1].0 < by, "{at}: {granted:?}");
        assert_eq!(summary.pods.ready_at_end, 1, "{at}");
    }
}

#[test]
fn karpenter_blames_only_what_it_has_asked_for() {
    let calm = "disruption: {consolidateAfter: 2m, budgets: [{nodes: '100%'}]}";
    let out = "  stockOuts: [{machineType: small, at: 5m}]\n";
    // At about 12 min a small machine is wanted in place of the large one; there is none.
    let late = "workload:
  - {at: 10m, scale: {target: deployment/web, replicas: 1}}
  - {at: 13m, scale: {target: deployment/more, replicas: 1}}
";
    let objects = format!("{}{}{late}", pods("web", 4, "1500m"), pods("more", 0, "7"));
    let (diary, _) = karpenter("20m", calm, out, &objects);
    let granted = diary.granted();
    let kinds: Vec<&str> = granted.iter().map(|g| g.2).collect();
    assert_eq!(kinds, ["large", "large"], "{granted:?}");
    assert!(granted[1].0 < 790.0, "{granted:?}");
}

#[test]
fn karpenter_takes_away_empty_nodes_and_packs_the_rest() {
    let calm = "disruption: {consolidateAfter: 2m, budgets: [{nodes: '100%'}]}";
    let late = "workload: [{at: 10m, scale: {target: deployment/web, replicas: 1}}]\n";
    let objects = format!("{}{late}", pods("web", 8, "1500m"));
    let (diary, summary) = karpenter("30m", calm, "", &objects);
    let ended = diary.ended();
    assert!(!ended.is_empty());
    assert!(ended.iter().all(|(at, _)| *at >= 720.0), "two minutes of rest: {ended:?}");
    // What is left fits a small machine, which is launched before the large one goes.
    let running: BTreeMap<&str, &str> = (diary.granted().iter().map(|g| (g.1, g.2)))
        .filter(|(name, _)| !ended.iter().any(|(_, gone)| gone == name))
        .collect();
    assert_eq!(running.into_values().collect::<Vec<_>>(), ["small"]);
    assert_eq!(summary.pods.ready_at_end, 1);
}

#[test]
fn karpenter_leaves_pods_alone_that_say_so() {
    let calm = "disruption: {consolidateAfter: 2m, budgets: [{nodes: '100%'}]}";
    let late = "workload: [{at: 10m, scale: {target: deployment/web, replicas: 1}}]\n";
    let held = pods("web", 8, "1500m").replace(
        "metadata: {labels",
        "metadata: {annotations: {karpenter.sh/do-not-disrupt: 'true'}, labels",
    );
    let (diary, _) = karpenter("30m", calm, "", &format!("{held}{late}"));
    let granted = diary.granted().len();
    assert_eq!(diary.ended().len(), granted - 1, "only the empty ones went");
}

// ----- §5.4, prices -----

#[test]
fn a_spot_machine_gets_notice_and_its_pods_move() {
    let life = "  spotLife: 10m\n";
    let (diary, summary) = karpenter("25m", SPOT, life, &pods("web", 1, "1500m"));
    let notice = diary.noticed.iter().find(|n| n.2 == "gets notice").unwrap().0;
    let (granted, name, ..) = diary.granted()[0];
    assert!((notice - granted - 480.0).abs() < 1.0, "two minutes before the end: {notice}");
    let next = diary.granted()[1];
    assert!(next.0 > notice && next.0 < notice + 40.0, "{next:?} after {notice}");
    assert!(diary.ended().iter().any(|(_, gone)| *gone == name));
    assert_eq!(summary.pods.ready_at_end, 1);
}

#[test]
fn the_run_costs_what_its_machines_cost() {
    let (_, summary) = play(&format!("until: 90m{GROUP}cloud:{TYPES}"));
    let cost = summary.cost.unwrap();
    assert!((cost.total - 2.0 * 0.1 * 1.5).abs() < 1e-6, "{cost:?}");
    assert_eq!((cost.pools.len(), cost.pools[0].machines), (1, 2));
    let (_, summary) = play("until: 1m\ncluster: {nodes: [{name: one, cpu: 1, memory: 1Gi}]}\n");
    assert!(summary.cost.is_none());
}

// ----- what a scenario may not say -----

#[test]
fn what_is_wrong_with_a_cloud_is_told_with_its_place() {
    let pool = "cluster: {nodes: [{name: p, machineType: small";
    let cases = [
        (format!("{pool}, cpu: 4}}]}}\ncloud:{TYPES}"), "cpu: is given beside machineType"),
        (
            format!("cluster: {{nodes: [{{name: p, machineType: smal}}]}}\ncloud:{TYPES}"),
            "machineType: machine type \"smal\" not found",
        ),
        (
            format!("{pool}, autoscale: {{min: 3, max: 2}}}}]}}\ncloud:{TYPES}"),
            "autoscale: 3 nodes, at least 3 and at most 2",
        ),
        (
            "cluster: {nodes: [{name: p, cpu: 1, memory: 1Gi, spot: true}]}\n".to_owned(),
            "spot: only machines of the cloud have it",
        ),
        (
            format!("{pool}}}]}}\ncloud:{TYPES}  autoscaler: {{kind: cluster-autoscaler}}\n"),
            "autoscaler: has no pool that it may change",
        ),
        (
            format!(
                "{pool}, autoscale: {{min: 1, max: 2}}}}]}}\ncloud:{TYPES}  autoscaler: \
                 {{kind: cluster-autoscaler, expander: least-wast}}\n"
            ),
            "\"least-wast\" is no expander",
        ),
        (
            format!(
                "{pool}}}]}}\ncloud:{TYPES}  autoscaler: {{kind: karpenter, node-pools: \
                 [{{metadata: {{name: d}}, spec: {{limits: {{gpu: 1}}}}}}]}}\n"
            ),
            "limits.gpu: is not modelled",
        ),
    ];
    for (rest, wanted) in cases {
        let whole = text(&format!("until: 1m\n{rest}"));
        let errors = parse("t.yaml", whole, Path::new("."), &LoadOptions::default());
        let errors: Vec<String> =
            errors.err().iter().flat_map(|e| e.iter().map(ToString::to_string)).collect();
        assert!(errors.iter().any(|e| e.contains(wanted)), "{wanted}: {errors:#?}");
    }
}

#[test]
fn the_black_friday_scenarios_meet_their_expectations() {
    let folder = root().join("scenarios/black-friday");
    let play = |plan: Arc<wavetank::cluster::spec::Plan>| {
        let mut metrics = Metrics::new(&plan, None);
        let mut session = Session::new(plan);
        session.run(&mut [&mut metrics], |_| {});
        Summary::new(&metrics, &session.digest())
    };
    let day = play(plan_with("black-friday", &[]).unwrap());
    assert!(day.passed(), "{}", render(&day, 100));
    snapshot(&folder.join("expected.summary"), &render(&day, 100));
    for name in ["karpenter", "quota"] {
        let options = LoadOptions::default();
        let file = folder.join(format!("{name}.yaml"));
        let loaded = wavetank::scenario::load_with(&file, &options);
        let plan = loaded.unwrap_or_else(|e| panic!("{e:#?}")).plan;
        let day = play(Arc::new(plan));
        assert!(day.passed(), "{name}: {}", render(&day, 100));
    }
}

#[test]
fn an_autoscaled_cluster_has_one_digest_and_one_node_of_each_name() {
    let rest = format!(
        "until: 30m{GROUP}cloud:{TYPES}  autoscaler: {{kind: cluster-autoscaler}}\nobjects:{}",
        pods("web", 12, "600m")
    );
    let digest = || {
        let mut session = Session::new(Arc::new(load(&text(&rest))));
        session.run(&mut [], |_| {});
        session.digest()
    };
    assert_eq!(digest(), digest());
    let (diary, _) = play(&rest);
    let mut names: Vec<&str> =
        diary.machines.iter().filter(|m| m.4).map(|m| m.1.as_str()).collect();
    let n = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), n);
}

#[test]
fn invariants_hold_while_nodes_come_and_go_and_fail() {
    let faults = "faults:
  - {crash: {zone: a}, at: 4m, for: 3m}
  - {crash: {percent: 30}, at: 12m}
  - {watchLoss: kube-scheduler, at: 13m, for: 20s}
  - {freeze: {count: 1}, at: 16m, for: 90s}
workload:
  - {at: 10m, scale: {target: deployment/web, replicas: 14}}
  - {at: 20m, scale: {target: deployment/web, replicas: 3}}
";
    let rest = format!(
        "until: 45m\ncloud:{TYPES}  failures: 0.1\n  autoscaler: {{kind: cluster-autoscaler, \
         scale-down-delay-after-add: 2m, scale-down-unneeded-time: 2m}}\nobjects:{}{faults}",
        pods("web", 9, "600m")
    );
    holds(GROUP, &rest);
    // Nobody replaces machines that are not the cloud's.
    let faults = faults.replace("30}, at: 12m}", "30}, at: 12m, for: 3m}");
    let rest = format!(
        "until: 45m\ncloud:{TYPES}  failures: 0.1\n  zones: [a, b]\n  autoscaler:
    kind: karpenter
    node-pools: [{{metadata: {{name: burst}}, spec: {{{SPOT}, disruption: {{consolidateAfter: 1m}}}}}}]
objects:{}{faults}",
        pods("web", 9, "600m")
    );
    holds("cluster: {nodes: [{name: base, count: 2, zones: [a, b], cpu: 1, memory: 4Gi}]}", &rest);
}
